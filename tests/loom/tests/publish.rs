//! Publish, look up, replace: a put of a key that is there, beside a reader; and the slot of a segment that is used again.
//! Mirrors step 4 (`Commit::append` of `room.rs`), 5 to 8 (`commit.rs`) and `Store::find` of `read.rs`.

use loom::thread;
use std::sync::Arc;

use larder_loom::check;
use larder_loom::engine::commit::{Order, change, publish};
use larder_loom::engine::read::{Rules, get};
use larder_loom::engine::{CELLS, Record};
use larder_loom::memory::{Map, Orderings, REAL, RELAXED_LOADS, RELAXED_STORES};
use larder_loom::os::OsMap;
use larder_loom::storage::state::{PENDING, VISIBLE, row, row_word};

const FIRST: Record = Record { sequence: 1, value: 1, previous: 0 };
const SECOND: Record = Record { sequence: 2, value: 2, previous: 8 };

fn replace(orderings: Orderings, record_first: bool) {
    check(None, move || {
        let words = [(PENDING, 0), (VISIBLE, 1), (CELLS[0], 8)];
        let map = Arc::new(Map::new(orderings, &words, &[(8, FIRST.bits()), (16, 0)]));
        let writer = {
            let map = Arc::clone(&map);
            thread::spawn(move || {
                // 4.
                if record_first {
                    map.write_record(16, SECOND.bits());
                }
                // 5 to 8.
                publish(&*map, 2, &[change(CELLS[0], 16)], Order::Real);
                if !record_first {
                    map.write_record(16, SECOND.bits());
                }
            })
        };
        let (first, second) = (get(&map, 0, Rules::Real), get(&map, 0, Rules::Real));
        assert!((1..=2).contains(&first) && (first..=2).contains(&second), "{first}, then {second}");
        writer.join().unwrap();
        assert_eq!(get(&map, 0, Rules::Real), 2);
    });
}

#[test]
fn i4_a_reader_finds_the_record_before_or_the_new_one_whole() {
    replace(REAL, true);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn bug_cell_before_the_bytes_of_its_record() {
    replace(REAL, false);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn bug_relaxed_stores_of_cells() {
    replace(RELAXED_STORES, true);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn bug_relaxed_loads_of_cells() {
    replace(RELAXED_LOADS, true);
}

/// An entry: slot and offset. Segment 7 is in slot 0, segment 9 in slot 1; segment 8 comes into slot 0.
const OLD: u64 = 8;
const NEW: u64 = 1 << 8 | 8;

fn slot_used_again(orderings: Orderings, looks_again: bool) {
    check(None, move || {
        let ids = [row_word(0, row::ID), row_word(1, row::ID)];
        let words = [(CELLS[0], OLD), (ids[0], 7), (ids[1], 9)];
        let map = Arc::new(Map::new(orderings, &words, &[(7_008, 1), (9_008, 0), (8_008, 0)]));
        let writer = {
            let map = Arc::clone(&map);
            thread::spawn(move || {
                // A put that replaces; a commit that retires the segment; one that makes another in its slot.
                map.write_record(9_008, 2);
                map.store(CELLS[0], NEW);
                map.store(ids[0], 0);
                map.write_record(8_008, 99);
                map.store(ids[0], 8);
            })
        };
        let value = loop {
            // 1 and 2: the id from the row that the entry names, then the cell again.
            let entry = map.load(CELLS[0]);
            let id = map.load(ids[(entry >> 8) as usize]);
            if looks_again && map.load(CELLS[0]) != entry {
                continue;
            }
            // 3. An id of 0 is an entry that leads nowhere: a miss.
            let value = if id == 0 { 0 } else { map.record(id as usize * 1000 + (entry & 0xFF) as usize) };
            // 6.
            if map.load(CELLS[0]) == entry || !looks_again {
                break value;
            }
        };
        assert!((1..=2).contains(&value), "a present key is {value}");
        writer.join().unwrap();
    });
}

#[test]
fn i5_an_entry_is_followed_into_the_segment_it_was_written_for() {
    slot_used_again(REAL, true);
}

#[test]
#[should_panic(expected = "a present key is")]
fn bug_cell_not_looked_at_again_after_the_row() {
    slot_used_again(REAL, false);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn bug_relaxed_stores_of_rows() {
    slot_used_again(RELAXED_STORES, true);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn bug_relaxed_loads_of_rows() {
    slot_used_again(RELAXED_LOADS, true);
}
