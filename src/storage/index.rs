//! The hash index: which cell of which file leads to a key's newest record. This file owns geometry, buckets and tags;
//! it does not read records, and it does not know who may change a cell.
//!
//! ```text
//! Geometry word: bits 44..64 generation: number of the index file, wrapping
//!                bit  43     growing: the next generation is being filled
//!                bit  42     the next generation has twice the buckets (else as many)
//!                bits 37..42 level: the file has 2^level home buckets
//!                bits 32..37 base: entry tags are the hash's bits from here on, counted from the top
//!                bits 27..32 base of the next generation
//!                bits  0..27 moved: home buckets below this number live in the next generation
//!
//! File `index-<generation>`:
//!      0     64  head: 0 magic "LARDRIDX", 8 version u32, 12 level u32, 16 store id, 24 generation u32, 28 base u32,
//!                32 CRC-32 of bytes 0..32
//!     64      8  overflow buckets in use                         (list)
//!     72      8  cells in use, about                             (advisory, the lock's owner)
//!     80      8  bytes of the file that are allocated            (list)
//!   4096     64  each bucket: 7 entries, then the link: in its low 27 bits the number of the bucket that goes on with it,
//!                or 0; above them marks of use
//!
//! Marks, by policy, from bit 27 of the link on (advisory: lost or doubled without harm):
//!   two queues:  2 bits for each of the 7 cells, how often it was read, up to 3; then, of a home bucket, three ghosts of 7
//!                bits, the youngest lowest: a part of the hash of a key that was evicted lately, never 0
//!   others:      4 bits for each of the 7 cells, an age or a count
//! ```
//! The home bucket of a hash is its top `level` bits, so buckets are ranges of hashes in ascending order, a bucket of
//! one level is two neighbours of the next, and a scan can carry a position in hash space across growth.
//!
//! A key's cell never moves within a generation. A generation's cells below `moved` are never changed again, so that a
//! reader that was led there before still finds what was there; it looks at the geometry again before it believes it.

use super::location::{Entry, Location, TAG_BITS};
use super::{u32_at, u64_at};
use crate::os::OsMap;

/// Buckets begin here.
pub const BUCKETS: usize = 4096;
pub const BUCKET_BYTES: usize = 64;
/// Entries of a bucket.
pub const CELLS: usize = 7;
/// The part of a link word that is a bucket's number; the rest are marks.
pub const LINK: u64 = (1 << 27) - 1;
const _: () = assert!((1 << LEVEL_MAX) + (1 << LEVEL_MAX) / 4 <= LINK);
/// The smallest level.
pub const LEVEL_MIN: u32 = 6;
/// The largest: 335 million items at [`FILL`] a bucket.
pub const LEVEL_MAX: u32 = 26;
/// Growth begins when there are this many cells in use for each home bucket. At 5 of 7, one item in twenty is in an
/// overflow bucket.
pub const FILL: u64 = 5;
/// The longest chain that is followed. Seeded hashes make chains of three rare; a longer one is damage.
pub const CHAIN_MAX: usize = 64;
/// Below this many tag bits that still tell keys apart, growth reads the keys and takes fresh bits.
pub const FRESH_BITS_MIN: u32 = 10;

pub const OVERFLOW_USED: usize = 64;
pub const CELLS_USED: usize = 72;
pub const ALLOCATED: usize = 80;

const GENERATION_BITS: u32 = 20;
const MAGIC: &[u8; 8] = b"LARDRIDX";
/// Bytes of the head.
pub const HEAD: usize = 64;

/// One index file's part in the geometry.
#[derive(Default, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    pub generation: u32,
    pub level: u32,
    pub base: u32,
}

/// The geometry word, unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    pub current: Table,
    /// The table that is being filled, and how many home buckets of the current one have moved there.
    pub next: Option<(Table, u64)>,
}

impl Table {
    /// The home bucket of a hash.
    #[inline(always)]
    pub fn home(&self, hash: u64) -> u64 {
        hash >> (64 - self.level)
    }

    /// The tag of a hash.
    #[inline(always)]
    pub fn tag(&self, hash: u64) -> u32 {
        ((hash << self.base) >> (64 - TAG_BITS)) as u32
    }

    /// True if a tag's bits tell which half of a split bucket its entry goes to, and enough bits are left after that.
    pub fn can_split_by_tag(&self) -> bool {
        self.level + FRESH_BITS_MIN < self.base + TAG_BITS
    }

    /// The bit that decides between the two halves of a split home bucket.
    pub fn split_bit(&self, tag: u32) -> u64 {
        u64::from(tag >> (TAG_BITS - 1 - (self.level - self.base)) & 1)
    }

    /// Number of home buckets.
    pub fn homes(&self) -> u64 {
        1 << self.level
    }

    /// Buckets of the file: home buckets and a quarter more, 64 at least.
    pub fn buckets(&self) -> u64 {
        self.homes() + (self.homes() / 4).max(64)
    }

    /// Length of the file.
    pub fn file_bytes(&self) -> u64 {
        BUCKETS as u64 + self.buckets() * BUCKET_BYTES as u64
    }

    /// Length of the part that is allocated when the file is made: head and home buckets.
    pub fn home_bytes(&self) -> u64 {
        BUCKETS as u64 + self.homes() * BUCKET_BYTES as u64
    }

    /// The offset of the bucket that a link word leads to; `None` if it leads nowhere, or out of the overflow area.
    #[inline(always)]
    pub fn next_bucket(&self, link: u64) -> Option<usize> {
        let link = link & LINK;
        (link >= self.homes() && link < self.buckets()).then(|| bucket_offset(link))
    }

    /// True if this table could have been made by this crate.
    pub fn is_sane(&self) -> bool {
        (LEVEL_MIN..=LEVEL_MAX).contains(&self.level) && self.base <= self.level && self.level < self.base + TAG_BITS
    }

    pub fn encode_head(&self, store: u64) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&super::manifest::FORMAT_VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.level.to_le_bytes());
        bytes[16..24].copy_from_slice(&store.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.generation.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.base.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..32]);
        bytes[32..36].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// True if `bytes` are the head of this table's file in `store`.
    pub fn is_head(&self, store: u64, bytes: &[u8; HEAD]) -> bool {
        &bytes[..8] == MAGIC
            && crc32fast::hash(&bytes[..32]) == u32_at(bytes, 32)
            && u32_at(bytes, 8) == super::manifest::FORMAT_VERSION
            && u32_at(bytes, 12) == self.level
            && u64_at(bytes, 16) == store
            && u32_at(bytes, 24) == self.generation
            && u32_at(bytes, 28) == self.base
    }
}

/// True if a generation is one of the half million before another.
pub fn is_generation_before(generation: u32, other: u32) -> bool {
    let distance = other.wrapping_sub(generation) & ((1 << GENERATION_BITS) - 1);
    (1..1 << (GENERATION_BITS - 1)).contains(&distance)
}

/// The number of the generation after one.
pub fn generation_after(generation: u32) -> u32 {
    (generation + 1) & ((1 << GENERATION_BITS) - 1)
}

impl Geometry {
    /// Unpacks the word; `None` if no store could have it.
    #[inline(always)]
    pub fn from_bits(bits: u64) -> Option<Geometry> {
        let field = |shift: u32, width: u32| (bits >> shift) as u32 & ((1 << width) - 1);
        let current = Table { generation: field(44, 20), level: field(37, 5), base: field(32, 5) };
        let growing = field(43, 1) == 1;
        let next = growing.then(|| {
            let level = current.level + field(42, 1);
            let next = Table { generation: generation_after(current.generation), level, base: field(27, 5) };
            (next, bits & ((1 << 27) - 1))
        });
        let sane = current.is_sane() && next.is_none_or(|(next, _)| next.is_sane());
        sane.then_some(Geometry { current, next })
    }

    pub fn bits(&self) -> u64 {
        let mut bits = u64::from(self.current.generation) << 44
            | u64::from(self.current.level) << 37
            | u64::from(self.current.base) << 32;
        if let Some((next, moved)) = self.next {
            debug_assert!(next.generation == generation_after(self.current.generation) && moved < 1 << 27);
            bits |= 1 << 43 | u64::from(next.level - self.current.level) << 42 | u64::from(next.base) << 27 | moved;
        }
        bits
    }

    /// The table that holds a hash at present.
    #[inline(always)]
    pub fn table_of(&self, hash: u64) -> Table {
        match self.next {
            Some((next, moved)) if self.current.home(hash) < moved => next,
            _ => self.current,
        }
    }
}

/// Offset of a bucket in its file.
#[inline(always)]
pub fn bucket_offset(bucket: u64) -> usize {
    BUCKETS + bucket as usize * BUCKET_BYTES
}

/// Offset of the word that links a bucket to the next of its chain.
#[inline(always)]
pub fn link_of(bucket: usize) -> usize {
    bucket + CELLS * 8
}

/// The offsets of the buckets of a chain, from the home bucket on. Ends after [`CHAIN_MAX`] buckets and at a link that
/// leads out of the overflow area. `load` reads a word of the file: the map's, or a staged one.
#[inline(always)]
pub fn chain<'a>(table: Table, home: u64, load: impl Fn(usize) -> u64 + 'a) -> impl Iterator<Item = usize> + 'a {
    let mut at = Some(bucket_offset(home));
    let mut left = CHAIN_MAX;
    std::iter::from_fn(move || {
        let bucket = at?;
        left -= 1;
        at = table.next_bucket(load(link_of(bucket))).filter(|_| left > 0);
        Some(bucket)
    })
}

/// Which cells of a bucket have a tag: bit `i` for cell `i`. Empty cells are among them if the tag is 0. There is no
/// branch in it, for nobody could foretell which cell it is.
#[inline(always)]
pub fn matching(line: &[u64; 8], tag: u32) -> u32 {
    let tag = Entry::new(tag, Location::from_bits(0));
    line[..CELLS].iter().rev().fold(0, |mask, &bits| mask << 1 | u32::from(Entry::from_bits(bits).agrees(tag)))
}

/// Reads every non-empty entry of a chain, with the offset of its cell.
pub fn entries_of<M: OsMap>(map: &M, table: Table, home: u64) -> Vec<(usize, Entry)> {
    let mut found = Vec::with_capacity(CELLS);
    for bucket in chain(table, home, |offset| map.load(offset)) {
        for (i, bits) in map.load_line(bucket)[..CELLS].iter().enumerate() {
            let entry = Entry::from_bits(*bits);
            if !entry.is_empty() {
                found.push((bucket + 8 * i, entry));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_geometry_reads_back() {
        let current = Table { generation: 0xF_FFFF, level: 20, base: 13 };
        for next in [None, Some((Table { generation: 0, level: 21, base: 21 }, 12345))] {
            let geometry = Geometry { current, next };
            assert_eq!(Geometry::from_bits(geometry.bits()), Some(geometry));
        }
        assert_eq!(Geometry::from_bits(0), None);
        assert_eq!(Geometry::from_bits(u64::MAX), None);
    }

    #[test]
    fn a_split_by_tag_agrees_with_the_hash() {
        let mut hash = 0x0123_4567_89AB_CDEFu64;
        for level in LEVEL_MIN..LEVEL_MAX {
            let base = level.saturating_sub(TAG_BITS - FRESH_BITS_MIN - 1).max(LEVEL_MIN.min(level));
            let old = Table { generation: 1, level, base };
            assert!(old.is_sane() && old.can_split_by_tag(), "{old:?}");
            let new = Table { generation: 2, level: level + 1, base };
            for _ in 0..1000 {
                hash = hash.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
                assert_eq!(new.home(hash), old.home(hash) * 2 + old.split_bit(old.tag(hash)));
                assert_eq!(new.tag(hash), old.tag(hash));
            }
        }
    }

    #[test]
    fn a_hash_moves_with_its_home_bucket() {
        let current = Table { generation: 1, level: 6, base: 6 };
        let next = Table { generation: 2, level: 7, base: 6 };
        let geometry = Geometry { current, next: Some((next, 3)) };
        assert_eq!(geometry.table_of(2 << 58), next);
        assert_eq!(geometry.table_of(3 << 58), current);
    }

    #[test]
    fn a_chain_that_leads_nowhere_or_in_circles_ends() {
        let table = Table { generation: 1, level: 6, base: 6 };
        assert_eq!(chain(table, 0, |_| 0).count(), 1);
        assert_eq!(chain(table, 0, |_| 3).count(), 1, "a link into the home buckets");
        assert_eq!(chain(table, 0, |_| u64::MAX).count(), 1);
        assert_eq!(chain(table, 0, |_| 70).count(), CHAIN_MAX, "a circle");
    }
}
