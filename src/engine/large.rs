//! Large values: files of their own, written before the lock is taken and named by a record. It does not know the log.
//!
//! A value is written to a draft file whose name holds its writer's id. Under the lock the draft gets the next value id
//! as its name, and the commit that counts that id up names it: until then the next writer replaces what is there. A draft
//! whose writer is dead is swept at the next open. A value file never changes.

use std::sync::atomic::Ordering;

use crate::error::{Corruption, Error, Result};
use crate::os::{Access, OpenMode, Os, OsFile, OsMap};
use crate::storage::paths::Name;
use crate::storage::record::{LargeReference, checksum};
use crate::storage::state::{self, Retiree};

use super::commit::{Commit, Made, signed};
use super::limit::{Purpose, segment_bytes};
use super::store::Store;
use super::view::LargeValue;

/// Values from this length on get a file, if the store's segments are long enough to make smaller ones worth keeping in.
const LARGE: u64 = 256 << 10;
/// … else from this share of a segment on.
const LARGE_SHARE: u64 = 8;
const BLOCK: u64 = 4096;

/// Space that a value's file takes.
pub fn file_space(len: u64) -> u64 {
    len.checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX)
}

/// True if a file has the length and the checksum of a large value.
pub(super) fn is_whole<F: OsFile>(file: &F, large: LargeReference) -> std::io::Result<bool> {
    if file.len()? != large.len {
        return Ok(false);
    }
    let mut buffer = vec![0; large.len.min(1 << 20) as usize];
    let mut hasher = crc32fast::Hasher::new();
    let mut at = 0;
    while at < large.len {
        let part = &mut buffer[..(large.len - at).min(1 << 20) as usize];
        file.read_at(part, at)?;
        hasher.update(part);
        at += part.len() as u64;
    }
    Ok(hasher.finalize() == large.crc)
}

/// The word is advisory: what a recount missed by a hair can take it below zero.
fn as_bytes(reserved: u64) -> u64 {
    if reserved > i64::MAX as u64 { 0 } else { reserved }
}

/// A large value that is written and not yet committed. Dropping it gives its space back; after its commit, the draft's
/// name is gone and the space belongs to the value.
pub struct Draft<'s, O: Os> {
    store: &'s Store<O>,
    pub number: u64,
    pub len: u64,
    pub crc: u32,
}

impl<O: Os> Drop for Draft<'_, O> {
    fn drop(&mut self) {
        if self.store.os.is_forked() {
            return;
        }
        self.store.set_aside(file_space(self.len).wrapping_neg());
        let _ = self.store.os.remove(&self.store.paths.of(Name::ValueDraft(self.store.owner.into(), self.number)));
    }
}

impl<O: Os> Store<O> {
    /// True if a value of that length gets a file of its own.
    #[inline]
    pub fn is_large(&self, len: usize) -> bool {
        len as u64 >= (segment_bytes(self.state.load(state::SIZE_LIMIT)) / LARGE_SHARE).min(LARGE)
    }

    /// The longest value that can be stored.
    pub fn value_max(&self) -> u64 {
        let limit = self.state.load(state::SIZE_LIMIT);
        limit - limit / 8
    }

    /// Bytes set aside for large values that are being written.
    pub(super) fn reserved(&self) -> u64 {
        as_bytes(self.state.load(state::RESERVED))
    }

    /// Writes a value to a draft file.
    pub fn draft(&self, bytes: &[u8]) -> Result<Draft<'_, O>> {
        self.draft_with(bytes, || self.make_room_once(Purpose::Store))
    }

    /// The same with another way to give space back; `make_room` says whether it found any.
    pub(super) fn draft_with(&self, bytes: &[u8], make_room: impl Fn() -> Result<bool>) -> Result<Draft<'_, O>> {
        if self.read_only {
            return Err(Error::ReadOnly);
        }
        if self.os.is_forked() {
            return Err(Error::Forked);
        }
        let len = bytes.len() as u64;
        if len > self.value_max() {
            return Err(Error::ValueTooLarge { bytes: len, limit: self.value_max() });
        }
        let number = self.next_draft.fetch_add(1, Ordering::Relaxed);
        let reserved = as_bytes(self.set_aside(file_space(len)));
        let draft = Draft { store: self, number, len, crc: checksum(0, bytes) };
        let limit = self.state.load(state::SIZE_LIMIT);
        let needed = reserved.saturating_add(file_space(len));
        let mut patience = self.patience();
        while self.volume().saturating_add(needed).saturating_add(self.left_by_puts()) > limit {
            if !patience.lasts(self.volume()) || !make_room()? {
                return Err(Error::Full);
            }
        }
        let path = self.paths.of(Name::ValueDraft(self.owner.into(), number));
        let file = self.os.open(&path, OpenMode::Create).map_err(|e| Error::io("create", &path, e))?;
        file.write_at(bytes, 0).map_err(|e| Error::io("write", &path, e))?;
        Ok(draft)
    }

    /// Reads a large value whole and verifies it.
    pub fn read_large(&self, reference: LargeReference) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.append_large(reference, &mut bytes)?;
        Ok(bytes)
    }

    /// The same onto the end of `to`, which is as it was after an error.
    pub fn append_large(&self, reference: LargeReference, to: &mut Vec<u8>) -> Result<()> {
        let (file, path) = self.open_large(reference)?;
        let start = to.len();
        let appended = (|| {
            let corrupt = |what| Error::corrupt(&path, 0, what);
            let len = usize::try_from(reference.len).map_err(|_| corrupt(Corruption::Bounds))?;
            // Of many values that are read one behind the other, not each is to move those before it.
            let reserved = if to.is_empty() { to.try_reserve_exact(len) } else { to.try_reserve(len) };
            reserved.map_err(|_| corrupt(Corruption::Bounds))?;
            file.append_to(to, len, 0).map_err(|e| Error::io("read", &path, e))?;
            if checksum(0, &to[start..]) == reference.crc { Ok(()) } else { Err(corrupt(Corruption::Checksum)) }
        })();
        if appended.is_err() {
            to.truncate(start);
        }
        appended
    }

    /// Maps a large value and verifies it.
    pub fn map_large(&self, reference: LargeReference) -> Result<LargeValue<O>> {
        let (file, path) = self.open_large(reference)?;
        let len = usize::try_from(reference.len).map_err(|_| Error::corrupt(&path, 0, Corruption::Bounds))?;
        let listed = self.list(Retiree::Value(reference.file), len);
        let map = file.map(len, Access::Read).map_err(|e| Error::io("map", &path, e))?;
        match map.immutable(0, len) {
            Some(bytes) if checksum(0, bytes) == reference.crc => Ok(LargeValue::new(map, listed)),
            _ => Err(Error::corrupt(&path, 0, Corruption::Checksum)),
        }
    }

    /// The file's length is checked before anything of that length is allocated.
    pub(super) fn open_large(&self, reference: LargeReference) -> Result<(O::File, std::path::PathBuf)> {
        let path = self.paths.of(Name::Value(reference.file));
        let file = self.os.open(&path, OpenMode::Read).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::corrupt(&path, 0, Corruption::Missing),
            _ => Error::io("open", &path, e),
        })?;
        let len = file.len().map_err(|e| Error::io("measure", &path, e))?;
        // A file that is longer than all files together is sparse, and nobody's value.
        if len != reference.len || len > self.volume() {
            return Err(Error::corrupt(&path, len, Corruption::Truncated));
        }
        Ok((file, path))
    }
}

impl<O: Os> Commit<'_, O> {
    /// Gives a draft the name under which the commit refers to it.
    pub fn adopt(&mut self, number: u64, len: u64, crc: u32) -> Result<LargeReference> {
        let file = self.state(state::NEXT_VALUE);
        let from = self.store.paths.of(Name::ValueDraft(self.store.owner.into(), number));
        let to = self.store.paths.of(Name::Value(file));
        self.store.os.rename(&from, &to).map_err(|e| Error::io("rename", &from, e))?;
        self.made.push(Made::Value { id: file, draft: number });
        let space = file_space(len);
        self.stage_state(state::NEXT_VALUE, file.saturating_add(1));
        self.add_state(state::VOLUME, signed(space));
        self.add_state(state::LARGE_BYTES, signed(space));
        self.adopted = self.adopted.saturating_add(space);
        Ok(LargeReference { file, len, crc })
    }
}
