//! What could not be done when it had to be, and is tried again until it is done or its store is closed. It does not know what
//! that is.
//!
//! A guard that is dropped has nobody to tell an error to: the lock of the store was not to be had in time, the thread was inside
//! a transaction, the disk refused. What it held would stay held for as long as its process lives.
//!
//! 1. Who fails leaves an errand on the desk of its process, and starts a thread for all that are there, unless one runs or a
//!    handle forbids it.
//! 2. The thread tries each errand, naps, longer each time, and ends when there are none, and none is in anybody's hands.
//! 3. Whoever asks for something of a store in this process does first what is left of that store's errands, and of those of the
//!    shards beside it. Handles that allow no thread have that alone. Of a store whose lock is not to be had the others wait.
//! 4. A child of `fork` begins with nothing: what its parent left is its parent's business, and so is the lock of that desk, which
//!    a thread may hold that the child does not have. It puts a desk of its own behind it.
//!
//! An errand does not keep its store open.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::calls::{Calls, WhileOpen};
use crate::error::{Error, Result};
use crate::os::Os;
use crate::os::once::WriteOnce;
use crate::os::real::RealOs;

const NAP_MIN: Duration = Duration::from_millis(5);
const NAP_MAX: Duration = Duration::from_secs(1);

/// What is to be done with a store.
pub(crate) type Attempt = Box<dyn Fn(Arc<dyn Calls>) -> Result<()> + Send>;

struct Errand {
    store_id: u64,
    store: WhileOpen,
    attempt: Attempt,
}

#[derive(Default)]
struct Errands {
    left: Vec<Errand>,
    /// How many somebody is trying: they may be left again.
    tried: usize,
    has_thread: bool,
    /// Some were left since the thread looked last.
    are_new: bool,
}

/// What one process has left.
struct Desk {
    /// Knows whether this is a child of that process.
    process: RealOs,
    errands: Mutex<Errands>,
    /// How many are left, for those who only want to know whether there are any.
    count: AtomicUsize,
    /// That of a child.
    next: WriteOnce<Box<Desk>>,
}

static FIRST: WriteOnce<Box<Desk>> = WriteOnce::new();

/// What came of an attempt. While there is made room for a note, a listener of the user's is told, and may panic: then there was none.
pub(crate) fn attempted(attempt: impl FnOnce() -> Result<()>) -> Result<()> {
    catch_unwind(AssertUnwindSafe(attempt)).unwrap_or_else(|panic| {
        // It is a user's value, and may panic when it is dropped.
        std::mem::forget(panic);
        Err(Error::Full)
    })
}

/// Leaves something to be done later (1).
#[cold]
pub(crate) fn leave(store: &Arc<dyn Calls>, attempt: Attempt) {
    // Asked before the desk is locked: a store may have to be opened for it.
    let may_start = store.may_start_threads();
    let errand = Errand { store_id: store.id(), store: store.while_open(), attempt };
    let Some(desk) = Desk::made() else { return };
    let starts = desk.locked(|errands| {
        errands.left.push(errand);
        errands.are_new = true;
        may_start && !std::mem::replace(&mut errands.has_thread, true)
    });
    // Without a thread the next caller does it.
    if starts && std::thread::Builder::new().name("larder-later".into()).spawn(|| desk.work()).is_err() {
        desk.locked(|errands| errands.has_thread = false);
    }
}

/// Tries the errands of a store and of those beside it, whichever handle they came from (3).
#[inline]
pub(crate) fn catch_up(store: &Arc<dyn Calls>) {
    if FIRST.get().is_some() {
        catch_up_now(store);
    }
}

#[cold]
fn catch_up_now(store: &Arc<dyn Calls>) {
    if let Some(desk) = Desk::mine()
        && desk.count.load(Ordering::Relaxed) != 0
    {
        desk.attempt_all(|id| store.is_beside(id));
    }
}

impl Desk {
    /// That of this process, if there is one (4).
    fn mine() -> Option<&'static Desk> {
        let mut desk = FIRST.get()?;
        while desk.process.is_forked() {
            desk = desk.next.get()?;
        }
        Some(desk)
    }

    /// The same, made if there is none. `None` if the system has not a page for it.
    fn made() -> Option<&'static Desk> {
        let mut place = &FIRST;
        loop {
            let desk = match place.get() {
                Some(desk) => desk,
                None => place.set(Box::new(Desk {
                    process: RealOs::new().ok()?,
                    errands: Mutex::default(),
                    count: AtomicUsize::new(0),
                    next: WriteOnce::new(),
                })),
            };
            if !desk.process.is_forked() {
                return Some(desk);
            }
            place = &desk.next;
        }
    }

    fn locked<R>(&self, with: impl FnOnce(&mut Errands) -> R) -> R {
        let mut errands = self.errands.lock().unwrap_or_else(PoisonError::into_inner);
        let result = with(&mut errands);
        self.count.store(errands.left.len(), Ordering::Relaxed);
        result
    }

    /// Tries those of the stores that are chosen, without holding others up; those that fail are left again.
    fn attempt_all(&self, is_chosen: impl Fn(u64) -> bool) {
        let mut stores: Vec<u64> = self.locked(|errands| errands.left.iter().map(|errand| errand.store_id).collect());
        stores.dedup();
        stores.retain(|&id| is_chosen(id));
        let chosen: Vec<Errand> = self.locked(|errands| {
            let chosen: Vec<_> = errands.left.extract_if(.., |errand| stores.contains(&errand.store_id)).collect();
            errands.tried += chosen.len();
            chosen
        });
        let tried = chosen.len();
        let mut stuck = Vec::new();
        let is_left = |errand: &Errand| {
            if stuck.contains(&errand.store_id) {
                return true;
            }
            let outcome = attempted(|| (errand.store)().map_or(Ok(()), |store| (errand.attempt)(store)));
            if matches!(outcome, Err(Error::Timeout)) {
                stuck.push(errand.store_id);
            }
            outcome.is_err()
        };
        let failed: Vec<Errand> = chosen.into_iter().filter(is_left).collect();
        self.locked(|errands| {
            errands.tried -= tried;
            errands.left.extend(failed);
        });
    }

    /// The thread (2).
    fn work(&self) {
        let mut nap = NAP_MIN;
        loop {
            std::thread::sleep(nap);
            let are_new = self.locked(|errands| std::mem::take(&mut errands.are_new));
            nap = if are_new { NAP_MIN } else { (nap * 2).min(NAP_MAX) };
            self.attempt_all(|_| true);
            let ends = self.locked(|errands| {
                errands.has_thread = !errands.left.is_empty() || errands.tried != 0;
                !errands.has_thread
            });
            if ends {
                return;
            }
        }
    }
}
