//! The power goes at any moment, and nothing was made durable but what somebody asked for. Whoever opens the store then
//! finds what it held at some moment before: never a hole, never an older version over a younger one. It knows nothing
//! of deaths.

use std::collections::BTreeMap;

use super::acts::{Act, Contents, Item, put, tagged};
use super::audit::{audit, drift, live};
use super::world::{Handle, World, living, open, sync_all};
use super::{Dice, rounds, scale};

/// A sequence of operations that retires no segment and has no large values: every prefix of it can be found.
pub(super) fn steady(dice: &mut Dice, count: usize) -> Vec<Act> {
    let mut version = 0;
    let mut one = |dice: &mut Dice| {
        version += 1;
        let (key, len) = (dice.below(40) as u32, 10 + dice.below(2_000) as usize);
        match dice.below(4) {
            0 => tagged(key, version, len, dice.below(3) as u8),
            1 => Act::Remove(key),
            _ => put(key, version, len),
        }
    };
    let mut acts = vec![put(1_000, 1, 8)];
    for _ in 0..count {
        acts.push(match dice.below(12) {
            0 => Act::Evict(dice.below(3) as u8),
            1 => Act::Batch(unique((0..5).map(|_| one(dice)).collect())),
            2 if dice.below(4) == 0 => Act::Clear,
            _ => one(dice),
        });
    }
    acts
}

/// A batch holds each key once.
fn unique(acts: Vec<Act>) -> Vec<Act> {
    let key = |act: &Act| match act {
        Act::Put(key, _) | Act::Remove(key) => *key,
        _ => u32::MAX,
    };
    acts.into_iter().map(|act| (key(&act), act)).collect::<BTreeMap<u32, Act>>().into_values().collect()
}

/// Cuts the power of a copy of the machine, and opens the store there.
pub(super) fn after_cut(world: &World, seed: u64) -> Handle {
    let machine = world.machine.power_cut_copy(seed);
    let handle = open(&machine);
    audit(&handle.store);
    assert_eq!(drift(&handle.store).0, 0);
    handle
}

pub(super) fn check_prefix(world: &World, history: &[Contents], acknowledged: usize, seed: u64) -> usize {
    let handle = after_cut(world, seed);
    let seen = live(&handle.store);
    let found = history.iter().rposition(|contents| living(contents, handle.store.now()) == seen);
    let found = found.unwrap_or_else(|| panic!("power cut {seed}: no prefix of the operations gives {seen:?}"));
    assert!(found >= acknowledged, "power cut {seed}: what was durable is gone");
    put(7, 9_999, 30).apply_alone(&handle.store);
    audit(&handle.store);
    found
}

#[test]
fn power_cut_leaves_a_prefix() {
    let mut lengths = std::collections::BTreeSet::new();
    for round in rounds(4) {
        let mut dice = Dice(10 * round + 1);
        let (mut world, handle) = World::with(round, &[]);
        let mut history = vec![world.contents.clone()];
        for (i, act) in steady(&mut dice, 60).iter().enumerate() {
            // A clear retires segments, and absence is all that is left of them.
            if matches!(act, Act::Clear) {
                continue;
            }
            world.apply(&handle, act);
            history.push(world.contents.clone());
            if i % 6 == 5 {
                for seed in 0..4 {
                    let found = check_prefix(&world, &history, 0, round * 1_000 + i as u64 * 10 + seed);
                    lengths.insert(found * 10 / history.len());
                }
            }
        }
    }
    assert!(lengths.len() > 2, "every power cut lost as much: {lengths:?}");
}

#[test]
fn a_power_cut_loses_nothing_that_was_synced() {
    for round in rounds(3) {
        let mut dice = Dice(10 * round + 2);
        let (mut world, handle) = World::with(round, &[]);
        let mut history = vec![world.contents.clone()];
        let mut durable = 0;
        for (i, act) in steady(&mut dice, 50).iter().enumerate() {
            if matches!(act, Act::Clear) {
                continue;
            }
            world.apply(&handle, act);
            history.push(world.contents.clone());
            if dice.below(10) == 0 {
                match dice.below(3) {
                    0 => sync_all(&world.machine),
                    _ => handle.store.sync().unwrap(),
                }
                durable = history.len() - 1;
            }
            if i % 7 == 6 {
                for seed in 0..3 {
                    check_prefix(&world, &history, durable, round * 1_000 + i as u64 * 10 + seed);
                }
            }
        }
    }
}

/// With retired segments and large values an item may be missing. What is there is still as of one moment.
#[test]
fn a_power_cut_never_brings_an_older_version_back() {
    for round in rounds(3) {
        let mut dice = Dice(10 * round + 3);
        let (mut world, handle) = World::with(round, &[]);
        let mut history = vec![world.contents.clone()];
        for i in 0..160u32 {
            let key = dice.below(6) as u32;
            let act = match dice.below(14) {
                0 => Act::Remove(key),
                1 => put(key, i, 9_000 + dice.below(40_000) as usize),
                2 if dice.below(3) == 0 => Act::Clear,
                _ => put(key, i, 5_000 + dice.below(3_000) as usize),
            };
            world.apply(&handle, &act);
            history.push(world.contents.clone());
            if i % 10 == 9 {
                for seed in 0..3 {
                    let cut = round * 10_000 + u64::from(i) * 10 + seed;
                    let found = after_cut(&world, cut);
                    let seen = live(&found.store);
                    let within = |contents: &&Contents| seen.iter().all(|(key, item)| contents.get(key) == Some(item));
                    assert!(history.iter().any(|contents| within(&contents)), "power cut {cut}: {}", list(&seen));
                    put(3, 9_999, 7_000).apply_alone(&found.store);
                    audit(&found.store);
                }
            }
        }
    }
}

fn list(contents: &Contents) -> String {
    let one = |(key, item): (&u32, &Item)| format!("{key}: version {}", item.version);
    contents.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[test]
fn a_power_cut_while_opening_or_rebuilding_loses_nothing_durable() {
    let prepare: Vec<Act> = (0..30).map(|i| put(i % 12, i, 3_000)).collect();
    let world = || {
        let (world, handle) = World::with(5, &prepare);
        sync_all(&world.machine);
        drop(handle);
        world.machine.remount();
        world
    };
    let os = world().machine.process();
    drop(super::world::open_in(&os).unwrap());
    let steps = os.steps();
    for step in (0..steps).step_by((steps as usize / 60 / scale()).max(1)) {
        let world = world();
        let victim = world.machine.process();
        victim.kill_after(step);
        assert!(victim.run(|| drop(super::world::open_in(&victim).unwrap())).is_none());
        for seed in 0..2 {
            let handle = after_cut(&world, step * 10 + seed);
            assert_eq!(live(&handle.store), world.contents, "power cut after step {step} of a rebuild");
        }
    }
}

/// A writer dies over a batch that the disk gets, and the next commit, of the same length, goes to the same place. The
/// power cut takes that commit and leaves those behind it.
#[test]
fn a_batch_that_is_no_commit_never_stands_in_for_the_one_that_overwrote_it() {
    // The commit that is overwritten ends with its page.
    let first = [put(0, 1, 3_667)];
    let steps = {
        let (_world, victim) = World::with(3, &first);
        let before = victim.os.steps();
        put(1, 1, 300).apply_alone(&victim.store);
        victim.os.steps() - before
    };
    for step in 0..steps {
        for fails in [false, true] {
            let (mut world, victim) = World::with(3, &first);
            let heir = open(&world.machine);
            let mut history = vec![Contents::new(), world.contents.clone()];
            // Killed, or told of an error after the record was written.
            if fails {
                world.machine.fail_at(crate::os::sim::CallKind::Any, "", step + 1, std::io::ErrorKind::Other);
                let _ = put(1, 1, 300).apply(&victim.store);
                world.machine.clear_failures();
            } else {
                victim.os.kill_after(step);
                victim.os.run(|| put(1, 1, 300).apply_alone(&victim.store));
                victim.os.kill();
            }
            sync_all(&world.machine);
            drop(heir.store.lock().unwrap());
            world.contents = live(&heir.store);
            history.push(world.contents.clone());
            for act in [put(2, 2, 300), put(3, 3, 40), put(4, 4, 40), put(5, 5, 7_000)] {
                world.apply(&heir, &act);
                history.push(world.contents.clone());
            }
            // The dead one's batch may be there, if nothing is there that came later.
            let mut alone = history[1].clone();
            put(1, 1, 300).model(&mut alone, 0);
            history.push(alone);
            for seed in 0..12 {
                let found = after_cut(&world, step * 100 + seed);
                let seen = live(&found.store);
                assert!(history.contains(&seen), "death at step {step}, power cut {seed}: {}", list(&seen));
            }
        }
    }
}

/// A process dies while it clears a store whose large value is durable, and the next one to open gives the space back: its
/// file goes once the clear is durable. A power cut finds the value whole, or a store that was cleared.
#[test]
fn a_durable_value_stays_until_the_clear_of_it_is_durable() {
    let prepared = || {
        let (world, victim) = World::with(9, &[put(0, 1, 20_000), put(1, 2, 30)]);
        victim.store.sync().unwrap();
        (world, victim)
    };
    let steps = {
        let (_world, victim) = prepared();
        let before = victim.os.steps();
        Act::Clear.apply_alone(&victim.store);
        victim.os.steps() - before
    };
    for step in 0..steps {
        let (world, victim) = prepared();
        victim.os.kill_after(step);
        victim.os.run(|| Act::Clear.apply_alone(&victim.store));
        victim.os.kill();
        drop(victim);
        let _heir = open(&world.machine);
        for seed in 0..6 {
            let found = live(&after_cut(&world, step * 10 + seed).store);
            let is_as_before = living(&world.contents, 0) == found;
            assert!(found.is_empty() || is_as_before, "death at step {step}, power cut {seed}: {}", list(&found));
        }
    }
}

/// A writer dies while it replaces a large value that is durable. The file of that value goes once the commit that
/// replaces it is durable itself: if the power is cut while the next process opens the store, one of the two is there.
#[test]
fn a_durable_value_stays_until_what_replaced_it_is_durable() {
    let (old, new) = (put(0, 1, 20_000), put(0, 2, 100));
    let prepared = || {
        let (world, victim) = World::with(9, std::slice::from_ref(&old));
        victim.store.sync().unwrap();
        (world, victim)
    };
    let steps = {
        let (_world, victim) = prepared();
        let before = victim.os.steps();
        new.apply_alone(&victim.store);
        victim.os.steps() - before
    };
    for step in 0..steps {
        let (world, victim) = prepared();
        victim.os.kill_after(step);
        victim.os.run(|| new.apply_alone(&victim.store));
        victim.os.kill();
        drop(victim);
        let heir = open(&world.machine);
        heir.store.unlink_retired().unwrap();
        for seed in 0..6 {
            let found = live(&after_cut(&world, step * 10 + seed).store);
            let version = found.get(&0).map(|item| item.version);
            assert!(matches!(version, Some(1 | 2)), "death at step {step}, power cut {seed}: {}", list(&found));
        }
    }
}
