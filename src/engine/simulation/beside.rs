//! What the disk refuses beside a sync, and what goes beside one.

use std::io::ErrorKind;
use std::thread::ScopedJoinHandle;

use super::acts::{Act, key_bytes, put, value_bytes};
use super::audit::{audit, drift};
use super::joint::{FILE_CAPACITY, Way, commit, live_in_all, number_of, one_in_each, open_in, process};
use super::joint_anew::{set, state_path};
use super::scale;
use super::world::{self, World};
use crate::engine::change::{Change, Op, Put, Tag, Value};
use crate::engine::commit::Commit;
use crate::engine::durable::Purpose;
use crate::engine::siblings::Joint;
use crate::error::Error;
use crate::os::OsMap;
use crate::os::sim::{CallKind, Machine};
use crate::storage::state::{SUSPECT, SYNC_FAILED, SYNC_STAGE};

/// Who wipes a batch dies between the failed fsync and saying so.
#[test]
fn d3_death_between_a_failed_fsync_and_its_announcement() {
    let mut bad = Vec::new();
    let acts_of = |group: &[u32]| [put(group[0], 3, 30), put(group[1], 3, 30), put(group[2], 3, 9_000)];
    for step in 0..4000 {
        let machine = Machine::with_file_capacity(3, FILE_CAPACITY);
        let victim = process(&machine);
        let survivor = process(&machine);
        let group = one_in_each(&victim.shards);
        let all = |version: u32| -> Vec<Act> { group.iter().map(|&key| put(key, version, 30)).collect() };
        commit(&victim.shards, &all(1), Way::Torn).unwrap();
        victim.shards.members.iter().for_each(|member| member.store().sync().unwrap());
        let filler = (90..).find(|&key| number_of(&victim.shards, key) == 0).unwrap();
        put(group[0], 4, 30).apply_alone(victim.shards.members[0].store());
        put(filler, 4, 6_000).apply_alone(victim.shards.members[0].store());
        machine.fail_at(CallKind::Sync, "log-", 1, ErrorKind::Other);
        machine.fail_at(CallKind::Rename, "draft", 1, ErrorKind::Other);
        victim.os.kill_after(step);
        let died = victim.os.run(|| commit(&victim.shards, &acts_of(&group), Way::Torn)).is_none();
        if !died {
            assert!(step > 10);
            victim.os.kill_after(u64::MAX);
            break;
        }
        machine.clear_failures();
        let store = survivor.shards.members[0].store();
        if store.sync().is_err() {
            continue;
        }
        for seed in 0..10 {
            let cut = process(&machine.power_cut_copy(seed));
            let found = live_in_all(&cut.shards).get(&group[0]).map(|item| item.version);
            // Without being lasting, a part of one that never was may be there (J4 is about others).
            if found != Some(4) && found != Some(3) {
                bad.push(format!("step {step}, cut {seed}: {found:?}"));
            }
        }
    }
    assert!(bad.is_empty(), "{} {bad:#?}", bad.len());
}

/// Somebody asks the disk for everything while another one's wipe is refused.
#[test]
fn d3_a_sync_beside_a_wipe_that_the_disk_refuses_says_so_or_is_true() {
    let (mut bad, mut both) = (0, 0);
    for _round in 0..400u64 {
        if both >= 2 * scale() {
            break;
        }
        let machine = Machine::with_file_capacity(3, FILE_CAPACITY);
        let victim = process(&machine);
        let leader = process(&machine);
        let group = one_in_each(&victim.shards);
        let all = |version: u32| -> Vec<Act> { group.iter().map(|&key| put(key, version, 30)).collect() };
        commit(&victim.shards, &all(1), Way::Torn).unwrap();
        victim.shards.members.iter().for_each(|member| member.store().sync().unwrap());
        let fillers: Vec<u32> = (90..).filter(|&key| number_of(&victim.shards, key) == 0).take(120).collect();
        let store = victim.shards.members[0].store();
        fillers[1..].iter().for_each(|&key| put(key, 4, 9_000).apply_alone(store));
        put(group[0], 4, 30).apply_alone(store);
        put(fillers[0], 4, 6_000).apply_alone(store);
        let acts = [put(group[0], 3, 30), put(group[1], 3, 30), put(group[2], 3, 9_000)];
        machine.fail_at(CallKind::Sync, "shard-0/log-", 1, ErrorKind::Other);
        machine.fail_at(CallKind::Rename, "draft", 1, ErrorKind::Other);
        let mut synced = false;
        std::thread::scope(|scope| {
            let mut sync: Option<ScopedJoinHandle<'_, bool>> = None;
            let leader = &leader;
            let failed = victim.shards.transact(None, false, |handles| {
                for act in &acts {
                    let Act::Put(key, item) = act else { unreachable!() };
                    let (bytes, value) = (key_bytes(*key), value_bytes(*key, *item));
                    let inside = &handles[number_of(&victim.shards, *key)];
                    let put =
                        Put { kind: item.version as u8, value: Value::Inline(&value), expires: None, tag: Tag::None };
                    inside.put_hashed(&bytes, inside.hash(&bytes), put)?;
                }
                sync = Some(scope.spawn(move || leader.shards.members[0].store().sync().is_ok()));
                // It asks the disk for values, and then for the log.
                while store.state.load(SYNC_STAGE) != 1 && !sync.as_ref().unwrap().is_finished() {
                    std::hint::spin_loop();
                }
                Ok::<(), Error>(())
            });
            assert!(failed.is_err());
            synced = sync.unwrap().join().unwrap();
        });
        machine.clear_failures();
        if !synced || store.state.load(SYNC_FAILED) == 0 {
            continue;
        }
        both += 1;
        if (0..6).any(|seed| {
            let cut = process(&machine.power_cut_copy(seed));
            let found = live_in_all(&cut.shards).get(&group[0]).map(|item| item.version);
            found < Some(3)
        }) {
            bad += 1;
        }
    }
    assert_eq!(bad, 0, "syncs that said Ok and lost what they vouched for, of {both}");
}

/// After a refused wipe, and after a rebuild whose fsync was refused, `sync` puts everything right.
#[test]
fn sync_puts_right_what_was_announced_beside_it() {
    let machine = Machine::with_file_capacity(3, FILE_CAPACITY);
    let victim = process(&machine);
    let group = one_in_each(&victim.shards);
    let all = |version: u32| -> Vec<Act> { group.iter().map(|&key| put(key, version, 30)).collect() };
    commit(&victim.shards, &all(1), Way::Torn).unwrap();
    let acts = [put(group[0], 3, 30), put(group[1], 3, 30), put(group[2], 3, 9_000)];
    machine.fail_at(CallKind::Sync, "shard-0/log-", 1, ErrorKind::Other);
    machine.fail_at(CallKind::Rename, "draft", 1, ErrorKind::Other);
    assert!(commit(&victim.shards, &acts, Way::Torn).is_err());
    machine.clear_failures();
    victim.shards.members.iter().for_each(|member| member.store().sync().unwrap());
    commit(&victim.shards, &all(5), Way::Lasting).unwrap();
    drop(victim);
    // The rebuild's fsync fails, too.
    set(&machine, 0, SUSPECT, 1);
    machine.fail_at(CallKind::Sync, "shard-0/log-", 1, ErrorKind::Other);
    let os = machine.process();
    assert!(open_in(&os, false).is_err());
    machine.clear_failures();
    let next = process(&machine);
    assert!(commit(&next.shards, &all(6), Way::Lasting).is_err());
    next.shards.members.iter().for_each(|member| member.store().sync().unwrap());
    commit(&next.shards, &all(7), Way::Lasting).unwrap();
    for seed in 0..10 {
        let cut = process(&machine.power_cut_copy(seed));
        let found = live_in_all(&cut.shards);
        assert!(group.iter().all(|key| found.get(key).map(|item| item.version) == Some(7)));
    }
}

/// An opener dies while it makes a shard anew; the next one's fsync fails; what the third says is true.
#[test]
fn d3_a_rebuild_whose_fsync_fails_is_not_forgotten() {
    let machine = Machine::with_file_capacity(3, FILE_CAPACITY);
    let first = process(&machine);
    let key = one_in_each(&first.shards)[0];
    first.shards.members.iter().for_each(|member| member.store().sync().unwrap());
    let filler = (90..).find(|&key| number_of(&first.shards, key) == 0).unwrap();
    put(key, 5, 30).apply_alone(first.shards.members[0].store());
    put(filler, 6, 6_000).apply_alone(first.shards.members[0].store());
    drop(first);
    set(&machine, 0, SUSPECT, 1);
    let mut tried = 0;
    for step in 0.. {
        let copy = machine.copy();
        let second = copy.process();
        second.kill_after(step);
        if second.run(|| open_in(&second, false).map(drop)).is_some() {
            break;
        }
        let has_state = copy.file_bytes(&state_path(0)).is_some();
        copy.fail_at(CallKind::Sync, "log-", 1, ErrorKind::Other);
        let third = copy.process();
        if open_in(&third, false).map(drop).is_ok() {
            continue;
        }
        tried += 1;
        copy.clear_failures();
        let fourth = process(&copy);
        if fourth.shards.members[0].store().sync().is_err() {
            continue;
        }
        for seed in 0..10 {
            let cut = process(&copy.power_cut_copy(seed));
            let found = live_in_all(&cut.shards).get(&key).map(|item| item.version);
            assert_eq!(
                found,
                Some(5),
                "synced, and lost by power cut {seed}; second died at {step}, state file there: {has_state}"
            );
        }
    }
    assert!(tried > 0);
}

/// A value that is to go right after its commit, and that a sync began to ask for, counts until it goes.
#[test]
fn what_waits_for_a_sync_counts_until_it_goes() {
    let first: Vec<Act> = (0..40).map(|key| put(key, 1, 12_000)).collect();
    let (world, writer) = World::with(9, &first);
    let leader = world::open(&world.machine);
    let checker = world::open(&world.machine);
    assert!(checker.store.check(&mut |_| ()).unwrap().is_clean());
    let keys: Vec<Vec<u8>> = (0..40).map(key_bytes).collect();
    let ops: Vec<Op<'_>> =
        keys.iter().map(|key| Op { key, hash: writer.store.hash(key), change: Change::Remove }).collect();
    let locked = writer.store.lock().unwrap();
    let mut commit = Commit::new(&locked).unwrap();
    // Stops it where it is ready.
    commit.joint = Some(Joint { number: 1, is_lasting: false, is_ready: false });
    commit.carry_out(&ops).unwrap();
    commit.joint = None;
    // Somebody begins to sync.
    let lead = leader.store.try_to_lead(Purpose::Sync).unwrap();
    commit.apply();
    commit.show();
    drop(commit);
    drop(locked);
    let (files, bytes) = writer.store.waiting();
    // The writer waits for the disk now, in its epilogue. Somebody checks.
    let report = checker.store.check(&mut |_| ()).unwrap();
    assert!(report.is_clean(), "{files} wait, of {bytes} bytes: {:?}", report.problems);
    drop(lead);
}

/// A dead leader's word stays: what is retired goes all the same.
#[test]
fn a_dead_leader_keeps_nothing_from_going() {
    let first: Vec<Act> = (0..40).map(|key| put(key, 1, 12_000)).collect();
    let (world, writer) = World::with(9, &first);
    let leader = world::open(&world.machine);
    let lead = leader.store.try_to_lead(Purpose::Sync).unwrap();
    leader.os.kill();
    std::mem::forget(lead);
    Act::Batch((0..40).map(Act::Remove).collect()).apply_alone(&writer.store);
    assert_eq!(writer.store.waiting(), (0, 0));
    Act::Clear.apply_alone(&writer.store);
    audit(&writer.store);
    assert_eq!(drift(&writer.store).0, 0);
}
