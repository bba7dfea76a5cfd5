//! A persistent cache shared by many threads and processes of one machine, without a server.
//!
//! ```
//! use larder::{Cache, SetOptions};
//! use std::time::Duration;
//! # let dir = tempfile::tempdir()?;
//! let cache = Cache::open(&dir)?; // any number of processes may
//! cache.set_with("page", "<html>", SetOptions::new().expire(Duration::from_secs(60)).tag("pages"))?;
//! assert_eq!(cache.get::<String>("page")?.as_deref(), Some("<html>"));
//! assert_eq!(cache.incr("visits", 1)?, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | | |
//! |---|---|
//! | [`Cache`] | keys and values with expiry, tags, counters, transactions, and eviction under a size limit |
//! | [`FanoutCache`] | the same in several shards, for several processes that write most of the time |
//! | [`Deque`] | a double-ended queue, with waiting pops and leases |
//! | [`Index`] | a map sorted by key |
//! | [`memoize`](macro@memoize), [`Memoize`] | functions whose results are kept |
//! | [`recipes`] | locks, semaphores, barriers, throttles and averages between processes |
//!
//! A key is anything with [`Key`]: numbers, strings, bytes, tuples, and types that derive it. A value is anything with serde's
//! traits. Bytes are stored as they are by [`set_bytes`](Cache::set_bytes) and its like; a `Vec<u8>` given to
//! [`set`](Cache::set) is a list of numbers to serde, and to [`get_bytes`](Cache::get_bytes) another type.
//!
//! # Large values
//!
//! Values of 256 KiB and more have files of their own: they cost some system calls, they are not moved, and after a power cut
//! one whose file had not reached the disk is absent, alone. Where the size limit, or a shard's part of it, is less than 256 MiB,
//! values are large from an eighth of a segment on: from 64 KiB at a limit of 64 MiB, from 8 KiB at 2 MiB.
//!
//! # Errors
//!
//! Whatever changes a store may be [`Error::Timeout`] (another process has the lock for longer than the lock time-out),
//! [`Error::Full`], [`Error::ReadOnly`], [`Error::InTransaction`], [`Error::Replaced`] (the directory was removed), [`Error::Io`],
//! [`Error::Corrupt`], and, of handles with [`Durability::Sync`], [`Error::NotDurable`]. Reading may be [`Error::Type`],
//! [`Error::Codec`], [`Error::Corrupt`] and [`Error::Io`]. The documentation of a call names what is particular to it.
//!
//! # Files
//!
//! A store is one directory. It and its files belong to the user who made them, with modes 0700 and 0600; nobody else can
//! share it. Their format has a version: a directory of another one is [`Error::FormatVersion`], and is left as it is.
//!
//! # Features
//!
//! `macros`, on by default: `#[derive(Key)]`, `#[derive(OwnedKey)]` and `#[memoize]`. `json`: the codec `Json`, which
//! stores values as JSON text.

#[cfg(not(all(unix, target_pointer_width = "64")))]
compile_error!("larder maps files that processes share: it needs a 64-bit Unix");

#[macro_use]
mod seeded;

mod cache;
mod calls;
mod codec;
mod deque;
mod engine;
mod error;
#[cfg(feature = "macros")]
#[doc(hidden)]
pub mod expansion;
mod fanout;
mod flight;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod index;
mod key;
mod ledger;
mod memoize;
mod options;
mod os;
mod queue;
pub mod recipes;
mod storage;
mod stream;
mod value;

pub use cache::{
    Builder, Cache, End, Entries, Entry, Evicted, Items, Keys, OrderedItems, OrderedKeys, Progress, Report, Single,
    Transaction, TypedCache, ValueRef,
};
#[cfg(feature = "json")]
pub use codec::Json;
pub use codec::{Codec, Postcard};
pub use deque::{Deque, DequeBuilder, DequeIter, Lease};
pub use error::{BoxError, ConfigProblem, Corruption, Damage, Error, IoFailure, Result, TypeMismatch};
pub use fanout::{FanoutCache, Sharded};
pub use index::{
    AsKey, EncodedBounds, Index, IndexBuilder, IndexInserted, IndexKeys, IndexRange, IndexValues, KeyPrefix, KeyRange,
};
pub use key::{AnyKey, Key, KeyReader, KeyWriter, KeyWritten, OwnedKey, TupleWriter};
#[cfg(feature = "macros")]
#[doc(inline)]
pub use larder_macros::{Key, OwnedKey, memoize};
pub use memoize::{Memoize, Memoized};
pub use options::{Durability, Eviction, MAX_KEY_BYTES, MAX_TAG_BYTES, MIN_SIZE_LIMIT, SetOptions, Settings, Stats};

pub use queue::{QueueKey, QueueOptions, QueueSide};
pub use stream::{ValueReader, ValueWriter};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
