//! The size limit: who may take how much of it. It does not know how room is made (`pressure`), nor what takes it.
//!
//! - Puts leave a segment for removals, which may be longer than what they remove; where something is never evicted, removals
//!   leave another one for compaction, which copies what stays before anything goes.
//! - Where something is never evicted, both leave besides what copies are longer than their originals. A store that is full of
//!   what is short gets smaller for that by what is removed of it, in whatever order.

use crate::error::{Error, Result};
use crate::options::Eviction;
use crate::os::{Os, OsMap};
use crate::storage::record;
use crate::storage::segment::is_main;
use crate::storage::state::{self, row, row_word};

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

impl<O: Os> Commit<'_, O> {
    /// Admits so many bytes, or near the limit the least that will do.
    pub(super) fn admit_some(&self, wanted: u64, least: u64, purpose: Purpose) -> Result<u64> {
        match self.admit(wanted, purpose) {
            Err(_) if least < wanted => self.admit(least, purpose).map(|()| least),
            outcome => outcome.map(|()| wanted),
        }
    }

    /// Refuses what would take the store over its limit.
    pub fn admit(&self, bytes: u64, purpose: Purpose) -> Result<()> {
        let limit = self.state(state::SIZE_LIMIT);
        let spare = segment_bytes(limit);
        let reserved = self.store.reserved().saturating_sub(self.adopted);
        let taken = self.state(state::VOLUME).saturating_add(reserved);
        let with = |spares: u64| taken.saturating_add(bytes).saturating_add(spares * spare);
        // Where something may not be evicted, compaction needs a segment that removals leave alone.
        let kept = u64::from(self.store.loses_nothing());
        let fits = match purpose {
            Purpose::Store => with(1 + kept).saturating_add(self.store.growth_of_copies(bytes)) <= limit,
            Purpose::Free => taken > limit || with(kept).saturating_add(self.store.growth_of_copies(0)) <= limit,
            Purpose::Compact => with(0) <= limit,
            Purpose::Renew => true,
        };
        if fits { Ok(()) } else { Err(Error::Full) }
    }
}

impl<O: Os> Store<O> {
    /// So many bytes the copies of what is never evicted may be longer than what they are of: they carry the order that an
    /// original has in its place. That stays free, or a store of short values would not get smaller by what is removed of them.
    fn growth_of_copies(&self, coming: u64) -> u64 {
        if !self.loses_nothing() || seeded!("copies_have_no_room_to_grow") {
            return 0;
        }
        let originals = (0..self.rows).filter(|&slot| !is_main(self.segment_in(slot)));
        let cells: u64 = originals.map(|slot| self.state.load(row_word(slot, row::LIVE)) & u64::from(u32::MAX)).sum();
        let is_whole = self.policy() == Eviction::None;
        let items = if is_whole { cells } else { cells.min(self.state.load(state::INNER)) };
        items.saturating_mul(record::ORDER_BYTES).saturating_add(if is_whole { coming / 2 } else { 0 })
    }
}
