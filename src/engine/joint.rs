//! A commit of several stores, the shards of a fan-out cache: in effect in all of them or in none, for every reader, whoever
//! dies, and, if it is *lasting*, after a power cut. It does not know what is committed, nor which shard has which key.
//!
//! Whoever makes one holds the locks of all shards, taken in the order of their numbers. So there is at most one under way,
//! and it has a number larger than all before it. Words that all shards share are in the state file of the first. Before the
//! locks, a lasting one becomes the leader of `durable` in each shard, likewise in order, and stays it to the end: whoever leads may
//! need the lock, so nobody waits to lead who has it.
//!
//! 1. In each shard that has something to commit: steps 3 to 5 of a commit, without `PENDING`. In front of the batch of a lasting
//!    one stands a record with the number.
//! 2. A lasting one: each of these batches is made durable, with all that is before it.
//! 3. In each: `JOINT = number; PENDING = sequence` with the bit that says joint.
//! 4. A lasting one: the number is written to the file of decisions, and that is made durable.
//! 5. `JOINT_CHOSEN = number` in the first shard: from here on it is in effect, whoever dies. Then in each that has a part, for the
//!    first one's words may be made anew before it is finished.
//! 6. In each: step 6 of a commit. Readers that come upon its records take those that they replace.
//! 7. `JOINT_DONE = number`: readers accept it in all shards at once ([`Store::visible`]).
//! 8. In each: steps 7 and 8.
//!
//! What fails before step 5 is taken back: `PENDING = 0` everywhere, the number out of the file, and what was written is wiped,
//! in a lasting one durably so.
//!
//! Whoever takes the lock of a shard and finds such a `PENDING` lets it go again and *resolves* it, for the others may not be
//! ready: takes all locks in order; if the number was chosen, or is in the file of decisions, does steps 5 to 8, else takes it
//! back. Each step of that may be begun again.
//!
//! A rebuild takes a batch with a number larger than the one in the file of decisions for the end of the log, and wipes it durably.
//! Parts of those that are not lasting have no number: in the boot in which one was made, it is dealt with before (`joint_left`).
//!
//! - **J1** While a shard has a joint `PENDING`, nothing is committed there, and no other joint commit begins.
//! - **J2** A reader that has seen one record of it sees all of them from then on, in every shard.
//! - **J3** It is finished in every shard or taken back in every shard, whatever dies and when.
//! - **J4** After a power cut the logs have all batches of a lasting one or count none: each was durable before the decision, the
//!   decision before anybody saw it or built on it, and one that was taken back left nothing that a later decision could count.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::os::{OpenMode, Os, OsFile, OsMap};
use crate::storage::decision;
use crate::storage::fanout;
use crate::storage::paths::Name;
use crate::storage::segment::is_main;
use crate::storage::state::{self, IS_JOINT, JOINT, JOINT_CHOSEN, JOINT_DONE, JOINT_NEXT, PENDING, UNSWEPT, VISIBLE};

use super::commit::{Commit, Made};
use super::decided::{read_decision, write_again};
use super::durable::{LOG, Lead, MAIN_LOG, Purpose, VALUES};
use super::lock::Locked;
use super::shards::Shards;
use super::siblings::{Joint, Siblings};
use super::store::Store;

impl<O: Os> Shards<O> {
    /// The number up to which joint commits were decided.
    pub(super) fn decided(&self) -> Result<u64> {
        let os = &self.first().os;
        read_decision(os, &fanout::decisions(&self.root), self.fanout.id).map(|(number, _)| number)
    }

    /// A number that no joint commit had. Under all locks.
    pub(super) fn next_number(&self, is_lasting: bool) -> Result<u64> {
        let state = &self.first().state;
        let decided = if is_lasting { self.decided()? } else { 0 };
        // The first shard may have been made anew alone, as by a child of `fork`.
        let words = [JOINT, JOINT_CHOSEN, JOINT_NEXT, JOINT_DONE];
        let stores = self.stores();
        let known = stores.iter().flat_map(|store| words.map(|word| store.state.load(word)));
        let number = known.fold(decided, u64::max).saturating_add(1);
        state.store(JOINT_NEXT, number);
        Ok(number)
    }

    /// Leads in all shards, if something lasting is to be committed.
    pub(super) fn leads<'s>(
        stores: &'s [Arc<Store<O>>],
        is_lasting: bool,
        left: impl Fn() -> Duration,
    ) -> Result<Vec<Lead<'s, O>>> {
        stores.iter().filter(|_| is_lasting).map(|store| store.lead(left())).collect()
    }

    /// Steps 2 to 8 of commits that are ready. If it fails, none of them has happened.
    pub(super) fn publish(&self, joint: Joint, commits: &mut [Commit<'_, O>], leads: &[Lead<'_, O>]) -> Result<()> {
        let state = &self.first().state;
        let number = joint.number;
        if joint.is_lasting {
            for commit in &*commits {
                let lead = leads.iter().find(|lead| std::ptr::eq(lead.store, commit.store));
                lead.ok_or(Error::Timeout)?.carry_out_written(&commit.made)?;
            }
        }
        for commit in &*commits {
            commit.store.state.store(JOINT, number);
            commit.store.state.store(PENDING, commit.sequence | IS_JOINT);
        }
        if joint.is_lasting
            && let Err(error) = self.decide(number)
        {
            for commit in &*commits {
                commit.store.state.store(PENDING, 0);
            }
            return Err(error);
        }
        state.store(JOINT_CHOSEN, number);
        for commit in &*commits {
            commit.store.state.store(JOINT_CHOSEN, number);
        }
        if seeded!("joint_commit_shown_one_by_one") {
            state.store(JOINT_DONE, number);
        }
        for commit in &mut *commits {
            commit.apply();
        }
        state.store(JOINT_DONE, number);
        for commit in &mut *commits {
            commit.show();
            commit.joint = None;
            let removed = std::mem::take(&mut commit.removed);
            if !removed.is_empty() {
                commit.empty_removed(&removed);
            }
        }
        Ok(())
    }

    /// Step 4. If it fails, the number is not in the file.
    fn decide(&self, number: u64) -> Result<()> {
        if seeded!("joint_commit_is_not_decided") {
            return Ok(());
        }
        let os = &self.first().os;
        let path = fanout::decisions(&self.root);
        let (_, place) = read_decision(os, &path, self.fanout.id)?;
        let file = os.open(&path, OpenMode::Write).map_err(|e| Error::io("open", &path, e))?;
        let bytes = decision::encode(self.fanout.id, number);
        let written = file.write_at(&bytes, place).and_then(|()| file.sync());
        if written.is_err() {
            // The place held the decision before the last, which nobody needs.
            let _ = file.write_at(&[0; decision::PLACE], place).and_then(|()| file.sync());
        }
        written.map_err(|e| Error::not_written(&path, e))
    }
}

impl<O: Os> Siblings for Shards<O> {
    fn done(&self) -> u64 {
        self.first().state.load(JOINT_DONE)
    }

    fn ids(&self) -> Vec<u64> {
        self.members.iter().map(|member| member.store().store_id).collect()
    }

    #[cold]
    fn resolve(&self, timeout: Duration) -> Result<()> {
        self.lock_all(&self.stores(), || timeout).map(drop)
    }
}

impl<O: Os> Shards<O> {
    /// Takes the locks of all shards, in their order, and finishes or takes back what dead owners have left: a part of a joint commit
    /// when all of them are held, for each may be needed.
    pub(super) fn lock_all<'s>(
        &self,
        stores: &'s [Arc<Store<O>>],
        left: impl Fn() -> Duration,
    ) -> Result<Vec<Locked<'s, O>>> {
        let mut locked = Vec::with_capacity(stores.len());
        for store in stores {
            locked.push(store.lock_as_it_is(left())?.0);
        }
        self.settle(&locked)?;
        for locked in locked.iter().filter(|locked| locked.store.state.load(PENDING) != 0) {
            locked.recover()?;
        }
        Ok(locked)
    }

    /// Steps 5 to 8 of a joint commit that is pending, or its taking back.
    fn settle(&self, locked: &[Locked<'_, O>]) -> Result<()> {
        let pending: Vec<&Locked<'_, O>> = locked.iter().filter(|locked| locked.has_joint_pending()).collect();
        let Some(number) = pending.iter().map(|locked| locked.store.state.load(JOINT)).max() else { return Ok(()) };
        let state = &self.first().state;
        // In the first; and in each that has a part of it, in case that the first was made anew since.
        let chosen = locked.iter().map(|locked| locked.store.state.load(JOINT_CHOSEN)).max().unwrap_or(0);
        if chosen < number {
            let os = &self.first().os;
            let path = fanout::decisions(&self.root);
            let (decided, next) = read_decision(os, &path, self.fanout.id)?;
            if decided < number {
                return pending.iter().try_for_each(|locked| locked.store.take_back());
            }
            // Who wrote it may have died before it was durable, or been told that it is not: it is written once more.
            write_again(os, &path, self.fanout.id, (number, next))?;
            state.store(JOINT_CHOSEN, number);
        }
        // As in step 5: the first one's words may be made anew before this is done.
        for locked in &pending {
            locked.store.state.store(JOINT_CHOSEN, number);
        }
        for locked in &pending {
            locked.store_new()?;
        }
        state.fetch_max(JOINT_DONE, number);
        for locked in &pending {
            let (store, state) = (locked.store, &locked.store.state);
            let sequence = state.load(PENDING) & !IS_JOINT;
            state.store(VISIBLE, sequence);
            state.store(PENDING, 0);
            let _ = store.os.remove(&store.paths.of(Name::Spill(sequence)));
        }
        Ok(())
    }
}

impl<O: Os> Locked<'_, O> {
    fn has_joint_pending(&self) -> bool {
        self.store.state.load(PENDING) & IS_JOINT != 0
    }
}

impl<O: Os> Store<O> {
    /// Takes the pending commit back. A death in the middle leaves `UNSWEPT` for the next owner.
    fn take_back(&self) -> Result<()> {
        let spill = Name::Spill(self.state.load(PENDING) & !IS_JOINT);
        self.state.fetch_max(UNSWEPT, 1);
        self.state.store(PENDING, 0);
        self.sweep_unpublished()?;
        self.state.store(UNSWEPT, 0);
        self.begin_epoch();
        // As long as the commit is pending, who finds its list gone makes the shard anew from a log that has its batch.
        let _ = self.os.remove(&self.paths.of(spill));
        Ok(())
    }

    /// Leads for a lasting commit, with nothing left in doubt. Before the locks, for putting right what a leader left that died takes
    /// the lock.
    pub(super) fn lead(&self, timeout: Duration) -> Result<Lead<'_, O>> {
        if self.read_only {
            return Err(Error::ReadOnly);
        }
        let start = self.os.uptime();
        loop {
            self.refuse_after_failure()?;
            if let Some(lead) = self.try_to_lead(Purpose::Change) {
                let in_doubt = self.state.load(state::SYNC_STAGE) != 0 || self.state.load(state::SYNC_FAILED) != 0;
                if !in_doubt || lead.carry_out(Purpose::Change)? {
                    return Ok(lead);
                }
            }
            if self.os.uptime().saturating_sub(start) >= timeout {
                return Err(Error::Timeout);
            }
        }
    }
}

impl<O: Os> Lead<'_, O> {
    /// Makes everything durable that is visible, and a commit that is written and that nobody has been led to yet: the files that it
    /// made, and the bytes in the segment that the tail is in. Under the lock, where nothing else is committed: steps 5 to 7 of
    /// `durable`. Its own files are in no word yet, so none says of them that they are durable.
    fn carry_out_written(&self, made: &[Made]) -> Result<()> {
        if seeded!("joint_commit_decided_before_it_is_durable") {
            return Ok(());
        }
        let (store, state) = (self.store, &self.store.state);
        let ends = store.ends();
        if state.load(state::SYNC_FAILED) != 0 {
            // Somebody who had the lock since this one leads could not make something durable, or died of it.
            return Err(store.refusal());
        }
        let has_new_names = !made.is_empty() || self.has_new_names(&ends);
        let ask = || {
            state.store(state::SYNC_STAGE, VALUES);
            for made in made {
                if let Made::Value { id, .. } = made {
                    store.sync_named(Name::Value(*id), VALUES)?;
                }
            }
            self.ask_disk(has_new_names, &ends)?;
            for made in made {
                if let Made::Segment { id, .. } = made {
                    store.sync_named(Name::Segment(*id), if is_main(*id) { MAIN_LOG } else { LOG })?;
                }
            }
            Ok(())
        };
        let asked = ask();
        if asked.is_ok() {
            state.store(state::SYNCED, ends.visible);
            state.fetch_max(state::CARRIED_SYNCED, ends.carried);
        }
        state.store(state::SYNC_STAGE, 0);
        asked
    }
}
