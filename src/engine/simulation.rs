//! Deterministic crash tests of the engine over the simulated os floor: deaths at every step, power cuts, failing calls
//! and a model. This file owns what they share: how much of them runs. It knows nothing of single operations.
//!
//! `LARDER_TEST_SCALE` multiplies how much is sampled where not everything is tried; 1 is meant for every build. What is
//! drawn is drawn from `LARDER_TEST_SEED`, so that the same seed tries the same again.

mod acts;
mod ahead;
mod audit;
mod clears;
mod deaths;
mod durability;
mod eviction;
mod failures;
mod history;
mod images;
mod index;
mod joint;
mod limit;
mod model;
mod named;
mod pinned;
mod power;
mod queue;
mod random;
mod rot;
mod transactions;
mod workload;
mod world;

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
struct Dice(u64);

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
