//! The leaf that a key new to its index will go to, sought before it is needed. It does not know whether the key will be new, nor what is
//! done with the leaf (`order_leaf`).
//!
//! For a key alone it is sought before the lock: memory is waited for while nobody waits for who writes.
//!
//! 1. The moment: `VISIBLE`, while `PENDING` is 0.
//! 2. From the row's word down to the node above the leaf. Others may be writing, so that what is read here may be anything.
//! 3. The lines of the leaf are fetched.
//! 4. Under the lock: `VISIBLE` is the moment still. Nothing has been committed since before step 2, so every word and every node on
//!    the way is what it was then, and the way leads where it led. Else the leaf is sought anew.
//!
//! For the keys of a batch it is sought a few keys ahead, through what the commit under way has staged until then, and its lines are on
//! their way while those keys are put in. A leaf whose entries do not fit any more, or that loses its last one, is freed. So one
//! that was not freed since has all the keys that it would have had then, and stands where it stood.

use std::sync::atomic::Ordering;

use crate::os::{Os, OsMap};
use crate::storage::namespace::{Kind, Namespace, parse};
use crate::storage::state::{self, PENDING, VISIBLE};
use crate::storage::tag_table::row;
use crate::storage::tree::{DEEPEST, LINK, LONG, Node, block_of, place_of};

use super::change::{Change, Op};
use super::coming::Foreseen;
use super::commit::Commit;
use super::order_leaf::{Aim, prefetch_block};
use super::store::Store;
use super::view::View;

impl<O: Os> Store<O> {
    /// The leaf that a put goes to if its key is new to an index. `is_new` waits for memory to tell that: it is asked first or last, as
    /// the key before turned out to be old or new.
    #[inline]
    pub(super) fn foresee(&self, view: &View<O>, op: &Op<'_>, is_new: impl FnOnce() -> bool) -> Option<Foreseen> {
        let (Change::Put(_), Some((Kind::Index, ..))) = (&op.change, parse(op.key)) else {
            is_new();
            return None;
        };
        let was_new = self.was_new.load(Ordering::Relaxed);
        let mut foreseen = if was_new { self.foresee_leaf(view, op.key) } else { None };
        let is_new = is_new();
        if is_new != was_new {
            self.was_new.store(is_new, Ordering::Relaxed);
            foreseen = if is_new { self.foresee_leaf(view, op.key) } else { None };
        }
        foreseen
    }

    /// Steps 1 to 3. `None` if the leaf cannot be told: it is sought under the lock then.
    fn foresee_leaf(&self, view: &View<O>, key: &[u8]) -> Option<Foreseen> {
        let (kind, id, key) = parse(key)?;
        let moment = self.state.load(VISIBLE);
        if self.state.load(PENDING) != 0 || self.state.load(state::ORDER_STALE) != 0 {
            return None;
        }
        let place = Namespace { kind, id }.place();
        let root = view.tags(place.chunk)?.load(place.offset + row::ANCHOR);
        let mut node = [0; LONG];
        let mut block = block_of(root);
        let mut above: Option<u16> = None;
        for _ in 0..DEEPEST {
            let (chunk, offset) = place_of(block);
            let map = view.order(chunk)?;
            if above == Some(1) {
                prefetch_block(&**map, offset);
                return Some(Foreseen { moment, root, block, freed: 0 });
            }
            let (_, level, len) = Node::head_of(map.load(offset + LINK));
            let bytes = node.get_mut(..len)?;
            if block == 0 || level == 0 || !map.read(offset + LINK, bytes) {
                return None;
            }
            let inner = Node::look(bytes)?;
            block = block_of(inner.child(inner.child_of(key, false)));
            above = Some(level);
        }
        None
    }
}

impl<O: Os> Commit<'_, O> {
    /// Step 4: the block of the leaf that was foreseen, if that is where the way from a root still leads.
    pub(super) fn foreseen_leaf(&mut self, root: u64) -> Option<u32> {
        let Foreseen { moment, root: of, block, freed } = self.foreseen.take()?;
        let since = self.nodes.as_ref().and_then(|nodes| nodes.freed.get(freed..)).unwrap_or_default();
        let is_freed = since.iter().any(|&(_, gone)| gone == block) && !seeded!("freed_leaves_are_foreseen");
        let is_of_now = moment.checked_add(1) == Some(self.sequence) || seeded!("leaves_are_foreseen_for_ever");
        (is_of_now && of == root && !is_freed).then_some(block)
    }

    /// The leaf of a key that comes a little later in this commit; its lines are fetched.
    fn foresee_later(&mut self, op: &Op<'_>, bytes: &mut Vec<u8>) -> Option<Foreseen> {
        let (Change::Put(_), Some((Kind::Index, id, key))) = (&op.change, parse(op.key)) else { return None };
        let root = self.anchor(Namespace { kind: Kind::Index, id });
        if root == 0 {
            return None;
        }
        // Where it fails, whoever needs the leaf says so.
        let block = self.leaf_of(root, Aim::Ahead(key), bytes).ok()??;
        let freed = self.nodes.as_ref().map_or(0, |nodes| nodes.freed.len());
        Some(Foreseen { moment: self.sequence - 1, root, block, freed })
    }
}

/// So many keys ahead their leaves are sought.
const NEAR: usize = 4;
/// The more leaves in a row were the one before, or were not to be told as this commit has written nodes on the way, the more turns go
/// by until one is sought again, up to so many: where keys come in order, what they lead to was just looked at.
const PAUSE_MAX: usize = 15;

/// The leaves of the keys of a batch that come next.
pub(super) struct LeavesAhead<I> {
    /// The changes whose leaves are not sought yet. `None` if the first of all is not of an index.
    later: Option<I>,
    leaves: [Option<Foreseen>; NEAR],
    turn: usize,
    /// Before that turn none is sought, as so many turns were let go by.
    seeks_from: usize,
    pause: usize,
    /// The block of the last one.
    last: u32,
    bytes: Vec<u8>,
}

impl<'a, I: Iterator<Item = Op<'a>> + Clone> LeavesAhead<I> {
    pub fn of(mut ops: I) -> Self {
        let are_of_index = ops.clone().next().is_some_and(|op| matches!(parse(op.key), Some((Kind::Index, ..))));
        if are_of_index {
            ops.nth(NEAR - 1);
        }
        LeavesAhead {
            later: are_of_index.then_some(ops),
            leaves: [const { None }; NEAR],
            turn: 0,
            seeks_from: 0,
            pause: 0,
            last: 0,
            bytes: Vec::new(),
        }
    }

    /// The turn of the next key. `was_new` tells whether the one before it came to its index, as others will then.
    #[inline]
    pub fn turn<O: Os>(&mut self, commit: &mut Commit<'_, O>, was_new: bool) {
        let Some(later) = &mut self.later else { return };
        // That of the key before was not needed, if it is there still.
        commit.foreseen = None;
        let turn = &mut self.leaves[self.turn % NEAR];
        let now = turn.take();
        let op = later.next().filter(|_| was_new && self.turn >= self.seeks_from);
        if let Some(op) = op {
            *turn = commit.foresee_later(&op, &mut self.bytes);
            let block = turn.as_ref().map_or(0, |leaf| leaf.block);
            let is_in_vain = block == 0 || block == self.last;
            self.pause = if is_in_vain { (2 * self.pause + 1).min(PAUSE_MAX) } else { 0 };
            self.seeks_from = self.turn + 1 + self.pause;
            self.last = block;
        }
        commit.foreseen = now;
        self.turn += 1;
    }
}
