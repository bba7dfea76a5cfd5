//! Many keys and values of one call, encoded, to be put in by one commit. It does not know what they were.

use std::ops::Range;

use super::{Whole, Written};
use crate::engine::{Change, Op, Put, Tag, Value};
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
        }
        Ok(ops.len() as u64)
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
