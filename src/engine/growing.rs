//! Values that are written piece by piece: a draft that grows, and becomes the value by the commit that names it. It does not
//! know what the pieces are.
//!
//! Space is set aside before it is taken, some of it ahead, and room is made for it as for any value. A draft that is
//! dropped goes, and one whose writer died is swept as every draft is.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::{Corruption, Error, Result};
use crate::os::{OpenMode, Os, OsFile, OsMap};
use crate::storage::paths::Name;
use crate::storage::record::LargeReference;
use crate::storage::state::{self, Retiree};

use super::change::Value;
use super::large::{file_space, is_whole};
use super::limit::Purpose;
use super::listed::Listed;
use super::living::Living;
use super::store::Store;

/// Space that is set aside at a time.
const AHEAD: u64 = 1 << 20;

/// A draft that grows.
pub struct Growing<O: Os> {
    store: Arc<Store<O>>,
    file: O::File,
    number: u64,
    len: u64,
    /// Bytes that are set aside for it.
    reserved: u64,
    crc: crc32fast::Hasher,
}

impl<O: Os> Drop for Growing<O> {
    fn drop(&mut self) {
        let store = &self.store;
        if store.os.is_forked() {
            return;
        }
        store.set_aside(self.reserved.wrapping_neg());
        // After its commit it has another name.
        let _ = store.os.remove(&store.paths.of(Name::ValueDraft(store.owner.into(), self.number)));
    }
}

impl<O: Os> Growing<O> {
    /// A draft with nothing in it.
    pub fn begin(living: &Living<O>) -> Result<Growing<O>> {
        let store = Arc::clone(living.store());
        if store.read_only {
            return Err(Error::ReadOnly);
        }
        let number = store.next_draft.fetch_add(1, Ordering::Relaxed);
        let path = store.paths.of(Name::ValueDraft(store.owner.into(), number));
        let file = store.os.open(&path, OpenMode::Create).map_err(|e| Error::io("create", &path, e))?;
        let crc = crc32fast::Hasher::new();
        Ok(Growing { store, file, number, len: 0, reserved: 0, crc })
    }

    /// Adds bytes to the end.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let store = &self.store;
        if store.os.is_forked() {
            return Err(Error::Forked);
        }
        let (len, most) = (self.len.saturating_add(bytes.len() as u64), store.value_max());
        if len > most {
            return Err(Error::ValueTooLarge { bytes: len, limit: most });
        }
        let space = file_space(len);
        if space > self.reserved {
            let more = (space - self.reserved).max(AHEAD.min(file_space(most) - self.reserved));
            // Set aside by this value from here on, whether there is room or not.
            self.reserved += more;
            store.set_aside(more);
            store.room_for_reserved()?;
        }
        let path = store.paths.of(Name::ValueDraft(store.owner.into(), self.number));
        self.file.write_at(bytes, self.len).map_err(|e| Error::io("write", &path, e))?;
        self.crc.update(bytes);
        self.len = len;
        Ok(())
    }

    /// The value, to be put. Space that was set aside ahead is given back.
    pub fn value(&mut self) -> Value<'static> {
        let space = file_space(self.len);
        self.store.set_aside((self.reserved - space).wrapping_neg());
        self.reserved = space;
        Value::Draft { number: self.number, len: self.len, crc: self.crc.clone().finalize() }
    }
}

/// The file of a large value, open for reading. What is read stays what it is, whatever becomes of the item.
pub struct OpenValue<O: Os> {
    file: O::File,
    path: std::path::PathBuf,
    pub len: u64,
    _listed: Listed<O>,
}

impl<O: Os> OpenValue<O> {
    /// Fills `bytes` from an offset on.
    pub fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<()> {
        self.file.read_at(bytes, offset).map_err(|e| Error::io("read", &self.path, e))
    }

    /// What is said of it if it is damaged there.
    pub fn damaged(&self, offset: u64) -> Error {
        Error::corrupt(&self.path, offset, Corruption::Checksum)
    }
}

impl<O: Os> Store<O> {
    /// Makes room for all that is set aside.
    fn room_for_reserved(&self) -> Result<()> {
        let mut patience = self.patience();
        loop {
            let limit = self.state.load(state::SIZE_LIMIT);
            let needed = self.reserved().saturating_add(self.left_by_puts());
            if self.volume().saturating_add(needed) <= limit {
                return Ok(());
            }
            if !patience.lasts(self.volume()) || !self.make_room_once(Purpose::Store)? {
                return Err(Error::Full);
            }
        }
    }

    /// Opens the file of a large value, without a look at its bytes.
    pub fn open_value(&self, reference: LargeReference) -> Result<OpenValue<O>> {
        let (file, path) = self.open_large(reference)?;
        let listed = self.list(Retiree::Value(reference.file), usize::try_from(reference.len).unwrap_or(usize::MAX));
        Ok(OpenValue { file, path, len: reference.len, _listed: listed })
    }

    /// True if the bytes of a large value have its checksum. Reads all of it, through a buffer.
    pub fn is_large_whole(&self, reference: LargeReference) -> Result<bool> {
        let (file, path) = self.open_large(reference)?;
        is_whole(&file, reference).map_err(|e| Error::io("read", &path, e))
    }
}
