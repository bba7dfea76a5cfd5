//! Full stores in which nothing is evicted, with keys and values of lengths drawn at random, are emptied in an order drawn at
//! random, one by one or by transactions: no removal is refused, and the files never take more than the limit.
//!
//! `LARDER_TEST_CASES` is how many stores are filled, from the seed `LARDER_TEST_SEED` on.
use std::collections::BTreeSet;

use larder::{Cache, Eviction};

use super::random::{Random, each_seed, scratch};

#[test]
fn full_stores_are_emptied_in_any_order() {
    each_seed(10, play);
}

/// Refusals after which a store with items of mixed lengths is full.
const REFUSALS: usize = 30;
/// Refusals after which only short values are tried.
const REFUSALS_OF_LONG: usize = 10;
/// The part of the limit that a transaction's keys may take: what says that they were removed has to fit in a segment.
const KEYS_TOGETHER: u64 = 256;

fn one_of<T: Copy>(dice: &mut Random, all: &[T]) -> T {
    all[dice.below(all.len() as u64) as usize]
}

struct Case {
    limit: u64,
    longest_key: u64,
    longest_value: u64,
    is_mixed: bool,
    background: bool,
}

impl Case {
    fn draw(dice: &mut Random) -> Case {
        Case {
            limit: one_of(dice, &[2, 2, 2, 3, 4, 8]) << 20,
            longest_key: one_of(dice, &[6, 6, 20, 200, 2_000, 20_000]),
            longest_value: one_of(dice, &[1, 1, 10, 100, 1_000, 8_191, 30_000, 100_000, 1 << 20]),
            is_mixed: dice.below(2) == 0,
            background: dice.below(3) == 0,
        }
    }

    fn open(&self, dir: &tempfile::TempDir) -> Cache {
        let builder = Cache::builder(dir).size_limit(self.limit).eviction(Eviction::None);
        builder.background(self.background).open().unwrap()
    }

    fn lengths(&self, dice: &mut Random, refusals: usize) -> (usize, usize) {
        if !self.is_mixed {
            return (self.longest_key as usize, self.longest_value as usize);
        }
        let most = 1 + dice.below(if refusals > REFUSALS_OF_LONG { 50 } else { self.longest_value });
        (6 + dice.below(self.longest_key - 5) as usize, 1 + dice.below(most) as usize)
    }

    fn fill(&self, cache: &Cache, dice: &mut Random) -> Vec<String> {
        let (mut keys, mut refusals) = (Vec::new(), 0);
        for number in 0.. {
            let (key_len, value_len) = self.lengths(dice, refusals);
            let key = format!("{number:06x}{}", "k".repeat(key_len - 6));
            match cache.set_bytes(&key[..], &vec![1; value_len]) {
                Ok(()) => keys.push(key),
                Err(error) => {
                    assert!(error.is_full(), "{error:?}");
                    refusals += 1;
                    if !self.is_mixed || refusals == REFUSALS {
                        break;
                    }
                }
            }
        }
        keys
    }
}

/// Which is removed next, of those that are left.
struct Order {
    kind: u64,
    at: usize,
    /// How many more of a run there are, and whether it goes upwards.
    run: (u64, bool),
    removed: u64,
}

impl Order {
    fn next(&mut self, left: &mut BTreeSet<usize>, stored: usize, dice: &mut Random) -> Option<usize> {
        let (first, last) = (*left.first()?, *left.last()?);
        let from = |at: usize| left.range(at..).next().copied();
        self.at = match self.kind {
            0 => first,
            1 => last,
            2 => from(dice.below(stored as u64) as usize).unwrap_or(first),
            3 => [first, last][self.removed as usize % 2],
            4 => left.range(self.at..).nth(1).copied().unwrap_or(first),
            _ => {
                if self.run.0 == 0 {
                    self.at = dice.below(stored as u64) as usize;
                    self.run = (1 + dice.below(stored as u64 / 8 + 2), dice.below(2) == 0);
                }
                self.run.0 -= 1;
                if self.run.1 {
                    from(self.at).unwrap_or(first)
                } else {
                    left.range(..=self.at).next_back().copied().unwrap_or(last)
                }
            }
        };
        self.removed += 1;
        left.remove(&self.at);
        Some(self.at)
    }
}

fn files_of(dir: &tempfile::TempDir) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let files = std::fs::read_dir(dir).unwrap().filter_map(|entry| entry.ok()?.metadata().ok());
    files.filter(std::fs::Metadata::is_file).map(|file| file.blocks() * 512).sum()
}

fn play(seed: u64) {
    let dice = &mut Random(seed);
    let case = Case::draw(dice);
    let dir = scratch();
    let cache = case.open(&dir);
    let other = (dice.below(3) == 0).then(|| case.open(&dir));
    let together = if dice.below(4) == 0 { 1 + dice.below(8) } else { 0 };
    let together = together.min(case.limit / KEYS_TOGETHER / case.longest_key);
    let keys = case.fill(&cache, dice);
    assert!(files_of(&dir) <= case.limit);

    let mut order = Order { kind: dice.below(6), at: 0, run: (0, true), removed: 0 };
    let mut left: BTreeSet<usize> = (0..keys.len()).collect();
    for call in 0.. {
        let some = (0..together.max(1)).filter_map(|_| order.next(&mut left, keys.len(), dice));
        let some: Vec<&str> = some.map(|at| &keys[at][..]).collect();
        if some.is_empty() {
            break;
        }
        let handle = if call % 2 == 1 { other.as_ref().unwrap_or(&cache) } else { &cache };
        let removed = match together {
            0 => handle.delete(some[0]),
            _ => handle.transact(|tx| some.iter().try_fold(true, |all, &key| Ok(all & tx.delete(key)?))),
        };
        let number = order.removed;
        assert!(matches!(removed, Ok(true)), "order {}, removal {number} of {}: {removed:?}", order.kind, keys.len());
        if call % 64 == 0 {
            assert!(files_of(&dir) <= case.limit, "removal {number}");
        }
    }
    assert!(cache.is_empty());
    assert!(cache.check().unwrap().problems.is_empty());
}
