//! The writer lock of a store: one 32-bit word in the state file, and the presence of whoever it names. It does not know
//! what is done under it, but that an interrupted commit is finished first.
//!
//! The word is 0, or the owner's id with bit 31 set if somebody sleeps. Ids are never used twice while anybody lives
//! who may have seen them, so a word that has not changed names the same handle.
//!
//! Taking it: 0 → my id by compare-and-exchange. If that fails: spin for as long as a sleep costs, set bit 31, sleep on the
//! word for at most [`ROUND_MAX`], and if the owner has not changed meanwhile, probe its presence. The kernel takes the
//! presence away when the process ends and never before, so a missing one means dead, and a stopped process is never
//! robbed. The compare-and-exchange of that very word to my id decides between several who found it dead.
//!
//! Fairness: a waiter of more than [`PATIENCE`] writes a wish into `YIELD_UNTIL`; newcomers who see one sleep once,
//! briefly, before they try. A wish passes by itself, so a waiter that dies leaves nothing behind.

use std::borrow::Borrow;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::os::{Os, OsMap};
use crate::storage::state::{IS_JOINT, LOCK, PENDING, UNSWEPT, VISIBLE, YIELD_UNTIL};

use super::store::Store;

/// Bit of the word that says that somebody sleeps on it.
const SLEEPERS: u32 = 1 << 31;
/// The most steps of spinning between two looks at the word: half a microsecond.
const STEPS_MAX: u32 = 16;
/// The longest sleep between two probes; it bounds how late a death is noticed.
const ROUND_MAX: Duration = Duration::from_millis(4);
const ROUND_FIRST: Duration = Duration::from_millis(1);
/// A waiter older than this asks newcomers to wait.
const PATIENCE: Duration = Duration::from_millis(1);
/// How long such a wish holds.
const WISH: Duration = Duration::from_millis(2);
/// A wish for longer than this many ms is damage.
const LONGEST_WISH: u64 = 1000;
/// How long a newcomer gives way.
const COURTESY: Duration = Duration::from_micros(100);

/// The held lock. Dropping it unlocks, whatever happened meanwhile: a commit that was not published leaves no trace, and
/// one that was cut short in the middle is finished by the next owner.
pub struct Locked<'s, O: Os> {
    pub store: &'s Store<O>,
    /// A guard stays with its thread.
    _thread: PhantomData<*const ()>,
}

/// Stands for a lock that the calling thread holds further up its stack. Dropping it unlocks nothing.
pub struct Held<'s, O: Os>(ManuallyDrop<Locked<'s, O>>);

impl<'s, O: Os> Borrow<Locked<'s, O>> for Held<'s, O> {
    fn borrow(&self) -> &Locked<'s, O> {
        &self.0
    }
}

/// A store as a process has it open: its id, which a copy of its directory has too, and its process and state file, which a child of
/// `fork` and a copy do not share with it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct StoreHere {
    pub id: u64,
    pub place: (u64, u64, u64),
}

thread_local! {
    /// The stores inside whose transactions this thread is.
    static INSIDE: RefCell<Vec<StoreHere>> = const { RefCell::new(Vec::new()) };
}

/// While it lives, its thread is inside a transaction of a store.
pub struct Inside {
    store: StoreHere,
    _thread: PhantomData<*const ()>,
}

impl Inside {
    /// True in a child of a process that was inside, too: it would wait for its parent, which may wait for it.
    fn would_wait_for_itself(store: StoreHere) -> bool {
        let is_same = |one: &StoreHere| (one.id, one.place.1, one.place.2) == (store.id, store.place.1, store.place.2);
        INSIDE.try_with(|inside| inside.borrow().iter().any(is_same)).unwrap_or(false)
    }

    fn contains(store: StoreHere) -> bool {
        INSIDE.try_with(|inside| inside.borrow().contains(&store)).unwrap_or(false)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let _ = INSIDE.try_with(|inside| {
            let mut inside = inside.borrow_mut();
            if let Some(at) = inside.iter().rposition(|&store| store == self.store) {
                inside.swap_remove(at);
            }
        });
    }
}

impl<O: Os> Locked<'_, O> {
    /// The newest commit.
    #[inline]
    pub fn newest(&self) -> u64 {
        self.store.state.load(VISIBLE)
    }
}

impl<O: Os> Store<O> {
    /// Takes the lock for a transaction: until the second value is dropped, this thread gets [`Error::InTransaction`] from
    /// every other attempt to take it, through whatever handle of this store.
    pub(super) fn lock_for_transaction(&self, timeout: Option<Duration>) -> Result<(Locked<'_, O>, Inside)> {
        if Inside::would_wait_for_itself(self.here()) {
            return Err(Error::InTransaction);
        }
        let locked = self.lock_within(timeout.unwrap_or(self.lock_timeout))?;
        Ok((locked, self.enter_transaction()))
    }

    /// Notes that this thread, which has the lock, is inside a transaction.
    pub(super) fn enter_transaction(&self) -> Inside {
        let store = self.here();
        INSIDE.with(|inside| inside.borrow_mut().push(store));
        Inside { store, _thread: PhantomData }
    }

    pub(super) fn here(&self) -> StoreHere {
        StoreHere { id: self.store_id, place: self.os.place() }
    }

    /// True if this thread is inside a transaction of this store.
    pub(super) fn is_inside_transaction(&self) -> bool {
        Inside::contains(self.here())
    }

    /// [`Error::InTransaction`] if this thread is inside a transaction of another shard and not of this one: it has that shard's lock,
    /// and who takes several takes them in their order.
    pub(super) fn refuse_inside_sibling(&self) -> Result<()> {
        let is_inside = INSIDE.try_with(|inside| {
            let inside = inside.borrow();
            let is_sibling =
                |store: &StoreHere, ids: &[u64]| ids.contains(&store.id) && store.place.0 == self.here().place.0;
            !inside.is_empty()
                && !inside.contains(&self.here())
                && self
                    .siblings()
                    .map(|all| all.ids())
                    .is_some_and(|ids| inside.iter().any(|one| is_sibling(one, &ids)))
        });
        if is_inside.unwrap_or(false) { Err(Error::InTransaction) } else { Ok(()) }
    }

    /// What stands for the lock while this thread is inside a transaction that holds it.
    pub(super) fn held(&self) -> Held<'_, O> {
        Held(ManuallyDrop::new(Locked { store: self, _thread: PhantomData }))
    }

    /// Takes the lock and finishes what a dead owner left, within the handle's lock time-out.
    #[inline]
    pub(super) fn lock(&self) -> Result<Locked<'_, O>> {
        self.lock_within(self.lock_timeout)
    }

    #[inline]
    pub(super) fn lock_within(&self, timeout: Duration) -> Result<Locked<'_, O>> {
        loop {
            let (locked, taken_over) = self.lock_as_it_is(timeout)?;
            let pending = self.state.load(PENDING);
            if pending & IS_JOINT != 0 {
                drop(locked);
                // The others may not be ready, so nobody finishes a part alone.
                self.siblings().ok_or(Error::Timeout)?.resolve(timeout)?;
                continue;
            }
            if pending != 0 && (taken_over || !seeded!("redo_only_on_takeover")) {
                locked.recover()?;
            }
            return Ok(locked);
        }
    }

    /// Takes the lock and leaves what a dead owner published half; also whether it was taken over from one.
    #[inline]
    pub(super) fn lock_as_it_is(&self, timeout: Duration) -> Result<(Locked<'_, O>, bool)> {
        if self.read_only {
            return Err(Error::ReadOnly);
        }
        if self.os.is_forked() {
            return Err(Error::Forked);
        }
        if self.is_shard() {
            self.refuse_inside_sibling()?;
        }
        if self.state.load(YIELD_UNTIL) != 0 {
            self.give_way();
        }
        let taken_over = self.state.compare_exchange32(LOCK, 0, self.owner).is_err() && self.lock_contended(timeout)?;
        let locked = Locked { store: self, _thread: PhantomData };
        if taken_over {
            // What is said of names that may return holds on.
            self.state.fetch_max(UNSWEPT, 1);
            self.begin_epoch();
        }
        // A file of a commit that never happened would mislead a rebuild about every later one: nobody writes beside it.
        if self.state.load(UNSWEPT) != 0 {
            self.sweep_unpublished()?;
            self.state.store(UNSWEPT, 0);
        }
        Ok((locked, taken_over))
    }

    #[cold]
    fn give_way(&self) {
        let until = self.state.load(YIELD_UNTIL);
        let now = millis(self.os.uptime());
        if now >= until || until - now > LONGEST_WISH {
            // The wish has passed, or is none that this machine could have made. A failure means that a newer one came, which is as good.
            let _ = self.state.compare_exchange(YIELD_UNTIL, until, 0);
            return;
        }
        let word = self.state.load32(LOCK);
        self.os.wait(&self.state, LOCK, word, COURTESY);
    }

    /// Waits without sleeping; true if that got the lock. A sleep and what follows it, which is a call of the kernel to wake
    /// the sleeper and its turn at a processor, cost at least as much where processes outnumber processors. Who waits for
    /// as long as a sleep costs before it sleeps wastes at most as much again (Karlin, Li, Manasse and Owicki 1991); who
    /// looks less and less often leaves the line of the word to its owner (Anderson 1990).
    fn spin_for_lock(&self) -> bool {
        let (mut left, mut steps) = (O::SPINS, 1);
        while left > 0 {
            for _ in 0..steps {
                self.os.spin();
            }
            left = left.saturating_sub(steps);
            steps = (2 * steps).min(STEPS_MAX);
            if self.state.load32(LOCK) == 0 && self.state.compare_exchange32(LOCK, 0, self.owner).is_ok() {
                return true;
            }
        }
        false
    }

    /// True if the lock was taken over from a dead owner.
    #[cold]
    fn lock_contended(&self, timeout: Duration) -> Result<bool> {
        if Inside::would_wait_for_itself(self.here()) {
            return Err(Error::InTransaction);
        }
        if self.spin_for_lock() {
            return Ok(false);
        }
        let start = self.os.uptime();
        let mut round = ROUND_FIRST;
        let mut wished = false;
        loop {
            let word = self.state.load32(LOCK);
            if word & !SLEEPERS == 0 {
                // Whoever slept once may not be the only sleeper, so the bit is set: the next unlock wakes another.
                if self.state.compare_exchange32(LOCK, word, self.owner | SLEEPERS).is_ok() {
                    if wished {
                        self.state.store(YIELD_UNTIL, 0);
                    }
                    return Ok(false);
                }
                continue;
            }
            let sleeping = word | SLEEPERS;
            if word != sleeping && self.state.compare_exchange32(LOCK, word, sleeping).is_err() {
                continue;
            }
            self.os.wait(&self.state, LOCK, sleeping, round);
            let owner = sleeping & !SLEEPERS;
            if self.state.load32(LOCK) == sleeping
                && self.is_dead(owner)
                && self.state.compare_exchange32(LOCK, sleeping, self.owner | SLEEPERS).is_ok()
            {
                return Ok(true);
            }
            let waited = self.os.uptime().saturating_sub(start);
            if waited >= timeout {
                return Err(Error::Timeout);
            }
            if waited >= PATIENCE {
                wished = true;
                self.state.store(YIELD_UNTIL, millis(self.os.uptime() + WISH));
            }
            round = ROUND_MAX;
        }
    }

    fn is_dead(&self, owner: u32) -> bool {
        owner != self.owner && !self.os.is_alive(&self.paths.presence(owner.into()))
    }
}

/// Milliseconds of uptime, never 0: 0 means no wish.
fn millis(uptime: Duration) -> u64 {
    u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX).max(1)
}

impl<O: Os> Drop for Locked<'_, O> {
    #[inline]
    fn drop(&mut self) {
        // A child that was forked inside the lock has a copy of this guard, and its parent has the lock.
        if self.store.os.is_forked() {
            return;
        }
        if self.store.state.swap32(LOCK, 0) & SLEEPERS != 0 {
            self.store.os.wake(&self.store.state, LOCK, 1);
        }
    }
}
