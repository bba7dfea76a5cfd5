//! Does a store cost as much when it is large, and does anybody wait while it grows? Ten million items of 100 bytes are put into
//! an empty store, every call timed; at 100,000 and at the end, what a read and an overwrite cost, uniform over all.
//! `cargo bench --bench grow`; `LARDER_BENCH_ITEMS` is another number of items.
//!
//! A call may take long because the machine had something else to do. So the same clock is read as often with nothing in
//! between, in turns with the calls: what is longest there nobody's store has caused.

mod stage;

use std::hint::black_box;
use std::time::Instant;

use larder::Cache;
use stage::{Directory, Uniform, key, open, value};

const SMALL: u64 = 100_000;
const LEN: usize = 100;
/// Calls of a round of reads or overwrites, and the rounds whose median counts.
const CALLS: u64 = 200_000;
const ROUNDS: usize = 5;
/// Puts in a row, after which the clock alone is read for as long.
const TURN: u64 = 10_000;
/// A call that takes longer than this is told one by one, in nanoseconds.
const LONG: u64 = 5_000_000;

/// The longest of some times, in nanoseconds, and how many were above a millisecond and above [`LONG`].
#[derive(Default)]
struct Longest {
    nanos: u64,
    above_a_milli: u64,
    above_long: u64,
}

impl Longest {
    fn add(&mut self, nanos: u64) {
        self.nanos = self.nanos.max(nanos);
        self.above_a_milli += u64::from(nanos > 1_000_000);
        self.above_long += u64::from(nanos > LONG);
    }

    fn print(&self, what: &str) {
        let Longest { nanos, above_a_milli, above_long } = self;
        let longest = *nanos as f64 / 1e6;
        println!("{what}: longest {longest:.2} ms; {above_a_milli} above 1 ms, {above_long} above 5 ms");
    }
}

/// The median of rounds, in nanoseconds a call.
fn cost(items: u64, mut call: impl FnMut(u64)) -> f64 {
    let mut draws = Uniform::below(items);
    let mut round = || {
        let start = Instant::now();
        (0..CALLS).for_each(|_| call(draws.draw()));
        start.elapsed().as_nanos() as f64 / CALLS as f64
    };
    let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| round()).collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

/// What a read and an overwrite cost among so many items.
fn costs(cache: &Cache, items: u64) -> (f64, f64) {
    let bytes = value(LEN);
    let get = cost(items, |n| {
        black_box(cache.get_bytes(key(n)).expect("a read").expect("it is there"));
    });
    let set = cost(items, |n| cache.set_bytes(key(n), &bytes).expect("room"));
    println!("{items} items: get {get:.0} ns, set over {set:.0} ns");
    (get, set)
}

/// Puts items in, every call timed.
fn grow(cache: &Cache, numbers: std::ops::Range<u64>, times: &mut Vec<u32>, calls: &mut Longest, alone: &mut Longest) {
    let bytes = value(LEN);
    let mut next = numbers.start;
    while next < numbers.end {
        let end = (next + TURN).min(numbers.end);
        let begun = Instant::now();
        let mut before = begun;
        for n in next..end {
            cache.set_bytes(key(n), &bytes).expect("room");
            let now = Instant::now();
            let nanos = (now - before).as_nanos() as u64;
            before = now;
            calls.add(nanos);
            if nanos > LONG {
                println!("put {n} took {:.1} ms", nanos as f64 / 1e6);
            }
            times.push(u32::try_from(nanos).unwrap_or(u32::MAX));
        }
        let (as_long, start) = (before - begun, Instant::now());
        let mut before = start;
        while before - start < as_long {
            let now = Instant::now();
            alone.add((now - before).as_nanos() as u64);
            before = now;
        }
        next = end;
    }
}

fn main() {
    let items = std::env::var("LARDER_BENCH_ITEMS").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000_000);
    let directory = Directory::new();
    let cache = open(directory.path());
    let mut times = Vec::with_capacity(items as usize);
    let (mut calls, mut alone) = (Longest::default(), Longest::default());
    grow(&cache, 0..SMALL, &mut times, &mut calls, &mut alone);
    let (get, set) = costs(&cache, SMALL);
    grow(&cache, SMALL..items, &mut times, &mut calls, &mut alone);
    let (get_large, set_large) = costs(&cache, items);
    println!("that is {:.2} and {:.2} times as much", get_large / get, set_large / set);
    times.sort_unstable();
    let part = |part: f64| f64::from(times[((times.len() - 1) as f64 * part) as usize]) / 1e3;
    println!(
        "puts while it grew, us: p50 {:.2}, p99 {:.1}, p99.9 {:.1}, p99.99 {:.1}",
        part(0.5),
        part(0.99),
        part(0.999),
        part(0.9999)
    );
    calls.print("puts");
    alone.print("the clock alone, for as long");
}
