//! Removing what has expired. It knows no policy: compaction removes what has expired by itself.
//!
//! A segment is looked at if its row says that something in it is due. Steps, each under a hold of the lock of its own:
//!
//! 1. What was appended since the last time is walked, and what expires is listed (`due`).
//! 2. When the list is whole, the items that are due lose their cells, some at a time. The log needs no record of it: an
//!    item's own record says when it ended.
//! 3. When nothing more is due, the row says when something is again.

use std::borrow::Borrow;
use std::mem::take;
use std::sync::PoisonError;

use crate::error::Result;
use crate::os::{Access, Os, OsMap};
use crate::storage::location::Location;
use crate::storage::record::{Header, Type};
use crate::storage::state::{self, row, row_word};

use super::commit::Commit;
use super::due::{Calendar, DueList};
use super::lock::Locked;
use super::read::Life;
use super::store::Store;

/// Records walked under one hold of the lock.
const WALKED: usize = 1024;
/// Items removed under one hold of the lock.
const REMOVED: usize = 64;

/// Whether an item is to stay, by its key, the key's hash, and its record.
type Stays<'a> = dyn Fn(&[u8], u64, &Header) -> bool + 'a;

impl<O: Os> Store<O> {
    /// Removes items that have expired. The number removed.
    pub fn expire(&self) -> Result<u64> {
        self.before_change()?;
        let removed = self.expire_by(|| self.lock(), &|_, _, _| false)?;
        self.epilogue_at_once();
        self.after_change(self.visible())?;
        Ok(removed)
    }

    /// The same for a thread that holds the lock: `lock` gives what stands for it. Items that are to stay, by key, hash and
    /// record, are left to another time.
    pub(super) fn expire_by<'s, L: Borrow<Locked<'s, O>>>(
        &'s self,
        lock: impl Fn() -> Result<L>,
        stays: &Stays<'_>,
    ) -> Result<u64> {
        let now = self.time();
        // Taken, so that nobody waits here with the lock: who comes meanwhile makes lists of its own. After an error there
        // are none.
        let mut calendar = take(&mut *self.calendar.lock().unwrap_or_else(PoisonError::into_inner));
        calendar.forget(|slot, id| self.segment_in(slot) != id);
        let mut removed = 0;
        for slot in 0..self.rows {
            let earliest = self.state.load(row_word(slot, row::EXPIRES_MIN));
            if self.segment_in(slot) != 0 && earliest != 0 && earliest <= now {
                removed += self.expire_segment(slot, now, &mut calendar, (&lock, stays))?;
            }
        }
        *self.calendar.lock().unwrap_or_else(PoisonError::into_inner) = calendar;
        Ok(removed)
    }

    fn expire_segment<'s, L: Borrow<Locked<'s, O>>>(
        &'s self,
        slot: usize,
        now: u64,
        calendar: &mut Calendar,
        (lock, stays): (&impl Fn() -> Result<L>, &Stays<'_>),
    ) -> Result<u64> {
        let id = self.segment_in(slot);
        let (mut removed, mut left) = (0, 0);
        let mut due = Vec::with_capacity(REMOVED);
        loop {
            let hold = lock()?;
            let locked: &Locked<'s, O> = hold.borrow();
            if self.segment_in(slot) != id {
                return Ok(removed);
            }
            let end = self.committed_end(slot);
            let list = calendar.list(slot, id, end);
            let mut commit = Commit::new(locked)?;
            let is_whole = commit.walk(slot, id, end, list)?;
            let is_done = is_whole && !list.take_due(now, REMOVED, &mut due);
            if is_whole {
                let (counted, staying) = commit.remove_due((slot, id), &due, stays)?;
                removed += counted;
                left += staying;
            }
            if is_done && left == 0 {
                commit.stage_state(row_word(slot, row::EXPIRES_MIN), list.earliest());
            }
            self.state.fetch_max(state::CLOCK, now);
            commit.publish()?;
            if is_done {
                if left != 0 {
                    // They are not listed any more.
                    calendar.forget(|listed, _| listed == slot);
                }
                return Ok(removed);
            }
        }
    }
}

impl<O: Os> Commit<'_, O> {
    /// Step 1, for so many records. True if the whole of the segment has been walked.
    fn walk(&mut self, slot: usize, id: u64, end: u64, list: &mut DueList) -> Result<bool> {
        if list.walked as u64 >= end {
            return Ok(true);
        }
        let segment = self.store.map_segment(slot, id, Access::Read)?;
        self.refresh_view();
        let end = usize::try_from(end).unwrap_or(0).min(segment.map.len());
        for _ in 0..WALKED {
            // What stands behind damage is found by `repair`.
            let Some(header) = Header::read(&segment.map, list.walked, end) else { return Ok(true) };
            if header.kind_of_record == Type::Put && header.expires != u64::MAX {
                list.note(list.walked, header.expires);
            }
            list.walked += header.size();
        }
        Ok(list.walked >= end)
    }

    /// Step 2: empties the cells of items that are due, where they still lead to these records. The number that counted, and of
    /// those that stay.
    fn remove_due(&mut self, (slot, id): (usize, u64), offsets: &[u32], stays: &Stays<'_>) -> Result<(u64, u64)> {
        if offsets.is_empty() {
            return Ok((0, 0));
        }
        let segment = self.store.map_segment(slot, id, Access::Read)?;
        self.refresh_view();
        // The cache misses of many items overlap: first those of their records, then those of their buckets.
        for &offset in offsets {
            segment.map.prefetch(offset as usize);
        }
        let word = self.store.state.load(state::GEOMETRY);
        let mut keys = Vec::with_capacity(32 * offsets.len());
        let mut items = Vec::with_capacity(offsets.len());
        for &offset in offsets {
            let Some(header) = Header::read(&segment.map, offset as usize, segment.map.len()) else { continue };
            let (at, len) = header.key_range(offset as usize);
            let start = keys.len();
            if segment.map.append_to(at, len, &mut keys) {
                let hash = self.store.hash(&keys[start..]);
                self.store.prefetch_home(&self.view, word, hash);
                items.push((offset, start..keys.len(), hash));
            }
        }
        let (mut counted, mut left) = (0, 0);
        for (offset, key, hash) in items {
            let location = Location::new(slot, offset.into());
            let Some((old, cell)) = self.locate(&keys[key.clone()], hash)?.led_to(location) else { continue };
            if stays(&keys[key], hash, &old.header) || self.is_borrowed(&old) {
                left += 1;
            } else if old.life != Life::Live {
                counted += u64::from(old.life == Life::Expired);
                self.empty_cell(&old, &cell);
            }
        }
        Ok((counted, left))
    }
}
