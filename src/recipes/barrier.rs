//! Calls that never overlap: a lock around each.

use super::Lock;
use crate::cache::Cache;
use crate::codec::Codec;
use crate::error::Result;

/// Calls of a function, in all threads and processes, of which one runs at a time. (What `std::sync::Barrier` does is another
/// thing.)
///
/// ```
/// use larder::recipes::Barrier;
/// # let dir = tempfile::tempdir()?;
/// # let cache = larder::Cache::open(&dir)?;
/// let migrate = Barrier::new(&cache, "migrate")?;
/// assert_eq!(migrate.call(|| 7)?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Barrier {
    lock: Lock,
}

impl Barrier {
    /// The barrier of a name in a cache: the [`Lock`] of that name, used so.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let migrate = larder::recipes::Barrier::new(&cache, "migrate")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new<C: Codec>(cache: &Cache<C>, name: &str) -> Result<Barrier> {
        Ok(Barrier { lock: Lock::new(cache, name)? })
    }

    /// Calls a function while no other call runs. If it panics, the next one goes on.
    ///
    /// # Errors
    /// As [`Lock::lock`]; then `body` has not run.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let n = larder::recipes::Barrier::new(&cache, "migrate")?.call(|| 1 + 1)?;
    /// # assert_eq!(n, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn call<R>(&self, body: impl FnOnce() -> R) -> Result<R> {
        let _held = self.lock.lock()?;
        Ok(body())
    }
}
