//! Marks of use: a few bits for each cell of the index, in the high half of its bucket's link, where a reader that found
//! the cell has them at hand. A reader changes them without a lock, by one compare-and-exchange that it does not repeat,
//! and once an item is marked as much as can be, only loads. All of it is advisory: a mark that is lost, or is
//! counted for the item that came into the cell since, costs a worse choice and nothing else.
//!
//! | policy | bits | read | put | stays |
//! |---|---|---|---|---|
//! | `S3Fifo` | 2 a cell, and three ghosts a home bucket | one more, up to 3 | 0; 2 if the key is a ghost | if 2 or more, in the main stream if 1 or more; with 0 |
//! | `LeastRecentlyUsed` | 4 a cell | the present age | the present age | if younger than the cut |
//! | `LeastFrequentlyUsed` | 4 a cell | one more, up to 15 | 1 | if at the cut or above; half of it |
//! | others | none | | | |
//!
//! The present age counts up around 16 with each eighth of the size limit that is put. What it does not know: which items
//! are looked at, and when (`compaction`).
//!
//! The ghosts stand for the ghost queue of S3-FIFO (J. Yang, Y. Zhang, Z. Qiu, Y. Yue, R. Vinayak: FIFO queues are all you
//! need for cache eviction, SOSP 2023): keys that were evicted lately, so that one that comes back is known to be worth
//! keeping. Each home bucket remembers the last three, by seven bits of their hash.

use crate::options::Eviction;
use crate::os::{Os, OsMap};
use crate::storage::index::{self, BUCKET_BYTES, CELLS, LINK, Table};
use crate::storage::state;

use super::store::Store;

/// Where the marks begin in a link word.
const MARKS: u32 = LINK.count_ones();
/// Where the youngest ghost begins in a link word, how wide a ghost is, and how many there are.
const GHOSTS: u32 = MARKS + 2 * CELLS as u32;
const GHOST_BITS: u32 = 7;
const GHOST: u64 = (1 << GHOST_BITS) - 1;
const GHOSTS_MAX: u32 = 3;
const ALL_GHOSTS: u64 = (1 << (GHOSTS_MAX * GHOST_BITS)) - 1;
const _: () = assert!(GHOSTS + GHOSTS_MAX * GHOST_BITS <= 64 && MARKS + 4 * (CELLS as u32) <= 64);
/// The mark of a new item whose key is a ghost: it stays.
const CAME_BACK: u64 = 2;

/// Where the age begins in the word `EVICTION`.
const AGE: u32 = 32;
const AGES: u64 = 16;

/// The word `EVICTION` with the next age.
pub fn older(word: u64) -> u64 {
    (word & u64::from(u32::MAX)) | (((word >> AGE) + 1) % AGES) << AGE
}

/// Policy and present age, as the word `EVICTION` says.
#[derive(Clone, Copy)]
pub struct Rule {
    pub policy: Eviction,
    age: u64,
}

impl Rule {
    #[inline]
    pub fn of(word: u64) -> Rule {
        Rule { policy: Eviction::from_bits(word as u32), age: (word >> AGE) % AGES }
    }

    /// Bits of a mark, and the most that it can be. 0 bits if there are no marks.
    #[inline]
    fn width(self) -> (u32, u64) {
        match self.policy {
            Eviction::S3Fifo => (2, 3),
            Eviction::LeastRecentlyUsed | Eviction::LeastFrequentlyUsed => (4, 15),
            Eviction::LeastRecentlyStored | Eviction::None => (0, 0),
        }
    }

    /// The mark of an item that was just used.
    #[inline]
    fn used(self, mark: u64) -> u64 {
        match self.policy {
            Eviction::LeastRecentlyUsed => self.age,
            _ => (mark + 1).min(self.width().1),
        }
    }

    /// The mark of a new item.
    #[inline]
    fn fresh(self) -> u64 {
        match self.policy {
            Eviction::LeastRecentlyUsed => self.age,
            Eviction::LeastFrequentlyUsed => 1,
            _ => 0,
        }
    }

    /// How many steps ago an age was the present one.
    #[inline]
    pub fn steps_since(self, mark: u64) -> u64 {
        (self.age + AGES - mark) % AGES
    }
}

/// A cell's mark in its bucket's link word.
#[derive(Clone, Copy)]
struct Place {
    link: usize,
    shift: u32,
    most: u64,
}

impl Place {
    #[inline]
    fn of(cell: usize, (bits, most): (u32, u64)) -> Place {
        let bucket = cell / BUCKET_BYTES * BUCKET_BYTES;
        Place { link: index::link_of(bucket), shift: MARKS + bits * ((cell - bucket) / 8) as u32, most }
    }

    #[inline]
    fn get(self, word: u64) -> u64 {
        word >> self.shift & self.most
    }

    #[inline]
    fn with(self, word: u64, mark: u64) -> u64 {
        (word & !(self.most << self.shift)) | mark << self.shift
    }
}

/// What the home bucket of a hash remembers it by.
#[inline]
fn ghost_of(hash: u64) -> u64 {
    (hash & GHOST).max(1)
}

impl<O: Os> Store<O> {
    /// The policy in force.
    #[inline]
    pub(super) fn policy(&self) -> Eviction {
        Eviction::from_bits(self.state.load(state::EVICTION) as u32)
    }

    #[inline]
    pub(super) fn rule(&self) -> Rule {
        Rule::of(self.state.load(state::EVICTION))
    }

    /// Marks the item that a cell leads to as used. For readers: changes nothing that matters, waits for nothing.
    #[inline]
    pub(super) fn mark_used(&self, index: &O::Map, cell: usize) {
        let rule = self.rule();
        let width = rule.width();
        if width.0 == 0 || self.read_only {
            return;
        }
        let place = Place::of(cell, width);
        let word = index.load(place.link);
        let mark = place.get(word);
        let next = rule.used(mark);
        if next != mark {
            let _ = index.compare_exchange(place.link, word, place.with(word, next));
        }
    }

    /// Sets the mark of an item that is about to come into a cell: of one that was there as used, of a new one as new.
    /// Under the lock, which the rest of the word cannot change without.
    #[inline]
    pub(super) fn mark_put(&self, index: &O::Map, table: Table, hash: u64, cell: usize, is_new: bool) {
        let rule = self.rule();
        let width = rule.width();
        if width.0 == 0 {
            return;
        }
        let place = Place::of(cell, width);
        let word = index.load(place.link);
        let mark = match is_new {
            true if rule.policy == Eviction::S3Fifo && is_ghost(index, table, hash) => CAME_BACK,
            true => rule.fresh(),
            false => rule.used(place.get(word)),
        };
        let marked = place.with(word, mark);
        if marked != word {
            index.store(place.link, marked);
        }
    }

    /// The mark of the item in a cell.
    pub(super) fn mark(&self, index: &O::Map, cell: usize) -> u64 {
        let place = Place::of(cell, self.rule().width());
        place.get(index.load(place.link))
    }

    /// Sets the mark of the item in a cell. Under the lock.
    pub(super) fn set_mark(&self, index: &O::Map, cell: usize, mark: u64) {
        let place = Place::of(cell, self.rule().width());
        let word = index.load(place.link);
        index.store(place.link, place.with(word, mark));
    }

    /// Remembers a key that is evicted. Under the lock.
    pub(super) fn remember(&self, index: &O::Map, table: Table, hash: u64) {
        let link = index::link_of(index::bucket_offset(table.home(hash)));
        let word = index.load(link);
        let ghosts = word >> GHOSTS;
        let next = (ghosts << GHOST_BITS | ghost_of(hash)) & ALL_GHOSTS;
        index.store(link, (word & !(ALL_GHOSTS << GHOSTS)) | next << GHOSTS);
    }
}

/// True if the home bucket of a hash remembers a key like it.
#[inline]
fn is_ghost<M: OsMap>(index: &M, table: Table, hash: u64) -> bool {
    let ghosts = index.load(index::link_of(index::bucket_offset(table.home(hash)))) >> GHOSTS;
    let ghost = ghost_of(hash);
    (0..GHOSTS_MAX).any(|i| ghosts >> (i * GHOST_BITS) & GHOST == ghost)
}

/// The marks of cells that move to another bucket, for growth.
pub struct Moved {
    width: (u32, u64),
    /// The ghosts of the home bucket that is left, in place.
    pub ghosts: u64,
}

impl Moved {
    /// From nowhere.
    pub fn none() -> Moved {
        Moved { width: (0, 0), ghosts: 0 }
    }

    /// From a home bucket.
    pub fn from<M: OsMap>(rule: Rule, index: &M, bucket: usize) -> Moved {
        let word = index.load(index::link_of(bucket));
        let ghosts = if rule.policy == Eviction::S3Fifo { word & ALL_GHOSTS << GHOSTS } else { 0 };
        Moved { width: rule.width(), ghosts }
    }

    /// The mark of a cell.
    pub fn mark<M: OsMap>(&self, index: &M, cell: usize) -> u64 {
        let place = Place::of(cell, self.width);
        place.get(index.load(place.link))
    }

    /// A link word's marks, with that of one cell set.
    pub fn with(&self, word: u64, cell: usize, mark: u64) -> u64 {
        Place::of(cell, self.width).with(word, mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_changes_nothing_else_in_its_word() {
        for policy in [Eviction::S3Fifo, Eviction::LeastRecentlyUsed, Eviction::LeastFrequentlyUsed] {
            let rule = Rule { policy, age: 5 };
            for before in [0, u64::MAX] {
                for cell in 0..CELLS {
                    let place = Place::of(4096 + 64 * 3 + 8 * cell, rule.width());
                    assert_eq!(place.link, 4096 + 64 * 3 + 56);
                    for mark in 0..=rule.width().1 {
                        let word = place.with(before, mark);
                        assert_eq!(place.get(word), mark);
                        assert_eq!(word & LINK, before & LINK);
                        let changed = (word ^ before).count_ones();
                        assert!(changed <= rule.width().0, "{changed} bits");
                    }
                }
            }
        }
    }

    #[test]
    fn use_raises_counts_up_to_the_most_and_ages_to_the_present() {
        let rule = |policy| Rule { policy, age: 5 };
        assert_eq!((rule(Eviction::S3Fifo).used(2), rule(Eviction::S3Fifo).used(3)), (3, 3));
        assert_eq!(
            (rule(Eviction::LeastFrequentlyUsed).used(14), rule(Eviction::LeastFrequentlyUsed).used(15)),
            (15, 15)
        );
        assert_eq!(rule(Eviction::LeastRecentlyUsed).used(14), 5);
        assert_eq!(rule(Eviction::LeastRecentlyUsed).steps_since(4), 1);
        assert_eq!(rule(Eviction::LeastRecentlyUsed).steps_since(6), 15);
    }

    #[test]
    fn ages_go_around_and_leave_the_policy() {
        let mut word = u64::from(Eviction::LeastRecentlyUsed.to_bits());
        for age in 1..=40 {
            word = older(word);
            let rule = Rule::of(word);
            assert_eq!((rule.policy, rule.age), (Eviction::LeastRecentlyUsed, age % AGES));
        }
    }
}
