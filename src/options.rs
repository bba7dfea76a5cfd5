//! Limits, settings and per-call options: plain values that every floor may name. They know nothing.

use std::borrow::Cow;
use std::time::Duration;

/// The longest key, in bytes of its encoding.
///
/// ```
/// use larder::{Key, MAX_KEY_BYTES};
///
/// // A string takes one byte before it and one after it.
/// assert!("x".repeat(MAX_KEY_BYTES - 2).encode().is_ok());
/// assert!("x".repeat(MAX_KEY_BYTES - 1).encode().is_err());
/// ```
pub const MAX_KEY_BYTES: usize = 65_535;

/// The longest tag, in bytes.
///
/// ```
/// assert_eq!(larder::MAX_TAG_BYTES, 1024);
/// ```
pub const MAX_TAG_BYTES: usize = 1024;

/// The smallest size limit, in bytes: 2 MiB.
///
/// ```
/// let tiny = larder::Cache::builder("never-made").size_limit(1 << 20).open();
/// assert!(matches!(tiny, Err(larder::Error::Config(_))));
/// ```
pub const MIN_SIZE_LIMIT: u64 = 2 << 20;

/// Which items go first when the size limit is reached.
///
/// The choice is stored in the directory and holds for every process; it may change while the store is in use. Reading an
/// item marks it as used under the first, third and fourth of these, at the cost of one store to memory at most: no lock, no
/// system call, nothing written to the log. [`contains`](crate::Cache::contains) and iterators only look.
///
/// Space is given back a segment of the log at a time, the oldest first, and what is to stay is moved; so the choice among
/// items that are nearly equal is not exact, and a few per cent of the limit are always free or being emptied.
///
/// ```
/// use larder::{Cache, Eviction};
/// # let dir = tempfile::tempdir()?;
/// let cache = Cache::builder(&dir).eviction(Eviction::None).open()?;
/// assert_eq!(cache.settings().eviction, Eviction::None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Eviction {
    /// Two queues: new items go to the first, which has a tenth of the space; what is read twice there moves to the second.
    /// An item that comes back soon after it was evicted is known, and stays. One pass over many items that nobody
    /// reads again, as a scan makes it, leaves the second queue as it is. The best of these on most loads.
    #[default]
    S3Fifo,
    /// Oldest store first. Nothing is ever moved, so this writes least.
    #[doc(alias = "least-recently-stored")]
    LeastRecentlyStored,
    /// Oldest use first, in steps of an eighth of the limit.
    #[doc(alias = "least-recently-used")]
    LeastRecentlyUsed,
    /// Fewest uses first, up to 15; the count of an item that stays is halved when its segment goes.
    #[doc(alias = "least-frequently-used")]
    LeastFrequentlyUsed,
    /// Nothing is ever evicted: a full store is [`Error::Full`](crate::Error::Full), and everything stored is still there.
    /// What was replaced, removed or has expired gives its space back to what is stored once it is an eighth of what stays. Removals
    /// have room of their own: a full store can be emptied one by one, in any order. A transaction that removes several items may be
    /// `Full` if their keys are longer together than a 128th of the limit, as may be the removal of a key that is so by itself; `clear`
    /// never is.
    None,
}

impl Eviction {
    pub(crate) fn to_bits(self) -> u32 {
        match self {
            Eviction::S3Fifo => 0,
            Eviction::LeastRecentlyStored => 1,
            Eviction::LeastRecentlyUsed => 2,
            Eviction::LeastFrequentlyUsed => 3,
            Eviction::None => 4,
        }
    }

    /// A policy that this version does not know counts as none: nothing is evicted by mistake.
    pub(crate) fn from_bits(bits: u32) -> Eviction {
        match bits {
            0 => Eviction::S3Fifo,
            1 => Eviction::LeastRecentlyStored,
            2 => Eviction::LeastRecentlyUsed,
            3 => Eviction::LeastFrequentlyUsed,
            _ => Eviction::None,
        }
    }
}

/// What a change has survived when its call returns. A choice of each handle, not of the directory.
///
/// Under both, a change is whole or absent, and survives the death of any process. They differ in a power cut, a crash of
/// the kernel and a volume that is pulled:
///
/// | | what a power cut takes | what a change costs |
/// |---|---|---|
/// | `Buffered` | the newest changes, back to the last [`sync`](crate::Cache::sync) at most | no wait for the disk |
/// | `Sync` | nothing that a call of this handle returned `Ok` for | a wait for the disk, shared by all who wait |
///
/// ```
/// use larder::{Cache, Durability};
/// # let dir = tempfile::tempdir()?;
/// let ledger = Cache::builder(&dir).durability(Durability::Sync).open()?;
/// ledger.set("balance", &100)?; // on the disk
/// let scratch = Cache::open(&dir)?;
/// scratch.set("draft", &1)?; // on the disk with the next `Sync` change, or `sync`, of anybody
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// A change returns once every process sees it. The kernel writes it to the disk some seconds later.
    #[default]
    Buffered,
    /// A change returns once it is on the disk, and with it everything that any handle changed before it. Threads and
    /// processes that wait at the same time share one `fdatasync`, so that eight of them get several times as much
    /// done as one.
    ///
    /// Other threads and processes see the change before it is on the disk: what they saw may be gone after a power
    /// cut, until the call has returned. If the disk fails, the call is [`Error::NotDurable`](crate::Error::NotDurable):
    /// the change is made and visible, and may be lost with the power; from then on `Sync` changes of all processes are
    /// refused until [`sync`](crate::Cache::sync) has succeeded.
    Sync,
}

/// What is stored in the directory and holds for every process that opens it.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let cache = larder::Cache::builder(&dir).size_limit(64 << 20).open()?;
/// cache.update_settings(|settings| settings.statistics = true)?;
/// let other = larder::Cache::open(&dir)?;
/// assert_eq!(other.settings().size_limit, 64 << 20);
/// assert!(other.settings().statistics);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// The most bytes the files may take on disk.
    pub size_limit: u64,
    /// What goes first when they would take more.
    pub eviction: Eviction,
    /// True if hits, misses and the like are counted.
    pub statistics: bool,
}

/// Expiry and tag of one item.
///
/// ```
/// use larder::SetOptions;
/// use std::time::Duration;
/// # let dir = tempfile::tempdir()?;
/// # let cache = larder::Cache::open(&dir)?;
/// let options = SetOptions::new().expire(Duration::from_secs(3600)).tag("weather");
/// cache.set_with("Oslo", &-4.5, options)?;
/// assert_eq!(cache.evict("weather")?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct SetOptions<'a> {
    pub(crate) expire: Option<Duration>,
    pub(crate) tag: Option<Cow<'a, str>>,
    pub(crate) wait: Option<Duration>,
}

impl<'a> SetOptions<'a> {
    /// No expiry and no tag.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set_with("k", "v", larder::SetOptions::new())?;
    /// assert_eq!(cache.entry::<String>("k")?.unwrap().expires_at, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn new() -> SetOptions<'a> {
        SetOptions { expire: None, tag: None, wait: None }
    }

    /// The same, for a value that keeps them.
    pub(crate) fn into_owned(self) -> SetOptions<'static> {
        let tag = self.tag.map(|tag| Cow::Owned(tag.into_owned()));
        SetOptions { expire: self.expire, tag, wait: self.wait }
    }

    /// The item is absent from then on. Zero stores an item that is absent at once; a time beyond the year 2554, such as
    /// `Duration::MAX`, means never. The clock that decides is the wall clock, read to some milliseconds; when it steps,
    /// items live longer or shorter by the step, but what has expired once does not come back.
    ///
    /// ```
    /// use std::time::Duration;
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set_with("gone", "v", larder::SetOptions::new().expire(Duration::ZERO))?;
    /// assert!(!cache.contains("gone")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn expire(mut self, after: Duration) -> SetOptions<'a> {
        self.expire = Some(after);
        self
    }

    /// A name under which items are evicted together. At most [`MAX_TAG_BYTES`] bytes.
    ///
    /// There may be as many as items: each takes 64 bytes in the directory, and its name some more. What a tag without items
    /// takes is used again for the next new one; only tags of a [cache within another](crate::Cache::cache) keep it for as
    /// long as the directory lives. Beyond 16 million at a time, a new one is [`Error::Full`](crate::Error::Full).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set_with("k", "v", larder::SetOptions::new().tag("group"))?;
    /// assert_eq!(cache.entry::<String>("k")?.unwrap().tag.as_deref(), Some("group"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tag(mut self, tag: impl Into<Cow<'a, str>>) -> SetOptions<'a> {
        self.tag = Some(tag.into());
        self
    }

    /// How long a call waits for another one that computes the same value, before it is
    /// [`Error::Timeout`](crate::Error::Timeout): of [`get_or_insert_with`](crate::Cache::get_or_insert_with) and
    /// [`try_get_or_insert_with`](crate::Cache::try_get_or_insert_with). As long as it takes if nothing is said; other calls
    /// wait for nobody.
    ///
    /// ```
    /// use std::time::Duration;
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let options = larder::SetOptions::new().wait(Duration::from_secs(10));
    /// assert_eq!(cache.get_or_insert_with("k", options, || 7)?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait(mut self, at_most: Duration) -> SetOptions<'a> {
        self.wait = Some(at_most);
        self
    }
}

/// Counts since the last reset, summed over all processes, those that ended too; and how the space is used now.
///
/// They are kept without a lock: a process that was killed may have lost what it was just counting, a machine that lost
/// power all of them.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let cache = larder::Cache::builder(&dir).statistics(true).open()?;
/// cache.set("k", "v")?;
/// cache.get::<String>("k")?;
/// cache.get::<String>("absent")?;
/// let stats = cache.stats()?;
/// assert_eq!((stats.hits, stats.misses, stats.stores), (1, 1, 1));
/// assert_eq!(stats.hit_rate(), 0.5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Reads that found an item.
    pub hits: u64,
    /// Reads that found none, or an expired one.
    pub misses: u64,
    /// Items stored.
    pub stores: u64,
    /// Items removed by key.
    pub removals: u64,
    /// Items removed by `evict` and `clear`; what the policy evicts is `culled`.
    pub evictions: u64,
    /// Items removed because they had expired; those met while space was given back also where statistics are off.
    pub expirations: u64,
    /// Items that the policy evicted because their space was needed. Counted whether statistics are on or not.
    pub culled: u64,
    /// Calls of memoized functions that were computed without the cache, or whose result was not kept: because the disk failed,
    /// for want of time or room, or where the cache could not be asked, as inside a transaction. Counted whether statistics
    /// are on or not.
    pub failures: u64,
    /// Bytes of keys and values that were stored, with what the log needs for each; since the last reset.
    pub stored_bytes: u64,
    /// Bytes that were written again because their items stay while what is around them goes; since the last reset.
    pub moved_bytes: u64,
    /// Bytes on disk that hold items, as far as that is known: what was evicted by tag, cleared or has expired counts until its
    /// space is looked at.
    pub live_bytes: u64,
    /// Bytes on disk that hold nothing any more and have not been given back yet, as far as that is known.
    pub dead_bytes: u64,
    /// Bytes by which the volume is under the size limit.
    pub free_bytes: u64,
    /// Segments of the log.
    pub segments: u64,
    /// Bytes of files that are unlinked, so not in the [`volume`](crate::Cache::volume), whose space is taken still because some
    /// handle of some process has them mapped: it has made no call since, stands still, or has values borrowed by
    /// [`get_ref`](crate::Cache::get_ref). By the length of the files, of which the last kilobytes may never have been taken.
    ///
    /// Not in it is what read-only handles have mapped, what values borrowed from a handle that is closed keep, and what a
    /// child of `fork` has from its parent; nor what one handle has mapped beyond 250 files, or borrowed beyond 120 values
    /// with files of their own.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let cache = larder::Cache::open(&dir)?;
    /// cache.set_bytes("k", &[7; 1_000_000])?;
    /// let value = cache.get_ref("k")?;
    /// cache.delete("k")?;
    /// assert!(cache.stats()?.pinned >= 1_000_000);
    /// drop(value);
    /// assert_eq!(cache.stats()?.pinned, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub pinned: u64,
}

impl Stats {
    /// What is written for each byte that is stored: 1 if nothing was moved.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let cache = larder::Cache::open(&dir)?;
    /// cache.set("k", "v")?;
    /// assert_eq!(cache.stats()?.write_amplification(), 1.0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write_amplification(&self) -> f64 {
        if self.stored_bytes == 0 {
            return 1.0;
        }
        1.0 + self.moved_bytes as f64 / self.stored_bytes as f64
    }

    /// Hits as a share of all reads; 0 if there were none.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// assert_eq!(larder::Cache::open(&dir)?.stats()?.hit_rate(), 0.0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn hit_rate(&self) -> f64 {
        let reads = self.hits + self.misses;
        if reads == 0 { 0.0 } else { self.hits as f64 / reads as f64 }
    }
}
