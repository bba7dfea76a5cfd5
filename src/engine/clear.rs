//! Removing everything.

use crate::error::{Error, Result};
use crate::os::{Os, OsMap};
use crate::storage::index::{Geometry, LEVEL_MIN, Table, generation_after};
use crate::storage::paths::Name;
use crate::storage::record::{Draft, Type};
use crate::storage::segment;
use crate::storage::state::{self, Retiree, row, row_word};

use super::commit::{Commit, signed};
use super::compaction::Step;
use super::limit::Purpose;
use super::lock::Locked;
use super::store::Store;

impl<O: Os> Store<O> {
    /// Removes every item by one commit: a mark that makes all older records dead. A second commit puts an empty index in
    /// place of the one that is all dead now and retires the segments; if it does not come to it, the marks hold all the
    /// same. Where there are namespaces, whose items stay, the mark is all: space comes back as that of evicted tags does.
    /// The number of items that counted as live.
    pub fn clear(&self) -> Result<u64> {
        let (items, newest, is_whole) = self.clear_by_mark()?;
        if is_whole {
            self.after_clear()
        } else {
            self.epilogue()
        }
        self.after_change(newest)?;
        Ok(items)
    }

    /// What of it is done under the lock: also the newest commit then, and whether everything is dead.
    pub(super) fn clear_by_mark(&self) -> Result<(u64, u64, bool)> {
        let locked = self.lock()?;
        locked.leave_suspects()?;
        let mut commit = Commit::new(&locked)?;
        let items = commit.state(state::LIVE);
        let draft = Draft { alone: true, ..Draft::bare(Type::Cleared, commit.sequence) };
        commit.reserve(draft.size(), true, Purpose::Renew)?;
        commit.append(&draft)?;
        commit.stage_clear();
        let is_whole = !commit.has_namespaces();
        commit.publish()?;
        drop(commit);
        if !is_whole {
            return Ok((items, locked.newest(), false));
        }
        // The store is empty from here on, whatever becomes of the rest: it gives space back, and can be done later.
        let _ = self.replace_index(&locked);
        Ok((items, locked.newest(), true))
    }

    /// What gives the space of a store back that has been cleared, outside the lock.
    pub(super) fn after_clear(&self) {
        self.epilogue_at_once();
        let _ = self.unlink_cleared_values();
        while self.retire_cleared().unwrap_or(false) {
            self.epilogue_at_once();
        }
        // What others, the thread among them, have taken out of use before this call came to it.
        self.epilogue_at_once();
    }

    /// Seals the segment of the main stream that is appended to, so that it can go with the others: as long as it is there,
    /// no segment of the commit stream goes without a look at each of its records (`retire_dead_segments`).
    fn begin_main_anew(&self, locked: &Locked<'_, O>) -> Result<()> {
        let mut commit = Commit::to_main(locked)?;
        if !segment::is_main(self.segment_in(commit.tail.slot)) {
            return Ok(());
        }
        match commit.begin_segment(Purpose::Free) {
            // Then they are victims of compaction, one by one.
            Err(Error::Full) => Ok(()),
            outcome => outcome.and_then(|()| commit.publish()),
        }
    }

    /// Retires what a `clear` has left, the names of tags moved out of it. True if there may be more.
    pub(super) fn retire_cleared(&self) -> Result<bool> {
        let locked = self.lock()?;
        let retired = self.state.load(state::RETIRED);
        let mut more = self.reclaim(&locked)?;
        while self.state.load(state::RETIRED) == retired {
            let victim = self.victim(&Commit::new(&locked)?)?;
            if !victim.is_some_and(|victim| self.nothing_leads_into(&victim))
                || !matches!(self.compact(&locked)?, Step::Moved(_))
            {
                return Ok(more);
            }
            more = true;
        }
        Ok(more)
    }

    /// The second commit of `clear`.
    pub(super) fn replace_index(&self, locked: &Locked<'_, O>) -> Result<()> {
        self.begin_main_anew(locked)?;
        let geometry = self.geometry()?;
        let mut commit = Commit::new(locked)?;
        let tables = [Some(geometry.current), geometry.next.map(|(next, _)| next)];
        let newest = geometry.next.map_or(geometry.current, |(next, _)| next);
        let fresh = Table { generation: generation_after(newest.generation), level: LEVEL_MIN, base: LEVEL_MIN };
        commit.make_index(fresh, Purpose::Renew)?;
        commit.stage_state(state::GEOMETRY, Geometry { current: fresh, next: None }.bits());
        for table in tables.into_iter().flatten() {
            let bytes = self.map_index(table)?.map.load(crate::storage::index::ALLOCATED);
            commit.retire(Retiree::Index(table.generation.into()), bytes);
        }
        // With their cells gone, no record of a segment counts any more; names of tags do.
        for slot in 0..self.rows {
            let live = commit.state(row_word(slot, row::LIVE));
            let names_alone = live >> 32 << 32;
            if live != names_alone {
                commit.stage_state(row_word(slot, row::LIVE), names_alone);
            }
        }
        commit.publish()
    }

    /// Unlinks the files of large values that a `clear` made dead, and gives their space back. Anybody may do it: a
    /// process that dies in between leaves it to the next opener.
    pub(super) fn unlink_cleared_values(&self) -> Result<()> {
        match self.unlink_values_below()? {
            Some(floor) => self.count_values_below(floor),
            None => Ok(()),
        }
    }

    /// The first half: up to which value all files of dead ones are gone now. `None` if nothing is to be given back, or some
    /// could not be unlinked: then the next clear, or the next to open, tries again.
    pub(super) fn unlink_values_below(&self) -> Result<Option<u64>> {
        let floor = self.state.load(state::VALUE_FLOOR);
        if self.state.load(state::DEAD_LARGE_BYTES) == 0 {
            return Ok(None);
        }
        let names = self.os.list(self.paths.root()).map_err(|e| Error::io("list", self.paths.root(), e))?;
        // As for what `retire` unlinks.
        self.finish_pending()?;
        if self.is_any_value_vouched_for() && !self.is_all_durable() {
            self.make_all_durable()?;
        }
        let mut all_gone = true;
        for name in names.iter().filter_map(|name| Name::parse(name)) {
            if let Name::Value(id) = name
                && id < floor
            {
                all_gone &= self.unlink(Retiree::Value(id));
            }
        }
        Ok(all_gone.then_some(floor))
    }

    /// The second half. If there was another `clear` meanwhile, the bytes are its values' too, whose files may still be
    /// there: who did that counts all of them.
    pub(super) fn count_values_below(&self, floor: u64) -> Result<()> {
        let locked = self.lock()?;
        let mut commit = Commit::new(&locked)?;
        if commit.state(state::VALUE_FLOOR) != floor {
            return Ok(());
        }
        let freed = signed(commit.state(state::DEAD_LARGE_BYTES));
        commit.add_state(state::DEAD_LARGE_BYTES, -freed);
        commit.add_state(state::VOLUME, -freed);
        commit.publish()
    }
}

impl<O: Os> Commit<'_, O> {
    /// True once there is a namespace: then not everything is dead after a `clear`.
    pub(super) fn has_namespaces(&self) -> bool {
        self.state(state::NAMESPACES) != 0
    }

    /// Stages the words that make everything dead that is older than this commit.
    pub(super) fn stage_clear(&mut self) {
        let sequence = self.sequence;
        let before = self.state(state::CLEARED);
        self.stage_state(state::CLEARED_BEFORE, before);
        self.stage_state(state::CLEARED, sequence);
        if !seeded!("clear_keeps_the_count") {
            self.stage_state(state::LIVE, 0);
        }
        if self.has_namespaces() {
            self.stage_ended();
            return;
        }
        let next_main = self.state(state::NEXT_MAIN);
        self.stage_state(state::MAIN_CLEARED, next_main);
        let large_bytes = self.state(state::LARGE_BYTES);
        let floor = self.state(state::NEXT_VALUE);
        self.stage_state(state::VALUE_FLOOR, floor);
        self.add_state(state::DEAD_LARGE_BYTES, signed(large_bytes));
        self.stage_state(state::LARGE_BYTES, 0);
        self.stage_state(state::MAIN_LARGE_BYTES, 0);
    }
}
