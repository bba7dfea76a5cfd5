//! What a fan-out cache is, in one small file in its directory that is written once; and the names there.
//!
//! ```text
//! offset  bytes
//!      0      8  magic "LARDRFAN"
//!      8      4  format version
//!     12      4  number of shards
//!     16      8  id, drawn at creation
//!     24      8  seed of the hash that says which shard has a key, drawn at creation
//!     32      4  crc    CRC-32 of bytes 0..32
//! ```
//! Valid if and only if it is 36 bytes long, the magic is right, the number of shards is possible, and the CRC matches.

use std::path::{Path, PathBuf};

use super::manifest::{FORMAT_VERSION, Unusable};
use super::{u32_at, u64_at};
use crate::error::Corruption;

/// Length of the file.
pub const BYTES: usize = 36;
/// The most shards there may be.
pub const SHARDS_MAX: u32 = 128;
/// Bytes on disk that are no shard's: of this file, and of the decisions.
pub const OVERHEAD: u64 = 8192;
const MAGIC: &[u8; 8] = b"LARDRFAN";
/// The name of the file, which no store's file has.
pub const NAME: &str = "fanout";

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fanout {
    pub shards: u32,
    pub id: u64,
    pub seed: u64,
}

/// The file of the fan-out cache in a directory.
pub fn manifest(root: &Path) -> PathBuf {
    root.join(NAME)
}

/// The same before it has its name.
pub fn draft(root: &Path) -> PathBuf {
    root.join("fanout.new")
}

/// The file that is locked while one is opened.
pub fn open_lock(root: &Path) -> PathBuf {
    root.join("open.lock")
}

/// The file of decisions.
pub fn decisions(root: &Path) -> PathBuf {
    root.join("decided")
}

/// The directory of a shard.
pub fn shard(root: &Path, number: u32) -> PathBuf {
    root.join(format!("shard-{number:x}"))
}

impl Fanout {
    pub fn encode(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.shards.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.id.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.seed.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..32]);
        bytes[32..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Fanout, Unusable> {
        if bytes.len() < 12 {
            return Err(Unusable::Damaged(Corruption::Truncated));
        }
        if &bytes[..8] != MAGIC {
            return Err(Unusable::Damaged(Corruption::Magic));
        }
        let version = u32_at(bytes, 8);
        if version != FORMAT_VERSION {
            return Err(Unusable::Version(version));
        }
        if bytes.len() != BYTES {
            return Err(Unusable::Damaged(Corruption::Truncated));
        }
        if crc32fast::hash(&bytes[..32]) != u32_at(bytes, 32) {
            return Err(Unusable::Damaged(Corruption::Checksum));
        }
        let shards = u32_at(bytes, 12);
        if shards == 0 || shards > SHARDS_MAX {
            return Err(Unusable::Damaged(Corruption::Bounds));
        }
        Ok(Fanout { shards, id: u64_at(bytes, 16), seed: u64_at(bytes, 24) })
    }

    /// The shard that has a key. The high bits of a product spread over any number of shards as well as over a power of two.
    #[inline]
    pub fn shard_of(&self, key: &[u8]) -> usize {
        let hash = xxhash_rust::xxh3::xxh3_64_with_seed(key, self.seed);
        ((u128::from(hash) * u128::from(self.shards)) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FANOUT: Fanout = Fanout { shards: 8, id: 2, seed: 3 };

    #[test]
    fn it_reads_back_and_every_flipped_byte_is_found() {
        let bytes = FANOUT.encode();
        assert_eq!(Fanout::decode(&bytes), Ok(FANOUT));
        for at in 0..BYTES {
            let mut bad = bytes;
            bad[at] ^= 1;
            assert!(Fanout::decode(&bad).is_err(), "byte {at}");
        }
        for len in 0..BYTES {
            assert!(Fanout::decode(&bytes[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn impossible_numbers_of_shards_are_refused() {
        for shards in [0, SHARDS_MAX + 1] {
            assert!(Fanout::decode(&Fanout { shards, ..FANOUT }.encode()).is_err());
        }
    }

    #[test]
    fn golden_bytes() {
        let bytes = FANOUT.encode();
        assert_eq!(bytes[..12], *b"LARDRFAN\x01\0\0\0");
        assert_eq!(bytes[12..32], *b"\x08\0\0\0\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0");
    }
}
