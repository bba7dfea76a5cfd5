//! Free blocks that lie side by side become one: what short keys leave is there for long ones. It does not know which blocks are used.
//!
//! The lists of free blocks say nothing of neighbours, so that to free a block costs two words. Once a block is wanted that no list has
//! and that there is no space for, all that are free are gathered, sorted, and cut anew into blocks as long as can be. That is a commit
//! of its own: a node is written to its block before its commit counts, and where blocks are joined by the same commit, it would be
//! written over the links of those that are free still, should the commit never be. If joining would change nothing, it is not tried
//! again before there was another commit.

use std::sync::atomic::Ordering;

use crate::error::Result;
use crate::os::{Os, OsMap};
use crate::storage::state::{self, VISIBLE};
use crate::storage::tree::{CLASSES, place_of};

use super::commit::Commit;
use super::order::link;
use super::order_space::longest_class;

/// Free blocks side by side: the first, and how many of the shortest they are.
pub(super) type Run = (u64, u64);

impl<O: Os> Commit<'_, O> {
    /// Makes what is free one where it lies side by side, if a block of a class can be had by that.
    #[cold]
    pub(super) fn join_free_blocks(&mut self, class: usize) -> Result<bool> {
        // Without a commit since, the lists are the same.
        let moment = self.store.state.load(VISIBLE).wrapping_mul(CLASSES as u64).wrapping_add(class as u64 + 1);
        if self.store.unjoined.load(Ordering::Relaxed) == moment || seeded!("free_blocks_stay_apart") {
            return Ok(false);
        }
        // Lists that cannot be right are empty now, and that is to be published.
        let Some((mut runs, blocks)) = self.free_runs()? else { return Ok(true) };
        let is_shorter = self.cut_off(&mut runs);
        // As many blocks as there are would be the same ones, as long as can be: whoever found too few would find too few again.
        let is_same = || runs.iter().map(|&(_, blocks)| pieces_of(blocks)).sum::<u64>() == blocks;
        if !is_shorter && (runs.iter().all(|&(_, blocks)| blocks < 1 << class) || is_same()) {
            self.store.unjoined.store(moment, Ordering::Relaxed);
            return Ok(false);
        }
        self.list_runs(runs);
        Ok(true)
    }

    /// Takes away the runs behind all blocks that are used: they are as if they never had been. False if there are none.
    pub(super) fn cut_off(&mut self, runs: &mut Vec<Run>) -> bool {
        let before = self.state(state::ORDER_NEXT);
        let mut next = before;
        while let Some((at, _)) = runs.pop_if(|&mut (at, blocks)| at + blocks == next) {
            next = at;
        }
        if next == before {
            return false;
        }
        self.stage_state(state::ORDER_NEXT, next);
        true
    }

    /// Makes the lists anew, of what is free.
    pub(super) fn list_runs(&mut self, runs: Vec<Run>) {
        let mut first = [0; CLASSES];
        self.stage_state(state::ORDER_FREED, runs.iter().map(|&(_, blocks)| blocks).sum());
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
    }

    /// All blocks on the lists, joined, in order, and how many they are; each run lies in one chunk. `None` if they cannot all be
    /// free: of the lists nothing can be known then, and what is lost is room, until the trees are made anew.
    pub(super) fn free_runs(&mut self) -> Result<Option<(Vec<Run>, u64)>> {
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
        let blocks = free.len() as u64;
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
        Ok(Some((runs, blocks)))
    }

    fn forget_free_blocks(&mut self, block: u32) -> Option<(Vec<Run>, u64)> {
        self.damaged(block);
        (0..CLASSES).for_each(|class| self.stage_state(state::ORDER_FREE + 8 * class, 0));
        self.stage_state(state::ORDER_FREED, 0);
        None
    }
}

/// Into how many blocks, as long as can be, a run is cut.
fn pieces_of(blocks: u64) -> u64 {
    let longest = CLASSES - 1;
    (blocks >> longest) + u64::from((blocks & ((1 << longest) - 1)).count_ones())
}
