//! The words of the hash index and the nodes of the trees, whatever they say.
//!
//! Input: a byte of flags (1: the head's checksum is put right), the geometry word, a hash, a head, then words of buckets;
//! the same bytes are read as a node too.

use super::held::Held;
use super::input::Input;
use super::repaired::repair_head;
use crate::os::OsMap;
use crate::os::bounded::within;
use crate::storage::index::{self, CELLS, CHAIN_MAX, Geometry, HEAD, Table};
use crate::storage::location::{Entry, Location, TAG_BITS, Tail};
use crate::storage::tree::{self, CLASSES, Node};
use crate::storage::u64_at;

/// The largest table that is laid out.
const LEVEL_MAX: u32 = 8;

/// Follows every way through a table and a node.
pub fn index(bytes: &[u8]) {
    within(16 * bytes.len() + (256 << 10), || {
        let mut input = Input::new(bytes);
        let (flags, word, hash) = (input.byte(), input.word(), input.word());
        read_words(word, hash);
        let mut head = [0; HEAD];
        let taken = input.take(HEAD);
        head[..taken.len()].copy_from_slice(taken);
        if flags & 1 != 0 {
            repair_head("index", &mut head);
        }
        let rest = input.rest();
        if let Some(geometry) = Geometry::from_bits(word) {
            read_head(geometry.current, &head);
            read_table(geometry, hash, rest);
        }
        read_node(rest);
        read_node(taken);
    });
}

fn read_words(word: u64, hash: u64) {
    let location = Location::from_bits(word);
    assert_eq!(Location::from_bits(location.bits()), location);
    assert!(location.offset().is_multiple_of(8) && location.slot() < crate::storage::location::SLOTS_MAX);
    assert_eq!(Location::new(location.slot(), location.offset() as u64), location);
    let entry = Entry::from_bits(word);
    assert_eq!(Entry::new(entry.tag(), entry.location()), entry);
    let tail = Tail::from_bits(word);
    assert_eq!(Tail::from_bits(tail.bits()), tail);
    if let Some(geometry) = Geometry::from_bits(word) {
        assert_eq!(Geometry::from_bits(geometry.bits()), Some(geometry));
        let table = geometry.table_of(hash);
        assert!(table.is_sane() && table.home(hash) < table.homes() && table.tag(hash) < 1 << TAG_BITS);
        if table.can_split_by_tag() && table.level < index::LEVEL_MAX {
            let split = Table { level: table.level + 1, ..table };
            assert_eq!(split.home(hash), table.home(hash) * 2 + table.split_bit(table.tag(hash)));
        }
    }
    for block in [word as u32, hash as u32 % (1 << 26)] {
        let (chunk, offset) = tree::place_of(block);
        assert_eq!(tree::first_block(chunk) + offset as u64 / tree::BLOCK, u64::from(block));
        assert!((offset as u64) < tree::chunk_bytes(chunk));
    }
}

fn read_head(table: Table, head: &[u8; HEAD]) {
    let store = u64_at(head, 16);
    let is_head = table.is_head(store, head);
    assert_eq!(is_head, table.encode_head(store)[..36] == head[..36]);
    assert!(!is_head || !table.is_head(store ^ 1, head));
}

/// Chains end, inside the file, whatever the links say.
fn read_table(geometry: Geometry, hash: u64, words: &[u8]) {
    let table = Table { level: geometry.current.level.min(LEVEL_MAX), base: 0, ..geometry.current };
    let mut file = vec![0; table.file_bytes() as usize];
    let buckets = &mut file[index::BUCKETS..];
    let len = words.len().min(buckets.len());
    // At the home bucket of the hash, and what does not fit there from the front of the table on.
    let at = (table.home(hash) as usize * index::BUCKET_BYTES).min(buckets.len() - len);
    buckets[at..at + len].copy_from_slice(&words[..len]);
    let map = Held(file.into());
    for home in [table.home(hash), 0, table.homes() - 1] {
        let chain: Vec<usize> = index::chain(table, home, |offset| map.load(offset)).collect();
        assert!(!chain.is_empty() && chain.len() <= CHAIN_MAX);
        let found = index::entries_of(&map, table, home);
        assert!(found.len() <= chain.len() * CELLS && found.iter().all(|(_, entry)| !entry.is_empty()));
        for bucket in chain {
            let line = map.load_line(bucket);
            let tag = table.tag(hash);
            let expected = (0..CELLS).filter(|&i| Entry::from_bits(line[i]).tag() == tag);
            assert_eq!(index::matching(&line, tag), expected.fold(0, |mask, i| mask | 1 << i));
        }
    }
}

/// A node that is taken for one can be searched, changed, split and joined, in whatever order its keys are.
fn read_node(bytes: &[u8]) {
    let Some(node) = Node::parse(bytes.to_vec()) else { return };
    let keys: Vec<&[u8]> = node.entries().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), node.count());
    let is_sorted = keys.is_sorted_by(|a, b| a < b);
    for key in keys.iter().copied().chain([&b""[..], b"m", &[0xFF; 9]]) {
        let place = node.find(key);
        assert!(node.child_of(key, true) <= node.child_of(key, false) && node.child_of(key, false) < node.count());
        if is_sorted {
            assert_eq!(place, keys.binary_search(&key));
        }
        if is_sorted && keys.len() < 1_000 {
            let at = place.unwrap_or_else(|at| at);
            let more = node.with(at, (key, 7));
            assert_eq!((more.count(), more.key(at)), (keys.len() + 1, key));
            assert_eq!(more.without(at).map(|less| less.entries().eq(node.entries())), Some(true));
        }
    }
    assert!(node.bytes().len() < 1 << 16 || node.class() < 2 * CLASSES);
    if node.is_long() {
        for at_end in [false, true] {
            let (left, right) = node.split(at_end);
            assert_eq!(left.count() + right.count(), node.count());
            assert!(left.entries().chain(right.entries()).eq(node.entries()));
            let _ = left.join(&right, Node::separator(&left, &right));
        }
    }
    let again = Node::build(node.level(), node.entries());
    assert!(again.entries().eq(node.entries()));
    assert_eq!(Node::parse(again.bytes().to_vec()).as_ref(), Some(&again));
}
