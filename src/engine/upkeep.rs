//! Upkeep off the writers' path: giving space back before a writer has to, waiting for the disk where that needs it, and
//! removing what has expired from a store that nobody writes to. What is done, and how, is the business of `compaction`,
//! `retire` and `clear`; this file says who does it and when.
//!
//! # The protocol
//!
//! Each open store has at most one thread in the background. It is started by the first write that finds the store short of
//! room, by the first that stores an item with an expiry, by an opening that finds such items, and, where items are evicted,
//! by the first call that finds a long table of the index replaced. It works in *rounds*, each for itself, and between them does not keep the store
//! open. A round:
//!
//! 1. Is there anything to do? If not, rest: until a writer calls, or until something has been due for [`GRACE`].
//! 2. *Election*: the word `UPKEEP` from 0, or from the id of a handle that is dead, to my id. It names a living other one: that
//!    one is at it, so look again in a while. Once there is nothing left to do, 0 again.
//! 3. Whoever has a thread that was needed once has a segment made ahead (`ahead`), if there is room for one. Then one of these, the first that is called for:
//!    - space is short, counting what waits to be unlinked as free: one quantum under the lock. Not while writers commit so
//!      fast ([`FAST`]) that a quantum of their own costs them less than to find the lock taken;
//!    - something waits to be unlinked: make durable what that needs, unlink, and take it out of the ring. Nothing but
//!      the last of it is under the lock;
//!    - something has been due for long enough: remove what has expired, and the segments in which nothing is left.
//!
//! And it unmaps what a growing index has left behind, first of all: the next call that had come to it would have waited for
//! that.
//!
//! The election saves work and guards nothing: whatever a round does is done under the lock, or may be done by several at
//! once, as everything was that writers did before there was a thread. So the death of whoever was elected, at any moment,
//! leaves what a dead writer leaves, and the next to look finds it dead by its presence.
//!
//! Writers begin to call when less is free than they need by the *margin* ([`Store::is_low`]), which is before they
//! would work themselves. They still do, if nobody keeps up: a quantum when room is nearly out, counting what waits to be unlinked as
//! free, and everything when there is none. Each time that happens, the margin is doubled, up to a part of the limit, and it
//! is halved when it has not happened for long: so a store under light load gives no space away, and under the heaviest one the
//! disk is asked once for several segments.
//!
//! There is no thread in a child of `fork` until it has one of its own, none for read-only handles, none in simulations, which
//! call the rounds, and none where it cannot be started or the opener does not want it. Then writers do everything, and
//! what has expired in an idle store waits for the next call.
//!
//! The end: the last clone of a handle ends the thread before it closes the store, and waits for the round that is under way.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::os::companion::Companion;
use crate::os::{Os, OsMap};
use crate::storage::state::{self, UPKEEP, row, row_word};

use super::compaction::Step;
use super::limit::{Purpose, segment_bytes};
use super::statistics::Counter;
use super::store::Store;

/// So long something is due before it is removed without being asked for: what comes due meanwhile goes with it.
pub const GRACE: Duration = Duration::from_secs(5);
/// After removing what has expired, so many times as long passes before it is done again.
const PAUSE: u32 = 64;
/// How long a thread waits for another one that is at work, and for a lock that is not given.
const ROUND: Duration = Duration::from_millis(10);
/// How long it waits after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// Records looked at under one hold of the lock: a writer that comes meanwhile need not sleep, as a rule.
const RECORDS: usize = 8;
/// If a commit comes each so many nanoseconds, quanta are left to writers: to wait for a lock that another thread has costs
/// more than to do a quantum, above all where that thread has lost its processor.
const FAST: u64 = 16_000;
/// How long the thread looks before it finds writers fast or slow, in nanoseconds.
const LOOK: u64 = 200_000;
/// The margin is a segment at least, which is made ahead, and this share of the limit at most.
const MARGIN_MAX: u64 = 32;
/// The margin is halved after so many rounds at the disk in which no writer found the store full.
const CALM: u32 = 64;

/// What comes after a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another round, at once.
    Round,
    /// A rest of so long, or until somebody calls.
    Rest(Duration),
    /// A rest until somebody calls.
    Call,
}

impl<O: Os> Store<O> {
    /// Makes a store one that can be shared, and may have a thread.
    pub(super) fn share(self) -> Arc<Store<O>> {
        let store = Arc::new(self);
        store.duty.belong_to(&store);
        if store.duty.allowed && (store.earliest_expiry() != 0 || store.is_low()) {
            store.call_upkeep();
        }
        store
    }

    /// Calls the thread, or starts one. Not under the lock, and not in a child of `fork`.
    #[cold]
    pub(super) fn call_upkeep(&self) {
        let duty = &self.duty;
        if duty.companion.runs() {
            duty.companion.call();
        } else if duty.allowed
            && let Some(store) = duty.store()
        {
            // Without one, writers do it all.
            let _ = duty.companion.start(&self.os, move |companion| keep(&store, companion));
        }
    }

    /// The thread ends, and its round with it, before the store is closed.
    pub(super) fn end_upkeep(&self) {
        self.duty.companion.end();
    }

    /// The earliest expiry of an item that may be there; 0 if there is none.
    pub(super) fn earliest_expiry(&self) -> u64 {
        let used = (0..self.rows).filter(|&slot| self.segment_in(slot) != 0);
        used.map(|slot| self.state.load(row_word(slot, row::EXPIRES_MIN))).filter(|&at| at != 0).min().unwrap_or(0)
    }

    /// Takes note of an expiry that is the earliest of its segment: if the thread sleeps for longer, or there is none, it is
    /// called after the commit.
    pub(super) fn note_expiry(&self, expires: u64) {
        let wakes_at = self.duty.wakes_at.load(Ordering::Relaxed);
        if self.duty.allowed && expires.saturating_add(nanoseconds(GRACE)) < wakes_at {
            self.duty.want();
            self.retires.store(true, Ordering::Relaxed);
        }
    }

    /// Bytes that are free or coming free when the thread leaves off. 0 while there is none.
    fn margin(&self) -> u64 {
        self.duty.margin.load(Ordering::Relaxed)
    }

    /// One round, for the thread and for simulations.
    pub fn upkeep_round(&self) -> Result<Next> {
        self.enter()?;
        if self.read_only {
            return Ok(Next::Call);
        }
        if self.drop_parting() {
            return Ok(match self.round()? {
                Next::Round => Next::Round,
                Next::Rest(most) => Next::Rest(most.min(ROUND)),
                Next::Call => Next::Rest(ROUND),
            });
        }
        self.round()
    }

    /// Steps 1 to 3.
    fn round(&self) -> Result<Next> {
        let due = self.due_in();
        // Where that fails, room is given back all the same, and writers make their own segments.
        if self.margin() != 0 && self.make_ahead().unwrap_or(false) {
            return Ok(Next::Round);
        }
        if !self.has_to_give_back() && due != Some(Duration::ZERO) {
            self.resign();
            return Ok(due.map_or(Next::Call, Next::Rest));
        }
        if !self.elect() {
            return Ok(Next::Rest(ROUND));
        }
        let next = self.give_back_or_expire(due);
        // A listener that panics has said so; the thread has other things to do.
        let _ = catch_unwind(AssertUnwindSafe(|| self.notices.tell()));
        let next = match next {
            // What stays has no place to go: so it is for whoever evicts or removes something.
            Err(Error::Full) => Ok(Next::Rest(AFTER_FAILURE)),
            next => next,
        };
        if !matches!(next, Ok(Next::Round)) {
            self.resign();
        }
        next
    }

    /// True if space is short, or something waits to be unlinked.
    fn has_to_give_back(&self) -> bool {
        self.is_anything_retired() || (self.is_short_by(self.margin()) && self.is_worth_compacting(Purpose::Store))
    }

    /// How long until something has been due for long enough. `None` if nothing expires.
    fn due_in(&self) -> Option<Duration> {
        let earliest = Some(self.earliest_expiry()).filter(|&at| at != 0)?;
        let at = earliest.saturating_add(nanoseconds(GRACE));
        let paused = self.duty.paused_until.load(Ordering::Relaxed).saturating_sub(nanoseconds(self.os.uptime()));
        Some(Duration::from_nanos(at.saturating_sub(self.time()).max(paused)))
    }

    /// Step 2.
    fn elect(&self) -> bool {
        let word = self.state.load32(UPKEEP);
        word == self.owner
            || ((word == 0 || !self.os.is_alive(&self.paths.presence(word.into())))
                && self.state.compare_exchange32(UPKEEP, word, self.owner).is_ok())
    }

    fn resign(&self) {
        if self.state.load32(UPKEEP) == self.owner {
            let _ = self.state.compare_exchange32(UPKEEP, self.owner, 0);
        }
    }

    /// Step 3.
    fn give_back_or_expire(&self, due: Option<Duration>) -> Result<Next> {
        let is_short = self.is_short_by(self.margin()) && self.is_worth_compacting(Purpose::Store);
        if is_short && !self.are_writers_fast() {
            let locked = self.lock_within(ROUND)?;
            if self.reclaim(&locked)? || self.return_nodes(&locked)? {
                return Ok(Next::Round);
            }
            match self.compact_some(&locked, RECORDS) {
                Ok(Step::Moved(_)) => {
                    self.duty.commits_seen.fetch_add(1, Ordering::Relaxed);
                    return Ok(Next::Round);
                }
                Ok(Step::Nothing | Step::RingFull) | Err(Error::Full) => {}
                Err(error) => return Err(error),
            }
        }
        if self.is_anything_retired() {
            let retired = self.state.load(state::RETIRED);
            let before = self.volume();
            self.unlink_retired_by(|| self.lock_within(ROUND))?;
            let went = self.volume() < before || self.state.load(state::RETIRED) != retired;
            return Ok(if went { Next::Round } else { Next::Rest(AFTER_FAILURE) });
        }
        if due != Some(Duration::ZERO) {
            // Short of room, and either writers see to it themselves or nothing can go.
            let is_fast = self.duty.fast.load(Ordering::Relaxed);
            return Ok(Next::Rest(if is_fast { ROUND } else { AFTER_FAILURE }));
        }
        let start = self.os.uptime();
        let removed = self.expire_by(|| self.lock(), &|_, _, _| false)?;
        self.count_now(Counter::Expirations, removed);
        while self.retire_cleared()? && !self.duty.companion.is_to_end() {
            self.unlink_retired()?;
        }
        self.unlink_retired()?;
        let end = self.os.uptime();
        let pause = end.saturating_sub(start).saturating_mul(PAUSE).max(GRACE);
        self.duty.paused_until.store(nanoseconds(end.saturating_add(pause)), Ordering::Relaxed);
        Ok(Next::Round)
    }

    /// True if writers commit so often that they are better left to do quanta themselves.
    fn are_writers_fast(&self) -> bool {
        let duty = &self.duty;
        let (now, commits) = (nanoseconds(self.os.uptime()), self.state.load(state::VISIBLE));
        let time = now.saturating_sub(duty.seen_at.load(Ordering::Relaxed));
        if time >= LOOK {
            let made = commits.saturating_sub(duty.commits_seen.load(Ordering::Relaxed));
            duty.fast.store(made.saturating_mul(FAST) > time, Ordering::Relaxed);
            duty.commits_seen.store(commits, Ordering::Relaxed);
            duty.seen_at.store(now, Ordering::Relaxed);
        }
        duty.fast.load(Ordering::Relaxed)
    }

    /// Doubles the margin if writers found the store full since the last time, and halves it if they have not for long.
    fn adapt(&self, stalls: &mut u64, calm: &mut u32) {
        let limit = self.state.load(state::SIZE_LIMIT);
        let least = segment_bytes(limit);
        let margin = self.margin().max(least);
        let now = self.duty.stalls.load(Ordering::Relaxed);
        *calm = if now == *stalls { *calm + 1 } else { 0 };
        let next = match (now == *stalls, *calm >= CALM) {
            (false, _) => (margin * 2).min((limit / MARGIN_MAX).max(least)),
            (true, true) => {
                *calm = 0;
                (margin / 2).max(least)
            }
            (true, false) => margin,
        };
        *stalls = now;
        self.duty.margin.store(next, Ordering::Relaxed);
    }
}

/// What the thread does: rounds, until the handle ends it.
fn keep<O: Os>(store: &Weak<Store<O>>, companion: &Companion) {
    let (mut stalls, mut calm, mut retired) = (0, 0, 0);
    loop {
        let next = {
            let Some(store) = store.upgrade() else { return };
            let now = store.state.load(state::RETIRED);
            if now != retired || store.margin() == 0 {
                retired = now;
                store.adapt(&mut stalls, &mut calm);
            }
            let next = match store.upkeep_round() {
                Ok(next) => next,
                Err(Error::Forked) => return,
                Err(Error::Timeout) => Next::Rest(ROUND),
                Err(_) => Next::Rest(AFTER_FAILURE),
            };
            let wakes_at = match next {
                Next::Round => 0,
                Next::Rest(most) => store.time().saturating_add(nanoseconds(most)),
                Next::Call => u64::MAX,
            };
            store.duty.wakes_at.store(wakes_at, Ordering::Relaxed);
            next
        };
        let goes_on = match next {
            Next::Round => !companion.is_to_end(),
            Next::Rest(most) => companion.rest(Some(most)),
            Next::Call => companion.rest(None),
        };
        if !goes_on {
            return;
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
