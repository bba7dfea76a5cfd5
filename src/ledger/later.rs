//! What could not be done when it had to be, and is tried again until it is done or its store is closed. It does not know what
//! that is.
//!
//! A guard that is dropped has nobody to tell an error to: the lock of the store was not to be had in time, the thread was inside
//! a transaction, the disk refused. What it held would stay held for as long as its process lives.
//!
//! 1. Who fails leaves an errand here, and starts a thread for all of the process's, unless one runs or a handle forbids it.
//! 2. The thread tries each errand, naps, longer each time, and ends when there are none.
//! 3. Whoever asks for something of a store in this process does first what is left of that store's errands. Handles that allow
//!    no thread have that alone.
//!
//! An errand does not keep its store open.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::calls::{Calls, WhileOpen};
use crate::error::Result;

const NAP_MIN: Duration = Duration::from_millis(5);
const NAP_MAX: Duration = Duration::from_secs(1);

/// What is to be done with a store.
type Attempt = Box<dyn Fn(Arc<dyn Calls>) -> Result<()> + Send>;

struct Errand {
    store_id: u64,
    store: WhileOpen,
    attempt: Attempt,
}

struct Errands {
    left: Vec<Errand>,
    /// The process whose thread runs: a child of `fork` has none. 0 if there is none.
    runs_in: u32,
}

static ERRANDS: Mutex<Errands> = Mutex::new(Errands { left: Vec::new(), runs_in: 0 });
/// How many there are, for those who only want to know whether there are any.
static COUNT: AtomicUsize = AtomicUsize::new(0);

fn locked<R>(with: impl FnOnce(&mut Errands) -> R) -> R {
    let mut errands = ERRANDS.lock().unwrap_or_else(PoisonError::into_inner);
    let result = with(&mut errands);
    COUNT.store(errands.left.len(), Ordering::Relaxed);
    result
}

/// Leaves something to be done later (1).
#[cold]
pub(super) fn leave(store: &Arc<dyn Calls>, attempt: Attempt) {
    let errand = Errand { store_id: store.id(), store: store.while_open(), attempt };
    let process = std::process::id();
    let starts = locked(|errands| {
        errands.left.push(errand);
        store.may_start_threads() && std::mem::replace(&mut errands.runs_in, process) != process
    });
    // Without a thread the next caller does it.
    if starts && std::thread::Builder::new().name("larder-later".into()).spawn(work).is_err() {
        locked(|errands| errands.runs_in = 0);
    }
}

/// Tries the errands of a store, whichever handle of it they came from (3).
#[inline]
pub(super) fn catch_up(store: &Arc<dyn Calls>) {
    if COUNT.load(Ordering::Relaxed) != 0 {
        attempt_all(|errand| errand.store_id == store.id());
    }
}

/// Tries those that are chosen, without holding others up; those that fail are left again.
#[cold]
fn attempt_all(is_chosen: impl Fn(&Errand) -> bool) {
    let chosen: Vec<Errand> = locked(|errands| errands.left.extract_if(.., |errand| is_chosen(errand)).collect());
    // Who made room for a note tells a listener of the user's, which may panic: the note is written by then, and neither the thread
    // nor the other errands end with it.
    let is_left = |errand: &Errand| {
        let attempt = || (errand.store)().is_some_and(|store| (errand.attempt)(store).is_err());
        catch_unwind(AssertUnwindSafe(attempt)).unwrap_or(false)
    };
    let failed: Vec<Errand> = chosen.into_iter().filter(is_left).collect();
    locked(|errands| errands.left.extend(failed));
}

/// The thread (2).
fn work() {
    let mut nap = NAP_MIN;
    loop {
        std::thread::sleep(nap);
        nap = (nap * 2).min(NAP_MAX);
        attempt_all(|_| true);
        let ends = locked(|errands| {
            if errands.left.is_empty() {
                errands.runs_in = 0;
            }
            errands.left.is_empty()
        });
        if ends {
            return;
        }
    }
}
