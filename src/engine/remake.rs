//! Files whose bytes the disk may not have, although it was asked: their contents are still in memory. For the leader of
//! `durable`.
//!
//! If the disk has failed, they go into new files, whose pages have never failed:
//!
//! 1. Under `LOCK`: seal the segments that the tails are in, so that nobody appends to what is being copied, and note which
//!    segments there are from `SYNCED_SEGMENT` and `SYNCED_MAIN` on; from `CARRIED_UPTO` on, if only those were asked for.
//! 2. Without it: copy each to a draft, make the draft durable, and verify what was copied, batch by batch to the end: the
//!    kernel may have dropped pages that it could not write, and read older ones since. A large value is verified by the
//!    checksum in its record.
//! 3. Under `LOCK`: what is still in use gets the draft in its place. Names of files that were retired meanwhile are not
//!    brought back.
//!
//! The leader then makes the names durable. Maps of the old files stay valid, and hold the same bytes. A copy has the
//! same nonce and offsets, so its checksums match where they stand. For a while the copies take space that no limit
//! counts. What cannot be verified is an error, and stays suspect until a `clear`.
//!
//! If a leader has died, it may have been told of a failure and nobody knows; most likely it was told nothing. Then the
//! bytes are written once more to where they are, which makes their pages wait for the disk again, and verified. That
//! takes no space: a process may be killed while the store is at its limit, and what goes next waits for this. Whoever
//! reads meanwhile sees the same bytes throughout.

use std::sync::atomic::Ordering;

use crate::error::{Corruption, Error, Result};
use crate::os::{Access, OpenMode, Os, OsFile, OsMap};
use crate::storage::location::Tail;
use crate::storage::paths::Name;
use crate::storage::record::{LargeReference, Type, checksum};
use crate::storage::segment::{self, Head, MAIN, is_main};
use crate::storage::state::{
    self, RETIREES, RETIREES_MAX, Retiree, SYNCED_MAIN, SYNCED_SEGMENT, SYNCED_VALUES, row, row_word,
};

use super::commit::Commit;
use super::durable::{LOG, MAIN_END, MAIN_LOG, Purpose, VALUES};
use super::lock::Locked;
use super::log::Batches;
use super::store::Store;

/// Bytes copied at a time.
const PIECE: u64 = 1 << 20;

/// A segment as step 1 found it.
struct Sealed {
    slot: usize,
    id: u64,
    end: u64,
}

/// A durable copy that waits for its name.
struct Copy<'s, O: Os> {
    store: &'s Store<O>,
    of: Name,
    draft: Name,
}

/// A file that was written once more, and the copy that it is, if it is one.
type Again<'s, O> = (Option<Copy<'s, O>>, <O as Os>::File);

/// Reads the first bytes of a file and writes them to a file, piece by piece.
fn write_through<F: OsFile>(from: &F, to: &F, len: u64) -> std::io::Result<()> {
    let mut buffer = vec![0; len.min(PIECE) as usize];
    let mut at = 0;
    while at < len {
        let part = &mut buffer[..(len - at).min(PIECE) as usize];
        from.read_at(part, at)?;
        to.write_at(part, at)?;
        at += part.len() as u64;
    }
    Ok(())
}

impl<O: Os> Drop for Copy<'_, O> {
    fn drop(&mut self) {
        // Gone already if it got its name; else swept at the latest when its owner is dead.
        let _ = self.store.os.remove(&self.store.paths.of(self.draft));
    }
}

impl<O: Os> Locked<'_, O> {
    /// Ends the segments that the tails are in: what comes next goes into others.
    pub(super) fn seal(&self) -> Result<()> {
        let mut commit = Commit::new(self)?;
        let main = Tail::from_bits(commit.state(state::MAIN_TAIL));
        let mut changes = false;
        for (tail, stream) in [(commit.tail, 0), (main, MAIN)] {
            let capacity = row_word(tail.slot, row::CAPACITY);
            let id = self.store.segment_in(tail.slot);
            if id != 0 && id & MAIN == stream && commit.state(capacity) != tail.offset {
                commit.stage_state(capacity, tail.offset);
                changes = true;
            }
        }
        if changes { commit.publish() } else { Ok(()) }
    }
}

impl<O: Os> Locked<'_, O> {
    /// What a `clear` does first: if something is suspect, its own record goes into another segment, so that all that is
    /// suspect goes with what it clears.
    pub(super) fn leave_suspects(&self) -> Result<()> {
        if self.store.state.load(state::SYNC_FAILED) != 0 { self.seal() } else { Ok(()) }
    }
}

impl<O: Os> Store<O> {
    /// Puts right what somebody was told could not be written, as `sync` does: for who needs the room of what may go only when
    /// that is durable. Else a store whose users never call `sync` could give no space back any more.
    #[cold]
    pub(super) fn put_right(&self) -> Result<()> {
        self.make_durable(self.state.load(state::VISIBLE), Purpose::Sync)
    }

    /// Makes the files of these stages anew if the disk `has_failed`; else writes them once more.
    pub(super) fn remake(&self, stages: u64, has_failed: bool) -> Result<()> {
        if stages & (LOG | MAIN_LOG | MAIN_END | VALUES) == 0 {
            return Ok(());
        }
        let sealed = self.seal_suspects()?;
        let mut copies = Vec::new();
        let main_end = self.state.load(state::CARRIED_UPTO).max(self.state.load(SYNCED_MAIN)) | MAIN;
        let stages_of = |one: &Sealed| match one.id {
            id if !is_main(id) => LOG,
            id if id < main_end => MAIN_LOG,
            _ => MAIN_LOG | MAIN_END,
        };
        for one in sealed.iter().filter(|one| stages & stages_of(one) != 0) {
            copies.extend(self.remake_segment(one, has_failed)?);
        }
        if stages & VALUES != 0 {
            let id = self.state.load(SYNCED_VALUES);
            if let Some(large) = self.reference_to(id, &sealed)? {
                copies.extend(self.remake_value(large, has_failed)?);
            }
        }
        if copies.is_empty() {
            return Ok(());
        }
        let _locked = self.lock()?;
        for copy in copies {
            if self.is_in_use(copy.of) {
                let (from, to) = (self.paths.of(copy.draft), self.paths.of(copy.of));
                self.os.rename(&from, &to).map_err(|e| Error::not_written(&to, e))?;
            }
        }
        Ok(())
    }

    /// Step 1.
    fn seal_suspects(&self) -> Result<Vec<Sealed>> {
        let locked = self.lock()?;
        locked.seal()?;
        let first = [self.state.load(SYNCED_SEGMENT), self.state.load(SYNCED_MAIN) | MAIN];
        let all = (0..self.rows).map(|slot| Sealed { slot, id: self.segment_in(slot), end: self.committed_end(slot) });
        let mut found: Vec<Sealed> =
            all.filter(|one| one.id != 0 && one.id >= first[usize::from(is_main(one.id))]).collect();
        found.sort_unstable_by_key(|one| one.id);
        Ok(found)
    }

    /// True if a file of the log or a value may still be needed. Under `LOCK`.
    fn is_in_use(&self, name: Name) -> bool {
        let retired = |file: Retiree| (0..RETIREES_MAX).any(|i| self.state.load(RETIREES + i * 16) == file.bits());
        let is_there = self.os.open(&self.paths.of(name), OpenMode::Read).is_ok();
        is_there
            && match name {
                Name::Segment(id) => (0..self.rows).any(|slot| self.segment_in(slot) == id),
                Name::Value(id) => id >= self.state.load(state::VALUE_FLOOR) && !retired(Retiree::Value(id)),
                _ => false,
            }
    }

    /// Step 2 for a segment; `None` if it needs no other file, or is gone.
    fn remake_segment(&self, sealed: &Sealed, has_failed: bool) -> Result<Option<Copy<'_, O>>> {
        let name = Name::Segment(sealed.id);
        let path = self.paths.of(name);
        let Some((copy, file)) = self.written_again(name, sealed.end, has_failed)? else { return Ok(None) };
        let mut bytes = [0; segment::HEAD];
        file.read_at(&mut bytes, 0).map_err(|e| Error::not_written(&path, e))?;
        let head = Head::decode(&bytes, self.store_id, sealed.id).map_err(|what| Error::corrupt(&path, 0, what))?;
        let end = usize::try_from(sealed.end).unwrap_or(0);
        let map = file.map(end, Access::Read).map_err(|e| Error::not_written(&path, e))?;
        let mut batches = Batches::of(&map, head.id, head.nonce, end);
        while batches.next_batch().is_some() {}
        if batches.offset != end {
            return Err(Error::corrupt(&path, batches.offset as u64, Corruption::Checksum));
        }
        let extend = || if copy.is_some() { file.extend(head.capacity.into()) } else { Ok(()) };
        extend().and_then(|()| file.sync()).map_err(|e| Error::not_written(&path, e))?;
        Ok(copy)
    }

    /// Step 2 for a large value; `None` if it needs no other file, or is gone.
    fn remake_value(&self, large: LargeReference, has_failed: bool) -> Result<Option<Copy<'_, O>>> {
        let name = Name::Value(large.file);
        let path = self.paths.of(name);
        let Some((copy, file)) = self.written_again(name, large.len, has_failed)? else { return Ok(None) };
        let map = file.map(usize::try_from(large.len).unwrap_or(0), Access::Read);
        let map = map.map_err(|e| Error::not_written(&path, e))?;
        if map.immutable(0, map.len()).is_none_or(|bytes| checksum(0, bytes) != large.crc) {
            return Err(Error::corrupt(&path, 0, Corruption::Checksum));
        }
        file.sync().map_err(|e| Error::not_written(&path, e))?;
        Ok(copy)
    }

    /// The first bytes of a file, written once more: to another file, or to where they are. `None` if the file is gone:
    /// it was retired, and nothing in it counts any more.
    fn written_again(&self, of: Name, len: u64, anew: bool) -> Result<Option<Again<'_, O>>> {
        let path = self.paths.of(of);
        let mode = if anew { OpenMode::Read } else { OpenMode::Write };
        let old = match self.os.open(&path, mode) {
            Ok(old) => old,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::not_written(&path, e)),
        };
        if anew {
            let (copy, new) = self.copy_of(of, &old, len)?;
            return Ok(Some((Some(copy), new)));
        }
        write_through(&old, &old, len).map_err(|e| Error::not_written(&path, e))?;
        Ok(Some((None, old)))
    }

    fn copy_of(&self, of: Name, old: &O::File, len: u64) -> Result<(Copy<'_, O>, O::File)> {
        let number = self.next_draft.fetch_add(1, Ordering::Relaxed);
        let draft = Name::ValueDraft(self.owner.into(), number);
        let path = self.paths.of(draft);
        let copy = Copy { store: self, of, draft };
        let fill = || {
            let new = self.os.open(&path, OpenMode::Create)?;
            write_through(old, &new, len)?;
            Ok(new)
        };
        let new = fill().map_err(|e| Error::not_written(&path, e))?;
        Ok((copy, new))
    }

    /// What the log says of a large value that was put since the last time that everything was durable.
    fn reference_to(&self, id: u64, sealed: &[Sealed]) -> Result<Option<LargeReference>> {
        for one in sealed {
            let segment = self.map_segment(one.slot, one.id, Access::Read)?;
            let mut batches =
                Batches::of(&segment.map, segment.id, segment.nonce, usize::try_from(one.end).unwrap_or(0));
            while let Some(members) = batches.next_batch() {
                for member in members.iter().filter(|m| m.header.kind_of_record == Type::Put && m.header.is_large()) {
                    let (at, len) = member.header.value_range(member.offset);
                    let mut bytes = Vec::new();
                    let read = segment.map.append_to(at, len, &mut bytes);
                    let large = LargeReference::decode(&bytes);
                    if read && large.file == id {
                        return Ok(Some(large));
                    }
                }
            }
        }
        Ok(None)
    }
}
