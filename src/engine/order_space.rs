//! Where blocks for the nodes of trees come from that nobody had before: the end of the chunks. It does not know what became of those
//! that somebody had (`order_blocks`).
//!
//! A chunk is twice as long as the one before it. Its file is as long as it may ever get, and space is allocated for it a piece at a
//! time, so that an index can fill its store: of a chunk whose space was all taken at once, the last one that still had room would be
//! the one at half of the limit. There is space for the first bytes of all chunks, and none for the last `ORDER_LEFT`: more than the last
//! chunk, where it was given back (`order_return`).

use crate::error::{Error, Result};
use crate::os::{OpenMode, Os, OsFile, OsMap};
use crate::storage::paths::Name;
use crate::storage::state;
use crate::storage::tree::{self, CHUNKS_MAX, CLASSES, chunk_bytes, first_block, place_of, space_of};

use super::commit::{Commit, Made, signed};
use super::limit::Purpose;
use super::store::Store;

/// Puts leave this share of the last chunk with space to removals.
pub(super) const LEFT_TO_REMOVALS: u64 = 8;
/// Space is allocated for this share of a chunk at a time …
const PIECES: u64 = 8;
/// … but not for less than this, which is a chunk of the first ones.
const PIECE_MIN: u64 = 64 << 10;

/// Bytes of a block of a class.
fn bytes_of(class: usize) -> u64 {
    tree::BLOCK << class
}

impl<O: Os> Commit<'_, O> {
    /// True if a block of a class lies in one chunk, and there is space for it.
    pub(super) fn is_block(&self, block: u32, class: usize) -> bool {
        let (chunk, offset) = place_of(block);
        block != 0
            && chunk < self.order_chunks()
            && offset as u64 + bytes_of(class) <= chunk_bytes(chunk)
            && u64::from(block) + (1 << class) <= self.blocks_with_space()
    }

    /// The block behind all that there is space for.
    pub(super) fn blocks_with_space(&self) -> u64 {
        self.order_space() / tree::BLOCK
    }

    /// Bytes from the beginning of the first chunk on that space is allocated for.
    pub(super) fn order_space(&self) -> u64 {
        space_of(self.order_chunks(), self.state(state::ORDER_LEFT))
    }

    /// A block behind all that were ever used. A put leaves a part of the last chunk to removals, which need a block before they free
    /// any.
    pub(super) fn next_block(&mut self, class: usize, purpose: Purpose) -> Result<u32> {
        // Block 0 stands for none.
        let first = self.state(state::ORDER_NEXT).max(1);
        let mut next = first;
        loop {
            let (chunk, offset) = place_of(u32::try_from(next).map_err(|_| Error::Full)?);
            let is_last = start_of(chunk + 1) >= self.order_space();
            let left = if is_last && purpose == Purpose::Store { chunk_bytes(chunk) / LEFT_TO_REMOVALS } else { 0 };
            let end = offset as u64 + bytes_of(class) + left;
            if end <= chunk_bytes(chunk) {
                self.make_space(chunk, end, purpose)?;
                self.map_order_chunk(chunk)?;
                self.stage_state(state::ORDER_NEXT, next + (1 << class));
                self.free_passed_over(first, next)?;
                return Ok(next as u32);
            }
            next = first_block(chunk + 1);
        }
    }

    /// Frees what is between two blocks, in pieces that are as long as can be.
    fn free_passed_over(&mut self, first: u64, next: u64) -> Result<()> {
        let mut at = first;
        while at < next {
            let (chunk, _) = place_of(at as u32);
            self.map_order_chunk(chunk)?;
            let end = first_block(chunk + 1).min(next);
            let class = longest_class(end - at);
            self.nodes().freed.push((class, at as u32));
            at += 1 << class;
        }
        Ok(())
    }

    /// Sees to it that there is space for so many bytes of a chunk, and for all of those before it.
    fn make_space(&mut self, chunk: usize, end: u64, purpose: Purpose) -> Result<()> {
        if chunk >= CHUNKS_MAX {
            return Err(Error::Full);
        }
        while start_of(chunk) + end > self.order_space() {
            let chunks = self.order_chunks();
            if chunks > chunk {
                return self.claim_space(chunk, end, purpose);
            }
            match chunks.checked_sub(1).filter(|_| self.order_space() < start_of(chunks)) {
                // What it does not need is passed over, and is free.
                Some(last) => self.claim_space(last, chunk_bytes(last), purpose)?,
                None => {
                    self.make_order_chunk(chunks, if chunks == chunk { end } else { chunk_bytes(chunks) }, purpose)?
                }
            }
        }
        Ok(())
    }

    /// Claims space up to `end` of a chunk at least, which is allocated once this commit is whole: one that comes to nothing leaves none
    /// that nobody knows of.
    fn claim_space(&mut self, chunk: usize, end: u64, purpose: Purpose) -> Result<()> {
        let upto = start_of(chunk) + whole_pieces(chunk, end);
        let more = upto.saturating_sub(self.order_space());
        self.admit(more, purpose)?;
        self.add_state(state::VOLUME, signed(more));
        self.stage_state(state::ORDER_LEFT, start_of(self.order_chunks()).saturating_sub(upto));
        Ok(())
    }

    /// Allocates what was claimed.
    pub(super) fn allocate_claimed(&mut self) -> Result<()> {
        let (before, end) = (self.store.order_space(), self.order_space());
        if before < end {
            self.made.push(Made::Claimed(end));
        }
        each_part(before, end, |chunk, from, bytes| {
            let path = self.store.paths.of(Name::Order(chunk as u64));
            let allocate = || self.store.os.open(&path, OpenMode::Write)?.allocate(from, bytes);
            allocate().map_err(|e| Error::io("append to", &path, e))
        })
    }

    #[cold]
    fn make_order_chunk(&mut self, chunk: usize, end: u64, purpose: Purpose) -> Result<()> {
        let (bytes, upto) = (chunk_bytes(chunk), whole_pieces(chunk, end));
        // Staged first: what is left free for it is free to be taken.
        self.stage_state(state::ORDER_CHUNKS, chunk as u64 + 1);
        self.stage_state(state::ORDER_LEFT, bytes - upto);
        self.admit(upto, purpose)?;
        self.make_chunk_file(Name::Order(chunk as u64), bytes, upto, Made::Order(chunk))
    }
}

impl<O: Os> Store<O> {
    /// As [`Commit::order_space`], as the last commit left it.
    pub(super) fn order_space(&self) -> u64 {
        let chunks = usize::try_from(self.state.load(state::ORDER_CHUNKS)).unwrap_or(CHUNKS_MAX);
        space_of(chunks, self.state.load(state::ORDER_LEFT))
    }
}

/// Where a chunk begins, counted from the beginning of the first one.
pub(super) fn start_of(chunk: usize) -> u64 {
    first_block(chunk) * tree::BLOCK
}

/// Calls `with` for each chunk that has a part of some bytes, which are counted from the beginning of the first one: with where its part
/// begins in it, and how long that is.
pub(super) fn each_part(from: u64, end: u64, mut with: impl FnMut(usize, u64, u64) -> Result<()>) -> Result<()> {
    let mut at = from;
    while at < end {
        let (chunk, _) = place_of((at / tree::BLOCK) as u32);
        let upto = start_of(chunk + 1).min(end);
        with(chunk, at - start_of(chunk), upto - at)?;
        at = upto;
    }
    Ok(())
}

/// The end of the piece of a chunk in which so many bytes end.
pub(super) fn whole_pieces(chunk: usize, end: u64) -> u64 {
    end.next_multiple_of(piece_of(chunk)).min(chunk_bytes(chunk))
}

/// Bytes of a piece of a chunk.
pub(super) fn piece_of(chunk: usize) -> u64 {
    (chunk_bytes(chunk) / PIECES).max(PIECE_MIN)
}

/// The class of the longest block that is no longer than so many of the shortest.
pub(super) fn longest_class(blocks: u64) -> usize {
    (blocks.max(1).ilog2() as usize).min(CLASSES - 1)
}
