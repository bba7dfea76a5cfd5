//! larder: a persistent cache shared by many threads and processes of one machine.

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
