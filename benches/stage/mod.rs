//! What every benchmark stands on: a directory that goes away, items of one size with random-looking keys, and timing
//! of rounds that cannot be repeated in place. It measures nothing itself.

#![allow(dead_code, reason = "every benchmark compiles this file for itself and uses a part of it")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use criterion::{BenchmarkGroup, SamplingMode, measurement::WallTime};
use larder::Cache;
use serde::{Serialize, Serializer};

/// Far above what any round stores, so that no write meets a full store.
const SIZE_LIMIT: u64 = 12 << 30;
/// Pairs of one `set_many` while a store is filled.
const FILL_BATCH: u64 = 1000;

/// How many items "a full store" has: `LARDER_BENCH_ITEMS`, or a million.
pub fn items() -> u64 {
    std::env::var("LARDER_BENCH_ITEMS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000).max(1000)
}

/// The finalizer of splitmix64: a permutation without a visible order.
pub fn mix(number: u64) -> u64 {
    let z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The key of an item: 16 bytes in no order, made from its number so that no table of keys competes for the caches.
pub fn key(number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&mix(number).to_le_bytes());
    key[8..].copy_from_slice(&mix(!number).to_le_bytes());
    key
}

/// Bytes that do not compress.
pub fn value(len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| mix(i) as u8).collect()
}

/// Numbers below a bound, each as likely as any other.
pub struct Uniform {
    state: u64,
    below: u64,
}

impl Uniform {
    pub fn below(below: u64) -> Uniform {
        Uniform { state: 1, below }
    }

    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(1);
        ((u128::from(mix(self.state)) * u128::from(self.below)) >> 64) as u64
    }
}

/// Stored as `set_bytes` stores it, in calls that take serde values.
pub struct Bytes<'a>(pub &'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// A directory under `LARDER_BENCH_DIR`, or under cargo's target directory, that is removed when dropped.
pub struct Directory(PathBuf);

impl Directory {
    pub fn new() -> Directory {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let parent = std::env::var_os("LARDER_BENCH_DIR").unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
        let name = format!("larder-bench-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Directory(PathBuf::from(parent).join(name))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Opens the cache of a directory with a limit that is never reached.
pub fn open(directory: &Path) -> Cache {
    Cache::builder(directory).size_limit(SIZE_LIMIT).open().expect("the cache opens")
}

/// Stores the items of these numbers, in batches.
pub fn fill(cache: &Cache, numbers: std::ops::Range<u64>, value: &[u8]) {
    let mut start = numbers.start;
    while start < numbers.end {
        let end = (start + FILL_BATCH).min(numbers.end);
        cache.set_many((start..end).map(|i| (key(i), Bytes(value)))).expect("the batch is stored");
        start = end;
    }
}

/// A new store with this many items of one size. The directory outlives the handle.
pub fn filled(items: u64, value_len: usize) -> (Cache, Directory) {
    let directory = Directory::new();
    let cache = open(directory.path());
    fill(&cache, 0..items, &value(value_len));
    (cache, directory)
}

/// Reports rounds that use up what they work on. Every sample is one round, however many iterations are asked for:
/// `prepare` is not timed, `round` gives the time it took and what that time is to be divided by.
pub fn rounds<T>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    mut prepare: impl FnMut() -> T,
    mut round: impl FnMut(&mut T) -> (Duration, u64),
) {
    group.sampling_mode(SamplingMode::Flat);
    group.sample_size(10);
    // Warming up ends after one round: what it takes in fact says nothing about the iterations it stands for.
    group.warm_up_time(Duration::from_nanos(1));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            let mut prepared = prepare();
            let (time, operations) = round(&mut prepared);
            time.mul_f64(iterations as f64 / operations as f64)
        });
    });
}

/// The time that some work takes.
pub fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}
