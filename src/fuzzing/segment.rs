//! The bytes of a whole segment: its head, its batches, and the way out of damage.
//!
//! Input: a byte of flags (1: the head's checksum is put right, 2: those of the records, 4: so long as nothing else is
//! said, the segment is one of the main stream), how much of it was durable in 64ths, then the segment.

use super::held::Held;
use super::input::Input;
use super::repaired::{content_of, repair_head, repair_records};
use crate::engine::{Batches, FoundInLog};
use crate::os::bounded::within;
use crate::storage::record;
use crate::storage::segment::{HEAD, Head, MAIN};
use crate::storage::u64_at;

/// Reads a segment to its end.
pub fn segment(bytes: &[u8]) {
    // A member of a batch takes 24 bytes of the file and 96 of memory, in a vector that doubles.
    within(24 * bytes.len() + (16 << 10), || read_segment(bytes));
}

fn read_segment(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (flags, durable) = (input.byte(), usize::from(input.byte()) % 65);
    let mut file = input.rest().to_vec();
    if flags & 1 != 0 {
        repair_head("log", &mut file);
    }
    if flags & 2 != 0 {
        repair_records(&mut file);
    }
    let (store, id) = (u64_at(&file, 16), u64_at(&file, 24));
    if let Some(head) = file.first_chunk::<HEAD>()
        && let Ok(found) = Head::decode(head, store, id)
    {
        assert!(Head::decode(head, store ^ 1, id).is_err() && Head::decode(head, store, id ^ 1).is_err());
        let again = found.encode();
        // Two bytes mean nothing, and the checksum is over them too.
        assert!(again == *head || file[10..12] != [0, 0]);
        assert_eq!(Head::decode(&again, store, id), Ok(found));
    }
    let id = if flags & 4 != 0 { MAIN | 1 } else { 1 };
    let nonce = u64_at(&file, 32);
    let map = Held::new(&file);
    let sure = file.len() * durable / 64;
    read_batches(&map, id, nonce, sure);
    skip_all(&map, id, nonce);
}

/// Every step leads on, and what is found is whole and inside.
fn read_batches(map: &Held, id: u64, nonce: u64, sure: usize) {
    let end = map.0.len();
    let mut batches = Batches::of(map, id, nonce, end);
    let mut buffer = Vec::new();
    loop {
        let from = batches.offset;
        let (members, is_whole) = match batches.next(sure) {
            Some(FoundInLog::Batch(members)) => (members, true),
            Some(FoundInLog::Lost(members)) => (members, false),
            None => return,
        };
        let members = members.to_vec();
        let to = batches.offset;
        assert!(from < to && to <= end, "from {from} to {to} of {end}");
        let mut at = from;
        for member in &members {
            assert!(
                member.offset >= at && member.offset + content_of(&member.header) <= to,
                "{from}..{to}: {member:?}"
            );
            at = member.offset + 8;
            if is_whole {
                let salt = record::salt(nonce, member.offset);
                assert!(member.header.verify(map, member.offset, salt, &mut buffer));
            }
        }
    }
}

fn skip_all(map: &Held, id: u64, nonce: u64) {
    let mut batches = Batches::of(map, id, nonce, map.0.len());
    loop {
        let from = batches.offset;
        if !batches.skip_damage() {
            return;
        }
        assert!(batches.offset > from);
    }
}
