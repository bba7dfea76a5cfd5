//! Counting, and comparing before storing: decisions that are taken and carried out as one.

use serde::Serialize;

use super::Cache;
use super::change::{decided, inline};
use crate::calls::{self, Calls, Record};
use crate::codec::Codec;
use crate::engine::{Counter, DecidedValue, Decision, OwnedTag};
use crate::error::{Error, Result};
use crate::key::{self, EncodedKey, Key};
use crate::options::SetOptions;
use crate::value::{self, EncodedValue};

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
        let mut buffer = EncodedKey::new();
        let key = key::encode_into(&key, &mut buffer)?;
        add(self.store.of(key), key, &|value| value.checked_sub(delta), 0, &SetOptions::new())
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
        let mut buffer = EncodedKey::new();
        let key = key::encode_into(&key, &mut buffer)?;
        add(self.store.of(key), key, &|value| value.checked_add(delta), default, &options)
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
        self.exchange(key, expected, new, SetOptions::new())
    }

    /// As [`compare_and_set`](Cache::compare_and_set), with an expiry or a tag for the new value: what the options do not name
    /// stays as it is.
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
        self.exchange(key, expected, new, options)
    }

    fn exchange<V: Serialize + ?Sized>(
        &self,
        key: impl Key,
        expected: Option<&V>,
        new: Option<&V>,
        options: SetOptions<'_>,
    ) -> Result<bool> {
        let mut buffer = EncodedKey::new();
        let key = key::encode_into(&key, &mut buffer)?;
        let expected = expected.map(|value| value::encode(&self.codec, value)).transpose()?;
        let new = new.map(|value| value::encode(&self.codec, value)).transpose()?;
        let (expected, new) = (expected.as_ref(), new.as_ref());
        exchange(self.store.of(key), key, expected, new, options)
    }
}

fn add(
    store: &dyn Calls,
    key: &[u8],
    change: &dyn Fn(i64) -> Option<i64>,
    default: i64,
    options: &SetOptions<'_>,
) -> Result<i64> {
    let tag = store.tag_of(options)?;
    let mut sum = default;
    store.update(key, &mut |present, buffer| {
        let (before, expires, tag) = match present {
            Some(present) if present.header().is_large() => return Err(Error::NotAnInteger),
            Some(present) => {
                let before = value::as_integer(present.header().kind, &store.value(present)?)?;
                (before, lasting(present), OwnedTag::Id(present.header().tag))
            }
            None => (default, calls::expiry(store, options.expire), tag.clone()),
        };
        sum = change(before).ok_or(Error::Overflow)?;
        let encoded = value::from_integer(sum);
        let value = DecidedValue::short(encoded.bytes()).unwrap_or_else(|| {
            buffer.extend_from_slice(encoded.bytes());
            DecidedValue::Buffer
        });
        Ok(Decision::Put { kind: encoded.kind, expires, tag, value })
    })?;
    store.count(Counter::Stores, 1);
    Ok(sum)
}

/// When a record expires; `None` for never.
fn lasting(present: &Record<'_>) -> Option<u64> {
    Some(present.header().expires).filter(|&at| at != u64::MAX)
}

fn exchange(
    store: &dyn Calls,
    key: &[u8],
    expected: Option<&EncodedValue>,
    new: Option<&EncodedValue>,
    options: SetOptions<'_>,
) -> Result<bool> {
    let draft = new.map(|new| store.draft(new.bytes())).transpose()?.flatten();
    let put = new.map(|new| decided(store, new, draft.as_deref(), &options)).transpose()?;
    let mut changed = false;
    store.update(key, &mut |present, buffer| {
        changed = match (expected, present) {
            (None, None) => true,
            (Some(expected), Some(present)) => {
                expected.kind == present.header().kind && store.value(present)? == expected.bytes()
            }
            _ => false,
        };
        if !changed {
            return Ok(Decision::Keep);
        }
        if let Some(new) = new {
            buffer.extend_from_slice(inline(new, draft.is_some()));
        }
        Ok(match (put.clone(), present) {
            (None, None) => Decision::Keep,
            (None, Some(_)) => Decision::Remove,
            (Some(Decision::Put { kind, value, expires, tag }), Some(present)) => Decision::Put {
                kind,
                expires: if options.expire.is_some() { expires } else { lasting(present) },
                tag: if options.tag.is_some() { tag } else { OwnedTag::Id(present.header().tag) },
                value,
            },
            (Some(put), _) => put,
        })
    })?;
    let counter = if new.is_some() { Counter::Stores } else { Counter::Removals };
    store.count(counter, (changed && (new.is_some() || expected.is_some())).into());
    Ok(changed)
}
