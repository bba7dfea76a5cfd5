//! Counting hits, misses and the like without a line that processes share: every handle counts in its own presence
//! page, in one of [`STRIPES`] lines that its threads spread over. Sums are made when somebody asks.
//!
//! A presence page: [`STRIPES`] lines of eight 64-bit counters, in the order of [`Counter`]; then the handle's share of
//! `RESERVED`, so that it can be counted anew when a handle has died with its share, and how often a change of it was begun, and
//! was done; then the list of files that it has mapped (`listed`).

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::Result;
use crate::os::{OpenMode, Os, OsFile, OsMap};
use crate::storage::paths::Paths;
use crate::storage::segment;
use crate::storage::state::{self, BASELINE, TOTALS, row, row_word};

use super::listed::LIST;
use super::store::Store;

/// Lines that the threads of a process spread over.
const STRIPES: usize = 16;
/// Offset of the word behind them: bytes that the handle has set aside for large values it is writing.
const SET_ASIDE: usize = STRIPES * COUNTERS * 8;
/// Offsets of the counts of changes of it that were begun, and that are in `RESERVED` too.
const BEGUN: usize = SET_ASIDE + 8;
const DONE: usize = SET_ASIDE + 16;
const _: () = assert!(DONE + 8 == LIST);
/// So often what is set aside is counted anew before somebody in the middle of a change counts as stopped there.
const RECOUNTS: usize = 100;
/// Counters of a line.
pub const COUNTERS: usize = 8;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Counter {
    Hits = 0,
    Misses = 1,
    Stores = 2,
    Removals = 3,
    Expirations = 4,
    Evictions = 5,
    /// Items that went because the space was needed.
    Culled = 6,
    /// Calls that went on without the store, as it failed them.
    Failures = 7,
}

/// One value for each counter.
pub type Sums = [u64; COUNTERS];

/// How the space is used, and what was written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Space {
    /// Bytes of puts since the last reset.
    pub stored: u64,
    /// Bytes of items that were moved to the main stream since then.
    pub moved: u64,
    /// Bytes of the log that something may lead to, and of large values.
    pub live: u64,
    /// Bytes of the log that nothing leads to, as far as that is known.
    pub dead: u64,
    /// Bytes that may still be taken.
    pub free: u64,
    /// Segments of the log.
    pub segments: u64,
    /// Bytes of files that are unlinked and mapped still.
    pub pinned: u64,
}

static NEXT_THREAD: AtomicUsize = AtomicUsize::new(0);
thread_local! {
    static STRIPE: usize = NEXT_THREAD.fetch_add(1, Ordering::Relaxed) % STRIPES;
}

fn add(sums: &mut Sums, bytes: &[u8]) {
    for (i, word) in bytes.chunks_exact(8).enumerate().take(STRIPES * COUNTERS) {
        let sum = &mut sums[i % COUNTERS];
        *sum = sum.wrapping_add(word.try_into().map_or(0, u64::from_ne_bytes));
    }
}

/// Reads the counters of a handle's presence page, living or dead.
pub(super) fn read_page<O: Os>(os: &O, paths: &Paths, owner: u64, sums: &mut Sums) {
    let mut page = [0; STRIPES * COUNTERS * 8];
    let file = os.open(&paths.presence(owner), OpenMode::Read);
    if file.and_then(|file| file.read_at(&mut page, 0)).is_ok() {
        add(sums, &page);
    }
}

impl<O: Os> Store<O> {
    /// Counts, if statistics are on.
    #[inline(always)]
    pub fn count(&self, counter: Counter, by: u64) {
        if self.state.load(state::STATISTICS) != 0 {
            self.count_now(counter, by);
        }
    }

    /// Counts, whether statistics are on or not.
    #[inline(never)]
    pub fn count_now(&self, counter: Counter, by: u64) {
        // The page is not mapped in a forked child.
        if let Some(presence) = &self.presence
            && !self.os.is_forked()
        {
            let line = STRIPE.try_with(|stripe| *stripe).unwrap_or(0);
            O::presence_page(presence).fetch_add(line * COUNTERS * 8 + counter as usize * 8, by);
        }
    }

    /// Sums over all handles, living and gone, since the last reset.
    pub fn sums(&self) -> Result<Sums> {
        let raw = self.raw_sums()?;
        let baseline = |i: usize| self.state.load(BASELINE + i * 8);
        Ok(std::array::from_fn(|i| raw[i].wrapping_sub(baseline(i))))
    }

    /// As [`Store::sums`], and begins again at zero.
    pub fn reset_sums(&self) -> Result<Sums> {
        if self.read_only {
            return Err(crate::error::Error::ReadOnly);
        }
        let raw = self.raw_sums()?;
        self.state.store(state::APPENDED_BEFORE, self.state.load(state::APPENDED));
        self.state.store(state::COPIED_BEFORE, self.state.load(state::COPIED));
        Ok(std::array::from_fn(|i| {
            let before = self.state.load(BASELINE + i * 8);
            self.state.store(BASELINE + i * 8, raw[i]);
            raw[i].wrapping_sub(before)
        }))
    }

    /// How the space is used. Looks at each row of the segment table, and reads a file for each open handle.
    pub fn space(&self) -> Result<Space> {
        let pinned = self.pinned()?;
        let word = |offset| self.state.load(offset);
        let used = (0..self.rows).filter(|&slot| self.segment_in(slot) != 0);
        let (segments, written, dead) = used.fold((0, 0u64, 0u64), |(segments, written, dead), slot| {
            let end = self.committed_end(slot).saturating_sub(segment::HEAD as u64);
            (segments + 1, written.saturating_add(end), dead.saturating_add(word(row_word(slot, row::DEAD))))
        });
        Ok(Space {
            stored: word(state::APPENDED).wrapping_sub(word(state::APPENDED_BEFORE)),
            moved: word(state::COPIED).wrapping_sub(word(state::COPIED_BEFORE)),
            live: written.saturating_sub(dead).saturating_add(word(state::LARGE_BYTES)),
            dead,
            free: word(state::SIZE_LIMIT).saturating_sub(word(state::VOLUME)),
            segments,
            pinned,
        })
    }

    fn raw_sums(&self) -> Result<Sums> {
        let directory = self.paths.of(crate::storage::paths::Name::Presences);
        let names = self.os.list(&directory).map_err(|e| crate::error::Error::io("list", &directory, e))?;
        let mut sums: Sums = std::array::from_fn(|i| self.state.load(TOTALS + i * 8));
        for owner in names.iter().filter_map(|name| Paths::parse_presence(name)) {
            read_page(&self.os, &self.paths, owner, &mut sums);
        }
        Ok(sums)
    }

    /// Sets bytes aside for a large value, or gives them back if `delta` is negative. What was set aside before.
    pub(super) fn set_aside(&self, delta: u64) -> u64 {
        self.begin_to_set_aside(delta);
        self.end_to_set_aside(delta)
    }

    pub(super) fn begin_to_set_aside(&self, delta: u64) {
        if let Some(presence) = &self.presence {
            O::presence_page(presence).fetch_add(BEGUN, 1);
            O::presence_page(presence).fetch_add(SET_ASIDE, delta);
        }
    }

    pub(super) fn end_to_set_aside(&self, delta: u64) -> u64 {
        let before = self.state.fetch_add(state::RESERVED, delta);
        if let Some(presence) = &self.presence {
            O::presence_page(presence).fetch_add(DONE, 1);
        }
        before
    }

    /// Counts anew what living handles have set aside, after one has died: where none of them is in the middle of a change. What a
    /// change that begins later adds or takes away is in `RESERVED` then. If somebody is stopped in the middle, the share of
    /// the dead stays until the next death.
    pub(super) fn recount_set_aside(&self) -> Result<()> {
        for _ in 0..RECOUNTS {
            let before = self.state.load(state::RESERVED);
            let (sum, changes) = self.count_set_aside()?;
            let Some(changes) = changes else {
                self.os.spin();
                continue;
            };
            if self.count_set_aside()?.1 == Some(changes) {
                let _ = self.state.compare_exchange(state::RESERVED, before, sum);
                break;
            }
        }
        Ok(())
    }

    /// What living handles have set aside, and how many changes of it they have made; `None` if one is under way.
    fn count_set_aside(&self) -> Result<(u64, Option<u64>)> {
        let directory = self.paths.of(crate::storage::paths::Name::Presences);
        let names = self.os.list(&directory).map_err(|e| crate::error::Error::io("list", &directory, e))?;
        let (mut sum, mut changes) = (0_u64, Some(0_u64));
        for owner in names.iter().filter_map(|name| Paths::parse_presence(name)) {
            let path = self.paths.presence(owner);
            let Ok(page) = self.os.open(&path, OpenMode::Read) else { continue };
            let word = |at: usize| {
                let mut word = [0; 8];
                page.read_at(&mut word, at as u64).ok().map(|()| u64::from_ne_bytes(word))
            };
            // In the order in which a change that begins meanwhile is seen.
            let (done, share, begun) = (word(DONE), word(SET_ASIDE), word(BEGUN));
            if let (Some(done), Some(share), Some(begun)) = (done, share, begun)
                && self.os.is_alive(&path)
            {
                sum = sum.wrapping_add(share);
                let is_still = done == begun || seeded!("set_aside_is_counted_by_halves");
                changes = changes.filter(|_| is_still).map(|changes| changes.wrapping_add(begun));
            }
        }
        Ok((sum, changes))
    }

    /// Adds a gone handle's counters to the totals.
    pub(super) fn fold(&self, sums: &Sums) {
        for (i, &sum) in sums.iter().enumerate() {
            if sum != 0 {
                self.state.fetch_add(TOTALS + i * 8, sum);
            }
        }
    }
}
