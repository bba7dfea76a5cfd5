//! Many keys and values of one call, encoded, to be put in by one commit. It does not know what they were.

use std::ops::Range;

use super::{Whole, Written};
use crate::engine::{ByHash, Change, Op, Put, Tag, Value};
use crate::error::Result;

/// Bytes of one call's keys and values, end to end.
#[derive(Default)]
pub struct Arena {
    pub bytes: Vec<u8>,
}

impl Arena {
    pub fn add(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }
}

/// One pair: where its bytes are, key before value.
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
/// Pairs that room is made for in advance, at least and at most.
const PAIRS_AHEAD: (usize, usize) = (4, 256);
/// Up to this many keys are compared each with each.
const COMPARED: usize = 32;

/// The pairs of one call.
pub struct Pairs<'s> {
    arena: Arena,
    pairs: Vec<Pair>,
    drafts: Vec<Box<dyn Written + 's>>,
}

impl<'s> Pairs<'s> {
    /// None yet, of about so many.
    pub fn of_about(pairs: usize) -> Pairs<'s> {
        let pairs = pairs.clamp(PAIRS_AHEAD.0, PAIRS_AHEAD.1);
        let arena = Arena { bytes: Vec::with_capacity(pairs * PAIR_BYTES) };
        Pairs { arena, pairs: Vec::with_capacity(pairs), drafts: Vec::new() }
    }

    /// A large value goes to its file at once, so that no two of them are in memory.
    pub fn add(&mut self, store: &'s dyn Whole, key: &[u8], kind: u8, bytes: &[u8]) -> Result<()> {
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

    /// Puts them in, of a key that is there twice the last. How many they were.
    pub fn store(mut self, store: &dyn Whole, expires: Option<u64>, tag: Tag<'_>) -> Result<u64> {
        keep_last_of_each(&self.arena, &mut self.pairs);
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
        }
        Ok(ops.len() as u64)
    }
}

/// Leaves the last pair of each key, in the order of their places.
fn keep_last_of_each(arena: &Arena, pairs: &mut Vec<Pair>) {
    // The same hash nearly always means the same key, and different ones always mean different keys.
    let comes_first = |(i, pair): (usize, &Pair)| pairs[..i].iter().all(|other| other.hash != pair.hash);
    if pairs.len() <= COMPARED && pairs.iter().enumerate().all(comes_first) {
        return;
    }
    let mut last = ByHash::with_capacity_and_hasher(pairs.len(), Default::default());
    let mut replaced = Vec::new();
    for (i, pair) in pairs.iter().enumerate() {
        match last.insert(pair.hash, i) {
            None => {}
            Some(before) if pairs[before].key(arena) == pair.key(arena) => replaced.push(before),
            Some(_) => return sort_out(arena, pairs),
        }
    }
    if replaced.is_empty() {
        return;
    }
    let mut stays = vec![true; pairs.len()];
    replaced.into_iter().for_each(|at| stays[at] = false);
    let mut stays = stays.into_iter();
    pairs.retain(|_| stays.next() == Some(true));
}

/// The same where different keys have the same hash.
#[cold]
fn sort_out(arena: &Arena, pairs: &mut Vec<Pair>) {
    let mut order: Vec<usize> = (0..pairs.len()).collect();
    let key = |i: usize| (pairs[i].hash, pairs[i].key(arena));
    order.sort_by(|&a, &b| key(a).cmp(&key(b)).then(b.cmp(&a)));
    order.dedup_by(|a, b| key(*a) == key(*b));
    order.sort_unstable();
    *pairs = order.into_iter().map(|i| pairs[i]).collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs of keys of one byte, whose values say which one it is, and whose hashes are what `hash` makes of their keys.
    fn pairs(keys: &[u8], hash: impl Fn(u8) -> u64) -> (Arena, Vec<Pair>) {
        let mut arena = Arena::default();
        let pairs = keys.iter().enumerate().map(|(i, &key)| {
            let at = arena.add(&[key]);
            let end = arena.add(&(i as u32).to_le_bytes()).end;
            Pair { hash: hash(key), key: at.start, value: at.end, end, kind: 0, draft: None }
        });
        let pairs = pairs.collect();
        (arena, pairs)
    }

    #[test]
    fn of_each_key_its_last_pair_is_left_in_its_place_whatever_hashes_meet() {
        let hashes: [fn(u8) -> u64; 3] = [u64::from, |key| u64::from(key) % 7, |_| 0];
        for (hash, len) in hashes.into_iter().flat_map(|hash| [0, 1, 2, 31, 32, 33, 300].map(|len| (hash, len))) {
            for modulus in [1, 2, 13, 256] {
                let keys: Vec<u8> = (0..len).map(|i: u32| (i.wrapping_mul(167) % modulus) as u8).collect();
                let (arena, mut left) = pairs(&keys, hash);
                keep_last_of_each(&arena, &mut left);
                let is_last = |i: &usize| !keys[i + 1..].contains(&keys[*i]);
                let expected: Vec<u32> = (0..keys.len()).filter(is_last).map(|i| i as u32).collect();
                let found = |pair: &Pair| u32::from_le_bytes(arena.bytes[pair.value..pair.end].try_into().unwrap());
                assert_eq!(left.iter().map(found).collect::<Vec<_>>(), expected, "{len} keys of {modulus}");
            }
        }
    }
}
