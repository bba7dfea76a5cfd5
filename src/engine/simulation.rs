//! Deterministic crash tests of the engine over the simulated os floor: deaths at every step, power cuts, failing calls
//! and a model. This file owns what they share: how much of them runs. It knows nothing of single operations.
//!
//! `LARDER_TEST_SCALE` multiplies how much is sampled where not everything is tried; 1 is meant for every build. What is
//! drawn is drawn from `LARDER_TEST_SEED`, so that the same seed tries the same again.
#![cfg_attr(not(test), allow(dead_code, reason = "the fuzz targets use the model, and not the tests around it"))]

mod acts;
#[cfg(test)]
mod again;
#[cfg(test)]
mod ahead;
mod audit;
#[cfg(test)]
mod beside;
#[cfg(test)]
mod blocks;
#[cfg(test)]
mod borrowed;
#[cfg(test)]
mod carried;
#[cfg(test)]
mod clears;
#[cfg(test)]
mod coming;
#[cfg(test)]
mod deaths;
mod drawn;
#[cfg(test)]
mod durability;
#[cfg(test)]
mod emptied;
#[cfg(test)]
mod eviction;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod forgotten;
mod history;
mod images;
#[cfg(test)]
mod index;
#[cfg(test)]
mod joint;
#[cfg(test)]
mod joint_anew;
#[cfg(test)]
mod joint_died;
#[cfg(test)]
mod limit;
#[cfg(test)]
mod model;
#[cfg(test)]
mod named;
#[cfg(test)]
mod pinned;
#[cfg(test)]
mod power;
#[cfg(test)]
mod queue;
mod random;
#[cfg(test)]
mod returned;
#[cfg(test)]
mod room;
#[cfg(test)]
mod rot;
#[cfg(test)]
mod stopped;
#[cfg(test)]
mod tag_rows;
#[cfg(test)]
mod transactions;
#[cfg(test)]
mod trees;
#[cfg(test)]
mod vouched;
mod workload;
mod world;

pub use drawn::{operations, power_cuts};

/// Where what is left to chance comes from: a seed, or a fuzzer.
pub trait Chance {
    /// Some number below a limit of at least 1.
    fn below(&mut self, limit: u64) -> u64;

    /// Any number.
    fn next(&mut self) -> u64;

    /// Nothing more is to be drawn.
    fn is_spent(&self) -> bool {
        false
    }
}

impl Chance for Dice {
    fn below(&mut self, limit: u64) -> u64 {
        Dice::below(self, limit)
    }

    fn next(&mut self) -> u64 {
        Dice::next(self)
    }
}

/// How many times more than usual is to be tried.
fn scale() -> usize {
    number("LARDER_TEST_SCALE").unwrap_or(1)
}

/// Where everything that is drawn begins.
fn seed() -> u64 {
    number("LARDER_TEST_SEED").unwrap_or(1)
}

/// The number that the environment has under a name.
fn number<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// The rounds of a test, numbered so that each can draw from its number: another seed has other numbers. Each is shown if
/// it fails.
fn rounds(everyday: usize) -> impl Iterator<Item = u64> {
    let first = (seed() - 1) * 1_000_000;
    (first..first + (everyday * scale()) as u64).inspect(|round| println!("round {round}"))
}

/// A small generator of numbers, so that a run that went wrong can be run again.
pub struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }
}

/// At most `most` of the numbers below `count`, spread evenly and with both ends among them.
fn spread(count: u64, most: usize) -> Vec<u64> {
    let most = most as u64;
    if count <= most {
        return (0..count).collect();
    }
    (0..most).map(|i| i * (count - 1) / (most - 1).max(1)).collect()
}
