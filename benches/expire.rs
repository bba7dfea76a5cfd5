//! What does `expire` cost beside a full scan, when a hundredth of a large store is due? Items that come due together were
//! either written one after the other or lie scattered over the whole store.
//!
//! Every group of due items is removed by a call of its own, timed beside a walk over all keys and one over all items in
//! the same round. The first call of a handle finds out where what expires is, so it is printed apart.
//!
//! `cargo bench --bench expire`; `LARDER_BENCH_ITEMS` is the number of items (a million), `LARDER_BENCH_ROUNDS` the number of
//! groups (10).

mod stage;

use std::time::{Duration, Instant, SystemTime};

use larder::{AnyKey, Cache, Entry, SetOptions};
use stage::{Directory, Uniform, key, value};

/// Between the moments at which two groups are due; the walks fit in.
const APART: Duration = Duration::from_secs(3);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Milliseconds that a call takes, and what it returns.
fn timed<T>(call: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let answer = call();
    (start.elapsed().as_secs_f64() * 1000.0, answer)
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// A store in which each group of a hundredth is due at a moment of its own, and the rest in a day. Gives the moment at
/// which the first is.
fn filled(directory: &Directory, items: u64, groups: u64, scattered: bool) -> (Cache, SystemTime) {
    let builder = Cache::builder(directory.path()).size_limit(4 << 30);
    let cache = builder.background(false).open().expect("opened");
    let bytes = value(100);
    let due = items / 100;
    let mut draws = Uniform::below(items);
    // Filling takes a few seconds; a group that is due before its end would only make its call longer.
    let first = SystemTime::now() + Duration::from_secs(4 + items / 150_000);
    for i in 0..items {
        let place = if scattered { draws.draw() } else { i };
        let at = if place < groups * due {
            first + APART * (place / due) as u32
        } else {
            first + Duration::from_secs(86_400)
        };
        let left = at.duration_since(SystemTime::now()).unwrap_or_default();
        cache.set_bytes_with(key(i), &bytes, SetOptions::new().expire(left)).expect("stored");
    }
    (cache, first)
}

fn measure(items: u64, groups: u64, scattered: bool) {
    let directory = Directory::new();
    let (cache, first) = filled(&directory, items, groups, scattered);
    println!("{} items, {}", cache.len(), if scattered { "due ones scattered" } else { "due ones side by side" });
    let (mut expires, mut keys, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for group in 0..groups {
        let at = first + APART * group as u32 + Duration::from_millis(50);
        std::thread::sleep(at.duration_since(SystemTime::now()).unwrap_or_default());
        let (time, removed) = timed(|| cache.expire().expect("expired"));
        let (walk, count) = timed(|| cache.keys::<AnyKey>().filter(Result::is_ok).count());
        let (scan, _) = timed(|| cache.entries::<AnyKey, serde::de::IgnoredAny>().filter(is_read).count());
        println!(
            "  {removed:6} removed in {time:8.2} ms; {count} keys walked in {walk:8.2} ms, items in {scan:8.2} ms"
        );
        if group > 0 {
            expires.push(time);
            keys.push(walk);
            all.push(scan);
        }
    }
    let (expire, walk, scan) = (median(&mut expires), median(&mut keys), median(&mut all));
    println!(
        "  medians after the first: {expire:.2} ms, {:.2} % of {walk:.0} ms, {:.2} % of {scan:.0} ms",
        100.0 * expire / walk,
        100.0 * expire / scan
    );
}

fn is_read<T, E>(entry: &Result<(AnyKey, Entry<T>), E>) -> bool {
    entry.is_ok()
}

fn main() {
    let (items, groups) = (number("LARDER_BENCH_ITEMS", 1_000_000), number("LARDER_BENCH_ROUNDS", 10));
    for scattered in [false, true] {
        measure(items, groups, scattered);
    }
}
