//! A running average: a note with a sum and a count.

use super::number_at;
use crate::cache::Cache;
use crate::codec::Codec;
use crate::error::Result;
use crate::ledger::{Change, Ledger, Note};

const AVERAGES: &str = "\0averages";

/// The average of numbers that any process adds.
///
/// ```
/// use larder::recipes::Averager;
/// # let dir = tempfile::tempdir()?;
/// # let cache = larder::Cache::open(&dir)?;
/// let latency = Averager::new(&cache, "latency")?;
/// latency.add(0.08)?;
/// latency.add(0.12)?;
/// assert_eq!(latency.get()?, Some(0.1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Averager {
    ledger: Ledger,
    name: Box<[u8]>,
}

impl std::fmt::Debug for Averager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Averager").field("name", &String::from_utf8_lossy(&self.name)).finish_non_exhaustive()
    }
}

/// Sum and count of a note.
fn parsed(note: Option<&Note>) -> (f64, u64) {
    let number = |at| note.and_then(|note| number_at(&note.bytes, at)).unwrap_or(0);
    (f64::from_bits(number(0)), number(8))
}

fn average((sum, count): (f64, u64)) -> Option<f64> {
    (count != 0).then(|| sum / count as f64)
}

impl Averager {
    /// The average of a name in a cache.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let latency = larder::recipes::Averager::new(&cache, "latency")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new<C: Codec>(cache: &Cache<C>, name: &str) -> Result<Averager> {
        Ok(Averager {
            ledger: Ledger::open(&cache.part(name.as_bytes()), AVERAGES, |_, _| false)?,
            name: name.as_bytes().into(),
        })
    }

    /// Adds a number. One commit.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// larder::recipes::Averager::new(&cache, "latency")?.add(0.1)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add(&self, number: f64) -> Result<()> {
        self.ledger.change(&self.name, |note| {
            let (sum, count) = parsed(note.as_ref());
            let (sum, count) = (sum + number, count.saturating_add(1));
            Ok((Change::Write([sum.to_bits().to_le_bytes(), count.to_le_bytes()].concat()), ()))
        })
    }

    /// The average; `None` if nothing was added.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// assert_eq!(larder::recipes::Averager::new(&cache, "latency")?.get()?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get(&self) -> Result<Option<f64>> {
        Ok(average(parsed(self.ledger.read(&self.name)?.as_ref())))
    }

    /// The average, which then begins anew.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let latency = larder::recipes::Averager::new(&cache, "latency")?;
    /// latency.add(0.5)?;
    /// assert_eq!((latency.pop()?, latency.pop()?), (Some(0.5), None));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pop(&self) -> Result<Option<f64>> {
        self.ledger.change(&self.name, |note| Ok((Change::Erase, average(parsed(note.as_ref())))))
    }
}
