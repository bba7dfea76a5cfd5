//! The bytes of a value that was written as a stream, and is too long to be verified whole wherever one looks.
//!
//! ```text
//! offset  bytes
//!      0         the value, in blocks of 64 KiB, the last one shorter
//!      +      4  for each block: CRC-32 of its bytes
//!      +      4  CRC-32 of the checksums before
//! ```
//! The length of the whole says how long each part is. Whoever has verified the checksums can verify any block by itself.

use super::native::malformed;
use crate::error::Result;

/// Bytes of a block.
pub const BLOCK: usize = 64 << 10;
const CRC: u64 = 4;

/// Bytes of the value, of what is so long in all; `None` if nothing is.
pub fn value_len(whole: u64) -> Option<u64> {
    let rest = whole.checked_sub(CRC)?;
    let blocks = rest.div_ceil(BLOCK as u64 + CRC);
    let len = rest.checked_sub(blocks * CRC)?;
    (len.div_ceil(BLOCK as u64) == blocks).then_some(len)
}

/// The value, of bytes that were verified.
pub fn value(whole: &[u8]) -> Result<&[u8]> {
    let len = value_len(whole.len() as u64).and_then(|len| usize::try_from(len).ok());
    len.and_then(|len| whole.get(..len)).ok_or_else(malformed)
}

/// The checksums of blocks.
#[derive(Clone, Debug, Default)]
pub struct Checksums(Vec<u8>);

impl Checksums {
    /// Adds the checksum of the next block.
    pub fn push(&mut self, block: &[u8]) {
        self.0.extend_from_slice(&crc32fast::hash(block).to_le_bytes());
    }

    /// What stands behind the value.
    pub fn encoded(&self) -> Vec<u8> {
        [&self.0[..], &crc32fast::hash(&self.0).to_le_bytes()].concat()
    }

    /// What stands behind a value. `None` if it is damaged.
    pub fn decode(mut encoded: Vec<u8>) -> Option<Checksums> {
        let crc = encoded.split_off(encoded.len().checked_sub(CRC as usize)?);
        (crc32fast::hash(&encoded).to_le_bytes()[..] == crc[..]).then_some(Checksums(encoded))
    }

    /// True if a block is what was written.
    pub fn fits(&self, number: usize, block: &[u8]) -> bool {
        let place = number.checked_mul(CRC as usize).and_then(|at| self.0.get(at..at + CRC as usize));
        place.is_some_and(|crc| crc32fast::hash(block).to_le_bytes()[..] == *crc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(len: usize) -> Vec<u8> {
        // No two blocks alike.
        let mut bytes: Vec<u8> = (0..len).map(|i| (i * 7 + i / BLOCK) as u8).collect();
        let mut checksums = Checksums::default();
        bytes.chunks(BLOCK).for_each(|block| checksums.push(block));
        bytes.extend(checksums.encoded());
        bytes
    }

    #[test]
    fn the_length_of_the_whole_says_that_of_the_value() {
        for len in [0, 1, 7, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 5 * BLOCK - 3] {
            let whole = written(len);
            assert_eq!(value_len(whole.len() as u64), Some(len as u64));
            assert_eq!(value(&whole).unwrap().len(), len);
            let checksums = Checksums::decode(whole[len..].to_vec()).unwrap();
            for (number, block) in whole[..len].chunks(BLOCK).enumerate() {
                assert!(checksums.fits(number, block));
                assert!(!checksums.fits(number + 1, block) || block.is_empty());
            }
        }
        // Of these no value is that long in all.
        for whole in [0, 1, 3, 5, 7, 8, BLOCK as u64 + 9] {
            assert_eq!(value_len(whole), None, "{whole}");
        }
        assert_eq!(value_len(u64::MAX).map(|len| len < u64::MAX), Some(true));
    }

    #[test]
    fn damaged_checksums_are_found() {
        let whole = written(3 * BLOCK);
        for at in 3 * BLOCK..whole.len() {
            let mut damaged = whole[3 * BLOCK..].to_vec();
            damaged[at - 3 * BLOCK] ^= 1;
            assert!(Checksums::decode(damaged).is_none(), "byte {at}");
        }
        assert!(Checksums::decode(Vec::new()).is_none());
    }
}
