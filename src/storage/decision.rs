//! Which commits of several shards were decided: a small file in the directory of a fan-out cache, with two places that are
//! written in turn, so that one of them is whole whatever happens to the other. It does not know when it is written.
//!
//! ```text
//! offset  bytes     of each place; the places are at 0 and 512, each in a sector of its own
//!      0      8  magic "LARDRDEC"
//!      8      4  format version
//!     12      4  crc      CRC-32 of bytes 16..32
//!     16      8  id of the fan-out cache
//!     24      8  number: of the joint commits whose batches are in the logs, those up to this one count
//! ```
//! Valid if and only if magic, version and CRC match and the id is the one asked for. Of two valid places the one with the
//! larger number counts; none of them valid is 0. A joint commit that was taken back leaves no batch in any log, not even after
//! a power cut, before the next one is decided: so one number is enough.

use super::{u32_at, u64_at};

/// Length of the file.
pub const BYTES: usize = 1024;
/// Bytes of a place.
pub const PLACE: usize = 32;
/// Where the second place is.
const SECOND: usize = 512;
const MAGIC: &[u8; 8] = b"LARDRDEC";

/// The bytes of a place.
pub fn encode(id: u64, number: u64) -> [u8; PLACE] {
    let mut bytes = [0; PLACE];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&super::manifest::FORMAT_VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&id.to_le_bytes());
    bytes[24..].copy_from_slice(&number.to_le_bytes());
    let crc = crc32fast::hash(&bytes[16..]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8], id: u64) -> Option<u64> {
    let valid = bytes.len() == PLACE
        && &bytes[..8] == MAGIC
        && u32_at(bytes, 8) == super::manifest::FORMAT_VERSION
        && crc32fast::hash(&bytes[16..]) == u32_at(bytes, 12)
        && u64_at(bytes, 16) == id;
    valid.then(|| u64_at(bytes, 24))
}

/// The number that counts, of a file's bytes, and where the next one goes.
pub fn newest(bytes: &[u8; BYTES], id: u64) -> (u64, u64) {
    let at = |offset: usize| bytes.get(offset..offset + PLACE).and_then(|bytes| decode(bytes, id));
    match (at(0), at(SECOND)) {
        (Some(first), Some(second)) if first < second => (second, 0),
        (None, second) => (second.unwrap_or(0), 0),
        (first, _) => (first.unwrap_or(0), SECOND as u64),
    }
}

/// The place beside one.
pub fn other(place: u64) -> u64 {
    if place == 0 { SECOND as u64 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back_and_every_flipped_byte_is_found() {
        let bytes = encode(7, 9);
        assert_eq!((decode(&bytes, 7), decode(&bytes, 8)), (Some(9), None));
        for at in 0..PLACE {
            let mut bad = bytes;
            bad[at] ^= 1;
            assert_eq!(decode(&bad, 7), None, "byte {at}");
        }
    }

    #[test]
    fn the_larger_number_counts_and_the_other_place_is_written_next() {
        let mut file = [0; BYTES];
        assert_eq!(newest(&file, 1), (0, 0));
        file[..PLACE].copy_from_slice(&encode(1, 4));
        assert_eq!(newest(&file, 1), (4, 512));
        file[512..512 + PLACE].copy_from_slice(&encode(1, 6));
        assert_eq!(newest(&file, 1), (6, 0));
        file[512] ^= 1;
        assert_eq!(newest(&file, 1), (4, 512));
    }

    #[test]
    fn golden_bytes_of_a_place() {
        let bytes = encode(1, 2);
        assert_eq!(&bytes[..12], b"LARDRDEC\x01\0\0\0");
        assert_eq!(bytes[16..], [[1, 0, 0, 0, 0, 0, 0, 0], [2, 0, 0, 0, 0, 0, 0, 0]].concat());
    }
}
