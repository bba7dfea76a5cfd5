//! The head of a segment file. A segment is created, appended to, sealed and unlinked; nothing below its committed end
//! ever changes. This file does not know who appends.
//!
//! ```text
//! offset  bytes
//!      0      8  magic "LARDRLOG"
//!      8      2  format version      10  2  reserved
//!     12      4  capacity in bytes
//!     16      8  store id
//!     24      8  segment id
//!     32      8  nonce, drawn when the file was made: salts every checksum in it
//!     40      8  id of the segment before it in its stream, 0 for the first
//!     48      4  where the committed part of that segment ended
//!     52      4  crc     CRC-32 of the other 60 bytes
//!     56      8  born: the newest sequence when it was made; every record in it is younger
//! ```
//! Valid if and only if magic, version and CRC match and store id and segment id are those asked for.

use super::{u32_at, u64_at};
use crate::error::Corruption;

/// Bit of the ids of segments of the main stream; those of the commit stream do not have it. Each stream counts its own.
pub const MAIN: u64 = 1 << 55;

/// True if a segment with this id belongs to the main stream.
#[inline(always)]
pub fn is_main(id: u64) -> bool {
    id & MAIN != 0
}

/// Bytes of the head; the first batch follows it.
pub const HEAD: usize = 64;
const MAGIC: &[u8; 8] = b"LARDRLOG";

/// The head of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub capacity: u32,
    pub store: u64,
    pub id: u64,
    pub nonce: u64,
    pub previous: u64,
    pub previous_end: u32,
    pub born: u64,
}

impl Head {
    pub fn encode(&self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..10].copy_from_slice(&super::manifest::FORMAT_VERSION.to_le_bytes()[..2]);
        bytes[12..16].copy_from_slice(&self.capacity.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.store.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.id.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.nonce.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.previous.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.previous_end.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.born.to_le_bytes());
        let crc = checksum(&bytes);
        bytes[52..56].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the head of segment `id` of `store`.
    pub fn decode(bytes: &[u8; HEAD], store: u64, id: u64) -> Result<Head, Corruption> {
        if &bytes[..8] != MAGIC {
            return Err(Corruption::Magic);
        }
        if checksum(bytes) != u32_at(bytes, 52) || bytes[8..10] != super::manifest::FORMAT_VERSION.to_le_bytes()[..2] {
            return Err(Corruption::Checksum);
        }
        let head = Head {
            capacity: u32_at(bytes, 12),
            store: u64_at(bytes, 16),
            id: u64_at(bytes, 24),
            nonce: u64_at(bytes, 32),
            previous: u64_at(bytes, 40),
            previous_end: u32_at(bytes, 48),
            born: u64_at(bytes, 56),
        };
        if head.store != store || head.id != id {
            return Err(Corruption::Identity);
        }
        Ok(head)
    }
}

fn checksum(bytes: &[u8; HEAD]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..52]);
    hasher.update(&bytes[56..]);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD_OF_TEST: Head =
        Head { capacity: 1 << 20, store: 2, id: 3, nonce: 4, previous: 5, previous_end: 72, born: 6 };

    #[test]
    fn a_head_reads_back_and_every_flipped_byte_is_found() {
        let bytes = HEAD_OF_TEST.encode();
        assert_eq!(Head::decode(&bytes, 2, 3), Ok(HEAD_OF_TEST));
        for at in 0..HEAD {
            let mut bad = bytes;
            bad[at] ^= 1;
            assert!(Head::decode(&bad, 2, 3).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_head_of_another_store_or_place_is_refused() {
        let bytes = HEAD_OF_TEST.encode();
        assert_eq!(Head::decode(&bytes, 9, 3), Err(Corruption::Identity));
        assert_eq!(Head::decode(&bytes, 2, 9), Err(Corruption::Identity));
    }

    #[test]
    fn golden_bytes_of_a_head() {
        let bytes = HEAD_OF_TEST.encode();
        assert_eq!(&bytes[..16], b"LARDRLOG\x01\0\0\0\0\0\x10\0");
        assert_eq!(bytes[48..52], [72, 0, 0, 0]);
    }
}
