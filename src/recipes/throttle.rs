//! A limit of calls in a time: a note with the moment at which the calls made so far would be through, one behind the other, and
//! that of the last call.
//!
//! The *generic cell rate algorithm*: each call moves that moment by its share of the time, from now on if it has passed. A call
//! goes at once as long as the moment is less than the whole time ahead, and else waits until it is. After ITU-T I.371.

use std::time::Duration;

use super::{in_time, number_at};
use crate::cache::Cache;
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::ledger::{Change, Ledger, Note};

const THROTTLES: &str = "\0throttles";

/// So many calls in a time, of all processes together.
///
/// After a pause as many go at once; then they follow each other in even distances. Each call that waits has its turn
/// from the beginning, and sleeps until then. The clock that counts is the machine's, read to some milliseconds: if it is set
/// forward, calls go that had to wait; if it is set back, the turns go with it.
///
/// ```
/// use larder::recipes::Throttle;
/// use std::time::Duration;
/// # let dir = tempfile::tempdir()?;
/// # let cache = larder::Cache::open(&dir)?;
/// let api = Throttle::new(&cache, "api", 2, Duration::from_secs(60))?;
/// api.wait()?;
/// api.wait()?;
/// assert!(!api.try_pass()?); // the third within a minute
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Throttle {
    ledger: Ledger,
    name: Box<[u8]>,
    /// Nanoseconds from call to call, and of all that may go at once.
    distance: u64,
    whole: u64,
}

impl std::fmt::Debug for Throttle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Throttle").field("name", &String::from_utf8_lossy(&self.name)).finish_non_exhaustive()
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// True if a call would go as if none had been before.
fn is_through(ledger: &Ledger, note: &Note) -> bool {
    let word = |at| number_at(&note.bytes, at).unwrap_or(0);
    word(0).max(word(8)) < ledger.clock()
}

impl Throttle {
    /// The throttle of a name in a cache: `count` calls in `time`; with a count of 0, as with 1. What went before, in this and in
    /// other processes, counts. Whoever uses it should say the same numbers: each call goes by its own.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let api = larder::recipes::Throttle::new(&cache, "api", 10, std::time::Duration::from_secs(1))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new<C: Codec>(cache: &Cache<C>, name: &str, count: u32, time: Duration) -> Result<Throttle> {
        let ledger = Ledger::open(&cache.part(name.as_bytes()), THROTTLES, is_through)?;
        let whole = nanos(time);
        Ok(Throttle { ledger, name: name.as_bytes().into(), distance: whole / u64::from(count.max(1)), whole })
    }

    /// Waits for the turn of this call.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// larder::recipes::Throttle::new(&cache, "api", 10, std::time::Duration::from_secs(1))?.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait(&self) -> Result<()> {
        self.pass(Duration::MAX)
    }

    /// Waits for the turn of this call if it comes within `timeout`; else [`Error::Timeout`] at once, and the call does not count.
    ///
    /// ```
    /// use std::time::Duration;
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let daily = larder::recipes::Throttle::new(&cache, "daily", 1, Duration::from_secs(86_400))?;
    /// daily.wait_timeout(Duration::from_secs(1))?;
    /// assert!(daily.wait_timeout(Duration::from_secs(1)).unwrap_err().is_timeout());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> Result<()> {
        self.pass(timeout)
    }

    /// True if the call may go at once; else it does not count.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let api = larder::recipes::Throttle::new(&cache, "api", 1, std::time::Duration::from_secs(60))?;
    /// assert!(api.try_pass()? && !api.try_pass()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_pass(&self) -> Result<bool> {
        Ok(in_time(self.pass(Duration::ZERO))?.is_some())
    }

    fn pass(&self, timeout: Duration) -> Result<()> {
        let left = self.ledger.change(&self.name, |note| {
            let now = self.ledger.clock();
            let word = |at| note.as_ref().and_then(|note| number_at(&note.bytes, at)).unwrap_or(0);
            // Since the last call the clock went back by so much, and the turns go with it.
            let back = word(8).saturating_sub(now);
            let through = word(0).saturating_sub(back).max(now).saturating_add(self.distance);
            let left = Duration::from_nanos((through - now).saturating_sub(self.whole.max(self.distance)));
            if left > timeout {
                return Ok((Change::Keep, None));
            }
            Ok((Change::Write([through.to_le_bytes(), now.to_le_bytes()].concat()), Some(left)))
        })?;
        std::thread::sleep(left.ok_or(Error::Timeout)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls that were made while the clock was an hour ahead count as if they had been made now.
    #[test]
    fn turns_go_back_with_the_clock() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir).unwrap();
        let throttle = Throttle::new(&cache, "api", 2, Duration::from_secs(60)).unwrap();
        let note = |through: u64, at: u64| [through.to_le_bytes(), at.to_le_bytes()].concat();
        let ahead = throttle.ledger.clock() + nanos(Duration::from_secs(3600));
        let full = note(ahead + throttle.distance, ahead);
        throttle.ledger.change(&throttle.name, |_| Ok((Change::Write(full.clone()), ()))).unwrap();
        assert!(throttle.try_pass().unwrap(), "the second in a minute");
        assert!(!throttle.try_pass().unwrap(), "the third");
    }
}
