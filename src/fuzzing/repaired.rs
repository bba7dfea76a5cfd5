//! Checksums put right over bytes that were changed, so that a fuzzer gets past them to what believes in them. It knows
//! where each checksum of a file stands, and nothing of what the bytes mean.

use super::held::Held;
use crate::storage::record::{self, Header, Type};
use crate::storage::{segment, u32_at, u64_at};

/// Where the checksum of a file's head is, and what it is over: ranges of bytes.
fn head_checksum(name: &str) -> Option<(usize, &'static [(usize, usize)])> {
    Some(match name.split('-').next()? {
        "larder" => (60, &[(0, 60)]),
        "state" => (64, &[(0, 64)]),
        "index" => (32, &[(0, 32)]),
        "log" | "main" => (52, &[(0, 52), (56, 64)]),
        "synced" => (12, &[(16, 64)]),
        _ => return None,
    })
}

/// Puts the checksum of a head right, if the file is long enough to have one.
pub fn repair_head(name: &str, bytes: &mut [u8]) {
    let Some((at, ranges)) = head_checksum(name) else { return };
    let mut hasher = crc32fast::Hasher::new();
    for (from, to) in ranges {
        let Some(part) = bytes.get(*from..*to) else { return };
        hasher.update(part);
    }
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&hasher.finalize().to_le_bytes());
    }
    if name == "synced" && bytes.len() > 512 {
        repair_head(name, &mut bytes[512..]);
    }
}

/// Puts the checksum of one record right, if it is in the file.
pub fn repair_record(bytes: &mut [u8], at: usize, content: usize, nonce: u64) {
    if let Some(record) = at.checked_add(content).and_then(|end| bytes.get_mut(at..end)) {
        let crc = record::checksum(record::salt(nonce, at), &record[4..]);
        record[..4].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Bytes of a record without its padding.
pub fn content_of(header: &Header) -> usize {
    let (value, len) = header.value_range(0);
    value + len
}

/// Puts right the checksums of all records of a segment that follow each other from its head on, and the checks of batches.
pub fn repair_records(bytes: &mut [u8]) {
    let nonce = u64_at(bytes, 32);
    let (mut at, mut found) = (segment::HEAD, Vec::new());
    let map = Held::new(bytes);
    while let Some(header) = Header::read(&map, at, bytes.len()) {
        repair_record(bytes, at, content_of(&header), nonce);
        found.push((at, header));
        at += header.size();
    }
    for (i, (at, header)) in found.iter().enumerate() {
        if header.kind_of_record != Type::Batch || header.is_alone() {
            continue;
        }
        let value = header.value_range(*at).0;
        let members = u32_at(bytes, value + 8) as usize;
        let crcs = found.iter().skip(i + 1).take(members).map(|(at, _)| u32_at(bytes, *at).to_le_bytes());
        let check = crcs.fold(0, |check, crc| record::check_with(check, &crc)).max(1);
        if let Some(place) = bytes.get_mut(value + 12..value + 16) {
            place.copy_from_slice(&check.to_le_bytes());
            repair_record(bytes, *at, content_of(header), nonce);
        }
    }
}
