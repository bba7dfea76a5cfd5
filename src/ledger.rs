//! What the crate writes down in a store for itself: small notes under names of its own, which are never evicted, are no items
//! of the cache, and survive its `clear`. Who computes what stands there, and who holds a lock.
//!
//! A note that names a holder has a *token*: the id of the holder's handle in the high half, a number of the process in the
//! low one. A holder that died is found by that; see [`Ledger::is_held`].
//!
//! Who waits for a note to change sleeps on a word of the store, which whoever lets go of something wakes. It naps only so long
//! at a time, for nobody wakes it when a holder dies.

pub(crate) mod later;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::calls::{Calls, Decide, Raw, Wanted, checked_key};
use crate::engine::{DecidedValue, Decision, Hold, Kind, Label, Namespace, OwnedTag};
use crate::error::{Error, Result};

/// The longest sleep: so soon the death of a holder is noticed.
const NAP: Duration = Duration::from_millis(250);
/// How long it is waited for the lock of a store to do what could not be done before.
const AT_ONCE: Duration = Duration::from_millis(1);
/// From so many notes of a name on, who makes one looks for some that say nothing any more.
const MANY: u64 = 1000;
/// The kind of a note's value. No value of a user's stands in a ledger.
const NOTE: u8 = 255;

/// The number of the next holder of this process.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A part of a store's notes.
#[derive(Clone)]
pub(crate) struct Ledger {
    store: Arc<dyn Calls>,
    space: Namespace,
    is_over: IsOver,
}

/// Whether a note says nothing any more.
type IsOver = fn(&Ledger, &Note) -> bool;

/// A note, and the commit that wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Note {
    pub bytes: Vec<u8>,
    pub sequence: u64,
}

/// What becomes of a note.
pub(crate) enum Change {
    Keep,
    Write(Vec<u8>),
    Erase,
}

/// Until when a call waits. A moment too far away to have a name is never.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    pub fn after(timeout: Option<Duration>) -> Deadline {
        Deadline(timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
    }

    /// The length of the next nap; `None` once it is over.
    fn nap(self, most: Duration) -> Option<Duration> {
        let left = self.0.map_or(NAP, |end| end.saturating_duration_since(Instant::now()));
        (!left.is_zero()).then(|| left.min(NAP).min(most))
    }
}

impl Ledger {
    /// The notes of a name, made if there are none. Not inside a transaction: nobody else would see them.
    ///
    /// `is_over` says of a note whether everything would go on as it does if it were not there.
    pub fn open(store: &Arc<dyn Calls>, name: &str, is_over: IsOver) -> Result<Ledger> {
        if store.is_inside() {
            return Err(Error::InTransaction);
        }
        let label = Label { kind: Kind::Ledger, name };
        let space = store.find_namespace(label)?.map_or_else(|| store.namespace(label, false), Ok)?;
        Ok(Ledger { store: Arc::clone(store), space, is_over })
    }

    /// What tells these notes from others of the store: a cache within another has its own.
    pub fn id(&self) -> u32 {
        self.space.id
    }

    /// A token that nobody has had in this store.
    pub fn token(&self) -> u64 {
        self.token_of(NUMBER.fetch_add(1, Ordering::Relaxed))
    }

    /// The token of a number.
    pub fn token_of(&self, number: u32) -> u64 {
        u64::from(self.store.owner()) << 32 | u64::from(number)
    }

    /// The machine's clock, nanoseconds since 1970.
    pub fn clock(&self) -> u64 {
        self.store.clock()
    }

    /// True if the handle of a token that a note has is there still.
    pub fn is_held(&self, token: u64, sequence: u64) -> bool {
        self.store.is_owner_alive((token >> 32) as u32, sequence)
    }

    fn key(&self, name: &[u8]) -> Result<Vec<u8>> {
        let key = [&self.space.prefix()[..], name].concat();
        checked_key(&key)?;
        Ok(key)
    }

    pub fn read(&self, name: &[u8]) -> Result<Option<Note>> {
        let mut bytes = Vec::new();
        let found = self.store.peek(&self.key(name)?, &mut bytes)?;
        Ok(found.map(|facts| Note { bytes, sequence: facts.sequence }))
    }

    /// Changes a note while nobody else can. What `decide` gives beside the change is the answer.
    pub fn change<R>(&self, name: &[u8], decide: impl FnMut(Option<Note>) -> Result<(Change, R)>) -> Result<R> {
        self.change_by(name, decide, |key, decide| self.store.update(key, decide))
    }

    /// The same for a note that says who holds something: it needs not be durable, and no listener comes between the change and
    /// who makes it.
    pub fn change_held<R>(
        &self,
        name: &[u8],
        hold: Hold,
        decide: impl FnMut(Option<Note>) -> Result<(Change, R)>,
    ) -> Result<R> {
        self.change_by(name, decide, |key, decide| self.store.update_held(key, hold, decide))
    }

    fn change_by<R>(
        &self,
        name: &[u8],
        mut decide: impl FnMut(Option<Note>) -> Result<(Change, R)>,
        update: impl FnOnce(&[u8], Decide<'_>) -> Result<()>,
    ) -> Result<R> {
        let key = self.key(name)?;
        let (mut answer, mut is_new) = (None, false);
        update(&key, &mut |present, buffer| {
            let note = present
                .map(|record| {
                    let bytes = record.value().ok_or_else(|| record.damaged(self.store.directory()))?;
                    Ok::<_, Error>(Note { bytes, sequence: record.header().sequence })
                })
                .transpose()?;
            let was_there = note.is_some();
            let (change, given) = decide(note)?;
            answer = Some(given);
            is_new = !was_there && matches!(change, Change::Write(_));
            Ok(match change {
                Change::Keep => Decision::Keep,
                Change::Erase if was_there => Decision::Remove,
                Change::Erase => Decision::Keep,
                Change::Write(bytes) => {
                    *buffer = bytes;
                    let tag = OwnedTag::Id(self.space.id);
                    Decision::Put { kind: NOTE, expires: None, tag, value: DecidedValue::Buffer }
                }
            })
        })?;
        // The change is made: nothing that fails from here on is its failure.
        if is_new && self.store.items_of(self.space).is_ok_and(|notes| notes >= MANY) {
            self.tidy(&key);
        }
        answer.ok_or(Error::InTransaction)
    }

    /// Erases what says nothing any more among the notes that are in one bucket of the index with a new one. As their places are
    /// drawn, all are come by, and some one to a bucket stay: they do not grow in number without bound.
    #[cold]
    fn tidy(&self, key: &[u8]) {
        let mut found = VecDeque::new();
        let wanted = Wanted { with_values: true, tag: None, namespace: Some(self.space) };
        // Whatever fails, nobody misses it.
        if self.store.scan(self.store.hash(key), wanted, &mut found).is_err() {
            return;
        }
        for Raw { key, value, facts } in found {
            let note = Note { bytes: value, sequence: facts.sequence };
            if (self.is_over)(self, &note) {
                let _ = self.change_held(&key, Hold { timeout: Some(Duration::ZERO), gives_up: true }, |now| {
                    Ok((if now.as_ref() == Some(&note) { Change::Erase } else { Change::Keep }, ()))
                });
            }
        }
    }

    /// Lets go of what a token holds: `left` says what becomes of the note. Wakes who waits. If it fails it is done later.
    pub fn release(&self, name: &[u8], token: u64, left: impl Fn(Note) -> Change + Send + 'static) {
        let let_go = later::attempted(|| self.let_go(name, token, None, &left));
        // In a child of `fork` that cannot open the store it is its parent's.
        if let_go.is_err_and(|error| !matches!(error, Error::Forked)) {
            let (space, is_over, name) = (self.space, self.is_over, Box::<[u8]>::from(name));
            let let_go = move |store| Ledger { store, space, is_over }.let_go(&name, token, Some(AT_ONCE), &left);
            later::leave(&self.store, Box::new(let_go));
        }
    }

    fn let_go(&self, name: &[u8], token: u64, timeout: Option<Duration>, left: &impl Fn(Note) -> Change) -> Result<()> {
        // A child of `fork` has what its parent holds, and not the right to let it go.
        if (token >> 32) as u32 != self.store.owner() {
            return Ok(());
        }
        let is_changed = self.change_held(name, Hold { timeout, gives_up: true }, |note| {
            let change = note.map_or(Change::Keep, left);
            let is_changed = !matches!(change, Change::Keep);
            Ok((change, is_changed))
        })?;
        if is_changed {
            self.store.wake();
        }
        Ok(())
    }

    /// Lets go of what this process could not let go before.
    #[inline]
    pub fn catch_up(&self) {
        later::catch_up(&self.store);
    }

    /// Writes a note as soon as `judge` says what; while it says nothing, sleeps until the note changes. It is asked outside the
    /// lock, and what it says counts if the note is the same still. [`Error::Timeout`] once the deadline is over.
    pub fn write_when(
        &self,
        name: &[u8],
        deadline: Deadline,
        mut judge: impl FnMut(Option<&Note>) -> Option<Vec<u8>>,
    ) -> Result<()> {
        loop {
            self.catch_up();
            let found = self.read(name)?;
            let Some(bytes) = judge(found.as_ref()) else {
                self.sleep(name, found.map_or(0, |note| note.sequence), deadline, Duration::MAX)?;
                continue;
            };
            let is_written = self.change_held(name, Hold::default(), |note| {
                let is_same = note == found;
                Ok((if is_same { Change::Write(bytes.clone()) } else { Change::Keep }, is_same))
            })?;
            if is_written {
                return Ok(());
            }
        }
    }

    /// Sleeps until a note may be another than that of a commit, or than none for 0, for a nap of at most `most`. An error once the deadline is over.
    pub fn sleep(&self, name: &[u8], sequence: u64, deadline: Deadline, most: Duration) -> Result<()> {
        let nap = deadline.nap(most).ok_or(Error::Timeout)?;
        let key = self.key(name)?;
        let mut bytes = Vec::new();
        let mut is_other = || Ok(self.store.peek(&key, &mut bytes)?.map_or(0, |facts| facts.sequence) != sequence);
        self.store.sleep_unless(&mut is_other, nap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipes::BoundedSemaphore;

    /// Numbers of a process begin anew after so many, and who has had one for so long has it still.
    #[test]
    fn a_token_that_somebody_has_is_given_to_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let cache = crate::Cache::open(&dir).unwrap();
        let permits = BoundedSemaphore::new(&cache, "permits", 2).unwrap();
        let next = NUMBER.load(Ordering::Relaxed);
        let first = permits.acquire().unwrap();
        // As many later as there are numbers.
        NUMBER.store(next, Ordering::Relaxed);
        let _second = permits.acquire().unwrap();
        assert_eq!(permits.taken().unwrap(), 2);
        drop(first);
        assert_eq!(permits.taken().unwrap(), 1, "the other one has its permit still");
    }
}
