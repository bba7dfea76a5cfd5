//! The tag table: one row a tag, in chunks of doubling size, so that a row never moves and a tag's id never changes.
//! This file owns rows and probing; it does not know what evicting means.
//!
//! ```text
//! A chunk file `tags-<chunk>` holds 256 << chunk rows and nothing else. A row:
//!      0  8  low half of the name's seeded 128-bit hash, never 0; 0 for a free row; 1, and 0 as the high half, for one whose
//!            name was lost with a part of the log
//!      8  8  high half, with the kind of the row in its lowest three bits (see `namespace`)
//!     16  8  sequence of the newest eviction of the tag
//!     24  8  sequence of the eviction before it
//!     32  8  live items with the tag
//!     40  8  bytes of their records, and of the files of their values
//!     48  8  of a tag: sequence of the `clear` after which the two counts began: older counts are 0. Of a deque: position of
//!            its first element. Of an index: the root of its tree (see `order`)
//!     56  8  location of the record that holds the tag's name
//! Id of a row: 1 + rows of the chunks before + its number in its chunk. 24 bits; 0 means no tag.
//! ```
//! Rows are found by linear probing from the low half of the hash, at most [`PROBES`] long; when none is free there, nor one
//! that can be taken over, the tag goes to the next chunk. A free row ends the search in a chunk, so no row becomes free, and
//! who makes a table from the log leaves none free in front of a row that is found behind it. All words change through the
//! redo list.

use super::namespace::{KIND_BITS, Kind, Label, Namespace};
use crate::os::OsMap;

/// Rows of the first chunk. Few where the tests of the crate have few tags: there they are taken over all the time.
const FIRST_ROWS: usize = if cfg!(any(test, fuzzing)) { 4 } else { 256 };
/// The low half of the hash of a row whose name was lost.
pub const LOST: u64 = 1;
/// The longest probe.
pub const PROBES: usize = 32;
/// Chunks that 24-bit ids can name.
pub const CHUNKS_MAX: usize = 16;
pub const ROW_BYTES: usize = 64;

/// Words of a row.
pub mod row {
    pub const HASH_LOW: usize = 0;
    pub const HASH_HIGH: usize = 8;
    pub const EVICTED: usize = 16;
    pub const EVICTED_BEFORE: usize = 24;
    pub const LIVE: usize = 32;
    pub const BYTES: usize = 40;
    pub const COUNTED_SINCE: usize = 48;
    /// The same word of a namespace's row, which no `clear` concerns.
    pub const ANCHOR: usize = 48;
    pub const NAME: usize = 56;
}

const _: () = assert!(rows_before(CHUNKS_MAX) + 1 < 1 << 24);

/// A tag's hash, in the form rows keep it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TagHash {
    pub low: u64,
    pub high: u64,
}

impl TagHash {
    pub fn new(seed: u64, label: Label<'_>) -> TagHash {
        let hash = xxhash_rust::xxh3::xxh3_128_with_seed(label.name.as_bytes(), seed);
        let high = (hash >> 64) as u64 & !KIND_BITS;
        TagHash { low: (hash as u64).max(1), high: high | label.kind as u64 }
    }
}

/// Where a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RowPlace {
    pub chunk: usize,
    /// Offset of the row in its chunk's file.
    pub offset: usize,
}

const fn rows_before(chunk: usize) -> usize {
    FIRST_ROWS * ((1 << chunk) - 1)
}

fn rows(chunk: usize) -> usize {
    FIRST_ROWS << chunk
}

/// True if a table of so many names can have come to a chunk: those before it are well filled by then. What a damaged
/// id makes a rebuild allocate is bounded by the log that way.
pub fn can_come_to(chunk: usize, names: usize) -> bool {
    rows_before(chunk) <= names.saturating_mul(8)
}

/// Length of a chunk's file.
pub fn chunk_bytes(chunk: usize) -> usize {
    rows(chunk) * ROW_BYTES
}

/// The id of a row.
pub fn id_of(place: RowPlace) -> u32 {
    (1 + rows_before(place.chunk) + place.offset / ROW_BYTES) as u32
}

/// The row of an id; `None` for 0 and for ids beyond the last chunk.
#[inline]
pub fn place_of(id: u32) -> Option<RowPlace> {
    let number = (id as usize).checked_sub(1)?;
    let chunk = ((number / FIRST_ROWS) + 1).ilog2() as usize;
    (chunk < CHUNKS_MAX).then(|| RowPlace { chunk, offset: (number - rows_before(chunk)) * ROW_BYTES })
}

/// The offsets that a tag's row can have in a chunk, in the order of probing.
pub fn probe(hash: TagHash, chunk: usize) -> impl Iterator<Item = usize> {
    let mask = rows(chunk) - 1;
    let start = hash.low as usize;
    (0..PROBES).map(move |step| (start.wrapping_add(step) & mask) * ROW_BYTES)
}

/// The offsets that are probed before that of a row, if it is where its hash says.
pub fn probed_before(hash: TagHash, place: RowPlace) -> impl Iterator<Item = usize> {
    let is_there = probe(hash, place.chunk).any(|offset| offset == place.offset);
    probe(hash, place.chunk).take_while(move |&offset| is_there && offset != place.offset)
}

/// What probing a chunk finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// The tag's row.
    Found(usize),
    /// The tag is not in this chunk, and this row is free for it.
    Free(usize),
    /// The tag is not in this chunk, and there is no room for it.
    Full,
}

/// Looks for a tag in one chunk. `load` reads a word of the chunk: the map's, or a staged one.
pub fn find(hash: TagHash, chunk: usize, load: impl Fn(usize) -> u64) -> Probe {
    for offset in probe(hash, chunk) {
        match load(offset + row::HASH_LOW) {
            0 => return Probe::Free(offset),
            low if low == hash.low && load(offset + row::HASH_HIGH) == hash.high => return Probe::Found(offset),
            _ => {}
        }
    }
    Probe::Full
}

impl Namespace {
    /// Its row.
    #[inline]
    pub fn place(self) -> RowPlace {
        // An id that the table gave has a row.
        place_of(self.id).unwrap_or(RowPlace { chunk: 0, offset: 0 })
    }
}

/// What a row stands for, by the high half of its hash. A free row, and one that is damaged, is a tag's.
#[inline]
pub fn kind_of(hash_high: u64) -> Kind {
    Kind::from_bits(hash_high).unwrap_or(Kind::Tag)
}

/// The eviction marks of a row.
#[inline]
pub fn marks<M: OsMap>(chunk: &M, offset: usize) -> super::state::Marks {
    super::state::Marks { newest: chunk.load(offset + row::EVICTED), before: chunk.load(offset + row::EVICTED_BEFORE) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_rows_are_one_to_one() {
        let mut expected = 1;
        for chunk in 0..5 {
            for number in 0..rows(chunk) {
                let place = RowPlace { chunk, offset: number * ROW_BYTES };
                assert_eq!(id_of(place), expected);
                assert_eq!(place_of(expected), Some(place));
                expected += 1;
            }
        }
        assert_eq!(place_of(0), None);
        assert_eq!(place_of(u32::MAX), None);
    }

    #[test]
    fn a_probe_stays_in_its_chunk_and_ends() {
        let (hash, chunk) = (TagHash { low: u64::MAX, high: 0 }, 6);
        let offsets: Vec<usize> = probe(hash, chunk).collect();
        assert_eq!(offsets.len(), PROBES);
        assert!(offsets.iter().all(|&o| o < chunk_bytes(chunk)));
        assert_eq!(find(hash, chunk, |_| 7), Probe::Full);
        assert_eq!(find(hash, chunk, |_| 0), Probe::Free((rows(chunk) - 1) * ROW_BYTES));
        let before = |offset| probed_before(hash, RowPlace { chunk, offset }).count();
        assert_eq!((before(offsets[0]), before(offsets[5]), before(offsets[5] + 40 * ROW_BYTES)), (0, 5, 0));
    }
}
