//! The nodes of the trees that keep the keys of indexes in order. This file owns the bytes of inner nodes and what can be done with
//! one node; it does not know where nodes stand.
//!
//! ```text
//! The files `order-<chunk>` hold 64 KiB << chunk bytes of blocks and nothing else. A block is 1 KiB << class bytes long,
//! begins at a multiple of 1 KiB, and lies in one chunk:
//!      0  8  while it is free, the next free block of its class: its number, 0 for none; see `order`
//!      8     the node: a leaf (see `leaf`) or an inner node
//! An inner node:
//!      0  2  number of entries
//!      2  2  level: of a leaf 0
//!      4  4  length of the node
//!      8  8  each entry: a child, in the machine's order; see below
//!         4  each entry: where its key begins, from the end of this table on
//!            the keys, one behind the other
//! A child: number of its block in the low half, in the high half the low half of the commit that wrote it; 0 for none.
//! ```
//! Keys ascend. An entry of an inner node leads to what is at its key or behind it, and before the next; the key of the
//! first entry does not count. An inner node is written once, but for the words of its children. In memory a leaf is what it is
//! when it is written: its keys in order, and all its bits set.
//!
//! A node whose table makes no sense is none; beyond its entries there are empty keys and no children.

use super::ascending::{Ascending, OFFSET};
use super::leaf::{self, ENTRIES_MAX, Leaf};
use super::{u16_at, u32_at, u64_at};

const HEADER: usize = 8;
const CHILD: usize = 8;
/// Bytes in front of a node in its block.
pub const LINK: usize = 8;
/// Bytes of a block of the first class.
pub const BLOCK: u64 = 1024;
/// Classes of blocks.
pub const CLASSES: usize = 9;
/// Bytes of the first chunk.
const FIRST_CHUNK: u64 = 64 << 10;
/// Chunks that there can be.
pub const CHUNKS_MAX: usize = 20;
/// The deepest tree: each inner node has two children at least.
pub const DEEPEST: usize = 48;
/// A node longer than this is split, if it has entries enough, and nothing comes behind a leaf beyond it.
pub const LONG: usize = BLOCK as usize - LINK;
/// A node shorter than this looks for a neighbour to become one with …
pub const SHORT: usize = LONG / 4;
/// … which leaves room for more.
const JOINED: usize = LONG / 4 * 3;
const JOINED_ENTRIES: usize = ENTRIES_MAX / 4 * 3;

/// The number of a child's block.
pub fn block_of(child: u64) -> u32 {
    child as u32
}

/// A child in a block, written by a commit.
pub fn child(block: u32, sequence: u64) -> u64 {
    u64::from(block) | sequence << 32
}

/// Bytes of a chunk's file.
pub fn chunk_bytes(chunk: usize) -> u64 {
    FIRST_CHUNK << chunk
}

/// The number of the first block of a chunk.
pub fn first_block(chunk: usize) -> u64 {
    (FIRST_CHUNK / BLOCK) * ((1 << chunk) - 1)
}

/// Bytes of so many chunks that space is allocated for, where none is for the last `left` of them.
pub fn space_of(chunks: usize, left: u64) -> u64 {
    (first_block(chunks.min(CHUNKS_MAX)) * BLOCK).saturating_sub(left)
}

/// The chunk of a block, and the block's offset in it.
pub fn place_of(block: u32) -> (usize, usize) {
    let chunk = (u64::from(block) / (FIRST_CHUNK / BLOCK) + 1).ilog2() as usize;
    (chunk, ((u64::from(block) - first_block(chunk)) * BLOCK) as usize)
}

/// The class of a block at `offset` of a chunk of so many bytes, in which a node of that length stands. `None` if there is no
/// such block.
pub fn class_at(offset: usize, len: usize, chunk: usize) -> Option<usize> {
    let class = class_of(len);
    let end = offset.checked_add((BLOCK as usize).checked_shl(class as u32)?)?;
    (class < CLASSES && end <= chunk).then_some(class)
}

/// The class of the blocks that hold a node of that length.
pub fn class_of(len: usize) -> usize {
    let blocks = (len + LINK).div_ceil(BLOCK as usize).max(1);
    blocks.next_power_of_two().ilog2() as usize
}

/// A node, in memory that nobody shares: of its own, or somebody else's for a look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node<B = Vec<u8>> {
    bytes: B,
    count: usize,
    level: u16,
}

/// One entry.
pub type Entry<'k> = (&'k [u8], u64);

impl Node {
    /// A leaf with one key.
    pub fn leaf(key: &[u8]) -> Node {
        Node::build(0, [(key, 0)].into_iter())
    }

    /// A leaf with some keys, which ascend.
    pub fn leaf_of(keys: &[&[u8]]) -> Node {
        let table = leaf::HEADER + keys.len() * OFFSET;
        let mut bytes = Vec::with_capacity(table + keys.iter().map(|key| key.len()).sum::<usize>());
        bytes.resize(table, 0);
        for (i, key) in keys.iter().enumerate() {
            let (at, offset) = (leaf::HEADER + i * OFFSET, (bytes.len() - table) as u32);
            bytes[at..at + OFFSET].copy_from_slice(&offset.to_le_bytes());
            bytes.extend_from_slice(key);
        }
        Node::sealed(bytes, keys.len(), 0)
    }

    /// A node with some entries.
    pub fn build<'k>(level: u16, entries: impl Iterator<Item = Entry<'k>> + Clone) -> Node {
        let count = entries.clone().count();
        let width = OFFSET + if level > 0 { CHILD } else { 0 };
        let mut bytes =
            Vec::with_capacity(leaf::HEADER + count * width + entries.clone().map(|(key, _)| key.len()).sum::<usize>());
        bytes.resize(header_of(level), 0);
        if level > 0 {
            entries.clone().for_each(|(_, child)| bytes.extend_from_slice(&child.to_ne_bytes()));
        }
        let mut at = 0;
        for (key, _) in entries.clone() {
            bytes.extend_from_slice(&(at as u32).to_le_bytes());
            at += key.len();
        }
        entries.for_each(|(key, _)| bytes.extend_from_slice(key));
        Node::sealed(bytes, count, level)
    }

    /// A node of these bytes, whose header is written here.
    fn sealed(mut bytes: Vec<u8>, count: usize, level: u16) -> Node {
        let header = count as u64 & 0xFFFF | u64::from(level) << 16 | (bytes.len() as u64) << 32;
        bytes[..HEADER].copy_from_slice(&header.to_le_bytes());
        if level == 0 {
            bytes[leaf::BITS..leaf::HEADER].copy_from_slice(&leaf::full(count).to_ne_bytes());
        }
        Node { bytes, count, level }
    }

    /// A node of these bytes, of which a leaf may be followed by what came behind it. `None` if its table does not fit in
    /// them, or its keys do not stand one behind the other.
    pub fn parse(mut bytes: Vec<u8>) -> Option<Node> {
        let (count, level) = (usize::from(u16_at(&bytes, 0)), u16_at(&bytes, 2));
        if level == 0 {
            let leaf = Leaf::of(&bytes, word_at(&bytes, leaf::BITS))?;
            if !leaf.is_as_written() {
                return leaf.gathered().map(|keys| Node::leaf_of(&keys));
            }
        }
        let len = u32_at(&bytes, 4) as usize;
        if len < HEADER || len > bytes.len() {
            return None;
        }
        bytes.truncate(len);
        let node = Node { bytes, count, level };
        let is_sound = count > 0 && node.table()?.is_sound();
        is_sound.then_some(node)
    }

    pub fn set_child(&mut self, i: usize, child: u64) {
        if !self.is_leaf() && i < self.count() {
            let at = Node::child_at(i);
            self.bytes[at..at + CHILD].copy_from_slice(&child.to_ne_bytes());
        }
    }

    /// Number of entries, level and length of a node, by its first word as the machine loads it.
    #[inline]
    pub fn head_of(word: u64) -> (usize, u16, usize) {
        let head = u64::from_le(word);
        (usize::from(head as u16), (head >> 16) as u16, (head >> 32) as usize)
    }

    /// Where in the node the word of a child is.
    pub fn child_at(i: usize) -> usize {
        HEADER + i * CHILD
    }
}

impl<'b> Node<&'b [u8]> {
    /// A look at an inner node. `None` if its table does not fit in its bytes.
    #[inline]
    pub fn look(bytes: &'b [u8]) -> Option<Node<&'b [u8]>> {
        let node = Node { bytes, count: usize::from(u16_at(bytes, 0)), level: u16_at(bytes, 2) };
        (node.count > 0 && node.level > 0 && node.keys_at() <= bytes.len()).then_some(node)
    }
}

impl<B: AsRef<[u8]>> Node<B> {
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    pub fn class(&self) -> usize {
        class_of(self.bytes().len())
    }

    pub fn count(&self) -> usize {
        self.count
    }

    pub fn level(&self) -> u16 {
        self.level
    }

    fn is_leaf(&self) -> bool {
        self.level() == 0
    }

    fn offsets_at(&self) -> usize {
        if self.is_leaf() { leaf::HEADER } else { HEADER + self.count() * CHILD }
    }

    fn keys_at(&self) -> usize {
        self.offsets_at() + self.count() * OFFSET
    }

    /// The table and the keys. `None` if there is not even room for the table.
    #[inline]
    fn table(&self) -> Option<Ascending<'_>> {
        Ascending::of(self.bytes().get(self.offsets_at()..)?, self.count())
    }

    #[inline]
    pub fn key(&self, i: usize) -> &[u8] {
        self.table().map_or(&[], |table| table.key(i))
    }

    #[inline]
    pub fn child(&self, i: usize) -> u64 {
        if self.is_leaf() || i >= self.count() { 0 } else { word_at(self.bytes(), Node::child_at(i)) }
    }

    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> + Clone {
        (0..self.count()).map(|i| (self.key(i), self.child(i)))
    }

    /// Where a key is in a leaf, or where it would be.
    pub fn find(&self, key: &[u8]) -> Result<usize, usize> {
        self.table().map_or(Err(0), |table| table.find(0, key))
    }

    /// Which child of an inner node has a key; or what is directly in front of it, if `before` says so.
    pub fn child_of(&self, key: &[u8], before: bool) -> usize {
        match self.table().unwrap_or_default().find(1, key) {
            Ok(at) if !before => at,
            Ok(behind) | Err(behind) => behind.saturating_sub(1),
        }
    }
}

impl Node {
    /// Where a key begins; behind the last one, where they end.
    fn begin(&self, i: usize) -> usize {
        self.keys_at() + self.table().map_or(0, |table| table.begin(i))
    }

    /// The node with an entry more.
    pub fn with(&self, at: usize, (key, child): Entry<'_>) -> Node {
        let at = at.min(self.count());
        let (old, key_at) = (&self.bytes, self.begin(at));
        let mut bytes = Vec::with_capacity(old.len() + key.len() + OFFSET + CHILD);
        let table = if self.is_leaf() {
            bytes.extend_from_slice(&old[..leaf::HEADER]);
            leaf::HEADER
        } else {
            let child_at = Node::child_at(at);
            bytes.extend_from_slice(&old[..child_at]);
            bytes.extend_from_slice(&child.to_ne_bytes());
            bytes.extend_from_slice(&old[child_at..self.offsets_at()]);
            self.offsets_at()
        };
        let split = table + at * OFFSET;
        bytes.extend_from_slice(&old[table..split]);
        bytes.extend_from_slice(&((key_at - self.keys_at()) as u32).to_le_bytes());
        shift(&old[split..self.keys_at()], key.len() as u32, &mut bytes);
        bytes.extend_from_slice(&old[self.keys_at()..key_at]);
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(&old[key_at..]);
        Node::sealed(bytes, self.count() + 1, self.level())
    }

    /// The node without an entry. `None` if it was the only one.
    pub fn without(&self, at: usize) -> Option<Node> {
        if self.count() <= 1 {
            return None;
        }
        let at = at.min(self.count() - 1);
        let (old, key_at, behind_at) = (&self.bytes, self.begin(at), self.begin(at + 1));
        let mut bytes = Vec::with_capacity(old.len());
        let table = self.offsets_at();
        if self.is_leaf() {
            bytes.extend_from_slice(&old[..table]);
        } else {
            bytes.extend_from_slice(&old[..Node::child_at(at)]);
            bytes.extend_from_slice(&old[Node::child_at(at + 1)..table]);
        }
        let split = table + at * OFFSET;
        bytes.extend_from_slice(&old[table..split]);
        shift(&old[split + OFFSET..self.keys_at()], ((behind_at - key_at) as u32).wrapping_neg(), &mut bytes);
        bytes.extend_from_slice(&old[self.keys_at()..key_at]);
        bytes.extend_from_slice(&old[behind_at..]);
        Some(Node::sealed(bytes, self.count() - 1, self.level()))
    }

    /// True if the node is to be split.
    pub fn is_long(&self) -> bool {
        match self.is_leaf() {
            true => self.bytes.len() > LONG && self.count() >= 2 || self.count() > ENTRIES_MAX,
            false => self.bytes.len() > LONG && self.count() >= 4,
        }
    }

    /// True if the node is to be joined with a neighbour.
    pub fn is_short(&self) -> bool {
        self.bytes.len() < SHORT
    }

    /// The two halves. `at_end` says that the newest entry is the last one: what is put in ascending order leaves full nodes.
    pub fn split(&self, at_end: bool) -> (Node, Node) {
        let count = self.count();
        let least = if self.is_leaf() { 1 } else { 2 };
        let half = self.bytes.len() / 2;
        let width = OFFSET + if self.is_leaf() { 0 } else { CHILD };
        let bytes_of = |i: usize| header_of(self.level()) + i * width + self.begin(i) - self.keys_at();
        let mut middle = if at_end {
            // Entries that came behind a leaf take less there than in its table, so what was full is perhaps too long.
            (least..=count - least).rev().find(|&i| bytes_of(i) <= LONG).unwrap_or(count - least)
        } else {
            (1..count).find(|&i| bytes_of(i) >= half).unwrap_or(count / 2)
        };
        middle = middle.clamp(least, count - least);
        let part = |from, to| Node::build(self.level(), (from..to).map(|i| (self.key(i), self.child(i))));
        (part(0, middle), part(middle, count))
    }

    /// The shortest key that tells what is in a node from what is in the one before it.
    pub fn separator<'k>(before: &Node, after: &'k Node) -> &'k [u8] {
        let key = after.key(0);
        if !after.is_leaf() {
            return key;
        }
        let last = before.key(before.count() - 1);
        let same = key.iter().zip(last).take_while(|(a, b)| a == b).count();
        key.get(..=same).unwrap_or(key)
    }

    /// This node and the one behind it as one, if it leaves room; `separator` is that between them.
    pub fn join(&self, after: &Node, separator: &[u8]) -> Option<Node> {
        if self.bytes.len() + after.bytes.len() + separator.len() > JOINED || self.level() != after.level() {
            return None;
        }
        let is_leaf = self.is_leaf();
        if is_leaf && self.count() + after.count() > JOINED_ENTRIES {
            return None;
        }
        let others = after.entries().enumerate().map(|(i, (key, child))| match i {
            0 if !is_leaf => (separator, child),
            _ => (key, child),
        });
        Some(Node::build(self.level(), self.entries().chain(others)))
    }
}

/// Bytes in front of a node's entries.
fn header_of(level: u16) -> usize {
    if level == 0 { leaf::HEADER } else { HEADER }
}

/// A word that processes share.
fn word_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_ne_bytes(u64_at(bytes, offset).to_le_bytes())
}

/// Adds to each offset of a table, and puts them behind `to`.
fn shift(offsets: &[u8], by: u32, to: &mut Vec<u8>) {
    let start = to.len();
    to.extend_from_slice(offsets);
    for offset in to[start..].as_chunks_mut::<OFFSET>().0 {
        *offset = u32::from_le_bytes(*offset).wrapping_add(by).to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn blocks_and_places_are_one_to_one() {
        assert_eq!((place_of(0), place_of(63), place_of(64)), ((0, 0), (0, 63 << 10), (1, 0)));
        for chunk in 0..8 {
            let first = first_block(chunk) as u32;
            assert_eq!(place_of(first), (chunk, 0));
            let last = first + (chunk_bytes(chunk) / BLOCK) as u32 - 1;
            assert_eq!(place_of(last), (chunk, (chunk_bytes(chunk) - BLOCK) as usize));
        }
        assert_eq!((class_of(1), class_of(1016), class_of(1017), class_of(4088), class_of(4089)), (0, 0, 1, 2, 3));
        assert!(class_of(3 * 70_000) < CLASSES);
    }

    #[test]
    fn a_leaf_is_a_sorted_set_whatever_is_put_and_removed() {
        let (mut node, mut model) = (None::<Node>, BTreeSet::new());
        let mut random = 7u64;
        for _ in 0..4000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let key = vec![(random >> 33) as u8; (random >> 50) as usize % 5];
            match &node {
                None => node = Some(Node::leaf(&key)),
                Some(there) => match there.find(&key) {
                    Ok(at) => node = there.without(at),
                    Err(at) => node = Some(there.with(at, (&key, 0))),
                },
            }
            if !model.remove(&key) {
                model.insert(key);
            }
            let keys: Vec<Vec<u8>> = node.iter().flat_map(|n| n.entries()).map(|(key, _)| key.to_vec()).collect();
            assert!(keys.iter().eq(model.iter()));
            if let Some(node) = node.as_ref().filter(|node| !node.is_long()) {
                assert_eq!(Node::parse(node.bytes().to_vec()).as_ref(), Some(node));
                if node.count() > 1 {
                    let (left, right) = node.split(false);
                    let separator = Node::separator(&left, &right).to_vec();
                    assert!(left.entries().all(|(key, _)| key < &separator[..]));
                    assert!(right.entries().all(|(key, _)| key >= &separator[..]));
                    assert!(left.join(&right, &separator).is_none_or(|joined| joined == *node));
                }
            }
        }
    }

    #[test]
    fn the_child_of_a_key_is_the_last_that_begins_at_it_or_before() {
        let node = Node::build(1, [(&b""[..], 1), (b"d", 2), (b"h", 3)].into_iter());
        let child = |key: &[u8], before| node.child(node.child_of(key, before));
        assert_eq!((child(b"", false), child(b"a", false), child(b"d", false), child(b"z", false)), (1, 1, 2, 3));
        assert_eq!((child(b"d", true), child(b"da", true), child(b"h", true)), (1, 2, 2));
        let more = node.with(2, (b"f", 9));
        assert_eq!(more.entries().map(|(_, child)| child).collect::<Vec<_>>(), [1, 2, 9, 3]);
        assert_eq!(more.without(0).unwrap().child(0), 2);
    }

    #[test]
    fn damaged_nodes_read_as_something_and_end() {
        let mut bytes = Node::build(1, [(&b"a"[..], 1), (b"b", 2)].into_iter()).bytes().to_vec();
        for at in 0..bytes.len() {
            for flip in [1, 0x80, 0xFF] {
                bytes[at] ^= flip;
                if let Some(node) = Node::parse(bytes.clone()) {
                    node.entries().for_each(|(key, _)| assert!(node.find(key).unwrap_or_else(|at| at) <= node.count()));
                    node.child_of(b"b", true);
                }
                bytes[at] ^= flip;
            }
        }
        assert_eq!(Node::parse(vec![0xFF; 64]), None);
        assert_eq!(Node::parse(vec![0; 8]), None);
    }

    #[test]
    fn a_leaf_is_not_longer_in_order_than_as_it_stands() {
        let len = 1_usize << 16;
        let mut bytes = vec![7; len];
        bytes[..8].copy_from_slice(&(63 | (len as u64) << 32).to_le_bytes());
        bytes[leaf::BITS..leaf::HEADER].copy_from_slice(&(u64::MAX >> 2).to_ne_bytes());
        for i in 0..63 {
            let offset = if i % 2 == 0 { 0 } else { (len - leaf::HEADER - 63 * OFFSET) as u32 };
            bytes[leaf::HEADER + OFFSET * i..][..OFFSET].copy_from_slice(&offset.to_le_bytes());
        }
        assert_eq!(Node::parse(bytes), None);
    }
}
