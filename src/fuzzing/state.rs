//! The small files and the words of the state file: manifest, head of the state, mark of what is durable, redo list and
//! spill file, rows of tags, and the names of files.
//!
//! Input: a byte of flags (1: checksums are put right), a byte that says how the rest is read; the rest.

use super::held::Held;
use super::input::Input;
use super::repaired::repair_head;
use crate::os::bounded::within;
use crate::storage::manifest::{self, Manifest};
use crate::storage::namespace::{Kind, Label};
use crate::storage::paths::{Name, Paths};
use crate::storage::redo::{self, Address, CHANGE, CHANGES_INLINE};
use crate::storage::state::{self, Marks, REDO, Retiree};
use crate::storage::synced::{self, Mark};
use crate::storage::tag_table::{self, Probe, TagHash};
use crate::storage::void::Voids;
use crate::storage::{u32_at, u64_at};
use std::path::Path;

/// Reads the bytes as each of them.
pub fn state(bytes: &[u8]) {
    within(8 * bytes.len() + (256 << 10), || {
        let mut input = Input::new(bytes);
        let (is_repaired, what) = (input.byte() & 1 != 0, input.byte());
        let rest = input.rest();
        match what % 7 {
            0 => read_manifest(is_repaired, rest),
            1 => read_head(is_repaired, rest),
            2 => {
                read_mark(is_repaired, rest);
                read_void(is_repaired, rest);
            }
            3 => read_redo(rest),
            4 => read_spill(is_repaired, rest),
            5 => read_tags(rest),
            _ => read_names(rest),
        }
    });
}

fn read_manifest(is_repaired: bool, rest: &[u8]) {
    let mut file = rest.to_vec();
    if is_repaired {
        repair_head("larder", &mut file);
    }
    let Ok(found) = Manifest::decode(&file) else { return };
    assert!(manifest::ROWS.contains(&found.rows) && file.len() == manifest::BYTES);
    let again = found.encode();
    assert_eq!(Manifest::decode(&again), Ok(found));
    // A number stands for a truth, and four bytes mean nothing.
    assert!(again[..] == file[..] || u32_at(&file, 52) > 1 || u32_at(&file, 56) != 0);
}

fn read_void(is_repaired: bool, rest: &[u8]) {
    let mut file = rest.to_vec();
    if is_repaired && file.len() >= 24 {
        let whole = file.len() - file.len() % 24;
        file.truncate(whole);
        let zero = Voids::default().encode(u64_at(&file, 16));
        file[..12].copy_from_slice(&zero[..12]);
        let crc = crc32fast::hash(&file[16..]);
        file[12..16].copy_from_slice(&crc.to_le_bytes());
    }
    if file.len() >= 24
        && let Some(voids) = Voids::decode(&file, u64_at(&file, 16))
    {
        assert_eq!(voids.encode(u64_at(&file, 16)), file);
        assert!(voids.0.iter().all(|void| voids.have(void.upto)));
    }
}

fn read_head(is_repaired: bool, rest: &[u8]) {
    let mut head = [0; state::HEAD];
    let len = rest.len().min(head.len());
    head[..len].copy_from_slice(&rest[..len]);
    if is_repaired {
        repair_head("state", &mut head);
    }
    let (store, rows) = (u64_at(&head, 16), u32_at(&head, 12));
    let Some(identity) = state::decode_head(&head, store, rows) else { return };
    assert_eq!(state::encode_head(store, rows, &identity)[..68], head[..68]);
    assert_eq!(state::decode_head(&head, store ^ 1, rows), None);
    assert_eq!(state::decode_head(&head, store, rows ^ 1), None);
}

fn read_mark(is_repaired: bool, rest: &[u8]) {
    let mut file = [0; synced::BYTES];
    // Both places, which are far from each other in the file.
    for (place, bytes) in [0, 512].into_iter().zip(rest.chunks(synced::PLACE)) {
        file[place..place + bytes.len()].copy_from_slice(bytes);
    }
    if is_repaired {
        repair_head("synced", &mut file);
    }
    let store = u64_at(&file, 16);
    let (mark, next) = Mark::newest(&file, store);
    assert!(next == 0 || next == 512);
    let Some(mark) = mark else { return };
    // What is written over the other place is found, if it is newer.
    let newer = Mark { sequence: mark.sequence.saturating_add(1), ..mark };
    let at = next as usize;
    file[at..at + synced::PLACE].copy_from_slice(&newer.encode());
    let found = Mark::newest(&file, store).0;
    assert_eq!(found.map(|found| found.sequence), Some(newer.sequence));
}

fn read_redo(rest: &[u8]) {
    let mut file = vec![0; state::ROWS];
    let len = rest.len().min(state::REDO_BYTES);
    file[REDO..REDO + len].copy_from_slice(&rest[..len]);
    let map = Held(file.into());
    let (count, _) = redo::describe(&map);
    for i in 0..count.min(CHANGES_INLINE).min(rest.len() / CHANGE + 1) {
        let change = redo::read_inline(&map, i);
        read_address(change.address);
    }
    let _ = redo::read_inline(&map, CHANGES_INLINE - 1);
    let marks = Marks::cleared(&map);
    assert!(!marks.kill(0, 0));
    for words in rest.chunks_exact(8) {
        let word = u64_at(words, 0);
        assert!(Retiree::from_bits(word).is_none_or(|retiree| retiree.bits() == word));
    }
}

fn read_address(address: Address) {
    if let Some((place, offset)) = address.parse() {
        assert!(offset.is_multiple_of(8));
        // The number of a file of which there is one means nothing.
        assert!(place == redo::Place::State || Address::new(place, offset) == address);
    }
}

fn read_spill(is_repaired: bool, rest: &[u8]) {
    let mut file = rest.to_vec();
    let content = file.len().saturating_sub(8);
    if is_repaired && file.len() >= 8 {
        let crc = u64::from(crc32fast::hash(&file[..content]));
        file[content..].copy_from_slice(&crc.to_le_bytes());
    }
    for changes in [content / CHANGE, content / CHANGE + 1, usize::MAX, usize::MAX / CHANGE, 0] {
        let Some(found) = redo::decode_spill(&file, changes) else { continue };
        assert_eq!(found.len(), changes);
        found.iter().for_each(|change| read_address(change.address));
        assert_eq!(redo::encode_spill([&found, &[]]), file);
    }
}

fn read_tags(rest: &[u8]) {
    let mut input = Input::new(rest);
    let (chunk, seed, kind) = (input.below(3), input.word(), input.byte());
    let kind = Kind::from_bits(u64::from(kind)).unwrap_or(Kind::Tag);
    for id in [input.int(), input.int() % (1 << 24)] {
        if let Some(place) = tag_table::place_of(id) {
            assert_eq!(tag_table::id_of(place), id);
            assert!(place.offset < tag_table::chunk_bytes(place.chunk) && place.chunk < tag_table::CHUNKS_MAX);
        }
    }
    let hash = TagHash::new(seed, Label { kind, name: "a tag" });
    let mut file = vec![0; tag_table::chunk_bytes(chunk)];
    let rows = input.rest();
    // The bytes stand where the tag is looked for, as often as they fit.
    for (i, offset) in tag_table::probe(hash, chunk).enumerate() {
        let Some(row) = rows.chunks(tag_table::ROW_BYTES).nth(i) else { break };
        file[offset..offset + row.len()].copy_from_slice(row);
    }
    let map = Held(file.into());
    use crate::os::OsMap;
    match tag_table::find(hash, chunk, |offset| map.load(offset)) {
        Probe::Found(offset) => {
            assert_eq!(tag_table::kind_of(map.load(offset + tag_table::row::HASH_HIGH)), kind);
            let _ = tag_table::marks(&map, offset).kill(seed, 3);
        }
        Probe::Free(offset) => assert_eq!(map.load(offset), 0),
        Probe::Full => {
            let probed: std::collections::HashSet<usize> = tag_table::probe(hash, chunk).collect();
            assert!(rows.len() > (probed.len() - 1) * tag_table::ROW_BYTES);
        }
    }
}

/// A name that is understood is the only spelling of what it says, and stays in the directory.
fn read_names(rest: &[u8]) {
    let Ok(text) = std::str::from_utf8(rest) else { return };
    if let Some(name) = Name::parse(text) {
        let path = Paths::new(Path::new("/store")).of(name);
        assert_eq!(path, Path::new("/store").join(text));
        assert_eq!(path.parent(), Some(Path::new("/store")));
    }
    if let Some(owner) = Paths::parse_presence(text) {
        assert_eq!(Paths::new(Path::new("/store")).presence(owner), Path::new("/store/procs").join(text));
    }
}
