//! `Cache`: the handle, and how one is opened. What can be done with it is in the files of this folder, one family of
//! verbs each: `access` reads, `change` writes, `counter` decides and writes, `bulk` does many, `flight` computes what is missing, `iterate` goes through
//! all, `transact` makes several calls one, `upkeep` looks after the whole store, `typed` fixes the types.
//!
//! This file knows options and the engine; it does not know records.

mod access;
mod bulk;
mod change;
mod counter;
mod flight;
mod iterate;
mod iterate_ordered;
mod transact;
mod typed;
mod upkeep;

pub use access::{Entry, ValueRef};
pub use iterate::{Entries, Items, Keys};
pub use iterate_ordered::{End, OrderedItems, OrderedKeys};
pub use transact::Transaction;
pub use typed::TypedCache;
pub use upkeep::{Progress, Report};

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::calls::{self, Calls, LOCK_TIMEOUT, Whole};
use crate::codec::{Codec, Postcard};
use crate::engine::{Listener, Notice, Opening};
use crate::error::Result;
use crate::key::OwnedKey;
use crate::options::{Durability, Eviction};

/// A persistent cache in a directory, shared by threads and processes.
///
/// A handle is cheap to clone, and all its methods take `&self`: clones and other processes that open the same directory
/// work at the same time. Reads take no lock, and make no system call but to map new files; writers take turns, and take over within
/// milliseconds from one that was killed.
///
/// What survives: everything a returned call stored survives the death of any process, by `kill -9` too, and what was
/// under way is there whole or not at all. A power cut may take the newest changes, never a part of one, unless
/// [`sync`](Cache::sync) returned after them or the handle was opened with [`Durability::Sync`].
///
/// ```
/// use larder::{Cache, SetOptions};
/// use std::time::Duration;
/// # let dir = tempfile::tempdir()?;
/// let cache = Cache::open(&dir)?;
/// cache.set("answer", &42)?;
/// cache.set_with(("page", 7), "<html>", SetOptions::new().expire(Duration::from_secs(60)).tag("pages"))?;
/// assert_eq!(cache.get::<i64>("answer")?, Some(42));
/// assert_eq!(cache.evict("pages")?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Cache<C: Codec = Postcard> {
    store: Arc<dyn Whole>,
    codec: C,
}

impl<C: Codec> Clone for Cache<C> {
    fn clone(&self) -> Self {
        Cache { store: Arc::clone(&self.store), codec: self.codec.clone() }
    }
}

impl<C: Codec> std::fmt::Debug for Cache<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("directory", &self.directory()).field("len", &self.len()).finish()
    }
}

/// Options for opening a [`Cache`].
///
/// `size_limit`, `eviction` and `statistics` are stored in the directory and change for every process when given; without
/// them the directory's own are kept. The others are this handle's.
///
/// ```
/// use larder::{Cache, Eviction};
/// use std::time::Duration;
/// # let dir = tempfile::tempdir()?;
/// let cache = Cache::builder(&dir)
///     .size_limit(256 << 20)
///     .eviction(Eviction::S3Fifo)
///     .statistics(true)
///     .lock_timeout(Duration::from_secs(5))
///     .open()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder<C: Codec = Postcard, S = Single> {
    directory: PathBuf,
    size_limit: Option<u64>,
    eviction: Option<Eviction>,
    statistics: Option<bool>,
    lock_timeout: Duration,
    durability: Durability,
    read_only: bool,
    background: bool,
    listener: Option<Listener>,
    codec: C,
    shape: S,
}

/// What a [`Builder`] opens that has not been told of shards: a [`Cache`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let builder: larder::Builder<larder::Postcard, larder::Single> = larder::Cache::builder(&dir);
/// let cache: larder::Cache = builder.open()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Single(());

impl Cache {
    /// Opens the cache in a directory with the defaults (1 GiB, the codec [`Postcard`]), making it if there is none.
    ///
    /// Any number of processes may open and create at once. Takes some tenths of a millisecond; more after a reboot, when the index is
    /// rebuilt from the log.
    ///
    /// # Errors
    /// [`Error::NotAStore`](crate::Error::NotAStore) if the path is a file, [`Error::FileSystem`](crate::Error::FileSystem) on network file systems,
    /// [`Error::FormatVersion`](crate::Error::FormatVersion), [`Error::Corrupt`](crate::Error::Corrupt) if the manifest is damaged, [`Error::Config`](crate::Error::Config) if the directory is a fan-out cache, a
    /// queue or an index, [`Error::Timeout`](crate::Error::Timeout) if another process stands still while it opens the directory,
    /// [`Error::Full`](crate::Error::Full), [`Error::Io`](crate::Error::Io).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let cache = larder::Cache::open(&dir)?;
    /// assert!(cache.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(directory: impl AsRef<Path>) -> Result<Cache> {
        Cache::builder(directory).open()
    }

    /// Begins opening with options.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let cache = larder::Cache::builder(&dir).size_limit(8 << 20).open()?;
    /// assert_eq!(cache.settings().size_limit, 8 << 20);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder(directory: impl AsRef<Path>) -> Builder {
        Builder::new(directory.as_ref(), Single(()))
    }
}

impl<S> Builder<Postcard, S> {
    pub(crate) fn new(directory: &Path, shape: S) -> Builder<Postcard, S> {
        Builder {
            directory: directory.to_owned(),
            size_limit: None,
            eviction: None,
            statistics: None,
            lock_timeout: LOCK_TIMEOUT,
            durability: Durability::Buffered,
            read_only: false,
            background: true,
            listener: None,
            codec: Postcard,
            shape,
        }
    }
}

impl<C: Codec, S> Builder<C, S> {
    /// The most bytes the files may take on disk, in all. At least [`MIN_SIZE_LIMIT`](crate::MIN_SIZE_LIMIT); 1 GiB for a
    /// new directory.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let cache = larder::Cache::builder(&dir).size_limit(4 << 20).open()?;
    /// assert!(cache.volume() <= 4 << 20);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn size_limit(mut self, bytes: u64) -> Self {
        self.size_limit = Some(bytes);
        self
    }

    /// What goes first when the limit is reached.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// larder::Cache::builder(&dir).eviction(larder::Eviction::None).open()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn eviction(mut self, policy: Eviction) -> Self {
        self.eviction = Some(policy);
        self
    }

    /// Whether hits, misses and the like are counted, at some nanoseconds a call. Off for a new directory.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// larder::Cache::builder(&dir).statistics(true).open()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn statistics(mut self, on: bool) -> Self {
        self.statistics = Some(on);
        self
    }

    /// How long a writer of this handle waits for the others before [`Error::Timeout`](crate::Error::Timeout). 60 seconds if not given. Waiting
    /// ends early only when the lock is free: a living holder is never robbed.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// larder::Cache::builder(&dir).lock_timeout(std::time::Duration::from_millis(100)).open()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// What a change of this handle has survived when its call returns. [`Durability::Buffered`] if not given.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let cache = larder::Cache::builder(&dir).durability(larder::Durability::Sync).open()?;
    /// cache.set("order", &17)?; // survives a power cut from here on
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Opens a cache that exists for reading only: nothing on disk is changed, and every call that would is
    /// [`Error::ReadOnly`](crate::Error::ReadOnly). [`Error::Config`](crate::Error::Config) if there is no cache, or one that has to be rebuilt first. It announces nothing: who finds no other handle, and has to rebuild
    /// the cache, does so under a read-only one, which goes on with what it has mapped.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let writer = larder::Cache::open(&dir)?;
    /// let reader = larder::Cache::builder(&dir).read_only(true).open()?;
    /// writer.set("k", "v")?;
    /// assert_eq!(reader.get::<String>("k")?.as_deref(), Some("v"));
    /// assert!(matches!(reader.set("k", "w"), Err(larder::Error::ReadOnly)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Whether a thread of this process may do the upkeep of the store. It may if nothing is said.
    ///
    /// The thread is started by the first write that finds little room left, by an item that expires, when a store with such
    /// items is opened, and in a cache that evicts once the index has grown out of a table of a mebibyte; not otherwise, and
    /// not for read-only handles. It makes room a little before writers need it, waits for the disk where what goes has to wait
    /// for it, unmaps what the index leaves behind when it has grown, and removes what expired some seconds ago from a store that
    /// nobody writes to. It sleeps whenever there is nothing to do, and ends with the last clone of the handle. Of several processes
    /// one works at a time, and if that one is killed another one goes on.
    ///
    /// Without it writers do all of that themselves when they need room, so that some calls take milliseconds; and what
    /// has expired takes space until that, or until [`expire`](Cache::expire) or [`cull`](Cache::cull) is called. The limit
    /// holds either way. For programs that must have one thread, as those that `fork` and go on may.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let cache = larder::Cache::builder(&dir).background(false).open()?;
    /// cache.set("k", "v")?; // nothing but this thread works for the cache
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn background(mut self, background: bool) -> Self {
        self.background = background;
        self
    }

    /// Calls a function with each item that this handle evicts to make room, after it has gone. Costs nothing where none is
    /// given.
    ///
    /// The items that other processes evict are theirs to tell, and a process that dies tells no more. What expires, is
    /// removed, or goes by [`evict`](Cache::evict) or [`clear`](Cache::clear) is not told. The function is called by whichever
    /// thread has made room, the one in the background among them, without any lock: it may use the cache. Calls come one
    /// at a time, in the order in which the items went; the last function given counts. If it panics, so does the call that
    /// made room, which has done its work by then; the thread in the background goes on. What taking and letting go of locks and
    /// the like makes room for is told by the next call that changes something else, or when the handle is closed.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// static GONE: AtomicU64 = AtomicU64::new(0);
    /// # let dir = tempfile::tempdir()?;
    /// let cache = larder::Cache::builder(&dir)
    ///     .size_limit(2 << 20)
    ///     .on_evict(|item| {
    ///         let key: u32 = item.key().expect("a key of ours");
    ///         assert_eq!((item.value_bytes(), key < 3000), (1000, true));
    ///         GONE.fetch_add(1, Ordering::Relaxed);
    ///     })
    ///     .open()?;
    /// for key in 0..3000u32 {
    ///     cache.set_bytes(key, &[0; 1000])?;
    /// }
    /// drop(cache);
    /// assert!(GONE.load(Ordering::Relaxed) > 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_evict(mut self, listen: impl Fn(Evicted) + Send + Sync + 'static) -> Self {
        self.listener = Some(Listener(Arc::new(move |notice| listen(Evicted { notice }))));
        self
    }

    /// The codec for values that are not numbers, strings, `bool`s or byte strings. All handles of a directory should have
    /// the same: a value of another codec is [`Error::Type`](crate::Error::Type) when read.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let cache = larder::Cache::builder(&dir).codec(larder::Postcard).open()?;
    /// cache.set("pair", &(1u8, "one"))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn codec<D: Codec>(self, codec: D) -> Builder<D, S> {
        Builder {
            directory: self.directory,
            size_limit: self.size_limit,
            eviction: self.eviction,
            statistics: self.statistics,
            lock_timeout: self.lock_timeout,
            durability: self.durability,
            read_only: self.read_only,
            background: self.background,
            listener: self.listener,
            codec,
            shape: self.shape,
        }
    }

    /// What it opens, with its parts: where, how, with what codec, and as what.
    pub(crate) fn into_parts(self) -> (PathBuf, Opening, C, S) {
        let opening = Opening {
            kind: crate::engine::KIND_CACHE,
            size_limit: self.size_limit,
            eviction: self.eviction.map(Eviction::to_bits),
            statistics: self.statistics,
            lock_timeout: self.lock_timeout,
            durability: self.durability,
            read_only: self.read_only,
            background: self.background,
            listener: self.listener,
        };
        (self.directory, opening, self.codec, self.shape)
    }

    pub(crate) fn shape(&mut self) -> &mut S {
        &mut self.shape
    }
}

impl<C: Codec> Builder<C> {
    /// Opens the cache. Errors as [`Cache::open`]; besides [`Error::Config`](crate::Error::Config) for a size limit that cannot be kept.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let cache = larder::Cache::builder(&dir).open()?;
    /// assert_eq!(cache.len(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(self) -> Result<Cache<C>> {
        let (directory, opening, codec, _) = self.into_parts();
        Ok(Cache { store: calls::open(&directory, &opening)?, codec })
    }
}

/// An item that was evicted to make room. What [`Builder::on_evict`] is called with.
#[derive(Clone, Debug)]
pub struct Evicted {
    notice: Notice,
}

impl Evicted {
    /// The key. [`Error::Type`](crate::Error::Type) if it is of another type; [`AnyKey`](crate::AnyKey) takes keys of every type.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let cache = larder::Cache::builder(&dir)
    ///     .on_evict(|item| println!("{:?} went", item.key::<larder::AnyKey>()))
    ///     .open()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn key<K: OwnedKey>(&self) -> Result<K> {
        K::decode(&self.notice.key)
    }

    /// Length of the encoded value, in bytes.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let cache = larder::Cache::builder(&dir)
    ///     .on_evict(|item| println!("{} bytes went", item.value_bytes()))
    ///     .open()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn value_bytes(&self) -> u64 {
        self.notice.value_bytes
    }
}

impl<C: Codec> Cache<C> {
    /// A cache over what was opened.
    pub(crate) fn over(store: Arc<dyn Whole>, codec: C) -> Cache<C> {
        Cache { store, codec }
    }

    pub(crate) fn whole(&self) -> &dyn Whole {
        &*self.store
    }

    /// What has a key, to be kept.
    pub(crate) fn part(&self, key: &[u8]) -> Arc<dyn Calls> {
        Arc::clone(&self.store).part(key)
    }

    /// All that have keys.
    pub(crate) fn parts(&self) -> Vec<Arc<dyn Calls>> {
        Arc::clone(&self.store).parts()
    }

    pub(crate) fn codec(&self) -> &C {
        &self.codec
    }

    /// The cache of a name within this one, made if there is none: it has keys, tags and a [`len`](Cache::len) of its own, and
    /// queues, indexes and caches within it likewise; and it shares the files, the lock, the size limit and all settings.
    ///
    /// Its items go by the policy as those around it do, and are met by no walk over those. `clear` of the one leaves the other
    /// as it is. On a transaction's handle it is part of the transaction. What is about files is about all of them:
    /// [`volume`](Cache::volume), [`expire`](Cache::expire), [`cull`](Cache::cull), [`stats`](Cache::stats),
    /// [`check`](Cache::check), [`sync`](Cache::sync). [`on_evict`](Builder::on_evict) is not told of its items.
    ///
    /// Calls cost more than on the cache around: of 100 B, a `get` 252 ns for 200 and a `set` 1,135 for 908. `len` and `clear` go
    /// through all tags of such caches, and a walk goes through all items of the directory.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) if the name has a zero byte in it, or the cache is open for reading only and has
    /// none of that name; [`Error::TagTooLarge`](crate::Error::TagTooLarge) for a name of more than 1 KiB.
    ///
    /// ```
    /// use larder::SetOptions;
    /// # let dir = tempfile::tempdir()?;
    /// let cache = larder::Cache::open(&dir)?;
    /// let users = cache.cache("users")?;
    /// users.set_with(7, "ada", SetOptions::new().tag("staff"))?;
    /// cache.set(7, "seven")?;
    /// assert_eq!((users.get::<String>(7)?.as_deref(), users.len()), (Some("ada"), 1));
    /// cache.transact(|tx| {
    ///     tx.cache("users")?.set(8, "grace")?;
    ///     tx.set(8, "eight")
    /// })?;
    /// assert_eq!((users.evict("staff")?, users.clear()?, cache.len()), (1, 1, 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cache(&self, name: &str) -> Result<Cache<C>> {
        calls::check_name(name)?;
        Ok(Cache { store: Arc::clone(&self.store).within(name)?, codec: self.codec.clone() })
    }

    /// The directory.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// assert_eq!(larder::Cache::open(&dir)?.directory(), dir.path());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn directory(&self) -> &Path {
        self.store.directory()
    }
}
