//! Free blocks that lie side by side become one: what short keys leave is there for long ones. It does not know which blocks are used.
//!
//! The lists of free blocks say nothing of neighbours, so that to free a block costs two words. Once a block is wanted that no list has
//! and that there is no space for, all that are free are gathered, sorted, and cut anew into blocks as long as can be. That is a commit of its own: a node is written to its
//! block before its commit counts, and where blocks are joined by the same commit, it would be written over the links of those that
//! are free still, should the commit never be. If joining would give none, it is not tried again before the lists are others.

use std::sync::atomic::Ordering;

use crate::error::Result;
use crate::os::Os;
use crate::storage::state;
use crate::storage::tree::{CLASSES, place_of};

use super::commit::Commit;
use super::order::link;
use super::order_space::longest_class;

/// Free blocks side by side: the first, and how many of the shortest they are.
type Run = (u64, u64);

impl<O: Os> Commit<'_, O> {
    /// Makes what is free one where it lies side by side, if a block of a class can be had by that.
    #[cold]
    pub(super) fn join_free_blocks(&mut self, class: usize) -> Result<bool> {
        let lists = self.lists_for(class);
        if self.store.unjoined.load(Ordering::Relaxed) == lists || seeded!("free_blocks_stay_apart") {
            return Ok(false);
        }
        let Some(mut runs) = self.free_runs()? else { return Ok(false) };
        let next = self.state(state::ORDER_NEXT);
        let last = runs.pop_if(|&mut (at, blocks)| at + blocks == next);
        if last.is_none() && runs.iter().all(|&(_, blocks)| blocks < 1 << class) {
            self.store.unjoined.store(lists, Ordering::Relaxed);
            return Ok(false);
        }
        // What is behind all that is used is as if it never had been.
        if let Some((at, _)) = last {
            self.stage_state(state::ORDER_NEXT, at);
        }
        let mut first = [0; CLASSES];
        for (mut at, blocks) in runs {
            let end = at + blocks;
            while at < end {
                let class = longest_class(end - at);
                let (place, offset) = link(at as u32);
                self.stage(place, offset, first[class]);
                first[class] = at;
                at += 1 << class;
            }
        }
        for (class, first) in first.into_iter().enumerate() {
            self.stage_state(state::ORDER_FREE + 8 * class, first);
        }
        Ok(true)
    }

    /// What says that the lists are others than they were, and never 0.
    fn lists_for(&self, class: usize) -> u64 {
        let words = (0..CLASSES).map(|class| self.state(state::ORDER_FREE + 8 * class));
        let all = words.chain([self.state(state::ORDER_NEXT), class as u64]);
        all.fold(1, |sum: u64, word| (sum ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)) | 1
    }

    /// All blocks on the lists, joined, in order; each run lies in one chunk. `None` if they cannot all be free: of the lists
    /// nothing can be known then, and what is lost is room, until the trees are made anew.
    fn free_runs(&mut self) -> Result<Option<Vec<Run>>> {
        for chunk in 0..self.order_chunks() {
            self.map_order_chunk(chunk)?;
        }
        let mut free: Vec<Run> = Vec::new();
        let mut room = self.state(state::ORDER_NEXT).min(self.blocks_with_space());
        for class in 0..CLASSES {
            let mut block = self.state(state::ORDER_FREE + 8 * class) as u32;
            while block != 0 {
                // Blocks that do not overlap are no more than there are.
                let is_one_more = room.checked_sub(1 << class).filter(|_| self.is_free(block, class));
                let Some(left) = is_one_more else { return Ok(self.forget_free_blocks(block)) };
                room = left;
                free.push((block.into(), 1 << class));
                let (place, offset) = link(block);
                block = self.word(place, offset) as u32;
            }
        }
        free.sort_unstable();
        let mut runs: Vec<Run> = Vec::new();
        for (at, blocks) in free {
            match runs.last_mut() {
                Some((from, before)) if *from + *before > at => return Ok(self.forget_free_blocks(at as u32)),
                Some((from, before)) if *from + *before == at && place_of(*from as u32).0 == place_of(at as u32).0 => {
                    *before += blocks;
                }
                _ => runs.push((at, blocks)),
            }
        }
        Ok(Some(runs))
    }

    fn forget_free_blocks(&mut self, block: u32) -> Option<Vec<Run>> {
        self.damaged(block);
        (0..CLASSES).for_each(|class| self.stage_state(state::ORDER_FREE + 8 * class, 0));
        None
    }
}
