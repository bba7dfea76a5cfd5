//! Every call of the operating system that an operation makes fails once, or it and all after it for as long as the operation
//! goes on. The operation then fails without a trace or is done in full; nothing panics, and everybody can go on. It knows
//! nothing of deaths.

use std::io::ErrorKind;

use super::acts::{Act, expiring, put, tagged};
use super::audit::{audit, live};
use super::world::{Handle, World, living, open, open_in};
use super::{scale, spread};
use crate::error::Error;
use crate::os::sim::CallKind;

/// Calls of one operation that are tried.
const CALLS: usize = 16;
/// Calls that fail one after the other, where they do so for ever: more than any operation makes.
const FOR_EVER: u64 = 2_000;

fn furniture() -> Vec<Act> {
    let mut acts = vec![tagged(0, 1, 30, 1), tagged(1, 1, 30, 1), tagged(2, 1, 40, 2), put(3, 1, 12_000)];
    acts.extend((4..20).map(|key| put(key, 1, 3_600)));
    acts.push(expiring(20, 1, 20, 5));
    acts
}

/// The operations, each with what comes before it.
fn operations() -> Vec<(Vec<Act>, Act)> {
    let after = |more: Vec<Act>| furniture().into_iter().chain(more).collect::<Vec<Act>>();
    let dead_segment: Vec<Act> = (0..22).map(|i| put(i % 11, 1 + i / 11, 6_000)).collect();
    let mut full_table = vec![Act::Batch((0..60).map(|key| put(100 + key, 1, 8)).collect())];
    full_table.extend((1..5).map(|i| Act::Batch((0..60).map(|key| put(100 + i * 60 + key, 1, 8)).collect())));
    let batch = vec![Act::Remove(0), put(3, 2, 15_000), tagged(60, 1, 10, 3), Act::Remove(4), put(5, 2, 8)];
    vec![
        (vec![], put(50, 1, 100)),
        (vec![], tagged(50, 1, 100, 1)),
        (furniture(), tagged(50, 1, 100, 3)),
        (furniture(), put(50, 1, 40_000)),
        (furniture(), put(3, 2, 20_000)),
        (furniture(), put(3, 2, 7_000)),
        (furniture(), Act::Remove(3)),
        (furniture(), Act::Batch(batch)),
        (furniture(), Act::Evict(1)),
        (furniture(), Act::Clear),
        (furniture(), Act::Expire),
        (furniture(), Act::SizeLimit(8 << 20)),
        (after((0..10).map(|i| put(30 + i, 1, 5_000)).collect()), put(60, 1, 6_000)),
        (dead_segment.clone(), put(5, 3, 6_000)),
        (full_table.clone(), Act::Batch((0..30).map(|key| put(900 + key, 1, 8)).collect())),
        (full_table.iter().cloned().chain((0..21).map(|i| put(800 + i, 1, 8))).collect(), put(950, 1, 8)),
        (full_table, Act::Batch((0..200).map(|key| put(1_900 + key, 1, 8)).collect())),
    ]
}

/// Calls that an operation makes in a process that has mapped nothing yet.
fn calls_of(prepare: &[Act], act: &Act) -> u64 {
    let (world, first) = World::with(1, prepare);
    let fresh = open(&world.machine);
    drop(first);
    let before = world.machine.calls();
    act.apply(&fresh.store).unwrap();
    world.machine.calls() - before
}

/// What was not done must not be there, now or after a rebuild; what was done must.
fn check_all(world: &mut World, act: &Act, done: bool, handles: (Handle, Handle)) {
    if done {
        act.model(&mut world.contents, handles.0.store.now());
    }
    let seen = living(&world.contents, handles.0.store.now());
    assert_eq!(live(&handles.0.store), seen);
    assert_eq!(live(&handles.1.store), seen);
    audit(&handles.0.store);
    audit(&handles.1.store);
    drop(handles);
    let rebuilt = world.rebuild();
    assert_eq!(live(&rebuilt.store), seen, "after a rebuild");
    audit(&rebuilt.store);
}

fn fail_every_call(kind: ErrorKind, how_many: u64, tries: usize) {
    for (prepare, act) in operations() {
        let calls = calls_of(&prepare, &act);
        for (tried, call) in spread(calls, tries * scale()).into_iter().enumerate() {
            let nth = call + 1;
            let (mut world, first) = World::with(1, &prepare);
            let other = open(&world.machine);
            let fresh = open(&world.machine);
            drop(first);
            (nth..nth + how_many).for_each(|nth| world.machine.fail(CallKind::Any, nth, kind));
            let outcome = act.apply(&fresh.store);
            world.machine.clear_failures();
            let moment = format!("{act:?} whose call {nth}, and {how_many} in all, fail with {kind:?}");
            println!("{moment}: {outcome:?}");
            if tried % 2 == 0 {
                // As it is left, with nothing written after it.
                let done = outcome.is_ok();
                check_all(&mut world, &act, done, (fresh, other));
                continue;
            }
            match outcome {
                Ok(_) => {
                    act.model(&mut world.contents, fresh.store.now());
                }
                Err(error) => {
                    // Making room may come first, which opens and syncs files: those are no calls that find a disk full.
                    let is_full = kind == ErrorKind::StorageFull;
                    assert!(error.is_full() == is_full || (is_full && how_many > 1), "{moment}: {error:?}");
                }
            }
            for (i, handle) in [&other, &fresh, &other].into_iter().enumerate() {
                world.apply(handle, &put(700 + i as u32, 1, 50));
                world.apply(handle, &tagged(703, i as u32, 50, 5));
                world.apply(handle, &Act::Remove(1 + i as u32));
            }
            world.apply(&fresh, &Act::Evict(1));
            let nothing = Act::Batch(vec![]);
            check_all(&mut world, &nothing, false, (fresh, other));
        }
    }
}

#[test]
fn every_failing_call_leaves_no_trace() {
    fail_every_call(ErrorKind::Other, 1, CALLS);
}

#[test]
fn every_call_that_finds_the_disk_full_leaves_no_trace() {
    fail_every_call(ErrorKind::StorageFull, 1, CALLS);
}

#[test]
fn calls_that_fail_for_ever_leave_no_trace() {
    fail_every_call(ErrorKind::Other, FOR_EVER, CALLS / 2);
}

#[test]
fn a_disk_that_stays_full_leaves_no_trace() {
    fail_every_call(ErrorKind::StorageFull, FOR_EVER, CALLS / 2);
}

#[test]
fn every_failing_call_of_opening_leaves_a_store_that_opens() {
    for prepare in [vec![], furniture()] {
        for is_rebuild in [false, true] {
            let prepared = || {
                let (world, handle) = World::with(2, &prepare);
                drop(handle);
                if is_rebuild {
                    world.machine.remount();
                }
                world
            };
            let world = prepared();
            let before = world.machine.calls();
            drop(open(&world.machine));
            let calls = world.machine.calls() - before;
            for nth in 1..=calls {
                let mut world = prepared();
                world.machine.fail(CallKind::Any, nth, ErrorKind::Other);
                let failed = open_in(&world.machine.process()).map(drop);
                world.machine.clear_failures();
                println!("call {nth} of {calls}: {failed:?}");
                let handle = open(&world.machine);
                assert_eq!(live(&handle.store), living(&world.contents, handle.store.now()), "call {nth}");
                audit(&handle.store);
                world.apply(&handle, &put(1, 2, 50));
                assert_eq!(live(&handle.store), living(&world.contents, handle.store.now()), "call {nth}");
            }
        }
    }
}

/// Puts until the store takes no more.
fn fill(world: &mut World, handle: &Handle, len: usize) -> u32 {
    let mut key = 10_000;
    loop {
        match put(key, 1, len).apply(&handle.store) {
            Ok(_) => put(key, 1, len).model(&mut world.contents, 0),
            Err(Error::Full) => return key,
            Err(other) => panic!("{other:?}"),
        };
        key += 1;
    }
}

#[test]
fn a_full_disk_refuses_puts_and_keeps_what_is_there() {
    for spare in spread(24, 4 * scale()) {
        for len in [40, 4_008, 8_300, 12_000] {
            let (mut world, handle) = World::with(3, &furniture());
            let other = open(&world.machine);
            world.machine.limit_disk(Some(world.machine.used_bytes() + spare * 4096));
            fill(&mut world, &handle, len);
            assert_eq!(live(&other.store), living(&world.contents, handle.store.now()));
            audit(&other.store);
            world.machine.limit_disk(None);
            world.apply(&other, &put(4, 7, 20));
            check_all(&mut world, &Act::Batch(vec![]), false, (handle, other));
        }
    }
}

#[test]
fn a_full_store_refuses_puts_and_can_be_emptied_key_by_key() {
    for len in [300, 3_000, 20_000] {
        let (mut world, handle) = World::with(4, &[]);
        let other = open(&world.machine);
        let end = fill(&mut world, &handle, len);
        assert!(handle.store.volume() <= super::world::SIZE_LIMIT);
        world.check(&other);
        for key in 10_000..end {
            world.apply(&other, &Act::Remove(key));
        }
        world.check(&handle);
        assert_eq!(world.contents.len(), 0);
        let again = fill(&mut world, &handle, len);
        assert!(again - 10_000 >= (end - 10_000) * 3 / 4, "{again} of {end}");
        world.check(&other);
        assert!(world.machine.peak_linked_bytes() <= super::world::SIZE_LIMIT);
    }
}

#[test]
fn a_full_store_can_be_cleared_and_evicted() {
    for by_tag in [false, true] {
        let (mut world, handle) = World::with(4, &[]);
        let mut key = 0;
        while tagged(key, 1, 2_000, 1).apply(&handle.store).is_ok() {
            tagged(key, 1, 2_000, 1).model(&mut world.contents, 0);
            key += 1;
        }
        world.apply(&handle, &if by_tag { Act::Evict(1) } else { Act::Clear });
        assert_eq!(handle.store.len(), 0);
        world.check(&handle);
        world.apply(&handle, &put(1, 1, 100));
        world.check(&handle);
    }
}
