//! Transactions: many calls that are one commit, by a thread that holds the lock from the first to the last. It knows what
//! is staged and how the store is read; running one is in `run`, its calls in `inside`, its commit in `finish`.
//!
//! 1. Take the lock. From here on nobody else changes the store, so what is read stays true.
//! 2. Each call of the transaction reads what is staged first, then the store without what the transaction cleared or
//!    evicted; and stages what it changes in memory ([`Overlay`]). Nothing is written.
//! 3. A nested transaction is a savepoint: a length to cut back to.
//! 4. On an error or a panic the staged changes are dropped, and the lock with them. Nobody has seen anything.
//! 5. Else everything staged becomes one commit: marks of clears and evictions first, then each key's newest version, all
//!    with one sequence. A record that a mark of the same commit ends is [`Life::Ending`]: readers take it until the commit
//!    is visible.
//! 6. Unlock.
//!
//! Invariants, beside those of the engine's head:
//!
//! - **T1** Calls inside see the changes of the transaction; nobody else does before it is committed.
//! - **T2** It is in effect whole or not at all, for every reader, after the death of any process, and after a power cut.
//! - **T3** Once it has ended, no handle that was made inside changes anything.

mod emptied;
mod finish;
mod inside;
mod joint;
mod orders;
mod overlay;
mod queues;
mod run;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::error::{Error, Result};
use crate::os::Os;

use super::store::Store;
use super::view::View;
use overlay::Overlay;

/// A running transaction.
pub struct Transaction<O: Os> {
    store: Arc<Store<O>>,
    /// The maps as they were when it began, for fetching ahead alone.
    view: Arc<View<O>>,
    /// `None` once it has ended.
    overlay: Mutex<Option<Overlay>>,
    /// The thread that has it, 0 while none has.
    user: AtomicUsize,
}

thread_local! {
    static HERE: u8 = const { 0 };
}

/// A number of this thread that no other has meanwhile.
#[inline]
fn this_thread() -> usize {
    HERE.try_with(|here| std::ptr::from_ref(here).addr()).unwrap_or(0)
}

/// A thread that looks at what is staged. If it does so again meanwhile, as the code of a user may that decodes a value, it must not
/// wait for itself.
struct Using<'t>(&'t AtomicUsize);

impl Drop for Using<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

impl<O: Os> Transaction<O> {
    /// Runs a part of a transaction that can be taken back alone.
    pub fn nested<R, E: From<Error>>(&self, body: impl FnOnce() -> Result<R, E>) -> Result<R, E> {
        let savepoint = self.with(|overlay| Ok(overlay.savepoint()))?;
        let back = TakeBack { transaction: self, savepoint: Some(savepoint) };
        let answer = body()?;
        back.keep();
        Ok(answer)
    }

    fn new(store: Arc<Store<O>>) -> Transaction<O> {
        Transaction {
            view: store.view.load_full(),
            store,
            overlay: Mutex::new(Some(Overlay::new())),
            user: AtomicUsize::new(0),
        }
    }

    fn guard(&self) -> MutexGuard<'_, Option<Overlay>> {
        self.overlay.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Does something with what is staged; [`Error::InTransaction`] if the transaction has ended or this thread is at it already, and
    /// [`Error::Forked`] in a child of `fork`, which has a copy of it that leads nowhere.
    fn with<R>(&self, act: impl FnOnce(&mut Overlay) -> Result<R>) -> Result<R> {
        if self.store.os.is_forked() {
            return Err(Error::Forked);
        }
        let me = this_thread();
        if self.user.load(Ordering::Relaxed) == me {
            return Err(Error::InTransaction);
        }
        let mut guard = self.guard();
        self.user.store(me, Ordering::Relaxed);
        let _using = Using(&self.user);
        guard.as_mut().map_or(Err(Error::InTransaction), act)
    }

    /// The same, taken back if it fails: a call stages all that it changes, or nothing.
    fn stage<R>(&self, act: impl FnOnce(&mut Overlay) -> Result<R>) -> Result<R> {
        self.with(|overlay| {
            let savepoint = overlay.savepoint();
            let outcome = act(overlay);
            overlay.release(&savepoint, outcome.is_ok());
            outcome
        })
    }

    pub(super) fn store(&self) -> &Store<O> {
        &self.store
    }
}

/// Takes a nested transaction back unless it is told to keep it.
struct TakeBack<'t, O: Os> {
    transaction: &'t Transaction<O>,
    savepoint: Option<overlay::Savepoint>,
}

impl<O: Os> TakeBack<'_, O> {
    fn keep(mut self) {
        self.release(true);
    }

    fn release(&mut self, keep: bool) {
        if let Some(savepoint) = self.savepoint.take()
            && let Some(overlay) = self.transaction.guard().as_mut()
        {
            overlay.release(&savepoint, keep);
        }
    }
}

impl<O: Os> Drop for TakeBack<'_, O> {
    fn drop(&mut self) {
        self.release(false);
    }
}
