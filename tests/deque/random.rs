//! What the random calls beside std's collections are drawn from, and where they are made.

use std::path::Path;

/// SplitMix64: small, and the same everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// The seeds of a test's cases. Prints the number of them and how far it is, for the ledger and for a failure.
pub fn each_seed(everyday: u64, case: impl Fn(u64)) {
    let first = number("LARDER_TEST_SEED", 1) * 1_000_000;
    let cases = number("LARDER_TEST_CASES", everyday);
    for seed in first..first + cases {
        println!("seed {seed}");
        case(seed);
    }
    println!("{cases} cases");
}

/// In memory if there is such a place: these tests are about what is found, and a disk would only make them slower.
pub fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}
