//! The manifest: what a store is and how it is set, in one small file that is only ever replaced whole.
//!
//! ```text
//! offset  bytes
//!      0      8  magic "LARDER\r\n"
//!      8      4  format version
//!     12      4  byte order of the shared words: 0x01020304 as this machine writes it
//!     16      8  store id, drawn at creation
//!     24      8  hash seed, drawn at creation
//!     32      4  kind of store: 1 cache, 2 deque, 3 index, 4 shard of a fan-out cache
//!     36      4  rows of the segment table
//!     40      8  size limit in bytes
//!     48      4  eviction policy
//!     52      4  1 if statistics are counted
//!     56      4  zero
//!     60      4  crc    CRC-32 of bytes 0..60
//! ```
//! Valid if and only if it is 64 bytes long, the magic is right, and the CRC matches. The version is looked at before
//! the CRC, so that a later format can be told from a damaged file.

use super::{u32_at, u64_at};
use crate::error::Corruption;

/// The version of everything in a store's directory.
pub const FORMAT_VERSION: u32 = 1;
/// Length of the file.
pub const BYTES: usize = 64;
/// Rows that a segment table can have.
pub const ROWS: std::ops::RangeInclusive<u32> = 256..=1 << 16;
/// The kind of store a cache is.
pub const KIND_CACHE: u32 = 1;
/// That of a deque: a store with one namespace, which is all of it.
pub const KIND_DEQUE: u32 = 2;
/// That of an index, likewise.
pub const KIND_INDEX: u32 = 3;
/// That of a shard, which is no store without the others.
pub const KIND_SHARD: u32 = 4;

const MAGIC: &[u8; 8] = b"LARDER\r\n";
const BYTE_ORDER: u32 = 0x0102_0304;

/// What the manifest says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub store: u64,
    pub seed: u64,
    pub kind: u32,
    pub rows: u32,
    pub size_limit: u64,
    pub eviction: u32,
    pub statistics: bool,
}

/// Why a manifest cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    Damaged(Corruption),
    Version(u32),
}

impl Manifest {
    pub fn encode(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&BYTE_ORDER.to_ne_bytes());
        bytes[16..24].copy_from_slice(&self.store.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.seed.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.kind.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.rows.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.size_limit.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.eviction.to_le_bytes());
        bytes[52..56].copy_from_slice(&u32::from(self.statistics).to_le_bytes());
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Manifest, Unusable> {
        if bytes.len() < 16 {
            return Err(Unusable::Damaged(Corruption::Truncated));
        }
        if &bytes[..8] != MAGIC {
            return Err(Unusable::Damaged(Corruption::Magic));
        }
        let version = u32_at(bytes, 8);
        if version != FORMAT_VERSION || bytes[12..16] != BYTE_ORDER.to_ne_bytes() {
            return Err(Unusable::Version(version));
        }
        if bytes.len() != BYTES {
            return Err(Unusable::Damaged(Corruption::Truncated));
        }
        if crc32fast::hash(&bytes[..60]) != u32_at(bytes, 60) {
            return Err(Unusable::Damaged(Corruption::Checksum));
        }
        if !ROWS.contains(&u32_at(bytes, 36)) {
            return Err(Unusable::Damaged(Corruption::Bounds));
        }
        Ok(Manifest {
            store: u64_at(bytes, 16),
            seed: u64_at(bytes, 24),
            kind: u32_at(bytes, 32),
            rows: u32_at(bytes, 36),
            size_limit: u64_at(bytes, 40),
            eviction: u32_at(bytes, 48),
            statistics: u32_at(bytes, 52) != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: Manifest =
        Manifest { store: 1, seed: 2, kind: KIND_CACHE, rows: 256, size_limit: 1 << 30, eviction: 3, statistics: true };

    #[test]
    fn a_manifest_reads_back_and_every_flipped_byte_is_found() {
        let bytes = MANIFEST.encode();
        assert_eq!(Manifest::decode(&bytes), Ok(MANIFEST));
        for at in 0..BYTES {
            let mut bad = bytes;
            bad[at] ^= 0x20;
            assert!(Manifest::decode(&bad).is_err(), "byte {at}");
            assert!(Manifest::decode(&bytes[..at]).is_err(), "length {at}");
        }
    }

    #[test]
    fn a_later_version_is_told_from_damage() {
        let mut bytes = MANIFEST.encode();
        bytes[8] = 9;
        assert_eq!(Manifest::decode(&bytes), Err(Unusable::Version(9)));
    }
}
