//! The rows: what is measured, each by a function that a worker runs once a round. Those of a cell share a store that is filled
//! beforehand; the others have a store of their own, which they fill.

pub mod behind;
pub mod core;
mod items;
mod limits;
mod opening;
mod others;
mod removal;
mod structures;

use crate::measure::Outcome;
use crate::stage::{Figure, Stage};

#[derive(Clone, Copy, PartialEq)]
pub enum Unit {
    Micros,
    Millis,
    MiB,
    Bytes,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Scope {
    /// In a store with so many items of such a length.
    Cell,
    /// The same, where items are small.
    SmallCell,
    /// After the rows before it, in a process of its own that opens the store of a cell.
    Reopened,
    /// In a store of its own.
    Alone,
}

pub struct Row {
    pub name: &'static str,
    pub title: &'static str,
    pub unit: Unit,
    pub scope: Scope,
    pub run: fn(&mut Stage, u64) -> Outcome<Figure>,
}

const fn row(
    name: &'static str,
    title: &'static str,
    unit: Unit,
    scope: Scope,
    run: fn(&mut Stage, u64) -> Outcome<Figure>,
) -> Row {
    Row { name, title, unit, scope, run }
}

use Scope::{Alone, Cell, Reopened, SmallCell};
use Unit::{Bytes, MiB, Micros, Millis};

/// All of them but `core`, which is for several processes. Those that read come first.
pub static ROWS: [Row; 25] = [
    row("get", "get, hit, uniform", Micros, Cell, items::get),
    row("zipf", "get, hit, zipf 0.99", Micros, Cell, items::get_zipf),
    row("miss", "get, miss", Micros, Cell, items::get_absent),
    row("memory", "memory after reading: peak resident, mapped files included", MiB, Cell, opening::memory),
    row("anonymous", "memory after reading: of it the process's own", MiB, Cell, opening::anonymous),
    row("disk", "disk, an item, after filling", Bytes, Cell, opening::disk),
    row("overwrite", "set, overwriting, uniform", Micros, Cell, items::overwrite),
    row("new", "set, new keys", Micros, Cell, items::add),
    row("delete", "delete", Micros, Cell, items::delete),
    row("batch10", "set of 10 by one commit, an item", Micros, Cell, items::batch_10),
    row("batch1000", "set of 1,000 by one commit, an item", Micros, Cell, items::batch_1000),
    row("incr", "incr of 64 counters", Micros, SmallCell, items::incr),
    row("open-warm", "open and the first get, files in memory", Millis, Reopened, opening::warm),
    row("open-cold", "open and the first get, files not in memory", Millis, Reopened, opening::cold),
    row("quota", "set, new keys, at a limit of 16 MiB", Micros, Alone, limits::quota),
    row("lru", "get, and set after a miss, zipf, LRU at a limit of 16 MiB", Micros, Alone, limits::lru),
    row("evict", "evict of a tag that 10,000 of 20,000 items have, the call", Millis, Alone, removal::evict),
    row("expire", "expire of 2,000 due items of 12,000, an item", Micros, Alone, removal::expire),
    row("clear", "clear of 50,000 items, the call", Millis, Alone, removal::clear),
    row("deque", "queue: push and pop of 100 B", Micros, Alone, structures::deque),
    row("index-insert", "sorted map of 100,000 pairs: insert of a new key", Micros, Alone, structures::insert),
    row("index-range", "sorted map of 100,000 pairs: a pair of a range", Micros, Alone, structures::range),
    row("index-pop", "sorted map of 100,000 pairs: pop_first", Micros, Alone, structures::pop_first),
    row("memoized", "memoized call, hit", Micros, Alone, others::memoized),
    row("sync", "set, on the disk when it returns", Micros, Alone, others::sync),
];

/// The name of the row for several processes.
pub const CORE: &str = "core";

pub fn find(name: &str) -> Outcome<&'static Row> {
    let names = || ROWS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ");
    Ok(ROWS.iter().find(|row| row.name == name).ok_or_else(|| format!("no row {name}; there are {}, core", names()))?)
}
