//! Many items in one call.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Cache;
use crate::calls::{self, Taken, Whole, Written, checked_tag};
use crate::codec::Codec;
use crate::engine::{Change, Counter, Label, Op, Put, Tag, Value};
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
        checked_tag(&options)?;
        let pairs = pairs.into_iter();
        let mut gathered = Pairs::with_capacity(pairs.size_hint().0.clamp(4, PAIRS_AHEAD));
        let mut buffer = EncodedKey::new();
        for (key, value) in pairs {
            let key = key::encode_into(&key, &mut buffer)?;
            value::encode_with(&self.codec, &value, |kind, bytes| gathered.add(&*self.store, key, kind, bytes))??;
        }
        gathered.store(&*self.store, &options)
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

/// The pairs of one `set_many`, encoded.
struct Pairs<'s> {
    arena: Arena,
    pairs: Vec<Pair>,
    drafts: Vec<Box<dyn Written + 's>>,
}

impl<'s> Pairs<'s> {
    fn with_capacity(pairs: usize) -> Pairs<'s> {
        let arena = Arena { bytes: Vec::with_capacity(pairs * PAIR_BYTES) };
        Pairs { arena, pairs: Vec::with_capacity(pairs), drafts: Vec::new() }
    }

    /// A large value goes to its file at once, so that no two of them are in memory.
    fn add(&mut self, store: &'s dyn Whole, key: &[u8], kind: u8, bytes: &[u8]) -> Result<()> {
        let (at, store) = (self.arena.add(key), store.of(key));
        let mut pair = Pair { hash: store.hash(key), key: at.start, value: at.end, end: at.end, kind, draft: None };
        if let Some(draft) = store.draft(bytes)? {
            pair.draft = Some(self.drafts.len());
            self.drafts.push(draft);
        } else {
            pair.end = self.arena.add(bytes).end;
        }
        self.pairs.push(pair);
        Ok(())
    }

    fn store(mut self, store: &dyn Whole, options: &SetOptions<'_>) -> Result<()> {
        let tag = checked_tag(options)?.map_or(Tag::None, |tag| Tag::Named(Label::tag(tag)));
        let expires = calls::expiry(store, options.expire);
        if !all_differ(&self.pairs) {
            self.pairs = last_of_each(&self.arena, &self.pairs);
        }
        let Pairs { arena, pairs, drafts } = &self;
        let op = |pair: &Pair| {
            let draft = pair.draft.and_then(|at| drafts.get(at));
            let value = draft.map_or(Value::Inline(&arena.bytes[pair.value..pair.end]), |draft| draft.value());
            let change = Change::Put(Put { kind: pair.kind, value, expires, tag });
            Op { key: pair.key(arena), hash: pair.hash, change }
        };
        let ops: Vec<Op<'_>> = pairs.iter().map(op).collect();
        if !ops.is_empty() {
            store.batch(&ops)?;
            store.count(Counter::Stores, ops.len() as u64);
        }
        Ok(())
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
