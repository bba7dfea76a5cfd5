//! larder: a `Cache`, a `FanoutCache` of eight shards, a `Deque` and an `Index`.

use std::path::Path;
use std::time::Duration;

use larder::{Cache, Deque, Durability, Eviction, FanoutCache, Index, Memoize, Memoized, SetOptions};
use serde::{Serialize, Serializer};

use super::{Mode, Peer, Queue, Sorted};
use crate::draw::Key;
use crate::measure::Outcome;

/// Above what any row stores.
const NO_LIMIT: u64 = 64 << 30;
const SHARDS: u32 = 8;

pub struct Larder {
    cache: Cache,
    function: Memoized,
}

/// Stored as `set_bytes` stores it, in a call that takes serde values.
struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// The options of a mode, for either kind of builder.
macro_rules! opened {
    ($builder:expr, $mode:expr) => {{
        let policy = if $mode.lru { Eviction::LeastRecentlyUsed } else { Eviction::S3Fifo };
        let durability = if $mode.sync { Durability::Sync } else { Durability::Buffered };
        $builder.size_limit($mode.limit.unwrap_or(NO_LIMIT)).eviction(policy).durability(durability).open()
    }};
}

impl Larder {
    pub fn open(directory: &Path, mode: Mode) -> Outcome<Larder> {
        Ok(Larder::of(opened!(Cache::builder(directory), mode)?))
    }

    /// Its calls are those of a cache.
    pub fn open_sharded(directory: &Path, mode: Mode) -> Outcome<Larder> {
        Ok(Larder::of((*opened!(FanoutCache::builder(directory).shards(SHARDS), mode)?).clone()))
    }

    fn of(cache: Cache) -> Larder {
        let function = cache.memoize(Memoize::new("compare::function"));
        Larder { cache, function }
    }
}

impl Peer for Larder {
    fn get(&mut self, key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        Ok(self.cache.get_bytes(key)?)
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Outcome<()> {
        Ok(self.cache.set_bytes(key, value)?)
    }

    fn delete(&mut self, key: &[u8]) -> Outcome<bool> {
        Ok(self.cache.delete(key)?)
    }

    fn set_many(&mut self, pairs: &[(Key, Vec<u8>)]) -> Outcome<()> {
        Ok(self.cache.set_many(pairs.iter().map(|(key, value)| (key, Bytes(value))))?)
    }

    fn clear(&mut self) -> Outcome<()> {
        self.cache.clear()?;
        Ok(())
    }

    fn incr(&mut self, key: &[u8]) -> Outcome<i64> {
        Ok(self.cache.incr(key, 1)?)
    }

    fn set_tagged(&mut self, key: &[u8], value: &[u8], tag: &str) -> Outcome<()> {
        Ok(self.cache.set_bytes_with(key, value, SetOptions::new().tag(tag))?)
    }

    fn evict(&mut self, tag: &str) -> Outcome<u64> {
        Ok(self.cache.evict(tag)?)
    }

    fn set_expiring(&mut self, key: &[u8], value: &[u8], after: Duration) -> Outcome<()> {
        Ok(self.cache.set_bytes_with(key, value, SetOptions::new().expire(after))?)
    }

    fn expire(&mut self) -> Outcome<u64> {
        Ok(self.cache.expire()?)
    }

    fn memoized(&mut self, arguments: (u64, &str)) -> Outcome<Option<Vec<u8>>> {
        let mut is_hit = true;
        let found: String = self.function.call(arguments, || {
            is_hit = false;
            String::new()
        });
        Ok(is_hit.then(|| found.into_bytes()))
    }

    fn memoize(&mut self, arguments: (u64, &str), result: &[u8]) -> Outcome<()> {
        let result = std::str::from_utf8(result)?;
        let stored: String = self.function.call(arguments, || result.to_owned());
        assert_eq!(stored, result);
        Ok(())
    }
}

pub fn queue(directory: &Path) -> Outcome<Deque<String>> {
    Ok(Deque::open(directory)?)
}

impl Queue for Deque<String> {
    fn push_back(&mut self, value: &str) -> Outcome<()> {
        Ok(Deque::push_back(self, value)?)
    }

    fn pop_front(&mut self) -> Outcome<Option<String>> {
        Ok(Deque::pop_front(self)?)
    }
}

pub fn sorted(directory: &Path) -> Outcome<Index<u64, String>> {
    Ok(Index::<u64, String>::builder(directory).size_limit(NO_LIMIT).open()?)
}

impl Sorted for Index<u64, String> {
    fn insert(&mut self, key: u64, value: &str) -> Outcome<()> {
        Ok(Index::insert(self, key, value).map(drop)?)
    }

    fn fill(&mut self, keys: &mut dyn Iterator<Item = u64>, value: &str) -> Outcome<()> {
        Ok(self.extend(keys.map(|key| (key, value.to_owned())))?)
    }

    fn walk(&mut self, most: u64) -> Outcome<(u64, u64)> {
        let (mut count, mut bytes) = (0, 0);
        for pair in self.range(..).take(most as usize) {
            let (_, value) = pair?;
            count += 1;
            bytes += value.len() as u64;
        }
        Ok((count, bytes))
    }

    fn pop_first(&mut self) -> Outcome<Option<(u64, String)>> {
        Ok(Index::pop_first(self)?)
    }
}
