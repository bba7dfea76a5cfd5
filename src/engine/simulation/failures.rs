//! Every call of the operating system that an operation makes fails once, or it and all after it for as long as the operation
//! goes on. The operation then fails without a trace or is done in full; nothing panics, and everybody can go on. It knows
//! nothing of deaths.

use rustix::io::Errno;
use std::io::ErrorKind;

use super::acts::{Act, expiring, item, put, tagged};
use super::audit::{audit, live};
use super::world::{Handle, World, living, open, open_durably, open_in};
use super::{scale, spread};
use crate::error::Error;
use crate::os::sim::{CallKind, Fault, Machine};

/// Calls of one operation that are tried.
const CALLS: usize = 11;

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

/// What becomes of a store when a call of an operation fails.
struct Failing {
    fault: Fault,
    /// All calls after it fail too, for as long as the operation goes on.
    goes_on: bool,
}

impl Failing {
    fn plan(&self, machine: &Machine, nth: u64) {
        match self.goes_on {
            true => machine.fail_from(CallKind::Any, nth, self.fault),
            false => machine.fail(CallKind::Any, nth, self.fault),
        }
    }

    /// Each call of each operation, or so many of each, evenly spread.
    fn everywhere(&self, tries: usize) {
        for (prepare, act) in operations() {
            let calls = calls_of(&prepare, &act);
            let chosen = spread(calls, tries * scale());
            let is_all = scale() > 1 && chosen.len() as u64 == calls;
            for (tried, call) in chosen.into_iter().enumerate() {
                // A campaign that tries each call tries it both ways.
                for writes_on in [tried % 2 == 1, tried % 2 == 0].into_iter().take(1 + usize::from(is_all)) {
                    self.at(call + 1, &prepare, &act, writes_on);
                }
            }
        }
    }

    fn at(&self, nth: u64, prepare: &[Act], act: &Act, writes_on: bool) {
        let (mut world, first) = World::with(1, prepare);
        let other = open(&world.machine);
        let fresh = open(&world.machine);
        drop(first);
        self.plan(&world.machine, nth);
        let outcome = act.apply(&fresh.store);
        world.machine.clear_failures();
        let on = if self.goes_on { " and those after it" } else { "" };
        let moment = format!("{act:?} whose call {nth}{on} fails with {:?}", self.fault);
        println!("{moment}: {outcome:?}");
        if let Err(error) = &outcome {
            // Making room may come first, which opens and syncs files: those are no calls that find a disk full.
            let is_full = says_full(self.fault);
            assert!(error.is_full() == is_full || (is_full && self.goes_on), "{moment}: {error:?}");
        }
        if !writes_on {
            // As it is left, with nothing written after it.
            return check_all(&mut world, act, outcome.is_ok(), (fresh, other));
        }
        if outcome.is_ok() {
            act.model(&mut world.contents, fresh.store.now());
        }
        for (i, handle) in [&other, &fresh, &other].into_iter().enumerate() {
            world.apply(handle, &put(700 + i as u32, 1, 50));
            world.apply(handle, &tagged(703, i as u32, 50, 5));
            world.apply(handle, &Act::Remove(1 + i as u32));
        }
        world.apply(&fresh, &Act::Evict(1));
        check_all(&mut world, &Act::Batch(vec![]), false, (fresh, other));
    }
}

/// A disk without room, and a quota that is used up: one is as good as the other.
fn says_full(fault: Fault) -> bool {
    match fault {
        Fault::Kind(kind) => matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded),
        Fault::Says(errno) | Fault::Short(errno) => matches!(errno, Errno::NOSPC | Errno::DQUOT),
    }
}

/// One call fails.
fn once(fault: impl Into<Fault>, tries: usize) {
    Failing { fault: fault.into(), goes_on: false }.everywhere(tries);
}

/// A call and all after it fail.
fn for_ever(fault: impl Into<Fault>, tries: usize) {
    Failing { fault: fault.into(), goes_on: true }.everywhere(tries);
}

#[test]
fn every_failing_call_leaves_no_trace() {
    once(Errno::IO, CALLS);
}

#[test]
fn every_call_that_finds_the_disk_full_leaves_no_trace() {
    once(Errno::NOSPC, CALLS);
}

#[test]
fn every_call_that_finds_a_quota_used_up_leaves_no_trace() {
    once(Errno::DQUOT, CALLS / 4);
}

#[test]
fn every_call_without_a_descriptor_left_leaves_no_trace() {
    once(Errno::MFILE, CALLS / 4);
}

#[test]
fn every_interrupted_call_leaves_no_trace() {
    once(Errno::INTR, CALLS / 4);
}

#[test]
fn every_call_that_the_kernel_says_nothing_about_leaves_no_trace() {
    once(ErrorKind::Other, CALLS / 4);
}

#[test]
fn every_call_that_stops_half_way_leaves_no_trace() {
    once(Fault::Short(Errno::IO), CALLS / 2);
    once(Fault::Short(Errno::NOSPC), CALLS / 4);
}

/// Under `Durability::Sync` the pieces of a batch are written by calls, each of which may stop half way.
#[test]
fn a_durable_batch_whose_writes_stop_half_way_leaves_no_trace() {
    let act = Act::Batch((0..60).map(|key| put(key, 2, 600)).collect());
    let mut failed = 0;
    for (nth, writes_on) in (1..).flat_map(|nth| [(nth, false), (nth, true)]) {
        let (mut world, other) = World::with(1, &furniture());
        let durable = open_durably(&world.machine);
        world.machine.fail_at(CallKind::WriteAt, "log-", nth, Fault::Short(Errno::IO));
        let outcome = act.apply(&durable.store);
        world.machine.clear_failures();
        failed += u64::from(outcome.is_err());
        if writes_on {
            // Records and batches of other lengths, over what the first attempt has left.
            world.apply(&durable, &put(700, 1, 50));
            world.apply(&other, &Act::Batch(vec![put(701, 1, 600), put(702, 1, 600)]));
        }
        check_all(&mut world, &act, outcome.is_ok(), (durable, other));
        if outcome.is_ok() {
            break;
        }
    }
    assert!(failed >= 4, "{failed} writes failed");
}

#[test]
fn calls_that_fail_for_ever_leave_no_trace() {
    for_ever(Errno::IO, CALLS / 2);
}

#[test]
fn a_disk_that_stays_full_leaves_no_trace() {
    for_ever(Errno::NOSPC, CALLS / 2);
}

#[test]
fn a_quota_that_stays_used_up_leaves_no_trace() {
    for_ever(Errno::DQUOT, CALLS / 4);
}

#[test]
fn descriptors_that_stay_used_up_leave_no_trace() {
    for_ever(Errno::MFILE, CALLS / 4);
}

#[test]
fn calls_that_are_interrupted_for_ever_leave_no_trace() {
    for_ever(Errno::INTR, CALLS / 4);
}

#[test]
fn calls_that_stop_half_way_for_ever_leave_no_trace() {
    for_ever(Fault::Short(Errno::IO), CALLS / 4);
    for_ever(Fault::Short(Errno::NOSPC), CALLS / 4);
}

/// Whatever a call of opening says, the next process opens the store, and all of it is there.
fn fail_opening(fault: Fault, goes_on: bool, tries: usize) {
    for (prepare, is_rebuild) in [(vec![], false), (vec![], true), (furniture(), false), (furniture(), true)] {
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
        for call in spread(calls, tries * scale()) {
            let (nth, mut world) = (call + 1, prepared());
            Failing { fault, goes_on }.plan(&world.machine, nth);
            let failed = open_in(&world.machine.process()).map(drop);
            world.machine.clear_failures();
            let moment = format!("call {nth} of {calls}, {fault:?}, for ever: {goes_on}");
            println!("{moment}: {failed:?}");
            let handle = open(&world.machine);
            assert_eq!(live(&handle.store), living(&world.contents, handle.store.now()), "{moment}");
            audit(&handle.store);
            world.apply(&handle, &put(1, 2, 50));
            assert_eq!(live(&handle.store), living(&world.contents, handle.store.now()), "{moment}");
        }
    }
}

#[test]
fn every_failing_call_of_opening_leaves_a_store_that_opens() {
    fail_opening(Fault::Says(Errno::IO), false, usize::MAX / scale());
    let others = [Errno::NOSPC, Errno::DQUOT, Errno::MFILE, Errno::INTR].map(Fault::Says);
    for fault in others.into_iter().chain([Fault::Short(Errno::IO), Fault::Short(Errno::NOSPC)]) {
        fail_opening(fault, false, CALLS / 2);
        fail_opening(fault, true, CALLS / 4);
    }
    fail_opening(Fault::Says(Errno::IO), true, CALLS);
}

/// Whoever takes over from the dead looks for the files of their large values until there is no more: an open that always
/// fails is not one more of them.
#[test]
fn who_has_no_descriptor_left_takes_over_nothing_and_comes_back() {
    let batch = Act::Batch((0..3).map(|i| put(60 + i, 1, 20_000)).collect());
    let steps = {
        let (_world, twin) = World::with(5, &furniture());
        let before = twin.os.steps();
        batch.apply(&twin.store).unwrap();
        twin.os.steps() - before
    };
    let mut refused = 0;
    for (step, nth) in spread(steps, 20 * scale()).into_iter().flat_map(|step| (1..5).map(move |nth| (step, nth))) {
        let (world, victim) = World::with(5, &furniture());
        let heir = open(&world.machine);
        victim.os.kill_after(step);
        let _ = victim.os.run(|| batch.apply(&victim.store));
        world.machine.fail_from(CallKind::Open, nth, Errno::MFILE);
        // The directory cannot be listed either.
        world.machine.fail_from(CallKind::List, 1, Errno::MFILE);
        refused += u32::from(put(70, 1, 10).apply(&heir.store).is_err());
        world.machine.clear_failures();
        put(70, 2, 10).apply(&heir.store).unwrap();
        let (mut before, mut after) = (world.contents.clone(), world.contents.clone());
        batch.model(&mut after, 0);
        for contents in [&mut before, &mut after] {
            contents.insert(70, item(2, 10));
        }
        let (seen, now) = (live(&heir.store), heir.store.now());
        assert!([&before, &after].iter().any(|contents| seen == living(contents, now)), "a death at step {step}");
        audit(&heir.store);
        let files = world.machine.paths().iter().filter(|path| path.to_string_lossy().contains("/value-")).count();
        assert_eq!(files, seen.values().filter(|item| item.len > 8_192).count(), "a death at step {step}");
    }
    assert!(refused > 0);
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
