//! Going through all items in order, of insertion or of key. Both gather what they sort by first, and read values as they
//! go.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use super::Cache;
use super::iterate::Walk;
use crate::codec::{Codec, Postcard};
use crate::error::Result;
use crate::key::OwnedKey;
use crate::value;

/// An end of the order of insertion.
///
/// ```
/// use larder::End;
/// # let dir = tempfile::tempdir()?;
/// # let cache = larder::Cache::open(&dir)?;
/// cache.set("a", &1)?;
/// cache.set("b", &2)?;
/// assert_eq!(cache.peek_item::<String, i32>(End::Newest)?, Some(("b".into(), 2)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// What was inserted first.
    Oldest,
    /// What was inserted last.
    Newest,
}

/// Items in order of insertion. Made by [`Cache::iter_inserted`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let cache = larder::Cache::open(&dir)?;
/// let mut items: larder::OrderedItems<String, i32> = cache.iter_inserted()?;
/// assert!(items.next().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct OrderedItems<K, V, C: Codec = Postcard> {
    cache: Cache<C>,
    keys: std::vec::IntoIter<Vec<u8>>,
    types: PhantomData<fn() -> (K, V)>,
}

/// Keys in their order. Made by [`Cache::keys_sorted`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let cache = larder::Cache::open(&dir)?;
/// let mut keys: larder::OrderedKeys<String> = cache.keys_sorted()?;
/// assert!(keys.next().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct OrderedKeys<K> {
    keys: std::vec::IntoIter<Vec<u8>>,
    types: PhantomData<fn() -> K>,
}

impl<K, V, C: Codec> std::fmt::Debug for OrderedItems<K, V, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OrderedItems").field("left", &self.keys.len()).finish()
    }
}

impl<K> std::fmt::Debug for OrderedKeys<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OrderedKeys").field("left", &self.keys.len()).finish()
    }
}

impl<K: OwnedKey, V: DeserializeOwned, C: Codec> OrderedItems<K, V, C> {
    /// The pair of a key that was there; `None` if it is gone by now.
    fn pair(&self, key: &[u8]) -> Option<Result<(K, V)>> {
        let mut bytes = Vec::new();
        let found = self.cache.store.of(key).peek(key, &mut bytes).transpose()?;
        let decode = |kind| Ok((K::decode(key)?, value::decode(&self.cache.codec, kind, &bytes)?));
        Some(found.and_then(|facts| decode(facts.kind)))
    }
}

impl<K: OwnedKey, V: DeserializeOwned, C: Codec> Iterator for OrderedItems<K, V, C> {
    type Item = Result<(K, V)>;
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let key = self.keys.next()?;
            if let Some(pair) = self.pair(&key) {
                return Some(pair);
            }
        }
    }
}

impl<K: OwnedKey, V: DeserializeOwned, C: Codec> DoubleEndedIterator for OrderedItems<K, V, C> {
    fn next_back(&mut self) -> Option<Self::Item> {
        loop {
            let key = self.keys.next_back()?;
            if let Some(pair) = self.pair(&key) {
                return Some(pair);
            }
        }
    }
}

impl<K: OwnedKey> Iterator for OrderedKeys<K> {
    type Item = Result<K>;
    fn next(&mut self) -> Option<Self::Item> {
        self.keys.next().map(|key| K::decode(&key))
    }
}

impl<K: OwnedKey> DoubleEndedIterator for OrderedKeys<K> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.keys.next_back().map(|key| K::decode(&key))
    }
}

impl<C: Codec> Cache<C> {
    /// All live items in the order in which their keys were first inserted: replacing a value keeps the place, removing and
    /// storing again moves to the end. Double-ended.
    ///
    /// Gathers and sorts all keys first: O(n log n) time, and memory for every key. Values are read one at a time, as they
    /// are by then.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// for (key, value) in [("b", 1), ("a", 2), ("b", 3)] {
    ///     cache.set(key, &value)?;
    /// }
    /// let pairs = cache.iter_inserted::<String, i32>()?.collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(pairs, [("b".into(), 3), ("a".into(), 2)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter_inserted<K: OwnedKey, V: DeserializeOwned>(&self) -> Result<OrderedItems<K, V, C>> {
        let mut found = Vec::new();
        let mut walk = Walk::new(self, false);
        while let Some(raw) = walk.next_raw().transpose()? {
            found.push((raw.facts.order, raw.key));
        }
        found.sort_unstable();
        let keys: Vec<Vec<u8>> = found.into_iter().map(|(_, key)| key).collect();
        Ok(OrderedItems { cache: self.clone(), keys: keys.into_iter(), types: PhantomData })
    }

    /// All live keys in their order, double-ended. Keys of several types sort by type first: strings behind byte strings,
    /// then tuples, then numbers.
    ///
    /// Gathers and sorts all keys first: O(n log n) time, and memory for every key.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set_many([(30, "c"), (4, "a"), (-5, "b")])?;
    /// let keys = cache.keys_sorted::<i32>()?.rev().collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(keys, [30, 4, -5]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "iterkeys")]
    pub fn keys_sorted<K: OwnedKey>(&self) -> Result<OrderedKeys<K>> {
        let mut keys = Vec::new();
        let mut walk = Walk::new(self, false);
        while let Some(raw) = walk.next_raw().transpose()? {
            keys.push(raw.key);
        }
        keys.sort_unstable();
        Ok(OrderedKeys { keys: keys.into_iter(), types: PhantomData })
    }

    /// The item at one end of the order of insertion; `None` if the cache is empty. Looks at every key.
    ///
    /// ```
    /// use larder::End;
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// assert_eq!(cache.peek_item::<String, i32>(End::Oldest)?, None);
    /// cache.set("a", &1)?;
    /// assert_eq!(cache.peek_item::<String, i32>(End::Oldest)?, Some(("a".into(), 1)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "peekitem")]
    pub fn peek_item<K: OwnedKey, V: DeserializeOwned>(&self, end: End) -> Result<Option<(K, V)>> {
        let mut items = self.iter_inserted()?;
        match end {
            End::Oldest => items.next(),
            End::Newest => items.next_back(),
        }
        .transpose()
    }
}
