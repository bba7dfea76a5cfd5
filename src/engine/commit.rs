//! A commit in the making: staged words, and publishing them. It does not know what the words mean.
//!
//! Staged words are seen by the commit itself through [`Commit::word`], by nobody else. Dropping a commit forgets them.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use arc_swap::Guard;

use crate::error::{Corruption, Error, Result};
use crate::os::{OpenMode, Os, OsFile, OsMap};
use crate::storage::index::{CELLS_USED, Table};
use crate::storage::location::{EPOCH_MASK, SEGMENT_BYTES_MAX, Tail};
use crate::storage::paths::Name;
use crate::storage::record::HEADER;
use crate::storage::redo::{self, Address, Change, Place};
use crate::storage::state::{self, PENDING, Retiree, VISIBLE, row, row_word};

use super::lock::Locked;
use super::store::Store;
use super::view::{Index, Segment, View};

/// Up to this many staged words are searched one by one.
const LINEAR_MAX: usize = 24;

/// Where staged words are in their list.
type Places = HashMap<Address, usize, BuildHasherDefault<AddressHasher>>;

/// Spreads addresses over a table that lives for one commit: they are a file and an offset, and nobody chooses them.
#[derive(Default)]
struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(byte.into());
        }
    }

    fn write_u64(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

fn places_of(changes: &[Change]) -> Places {
    changes.iter().enumerate().map(|(i, change)| (change.address, i)).collect()
}

/// Buffers that outlive a commit, so that a small one allocates nothing.
#[derive(Default)]
struct Scratch {
    changes: Vec<Change>,
    cells: Vec<Change>,
    bytes: Vec<u8>,
}

thread_local! {
    static SCRATCH: Cell<Scratch> = const {
        Cell::new(Scratch { changes: Vec::new(), cells: Vec::new(), bytes: Vec::new() })
    };
}

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
    /// Where the next record goes.
    pub tail: Tail,
    /// The epoch of what it writes.
    pub epoch: u8,
    /// Structure words: applied first, so that a reader that meets a new cell finds what it needs to follow it.
    changes: Vec<Change>,
    /// Index cells: applied last.
    cells: Vec<Change>,
    /// Where each staged word is in `changes`, once there are too many to search.
    places: Option<Places>,
    /// The same for `cells`.
    cell_places: Option<Places>,
    /// Bytes of the record being written.
    pub bytes: Vec<u8>,
    spill: Option<u64>,
    /// What was written and is not published: the first record's place, and the files that were made.
    pub written: Option<Tail>,
    pub made: Vec<Made>,
    pub made_indexes: Vec<Arc<Index<O>>>,
    pub made_segment: Option<Arc<Segment<O>>>,
    /// Members of the batch that is being written, and their check.
    pub members: u32,
    pub check: u32,
    /// By how much the staged cells change the number of cells in use, and the table they are in. Of a commit that touches
    /// both tables of a growing index all count in one, which is near enough for deciding when to grow.
    used: i64,
    used_in: Option<Table>,
    /// Space of large values that this commit adopts: still reserved for their drafts, and not to be counted twice.
    pub adopted: u64,
    /// Files that the ring of retirees had no room for.
    pub unlink_after: Vec<Retiree>,
}

impl<'l, O: Os> Commit<'l, O> {
    pub fn new(locked: &'l Locked<'_, O>) -> Result<Self> {
        let store = locked.store;
        let tail = Tail::from_bits(store.state.load(state::TAIL));
        if tail.slot >= store.rows || !tail.offset.is_multiple_of(8) || tail.offset > SEGMENT_BYTES_MAX {
            return Err(Error::corrupt(&store.paths.of(Name::State), state::TAIL as u64, Corruption::Bounds));
        }
        let mut scratch = SCRATCH.take();
        scratch.changes.clear();
        scratch.cells.clear();
        Ok(Commit {
            store,
            view: store.enter()?,
            sequence: store.state.load(VISIBLE).saturating_add(1),
            tail,
            epoch: store.state.load(state::EPOCH) as u8 & EPOCH_MASK,
            changes: scratch.changes,
            cells: scratch.cells,
            places: None,
            cell_places: None,
            bytes: scratch.bytes,
            spill: None,
            written: None,
            made: Vec::new(),
            made_indexes: Vec::new(),
            made_segment: None,
            members: 0,
            check: 0,
            used: 0,
            used_in: None,
            adopted: 0,
            unlink_after: Vec::new(),
        })
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
    fn map_of(&self, place: Place) -> Option<&O::Map> {
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
        let address = Address::new(place, offset);
        match self.find(address) {
            Some(change) => change.new,
            None => self.map_of(place).map_or(0, |map| map.load(offset)),
        }
    }

    /// A word of the state file as this commit will leave it.
    #[inline]
    pub fn state(&self, offset: usize) -> u64 {
        self.word(Place::State, offset)
    }

    #[inline]
    fn find(&self, address: Address) -> Option<&Change> {
        self.position(address).and_then(|at| self.changes.get(at))
    }

    #[inline]
    fn position(&self, address: Address) -> Option<usize> {
        match &self.places {
            None => self.changes.iter().position(|c| c.address == address),
            Some(places) => places.get(&address).copied(),
        }
    }

    /// Stages a structure word.
    #[inline]
    pub fn stage(&mut self, place: Place, offset: usize, new: u64) {
        self.change(place, offset, |_| new);
    }

    /// Stages what `change` makes of a structure word.
    #[inline]
    fn change(&mut self, place: Place, offset: usize, change: impl FnOnce(u64) -> u64) {
        let address = Address::new(place, offset);
        if let Some(at) = self.position(address) {
            self.changes[at].new = change(self.changes[at].new);
            return;
        }
        let old = self.map_of(place).map_or(0, |map| map.load(offset));
        self.changes.push(Change { address, old, new: change(old) });
        if let Some(places) = &mut self.places {
            places.insert(address, self.changes.len() - 1);
        } else if self.changes.len() > LINEAR_MAX {
            self.places = Some(places_of(&self.changes));
        }
    }

    /// Stages a word of the state file.
    #[inline]
    pub fn stage_state(&mut self, offset: usize, new: u64) {
        self.stage(Place::State, offset, new);
    }

    /// Stages a word of the state file plus or minus something.
    #[inline]
    pub fn add_state(&mut self, offset: usize, delta: i64) {
        self.change(Place::State, offset, |now| now.saturating_add_signed(delta));
    }

    /// Stages an index cell. No cell is staged twice in a commit: a batch holds each key once.
    #[inline]
    pub fn stage_cell(&mut self, table: Table, offset: usize, old: u64, new: u64) {
        self.cells.push(Change { address: Address::new(Place::Index(table.generation), offset), old, new });
        if let Some(places) = &mut self.cell_places {
            places.insert(Address::new(Place::Index(table.generation), offset), self.cells.len() - 1);
        } else if self.cells.len() > LINEAR_MAX {
            self.cell_places = Some(places_of(&self.cells));
        }
        self.used += i64::from(new != 0) - i64::from(old != 0);
        self.used_in = Some(table);
    }

    /// A cell as this commit will leave it.
    #[inline]
    pub fn cell(&self, table: Table, map: &O::Map, offset: usize) -> u64 {
        if self.cells.is_empty() {
            return map.load(offset);
        }
        let address = Address::new(Place::Index(table.generation), offset);
        let staged = match &self.cell_places {
            None => self.cells.iter().rev().find(|c| c.address == address),
            Some(places) => places.get(&address).and_then(|&at| self.cells.get(at)),
        };
        staged.map_or_else(|| map.load(offset), |c| c.new)
    }

    /// Steps 5 to 8 but for the unlocking. Everything that can fail comes first.
    pub fn publish(&mut self) -> Result<()> {
        if self.written.is_some() {
            self.tail.epoch = self.epoch;
        }
        if self.state(state::TAIL) != self.tail.bits() {
            self.stage_state(state::TAIL, self.tail.bits());
        }
        self.changes.extend_from_slice(&self.cells);
        self.cells.clear();
        let state = &self.store.state;
        let applies = |change: &Change| change.address.parse().is_some_and(|(place, _)| self.map_of(place).is_some());
        if !self.changes.iter().all(applies) {
            // A word that could not be stored would make the commit half of one.
            return Err(Error::corrupt(&self.store.paths.of(Name::State), state::GEOMETRY as u64, Corruption::Missing));
        }
        if self.changes.len() > redo::CHANGES_INLINE {
            self.write_spill()?;
            redo::write_spilled(state, self.changes.len(), self.sequence);
        } else {
            redo::write_inline(state, &self.changes);
        }
        state.store(PENDING, self.sequence);
        self.written = None;
        self.made.clear();
        for change in &self.changes {
            if let Some((place, offset)) = change.address.parse()
                && let Some(map) = self.map_of(place)
            {
                map.store(offset, change.new);
            }
        }
        state.store(VISIBLE, self.sequence);
        state.store(PENDING, 0);
        self.count_cells();
        self.changes.clear();
        self.places = None;
        self.cell_places = None;
        if let Some(sequence) = self.spill.take() {
            // A spill that stays is replaced by the next of its name, or swept at open.
            let _ = self.store.os.remove(&self.store.paths.of(Name::Spill(sequence)));
        }
        for file in self.unlink_after.drain(..) {
            self.store.unlink(file);
        }
        self.sequence = self.sequence.saturating_add(1);
        Ok(())
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

    #[cold]
    fn write_spill(&mut self) -> Result<()> {
        let path = self.store.paths.of(Name::Spill(self.sequence));
        let _ = self.store.os.remove(&path);
        let file = self.store.os.open(&path, OpenMode::Create).map_err(|e| Error::io("create", &path, e))?;
        file.write_at(&redo::encode_spill(&self.changes), 0).map_err(|e| Error::io("write", &path, e))?;
        self.spill = Some(self.sequence);
        Ok(())
    }
}

impl<O: Os> Commit<'_, O> {
    /// Makes sure that a rebuild finds nothing of a batch that failed after its first byte: its caller was told so. The
    /// next batch goes to the same place; until then a record with an empty header stands there.
    #[cold]
    fn wipe(&mut self) {
        if self.store.os.is_forked() {
            return;
        }
        let mut rolled = false;
        for made in std::mem::take(&mut self.made) {
            rolled |= matches!(made, Made::Segment { .. });
            self.store.forget(made);
        }
        if self.written.is_some() {
            self.store.begin_epoch();
        }
        if let Some(first) = self.written.take()
            && !rolled
        {
            let id = self.store.segment_in(first.slot);
            if let Some(segment) = self.segment(first.slot, id)
                && segment.map.is_writable()
            {
                let allocated = self.store.state.load(row_word(first.slot, row::ALLOCATED));
                if first.offset + HEADER as u64 <= allocated.min(segment.map.len() as u64) {
                    segment.map.write(first.offset as usize, &[0; HEADER]);
                } else if let Some(file) = &segment.file {
                    // Where nothing is allocated, a store through the map may be fatal; a failed write is not.
                    let _ = file.write_at(&[0; HEADER], first.offset);
                }
            }
        }
    }
}

impl<O: Os> Drop for Commit<'_, O> {
    fn drop(&mut self) {
        if self.written.is_some() || !self.made.is_empty() {
            self.wipe();
        }
        let scratch = Scratch {
            changes: std::mem::take(&mut self.changes),
            cells: std::mem::take(&mut self.cells),
            bytes: std::mem::take(&mut self.bytes),
        };
        if scratch.changes.capacity() <= 4096 && scratch.bytes.capacity() <= 1 << 16 {
            SCRATCH.set(scratch);
        }
    }
}
