//! Packed words that say where a record is. Every shift of these words stands here.
//!
//! ```text
//! Location  u64   bits 24..41 slot: row of the segment table   bits 0..24 offset / 8 in the segment     0: nowhere
//! Entry     u64   bits 41..64 tag: 23 bits of the key's hash   bits 0..41 a location                    0: empty
//! Tail      u64   bits 49..52 epoch of the last batch   bits 32..49 slot   bits 0..32 offset in bytes
//! ```
//! A record never stands at offset 0, where the segment's header is, so a location of a record is never 0.

/// The most segments a store can have: slots are 17 bits wide.
pub const SLOTS_MAX: usize = 1 << 17;
/// The longest segment: offsets count 8 bytes and are 24 bits wide.
pub const SEGMENT_BYTES_MAX: u64 = 8 << 24;

/// Epochs of batches are 3 bits wide.
pub const EPOCH_MASK: u8 = 7;

const OFFSET_BITS: u32 = 24;
const LOCATION_BITS: u32 = 41;
/// Bits of a key's hash kept in an entry.
pub const TAG_BITS: u32 = 64 - LOCATION_BITS;

/// Where a record begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location(u64);

impl Location {
    pub fn new(slot: usize, offset: u64) -> Location {
        debug_assert!(slot < SLOTS_MAX && offset < SEGMENT_BYTES_MAX && offset.is_multiple_of(8));
        Location(((slot as u64) << OFFSET_BITS) | (offset >> 3))
    }

    /// Reads a location from disk: bits beyond it are dropped.
    pub fn from_bits(bits: u64) -> Location {
        Location(bits & ((1 << LOCATION_BITS) - 1))
    }

    pub fn bits(self) -> u64 {
        self.0
    }

    pub fn slot(self) -> usize {
        (self.0 >> OFFSET_BITS) as usize
    }

    pub fn offset(self) -> usize {
        ((self.0 & ((1 << OFFSET_BITS) - 1)) << 3) as usize
    }

    pub fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// A cell of the index: a location with a few bits of the hash of the key that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry(u64);

impl Entry {
    pub fn new(tag: u32, location: Location) -> Entry {
        Entry((u64::from(tag) << LOCATION_BITS) | location.0)
    }

    pub fn from_bits(bits: u64) -> Entry {
        Entry(bits)
    }

    pub fn bits(self) -> u64 {
        self.0
    }

    pub fn tag(self) -> u32 {
        (self.0 >> LOCATION_BITS) as u32
    }

    pub fn location(self) -> Location {
        Location::from_bits(self.0)
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// True if the tag is that of an entry which leads nowhere: of an empty cell too, where that tag is 0.
    #[inline(always)]
    pub fn agrees(self, tag_alone: Entry) -> bool {
        self.0 ^ tag_alone.0 < 1 << LOCATION_BITS
    }
}

/// Where the next batch of the commit stream goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    pub slot: usize,
    pub offset: u64,
    /// See `record`. As wide as the others, for a tail to be three words: it is copied by every commit, and gaps cost.
    pub epoch: u64,
}

impl Tail {
    pub fn from_bits(bits: u64) -> Tail {
        let epoch = bits >> 49 & u64::from(EPOCH_MASK);
        Tail { slot: ((bits >> 32) as usize) & (SLOTS_MAX - 1), offset: bits & 0xFFFF_FFFF, epoch }
    }

    pub fn bits(self) -> u64 {
        (self.epoch << 49) | ((self.slot as u64) << 32) | self.offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_words_give_back_what_was_put_in() {
        let location = Location::new(SLOTS_MAX - 1, SEGMENT_BYTES_MAX - 8);
        assert_eq!((location.slot(), location.offset() as u64), (SLOTS_MAX - 1, SEGMENT_BYTES_MAX - 8));
        let entry = Entry::new((1 << TAG_BITS) - 1, location);
        assert_eq!((entry.tag(), entry.location()), ((1 << TAG_BITS) - 1, location));
        assert_eq!(Entry::new(0, Location::new(0, 64)).bits(), 8);
        let tail = Tail { slot: SLOTS_MAX - 1, offset: 0xFFFF_FFF8, epoch: EPOCH_MASK.into() };
        assert_eq!(Tail::from_bits(tail.bits()), tail);
    }
}
