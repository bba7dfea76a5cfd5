//! Where in a segment which items come due, so that `expire` costs what has expired and not what is stored. It is the
//! memory of one handle, made from committed records, which never change. It knows no cells: an item that is listed may have
//! been replaced long ago, and whoever removes it looks.
//!
//! A list has every record of the part that was walked that expires before its horizon and was not handed out. A segment
//! may have any number of records, so the horizon comes nearer whenever a list grows too long; when what lies before it
//! has been handed out, the segment is walked again.

use std::mem::take;

use crate::storage::segment;

/// Records that the lists of a handle have together, but for the least that each may have: 16 MiB.
#[cfg(not(test))]
const LISTED: usize = 1 << 20;
#[cfg(test)]
const LISTED: usize = 16;
/// Records that a list may have, whatever others have.
#[cfg(not(test))]
const LISTED_LEAST: usize = 8 << 10;
#[cfg(test)]
const LISTED_LEAST: usize = 4;

/// When a record expires, and its offset: records that were stored together may expire at one moment.
type Due = (u64, u32);

const NEVER: Due = (u64::MAX, u32::MAX);

/// What is known of one segment.
#[derive(Debug)]
pub(super) struct DueList {
    /// The segment's id.
    id: u64,
    /// More records than twice that are cut down to that many.
    most: usize,
    /// Up to where it was walked.
    pub walked: usize,
    /// What was found before the horizon; the last is the first to come due if `is_sorted`.
    listed: Vec<Due>,
    is_sorted: bool,
    horizon: Due,
    /// What comes before this and stands before that offset has been handed out. More may have: what was due when it was
    /// appended can set this back, and then records are handed out again.
    done: (Due, usize),
}

impl DueList {
    pub fn of(id: u64) -> DueList {
        DueList {
            id,
            most: LISTED / 2,
            walked: segment::HEAD,
            listed: Vec::new(),
            is_sorted: true,
            horizon: NEVER,
            done: ((0, 0), segment::HEAD),
        }
    }

    /// Notes a record of the part that is being walked.
    pub fn note(&mut self, offset: usize, expires: u64) {
        // Segments are far below 4 GiB; a record beyond would be found at the next walk, and never removed by time.
        let due = (expires, u32::try_from(offset).unwrap_or(u32::MAX));
        let (done, below) = self.done;
        if due >= self.horizon || (due < done && offset < below) {
            return;
        }
        self.listed.push(due);
        self.is_sorted = false;
        if self.listed.len() >= 2 * self.most {
            let (_, &mut horizon, _) = self.listed.select_nth_unstable(self.most);
            self.horizon = horizon;
            self.listed.truncate(self.most);
        }
    }

    /// Hands out the offsets of up to `most` records that are due, into `offsets`. False if no more are.
    pub fn take_due(&mut self, now: u64, most: usize, offsets: &mut Vec<u32>) -> bool {
        offsets.clear();
        if !self.is_sorted {
            // Only what was noted since the last time is out of order, and this sort makes use of that.
            self.listed.sort_by(|a, b| b.cmp(a));
            self.is_sorted = true;
        }
        while let Some(&(expires, offset)) = self.listed.last()
            && expires <= now
            && offsets.len() < most
        {
            offsets.push(offset);
            self.listed.pop();
        }
        if offsets.len() == most {
            return true;
        }
        let more = self.horizon.0 <= now;
        if more {
            self.done = (self.horizon, self.walked);
            self.horizon = NEVER;
            self.walked = segment::HEAD;
            self.listed.clear();
        }
        more
    }

    /// When the next record comes due, as the state has it: 0 for never.
    pub fn earliest(&self) -> u64 {
        let first = if self.is_sorted { self.listed.last() } else { self.listed.iter().min() };
        let next = first.map_or(self.horizon.0, |first| first.0.min(self.horizon.0));
        if next == u64::MAX { 0 } else { next }
    }
}

/// The lists of a handle, by the slots of their segments.
#[derive(Debug, Default)]
pub(super) struct Calendar {
    lists: Vec<Option<DueList>>,
}

impl Calendar {
    /// The list of a segment. Whoever changes it and fails drops the calendar: the list may have handed out what is still
    /// there.
    pub fn list(&mut self, slot: usize, id: u64, end: u64) -> &mut DueList {
        if self.lists.len() <= slot {
            self.lists.resize_with(slot + 1, || None);
        }
        let others: usize =
            self.lists.iter().flatten().filter(|list| list.id != id).map(|list| list.listed.len()).sum();
        let entry = &mut self.lists[slot];
        let list = match take(entry) {
            Some(list) if list.id == id && list.walked as u64 <= end => entry.insert(list),
            _ => entry.insert(DueList::of(id)),
        };
        list.most = (LISTED.saturating_sub(others) / 2).max(LISTED_LEAST);
        list
    }

    /// Forgets lists of segments that are gone.
    pub fn forget(&mut self, is_gone: impl Fn(usize, u64) -> bool) {
        for (slot, entry) in self.lists.iter_mut().enumerate() {
            if entry.as_ref().is_some_and(|list| is_gone(slot, list.id)) {
                *entry = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks records `expires[i]` at offset `HEAD + i`, in steps, and hands out what is due.
    fn hand_out(list: &mut DueList, expires: &[u64], now: u64, most: usize) -> Vec<u32> {
        let (mut all, mut some) = (Vec::new(), Vec::new());
        loop {
            for (i, &at) in expires.iter().enumerate().skip(list.walked - segment::HEAD) {
                list.note(segment::HEAD + i, at);
            }
            list.walked = segment::HEAD + expires.len();
            let more = list.take_due(now, most, &mut some);
            all.extend_from_slice(&some);
            if !more {
                return all;
            }
        }
    }

    #[test]
    fn every_record_is_handed_out_when_it_is_due() {
        // Few and many moments, all the same among them, in every order that a multiplier gives.
        for (moments, step) in [(1_u64, 1_u64), (3, 1), (50, 7), (90, 37)] {
            let mut list = DueList::of(1);
            let mut expires: Vec<u64> = Vec::new();
            let mut found = Vec::new();
            for now in 0..=moments {
                // Some are appended at each moment, some of them due at once.
                expires.extend((0..40).map(|i| (i * step) % moments + 1));
                found.extend(hand_out(&mut list, &expires, now, 3));
                let due = |&offset: &u32| expires[offset as usize - segment::HEAD] <= now;
                assert!(found.iter().all(due));
                let expected = expires.iter().filter(|&&at| at <= now).count();
                assert!(found.len() < 3 * expected + 1, "{moments} moments, at {now}");
                found.sort_unstable();
                found.dedup();
                assert_eq!(found.len(), expected, "{moments} moments, at {now}");
                let next = expires.iter().filter(|&&at| at > now).min();
                assert_eq!(list.earliest(), next.copied().unwrap_or(0));
            }
            assert_eq!(found.len(), expires.len());
        }
    }

    #[test]
    fn a_list_keeps_no_more_than_its_share() {
        let mut list = DueList::of(1);
        for i in 0..1_000_usize {
            list.note(segment::HEAD + i, 1_000_000 - i as u64);
            assert!(list.listed.len() <= LISTED);
        }
        let mut calendar = Calendar::default();
        for slot in 0..10 {
            for i in 0..100 {
                calendar.list(slot, slot as u64 + 1, 4096).note(segment::HEAD + i, 1_000_000 - i as u64);
            }
        }
        let lists = || calendar.lists.iter().flatten();
        assert!(lists().all(|list| !list.listed.is_empty()));
        assert!(lists().map(|list| list.listed.len()).sum::<usize>() <= LISTED + 10 * 2 * LISTED_LEAST);
    }

    #[test]
    fn another_segment_in_the_slot_has_a_list_of_its_own() {
        let mut calendar = Calendar::default();
        let list = calendar.list(3, 7, 4096);
        list.note(segment::HEAD, 5);
        list.walked = 4096;
        assert_eq!(calendar.list(3, 7, 4096).earliest(), 5);
        assert_eq!(calendar.list(3, 8, 4096).earliest(), 0);
        calendar.list(3, 8, 4096).walked = 4096;
        // Of the same segment there is less than was walked: it is not what it was.
        assert_eq!(calendar.list(3, 8, 1024).walked, segment::HEAD);
        calendar.forget(|slot, id| (slot, id) == (3, 8));
        assert!(calendar.lists[3].is_none());
    }
}
