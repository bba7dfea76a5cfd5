//! Making the trees anew from the index, after a rebuild or a repair, and checking them.
//!
//! While `ORDER_STALE` is set nobody reads them: who wants to takes the lock and finishes this first. All of the trees are thrown
//! away and every key is put in again, some thousand by each commit; when all are in, the word is cleared. A death in between
//! leaves it set.

use crate::error::Result;
use crate::os::{Os, OsMap};
use crate::storage::namespace::{Kind, Namespace, parse, prefix};
use crate::storage::redo::Place;
use crate::storage::state;
use crate::storage::tag_table::{self, RowPlace, row};
use crate::storage::tree::CLASSES;

use super::commit::Commit;
use super::limit::Purpose;
use super::lock::Locked;
use super::order_read::{Stretch, Window};
use super::queue::End;
use super::read::{Record, Try};
use super::store::Store;

/// Keys that one commit puts in.
const TOGETHER: usize = 2000;

impl<O: Os> Store<O> {
    /// Makes the trees anew, if they have to be.
    pub(super) fn make_orders(&self, locked: &Locked<'_, O>) -> Result<()> {
        if self.state.load(state::ORDER_STALE) == 0 { Ok(()) } else { self.make_orders_now(locked) }
    }

    #[cold]
    fn make_orders_now(&self, locked: &Locked<'_, O>) -> Result<()> {
        let mut commit = Commit::new(locked)?;
        commit.forget_orders()?;
        commit.publish()?;
        let mut position = Some(0);
        while position.is_some() {
            let mut keys: Vec<Vec<u8>> = Vec::new();
            while let Some(at) = position
                && keys.len() < TOGETHER
            {
                let start = keys.len();
                let visit = |keys: &mut Vec<Vec<u8>>, record: &Record<'_, O>| {
                    let mut key = Vec::new();
                    if record.append_key(&mut key) && matches!(parse(&key), Some((Kind::Index, ..))) {
                        keys.push(key);
                    }
                    Ok(())
                };
                position = self.scan(at, &mut keys, |keys| keys.truncate(start), visit)?;
            }
            let mut commit = Commit::new(locked)?;
            for key in &keys {
                if let Some((kind, id, key)) = parse(key) {
                    // Whoever opens a full store is not refused: it had room for them before.
                    commit.put_in_order(Namespace { kind, id }, key, Purpose::Renew)?;
                }
            }
            commit.publish()?;
        }
        let mut commit = Commit::new(locked)?;
        commit.stage_state(state::ORDER_STALE, 0);
        commit.publish()
    }

    /// The number of keys of an index, each a live item and behind the one before it; `None` if something is wrong.
    pub(super) fn count_in_order(&self, index: Namespace) -> Result<Option<u64>> {
        let (mut window, mut counted) = (Window::default(), 0);
        let mut last: Option<Vec<u8>> = None;
        while !window.is_empty() {
            let mut to = Stretch::default();
            loop {
                let view = self.view.load_full();
                match self.try_stretch((&view, None), index, &window, End::Front, (usize::MAX, false), &mut to)? {
                    Try::Done(()) => break,
                    Try::Map(missing) => self.map_missing_under_lock(missing)?,
                    Try::Again => return Ok(None),
                }
            }
            for item in &to.items {
                let key = to.key(item);
                if last.as_deref().is_some_and(|last| last >= key) {
                    return Ok(None);
                }
                let mut whole = prefix(index.kind, index.id).to_vec();
                whole.extend_from_slice(key);
                if self.look(&whole, self.hash(&whole), |_| Ok(()))?.is_none() {
                    return Ok(None);
                }
                last = Some(key.to_vec());
                counted += 1;
            }
            window.without(End::Front, to.fence);
        }
        Ok(Some(counted))
    }
}

impl<O: Os> Commit<'_, O> {
    /// Throws all trees away, and with them all that was known of blocks: those that were used are not looked at again.
    fn forget_orders(&mut self) -> Result<()> {
        let chunks = usize::try_from(self.state(state::TAG_CHUNKS)).unwrap_or(0).min(tag_table::CHUNKS_MAX);
        for chunk in 0..chunks {
            self.store.map_tags(chunk)?;
            self.refresh_view();
            for offset in (0..tag_table::chunk_bytes(chunk)).step_by(tag_table::ROW_BYTES) {
                let place = Place::Tags(chunk as u32);
                let is_index = self.kind_of_tag(RowPlace { chunk, offset }) == Kind::Index;
                if is_index && self.word(place, offset + row::ANCHOR) != 0 {
                    self.stage(place, offset + row::ANCHOR, 0);
                }
            }
        }
        for word in [state::ORDER_NEXT, state::ORDER_DOOMED, state::ORDER_FREED] {
            self.stage_state(word, 0);
        }
        for class in 0..CLASSES {
            self.stage_state(state::ORDER_FREE + 8 * class, 0);
        }
        Ok(())
    }
}
