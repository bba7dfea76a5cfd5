//! Running a transaction from the lock to the commit: steps 1, 4 and 6 of `transaction`.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::os::Os;

use super::super::borrowed::Borrowing;
use super::super::store::Store;
use super::overlay::Overlay;
use super::{Transaction, finish};

/// Ends a transaction whatever happens.
pub(super) struct Ending<'t, O: Os>(pub(super) &'t Transaction<O>);

impl<O: Os> Drop for Ending<'_, O> {
    fn drop(&mut self) {
        self.0.guard().take();
    }
}

impl<O: Os> Transaction<O> {
    /// Runs a transaction on a store. `timeout` is for the lock; without one it is the store's. One that `holds` says who has
    /// something, and ends as [`Store::update_held`] does.
    pub fn run<R, E: From<Error>>(
        store: &Arc<Store<O>>,
        (timeout, holds): (Option<Duration>, bool),
        body: impl FnOnce(&Arc<Transaction<O>>) -> Result<R, E>,
    ) -> Result<R, E> {
        if !holds {
            store.before_change()?;
        }
        store.make_room_ahead(timeout)?;
        let (locked, inside) = store.lock_for_transaction(timeout)?;
        let borrowing = Borrowing(store.here());
        let transaction = Arc::new(Transaction::new(Arc::clone(store)));
        let ending = Ending(&transaction);
        let answer = body(&transaction)?;
        let mut overlay = transaction.guard().take().unwrap_or_default();
        overlay.gives_up = holds;
        drop(ending);
        let cleared = finish::commit(store, &locked, &overlay, None)?;
        let newest = if overlay.is_empty() { 0 } else { locked.newest() };
        drop(borrowing);
        drop(locked);
        drop(inside);
        if holds {
            wake(store, overlay);
            store.epilogue_untold();
        } else {
            settle(store, overlay, cleared);
            store.after_change(newest)?;
        }
        Ok(answer)
    }
}

/// What is done after a commit, without the lock: waking who waits for elements, and giving back what it has taken out of use.
pub(super) fn settle<O: Os>(store: &Store<O>, overlay: Overlay, cleared: bool) {
    wake(store, overlay);
    // Last, for a listener may panic.
    if cleared {
        store.after_clear();
    } else {
        store.epilogue();
    }
}

fn wake<O: Os>(store: &Store<O>, overlay: Overlay) {
    if !overlay.spans.is_empty() {
        store.wake_takers();
    }
    overlay.give_back();
}
