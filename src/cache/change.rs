//! Storing and removing one item.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Cache;
use crate::calls::{self, Calls, Written};
use crate::codec::Codec;
use crate::engine::{Counter, DecidedValue, Decision, OwnedTag};
use crate::error::Result;
use crate::key::{self, EncodedKey, Key};
use crate::options::SetOptions;
use crate::value::{self, EncodedValue};

impl<C: Codec> Cache<C> {
    /// Stores a value, replacing value, expiry and tag of the key. When it returns, every process sees the new value, and
    /// the death of any of them leaves it there.
    ///
    /// Costs one append, and a system call for every 64 KiB of the log; one for a value of 8 KiB and more, and some for [large values](crate#large-values).
    ///
    /// A `Vec<u8>` is a list of numbers here: see [`set_bytes`](Cache::set_bytes).
    ///
    /// # Errors
    /// [`Error::Full`](crate::Error::Full), [`Error::ValueTooLarge`](crate::Error::ValueTooLarge),
    /// [`Error::KeyTooLarge`](crate::Error::KeyTooLarge), [`Error::Timeout`](crate::Error::Timeout),
    /// [`Error::Codec`](crate::Error::Codec). After an error the key is as it was,
    /// except under [`Durability::Sync`](crate::Durability::Sync), after
    /// [`Error::NotDurable`](crate::Error::NotDurable): then the change is made.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set("text", "a string")?;
    /// cache.set(("user", 7), &vec!["a", "list"])?;
    /// assert_eq!(cache.get::<Vec<String>>(("user", 7))?.unwrap(), ["a", "list"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "insert")]
    #[doc(alias = "put")]
    pub fn set<V: Serialize + ?Sized>(&self, key: impl Key, value: &V) -> Result<()> {
        self.set_with(key, value, SetOptions::new())
    }

    /// Stores a value with expiry and tag.
    ///
    /// ```
    /// use larder::SetOptions;
    /// use std::time::Duration;
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set_with("rate", &1.08, SetOptions::new().expire(Duration::from_secs(600)).tag("rates"))?;
    /// assert!(cache.entry::<f64>("rate")?.unwrap().expires_at.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_with<V: Serialize + ?Sized>(&self, key: impl Key, value: &V, options: SetOptions<'_>) -> Result<()> {
        let mut stored = Ok(());
        value::encode_with(&self.codec, value, |kind, bytes| stored = self.put(&key, kind, bytes, &options))?;
        if stored.is_ok() {
            // Without a copy of what is as long as an error.
            return Ok(());
        }
        stored
    }

    /// Stores bytes as they are, without serde: read them with [`get_bytes`](Cache::get_bytes) or
    /// [`get_ref`](Cache::get_ref).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set_bytes("image", &[137, 80, 78, 71])?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_bytes(&self, key: impl Key, bytes: &[u8]) -> Result<()> {
        self.set_bytes_with(key, bytes, SetOptions::new())
    }

    /// Stores bytes with expiry and tag.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set_bytes_with("image", b"...", larder::SetOptions::new().tag("images"))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_bytes_with(&self, key: impl Key, bytes: &[u8], options: SetOptions<'_>) -> Result<()> {
        self.put(&key, value::Kind::Bytes as u8, bytes, &options)
    }

    fn put(&self, key: &impl Key, kind: u8, bytes: &[u8], options: &SetOptions<'_>) -> Result<()> {
        // Encoded where it stays: to move the buffer would cost as much as to hash the key.
        let mut buffer = EncodedKey::new();
        let key = key::encode_into(key, &mut buffer)?;
        self.store.of(key).put(key, kind, bytes, options)
    }

    /// Stores a value if the key is absent or has expired, and says whether it did. Of several processes that try at once,
    /// exactly one succeeds.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// assert!(cache.add("k", &1)?);
    /// assert!(!cache.add("k", &2)?);
    /// assert_eq!(cache.get::<i32>("k")?, Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add<V: Serialize + ?Sized>(&self, key: impl Key, value: &V) -> Result<bool> {
        self.add_with(key, value, SetOptions::new())
    }

    /// As [`add`](Cache::add), with expiry and tag.
    ///
    /// ```
    /// use std::time::Duration;
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let turn = larder::SetOptions::new().expire(Duration::from_secs(5));
    /// assert!(cache.add_with("turn", "me", turn)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add_with<V: Serialize + ?Sized>(&self, key: impl Key, value: &V, options: SetOptions<'_>) -> Result<bool> {
        let mut buffer = EncodedKey::new();
        let key = key::encode_into(&key, &mut buffer)?;
        let store = self.store.of(key);
        if store.uses(key)? {
            return Ok(false);
        }
        add(store, key, &value::encode(&self.codec, value)?, &options)
    }

    /// Gives a key another expiry, `None` for never, and keeps value and tag. False if the key is absent or has expired.
    ///
    /// Appends a copy of the record to the log; a [large value](crate#large-values) is not copied.
    ///
    /// ```
    /// use std::time::Duration;
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set("k", "v")?;
    /// assert!(cache.touch("k", Some(Duration::from_secs(60)))?);
    /// assert!(!cache.touch("absent", None)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn touch(&self, key: impl Key, expire: Option<Duration>) -> Result<bool> {
        let mut buffer = EncodedKey::new();
        let key = key::encode_into(&key, &mut buffer)?;
        touch(self.store.of(key), key, expire)
    }

    /// Removes a key and gives its value; `None` if it is absent or has expired. Of several processes that pop at once, one
    /// gets the value. If the value cannot be decoded, it stays.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set("k", "v")?;
    /// assert_eq!(cache.pop::<String>("k")?.as_deref(), Some("v"));
    /// assert_eq!(cache.pop::<String>("k")?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "take")]
    pub fn pop<V: DeserializeOwned>(&self, key: impl Key) -> Result<Option<V>> {
        let mut buffer = EncodedKey::new();
        let key = key::encode_into(&key, &mut buffer)?;
        let (store, mut bytes) = (self.store.of(key), Vec::new());
        loop {
            // Decoding is the caller's code and runs outside the lock; what was decoded is removed only if it is still
            // what is stored.
            let Some(facts) = store.read(key, &mut bytes)? else { return Ok(None) };
            let value = value::decode(&self.codec, facts.kind, &bytes)?;
            if remove_same(store, key, facts.sequence)? {
                return Ok(Some(value));
            }
        }
    }

    /// Removes a key. False if it is absent or has expired.
    ///
    /// Works on a full store too. A key that is absent may have been evicted: once the store has evicted anything, its
    /// removal is written down as well, so that no power cut brings back what was deleted and synced. (Under
    /// `Eviction::None` it is not: what was evicted under another policy before may come back.)
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set("k", "v")?;
    /// assert!(cache.delete("k")?);
    /// assert!(!cache.delete("k")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "remove")]
    pub fn delete(&self, key: impl Key) -> Result<bool> {
        let mut buffer = EncodedKey::new();
        let key = key::encode_into(&key, &mut buffer)?;
        self.store.of(key).remove(key)
    }
}

fn add(store: &dyn Calls, key: &[u8], value: &EncodedValue, options: &SetOptions<'_>) -> Result<bool> {
    let draft = store.draft(value.bytes())?;
    let put = decided(store, value, draft.as_deref(), options)?;
    let mut added = false;
    store.update(key, &mut |present, buffer| {
        added = present.is_none();
        if !added {
            return Ok(Decision::Keep);
        }
        buffer.extend_from_slice(inline(value, draft.is_some()));
        Ok(put.clone())
    })?;
    store.count(Counter::Stores, added.into());
    Ok(added)
}

fn touch(store: &dyn Calls, key: &[u8], expire: Option<Duration>) -> Result<bool> {
    let expires = calls::expiry(store, expire);
    let mut touched = false;
    store.update(key, &mut |present, buffer| {
        touched = present.is_some();
        let Some(present) = present else { return Ok(Decision::Keep) };
        let damaged = || present.damaged(store.directory());
        let value = if present.header().is_large() {
            DecidedValue::Same(present.large().ok_or_else(damaged)?)
        } else {
            *buffer = present.value().ok_or_else(damaged)?;
            DecidedValue::Buffer
        };
        let tag = OwnedTag::Id(present.header().tag);
        Ok(Decision::Put { kind: present.header().kind, expires, tag, value })
    })?;
    Ok(touched)
}

/// Removes a key if its record is still the one of that sequence.
fn remove_same(store: &dyn Calls, key: &[u8], sequence: u64) -> Result<bool> {
    let mut same = false;
    store.update(key, &mut |present, _| {
        same = present.is_some_and(|present| present.header().sequence == sequence);
        Ok(if same { Decision::Remove } else { Decision::Keep })
    })?;
    store.count(Counter::Removals, same.into());
    Ok(same)
}

/// A decision to store an encoded value.
pub(super) fn decided(
    store: &dyn Calls,
    encoded: &EncodedValue,
    draft: Option<&(dyn Written + '_)>,
    options: &SetOptions<'_>,
) -> Result<Decision> {
    let tag = store.tag_of(options)?;
    let value = draft.map_or(DecidedValue::Buffer, Written::decided);
    Ok(Decision::Put { kind: encoded.kind, expires: calls::expiry(store, options.expire), tag, value })
}

/// The bytes that go into the record itself.
pub(super) fn inline(encoded: &EncodedValue, is_large: bool) -> &[u8] {
    if is_large { &[] } else { encoded.bytes() }
}
