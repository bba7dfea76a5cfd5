//! The redo list: which words a commit changes, and to what. This file owns the list's bytes and how a word is named;
//! when a list counts is the engine's business.
//!
//! ```text
//! In the state file at REDO:
//!      0      8  number of changes
//!      8      8  0, or the sequence in the name of the spill file that holds the changes
//!     16     24  each change: address, old value, new value
//! ```
//! A spill file is: the changes, 24 bytes each, then the CRC-32 of them in 8 bytes.
//!
//! Address: bits 56..64 what (1 state, 2 index, 3 tags, 4 order); bits 32..56 which generation or chunk; bits 0..32 offset / 8.
//!
//! A list is complete before PENDING names its commit, and unchanged until PENDING is 0 again. Storing every new value
//! is idempotent: values are absolute, never differences.

use super::state::{REDO, REDO_BYTES};
use crate::os::OsMap;

/// Bytes of one change.
pub const CHANGE: usize = 24;
/// The most changes that fit in the state file.
pub const CHANGES_INLINE: usize = (REDO_BYTES - 16) / CHANGE;
/// The most changes a spill file can hold: a bound for what recovery goes through.
pub const CHANGES_MAX: usize = 1 << 26;
/// Behind the changes of a spill file.
const CHECK: usize = 8;
/// Changes that are read from a spill file at once: memory does not grow with it.
const PIECE: usize = 2048;

/// The name of a shared word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address(u64);

/// Which file a word is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    State,
    /// Index file of a generation.
    Index(u32),
    /// Chunk of the tag table.
    Tags(u32),
    /// Chunk of the nodes that keep keys in order.
    Order(u32),
}

impl Address {
    #[inline(always)]
    pub fn new(place: Place, offset: usize) -> Address {
        debug_assert!(offset.is_multiple_of(8) && offset >> 3 <= u32::MAX as usize);
        let (what, which) = match place {
            Place::State => (1, 0),
            Place::Index(generation) => (2, generation),
            Place::Tags(chunk) => (3, chunk),
            Place::Order(chunk) => (4, chunk),
        };
        Address((what << 56) | (u64::from(which & 0xFF_FFFF) << 32) | (offset as u64 >> 3))
    }

    /// The file of words of the state file, as [`Address::file`] gives it.
    pub const STATE: u64 = 1 << 24;

    /// The file that the word is in: a number that two words share only if they share the file.
    #[inline(always)]
    pub fn file(self) -> u64 {
        self.0 >> 32
    }

    /// The offset in the file.
    #[inline(always)]
    pub fn offset(self) -> usize {
        ((self.0 & 0xFFFF_FFFF) << 3) as usize
    }

    /// The bits, as the list holds them.
    #[inline(always)]
    pub fn bits(self) -> u64 {
        self.0
    }

    /// File and offset; `None` for bits that name nothing.
    #[inline(always)]
    pub fn parse(self) -> Option<(Place, usize)> {
        let which = (self.0 >> 32) as u32 & 0xFF_FFFF;
        let offset = self.offset();
        match self.0 >> 56 {
            1 => Some((Place::State, offset)),
            2 => Some((Place::Index(which), offset)),
            3 => Some((Place::Tags(which), offset)),
            4 => Some((Place::Order(which), offset)),
            _ => None,
        }
    }
}

/// One word's change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub address: Address,
    pub old: u64,
    pub new: u64,
}

/// Writes a list that fits into the state file. It comes in two parts, one behind the other.
#[inline]
pub fn write_inline<M: OsMap>(state: &M, parts: [&[Change]; 2]) {
    let len = parts[0].len() + parts[1].len();
    debug_assert!(len <= CHANGES_INLINE);
    state.store_words(REDO, [len as u64, 0]);
    let mut at = REDO + 16;
    for part in &parts {
        for change in *part {
            state.store_words(at, [change.address.0, change.old, change.new]);
            at += CHANGE;
        }
    }
}

/// Writes that the list is in the spill file of a sequence.
pub fn write_spilled<M: OsMap>(state: &M, changes: usize, sequence: u64) {
    state.store(REDO, changes as u64);
    state.store(REDO + 8, sequence);
}

/// Number of changes, and the spill file's sequence if they are in one.
pub fn describe<M: OsMap>(state: &M) -> (usize, Option<u64>) {
    let spill = state.load(REDO + 8);
    (usize::try_from(state.load(REDO)).unwrap_or(usize::MAX), (spill != 0).then_some(spill))
}

/// The `i`th change of a list in the state file.
pub fn read_inline<M: OsMap>(state: &M, i: usize) -> Change {
    let at = REDO + 16 + i * CHANGE;
    Change { address: Address(state.load(at)), old: state.load(at + 8), new: state.load(at + 16) }
}

/// The bytes of a spill file.
pub fn encode_spill(parts: [&[Change]; 2]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity((parts[0].len() + parts[1].len()) * CHANGE + CHECK);
    for change in parts.into_iter().flatten() {
        bytes.extend_from_slice(&change.address.0.to_le_bytes());
        bytes.extend_from_slice(&change.old.to_le_bytes());
        bytes.extend_from_slice(&change.new.to_le_bytes());
    }
    let crc = u64::from(crc32fast::hash(&bytes));
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// The length of a spill file of so many changes.
pub fn spill_bytes(changes: usize) -> u64 {
    (changes as u64).saturating_mul(CHANGE as u64).saturating_add(CHECK as u64)
}

/// Goes through a spill file of so many changes, a piece at a time; `read` fills a buffer with what is at an offset. False if it
/// does not have its checksum: then nothing that `visit` was given counts.
pub fn walk_spill<E>(
    changes: usize,
    mut read: impl FnMut(&mut [u8], u64) -> Result<(), E>,
    mut visit: impl FnMut(Change) -> Result<(), E>,
) -> Result<bool, E> {
    let mut crc = crc32fast::Hasher::new();
    let mut piece = vec![0; changes.min(PIECE) * CHANGE];
    let mut at = 0;
    while at < changes {
        let part = &mut piece[..(changes - at).min(PIECE) * CHANGE];
        read(part, (at * CHANGE) as u64)?;
        crc.update(part);
        for change in part.chunks_exact(CHANGE) {
            let word = |offset| super::u64_at(change, offset);
            visit(Change { address: Address(word(0)), old: word(8), new: word(16) })?;
        }
        at += PIECE;
    }
    let mut check = [0; CHECK];
    read(&mut check, spill_bytes(changes) - CHECK as u64)?;
    Ok(u64::from_le_bytes(check) == u64::from(crc.finalize()))
}

/// The changes of a spill file in memory; `None` if it is none of so many.
#[cfg(any(test, fuzzing))]
pub fn decode_spill(bytes: &[u8], changes: usize) -> Option<Vec<Change>> {
    let mut found = Vec::new();
    let read = |to: &mut [u8], at: u64| {
        to.copy_from_slice(bytes.get(at as usize..).and_then(|rest| rest.get(..to.len())).ok_or(())?);
        Ok::<(), ()>(())
    };
    let visit = |change| {
        found.push(change);
        Ok(())
    };
    let is_whole = bytes.len() as u64 == spill_bytes(changes) && walk_spill(changes, read, visit) == Ok(true);
    is_whole.then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_parses_back_and_garbage_names_nothing() {
        for (place, offset) in [(Place::State, 8), (Place::Index(0xF_FFFF), 8 * 0xFFFF_FFFF), (Place::Tags(3), 0)] {
            assert_eq!(Address::new(place, offset).parse(), Some((place, offset)));
        }
        assert_eq!(Address(0).parse(), None);
        assert_eq!(Address(u64::MAX).parse(), None);
    }

    #[test]
    fn a_spill_reads_back_and_damage_is_found() {
        let change = Change { address: Address::new(Place::State, 448), old: 1, new: 2 };
        let bytes = encode_spill([&[change], &[change]]);
        assert_eq!(decode_spill(&bytes, 2), Some(vec![change, change]));
        assert_eq!(decode_spill(&bytes, 1), None);
        assert_eq!(decode_spill(&bytes, usize::MAX), None);
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert_eq!(decode_spill(&bad, 2), None, "byte {at}");
        }
    }

    #[test]
    fn a_long_spill_is_read_in_pieces() {
        for len in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 7] {
            let change =
                |i: usize| Change { address: Address::new(Place::Tags(1), 8 * i), old: i as u64, new: !i as u64 };
            let changes: Vec<Change> = (0..len).map(change).collect();
            let bytes = encode_spill([&changes, &[]]);
            let mut longest = 0;
            let read = |to: &mut [u8], at: u64| {
                longest = longest.max(to.len());
                to.copy_from_slice(&bytes[at as usize..][..to.len()]);
                Ok::<(), ()>(())
            };
            assert_eq!(walk_spill(len, read, |_| Ok(())), Ok(true));
            assert!(longest <= PIECE * CHANGE);
            assert_eq!(decode_spill(&bytes, len), Some(changes));
        }
    }
}
