//! The engine on the real operating system, as calls without type parameters: they are compiled with this crate, once,
//! and not again with every program that has a cache. A call is one jump through a table more.
//!
//! It knows the engine and its records; it knows no types of keys and values, and no codec. The calls of queues are in
//! `queues` and those of indexes in `orders`; `direct` carries them out on a store, `within` on a cache within one, and
//! `fan` on several stores that are one.

mod buffer;
mod direct;
mod fan;
mod orders;
mod pairs;
mod queues;
mod streams;
mod within;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::{
    Change, Counter, DecidedValue, Decision, Found, Handle, Hold, Label, LargeValue, Namespace, Op, Opening, OwnedTag,
    Progress, Report, Segment, Shards, Shared, Space, Store, Sums, Value,
};
use crate::error::{ConfigProblem, Error, Result};
use crate::options::{MAX_KEY_BYTES, MAX_TAG_BYTES, SetOptions};
use crate::os::Pinned;
use crate::os::real::RealOs;

use direct::{append_value, facts};
use fan::Fan;

pub(super) use buffer::with_buffer;
pub(super) use orders::Orders;
pub(super) use pairs::{Arena, Pairs};
pub(super) use queues::{Place, Queues, Setting, WhileOpen};
pub(super) use streams::{Grows, Opened, Source, Streamed, Streams};

/// A live record.
pub(super) type Record<'f> = Found<'f, RealOs>;

/// What is known of a record, but for its key and value.
pub(super) struct Facts {
    pub kind: u8,
    pub expires: u64,
    pub tag: u32,
    pub sequence: u64,
    pub order: u64,
}

/// One item as a scan found it.
pub(super) struct Raw {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub facts: Facts,
}

/// What a scan is to find.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub with_values: bool,
    pub tag: Option<u32>,
    /// The items of this namespace alone, by their keys in it; `None` for those of the store itself.
    pub namespace: Option<Namespace>,
}

/// What `get_many` has copied so far: for each key found, kind and place of its value.
pub(super) struct Taken {
    pub bytes: Vec<u8>,
    pub found: Vec<Option<(u8, Range<usize>)>>,
}

/// A value's bytes where they are.
pub(super) enum Borrowed {
    Log(Pinned<Segment<RealOs>>),
    File(Pinned<LargeValue<RealOs>>),
    /// What a transaction has staged is nowhere to be borrowed from.
    Copied(Vec<u8>),
}

impl Deref for Borrowed {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Borrowed::Log(bytes) => bytes,
            Borrowed::File(bytes) => bytes,
            Borrowed::Copied(bytes) => bytes,
        }
    }
}

/// A large value of the store, written and not yet committed. Goes again when it is dropped first.
pub(super) trait Written {
    fn value(&self) -> Value<'static>;
    fn decided(&self) -> DecidedValue;
}

/// What decides about a change while nobody can make another: is given the live record and a buffer for the value.
pub(super) type Decide<'d> = &'d mut dyn FnMut(Option<&Record<'_>>, &mut Vec<u8>) -> Result<Decision>;

/// What runs in a transaction; false takes everything back.
pub(super) type Body<'b> = &'b mut dyn FnMut(Arc<dyn Whole>) -> bool;

/// How a transaction is run.
#[derive(Clone, Copy, Default)]
pub(super) struct How {
    /// For the locks; `None` for that of the handle.
    pub timeout: Option<Duration>,
    /// After a power cut it may be there in some shards and not in others.
    pub may_tear: bool,
    /// It says who has something: it needs not be durable, and calls no listener once it is done.
    pub holds: bool,
}

/// A cache as one: a store, several shards, a cache within one, or a running transaction on one of these. What concerns one key
/// is asked of the store that has it, which [`Whole::of`] gives.
pub(super) trait Whole: Send + Sync {
    /// What has a key.
    fn of(&self, key: &[u8]) -> &dyn Calls;
    /// The same, to be kept.
    fn part(self: Arc<Self>, key: &[u8]) -> Arc<dyn Calls>;
    /// All that have keys.
    fn parts(self: Arc<Self>) -> Vec<Arc<dyn Calls>>;
    /// The cache of a name within, made if there is none.
    fn within(self: Arc<Self>, name: &str) -> Result<Arc<dyn Whole>>;

    fn directory(&self) -> &Path;
    /// Nanoseconds since 1970, as the store sees them.
    fn now(&self) -> u64;
    fn count(&self, counter: Counter, by: u64);
    /// Counts one, whether statistics are on or not.
    fn count_always(&self, counter: Counter);

    /// Copies values, all as of one moment. The hashes are those of what has the keys.
    fn get_many(&self, keys: &[(&[u8], u64)], taken: &mut Taken) -> Result<()>;
    /// Makes changes together. A tag is one that was asked for, by its name.
    fn batch(&self, ops: &[Op<'_>]) -> Result<u64>;
    fn transact(&self, how: How, body: Body<'_>) -> Result<()>;

    fn len(&self) -> u64;
    fn volume(&self) -> u64;
    fn expire(&self) -> Result<u64>;
    fn cull(&self) -> Result<u64>;
    fn evict(&self, tag: &str) -> Result<u64>;
    fn clear(&self) -> Result<u64>;
    fn sync(&self) -> Result<()>;
    fn shared_settings(&self) -> Shared;
    fn change_settings(&self, change: &mut dyn FnMut(&mut Shared)) -> Result<Shared>;
    fn sums(&self) -> Result<Sums>;
    fn reset_sums(&self) -> Result<Sums>;
    fn space(&self) -> Result<Space>;
    fn check(&self, progress: &mut dyn FnMut(Progress)) -> Result<Report>;
    fn repair(&self, progress: &mut dyn FnMut(Progress)) -> Result<Report>;
}

/// The calls of a store, of a cache within one, or of a running transaction on one.
pub(super) trait Calls: Whole + Queues + Orders + Streams {
    fn hash(&self, key: &[u8]) -> u64;

    /// Copies a value into `to`, which is emptied first, and counts a hit or a miss.
    fn get(&self, key: &[u8], to: &mut Vec<u8>) -> Result<Option<Facts>>;
    /// As `get`, and counts no hit. Counts as a use of the item.
    fn read(&self, key: &[u8], to: &mut Vec<u8>) -> Result<Option<Facts>>;
    /// As `get`, and counts neither a hit nor a use.
    fn peek(&self, key: &[u8], to: &mut Vec<u8>) -> Result<Option<Facts>>;
    /// True if the key is live. Counts as a use of it.
    fn uses(&self, key: &[u8]) -> Result<bool>;
    /// True if the key is live. Counts nothing.
    fn contains(&self, key: &[u8]) -> Result<bool>;
    fn borrow(&self, key: &[u8]) -> Result<Option<(Borrowed, u8)>>;
    /// The value of a record that was found.
    fn value(&self, record: &Record<'_>) -> Result<Vec<u8>>;
    /// Adds what is in the bucket at `position` to `found`, and gives the position after it; `None` at the end.
    fn scan(&self, position: u64, wanted: Wanted, found: &mut VecDeque<Raw>) -> Result<Option<u64>>;

    fn put(&self, key: &[u8], kind: u8, bytes: &[u8], options: &SetOptions<'_>) -> Result<()>;
    /// The same with the row of a tag; the kind of the value and its bytes.
    fn put_tagged(&self, key: &[u8], value: (u8, &[u8]), expires: Option<u64>, tag: u32) -> Result<()>;
    fn remove(&self, key: &[u8]) -> Result<bool>;
    fn update(&self, key: &[u8], decide: Decide<'_>) -> Result<()>;
    /// The same for what says who holds something: it needs not be durable, and calls no listener once it is done.
    fn update_held(&self, key: &[u8], hold: Hold, decide: Decide<'_>) -> Result<()>;
    /// Writes a value to a file of its own; `None` if it is not large.
    fn draft<'s>(&'s self, bytes: &[u8]) -> Result<Option<Box<dyn Written + 's>>>;

    /// A key as the store has it, if it is not too long for that.
    fn whole_key<'k>(&self, key: &'k [u8]) -> Result<Cow<'k, [u8]>>;
    /// A change as the store has it: with the row of the tag that was asked for by name, where it has one of its own.
    fn placed<'c>(&self, change: Change<'c>) -> Result<Change<'c>>;
    /// The tag that options ask for.
    fn tag_of(&self, options: &SetOptions<'_>) -> Result<OwnedTag>;
    /// The name of the tag of a record.
    fn tag_name(&self, facts: &Facts) -> Result<Option<String>>;
    fn tag_id(&self, name: &str) -> Result<Option<u32>>;
    /// From which sequence on a record with that id has the tag of that name. `None` if none has.
    fn tag_since(&self, name: &str, id: u32) -> Result<Option<u64>>;
}

/// Runs `body` as a transaction on what it is given.
pub(super) fn transact<R, E: From<Error>>(
    store: &(impl Whole + ?Sized),
    how: How,
    body: impl FnOnce(Arc<dyn Whole>) -> Result<R, E>,
) -> Result<R, E> {
    let (mut body, mut answer) = (Some(body), None);
    let committed = store.transact(how, &mut |inside| {
        answer = body.take().map(|body| body(inside));
        matches!(answer, Some(Ok(_)))
    });
    match (committed, answer) {
        (Ok(()), Some(answer)) => answer,
        (Err(error), _) => Err(error.into()),
        (Ok(()), None) => Err(Error::InTransaction.into()),
    }
}

/// The same on a store that has all keys of its caller.
pub(super) fn transact_on<R, E: From<Error>>(
    store: &dyn Calls,
    how: How,
    body: impl FnOnce(Arc<dyn Calls>) -> Result<R, E>,
) -> Result<R, E> {
    transact(store, how, |inside| body(inside.part(&[])))
}

/// How a transaction ends that does not commit.
pub(super) enum Stop {
    Body,
    Engine(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Engine(error)
    }
}

impl Stop {
    /// What a body is for the engine that said whether to keep what it did.
    fn unless(keeps: bool) -> Result<(), Stop> {
        if keeps { Ok(()) } else { Err(Stop::Body) }
    }

    /// What became of a transaction. That its body did not want it is no failure.
    fn end(ended: Result<(), Stop>) -> Result<()> {
        match ended {
            Ok(()) | Err(Stop::Body) => Ok(()),
            Err(Stop::Engine(error)) => Err(error),
        }
    }
}

/// Opens a fan-out cache, or makes it.
pub(super) fn open_shards(directory: &Path, shards: Option<u32>, opening: &Opening) -> Result<Arc<dyn Whole>> {
    let os = || RealOs::new().map_err(|e| Error::io("open", directory, e));
    Ok(Arc::new(Fan::new(Shards::open(os, directory, shards, opening)?)))
}

/// Opens a store, or makes it.
pub(super) fn open(directory: &Path, opening: &Opening) -> Result<Arc<dyn Calls>> {
    let os = RealOs::new().map_err(|e| Error::io("open", directory, e))?;
    Ok(Arc::new(Handle::new(Store::open(os, directory, opening)?)))
}

/// The tag of a call's options, if it is not too long.
pub(super) fn checked_tag<'a>(options: &'a SetOptions<'_>) -> Result<Option<&'a str>> {
    match options.tag.as_deref() {
        Some(tag) if tag.len() > MAX_TAG_BYTES => Err(Error::TagTooLarge { bytes: tag.len() }),
        tag => Ok(tag),
    }
}

/// [`Error::KeyTooLarge`] if a key, as the store has it, is.
pub(crate) fn checked_key(whole: &[u8]) -> Result<()> {
    if whole.len() > MAX_KEY_BYTES { Err(Error::KeyTooLarge { bytes: whole.len() }) } else { Ok(()) }
}

/// Puts many in by one commit, or, where that is more than a transaction may have, by as few as it takes.
pub(super) fn put_together<T>(all: &[T], put: &mut impl FnMut(&[T]) -> Result<()>) -> Result<()> {
    match put(all) {
        Err(Error::TransactionTooLarge { .. }) if all.len() > 1 => {
            let (first, second) = all.split_at(all.len() / 2);
            put_together(first, put)?;
            put_together(second, put)
        }
        ended => ended,
    }
}

/// How long a writer waits for the lock if its builder says nothing else.
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// The namespace of a name, made if there is none.
pub(super) fn open_namespace(store: &dyn Calls, label: Label<'_>) -> Result<Namespace> {
    if let Some(there) = store.find_namespace(label)? {
        return Ok(there);
    }
    match store.namespace(label, false) {
        Err(Error::ReadOnly) => Err(Error::Config(ConfigProblem::NothingToRead)),
        made => made,
    }
}

/// Refuses what is no name of a namespace.
pub(super) fn check_name(name: &str) -> Result<()> {
    if name.len() > MAX_TAG_BYTES {
        return Err(Error::TagTooLarge { bytes: name.len() });
    }
    // The engine's own names have one.
    if name.contains('\0') { Err(Error::Config(ConfigProblem::Name)) } else { Ok(()) }
}

/// When an item with these options expires, in nanoseconds since 1970.
#[inline]
pub(super) fn expiry(store: &(impl Whole + ?Sized), after: Option<Duration>) -> Option<u64> {
    let after = u64::try_from(after?.as_nanos()).ok()?;
    store.now().checked_add(after).filter(|&at| at != u64::MAX)
}
