//! The calls of namespaces and queues.

use std::sync::Arc;
use std::time::Duration;

use super::{Calls, Facts, Written, append_value, facts, with_buffer};
use crate::engine::{Bound, End, Handle, Kind, Label, Namespace, Put, Span, Tag, Value};
use crate::error::Result;
use crate::os::real::RealOs;

/// Which element is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The one at an end.
    At(End),
    /// By its number from the front.
    Number(u64),
    /// By its position, whatever was pushed or popped since.
    Position(u64),
}

impl Place {
    fn of(self, span: Span) -> Option<u64> {
        match self {
            Place::At(end) => span.at(end),
            Place::Number(number) => span.position(number),
            Place::Position(position) => (position.wrapping_sub(span.first) < span.len).then_some(position),
        }
    }
}

/// The setting of a namespace as a handle knows it, and the word that it was read under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    pub version: u64,
    pub value: u64,
}

/// What is made of an element under the lock, before it goes: its kind and its bytes.
pub type Take<'t> = &'t mut dyn FnMut(u8, &[u8]) -> Result<()>;

/// The calls of namespaces and queues.
pub trait Queues {
    /// The namespace of a name, made if there is none. Of one that `holds`, what is to say who has something goes into it: it may
    /// use the room of removals.
    fn namespace(&self, label: Label<'_>, holds: bool) -> Result<Namespace>;
    /// The same where nothing is to be made.
    fn find_namespace(&self, label: Label<'_>) -> Result<Option<Namespace>>;
    /// Id and name of each row of a kind whose name begins like that.
    fn rows_of(&self, kind: Kind, begin: &str) -> Result<Vec<(u32, String)>>;
    /// The setting of a namespace, if it is another than the one that is known.
    fn setting(&self, namespace: Namespace, known: u64) -> Result<Option<Setting>>;
    fn set_setting(&self, namespace: Namespace, label: Label<'_>, value: u64) -> Result<()>;

    fn span(&self, queue: Namespace) -> Result<Span>;
    /// Copies the value of an element into `to`, which is emptied first.
    fn element(&self, queue: Namespace, place: Place, to: &mut Vec<u8>) -> Result<Option<Facts>>;
    /// False, and nothing is changed, if the queue has been set to another bound.
    fn push(&self, queue: Namespace, end: End, kind: u8, bytes: &[u8], bound: Bound) -> Result<bool>;
    /// True if there was one. It stays if `take` fails.
    fn pop(&self, queue: Namespace, end: End, take: Take<'_>) -> Result<bool> {
        self.pop_within(queue, end, None, take)
    }
    /// The same with another time-out for the lock of the store than the handle's.
    fn pop_within(&self, queue: Namespace, end: End, timeout: Option<Duration>, take: Take<'_>) -> Result<bool>;
    /// False if there is none.
    fn replace(&self, queue: Namespace, place: Place, kind: u8, bytes: &[u8]) -> Result<bool>;
    /// Removes all items of a namespace. How many there were.
    fn empty(&self, label: Label<'_>) -> Result<u64>;
    /// Sleeps until somebody may have pushed an element or let go of something, or for `timeout`.
    fn sleep_unless(&self, is_there: &mut dyn FnMut() -> Result<bool>, timeout: Duration) -> Result<()>;
    /// Wakes all who sleep.
    fn wake(&self);
    /// True inside a transaction.
    fn is_inside(&self) -> bool;
    /// How long this handle waits for the lock.
    fn lock_timeout(&self) -> Duration;
    /// The id of this handle.
    fn owner(&self) -> u32;
    /// A number that no other store has.
    fn id(&self) -> u64;
    /// True if that is its number, or that of a shard of the same cache.
    fn is_beside(&self, id: u64) -> bool;
    /// True if the handle that made a change is there still.
    fn is_owner_alive(&self, owner: u32, sequence: u64) -> bool;
    /// The machine's clock, nanoseconds since 1970. Unlike [`Whole::now`](super::Whole::now) it may go back: what counts time that
    /// passes would stand still for as long as the clock was ahead once.
    fn clock(&self) -> u64;
    /// False if the process is to have no threads but its own.
    fn may_start_threads(&self) -> bool;
    /// What gives the store again as long as somebody has it open, and does not keep it open.
    fn while_open(&self) -> WhileOpen;
}

/// A store while somebody has it open.
pub(crate) type WhileOpen = Box<dyn Fn() -> Option<Arc<dyn Calls>> + Send>;

/// Calls `store` with the put of a value, which is written to a file of its own first if it is large.
pub(super) fn with_put<R>(
    handle: &Handle<RealOs>,
    tag: u32,
    kind: u8,
    bytes: &[u8],
    store: impl FnOnce(Put<'_>) -> Result<R>,
) -> Result<R> {
    let put = |value| Put { kind, value, expires: None, tag: Tag::Id(tag) };
    if handle.is_large(bytes.len()) {
        let draft = (**handle).draft(bytes)?;
        return store(put(draft.value()));
    }
    store(put(Value::Inline(bytes)))
}

impl Queues for Handle<RealOs> {
    fn namespace(&self, label: Label<'_>, holds: bool) -> Result<Namespace> {
        Handle::namespace(self, label, holds)
    }

    fn find_namespace(&self, label: Label<'_>) -> Result<Option<Namespace>> {
        let id = (**self).tag_id(label)?;
        Ok(id.map(|id| Namespace { kind: label.kind, id }))
    }

    fn rows_of(&self, kind: Kind, begin: &str) -> Result<Vec<(u32, String)>> {
        (**self).rows_of(kind, begin)
    }

    fn setting(&self, namespace: Namespace, known: u64) -> Result<Option<Setting>> {
        let version = (**self).setting_version(namespace);
        if version == known && version != 0 {
            return Ok(None);
        }
        Ok(Some(Setting { version, value: (**self).setting(namespace)? }))
    }

    fn set_setting(&self, namespace: Namespace, label: Label<'_>, value: u64) -> Result<()> {
        Handle::set_setting(self, namespace, label, value)
    }

    fn span(&self, queue: Namespace) -> Result<Span> {
        Handle::span(self, queue)
    }

    fn element(&self, queue: Namespace, place: Place, to: &mut Vec<u8>) -> Result<Option<Facts>> {
        self.read_queue(
            queue,
            |span| place.of(span),
            |record| {
                to.clear();
                append_value(self, record, to)?;
                Ok(facts(record))
            },
        )
    }

    fn push(&self, queue: Namespace, end: End, kind: u8, bytes: &[u8], bound: Bound) -> Result<bool> {
        with_put(self, queue.id, kind, bytes, |put| Handle::push(self, queue, end, put, bound))
    }

    fn pop_within(&self, queue: Namespace, end: End, timeout: Option<Duration>, take: Take<'_>) -> Result<bool> {
        let taken = with_buffer(|bytes| {
            Handle::pop(self, queue, end, timeout, |record| {
                bytes.clear();
                append_value(self, record, bytes)?;
                take(record.header().kind, bytes)
            })
        });
        Ok(taken?.is_some())
    }

    fn replace(&self, queue: Namespace, place: Place, kind: u8, bytes: &[u8]) -> Result<bool> {
        with_put(self, queue.id, kind, bytes, |put| Handle::replace(self, queue, |span| place.of(span), put))
    }

    fn empty(&self, label: Label<'_>) -> Result<u64> {
        Handle::evict(self, label)
    }

    fn sleep_unless(&self, is_there: &mut dyn FnMut() -> Result<bool>, timeout: Duration) -> Result<()> {
        Handle::sleep_unless(self, is_there, timeout)
    }

    fn wake(&self) {
        self.wake_takers();
    }

    fn is_inside(&self) -> bool {
        matches!(self, Handle::Inside(_))
    }

    fn lock_timeout(&self) -> Duration {
        (**self).lock_timeout()
    }

    fn owner(&self) -> u32 {
        (**self).owner()
    }

    fn id(&self) -> u64 {
        self.store_id
    }

    fn is_beside(&self, id: u64) -> bool {
        (**self).is_beside(id)
    }

    fn is_owner_alive(&self, owner: u32, sequence: u64) -> bool {
        (**self).is_owner_alive(owner, sequence)
    }

    fn clock(&self) -> u64 {
        (**self).clock()
    }

    fn may_start_threads(&self) -> bool {
        (**self).may_start_threads()
    }

    fn while_open(&self) -> WhileOpen {
        let handle = self.downgrade();
        Box::new(move || Some(Arc::new(handle.as_ref()?.upgrade()?)))
    }
}
