//! Reading and verifying everything, under the lock, so that nothing changes meanwhile but what readers do.
//!
//! 1. The log: every batch of every segment up to its committed end.
//! 2. The index: every cell leads to a whole record whose key belongs in that bucket; no key twice.
//! 3. The counts: `LIVE`, the rows' live records, the tags' items.
//! 4. Large values: their files are there, as long as they must be, and whole.
//! 5. The volume: not less than the files take, but for what is not counted yet of the segment that is appended to.

use std::collections::{HashMap, HashSet};

use crate::error::{Corruption, Damage, Result};
use crate::os::{Access, Os, OsMap};
use crate::storage::index::{self, Table};
use crate::storage::location::{Location, Tail};
use crate::storage::namespace::{Kind, Namespace, is_inner, parse_element};
use crate::storage::paths::Name;
use crate::storage::record::{LargeReference, salt};
use crate::storage::segment::is_main;
use crate::storage::state::{self, row, row_word};
use crate::storage::tag_table;

use super::lock::Locked;
use super::log::Batches;
use super::queue::Span;
use super::read::{Life, Missing, Try};
use super::store::Store;

/// The most problems that are listed one by one.
const PROBLEMS_MAX: usize = 1000;

/// What a check found.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let report = larder::Cache::open(&dir)?.check()?;
/// assert!(report.is_clean());
/// assert_eq!((report.items, report.problems.len()), (0, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Items that count as live, those that have expired included.
    pub items: u64,
    /// Records in the log, dead ones included.
    pub records: u64,
    /// Segments of the log.
    pub segments: u64,
    /// Bytes that were read and verified.
    pub bytes: u64,
    /// What is wrong, the first thousand.
    pub problems: Vec<Damage>,
}

impl Report {
    /// True if nothing is wrong.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// assert!(larder::Cache::open(&dir)?.check()?.is_clean());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// One report of several.
    pub(crate) fn of_all(reports: Vec<Report>) -> Report {
        let mut all = Report::default();
        for Report { items, records, segments, bytes, problems } in reports {
            all.items += items;
            all.records += records;
            all.segments += segments;
            all.bytes += bytes;
            all.problems.extend(problems);
        }
        all
    }
}

/// How far a check or repair is.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let cache = larder::Cache::open(&dir)?;
/// cache.check_with(|progress| assert!(progress.done <= progress.total))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes of the log that are done.
    pub done: u64,
    /// Bytes of the log in all.
    pub total: u64,
}

/// A check under way.
struct Check<'s, O: Os> {
    store: &'s Store<O>,
    report: Report,
    items: u64,
    /// Those of namespaces.
    inner: u64,
    row_live: Vec<u64>,
    tag_live: HashMap<u32, u64>,
    /// The first and the last position of each queue.
    spans: HashMap<u32, (u64, u64)>,
    values: HashSet<u64>,
}

impl<O: Os> Store<O> {
    /// Verifies everything. Holds the lock.
    pub fn check(&self, progress: &mut dyn FnMut(Progress)) -> Result<Report> {
        self.enter()?;
        let locked = self.lock()?;
        // Trees that a dead repairer left to be made are no damage; what keeps them from being made is found below.
        let _ = self.make_orders(&locked);
        self.check_locked(&locked, progress)
    }

    pub(super) fn check_locked(&self, _: &Locked<'_, O>, progress: &mut dyn FnMut(Progress)) -> Result<Report> {
        let mut check = Check {
            store: self,
            report: Report::default(),
            items: 0,
            inner: 0,
            row_live: vec![0; self.rows],
            tag_live: HashMap::new(),
            spans: HashMap::new(),
            values: HashSet::new(),
        };
        check.log(progress)?;
        check.index()?;
        check.counts()?;
        check.volume();
        check.report.items = check.items;
        Ok(check.report)
    }

    /// Where the committed part of a segment ends.
    pub(super) fn committed_end(&self, slot: usize) -> u64 {
        let word = if is_main(self.segment_in(slot)) { state::MAIN_TAIL } else { state::TAIL };
        let tail = Tail::from_bits(self.state.load(word));
        if tail.slot == slot { tail.offset } else { self.state.load(row_word(slot, row::END)) }
    }
}

impl<O: Os> Check<'_, O> {
    fn problem(&mut self, name: Name, offset: u64, what: Corruption) {
        if self.report.problems.len() < PROBLEMS_MAX {
            self.report.problems.push(Damage { path: self.store.paths.of(name), offset, what });
        }
    }

    /// Step 1.
    fn log(&mut self, progress: &mut dyn FnMut(Progress)) -> Result<()> {
        let store = self.store;
        let used: Vec<usize> = (0..store.rows).filter(|&slot| store.segment_in(slot) != 0).collect();
        let total = used.iter().map(|&slot| store.committed_end(slot)).fold(0, u64::saturating_add);
        let mut done = 0;
        progress(Progress { done, total });
        for slot in used {
            let id = store.segment_in(slot);
            let end = store.committed_end(slot);
            match store.map_segment(slot, id, Access::Read) {
                Ok(segment) => self.segment(&segment.map, segment.nonce, id, end),
                Err(_) => self.problem(Name::Segment(id), 0, Corruption::Missing),
            }
            done += end;
            progress(Progress { done, total });
        }
        Ok(())
    }

    fn segment(&mut self, map: &O::Map, nonce: u64, id: u64, end: u64) {
        self.report.segments += 1;
        let Some(end) = usize::try_from(end).ok().filter(|&end| end <= map.len()) else {
            return self.problem(Name::Segment(id), end, Corruption::Bounds);
        };
        let mut batches = Batches::of(map, id, nonce, end);
        loop {
            while let Some(members) = batches.next_batch() {
                self.report.records += members.len() as u64;
            }
            if batches.offset >= end {
                break;
            }
            self.problem(Name::Segment(id), batches.offset as u64, Corruption::Checksum);
            if !batches.skip_damage() {
                break;
            }
        }
        self.report.bytes += end as u64;
    }

    /// Step 2, for every bucket that readers look at.
    fn index(&mut self) -> Result<()> {
        let geometry = self.store.geometry()?;
        let (current, next) = (geometry.current, geometry.next);
        let moved = next.map_or(0, |(_, moved)| moved);
        self.table(current, moved..current.homes())?;
        if let Some((table, moved)) = next {
            self.table(table, 0..moved << (table.level - current.level))?;
        }
        Ok(())
    }

    fn table(&mut self, table: Table, homes: std::ops::Range<u64>) -> Result<()> {
        let name = Name::Index(table.generation.into());
        let Ok(index) = self.store.map_index(table) else {
            self.problem(name, 0, Corruption::Missing);
            return Ok(());
        };
        let mut keys = HashSet::new();
        for home in homes {
            let chain = index::chain(table, home, |offset| index.map.load(offset)).count();
            if chain == index::CHAIN_MAX {
                self.problem(name, index::bucket_offset(home) as u64, Corruption::Cycle);
            }
            keys.clear();
            for (cell, entry) in index::entries_of(&index.map, table, home) {
                let Some(key) = self.cell(entry.location())? else {
                    self.problem(name, cell as u64, Corruption::Index);
                    continue;
                };
                let hash = self.store.hash(&key);
                if table.home(hash) != home || table.tag(hash) != entry.tag() || !keys.insert(key) {
                    self.problem(name, cell as u64, Corruption::Index);
                }
            }
        }
        Ok(())
    }

    /// Counts the record that a cell leads to. Its key, if it is whole.
    fn cell(&mut self, location: Location) -> Result<Option<Vec<u8>>> {
        let store = self.store;
        let slot = location.slot();
        let id = store.segment_in(slot);
        if id == 0 {
            return Ok(None);
        }
        let view = store.view.load();
        let mapped = match view.segment(slot, id) {
            Some(segment) => std::sync::Arc::clone(segment),
            None => match store.map_segment(slot, id, Access::Read) {
                Ok(segment) => segment,
                Err(_) => return Ok(None),
            },
        };
        if location.offset() as u64 >= store.committed_end(slot) {
            return Ok(None);
        }
        let Some(record) = store.record_at(&mapped, location) else { return Ok(None) };
        let header = record.header;
        let mut buffer = Vec::new();
        if !header.verify(&mapped.map, location.offset(), salt(mapped.nonce, location.offset()), &mut buffer) {
            return Ok(None);
        }
        let mut key = Vec::new();
        record.append_key(&mut key);
        self.row_live[slot] += 1;
        if self.life(&header)? != Life::Gone {
            *(if is_inner(&key) { &mut self.inner } else { &mut self.items }) += 1;
            if let Some((id, position)) = parse_element(&key) {
                let (first, last) = self.spans.entry(id).or_insert((position, position));
                (*first, *last) = (position.min(*first), position.max(*last));
            }
            if header.tag != 0 {
                *self.tag_live.entry(header.tag).or_default() += 1;
            }
            if let Some(reference) = record.large() {
                self.large(reference);
            }
        }
        Ok(Some(key))
    }

    fn life(&self, header: &crate::storage::record::Header) -> Result<Life> {
        loop {
            let view = self.store.view.load();
            match self.store.life(&view, header) {
                Try::Done(life) => return Ok(life),
                Try::Map(missing @ Missing::Tags(_)) => self.store.map_missing_under_lock(missing)?,
                _ => return Ok(Life::Gone),
            }
        }
    }

    /// Step 4.
    fn large(&mut self, reference: LargeReference) {
        if !self.values.insert(reference.file) {
            return self.problem(Name::Value(reference.file), 0, Corruption::Identity);
        }
        if let Err(crate::error::Error::Corrupt(damage)) = self.store.read_large(reference) {
            self.problem(Name::Value(reference.file), damage.offset, damage.what);
        }
        self.report.bytes += reference.len;
    }

    /// Step 3.
    fn counts(&mut self) -> Result<()> {
        let store = self.store;
        for (word, counted) in [(state::LIVE, self.items), (state::INNER, self.inner)] {
            if store.state.load(word) != counted {
                self.problem(Name::State, word as u64, Corruption::Count);
            }
        }
        for slot in 0..store.rows {
            let counted = store.state.load(row_word(slot, row::LIVE)) & u64::from(u32::MAX);
            if store.segment_in(slot) != 0 && counted != self.row_live[slot] {
                self.problem(Name::State, row_word(slot, row::LIVE) as u64, Corruption::Count);
            }
        }
        let chunks = usize::try_from(store.state.load(state::TAG_CHUNKS)).unwrap_or(0).min(tag_table::CHUNKS_MAX);
        let cleared = store.state.load(state::CLEARED);
        for chunk in 0..chunks {
            let Ok(map) = store.map_tags(chunk) else {
                self.problem(Name::Tags(chunk as u64), 0, Corruption::Missing);
                continue;
            };
            for offset in (0..tag_table::chunk_bytes(chunk)).step_by(tag_table::ROW_BYTES) {
                let id = tag_table::id_of(tag_table::RowPlace { chunk, offset });
                let kind = tag_table::kind_of(map.load(offset + tag_table::row::HASH_HIGH));
                let word = map.load(offset + tag_table::row::COUNTED_SINCE);
                let live = map.load(offset + tag_table::row::LIVE);
                let counted = if kind.is_inner() || word == cleared { live } else { 0 };
                let found = self.tag_live.get(&id).copied().unwrap_or(0);
                // Q1 of `queue`: there is nothing beyond the positions, and where something is missing it was lost.
                let is_right = match (kind, self.spans.get(&id)) {
                    (Kind::Deque, Some(&(first, last))) => {
                        let Span { first: begin, len } = Span::of(word, live);
                        first.wrapping_sub(begin) < len && last.wrapping_sub(begin) < len && found <= len
                    }
                    (Kind::Deque, None) => true,
                    _ => counted == found,
                };
                let is_right = is_right
                    && (kind != Kind::Index || self.store.count_in_order(Namespace { kind, id })? == Some(found));
                if !is_right {
                    self.problem(Name::Tags(chunk as u64), offset as u64, Corruption::Count);
                }
            }
        }
        Ok(())
    }

    /// Step 5.
    fn volume(&mut self) {
        let store = self.store;
        let taken = store.space_of(|name| name.is_in_volume() || matches!(name, Name::ValueDraft(..)));
        // A process that died over a window it was taking leaves it uncounted until the next write takes it again.
        let open = |word| {
            let slot = Tail::from_bits(store.state.load(word)).slot;
            let word = |word| if slot < store.rows { store.state.load(row_word(slot, word)) } else { 0 };
            word(row::CAPACITY).saturating_sub(word(row::ALLOCATED))
        };
        let taken = taken.saturating_sub(open(state::TAIL)).saturating_sub(open(state::MAIN_TAIL));
        if taken > store.volume().saturating_add(store.reserved()) {
            self.problem(Name::State, state::VOLUME as u64, Corruption::Count);
        }
    }
}
