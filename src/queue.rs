//! Queues of a cache's own items: values under numbered keys, added and taken at two ends.
//!
//! Which numbers are in use is kept in an index that no caller can name: for each prefix, from which number on and up to
//! which. It changes by the transaction that puts or removes the item. The items may go in other ways, by expiry, eviction or
//! removal: who takes one goes on to the next number that has an item, and leaves out what it passed for good.
//!
//! It knows the calls of a cache; it does not know how they are carried out.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cache::Cache;
use crate::codec::{Codec, Postcard};
use crate::engine::{Kind, Label};
use crate::error::{ConfigProblem, Error, Result};
use crate::index::Index;
use crate::key::{Key, KeyWriter, KeyWritten};
use crate::options::SetOptions;

/// The name of the index of all queues; no name of a caller's has a zero in it.
const QUEUES: &str = "\0queues";
/// The number of the first item of a queue.
const MIDDLE: i64 = 500_000_000_000_000;

/// Numbers that are in use: from the first on, and up to the second, without it.
type Numbers = (i64, i64);

/// One of the two ends of a queue.
///
/// ```
/// use larder::{QueueOptions, QueueSide};
/// # let dir = tempfile::tempdir()?;
/// # let cache = larder::Cache::open(&dir)?;
/// cache.push("first", QueueOptions::new())?;
/// cache.push("zeroth", QueueOptions::new().side(QueueSide::Front))?;
/// assert_eq!(cache.pull::<String>(QueueOptions::new())?.unwrap().1, "zeroth");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueSide {
    /// Where items are taken, if nothing else is said.
    Front,
    /// Where items are added, if nothing else is said.
    Back,
}

/// Which queue, which end, and expiry and tag of what is added.
///
/// ```
/// use larder::QueueOptions;
/// # let dir = tempfile::tempdir()?;
/// # let cache = larder::Cache::open(&dir)?;
/// let letters = QueueOptions::new().prefix("letters").tag("mail");
/// cache.push("a", letters.clone())?;
/// assert_eq!(cache.evict("mail")?, 1);
/// assert_eq!(cache.pull::<String>(letters)?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct QueueOptions<'a> {
    prefix: Option<Cow<'a, str>>,
    side: Option<QueueSide>,
    set: SetOptions<'a>,
}

impl<'a> QueueOptions<'a> {
    /// The queue of numbers; add at the back, take at the front.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.push("v", larder::QueueOptions::new())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new() -> QueueOptions<'a> {
        QueueOptions::default()
    }

    /// The queue of a prefix: its keys are strings, the prefix, a `-`, and fifteen digits.
    ///
    /// ```
    /// use larder::{QueueKey, QueueOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let key = cache.push("v", QueueOptions::new().prefix("jobs"))?;
    /// assert_eq!(key, QueueKey::Prefixed("jobs-500000000000000".into()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn prefix(mut self, prefix: impl Into<Cow<'a, str>>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// The end to add or to take at.
    ///
    /// ```
    /// use larder::{QueueOptions, QueueSide};
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// assert_eq!(cache.pull::<String>(QueueOptions::new().side(QueueSide::Back))?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn side(mut self, side: QueueSide) -> Self {
        self.side = Some(side);
        self
    }

    /// As [`SetOptions::expire`], of what is added.
    ///
    /// ```
    /// use larder::QueueOptions;
    /// use std::time::Duration;
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.push("gone", QueueOptions::new().expire(Duration::ZERO))?;
    /// assert_eq!(cache.pull::<String>(QueueOptions::new())?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn expire(mut self, after: Duration) -> Self {
        self.set = self.set.expire(after);
        self
    }

    /// As [`SetOptions::tag`], of what is added.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.push("v", larder::QueueOptions::new().tag("t"))?;
    /// assert_eq!(cache.evict("t")?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tag(mut self, tag: impl Into<Cow<'a, str>>) -> Self {
        self.set = self.set.tag(tag);
        self
    }

    fn key(&self, number: i64) -> QueueKey {
        match &self.prefix {
            None => QueueKey::Number(number),
            Some(prefix) => QueueKey::Prefixed(format!("{prefix}-{number:015}")),
        }
    }

    /// Under which the queue is known: no prefix and an empty one are two.
    fn name(&self) -> (bool, &str) {
        (self.prefix.is_some(), self.prefix.as_deref().unwrap_or(""))
    }
}

/// The key of an item of a queue. A key like any other: `cache.delete(&key)` takes the item out of the middle.
///
/// ```
/// use larder::{QueueKey, QueueOptions};
/// # let dir = tempfile::tempdir()?;
/// # let cache = larder::Cache::open(&dir)?;
/// let key = cache.push("v", QueueOptions::new())?;
/// assert_eq!(key, QueueKey::Number(500_000_000_000_000));
/// assert_eq!(cache.get::<String>(&key)?.as_deref(), Some("v"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum QueueKey {
    /// Of the queue without a prefix.
    Number(i64),
    /// Of the queue of a prefix.
    Prefixed(String),
}

impl Key for QueueKey {
    const MAY_BE_NULL: bool = false;

    fn write_key(&self, writer: KeyWriter<'_>) -> KeyWritten {
        match self {
            QueueKey::Number(number) => number.write_key(writer),
            QueueKey::Prefixed(text) => text.write_key(writer),
        }
    }
}

impl<C: Codec> Cache<C> {
    /// The index of all queues, if there is one.
    fn queues(&self) -> Result<Option<Index<(bool, String), Numbers>>> {
        let there = self.part(QUEUES.as_bytes()).find_namespace(Label { kind: Kind::Index, name: QUEUES })?;
        there.map(|_| self.make_queues()).transpose()
    }

    fn make_queues(&self) -> Result<Index<(bool, String), Numbers>> {
        Index::of(self.part(QUEUES.as_bytes()), QUEUES, Postcard)
    }

    /// Adds a value to a queue, at the back unless told otherwise, under a key that is given back. An item like any other, with
    /// expiry and tag, that may be evicted; a [`Deque`](crate::Deque) is a queue whose elements are not. One transaction.
    ///
    /// # Errors
    /// As [`set`](Cache::set).
    ///
    /// ```
    /// use larder::QueueOptions;
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.push("first", QueueOptions::new())?;
    /// let second = cache.push("second", QueueOptions::new())?;
    /// assert_eq!(cache.pull::<String>(QueueOptions::new())?.unwrap().1, "first");
    /// assert_eq!(cache.peek::<String>(QueueOptions::new())?, Some((second, "second".into())));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn push<V: Serialize + ?Sized>(&self, value: &V, options: QueueOptions<'_>) -> Result<QueueKey> {
        self.make_queues().map_err(|error| match error {
            // It would have been made.
            Error::Config(ConfigProblem::NothingToRead) => Error::ReadOnly,
            other => other,
        })?;
        self.transact_lightly(|tx| {
            let queues = tx.make_queues()?;
            let (mut first, mut end) = queues.get(options.name())?.unwrap_or((MIDDLE, MIDDLE));
            let key = loop {
                let number = match options.side.unwrap_or(QueueSide::Back) {
                    QueueSide::Back => {
                        end += 1;
                        end - 1
                    }
                    QueueSide::Front => {
                        first -= 1;
                        first
                    }
                };
                let key = options.key(number);
                // Somebody may have put an item there without asking the queue.
                if !tx.contains(&key)? {
                    break key;
                }
            };
            queues.insert(options.name(), &(first, end))?;
            tx.set_with(&key, value, options.set.clone())?;
            Ok(key)
        })
    }

    /// Takes an item out of a queue, at the front unless told otherwise. What has expired, was evicted or removed is passed over,
    /// once. One transaction; a value that cannot be decoded stays.
    ///
    /// # Errors
    /// As [`get`](Cache::get) and [`delete`](Cache::delete).
    ///
    /// ```
    /// use larder::{QueueOptions, QueueSide};
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// for value in 0..3 {
    ///     cache.push(&value, QueueOptions::new())?;
    /// }
    /// let last = cache.pull::<i32>(QueueOptions::new().side(QueueSide::Back))?;
    /// assert_eq!(last.unwrap().1, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pull<V: DeserializeOwned>(&self, options: QueueOptions<'_>) -> Result<Option<(QueueKey, V)>> {
        if self.numbers(&options)?.is_none() {
            return Ok(None);
        }
        self.transact_lightly(|tx| {
            let Some((mut first, mut end)) = tx.numbers(&options)? else { return Ok(None) };
            let mut pulled = None;
            while first < end && pulled.is_none() {
                let number = match options.side.unwrap_or(QueueSide::Front) {
                    QueueSide::Front => {
                        first += 1;
                        first - 1
                    }
                    QueueSide::Back => {
                        end -= 1;
                        end
                    }
                };
                let key = options.key(number);
                if let Some(value) = tx.pop(&key)? {
                    pulled = Some((key, value));
                }
            }
            tx.make_queues()?.insert(options.name(), &(first, end))?;
            Ok(pulled)
        })
    }

    /// The item that [`pull`](Cache::pull) would take, which stays.
    ///
    /// ```
    /// use larder::QueueOptions;
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// assert_eq!(cache.peek::<String>(QueueOptions::new())?, None);
    /// let key = cache.push("v", QueueOptions::new())?;
    /// assert_eq!(cache.peek(QueueOptions::new())?, Some((key, "v".to_string())));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn peek<V: DeserializeOwned>(&self, options: QueueOptions<'_>) -> Result<Option<(QueueKey, V)>> {
        let Some((mut first, mut end)) = self.numbers(&options)? else { return Ok(None) };
        while first < end {
            let number = match options.side.unwrap_or(QueueSide::Front) {
                QueueSide::Front => first,
                QueueSide::Back => end - 1,
            };
            let key = options.key(number);
            if let Some(value) = self.get(&key)? {
                return Ok(Some((key, value)));
            }
            (first, end) = if number == first { (first + 1, end) } else { (first, end - 1) };
        }
        Ok(None)
    }

    /// The numbers of a queue; `None` if it has none.
    fn numbers(&self, options: &QueueOptions<'_>) -> Result<Option<Numbers>> {
        let Some(queues) = self.queues()? else { return Ok(None) };
        Ok(queues.get(options.name())?.filter(|(first, end)| first < end))
    }
}
