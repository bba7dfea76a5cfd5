//! The stores behind one trait, each in a file of its own. What a store has no call for, and what cannot be made of those it has
//! in one step, it refuses with the reason; the report prints that.

mod fjall;
mod floor;
mod larder;
mod lmdb;
mod redb;
mod sled;
mod sqlite;

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::draw::Key;
use crate::measure::Outcome;

/// All of them, in the order of the tables.
pub const NAMES: [&str; 9] =
    ["floor", "larder", "larder-fanout", "sqlite", "lmdb", "lmdb-durable", "redb", "fjall", "sled"];

/// Why a row has no figure for a store.
#[derive(Debug)]
pub struct WhyNot(pub &'static str);

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for WhyNot {}

pub fn why_not<T>(reason: &'static str) -> Outcome<T> {
    Err(Box::new(WhyNot(reason)))
}

/// How a store is opened.
#[derive(Clone, Copy, Default)]
pub struct Mode {
    /// Bytes on disk; none where nothing is to go.
    pub limit: Option<u64>,
    /// What was used longest ago goes first.
    pub lru: bool,
    /// Each change is on the disk when its call returns.
    pub sync: bool,
    /// Tags are to be found.
    pub tags: bool,
}

/// A cache. Values come back as the caller's own bytes.
pub trait Peer {
    fn get(&mut self, key: &[u8]) -> Outcome<Option<Vec<u8>>>;
    fn set(&mut self, key: &[u8], value: &[u8]) -> Outcome<()>;
    /// Whether it was there; a store that does not know says so.
    fn delete(&mut self, key: &[u8]) -> Outcome<bool>;
    /// All of them by one commit.
    fn set_many(&mut self, pairs: &[(Key, Vec<u8>)]) -> Outcome<()>;
    fn clear(&mut self) -> Outcome<()>;

    fn incr(&mut self, _key: &[u8]) -> Outcome<i64> {
        why_not("no call that reads and writes in one step")
    }

    fn set_tagged(&mut self, _key: &[u8], _value: &[u8], _tag: &str) -> Outcome<()> {
        why_not("no tags")
    }

    /// How many there were.
    fn evict(&mut self, _tag: &str) -> Outcome<u64> {
        why_not("no tags")
    }

    fn set_expiring(&mut self, _key: &[u8], _value: &[u8], _after: Duration) -> Outcome<()> {
        why_not("no expiry")
    }

    /// How many there were.
    fn expire(&mut self) -> Outcome<u64> {
        why_not("no expiry")
    }

    /// The result of a function for two arguments, which is stored.
    fn memoized(&mut self, _arguments: (u64, &str)) -> Outcome<Option<Vec<u8>>> {
        why_not("no memoization")
    }

    fn memoize(&mut self, _arguments: (u64, &str), _result: &[u8]) -> Outcome<()> {
        why_not("no memoization")
    }
}

/// A queue.
pub trait Queue {
    fn push_back(&mut self, value: &str) -> Outcome<()>;
    fn pop_front(&mut self) -> Outcome<Option<String>>;
}

/// A map sorted by key.
pub trait Sorted {
    fn insert(&mut self, key: u64, value: &str) -> Outcome<()>;
    fn fill(&mut self, keys: &mut dyn Iterator<Item = u64>, value: &str) -> Outcome<()>;
    /// Goes through keys and values from the first on; how many, and the sum of the lengths.
    fn walk(&mut self, most: u64) -> Outcome<(u64, u64)>;
    fn pop_first(&mut self) -> Outcome<Option<(u64, String)>>;
}

pub fn open(name: &str, directory: &Path, mode: Mode) -> Outcome<Box<dyn Peer>> {
    Ok(match name {
        "floor" => Box::new(floor::Floor::open(mode)?),
        "larder" => Box::new(larder::Larder::open(directory, mode)?),
        "larder-fanout" => Box::new(larder::Larder::open_sharded(directory, mode)?),
        "sqlite" => Box::new(sqlite::Sqlite::open(directory, mode)?),
        "lmdb" => Box::new(lmdb::Lmdb::open(directory, mode, false)?),
        "lmdb-durable" => Box::new(lmdb::Lmdb::open(directory, mode, true)?),
        "redb" => Box::new(redb::Redb::open(directory, mode)?),
        "fjall" => Box::new(fjall::Fjall::open(directory, mode)?),
        "sled" => Box::new(sled::Sled::open(directory, mode)?),
        other => return Err(format!("no store is called {other}; there are {}", NAMES.join(", ")).into()),
    })
}

pub fn open_queue(name: &str, directory: &Path) -> Outcome<Box<dyn Queue>> {
    match name {
        "larder" => Ok(Box::new(larder::queue(directory)?)),
        "sqlite" => Ok(Box::new(sqlite::queue(directory)?)),
        "larder-fanout" | "lmdb-durable" => why_not(VARIANT),
        _ => why_not("no queue"),
    }
}

pub fn open_sorted(name: &str, directory: &Path) -> Outcome<Box<dyn Sorted>> {
    match name {
        "larder" => Ok(Box::new(larder::sorted(directory)?)),
        "sqlite" => Ok(Box::new(sqlite::sorted(directory)?)),
        "lmdb" => Ok(Box::new(lmdb::Lmdb::open(directory, Mode::default(), false)?)),
        "redb" => Ok(Box::new(redb::Redb::open(directory, Mode::default())?)),
        "sled" => Ok(Box::new(sled::Sled::open(directory, Mode::default())?)),
        "fjall" => why_not("no call that takes the first pair in one step"),
        "floor" => why_not("a hash map is not sorted"),
        _ => why_not(VARIANT),
    }
}

/// Of a store that is there for a few rows.
pub const VARIANT: &str = "measured where it differs from the store it is a kind of";

/// Stores that several processes may have open at a time.
pub fn is_shared(name: &str) -> bool {
    !matches!(name, "floor" | "redb" | "fjall" | "sled")
}

/// Whether the store is one of those for a few rows.
pub fn is_variant(name: &str) -> bool {
    matches!(name, "larder-fanout" | "lmdb-durable")
}

/// What a store is refused that has no limit by itself.
fn without_limit(mode: Mode) -> Outcome<()> {
    if mode.limit.is_some() { why_not("no size limit: nothing is evicted") } else { Ok(()) }
}

/// Counters are stored as eight bytes where a store knows no numbers.
fn counted(found: Option<&[u8]>) -> Outcome<i64> {
    Ok(found.map_or(Ok(0), |bytes| bytes.try_into().map(i64::from_le_bytes))? + 1)
}
