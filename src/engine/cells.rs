//! The cell of a key as a commit sees it: finding it, and staging what it leads to. It does not know what is written
//! to the log.

use crate::error::{Corruption, Error, Result};
use crate::os::{Os, OsMap};
use crate::storage::index::{self, CELLS, CHAIN_MAX, LINK, Table};
use crate::storage::location::{Entry, Location};
use crate::storage::paths::{Name, Paths};
use crate::storage::record::{Header, LargeReference, salt};
use crate::storage::redo::Place;
use crate::storage::segment::is_main;
use crate::storage::state::{self, row, row_word};

use super::borrowed;
use super::commit::Commit;
use super::notices::Notice;
use super::read::{Life, Missing, Try};
use super::view::{Index, Segment};

/// The live record of a key, seen under the lock.
pub struct Present<'c, O: Os> {
    segment: &'c Segment<O>,
    offset: usize,
    pub header: &'c Header,
}

/// The record that a cell leads to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Old {
    pub location: Location,
    segment: u64,
    pub header: Header,
    pub life: Life,
    /// What replaces it takes a new place in the order of insertion.
    pub anew: bool,
}

/// A key's cell, or where a new one goes, and the record it leads to.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyPlace {
    pub table: Table,
    pub cell: Cell,
    pub old: Option<Old>,
}

/// A cell for a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cell {
    Taken {
        offset: usize,
        bits: u64,
    },
    Free {
        offset: usize,
    },
    /// Every bucket of the chain is full; the last one ends at this offset.
    ChainFull {
        last: usize,
    },
}

/// A cell that leads to a record, and its bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct CellPlace {
    pub table: Table,
    pub offset: usize,
    pub bits: u64,
}

impl Default for KeyPlace {
    #[inline]
    fn default() -> KeyPlace {
        KeyPlace { table: Table::default(), cell: Cell::ChainFull { last: 0 }, old: None }
    }
}

impl KeyPlace {
    /// True if the key is present and has not expired.
    #[inline]
    pub(super) fn is_live(&self) -> bool {
        matches!(&self.old, Some(Old { life: Life::Live, .. }))
    }

    /// The record at a location and the cell, if that is where it leads.
    pub(super) fn led_to(self, location: Location) -> Option<(Old, CellPlace)> {
        match (self.old, self.cell) {
            (Some(old), Cell::Taken { offset, bits }) if old.location == location => {
                Some((old, CellPlace { table: self.table, offset, bits }))
            }
            _ => None,
        }
    }
}

impl Old {
    /// True if the record stands in the main stream.
    #[inline]
    pub(super) fn is_main(&self) -> bool {
        is_main(self.segment)
    }

    /// The place of the key in the order of insertion.
    pub(super) fn order(&self) -> u64 {
        self.header.order(self.segment, self.location.offset())
    }
}

impl<O: Os> Present<'_, O> {
    /// Copies the value's bytes, as they are in the log, onto the end of `to`. False, and `to` as before, if the record
    /// does not have its checksum.
    pub fn append_value(&self, to: &mut Vec<u8>) -> bool {
        self.header.append_value(&self.segment.map, self.offset, salt(self.segment.nonce, self.offset), to)
    }

    /// The file of a large value.
    pub fn large(&self) -> Option<LargeReference> {
        let mut bytes = Vec::new();
        (self.header.is_large() && self.append_value(&mut bytes)).then(|| LargeReference::decode(&bytes))
    }

    /// Copies the key's bytes onto the end of `to`.
    pub fn append_key(&self, to: &mut Vec<u8>) -> bool {
        let (offset, len) = self.header.key_range(self.offset);
        self.segment.map.append_to(offset, len, to)
    }

    /// The place of the key in the order of insertion.
    pub fn order(&self) -> u64 {
        self.header.order(self.segment.id, self.offset)
    }

    /// What the record is if its value cannot be had.
    pub fn damaged(&self, directory: &std::path::Path) -> Error {
        let path = Paths::new(directory).of(Name::Segment(self.segment.id));
        Error::corrupt(&path, self.offset as u64, Corruption::Checksum)
    }
}

impl<O: Os> Commit<'_, O> {
    /// An old record with what is needed to read it.
    pub(super) fn open_old<'c>(&'c self, old: &'c Old) -> Option<Present<'c, O>> {
        let segment = self.segment(old.location.slot(), old.segment)?;
        Some(Present { segment, offset: old.location.offset(), header: &old.header })
    }

    /// The file of an old record's large value.
    #[inline]
    pub(super) fn large_of(&self, old: &Old) -> Option<LargeReference> {
        if old.header.is_large() { self.open_old(old)?.large() } else { None }
    }

    /// True if a running transaction is going to name the file of a record's value again.
    pub(super) fn is_borrowed(&self, old: &Old) -> bool {
        let is_of_file = old.header.is_large() && !seeded!("what_a_transaction_has_touched_goes");
        is_of_file && self.large_of(old).is_some_and(|large| borrowed::contains(self.store.here(), large))
    }

    /// An old record's key.
    pub(super) fn key_of(&self, old: &Old) -> Option<Vec<u8>> {
        let (at, len) = old.header.key_range(old.location.offset());
        let mut key = Vec::new();
        let segment = self.segment(old.location.slot(), old.segment)?;
        segment.map.append_to(at, len, &mut key).then_some(key)
    }

    /// What is told of an old record that is evicted.
    #[cold]
    pub(super) fn notice_of(&self, old: &Old) -> Option<Notice> {
        let (_, inline) = old.header.value_range(old.location.offset());
        let value_bytes = self.large_of(old).map_or(inline as u64, |large| large.len);
        self.key_of(old).map(|key| Notice { key, value_bytes })
    }

    /// Finds a key's cell, or where a new one goes.
    pub(super) fn locate(&mut self, key: &[u8], hash: u64) -> Result<KeyPlace> {
        let mut place = KeyPlace::default();
        self.locate_into(&mut place, key, hash)?;
        Ok(place)
    }

    /// The same, and what is found is written where it is wanted: it is long, and copying costs as much as finding it.
    pub(super) fn locate_into(&mut self, place: &mut KeyPlace, key: &[u8], hash: u64) -> Result<()> {
        while let Some(missing) = self.try_locate(place, key, hash)? {
            self.store.map_missing_under_lock(missing)?;
            self.refresh_view();
        }
        Ok(())
    }

    /// One try; what has to be mapped first, if anything has.
    #[inline(always)]
    fn try_locate(&self, place: &mut KeyPlace, key: &[u8], hash: u64) -> Result<Option<Missing>> {
        let index = match self.view.only_index(self.store.state.load(state::GEOMETRY)) {
            Some(index) => index,
            None => match self.index_while_growing(hash)? {
                Ok(index) => index,
                Err(missing) => return Ok(Some(missing)),
            },
        };
        let table = index.table;
        let tag = table.tag(hash);
        place.table = table;
        let mut free = None;
        let mut line = [0; 8];
        let mut bucket = index::bucket_offset(table.home(hash));
        for left in (0..CHAIN_MAX).rev() {
            self.read_bucket(table, &index.map, bucket, &mut line);
            let mut found = index::matching(&line, tag);
            while found != 0 {
                let i = found.trailing_zeros() as usize;
                found &= found - 1;
                let bits = line.get(i).copied().unwrap_or(0);
                let entry = Entry::from_bits(bits);
                if entry.is_empty() {
                    continue;
                }
                match self.old_into(&mut place.old, key, entry.location()) {
                    Try::Done(false) | Try::Again => {}
                    Try::Done(true) => {
                        place.cell = Cell::Taken { offset: bucket + 8 * i, bits };
                        return Ok(None);
                    }
                    Try::Map(missing) => return Ok(Some(missing)),
                }
            }
            if free.is_none() {
                free = line[..CELLS].iter().position(|&bits| bits == 0).map(|i| bucket + 8 * i);
            }
            if line[CELLS] & LINK == 0 {
                break;
            }
            match table.next_bucket(line[CELLS]) {
                Some(next) if left > 0 => bucket = next,
                _ => break,
            }
        }
        place.cell = free.map_or(Cell::ChainFull { last: bucket }, |offset| Cell::Free { offset });
        place.old = None;
        Ok(None)
    }

    /// The index that holds a hash, whatever the geometry is.
    #[cold]
    fn index_while_growing(&self, hash: u64) -> Result<std::result::Result<&Index<O>, Missing>> {
        let table = self.store.geometry()?.table_of(hash);
        Ok(self.index(table).map(|index| &**index).ok_or(Missing::Index(table)))
    }

    /// The record at a location, if it is this key's.
    #[inline(always)]
    fn old_into(&self, old: &mut Option<Old>, key: &[u8], location: Location) -> Try<bool> {
        self.try_old_at(old, location, |segment, header| {
            let (at, len) = header.key_range(location.offset());
            len == key.len() && segment.map.equals(at, key)
        })
    }

    /// Writes down the record at a location, if it is wanted. False, and `old` is as it was, if not.
    #[inline(always)]
    pub(super) fn try_old_at(
        &self,
        old: &mut Option<Old>,
        location: Location,
        wanted: impl FnOnce(&Segment<O>, &Header) -> bool,
    ) -> Try<bool> {
        if self.is_encoded(location) {
            return Try::Done(false);
        }
        let slot = location.slot();
        let id = if slot < self.store.rows { self.state(row_word(slot, row::ID)) } else { 0 };
        let Some(segment) = self.segment(slot, id) else {
            return if id == 0 { Try::Done(false) } else { Try::Map(Missing::Segment(slot, id)) };
        };
        let end = usize::try_from(self.state(row_word(slot, row::ALLOCATED))).unwrap_or(0).min(segment.map.len());
        let Some(header) = Header::read(&segment.map, location.offset(), end) else { return Try::Done(false) };
        if !wanted(segment, &header) {
            return Try::Done(false);
        }
        match self.store.life(&self.view, &header) {
            Try::Done(life) => {
                *old = Some(Old { location, segment: id, header, life, anew: false });
                Try::Done(true)
            }
            Try::Map(missing) => Try::Map(missing),
            Try::Again => Try::Again,
        }
    }

    /// True if this commit has encoded a record for a location and not written it yet: what stands there is not it. Nobody
    /// looks for it, for a commit changes each key once.
    #[inline(always)]
    pub(super) fn is_encoded(&self, location: Location) -> bool {
        let encoded = self.staged.bytes.len();
        encoded != 0
            && location.slot() == self.tail.slot
            && location.offset() as u64 + encoded as u64 >= self.tail.offset
    }

    /// Stages the cell of a put: the key's own, a free one, or one of a bucket added to the chain.
    #[inline]
    pub(super) fn enter_cell(&mut self, place: &KeyPlace, hash: u64, location: Location) -> Result<()> {
        let entry = Entry::new(place.table.tag(hash), location).bits();
        if let Cell::Taken { offset, .. } | Cell::Free { offset } = place.cell
            && let Some(index) = self.index(place.table)
        {
            self.store.mark_put(&index.map, place.table, hash, offset, !place.is_live());
        }
        match place.cell {
            Cell::Taken { offset, bits } => self.stage_cell(place.table, offset, bits, entry),
            Cell::Free { offset } => self.stage_cell(place.table, offset, 0, entry),
            Cell::ChainFull { last } => self.extend_chain(place.table, last, entry)?,
        }
        Ok(())
    }

    /// Stages a bucket behind the last of a chain, with an entry in it.
    #[cold]
    fn extend_chain(&mut self, table: Table, last: usize, entry: u64) -> Result<()> {
        let bucket = self.overflow_bucket(table)?;
        self.stage_cell(table, index::bucket_offset(bucket), 0, entry);
        let place = Place::Index(table.generation);
        let marks = self.word(place, index::link_of(last)) & !LINK;
        self.stage(place, index::link_of(last), marks | bucket);
        Ok(())
    }
}
