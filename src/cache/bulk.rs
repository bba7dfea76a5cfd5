//! Many items in one call.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Cache;
use crate::calls::{self, Arena, Pairs, Taken, Whole, checked_tag};
use crate::codec::Codec;
use crate::engine::{Change, Counter, Label, Op, Tag};
use crate::error::Result;
use crate::key::{self, EncodedKey, Key};
use crate::options::SetOptions;
use crate::value;

impl<C: Codec> Cache<C> {
    /// The values of many keys, in their order, all as of one moment: of a transaction or a `set_many` of another process
    /// either everything is seen or nothing. Cheaper than one `get` each, since the cache misses of several keys overlap.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set_many([("a", 1), ("b", 2)])?;
    /// assert_eq!(cache.get_many::<i32>(["a", "x", "b"])?, [Some(1), None, Some(2)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_many<V: DeserializeOwned>(&self, keys: impl IntoIterator<Item = impl Key>) -> Result<Vec<Option<V>>> {
        let (mut arena, mut places) = (Arena::default(), Vec::new());
        let mut buffer = EncodedKey::new();
        for key in keys {
            let key = key::encode_into(&key, &mut buffer)?;
            places.push((arena.add(key), self.store.of(key).hash(key)));
        }
        let keys: Vec<(&[u8], u64)> = places.iter().map(|(key, hash)| (&arena.bytes[key.clone()], *hash)).collect();
        let mut taken = Taken { bytes: Vec::new(), found: vec![None; keys.len()] };
        self.store.get_many(&keys, &mut taken)?;
        let Taken { bytes, found } = taken;
        found
            .into_iter()
            .map(|found| found.map(|(kind, range)| value::decode(&self.codec, kind, &bytes[range])).transpose())
            .collect()
    }

    /// Stores many pairs by one commit: other processes see all of them or none, after a crash too. Of a key that is
    /// given twice the last value counts.
    ///
    /// # Errors
    /// As [`set`](Cache::set), and [`Error::TransactionTooLarge`](crate::Error::TransactionTooLarge) beyond an eighth of the size limit. Nothing is stored then.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set_many((0..100u32).map(|i| (i, i * i)))?;
    /// assert_eq!(cache.len(), 100);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_many<K: Key, V: Serialize>(&self, pairs: impl IntoIterator<Item = (K, V)>) -> Result<()> {
        self.set_many_with(pairs, SetOptions::new())
    }

    /// Stores many pairs by one commit, all with the same expiry and tag.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set_many_with([("a", 1), ("b", 2)], larder::SetOptions::new().tag("numbers"))?;
    /// assert_eq!(cache.evict("numbers")?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_many_with<K: Key, V: Serialize>(
        &self,
        pairs: impl IntoIterator<Item = (K, V)>,
        options: SetOptions<'_>,
    ) -> Result<()> {
        let tag = checked_tag(&options)?.map_or(Tag::None, |tag| Tag::Named(Label::tag(tag)));
        let pairs = pairs.into_iter();
        let mut gathered = Pairs::of_about(pairs.size_hint().0);
        let mut buffer = EncodedKey::new();
        for (key, value) in pairs {
            let key = key::encode_into(&key, &mut buffer)?;
            value::encode_with(&self.codec, &value, |kind, bytes| gathered.add(&*self.store, key, kind, bytes))??;
        }
        let stored = gathered.store(&*self.store, calls::expiry(&*self.store, options.expire), tag)?;
        self.store.count(Counter::Stores, stored);
        Ok(())
    }

    /// Removes many keys by one commit. The number that were there and had not expired.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set_many([("a", 1), ("b", 2)])?;
    /// assert_eq!(cache.delete_many(["a", "b", "absent"])?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn delete_many(&self, keys: impl IntoIterator<Item = impl Key>) -> Result<u64> {
        let mut encoded: Vec<EncodedKey> = Vec::new();
        for key in keys {
            encoded.push(key::encode(&key)?);
        }
        remove_all(&*self.store, &encoded)
    }
}

fn remove_all(store: &dyn Whole, keys: &[EncodedKey]) -> Result<u64> {
    let mut hashed: Vec<(u64, &[u8])> =
        keys.iter().map(EncodedKey::as_bytes).map(|key| (store.of(key).hash(key), key)).collect();
    hashed.sort_unstable();
    hashed.dedup();
    let ops: Vec<Op<'_>> = hashed.iter().map(|&(hash, key)| Op { key, hash, change: Change::Remove }).collect();
    if ops.is_empty() {
        return Ok(0);
    }
    let removed = store.batch(&ops)?;
    store.count(Counter::Removals, removed);
    Ok(removed)
}
