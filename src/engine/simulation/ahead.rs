//! Segments that are made before they are needed: who takes them, and what becomes of them when their maker dies or somebody
//! needs the space more.

use super::super::limit::segment_bytes;
use super::super::recovery::Opening;
use super::acts::put;
use super::audit::audit;
use super::eviction::{open, reopen};
use super::world::{Handle, SIZE_LIMIT, World, opening, path};
use crate::options::Eviction;
use crate::os::{OpenMode, Os, OsFile, OsMap};
use crate::storage::state;

/// What a handle's presence takes.
const PRESENCE: u64 = 4096;

/// A store that evicts, with one item: elsewhere nothing is made ahead.
fn prepared() -> (World, Handle) {
    let mut world = World::new(5);
    let eviction = Some(Eviction::LeastRecentlyStored.to_bits());
    let handle = open(&world.machine, &Opening { eviction, ..opening(Some(SIZE_LIMIT)) });
    world.apply(&handle, &put(1, 1, 10));
    (world, handle)
}

fn drafts(world: &World) -> usize {
    world.machine.paths().iter().filter(|path| path.to_string_lossy().contains("draft-")).count()
}

#[test]
fn a_segment_made_ahead_is_the_next_one_and_is_set_aside_until_then() {
    let (mut world, handle) = prepared();
    let store = &handle.store;
    let segment = segment_bytes(SIZE_LIMIT);
    assert!(store.make_ahead().unwrap() && !store.make_ahead().unwrap(), "one, and no second one");
    assert_eq!((drafts(&world), store.reserved()), (1, segment + PRESENCE));
    let next = store.state.load(state::NEXT_SEGMENT);
    for key in 0.. {
        world.apply(&handle, &put(key, 1, 2_000));
        if store.state.load(state::NEXT_SEGMENT) != next {
            break;
        }
    }
    assert_eq!((drafts(&world), store.reserved(), store.made_ahead()), (0, PRESENCE, 0));
    let file = handle.os.open(&path(&format!("log-{next:x}")), OpenMode::Read).unwrap();
    assert_eq!(file.allocated().unwrap(), segment, "all of it was made");
    world.check(&handle);
    drop(handle);
    world.machine.process().remove(&path("state")).unwrap();
    world.check(&reopen(&world.machine));
}

#[test]
fn a_segment_made_ahead_goes_with_its_maker_however_that_ends() {
    let (world, handle) = prepared();
    let closed = reopen(&world.machine);
    assert!(closed.store.make_ahead().unwrap());
    drop(closed);
    assert_eq!((drafts(&world), handle.store.reserved()), (0, PRESENCE));
    // Once the steps of making one are through, it stays until the next opening.
    let mut left = 0;
    for steps in 0..40 {
        let victim = reopen(&world.machine);
        victim.os.kill_after(steps);
        let _ = victim.os.run(|| victim.store.make_ahead());
        victim.os.kill();
        left += drafts(&world);
        drop(reopen(&world.machine));
        assert_eq!((drafts(&world), handle.store.reserved()), (0, PRESENCE), "after {steps} steps");
    }
    assert!(left > 0, "no death left one");
    audit(&handle.store);
}

#[test]
fn whoever_needs_the_space_more_has_the_segment_given_up() {
    let (world, handle) = prepared();
    assert!(handle.store.make_ahead().unwrap());
    // Before a writer finds no room for values with files of their own, it is given up.
    let gone = (2..1_000).find(|&key| {
        put(key, 1, 40_000).apply_alone(&handle.store);
        handle.store.made_ahead() == 0
    });
    assert!(gone.is_some() && drafts(&world) == 0, "{} drafts after a thousand values", drafts(&world));
    audit(&handle.store);
}

#[test]
fn nothing_is_set_aside_where_nothing_is_evicted() {
    let (_world, handle) = World::with(5, &[put(1, 1, 10)]);
    assert!(!handle.store.make_ahead().unwrap());
}
