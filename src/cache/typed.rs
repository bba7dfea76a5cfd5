//! A view of a cache with fixed types.

use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Cache, End, Entries, Entry, Items, Keys, OrderedItems};
use crate::codec::{Codec, Postcard};
use crate::error::{Error, Result};
use crate::key::OwnedKey;
use crate::options::SetOptions;

/// A [`Cache`] whose keys are `K` and whose values are `V`: its calls for items, the same store, no type to name at each.
///
/// It shares the store with every other handle; an item that another handle stored as another type is
/// [`Error::Type`](crate::Error::Type) here.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let prices = larder::Cache::open(&dir)?.typed::<String, f64>();
/// prices.set(&"tea".into(), &2.5)?;
/// assert_eq!(prices.get(&"tea".into())?, Some(2.5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TypedCache<K, V, C: Codec = Postcard> {
    cache: Cache<C>,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V, C: Codec> Clone for TypedCache<K, V, C> {
    fn clone(&self) -> Self {
        TypedCache { cache: self.cache.clone(), types: PhantomData }
    }
}

impl<K, V, C: Codec> std::fmt::Debug for TypedCache<K, V, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TypedCache").field(&self.cache).finish()
    }
}

impl<C: Codec> Cache<C> {
    /// This cache with fixed types.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let squares = larder::Cache::open(&dir)?.typed::<u32, u64>();
    /// squares.set(&12, &144)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn typed<K: OwnedKey, V: Serialize + DeserializeOwned>(&self) -> TypedCache<K, V, C> {
        TypedCache { cache: self.clone(), types: PhantomData }
    }
}

macro_rules! same_call {
    ($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) -> $answer:ty) => {
        $(#[$doc])*
        pub fn $name(&self, $($arg: $type),*) -> Result<$answer> {
            self.cache.$name($($arg),*)
        }
    };
}

/// ```
/// use larder::SetOptions;
/// use std::time::Duration;
/// # let dir = tempfile::tempdir()?;
/// let cache = larder::Cache::open(&dir)?.typed::<u32, String>();
/// cache.set(&1, &"one".into())?;
/// cache.set_with(&2, &"two".into(), SetOptions::new().tag("even"))?;
/// assert!(!cache.add(&1, &"uno".into())?);
/// assert!(cache.add_with(&3, &"three".into(), SetOptions::new())?);
/// assert_eq!(cache.entry(&2)?.unwrap().tag.as_deref(), Some("even"));
/// assert!(cache.contains(&1)? && cache.touch(&1, Some(Duration::from_secs(9)))?);
/// assert!(cache.compare_and_set(&1, Some(&"one".into()), Some(&"eins".into()))?);
/// cache.set_many([(4, "four".to_string()), (5, "five".to_string())])?;
/// assert_eq!(cache.get_many([4, 9])?, [Some("four".to_string()), None]);
/// assert_eq!(cache.delete_many([4, 9])?, 1);
/// assert_eq!(cache.pop(&5)?.as_deref(), Some("five"));
/// assert!(cache.delete(&3)?);
/// assert_eq!(cache.get_or_insert_with(&8, SetOptions::new(), || "eight".into())?, "eight");
/// assert_eq!(cache.try_get_or_insert_with(&8, SetOptions::new(), || Err(larder::Error::Full))?, "eight");
/// assert!(cache.delete(&8)?);
/// assert_eq!(cache.iter().count(), cache.keys().count());
/// assert_eq!(cache.entries().count(), 2);
/// assert_eq!(cache.keys_tagged("even")?.count(), 1);
/// assert_eq!(cache.iter_inserted()?.count(), 2);
/// assert_eq!(cache.peek_item(larder::End::Oldest)?, Some((1, "eins".into())));
/// assert_eq!(cache.cache().len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl<K: OwnedKey, V: Serialize + DeserializeOwned, C: Codec> TypedCache<K, V, C> {
    same_call! {
        /// See [`Cache::get`].
        get(key: &K) -> Option<V>
    }
    same_call! {
        /// See [`Cache::entry`].
        entry(key: &K) -> Option<Entry<V>>
    }
    same_call! {
        /// See [`Cache::contains`].
        contains(key: &K) -> bool
    }
    same_call! {
        /// See [`Cache::set`].
        set(key: &K, value: &V) -> ()
    }
    same_call! {
        /// See [`Cache::set_with`].
        set_with(key: &K, value: &V, options: SetOptions<'_>) -> ()
    }
    same_call! {
        /// See [`Cache::add`].
        add(key: &K, value: &V) -> bool
    }
    same_call! {
        /// See [`Cache::add_with`].
        add_with(key: &K, value: &V, options: SetOptions<'_>) -> bool
    }
    same_call! {
        /// See [`Cache::compare_and_set`].
        compare_and_set(key: &K, expected: Option<&V>, new: Option<&V>) -> bool
    }
    same_call! {
        /// See [`Cache::get_or_insert_with`].
        get_or_insert_with(key: &K, options: SetOptions<'_>, make: impl FnOnce() -> V) -> V
    }

    /// See [`Cache::try_get_or_insert_with`].
    pub fn try_get_or_insert_with<E: From<Error>>(
        &self,
        key: &K,
        options: SetOptions<'_>,
        make: impl FnOnce() -> Result<V, E>,
    ) -> Result<V, E> {
        self.cache.try_get_or_insert_with(key, options, make)
    }

    same_call! {
        /// See [`Cache::touch`].
        touch(key: &K, expire: Option<Duration>) -> bool
    }
    same_call! {
        /// See [`Cache::pop`].
        pop(key: &K) -> Option<V>
    }
    same_call! {
        /// See [`Cache::delete`].
        delete(key: &K) -> bool
    }
    same_call! {
        /// See [`Cache::get_many`].
        get_many(keys: impl IntoIterator<Item = K>) -> Vec<Option<V>>
    }
    same_call! {
        /// See [`Cache::set_many`].
        set_many(pairs: impl IntoIterator<Item = (K, V)>) -> ()
    }
    same_call! {
        /// See [`Cache::delete_many`].
        delete_many(keys: impl IntoIterator<Item = K>) -> u64
    }
    same_call! {
        /// See [`Cache::keys_tagged`].
        keys_tagged(tag: &str) -> Keys<K, C>
    }
    same_call! {
        /// See [`Cache::iter_inserted`].
        iter_inserted() -> OrderedItems<K, V, C>
    }
    same_call! {
        /// See [`Cache::peek_item`].
        peek_item(end: End) -> Option<(K, V)>
    }

    /// See [`Cache::iter`].
    pub fn iter(&self) -> Items<K, V, C> {
        self.cache.iter()
    }

    /// See [`Cache::entries`].
    pub fn entries(&self) -> Entries<K, V, C> {
        self.cache.entries()
    }

    /// See [`Cache::keys`].
    pub fn keys(&self) -> Keys<K, C> {
        self.cache.keys()
    }

    /// The cache itself, for the calls that need no types.
    pub fn cache(&self) -> &Cache<C> {
        &self.cache
    }
}
