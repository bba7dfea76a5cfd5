//! What do ten small sets cost that are one commit, beside ten that are ten?
//!
//! Single sets, `set_many` of ten and transactions of ten alternate round by round in the same store, so that their ratios
//! hold on a busy machine too. Keys have 16 bytes, values 100. The case `durable` has `Durability::Sync`: there a commit is
//! a wait for the disk, and ten sets of one transaction wait once.
//!
//! `cargo bench --bench transaction`; with the names of a case and of a row (`-- hot transact`) that row runs alone, for a
//! profiler: what is measured is in the function `round`.

mod stage;

use std::time::Duration;

use larder::{Cache, Durability, Transaction};
use stage::{Bytes, Uniform, filled, items, key, timed, value};

/// Keys that stay in the processor's caches.
const HOT: u64 = 1000;
/// Sets of one commit.
const TEN: usize = 10;
/// Sets of one round: shorter than the time for which another process takes the processor, so that such rounds are few.
const SETS: usize = 2000;
const ROUNDS: usize = 301;
/// The same where each commit waits for the disk.
const DURABLE_SETS: usize = 40;
const DURABLE_ROUNDS: usize = 31;

/// A way to store ten pairs.
#[derive(Clone, Copy, PartialEq)]
enum Row {
    Single,
    Many,
    Transact,
}

const ROWS: [(Row, &str); 3] = [(Row::Single, "single"), (Row::Many, "set_many"), (Row::Transact, "transact")];

fn store(cache: &Cache, row: Row, keys: &[[u8; 16]], bytes: &[u8]) -> larder::Result<()> {
    match row {
        Row::Single => keys.iter().try_for_each(|key| cache.set_bytes(key, bytes)),
        Row::Many => cache.set_many(keys.iter().map(|key| (key, Bytes(bytes)))),
        Row::Transact => cache.transact(|tx: &Transaction| keys.iter().try_for_each(|key| tx.set_bytes(key, bytes))),
    }
}

/// One round: nanoseconds for ten sets.
#[inline(never)]
fn round(cache: &Cache, row: Row, numbers: &mut impl FnMut() -> u64, bytes: &[u8], sets: usize) -> f64 {
    let time = timed(|| {
        for _ in 0..sets / TEN {
            let keys: [_; TEN] = std::array::from_fn(|_| key(numbers()));
            store(cache, row, &keys, bytes).expect("stored");
        }
    });
    nanos(time) / (sets / TEN) as f64
}

fn nanos(time: Duration) -> f64 {
    time.as_nanos() as f64
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times[times.len() / 2]
}

/// All rows in turn, or the one that is asked for.
fn case(name: &str, asked: &[String], items: u64, durability: Durability, mut numbers: impl FnMut() -> u64) {
    if asked.first().is_some_and(|case| case != name) {
        return;
    }
    let only = asked.get(1);
    let (cache, directory) = filled(items, 100);
    let (cache, sets, rounds) = match durability {
        Durability::Sync => {
            let durable = Cache::builder(directory.path()).durability(durability).open();
            (durable.expect("opened"), DURABLE_SETS, DURABLE_ROUNDS)
        }
        _ => (cache, SETS, ROUNDS),
    };
    let bytes = value(100);
    let mut times = [const { Vec::new() }; ROWS.len()];
    for _ in 0..rounds {
        for ((row, label), times) in ROWS.iter().zip(&mut times) {
            if only.is_none_or(|only| only == label) {
                times.push(round(&cache, *row, &mut numbers, &bytes, sets));
            }
        }
    }
    if only.is_some() {
        return;
    }
    let [single, many, transact] = times.each_mut().map(|times| median(times));
    let row = |label: &str, ten: f64| {
        println!(
            "{name:8} {label:20} {ten:8.0} ns  {:6.2} of 10 sets {:7.2} of 1 set",
            ten / single,
            ten * 10.0 / single
        );
    };
    row("10 set_bytes", single);
    row("set_many of 10", many);
    row("transact of 10", transact);
}

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let items = items();
    let mut turn = 0;
    let mut hot = || {
        turn = (turn + 1) % HOT;
        turn
    };
    case("hot", &asked, HOT, Durability::Buffered, &mut hot);
    case("durable", &asked, HOT, Durability::Sync, &mut hot);
    let mut draws = Uniform::below(items);
    case("uniform", &asked, items, Durability::Buffered, || draws.draw());
    let mut next = items;
    case("new", &asked, items, Durability::Buffered, || {
        next += 1;
        next
    });
}
