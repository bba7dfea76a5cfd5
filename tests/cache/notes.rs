//! Notes that are written again and again in a full store leave removals the room that they need.
use std::time::Duration;

use larder::recipes::{Averager, BoundedSemaphore, RLock, Throttle};
use larder::{Cache, Eviction};

fn open(dir: &tempfile::TempDir, size_limit: u64) -> Cache {
    Cache::builder(dir).size_limit(size_limit).eviction(Eviction::None).background(false).open().unwrap()
}

fn fill(cache: &Cache) -> u32 {
    let mut stored = 0;
    for len in [1_000, 100, 1] {
        while cache.set_bytes(stored, &vec![1; len]).is_ok() {
            stored += 1;
        }
    }
    stored
}

/// Writes a note until it is refused, and then empties the store key by key.
fn is_emptied_after(note: &dyn Fn(&Cache) -> bool) {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(&dir, 2 << 20);
    assert!(note(&cache));
    let stored = fill(&cache);
    let written = (0..20_000).take_while(|_| note(&cache)).count();
    for key in 0..stored {
        let deleted = cache.delete(key);
        assert!(deleted.is_ok(), "after {written} notes, {key} of {stored}: {:?}", deleted.err());
    }
}

#[test]
fn an_average_leaves_removals_their_room() {
    is_emptied_after(&|cache| Averager::new(cache, "average").unwrap().add(1.0).is_ok());
}

#[test]
fn a_throttle_leaves_removals_their_room() {
    is_emptied_after(&|cache| {
        Throttle::new(cache, "calls", 1 << 30, Duration::from_secs(1)).unwrap().try_pass().is_ok()
    });
}

/// Who has a lock and takes it again and again: neither does that use up the room, nor is it held for ever by that.
#[test]
fn a_reentrant_lock_leaves_removals_and_its_release_their_room() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(&dir, 2 << 20);
    let again = RLock::new(&cache, "again").unwrap();
    let outer = again.lock().unwrap();
    let stored = fill(&cache);
    let times = (0..20_000).take_while(|_| again.lock().is_ok()).count();
    let deleted = cache.delete(0);
    drop(outer);
    let is_locked = again.is_locked().unwrap();
    assert!(
        deleted.is_ok() && !is_locked,
        "after {times} times beside {stored} items: {deleted:?}, locked still: {is_locked}"
    );
}

#[test]
fn notes_do_not_grow_a_store_whose_limit_was_lowered() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(&dir, 16 << 20);
    let averager = Averager::new(&cache, "average").unwrap();
    averager.add(1.0).unwrap();
    let stored = fill(&cache);
    cache.update_settings(|settings| settings.size_limit = 8 << 20).unwrap();
    while cache.set_bytes("more", &[1]).is_ok() {}
    let before = cache.volume();
    let added = (0..300_000).take_while(|_| averager.add(1.0).is_ok()).count();
    let (after, deleted) = (cache.volume(), (0..stored).take_while(|&key| cache.delete(key).is_ok()).count());
    assert!(
        after <= before + (1 << 20),
        "{added} added: {before} bytes, then {after}; then {deleted} of {stored} could be deleted"
    );
}

#[test]
fn many_permits_are_given_back_in_a_full_store() {
    for many in [10, 30, 300, 1_000] {
        let dir = tempfile::tempdir().unwrap();
        let cache = open(&dir, 2 << 20);
        let permits = BoundedSemaphore::new(&cache, "permits", many).unwrap();
        let held: Vec<_> = (0..many).map(|_| permits.acquire().unwrap()).collect();
        fill(&cache);
        drop(held);
        let taken = permits.taken().unwrap();
        assert_eq!(taken, 0, "of {many}");
    }
}
