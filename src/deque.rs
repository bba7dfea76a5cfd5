//! `Deque`: a persistent double-ended queue, in a directory of its own or in a cache. What is here is the handle and how one is
//! opened; `ends` pushes and pops, `inside` looks and changes between the ends, `iterate` goes through, `lease` hands elements
//! out on trust, and `held` keeps them.
//!
//! It knows values and the calls of queues; it does not know positions of records.

mod ends;
mod held;
mod inside;
mod iterate;
mod known;
mod lease;

pub use iterate::DequeIter;
pub use lease::Lease;

use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::cache::{Cache, Progress, Report};
use crate::calls::{self, Calls, How, LOCK_TIMEOUT};
use crate::codec::{Codec, Postcard};
use crate::engine::{Bound, End, KIND_DEQUE, Kind, Label, Namespace, Opening};
use crate::error::{ConfigProblem, Error, Result};
use crate::options::{Durability, Eviction};

use known::Known;

/// What stands for no `maxlen`.
const UNBOUNDED: u64 = u64::MAX;

/// A persistent double-ended queue in a directory, shared by threads and processes.
///
/// Shaped like `VecDeque`, but all methods take `&self`, and give a `Result`. A handle is cheap to clone. Pushing, popping and
/// access by number cost the same wherever and however long the queue is. Elements are never evicted: a queue that reaches
/// its size limit is [`Error::Full`], and what is in it stays.
///
/// What survives: as for a [`Cache`]. When a call returns, the death of any process leaves its change there; after a power
/// cut the queue is as it was at some moment, no earlier than the last [`sync`](Deque::sync), but that of
/// [large values](crate#large-values) that were not synced some may be missing.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let deque = larder::Deque::<String>::open(&dir)?;
/// deque.push_back("first")?;
/// deque.push_back("second")?;
/// deque.push_front("zeroth")?;
/// assert_eq!(deque.pop_front()?.as_deref(), Some("zeroth"));
/// assert_eq!((deque.len(), deque.back()?.as_deref()), (2, Some("second")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// To have a queue in a cache, under one lock and one size limit, and to pop from it and change the cache by one commit, see
/// [`Cache::deque`].
pub struct Deque<T, C: Codec = Postcard> {
    store: Arc<dyn Calls>,
    queue: Namespace,
    name: Arc<str>,
    maxlen: Arc<Known>,
    leases: Arc<lease::Leases>,
    codec: C,
    types: PhantomData<fn(T) -> T>,
}

impl<T, C: Codec> Clone for Deque<T, C> {
    fn clone(&self) -> Self {
        Deque {
            store: Arc::clone(&self.store),
            queue: self.queue,
            name: Arc::clone(&self.name),
            maxlen: Arc::clone(&self.maxlen),
            leases: Arc::clone(&self.leases),
            codec: self.codec.clone(),
            types: PhantomData,
        }
    }
}

impl<T, C: Codec> std::fmt::Debug for Deque<T, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let directory = self.store.directory();
        f.debug_struct("Deque").field("directory", &directory).field("name", &self.name).finish_non_exhaustive()
    }
}

/// Options for opening a [`Deque`]. `maxlen` and `size_limit` are stored in the directory; the others are this handle's.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let newest = larder::Deque::<u64>::builder(&dir).maxlen(3).size_limit(16 << 20).open()?;
/// newest.extend(0..10)?;
/// assert_eq!(newest.iter().collect::<larder::Result<Vec<u64>>>()?, [7, 8, 9]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct DequeBuilder<T, C: Codec = Postcard> {
    directory: PathBuf,
    maxlen: Option<u64>,
    size_limit: Option<u64>,
    lock_timeout: Duration,
    durability: Durability,
    read_only: bool,
    background: bool,
    codec: C,
    types: PhantomData<fn(T) -> T>,
}

impl<T> Deque<T> {
    /// Opens the queue in a directory with the defaults (1 GiB, no `maxlen`, the codec [`Postcard`]), making it if there is
    /// none. Costs, and errors, as [`Cache::open`]; besides [`Error::Config`] if the directory holds another kind of store.
    ///
    /// What type its elements are is not stored: an element of another type is [`Error::Type`] when it is read.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let deque = larder::Deque::<i32>::open(&dir)?;
    /// assert!(deque.is_empty());
    /// assert!(larder::Cache::open(&dir).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(directory: impl AsRef<Path>) -> Result<Deque<T>> {
        Deque::builder(directory).open()
    }

    /// Begins opening with options.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let deque = larder::Deque::<i32>::builder(&dir).maxlen(100).open()?;
    /// assert_eq!(deque.maxlen()?, Some(100));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder(directory: impl AsRef<Path>) -> DequeBuilder<T> {
        DequeBuilder {
            directory: directory.as_ref().to_owned(),
            maxlen: None,
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

impl<T, C: Codec> DequeBuilder<T, C> {
    /// The most elements there may be: pushing one more drops one at the other end, by the same commit. At least 1. What is
    /// over a smaller one goes at the front when the queue is opened.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let last_two = larder::Deque::<&str>::builder(&dir).maxlen(2).open()?;
    /// for line in ["a", "b", "c"] {
    ///     last_two.push_back(line)?;
    /// }
    /// assert_eq!(last_two.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn maxlen(mut self, elements: u64) -> Self {
        self.maxlen = Some(elements);
        self
    }

    /// As [`Builder::size_limit`](crate::Builder::size_limit).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let deque = larder::Deque::<u8>::builder(&dir).size_limit(4 << 20).open()?;
    /// assert!(deque.volume() <= 4 << 20);
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
    /// larder::Deque::<u8>::builder(&dir).lock_timeout(soon).open()?;
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
    /// let deque = larder::Deque::<u8>::builder(&dir).durability(larder::Durability::Sync).open()?;
    /// deque.push_back(&1)?; // survives a power cut from here on
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
    /// let writer = larder::Deque::<u8>::open(&dir)?;
    /// let reader = larder::Deque::<u8>::builder(&dir).read_only(true).open()?;
    /// writer.push_back(&7)?;
    /// assert_eq!(reader.front()?, Some(7));
    /// assert!(matches!(reader.pop_front(), Err(larder::Error::ReadOnly)));
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
    /// let deque = larder::Deque::<u8>::builder(&dir).background(false).open()?;
    /// deque.push_back(&1)?; // nothing but this thread works for it
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
    /// let deque = larder::Deque::<(u8, String)>::builder(&dir).codec(larder::Postcard).open()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn codec<D: Codec>(self, codec: D) -> DequeBuilder<T, D> {
        DequeBuilder {
            directory: self.directory,
            maxlen: self.maxlen,
            size_limit: self.size_limit,
            lock_timeout: self.lock_timeout,
            durability: self.durability,
            read_only: self.read_only,
            background: self.background,
            codec,
            types: PhantomData,
        }
    }

    /// Opens the queue.
    ///
    /// # Errors
    /// As [`Deque::open`]; besides [`Error::Config`] for a `maxlen` of 0 and for a size limit that cannot be kept.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// assert!(larder::Deque::<u8>::builder(&dir).maxlen(0).open().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(self) -> Result<Deque<T, C>> {
        check_maxlen(self.maxlen)?;
        let opening = Opening {
            kind: KIND_DEQUE,
            size_limit: self.size_limit,
            eviction: Some(Eviction::None.to_bits()),
            statistics: None,
            lock_timeout: self.lock_timeout,
            durability: self.durability,
            read_only: self.read_only,
            background: self.background,
            listener: None,
        };
        let store = calls::open(&self.directory, &opening)?;
        let deque = Deque::of(store, "", self.codec)?;
        if let Some(maxlen) = self.maxlen {
            deque.change_maxlen(maxlen)?;
        }
        Ok(deque)
    }
}

fn check_maxlen(maxlen: Option<u64>) -> Result<()> {
    if maxlen == Some(0) { Err(Error::Config(ConfigProblem::MaxlenZero)) } else { Ok(()) }
}

impl<C: Codec> Cache<C> {
    /// The queue of a name in this cache, made if there is none: a [`Deque`] that shares the cache's files, lock and size
    /// limit. Two handles of one name are one queue, in all processes.
    ///
    /// Its elements are not items of the cache: no key finds them, no walk meets them, [`clear`](Cache::clear) leaves them,
    /// and they are never evicted: what else is in the cache goes instead, until nothing else is left; then
    /// [`Error::Full`]. On a transaction's handle the queue is part of the transaction: a job can be taken and its result
    /// stored by one commit. A name is never given back.
    ///
    /// # Errors
    /// [`Error::TagTooLarge`] for a name of more than 1 KiB; [`Error::Config`] if there is none of the name and this handle
    /// may only read; as a put.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let jobs = cache.deque::<String>("jobs")?;
    /// jobs.push_back("resize")?;
    /// cache.transact(|tx| {
    ///     if let Some(job) = tx.deque::<String>("jobs")?.pop_front()? {
    ///         tx.set(("done", &job), &true)?;
    ///     }
    ///     Ok(())
    /// })?;
    /// assert_eq!((jobs.len(), cache.get::<bool>(("done", "resize"))?), (0, Some(true)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn deque<T>(&self, name: &str) -> Result<Deque<T, C>> {
        calls::check_name(name)?;
        Deque::of(self.part(name.as_bytes()), name, self.codec().clone())
    }
}

impl<T, C: Codec> Deque<T, C> {
    fn of(store: Arc<dyn Calls>, name: &str, codec: C) -> Result<Deque<T, C>> {
        let label = Label { kind: Kind::Deque, name };
        let queue = calls::open_namespace(&*store, label)?;
        Ok(Deque {
            leases: Arc::new(lease::Leases::new()),
            store,
            queue,
            name: name.into(),
            maxlen: Arc::new(Known::nothing()),
            codec,
            types: PhantomData,
        })
    }

    fn label(&self) -> Label<'_> {
        Label { kind: Kind::Deque, name: &self.name }
    }

    /// The most elements there may be, as the directory says now.
    #[inline]
    fn bound(&self) -> Result<Bound> {
        let mut setting = self.maxlen.load();
        if let Some(newer) = self.store.setting(self.queue, setting.version)? {
            setting = newer;
            self.maxlen.store(newer);
        }
        Ok(Bound { most: setting.value, version: setting.version })
    }

    /// The same for a push, which looks itself whether it has changed. In a transaction none does: nobody else can change it then.
    #[inline]
    fn bound_to_try(&self) -> Result<Bound> {
        let known = self.maxlen.load();
        if known.version == 0 || self.store.is_inside() {
            return self.bound();
        }
        Ok(Bound { most: known.value, version: known.version })
    }

    /// The most elements there may be; `None` for no bound but the size limit.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// assert_eq!(larder::Deque::<u8>::open(&dir)?.maxlen()?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn maxlen(&self) -> Result<Option<u64>> {
        Ok(Some(self.bound()?.most).filter(|&most| most != UNBOUNDED))
    }

    /// Changes the most elements there may be, for every process; `None` for no bound. What is over it goes at the front, some
    /// thousand elements by each commit. If the process dies meanwhile, what is left of it goes with the next pushes.
    ///
    /// # Errors
    /// [`Error::Config`] for 0; [`Error::InTransaction`] inside a transaction.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let deque = larder::Deque::<u8>::open(&dir)?;
    /// deque.extend([1, 2, 3])?;
    /// deque.set_maxlen(Some(2))?;
    /// assert_eq!(deque.front()?, Some(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_maxlen(&self, elements: Option<u64>) -> Result<()> {
        check_maxlen(elements)?;
        self.change_maxlen(elements.unwrap_or(UNBOUNDED))
    }

    fn change_maxlen(&self, most: u64) -> Result<()> {
        self.store.set_setting(self.queue, self.label(), most)?;
        // Somebody may have changed it again.
        self.cut(End::Front, |deque| Ok(deque.bound()?.most))
    }

    /// The number of elements. Costs some nanoseconds. Where [`front`](Deque::front) would be [`Error::Timeout`], the number with
    /// or without the change that is under way; 0 if it cannot be read, which the next call says.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let deque = larder::Deque::<u8>::open(&dir)?;
    /// deque.push_back(&1)?;
    /// assert_eq!(deque.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn len(&self) -> usize {
        let len = match self.store.span(self.queue) {
            Ok(span) => Ok(span.len),
            // The row counts the elements, whatever the other words say.
            Err(Error::Timeout | Error::InTransaction) => self.store.items_of(self.queue),
            Err(error) => Err(error),
        };
        len.map_or(0, |len| usize::try_from(len).unwrap_or(usize::MAX))
    }

    /// True if there is no element.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// assert!(larder::Deque::<u8>::open(&dir)?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that the files take on disk: those of the whole cache for a queue in one.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// assert!(larder::Deque::<u8>::open(&dir)?.volume() > 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn volume(&self) -> u64 {
        self.store.volume()
    }

    /// As [`Cache::sync`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let deque = larder::Deque::<u8>::open(&dir)?;
    /// deque.push_back(&1)?;
    /// deque.sync()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sync(&self) -> Result<()> {
        self.store.sync()
    }

    /// As [`Cache::check`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// assert!(larder::Deque::<u8>::open(&dir)?.check()?.is_clean());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check(&self) -> Result<Report> {
        self.store.check(&mut |_: Progress| {})
    }

    /// As [`Cache::repair`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// larder::Deque::<u8>::open(&dir)?.repair()?;
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
    /// let deque = larder::Deque::<u32>::open(&dir)?;
    /// deque.extend([1, 2])?;
    /// let sum = deque.transact(|deque| {
    ///     let sum = deque.pop_front()?.unwrap_or(0) + deque.pop_front()?.unwrap_or(0);
    ///     deque.push_back(&sum)?;
    ///     Ok(sum)
    /// })?;
    /// assert_eq!((sum, deque.len()), (3, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn transact<R>(&self, body: impl FnOnce(&Deque<T, C>) -> Result<R>) -> Result<R> {
        self.transact_as(How::default(), body)
    }
}
