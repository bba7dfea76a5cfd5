//! Finishing what a dead owner published half, and sweeping what it made and never published. For whoever takes the lock
//! next; it does not know what the words mean.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

use crate::error::{Corruption, Error, Result};
use crate::os::{Access, OpenMode, Os, OsFile, OsMap};
use crate::storage::index::generation_after;
use crate::storage::location::Tail;
use crate::storage::paths::Name;
use crate::storage::record::HEADER;
use crate::storage::redo::{self, Change, Place};
use crate::storage::segment::{self, MAIN};
use crate::storage::state::{self, IS_JOINT, NAME_MAY_RETURN, PENDING, UNSWEPT, VISIBLE, row, row_word};
use crate::storage::tree::CHUNKS_MAX;

use super::durable::{LOG, MAIN_END};
use super::lock::Locked;
use super::store::Store;

impl<O: Os> Store<O> {
    /// Removes what the owner that died may have left of a commit that never happened.
    ///
    /// The batch that was perhaps written at the tail gets an empty header: the next one goes to the same place, but a
    /// rebuild before that would take it for a commit, and one whose large values are gone. Then files made ahead, under
    /// the names that the next commit would give: a rebuild would take a segment for the next of the chain, and would not
    /// see what is still going to be written before it; the others would take space that nobody counts.
    ///
    /// Under the lock, or when nobody else lives. If it fails, `UNSWEPT` stays set: every writer tries again, and writes
    /// nothing before it is done.
    #[cold]
    pub(super) fn sweep_unpublished(&self) -> Result<()> {
        let word = |offset| self.state.load(offset);
        if seeded!("nothing_made_ahead_is_swept")
            || (word(PENDING) > word(VISIBLE) && !seeded!("sweeps_what_is_pending"))
        {
            return Ok(());
        }
        self.empty_tail(state::TAIL)?;
        self.empty_tail(state::MAIN_TAIL)?;
        let geometry = self.geometry()?;
        let newest = geometry.next.map_or(geometry.current, |(next, _)| next);
        self.sweep_segments_made_ahead()?;
        // A long batch may have made any number of these.
        let orders = (word(state::ORDER_CHUNKS)..CHUNKS_MAX as u64).map(Name::Order);
        let others = [Name::Tags(word(state::TAG_CHUNKS)), Name::Index(generation_after(newest.generation).into())];
        for name in orders.chain(others) {
            let path = self.paths.of(name);
            match self.os.remove(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("remove", &path, e)),
                _ => {}
            }
        }
        self.release_what_is_not_counted();
        self.sweep_values_made_ahead()
    }

    /// Values of a batch that never was. It may have had several, which were named in the order of their numbers; the last goes first,
    /// so that a death in the middle leaves none behind a gap.
    fn sweep_values_made_ahead(&self) -> Result<()> {
        let first = self.state.load(state::NEXT_VALUE);
        let path = |id| self.paths.of(Name::Value(id));
        let mut end = first;
        loop {
            match self.os.open(&path(end), OpenMode::Read) {
                Ok(_) => end = end.saturating_add(1),
                Err(e) if e.kind() == ErrorKind::NotFound => break,
                // Too few descriptors, or what is no file: whether the name is there, the directory says.
                Err(_) => {
                    end = self.after_values_named(end)?;
                    break;
                }
            }
        }
        for id in (first..end).rev() {
            self.os.remove(&path(id)).map_err(|e| Error::io("remove", &path(id), e))?;
        }
        Ok(())
    }

    /// The first number from one on that no value has in the directory.
    fn after_values_named(&self, from: u64) -> Result<u64> {
        let root = self.paths.root();
        let names = self.os.list(root).map_err(|e| Error::io("list", root, e))?;
        let numbers = names.iter().filter_map(|name| match Name::parse(name) {
            Some(Name::Value(id)) => Some(id),
            _ => None,
        });
        let there: BTreeSet<u64> = numbers.collect();
        Ok((from..).find(|id| !there.contains(id)).unwrap_or(from))
    }

    /// The segments among them. Their removal is made durable at once: one that came back with a power cut would say that the
    /// segment before it ended where it did then, and take the place of all that was committed there since.
    fn sweep_segments_made_ahead(&self) -> Result<()> {
        let before = self.state.load(UNSWEPT);
        self.state.store(UNSWEPT, NAME_MAY_RETURN);
        let mut removed = before == NAME_MAY_RETURN;
        for id in [self.state.load(state::NEXT_SEGMENT), self.state.load(state::NEXT_MAIN) | MAIN] {
            let path = self.paths.of(Name::Segment(id));
            match self.os.remove(&path) {
                Ok(()) => removed = true,
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(Error::io("remove", &path, e)),
            }
        }
        if removed {
            return self.make_removal_durable(before);
        }
        self.state.store(UNSWEPT, before);
        Ok(())
    }

    /// Removes a segment that was made and is in no row. As long as it is there, or may come back, it says where the segment before
    /// it ended: the next owner of the lock tries again before it writes anything.
    pub(super) fn remove_unpublished_segment(&self, path: &Path) {
        let before = self.state.load(UNSWEPT);
        // Before it is gone: who dies in between leaves word that its removal may not be durable.
        self.state.store(UNSWEPT, NAME_MAY_RETURN);
        match self.os.remove(path) {
            Ok(()) => drop(self.make_removal_durable(before)),
            Err(e) if e.kind() == ErrorKind::NotFound => self.state.store(UNSWEPT, before),
            Err(_) => {}
        }
    }

    /// Makes durable that a segment is gone; `before` is what `UNSWEPT` said of other files. If it fails, that word says what is
    /// missing.
    pub(super) fn make_removal_durable(&self, before: u64) -> Result<()> {
        self.state.store(UNSWEPT, NAME_MAY_RETURN);
        let root = self.paths.root();
        self.os.sync_dir(root).map_err(|e| Error::io("make durable", root, e))?;
        self.state.store(UNSWEPT, if before == NAME_MAY_RETURN { 0 } else { before });
        Ok(())
    }

    /// Makes sure that no record begins at the tail of a stream. In the main stream durably so: it has no epochs. In a shard too:
    /// what was part of a joint commit that is no more must not be there when a later one is decided (J4 in `joint`).
    pub(super) fn empty_tail(&self, word: usize) -> Result<()> {
        let tail = Tail::from_bits(self.state.load(word));
        let id = self.segment_in(tail.slot);
        let is_main = word == state::MAIN_TAIL;
        if id == 0 || segment::is_main(id) != is_main || seeded!("leftover_at_the_tail_stays") {
            return Ok(());
        }
        let path = self.paths.of(Name::Segment(id));
        let segment = match self.map_segment(tail.slot, id, Access::Write) {
            Ok(segment) => segment,
            // The next commit begins another one, and its head says where this one ended.
            Err(Error::Corrupt(_)) => return Ok(()),
            Err(Error::Io(failure)) if failure.source.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let Some(file) = &segment.file else { return Ok(()) };
        let mut header = [0; HEADER];
        match file.read_at(&mut header, tail.offset) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            Err(e) => return Err(Error::io("read", &path, e)),
        }
        // One that is empty may have been emptied by somebody who died before that was durable, or whom the disk refused it: so it
        // is written again, where there is space for it, and made durable in any case.
        let must_last = is_main || (self.is_shard() && !seeded!("joint_batch_is_wiped_lightly"));
        let allocated = self.state.load(row_word(tail.slot, row::ALLOCATED));
        let is_empty = header == [0; HEADER];
        if is_empty && !must_last {
            return Ok(());
        }
        if !is_empty || tail.offset + HEADER as u64 <= allocated {
            // Behind what is allocated, nothing but a write may store: a store through the map could be fatal.
            let emptied = file.write_at(&[0; HEADER], tail.offset);
            emptied.map_err(|e| Error::io("append to", &path, e))?;
        }
        if must_last && let Err(e) = self.sync_beside(file, if is_main { MAIN_END } else { LOG }) {
            return Err(Error::not_written(&path, e));
        }
        Ok(())
    }

    /// What is written next is of another epoch (see `record`): a batch that is no commit may stand where it goes. Under
    /// the lock, or when nobody else lives.
    #[cold]
    pub(super) fn begin_epoch(&self) {
        self.state.store(state::EPOCH, self.state.load(state::EPOCH).wrapping_add(1));
    }
}

/// Damaged or gone: trying again does not bring it back.
pub(super) fn is_lost(error: &Error) -> bool {
    match error {
        Error::Corrupt(_) => true,
        Error::Io(failure) => failure.source.kind() == ErrorKind::NotFound,
        _ => false,
    }
}

impl<O: Os> Store<O> {
    /// False if the list of the commit that `PENDING` names is damaged or gone.
    pub(super) fn has_its_list(&self) -> bool {
        if self.state.load(PENDING) & !IS_JOINT <= self.state.load(VISIBLE) {
            return true;
        }
        match redo::describe(&self.state) {
            (changes, None) => {
                let is_place = |i| redo::read_inline(&self.state, i).address.parse().is_some();
                changes <= redo::CHANGES_INLINE && (0..changes).all(is_place)
            }
            (changes, Some(_)) if changes > redo::CHANGES_MAX => false,
            (changes, Some(sequence)) => {
                !self.walk_spill(sequence, changes, |_| Ok(())).is_err_and(|error| is_lost(&error))
            }
        }
    }

    /// Goes through the list in a spill file; an error if it does not have its checksum.
    pub(super) fn walk_spill(
        &self,
        sequence: u64,
        changes: usize,
        visit: impl FnMut(Change) -> Result<()>,
    ) -> Result<()> {
        let path = self.paths.of(Name::Spill(sequence));
        let file = self.os.open(&path, OpenMode::Read).map_err(|e| Error::io("open", &path, e))?;
        let len = file.len().map_err(|e| Error::io("measure", &path, e))?;
        if len != redo::spill_bytes(changes) {
            return Err(Error::corrupt(&path, 0, Corruption::Truncated));
        }
        let read = |to: &mut [u8], at| file.read_at(to, at).map_err(|e| Error::io("read", &path, e));
        if redo::walk_spill(changes, read, visit)? {
            Ok(())
        } else {
            Err(Error::corrupt(&path, 0, Corruption::Checksum))
        }
    }
}

impl<O: Os> Locked<'_, O> {
    /// Finishes the commit that `PENDING` names: steps 6 to 8 with the list that is there. Values are absolute, so it
    /// may be begun any number of times. A list that cannot be read leaves everything as it is and says so.
    #[cold]
    pub(super) fn recover(&self) -> Result<()> {
        let store = self.store;
        let pending = store.state.load(PENDING);
        if pending > store.state.load(VISIBLE) {
            self.store_new()?;
            if !seeded!("recovery_leaves_visible") {
                store.state.store(VISIBLE, pending);
            }
            // It may give space of nodes back: as long as it was pending, sweeping left it alone.
            if !seeded!("pending_returns_are_not_finished") {
                store.release_what_is_not_counted();
            }
        }
        store.state.store(PENDING, 0);
        Ok(())
    }

    /// Step 6 with the list that is there.
    pub(super) fn store_new(&self) -> Result<()> {
        self.store_listed().inspect_err(|error| {
            // The commit is in the log: whoever opens the store alone makes a state file from that. Else nobody could write
            // ever again.
            if is_lost(error) {
                self.store.state.store(state::SUSPECT, 1);
            }
        })
    }

    fn store_listed(&self) -> Result<()> {
        let (changes, spill) = redo::describe(&self.store.state);
        match spill {
            None if changes <= redo::CHANGES_INLINE => {
                let all = changes - usize::from(seeded!("redo_forgets_the_last_word"));
                (0..all).try_for_each(|i| self.apply(redo::read_inline(&self.store.state, i)))
            }
            Some(sequence) if changes <= redo::CHANGES_MAX => {
                // Nothing is stored before all of it is known to be whole.
                self.store.walk_spill(sequence, changes, |_| Ok(()))?;
                self.store.walk_spill(sequence, changes, |change| self.apply(change))
            }
            _ => Err(self.damaged_list()),
        }
    }

    fn apply(&self, change: Change) -> Result<()> {
        let store = self.store;
        let (place, offset) = change.address.parse().ok_or_else(|| self.damaged_list())?;
        let mut view = store.view.load();
        if view.map_of(place, &store.state).is_none() {
            self.map_place(place)?;
            view = store.view.load();
        }
        let map = view.map_of(place, &store.state).ok_or_else(|| self.damaged_list())?;
        if offset.checked_add(8).is_none_or(|end| end > map.len()) || (place == Place::State && offset < state::HEAD) {
            return Err(self.damaged_list());
        }
        map.store(offset, change.new);
        Ok(())
    }

    /// Maps the file a change leads into. The table of a generation is in the geometry word: before the change it is the
    /// current or the next one.
    fn map_place(&self, place: Place) -> Result<()> {
        match place {
            Place::State => Ok(()),
            Place::Tags(chunk) => self.store.map_tags(chunk as usize).map(drop),
            Place::Order(chunk) => self.store.map_order(chunk as usize).map(drop),
            Place::Index(generation) => {
                let geometry = self.store.geometry()?;
                let next = geometry.next.map(|(next, _)| next);
                let table = [Some(geometry.current), next].into_iter().flatten().find(|t| t.generation == generation);
                self.store.map_index(table.ok_or_else(|| self.damaged_list())?).map(drop)
            }
        }
    }

    fn damaged_list(&self) -> Error {
        Error::corrupt(&self.store.paths.of(Name::State), state::REDO as u64, Corruption::Bounds)
    }
}
