//! Blocks for the nodes of trees: which are free, and the chunks that they are in. It does not know what nodes are for.

use crate::error::{Error, Result};
use crate::os::Os;
use crate::storage::paths::Name;
use crate::storage::state;
use crate::storage::tree::{self, CHUNKS_MAX, CLASSES, block_of, place_of};

use super::commit::{Commit, Made};
use super::limit::Purpose;
use super::order::link;

/// Nodes of trees that are taken apart that each change frees.
const TAKEN_APART: usize = 2;
/// Puts leave this share of the last chunk to removals.
const LEFT_TO_REMOVALS: u64 = 8;

/// True if a block of a class that begins there ends in its chunk.
fn is_inside(chunk: usize, offset: usize, class: usize) -> bool {
    offset as u64 + (tree::BLOCK << class) <= tree::chunk_bytes(chunk)
}

impl<O: Os> Commit<'_, O> {
    /// A block that nobody uses.
    pub(super) fn free_block(&mut self, class: usize, purpose: Purpose) -> Result<u32> {
        if class >= CLASSES {
            // Of sound nodes none is as long.
            return Err(self.damaged(0));
        }
        let list = state::ORDER_FREE + 8 * class;
        let first = self.state(list) as u32;
        if first != 0 {
            let (chunk, offset) = place_of(first);
            if chunk >= self.order_chunks()
                || !is_inside(chunk, offset, class)
                || self.nodes().written.contains_key(&first)
            {
                // Of the list nothing can be known; what is lost is room, until the trees are made anew.
                self.damaged(first);
                self.stage_state(list, 0);
                return self.next_block(class, purpose);
            }
            self.map_order_chunk(chunk)?;
            let (place, offset) = link(first);
            let next = self.word(place, offset);
            self.stage_state(list, next);
            return Ok(first);
        }
        self.next_block(class, purpose)
    }

    /// A block behind all that were ever used. A put leaves a part of the last chunk to removals, which need a block before they free
    /// any.
    fn next_block(&mut self, class: usize, purpose: Purpose) -> Result<u32> {
        // Block 0 stands for none.
        let first = self.state(state::ORDER_NEXT).max(1);
        let mut next = first;
        loop {
            let (chunk, offset) = place_of(u32::try_from(next).map_err(|_| Error::Full)?);
            let left = if purpose == Purpose::Store { tree::chunk_bytes(chunk) / LEFT_TO_REMOVALS } else { 0 };
            let is_last = chunk + 1 >= self.order_chunks();
            if is_inside(chunk, offset + if is_last { left as usize } else { 0 }, class) {
                if chunk >= self.order_chunks() {
                    self.make_order_chunk(chunk, purpose)?;
                }
                self.map_order_chunk(chunk)?;
                self.stage_state(state::ORDER_NEXT, next + (1 << class));
                self.free_passed_over(first, next)?;
                return Ok(next as u32);
            }
            next = tree::first_block(chunk + 1);
        }
    }

    /// Frees what is between two blocks, in pieces that are as long as can be.
    fn free_passed_over(&mut self, first: u64, next: u64) -> Result<()> {
        let mut at = first;
        while at < next {
            let (chunk, offset) = place_of(at as u32);
            self.map_order_chunk(chunk)?;
            let end = tree::first_block(chunk + 1).min(next);
            let class = ((end - at).ilog2() as usize).min(CLASSES - 1);
            debug_assert!(is_inside(chunk, offset, class), "a piece ends in its chunk");
            self.nodes().freed.push((class, at as u32));
            at += 1 << class;
        }
        Ok(())
    }

    #[cold]
    fn make_order_chunk(&mut self, chunk: usize, purpose: Purpose) -> Result<()> {
        // All before it are there, or are passed over by a block that does not fit in them.
        for chunk in self.order_chunks()..=chunk {
            if chunk >= CHUNKS_MAX {
                return Err(Error::Full);
            }
            let bytes = tree::chunk_bytes(chunk);
            // Staged first: what is left free for it is free to be taken.
            self.stage_state(state::ORDER_CHUNKS, chunk as u64 + 1);
            self.admit(bytes, purpose)?;
            self.make_chunk_file(Name::Order(chunk as u64), bytes, Made::Order(chunk))?;
        }
        Ok(())
    }

    /// Frees a few nodes of trees that were thrown away.
    pub(super) fn take_apart(&mut self) -> Result<()> {
        for _ in 0..TAKEN_APART {
            let block = self.state(state::ORDER_DOOMED) as u32;
            if block == 0 {
                return Ok(());
            }
            let Ok(node) = self.node(block) else {
                // Nobody is led there: what is lost is room, until the trees are made anew.
                self.stage_state(state::ORDER_DOOMED, 0);
                return Ok(());
            };
            let (place, offset) = link(block);
            let mut next = self.word(place, offset);
            if node.level() > 0 {
                for below in (0..node.count()).map(|i| block_of(node.child(i))).filter(|&below| below != 0) {
                    let (chunk, _) = place_of(below);
                    if chunk >= self.order_chunks() {
                        self.damaged(below);
                        continue;
                    }
                    self.map_order_chunk(chunk)?;
                    let (place, offset) = link(below);
                    self.stage(place, offset, next);
                    next = below.into();
                }
            }
            self.stage_state(state::ORDER_DOOMED, next);
            let class = self.class_in(block)?;
            self.free_node(block, class);
        }
        Ok(())
    }
}
