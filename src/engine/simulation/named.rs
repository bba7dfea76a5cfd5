//! Single stories: each a death or failure at one place that once had a consequence far from it. What is tried at every
//! step stands in `deaths` and `failures`.

use super::super::compaction::Step;
use super::super::living::Living;
use super::acts::{Act, Item, item, put, tagged, value_bytes};
use super::audit::{audit, drift, live};
use super::world::{Handle, World, living, open, open_in, path};
use super::{scale, spread};
use crate::engine::change::Op;
use crate::os::sim::{CallKind, SimOs};
use crate::os::{Os, OsMap};
use crate::storage::namespace::Label;
use crate::storage::{index, state};
use std::io::ErrorKind;

fn checked_rebuild(world: &World, moment: &str) {
    let rebuilt = world.rebuild();
    assert_eq!(live(&rebuilt.store), living(&world.contents, rebuilt.store.now()), "{moment}: rebuilt");
    audit(&rebuilt.store);
}

/// Kills a process at a step of an operation. False if it finished before.
fn dies<R>(os: &SimOs, step: u64, piece: impl FnOnce() -> R) -> bool {
    os.kill_after(step);
    let died = os.run(piece).is_none();
    os.kill();
    died
}

#[test]
fn a_segment_made_ahead_is_gone_before_the_lock_of_its_dead_maker_is_free() {
    let prepare: Vec<Act> = (0..10).map(|i| put(100 + i, 1, 6_000)).collect();
    for step in (0..).step_by(if scale() > 1 { 1 } else { 7 }) {
        let (_, victim) = World::with(7, &prepare);
        let died = dies(&victim.os, step, || put(5, 1, 6_000).apply(&victim.store).unwrap());
        if !died {
            break;
        }
        if !victim.os.machine().paths().contains(&path("log-2")) {
            continue;
        }
        for again in spread(20, 5 * scale()) {
            let (mut world, victim) = World::with(7, &prepare);
            dies(&victim.os, step, || put(5, 1, 6_000).apply(&victim.store).unwrap());
            let heir = world.machine.process();
            dies(&heir, again, || drop(open_in(&heir).unwrap()));
            let last = open(&world.machine);
            audit(&last.store);
            if live(&last.store).contains_key(&5) {
                put(5, 1, 6_000).model(&mut world.contents, 0);
            }
            // Short enough to go to the segment before.
            world.apply(&last, &put(6, 1, 20));
            drop(last);
            checked_rebuild(&world, &format!("deaths at {step} and {again}"));
        }
    }
}

#[test]
fn segments_are_unlinked_in_the_order_in_which_they_were_made() {
    let prepare: Vec<Act> = (0..320).map(|i| put(i, 1, 7_900)).collect();
    let (_world, victim) = World::with(7, &prepare);
    let before = victim.os.steps();
    victim.store.clear().unwrap();
    let steps = victim.os.steps() - before;
    for left in spread(24, 6 * scale()) {
        let (mut world, victim) = World::with(7, &prepare);
        assert!(dies(&victim.os, steps - 10 * left - 1, || victim.store.clear().unwrap()));
        world.contents.clear();
        world.machine.remount();
        let heir = open(&world.machine);
        world.check(&heir);
        world.apply(&heir, &put(1, 2, 50));
        drop(heir);
        checked_rebuild(&world, &format!("death {} steps before the end", 10 * left + 1));
    }
}

#[test]
fn a_segment_that_cannot_be_unlinked_keeps_the_younger_ones() {
    let prepare: Vec<Act> = (0..40).map(|i| put(i % 4, i / 4, 7_900)).collect();
    for nth in 1..4 {
        let (mut world, handle) = World::with(7, &prepare);
        for i in 0..60 {
            world.machine.clear_failures();
            world.machine.fail_at(CallKind::Remove, "log-", nth, ErrorKind::PermissionDenied);
            world.apply(&handle, &put(i % 4, 100 + i, 7_900));
            audit(&handle.store);
            assert_eq!(drift(&handle.store).0, 0, "a file that could not be unlinked is counted");
        }
        world.machine.clear_failures();
        drop(handle);
        checked_rebuild(&world, "after removals that failed");
    }
}

#[test]
fn what_a_clear_cannot_unlink_counts_until_it_is_gone() {
    let large = [put(1, 1, 9_000), put(2, 1, 9_000), put(3, 1, 30)];
    let (mut world, handle) = World::with(7, &large);
    world.machine.fail_at(CallKind::Remove, "value-", 1, ErrorKind::PermissionDenied);
    world.apply(&handle, &Act::Clear);
    audit(&handle.store);
    let report = handle.store.check(&mut |_| ()).unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
    let with_one_left = handle.store.volume();
    world.apply(&handle, &put(1, 2, 30));
    world.apply(&handle, &Act::Clear);
    assert!(handle.store.volume() < with_one_left, "the second clear tries again");
    world.check(&handle);
}

#[test]
fn an_inherited_handle_works_in_a_child_of_fork() {
    let (world, parent) = World::with(6, &[put(1, 1, 10), put(2, 1, 10)]);
    let Handle { store, os } = parent;
    let handle = Living::new(store);
    let child = os.fork();
    let carried_out = child.run(|| {
        assert_eq!(put(1, 2, 10).apply(&handle).unwrap(), put(1, 2, 10).apply(&handle).unwrap());
        assert!(Act::Remove(2).apply(&handle).is_ok());
        assert!(handle.clone().len() == 1);
    });
    assert!(carried_out.is_some() && !os.is_forked());
    assert_eq!(handle.len(), 1);
    child.kill();
    // The parent is alone again, and takes over whatever the child left.
    assert!(put(3, 1, 10).apply(&handle).is_ok());
    let report = handle.check(&mut |_| ()).unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
    drop(handle);
    drop(world);
}

#[test]
fn dead_segments_make_room_when_the_store_is_full() {
    let (mut world, handle) = World::with(4, &[]);
    let mut end = 0;
    while put(end, 1, 7_900).apply(&handle.store).is_ok() {
        put(end, 1, 7_900).model(&mut world.contents, 0);
        end += 1;
    }
    for key in 0..end / 2 {
        world.apply(&handle, &Act::Remove(key));
    }
    for key in 0..end / 4 {
        world.apply(&handle, &put(key, 2, 7_900));
    }
    world.check(&handle);
}

#[test]
fn a_call_that_fails_at_the_end_of_the_allocated_part_writes_into_no_hole() {
    // The records end where a page does, or so near that the next header lies in two pages.
    for ending in [0, 8, 16] {
        let (mut world, handle) = World::with(4, &[]);
        let key = super::acts::key_bytes(1).len();
        let len = 3 * 4096 - 64 - 24 - key.next_multiple_of(8) - ending;
        let value = value_bytes(1, super::acts::item(1, len - len % 8));
        let big = super::super::Put {
            kind: 0,
            value: super::super::Value::Inline(&value),
            expires: None,
            tag: super::super::Tag::None,
        };
        let hash = |key: &[u8]| handle.store.hash(key);
        handle.store.batch(&[Op::put(b"key 1", hash(b"key 1"), big)]).unwrap();
        put(1, 1, value.len()).model(&mut world.contents, 0);
        for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
            // Where there is no room, it is tried again.
            (1..=8).for_each(|nth| world.machine.fail_at(CallKind::WriteAt, "log-", nth, kind));
            assert!(handle.store.batch(&[Op::put(b"key 2", hash(b"key 2"), big)]).is_err());
            world.machine.clear_failures();
        }
        world.machine.limit_disk(Some(world.machine.used_bytes()));
        assert!(handle.store.batch(&[Op::put(b"key 2", hash(b"key 2"), big)]).unwrap_err().is_full());
        world.machine.limit_disk(None);
        world.check(&handle);
        world.apply(&handle, &put(2, 1, 30));
        drop(handle);
        checked_rebuild(&world, "after a full disk");
    }
}

#[test]
fn overflow_buckets_of_a_growing_table_are_counted_whoever_dies() {
    let mut met = 0;
    for seed in 0..40 {
        let mut prepare: Vec<Act> = vec![];
        for i in 0..11 {
            prepare.push(Act::Batch((0..29).map(|key| put(i * 29 + key, 1, 8)).collect()));
        }
        let grow = |handle: &Handle| (0..8).for_each(|i| put(1_000 + i, 1, 8).apply_alone(&handle.store));
        let (_world, victim) = World::with(seed, &prepare);
        let before = victim.os.steps();
        grow(&victim);
        let steps = victim.os.steps() - before;
        let table = victim.store.geometry().unwrap().current;
        if table.level == 6 || victim.store.map_index(table).unwrap().map.load(index::OVERFLOW_USED) == 0 {
            continue;
        }
        met += 1;
        for step in (0..steps).step_by((30 / scale()).max(1)) {
            let (mut world, victim) = World::with(seed, &prepare);
            let survivor = open(&world.machine);
            assert!(dies(&victim.os, step, || grow(&victim)));
            audit(&survivor.store);
            world.contents = live(&survivor.store);
            grow(&survivor);
            for i in 0..8 {
                put(1_000 + i, 1, 8).model(&mut world.contents, 0);
            }
            world.check(&survivor);
        }
        if met == scale() {
            return;
        }
    }
    panic!("no table needed an overflow bucket while it grew");
}

#[test]
fn growth_goes_on_after_any_number_of_deaths() {
    let (mut world, handle) = World::with(11, &[]);
    (0..5).for_each(|i| world.apply(&handle, &Act::Batch((0..64).map(|key| put(i * 64 + key, 1, 8)).collect())));
    for i in 0..200 {
        let victim = open(&world.machine);
        dies(&victim.os, 40 + i % 60, || put(2_000, 1, 8).apply(&victim.store).unwrap());
        audit(&handle.store);
    }
    world.contents = live(&handle.store);
    for key in 3_000..3_100 {
        world.apply(&handle, &put(key, 1, 8));
    }
    world.check(&handle);
}

#[test]
fn space_set_aside_by_a_dead_writer_comes_back_while_others_live() {
    let (world, handle) = World::with(5, &[put(1, 1, 10)]);
    for step in 0..30 {
        let victim = open(&world.machine);
        dies(&victim.os, step, || put(2, 1, 40_000).apply(&victim.store).unwrap());
        drop(open(&world.machine));
    }
    assert_eq!(handle.store.state.load(state::RESERVED), 4096, "its own presence alone");
    let drafts = world.machine.paths().iter().filter(|path| path.to_string_lossy().contains("draft")).count();
    assert_eq!(drafts, 0);
}

#[test]
fn space_of_cleared_values_comes_back_after_a_death() {
    let prepare: Vec<Act> = (0..5).map(|i| put(i, 1, 100_000)).collect();
    let (_world, victim) = World::with(5, &prepare);
    let before = victim.os.steps();
    victim.store.clear().unwrap();
    let steps = victim.os.steps() - before;
    for step in spread(steps, 60 * scale()) {
        let (world, victim) = World::with(5, &prepare);
        let survivor = open(&world.machine);
        assert!(dies(&victim.os, step, || victim.store.clear().unwrap()));
        let next = open(&world.machine);
        survivor.store.clear().unwrap();
        audit(&next.store);
        assert_eq!(drift(&next.store).0, 0);
        let values = world.machine.paths().iter().filter(|path| path.to_string_lossy().contains("value-")).count();
        assert_eq!(values, 0, "death at step {step} of {steps}");
        assert!(next.store.volume() < 400_000, "{}", next.store.volume());
    }
}

#[test]
fn many_small_batches_grow_the_table_before_it_is_full() {
    for size in [1, 30, 64, 65, 150, 600] {
        let (mut world, handle) = World::with(6, &[]);
        for i in 0..1_800 / size {
            world.apply(&handle, &Act::Batch((0..size).map(|key| put(i * size + key, 1, 8)).collect()));
        }
        world.check(&handle);
    }
}

#[test]
fn a_large_value_of_more_than_half_the_limit_fits_an_empty_store() {
    let (mut world, handle) = World::with(6, &[]);
    for version in 0..3 {
        world.apply(&handle, &put(1, version, 2_800_000));
        world.apply(&handle, &Act::Remove(1));
    }
    world.apply(&handle, &tagged(1, 9, 2_800_000, 1));
    world.check(&handle);
}

#[test]
fn a_fork_leaves_no_trace() {
    let (world, handle) = World::with(6, &[put(1, 1, 10)]);
    let child = handle.os.fork();
    child.run(|| assert!(put(1, 2, 10).apply(&handle.store).is_err()));
    assert!(!handle.os.is_forked());
    world.check(&handle);
}

#[test]
fn what_has_expired_is_collected_by_a_process_that_has_mapped_nothing() {
    let expiring = |key| Act::Put(key, Item { tag: Some(1), expires: Some(5), ..item(1, 30) });
    let (mut world, handle) = World::with(6, &[expiring(1), expiring(2), put(3, 1, 10)]);
    drop(handle);
    let fresh = open(&world.machine);
    world.apply(&fresh, &Act::Expire);
    assert_eq!(fresh.store.len(), 1);
    world.check(&fresh);
}

/// Keeps a store so full that its oldest segments go, and the names of tags in them are written again.
fn churn(world: &mut World, handle: &Handle, from: u32, rounds: u32) {
    for i in 0..rounds {
        for key in 0..30 {
            world.apply(handle, &put(100 + key, from + i, 7_000));
        }
    }
}

#[test]
fn names_of_tags_that_were_written_again_count_once_after_a_rebuild() {
    let (mut world, handle) = World::with(6, &[]);
    (0..3).for_each(|tag| world.apply(&handle, &tagged(u32::from(tag), 1, 20, tag)));
    (0..3).for_each(|key| world.apply(&handle, &Act::Remove(key)));
    churn(&mut world, &handle, 1, 22);
    for tag in 0..3 {
        world.apply(&handle, &tagged(10 + u32::from(tag), 1, 20, tag));
    }
    world.apply(&handle, &Act::Evict(2));
    world.check(&handle);
    drop(handle);
    let rebuilt = world.rebuild();
    world.check(&rebuilt);
    // What was evicted keeps its cell until something else takes it.
    world.apply(&rebuilt, &put(12, 3, 20));
    (10..13).for_each(|key| world.apply(&rebuilt, &Act::Remove(key)));
    churn(&mut world, &rebuilt, 60, 40);
    world.apply(&rebuilt, &tagged(10, 5, 20, 0));
    world.apply(&rebuilt, &Act::Evict(0));
    world.check(&rebuilt);
}

#[test]
fn an_eviction_that_stands_before_its_tags_name_counts_in_a_rebuild() {
    let (mut world, handle) = World::with(6, &[]);
    // The first segment holds the name alone once the item is stored anew in a later one.
    world.apply(&handle, &tagged(1, 1, 20, 1));
    (0..18).for_each(|i| world.apply(&handle, &put(200 + i, 1, 7_000)));
    world.apply(&handle, &tagged(1, 2, 20, 1));
    world.apply(&handle, &tagged(2, 2, 20, 2));
    (0..3).for_each(|i| world.apply(&handle, &tagged(3 + i, 1, 7_000, 1)));
    world.apply(&handle, &Act::Evict(1));
    world.apply(&handle, &tagged(9, 1, 50, 1));
    (0..18).for_each(|i| world.apply(&handle, &Act::Remove(200 + i)));
    while world.machine.paths().contains(&path("log-1")) {
        assert_ne!(handle.store.compact(&handle.store.lock().unwrap()).unwrap(), Step::Nothing);
        handle.store.epilogue();
    }
    world.check(&handle);
    assert!(!world.machine.paths().contains(&path("log-1")), "the first segment is gone");
    drop(handle);
    let rebuilt = world.rebuild();
    world.check(&rebuilt);
    world.apply(&rebuilt, &Act::Evict(1));
    world.check(&rebuilt);
}

#[test]
fn space_of_evicted_items_comes_back_when_the_store_is_full() {
    let (_, handle) = World::with(4, &[]);
    let fill = |handle: &Handle, version: u32| {
        let mut key = 0;
        while tagged(key, version, 2_000, 1).apply(&handle.store).is_ok() {
            key += 1;
        }
        key
    };
    let first = fill(&handle, 1);
    handle.store.evict(Label::tag("tag 1")).unwrap();
    let (mut again, mut key) = (0, 1_000_000);
    while tagged(key, 1, 2_000, 1).apply(&handle.store).is_ok() {
        (again, key) = (again + 1, key + 1);
    }

    assert!(again > first / 2, "{again} of {first}");
}

/// Found by `protocol_model`: the record that opens a batch is written last, and that of a dead writer stood where the
/// next one put members of the same lengths under the same sequence.
#[test]
fn members_of_two_dead_writers_never_make_a_batch() {
    let batch = |version| Act::Batch(vec![put(1, version, 50), put(2, version, 50)]);
    let prepared = || World::with(7, &[batch(1)]);
    let steps_of = |version| {
        let (_world, victim) = prepared();
        let before = victim.os.steps();
        batch(version).apply(&victim.store).unwrap();
        victim.os.steps() - before
    };
    for first in 0..steps_of(2) {
        for second in 0..steps_of(3) {
            let (world, victim) = prepared();
            let heir = open(&world.machine);
            assert!(dies(&victim.os, first, || batch(2).apply(&victim.store).unwrap()));
            dies(&heir.os, second, || batch(3).apply(&heir.store).unwrap());
            drop((victim, heir));
            let rebuilt = world.rebuild();
            let found = live(&rebuilt.store);
            let versions = [1, 2].map(|key| found.get(&key).map(|item| item.version));
            assert_eq!(versions[0], versions[1], "deaths at {first} and {second}: half of each");
        }
    }
}

/// Nor does one of a writer that failed, and could not take back the segment that it had made.
#[test]
fn a_segment_that_was_made_ahead_and_cannot_be_removed_loses_no_later_put() {
    let prepare: Vec<Act> = (0..10).map(|i| put(100 + i, 1, 6_000)).collect();
    let mut refused = 0;
    for step in 0.. {
        let (world, victim) = World::with(7, &prepare);
        let heir = open(&world.machine);
        if !dies(&victim.os, step, || put(5, 1, 6_000).apply(&victim.store).unwrap()) {
            break;
        }
        if !world.machine.paths().contains(&path("log-2")) {
            continue;
        }
        world.machine.fail_at(CallKind::Remove, "log-2", 1, ErrorKind::PermissionDenied);
        refused += usize::from(put(6, 1, 20).apply(&heir.store).is_err());
        world.machine.clear_failures();
        put(7, 1, 20).apply_alone(&heir.store);
        let contents = live(&heir.store);
        drop((victim, heir));
        assert_eq!(live(&world.rebuild().store), contents, "death at {step}: an acknowledged put is lost");
    }
    assert!(refused > 0, "no removal failed");
}

/// A batch that a dead writer left at the tail is no commit, also if its large values are gone by the time of a rebuild.
#[test]
fn a_batch_that_never_was_takes_nothing_away_when_its_large_value_is_gone() {
    let prepare = [put(5, 1, 8), put(11, 1, 8)];
    let batch = Act::Batch(vec![put(5, 2, 14_000), put(11, 2, 300)]);
    for step in 0.. {
        let (world, victim) = World::with(7, &prepare);
        let heir = open(&world.machine);
        if !dies(&victim.os, step, || batch.apply(&victim.store).unwrap()) {
            break;
        }
        // Taking the lock settles it; nothing is written afterwards.
        Act::Remove(77).apply_alone(&heir.store);
        heir.store.sync().unwrap();
        let contents = live(&heir.store);
        drop((victim, heir));
        for seed in 0..4 {
            let cut = open(&world.machine.power_cut_copy(seed));
            assert_eq!(live(&cut.store), contents, "death at {step}, cut {seed}");
        }
        assert_eq!(live(&world.rebuild().store), contents, "death at {step}");
    }
}

/// Whatever stands behind a break of the log is dropped; a rebuild that dies in the middle of that leaves no gap for which
/// the next would take the sound part for segments that wait to be unlinked.
#[test]
fn a_rebuild_that_dies_keeps_what_it_would_have_kept() {
    let prepare: Vec<Act> = (0..60).map(|i| put(i, 1, 6_000)).collect();
    let (world, handle) = World::with(7, &prepare);
    drop(handle);
    assert!(world.machine.paths().contains(&path("log-5")), "a break with several segments behind it");
    assert!(world.machine.corrupt(&path("log-2"), 20_000, &[0x55; 64]));
    world.machine.process().remove(&path("state")).unwrap();
    let kept = live(&open(&world.machine.copy()).store);
    assert!(!kept.is_empty() && kept.len() < 20);
    for step in 0.. {
        let machine = world.machine.copy();
        let victim = machine.process();
        if !dies(&victim, step, || open_in(&victim).map(drop).unwrap()) {
            break;
        }
        let rebuilt = open(&machine);
        assert_eq!(live(&rebuilt.store), kept, "death at {step}");
        audit(&rebuilt.store);
    }
}

/// What a break of the log cut off stays away, also if a later batch has the very length of the damaged one.
#[test]
fn what_was_behind_a_break_does_not_come_back_behind_a_younger_batch() {
    let (world, handle) = World::with(7, &[put(1, 1, 64), put(2, 1, 64), put(3, 1, 64)]);
    drop(handle);
    let bytes = world.machine.file_bytes(&path("log-1")).unwrap();
    let second = bytes.windows(5).position(|window| window == b"key 2").unwrap();
    assert!(world.machine.corrupt(&path("log-1"), second as u64, &[0xFF]));
    let rebuilt = world.rebuild();
    assert_eq!(live(&rebuilt.store).into_keys().collect::<Vec<_>>(), [1]);
    put(4, 1, 64).apply_alone(&rebuilt.store);
    drop(rebuilt);
    assert_eq!(live(&world.rebuild().store).into_keys().collect::<Vec<_>>(), [1, 4]);
}
