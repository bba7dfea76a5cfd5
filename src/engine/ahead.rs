//! A segment that is made before it is needed: the thread makes and zeroes the file, outside the lock, and the writer whose
//! segment is full gives it its name. It does not know when one is wanted (`upkeep`).
//!
//! Until then it is a draft like those of large values: `draft-<owner>-<n>`, its space set aside in `RESERVED` and in the
//! owner's presence, so that it is swept and counted out when the owner dies. Whoever needs the space more gives it up.

use std::sync::PoisonError;

use crate::error::{Error, Result};

use crate::os::{Access, OpenMode, Os, OsFile, OsMap};
use crate::storage::paths::Name;
use crate::storage::state::{self, Retiree};

use super::limit::segment_bytes;
use super::listed::Listed;
use super::room::zero;
use super::store::Store;
use super::view::{Ahead, Segment};

impl<O: Os> Store<O> {
    /// Bytes of a segment that is made ahead and not needed yet. 0 if there is none.
    #[inline]
    pub(super) fn made_ahead(&self) -> u64 {
        self.duty.ahead.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn set_ahead(&self, ahead: Option<Ahead<O>>) -> Option<Ahead<O>> {
        let bytes = ahead.as_ref().map_or(0, |ahead| ahead.bytes);
        let mut place = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        self.duty.ahead.store(bytes, std::sync::atomic::Ordering::Relaxed);
        std::mem::replace(&mut *place, ahead)
    }

    /// Makes one, if there is none and room for it beside what is kept free. True if it did. For the thread, not under the
    /// lock.
    pub(super) fn make_ahead(&self) -> Result<bool> {
        let bytes = segment_bytes(self.state.load(state::SIZE_LIMIT));
        // Where nothing is evicted, space that is set aside is space that somebody is refused.
        if self.made_ahead() == bytes || self.loses_nothing() {
            return Ok(false);
        }
        self.give_up_ahead();
        // Set aside first: of several who do that at once, none takes what another one counts on.
        self.set_aside(bytes);
        if self.is_full_for_puts() {
            self.set_aside(bytes.wrapping_neg());
            return Ok(false);
        }
        let number = self.next_draft.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = self.paths.of(Name::ValueDraft(self.owner.into(), number));
        let make = || {
            let file = self.os.open(&path, OpenMode::Create)?;
            file.extend(bytes)?;
            let map = file.map(bytes as usize, Access::Write)?;
            let segment = Segment::new(0, 0, map, Some(file), Listed::nowhere());
            zero(&segment, 0, bytes)?;
            Ok(Ahead { number, bytes, segment })
        };
        match make() {
            Ok(ahead) => {
                self.set_ahead(Some(ahead));
                Ok(true)
            }
            Err(error) => {
                let _ = self.os.remove(&path);
                self.set_aside(bytes.wrapping_neg());
                Err(Error::io("create", &path, error))
            }
        }
    }

    /// Takes the one that is there, if it has that length. It stays set aside: whoever takes it gives that back once it counts.
    pub(super) fn take_ahead(&self, bytes: u64) -> Option<Ahead<O>> {
        if self.made_ahead() != bytes {
            return None;
        }
        self.set_ahead(None)
    }

    /// Removes the one that is there, as its space is needed. False if there is none.
    pub(super) fn give_up_ahead(&self) -> bool {
        if self.made_ahead() == 0 {
            return false;
        }
        let Some(ahead) = self.set_ahead(None) else { return false };
        self.drop_ahead(&ahead);
        self.set_aside(ahead.bytes.wrapping_neg());
        true
    }

    /// Removes one that was taken and is not going to be used. It stays set aside.
    pub(super) fn drop_ahead(&self, ahead: &Ahead<O>) {
        let _ = self.os.remove(&self.paths.of(Name::ValueDraft(self.owner.into(), ahead.number)));
    }

    /// Makes a segment of one that was taken: writes its head, and gives it its name. If that fails it is gone.
    pub(super) fn name_ahead(&self, ahead: Ahead<O>, id: u64, nonce: u64, head: &[u8]) -> std::io::Result<Segment<O>> {
        let draft = self.paths.of(Name::ValueDraft(self.owner.into(), ahead.number));
        ahead.segment.map.write(0, head);
        let listed = self.list(Retiree::Segment(id), ahead.segment.map.len());
        let named = self.os.rename(&draft, &self.paths.of(Name::Segment(id)));
        if named.is_err() {
            let _ = self.os.remove(&draft);
        }
        named.map(|()| Segment::new(id, nonce, ahead.segment.map, ahead.segment.file, listed))
    }
}
