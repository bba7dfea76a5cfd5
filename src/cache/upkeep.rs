//! The whole store: how much there is, removing by time, tag or altogether, settings, statistics, checking.

use super::Cache;
use crate::calls::checked_tag;
use crate::codec::Codec;
use crate::engine::{Counter, Shared, Space, Sums};
use crate::error::Result;
use crate::options::{Eviction, SetOptions, Settings, Stats};

pub use crate::engine::{Progress, Report};

impl<C: Codec> Cache<C> {
    /// The number of items. Items that have expired count until something removes them; what was deleted, evicted or
    /// cleared does not, and a change that somebody is in the middle of may count already. One load from memory.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set("k", "v")?;
    /// assert_eq!(cache.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn len(&self) -> usize {
        usize::try_from(self.store.len()).unwrap_or(usize::MAX)
    }

    /// True if [`len`](Cache::len) is 0.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// assert!(larder::Cache::open(&dir)?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of items that have not expired, by looking at every one.
    ///
    /// ```
    /// use std::time::Duration;
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set_with("gone", "v", larder::SetOptions::new().expire(Duration::ZERO))?;
    /// assert_eq!((cache.len(), cache.len_live()?), (1, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn len_live(&self) -> Result<usize> {
        self.keys::<crate::key::AnyKey>().try_fold(0, |count, key| key.map(|_| count + 1))
    }

    /// Bytes that the files take on disk, everything counted. One load from memory. What is unlinked and mapped still is
    /// in [`Stats::pinned`](crate::Stats::pinned).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let cache = larder::Cache::builder(&dir).size_limit(16 << 20).open()?;
    /// assert!(cache.volume() > 0 && cache.volume() <= 16 << 20);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn volume(&self) -> u64 {
        self.store.volume()
    }

    /// Removes the items that have expired, and says how many. Looks only at those segments of the log in which
    /// something is due.
    ///
    /// ```
    /// use std::time::Duration;
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set_with("gone", "v", larder::SetOptions::new().expire(Duration::ZERO))?;
    /// assert_eq!(cache.expire()?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn expire(&self) -> Result<u64> {
        let removed = self.store.expire()?;
        self.store.count(Counter::Expirations, removed);
        Ok(removed)
    }

    /// Removes the items that have expired, and evicts items by the policy until the [`volume`](Cache::volume) is within the
    /// size limit; says how many went. Writes do both by themselves, a little at a time, so this is for who wants it done
    /// now. Holds the lock for some hundreds of microseconds at a time.
    ///
    /// # Errors
    /// [`Error::InTransaction`](crate::Error::InTransaction) inside a transaction.
    ///
    /// ```
    /// use std::time::Duration;
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set_with("gone", "v", larder::SetOptions::new().expire(Duration::ZERO))?;
    /// cache.set("here", "v")?;
    /// assert_eq!(cache.cull()?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cull(&self) -> Result<u64> {
        self.store.cull()
    }

    /// Removes all items with a tag, by one commit whose cost does not depend on how many there are, and says how many: those
    /// that counted in [`len`](Cache::len). Atomic for readers and after a crash.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set_many_with((0..100).map(|i| (i, "item")), larder::SetOptions::new().tag("batch"))?;
    /// assert_eq!(cache.evict("batch")?, 100);
    /// assert_eq!(cache.evict("batch")?, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn evict(&self, tag: &str) -> Result<u64> {
        checked_tag(&SetOptions::new().tag(tag))?;
        let removed = self.store.evict(tag)?;
        self.store.count(Counter::Evictions, removed);
        Ok(removed)
    }

    /// Removes everything, and says how many items that were. Atomic for readers and after a crash; most of the space is
    /// given back before it returns.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set("k", "v")?;
    /// assert_eq!(cache.clear()?, 1);
    /// assert!(cache.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clear(&self) -> Result<u64> {
        let removed = self.store.clear()?;
        self.store.count(Counter::Evictions, removed);
        Ok(removed)
    }

    /// Makes everything that any handle stored before the call durable: it survives a power cut from then on. Takes as long
    /// as the disk needs for what was stored since the last time, twice (the second time for a note of how far it got,
    /// by which damage can later be told from a torn end), and stops nobody. Calls at the same time share the
    /// work. Opening with [`Durability::Sync`](crate::Durability::Sync) makes every change wait like this.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if the disk failed: what was stored since the last success may be lost with the
    /// power. That holds for every process and every later call: the kernel gives up what it could not write and
    /// then reports success, so no file is asked a second time. A new call writes what is suspect into new
    /// files, from memory; `Ok` means that this has succeeded. If memory has lost it too, the error is
    /// [`Error::Corrupt`](crate::Error::Corrupt) until a [`clear`](Cache::clear).
    /// [`Error::Timeout`](crate::Error::Timeout) if another process did not let it go on within the lock time-out,
    /// [`Error::ReadOnly`](crate::Error::ReadOnly), [`Error::InTransaction`](crate::Error::InTransaction).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set("k", "v")?;
    /// cache.sync()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sync(&self) -> Result<()> {
        self.store.sync()
    }

    /// The settings in force, as every process sees them now.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// assert_eq!(larder::Cache::open(&dir)?.settings().size_limit, 1 << 30);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn settings(&self) -> Settings {
        settings(self.store.shared_settings())
    }

    /// Changes settings for every process, durably, and gives what is in force then. What `change` leaves as it was is not
    /// written, so two processes that change different settings do not undo each other.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for a size limit below 2 MiB or beyond what the directory was created for;
    /// nothing is changed then.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let settings = cache.update_settings(|settings| settings.size_limit = 512 << 20)?;
    /// assert_eq!(settings.size_limit, 512 << 20);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn update_settings(&self, change: impl FnOnce(&mut Settings)) -> Result<Settings> {
        let before = self.store.shared_settings();
        let mut wanted = settings(before);
        change(&mut wanted);
        let Settings { size_limit, eviction, statistics } = wanted;
        let after = Shared { size_limit, eviction: eviction.to_bits(), statistics };
        Ok(settings(self.store.change_settings(&mut |shared| shared.take_changes(&before, &after))?))
    }

    /// Counts since the last reset, summed over all processes, and how the space is used. Reads a file for each open handle.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let cache = larder::Cache::builder(&dir).statistics(true).open()?;
    /// cache.set("k", "v")?;
    /// assert_eq!(cache.stats()?.stores, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stats(&self) -> Result<Stats> {
        Ok(stats(self.store.sums()?, self.store.space()?))
    }

    /// The counts, which begin at zero again for every process.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let cache = larder::Cache::builder(&dir).statistics(true).open()?;
    /// cache.set("k", "v")?;
    /// assert_eq!(cache.reset_stats()?.stores, 1);
    /// assert_eq!(cache.stats()?.stores, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reset_stats(&self) -> Result<Stats> {
        let space = self.store.space()?;
        let sums = self.store.reset_sums()?;
        Ok(stats(sums, space))
    }

    /// Reads and verifies everything: every record of the log, every cell of the index, every large value, every count.
    /// Other processes go on reading; writers wait until it is done, about a second for a GiB in memory.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set("k", "v")?;
    /// let report = cache.check()?;
    /// assert!(report.is_clean());
    /// assert_eq!(report.items, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check(&self) -> Result<Report> {
        self.check_with(|_| {})
    }

    /// As [`check`](Cache::check), and says how far it is.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.check_with(|progress| println!("{} of {} bytes", progress.done, progress.total))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check_with(&self, mut progress: impl FnMut(Progress)) -> Result<Report> {
        self.store.check(&mut progress)
    }

    /// Checks, and puts right what can be: makes the index and all counts anew from the records that are whole, and drops what
    /// cannot be read. The report says what was found before. Bytes of the log that are damaged stay where they are, and a
    /// check goes on naming them, until their segment goes; nothing leads there any more. Writers wait; readers go on.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.repair()?;
    /// assert!(cache.check()?.is_clean());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn repair(&self) -> Result<Report> {
        self.repair_with(|_| {})
    }

    /// As [`repair`](Cache::repair), and says how far it is.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.repair_with(|progress| assert!(progress.done <= progress.total))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn repair_with(&self, mut progress: impl FnMut(Progress)) -> Result<Report> {
        self.store.repair(&mut progress)
    }
}

fn settings(shared: Shared) -> Settings {
    Settings {
        size_limit: shared.size_limit,
        eviction: Eviction::from_bits(shared.eviction),
        statistics: shared.statistics,
    }
}

fn stats(sums: Sums, space: Space) -> Stats {
    let of = |counter: Counter| sums[counter as usize];
    Stats {
        culled: of(Counter::Culled),
        failures: of(Counter::Failures),
        stored_bytes: space.stored,
        moved_bytes: space.moved,
        live_bytes: space.live,
        dead_bytes: space.dead,
        free_bytes: space.free,
        segments: space.segments,
        pinned: space.pinned,
        hits: of(Counter::Hits),
        misses: of(Counter::Misses),
        stores: of(Counter::Stores),
        removals: of(Counter::Removals),
        evictions: of(Counter::Evictions),
        expirations: of(Counter::Expirations),
    }
}
