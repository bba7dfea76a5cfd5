//! The keys that come next at an end of an index, for a process that takes one after the other: it looks at a leaf once for all of its
//! keys, and fetches what the next ones lead to while it takes one. It does not know how a key is taken (`order_pop`).
//!
//! What was found counts as long as nobody else has committed anything: the newest commit is the one that took the key before.
//! So who takes turns with others looks at the leaf for each key.

use crate::error::Result;
use crate::os::{Os, OsMap};
use crate::storage::leaf::{self, BITS, Leaf};
use crate::storage::namespace::{Namespace, prefix};
use crate::storage::state;
use crate::storage::tree::{BLOCK, place_of};

use super::coming::{Coming, Next};
use super::commit::Commit;
use super::nodes::AtEnd;
use super::order_leaf::{Aim, leaf_at};
use super::queue::End;

/// Keys whose buckets are fetched ahead of their turn, and whose records are.
const AHEAD: usize = 4;
const NEAR: usize = 2;
/// The lines of a record that are fetched.
const LINES: [usize; 3] = [0, 64, 128];

impl<O: Os> Commit<'_, O> {
    /// The whole key that comes at an end of an index, and its hash. `None` if that was not to be told.
    pub(super) fn coming_key(
        &mut self,
        (index, end): (Namespace, End),
        coming: &mut Coming,
    ) -> Result<Option<(Vec<u8>, u64)>> {
        let is_of_now = coming.moment.checked_add(1) == Some(self.sequence) || seeded!("what_came_comes_for_ever");
        if coming.end != Some((index, end == End::Front)) || !is_of_now {
            return Ok(None);
        }
        if coming.next.as_slice().is_empty() {
            self.look_ahead((index, end), coming)?;
        }
        let next = coming.next.as_slice();
        let Some(first) = next.first() else { return Ok(None) };
        if let Some(table) = self.view.only_index(self.store.state.load(state::GEOMETRY)) {
            next.get(AHEAD).into_iter().for_each(|next| table.prefetch_home(next.hash));
            if let Some(next) = next.get(NEAR) {
                self.store.prefetch_record_of(&self.view, table, next.hash, LINES);
            }
        }
        let (place, at) = leaf_at(coming.block);
        // The view may be from before another thread mapped what the leaf stands in.
        self.map_order_chunk(place_of(coming.block).0)?;
        let bits = self.word(place, at + BITS);
        if !leaf::has(bits, first.entry) {
            // Damage: who took the key before left it there.
            return Ok(None);
        }
        self.at_end = Some(AtEnd { block: coming.block, left: leaf::without(bits, first.entry) });
        Ok(Some((coming.keys.get(first.key.clone()).unwrap_or_default().to_vec(), first.hash)))
    }

    /// Takes the keys of the leaf at an end down.
    fn look_ahead(&mut self, (index, end): (Namespace, End), coming: &mut Coming) -> Result<()> {
        let root = self.anchor(index);
        if root == 0 {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(BLOCK as usize);
        let Some(block) = self.leaf_of(root, Aim::End(end), &mut bytes)? else { return Ok(()) };
        let (place, at) = leaf_at(block);
        let ordered = Leaf::of(&bytes, self.word(place, at + BITS)).and_then(|leaf| leaf.ordered());
        let mut ordered = ordered.ok_or_else(|| self.damaged(block))?;
        if end == End::Back {
            ordered.reverse();
        }
        coming.block = block;
        coming.keys.clear();
        let prefix = prefix(index.kind, index.id);
        let next = ordered.into_iter().map(|(entry, own)| {
            let start = coming.keys.len();
            coming.keys.extend_from_slice(&prefix);
            coming.keys.extend_from_slice(own);
            let key = start..coming.keys.len();
            Next { entry, hash: self.store.hash(&coming.keys[key.clone()]), key }
        });
        coming.next = next.collect::<Vec<_>>().into_iter();
        if let Some(table) = self.view.only_index(self.store.state.load(state::GEOMETRY)) {
            coming.next.as_slice().iter().take(AHEAD).for_each(|next| table.prefetch_home(next.hash));
        }
        Ok(())
    }
}
