//! Growing the index while it is used: a table of twice the home buckets is made beside the current one, and every
//! write moves a few buckets over. No reader stops and a write of few keys waits for
//! [`QUANTUM`] buckets.
//!
//! 1. Make the file, allocate its home buckets; a commit says `growing, moved 0`.
//! 2. For each of the next buckets of the current table: fill its two buckets of the next table, which nobody looks at
//!    yet, from scratch; then a commit raises `moved` over them. A death before it leaves nothing to undo: the next
//!    mover fills them again.
//! 3. When all have moved, a commit makes the next table the current one and retires the file.
//!
//! Entries keep their tags, whose bits tell the halves apart. When those bits run out, or half of the cells lead to dead
//! items, the move reads the keys instead: it takes fresh tags and leaves the dead behind.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::os::{Access, OpenMode, Os, OsFile, OsMap};
use crate::storage::index::{self, BUCKET_BYTES, CELLS, Geometry, LEVEL_MAX, Table, generation_after};
use crate::storage::location::Entry;
use crate::storage::paths::Name;
use crate::storage::redo::Place;
use crate::storage::state::{self, Retiree};

use super::commit::{Commit, Made, signed};
use super::limit::Purpose;
use super::lock::Locked;
use super::marks::Moved;
use super::read::{Life, Try};
use super::room::write_zeros;
use super::store::Store;
use super::view::{Index, View};

/// Home buckets moved by one write: some two microseconds.
const QUANTUM: u64 = 16;
/// A write of more new keys than this grows the table before it begins.
const BULK: u64 = 64;
/// With fewer free overflow buckets than this the table grows at once.
const OVERFLOW_SPARE: u64 = 8;
/// So many bytes of the next table are zeroed at a time, by a call that writes them, where home buckets go and where overflow
/// buckets do. Where a map is touched first at a page that nobody wrote, the kernel reads around it as far as the disk is set
/// to read ahead: that may be thousands of pages, in one write. At multiples of itself, so that each is one piece of memory:
/// of ten million items, a get took 730 ns that way, 775 with windows that were not, and 830 when written block by block.
pub(super) const WINDOW: u64 = 64 << 10;

impl<O: Os> Store<O> {
    /// A write's share of growing, before its own work. A write of many new keys, and one that finds the overflow buckets
    /// nearly used up, grows the table to the end first. Without space for growing the table fills up: a fuller one is
    /// slower, not wrong. The next write tries again.
    #[cold]
    pub(super) fn grow_for(&self, locked: &Locked<'_, O>, new_keys: u64) -> Result<()> {
        match self.grow(locked, new_keys) {
            Err(Error::Full) => Ok(()),
            other => other,
        }
    }

    /// True if the index is growing, should for that many new keys, or is not mapped yet. Under the lock.
    #[inline]
    pub(super) fn must_grow(&self, view: &View<O>, new_keys: u64) -> bool {
        let only = view.only_index(self.state.load(state::GEOMETRY));
        only.is_none_or(|index| wants_growth(index, new_keys))
    }

    #[cold]
    fn grow(&self, locked: &Locked<'_, O>, new_keys: u64) -> Result<()> {
        let mut purged = false;
        // Doubling from the smallest to the largest level, with a purge between.
        for _ in 0..2 * LEVEL_MAX {
            let geometry = self.geometry()?;
            let current = self.map_index(geometry.current)?;
            let whole = new_keys > BULK || overflow_left(&current) < OVERFLOW_SPARE;
            if geometry.next.is_some() {
                // Four buckets for each new key: it is done before they have filled the overflow buckets.
                let count = if whole { geometry.current.homes() } else { QUANTUM.max(new_keys * 4) };
                self.move_buckets(locked, count)?;
                if !whole {
                    return Ok(());
                }
                continue;
            }
            if !wants_growth(&current, new_keys) {
                return Ok(());
            }
            let mostly_dead = !purged && self.all_items() < current.map.load(index::CELLS_USED) / 2;
            purged |= mostly_dead;
            if !self.begin_growth(locked, geometry.current, mostly_dead)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Step 1, with as many home buckets if most cells are dead, else with twice as many. False at the largest level.
    fn begin_growth(&self, locked: &Locked<'_, O>, current: Table, mostly_dead: bool) -> Result<bool> {
        let level = if mostly_dead { current.level } else { current.level + 1 };
        if level > LEVEL_MAX {
            return Ok(false);
        }
        let base = if !mostly_dead && current.can_split_by_tag() { current.base } else { level };
        let next = Table { generation: generation_after(current.generation), level, base };
        let mut commit = Commit::new(locked)?;
        commit.make_index(next, Purpose::Store)?;
        commit.stage_state(state::GEOMETRY, Geometry { current, next: Some((next, 0)) }.bits());
        commit.publish()?;
        Ok(true)
    }

    /// Steps 2 and 3.
    fn move_buckets(&self, locked: &Locked<'_, O>, count: u64) -> Result<()> {
        let Geometry { current, next: Some((next, moved)) } = self.geometry()? else { return Ok(()) };
        let from = self.map_index(current)?;
        let to = self.map_index(next)?;
        let mut commit = Commit::new(locked)?;
        let end = (moved + count).min(current.homes());
        let halves = next.level - current.level;
        for home in moved..end - u64::from(seeded!("moved_before_the_bucket")) {
            let at = index::bucket_offset(home << halves) as u64;
            if home == 0 || at.is_multiple_of(WINDOW) {
                self.zero_index(next, at, window_end(at).min(next.home_bytes()))?;
            }
            move_bucket(&mut commit, &from, &to, home)?;
        }
        if end < current.homes() {
            commit.stage_state(state::GEOMETRY, Geometry { current, next: Some((next, end)) }.bits());
        } else {
            commit.stage_state(state::GEOMETRY, Geometry { current: next, next: None }.bits());
            commit.retire(Retiree::Index(current.generation.into()), from.map.load(index::ALLOCATED));
        }
        commit.publish()
    }

    /// Writes zeros over a part of the file of a table.
    fn zero_index(&self, table: Table, from: u64, to: u64) -> Result<()> {
        let path = self.paths.of(Name::Index(table.generation.into()));
        let written = self.os.open(&path, OpenMode::Write).and_then(|file| write_zeros(&file, from, to));
        written.map_err(|e| Error::io("write", &path, e))
    }
}

/// Where the window ends that a byte is in.
fn window_end(at: u64) -> u64 {
    (at / WINDOW + 1) * WINDOW
}

/// True if a table is too full for that many new keys.
#[inline]
fn wants_growth<O: Os>(index: &Index<O>, new_keys: u64) -> bool {
    let used = index.map.load(index::CELLS_USED).saturating_add(new_keys);
    // A chain that was long once keeps its buckets, so a table whose keys come and go runs out of them before it is full. Of
    // keys in a table that is filled as far as may be less than one in four meets a full chain, and less than one in six of
    // the buckets gets a second one.
    let chained = (new_keys / 4).min(index.table.homes() / 6);
    used > index::FILL * index.table.homes() || overflow_left(index) < OVERFLOW_SPARE + chained
}

/// Overflow buckets that are not in use.
#[inline]
fn overflow_left<O: Os>(index: &Index<O>) -> u64 {
    (index.table.buckets() - index.table.homes()).saturating_sub(index.map.load(index::OVERFLOW_USED))
}

/// Fills the buckets of the next table that take over a home bucket.
fn move_bucket<O: Os>(commit: &mut Commit<'_, O>, from: &Index<O>, to: &Arc<Index<O>>, home: u64) -> Result<()> {
    let (old, new) = (from.table, to.table);
    let halves = new.level - old.level;
    let reads_keys = halves == 0 || new.base != old.base;
    let moved = Moved::from(commit.store.rule(), &from.map, index::bucket_offset(home));
    let mut targets: [Vec<(u64, u64)>; 2] = [Vec::with_capacity(CELLS), Vec::new()];
    for (cell, entry) in index::entries_of(&from.map, old, home) {
        let mark = moved.mark(&from.map, cell);
        let (half, entry) = if reads_keys {
            match rehash(commit, new, entry)? {
                Some((bucket, entry)) => (bucket.wrapping_sub(home << halves), entry),
                None => continue,
            }
        } else {
            (old.split_bit(entry.tag()), entry)
        };
        // A hash outside its home bucket's range is damage; the entry is of no use.
        if half < 1 << halves {
            targets[half as usize].push((entry.bits(), mark));
        }
    }
    for (half, entries) in targets.iter().enumerate().take(1 << halves) {
        fill_bucket(commit, to, (home << halves) + half as u64, entries, &moved)?;
    }
    Ok(())
}

/// The home bucket and the entry of a record in a new table; `None` if it is dead, which is then counted out.
fn rehash<O: Os>(commit: &mut Commit<'_, O>, new: Table, entry: Entry) -> Result<Option<(u64, Entry)>> {
    let Some(old) = commit.old_at(entry.location())? else { return Ok(None) };
    if old.life == Life::Gone {
        commit.count_replaced(&old, false);
        return Ok(None);
    }
    let Some(key) = commit.key_of(&old) else { return Ok(None) };
    let hash = commit.store.hash(&key);
    Ok(Some((new.home(hash), Entry::new(new.tag(hash), entry.location()))))
}

/// Overwrites a home bucket of the next table, and the overflow buckets it needs, with entries and their marks.
pub(super) fn fill_bucket<O: Os>(
    commit: &mut Commit<'_, O>,
    to: &Arc<Index<O>>,
    home: u64,
    entries: &[(u64, u64)],
    moved: &Moved,
) -> Result<()> {
    let mut bucket = index::bucket_offset(home);
    let mut rest = entries;
    let mut marks = moved.ghosts;
    loop {
        let (here, after) = rest.split_at(rest.len().min(CELLS));
        for i in 0..CELLS {
            let cell = bucket + i * 8;
            let (entry, mark) = here.get(i).copied().unwrap_or_default();
            to.map.store(cell, entry);
            marks = moved.with(marks, cell, mark);
        }
        let link = if after.is_empty() { 0 } else { commit.take_overflow_bucket(to)? };
        to.map.store(index::link_of(bucket), marks | link);
        marks = 0;
        to.map.store(index::CELLS_USED, to.map.load(index::CELLS_USED).saturating_add(here.len() as u64));
        if link == 0 {
            return Ok(());
        }
        bucket = index::bucket_offset(link);
        rest = after;
    }
}

impl<O: Os> Commit<'_, O> {
    /// Makes the file of a table, with all its home buckets empty.
    pub fn make_index(&mut self, table: Table, purpose: Purpose) -> Result<()> {
        self.admit_for_index(table.home_bytes(), purpose)?;
        let path = self.store.paths.of(Name::Index(table.generation.into()));
        let make = || {
            // What a commit left that never happened, or a generation that has long been retired.
            let _ = self.store.os.remove(&path);
            let file = self.store.os.open(&path, OpenMode::Create)?;
            file.allocate(0, table.home_bytes())?;
            file.write_at(&table.encode_head(self.store.store_id), 0)?;
            file.extend(table.file_bytes())?;
            let len = usize::try_from(table.file_bytes()).unwrap_or(usize::MAX);
            let listed = self.store.list(Retiree::Index(table.generation.into()), len);
            let map = file.map(len, Access::Write)?;
            map.store(index::ALLOCATED, table.home_bytes());
            Ok(Index::new(table, map, listed))
        };
        let index = Arc::new(make().map_err(|e| Error::io("create", &path, e))?);
        self.made.push(Made::Index(table));
        self.made_indexes.push(Arc::clone(&index));
        self.store.install_index(index);
        self.refresh_view();
        self.add_state(state::VOLUME, signed(table.home_bytes()));
        Ok(())
    }

    /// Refuses what would take the store over its limit. If it will fit once what waits has been unlinked, this writer sees to
    /// that when it has unlocked: the next write tries again, before items have taken the room that a table needs at once.
    fn admit_for_index(&self, bytes: u64, purpose: Purpose) -> Result<()> {
        self.admit(bytes, purpose).inspect_err(|_| self.store.press_for(bytes))
    }

    /// Stages the use of one more overflow bucket of a table that readers see.
    pub(super) fn overflow_bucket(&mut self, table: Table) -> Result<u64> {
        let place = Place::Index(table.generation);
        let used = self.word(place, index::OVERFLOW_USED);
        let bucket = table.homes().saturating_add(used);
        if bucket >= table.buckets() {
            return Err(Error::Full);
        }
        let end = index::bucket_offset(bucket + 1) as u64;
        let allocated = self.word(place, index::ALLOCATED);
        if end > allocated {
            let upto = self.allocate_overflow(table, allocated)?;
            self.stage(place, index::ALLOCATED, upto);
        }
        self.stage(place, index::OVERFLOW_USED, used + 1);
        if let Some(index) = self.index(table)
            && !seeded!("buckets_keep_what_a_move_left")
        {
            // A move that never happened may have filled it. Nobody is led there yet.
            let at = index::bucket_offset(bucket);
            (at..at + BUCKET_BYTES).step_by(8).for_each(|word| index.map.store(word, 0));
        }
        Ok(bucket)
    }

    /// Takes an overflow bucket of a table that nobody looks at yet.
    fn take_overflow_bucket(&mut self, to: &Arc<Index<O>>) -> Result<u64> {
        let place = Place::Index(to.table.generation);
        let used = self.word(place, index::OVERFLOW_USED);
        let bucket = to.table.homes().saturating_add(used);
        if bucket >= to.table.buckets() {
            return Err(Error::Full);
        }
        let allocated = self.word(place, index::ALLOCATED);
        if index::bucket_offset(bucket + 1) as u64 > allocated {
            let upto = self.allocate_overflow(to.table, allocated)?;
            self.stage(place, index::ALLOCATED, upto);
        }
        self.stage(place, index::OVERFLOW_USED, used + 1);
        Ok(bucket)
    }

    #[cold]
    fn allocate_overflow(&mut self, table: Table, allocated: u64) -> Result<u64> {
        let upto = window_end(allocated).min(table.file_bytes());
        self.admit_for_index(upto - allocated, Purpose::Free)?;
        self.store.zero_index(table, allocated, upto)?;
        self.add_state(state::VOLUME, signed(upto - allocated));
        Ok(upto)
    }

    /// The record at a location, whatever its key.
    pub(super) fn old_at(&mut self, location: crate::storage::location::Location) -> Result<Option<super::cells::Old>> {
        let mut old = None;
        loop {
            match self.try_old_at(&mut old, location, |_, _| true) {
                Try::Done(_) => return Ok(old),
                Try::Again => return Ok(None),
                Try::Map(missing) => self.store.map_missing_under_lock(missing)?,
            }
            self.refresh_view();
        }
    }
}
