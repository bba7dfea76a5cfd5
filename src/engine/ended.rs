//! The files of large values that a mark has ended: an eviction of a tag, or a clear beside which something stays. The mark says
//! nothing of files, and they go with the records that name them, when compaction comes to these. It may not come for long where
//! nothing else is to be gained, so who finds no room at all looks for them, record by record.
//!
//! 1. A mark notes its sequence in `ENDED` if there are large values.
//! 2. Who finds no room walks the records of all segments, some under each hold of the lock. Where a cell leads to a large
//!    value that is not live, it is emptied, and the file is out of use. When the ring of retirees is full, its files go first.
//! 3. Once all were walked, and no mark has come since, there is nothing to look for until the next one.
//!
//! A record that compaction moves meanwhile lives. Words that say that there is something where there is nothing cost one walk.

use std::borrow::Borrow;

use crate::error::Result;
use crate::os::{Access, Os, OsMap};
use crate::storage::location::Location;
use crate::storage::record::{Header, Type};
use crate::storage::{segment, state};

use super::commit::Commit;
use super::lock::Locked;
use super::log::Batches;
use super::read::Life;
use super::store::Store;

/// Records walked under one hold of the lock.
const WALKED: usize = 1024;
/// Files taken out of use under one hold of the lock.
const FILES: usize = 32;

impl<O: Os> Commit<'_, O> {
    /// Step 1. For a mark of this commit.
    pub(super) fn stage_ended(&mut self) {
        if self.state(state::LARGE_BYTES) != 0 && !seeded!("files_wait_for_their_records") {
            let sequence = self.sequence;
            self.stage_state(state::ENDED, sequence);
        }
    }

    /// Step 2 from an offset on. Where it came to, and how many files are out of use now.
    fn end_values(&mut self, slot: usize, id: u64, from: usize) -> Result<(usize, usize)> {
        let segment = self.store.map_segment(slot, id, Access::Read)?;
        self.refresh_view();
        let end = usize::try_from(self.store.committed_end(slot)).unwrap_or(0).min(segment.map.len());
        let (mut at, mut files) = (from, 0);
        for _ in 0..WALKED {
            // What the ring of retirees does not name, nobody finds after a death.
            if at >= end || files == FILES || !self.can_retire() {
                break;
            }
            let Some(header) = Header::read(&segment.map, at, end) else {
                let mut batches = Batches::of(&segment.map, id, segment.nonce, end);
                batches.offset = at;
                at = if batches.skip_damage() { batches.offset } else { end };
                continue;
            };
            if header.kind_of_record == Type::Put && header.is_large() {
                files += usize::from(self.end_value(&segment.map, Location::new(slot, at as u64), &header)?);
            }
            at += header.size();
        }
        Ok((at, files))
    }

    /// True if the value of a record was not live, and its file is out of use now.
    fn end_value(&mut self, map: &O::Map, location: Location, header: &Header) -> Result<bool> {
        let (at, len) = header.key_range(location.offset());
        let mut key = Vec::new();
        if !map.append_to(at, len, &mut key) {
            return Ok(false);
        }
        let hash = self.store.hash(&key);
        let Some((old, cell)) = self.locate(&key, hash)?.led_to(location) else { return Ok(false) };
        let is_over = old.life == Life::Gone;
        if is_over {
            self.empty_cell(&old, &cell);
        }
        Ok(is_over)
    }
}

impl<O: Os> Store<O> {
    /// Takes the files of all values that marks have ended out of use: how many. `lock` gives the lock, or what stands for it.
    #[cold]
    pub(super) fn end_marked<'s, L: Borrow<Locked<'s, O>>>(&'s self, lock: impl Fn() -> Result<L>) -> Result<usize> {
        let newest = self.state.load(state::ENDED);
        if newest == 0 {
            return Ok(0);
        }
        let mut files = 0;
        for slot in 0..self.rows {
            let id = self.segment_in(slot);
            if id == 0 {
                continue;
            }
            let mut at = segment::HEAD;
            loop {
                let hold = lock()?;
                let mut commit = Commit::new(hold.borrow())?;
                if self.segment_in(slot) != id || at as u64 >= self.committed_end(slot) {
                    break;
                }
                let (next, found) = commit.end_values(slot, id, at)?;
                commit.publish()?;
                let is_stuck = next == at;
                (at, files) = (next, files + found);
                drop(commit);
                drop(hold);
                if is_stuck {
                    // The ring is full.
                    let waiting = self.waiting().0;
                    self.unlink_retired_by(&lock)?;
                    if self.waiting().0 >= waiting {
                        return Ok(files);
                    }
                }
            }
        }
        let hold = lock()?;
        let mut commit = Commit::new(hold.borrow())?;
        if commit.state(state::ENDED) == newest {
            commit.stage_state(state::ENDED, 0);
            commit.publish()?;
        }
        Ok(files)
    }
}
