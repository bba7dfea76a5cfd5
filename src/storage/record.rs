//! A record: one put, removal or mark in the log. This file owns its bytes; it does not know the index.
//!
//! ```text
//! offset  bytes
//!      0      4  crc    CRC-32 of bytes 4..total, begun with a salt of the segment's nonce and the record's offset
//!      4      1  type   1 put, 2 removal, 3 tag defined, 4 tag evicted, 5 cleared, 6 batch, 7 dead, 8 joint; and 128 if what it
//!                      replaces or removes stood in the main stream
//!      5      1  flags  1 alone (a batch of one), 2 expires, 4 replaces, 8 large; of what opens a batch: 16..64 epoch,
//!                      128 first of its epoch
//!      6      2  key length
//!      8      4  value length: bytes in this record
//!     12      1  kind   how the value is encoded
//!     13      3  tag id, 0 for none
//!     16      8  sequence of the commit
//!     24      8  expiry, nanoseconds since 1970                      if `expires`
//!      +      8  location of the replaced record (pending readers)  if `replaces`
//!      +      8  order: place of the key's first insertion          if `replaces`
//!      +         key, value, zeros up to a multiple of 8
//! ```
//! A `large` record's value is 24 bytes: file id u64, length u64, CRC-32 of the file's value u32, zero u32.
//! A `batch` record's value is 16 bytes: length of the members that follow u64, their number u32, and their check u32:
//! begun with 0, the CRC-32 of each member's crc field begun with the check so far; at least 1, as 0 means none.
//! A `dead` record's value is 8 bytes, the hash of a key: what the main stream has of that key with a smaller sequence is
//! dead. It stands in the main stream, and so do copies of other records, with the sequences that they had; see `main`.
//!
//! A `joint` record's value is 8 bytes: the number of a commit of several shards that its batch is part of. The batch counts
//! only if that was decided; see `decision`.
//!
//! The epoch counts up, around from 7 to 0, whenever a batch may stand behind the tail that is no commit, because its
//! writer died or failed. The next batch overwrites it, and is the first of a new epoch. If a power cut brings the
//! older bytes back under younger batches, those are of an epoch that no batch before them opens, and do not count.
//!
//! Valid if and only if: the type is known, the lengths stay inside the committed part of the segment, and the CRC
//! matches. A batch is valid if its record is, exactly its number of members with its sequence follow, all valid, none
//! `alone`, they end where its length says, and have its check if it has one. The check tells members of two writers apart who
//! died one after the other and used the same place, sequence and lengths. All zeros are never valid.

use std::ops::Range;

use crate::os::OsMap;

use super::{u32_at, u64_at};

/// Bytes of the fixed part.
pub const HEADER: usize = 24;
/// Bytes of the fixed part and all optional words.
pub const HEAD_MAX: usize = HEADER + 24;
/// Bytes of a `large` record's value.
pub const LARGE_REFERENCE: usize = 24;
/// Bytes of a `dead` record's value.
pub const DEAD_VALUE: usize = 8;
/// The kind of a mark by which a tag takes over a row: names of the row that are older are none.
pub const TAKEN_OVER: u8 = 1;
/// Bytes of a `joint` record's value.
pub const JOINT_VALUE: usize = 8;
/// So many bytes a record with an order is longer than one without.
pub const ORDER_BYTES: u64 = 16;
/// Bytes of a whole batch record.
pub const BATCH_RECORD: usize = HEADER + 16;
/// Records up to this length are copied in one piece: moving the value to the front costs less than a second checksum.
const COPIED_WHOLE: usize = 4096;
/// The longest value a record can hold: anything longer goes to a file of its own far below this.
pub const VALUE_BYTES_MAX: usize = u32::MAX as usize >> 2;

/// Segments are shorter than 2 to this.
const ORDER_OFFSET_BITS: u32 = 28;

const ALONE: u8 = 1;
const EXPIRES: u8 = 2;
const REPLACES: u8 = 4;
const LARGE: u8 = 8;
const EPOCH_SHIFT: u32 = 4;
const FIRST: u8 = 128;
/// Bit of the type byte.
const OVER_MAIN: u8 = 128;

/// What a record does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Type {
    Put = 1,
    Removal = 2,
    TagDefined = 3,
    TagEvicted = 4,
    Cleared = 5,
    Batch = 6,
    Dead = 7,
    Joint = 8,
}

impl Type {
    fn parse(byte: u8) -> Option<Type> {
        Some(match byte {
            1 => Type::Put,
            2 => Type::Removal,
            3 => Type::TagDefined,
            4 => Type::TagEvicted,
            5 => Type::Cleared,
            6 => Type::Batch,
            7 => Type::Dead,
            8 => Type::Joint,
            _ => return None,
        })
    }
}

/// A record about to be written.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    pub kind_of_record: Type,
    pub key: &'a [u8],
    pub value: &'a [u8],
    /// How the value is encoded; the engine does not look at it.
    pub kind: u8,
    pub tag: u32,
    pub sequence: u64,
    pub expires: Option<u64>,
    /// Location bits of the replaced record, and the order it had.
    pub replaces: Option<(u64, u64)>,
    pub large: bool,
    pub alone: bool,
    /// Of what opens a batch: its epoch, and whether it is the first of it.
    pub epoch: (u8, bool),
    /// What it replaces or removes stands in the main stream.
    pub over_main: bool,
}

impl Draft<'_> {
    /// A record of a type, with nothing in it.
    pub fn bare(kind_of_record: Type, sequence: u64) -> Draft<'static> {
        Draft {
            kind_of_record,
            key: &[],
            value: &[],
            kind: 0,
            tag: 0,
            sequence,
            expires: None,
            replaces: None,
            large: false,
            alone: false,
            epoch: (0, false),
            over_main: false,
        }
    }

    /// Bytes it takes in the log.
    pub fn size(&self) -> usize {
        padded(HEADER + optional_bytes(self.flags()) + self.key.len() + self.value.len())
    }

    #[inline(always)]
    fn flags(&self) -> u8 {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        flag(self.alone, ALONE)
            | flag(self.expires.is_some(), EXPIRES)
            | flag(self.replaces.is_some(), REPLACES)
            | flag(self.large, LARGE)
            | (self.epoch.0 << EPOCH_SHIFT)
            | flag(self.epoch.1, FIRST)
    }

    /// Writes the fixed part without the checksum, and the optional words. How many bytes they are together.
    #[inline(always)]
    fn write_head(&self, to: &mut [u8; HEAD_MAX]) -> usize {
        debug_assert!(self.key.len() <= usize::from(u16::MAX) && self.value.len() <= VALUE_BYTES_MAX);
        let flags = self.flags();
        let kind = self.kind_of_record as u8 | if self.over_main { OVER_MAIN } else { 0 };
        let mut write = |at: usize, word: u64| to[at..at + 8].copy_from_slice(&word.to_le_bytes());
        write(0, u64::from(kind) << 32 | u64::from(flags) << 40 | (self.key.len() as u64) << 48);
        write(8, self.value.len() as u64 | u64::from(self.kind) << 32 | u64::from(self.tag) << 40);
        write(16, self.sequence);
        if let Some(expires) = self.expires {
            write(HEADER, expires);
        }
        if let Some((location, order)) = self.replaces {
            let at = if self.expires.is_some() { HEADER + 8 } else { HEADER };
            write(at, location);
            write(at + 8, order);
        }
        HEADER + optional_bytes(flags)
    }

    /// Encodes the record for its place onto the end of `out`, padded. The checksum's bytes.
    #[inline(always)]
    pub fn encode(&self, salt: u32, out: &mut Vec<u8>) -> [u8; 4] {
        let start = out.len();
        out.reserve(HEAD_MAX + self.key.len() + self.value.len() + 8);
        // Room of a fixed length that is cut afterwards costs less than room of the right length.
        out.extend_from_slice(&[0; HEAD_MAX]);
        let head_len = out[start..].first_chunk_mut().map_or(0, |room| self.write_head(room));
        let content = head_len + self.key.len() + self.value.len();
        out.truncate(start + head_len);
        out.extend_from_slice(self.key);
        out.extend_from_slice(self.value);
        let record = &mut out[start..];
        let crc = checksum(salt, &record[4..]).to_le_bytes();
        record[..4].copy_from_slice(&crc);
        out.extend_from_slice(&[0; 8]);
        out.truncate(start + padded(content));
        crc
    }
}

/// The fixed part and the optional words of a record that is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind_of_record: Type,
    flags: u8,
    /// What it replaced or removed stood in the main stream.
    pub over_main: bool,
    pub kind: u8,
    pub tag: u32,
    pub sequence: u64,
    /// Nanoseconds since 1970; `u64::MAX` for never.
    pub expires: u64,
    /// Location bits of the record this one replaced; 0 for none.
    pub previous: u64,
    /// 0 for a record that is itself the first.
    order: u64,
    key_len: usize,
    value_len: usize,
}

impl Header {
    /// True if the record has neither key nor value.
    pub fn is_bare(&self) -> bool {
        self.key_len == 0 && self.value_len == 0
    }

    /// The header of a record that is not in the log yet. `replaces` gives the order, whatever its location is.
    pub fn of(draft: &Draft<'_>) -> Header {
        Header {
            kind_of_record: draft.kind_of_record,
            flags: draft.flags(),
            over_main: draft.over_main,
            kind: draft.kind,
            tag: draft.tag,
            sequence: draft.sequence,
            expires: draft.expires.unwrap_or(u64::MAX),
            previous: 0,
            order: draft.replaces.map_or(0, |(_, order)| order),
            key_len: draft.key.len(),
            value_len: draft.value.len(),
        }
    }

    /// The same header in another place of the order of insertion.
    pub fn with_order(&self, order: u64) -> Header {
        Header { flags: self.flags | REPLACES, order, ..*self }
    }

    /// Reads the header at `offset` of a mapped segment. `None` if no record can begin there: its type is unknown, or
    /// its lengths lead beyond `end`. The checksum is not looked at.
    #[inline(always)]
    pub fn read<M: OsMap>(map: &M, offset: usize, end: usize) -> Option<Header> {
        let mut fixed = [0; HEADER];
        if offset.checked_add(HEADER)? > end || !map.read(offset, &mut fixed) {
            return None;
        }
        let flags = fixed[5];
        let mut header = Header {
            kind_of_record: Type::parse(fixed[4] & !OVER_MAIN)?,
            flags,
            over_main: fixed[4] & OVER_MAIN != 0,
            kind: fixed[12],
            tag: u32::from_le_bytes([fixed[13], fixed[14], fixed[15], 0]),
            sequence: u64_at(&fixed, 16),
            expires: u64::MAX,
            previous: 0,
            order: 0,
            key_len: usize::from(u16::from_le_bytes([fixed[6], fixed[7]])),
            value_len: u32_at(&fixed, 8) as usize,
        };
        if offset.checked_add(header.size())? > end {
            return None;
        }
        let mut at = offset + HEADER;
        let mut word = || {
            let mut bytes = [0; 8];
            let inside = map.read(at, &mut bytes);
            at += 8;
            inside.then_some(u64::from_le_bytes(bytes))
        };
        if flags & EXPIRES != 0 {
            header.expires = word()?;
        }
        if flags & REPLACES != 0 {
            header.previous = word()?;
            header.order = word()?;
        }
        Some(header)
    }

    /// Bytes the record takes in the log.
    pub fn size(&self) -> usize {
        padded(self.content())
    }

    fn content(&self) -> usize {
        HEADER + optional_bytes(self.flags) + self.key_len + self.value_len
    }

    pub fn is_alone(&self) -> bool {
        self.flags & ALONE != 0
    }

    /// The epoch of what opens a batch, and whether it is the first of it.
    pub fn epoch(&self) -> (u8, bool) {
        (self.flags >> EPOCH_SHIFT & super::location::EPOCH_MASK, self.flags & FIRST != 0)
    }

    pub fn is_large(&self) -> bool {
        self.flags & LARGE != 0
    }

    /// The place in the log of the key's first insertion since it was last absent, for a record at `offset` of a segment:
    /// what was inserted later has a larger one.
    pub fn order(&self, segment: u64, offset: usize) -> u64 {
        if self.flags & REPLACES != 0 { self.order } else { order_of_place(segment, offset) }
    }

    /// Where the key is, as offset and length.
    pub fn key_range(&self, record: usize) -> (usize, usize) {
        (record + HEADER + optional_bytes(self.flags), self.key_len)
    }

    /// Where the value is, as offset and length.
    pub fn value_range(&self, record: usize) -> (usize, usize) {
        let (key, len) = self.key_range(record);
        (key + len, self.value_len)
    }

    /// Copies the value onto the end of `to`, and verifies the record on the copy. False, and `to` as before, if the
    /// checksum does not match.
    #[inline]
    pub fn append_value<M: OsMap>(&self, map: &M, record: usize, salt: u32, to: &mut Vec<u8>) -> bool {
        let start = to.len();
        if self.content() <= COPIED_WHOLE {
            let Some(value) = self.append_record(map, record, salt, to) else { return false };
            to.copy_within(value, start);
            to.truncate(start + self.value_len);
            return true;
        }
        // The head goes before the value comes: a long value is copied once.
        let head = self.content() - self.value_len;
        if !map.append_to(record, head, to) {
            return false;
        }
        let mut hasher = crc32fast::Hasher::new_with_initial(salt);
        hasher.update(&to[start + 4..]);
        let stored = u32_at(to, start);
        to.truncate(start);
        if !map.append_to(record + head, self.value_len, to) {
            return false;
        }
        hasher.update(&to[start..]);
        let matches = hasher.finalize() == stored;
        if !matches {
            to.truncate(start);
        }
        matches
    }

    /// As [`append_value`](Header::append_value), but what stands before the value may stay in front of it, which saves moving it:
    /// where it is in `to`. For who collects many.
    #[inline(always)]
    pub fn append_record<M: OsMap>(&self, map: &M, record: usize, salt: u32, to: &mut Vec<u8>) -> Option<Range<usize>> {
        let start = to.len();
        if self.content() > COPIED_WHOLE {
            return self.append_value(map, record, salt, to).then_some(start..to.len());
        }
        if !map.append_to(record, self.content(), to) {
            return None;
        }
        if checksum(salt, &to[start + 4..]) != u32_at(to, start) {
            to.truncate(start);
            return None;
        }
        Some(to.len() - self.value_len..to.len())
    }

    /// True if the record verifies where it stands, for a value that is borrowed and not copied.
    pub fn verify_in_place<M: OsMap>(&self, map: &M, record: usize, salt: u32) -> bool {
        map.immutable(record, self.content()).is_some_and(|bytes| checksum(salt, &bytes[4..]) == u32_at(bytes, 0))
    }

    /// True if the record's bytes have the checksum that stands before them.
    pub fn verify<M: OsMap>(&self, map: &M, record: usize, salt: u32, buffer: &mut Vec<u8>) -> bool {
        buffer.clear();
        map.append_to(record, self.content(), buffer) && checksum(salt, &buffer[4..]) == u32_at(buffer, 0)
    }
}

/// The order of a key that is inserted by the record at `offset` of a segment.
pub fn order_of_place(segment: u64, offset: usize) -> u64 {
    (segment << ORDER_OFFSET_BITS) | offset as u64
}

/// The value of a `large` record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LargeReference {
    pub file: u64,
    pub len: u64,
    pub crc: u32,
}

impl LargeReference {
    pub fn encode(&self) -> [u8; LARGE_REFERENCE] {
        let mut bytes = [0; LARGE_REFERENCE];
        bytes[..8].copy_from_slice(&self.file.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.len.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.crc.to_le_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8]) -> LargeReference {
        LargeReference { file: u64_at(bytes, 0), len: u64_at(bytes, 8), crc: u32_at(bytes, 16) }
    }
}

/// The value of a batch record.
pub fn batch_value(bytes: u64, members: u32, check: u32) -> [u8; 16] {
    let mut value = [0; 16];
    value[..8].copy_from_slice(&bytes.to_le_bytes());
    value[8..12].copy_from_slice(&members.to_le_bytes());
    value[12..].copy_from_slice(&check.max(1).to_le_bytes());
    value
}

/// Length in bytes, number and check of a batch's members, from its value. Members agree with the check 0 and with their own.
pub fn parse_batch_value(value: &[u8]) -> (u64, u32, u32) {
    (u64_at(value, 0), u32_at(value, 8), u32_at(value, 12))
}

/// The check of a batch's members, from that of those before and the crc fields of more, end to end: to go on with one
/// after the other comes to the same.
#[inline]
pub fn check_with(before: u32, crcs: &[u8]) -> u32 {
    checksum(before, crcs)
}

/// What a record's checksum begins with: bytes that verify at one place of one segment verify nowhere else.
pub fn salt(nonce: u64, offset: usize) -> u32 {
    if seeded!("no_salt") {
        return 0;
    }
    let mixed = nonce ^ (offset as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 32) as u32 ^ mixed as u32
}

/// CRC-32 begun with a salt.
#[inline]
pub fn checksum(salt: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(bytes);
    hasher.finalize()
}

fn optional_bytes(flags: u8) -> usize {
    usize::from(flags & EXPIRES != 0) * 8 + usize::from(flags & REPLACES != 0) * 16
}

/// Records begin at multiples of 8.
pub fn padded(len: usize) -> usize {
    len.next_multiple_of(8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::real::RealOs;
    use crate::os::{Access, OpenMode, Os, OsFile};

    fn map_of(bytes: &[u8]) -> impl OsMap {
        let dir = tempfile::tempdir().unwrap();
        let file = RealOs::new().unwrap().open(&dir.path().join("f"), OpenMode::Create).unwrap();
        file.write_at(bytes, 0).unwrap();
        file.map(bytes.len(), Access::Write).unwrap()
    }

    fn full() -> Draft<'static> {
        Draft {
            key: b"key",
            value: b"the value",
            kind: 7,
            tag: 0x01_0203,
            expires: Some(99),
            replaces: Some((4096, 17)),
            alone: true,
            ..Draft::bare(Type::Put, 0x1122_3344_5566_7788)
        }
    }

    #[test]
    fn golden_bytes_of_a_record_with_every_field() {
        let mut out = Vec::new();
        full().encode(salt(1, 64), &mut out);
        let body = [
            1, 7, 3, 0, 9, 0, 0, 0, 7, 3, 2, 1, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 99, 0, 0, 0, 0, 0, 0,
            0, 0, 16, 0, 0, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0, b'k', b'e', b'y', b't', b'h', b'e', b' ', b'v', b'a',
            b'l', b'u', b'e', 0, 0, 0, 0,
        ];
        assert_eq!(out[4..], body);
        assert_eq!(out.len(), full().size());
        let header = Header::read(&map_of(&out), 0, out.len()).unwrap();
        assert_eq!((header.expires, header.previous, header.order(1, 0), header.tag), (99, 4096, 17, 0x01_0203));
        assert_eq!(header.value_range(0), (51, 9));
    }

    #[test]
    fn a_record_verifies_at_its_own_place_only() {
        let mut out = Vec::new();
        full().encode(salt(1, 64), &mut out);
        let map = map_of(&out);
        let header = Header::read(&map, 0, out.len()).unwrap();
        let mut buffer = Vec::new();
        assert!(header.verify(&map, 0, salt(1, 64), &mut buffer));
        assert!(!header.verify(&map, 0, salt(1, 72), &mut buffer));
        assert!(!header.verify(&map, 0, salt(2, 64), &mut buffer));
    }

    #[test]
    fn every_flipped_byte_is_found() {
        let mut out = Vec::new();
        full().encode(salt(5, 8), &mut out);
        let unpadded = 24 + 24 + 12;
        for at in 0..unpadded {
            let mut bad = out.clone();
            bad[at] ^= 0x40;
            let map = map_of(&bad);
            let fine = Header::read(&map, 0, bad.len()).is_some_and(|h| h.verify(&map, 0, salt(5, 8), &mut Vec::new()));
            assert!(!fine, "byte {at}");
        }
    }

    #[test]
    fn lengths_beyond_the_end_are_no_record() {
        let mut out = Vec::new();
        full().encode(0, &mut out);
        let map = map_of(&out);
        for end in 0..out.len() {
            assert!(Header::read(&map, 0, end).is_none(), "{end}");
        }
        assert!(Header::read(&map, usize::MAX - 8, usize::MAX).is_none());
        assert!(Header::read(&map_of(&[0; 64]), 0, 64).is_none());
    }
}
