//! Files that are out of use: named by a commit, unlinked after it. It does not know why they are.
//!
//! A commit that takes a file out of use writes its name into the ring of retirees. Whoever comes by unlinks what the ring
//! names and takes it out by a commit of its own, which also gives the space back to the volume: space counts until it is
//! unlinked (maps of it that are still held keep it from the disk for as long). A process that dies in between leaves
//! the name to the next one. A large value that finds the ring full is unlinked right after its commit; if the process
//! dies just then, the file stays until `repair`. One that a sync has vouched for waits in `strays`.

use std::borrow::Borrow;
use std::sync::atomic::{Ordering, fence};

use crate::error::Result;
use crate::os::{Os, OsMap};
use crate::storage::paths::Name;
use crate::storage::segment::{MAIN, is_main};
use crate::storage::state::{self, PENDING, RETIREES, RETIREES_MAX, Retiree};

use super::carried::leads_for_all;
use super::commit::{Commit, signed};
use super::lock::Locked;
use super::store::Store;

impl<O: Os> Commit<'_, O> {
    /// True if the ring of retirees has room. Segments are retired only into the ring: from there they are unlinked in
    /// the order of their ids, so that those that are left after a crash are always a chain without a gap.
    pub fn can_retire(&self) -> bool {
        (0..RETIREES_MAX).any(|i| self.state(RETIREES + i * 16) == 0)
    }

    /// Stages a file for unlinking.
    pub fn retire(&mut self, file: Retiree, bytes: u64) {
        self.add_state(state::RETIRED, 1);
        self.store.retires.store(true, Ordering::Relaxed);
        let free = (0..RETIREES_MAX).map(|i| RETIREES + i * 16).find(|&at| self.state(at) == 0);
        match (free, file) {
            (Some(at), _) => {
                self.stage_state(at, file.bits());
                self.stage_state(at + 8, bytes);
            }
            (None, Retiree::Value(id)) if self.store.is_vouched_for(file.bits()) => self.stray(id, bytes),
            (None, _) => {
                self.unlink_after.push((file, bytes));
                self.add_state(state::VOLUME, -signed(bytes));
            }
        }
    }
}

/// So often the ring is read without the lock until no commit comes meanwhile.
const LOOKS: u32 = 64;

fn is_segment(bits: u64) -> bool {
    matches!(Retiree::from_bits(bits), Some(Retiree::Segment(_)))
}

/// In which order files go.
fn turn_of(bits: u64) -> u64 {
    if is_segment(bits) { bits ^ MAIN } else { bits }
}

impl<O: Os> Store<O> {
    /// Retires segments that hold nothing that counts. True if there were any.
    #[cold]
    pub(super) fn reclaim(&self, locked: &Locked<'_, O>) -> Result<bool> {
        let retired = self.state.load(state::RETIRED);
        let mut commit = Commit::new(locked)?;
        commit.retire_dead_segments();
        if commit.state(state::RETIRED) == retired {
            return Ok(false);
        }
        commit.publish()?;
        Ok(true)
    }

    pub(super) fn path_of(&self, file: Retiree) -> std::path::PathBuf {
        self.paths.of(match file {
            Retiree::Segment(id) => Name::Segment(id),
            Retiree::Index(generation) => Name::Index(generation),
            Retiree::Value(id) => Name::Value(id),
        })
    }

    /// Unlinks a file. True if it is gone now, or was before.
    pub(super) fn unlink(&self, file: Retiree) -> bool {
        match self.os.remove(&self.path_of(file)) {
            Ok(()) => true,
            Err(e) => e.kind() == std::io::ErrorKind::NotFound,
        }
    }

    /// True if a file holds what a sync has made durable. The journal of a file system may make its end durable before the
    /// commit that took it out of use, and then a power cut would take what was synced and leave nothing in its place: so
    /// whatever is committed is made durable before such a file goes. Where nobody syncs, and items are evicted, this never
    /// happens. Asked once what ended the file is visible.
    pub(super) fn is_vouched_for(&self, bits: u64) -> bool {
        match Retiree::from_bits(bits) {
            Some(Retiree::Segment(_) | Retiree::Value(_)) if self.is_all_vouched_for() || self.is_sync_under_way() => {
                true
            }
            // Where something is never evicted, what a power cut leaves is one moment: what ended the records of a segment must not be
            // lost after them.
            Some(Retiree::Segment(_)) if self.loses_nothing() => true,
            Some(Retiree::Segment(id)) => !is_main(id) && id <= self.state.load(state::SYNCED_SEGMENT),
            Some(Retiree::Value(id)) => id < self.state.load(state::SYNCED_VALUES),
            Some(Retiree::Index(_)) | None => false,
        }
    }

    /// True while somebody asks the disk, who may vouch for any file of now and not for what has ended it since: not for what victims
    /// left alone. Asked once that is visible: who begins later finds it, as he fences too.
    fn is_sync_under_way(&self) -> bool {
        fence(Ordering::SeqCst);
        leads_for_all(self.state.load32(state::SYNCING))
    }

    /// True while nobody knows what a sync has vouched for: a rebuild found that there was one, and what it found is not durable
    /// yet. The words that say how far the files are durable count anew from there.
    fn is_all_vouched_for(&self) -> bool {
        self.state.load(state::WAS_SYNCED) != 0 && self.state.load(state::SYNCED) < self.state.load(state::BORN)
    }

    /// True if some large value may be one that a sync has made durable.
    pub(super) fn is_any_value_vouched_for(&self) -> bool {
        self.is_sync_under_way() || self.state.load(state::SYNCED_VALUES) != 0 || self.is_all_vouched_for()
    }

    /// Asked once it was read which files are dead, and before it is asked whether all is durable: if no commit is pending
    /// now, whatever ended them is visible, and so counts in what is to be durable.
    pub(super) fn finish_pending(&self) -> Result<()> {
        if self.state.load(PENDING) != 0 && !seeded!("files_of_a_pending_commit_go") {
            // Somebody is in the middle of it, or died there: with the lock it is done.
            drop(self.lock()?);
        }
        Ok(())
    }

    /// What every write does after it has unlocked: unlinks what was retired, or has it done.
    #[inline]
    pub(super) fn epilogue(&self) {
        if self.retires.load(Ordering::Relaxed) {
            self.epilogue_now(true);
        }
    }

    /// The same for a call that must not end with what a listener does: whoever comes next tells it.
    #[inline]
    pub(super) fn epilogue_untold(&self) {
        if self.retires.load(Ordering::Relaxed) {
            self.retires.store(false, Ordering::Relaxed);
            self.give_back(true);
            if self.notices.are_there() {
                self.retires.store(true, Ordering::Relaxed);
            }
        }
    }

    /// The same for a call that is about giving space back: it does not return before.
    pub(super) fn epilogue_at_once(&self) {
        self.epilogue_now(false);
    }

    /// Takes note that a table of the index needs so many bytes. If what waits to be unlinked has that room, it is not left to the
    /// thread.
    #[cold]
    pub(super) fn press_for(&self, bytes: u64) {
        let waiting = self.waiting().1;
        let in_vain = self.duty.pressed.load(Ordering::Relaxed);
        if waiting != 0 && waiting != in_vain && !self.is_beyond(bytes, waiting) {
            self.duty.pressing.store(true, Ordering::Relaxed);
            self.retires.store(true, Ordering::Relaxed);
        }
    }

    #[cold]
    fn epilogue_now(&self, may_leave: bool) {
        self.retires.store(false, Ordering::Relaxed);
        self.give_back(may_leave);
        // At the end: a listener may panic.
        self.notices.tell();
    }

    fn give_back(&self, may_leave: bool) {
        if self.duty.wanted.swap(false, Ordering::Relaxed) {
            self.call_upkeep();
        }
        // What this handle alone remembers is not left to a thread, which may be another's.
        let has_strays = self.waiting_strays().0 != 0;
        let is_pressing = self.duty.pressing.swap(false, Ordering::Relaxed);
        let may_leave = may_leave && !is_pressing;
        if may_leave && !has_strays && self.duty.is_done_by_thread() && self.takes_long() {
            return self.call_upkeep();
        }
        // The write itself is done and stays done. What could not be unlinked now, a later one unlinks.
        if self.unlink_retired().is_err() || (has_strays && self.waiting_strays().0 != 0) {
            self.retires.store(true, Ordering::Relaxed);
        }
        if is_pressing {
            self.duty.pressed.store(self.waiting().1, Ordering::Relaxed);
        }
    }

    /// What waits to be unlinked.
    pub(super) fn retirees(&self) -> impl Iterator<Item = (usize, u64)> {
        let all = (0..RETIREES_MAX).map(|i| RETIREES + i * 16).map(|at| (at, self.state.load(at)));
        all.filter(|&(_, bits)| bits != 0)
    }

    /// The same, of a moment between two commits, in the order in which they go: else one could be found and not what goes before it, which
    /// came to a word that was read already; and whatever took them out of use is visible. If there are too many commits, with the lock.
    fn retirees_in_turn(&self) -> Result<Vec<(usize, u64)>> {
        self.finish_pending()?;
        let look = || {
            let moment = self.state.load(state::VISIBLE);
            let is_pending = self.state.load(PENDING) != 0;
            let found: Vec<(usize, u64)> = self.retirees().collect();
            let is_of_one = !is_pending && self.state.load(PENDING) == 0 && self.state.load(state::VISIBLE) == moment;
            (is_of_one || seeded!("files_of_a_pending_commit_go")).then_some(found)
        };
        let mut found = match (0..LOOKS).find_map(|_| look()) {
            Some(found) => found,
            None => {
                // Who has the lock already has found it: nothing is committed meanwhile.
                let _locked = self.lock()?;
                self.retirees().collect()
            }
        };
        found.sort_unstable_by_key(|&(_, bits)| turn_of(bits));
        Ok(found)
    }

    /// True if something waits to be unlinked.
    pub(super) fn is_anything_retired(&self) -> bool {
        self.retirees().next().is_some()
    }

    /// Files that wait to be unlinked, and their bytes.
    pub(super) fn waiting(&self) -> (usize, u64) {
        self.retirees().fold(self.waiting_strays(), |(files, bytes), (at, _)| {
            (files + 1, bytes.saturating_add(self.state.load(at + 8)))
        })
    }

    /// True if what waits is long, or needs the disk first.
    fn takes_long(&self) -> bool {
        self.retirees().any(|(_, bits)| is_segment(bits) || (self.is_vouched_for(bits) && !self.is_all_durable()))
    }

    /// Unlinks what the ring names, outside the lock, and empties it.
    #[cold]
    pub(super) fn unlink_retired(&self) -> Result<()> {
        self.unlink_retired_by(|| self.lock())
    }

    /// The same with another way to get the lock: `lock` is called once the files are gone.
    pub(super) fn unlink_retired_by<'s, L: Borrow<Locked<'s, O>>>(
        &'s self,
        lock: impl FnOnce() -> Result<L>,
    ) -> Result<()> {
        let mut strays = self.stray_ids();
        if !self.is_anything_retired() && strays.is_empty() {
            return Ok(());
        }
        let mut found = self.retirees_in_turn()?;
        if self.is_inside_transaction() {
            let waits = |bits| {
                (self.is_vouched_for(bits) && !self.is_all_durable())
                    || (is_segment(bits) && !self.is_carried_durable())
            };
            let first = found.iter().position(|&(_, bits)| waits(bits));
            found.truncate(first.unwrap_or(found.len()));
            if !self.is_all_durable() {
                strays.clear();
            }
        } else {
            let is_vouched_for = !strays.is_empty() || found.iter().any(|&(_, bits)| self.is_vouched_for(bits));
            if is_vouched_for && !self.is_all_durable() {
                self.make_all_durable()?;
            }
            if found.iter().any(|&(_, bits)| is_segment(bits)) {
                self.make_carried_durable()?;
            }
        }
        // No segment goes before an older one of its stream is gone: a rebuild follows the chain from the oldest that is
        // there. And those of the main stream go before those of the other (K5 in `compaction`).
        let is_gone = |&(_, bits): &(usize, u64)| {
            Retiree::from_bits(bits).is_none_or(|file| seeded!("space_given_back_and_file_kept") || self.unlink(file))
        };
        let gone = found.iter().take_while(|retiree| is_gone(retiree)).count();
        found.truncate(gone);
        self.unlink_strays(&mut strays);
        if found.is_empty() && strays.is_empty() {
            return Ok(());
        }
        let hold = lock()?;
        let mut commit = Commit::new(hold.borrow())?;
        for (at, bits) in found {
            if commit.state(at) == bits {
                let bytes = commit.state(at + 8);
                commit.stage_state(at, 0);
                commit.stage_state(at + 8, 0);
                let volume = commit.state(state::VOLUME);
                commit.stage_state(state::VOLUME, volume.saturating_sub(bytes));
            }
        }
        commit.count_out_strays(&strays);
        commit.publish()?;
        self.forget_strays(&strays);
        Ok(())
    }
}
