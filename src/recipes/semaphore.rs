//! A semaphore: a note with the tokens of all who have a permit.

use std::time::Duration;

use super::{in_time, number_at};
use crate::cache::Cache;
use crate::codec::Codec;
use crate::error::Result;
use crate::ledger::{Change, Deadline, Ledger, Note};

const SEMAPHORES: &str = "\0semaphores";

/// At most so many threads of all processes have a permit at a time.
///
/// ```
/// use larder::recipes::BoundedSemaphore;
/// # let dir = tempfile::tempdir()?;
/// # let cache = larder::Cache::open(&dir)?;
/// let downloads = BoundedSemaphore::new(&cache, "downloads", 2)?;
/// let (first, second) = (downloads.acquire()?, downloads.acquire()?);
/// assert!(downloads.try_acquire()?.is_none());
/// drop(first);
/// assert!(downloads.try_acquire()?.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct BoundedSemaphore {
    ledger: Ledger,
    name: Box<[u8]>,
    permits: usize,
}

/// A permit of a [`BoundedSemaphore`]. Dropped, it is given back.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let cache = larder::Cache::open(&dir)?;
/// let semaphore = larder::recipes::BoundedSemaphore::new(&cache, "downloads", 1)?;
/// let permit: larder::recipes::Permit = semaphore.acquire()?;
/// drop(permit);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the permit is given back at once"]
pub struct Permit {
    semaphore: BoundedSemaphore,
    token: u64,
}

impl std::fmt::Debug for BoundedSemaphore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = String::from_utf8_lossy(&self.name);
        f.debug_struct("BoundedSemaphore").field("name", &name).field("permits", &self.permits).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Permit").field(&self.semaphore).finish()
    }
}

fn tokens(bytes: &[u8]) -> impl Iterator<Item = u64> {
    (0..bytes.len()).step_by(8).filter_map(|at| number_at(bytes, at))
}

/// The tokens of those that live.
fn holders<'n>(ledger: &'n Ledger, note: &'n Note) -> impl Iterator<Item = u64> + 'n {
    tokens(&note.bytes).filter(|token| ledger.is_held(*token, note.sequence))
}

fn encoded(tokens: impl Iterator<Item = u64>) -> Vec<u8> {
    tokens.flat_map(u64::to_le_bytes).collect()
}

impl BoundedSemaphore {
    /// The semaphore of a name in a cache. Whoever uses it should say the same number of permits: each call goes by its own.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let semaphore = larder::recipes::BoundedSemaphore::new(&cache, "downloads", 8)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new<C: Codec>(cache: &Cache<C>, name: &str, permits: usize) -> Result<BoundedSemaphore> {
        let ledger = Ledger::open(&cache.part(name.as_bytes()), SEMAPHORES, |ledger, note| {
            holders(ledger, note).next().is_none()
        })?;
        Ok(BoundedSemaphore { ledger, name: name.as_bytes().into(), permits })
    }

    /// Takes a permit, waiting for as long as there is none. Two commits for taking it and giving it back, each of eight bytes for
    /// every holder; while all are taken, each call asks the system of each holder whether it lives.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let _permit = larder::recipes::BoundedSemaphore::new(&cache, "downloads", 8)?.acquire()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn acquire(&self) -> Result<Permit> {
        self.take(None)
    }

    /// Takes a permit if there is one.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// assert!(larder::recipes::BoundedSemaphore::new(&cache, "none", 0)?.try_acquire()?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_acquire(&self) -> Result<Option<Permit>> {
        in_time(self.take(Some(Duration::ZERO)))
    }

    /// Takes a permit, waiting for at most `timeout`: then [`Error::Timeout`](crate::Error::Timeout).
    ///
    /// ```
    /// use std::time::Duration;
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let semaphore = larder::recipes::BoundedSemaphore::new(&cache, "downloads", 8)?;
    /// let _permit = semaphore.acquire_timeout(Duration::from_secs(1))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit> {
        self.take(Some(timeout))
    }

    /// How many permits somebody who lives has now.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let semaphore = larder::recipes::BoundedSemaphore::new(&cache, "downloads", 8)?;
    /// let permit = semaphore.acquire()?;
    /// assert_eq!(semaphore.taken()?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn taken(&self) -> Result<usize> {
        let note = self.ledger.read(&self.name)?;
        Ok(note.map_or(0, |note| holders(&self.ledger, &note).count()))
    }

    fn take(&self, timeout: Option<Duration>) -> Result<Permit> {
        let mut token = 0;
        self.ledger.write_when(&self.name, Deadline::after(timeout), |note| {
            // The dead are left out while they can be told: in a note that is written now they would be as old as it is, and
            // after a power cut the ids of handles begin anew.
            let held: Vec<u64> = note.map_or(Vec::new(), |note| holders(&self.ledger, note).collect());
            // Tokens begin anew some day, and who has had one for so long has it still.
            token = std::iter::repeat_with(|| self.ledger.token()).find(|token| !held.contains(token))?;
            (held.len() < self.permits).then(|| encoded(held.into_iter().chain([token])))
        })?;
        Ok(Permit { semaphore: self.clone(), token })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mine = self.token;
        self.semaphore.ledger.release(&self.semaphore.name, mine, move |note| {
            let left = encoded(tokens(&note.bytes).filter(|token| *token != mine));
            if left.len() == note.bytes.len() {
                Change::Keep
            } else if left.is_empty() {
                Change::Erase
            } else {
                Change::Write(left)
            }
        });
    }
}
