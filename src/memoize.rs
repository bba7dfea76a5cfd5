//! `memoize`: results of functions, kept under what the function was called with.
//!
//! This file owns the handle and the calls; which key a call has is the business of `key`. It knows a cache as its users do, and
//! claims.

mod key;

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cache::Cache;
use crate::calls::{Calls, Facts, Wanted};
use crate::codec::{Codec, Postcard};
use crate::engine::{Change, Counter, Op};
use crate::error::{Error, Result};
use crate::flight::{Attempt, Claims, Landing, attempt};
use crate::key::Key;
use crate::options::SetOptions;

/// Items that one commit of [`Memoized::clear`] removes.
const TOGETHER: usize = 1000;

/// What is kept of a function's results, and under which name.
///
/// ```
/// use larder::Memoize;
/// use std::time::Duration;
/// # let dir = tempfile::tempdir()?;
/// # let cache = larder::Cache::open(&dir)?;
/// let options = Memoize::new("geocode").expire(Duration::from_secs(86_400)).tag("geo").version(2);
/// let geocode = cache.memoize(options);
/// assert_eq!(geocode.call(("Oslo", 3), || 59.9), 59.9);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Memoize<'a> {
    name: Cow<'a, str>,
    version: u64,
    early: Option<f64>,
    options: SetOptions<'a>,
}

impl<'a> Memoize<'a> {
    /// For results that never expire and have no tag. Two functions of one name in one cache share their results: take a
    /// path, as `module_path!()` gives one, where several parts of a program use the same cache.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let square = cache.memoize(larder::Memoize::new(concat!(module_path!(), "::square")));
    /// assert_eq!(square.call(12, || 144), 144);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(name: impl Into<Cow<'a, str>>) -> Memoize<'a> {
        Memoize { name: name.into(), version: 0, early: None, options: SetOptions::new() }
    }

    /// How long a result counts.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let rate = cache.memoize(larder::Memoize::new("rate").expire(std::time::Duration::from_secs(60)));
    /// assert_eq!(rate.call("EUR", || 1.08), 1.08);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn expire(mut self, after: Duration) -> Memoize<'a> {
        self.options = self.options.expire(after);
        self
    }

    /// The tag of all results, by which [`Cache::evict`] removes them together.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.memoize(larder::Memoize::new("rate").tag("rates")).call("EUR", || 1.08);
    /// assert_eq!(cache.evict("rates")?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tag(mut self, tag: impl Into<Cow<'a, str>>) -> Memoize<'a> {
        self.options = self.options.tag(tag);
        self
    }

    /// Which version of the function it is: results of others do not count. 0 if nothing is said.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.memoize(larder::Memoize::new("half")).call(3, || 1);
    /// let mended = cache.memoize(larder::Memoize::new("half").version(1));
    /// assert_eq!(mended.call(3, || 2), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn version(mut self, version: u64) -> Memoize<'a> {
        self.version = version;
        self
    }

    /// Computes a result anew shortly before it expires, by one call among many, while the others still get the old one: so
    /// nobody waits when it expires. The sooner the longer it takes to compute: a call does so with the probability that
    /// `beta` times that time times the negative logarithm of a random number is more than the time that is left. 1 is a
    /// good value; more is earlier. Nothing happens without [`expire`](Memoize::expire).
    ///
    /// After A. Vattani, F. Chierichetti, K. Lowenstein, "Optimal Probabilistic Cache Stampede Prevention", VLDB 2015.
    ///
    /// ```
    /// use std::time::Duration;
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let options = larder::Memoize::new("rate").expire(Duration::from_secs(60)).early_recompute(1.0);
    /// assert_eq!(cache.memoize(options).call("EUR", || 1.08), 1.08);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "memoize_stampede")]
    pub fn early_recompute(mut self, beta: f64) -> Memoize<'a> {
        self.early = Some(beta);
        self
    }

    /// How long a call waits for another one that computes the same result, before it computes it as well. As long as it
    /// takes if nothing is said.
    ///
    /// ```
    /// use std::time::Duration;
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let options = larder::Memoize::new("page").wait(Duration::from_secs(10));
    /// assert_eq!(cache.memoize(options).call("/", || "<html>".to_string()), "<html>");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait(mut self, at_most: Duration) -> Memoize<'a> {
        self.options = self.options.wait(at_most);
        self
    }
}

impl<C: Codec> Cache<C> {
    /// The results of a function in this cache: computed once for each list of arguments, however many processes ask, and kept.
    ///
    /// The attribute `#[larder::memoize]` writes this for a whole function.
    ///
    /// ```
    /// use larder::Memoize;
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let area = cache.memoize(Memoize::new("area"));
    /// assert_eq!(area.call((3u32, 4u32), || 12u32), 12);
    /// assert_eq!(area.call::<u32>((3u32, 4u32), || unreachable!("it is kept")), 12);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn memoize(&self, options: Memoize<'_>) -> Memoized<C> {
        let Memoize { name, version, early, options } = options;
        // What never expires is never early.
        let early = early.filter(|_| options.expire.is_some());
        let options = options.into_owned();
        Memoized { cache: self.clone(), name: name.into_owned(), version, early, options }
    }
}

/// The results of a function, in a cache. Made by [`Cache::memoize`].
///
/// A failure of the cache never is one of the function: the result is computed, and [`Stats::failures`](crate::Stats::failures)
/// counts that. A result that cannot be decoded as the type that is asked for is computed anew.
///
/// The results are items of the cache like others: they count in [`len`](Cache::len), go by its policy, and are met by
/// whoever goes through all of it, under keys of their own that [`AnyKey`](crate::AnyKey) reads.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let cache = larder::Cache::open(&dir)?;
/// let length = cache.memoize(larder::Memoize::new("length"));
/// assert_eq!(length.call("word", || 4), 4);
/// assert!(length.forget("word")?);
/// assert_eq!(length.call("word", || 5), 5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Memoized<C: Codec = Postcard> {
    cache: Cache<C>,
    name: String,
    version: u64,
    early: Option<f64>,
    options: SetOptions<'static>,
}

impl<C: Codec> std::fmt::Debug for Memoized<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memoized").field("name", &self.name).field("version", &self.version).finish_non_exhaustive()
    }
}

/// A result as it is kept where it is to be computed anew before it expires: behind the seconds that it took.
type Timed<V> = (f64, V);

impl<C: Codec> Memoized<C> {
    /// The result for some arguments: the one that is kept, or what `compute` gives, which is kept then. Of all who ask at once,
    /// in all threads and processes, one computes; see [`Cache::get_or_insert_with`].
    ///
    /// The arguments are one key: one value, or a tuple of them. What is no key, a connection for instance, stays out of it.
    /// If the thread asks for a result while it computes it, or is inside a transaction, it computes it without the cache.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let greet = cache.memoize(larder::Memoize::new("greet"));
    /// let greeting = |name: &str| greet.call(name, || format!("hello {name}"));
    /// assert_eq!(greeting("ada"), "hello ada");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn call<V: Serialize + DeserializeOwned>(&self, args: impl Key, compute: impl FnOnce() -> V) -> V {
        match self.try_call(args, || Ok::<V, std::convert::Infallible>(compute())) {
            Ok(value) => value,
            Err(never) => match never {},
        }
    }

    /// As [`call`](Memoized::call), of a function that may fail. Its errors are not kept; one of those that wait tries next.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let parse = cache.memoize(larder::Memoize::new("parse"));
    /// let parsed = |text: &str| parse.try_call(text, || text.parse::<i64>());
    /// assert_eq!(parsed("12"), Ok(12));
    /// assert!(parsed("twelve").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_call<V: Serialize + DeserializeOwned, E>(
        &self,
        args: impl Key,
        compute: impl FnOnce() -> Result<V, E>,
    ) -> Result<V, E> {
        let key = match self.encoded(&args) {
            Ok(key) => key,
            Err(_) => {
                self.count_failure();
                return compute();
            }
        };
        match self.early {
            Some(beta) => self.call_early(&key, beta, compute),
            None => self.call_plainly(&key, compute),
        }
    }

    fn call_plainly<V: Serialize + DeserializeOwned, E>(
        &self,
        key: &[u8],
        compute: impl FnOnce() -> Result<V, E>,
    ) -> Result<V, E> {
        let mut bytes = Vec::new();
        if let Ok(Some((value, _))) = self.counted(key, &mut bytes) {
            return Ok(value);
        }
        let look = || Ok(self.look(key, &mut bytes)?.map(|(value, _)| value));
        match attempt(&self.cache.part(key), key, self.options.wait, look, compute) {
            Ok(Landing::Found(value)) => Ok(value),
            Ok(Landing::Computed(result, _claim)) => result.inspect(|value| self.keep(key, value)),
            Err((_, compute)) => {
                self.count_failure();
                compute()
            }
        }
    }

    /// The same where results are computed anew before they expire.
    fn call_early<V: Serialize + DeserializeOwned, E>(
        &self,
        key: &[u8],
        beta: f64,
        compute: impl FnOnce() -> Result<V, E>,
    ) -> Result<V, E> {
        let mut bytes = Vec::new();
        let compute = || {
            let begin = Instant::now();
            compute().map(|value| (begin.elapsed().as_secs_f64(), value))
        };
        if let Ok(Some(((seconds, value), facts))) = self.counted::<Timed<V>>(key, &mut bytes) {
            if !self.is_early(facts.expires, seconds * beta) {
                return Ok(value);
            }
            // Whoever else finds it early gets what is there.
            let Ok(Attempt::Claimed(_claim)) = Claims::of(&self.cache.part(key), key).and_then(|claims| claims.take())
            else {
                return Ok(value);
            };
            // Its last holder may have computed it between the look and the claim (F2).
            if let Ok(Some(((_, anew), since))) = self.look::<Timed<V>>(key, &mut bytes)
                && since.sequence != facts.sequence
            {
                return Ok(anew);
            }
            return compute().inspect(|value| self.keep(key, value)).map(|(_, value)| value);
        }
        let look = || Ok(self.look(key, &mut bytes)?.map(|(value, _)| value));
        let timed = match attempt(&self.cache.part(key), key, self.options.wait, look, compute) {
            Ok(Landing::Found(timed)) => Ok(timed),
            Ok(Landing::Computed(result, _claim)) => result.inspect(|timed: &Timed<V>| self.keep(key, timed)),
            Err((_, compute)) => {
                self.count_failure();
                compute()
            }
        };
        timed.map(|(_, value)| value)
    }

    /// True if this call is the one that computes anew what expires then.
    fn is_early(&self, expires: u64, seconds: f64) -> bool {
        let left = expires.saturating_sub(self.cache.whole().now()) as f64 / 1e9;
        // A number above 0 and up to 1.
        let random = (RandomState::new().hash_one(()) >> 11) as f64 / (1u64 << 53) as f64;
        left < -seconds * (1.0 - random).ln()
    }

    /// The result for some arguments, if it is kept and can be read.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let square = cache.memoize(larder::Memoize::new("square"));
    /// assert_eq!(square.get::<u32>(12), None);
    /// square.put(12, &144u32);
    /// assert_eq!(square.get::<u32>(12), Some(144));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get<V: DeserializeOwned>(&self, args: impl Key) -> Option<V> {
        let mut bytes = Vec::new();
        let found = self.encoded(&args).and_then(|key| match self.early {
            Some(_) => Ok(self.counted::<Timed<V>>(&key, &mut bytes)?.map(|((_, value), _)| value)),
            None => Ok(self.counted(&key, &mut bytes)?.map(|(value, _)| value)),
        });
        found.unwrap_or_else(|_| {
            self.count_failure();
            None
        })
    }

    /// Keeps a result that was computed elsewhere: asynchronously, or all together. Whoever is computing it replaces it.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let square = cache.memoize(larder::Memoize::new("square"));
    /// (0..10u32).for_each(|n| square.put(n, &(n * n)));
    /// assert_eq!(square.call::<u32>(9u32, || unreachable!("it is kept")), 81);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn put<V: Serialize + ?Sized>(&self, args: impl Key, value: &V) {
        match self.encoded(&args) {
            Ok(key) if self.early.is_some() => self.keep(&key, &(0.0, value)),
            Ok(key) => self.keep(&key, value),
            Err(_) => self.count_failure(),
        }
    }

    /// The key of a result in the cache, encoded: see [`Key::encode`].
    ///
    /// It binds the name, the version, and each argument by its place and kind: no two calls that differ in any of these share
    /// a key. Arguments that are more than 1 KiB together are in it by their SHA-256.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let join = cache.memoize(larder::Memoize::new("join"));
    /// assert_ne!(join.key(("ab", "c"))?, join.key(("a", "bc"))?);
    /// assert!(join.key("x".repeat(1 << 20))?.len() < 100);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn key(&self, args: impl Key) -> Result<Vec<u8>> {
        self.encoded(&args)
    }

    /// Removes the result for some arguments. False if there was none.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let square = cache.memoize(larder::Memoize::new("square"));
    /// square.call(12, || 144);
    /// assert!(square.forget(12)? && !square.forget(12)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn forget(&self, args: impl Key) -> Result<bool> {
        let key = self.encoded(&args)?;
        self.cache.whole().of(&key).remove(&key)
    }

    /// Removes all results of the function, those of other versions too. How many there were. Goes through the whole cache;
    /// a [`tag`](Memoize::tag) of the function's own and [`Cache::evict`] cost less.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let square = cache.memoize(larder::Memoize::new("square"));
    /// square.call(12, || 144);
    /// assert_eq!((square.clear()?, cache.len()), (1, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clear(&self) -> Result<u64> {
        let prefix = key::prefix(&self.name)?;
        let mut removed = 0;
        for store in self.cache.parts() {
            removed += remove_all(&*store, &prefix)?;
        }
        self.cache.whole().count(Counter::Removals, removed);
        Ok(removed)
    }

    fn encoded(&self, args: &impl Key) -> Result<Vec<u8>> {
        key::of(&self.name, self.version, args)
    }

    /// A look that counts as a hit or a miss.
    fn counted<V: DeserializeOwned>(&self, key: &[u8], bytes: &mut Vec<u8>) -> Result<Option<(V, Facts)>> {
        let found = self.cache.whole().of(key).get(key, bytes);
        self.cache.decoded(found, bytes)
    }

    /// A look that counts for nothing.
    fn look<V: DeserializeOwned>(&self, key: &[u8], bytes: &mut Vec<u8>) -> Result<Option<(V, Facts)>> {
        let found = self.cache.whole().of(key).read(key, bytes);
        self.cache.decoded(found, bytes)
    }

    fn keep<V: Serialize + ?Sized>(&self, key: &[u8], value: &V) {
        let kept = crate::value::encode_with(self.cache.codec(), value, |kind, bytes| {
            self.cache.whole().of(key).put(key, kind, bytes, &self.options)
        });
        if kept.and_then(|kept: Result<(), Error>| kept).is_err() {
            self.count_failure();
        }
    }

    fn count_failure(&self) {
        self.cache.whole().count_always(Counter::Failures);
    }
}

/// Removes all results whose keys begin like that. How many there were.
fn remove_all(store: &dyn Calls, prefix: &[Vec<u8>; 2]) -> Result<u64> {
    let wanted = Wanted { with_values: false, tag: None, namespace: None };
    let (mut found, mut doomed) = (std::collections::VecDeque::new(), Vec::new());
    let (mut position, mut removed) = (Some(0), 0);
    while position.is_some() || !doomed.is_empty() {
        if let Some(at) = position {
            position = store.scan(at, wanted, &mut found)?;
            doomed.extend(found.drain(..).map(|raw| raw.key).filter(|key| key::has_prefix(key, prefix)));
        }
        if doomed.len() >= TOGETHER || position.is_none() {
            let some: Vec<Vec<u8>> = doomed.drain(..doomed.len().min(TOGETHER)).collect();
            let remove = |key| Op { key, hash: store.hash(key), change: Change::Remove };
            let ops: Vec<Op<'_>> = some.iter().map(|key| remove(key.as_slice())).collect();
            removed += if ops.is_empty() { 0 } else { store.batch(&ops)? };
        }
    }
    Ok(removed)
}
