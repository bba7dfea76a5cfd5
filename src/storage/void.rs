//! Commits that a power cut took and whose copies it kept: a small file that names their sequences, so that the copies never
//! count. It does not know how they are found.
//!
//! ```text
//! offset  bytes
//!      0      8  magic "LARDRVOI"
//!      8      4  format version
//!     12      4  crc      CRC-32 of bytes 16..
//!     16      8  store id
//!     24     24  of each range, in the order in which they were found:
//!                  8  the last sequence before it
//!                  8  its last sequence
//!                  8  number: copies of it stand in segments of the main stream with smaller numbers alone
//! ```
//! Valid if and only if magic, version and CRC match, the store id is the one asked for, and nothing is behind the last whole
//! range. A file that is not valid, or not there, says nothing. It is replaced as a whole.

use super::{u32_at, u64_at};

const MAGIC: &[u8; 8] = b"LARDRVOI";
const HEAD: usize = 24;
const RANGE: usize = 24;
/// The longest file that is read: more ranges than power cuts can leave while the main stream goes round once.
pub const BYTES_MAX: usize = HEAD + 4096 * RANGE;

/// Sequences of commits that never count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Void {
    pub after: u64,
    pub upto: u64,
    /// Copies of them stand in segments of the main stream with smaller numbers alone.
    pub main: u64,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Voids(pub Vec<Void>);

impl Voids {
    /// True if a commit never counts.
    pub fn have(&self, sequence: u64) -> bool {
        self.0.iter().any(|void| (void.after + 1..=void.upto).contains(&sequence))
    }

    pub fn encode(&self, store: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + self.0.len() * RANGE);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&super::manifest::FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        let ranges = self.0.iter().flat_map(|void| [void.after, void.upto, void.main]);
        for word in std::iter::once(store).chain(ranges) {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        let crc = crc32fast::hash(&bytes[16..]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// What a file says.
    pub fn decode(bytes: &[u8], store: u64) -> Option<Voids> {
        let ranges = bytes.get(HEAD..)?;
        let is_valid = bytes.len() <= BYTES_MAX
            && &bytes[..8] == MAGIC
            && u32_at(bytes, 8) == super::manifest::FORMAT_VERSION
            && crc32fast::hash(&bytes[16..]) == u32_at(bytes, 12)
            && u64_at(bytes, 16) == store
            && ranges.len().is_multiple_of(RANGE);
        let range = |at: &[u8]| Void { after: u64_at(at, 0), upto: u64_at(at, 8), main: u64_at(at, 16) };
        let voids: Vec<Void> = ranges.chunks_exact(RANGE).map(range).collect();
        (is_valid && voids.iter().all(|void| void.after < void.upto)).then_some(Voids(voids))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Voids {
        Voids(vec![Void { after: 2, upto: 4, main: 5 }, Void { after: 7, upto: 8, main: 6 }])
    }

    #[test]
    fn ranges_read_back_and_every_flipped_byte_is_found() {
        let bytes = some().encode(1);
        assert_eq!(Voids::decode(&bytes, 1), Some(some()));
        assert_eq!(Voids::decode(&bytes, 9), None);
        assert_eq!(Voids::decode(&Voids::default().encode(1), 1), Some(Voids::default()));
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert_eq!(Voids::decode(&bad, 1), None, "byte {at}");
            assert_eq!(Voids::decode(&bytes[..at], 1), None, "{at} bytes");
        }
    }

    #[test]
    fn a_range_has_its_last_sequence_and_not_the_one_before_it() {
        let voids = some();
        let found: Vec<u64> = (0..10).filter(|&sequence| voids.have(sequence)).collect();
        assert_eq!(found, [3, 4, 8]);
        assert!(!Voids(vec![Void { after: 5, upto: u64::MAX, main: 1 }]).have(5));
    }

    #[test]
    fn golden_bytes_of_ranges() {
        let bytes = Voids(vec![Void { after: 2, upto: 3, main: 4 }]).encode(1);
        assert_eq!(&bytes[..12], b"LARDRVOI\x01\0\0\0");
        let words = [1u64, 2, 3, 4].map(u64::to_le_bytes).concat();
        assert_eq!(bytes[16..], words);
    }
}
