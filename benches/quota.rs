//! What does a full store cost: how long do single calls take while items go and others are moved, at the median and in
//! the tail? Plain timing of every call, for criterion has no percentiles; a call takes some 40 ns longer for it.
//!
//! Each row is measured with the background thread and without it, in turn.
//!
//! `cargo bench --bench quota`; `LARDER_BENCH_LIMIT` is the size limit in MiB (64), `LARDER_BENCH_CALLS` the number of calls
//! of each row (a million).

mod stage;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use larder::{Cache, Eviction};
use stage::{Directory, Uniform, key, value};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// How long each of many calls took, in nanoseconds.
fn times(calls: u64, mut call: impl FnMut(u64)) -> Vec<u32> {
    let mut times = Vec::with_capacity(calls as usize);
    for i in 0..calls {
        let start = Instant::now();
        call(i);
        times.push(start.elapsed().as_nanos().min(u32::MAX.into()) as u32);
    }
    times.sort_unstable();
    times
}

fn print(row: &str, times: &[u32]) {
    let at = |share: f64| f64::from(times[((times.len() - 1) as f64 * share) as usize]) / 1000.0;
    let mean = times.iter().map(|&time| f64::from(time)).sum::<f64>() / times.len() as f64 / 1000.0;
    let (p50, p99, p999, most) = (at(0.5), at(0.99), at(0.999), at(1.0));
    println!("{row:48} {mean:8.2} {p50:8.2} {p99:8.2} {p999:8.2} {most:10.1}");
}

/// A store at its limit, filled with new items.
fn full(limit: u64, len: usize, policy: Eviction, background: bool) -> (Cache, Directory, u64) {
    let directory = Directory::new();
    let builder = Cache::builder(directory.path()).size_limit(limit).eviction(policy);
    let cache = builder.background(background).open().expect("opened");
    let bytes = value(len);
    let count = 2 * limit / (len as u64 + 60);
    (0..count).for_each(|i| cache.set_bytes(key(i), &bytes).expect("stored"));
    (cache, directory, count)
}

/// How a row with the thread, or without it, is told from the other.
fn mode(background: bool) -> &'static str {
    if background { "" } else { ", alone" }
}

fn sets(limit: u64, calls: u64, len: usize, policy: Eviction, background: bool) {
    let (cache, _directory, first) = full(limit, len, policy, background);
    let alone = mode(background);
    let bytes = value(len);
    cache.reset_stats().expect("reset");
    let new = times(calls, |i| cache.set_bytes(key(first + i), &bytes).expect("stored"));
    print(&format!("set new, {len} B, {policy:?}{alone}"), &new);
    let live = cache.len() as u64;
    let mut draws = Uniform::below(live);
    let mut read = Uniform::below(live);
    let mixed = times(calls, |_| {
        let bytes_read = cache.get_bytes(key(first + calls - 1 - read.draw())).expect("read");
        std::hint::black_box(bytes_read);
        cache.set_bytes(key(first + calls - 1 - draws.draw()), &bytes).expect("stored");
    });
    print(&format!("get and overwrite, {len} B, {policy:?}{alone}"), &mixed);
    let stats = cache.stats().expect("stats");
    println!("{:48} write amplification {:.2}, {} culled", "", stats.write_amplification(), stats.culled);
}

/// Reads beside a writer under which the store is compacted all the time, and beside one that removes and stores
/// without taking space.
fn gets(limit: u64, calls: u64, background: bool) {
    let (cache, _directory, first) = full(limit, 100, Eviction::S3Fifo, background);
    let alone = mode(background);
    let bytes = value(100);
    let live = cache.len() as u64;
    for (row, compacts) in
        [("get, 100 B, beside a writer of few keys", false), ("get, 100 B, beside a writer of new keys", true)]
    {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut i = first;
                while !stop.load(Ordering::Relaxed) {
                    let number = if compacts { i } else { first - 1 - i % 8 };
                    cache.set_bytes(key(number), &bytes).expect("stored");
                    i += 1;
                }
            });
            let mut draws = Uniform::below(live / 2);
            let found = times(calls, |_| {
                std::hint::black_box(cache.get_bytes(key(first - 1 - draws.draw())).expect("read"));
            });
            print(&format!("{row}{alone}"), &found);
            stop.store(true, Ordering::Relaxed);
        });
    }
}

fn main() {
    let limit = number("LARDER_BENCH_LIMIT", 64) << 20;
    let calls = number("LARDER_BENCH_CALLS", 1_000_000);
    println!("limit {} MiB, {calls} calls a row; microseconds", limit >> 20);
    println!("{:48} {:>8} {:>8} {:>8} {:>8} {:>10}", "", "mean", "p50", "p99", "p99.9", "longest");
    for policy in [Eviction::S3Fifo, Eviction::LeastRecentlyUsed, Eviction::LeastRecentlyStored] {
        [true, false].into_iter().for_each(|background| sets(limit, calls, 100, policy, background));
    }
    [true, false].into_iter().for_each(|background| sets(limit, calls / 4, 1024, Eviction::S3Fifo, background));
    [true, false].into_iter().for_each(|background| gets(limit, calls, background));
}
