//! Files of large values that a running transaction is going to name again, for keys that it has touched: until it has ended
//! nobody takes them out of use, whatever becomes of the records that name them now. Who would do that has the lock, so it is the
//! transaction's own thread, on its way to room or to what has expired, though perhaps through another handle of the store.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::storage::record::LargeReference;

use super::lock::StoreHere;

/// The ids of such files, by store: of all handles of a process.
static BORROWED: Mutex<Vec<(StoreHere, u64)>> = Mutex::new(Vec::new());

fn borrowed() -> MutexGuard<'static, Vec<(StoreHere, u64)>> {
    BORROWED.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn add(store: StoreHere, reference: LargeReference) {
    let mut all = borrowed();
    if !all.contains(&(store, reference.file)) {
        all.push((store, reference.file));
    }
}

pub(super) fn contains(store: StoreHere, reference: LargeReference) -> bool {
    borrowed().contains(&(store, reference.file))
}

/// While it lives, values are borrowed by a transaction that begins. Under the lock until it is dropped.
pub(super) struct Borrowing(pub StoreHere);

impl Drop for Borrowing {
    fn drop(&mut self) {
        borrowed().retain(|(store, _)| *store != self.0);
    }
}
