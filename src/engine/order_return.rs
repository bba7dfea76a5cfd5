//! Space that nodes of trees took and need no more goes back, for whatever comes next. It does not know which blocks are used, but that
//! those on the lists are not.
//!
//! When room is wanted, trees that were thrown away are taken apart. Then, if half of what nodes have is free:
//!
//! 1. the blocks that are free are gathered, and those behind all that are used are cut off (`order_join`);
//! 2. a commit says that there is no space for them any more, but for what removals may need next;
//! 3. the space is released. The file stays as long as it is, so that whoever has it mapped reads zeros there, which are no node: he
//!    was led there before, and looks again.
//!
//! A death between 2 and 3 leaves space that is not counted; whoever takes the lock next releases it. In this order, because a node that
//! is written where there is no space may find the disk full, which is a signal and not an error. So it is too where space is counted
//! that a file system without holes still has: it is asked first.

use std::io::ErrorKind;
use std::sync::atomic::Ordering;

use crate::error::Result;
use crate::os::{OpenMode, Os, OsFile, OsMap};
use crate::storage::paths::Name;
use crate::storage::state::{self, VISIBLE};
use crate::storage::tree::{BLOCK, CHUNKS_MAX, chunk_bytes, first_block, place_of};

use super::commit::{Commit, signed};
use super::lock::Locked;
use super::order_space::{LEFT_TO_REMOVALS, each_part, piece_of, start_of, whole_pieces};
use super::store::Store;

/// It is worth looking if this share of the space is free …
const IDLE: u64 = 2;
/// … and, where looking was in vain, if by this share of it more or less is free than then, or if what is used has halved.
const CHANGED: u64 = 16;
/// It is worth giving back if it is as much as this many pieces: what is next to come would have to be claimed again.
const WORTH: u64 = 2;

impl<O: Os> Store<O> {
    /// Gives back space of nodes, if it is likely that much can be given. False if none is.
    #[inline]
    pub(super) fn return_nodes(&self, locked: &Locked<'_, O>) -> Result<bool> {
        if self.order_space() <= chunk_bytes(0) {
            return Ok(false);
        }
        if self.take_trees_apart(locked, 1)? {
            return Ok(true);
        }
        let space = self.order_space();
        let (free, vain) = (self.free_of(space), self.kept_free.load(Ordering::Relaxed));
        let (used, used_then) = (space - free, space.saturating_sub(vain));
        let is_emptier = used < used_then && used <= used_then / 2;
        if free < space / IDLE || (vain.abs_diff(free) < space / CHANGED && !is_emptier) {
            return Ok(false);
        }
        self.return_space(locked, WORTH)
    }

    /// The same for who finds no room elsewhere: whatever can be given, but not twice where nobody has committed anything since.
    #[cold]
    pub(super) fn return_nodes_at_last(&self, locked: &Locked<'_, O>) -> Result<bool> {
        let moment = self.state.load(VISIBLE);
        if self.order_space() <= chunk_bytes(0) || self.kept_at.swap(moment, Ordering::Relaxed) == moment {
            return Ok(false);
        }
        Ok(self.take_trees_apart(locked, 1)? || self.return_space(locked, 0)?)
    }

    /// Steps 1 to 3, if it is worth so many pieces.
    #[cold]
    fn return_space(&self, locked: &Locked<'_, O>, worth: u64) -> Result<bool> {
        if seeded!("nodes_keep_their_space") {
            return Ok(false);
        }
        let space = self.order_space();
        let free = self.free_of(space);
        let give_back = || -> Result<bool> {
            let mut commit = Commit::new(locked)?;
            if !self.has_holes() || !commit.stage_return(worth)? {
                return Ok(false);
            }
            if seeded!("nodes_are_released_before_their_commit") {
                self.release_nodes(commit.order_space(), space);
            }
            commit.publish()?;
            Ok(true)
        };
        let has_given = match give_back() {
            // The list of what it changes may be a file of its own.
            Err(error) if error.is_for_want_of_space() => false,
            given => given?,
        };
        if has_given {
            self.release_nodes(self.order_space(), space);
        } else {
            self.kept_free.store(free, Ordering::Relaxed);
        }
        Ok(has_given)
    }

    /// Bytes of so much space for nodes that none stands in.
    fn free_of(&self, space: u64) -> u64 {
        let blocks = |word| self.state.load(word).saturating_mul(BLOCK);
        space.saturating_sub(blocks(state::ORDER_NEXT)).saturating_add(blocks(state::ORDER_FREED)).min(space)
    }

    /// True if the file system takes space out of the middle of a file. Behind its end there is none to take.
    fn has_holes(&self) -> bool {
        let path = self.paths.of(Name::Order(0));
        self.os.open(&path, OpenMode::Write).and_then(|file| file.release(chunk_bytes(0), BLOCK)).is_ok()
    }

    /// Step 3. What cannot be released the second time either is there for nodes that come.
    pub(super) fn release_nodes(&self, from: u64, end: u64) {
        let _ = each_part(from, end, |chunk, from, bytes| {
            let path = self.paths.of(Name::Order(chunk as u64));
            match self.os.open(&path, OpenMode::Write).and_then(|file| file.release(from, bytes)) {
                Err(error) if error.kind() != ErrorKind::Unsupported => {
                    // Whoever has the lock next tries again, once.
                    self.state.fetch_max(state::UNSWEPT, 1);
                }
                _ => {}
            }
            Ok(())
        });
    }

    /// The same for who comes after a death: of all chunks.
    pub(super) fn release_what_is_not_counted(&self) {
        let chunks = usize::try_from(self.state.load(state::ORDER_CHUNKS)).unwrap_or(usize::MAX);
        if self.state.load(state::ORDER_LEFT) != 0 {
            self.release_nodes(self.order_space(), start_of(chunks.min(CHUNKS_MAX)));
        }
    }
}

impl<O: Os> Commit<'_, O> {
    /// Steps 1 and 2 but for the publishing. False if there is nothing to give back.
    fn stage_return(&mut self, worth: u64) -> Result<bool> {
        // Lists that cannot be right are empty now, and that is to be published.
        let Some((mut runs, _)) = self.free_runs()? else { return Ok(true) };
        let counted: u64 = runs.iter().map(|&(_, blocks)| blocks).sum();
        let is_miscounted = counted != self.state(state::ORDER_FREED);
        if self.cut_off(&mut runs) || is_miscounted {
            self.list_runs(runs);
        }
        let (space, kept) = (self.order_space(), self.space_in_use());
        let (last, _) = place_of((space.saturating_sub(1) / BLOCK) as u32);
        if kept >= space || space - kept < worth * piece_of(last) {
            return Ok(is_miscounted);
        }
        self.add_state(state::VOLUME, -signed(space - kept));
        self.stage_state(state::ORDER_LEFT, start_of(self.order_chunks()) - kept);
        Ok(true)
    }

    /// Bytes of space up to the end of the last block in use, and of what is left to removals behind it. The first chunk stays: trees that
    /// come and go, like that of the leases of a queue, need no more.
    fn space_in_use(&self) -> u64 {
        let next = self.state(state::ORDER_NEXT);
        if next < first_block(1) {
            return start_of(1);
        }
        let (chunk, offset) = place_of(u32::try_from(next).unwrap_or(u32::MAX));
        let end = offset as u64 + chunk_bytes(chunk) / LEFT_TO_REMOVALS;
        match end.checked_sub(chunk_bytes(chunk)) {
            None | Some(0) => start_of(chunk) + whole_pieces(chunk, end),
            Some(beyond) => start_of(chunk + 1) + whole_pieces(chunk + 1, beyond),
        }
    }
}
