//! Reading one item.

use std::ops::Deref;
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;

use super::Cache;
use crate::calls::{Borrowed, Calls, Facts, with_buffer};
use crate::codec::{Codec, Postcard};
use crate::error::{Error, Result};
use crate::key::{self, EncodedKey, Key};
use crate::value;

/// An item with what is known about it. Made by [`Cache::entry`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let cache = larder::Cache::open(&dir)?;
/// cache.set("k", "value")?;
/// let entry = cache.entry::<String>("k")?.unwrap();
/// assert_eq!((entry.value.as_str(), entry.tag, entry.expires_at), ("value", None, None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry<V> {
    /// The value.
    pub value: V,
    /// When it expires; `None` for never.
    pub expires_at: Option<SystemTime>,
    /// Its tag. `None` if it has none; also, rarely, if the item and all others of its tag were removed while this was read.
    pub tag: Option<String>,
    /// Length of the encoded value, in bytes.
    pub size: u64,
}

/// A value's bytes, borrowed from the mapped log or from the mapped file of a large value. Made by [`Cache::get_ref`].
///
/// The bytes stay what they are while this lives, whatever becomes of the item; the disk space of a value that was
/// replaced is given back after it is dropped, so do not keep many for long.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let cache = larder::Cache::open(&dir)?;
/// cache.set_bytes("k", b"bytes")?;
/// let value = cache.get_ref("k")?.unwrap();
/// cache.delete("k")?;
/// assert_eq!(&*value, b"bytes");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ValueRef<C: Codec = Postcard> {
    bytes: Borrowed,
    /// Of what the bytes begin with.
    len: usize,
    kind: u8,
    codec: C,
}

impl<C: Codec> Deref for ValueRef<C> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl<C: Codec> std::fmt::Debug for ValueRef<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ValueRef").field("kind", &value::kind_name(self.kind)).field("len", &self.len()).finish()
    }
}

impl<C: Codec> ValueRef<C> {
    /// Decodes the value, as [`Cache::get`] would have.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set("k", &vec![1, 2, 3])?;
    /// assert_eq!(cache.get_ref("k")?.unwrap().decode::<Vec<i32>>()?, [1, 2, 3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn decode<V: DeserializeOwned>(&self) -> Result<V> {
        value::decode(&self.codec, self.kind, &self.bytes)
    }
}

impl<C: Codec> Cache<C> {
    /// The value of a key, or `None` if it is absent or has expired. Takes no lock, and makes no system call but to
    /// map a file of the log that it meets for the first time, and for [large values](crate#large-values).
    ///
    /// # Errors
    /// [`Error::Type`] if the value was stored as another type, [`Error::Codec`] if it cannot be decoded,
    /// [`Error::KeyTooLarge`], [`Error::Corrupt`]; of a read-only handle [`Error::Timeout`], if others change the key so often that it
    /// can't be read without the lock.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set("k", &5u8)?;
    /// assert_eq!(cache.get::<i64>("k")?, Some(5));
    /// assert_eq!(cache.get::<i64>("absent")?, None);
    /// assert!(cache.get::<String>("k").unwrap_err().is_type());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get<V: DeserializeOwned>(&self, key: impl Key) -> Result<Option<V>> {
        self.with_value(&key, |_, facts, bytes| value::decode(&self.codec, facts.kind, bytes))
    }

    /// The bytes stored by [`set_bytes`](Cache::set_bytes), or those of a string. [`Error::Type`] for other values.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set_bytes("k", &[0, 255])?;
    /// assert_eq!(cache.get_bytes("k")?, Some(vec![0, 255]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_bytes(&self, key: impl Key) -> Result<Option<Vec<u8>>> {
        let (mut buffer, mut bytes) = (EncodedKey::new(), Vec::new());
        let key = key::encode_into(&key, &mut buffer)?;
        let found = self.store.of(key).get(key, &mut bytes)?;
        let Some(facts) = found else { return Ok(None) };
        match value::Kind::from_byte(facts.kind)? {
            value::Kind::Bytes | value::Kind::Text => Ok(Some(bytes)),
            value::Kind::Streamed => {
                bytes.truncate(value::content_len(facts.kind, &bytes)?);
                Ok(Some(bytes))
            }
            _ => Err(Error::mismatch("bytes", value::kind_name(facts.kind))),
        }
    }

    /// The encoded bytes of a value without a copy. For strings and byte strings they are the value; for others, see
    /// [`ValueRef::decode`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set("k", "text")?;
    /// assert_eq!(&*cache.get_ref("k")?.unwrap(), b"text");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_ref(&self, key: impl Key) -> Result<Option<ValueRef<C>>> {
        let mut buffer = EncodedKey::new();
        let key = key::encode_into(&key, &mut buffer)?;
        let found = self.store.of(key).borrow(key)?;
        let Some((bytes, kind)) = found else { return Ok(None) };
        let len = value::content_len(kind, &bytes)?;
        Ok(Some(ValueRef { bytes, len, kind, codec: self.codec.clone() }))
    }

    /// The value of a key with its expiry, tag and size.
    ///
    /// ```
    /// use larder::SetOptions;
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set_with("k", "value", SetOptions::new().tag("t"))?;
    /// let entry = cache.entry::<String>("k")?.unwrap();
    /// assert_eq!((entry.tag.as_deref(), entry.size), (Some("t"), 5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn entry<V: DeserializeOwned>(&self, key: impl Key) -> Result<Option<Entry<V>>> {
        self.with_value(&key, |store, facts, bytes| self.entry_of(facts, bytes, store.tag_name(facts)?))
    }

    /// True if the key is there and has not expired. The value is not read, and nothing is counted.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set("k", "v")?;
    /// assert!(cache.contains("k")? && !cache.contains("absent")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "contains_key")]
    pub fn contains(&self, key: impl Key) -> Result<bool> {
        let mut buffer = EncodedKey::new();
        let key = key::encode_into(&key, &mut buffer)?;
        self.store.of(key).contains(key)
    }

    /// Reads a value into the thread's buffer, counts, and decodes it there.
    fn with_value<R>(
        &self,
        key: &impl Key,
        decode: impl FnOnce(&dyn Calls, &Facts, &[u8]) -> Result<R>,
    ) -> Result<Option<R>> {
        let mut encoded = EncodedKey::new();
        let key = key::encode_into(key, &mut encoded)?;
        let store = self.store.of(key);
        with_buffer(|buffer| match store.get(key, buffer) {
            Ok(Some(facts)) => decode(store, &facts, buffer).map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        })
    }

    pub(super) fn entry_of<V: DeserializeOwned>(
        &self,
        facts: &Facts,
        bytes: &[u8],
        tag: Option<String>,
    ) -> Result<Entry<V>> {
        Ok(Entry {
            value: value::decode(&self.codec, facts.kind, bytes)?,
            expires_at: system_time(facts.expires),
            tag,
            size: value::content_len(facts.kind, bytes)? as u64,
        })
    }
}

/// `None` for never.
fn system_time(expires: u64) -> Option<SystemTime> {
    if expires == u64::MAX { None } else { SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(expires)) }
}
