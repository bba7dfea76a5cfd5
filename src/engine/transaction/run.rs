//! Running a transaction from the lock to the commit: steps 1, 4 and 6 of `transaction`.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::os::Os;

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
    /// Runs a transaction on a store. `timeout` is for the lock; without one it is the store's.
    pub fn run<R, E: From<Error>>(
        store: &Arc<Store<O>>,
        timeout: Option<Duration>,
        body: impl FnOnce(&Arc<Transaction<O>>) -> Result<R, E>,
    ) -> Result<R, E> {
        store.before_change()?;
        store.make_room_ahead(timeout)?;
        let (locked, inside) = store.lock_for_transaction(timeout)?;
        let transaction = Arc::new(Transaction::new(Arc::clone(store)));
        let ending = Ending(&transaction);
        let answer = body(&transaction)?;
        let overlay = transaction.guard().take().unwrap_or_default();
        drop(ending);
        let cleared = finish::commit(store, &locked, &overlay, None)?;
        let newest = if overlay.is_empty() { 0 } else { locked.newest() };
        drop(locked);
        drop(inside);
        settle(store, overlay, cleared);
        store.after_change(newest)?;
        Ok(answer)
    }
}

/// What is done after a commit, without the lock: giving back what it has taken out of use, and waking who waits for elements.
pub(super) fn settle<O: Os>(store: &Store<O>, overlay: Overlay, cleared: bool) {
    if cleared {
        store.after_clear();
    } else {
        store.epilogue();
    }
    if !overlay.spans.is_empty() {
        store.wake_takers();
    }
    overlay.give_back();
}
