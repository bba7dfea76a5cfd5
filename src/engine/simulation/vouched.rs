//! What a sync has vouched for stays until what ended it is durable, whatever takes its files out of use. It knows nothing
//! of what else a power cut may cost.

use std::io::ErrorKind;

use super::acts::{Act, item, key_bytes, put, value_bytes};
use super::audit::{audit, drift, live};
use super::power::after_cut;
use super::world::{Handle, SMALL_LIMIT, World, living, open, open_in, opening, path};
use super::{Dice, rounds, scale, spread};
use crate::engine::change::{Change, Op, Put, Tag, Value};
use crate::engine::commit::Commit;
use crate::engine::recovery::Opening;
use crate::engine::store::Store;
use crate::options::Eviction;
use crate::os::sim::CallKind;
use crate::storage::state::RETIREES_MAX;

/// More large values than the ring of retirees has room for.
const MANY: u32 = RETIREES_MAX as u32 + 8;

fn many_synced() -> (World, Handle) {
    let first: Vec<Act> = (0..MANY).map(|key| put(key, 1, 9_000)).collect();
    let (world, handle) = World::with(9, &first);
    handle.store.sync().unwrap();
    (world, handle)
}

fn remove_all() -> Act {
    Act::Batch((0..MANY).map(Act::Remove).collect())
}

#[test]
fn synced_values_beyond_the_ring_stay_until_their_removal_is_durable() {
    let steps = {
        let (_world, victim) = many_synced();
        let before = victim.os.steps();
        remove_all().apply_alone(&victim.store);
        victim.os.steps() - before
    };
    for step in spread(steps, 100 * scale()) {
        let (world, victim) = many_synced();
        victim.os.kill_after(step);
        victim.os.run(|| remove_all().apply_alone(&victim.store));
        victim.os.kill();
        for seed in 0..3 {
            let found = live(&after_cut(&world, step * 10 + seed).store);
            let is_one_moment = found.is_empty() || found == living(&world.contents, 0);
            assert!(is_one_moment, "death at {step}, cut {seed}: {} of {MANY} keys are there", found.len());
        }
        // Whoever comes next in the same boot gives back what the dead one has left.
        let heir = open(&world.machine);
        audit(&heir.store);
        assert_eq!(drift(&heir.store).0, 0, "death at {step}: files that nobody counts");
    }
}

#[test]
fn synced_values_beyond_the_ring_are_given_back_once_the_disk_takes_writes_again() {
    let (mut world, handle) = many_synced();
    world.machine.fail_at(CallKind::Sync, "", 1, std::io::ErrorKind::Other);
    world.apply(&handle, &remove_all());
    audit(&handle.store);
    assert_eq!(handle.store.waiting().0, MANY as usize, "they wait for the disk");
    assert_eq!(drift(&handle.store).0, 0, "and count until they are gone");
    world.machine.clear_failures();
    handle.store.sync().unwrap();
    handle.store.epilogue();
    assert_eq!(handle.store.waiting(), (0, 0));
    world.check(&handle);
    assert_eq!(drift(&handle.store).0, 0);
    assert!(!has_values(&world), "files of removed values: {:?}", world.machine.paths());
}

#[test]
fn what_was_synced_before_a_rebuild_stays_if_the_rebuild_cannot_vouch_for_it() {
    // What fails while the opener vouches for what it found: the directory, after segments; the first large value.
    for (round, (kind, name, len)) in
        [(CallKind::SyncDir, "", 3_000), (CallKind::Sync, "value", 9_000)].iter().enumerate()
    {
        let mut world = World::new(round as u64);
        let handle = |world: &World| {
            let os = world.machine.process();
            let eviction = Some(Eviction::LeastRecentlyStored.to_bits());
            let opening = Opening { eviction, ..opening(Some(SMALL_LIMIT)) };
            Handle { store: Store::open(os.clone(), &path(""), &opening).unwrap(), os }
        };
        let first = handle(&world);
        (0..30).for_each(|key| world.apply(&first, &put(key, 1, *len)));
        first.store.sync().unwrap();
        drop(first);
        world.machine.power_cut(round as u64);
        world.machine.fail_at(*kind, name, 1, std::io::ErrorKind::Other);
        let second = handle(&world);
        world.machine.clear_failures();
        assert_eq!(live(&second.store), world.contents);
        for turn in 0..40u32 {
            (0..5).for_each(|i| world.apply(&second, &put((turn * 5 + i) % 30, 2 + turn, 3_000)));
            for cut in 0..5 {
                let found = live(&after_cut(&world, u64::from(turn) * 100 + cut).store);
                assert_eq!(found.len(), 30, "{name}, turn {turn}, cut {cut}: durable keys are missing");
            }
        }
        second.store.sync().unwrap();
        world.check(&second);
    }
}

/// A store whose synced large value was replaced by a commit that is not durable, by somebody who died before the unlink,
/// and of which a rebuild is due.
fn replaced_before_a_rebuild() -> World {
    let (world, handle) = World::with(9, &[put(0, 1, 20_000), put(1, 1, 30)]);
    handle.store.sync().unwrap();
    let (key, value) = (key_bytes(0), value_bytes(0, item(2, 100)));
    let put = Put { kind: 0, value: Value::Inline(&value), expires: None, tag: Tag::None };
    let op = Op { key: &key, hash: handle.store.hash(&key), change: Change::Put(put) };
    let locked = handle.store.lock().unwrap();
    Commit::new(&locked).unwrap().carry_out(&[op]).unwrap();
    drop(locked);
    handle.os.kill();
    world.machine.remount();
    world
}

fn version_after_cut(world: &World, seed: u64) -> Option<u32> {
    live(&after_cut(world, seed).store).get(&0).map(|item| item.version)
}

#[test]
fn a_rebuild_leaves_a_synced_value_until_what_replaced_it_is_durable() {
    let steps = {
        let heir = replaced_before_a_rebuild().machine.process();
        drop(open_in(&heir).unwrap());
        heir.steps()
    };
    for step in spread(steps, 150 * scale()) {
        let world = replaced_before_a_rebuild();
        let heir = world.machine.process();
        heir.kill_after(step);
        heir.run(|| drop(open_in(&heir)));
        heir.kill();
        for seed in 0..4 {
            let version = version_after_cut(&world, step * 10 + seed);
            assert!(matches!(version, Some(1 | 2)), "death at {step} of {steps}, cut {seed}: {version:?}");
        }
        let next = open(&world.machine);
        audit(&next.store);
        assert_eq!(drift(&next.store).0, 0, "death at {step}: files that nobody counts");
        assert!(!has_values(&world), "death at {step}: {:?}", world.machine.paths());
    }
}

#[test]
fn a_rebuild_that_cannot_vouch_for_what_it_found_counts_the_values_that_it_leaves() {
    let world = replaced_before_a_rebuild();
    world.machine.fail_at(CallKind::Sync, "", 1, std::io::ErrorKind::Other);
    let heir = open(&world.machine);
    world.machine.clear_failures();
    assert!(has_values(&world));
    audit(&heir.store);
    assert_eq!(drift(&heir.store).0, 0);
    for seed in 0..6 {
        assert!(matches!(version_after_cut(&world, seed), Some(1 | 2)));
    }
    heir.store.sync().unwrap();
    heir.store.epilogue();
    assert!(!has_values(&world), "{:?}", world.machine.paths());
    audit(&heir.store);
}

fn has_values(world: &World) -> bool {
    world.machine.paths().iter().any(|path| path.to_string_lossy().contains("value"))
}

/// A leader asks the disk for a large value, and meanwhile somebody replaces it by one in the log, in a segment that the leader does not
/// ask for. Once the sync has returned, a power cut must leave one of the two.
#[test]
fn d1_a_value_that_a_sync_is_about_to_vouch_for_stays_until_what_replaced_it_is_durable() {
    let (mut missing, mut spins) = (0, Dice(5));
    for round in rounds(100) {
        let first: Vec<Act> = (0..6).map(|i| put(100 + i, 1, 7_000)).collect();
        let (world, leader) = World::with(round, &first);
        leader.store.sync().unwrap();
        (0..20).for_each(|key| put(200 + key, 1, 9_000).apply_alone(&leader.store));
        put(0, 1, 9_000).apply_alone(&leader.store);
        let writer = open(&world.machine);
        // What comes with it has no room in the segment.
        let mut acts: Vec<Act> = (0..7).map(|i| put(100 + i, 2, 7_500)).collect();
        acts.push(put(0, 2, 100));
        let replacing = Act::Batch(acts);
        let spin = spins.below(60_000);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..spin {
                    std::hint::spin_loop();
                }
                replacing.apply_alone(&writer.store);
            });
            leader.store.sync().unwrap();
        });
        for seed in 0..4 {
            let cut = world.machine.power_cut_copy(seed);
            let found = live(&open(&cut).store);
            if !found.contains_key(&0) {
                missing += 1;
            }
        }
    }
    assert_eq!(missing, 0, "power cuts after a sync that returned");
}

/// Who takes over from a dead owner empties the tail of the main stream, durably. If the disk refuses that, it may have lost the copies
/// that stand in the same file: what they were made of must not go before they are durable.
#[test]
fn d3_a_takeover_whose_sync_fails_loses_no_copies() {
    let first: Vec<Act> = (0..60).map(|key| put(key, 1, 3_000)).collect();
    let (world, victim) = World::with(9, &first);
    victim.store.sync().unwrap();
    let survivor = open(&world.machine);
    let locked = victim.store.lock().unwrap();
    for _ in 0..200 {
        // Survivors are copied, and segments wait to be unlinked.
        if victim.store.is_anything_retired() {
            break;
        }
        victim.store.compact(&locked).unwrap();
    }
    assert!(victim.store.is_anything_retired());
    victim.os.kill();
    std::mem::forget(locked);
    world.machine.fail_at(CallKind::Sync, "main-", 1, ErrorKind::Other);
    assert!(survivor.store.lock().is_err());
    world.machine.clear_failures();
    drop(survivor.store.lock().unwrap());
    // It may say that nothing can be made durable; then nothing goes.
    let _ = survivor.store.unlink_retired();
    assert_eq!(live(&survivor.store), world.contents);
    for seed in 0..20 {
        let cut = world.machine.power_cut_copy(seed);
        let found = live(&open(&cut).store);
        assert_eq!(found.len(), 60, "power cut {seed}: what was synced is gone");
    }
}
