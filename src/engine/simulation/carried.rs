//! What victims of compaction leave behind is durable before they go, and nothing else has to be. It knows the words of `carried`, and full
//! stores from `eviction`.

use std::io::ErrorKind;

use super::acts::put;
use super::audit::{audit, lookup};
use super::eviction::{Full, reopen};
use super::world::Handle;
use crate::engine::durable::Purpose;
use crate::options::Eviction;
use crate::os::OsMap;
use crate::os::sim::CallKind;
use crate::storage::paths::Name;
use crate::storage::segment::{MAIN, is_main};
use crate::storage::state::{self, Retiree};

/// Keys that are read again and again, so that they move to the main stream.
const READ: u32 = 1_500;
/// Rounds after which something was carried, and the main stream has not come round yet.
const ROUNDS: u32 = 36;

/// The ids of the segments of the main stream, ascending.
fn main_of(handle: &Handle) -> Vec<u64> {
    let mut ids: Vec<u64> =
        (0..handle.store.rows).map(|slot| handle.store.segment_in(slot)).filter(|&id| is_main(id)).collect();
    ids.sort_unstable();
    ids
}

fn put_all(handle: &Handle, keys: std::ops::Range<u32>, version: u32) {
    keys.for_each(|key| put(key, version, 300).apply(&handle.store).map(drop).unwrap());
}

fn read_all(handle: &Handle) {
    assert!((0..READ).filter(|&key| lookup(&handle.store, key).is_some()).count() > 300);
}

/// A store whose main stream has segments of items alone, and the next key.
fn with_items_alone() -> (Full, u32) {
    let full = Full::new(1, Eviction::LeastRecentlyUsed);
    let handle = &full.handles[0];
    let mut next = 0;
    while main_of(handle).len() < 6 && next < 40_000 {
        put_all(handle, next..next + 400, 1);
        read_all(handle);
        next += 400;
    }
    assert!(main_of(handle).len() >= 6 && handle.store.state.load(state::CARRIED) == 0);
    (full, next)
}

/// The first sync of a segment fails.
fn fail_at(full: &Full, id: u64) {
    let name = full.handles[0].store.paths.of(Name::Segment(id));
    full.world.machine.fail_at(CallKind::Sync, name.file_name().unwrap().to_str().unwrap(), 1, ErrorKind::Other);
}

/// Replaces some of what was moved, so that something is left of the victims that did so.
fn carry_on(handle: &Handle, mut next: u32) {
    for round in 0..ROUNDS {
        put_all(handle, READ - 100 + round..READ - 90 + round, 2 + round);
        put_all(handle, next..next + 100, 1);
        read_all(handle);
        next += 100;
    }
}

/// K4. What a victim leaves is in the newest segments of the main stream. Those that hold nothing but items are not asked for when it
/// goes, however many they are.
#[test]
fn k4_a_victim_goes_without_a_sync_of_segments_that_hold_items_alone() {
    let (full, next) = with_items_alone();
    let handle = &full.handles[0];
    let old = *main_of(handle).last().unwrap();
    fail_at(&full, old);
    carry_on(handle, next);
    let words = |words: [usize; 3]| words.map(|word| handle.store.state.load(word));
    assert!(handle.store.state.load(state::CARRIED_SYNCED) != 0 && main_of(handle).contains(&old));
    assert_eq!(words([state::SYNC_FAILED, state::SYNCED, state::SYNCED_MAIN]), [0; 3]);
    audit(&handle.store);
}

/// K4. What was carried before a rebuild and is not durable stands anywhere in the main stream.
#[test]
fn k4_after_a_rebuild_all_of_the_main_stream_is_asked_for_once() {
    let (full, next) = with_items_alone();
    let handle = &full.handles[0];
    handle.store.state.store(state::SUSPECT, 1);
    full.handles.iter().for_each(|handle| handle.os.kill());
    let heir = reopen(&full.world.machine);
    assert!(!heir.store.is_carried_durable());
    let oldest = main_of(&heir)[0];
    fail_at(&full, oldest);
    let path = heir.store.paths.of(Name::Segment(oldest));
    let mut next = next;
    // Whoever is told of the failure puts it right, by a sync of everything.
    while heir.store.state.load(state::SYNCED) == 0 {
        assert!(full.world.machine.paths().contains(&path), "it went without a look at what it left before");
        put_all(&heir, next..next + 1, 1);
        next += 1;
    }
}

/// A commit stores where what it carries begins before it stores where the main stream ends. Whoever leads between the two, or finds
/// its owner dead there, has not asked for that segment, nor for its name.
#[test]
fn k4_a_leader_vouches_for_no_segment_that_it_has_not_asked_for() {
    let (full, _) = with_items_alone();
    let (store, state) = (&full.handles[0].store, &full.handles[0].store.state);
    let last = *main_of(&full.handles[0]).last().unwrap() & !MAIN;
    state.store(state::CARRIED, store.visible());
    state.store(state::CARRIED_FROM, last + 1);
    assert!(store.try_to_lead(Purpose::Carried).unwrap().carry_out(Purpose::Carried).unwrap());
    assert_eq!((state.load(state::CARRIED_UPTO), state.load(state::SYNC_STAGE)), (last, 0));
    assert!(store.is_carried_durable());
}

/// Whoever leads for what victims left says so, and nobody waits for more than that because of it.
#[test]
fn a_leader_who_gives_space_back_vouches_for_nothing() {
    let full = Full::new(9, Eviction::LeastRecentlyUsed);
    let store = &full.handles[0].store;
    let files = [Retiree::Segment(1), Retiree::Value(1)].map(Retiree::bits);
    let vouched = || files.map(|bits| store.is_vouched_for(bits));
    assert_eq!(vouched(), [false, false]);
    for (purpose, vouches) in [(Purpose::Carried, false), (Purpose::Change, true), (Purpose::Sync, true)] {
        let lead = store.try_to_lead(purpose).unwrap();
        assert_eq!(vouched(), [vouches, vouches]);
        drop(lead);
        assert_eq!(vouched(), [false, false], "who is gone has vouched for what the words say");
    }
}
