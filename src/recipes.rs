//! What processes need beside a cache to get along: locks, semaphores, and the like, over a [`Cache`](crate::Cache).
//!
//! Each has a name; whoever uses the same name in the same cache uses the same one. They are no items of the cache: they are
//! never evicted, and `clear` leaves them.
//!
//! Who waits sleeps until it may be its turn. What somebody holds is a guard, and is let go when that is dropped; when its
//! process dies instead, by whatever death, the next one has it within a quarter of a second. None of them is fair: of
//! those that wait, whoever is scheduled first goes on, but for [`Throttle`], which keeps the order of the calls.
//! Inside a transaction they are [`Error::InTransaction`], for nobody else could see what is taken. What cannot be let go when its
//! guard is dropped, because somebody has the lock of the store for too long or the thread is inside a transaction, is let go
//! as soon as that is over: by a thread, or, in a cache without [one in the background](crate::Builder::background), by the
//! next call of the process that takes something.
//!
//! ```
//! use larder::recipes::Lock;
//! # let dir = tempfile::tempdir()?;
//! # let cache = larder::Cache::open(&dir)?;
//! let lock = Lock::new(&cache, "report")?;
//! let held = lock.lock()?;
//! assert!(lock.try_lock()?.is_none());
//! drop(held);
//! assert!(lock.try_lock()?.is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod averager;
mod barrier;
mod lock;
mod semaphore;
mod throttle;

pub use averager::Averager;
pub use barrier::Barrier;
pub use lock::{Lock, LockGuard, RLock, RLockGuard};
pub use semaphore::{BoundedSemaphore, Permit};
pub use throttle::Throttle;

use crate::error::{Error, Result};

/// The number at a place of a note.
fn number_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Nothing in place of a time-out.
fn in_time<R>(taken: Result<R>) -> Result<Option<R>> {
    match taken {
        Err(Error::Timeout) => Ok(None),
        taken => taken.map(Some),
    }
}
