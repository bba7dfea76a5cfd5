//! Blocks for the nodes of trees: which are free, and who takes them. It does not know what nodes are for.
//!
//! A block is taken from the list of its class; else a longer one is cut; else one is taken that nobody had before (`order_space`).
//! Where there is no space for that, who wants it leaves word, and before it is tried again trees that were thrown away are taken apart,
//! and what is free side by side becomes one (`order_join`).

use std::sync::atomic::Ordering;

use crate::error::{Error, Result};
use crate::os::{Os, OsMap};
use crate::storage::state;
use crate::storage::tree::{CLASSES, block_of, place_of};

use super::commit::Commit;
use super::limit::Purpose;
use super::lock::Locked;
use super::order::link;
use super::store::Store;

/// Nodes of trees that are taken apart that each change frees …
const TAKEN_APART: usize = 2;
/// … and so many a commit that does nothing else.
const TAKEN_APART_AT_ONCE: usize = 256;
/// Such commits under one hold of the lock.
const COMMITS: usize = 16;

impl<O: Os> Store<O> {
    /// For who found no room, if that was for want of a block: makes some free. False if none can be.
    pub(super) fn make_blocks(&self, locked: &Locked<'_, O>) -> Result<bool> {
        let Some(class) = self.wanted_block.swap(0, Ordering::Relaxed).checked_sub(1) else { return Ok(false) };
        if self.take_trees_apart(locked, COMMITS)? {
            return Ok(true);
        }
        let join = || {
            let mut commit = Commit::new(locked)?;
            if commit.join_free_blocks(class)? { commit.publish().map(|()| true) } else { Ok(false) }
        };
        match join() {
            // The list of what it changes may be a file of its own.
            Err(error) if error.is_for_want_of_space() => Ok(false),
            joined => joined,
        }
    }

    /// Of trees that are taken apart nothing can be known: what is lost is room, until the trees are made anew.
    #[cold]
    fn forget_doomed(&self, locked: &Locked<'_, O>) -> Result<()> {
        let mut commit = Commit::new(locked)?;
        commit.damaged(0);
        commit.stage_state(state::ORDER_DOOMED, 0);
        commit.publish()
    }

    /// Frees nodes of trees that were thrown away, by so many commits: not all under one hold of the lock, who wants them asks again.
    /// False if there are none.
    pub(super) fn take_trees_apart(&self, locked: &Locked<'_, O>, commits: usize) -> Result<bool> {
        let mut made = false;
        for _ in 0..commits {
            if self.state.load(state::ORDER_DOOMED) == 0 || seeded!("thrown_away_trees_keep_their_room") {
                break;
            }
            let mut commit = Commit::new(locked)?;
            commit.take_apart_some(TAKEN_APART_AT_ONCE)?;
            commit.publish()?;
            // A list that goes round frees more than there is.
            if self.state.load(state::ORDER_FREED) > self.state.load(state::ORDER_NEXT) {
                self.forget_doomed(locked)?;
                break;
            }
            made = true;
        }
        Ok(made)
    }
}

impl<O: Os> Commit<'_, O> {
    /// A block that nobody uses.
    pub(super) fn free_block(&mut self, class: usize, purpose: Purpose) -> Result<u32> {
        if class >= CLASSES {
            // Of sound nodes none is as long.
            return Err(self.damaged(0));
        }
        if let Some(block) = self.listed_block(class)? {
            return Ok(block);
        }
        let block = self.next_block(class, purpose);
        if block.as_ref().is_err_and(Error::is_for_want_of_space) {
            self.store.wanted_block.store(class + 1, Ordering::Relaxed);
        }
        block
    }

    /// A block from the lists: one of its class, or the beginning of a longer one.
    fn listed_block(&mut self, class: usize) -> Result<Option<u32>> {
        for longer in class..CLASSES {
            let Some(block) = self.pop_free_block(longer)? else { continue };
            // Its rest, in pieces of which each is as long as what is in front of it. Nobody was led there.
            let pieces = class..longer;
            pieces.for_each(|class| self.nodes().spare.push((class, block + (1 << class))));
            return Ok(Some(block));
        }
        Ok(None)
    }

    /// The first block of a list.
    fn pop_free_block(&mut self, class: usize) -> Result<Option<u32>> {
        let list = state::ORDER_FREE + 8 * class;
        let block = self.state(list) as u32;
        if block == 0 {
            return Ok(None);
        }
        if !self.is_free(block, class) {
            // Of the list nothing can be known; what is lost is room, until the trees are made anew.
            self.damaged(block);
            self.stage_state(list, 0);
            return Ok(None);
        }
        self.map_order_chunk(place_of(block).0)?;
        let (place, offset) = link(block);
        let next = self.word(place, offset);
        self.stage_state(list, next);
        self.add_state(state::ORDER_FREED, -(1 << class));
        Ok(Some(block))
    }

    /// True if a block that a list names may be free.
    pub(super) fn is_free(&mut self, block: u32, class: usize) -> bool {
        self.is_block(block, class) && !self.nodes().written.contains_key(&block)
    }

    /// Frees a few nodes of trees that were thrown away.
    pub(super) fn take_apart(&mut self) -> Result<()> {
        self.take_apart_some(TAKEN_APART)
    }

    fn take_apart_some(&mut self, nodes: usize) -> Result<()> {
        for _ in 0..nodes {
            let doomed = self.state(state::ORDER_DOOMED);
            if doomed == 0 {
                return Ok(());
            }
            let block = u32::try_from(doomed).unwrap_or(0);
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
