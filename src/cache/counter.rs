//! Counting, and comparing before storing: decisions that are taken and carried out as one.

use serde::Serialize;

use super::change::inline;
use super::{Cache, checked_tag};
use crate::codec::Codec;
use crate::engine::{Counter, DecidedValue, Decision, OwnedTag};
use crate::error::{Error, Result};
use crate::key::Key;
use crate::options::SetOptions;
use crate::value;

impl<C: Codec> Cache<C> {
    /// Adds to the integer under a key and gives the sum; a missing key starts at 0. Expiry and tag are kept. Concurrent
    /// calls, of other processes too, all count.
    ///
    /// # Errors
    /// [`Error::NotAnInteger`] or [`Error::Overflow`]; the value is unchanged.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// assert_eq!(cache.incr("visits", 1)?, 1);
    /// assert_eq!(cache.incr("visits", 10)?, 11);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "fetch_add")]
    pub fn incr(&self, key: impl Key, delta: i64) -> Result<i64> {
        self.incr_with(key, delta, 0, SetOptions::new())
    }

    /// Subtracts from the integer under a key; the rest as [`incr`](Cache::incr).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set("stock", &3)?;
    /// assert_eq!(cache.decr("stock", 1)?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn decr(&self, key: impl Key, delta: i64) -> Result<i64> {
        self.count_by(key, 0, SetOptions::new(), |value| value.checked_sub(delta))
    }

    /// As [`incr`](Cache::incr), where a missing key starts at `default` and gets the options. A key that is there keeps its
    /// own expiry and tag.
    ///
    /// ```
    /// use larder::SetOptions;
    /// use std::time::Duration;
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let window = || SetOptions::new().expire(Duration::from_secs(60));
    /// assert_eq!(cache.incr_with("requests", 1, 100, window())?, 101);
    /// assert_eq!(cache.incr_with("requests", 1, 100, window())?, 102);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn incr_with(&self, key: impl Key, delta: i64, default: i64, options: SetOptions<'_>) -> Result<i64> {
        self.count_by(key, default, options, |value| value.checked_add(delta))
    }

    fn count_by(
        &self,
        key: impl Key,
        default: i64,
        options: SetOptions<'_>,
        change: impl Fn(i64) -> Option<i64>,
    ) -> Result<i64> {
        let hashed = self.hashed(&key)?;
        let tag = checked_tag(&options)?;
        let sum = self.store.update(hashed.bytes(), |present, buffer| {
            let (before, expires, tag) = match present {
                Some(present) if present.header().is_large() => return Err(Error::NotAnInteger),
                Some(present) => {
                    let stored = present.value().ok_or_else(|| present.damaged(self.directory()))?;
                    let before = value::as_integer(present.header().kind, &stored)?;
                    let expires = Some(present.header().expires).filter(|&at| at != u64::MAX);
                    (before, expires, OwnedTag::Id(present.header().tag))
                }
                None => {
                    let tag = tag.map_or(OwnedTag::None, |tag| OwnedTag::Named(tag.to_owned()));
                    (default, self.expiry(options.expire), tag)
                }
            };
            let sum = change(before).ok_or(Error::Overflow)?;
            let encoded = value::from_integer(sum);
            let value = DecidedValue::short(encoded.bytes()).unwrap_or_else(|| {
                buffer.extend_from_slice(encoded.bytes());
                DecidedValue::Buffer
            });
            Ok((Decision::Put { kind: encoded.kind, expires, tag, value }, sum))
        })?;
        self.store.count(Counter::Stores, 1);
        Ok(sum)
    }

    /// Replaces the value of a key if it is what the caller thinks it is, and says whether it did. `None` stands for an
    /// absent key on both sides: expecting `None` adds, and a new `None` removes. Values are compared as they are
    /// stored, so two types that encode differently differ. Expiry and tag of a key that stays are kept.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// assert!(cache.compare_and_set("leader", None, Some("a"))?);
    /// assert!(!cache.compare_and_set("leader", Some("b"), Some("c"))?);
    /// assert!(cache.compare_and_set("leader", Some("a"), None)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "compare_exchange")]
    pub fn compare_and_set<V: Serialize + ?Sized>(
        &self,
        key: impl Key,
        expected: Option<&V>,
        new: Option<&V>,
    ) -> Result<bool> {
        self.exchange(key, expected, new, None)
    }

    /// As [`compare_and_set`](Cache::compare_and_set), with expiry and tag for the new value.
    ///
    /// ```
    /// use larder::SetOptions;
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set("state", "idle")?;
    /// let options = SetOptions::new().tag("jobs");
    /// assert!(cache.compare_and_set_with("state", Some("idle"), Some("busy"), options)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn compare_and_set_with<V: Serialize + ?Sized>(
        &self,
        key: impl Key,
        expected: Option<&V>,
        new: Option<&V>,
        options: SetOptions<'_>,
    ) -> Result<bool> {
        self.exchange(key, expected, new, Some(options))
    }

    fn exchange<V: Serialize + ?Sized>(
        &self,
        key: impl Key,
        expected: Option<&V>,
        new: Option<&V>,
        options: Option<SetOptions<'_>>,
    ) -> Result<bool> {
        let hashed = self.hashed(&key)?;
        let expected = expected.map(|value| value::encode(&self.codec, value)).transpose()?;
        let new = new.map(|value| value::encode(&self.codec, value)).transpose()?;
        let draft = new.as_ref().map(|new| self.draft_if_large(new.bytes())).transpose()?.flatten();
        let keeps = options.is_none();
        let options = options.unwrap_or_default();
        let put = new.as_ref().map(|new| self.decided(new, draft.as_ref(), &options)).transpose()?;
        let changed = self.store.update(hashed.bytes(), |present, buffer| {
            let matches = match (&expected, present) {
                (None, None) => true,
                (Some(expected), Some(present)) => {
                    expected.kind == present.header().kind && self.stored_bytes(present)? == expected.bytes()
                }
                _ => false,
            };
            let decision = match (matches, put) {
                (false, _) => return Ok((Decision::Keep, false)),
                (true, None) if present.is_none() => Decision::Keep,
                (true, None) => Decision::Remove,
                (true, Some(Decision::Put { kind, expires, tag, value })) => {
                    if let Some(new) = &new {
                        buffer.extend_from_slice(inline(new, draft.is_some()));
                    }
                    match present.filter(|_| keeps) {
                        Some(present) => Decision::Put {
                            kind,
                            expires: Some(present.header().expires).filter(|&at| at != u64::MAX),
                            tag: OwnedTag::Id(present.header().tag),
                            value,
                        },
                        None => Decision::Put { kind, expires, tag, value },
                    }
                }
                (true, Some(other)) => other,
            };
            Ok((decision, true))
        })?;
        let counter = if new.is_some() { Counter::Stores } else { Counter::Removals };
        self.store.count(counter, (changed && (new.is_some() || expected.is_some())).into());
        Ok(changed)
    }

    /// The encoded value of a record, of a large one too.
    fn stored_bytes(&self, present: &super::Found<'_>) -> Result<Vec<u8>> {
        let damaged = || present.damaged(self.directory());
        if present.header().is_large() {
            return self.store.read_large(present.large().ok_or_else(damaged)?);
        }
        present.value().ok_or_else(damaged)
    }
}
