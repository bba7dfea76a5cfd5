//! Taking the first or the last item of an index out: one commit, under the lock from the look at the tree on.

use crate::error::{Corruption, Error, Result};
use crate::os::{Os, OsMap};
use crate::storage::leaf::{BITS, Leaf};
use crate::storage::namespace::{Namespace, PREFIX, prefix};
use crate::storage::paths::Name;
use crate::storage::state;
use crate::storage::tree::{BLOCK, block_of};

use super::cells::KeyPlace;
use super::change::{Change, Op};
use super::commit::Commit;
use super::found::Found;
use super::nodes::AtEnd;
use super::order_leaf::{Aim, leaf_at};
use super::queue::End;
use super::store::Store;

/// How many repairs by others one call waits out.
const REPAIRS_MAX: usize = 8;

impl<O: Os> Store<O> {
    /// Takes the first or last item of an index out, and gives what `take` makes of its key and record. `None` if there is
    /// none.
    pub fn pop_in_order<R>(
        &self,
        index: Namespace,
        end: End,
        mut take: impl FnMut(&[u8], &Found<'_, O>) -> Result<R>,
    ) -> Result<Option<R>> {
        for _ in 0..REPAIRS_MAX {
            if self.state.load(state::ORDER_STALE) != 0 {
                self.make_orders(&self.lock()?)?;
            }
            if let Some(popped) = self.pop_from_sound(index, end, &mut take)? {
                return Ok(popped);
            }
        }
        Err(self.unsettled())
    }

    /// `None` if somebody has begun to make the trees anew.
    fn pop_from_sound<R>(
        &self,
        index: Namespace,
        end: End,
        take: &mut impl FnMut(&[u8], &Found<'_, O>) -> Result<R>,
    ) -> Result<Option<Option<R>>> {
        self.change_by(self.enter()?, 0, |commit| {
            if self.state.load(state::ORDER_STALE) != 0 {
                return Ok(None);
            }
            // Whoever holds the store's lock has this one at once.
            let mut coming = self.coming.lock().unwrap_or_else(|poisoned| {
                // Somebody's code panicked over the item that came next.
                self.coming.clear_poison();
                let mut coming = poisoned.into_inner();
                coming.forget();
                coming
            });
            let foretold = commit.coming_key((index, end), &mut coming)?;
            let was_foretold = foretold.is_some();
            let (key, hash) = match foretold {
                Some(foretold) => foretold,
                None => match commit.key_at_end(index, end)? {
                    Some(key) => {
                        let hash = self.hash(&key);
                        (key, hash)
                    }
                    None => return Ok(Some(None)),
                },
            };
            let stays = was_foretold && commit.at_end.as_ref().is_some_and(|at_end| at_end.left.is_some());
            let moment = commit.sequence;
            let mut place = KeyPlace::default();
            commit.locate_into(&mut place, &key, hash)?;
            let live = place.old.as_ref().filter(|_| place.is_live()).and_then(|old| commit.open_old(old));
            let live = live.ok_or_else(|| {
                self.state.store(state::SUSPECT, 1);
                Error::corrupt(&self.paths.of(Name::State), state::ORDER_CHUNKS as u64, Corruption::Index)
            })?;
            let taken = take(key.get(PREFIX..).unwrap_or_default(), &Found::Present(&live))?;
            if commit.change_alone(&Op { key: &key, hash, change: Change::Remove }, &place)? {
                commit.publish()?;
            }
            if moment != commit.sequence {
                coming.taken((index, end == End::Front), moment, stays);
            }
            Ok(Some(Some(taken)))
        })
    }
}

impl<O: Os> Commit<'_, O> {
    /// The whole key at an end of an index, of a commit that has changed none of its nodes yet.
    fn key_at_end(&mut self, index: Namespace, end: End) -> Result<Option<Vec<u8>>> {
        let root = self.anchor(index);
        if root == 0 {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(BLOCK as usize);
        let block = self.leaf_of(root, Aim::End(end), &mut bytes)?.ok_or_else(|| self.damaged(block_of(root)))?;
        let (place, at) = leaf_at(block);
        let leaf = Leaf::of(&bytes, self.word(place, at + BITS)).ok_or_else(|| self.damaged(block))?;
        let found = if end == End::Front { leaf.first() } else { leaf.last() };
        let (entry, own) = found.ok_or_else(|| self.damaged(block))?;
        self.at_end = Some(AtEnd { block, left: leaf.without_edge(entry) });
        let mut whole = prefix(index.kind, index.id).to_vec();
        whole.extend_from_slice(own);
        Ok(Some(whole))
    }
}
