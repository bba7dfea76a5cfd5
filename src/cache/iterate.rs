//! Going through all items, bucket by bucket of the index, without a lock.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::Cache;
use super::access::Entry;
use crate::calls::{Calls, Raw, Wanted, checked_tag};
use crate::codec::{Codec, Postcard};
use crate::error::Result;
use crate::key::OwnedKey;
use crate::options::SetOptions;
use crate::value;

/// Goes through the live items of a cache.
pub(super) struct Walk<C: Codec> {
    cache: Cache<C>,
    /// The stores that are to be gone through, the one that is being gone through last, each with the row of the tag that is
    /// wanted.
    left: Vec<(Arc<dyn Calls>, Option<u32>)>,
    position: Option<u64>,
    found: VecDeque<Raw>,
    with_values: bool,
    /// The name of the tag that is wanted.
    tag: String,
}

impl<C: Codec> Walk<C> {
    pub(super) fn new(cache: &Cache<C>, with_values: bool) -> Walk<C> {
        let left = cache.parts().into_iter().map(|part| (part, None)).collect();
        Walk { cache: cache.clone(), left, position: Some(0), found: VecDeque::new(), with_values, tag: String::new() }
    }

    /// The keys of a tag. A store that has no row for it has none.
    fn tagged(cache: &Cache<C>, tag: &str) -> Result<Walk<C>> {
        let mut walk = Walk::new(cache, false);
        let mut left = Vec::new();
        for (part, _) in walk.left.drain(..) {
            if let Some(id) = part.tag_id(tag)? {
                left.push((part, Some(id)));
            }
        }
        (walk.left, walk.tag) = (left, tag.to_owned());
        Ok(walk)
    }

    pub(super) fn next_raw(&mut self) -> Option<Result<Raw>> {
        loop {
            if let Some(raw) = self.found.pop_front() {
                return Some(Ok(raw));
            }
            let (part, tag) = self.left.last()?;
            let Some(position) = self.position else {
                self.left.pop();
                self.position = Some(0);
                continue;
            };
            let wanted = Wanted { with_values: self.with_values, tag: *tag, namespace: None };
            let scanned = part.scan(position, wanted, &mut self.found);
            match scanned.and_then(|next| drop_strangers(&**part, *tag, &self.tag, &mut self.found).map(|()| next)) {
                Ok(next) => self.position = next,
                Err(error) => {
                    // A bucket that cannot be read ends the walk: going on could go round for ever.
                    self.left.clear();
                    self.found.clear();
                    return Some(Err(error));
                }
            }
        }
    }

    /// What is known of the item that was found last.
    fn entry_of<V: DeserializeOwned>(&self, raw: &Raw) -> Result<Entry<V>> {
        let tag = self.left.last().map_or(Ok(None), |(part, _)| part.tag_name(&raw.facts))?;
        self.cache.entry_of(&raw.facts, &raw.value, tag)
    }
}

/// Drops what was found by the id of a tag and is another tag's: the id may have become that one's meanwhile.
fn drop_strangers(part: &dyn Calls, id: Option<u32>, tag: &str, found: &mut VecDeque<Raw>) -> Result<()> {
    if let (Some(id), false) = (id, found.is_empty()) {
        match part.tag_since(tag, id)? {
            Some(since) => found.retain(|raw| raw.facts.sequence >= since),
            None => found.clear(),
        }
    }
    Ok(())
}

macro_rules! walk {
    ($(#[$doc:meta])* $name:ident<K $(, $value:ident)?>, $item:ty, $decode:expr) => {
        $(#[$doc])*
        pub struct $name<K $(, $value)?, C: Codec = Postcard> {
            walk: Walk<C>,
            types: PhantomData<fn() -> (K, $($value)?)>,
        }

        impl<K $(, $value)?, C: Codec> $name<K $(, $value)?, C> {
            fn over(walk: Walk<C>) -> Self {
                $name { walk, types: PhantomData }
            }
        }

        impl<K: OwnedKey $(, $value: DeserializeOwned)?, C: Codec> Iterator for $name<K $(, $value)?, C> {
            type Item = Result<$item>;
            fn next(&mut self) -> Option<Self::Item> {
                let raw = self.walk.next_raw()?;
                let decode: fn(&Walk<C>, Raw) -> Result<$item> = $decode;
                Some(raw.and_then(|raw| decode(&self.walk, raw)))
            }
        }

        impl<K $(, $value)?, C: Codec> std::fmt::Debug for $name<K $(, $value)?, C> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}

walk! {
    /// The pairs of a cache, in no order. Made by [`Cache::iter`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let mut pairs: larder::Items<String, i32> = cache.iter();
    /// assert!(pairs.next().is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Items<K, V>, (K, V), |walk, raw| {
        Ok((K::decode(&raw.key)?, value::decode(&walk.cache.codec, raw.facts.kind, &raw.value)?))
    }
}

walk! {
    /// The items of a cache with all that is known about them, in no order. Made by [`Cache::entries`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let mut entries: larder::Entries<String, i32> = cache.entries();
    /// assert!(entries.next().is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Entries<K, V>, (K, Entry<V>), |walk, raw| Ok((K::decode(&raw.key)?, walk.entry_of(&raw)?))
}

walk! {
    /// The keys of a cache, in no order. Made by [`Cache::keys`] and [`Cache::keys_tagged`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let mut keys: larder::Keys<String> = cache.keys();
    /// assert!(keys.next().is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Keys<K>, K, |_, raw| K::decode(&raw.key)
}

impl<C: Codec> Cache<C> {
    /// All live items, in no order, streaming: one bucket of the index at a time is held in memory.
    ///
    /// Other threads and processes may change the cache meanwhile. A key that stays is met exactly once; one that comes or
    /// goes may be met or not. An item whose key or value is of another type is an `Err`, and the walk goes on.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set_many([("a", 1), ("b", 2)])?;
    /// let mut pairs = cache.iter::<String, i32>().collect::<Result<Vec<_>, _>>()?;
    /// pairs.sort();
    /// assert_eq!(pairs, [("a".into(), 1), ("b".into(), 2)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter<K: OwnedKey, V: DeserializeOwned>(&self) -> Items<K, V, C> {
        Items::over(Walk::new(self, true))
    }

    /// All live items with expiry and tag; the rest as [`iter`](Cache::iter).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set_with("a", &1, larder::SetOptions::new().tag("t"))?;
    /// for entry in cache.entries::<String, i32>() {
    ///     let (key, entry) = entry?;
    ///     assert_eq!((key.as_str(), entry.tag.as_deref()), ("a", Some("t")));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn entries<K: OwnedKey, V: DeserializeOwned>(&self) -> Entries<K, V, C> {
        Entries::over(Walk::new(self, true))
    }

    /// The keys of all live items; the rest as [`iter`](Cache::iter). [`AnyKey`](crate::AnyKey) takes keys of every type.
    ///
    /// ```
    /// use larder::AnyKey;
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set("a", &1)?;
    /// cache.set((1, 2), &2)?;
    /// assert_eq!(cache.keys::<AnyKey>().count(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keys<K: OwnedKey>(&self) -> Keys<K, C> {
        Keys::over(Walk::new(self, false))
    }

    /// The keys of the live items with a tag; the rest as [`iter`](Cache::iter). Looks at every item.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set_with("a", &1, larder::SetOptions::new().tag("t"))?;
    /// cache.set("b", &2)?;
    /// let keys = cache.keys_tagged::<String>("t")?.collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(keys, ["a"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keys_tagged<K: OwnedKey>(&self, tag: &str) -> Result<Keys<K, C>> {
        checked_tag(&SetOptions::new().tag(tag))?;
        Ok(Keys::over(Walk::tagged(self, tag)?))
    }
}
