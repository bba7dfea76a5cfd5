//! The cell of a key as a commit sees it: finding it, and staging what it leads to. It does not know what is written
//! to the log.

use std::sync::Arc;

use crate::error::{Corruption, Error, Result};
use crate::os::{Os, OsMap};
use crate::storage::index::{self, Table};
use crate::storage::location::{Entry, Location};
use crate::storage::paths::{Name, Paths};
use crate::storage::record::{Header, LargeReference, salt};
use crate::storage::redo::Place;
use crate::storage::state::{row, row_word};

use super::commit::Commit;
use super::read::{Life, Missing, Try};
use super::view::Segment;

/// The live record of a key, seen under the lock.
pub struct Present<O: Os> {
    segment: Arc<Segment<O>>,
    offset: usize,
    pub header: Header,
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

impl Old {
    /// The place of the key in the order of insertion.
    pub(super) fn order(&self) -> u64 {
        self.header.order(self.segment, self.location.offset())
    }
}

impl<O: Os> Present<O> {
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
    pub(super) fn open_old(&self, old: &Old) -> Option<Present<O>> {
        let segment = Arc::clone(self.segment(old.location.slot(), old.segment)?);
        Some(Present { segment, offset: old.location.offset(), header: old.header })
    }

    /// The file of an old record's large value.
    #[inline]
    pub(super) fn large_of(&self, old: &Old) -> Option<LargeReference> {
        if old.header.is_large() { self.open_old(old)?.large() } else { None }
    }

    /// An old record's key.
    pub(super) fn key_of(&self, old: &Old) -> Option<Vec<u8>> {
        let (at, len) = old.header.key_range(old.location.offset());
        let mut key = Vec::new();
        let segment = self.segment(old.location.slot(), old.segment)?;
        segment.map.append_to(at, len, &mut key).then_some(key)
    }

    /// Finds a key's cell, or where a new one goes.
    pub(super) fn locate(&mut self, key: &[u8], hash: u64) -> Result<KeyPlace> {
        loop {
            let missing = match self.try_locate(key, hash)? {
                Ok(place) => return Ok(place),
                Err(missing) => missing,
            };
            self.store.map_missing_under_lock(missing)?;
            self.refresh_view();
        }
    }

    fn try_locate(&self, key: &[u8], hash: u64) -> Result<Result<KeyPlace, Missing>> {
        let table = self.store.geometry()?.table_of(hash);
        let Some(index) = self.index(table) else { return Ok(Err(Missing::Index(table))) };
        let tag = table.tag(hash);
        let mut free = None;
        let mut last = 0;
        let load = |offset| self.word(Place::Index(table.generation), offset);
        for bucket in index::chain(table, table.home(hash), load) {
            last = bucket;
            for cell in (bucket..index::link_of(bucket)).step_by(8) {
                let bits = self.cell(table, &index.map, cell);
                let entry = Entry::from_bits(bits);
                if entry.is_empty() {
                    free = free.or(Some(cell));
                    continue;
                }
                if entry.tag() != tag {
                    continue;
                }
                match self.old(key, entry.location()) {
                    Try::Done(None) => {}
                    Try::Done(found) => {
                        let cell = Cell::Taken { offset: cell, bits };
                        return Ok(Ok(KeyPlace { table, cell, old: found }));
                    }
                    Try::Map(missing) => return Ok(Err(missing)),
                    Try::Again => {}
                }
            }
        }
        let cell = free.map_or(Cell::ChainFull { last }, |offset| Cell::Free { offset });
        Ok(Ok(KeyPlace { table, cell, old: None }))
    }

    /// The record at a location, if it is this key's.
    #[inline]
    fn old(&self, key: &[u8], location: Location) -> Try<Option<Old>> {
        self.try_old_at(location, |segment, header| {
            let (at, len) = header.key_range(location.offset());
            len == key.len() && segment.map.equals(at, key)
        })
    }

    /// The record at a location, if it is wanted.
    #[inline]
    pub(super) fn try_old_at(
        &self,
        location: Location,
        wanted: impl FnOnce(&Segment<O>, &Header) -> bool,
    ) -> Try<Option<Old>> {
        let slot = location.slot();
        let id = if slot < self.store.rows { self.state(row_word(slot, row::ID)) } else { 0 };
        let Some(segment) = self.segment(slot, id) else {
            return if id == 0 { Try::Done(None) } else { Try::Map(Missing::Segment(slot, id)) };
        };
        let end = usize::try_from(self.state(row_word(slot, row::ALLOCATED))).unwrap_or(0).min(segment.map.len());
        let Some(header) = Header::read(&segment.map, location.offset(), end) else { return Try::Done(None) };
        if !wanted(segment, &header) {
            return Try::Done(None);
        }
        match self.store.life(&self.view, &header) {
            Try::Done(life) => Try::Done(Some(Old { location, segment: id, header, life, anew: false })),
            Try::Map(missing) => Try::Map(missing),
            Try::Again => Try::Again,
        }
    }

    /// The cell that leads to the record at a location, if one does.
    pub(super) fn cell_of(&mut self, location: Location) -> Result<Option<(Old, CellPlace)>> {
        let Some(old) = self.old_at(location)? else { return Ok(None) };
        let Some(key) = self.key_of(&old) else { return Ok(None) };
        let place = self.locate(&key, self.store.hash(&key))?;
        Ok(match (place.old, place.cell) {
            (Some(found), Cell::Taken { offset, bits }) if found.location == location => {
                Some((found, CellPlace { table: place.table, offset, bits }))
            }
            _ => None,
        })
    }

    /// Stages the cell of a put: the key's own, a free one, or one of a bucket added to the chain.
    pub(super) fn enter_cell(&mut self, place: &KeyPlace, hash: u64, location: Location) -> Result<()> {
        let entry = Entry::new(place.table.tag(hash), location).bits();
        match place.cell {
            Cell::Taken { offset, bits } => self.stage_cell(place.table, offset, bits, entry),
            Cell::Free { offset } => self.stage_cell(place.table, offset, 0, entry),
            Cell::ChainFull { last } => {
                let bucket = self.overflow_bucket(place.table)?;
                let offset = index::bucket_offset(bucket);
                self.stage_cell(place.table, offset, 0, entry);
                self.stage(Place::Index(place.table.generation), index::link_of(last), bucket);
            }
        }
        Ok(())
    }
}
