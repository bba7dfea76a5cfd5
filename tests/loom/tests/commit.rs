//! A batch of two keys, the records that it replaces, and readers of one moment: `commit.rs`, `finish.rs`, `snapshot.rs`.

use loom::thread;
use std::sync::Arc;

use larder_loom::check;
use larder_loom::engine::commit::{Order, change, publish, publish_and_die, recover};
use larder_loom::engine::read::{Rules, get, try_get_both};
use larder_loom::engine::{CELLS, Record};
use larder_loom::memory::{Map, Orderings, REAL, RELAXED_LOADS, RELAXED_STORES};
use larder_loom::os::OsMap;
use larder_loom::storage::redo::CHANGE;
use larder_loom::storage::state::{PENDING, REDO, VISIBLE};

/// Both keys hold 1. The records of the next commit go to 24 and 32.
fn both_set(orderings: Orderings, with_list: bool) -> Map {
    let mut words = vec![(PENDING, 0), (VISIBLE, 1), (CELLS[0], 8), (CELLS[1], 16)];
    if with_list {
        words.push((REDO, 0));
        words.extend([0, 1].into_iter().flat_map(|i| {
            let at = REDO + 16 + i * CHANGE;
            [(at, 0), (at + 16, 0)]
        }));
    }
    let first = Record { sequence: 1, value: 1, previous: 0 }.bits();
    Map::new(orderings, &words, &[(8, first), (16, first), (24, 0), (32, 0)])
}

fn write_batch(map: &Map, values: [u64; 2]) {
    map.write_record(24, Record { sequence: 2, value: values[0], previous: 8 }.bits());
    map.write_record(32, Record { sequence: 2, value: values[1], previous: 16 }.bits());
}

/// A batch that sets both keys to 2, or removes the first one and empties its cell by a commit of its own.
fn batch(orderings: Orderings, order: Order, removes: bool, read: impl Fn(&Map) + Copy + Send + Sync + 'static) {
    check(None, move || {
        let map = Arc::new(both_set(orderings, false));
        let writer = {
            let map = Arc::clone(&map);
            thread::spawn(move || {
                write_batch(&map, [if removes { 0 } else { 2 }, 2]);
                publish(&*map, 2, &[change(CELLS[0], 24), change(CELLS[1], 32)], order);
                if removes {
                    publish(&*map, 3, &[change(CELLS[0], 0)], order);
                }
            })
        };
        read(&map);
        writer.join().unwrap();
        assert_eq!(try_get_both(&map, Rules::Real), Some([if removes { 0 } else { 2 }, 2]));
    });
}

fn both_or_neither(map: &Map) {
    if let Some(values) = try_get_both(map, Rules::Real) {
        assert!(values == [1, 1] || values == [2, 2] || values == [0, 2], "half of a batch: {values:?}");
    }
}

/// Who sees the second key of a batch sees the first one after that.
fn one_then_the_other(map: &Map, rules: Rules) {
    let second = get(map, 1, rules);
    let first = get(map, 0, rules);
    assert!(second == 1 || first != 1, "the second key is {second}, the first one {first}");
}

#[test]
fn i3_a_snapshot_has_both_keys_of_a_batch_or_neither() {
    batch(REAL, Order::Real, false, both_or_neither);
}

#[test]
fn i3_a_snapshot_has_a_removal_of_a_batch_with_the_rest_of_it() {
    batch(REAL, Order::Real, true, both_or_neither);
}

#[test]
fn i3_who_sees_one_key_of_a_batch_sees_the_other() {
    batch(REAL, Order::Real, false, |map| one_then_the_other(map, Rules::Real));
}

#[test]
#[should_panic(expected = "the second key is 2, the first one 1")]
fn bug_visible_before_cells() {
    // The other way round, as cells are stored in order: the first key of the new batch, the second of the old.
    batch(REAL, Order::VisibleFirst, false, |map| {
        let first = get(map, 0, Rules::Real);
        let second = get(map, 1, Rules::Real);
        assert!(first == 1 || second != 1, "the second key is {first}, the first one {second}");
    });
}

#[test]
#[should_panic(expected = "one 1")]
fn bug_reader_that_ignores_visible() {
    batch(REAL, Order::Real, false, |map| {
        let first = get(map, 0, Rules::IgnoresVisible);
        let second = get(map, 1, Rules::IgnoresVisible);
        assert!(first == 1 || second != 1, "one {first}, the other one {second}");
    });
}

#[test]
#[should_panic(expected = "half of a batch")]
fn bug_snapshot_that_trusts_missing_keys() {
    batch(REAL, Order::Real, true, |map| {
        if let Some(values) = try_get_both(map, Rules::TrustsMissing) {
            assert!(values == [1, 1] || values == [0, 2], "half of a batch: {values:?}");
        }
    });
}

#[test]
#[should_panic(expected = "Causality violation")]
fn bug_relaxed_publish_of_visible_and_cells() {
    batch(RELAXED_STORES, Order::Real, false, both_or_neither);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn bug_relaxed_load_of_visible_and_cells() {
    batch(RELAXED_LOADS, Order::Real, false, both_or_neither);
}

/// The writer dies in step 6; a rescuer that was told of its death recovers, beside a reader.
fn recovery(orderings: Orderings, order: Order, applied: usize) {
    check(None, move || {
        let map = Arc::new(both_set(orderings, true));
        let dies = {
            let map = Arc::clone(&map);
            thread::spawn(move || {
                write_batch(&map, [2, 2]);
                publish_and_die(&*map, 2, &[change(CELLS[0], 24), change(CELLS[1], 32)], applied, order);
            })
        };
        let rescues = {
            let map = Arc::clone(&map);
            thread::spawn(move || {
                dies.join().unwrap();
                recover(&*map);
                assert_eq!(map.load(VISIBLE), 2);
                assert_eq!(try_get_both(&map, Rules::Real), Some([2, 2]), "not recovered");
            })
        };
        both_or_neither(&map);
        rescues.join().unwrap();
    });
}

#[test]
fn i2_a_rescuer_finishes_a_commit_beside_a_reader() {
    for applied in 0..=2 {
        recovery(REAL, Order::Real, applied);
    }
}

#[test]
#[should_panic(expected = "not recovered")]
fn bug_pending_before_the_list() {
    recovery(REAL, Order::PendingFirst, 0);
}
