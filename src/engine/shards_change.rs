//! Changing keys of several shards together.

use std::cell::Cell;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::options::Durability;
use crate::os::Os;

use super::batch::purpose_of;
use super::change::{Change, Op};
use super::commit::Commit;
use super::durable::Lead;
use super::limit::Purpose;
use super::lock::{Inside, Locked};
use super::shards::Shards;
use super::siblings::Joint;
use super::store::Store;

/// What goes together into one shard, by its number.
pub type Group<'o> = (usize, Vec<Op<'o>>);

impl<O: Os> Shards<O> {
    /// Makes changes in several shards together. The number of keys that were live before. After a power cut each shard may
    /// have lost its part, unless the handle's changes are durable.
    pub fn batch(&self, groups: &[Group<'_>]) -> Result<u64> {
        let stores = self.stores();
        let full = Cell::new(0);
        let mut outcome = self.batch_once(groups, &stores, &full);
        // A shard without room gives back what it can where that may wait for the disk, without the locks; then another may have none.
        for _ in groups {
            match outcome {
                Err(Error::Full) => {}
                outcome => return outcome,
            }
            let store = &stores[full.get()];
            let purpose =
                groups.iter().find(|(i, _)| *i == full.get()).map_or(Purpose::Store, |(_, ops)| purpose_of(ops));
            outcome = store.until_there_is_room(purpose, || self.batch_once(groups, &stores, &full));
        }
        outcome
    }

    /// One attempt. Of a failure for want of room, `full` says where.
    fn batch_once(&self, groups: &[Group<'_>], stores: &[Arc<Store<O>>], full: &Cell<usize>) -> Result<u64> {
        let is_lasting = self.first().durability == Durability::Sync;
        for (i, ops) in groups {
            stores[*i].check_size(ops)?;
            stores[*i].before_change()?;
            stores[*i].make_room_ahead(None)?;
        }
        let left = self.deadline(None);
        if stores.iter().any(|store| store.is_inside_transaction()) {
            return Err(Error::InTransaction);
        }
        let replaced = {
            let leads = Shards::leads(stores, is_lasting, &left)?;
            // All of them, for there is one joint commit at a time. As for a transaction: with several locks nobody waits for the
            // disk to make room in one.
            let locked = self.lock_all(stores, &left)?;
            let _inside: Vec<Inside> = stores.iter().map(|store| store.enter_transaction()).collect();
            let joint = Joint { number: self.next_number(is_lasting)?, is_lasting, is_ready: false };
            let mut commits = Vec::with_capacity(groups.len());
            let mut replaced = 0;
            for (i, ops) in groups {
                full.set(*i);
                let (commit, live) = prepare((&locked[*i], leads.get(*i)), ops, joint)?;
                replaced += live;
                commits.extend(Some(commit).filter(|commit| commit.joint.is_some_and(|joint| joint.is_ready)));
            }
            self.publish(joint, &mut commits, &leads)?;
            replaced
        };
        for (i, _) in groups {
            stores[*i].epilogue();
        }
        Ok(replaced)
    }
}

/// Step 1 of a joint commit, for changes of keys of one shard.
fn prepare<'l, O: Os>(
    (locked, lead): (&'l Locked<'_, O>, Option<&Lead<'_, O>>),
    ops: &[Op<'_>],
    joint: Joint,
) -> Result<(Commit<'l, O>, u64)> {
    let puts = ops.iter().filter(|op| matches!(op.change, Change::Put(_))).count() as u64;
    let attempt = || {
        let mut commit = locked.begin(puts)?;
        commit.joint = Some(joint);
        let live = commit.carry_out(ops)?;
        Ok((commit, live))
    };
    let mut patience = locked.store.patience();
    loop {
        match attempt() {
            Err(Error::Full)
                if patience.lasts(locked.store.volume())
                    && locked.store.make_room_inside((locked, lead), purpose_of(ops))? => {}
            outcome => return outcome,
        }
    }
}
