//! The size limit: who may take how much of it. It does not know how room is made (`pressure`), nor what takes it.
//!
//! - Puts leave a segment for removals, which may be longer than what they remove; where something is never evicted, removals
//!   leave another one for compaction, which copies what stays before anything goes.
//! - Where something is never evicted, both leave besides what copies are longer than their originals. A store that is full of
//!   what is short gets smaller for that by what is removed of it, in whatever order. In a store with namespaces both leave the
//!   first nodes of an index too, so that a full queue can be leased from.

use crate::error::{Error, Result};
use crate::options::Eviction;
use crate::os::{Os, OsMap};
use crate::storage::record;
use crate::storage::segment::is_main;
use crate::storage::state::{self, row, row_word};
use crate::storage::tree::chunk_bytes;

use super::commit::Commit;
use super::store::Store;

/// Segments are this share of the size limit: one is always kept free, so the shorter they are the more is used …
const SEGMENTS: u64 = 128;
/// … but at least this share of a small one, up to a length from which a segment holds many records …
const SEGMENTS_OF_FEW: u64 = 64;
const LONG_ENOUGH: u64 = 256 << 10;
/// … and between these bounds.
const SEGMENT_MIN: u64 = 64 << 10;
const SEGMENT_MAX: u64 = 64 << 20;

/// So much longer is a segment of copies.
const LONGER: u64 = 16 << 10;

/// What is allocated of a segment is a multiple of this.
pub(super) const BLOCK: u64 = 4096;

/// So much longer is a copy than what it is of: by its order, and by its part of what begins each batch of copies.
const LONGER_COPY: u64 = record::ORDER_BYTES + 1;

/// Who asks for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A put: leaves the space of one segment free.
    Store,
    /// A removal or eviction: may use that space too, so that a full store can be emptied. Above a limit that was
    /// lowered it may use what it needs.
    Free,
    /// Moving items so that what they leave can go: may use all of the limit.
    Compact,
    /// What empties the whole store, or makes its index anew: never refused, for it gives back more than it takes.
    Renew,
}

/// Length of an ordinary segment under a size limit.
pub fn segment_bytes(size_limit: u64) -> u64 {
    let wanted = (size_limit / SEGMENTS).max((size_limit / SEGMENTS_OF_FEW).min(LONG_ENOUGH));
    wanted.clamp(SEGMENT_MIN, SEGMENT_MAX) / SEGMENT_MIN * SEGMENT_MIN
}

/// Length of an ordinary segment of what is copied, where nothing may be lost. Copies are longer than what they are of, and as many as
/// came out of a segment have to fit in one: else twice as many segments may be needed for them.
pub fn segment_for_copies(size_limit: u64) -> u64 {
    segment_bytes(size_limit) + LONGER
}

impl<O: Os> Commit<'_, O> {
    /// Admits so many bytes of the log, or near the limit the least that will do.
    pub(super) fn admit_some(&self, wanted: u64, least: u64, purpose: Purpose) -> Result<u64> {
        // What is short may be copied to half as much again.
        let admit = |bytes| self.admit_with(bytes, bytes / 2, purpose).map(|()| bytes);
        // What compaction takes in advance, it would take from itself.
        if purpose == Purpose::Compact && self.store.loses_nothing() {
            return admit(least);
        }
        match admit(wanted) {
            Err(_) if least < wanted => admit(least),
            outcome => outcome,
        }
    }

    /// Refuses what would take the store over its limit.
    pub fn admit(&self, bytes: u64, purpose: Purpose) -> Result<()> {
        self.admit_with(bytes, 0, purpose)
    }

    /// The same for what may be longer by so much once it has been copied.
    fn admit_with(&self, bytes: u64, longer: u64, purpose: Purpose) -> Result<()> {
        let limit = self.state(state::SIZE_LIMIT);
        let reserved = self.store.reserved().saturating_sub(self.adopted);
        let taken = self.state(state::VOLUME).saturating_add(reserved);
        let with = |spares: u64| taken.saturating_add(bytes).saturating_add(spares);
        let kept = self.store.kept_for_copies();
        let fits = match purpose {
            Purpose::Store => with(segment_bytes(limit) + kept).saturating_add(self.left_to_grow(longer)) <= limit,
            Purpose::Free => taken > limit || with(kept).saturating_add(self.left_to_grow(0)) <= limit,
            Purpose::Compact => with(0) <= limit,
            Purpose::Renew => true,
        };
        if fits { Ok(()) } else { Err(Error::Full) }
    }

    /// As [`Store::left_to_grow`], as this commit leaves the nodes of indexes.
    fn left_to_grow(&self, longer: u64) -> u64 {
        let has_nodes = self.state(state::ORDER_CHUNKS) != 0;
        let longer = if self.store.policy() == Eviction::None { longer } else { 0 };
        self.store.left_to_grow(has_nodes).saturating_add(longer)
    }
}

impl<O: Os> Store<O> {
    /// What puts leave free.
    pub(super) fn left_by_puts(&self) -> u64 {
        let spare = segment_bytes(self.state.load(state::SIZE_LIMIT));
        let has_nodes = self.state.load(state::ORDER_CHUNKS) != 0;
        (spare + self.kept_for_copies()).saturating_add(self.left_to_grow(has_nodes))
    }

    /// Where something is never evicted, compaction needs a segment that removals leave alone.
    fn kept_for_copies(&self) -> u64 {
        if self.loses_nothing() { segment_for_copies(self.state.load(state::SIZE_LIMIT)) } else { 0 }
    }

    /// What is left free where something is never evicted, beside whole segments. Copies of it may be longer than what they are of:
    /// they carry the order that an original has in its place, so that a store of short values would not get smaller by what is
    /// removed of them. However well records fill their segment to its last block, copies may leave that block empty, and copies
    /// of these fill it again. And the elements of a queue can be leased, which takes nodes of an index.
    fn left_to_grow(&self, has_nodes: bool) -> u64 {
        if !self.loses_nothing() || seeded!("copies_have_no_room_to_grow") {
            return 0;
        }
        let word = |slot, word| self.state.load(row_word(slot, word));
        let (mut items, mut blocks) = (0_u64, 0_u64);
        for slot in (0..self.rows).filter(|&slot| self.is_led_into(slot)) {
            if is_main(self.segment_in(slot)) {
                let (allocated, end) = (word(slot, row::ALLOCATED), word(slot, row::END));
                let is_open = end == 0;
                blocks += if is_open { BLOCK } else { BLOCK.saturating_sub(allocated.saturating_sub(end)) };
            } else {
                items += word(slot, row::LIVE) & u64::from(u32::MAX);
                blocks += BLOCK;
            }
        }
        let is_whole = self.policy() == Eviction::None;
        let lasting = if is_whole { u64::MAX } else { self.state.load(state::INNER) };
        let has_namespaces = self.state.load(state::NAMESPACES) != 0;
        let nodes = if has_namespaces && !has_nodes { chunk_bytes(0) } else { 0 };
        let copies = items.min(lasting).saturating_mul(LONGER_COPY);
        copies.saturating_add(blocks.min(lasting.saturating_mul(BLOCK))).saturating_add(nodes)
    }
}
