//! Many items in one call.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Cache, Hashed, checked_tag};
use crate::codec::Codec;
use crate::engine::{Change, Counter, Op, Put, Tag, Value};
use crate::error::Result;
use crate::key::{self, EncodedKey, Key};
use crate::options::SetOptions;
use crate::value;

/// Bytes of one call's keys and values, end to end.
#[derive(Default)]
struct Arena {
    bytes: Vec<u8>,
}

impl Arena {
    fn add(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }
}

/// What `get_many` has copied so far: for each key found, kind and place of its value.
struct Taken {
    arena: Arena,
    found: Vec<Option<(u8, std::ops::Range<usize>)>>,
}

/// One pair of `set_many`, encoded: where its bytes are, key before value.
#[derive(Clone, Copy)]
struct Pair {
    hash: u64,
    key: usize,
    value: usize,
    end: usize,
    kind: u8,
    /// Which of the drafts holds the value, if it is large.
    draft: Option<usize>,
}

impl Pair {
    fn key<'a>(&self, arena: &'a Arena) -> &'a [u8] {
        &arena.bytes[self.key..self.value]
    }
}

/// Bytes set aside for the key and the value of a pair before it is known.
const PAIR_BYTES: usize = 256;
/// Pairs that room is made for in advance, at most.
const PAIRS_AHEAD: usize = 256;
/// Up to this many keys are compared each with each.
const COMPARED: usize = 32;

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
        let mut arena = Arena::default();
        let mut places = Vec::new();
        for key in keys {
            let hashed = self.hashed(&key)?;
            places.push((arena.add(hashed.bytes()), hashed.hash));
        }
        let keys: Vec<(&[u8], u64)> = places.iter().map(|(key, hash)| (&arena.bytes[key.clone()], *hash)).collect();
        let mut taken = Taken { arena: Arena::default(), found: vec![None; keys.len()] };
        let restart = |taken: &mut Taken| {
            taken.arena.bytes.clear();
            taken.found.fill(None);
        };
        self.store.read_many(&keys, &mut taken, restart, |Taken { arena, found }, i, record| {
            let start = arena.bytes.len();
            if record.header().is_large() {
                let reference = record.large().ok_or_else(|| record.damaged(self.directory()))?;
                arena.bytes.extend_from_slice(&self.store.read_large(reference)?);
            } else if !record.append_value(&mut arena.bytes) {
                return Err(record.damaged(self.directory()));
            }
            found[i] = Some((record.header().kind, start..arena.bytes.len()));
            Ok(())
        })?;
        let Taken { arena, found } = taken;
        let hits = found.iter().flatten().count() as u64;
        self.store.count(Counter::Hits, hits);
        self.store.count(Counter::Misses, found.len() as u64 - hits);
        found
            .into_iter()
            .map(|found| found.map(|(kind, range)| value::decode(&self.codec, kind, &arena.bytes[range])).transpose())
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
        let tag = checked_tag(&options)?.map_or(Tag::None, Tag::Named);
        let expires = self.expiry(options.expire);
        let pairs = pairs.into_iter();
        let ahead = pairs.size_hint().0.clamp(4, PAIRS_AHEAD);
        let mut arena = Arena { bytes: Vec::with_capacity(ahead * PAIR_BYTES) };
        let mut drafts: Vec<super::Draft<'_>> = Vec::new();
        let mut encoded: Vec<Pair> = Vec::with_capacity(ahead);
        let mut buffer = EncodedKey::new();
        for (key, value) in pairs {
            let bytes = key::encode_into(&key, &mut buffer)?;
            let hash = self.store.hash(bytes);
            let key = arena.add(bytes);
            let pair = value::encode_with(&self.codec, &value, |kind, bytes| {
                let mut pair = Pair { hash, key: key.start, value: key.end, end: key.end, kind, draft: None };
                if let Some(draft) = self.draft_if_large(bytes)? {
                    pair.draft = Some(drafts.len());
                    drafts.push(draft);
                } else {
                    pair.end = arena.add(bytes).end;
                }
                Ok(pair)
            })?;
            encoded.push(pair?);
        }
        if !all_differ(&encoded) {
            encoded = last_of_each(&arena, &encoded);
        }
        let op = |pair: &Pair| {
            let value = match pair.draft.and_then(|at| drafts.get(at)) {
                Some(draft) => Value::Draft { number: draft.number, len: draft.len, crc: draft.crc },
                None => Value::Inline(&arena.bytes[pair.value..pair.end]),
            };
            let change = Change::Put(Put { kind: pair.kind, value, expires, tag });
            Op { key: pair.key(&arena), hash: pair.hash, change }
        };
        let ops: Vec<Op<'_>> = encoded.iter().map(op).collect();
        if !ops.is_empty() {
            self.store.batch(&ops)?;
            self.store.count(Counter::Stores, ops.len() as u64);
        }
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
        let mut hashed: Vec<Hashed> = Vec::new();
        for key in keys {
            hashed.push(self.hashed(&key)?);
        }
        hashed.sort_unstable_by(|a, b| (a.hash, a.bytes()).cmp(&(b.hash, b.bytes())));
        hashed.dedup_by(|a, b| a.bytes() == b.bytes());
        let ops: Vec<Op<'_>> =
            hashed.iter().map(|h| Op { key: h.bytes(), hash: h.hash, change: Change::Remove }).collect();
        if ops.is_empty() {
            return Ok(0);
        }
        let removed = self.store.batch(&ops)?;
        self.store.count(Counter::Removals, removed);
        Ok(removed)
    }
}

/// True if no two pairs have the same hash, and so the same key. Nearly always so.
fn all_differ(pairs: &[Pair]) -> bool {
    if pairs.len() <= COMPARED {
        return pairs.iter().enumerate().all(|(i, pair)| pairs[..i].iter().all(|other| other.hash != pair.hash));
    }
    let mut hashes: Vec<u64> = pairs.iter().map(|pair| pair.hash).collect();
    hashes.sort_unstable();
    hashes.windows(2).all(|two| two[0] != two[1])
}

/// The last pair of each key, in the order of their places.
fn last_of_each(arena: &Arena, pairs: &[Pair]) -> Vec<Pair> {
    let mut order: Vec<usize> = (0..pairs.len()).collect();
    let key = |i: usize| (pairs[i].hash, pairs[i].key(arena));
    order.sort_by(|&a, &b| key(a).cmp(&key(b)).then(b.cmp(&a)));
    order.dedup_by(|a, b| key(*a) == key(*b));
    order.sort_unstable();
    order.into_iter().map(|i| pairs[i]).collect()
}
