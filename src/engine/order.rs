//! Keys in order: a tree for each index, whose leaves hold the keys of its items and nothing else. The items are items of the
//! store like any other; the tree says which keys there are, and is changed by the commit that puts the first record of a key
//! or removes its last. This file is about changing one, under the lock; reading one is in `order_read`.
//!
//! A node is never changed where readers can see it, but for the words that say where its children are, and what comes behind a
//! leaf with the bits that say so: that is all that most changes need (`order_leaf`). To change a node otherwise is to write
//! another one to a free block, and to let the word that led to the old one lead there, by the redo list; the old block is free as
//! soon as the commit is. A node that gets too long is two, and one that gets short becomes one with its neighbour: then
//! the parent is written anew too, and so on upwards. The word that leads to the root is that of the namespace's row.
//!
//! Invariants, whenever the lock is free and `PENDING` is 0:
//!
//! - **O1** The keys of a tree are those of the namespace's live items.
//! - **O2** A word that leads to a node leads to another one, or was written by another commit, whenever the node was written; and
//!   the entries of a leaf whose bits are set are not written again before a commit that has cleared them is visible. So what a
//!   reader copied is whole if the words on its way are what they were and no commit came meanwhile.
//! - **O3** A block is a node of one tree, or free, or of a tree that is taken apart, or behind `ORDER_NEXT`.
//!
//! What a commit frees it does not use again: until it is published, readers are led there. A tree that is thrown away as a whole
//! hangs on the list of those that are taken apart, and each change of any tree frees a few of its nodes.
//!
//! Trees are derived: a rebuild leaves `ORDER_STALE`, and the opener makes them anew from the index before anybody else may open
//! (`order_make`).

use crate::error::{Corruption, Error, Result};
use crate::os::{Os, OsMap};
use crate::storage::leaf::{self, ENTRIES_MAX};
use crate::storage::namespace::Namespace;
use crate::storage::paths::Name;
use crate::storage::redo::Place;
use crate::storage::state;
use crate::storage::tree::{self, CHUNKS_MAX, DEEPEST, LINK, LONG, Node, block_of, child, place_of};

use super::commit::Commit;
use super::limit::Purpose;
use super::nodes::Nodes;
use super::pending::Moment;

/// A node on the way to a leaf, and which child was taken.
struct Step {
    block: u32,
    node: Node,
    at: usize,
}

/// The word in which a block is linked to others.
pub(super) fn link(block: u32) -> (Place, usize) {
    let (chunk, offset) = place_of(block);
    (Place::Order(chunk as u32), offset)
}

impl<O: Os> Commit<'_, O> {
    /// Takes in a key that has come to an index.
    #[inline(never)]
    pub(super) fn put_in_order(&mut self, index: Namespace, key: &[u8], purpose: Purpose) -> Result<()> {
        self.take_apart()?;
        let root = self.anchor(index);
        if root == 0 {
            let root = self.write_node(Node::leaf(key), purpose)?;
            self.stage_anchor(index, root);
            return Ok(());
        }
        if self.put_in_leaf(root, key)? {
            return Ok(());
        }
        let (mut way, block, leaf) = self.way_to(root, key)?;
        let Err(at) = leaf.find(key) else { return Ok(()) };
        let grown = leaf.with(at, (key, 0));
        let at_end = at == leaf.count();
        self.put_back(index, &mut way, block, grown, at_end, purpose)
    }

    /// Takes out a key that has gone from an index.
    #[inline(never)]
    pub(super) fn take_out_of_order(&mut self, index: Namespace, key: &[u8]) -> Result<()> {
        let root = self.anchor(index);
        if root == 0 {
            return Ok(());
        }
        if seeded!("removed_keys_stay_in_order") || self.take_out_of_leaf(root, key)? {
            return Ok(());
        }
        let (mut way, block, leaf) = self.way_to(root, key)?;
        let Ok(at) = leaf.find(key) else { return Ok(()) };
        self.shrink(index, &mut way, block, &leaf, at)
    }

    /// Throws the tree of an index away.
    pub(super) fn drop_order(&mut self, index: Namespace) -> Result<()> {
        let root = block_of(self.anchor(index));
        if root != 0 {
            self.map_order_chunk(place_of(root).0)?;
            let (place, offset) = link(root);
            let next = self.state(state::ORDER_DOOMED);
            self.stage(place, offset, next);
            self.stage_state(state::ORDER_DOOMED, root.into());
            self.stage_anchor(index, 0);
        }
        Ok(())
    }

    /// The nodes from the root down to the leaf that has a key, or would have it, and that leaf.
    fn way_to(&mut self, root: u64, key: &[u8]) -> Result<(Vec<Step>, u32, Node)> {
        let mut way: Vec<Step> = Vec::with_capacity(4);
        let mut block = block_of(root);
        loop {
            let node = self.node(block)?;
            let level = node.level();
            if way.last().is_some_and(|above| above.node.level().checked_sub(1) != Some(level)) || way.len() > DEEPEST {
                return Err(self.damaged(block));
            }
            if level == 0 {
                return Ok((way, block, node));
            }
            let at = node.child_of(key, false);
            let next = block_of(node.child(at));
            way.push(Step { block, node, at });
            block = next;
        }
    }

    #[cold]
    pub(super) fn damaged(&self, block: u32) -> Error {
        let (chunk, offset) = place_of(block);
        // The next to open alone makes all anew.
        self.store.state.store(state::SUSPECT, 1);
        Error::corrupt(&self.store.paths.of(Name::Order(chunk as u64)), offset as u64, Corruption::Index)
    }

    /// A node as this commit will leave it.
    pub(super) fn node(&mut self, block: u32) -> Result<Node> {
        if let Some(node) = self.nodes().written.get(&block) {
            return Ok(node.clone());
        }
        let (chunk, offset) = place_of(block);
        if block == 0 || chunk >= self.order_chunks() {
            return Err(self.damaged(block));
        }
        self.map_order_chunk(chunk)?;
        let bits = |at| self.word(Place::Order(chunk as u32), at);
        let node = self.view.order(chunk).and_then(|map| copy_node(&**map, offset, bits));
        let mut node = node.ok_or_else(|| self.damaged(block))?;
        if self.nodes().leads && node.level() > 0 {
            for i in 0..node.count() {
                let word = self.word(Place::Order(chunk as u32), offset + LINK + Node::child_at(i));
                node.set_child(i, word);
            }
        }
        Ok(node)
    }

    /// Puts a node in the place of what is in a block; two, if it is long.
    fn put_back(
        &mut self,
        index: Namespace,
        way: &mut Vec<Step>,
        block: u32,
        node: Node,
        at_end: bool,
        purpose: Purpose,
    ) -> Result<()> {
        if !node.is_long() {
            return self.replace_node(index, way.last(), block, node, purpose);
        }
        let (left, right) = node.split(at_end);
        let separator = Node::separator(&left, &right).to_vec();
        let level = left.level();
        self.replace_node(index, way.last(), block, left, purpose)?;
        let right = self.write_node(right, purpose)?;
        let Some(above) = way.pop() else {
            let left = self.anchor(index);
            let entries = [(&[][..], left), (&separator[..], right)];
            let root = self.write_node(Node::build(level + 1, entries.into_iter()), purpose)?;
            self.stage_anchor(index, root);
            return Ok(());
        };
        // It may lead to another block by now.
        let parent = self.node(above.block)?;
        let at = above.at + 1;
        let at_end = at == parent.count();
        self.put_back(index, way, above.block, parent.with(at, (&separator, right)), at_end, purpose)
    }

    /// Puts a node without one of its entries in the place of what is in a block.
    fn shrink(&mut self, index: Namespace, way: &mut Vec<Step>, block: u32, node: &Node, at: usize) -> Result<()> {
        let Some(less) = node.without(at) else {
            // Its only one.
            let class = self.class_in(block)?;
            self.free_node(block, class);
            let Some(above) = way.pop() else {
                self.stage_anchor(index, 0);
                return Ok(());
            };
            let parent = self.node(above.block)?;
            return self.shrink(index, way, above.block, &parent, above.at);
        };
        if way.is_empty() && less.level() > 0 && less.count() == 1 {
            let class = self.class_in(block)?;
            self.free_node(block, class);
            self.stage_anchor(index, less.child(0));
            return Ok(());
        }
        // One that loses its first or last entry is perhaps emptied from that end, and then goes by itself.
        let is_inside = at > 0 && at < less.count();
        if is_inside && less.is_short() && self.join(index, way, block, &less)? {
            return Ok(());
        }
        self.put_back(index, way, block, less, false, Purpose::Free)
    }

    /// Makes a short node one with a neighbour, if both fit in one. False if not.
    fn join(&mut self, index: Namespace, way: &mut Vec<Step>, block: u32, node: &Node) -> Result<bool> {
        let Some(above) = way.last() else { return Ok(false) };
        let (above_block, at) = (above.block, above.at);
        let parent = self.node(above_block)?;
        // The neighbour behind it, or the one in front.
        for (left_at, other_at) in [(at, at + 1), (at.wrapping_sub(1), at.wrapping_sub(1))] {
            let other_block = block_of(parent.child(other_at));
            if other_block == 0 {
                continue;
            }
            let other = self.node(other_block)?;
            let (left, right) = if other_at > at { (node, &other) } else { (&other, node) };
            let Some(joined) = left.join(right, parent.key(left_at + 1)) else { continue };
            let (left_block, right_block) = if other_at > at { (block, other_block) } else { (other_block, block) };
            let right_class = self.class_in(right_block)?;
            way.pop();
            let above = Step { block: above_block, node: parent, at: left_at };
            self.replace_node(index, Some(&above), left_block, joined, Purpose::Free)?;
            self.free_node(right_block, right_class);
            let parent = self.node(above_block)?;
            self.shrink(index, way, above_block, &parent, left_at + 1)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// The class of a block: that of the node as it was written, whatever came behind it.
    pub(super) fn class_in(&mut self, block: u32) -> Result<usize> {
        if let Some(node) = self.nodes().written.get(&block) {
            return Ok(node.class());
        }
        let (place, offset) = link(block);
        if place_of(block).0 >= self.order_chunks() {
            return Err(self.damaged(block));
        }
        self.map_order_chunk(place_of(block).0)?;
        let map = self.map_of(place).ok_or_else(|| self.damaged(block))?;
        let (.., len) = Node::head_of(map.load(offset + LINK));
        tree::class_at(offset, len, map.len()).ok_or_else(|| self.damaged(block))
    }

    /// Puts a node in the place of what is in a block. A node that this commit has written it changes where it is.
    fn replace_node(
        &mut self,
        index: Namespace,
        above: Option<&Step>,
        block: u32,
        node: Node,
        purpose: Purpose,
    ) -> Result<()> {
        if let Some(there) = self.nodes().written.get_mut(&block)
            && there.class() == node.class()
        {
            *there = node;
            return Ok(());
        }
        let class = self.class_in(block)?;
        let lead = self.write_node(node, purpose)?;
        self.free_node(block, class);
        match above {
            None => self.stage_anchor(index, lead),
            Some(Step { block, at, .. }) => match self.nodes().written.get_mut(block) {
                Some(parent) => parent.set_child(*at, lead),
                None => {
                    let (place, offset) = link(*block);
                    self.stage(place, offset + LINK + Node::child_at(*at), lead);
                    self.nodes().leads = true;
                }
            },
        }
        Ok(())
    }

    /// Takes a block for a node. What leads there.
    fn write_node(&mut self, node: Node, purpose: Purpose) -> Result<u64> {
        let class = node.class();
        let block = match self.nodes().spare.iter().position(|&(of, _)| of == class) {
            Some(at) => self.nodes().spare.swap_remove(at).1,
            None => self.free_block(class, purpose)?,
        };
        self.nodes().written.insert(block, node);
        Ok(child(block, self.sequence))
    }

    pub(super) fn free_node(&mut self, block: u32, class: usize) {
        match self.nodes().written.remove(&block) {
            Some(_) => self.nodes().spare.push((class, block)),
            None if seeded!("freed_nodes_are_used_at_once") => self.nodes().spare.push((class, block)),
            None => self.nodes().freed.push((class, block)),
        }
    }

    pub(super) fn nodes(&mut self) -> &mut Nodes {
        self.nodes.get_or_insert_default()
    }

    pub(super) fn order_chunks(&self) -> usize {
        usize::try_from(self.state(state::ORDER_CHUNKS)).unwrap_or(0).min(CHUNKS_MAX)
    }

    pub(super) fn map_order_chunk(&mut self, chunk: usize) -> Result<()> {
        if self.view.order(chunk).is_none() {
            self.store.map_order(chunk)?;
            self.refresh_view();
        }
        Ok(())
    }

    /// Writes the nodes to their blocks, where nobody is led yet, and stages the lists of what is free. Nothing here fails.
    #[cold]
    pub(super) fn write_nodes(&mut self, nodes: Nodes) {
        for (&block, node) in &nodes.written {
            let (place, offset) = link(block);
            if let Some(map) = self.map_of(place) {
                map.write(offset + LINK, node.bytes());
            }
        }
        let mut freed = 0;
        for (class, block) in nodes.freed.into_iter().chain(nodes.spare) {
            let list = state::ORDER_FREE + 8 * class;
            let (place, offset) = link(block);
            let first = self.state(list);
            self.stage(place, offset, first);
            self.stage_state(list, block.into());
            freed += 1 << class;
        }
        if freed != 0 {
            self.add_state(state::ORDER_FREED, freed);
        }
    }
}

/// Copies a node out of its block; a leaf with what came behind it.
pub(super) fn read_node<M: OsMap>(map: &M, offset: usize) -> Option<Node> {
    copy_node(map, offset, |at| map.load(at))
}

/// The same with the bits as they were at a moment. The words that say where its children are, who goes on looks at himself.
pub(super) fn read_node_at<M: OsMap>(map: &M, chunk: usize, offset: usize, moment: &Moment) -> Option<Node> {
    copy_node(map, offset, |at| moment.word(map, Place::Order(chunk as u32), at))
}

/// The same, with the bits of a leaf as they are for who asks. What they do not lead to is not looked at: somebody may be
/// writing there.
fn copy_node<M: OsMap>(map: &M, offset: usize, bits: impl FnOnce(usize) -> u64) -> Option<Node> {
    let at = offset + LINK;
    if at + leaf::HEADER > map.len() {
        return None;
    }
    let (written, level, len) = Node::head_of(map.load(at));
    tree::class_at(offset, len, map.len())?;
    let mut bytes = Vec::new();
    if level != 0 {
        return map.append_to(at, len, &mut bytes).then(|| Node::parse(bytes)).flatten();
    }
    let bits = bits(at + leaf::BITS);
    let end = ENTRIES_MAX - bits.leading_zeros() as usize;
    bytes.reserve(if end <= written { len } else { len.max(LONG) });
    let is_copied = map.append_to(at, len, &mut bytes)
        && (written..end).all(|_| {
            let mut key_len = [0; leaf::LATER];
            let begin = at + bytes.len();
            map.read(begin, &mut key_len)
                && map.append_to(begin, leaf::LATER + usize::from(u16::from_le_bytes(key_len)), &mut bytes)
        });
    if !is_copied || bytes.len() < leaf::HEADER {
        return None;
    }
    bytes[leaf::BITS..leaf::HEADER].copy_from_slice(&bits.to_ne_bytes());
    Node::parse(bytes)
}
