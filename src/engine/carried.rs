//! What victims of compaction leave in the main stream, and has to be durable before they go (K4): names of tags, marks, what says that
//! older versions are dead, and items that are never evicted. It does not know what is carried over (`compaction`), nor how the
//! disk is asked (`durable`).
//!
//! No other item need be there after a power cut: one that is lost was evicted, so to speak. So a store in which nobody calls `sync`
//! never waits for all that it holds, but for the segments that have something carried which is not durable yet:
//!
//! - A commit that carries something stores its number in `CARRIED`. If nothing carried was waiting then, it stores in `CARRIED_FROM` which
//!   segment its batch stands in.
//! - Who leads for this has the bit [`CARRIES`] in `SYNCING`: nobody takes it for a sync, which vouches for everything (`retire`).
//!   Steps 5 to 7 of `durable` are: load `VISIBLE`, `CARRIED` and where the main stream ends; the directory, if a segment may be new;
//!   `CARRIED_UPTO = CARRIED_FROM`, if that is later and not behind that end; `SYNC_STAGE = MAIN_END`; the segments from
//!   `CARRIED_UPTO` on, which follows; `CARRIED_SYNCED = ` the `CARRIED` that was loaded.
//!
//! `CARRIED_UPTO` is where whatever is carried before is durable, names too: the segments before it were sealed when they
//! were asked for, or have nothing of the kind. A rebuild knows not what was carried, so all of the main stream counts as such.

use crate::error::Result;
use crate::os::{Os, OsMap};
use crate::storage::segment::MAIN;
use crate::storage::state::{
    CARRIED, CARRIED_FROM, CARRIED_SYNCED, CARRIED_UPTO, SYNC_FAILED, SYNC_STAGE, SYNCED, SYNCED_MAIN, VISIBLE, row,
    row_word,
};

use super::commit::Commit;
use super::durable::{CARRIES, Ends, Lead, MAIN_END, Purpose};
use super::store::Store;

/// True if a value of `SYNCING` names a leader who may vouch for anything.
pub(super) fn leads_for_all(word: u32) -> bool {
    word != 0 && word & CARRIES == 0
}

impl<O: Os> Store<O> {
    /// `CARRIED`, or the newest visible commit if that is older: of one that is being carried out some words may be there and others
    /// not, and it counts the next time.
    pub(super) fn carried(&self) -> u64 {
        let visible = self.state.load(VISIBLE);
        self.state.load(CARRIED).min(visible)
    }

    /// True if what compaction carried over is durable.
    pub(super) fn is_carried_durable(&self) -> bool {
        let carried = self.carried();
        carried <= self.state.load(CARRIED_SYNCED) || carried <= self.state.load(SYNCED)
    }

    /// Makes what compaction carried over durable, before what it came from goes; where nothing may be lost, everything. Not under the
    /// lock.
    pub(super) fn make_carried_durable(&self) -> Result<()> {
        if self.is_carried_durable() {
            return Ok(());
        }
        if self.loses_nothing() {
            return self.make_all_durable();
        }
        self.make_durable(self.carried(), Purpose::Carried)
    }
}

impl<O: Os> Lead<'_, O> {
    /// Steps 5 to 7. False if something is in doubt since step 3.
    pub(super) fn carry_out_carried(&self) -> Result<bool> {
        let (store, state) = (self.store, &self.store.state);
        let Ends { carried, main: last, .. } = store.ends();
        if state.load(SYNC_FAILED) != 0 || carried <= state.load(CARRIED_SYNCED) {
            return Ok(state.load(SYNC_FAILED) == 0);
        }
        let before = state.load(CARRIED_UPTO).max(state.load(SYNCED_MAIN));
        let mut asked = if last > before { self.ask_for_names() } else { Ok(()) };
        if asked.is_ok() {
            // The commit that stores it may be about to, and its segment newer than what was asked for.
            let from = state.load(CARRIED_FROM).min(last);
            state.store(CARRIED_UPTO, before.max(from));
            asked = self.ask_for_segments(MAIN_END, CARRIED_UPTO, last);
        }
        let is_sure = state.load(SYNC_FAILED) == 0;
        if asked.is_ok() && is_sure {
            state.fetch_max(CARRIED_SYNCED, carried);
        }
        state.store(SYNC_STAGE, 0);
        asked.map(|()| is_sure)
    }
}

impl<O: Os> Commit<'_, O> {
    /// Counts a batch of the main stream, which has just ended, as one that must be durable before its victim goes.
    pub(super) fn stage_carried(&mut self) {
        if self.store.is_carried_durable() {
            let segment = self.state(row_word(self.tail.slot, row::ID)) & !MAIN;
            let segment = segment + u64::from(seeded!("what_was_carried_is_not_asked_for"));
            self.stage_state(CARRIED_FROM, segment);
        }
        self.stage_state(CARRIED, self.sequence);
    }
}
