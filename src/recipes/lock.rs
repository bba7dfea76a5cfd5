//! Locks: a note with the token of whoever holds it, and of an [`RLock`] how often.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::{in_time, number_at};
use crate::cache::Cache;
use crate::codec::Codec;
use crate::error::Result;
use crate::ledger::{Change, Deadline, Ledger, Note};

/// The notes of locks, and those of locks that can be taken again.
const LOCKS: &str = "\0locks";
const RLOCKS: &str = "\0rlocks";

/// The number of the next thread of this process that takes an [`RLock`].
static THREADS: AtomicU32 = AtomicU32::new(0);
thread_local! {
    static THREAD: u32 = THREADS.fetch_add(1, Ordering::Relaxed);
}

/// A lock that one thread of one process holds at a time.
///
/// ```
/// use larder::recipes::Lock;
/// # let dir = tempfile::tempdir()?;
/// # let cache = larder::Cache::open(&dir)?;
/// let lock = Lock::new(&cache, "deploy")?;
/// {
///     let _held = lock.lock()?; // in all processes, nobody else is here
/// }
/// assert!(!lock.is_locked()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Lock {
    ledger: Ledger,
    name: Box<[u8]>,
}

/// A [`Lock`] that is held. Dropped, it is let go.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let cache = larder::Cache::open(&dir)?;
/// let lock = larder::recipes::Lock::new(&cache, "deploy")?;
/// let held: larder::recipes::LockGuard = lock.lock()?;
/// drop(held);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the lock is let go at once"]
pub struct LockGuard {
    lock: Lock,
    token: u64,
}

impl std::fmt::Debug for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lock").field("name", &String::from_utf8_lossy(&self.name)).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LockGuard").field(&self.lock).finish()
    }
}

impl Lock {
    /// The lock of a name in a cache.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let lock = larder::recipes::Lock::new(&cache, "deploy")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new<C: Codec>(cache: &Cache<C>, name: &str) -> Result<Lock> {
        Ok(Lock { ledger: Ledger::open(&cache.part(name.as_bytes()), LOCKS, is_free)?, name: name.as_bytes().into() })
    }

    /// Takes the lock, waiting for as long as somebody has it. Two commits of some microseconds for taking it and letting go.
    ///
    /// A thread that has it and takes it again waits for itself, for ever: that is what [`RLock`] is for.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let _held = larder::recipes::Lock::new(&cache, "deploy")?.lock()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "acquire")]
    pub fn lock(&self) -> Result<LockGuard> {
        self.take(None)
    }

    /// Takes the lock if nobody has it.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let lock = larder::recipes::Lock::new(&cache, "deploy")?;
    /// let held = lock.try_lock()?.expect("it is free");
    /// assert!(lock.try_lock()?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_lock(&self) -> Result<Option<LockGuard>> {
        in_time(self.take(Some(Duration::ZERO)))
    }

    /// Takes the lock, waiting for at most `timeout`: then [`Error::Timeout`](crate::Error::Timeout).
    ///
    /// ```
    /// use std::time::Duration;
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let lock = larder::recipes::Lock::new(&cache, "deploy")?;
    /// let held = lock.lock()?;
    /// assert!(lock.lock_timeout(Duration::from_millis(1)).unwrap_err().is_timeout());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lock_timeout(&self, timeout: Duration) -> Result<LockGuard> {
        self.take(Some(timeout))
    }

    /// True if somebody who lives has the lock now.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// assert!(!larder::recipes::Lock::new(&cache, "deploy")?.is_locked()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "locked")]
    pub fn is_locked(&self) -> Result<bool> {
        Ok(self.ledger.read(&self.name)?.is_some_and(|note| is_held(&self.ledger, &note)))
    }

    fn take(&self, timeout: Option<Duration>) -> Result<LockGuard> {
        let token = self.ledger.token();
        self.ledger.write_when(&self.name, Deadline::after(timeout), |note| {
            note.is_none_or(|note| is_free(&self.ledger, note)).then(|| token.to_le_bytes().to_vec())
        })?;
        Ok(LockGuard { lock: self.clone(), token })
    }
}

/// True if the holder that a note begins with lives.
fn is_held(ledger: &Ledger, note: &Note) -> bool {
    number_at(&note.bytes, 0).is_some_and(|token| ledger.is_held(token, note.sequence))
}

fn is_free(ledger: &Ledger, note: &Note) -> bool {
    !is_held(ledger, note)
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        let token = self.token;
        self.lock.ledger.release(&self.lock.name, token, move |note| {
            if number_at(&note.bytes, 0) == Some(token) { Change::Erase } else { Change::Keep }
        });
    }
}

/// A lock that the thread that holds it can take again; the others have to wait until it has let go as often.
///
/// A thread is known by its handle: take the lock again through the same cache, or a clone of it.
///
/// ```
/// use larder::recipes::RLock;
/// # let dir = tempfile::tempdir()?;
/// # let cache = larder::Cache::open(&dir)?;
/// let lock = RLock::new(&cache, "tree")?;
/// let outer = lock.lock()?;
/// let inner = lock.lock()?;
/// drop((inner, outer));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct RLock {
    ledger: Ledger,
    name: Box<[u8]>,
}

/// An [`RLock`] that is held once more. It stays with its thread.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let cache = larder::Cache::open(&dir)?;
/// let lock = larder::recipes::RLock::new(&cache, "tree")?;
/// let held: larder::recipes::RLockGuard = lock.lock()?;
/// drop(held);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the lock is let go at once"]
pub struct RLockGuard {
    lock: RLock,
    token: u64,
    stays: PhantomData<*const ()>,
}

impl std::fmt::Debug for RLock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RLock").field("name", &String::from_utf8_lossy(&self.name)).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for RLockGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RLockGuard").field(&self.lock).finish()
    }
}

/// The note of a holder and how often it has taken the lock.
fn times(token: u64, count: u64) -> Vec<u8> {
    [token.to_le_bytes(), count.to_le_bytes()].concat()
}

impl RLock {
    /// The lock of a name in a cache. It is another one than the [`Lock`] of that name.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let lock = larder::recipes::RLock::new(&cache, "tree")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new<C: Codec>(cache: &Cache<C>, name: &str) -> Result<RLock> {
        Ok(RLock { ledger: Ledger::open(&cache.part(name.as_bytes()), RLOCKS, is_free)?, name: name.as_bytes().into() })
    }

    /// As [`Lock::lock`]; a thread that has it takes it once more at once.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let _held = larder::recipes::RLock::new(&cache, "tree")?.lock()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "acquire")]
    pub fn lock(&self) -> Result<RLockGuard> {
        self.take(None)
    }

    /// As [`Lock::try_lock`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let lock = larder::recipes::RLock::new(&cache, "tree")?;
    /// let (once, twice) = (lock.try_lock()?, lock.try_lock()?);
    /// assert!(once.is_some() && twice.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_lock(&self) -> Result<Option<RLockGuard>> {
        in_time(self.take(Some(Duration::ZERO)))
    }

    /// As [`Lock::lock_timeout`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let lock = larder::recipes::RLock::new(&cache, "tree")?;
    /// let _held = lock.lock_timeout(std::time::Duration::from_secs(1))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lock_timeout(&self, timeout: Duration) -> Result<RLockGuard> {
        self.take(Some(timeout))
    }

    /// True if somebody who lives has the lock now.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// assert!(!larder::recipes::RLock::new(&cache, "tree")?.is_locked()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_locked(&self) -> Result<bool> {
        Ok(self.ledger.read(&self.name)?.is_some_and(|note| is_held(&self.ledger, &note)))
    }

    fn take(&self, timeout: Option<Duration>) -> Result<RLockGuard> {
        let token = self.ledger.token_of(THREAD.with(|thread| *thread));
        self.ledger.write_when(&self.name, Deadline::after(timeout), |note| {
            let Some(note) = note.filter(|note| is_held(&self.ledger, note)) else { return Some(times(token, 1)) };
            let is_mine = number_at(&note.bytes, 0) == Some(token);
            is_mine.then(|| times(token, number_at(&note.bytes, 8).unwrap_or(0).saturating_add(1)))
        })?;
        Ok(RLockGuard { lock: self.clone(), token, stays: PhantomData })
    }
}

impl Drop for RLockGuard {
    fn drop(&mut self) {
        let token = self.token;
        self.lock.ledger.release(&self.lock.name, token, move |note| {
            match (number_at(&note.bytes, 0), number_at(&note.bytes, 8)) {
                (Some(holder), Some(count)) if holder == token && count > 1 => Change::Write(times(token, count - 1)),
                (Some(holder), _) if holder == token => Change::Erase,
                _ => Change::Keep,
            }
        });
    }
}
