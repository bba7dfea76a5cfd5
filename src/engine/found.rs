//! A record as callers see it, wherever it is: in the log, in the log and seen under the lock, or staged by a transaction
//! and nowhere else yet. It does not know how it was found.

use crate::error::Error;
use crate::os::{Os, Pinned};
use crate::storage::record::{Header, LargeReference};

use super::cells::Present;
use super::read::Record;
use super::view::Segment;

/// A live record.
pub enum Found<'v, O: Os> {
    /// In the log, read without a lock.
    Log(&'v Record<'v, O>),
    /// In the log, seen under the lock.
    Present(&'v Present<'v, O>),
    /// In the memory of a transaction.
    Staged { header: &'v Header, key: &'v [u8], value: &'v [u8] },
}

impl<'v, O: Os> Found<'v, O> {
    #[inline(always)]
    pub fn header(&self) -> &'v Header {
        match self {
            Found::Log(record) => &record.header,
            Found::Present(present) => present.header,
            Found::Staged { header, .. } => header,
        }
    }

    /// Copies the value's bytes, as they are stored, onto the end of `to`. False, and `to` as before, if the record does
    /// not have its checksum.
    #[inline(always)]
    pub fn append_value(&self, to: &mut Vec<u8>) -> bool {
        match self {
            Found::Log(record) => record.append_value(to),
            Found::Present(present) => present.append_value(to),
            Found::Staged { value, .. } => {
                to.extend_from_slice(value);
                true
            }
        }
    }

    /// The value's bytes; `None` if the record does not have its checksum.
    pub fn value(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        self.append_value(&mut bytes).then_some(bytes)
    }

    /// The file of a large value.
    pub fn large(&self) -> Option<LargeReference> {
        if !self.header().is_large() {
            return None;
        }
        let bytes = self.value()?;
        (bytes.len() == crate::storage::record::LARGE_REFERENCE).then(|| LargeReference::decode(&bytes))
    }

    /// Copies the key's bytes onto the end of `to`.
    pub fn append_key(&self, to: &mut Vec<u8>) -> bool {
        match self {
            Found::Log(record) => record.append_key(to),
            Found::Present(present) => present.append_key(to),
            Found::Staged { key, .. } => {
                to.extend_from_slice(key);
                true
            }
        }
    }

    /// The place of the key in the order of insertion.
    pub fn order(&self) -> u64 {
        match self {
            Found::Log(record) => record.order(),
            Found::Present(present) => present.order(),
            Found::Staged { header, .. } => header.order(u64::MAX, 0),
        }
    }

    /// Borrows the value's bytes from the log. `None` for what is not there, or does not have its checksum.
    pub fn pin(&self) -> Option<Pinned<Segment<O>>> {
        match self {
            Found::Log(record) => record.pin(),
            Found::Present(_) | Found::Staged { .. } => None,
        }
    }

    /// True if the record is in the memory of a transaction alone.
    pub fn is_staged(&self) -> bool {
        matches!(self, Found::Staged { .. })
    }

    /// What a record is whose value cannot be had.
    #[cold]
    pub fn damaged(&self, directory: &std::path::Path) -> Error {
        match self {
            Found::Log(record) => record.damaged(directory),
            Found::Present(present) => present.damaged(directory),
            Found::Staged { .. } => Error::corrupt(directory, 0, crate::error::Corruption::Encoding),
        }
    }
}
