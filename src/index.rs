//! `Index`: a persistent map sorted by key, in a directory of its own or in a cache. What is here is the handle and how one is
//! opened; `access` has the verbs, `range` goes through keys in their order, `bounds` says what may be asked with, `queue` is for keys that
//! are given out.
//!
//! It knows keys, values and the calls of indexes; it does not know nodes.

mod access;
mod bounds;
mod queue;
mod range;

pub use bounds::{AsKey, EncodedBounds, KeyPrefix, KeyRange};
pub use range::{IndexInserted, IndexKeys, IndexRange, IndexValues};

use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::cache::{Cache, Progress, Report};
use crate::calls::{self, Calls, How, LOCK_TIMEOUT};
use crate::codec::{Codec, Postcard};
use crate::engine::{KIND_INDEX, Kind, Label, Namespace, Opening};
use crate::error::Result;
use crate::options::{Durability, Eviction};

/// The types of keys and values, which no handle holds.
type Types<K, V> = PhantomData<fn(K, V) -> (K, V)>;

/// A persistent map sorted by key, shared by threads and processes.
///
/// Shaped like `BTreeMap`, but all methods take `&self`, and give a `Result`. A handle is cheap to clone. Any [`Key`](crate::Key)
/// can be a key, and keys are asked for by what encodes as they do: `"a"` for a `String`, `("a", 1)` for a `(String, u32)`.
/// Reading a key costs what it costs in a [`Cache`]; putting a new one, removing one and [`pop_first`](Index::pop_first) cost
/// one leaf of a tree more. Items are never evicted: an index that reaches its size limit is [`Error::Full`](crate::Error::Full), and what is in it
/// stays.
///
/// What survives: as for a [`Cache`]. When a call returns, the death of any process leaves its change there; after a power cut
/// the index is as it was at some moment, no earlier than the last [`sync`](Index::sync), but that of
/// [large values](crate#large-values) that were not synced some may be missing. The order is not stored, and is made anew after a reboot.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let scores = larder::Index::<String, u64>::open(&dir)?;
/// scores.insert("grace", &120)?;
/// scores.insert("ada", &100)?;
/// assert_eq!(scores.get("ada")?, Some(100));
/// assert_eq!(scores.first_key_value()?, Some(("ada".to_string(), 100)));
/// let from_b: Vec<_> = scores.range("b"..).collect::<larder::Result<_>>()?;
/// assert_eq!(from_b, [("grace".to_string(), 120)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// To have an index in a cache, under one lock and one size limit, and to change both by one commit, see [`Cache::index`].
pub struct Index<K, V, C: Codec = Postcard> {
    store: Arc<dyn Calls>,
    space: Namespace,
    name: Arc<str>,
    codec: C,
    types: Types<K, V>,
}

impl<K, V, C: Codec> Clone for Index<K, V, C> {
    fn clone(&self) -> Self {
        Index {
            store: Arc::clone(&self.store),
            space: self.space,
            name: Arc::clone(&self.name),
            codec: self.codec.clone(),
            types: PhantomData,
        }
    }
}

impl<K, V, C: Codec> std::fmt::Debug for Index<K, V, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let directory = self.store.directory();
        f.debug_struct("Index").field("directory", &directory).field("name", &self.name).finish_non_exhaustive()
    }
}

/// Options for opening an [`Index`]. `size_limit` is stored in the directory; the others are this handle's.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let index = larder::Index::<u32, String>::builder(&dir).size_limit(16 << 20).open()?;
/// assert!(index.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct IndexBuilder<K, V, C: Codec = Postcard> {
    directory: PathBuf,
    size_limit: Option<u64>,
    lock_timeout: Duration,
    durability: Durability,
    read_only: bool,
    background: bool,
    codec: C,
    types: Types<K, V>,
}

impl<K, V> Index<K, V> {
    /// Opens the index in a directory with the defaults (1 GiB, the codec [`Postcard`]), making it if there is none. Costs, and
    /// errors, as [`Cache::open`]; besides [`Error::Config`](crate::Error::Config) if the directory holds another kind of store.
    ///
    /// What types its keys and values are is not stored: one of another type is [`Error::Type`](crate::Error::Type) when it is read.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let index = larder::Index::<u32, String>::open(&dir)?;
    /// assert!(index.is_empty());
    /// assert!(larder::Cache::open(&dir).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(directory: impl AsRef<Path>) -> Result<Index<K, V>> {
        Index::builder(directory).open()
    }

    /// Begins opening with options.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// larder::Index::<u32, String>::builder(&dir).size_limit(4 << 20).open()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder(directory: impl AsRef<Path>) -> IndexBuilder<K, V> {
        IndexBuilder {
            directory: directory.as_ref().to_owned(),
            size_limit: None,
            lock_timeout: LOCK_TIMEOUT,
            durability: Durability::Buffered,
            read_only: false,
            background: true,
            codec: Postcard,
            types: PhantomData,
        }
    }
}

impl<K, V, C: Codec> IndexBuilder<K, V, C> {
    /// As [`Builder::size_limit`](crate::Builder::size_limit).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let index = larder::Index::<u8, u8>::builder(&dir).size_limit(4 << 20).open()?;
    /// assert!(index.volume() <= 4 << 20);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn size_limit(mut self, bytes: u64) -> Self {
        self.size_limit = Some(bytes);
        self
    }

    /// As [`Builder::lock_timeout`](crate::Builder::lock_timeout).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let soon = std::time::Duration::from_millis(100);
    /// larder::Index::<u8, u8>::builder(&dir).lock_timeout(soon).open()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// As [`Builder::durability`](crate::Builder::durability).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let index = larder::Index::<u8, u8>::builder(&dir).durability(larder::Durability::Sync).open()?;
    /// index.insert(1, &1)?; // survives a power cut from here on
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// As [`Builder::read_only`](crate::Builder::read_only).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let writer = larder::Index::<u8, u8>::open(&dir)?;
    /// let reader = larder::Index::<u8, u8>::builder(&dir).read_only(true).open()?;
    /// writer.insert(1, &7)?;
    /// assert_eq!(reader.get(1)?, Some(7));
    /// assert!(matches!(reader.remove(1), Err(larder::Error::ReadOnly)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Whether a thread of this process may do the upkeep of the store, as for [`Builder::background`](crate::Builder::background).
    /// It may if nothing is said.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let index = larder::Index::<u8, u8>::builder(&dir).background(false).open()?;
    /// index.insert(1, &1)?; // nothing but this thread works for it
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn background(mut self, background: bool) -> Self {
        self.background = background;
        self
    }

    /// As [`Builder::codec`](crate::Builder::codec).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let index = larder::Index::<u8, (u8, String)>::builder(&dir).codec(larder::Postcard).open()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn codec<D: Codec>(self, codec: D) -> IndexBuilder<K, V, D> {
        IndexBuilder {
            directory: self.directory,
            size_limit: self.size_limit,
            lock_timeout: self.lock_timeout,
            durability: self.durability,
            read_only: self.read_only,
            background: self.background,
            codec,
            types: PhantomData,
        }
    }

    /// Opens the index.
    ///
    /// # Errors
    /// As [`Index::open`]; besides [`Error::Config`](crate::Error::Config) for a size limit that cannot be kept.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// larder::Index::<u8, u8>::builder(&dir).open()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(self) -> Result<Index<K, V, C>> {
        let opening = Opening {
            kind: KIND_INDEX,
            size_limit: self.size_limit,
            eviction: Some(Eviction::None.to_bits()),
            statistics: None,
            lock_timeout: self.lock_timeout,
            durability: self.durability,
            read_only: self.read_only,
            background: self.background,
            listener: None,
        };
        Index::of(calls::open(&self.directory, &opening)?, "", self.codec)
    }
}

impl<C: Codec> Cache<C> {
    /// The index of a name in this cache, made if there is none: an [`Index`] that shares the cache's files, lock and size limit.
    /// As [`Cache::deque`] is, its items are no items of the cache, are never evicted, and are part of a transaction on
    /// whose handle it was asked for.
    ///
    /// # Errors
    /// As [`Cache::deque`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let board = cache.index::<(u64, String), ()>("leaderboard")?;
    /// cache.transact(|tx| {
    ///     tx.set("ada", &100u64)?;
    ///     tx.index::<(u64, String), ()>("leaderboard")?.insert((100u64, "ada"), &())
    /// })?;
    /// assert_eq!(board.last_key_value()?, Some(((100, "ada".to_string()), ())));
    /// assert_eq!(cache.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn index<K, V>(&self, name: &str) -> Result<Index<K, V, C>> {
        calls::check_name(name)?;
        Index::of(self.part(name.as_bytes()), name, self.codec().clone())
    }
}

impl<K, V, C: Codec> Index<K, V, C> {
    /// The index of a name, whoever chose it.
    pub(crate) fn of(store: Arc<dyn Calls>, name: &str, codec: C) -> Result<Index<K, V, C>> {
        let space = calls::open_namespace(&*store, Label { kind: Kind::Index, name })?;
        Ok(Index { store, space, name: name.into(), codec, types: PhantomData })
    }

    /// The number of pairs. Costs some nanoseconds, in a transaction more for each change. A change that somebody is in the
    /// middle of may be counted already. 0 if that cannot be read, which the next call says.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let index = larder::Index::<u8, u8>::open(&dir)?;
    /// index.insert(1, &1)?;
    /// assert_eq!(index.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn len(&self) -> usize {
        self.store.items_of(self.space).map_or(0, |items| usize::try_from(items).unwrap_or(usize::MAX))
    }

    /// True if there is no pair.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// assert!(larder::Index::<u8, u8>::open(&dir)?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all pairs, in time that does not depend on their number. How many there were.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let index = larder::Index::<u32, u32>::open(&dir)?;
    /// index.extend((0..100).map(|i| (i, i)))?;
    /// assert_eq!((index.clear()?, index.len()), (100, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clear(&self) -> Result<u64> {
        self.store.empty(Label { kind: Kind::Index, name: &self.name })
    }

    /// Bytes that the files take on disk: those of the whole cache for an index in one.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// assert!(larder::Index::<u8, u8>::open(&dir)?.volume() > 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn volume(&self) -> u64 {
        self.store.volume()
    }

    /// As [`Cache::sync`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let index = larder::Index::<u8, u8>::open(&dir)?;
    /// index.insert(1, &1)?;
    /// index.sync()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sync(&self) -> Result<()> {
        self.store.sync()
    }

    /// As [`Cache::check`]; besides that the order has each key once.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// assert!(larder::Index::<u8, u8>::open(&dir)?.check()?.is_clean());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check(&self) -> Result<Report> {
        self.store.check(&mut |_: Progress| {})
    }

    /// As [`Cache::repair`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// larder::Index::<u8, u8>::open(&dir)?.repair()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn repair(&self) -> Result<Report> {
        self.store.repair(&mut |_: Progress| {})
    }

    /// Runs `body` as a transaction, as [`Cache::transact`] does: what it does through the handle that it is given happens
    /// together or not at all.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let accounts = larder::Index::<String, i64>::open(&dir)?;
    /// accounts.insert("ada", &10)?;
    /// accounts.transact(|accounts| {
    ///     let balance = accounts.get("ada")?.unwrap_or(0);
    ///     accounts.insert("ada", &(balance - 3))?;
    ///     accounts.insert("grace", &3).map(drop)
    /// })?;
    /// assert_eq!(accounts.values().collect::<larder::Result<Vec<_>>>()?, [7, 3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn transact<R>(&self, body: impl FnOnce(&Index<K, V, C>) -> Result<R>) -> Result<R> {
        calls::transact_on(&*self.store, How::default(), |inside| body(&Index { store: inside, ..self.clone() }))
    }
}
