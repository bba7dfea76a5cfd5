//! What does a sorted map cost, beside SQLite as python-diskcache uses it for its `Index`: pairs put, read, gone through in the order
//! of keys, and the first taken out? Both hold the same pairs; all in one run, in turns, as medians.
//!
//! `cargo run --release --bin index [ROUNDS [PAIRS]]`. Directories are made beside the program, or in `LARDER_BENCH_DIR`.

use larder::Index;
use larder_compare::measure::{Outcome, micros, parent, print};
use larder_compare::memory;
use larder_compare::sqlite_index::SqliteIndex;

const PAIRS: u64 = 1_000_000;
/// Calls of a round, and of a round of SQLite.
const CALLS: u64 = 50_000;
const SQLITE_CALLS: u64 = 5_000;

/// What is compared, in microseconds a call or a pair; the first of each two is larder's.
#[derive(Default)]
struct Times {
    insert_new: [Vec<f64>; 2],
    insert_over: [Vec<f64>; 2],
    get: [Vec<f64>; 2],
    walk: [Vec<f64>; 2],
    pop_first: [Vec<f64>; 2],
}

/// Numbers that look drawn; those of different rounds differ.
fn drawn(n: u64, pairs: u64) -> u64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % pairs
}

/// A round of larder. Keys are even numbers, so that odd ones are new.
fn ours(index: &Index<u64, String>, value: &str, (round, pairs): (u64, u64), times: &mut Times) -> Outcome<()> {
    let mut n = round * CALLS;
    let mut next = || {
        n += 1;
        drawn(n, pairs)
    };
    times.get[0].push(micros(CALLS, || {
        assert!(index.get(2 * next())?.is_some());
        Ok(())
    })?);
    times.insert_over[0].push(micros(CALLS, || Ok(index.insert(2 * next(), value).map(drop)?))?);
    let mut gone_through = 0;
    let all = micros(1, || {
        gone_through = index.range(..).filter(|pair| pair.is_ok()).count() as u64;
        Ok(())
    })?;
    assert!(gone_through >= pairs);
    times.walk[0].push(all / gone_through as f64);
    // As many go as come. The first keys are those that were put: less than all others.
    let new = round * CALLS;
    let mut n = 0;
    times.insert_new[0].push(micros(CALLS, || {
        n += 1;
        Ok(index.insert(2 * drawn(new + n, pairs) + 1, value).map(drop)?)
    })?);
    times.pop_first[0].push(micros(CALLS, || {
        assert!(index.pop_first()?.is_some());
        Ok(())
    })?);
    Ok(index.extend((0..CALLS).map(|n| (2 * n, value.to_owned())))?)
}

/// The same of SQLite.
fn theirs(index: &SqliteIndex, value: &str, (round, pairs): (u64, u64), times: &mut Times) -> Outcome<()> {
    let mut n = round * SQLITE_CALLS;
    let mut next = || {
        n += 1;
        drawn(n, pairs) as i64
    };
    times.get[1].push(micros(SQLITE_CALLS, || {
        assert!(index.get(2 * next())?.is_some());
        Ok(())
    })?);
    times.insert_over[1].push(micros(SQLITE_CALLS, || Ok(index.insert(2 * next(), value)?))?);
    let mut met = 0;
    let some = micros(1, || {
        met = index.walk(10 * SQLITE_CALLS)?.0;
        Ok(())
    })?;
    times.walk[1].push(some / met as f64);
    times.insert_new[1].push(micros(SQLITE_CALLS, || Ok(index.insert(2 * next() + 1, value)?))?);
    times.pop_first[1].push(micros(SQLITE_CALLS, || {
        assert!(index.pop_first()?.is_some());
        Ok(())
    })?);
    Ok(index.fill((0..SQLITE_CALLS as i64).map(|n| 2 * n), value)?)
}

fn print_row(name: &str, [ours, theirs]: &mut [Vec<f64>; 2]) {
    let ours = print(&format!("larder, {name}"), ours);
    let theirs = print(&format!("SQLite, {name}"), theirs);
    println!("{:<58} {:>9.1}", "  ratio", theirs / ours);
}

fn main() -> Outcome<()> {
    let number = |place, default| std::env::args().nth(place).map_or(Ok(default), |text| text.parse::<u64>());
    let (rounds, pairs) = (number(1, 7)?.max(1), number(2, PAIRS)?.max(CALLS));
    let directories = [tempfile::tempdir_in(parent()?)?, tempfile::tempdir_in(parent()?)?];
    let value = "x".repeat(100);
    let larder = Index::<u64, String>::builder(&directories[0]).size_limit(4 << 30).open()?;
    larder.extend((0..pairs).map(|n| (2 * drawn(n, pairs), value.clone())))?;
    larder.extend((0..pairs).map(|n| (2 * n, value.clone())))?;
    let sqlite = SqliteIndex::open(directories[1].path())?;
    sqlite.fill((0..pairs as i64).map(|n| 2 * n), &value)?;
    let mut times = Times::default();
    for round in 0..rounds {
        memory::touch(directories[0].path())?;
        ours(&larder, &value, (round, pairs), &mut times)?;
        memory::touch(directories[0].path())?;
        theirs(&sqlite, &value, (round, pairs), &mut times)?;
    }
    println!("{:<58} {:>9}   (least to most of {rounds} rounds)", format!("us, {pairs} pairs of 100 B"), "median");
    print_row("insert of a new key", &mut times.insert_new);
    print_row("insert over a key", &mut times.insert_over);
    print_row("get", &mut times.get);
    print_row("a pair of a walk through keys and values", &mut times.walk);
    print_row("pop_first", &mut times.pop_first);
    Ok(())
}
