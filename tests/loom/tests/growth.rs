//! Growth of the index beside a reader: `growth.rs`, `Store::find` and `Store::still_holds` of `read.rs`, over the real
//! geometry word.

use loom::thread;
use std::sync::Arc;

use larder_loom::check;
use larder_loom::engine::CELLS;
use larder_loom::memory::{Map, Orderings, REAL, RELAXED_LOADS, RELAXED_STORES};
use larder_loom::os::OsMap;
use larder_loom::storage::index::{Geometry, Table};
use larder_loom::storage::state::{GEOMETRY, row, row_word};

const SMALL: Table = Table { generation: 1, level: 6, base: 6 };
const LARGE: Table = Table { generation: 2, level: 7, base: 6 };
const HASH: u64 = 0;
/// An entry: slot and offset, as in `publish`.
const OLD: u64 = 8;
const NEW: u64 = 1 << 8 | 8;

/// The key's cell in a table.
fn cell_of(table: Table) -> usize {
    CELLS[table.generation as usize - 1]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rules {
    Real,
    /// Seeded: the geometry says that a bucket has moved before it is filled.
    MovedBeforeFilled,
    /// Seeded: the reader looks at the cell again, and not at the geometry.
    GeometryNotLookedAtAgain,
}

fn growth(orderings: Orderings, rules: Rules) {
    check(None, move || {
        let ids = [row_word(0, row::ID), row_word(1, row::ID)];
        let growing = |moved| Geometry { current: SMALL, next: Some((LARGE, moved)) }.bits();
        let words = [(GEOMETRY, growing(0)), (cell_of(SMALL), OLD), (cell_of(LARGE), 0), (ids[0], 7), (ids[1], 9)];
        let map = Arc::new(Map::new(orderings, &words, &[(7_008, 1), (9_008, 2), (8_008, 99)]));
        let writer = {
            let map = Arc::clone(&map);
            thread::spawn(move || {
                // 2. Fill the buckets of the next table, then raise `moved` over them.
                if rules == Rules::MovedBeforeFilled {
                    map.store(GEOMETRY, growing(16));
                }
                map.store(cell_of(LARGE), OLD);
                map.store(GEOMETRY, growing(16));
                // A put, which goes to the next table; the old record's segment goes, and its slot is used again.
                map.store(cell_of(LARGE), NEW);
                map.store(ids[0], 0);
                map.store(ids[0], 8);
                // 3.
                map.store(GEOMETRY, Geometry { current: LARGE, next: None }.bits());
            })
        };
        let value = loop {
            // 1.
            let word = map.load(GEOMETRY);
            let table = Geometry::from_bits(word).unwrap().table_of(HASH);
            let holds = || {
                let now = map.load(GEOMETRY);
                now == word || Geometry::from_bits(now).unwrap().table_of(HASH) == table
            };
            let entry = map.load(cell_of(table));
            if entry == 0 {
                if holds() {
                    break 0;
                }
                continue;
            }
            // 2.
            let id = map.load(ids[(entry >> 8) as usize]);
            let looks = rules != Rules::GeometryNotLookedAtAgain;
            if map.load(cell_of(table)) != entry || (looks && !holds()) {
                continue;
            }
            // 3.
            let value = if id == 0 { 0 } else { map.record(id as usize * 1000 + (entry & 0xFF) as usize) };
            // 6.
            if map.load(cell_of(table)) == entry && (!looks || holds()) {
                break value;
            }
        };
        assert!((1..=2).contains(&value), "a present key is {value}");
        writer.join().unwrap();
    });
}

#[test]
fn i5_a_key_is_found_while_its_bucket_moves() {
    growth(REAL, Rules::Real);
}

#[test]
#[should_panic(expected = "a present key is 0")]
fn bug_moved_before_the_buckets_are_filled() {
    growth(REAL, Rules::MovedBeforeFilled);
}

#[test]
#[should_panic(expected = "a present key is")]
fn bug_geometry_not_looked_at_again() {
    growth(REAL, Rules::GeometryNotLookedAtAgain);
}

#[test]
#[should_panic(expected = "a present key is 0")]
fn bug_relaxed_stores_of_geometry() {
    growth(RELAXED_STORES, Rules::Real);
}

#[test]
#[should_panic(expected = "a present key is 0")]
fn bug_relaxed_loads_of_geometry() {
    growth(RELAXED_LOADS, Rules::Real);
}
