//! The leaf that a key new to its index will go to, sought before the lock: memory is waited for while nobody waits for who writes. It
//! does not know whether the key will be new, nor what is done with the leaf (`order_leaf`).
//!
//! 1. The moment: `VISIBLE`, while `PENDING` is 0.
//! 2. From the row's word down to the node above the leaf. Others may be writing, so that what is read here may be anything.
//! 3. The lines of the leaf are fetched.
//! 4. Under the lock: `VISIBLE` is the moment still. Nothing has been committed since before step 2, so every word and every node on
//!    the way is what it was then, and the way leads where it led. Else the leaf is sought anew.

use std::sync::atomic::Ordering;

use crate::os::{Os, OsMap};
use crate::storage::namespace::{Kind, Namespace, parse};
use crate::storage::state::{self, PENDING, VISIBLE};
use crate::storage::tag_table::row;
use crate::storage::tree::{BLOCK, DEEPEST, LINK, LONG, Node, block_of, place_of};

use super::change::{Change, Op};
use super::coming::Foreseen;
use super::commit::Commit;
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
                (offset..offset + BLOCK as usize).step_by(64).for_each(|line| map.prefetch(line));
                return Some(Foreseen { moment, root, block });
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
        let foreseen = self.foreseen.take()?;
        let has_changed = self.nodes.as_ref().is_some_and(|nodes| nodes.leads || !nodes.written.is_empty());
        let is_of_now =
            foreseen.moment.checked_add(1) == Some(self.sequence) || seeded!("leaves_are_foreseen_for_ever");
        (is_of_now && foreseen.root == root && !has_changed).then_some(foreseen.block)
    }
}
