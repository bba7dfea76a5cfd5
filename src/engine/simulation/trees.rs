//! Trees of indexes with keys of every length, and trees that are damaged: what is wrong is an error, never a panic, and `check`
//! sees it. It knows nothing of deaths; those are in `index`.

use super::index::{self, Act, Process};
use crate::engine::order::read_node;
use crate::engine::order_read::{Stretch, Window};
use crate::engine::queue::End;
use crate::options::Eviction;
use crate::os::OsMap;
use crate::os::sim::Machine;
use crate::storage::state;
use crate::storage::tag_table::row;
use crate::storage::tree::{self, CLASSES, LINK, Node};

fn open() -> (Machine, Process) {
    let machine = Machine::with_file_capacity(3, 64 << 20);
    let process = index::open_with(&machine, Eviction::None, 64 << 20);
    (machine, process)
}

impl Process {
    fn put(&self, which: usize, key: &[u8]) {
        Act::Put(which, key.to_vec(), 1, 3).apply(&self.handle, &self.indexes).unwrap();
    }

    fn remove(&self, key: &[u8]) {
        Act::Remove(0, key.to_vec()).apply(&self.handle, &self.indexes).unwrap();
    }

    fn root(&self) -> u32 {
        let place = self.indexes[0].place();
        tree::block_of(self.handle.map_tags(place.chunk).unwrap().load(place.offset + row::ANCHOR))
    }

    fn node(&self, block: u32) -> Node {
        let (chunk, offset) = tree::place_of(block);
        read_node(&*self.handle.map_order(chunk).unwrap(), offset).unwrap()
    }

    /// Writes over a part of a node.
    fn damage(&self, block: u32, at: usize, bytes: &[u8]) {
        let (chunk, offset) = tree::place_of(block);
        self.handle.map_order(chunk).unwrap().write(offset + LINK + at, bytes);
    }

    fn is_clean(&self) -> bool {
        self.handle.check(&mut |_| {}).unwrap().is_clean()
    }

    fn range(&self) -> crate::error::Result<()> {
        let window = Window::default();
        self.handle.stretch(self.indexes[0], &window, End::Front, (5, true), &mut Stretch::default())
    }
}

/// Leaves that gather the longest keys would need blocks that no list is there for.
#[test]
fn o3_the_longest_keys_do_not_gather_in_one_leaf() {
    let (_machine, process) = open();
    let long = |byte: u8, len: usize| vec![byte; len];
    let keys: Vec<Vec<u8>> = vec![
        b"a".to_vec(),
        long(b'm', 65_530),
        b"ma".to_vec(),
        long(b'n', 65_490),
        long(b'o', 65_530),
        b"mma".to_vec(),
        long(b'p', 65_530),
        long(b'q', 65_530),
    ];
    for round in 0..3 {
        keys.iter().for_each(|key| process.put(0, key));
        index::blocks(&process.handle, &process.indexes);
        assert!(process.is_clean());
        assert_eq!(process.handle.state.load(state::ORDER_FREE + 8 * CLASSES), 0);
        keys.iter().filter(|key| key.len() > 10).for_each(|key| process.remove(key));
        process.handle.state.store(state::LIVE, 12_345);
        process.handle.repair(&mut |_| {}).unwrap();
        for i in 0..200_u32 {
            process.put(1, &[&(i + 200 * round).to_be_bytes()[..], &[b'k'; 950]].concat());
        }
        index::blocks(&process.handle, &process.indexes);
        assert!(process.is_clean());
    }
}

#[test]
fn a_node_of_the_highest_level_is_damage() {
    let (_machine, process) = open();
    (0..200).for_each(|i| process.put(0, &[i; 30]));
    let root = process.node(process.root());
    assert_eq!(root.level(), 1);
    let false_node = Node::build(u16::MAX, [(&b""[..], 5), (b"z", 6)].into_iter());
    process.damage(tree::block_of(root.child(0)), 0, false_node.bytes());
    let put = Act::Put(0, vec![0; 7], 1, 10).apply(&process.handle, &process.indexes);
    assert!(put.unwrap_err().is_corrupt());
    assert!(process.range().unwrap_err().is_corrupt());
    assert!(!process.is_clean());
}

/// A leaf that says that it is long would have the next key written to another one.
#[test]
fn a_leaf_that_reaches_into_others_is_left_alone() {
    for len in [5_000_u32, 60_000, 200_000, u32::MAX] {
        let (_machine, process) = open();
        (0..200).for_each(|i| process.put(0, &[i; 30]));
        let root = process.node(process.root());
        process.damage(tree::block_of(root.child(0)), 4, &len.to_le_bytes());
        let others: Vec<Node> = (1..root.count()).map(|i| process.node(tree::block_of(root.child(i)))).collect();
        let _ = Act::Put(0, vec![0; 7], 1, 10).apply(&process.handle, &process.indexes);
        assert!((1..root.count()).map(|i| process.node(tree::block_of(root.child(i)))).eq(others));
    }
}

/// A separator that lies sends who looks for a key to another leaf than that which has it.
#[test]
fn keys_in_a_leaf_that_does_not_lead_to_them_are_damage() {
    let (_machine, process) = open();
    (0..100).for_each(|i| process.put(0, &[i; 30]));
    assert!(process.is_clean());
    let root = process.node(process.root());
    let separator = root.key(1);
    let at = root.bytes().windows(separator.len()).rposition(|part| part == separator).unwrap();
    process.damage(process.root(), at, &[separator[0] - 5]);
    assert!(!process.is_clean());
}
