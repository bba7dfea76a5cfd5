//! When space is given back: before it is needed, a little by every write; at once, when a write finds none. It does not
//! know how (`compaction`), nor what goes (`policy`).
//!
//! - A write that finds less free than the margin of the background thread (`upkeep`) calls it, or starts it.
//! - A write that finds less than an eighth of a segment free beside the spare, even with what waits to be unlinked, does one
//!   quantum first. A quantum gives back more than a small write takes, so writes hardly ever find nothing.
//! - A write that does goes on in steps of [`QUANTA`] quanta, each under the lock for itself, until a file has gone; then it
//!   tries again. It ends, because each victim gives something back, and where nothing may be evicted it begins only if
//!   enough is dead. Who needs more at once than a file gives goes on for as long as there gets to be more ([`Patience`]).
//! - Who found no room for want of a block for a node of an index makes some free first (`order_blocks`), and what nodes need no more
//!   goes before anything is moved or evicted (`order_return`).
//! - Where compaction has nothing to gain, files of large values that have expired or were ended by a mark (`ended`) go.

use std::borrow::Borrow;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::os::{Os, OsMap};
use crate::storage::location::Tail;
use crate::storage::state;

use super::commit::Commit;
use super::compaction::Step;
use super::durable::{Lead, Purpose as Durably};
use super::limit::{Purpose, segment_bytes};
use super::lock::Locked;
use super::statistics::Counter;
use super::store::Store;

/// Quanta under one hold of the lock, for a write that cannot go on: some hundreds of microseconds.
const QUANTA: usize = 16;
/// A write does a quantum if less than this share of a segment is free beside the spare.
const AHEAD: u64 = 8;
/// So many holds of the lock at most until a file has gone: more than the longest segment takes. Words that are damaged could
/// else keep a write busy for ever.
const STEPS: usize = 1 << 14;
/// Before a transaction no more files are taken out of use than this: others may take what it makes.
const FILES_AHEAD: u64 = 4;
/// So long a transaction that needs room waits for who leads to make something durable.
const INSIDE: Duration = Duration::from_millis(250);
/// So often a write that found no room tries again; others may take what it made.
const TRIES: usize = 100;

/// How long somebody goes on to ask for room who has to have all of it at once: as long as there gets to be more. What is only moved
/// from one segment to another gives none, however often.
pub(super) struct Patience {
    least: u64,
    tries: usize,
    left: usize,
}

impl Patience {
    /// True if it is worth to ask for room again, where so many bytes are taken.
    pub fn lasts(&mut self, taken: u64) -> bool {
        if taken < self.least {
            (self.least, self.left) = (taken, self.tries);
        }
        self.left = self.left.saturating_sub(1);
        self.left != 0
    }
}

impl<O: Os> Store<O> {
    pub(super) fn patience(&self) -> Patience {
        let tries = self.tries();
        Patience { least: u64::MAX, tries, left: tries }
    }

    /// True if a write should see to it that space is given back, by its own work or the thread's.
    #[inline]
    pub(super) fn is_low(&self) -> bool {
        self.is_beyond(self.duty.margin.load(Ordering::Relaxed), self.made_ahead())
    }

    /// True if what is free or waits to be unlinked is less than a margin, and less than what a write keeps free by its own work.
    #[cold]
    pub(super) fn is_short_by(&self, margin: u64) -> bool {
        self.is_beyond(margin, self.waiting().1.saturating_add(self.made_ahead()))
    }

    #[inline]
    pub(super) fn is_beyond(&self, margin: u64, coming: u64) -> bool {
        let limit = self.state.load(state::SIZE_LIMIT);
        let taken = self.state.load(state::VOLUME).saturating_add(self.reserved()).saturating_sub(coming);
        let spares = 1 + u64::from(self.loses_nothing());
        let segment = segment_bytes(limit);
        taken.saturating_add(spares * segment + margin.max(segment / AHEAD)) > limit
    }

    /// True if puts may take no more than what is taken now.
    pub(super) fn is_full_for_puts(&self) -> bool {
        let taken = self.state.load(state::VOLUME).saturating_add(self.reserved());
        taken.saturating_add(self.left_by_puts()) > self.state.load(state::SIZE_LIMIT)
    }

    /// A write's share of giving space back: to call the thread, and to work if that does not keep up.
    #[cold]
    pub(super) fn relieve(&self, locked: &Locked<'_, O>) -> Result<()> {
        // Fast writers do this themselves; what they leave to the thread they call it for when they have unlocked.
        let is_fast = self.duty.fast.load(Ordering::Relaxed);
        if !is_fast {
            self.ask_for_upkeep();
        }
        let margin = if is_fast { self.duty.margin.load(Ordering::Relaxed) } else { 0 };
        if self.is_short_by(margin) && !self.return_nodes(locked)? && self.is_worth_compacting(Purpose::Store) {
            self.compact(locked)?;
        }
        Ok(())
    }

    /// Has the thread called once the lock is free.
    fn ask_for_upkeep(&self) {
        if self.duty.allowed {
            self.duty.want();
            self.retires.store(true, Ordering::Relaxed);
        }
    }

    /// Quanta under one hold of the lock, until a file is out of use. How many items have gone; `None` if there was nothing
    /// to do.
    fn make_room(&self, locked: &Locked<'_, O>, quanta: usize, purpose: Purpose) -> Result<Option<u64>> {
        let retired = self.state.load(state::RETIRED);
        if self.reclaim(locked)? || self.return_nodes(locked)? {
            return Ok(Some(0));
        }
        let can_seal = || if purpose == Purpose::Free { self.seal_what_is_dead(locked) } else { Ok(false) };
        if !self.is_worth_compacting(purpose) && !can_seal()? {
            return Ok(None);
        }
        let mut gone = 0;
        for _ in 0..quanta {
            match self.compact(locked)? {
                Step::Nothing => return Ok((self.state.load(state::RETIRED) != retired).then_some(gone)),
                Step::RingFull => break,
                Step::Moved(items) => gone += items,
            }
            if self.state.load(state::RETIRED) != retired {
                break;
            }
        }
        Ok(Some(gone))
    }

    /// Seals the segment that a stream appends to if enough of it is dead for a removal, so that it can be compacted. False if none is.
    fn seal_what_is_dead(&self, locked: &Locked<'_, O>) -> Result<bool> {
        for main in [true, false] {
            let tail = Tail::from_bits(self.state.load(if main { state::MAIN_TAIL } else { state::TAIL }));
            if self.is_enough_dead_for_removals(tail.slot) {
                let mut commit = if main { Commit::to_main(locked)? } else { Commit::new(locked)? };
                commit.begin_segment(Purpose::Compact)?;
                commit.publish()?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Gives back what is over the limit. How many items went.
    pub(super) fn shrink(&self) -> Result<u64> {
        let mut gone = 0;
        self.give_back_cleared();
        for _ in 0..STEPS {
            if self.volume() <= self.state.load(state::SIZE_LIMIT) {
                break;
            }
            let locked = self.lock()?;
            let made = match self.make_room(&locked, QUANTA, Purpose::Store) {
                // Nothing may go, and there is no room to move anything: it stays over the limit.
                Err(Error::Full) => break,
                made => made?,
            };
            drop(locked);
            self.unlink_retired()?;
            let Some(items) = made else { break };
            gone += items;
        }
        Ok(gone)
    }

    /// Removes what has expired, and evicts what is over the limit. How many items went.
    pub fn cull(&self) -> Result<u64> {
        let expired = self.expire()?;
        self.count(Counter::Expirations, expired);
        Ok(expired + self.shrink()?)
    }

    /// Gives back what a `clear` has left whose process died before it came to that, or whose disk refused it. True if it was anything.
    fn give_back_cleared(&self) -> bool {
        let before = self.volume();
        // A `clear` that is under way and this may both do it. What cannot go now is for the next who needs it.
        let _ = self.unlink_cleared_values();
        self.volume() < before
    }

    /// Makes room until a file has gone. False if no more can be made. Not under the lock.
    #[cold]
    pub(super) fn make_room_once(&self, purpose: Purpose) -> Result<bool> {
        let (before, volume) = (self.state.load(state::RETIRED), self.volume());
        self.duty.stalls.fetch_add(1, Ordering::Relaxed);
        if self.give_up_ahead() || self.give_back_cleared() {
            return Ok(true);
        }
        for _ in 0..STEPS {
            let locked = self.lock()?;
            if self.make_blocks(&locked)? {
                return Ok(true);
            }
            let made = self.make_room(&locked, QUANTA, purpose);
            drop(locked);
            let more = match made {
                // What others have taken out of use may be all that there is to gain.
                Err(Error::Full) => false,
                made => made?.is_some(),
            };
            let more = more || self.end_what_is_over(|| self.lock())?;
            // Where it fails there may be other room all the same.
            let more = more || self.return_nodes_at_last(&self.lock()?).unwrap_or(false);
            match self.unlink_retired() {
                Err(_) if self.is_refusing() => {
                    match self.put_right() {
                        // It takes space before it gives any back.
                        Err(error) if error.is_for_want_of_space() => return Ok(false),
                        done => done?,
                    }
                    self.unlink_retired()?;
                }
                done => done?,
            }
            if self.state.load(state::RETIRED) != before || self.volume() < volume {
                return Ok(true);
            }
            if !more {
                break;
            }
        }
        Ok(false)
    }

    /// Takes the files of values that have expired or were ended by a mark out of use, where compaction has nothing to gain by them.
    /// True if there were any.
    fn end_what_is_over<'s, L: Borrow<Locked<'s, O>>>(&'s self, lock: impl Fn() -> Result<L>) -> Result<bool> {
        let retired = self.state.load(state::RETIRED);
        let earliest = self.earliest_expiry();
        if self.state.load(state::LARGE_BYTES) != 0 && earliest != 0 && earliest <= self.time() {
            let expired = self.expire_by(&lock, &|_, _, _| false)?;
            self.count(Counter::Expirations, expired);
        }
        self.end_marked(&lock)?;
        Ok(self.state.load(state::RETIRED) != retired)
    }

    /// Calls `attempt` until it finds room, or no more can be made. Not under the lock.
    #[cold]
    pub(super) fn until_there_is_room<R>(&self, purpose: Purpose, mut attempt: impl FnMut() -> Result<R>) -> Result<R> {
        for _ in 0..self.tries() {
            if !self.make_room_once(purpose)? {
                break;
            }
            match attempt() {
                Err(Error::Full) => {}
                outcome => return outcome,
            }
        }
        // Others may have made room meanwhile.
        attempt()
    }

    /// How often a write that found no room tries again: where nothing is lost, what is dead may stand in the last segment.
    fn tries(&self) -> usize {
        let segments = (0..self.rows).filter(|&slot| self.segment_in(slot) != 0).count();
        if self.loses_nothing() { TRIES.max(segments) } else { TRIES }
    }

    /// What a transaction does first: once it has the lock, it cannot wait for the disk, which what goes may need. So there is
    /// room for a segment beside what is kept free, which is all that most of them take.
    #[inline]
    pub(super) fn make_room_ahead(&self, timeout: Option<Duration>) -> Result<()> {
        let segment = segment_bytes(self.state.load(state::SIZE_LIMIT));
        if self.is_beyond(segment, self.made_ahead()) && !self.is_inside_transaction() {
            self.make_room_ahead_now(segment, timeout)
        } else {
            Ok(())
        }
    }

    #[cold]
    fn make_room_ahead_now(&self, margin: u64, timeout: Option<Duration>) -> Result<()> {
        self.ask_for_upkeep();
        let retired = self.state.load(state::RETIRED);
        for _ in 0..STEPS {
            let locked = self.lock_within(timeout.unwrap_or(self.lock_timeout))?;
            // Under the lock nobody else takes what is made meanwhile, but between two holds of it others may take it all.
            let is_short =
                self.is_short_by(margin) && self.state.load(state::RETIRED).wrapping_sub(retired) < FILES_AHEAD;
            let made = if is_short { self.make_room(&locked, QUANTA, Purpose::Store).unwrap_or(None) } else { None };
            drop(locked);
            if made.is_none() {
                break;
            }
        }
        self.epilogue_at_once();
        Ok(())
    }

    /// As [`Store::until_there_is_room`], for a thread that holds the lock, and leads already if it has a `lead`. True if
    /// something was given back. It ends, because each round but the last one retires something, and there is no room for that
    /// for ever.
    pub(super) fn make_room_inside(
        &self,
        (locked, lead): (&Locked<'_, O>, Option<&Lead<'_, O>>),
        purpose: Purpose,
    ) -> Result<bool> {
        if self.give_up_ahead() || self.make_blocks(locked)? || self.return_nodes(locked)? {
            return Ok(true);
        }
        let mut retired = self.state.load(state::RETIRED);
        let mut may_ask = true;
        loop {
            let made = match self.make_room(locked, QUANTA * STEPS, purpose) {
                // What waits to be unlinked may be the room that moving takes.
                Err(Error::Full) => false,
                made => made?.is_some(),
            };
            let more = made || self.end_what_is_over(|| Ok(self.held()))?;
            let (waiting, _) = self.waiting();
            if !more && waiting == 0 {
                return self.return_nodes_at_last(locked);
            }
            self.unlink_retired_by(|| Ok(self.held()))?;
            if may_ask && self.waiting().0 == waiting {
                may_ask = self.make_durable_inside(lead)?;
                self.unlink_retired_by(|| Ok(self.held()))?;
            }
            if self.waiting().0 < waiting {
                return Ok(true);
            }
            let now = self.state.load(state::RETIRED);
            if now == retired {
                return Ok(false);
            }
            retired = now;
        }
    }

    /// Makes durable what is visible, so that what was retired can go (K4), under the lock: everybody waits meanwhile, and so
    /// only a transaction does it that finds no room else. False if it would need whoever leads to have the lock, which this
    /// thread holds, or if another leads for longer than [`INSIDE`]: it may wait for the lock.
    #[cold]
    fn make_durable_inside(&self, lead: Option<&Lead<'_, O>>) -> Result<bool> {
        let own;
        let lead = match lead {
            Some(lead) => lead,
            None => match self.lead_soon() {
                Some(lead) => {
                    own = lead;
                    &own
                }
                None => return Ok(false),
            },
        };
        // To put right what failed, or what a dead leader was at, takes the lock.
        if self.state.load(state::SYNC_FAILED) != 0 || self.state.load(state::SYNC_STAGE) != 0 {
            return Ok(false);
        }
        match lead.carry_out(Durably::Change) {
            Err(error) if error.is_for_want_of_space() => Ok(false),
            done => done,
        }
    }

    /// Waits for at most [`INSIDE`] to lead.
    fn lead_soon(&self) -> Option<Lead<'_, O>> {
        let start = self.os.uptime();
        let mut lead = self.try_to_lead(Durably::Change);
        while lead.is_none() && self.os.uptime().saturating_sub(start) < INSIDE {
            lead = self.try_to_lead(Durably::Change);
        }
        lead
    }
}
