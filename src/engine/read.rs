//! Finding the record of a key without a lock, a system call or a wait.
//!
//! 1. Geometry word → table → home bucket. For each cell of the chain whose tag matches:
//! 2. segment id from the row the entry names; then the same cell and geometry again: unchanged, the id is the one the
//!    entry was written for (I5), and files never change, so what follows cannot be torn (I4);
//! 3. header, bounds, the whole key;
//! 4. the record's sequence against `VISIBLE`, loaded after the cell: newer means that its commit is under way, and the
//!    record it replaced counts (I3);
//! 5. dead if older than the newest visible `clear` or eviction of its tag, or if it has expired;
//! 6. the caller copies what it wants; then the cell again: unchanged, or from the start.
//!
//! The answer is the state at some moment during the call. After [`RETRIES`] changed cells the lock decides.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::{Corruption, Error, Result};
use crate::os::{Access, Os, OsMap, Pinned};
use crate::storage::index::{self, CELLS, CHAIN_MAX, Geometry, Table};
use crate::storage::location::{Entry, Location};
use crate::storage::paths::{Name, Paths};
use crate::storage::record::{Header, LargeReference, Type, salt};
use crate::storage::state::{self, Marks};
use crate::storage::tag_table;

use super::lock::Locked;
use super::store::Store;
use super::view::{Index, Segment, View};

/// Lock-free tries before a reader takes the lock.
const RETRIES: usize = 64;

/// A record that was found, and where.
pub struct Record<'v, O: Os> {
    pub segment: &'v Arc<Segment<O>>,
    pub offset: usize,
    pub header: Header,
}

impl<O: Os> Record<'_, O> {
    /// Copies the value's bytes, as they are in the log, onto the end of `to`. False, and `to` as before, if the record
    /// does not have its checksum.
    #[inline]
    pub fn append_value(&self, to: &mut Vec<u8>) -> bool {
        self.header.append_value(&self.segment.map, self.offset, salt(self.segment.nonce, self.offset), to)
    }

    /// As [`append_value`](Record::append_value), for who collects many: where the value is in `to`, perhaps behind other bytes.
    #[inline(always)]
    pub fn append_among(&self, to: &mut Vec<u8>) -> Option<Range<usize>> {
        self.header.append_record(&self.segment.map, self.offset, salt(self.segment.nonce, self.offset), to)
    }

    /// What a record is whose value cannot be had.
    #[cold]
    pub fn damaged(&self, directory: &std::path::Path) -> Error {
        let path = Paths::new(directory).of(Name::Segment(self.segment.id));
        Error::corrupt(&path, self.offset as u64, Corruption::Checksum)
    }

    /// The file of a large value.
    #[inline]
    pub fn large(&self) -> Option<LargeReference> {
        if !self.header.is_large() {
            return None;
        }
        let mut bytes = Vec::new();
        self.append_value(&mut bytes).then(|| LargeReference::decode(&bytes))
    }

    /// The place of the key in the order of insertion.
    pub fn order(&self) -> u64 {
        self.header.order(self.segment.id, self.offset)
    }

    /// Borrows the value's bytes from the log. A record that a cell led to is committed or pending, and its bytes are
    /// never written again.
    pub fn pin(&self) -> Option<Pinned<Segment<O>>> {
        let salt = salt(self.segment.nonce, self.offset);
        if !self.header.verify_in_place(&self.segment.map, self.offset, salt) {
            return None;
        }
        let (offset, len) = self.header.value_range(self.offset);
        Pinned::new(Arc::clone(self.segment), offset, len)
    }

    /// Copies the key's bytes onto the end of `to`.
    pub fn append_key(&self, to: &mut Vec<u8>) -> bool {
        let (offset, len) = self.header.key_range(self.offset);
        self.segment.map.append_to(offset, len, to)
    }
}

/// Why a record counts, or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Live,
    /// Its time has passed. It still counts in `LIVE`.
    Expired,
    /// Removed, evicted or cleared.
    Gone,
    /// Live until the commit that is being made, which clears it or evicts its tag. Readers never meet it.
    Ending,
}

/// What one lock-free try came to.
pub(super) enum Try<T> {
    Done(T),
    /// Something moved meanwhile.
    Again,
    /// A file has to be mapped first.
    Map(Missing),
}

/// A file that a reader needs and has not mapped.
pub(super) enum Missing {
    Index(Table),
    Segment(usize, u64),
    Tags(usize),
    Order(usize),
}

/// A cell that led to the key.
pub(super) struct Hit<'v, O: Os> {
    index: &'v O::Map,
    cell: usize,
    entry: Entry,
    /// The geometry under which the cell was found, and what it was found for.
    word: u64,
    table: Table,
    hash: u64,
    pub record: Record<'v, O>,
}

impl<O: Os> Hit<'_, O> {
    /// Marks the item as used.
    #[inline(always)]
    pub(super) fn mark_used(&self, store: &Store<O>) {
        store.mark_used(self.index, self.cell);
    }
}

impl<O: Os> Store<O> {
    /// Calls `take` with the live record of a key and gives what it returns; `None` if there is none. `take` may be
    /// called more than once; the last call counts. The item is marked as used.
    #[inline]
    pub fn read<R>(&self, key: &[u8], hash: u64, take: impl FnMut(&Record<'_, O>) -> Result<R>) -> Result<Option<R>> {
        self.read_and::<true, R>(key, hash, take)
    }

    /// The same for who only looks: the item is not used.
    #[inline]
    pub fn look<R>(&self, key: &[u8], hash: u64, take: impl FnMut(&Record<'_, O>) -> Result<R>) -> Result<Option<R>> {
        self.read_and::<false, R>(key, hash, take)
    }

    #[inline(always)]
    fn read_and<const USES: bool, R>(
        &self,
        key: &[u8],
        hash: u64,
        mut take: impl FnMut(&Record<'_, O>) -> Result<R>,
    ) -> Result<Option<R>> {
        let mut view = self.enter()?;
        for _ in 0..RETRIES {
            match self.try_read::<USES, R>(&view, key, hash, &mut take)? {
                Try::Done(found) => return Ok(found),
                Try::Again => {}
                Try::Map(missing) => {
                    drop(view);
                    self.map_missing(missing)?;
                }
            }
            view = self.view.load();
        }
        drop(view);
        self.read_locked(key, hash, take)
    }

    /// The lock, for a reader that could not settle without it. A read-only handle has none to take.
    pub(super) fn lock_to_read(&self) -> Result<Locked<'_, O>> {
        if self.read_only { Err(Error::Timeout) } else { self.lock() }
    }

    /// Under the lock nothing moves. What seems to is damage.
    pub(super) fn unsettled(&self) -> Error {
        if !self.read_only {
            self.state.store(state::SUSPECT, 1);
        }
        Error::corrupt(&self.paths.of(Name::State), state::GEOMETRY as u64, Corruption::Index)
    }

    #[cold]
    fn read_locked<R>(
        &self,
        key: &[u8],
        hash: u64,
        mut take: impl FnMut(&Record<'_, O>) -> Result<R>,
    ) -> Result<Option<R>> {
        let _locked = self.lock_to_read()?;
        loop {
            let view = self.view.load();
            match self.try_read::<false, R>(&view, key, hash, &mut take)? {
                Try::Done(found) => return Ok(found),
                Try::Again => return Err(self.unsettled()),
                Try::Map(missing) => self.map_missing_under_lock(missing)?,
            }
        }
    }

    #[inline(always)]
    pub(super) fn try_read<const USES: bool, R>(
        &self,
        view: &View<O>,
        key: &[u8],
        hash: u64,
        take: &mut impl FnMut(&Record<'_, O>) -> Result<R>,
    ) -> Result<Try<Option<R>>> {
        let hit = match self.find(view, key, hash)? {
            Try::Done(Some(hit)) => hit,
            Try::Done(None) => return Ok(Try::Done(None)),
            Try::Again => return Ok(Try::Again),
            Try::Map(missing) => return Ok(Try::Map(missing)),
        };
        let previous;
        let record = if self.accepts(&hit.record.header) {
            &hit.record
        } else {
            previous = match self.before(view, key, &hit.record.header)? {
                Try::Done(Some(previous)) => previous,
                Try::Done(None) => return Ok(Try::Done(None)),
                Try::Again => return Ok(Try::Again),
                Try::Map(missing) => return Ok(Try::Map(missing)),
            };
            &previous
        };
        match self.life(view, &record.header) {
            Try::Done(Life::Live) => {}
            Try::Done(_) => {
                let is_so = self.is_current(&hit) && self.still_counts(&hit.record.header, &record.header);
                return Ok(if is_so { Try::Done(None) } else { Try::Again });
            }
            Try::Again => return Ok(Try::Again),
            Try::Map(missing) => return Ok(Try::Map(missing)),
        }
        let taken = take(record);
        if !self.is_current(&hit) || (taken.is_err() && !self.still_counts(&hit.record.header, &record.header)) {
            return Ok(Try::Again);
        }
        if USES {
            hit.mark_used(self);
        }
        taken.map(|value| Try::Done(Some(value)))
    }

    /// True if the key's cell is still that one, and still leads to the record.
    #[inline(always)]
    pub(super) fn is_current(&self, hit: &Hit<'_, O>) -> bool {
        hit.index.load(hit.cell) == hit.entry.bits() && self.still_holds(hit.word, hit.table, hit.hash)
    }

    /// True unless a record was taken for the one before a pending commit that is visible by now. Then the file of its
    /// large value may be gone, and that is no damage.
    #[inline]
    pub(super) fn still_counts(&self, newest: &Header, taken: &Header) -> bool {
        taken.sequence == newest.sequence || self.visible() < newest.sequence
    }

    /// The index that holds a hash under the geometry `word`.
    #[inline(always)]
    pub(super) fn index_of<'v>(&self, view: &'v View<O>, word: u64, hash: u64) -> Result<Try<&'v Arc<Index<O>>>> {
        if let Some(index) = view.only_index(word) {
            return Ok(Try::Done(index));
        }
        let Some(geometry) = Geometry::from_bits(word) else { return self.geometry().map(|_| Try::Again) };
        let table = geometry.table_of(hash);
        Ok(view.index(table).map_or(Try::Map(Missing::Index(table)), Try::Done))
    }

    /// Steps 1 to 3.
    #[inline(always)]
    pub(super) fn find<'v>(&self, view: &'v View<O>, key: &[u8], hash: u64) -> Result<Try<Option<Hit<'v, O>>>> {
        let word = self.state.load(state::GEOMETRY);
        let index = match self.index_of(view, word, hash)? {
            Try::Done(index) => index,
            Try::Again => return Ok(Try::Again),
            Try::Map(missing) => return Ok(Try::Map(missing)),
        };
        let table = index.table;
        let tag = table.tag(hash);
        let mut bucket = index::bucket_offset(table.home(hash));
        for _ in 0..CHAIN_MAX {
            let line = index.map.load_line(bucket);
            for (i, &bits) in line.iter().enumerate().take(CELLS) {
                let entry = Entry::from_bits(bits);
                if entry.tag() != tag || entry.is_empty() {
                    continue;
                }
                let cell = bucket + 8 * i;
                let location = entry.location();
                let id = self.segment_in(location.slot());
                if index.map.load(cell) != entry.bits() || !self.still_holds(word, table, hash) {
                    return Ok(Try::Again);
                }
                let Some(segment) = view.segment(location.slot(), id) else {
                    if id == 0 {
                        continue;
                    }
                    return Ok(Try::Map(Missing::Segment(location.slot(), id)));
                };
                // The lines behind the header are needed as soon as it has been looked at.
                segment.map.prefetch(location.offset() + 64);
                segment.map.prefetch(location.offset() + 128);
                let Some(record) = self.record_at(segment, location) else {
                    // Nothing can begin there: damage, or the slot has another segment by now.
                    if self.segment_in(location.slot()) != id {
                        return Ok(Try::Again);
                    }
                    continue;
                };
                let (at, len) = record.header.key_range(record.offset);
                if len == key.len() && segment.map.equals(at, key) {
                    return Ok(Try::Done(Some(Hit { index: &index.map, cell, entry, word, table, hash, record })));
                }
            }
            match table.next_bucket(line[CELLS]) {
                Some(next) => bucket = next,
                None => break,
            }
        }
        Ok(if self.still_holds(word, table, hash) { Try::Done(None) } else { Try::Again })
    }

    /// True if the table that held a hash under the geometry `word` still does.
    #[inline(always)]
    pub(super) fn still_holds(&self, word: u64, table: Table, hash: u64) -> bool {
        let now = self.state.load(state::GEOMETRY);
        now == word || Geometry::from_bits(now).is_some_and(|geometry| geometry.table_of(hash) == table)
    }

    /// The record at a location, if one can begin there.
    #[inline(always)]
    pub(super) fn record_at<'v>(&self, segment: &'v Arc<Segment<O>>, location: Location) -> Option<Record<'v, O>> {
        let end = self.readable(location.slot(), segment);
        let header = Header::read(&segment.map, location.offset(), end)?;
        Some(Record { segment, offset: location.offset(), header })
    }

    /// Step 4: true if the commit of a record is visible. Else the record before it counts, if any.
    #[inline(always)]
    pub(super) fn accepts(&self, header: &Header) -> bool {
        seeded!("readers_ignore_visible")
            || header.sequence <= self.seen.load(Ordering::Relaxed)
            || header.sequence <= self.visible()
    }

    /// The record that a pending one replaced. While the newer one is pending the older one is where it was, so what is
    /// read here counts only if it still is pending afterwards.
    #[cold]
    pub(super) fn before<'v>(
        &self,
        view: &'v View<O>,
        key: &[u8],
        newest: &Header,
    ) -> Result<Try<Option<Record<'v, O>>>> {
        let location = Location::from_bits(newest.previous);
        if location.is_none() {
            let pending = self.visible() < newest.sequence;
            return Ok(if pending { Try::Done(None) } else { Try::Again });
        }
        let id = self.segment_in(location.slot());
        let found = match view.segment(location.slot(), id) {
            Some(segment) => self.record_at(segment, location),
            None if id == 0 => None,
            None => return Ok(Try::Map(Missing::Segment(location.slot(), id))),
        };
        if self.visible() >= newest.sequence {
            return Ok(Try::Again);
        }
        Ok(Try::Done(found.filter(|record| {
            let (at, len) = record.header.key_range(record.offset);
            len == key.len() && record.segment.map.equals(at, key)
        })))
    }

    /// Step 5.
    #[inline(always)]
    pub(super) fn life(&self, view: &View<O>, header: &Header) -> Try<Life> {
        if header.kind_of_record != Type::Put {
            return Try::Done(Life::Gone);
        }
        let cleared = Marks::cleared(&self.state);
        let is_cleared = cleared.newest != 0 && cleared.kill(header.sequence, self.visible_at_least(cleared.newest));
        if is_cleared && header.tag == 0 {
            return Try::Done(Life::Gone);
        }
        if let Some(place) = tag_table::place_of(header.tag) {
            if place.chunk as u64 >= self.state.load(state::TAG_CHUNKS) {
                return Try::Done(Life::Gone);
            }
            let Some(chunk) = view.tags(place.chunk) else { return Try::Map(Missing::Tags(place.chunk)) };
            // A `clear` is of the store's own items, not of those in namespaces.
            let kind = tag_table::kind_of(chunk.load(place.offset + tag_table::row::HASH_HIGH));
            if is_cleared && (!kind.is_inner() || seeded!("clear_takes_namespaces_too")) {
                return Try::Done(Life::Gone);
            }
            let marks = tag_table::marks(&**chunk, place.offset);
            if marks.newest != 0 && marks.kill(header.sequence, self.visible_at_least(marks.newest)) {
                return Try::Done(Life::Gone);
            }
        }
        Try::Done(if self.has_expired(header.expires) { Life::Expired } else { Life::Live })
    }

    /// A visible sequence that is current if that matters for `mark`.
    #[inline(always)]
    fn visible_at_least(&self, mark: u64) -> u64 {
        let seen = self.seen.load(Ordering::Relaxed);
        if seen >= mark { seen } else { self.visible() }
    }

    /// Maps what a reader misses. A file that is gone was retired meanwhile, which the next try sees; it is damage only
    /// if the row or the geometry still names it.
    #[cold]
    pub(super) fn map_missing(&self, missing: Missing) -> Result<()> {
        match self.map_missing_under_lock(missing) {
            Err(Error::Corrupt(damage)) if damage.what == Corruption::Missing => Ok(()),
            other => other,
        }
    }

    #[cold]
    pub(super) fn map_missing_under_lock(&self, missing: Missing) -> Result<()> {
        let mapped = match missing {
            Missing::Index(table) => self.map_index(table).map(drop),
            Missing::Segment(slot, id) => self.map_segment(slot, id, Access::Read).map(drop),
            Missing::Tags(chunk) => self.map_tags(chunk).map(drop),
            Missing::Order(chunk) => self.map_order(chunk).map(drop),
        };
        mapped.map_err(|error| match error {
            Error::Io(failure) if failure.source.kind() == std::io::ErrorKind::NotFound => {
                Error::corrupt(&failure.path, 0, Corruption::Missing)
            }
            other => other,
        })
    }
}
