//! The verbs of an index.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Index;
use super::bounds::AsKey;
use super::range::IndexInserted;
use crate::calls::{Pairs, Record, Wanted, Whole, put_together, with_buffer};
use crate::codec::Codec;
use crate::engine::{Decision, End, Tag};
use crate::error::{Error, Result};
use crate::key::{self, EncodedKey, OwnedKey};
use crate::value;

/// Pairs that one commit of a long call puts in.
const TOGETHER: usize = 1000;

#[cold]
fn none_of<K>() -> Error {
    Error::Codec(format!("a key that is none of type {}", std::any::type_name::<K>()).into())
}

impl<K, V, C: Codec> Index<K, V, C> {
    fn encode<'b>(&self, key: &impl AsKey<K>, buffer: &'b mut EncodedKey) -> Result<&'b [u8]> {
        key::encode_behind(&self.space.prefix(), key, buffer)
    }

    /// Stores a value under a key, replacing what was there. True if the key was absent.
    ///
    /// # Errors
    /// [`Error::Full`](crate::Error::Full), [`Error::ValueTooLarge`](crate::Error::ValueTooLarge),
    /// [`Error::KeyTooLarge`](crate::Error::KeyTooLarge) for keys of more than 65,530 encoded bytes,
    /// [`Error::Timeout`](crate::Error::Timeout), [`Error::Codec`](crate::Error::Codec), also of an integer that the type of the keys does
    /// not have: the index is as it was.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let index = larder::Index::<String, String>::open(&dir)?;
    /// assert!(index.insert("k", "value")?);
    /// assert!(!index.insert("k", "another")?);
    /// assert_eq!(index.get("k")?.as_deref(), Some("another"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn insert<Q: Serialize + ?Sized>(&self, key: impl AsKey<K>, value: &Q) -> Result<bool>
    where
        V: std::borrow::Borrow<Q>,
    {
        if !key.can_be_key() {
            return Err(none_of::<K>());
        }
        let mut buffer = EncodedKey::new();
        let key = self.encode(&key, &mut buffer)?;
        // Not passed through `encode_with`, which would wrap one result in another.
        let mut inserted = Ok(false);
        let put = |kind, bytes: &[u8]| inserted = self.store.put_in(self.space, key, kind, bytes);
        value::encode_with(&self.codec, value, put)?;
        inserted
    }

    /// True if there is a value under a key.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let index = larder::Index::<String, u8>::open(&dir)?;
    /// index.insert("k", &1)?;
    /// assert!(index.contains_key("k")? && !index.contains_key("l")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn contains_key(&self, key: impl AsKey<K>) -> Result<bool> {
        let mut buffer = EncodedKey::new();
        self.store.contains(self.encode(&key, &mut buffer)?)
    }

    /// Stores many pairs, a thousand by each commit, or fewer where a transaction may not have so many. On an error those of the
    /// commits before it stay.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let index = larder::Index::<u32, u32>::open(&dir)?;
    /// index.extend((0..5000).map(|i| (i, i * i)))?;
    /// assert_eq!((index.len(), index.get(70)?), (5000, Some(4900)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "update")]
    pub fn extend(&self, pairs: impl IntoIterator<Item = (K, V)>) -> Result<()>
    where
        K: AsKey<K>,
        V: Serialize,
    {
        let mut pairs = pairs.into_iter();
        loop {
            // The iterator is a caller's code: it runs before the lock is taken.
            let some: Vec<(K, V)> = pairs.by_ref().take(TOGETHER).collect();
            if some.is_empty() {
                return Ok(());
            }
            put_together(&some, &mut |some| self.put_in_together(some))?;
        }
    }

    fn put_in_together(&self, some: &[(K, V)]) -> Result<()>
    where
        K: AsKey<K>,
        V: Serialize,
    {
        let store: &dyn Whole = &*self.store;
        let mut pairs = Pairs::of_about(some.len());
        let mut buffer = EncodedKey::new();
        for (key, value) in some {
            if !key.can_be_key() {
                return Err(none_of::<K>());
            }
            let key = self.encode(key, &mut buffer)?;
            value::encode_with(&self.codec, value, |kind, bytes| pairs.add(store, key, kind, bytes))??;
        }
        pairs.store(store, None, Tag::Id(self.space.id)).map(drop)
    }
}

impl<K, V: DeserializeOwned, C: Codec> Index<K, V, C> {
    /// The value under a key. Costs what [`Cache::get`](crate::Cache::get) does.
    ///
    /// # Errors
    /// [`Error::Type`](crate::Error::Type), [`Error::Codec`](crate::Error::Codec), [`Error::Corrupt`](crate::Error::Corrupt).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let index = larder::Index::<(String, u32), u8>::open(&dir)?;
    /// index.insert(("k", 1), &7)?;
    /// assert_eq!((index.get(("k", 1))?, index.get(("k", 2))?), (Some(7), None));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get(&self, key: impl AsKey<K>) -> Result<Option<V>> {
        let mut buffer = EncodedKey::new();
        let key = self.encode(&key, &mut buffer)?;
        with_buffer(|bytes| {
            let found = self.store.read(key, bytes)?;
            found.map(|facts| value::decode(&self.codec, facts.kind, bytes)).transpose()
        })
    }

    /// What a record holds.
    fn decode(&self, record: Option<&Record<'_>>) -> Result<Option<V>> {
        let Some(record) = record else { return Ok(None) };
        value::decode(&self.codec, record.header().kind, &self.store.value(record)?).map(Some)
    }

    /// Removes a key; the value that was there. It is decoded while the lock is held, so that one that cannot be decoded stays;
    /// [`insert`](Index::insert) puts another one in its place.
    ///
    /// # Errors
    /// As [`get`](Index::get), and [`Error::Timeout`](crate::Error::Timeout): the index is as it was.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let index = larder::Index::<String, u8>::open(&dir)?;
    /// index.insert("k", &1)?;
    /// assert_eq!((index.remove("k")?, index.remove("k")?), (Some(1), None));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "pop")]
    pub fn remove(&self, key: impl AsKey<K>) -> Result<Option<V>> {
        let mut removed = None;
        let mut buffer = EncodedKey::new();
        self.store.update(self.encode(&key, &mut buffer)?, &mut |present, _| {
            removed = self.decode(present)?;
            Ok(if removed.is_some() { Decision::Remove } else { Decision::Keep })
        })?;
        Ok(removed)
    }

    /// The value under a key; if there is none, that of `make` is stored first. Of several that store at once, in all processes,
    /// one does, and all get its value; `make` runs outside the lock, perhaps in several of them.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let index = larder::Index::<String, u32>::open(&dir)?;
    /// assert_eq!(index.get_or_insert_with("k", || 1)?, 1);
    /// assert_eq!(index.get_or_insert_with("k", || 2)?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "setdefault")]
    pub fn get_or_insert_with(&self, key: impl AsKey<K>, make: impl FnOnce() -> V) -> Result<V>
    where
        V: Serialize,
    {
        if let Some(value) = self.get(&key)? {
            return Ok(value);
        }
        let made = make();
        let there = self.transact(|index| {
            let there = index.get(&key)?;
            if there.is_none() {
                index.insert(&key, &made)?;
            }
            Ok(there)
        })?;
        Ok(there.unwrap_or(made))
    }
}

impl<K: OwnedKey, V: DeserializeOwned, C: Codec> Index<K, V, C> {
    /// The pair with the smallest key.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let index = larder::Index::<u32, u8>::open(&dir)?;
    /// index.extend([(20, 2), (10, 1)])?;
    /// assert_eq!(index.first_key_value()?, Some((10, 1)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "peekitem")]
    pub fn first_key_value(&self) -> Result<Option<(K, V)>> {
        self.iter().next().transpose()
    }

    /// The pair with the largest key.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let index = larder::Index::<u32, u8>::open(&dir)?;
    /// index.extend([(20, 2), (10, 1)])?;
    /// assert_eq!(index.last_key_value()?, Some((20, 2)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn last_key_value(&self) -> Result<Option<(K, V)>> {
        self.iter().next_back().transpose()
    }

    /// Removes the pair with the smallest key and gives it. Of several that ask at once each gets another one. Costs the same
    /// after a million of them. A pair that cannot be decoded stays.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let index = larder::Index::<u32, u8>::open(&dir)?;
    /// index.extend([(20, 2), (10, 1)])?;
    /// assert_eq!((index.pop_first()?, index.len()), (Some((10, 1)), 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "popitem")]
    pub fn pop_first(&self) -> Result<Option<(K, V)>> {
        self.pop(End::Front)
    }

    /// Removes the pair with the largest key; otherwise as [`pop_first`](Index::pop_first).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let index = larder::Index::<u32, u8>::open(&dir)?;
    /// index.extend([(20, 2), (10, 1)])?;
    /// assert_eq!(index.pop_last()?, Some((20, 2)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pop_last(&self) -> Result<Option<(K, V)>> {
        self.pop(End::Back)
    }

    fn pop(&self, end: End) -> Result<Option<(K, V)>> {
        let mut popped = None;
        self.store.pop_in_order(self.space, end, &mut |key, kind, bytes| {
            popped = Some((K::decode(key)?, value::decode(&self.codec, kind, bytes)?));
            Ok(())
        })?;
        Ok(popped)
    }

    /// The pairs in the order in which their keys were first inserted: replacing a value keeps the place, removing and
    /// storing again moves to the end. Double-ended.
    ///
    /// Gathers and sorts all keys first: it goes through all items of the store, the cache around the index too, and needs
    /// memory for every key of the index. Values are read one at a time, as they are by then.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let index = larder::Index::<u32, u8>::open(&dir)?;
    /// index.extend([(20, 2), (10, 1)])?;
    /// index.insert(20, &3)?;
    /// let pairs: Vec<_> = index.iter_inserted()?.collect::<larder::Result<_>>()?;
    /// assert_eq!(pairs, [(20, 3), (10, 1)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter_inserted(&self) -> Result<IndexInserted<K, V, C>> {
        let wanted = Wanted { with_values: false, tag: None, namespace: Some(self.space) };
        let (mut all, mut found, mut position) = (Vec::new(), std::collections::VecDeque::new(), Some(0));
        while let Some(at) = position {
            position = self.store.scan(at, wanted, &mut found)?;
            all.extend(found.drain(..).map(|raw| (raw.facts.order, raw.key)));
        }
        Ok(IndexInserted::new(self, all))
    }
}
