//! A commit in the making: staged words, and publishing them. It does not know what the words mean.
//!
//! Staged words are seen by the commit itself through [`Commit::word`], by nobody else. Dropping a commit forgets them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::Guard;

use crate::error::{Corruption, Error, Result};
use crate::os::{OpenMode, Os, OsFile, OsMap};
use crate::storage::index::{CELLS, CELLS_USED, Table, link_of};
use crate::storage::location::{EPOCH_MASK, SEGMENT_BYTES_MAX, Tail};
use crate::storage::paths::Name;
use crate::storage::redo::{self, Address, Change, Place};
use crate::storage::state::{self, PENDING, Retiree, VISIBLE};

use super::coming::Foreseen;
use super::lock::Locked;
use super::marks;
use super::nodes::{AtEnd, Nodes};
use super::siblings::Joint;
use super::staged::Staged;
use super::store::Store;
use super::view::{Index, Segment, View};

/// A number of bytes as a difference; what no store could hold counts as the most that one could.
pub fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// A file that a commit made, and mapped, before it is published.
#[derive(Clone, Copy, Debug)]
pub enum Made {
    Segment {
        slot: usize,
        id: u64,
    },
    Index(Table),
    Tags(usize),
    Order(usize),
    /// Space in files of nodes that are there, up to a place that is counted from the beginning of the first.
    Claimed(u64),
    /// A value's file, and the number of the draft that it was.
    Value {
        id: u64,
        draft: u64,
    },
}

/// A commit being prepared under the lock.
pub struct Commit<'l, O: Os> {
    pub store: &'l Store<O>,
    pub view: Guard<Arc<View<O>>>,
    /// What this commit will be.
    pub sequence: u64,
    /// It writes to the main stream, not to that of commits.
    pub main: bool,
    /// Where the next record goes.
    pub tail: Tail,
    /// The epoch of what it writes.
    pub epoch: u8,
    pub(super) staged: Staged,
    pub(super) spill: Option<u64>,
    /// What was written and is not published: the first record's place, and the files that were made.
    pub written: Option<Tail>,
    pub made: Vec<Made>,
    pub made_indexes: Vec<Arc<Index<O>>>,
    pub made_segment: Option<Arc<Segment<O>>>,
    /// Members of the batch that is being written, their check, and what salts them; `None` while there is no batch.
    pub members: u32,
    pub check: u32,
    pub(super) batch_nonce: Option<u64>,
    /// By how much the staged cells change the number of cells in use, and the table they are in. Of a commit that touches
    /// both tables of a growing index all count in one, which is near enough for deciding when to grow.
    used: i64,
    used_in: Option<Table>,
    /// Space of large values that this commit adopts: still reserved for their drafts, and not to be counted twice.
    pub adopted: u64,
    /// The part of it that is a segment made ahead, which is set aside until this commit is over.
    pub made_ahead: u64,
    /// Files that the ring of retirees had no room for, and their bytes.
    pub unlink_after: Vec<(Retiree, u64)>,
    /// Values among them that go once this commit is durable.
    pub(super) strays: Vec<(u64, u64)>,
    /// Bytes of puts.
    pub appended: u64,
    /// Its put gives something up that is held (see `Hold`).
    pub(super) gives_up: bool,
    /// The joint commit that it is part of.
    pub(super) joint: Option<Joint>,
    /// Cells that lead to removals of a joint commit, to be emptied when it is done.
    pub(super) removed: Vec<(Table, usize, u64)>,
    /// Nodes that keep keys in order, as this commit will leave them. Most commits have none.
    pub(super) nodes: Option<Box<Nodes>>,
    /// Where the key stands that it is about to take out of its index.
    pub(super) at_end: Option<AtEnd>,
    /// The leaf that its key will go to, if it is new.
    pub(super) foreseen: Option<Foreseen>,
    /// Tags that a transaction refers to by their ids.
    pub(super) held_tags: Vec<u32>,
}

impl<O: Os> Locked<'_, O> {
    /// Where the next batch goes.
    #[inline(always)]
    pub fn tail(&self) -> Result<Tail> {
        self.checked_tail(state::TAIL)
    }

    /// The tail of a stream.
    #[inline(always)]
    fn checked_tail(&self, word: usize) -> Result<Tail> {
        let tail = Tail::from_bits(self.store.state.load(word));
        if tail.slot >= self.store.rows || !tail.offset.is_multiple_of(8) || tail.offset > SEGMENT_BYTES_MAX {
            return Err(self.impossible_tail(word));
        }
        Ok(tail)
    }

    #[cold]
    fn impossible_tail(&self, word: usize) -> Error {
        Error::corrupt(&self.store.paths.of(Name::State), word as u64, Corruption::Bounds)
    }
}

impl<'l, O: Os> Commit<'l, O> {
    pub fn new(locked: &'l Locked<'_, O>) -> Result<Self> {
        let view = locked.store.enter()?;
        Ok(Commit::with(locked, view, locked.tail()?))
    }

    /// A commit that writes at a tail that was checked, with a view that was perhaps taken before the lock: what it lacks
    /// is mapped when it is missed.
    #[inline(always)]
    pub fn with(locked: &'l Locked<'_, O>, view: Guard<Arc<View<O>>>, tail: Tail) -> Self {
        let store = locked.store;
        Commit {
            store,
            view,
            sequence: store.state.load(VISIBLE).saturating_add(1),
            main: false,
            tail,
            epoch: store.state.load(state::EPOCH) as u8 & EPOCH_MASK,
            staged: Staged::new(),
            spill: None,
            written: None,
            made: Vec::new(),
            made_indexes: Vec::new(),
            made_segment: None,
            members: 0,
            check: 0,
            batch_nonce: None,
            used: 0,
            used_in: None,
            adopted: 0,
            made_ahead: 0,
            unlink_after: Vec::new(),
            strays: Vec::new(),
            appended: 0,
            gives_up: false,
            joint: None,
            removed: Vec::new(),
            nodes: None,
            at_end: None,
            foreseen: None,
            held_tags: Vec::new(),
        }
    }

    /// A commit that writes to the main stream.
    pub fn to_main(locked: &'l Locked<'_, O>) -> Result<Self> {
        let store = locked.store;
        let tail = locked.checked_tail(state::MAIN_TAIL)?;
        let mut commit = Commit::with(locked, store.enter()?, tail);
        commit.main = true;
        commit.epoch = 0;
        Ok(commit)
    }

    /// Takes a fresh view after a file was mapped.
    pub fn refresh_view(&mut self) {
        self.view = self.store.view.load();
    }

    /// The map of an index table: one that this commit made, or one of the view. What a commit makes is in no row and no
    /// geometry yet, so another thread may drop it from the view; the commit keeps it.
    #[inline]
    pub fn index(&self, table: Table) -> Option<&Arc<Index<O>>> {
        self.view.index(table).or_else(|| self.made_indexes.iter().find(|index| index.table == table))
    }

    /// The map of a segment, likewise.
    #[inline]
    pub fn segment(&self, slot: usize, id: u64) -> Option<&Arc<Segment<O>>> {
        self.view.segment(slot, id).or_else(|| self.made_segment.as_ref().filter(|segment| segment.id == id))
    }

    #[inline]
    pub(super) fn map_of(&self, place: Place) -> Option<&O::Map> {
        self.view.map_of(place, &self.store.state).or_else(|| match place {
            Place::Index(generation) => {
                self.made_indexes.iter().find(|i| i.table.generation == generation).map(|i| &i.map)
            }
            _ => None,
        })
    }

    /// A word as this commit will leave it.
    #[inline]
    pub fn word(&self, place: Place, offset: usize) -> u64 {
        let staged = self.staged.word(Address::new(place, offset));
        staged.unwrap_or_else(|| self.map_of(place).map_or(0, |map| map.load(offset)))
    }

    /// A word of the state file as this commit will leave it.
    #[inline(always)]
    pub fn state(&self, offset: usize) -> u64 {
        let staged = self.staged.word(Address::new(Place::State, offset));
        staged.unwrap_or_else(|| self.store.state.load(offset))
    }

    /// Stages a structure word.
    #[inline]
    pub fn stage(&mut self, place: Place, offset: usize, new: u64) {
        self.change_word(place, offset, |_| new);
    }

    /// Stages a structure word plus or minus something.
    #[inline]
    pub fn add(&mut self, place: Place, offset: usize, delta: i64) {
        self.change_word(place, offset, |now| now.saturating_add_signed(delta));
    }

    /// Stages what `change` makes of a structure word.
    #[inline(always)]
    fn change_word(&mut self, place: Place, offset: usize, change: impl FnOnce(u64) -> u64) {
        let address = Address::new(place, offset);
        if let Some(word) = self.staged.word_mut(address) {
            *word = change(*word);
            return;
        }
        if let Place::Index(_) = place {
            self.staged.touch_bucket(offset);
        }
        let old = self.map_of(place).map_or(0, |map| map.load(offset));
        self.staged.add_word(Change { address, old, new: change(old) });
    }

    /// Stages a word of the state file.
    #[inline]
    pub fn stage_state(&mut self, offset: usize, new: u64) {
        self.change_state(offset, |_| new);
    }

    /// Stages a word of the state file plus or minus something.
    #[inline]
    pub fn add_state(&mut self, offset: usize, delta: i64) {
        self.change_state(offset, |now| now.saturating_add_signed(delta));
    }

    /// Stages what `change` makes of a word of the state file.
    #[inline]
    fn change_state(&mut self, offset: usize, change: impl FnOnce(u64) -> u64) {
        let address = Address::new(Place::State, offset);
        if let Some(word) = self.staged.word_mut(address) {
            *word = change(*word);
            return;
        }
        let old = self.store.state.load(offset);
        self.staged.add_word(Change { address, old, new: change(old) });
    }

    /// Stages an index cell. No cell is staged twice in a commit: a batch holds each key once.
    #[inline]
    pub fn stage_cell(&mut self, table: Table, offset: usize, old: u64, new: u64) {
        let address = Address::new(Place::Index(table.generation), offset);
        self.staged.add_cell(offset, Change { address, old, new });
        self.used += i64::from(new != 0) - i64::from(old != 0);
        self.used_in = Some(table);
    }

    /// Reads the words of a bucket as this commit will leave them into `line`.
    #[inline(always)]
    pub fn read_bucket(&self, table: Table, map: &O::Map, bucket: usize, line: &mut [u64; 8]) {
        *line = map.load_line(bucket);
        if self.staged.may_touch(bucket) {
            self.overlay(table, bucket, line);
        }
    }

    #[inline(never)]
    fn overlay(&self, table: Table, bucket: usize, line: &mut [u64; 8]) {
        let address = |offset| Address::new(Place::Index(table.generation), offset);
        for (i, word) in line.iter_mut().enumerate().take(CELLS) {
            *word = self.staged.cell(address(bucket + 8 * i)).unwrap_or(*word);
        }
        line[CELLS] = self.staged.word(address(link_of(bucket))).unwrap_or(line[CELLS]);
    }

    /// Steps 5 to 8 but for the unlocking. Everything that can fail comes first. Of a part of a joint commit, what can fail and
    /// no more: the other parts have to be ready too.
    pub fn publish(&mut self) -> Result<()> {
        if self.written.is_some() {
            self.tail.epoch = self.epoch.into();
        }
        let tail_word = if self.main { state::MAIN_TAIL } else { state::TAIL };
        if self.state(tail_word) != self.tail.bits() {
            self.stage_state(tail_word, self.tail.bits());
        }
        if self.appended != 0 {
            self.count_appended();
        }
        if let Some(nodes) = self.nodes.take() {
            self.allocate_claimed()?;
            self.write_nodes(*nodes);
        }
        if !self.is_mapped() {
            return Err(self.unmapped());
        }
        if seeded!("pending_before_its_list") {
            self.store.state.store(PENDING, self.sequence);
        }
        let state = &self.store.state;
        let changes = self.staged.len();
        if changes > redo::CHANGES_INLINE {
            self.write_spill()?;
            redo::write_spilled(state, changes, self.sequence);
        } else {
            redo::write_inline(state, self.staged.all());
        }
        if let Some(joint) = &mut self.joint {
            joint.is_ready = true;
            return Ok(());
        }
        state.store(PENDING, self.sequence);
        self.apply();
        self.show();
        Ok(())
    }

    /// Step 6, for good.
    pub(super) fn apply(&mut self) {
        let state = &self.store.state;
        self.written = None;
        self.made.clear();
        if seeded!("visible_before_cells") {
            state.store(VISIBLE, self.sequence);
        }
        if seeded!("pending_cleared_first") {
            state.store(PENDING, 0);
        }
        self.store_all();
    }

    /// Steps 7 and 8.
    pub(super) fn show(&mut self) {
        let state = &self.store.state;
        state.store(VISIBLE, self.sequence);
        state.store(PENDING, 0);
        self.count_cells();
        self.staged.clear();
        if self.spill.is_some() || !self.unlink_after.is_empty() || !self.strays.is_empty() {
            self.remove_published();
        }
        self.sequence = self.sequence.saturating_add(1);
    }

    /// A word that could not be stored would make the commit half of one.
    #[cold]
    fn unmapped(&self) -> Error {
        Error::corrupt(&self.store.paths.of(Name::State), state::GEOMETRY as u64, Corruption::Missing)
    }

    /// True if each staged word is in a file that is mapped.
    #[inline]
    fn is_mapped(&self) -> bool {
        let mut last = None;
        self.staged.all().iter().all(|part| {
            part.iter().all(|change| {
                let file = change.address.file();
                file == Address::STATE || last.replace(file) == Some(file) || {
                    change.address.parse().is_some_and(|(place, _)| self.map_of(place).is_some())
                }
            })
        })
    }

    /// Step 6.
    #[inline]
    fn store_all(&self) {
        let state = &self.store.state;
        // Changes of one file follow each other nearly always.
        let mut last: Option<(u64, &O::Map)> = None;
        for part in &self.staged.all() {
            for change in *part {
                let file = change.address.file();
                if file == Address::STATE {
                    state.store(change.address.offset(), change.new);
                    continue;
                }
                if last.is_none_or(|(same, _)| same != file) {
                    let map = change.address.parse().and_then(|(place, _)| self.map_of(place));
                    last = map.map(|map| (file, map));
                }
                if let Some((_, map)) = last {
                    map.store(change.address.offset(), change.new);
                }
            }
        }
    }

    /// Removes what a published commit leaves behind.
    #[cold]
    fn remove_published(&mut self) {
        if let Some(sequence) = self.spill.take() {
            // A spill that stays is replaced by the next of its name, or swept at open.
            let _ = self.store.os.remove(&self.store.paths.of(Name::Spill(sequence)));
        }
        for (file, bytes) in self.unlink_after.drain(..) {
            match file {
                // Since it was staged a sync has begun, and it counts again. Who dies just now leaves it to a rebuild.
                Retiree::Value(id) if self.store.is_vouched_for(file.bits()) => {
                    for word in [state::STRAYS, state::VOLUME] {
                        self.store.state.store(word, self.store.state.load(word).saturating_add(bytes));
                    }
                    self.strays.push((id, bytes));
                }
                _ => drop(self.store.unlink(file)),
            }
        }
        self.store.remember_strays(&mut self.strays);
    }

    /// Brings the advisory count of cells in use up to date.
    #[inline]
    fn count_cells(&mut self) {
        let used = std::mem::take(&mut self.used);
        if used != 0
            && let Some(index) = self.used_in.and_then(|table| self.index(table))
        {
            let now = index.map.load(CELLS_USED);
            index.map.store(CELLS_USED, now.saturating_add_signed(used));
        }
    }

    /// Counts bytes of puts, and makes everything a step older with each eighth of the size limit.
    #[inline]
    fn count_appended(&mut self) {
        let state = &self.store.state;
        let before = state.load(state::APPENDED);
        let appended = std::mem::take(&mut self.appended);
        state.store(state::APPENDED, before.wrapping_add(appended));
        let step = (state.load(state::SIZE_LIMIT) / 8).max(1);
        // The next multiple, as this handle has found it out: a division takes as long as ten other words of a commit.
        let (next, of) = &self.store.next_step;
        let room = next.load(Ordering::Relaxed).wrapping_sub(before);
        if of.load(Ordering::Relaxed) != step || room > step || appended >= room {
            self.age(before, appended, step);
        }
    }

    #[cold]
    fn age(&mut self, before: u64, appended: u64, step: u64) {
        let begun = before % step;
        if begun.saturating_add(appended) >= step {
            self.change_state(state::EVICTION, marks::older);
        }
        let after = before.wrapping_add(appended);
        let (next, of) = &self.store.next_step;
        next.store(after.wrapping_add(step - after % step), Ordering::Relaxed);
        of.store(step, Ordering::Relaxed);
    }

    #[cold]
    fn write_spill(&mut self) -> Result<()> {
        let path = self.store.paths.of(Name::Spill(self.sequence));
        let _ = self.store.os.remove(&path);
        let file = self.store.os.open(&path, OpenMode::Create).map_err(|e| Error::io("create", &path, e))?;
        file.write_at(&redo::encode_spill(self.staged.all()), 0).map_err(|e| Error::io("write", &path, e))?;
        self.spill = Some(self.sequence);
        Ok(())
    }
}
