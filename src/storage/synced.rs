//! The mark on disk that says how far the log was durable at some moment: a small file with two places that are written
//! in turn, so that one of them is whole whatever happens to the other. It does not know when it is written.
//!
//! ```text
//! offset  bytes     of each place; the places are at 0 and 512, each in a sector of its own
//!      0      8  magic "LARDRSYN"
//!      8      4  format version
//!     12      4  crc      CRC-32 of bytes 16..64
//!     16      8  store id
//!     24      8  sequence: commits up to it were durable
//!     32      8  segment id: of segments with smaller ids, everything was durable
//!     40      8  nonce of that segment
//!     48      8  offset in that segment up to which it was durable
//!     56      8  zero
//! ```
//! Valid if and only if magic, version and CRC match and the store id is the one asked for. Of two valid places the one
//! with the larger sequence counts. It is written after what it says has become true, so it may say too little and
//! never too much; a file that is not there says nothing.

use super::{u32_at, u64_at};

/// Length of the file.
pub const BYTES: usize = 1024;
/// Bytes of a place.
pub const PLACE: usize = 64;
/// Where the second place is.
const SECOND: usize = 512;
const MAGIC: &[u8; 8] = b"LARDRSYN";

/// How far the log was durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub store: u64,
    pub sequence: u64,
    pub segment: u64,
    pub nonce: u64,
    pub offset: u64,
}

impl Mark {
    pub fn encode(&self) -> [u8; PLACE] {
        let mut bytes = [0; PLACE];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&super::manifest::FORMAT_VERSION.to_le_bytes());
        let words = [self.store, self.sequence, self.segment, self.nonce, self.offset];
        for (place, word) in bytes[16..56].chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let crc = crc32fast::hash(&bytes[16..]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8], store: u64) -> Option<Mark> {
        let valid = bytes.len() == PLACE
            && &bytes[..8] == MAGIC
            && u32_at(bytes, 8) == super::manifest::FORMAT_VERSION
            && crc32fast::hash(&bytes[16..]) == u32_at(bytes, 12)
            && u64_at(bytes, 16) == store;
        valid.then(|| Mark {
            store,
            sequence: u64_at(bytes, 24),
            segment: u64_at(bytes, 32),
            nonce: u64_at(bytes, 40),
            offset: u64_at(bytes, 48),
        })
    }

    /// The mark that counts, of a file's bytes, and where the next one goes.
    pub fn newest(bytes: &[u8; BYTES], store: u64) -> (Option<Mark>, u64) {
        let at = |offset: usize| bytes.get(offset..offset + PLACE).and_then(|bytes| Mark::decode(bytes, store));
        match (at(0), at(SECOND)) {
            (Some(first), Some(second)) if first.sequence < second.sequence => (Some(second), 0),
            (None, second) => (second, 0),
            (first, _) => (first, SECOND as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Mark = Mark { store: 1, sequence: 2, segment: 3, nonce: 4, offset: 5 };

    #[test]
    fn a_mark_reads_back_and_every_flipped_byte_is_found() {
        let bytes = MARK.encode();
        assert_eq!(Mark::decode(&bytes, 1), Some(MARK));
        assert_eq!(Mark::decode(&bytes, 9), None);
        for at in 0..PLACE {
            let mut bad = bytes;
            bad[at] ^= 1;
            assert_eq!(Mark::decode(&bad, 1), None, "byte {at}");
        }
    }

    #[test]
    fn the_newer_place_counts_and_the_other_is_written_next() {
        let mut file = [0; BYTES];
        assert_eq!(Mark::newest(&file, 1), (None, 0));
        file[..PLACE].copy_from_slice(&MARK.encode());
        assert_eq!(Mark::newest(&file, 1), (Some(MARK), 512));
        let newer = Mark { sequence: 3, ..MARK };
        file[512..512 + PLACE].copy_from_slice(&newer.encode());
        assert_eq!(Mark::newest(&file, 1), (Some(newer), 0));
        file[512] ^= 1;
        assert_eq!(Mark::newest(&file, 1), (Some(MARK), 512));
    }

    #[test]
    fn golden_bytes_of_a_mark() {
        let bytes = MARK.encode();
        assert_eq!(&bytes[..12], b"LARDRSYN\x01\0\0\0");
        assert_eq!(
            bytes[16..56],
            [
                [1, 0, 0, 0, 0, 0, 0, 0],
                [2, 0, 0, 0, 0, 0, 0, 0],
                [3, 0, 0, 0, 0, 0, 0, 0],
                [4, 0, 0, 0, 0, 0, 0, 0],
                [5, 0, 0, 0, 0, 0, 0, 0]
            ]
            .concat()
        );
    }
}
