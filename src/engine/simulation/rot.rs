//! Bytes of the log change on the disk after they were durable, and the index has to be made anew. What is lost is what
//! stood there; what stood behind it is kept, and nothing that was removed or replaced comes back. It knows nothing of
//! deaths.

use std::path::PathBuf;

use super::acts::{Act, Contents, key_bytes, put, tagged};
use super::audit::{audit, drift, live};
use super::eviction::{Full, POLICIES};
use super::world::{Handle, World, living, open, path};
use super::{Dice, rounds};
use crate::os::OsMap;
use crate::storage::state::{self, row, row_word};

/// Makes a store durable, closes it, and changes bytes of a file behind its back. Who opens it then has to rebuild.
fn damaged(acts: &[Act], unsynced: &[Act], damage: impl FnOnce(&World)) -> (World, Handle) {
    let (mut world, handle) = World::with(31, acts);
    handle.store.sync().unwrap();
    unsynced.iter().for_each(|act| world.apply(&handle, act));
    drop(handle);
    damage(&world);
    world.machine.remount();
    let found = open(&world.machine);
    audit(&found.store);
    (world, found)
}

fn segments(world: &World) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = world.machine.paths();
    found.retain(|name| name.to_string_lossy().contains("/log-"));
    found.sort_by_key(|name| (name.as_os_str().len(), name.clone()));
    found
}

fn position(bytes: &[u8], wanted: &[u8], last: bool) -> Option<usize> {
    let mut found = bytes.windows(wanted.len()).enumerate().filter(|(_, window)| *window == wanted).map(|(at, _)| at);
    if last { found.next_back() } else { found.next() }
}

/// Flips a bit of the newest record of a key, so many bytes before its key, or behind if negative.
fn flip_at_key(world: &World, key: u32, before: i64) {
    let wanted = key_bytes(key);
    let (file, at) = segments(world)
        .into_iter()
        .rev()
        .find_map(|file| Some((file.clone(), position(&world.machine.file_bytes(&file)?, &wanted, true)?)))
        .unwrap();
    assert!(world.machine.corrupt(&file, (at as i64 - before) as u64, &[4]));
}

/// Keys with three digits, so that none begins like another.
fn many(count: u32, len: usize) -> Vec<Act> {
    (0..count).map(|i| put(100 + i, i, len)).collect()
}

#[test]
fn damage_in_durable_data_costs_the_record_it_is_in() {
    // In the value, in the checksum, in the sequence.
    for before in [-10, 24, 8] {
        let (world, found) = damaged(&many(60, 3_000), &[], |world| flip_at_key(world, 120, before));
        let mut expected = world.contents.clone();
        expected.remove(&120);
        assert_eq!(live(&found.store), expected, "{before} bytes before the key");
        let report = found.store.check(&mut |_| ()).unwrap();
        assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
    }
}

#[test]
fn damage_in_a_batch_costs_the_batch_and_no_older_version_rises() {
    let mut acts = many(40, 500);
    acts.push(Act::Batch(vec![put(110, 90, 600), put(111, 90, 600), Act::Remove(112), put(113, 90, 600)]));
    acts.extend((0..30).map(|i| put(200 + i, i, 3_000)));
    let (world, found) = damaged(&acts, &[], |world| flip_at_key(world, 111, -10));
    let mut expected = world.contents.clone();
    expected.retain(|key, _| ![110, 111, 113].contains(key));
    assert_eq!(live(&found.store), expected);
}

#[test]
fn a_damaged_replacement_brings_no_older_version_back() {
    let mut acts = many(40, 500);
    acts.extend([put(110, 80, 700), put(300, 1, 10)]);
    let (world, found) = damaged(&acts, &[], |world| flip_at_key(world, 110, -10));
    let mut expected = world.contents.clone();
    expected.remove(&110);
    assert_eq!(live(&found.store), expected);
}

#[test]
fn a_damaged_removal_eviction_or_clear_still_removes() {
    let removal = [many(40, 500), vec![Act::Remove(110), put(300, 1, 10)]].concat();
    for before in [24, 8] {
        let (world, found) = damaged(&removal, &[], |world| flip_at_key(world, 110, before));
        assert_eq!(live(&found.store), world.contents);
    }
    let tags: Vec<Act> = (0..20).map(|i| tagged(100 + i, i, 200, 1)).collect();
    for act in [Act::Evict(1), Act::Clear] {
        let acts = [tags.clone(), vec![act.clone(), put(300, 1, 10)]].concat();
        // The record before that of key 300 is 24 bytes long; its sequence is the last of them.
        let (world, found) = damaged(&acts, &[], |world| flip_at_key(world, 300, 24 + 8));
        assert_eq!(live(&found.store), world.contents, "{act:?}");
    }
}

#[test]
fn a_damaged_head_costs_its_segment_alone() {
    let (world, found) = damaged(&many(60, 3_000), &[], |world| {
        let second = &segments(world)[1];
        assert!(world.machine.corrupt(second, 30, &[1]));
    });
    let (seen, all) = (live(&found.store), &world.contents);
    let lost: Vec<u32> = all.keys().filter(|key| !seen.contains_key(key)).copied().collect();
    assert!(!lost.is_empty() && lost.len() < 25, "{lost:?}");
    assert!(lost.windows(2).all(|pair| pair[1] == pair[0] + 1), "{lost:?}");
    assert!(seen.iter().all(|(key, item)| all.get(key) == Some(item)));
    put(100, 70, 3_000).apply_alone(&found.store);
    audit(&found.store);
}

#[test]
fn items_whose_tags_name_is_lost_are_absent() {
    let mut acts = vec![tagged(400, 1, 900, 7), tagged(401, 1, 900, 7)];
    acts.extend(many(20, 500));
    let (world, found) = damaged(&acts, &[], |world| {
        let file = &segments(world)[0];
        let at = position(&world.machine.file_bytes(file).unwrap(), b"tag 7", false).unwrap();
        assert!(world.machine.corrupt(file, at as u64, &[1]));
    });
    let mut expected = world.contents.clone();
    expected.retain(|key, _| ![400, 401].contains(key));
    assert_eq!(live(&found.store), expected);
    tagged(402, 1, 10, 8).apply_alone(&found.store);
    audit(&found.store);
}

#[test]
fn behind_the_mark_a_break_is_the_end_and_nothing_durable_is_cut() {
    let durable = many(30, 2_000);
    let unsynced: Vec<Act> = (0..10).map(|i| put(500 + i, i, 2_000)).collect();
    let before: Contents = {
        let (world, _handle) = World::with(31, &durable);
        world.contents
    };
    let (_world, found) = damaged(&durable, &unsynced, |world| flip_at_key(world, 503, -10));
    let seen = live(&found.store);
    assert!(before.iter().all(|(key, item)| seen.get(key) == Some(item)));
    let newer: Vec<u32> = seen.keys().filter(|key| **key >= 500).copied().collect();
    assert_eq!(newer, [500, 501, 502]);
    // Damage in both: the older place costs its record, the younger ends the log.
    let (_world, found) = damaged(&durable, &unsynced, |world| {
        flip_at_key(world, 503, -10);
        flip_at_key(world, 128, -10);
    });
    let seen: Vec<u32> = live(&found.store).into_keys().collect();
    let expected: Vec<u32> = (100..130).filter(|key| *key != 128).chain(500..503).collect();
    assert_eq!(seen, expected);
}

#[test]
fn the_newest_durable_record_may_be_the_damaged_one() {
    let durable = many(30, 2_000);
    for unsynced in [vec![], vec![put(500, 1, 2_000)]] {
        let (world, found) = damaged(&durable, &unsynced, |world| flip_at_key(world, 129, -10));
        let mut expected = world.contents.clone();
        expected.remove(&129);
        assert_eq!(live(&found.store), expected);
        put(129, 200, 10).apply_alone(&found.store);
        audit(&found.store);
    }
}

/// Wherever it is: every key holds what it held or nothing.
#[test]
fn random_damage_in_durable_data_costs_little_and_shows_nothing_else() {
    let acts = many(50, 1_200);
    for round in rounds(24) {
        let mut dice = Dice(round);
        let mut place = String::new();
        let (world, found) = damaged(&acts, &[], |world| {
            let files = segments(world);
            let file = &files[dice.below(files.len() as u64) as usize];
            let bytes = world.machine.file_bytes(file).unwrap();
            let end = bytes.iter().rposition(|&byte| byte != 0).unwrap() as u64;
            let (at, len) = (64 + dice.below(end - 64), 1 + dice.below(600) as usize);
            place = format!("round {round}: {len} bytes at {at} of {}", file.display());
            world.machine.corrupt(file, at, &vec![0x55; len]);
        });
        let seen = live(&found.store);
        let lost = world.contents.keys().filter(|key| !seen.contains_key(key)).count();
        assert!(lost <= 3, "{place}: {lost} items are gone");
        assert!(seen.iter().all(|(key, item)| world.contents.get(key) == Some(item)), "{place}");
        put(100, 70, 3_000).apply_alone(&found.store);
        audit(&found.store);
    }
}

#[test]
fn a_mark_that_is_damaged_or_of_another_segment_says_nothing() {
    let durable = many(30, 2_000);
    let (_world, found) = damaged(&durable, &[], |world| {
        flip_at_key(world, 110, -10);
        for place in [0, 512] {
            world.machine.corrupt(&path("synced"), place + 20, &[1]);
        }
    });
    let seen: Vec<u32> = live(&found.store).into_keys().collect();
    assert_eq!(seen, (100..110).collect::<Vec<u32>>());
    for bytes in [0, 1, 63, 600] {
        let (world, found) = damaged(&durable, &[], |world| assert!(world.machine.truncate(&path("synced"), bytes)));
        assert_eq!(live(&found.store), living(&world.contents, 0));
    }
}

/// One bit of the type of a durable put makes a `clear` of it: nobody believes what has a key.
#[test]
fn a_type_that_is_damaged_costs_its_record_alone() {
    let (world, found) = damaged(&many(60, 3_000), &[], |world| flip_at_key(world, 120, 20));
    let mut expected = world.contents.clone();
    expected.remove(&120);
    assert_eq!(live(&found.store).len(), expected.len());
}

/// What a row says too much leads into a segment for ever: it cannot be given back, and no call walks it again and again for
/// that.
#[test]
fn a_segment_with_a_wrong_count_is_not_walked_without_end() {
    for policy in POLICIES {
        let mut full = Full::new(3, policy);
        for _ in 0..1_200 {
            let act = full.act();
            full.apply(&act);
        }
        let acts: Vec<Act> = (0..40).map(|_| full.act()).collect();
        let store = &full.handles[0].store;
        for slot in 0..store.rows {
            store.state.store(row_word(slot, row::LIVE), store.state.load(row_word(slot, row::LIVE)) + 1);
        }
        for act in acts {
            let before = store.state.load(state::VISIBLE);
            let done = act.apply(store);
            let commits = store.state.load(state::VISIBLE) - before;
            assert!(commits < 2_000, "{policy:?}: {commits} commits in {act:?}");
            assert!(done.is_ok() || done.is_err_and(|error| error.is_full()));
        }
    }
}

/// The file of a large value that is damaged is in nobody's count once its item is gone; and if a sync has vouched for it, it goes once
/// that is durable.
#[test]
fn what_a_repair_leaves_nothing_to_lead_to_is_counted_out() {
    for is_synced in [false, true] {
        let (world, handle) = World::with(31, &(0..8).map(|key| put(key, 1, 12_000)).collect::<Vec<_>>());
        if is_synced {
            handle.store.sync().unwrap();
        }
        let values = world.machine.paths().into_iter().filter(|name| name.to_string_lossy().contains("/value-"));
        values.take(3).for_each(|value| assert!(world.machine.corrupt(&value, 5_000, &[1])));
        assert!(!handle.store.repair(&mut |_| ()).unwrap().is_clean());
        assert_eq!((live(&handle.store).len(), drift(&handle.store).0), (5, 0), "synced: {is_synced}");
        audit(&handle.store);
    }
}
