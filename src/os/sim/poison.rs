//! Locks that somebody panicked with. Knows nothing of what they guard.

use std::sync::{LockResult, PoisonError};

/// What a lock guards, whether or not somebody panicked with it: a store into a hole is meant to panic, and leaves
/// everything as it was.
pub(super) fn sound<G>(locked: LockResult<G>) -> G {
    locked.unwrap_or_else(PoisonError::into_inner)
}
