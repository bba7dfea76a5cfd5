//! `FanoutCache`: a cache that is several stores, so that several can write at a time. It has the calls of `Cache`, which are written
//! once; this file knows what it adds to them.

use std::ops::Deref;
use std::path::Path;

use crate::cache::{Builder, Cache};
use crate::calls;
use crate::codec::{Codec, Postcard};
use crate::error::Result;

/// A [`Cache`] in several shards: all its calls, with the same meaning, and writers of different shards do not wait for each other.
///
/// Each key is in the shard that a hash gives, under a seed drawn at creation, so keys spread evenly whatever they have in common.
/// The size limit is that of the whole directory, and each shard has an equal part of it; so has each its own eviction, and
/// limits that are a part of the size limit (of a value, of a transaction) are parts of the shard's. Shards are for several that write most of the time.
///
/// What concerns several shards is one all the same, for every reader and whoever is killed: [`get_many`](Cache::get_many) reads
/// one moment, [`set_many`](Cache::set_many), [`delete_many`](Cache::delete_many), [`evict`](Cache::evict) and
/// [`clear`](Cache::clear) change all or nothing. They take the locks of all shards while they commit. After
/// a *power cut*, or a restart of the machine before anybody went on after such a call was killed, each shard may have lost the
/// newest of its changes, and so its part of it.
///
/// [`transact`](Cache::transact) takes the locks of all shards while it runs. If it has changed several, it is there whole or not
/// at all after a power cut too, and for that it waits for the disk: about as often as it has changed shards, and once more. Changes in one shard alone do not wait.
///
/// A transaction of a [`Deque`](crate::Deque) or an [`Index`](crate::Index) covers its shard alone: writes to other shards inside it are
/// [`Error::InTransaction`](crate::Error::InTransaction); use one of the cache, and `tx.deque(name)`. Settings are changed shard by shard.
///
/// Sub-stores by name: [`cache`](Cache::cache) is in all shards; a [`deque`](Cache::deque) or an [`index`](Cache::index), what a recipe keeps,
/// and the order of the queues of [`push`](Cache::push) are in one shard each. [`iter_inserted`](Cache::iter_inserted) and
/// [`peek_item`](Cache::peek_item) know the order of insertion within a shard only. [`check_with`](Cache::check_with) and
/// [`repair_with`](Cache::repair_with) tell of one shard after the other.
///
/// ```
/// use larder::{FanoutCache, SetOptions};
/// # let dir = tempfile::tempdir()?;
/// let cache = FanoutCache::builder(&dir).shards(4).open()?;
/// for i in 0..20 {
///     cache.set_with(("page", i), &i, SetOptions::new().tag("pages"))?;
/// }
/// cache.transact(|tx| {
///     tx.incr("visits", 1)?;
///     tx.incr("pages", 20)
/// })?;
/// assert_eq!((cache.len(), cache.evict("pages")?, cache.len()), (22, 20, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct FanoutCache<C: Codec = Postcard> {
    cache: Cache<C>,
}

/// What a [`Builder`] opens that [`FanoutCache::builder`] gave: a [`FanoutCache`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let builder: larder::Builder<larder::Postcard, larder::Sharded> = larder::FanoutCache::builder(&dir);
/// let cache: larder::FanoutCache = builder.open()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Sharded {
    shards: Option<u32>,
}

impl<C: Codec> Deref for FanoutCache<C> {
    type Target = Cache<C>;
    fn deref(&self) -> &Cache<C> {
        &self.cache
    }
}

impl FanoutCache {
    /// Opens the fan-out cache in a directory with the defaults (8 shards, 1 GiB), making it if there is none.
    ///
    /// # Errors
    /// As [`Cache::open`]; [`Error::Config`](crate::Error::Config) if the directory holds something else.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let cache = larder::FanoutCache::open(&dir)?;
    /// assert_eq!(cache.shards(), 8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(directory: impl AsRef<Path>) -> Result<FanoutCache> {
        FanoutCache::builder(directory).open()
    }

    /// Begins opening with options: those of a cache, and [`shards`](Builder::shards).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let cache = larder::FanoutCache::builder(&dir).shards(4).size_limit(64 << 20).open()?;
    /// assert_eq!(cache.settings().size_limit, 64 << 20);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder(directory: impl AsRef<Path>) -> Builder<Postcard, Sharded> {
        Builder::new(directory.as_ref(), Sharded::default())
    }
}

impl<C: Codec> Builder<C, Sharded> {
    /// How many shards a new fan-out cache has, 1 to 128; 8 if nothing is said. About as many as write at a time. The number stays
    /// for as long as the directory does: opening it with another one is [`Error::Config`](crate::Error::Config).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let cache = larder::FanoutCache::builder(&dir).shards(16).open()?;
    /// assert_eq!(cache.shards(), 16);
    /// assert!(larder::FanoutCache::builder(&dir).shards(8).open().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shards(mut self, shards: u32) -> Self {
        self.shape().shards = Some(shards);
        self
    }

    /// Opens the fan-out cache. Errors as [`FanoutCache::open`]; besides [`Error::Config`](crate::Error::Config) for a size limit or a number
    /// of shards that cannot be: each needs 2 MiB.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let cache = larder::FanoutCache::builder(&dir).open()?;
    /// assert!(cache.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(self) -> Result<FanoutCache<C>> {
        let (directory, opening, codec, Sharded { shards }) = self.into_parts();
        Ok(FanoutCache { cache: Cache::over(calls::open_shards(&directory, shards, &opening)?, codec) })
    }
}

impl<C: Codec> FanoutCache<C> {
    /// The number of shards.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// assert_eq!(larder::FanoutCache::open(&dir)?.shards(), 8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shards(&self) -> usize {
        self.cache.parts().len()
    }

    /// The items of each shard: [`len`](Cache::len) is their sum.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let cache = larder::FanoutCache::builder(&dir).shards(4).open()?;
    /// cache.set_many((0..1000).map(|i| (i, i)))?;
    /// assert!(cache.shard_lens().iter().all(|&len| len > 150));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shard_lens(&self) -> Vec<usize> {
        self.cache.parts().iter().map(|part| usize::try_from(part.len()).unwrap_or(usize::MAX)).collect()
    }
}
