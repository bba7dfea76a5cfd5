//! Files of large values that a running transaction is going to name again, for keys that it has touched: until it has ended
//! nobody takes them out of use, whatever becomes of the records that name them now. Who would do that has the lock, so it is the
//! transaction itself, on its way to room or to what has expired.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::storage::record::LargeReference;

/// The ids of such files.
#[derive(Default)]
pub(super) struct Borrowed(Mutex<Vec<u64>>);

impl Borrowed {
    fn files(&self) -> MutexGuard<'_, Vec<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a transaction that begins. Under the lock, until what is returned is dropped.
    pub(super) fn begin(&self) -> Borrowing<'_> {
        Borrowing(self)
    }

    pub(super) fn contains(&self, reference: LargeReference) -> bool {
        self.files().contains(&reference.file)
    }

    pub(super) fn add(&self, reference: LargeReference) {
        let mut files = self.files();
        if !files.contains(&reference.file) {
            files.push(reference.file);
        }
    }
}

/// While it lives, values are borrowed.
pub(super) struct Borrowing<'s>(&'s Borrowed);

impl Drop for Borrowing<'_> {
    fn drop(&mut self) {
        self.0.files().clear();
    }
}
