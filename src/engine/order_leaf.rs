//! A key that comes to a leaf or goes from it, where the leaf stands. It knows nothing of nodes that are written anew: where one
//! has to be, or where this commit has written one already, it does nothing and says so (`order` does it then).
//!
//! 1. From the root down to the leaf: each node is copied and searched; under the lock nobody changes one meanwhile.
//! 2. A key that comes is written behind what the bits of the leaf say is there, as they are and as this commit will leave them.
//!    Nobody is led to these bytes; if the commit comes to nothing, the next key is written over them.
//! 3. Its bit is set, or that of a key that goes cleared, by the redo list: one word.

use crate::error::Result;
use crate::os::{Os, OsMap};
use crate::storage::leaf::{BITS, LATER, Leaf, Spot};
use crate::storage::redo::Place;
use crate::storage::tree::{self, BLOCK, DEEPEST, LINK, LONG, Node, SHORT, block_of, place_of};

use super::commit::Commit;
use super::order::link;
use super::queue::End;

/// Which leaf is wanted.
#[derive(Clone, Copy)]
pub(super) enum Aim<'k> {
    /// That which has a key, or would have it.
    Key(&'k [u8]),
    /// The same, whose lines are fetched, and no more.
    Ahead(&'k [u8]),
    /// The first or the last.
    End(End),
}

impl<O: Os> Commit<'_, O> {
    /// Takes in a key where its leaf stands. False if that cannot be.
    pub(super) fn put_in_leaf(&mut self, root: u64, key: &[u8]) -> Result<bool> {
        let mut bytes = Vec::with_capacity(BLOCK as usize);
        let Some(block) = self.leaf_of(root, Aim::Key(key), &mut bytes)? else { return Ok(false) };
        let (place, at) = leaf_at(block);
        let map = self.map_of(place).ok_or_else(|| self.damaged(block))?;
        let published = if seeded!("keys_come_over_those_that_go") { 0 } else { map.load(at + BITS) };
        let bits = self.word(place, at + BITS);
        let leaf = Leaf::of(&bytes, bits).ok_or_else(|| self.damaged(block))?.published(published);
        let entry = match leaf.find(key) {
            Spot::There(_) => return Ok(true),
            Spot::Gone(entry) => entry,
            Spot::Room { entry, at: behind } => {
                map.write(at + behind, &(key.len() as u16).to_le_bytes());
                map.write(at + behind + LATER, key);
                entry
            }
            Spot::Full => return Ok(false),
        };
        self.stage(place, at + BITS, bits | 1 << entry);
        Ok(true)
    }

    /// Takes out a key where its leaf stands. False if that cannot be.
    pub(super) fn take_out_of_leaf(&mut self, root: u64, key: &[u8]) -> Result<bool> {
        let (block, left) = match self.at_end.take() {
            // This commit has looked there for the key, and has changed no leaf since.
            Some(known) => (known.block, known.left),
            None => {
                let mut bytes = Vec::with_capacity(BLOCK as usize);
                let Some(block) = self.leaf_of(root, Aim::Key(key), &mut bytes)? else { return Ok(false) };
                let (place, at) = leaf_at(block);
                let leaf = Leaf::of(&bytes, self.word(place, at + BITS)).ok_or_else(|| self.damaged(block))?;
                let Spot::There(entry) = leaf.find(key) else { return Ok(true) };
                (block, leaf.without(entry, key, SHORT))
            }
        };
        let Some(left) = left else { return Ok(false) };
        let (place, at) = leaf_at(block);
        self.stage(place, at + BITS, left);
        Ok(true)
    }

    /// The block of a leaf, and its bytes. `None` if this commit has written a node on the way there.
    pub(super) fn leaf_of(&mut self, root: u64, aim: Aim<'_>, bytes: &mut Vec<u8>) -> Result<Option<u32>> {
        let (mut block, mut above) = (block_of(root), None);
        if let Some(leaf) = self.foreseen_leaf(root) {
            (block, above) = (leaf, Some(1));
        }
        for _ in 0..=DEEPEST {
            if self.nodes.as_ref().is_some_and(|nodes| nodes.written.contains_key(&block)) {
                return Ok(None);
            }
            let (chunk, offset) = place_of(block);
            if block == 0 || chunk >= self.order_chunks() {
                return Err(self.damaged(block));
            }
            self.map_order_chunk(chunk)?;
            let Some(map) = self.view.order(chunk) else { return Err(self.damaged(block)) };
            let (_, level, len) = Node::head_of(map.load(offset + LINK));
            // Of a leaf to where the next key may come, whatever its block is.
            let copied = if level == 0 { len.max(LONG) } else { len };
            bytes.clear();
            let is_below = above.is_none_or(|above: u16| above.checked_sub(1) == Some(level));
            let is_block = tree::class_at(offset, len, map.len()).is_some();
            if !is_below || !is_block || !map.append_to(offset + LINK, copied, bytes) {
                return Err(self.damaged(block));
            }
            if level == 0 {
                return Ok(Some(block));
            }
            let Some(node) = Node::look(bytes) else { return Err(self.damaged(block)) };
            let at = match aim {
                Aim::Key(key) | Aim::Ahead(key) => node.child_of(key, false),
                Aim::End(End::Front) => 0,
                Aim::End(End::Back) => node.count() - 1,
            };
            let is_led = self.nodes.as_ref().is_some_and(|nodes| nodes.leads);
            let child = node.child(at);
            let staged = Place::Order(chunk as u32);
            let child = if is_led { self.word(staged, offset + LINK + Node::child_at(at)) } else { child };
            block = block_of(child);
            above = Some(level);
            if let (Aim::Ahead(_), 1) = (aim, level) {
                let (chunk, offset) = place_of(block);
                self.view.order(chunk).into_iter().for_each(|map| prefetch_block(&**map, offset));
                return Ok(Some(block));
            }
        }
        Err(self.damaged(block))
    }
}

/// Where a leaf is that stands in a block.
pub(super) fn leaf_at(block: u32) -> (Place, usize) {
    let (place, offset) = link(block);
    (place, offset + LINK)
}

/// Fetches the lines of a block.
pub(super) fn prefetch_block<M: OsMap>(map: &M, offset: usize) {
    (offset..offset + BLOCK as usize).step_by(64).for_each(|line| map.prefetch(line));
}
