//! Who was told that something is durable finds it after any power cut, whoever died meanwhile and whatever the disk
//! refused. Tests are named after the invariants of `durable`. It knows nothing of damage on disk.

use std::io::ErrorKind;
use std::path::PathBuf;

use super::acts::{Act, Contents, put, tagged};
use super::audit::{audit, live};
use super::power::{after_cut, check_prefix, steady};
use super::world::{Handle, SMALL_LIMIT, World, living, open, open_durably, opening, path};
use super::{Dice, rounds, scale, spread};
use crate::engine::recovery::Opening;
use crate::engine::store::Store;
use crate::error::{Error, Result};
use crate::options::Eviction;
use crate::os::sim::{CallKind, Machine};

/// Power cuts tried at one moment.
const CUTS: u64 = 4;

/// After any power cut everything is there. Each moment has cuts of its own.
fn assert_durable(world: &World, moment: &str) {
    let first = moment.bytes().fold(0u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    for seed in (0..CUTS).map(|cut| first.wrapping_add(cut)) {
        let found = after_cut(world, seed);
        let expected = living(&world.contents, found.store.now());
        assert_eq!(live(&found.store), expected, "{moment}: after power cut {seed}");
    }
}

/// Items of all kinds, and a few segments of them.
fn furniture() -> Vec<Act> {
    let mut acts = vec![tagged(0, 1, 30, 1), put(1, 1, 20_000), put(2, 1, 30_000)];
    acts.extend((0..24).map(|i| put(3 + i % 8, i, 6_000)));
    acts
}

/// A large value, a tag's name and a small record.
fn change() -> Act {
    Act::Batch(vec![put(50, 7, 25_000), tagged(51, 7, 40, 6), put(52, 7, 3_000), Act::Remove(0)])
}

/// A machine with some commits that are not durable, a process that is going to make them so, and one that looks on.
fn prepared() -> (World, Handle, Handle) {
    let (world, first) = World::with(11, &furniture());
    let victim = open_durably(&world.machine);
    let other = open_durably(&world.machine);
    drop(first);
    (world, victim, other)
}

fn sync_calls(machine: &Machine, work: impl FnOnce()) -> u64 {
    let before = machine.calls();
    work();
    machine.calls() - before
}

#[test]
fn d1_what_a_durable_change_returned_for_survives_any_power_cut() {
    for round in rounds(3) {
        let mut dice = Dice(round);
        let (mut world, buffered) = World::with(round, &[]);
        let durable = [open_durably(&world.machine), open_durably(&world.machine)];
        let mut history = vec![world.contents.clone()];
        let mut sure = 0;
        for (i, act) in steady(&mut dice, 50).iter().enumerate() {
            if matches!(act, Act::Clear) {
                continue;
            }
            let who = dice.below(4);
            let handle = match who {
                0 | 1 => &durable[who as usize],
                _ => &buffered,
            };
            world.apply(handle, act);
            history.push(world.contents.clone());
            if who < 2 {
                sure = history.len() - 1;
            }
            if i % 5 == 4 {
                for seed in 0..CUTS {
                    check_prefix(&world, &history, sure, round * 1_000 + i as u64 * 10 + seed);
                }
            }
        }
    }
}

#[test]
fn d1_every_kind_of_change_waits_until_it_is_durable() {
    let (mut world, _victim, handle) = prepared();
    let acts = [
        put(60, 1, 10),
        put(60, 2, 40_000),
        tagged(61, 1, 10, 3),
        change(),
        Act::Remove(60),
        Act::Evict(3),
        put(62, 1, 7_000),
        Act::SizeLimit(8 << 20),
        Act::Clear,
        put(63, 1, 70),
    ];
    for act in acts {
        world.apply(&handle, &act);
        assert_durable(&world, &format!("{act:?}"));
    }
}

#[test]
fn d4_a_leader_that_dies_at_any_step_is_replaced_and_nothing_is_lost() {
    for by_sync in [true, false] {
        let work =
            |handle: &Handle| if by_sync { handle.store.sync() } else { change().apply(&handle.store).map(drop) };
        let (_world, victim, _other) = prepared();
        let before = victim.os.steps();
        work(&victim).unwrap();
        let steps = victim.os.steps() - before;
        for step in spread(steps, 25 * scale()) {
            let moment = format!("sync: {by_sync}, leader dead at step {step} of {steps}");
            let (mut world, victim, other) = prepared();
            victim.os.kill_after(step);
            assert!(victim.os.run(|| work(&victim).unwrap()).is_none());
            // A commit that was decided is finished.
            drop(other.store.lock().unwrap());
            let mut after = world.contents.clone();
            change().model(&mut after, other.store.now());
            if live(&other.store) == living(&after, other.store.now()) {
                world.contents = after;
            }
            let start = world.machine.process();
            let began = crate::os::Os::uptime(&start);
            world.apply(&other, &put(70, 1, 50));
            let waited = crate::os::Os::uptime(&start) - began;
            assert!(waited.as_millis() <= 20, "{moment}: {waited:?}");
            world.check(&other);
            assert_durable(&world, &moment);
            // Also if nobody was there to see it.
            drop(other);
            let alone = open_durably(&world.machine);
            world.apply(&alone, &put(71, 1, 50));
            assert_durable(&world, &moment);
        }
    }
}

/// The files of a store that are made durable, and its directory.
fn calls_to_the_disk() -> [(CallKind, &'static str); 3] {
    [(CallKind::Sync, "log-"), (CallKind::Sync, "value-"), (CallKind::SyncDir, "")]
}

/// Lets the `nth` call of a kind fail while a process works. `None` if there are fewer.
fn fail_while(world: &World, kind: (CallKind, &str), nth: u64, work: impl FnOnce() -> Result<()>) -> Option<Error> {
    world.machine.fail_at(kind.0, kind.1, nth, ErrorKind::Other);
    let outcome = work();
    world.machine.clear_failures();
    outcome.err()
}

#[test]
fn d3_a_failed_fsync_is_final_in_every_process_until_the_bytes_stand_elsewhere() {
    for kind in calls_to_the_disk() {
        for nth in 1.. {
            let moment = format!("{kind:?} number {nth} fails");
            let (mut world, victim, other) = prepared();
            let act = change();
            let Some(error) = fail_while(&world, kind, nth, || act.apply(&victim.store).map(drop)) else {
                assert!(nth > 1, "nothing of the kind is asked: {kind:?}");
                break;
            };
            assert!(error.is_not_durable(), "{moment}: {error}");
            act.model(&mut world.contents, victim.store.now());
            drop(victim);
            let late = open_durably(&world.machine);
            for handle in [&other, &late, &other] {
                let error = put(80, 1, 10).apply(&handle.store).unwrap_err();
                assert!(matches!(error, Error::Io(_)), "{moment}: {error}");
                world.check(handle);
            }
            // Changes that need not be durable go on.
            let buffered = open(&world.machine);
            world.apply(&buffered, &put(81, 1, 5_000));
            // An attempt to put it right that fails too changes nothing.
            if fail_while(&world, (CallKind::Sync, "draft-"), 1, || other.store.sync()).is_some() {
                put(80, 1, 10).apply(&late.store).unwrap_err();
            }
            late.store.sync().unwrap();
            assert_durable(&world, &moment);
            world.apply(&other, &put(80, 1, 10));
            world.apply(&late, &Act::Remove(50));
            world.check(&buffered);
            assert_durable(&world, &moment);
        }
    }
}

#[test]
fn d3_a_failure_outlives_whoever_was_told_of_it() {
    for kind in calls_to_the_disk() {
        for nth in 1..=3 {
            let (world, victim, _other) = prepared();
            let before = victim.os.steps();
            if fail_while(&world, kind, nth, || victim.store.sync()).is_none() {
                assert!(nth > 1, "nothing of the kind is asked: {kind:?}");
                break;
            }
            let steps = victim.os.steps() - before;
            // The last steps are those between the failure and the end of the call.
            for step in steps.saturating_sub(6)..steps {
                let moment = format!("{kind:?} number {nth} fails, and its leader dies at step {step} of {steps}");
                let (mut world, victim, other) = prepared();
                victim.os.kill_after(step);
                let outcome = victim.os.run(|| fail_while(&world, kind, nth, || victim.store.sync()));
                world.machine.clear_failures();
                assert!(outcome.is_none(), "{moment}: it lives");
                // Whoever says now that it is durable has written it anew.
                let act = put(90, 1, 50);
                if act.apply(&other.store).is_err() {
                    other.store.sync().unwrap();
                }
                if live(&other.store).contains_key(&90) {
                    act.model(&mut world.contents, 0);
                }
                assert_durable(&world, &moment);
            }
        }
    }
}

#[test]
fn d3_a_failure_outlives_an_index_that_is_rebuilt_in_the_same_boot() {
    let (mut world, victim, other) = prepared();
    let act = change();
    fail_while(&world, (CallKind::Sync, "log-"), 1, || act.apply(&victim.store).map(drop)).unwrap();
    act.model(&mut world.contents, 0);
    crate::os::OsMap::store(&other.store.state, crate::storage::state::SUSPECT, 1);
    drop((victim, other));
    let os = world.machine.process();
    os.kill_after(20);
    assert!(os.run(|| drop(super::world::open_in(&os).unwrap())).is_none());
    let handle = open_durably(&world.machine);
    put(90, 1, 50).apply(&handle.store).unwrap_err();
    handle.store.sync().unwrap();
    world.check(&handle);
    assert_durable(&world, "after a rebuild in the same boot");
}

/// Who puts a failure right gives new files the names of those that failed, and may die before the names are durable.
#[test]
fn d3_a_death_while_a_failure_is_put_right_leaves_it_to_the_next() {
    let refused = || {
        let (world, victim, other) = prepared();
        // The names are durable, so that nobody would ask for them again.
        other.store.sync().unwrap();
        let (mut world, act) = (world, put(40, 1, 500));
        fail_while(&world, (CallKind::Sync, "log-"), 1, || act.apply(&victim.store).map(drop)).unwrap();
        act.model(&mut world.contents, 0);
        (world, victim, other)
    };
    let steps = {
        let (_world, victim, _other) = refused();
        let before = victim.os.steps();
        victim.store.sync().unwrap();
        victim.os.steps() - before
    };
    for step in spread(steps, 150 * scale()) {
        let (world, victim, other) = refused();
        victim.os.kill_after(step);
        assert!(victim.os.run(|| victim.store.sync()).is_none());
        victim.os.kill();
        other.store.sync().unwrap();
        for seed in 0..20 {
            let found = live(&after_cut(&world, step * 20 + seed).store);
            assert_eq!(
                found,
                living(&world.contents, 0),
                "its leader dies at step {step} of {steps}, power cut {seed}"
            );
        }
    }
}

#[test]
fn d3_what_the_kernel_dropped_after_a_failure_is_never_called_durable() {
    let (mut world, victim, other) = prepared();
    other.store.sync().unwrap();
    let newest = segments(&world).pop().unwrap();
    let act = put(40, 1, 500);
    fail_while(&world, (CallKind::Sync, "log-"), 1, || act.apply(&victim.store).map(drop)).unwrap();
    let bytes = world.machine.file_bytes(&newest).unwrap();
    let end = bytes.iter().rposition(|&byte| byte != 0).unwrap();
    assert!(world.machine.overwrite(&newest, end as u64 - 100, &[0; 100]));
    for handle in [&victim, &other, &victim] {
        handle.store.sync().unwrap_err();
        put(41, 1, 10).apply(&handle.store).unwrap_err();
    }
    world.contents.clear();
    other.store.clear().unwrap_err();
    other.store.sync().unwrap();
    world.apply(&victim, &put(42, 1, 10));
    assert_eq!(live(&victim.store), world.contents);
    assert_durable(&world, "after a clear");
}

fn segments(world: &World) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = world.machine.paths();
    found.retain(|name| name.to_string_lossy().contains("/log-"));
    found
}

/// A store that evicts, at its limit, whose segments go only once what replaced them is durable.
fn full(machine: &Machine) -> Handle {
    let os = machine.process();
    let evicting = Opening { eviction: Some(Eviction::S3Fifo.to_bits()), ..opening(Some(SMALL_LIMIT)) };
    let handle = Handle { store: Store::open(os.clone(), &path(""), &evicting).unwrap(), os };
    assert!(refused(&handle, 0..400).is_empty());
    handle.store.sync().unwrap();
    handle
}

/// What so many puts, which need room, are refused with.
fn refused(handle: &Handle, numbers: std::ops::Range<u32>) -> Vec<Error> {
    let acts = numbers.map(|i| put(i % 900, i, 6_000 + i as usize % 100));
    acts.filter_map(|act| act.apply(&handle.store).err()).collect()
}

#[test]
fn a_full_store_puts_right_itself_what_the_disk_refused() {
    let machine = Machine::new(5);
    let handle = full(&machine);
    for round in 1..=5 {
        machine.fail(CallKind::Sync, round, ErrorKind::Other);
        let first = 400 * round as u32;
        let failed = refused(&handle, first..first + 400);
        assert!(failed.is_empty(), "{failed:?}");
        // It was met: it does not come now.
        handle.store.sync().unwrap();
        audit(&handle.store);
    }
}

#[test]
fn a_full_disk_is_full_whatever_it_refused_before() {
    let machine = Machine::new(6);
    let handle = full(&machine);
    machine.fail_from(CallKind::Sync, 1, ErrorKind::Other);
    let failed = refused(&handle, 400..800);
    assert!(!failed.is_empty() && !failed[0].is_full(), "{failed:?}");
    machine.clear_failures();
    machine.limit_disk(Some(machine.used_bytes()));
    let failed = refused(&handle, 800..900);
    assert!(!failed.is_empty() && failed.iter().all(Error::is_full), "{failed:?}");
    machine.limit_disk(None);
    let failed = refused(&handle, 900..1300);
    assert!(failed.is_empty(), "{failed:?}");
    audit(&handle.store);
}

#[test]
fn a_failure_before_the_disk_was_asked_may_pass() {
    let (mut world, victim, _other) = prepared();
    for nth in 1..4 {
        world.machine.fail_at(CallKind::Open, "log-", nth, ErrorKind::Other);
        let _ = victim.store.sync();
        world.machine.clear_failures();
        world.apply(&victim, &put(5, nth as u32, 10));
    }
    assert_durable(&world, "after files that could not be opened");
}

#[test]
fn nobody_asks_the_disk_for_what_is_durable() {
    let (world, victim, other) = prepared();
    other.store.sync().unwrap();
    assert_eq!(sync_calls(&world.machine, || victim.store.sync().unwrap()), 0);
    put(5, 99, 10).apply_alone(&victim.store);
    let calls = sync_calls(&world.machine, || victim.store.sync().unwrap());
    assert!(calls <= 8, "one segment, and the mark: {calls}");
}

/// Threads of the test play the processes at the same time.
#[test]
fn d1_d2_processes_that_wait_together_lose_nothing() {
    for round in rounds(4) {
        let machine = World::new(round).machine;
        drop(open_durably(&machine));
        let cut = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..3u32)
                .map(|who| {
                    // Opened one by one: a simulated file lock is had at once or not at all.
                    let handle = open_durably(&machine);
                    scope.spawn(move || {
                        for i in 0..20 {
                            put(who * 100 + i, i, 20 + (i as usize * 577) % 9_000).apply_alone(&handle.store);
                        }
                        if who == 0 {
                            handle.os.kill();
                        }
                    })
                })
                .collect();
            workers.into_iter().for_each(|worker| worker.join().unwrap());
            machine.power_cut_copy(round)
        });
        let found = open(&cut);
        let seen: Contents = live(&found.store);
        assert_eq!(seen.len(), 60);
        audit(&found.store);
    }
}

#[test]
fn the_mark_says_how_far_the_log_was_durable() {
    let (world, victim, _other) = prepared();
    victim.store.sync().unwrap();
    let bytes = world.machine.file_bytes(&path("synced")).unwrap();
    let bytes: [u8; crate::storage::synced::BYTES] = bytes.try_into().unwrap();
    let (mark, _) = crate::storage::synced::Mark::newest(&bytes, victim.store.store_id);
    let mark = mark.unwrap();
    assert_eq!(mark.sequence, crate::os::OsMap::load(&victim.store.state, crate::storage::state::VISIBLE));
    assert!(segments(&world).last().unwrap().ends_with(format!("log-{:x}", mark.segment)));
}
