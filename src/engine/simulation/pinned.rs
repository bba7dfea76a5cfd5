//! What is unlinked and mapped still, held against what the machine knows: bytes that some process holds and no name leads
//! to. It knows how a full store is worked on from `eviction`.

use super::super::limit::segment_bytes;
use super::super::listed::{LIST, presence_bytes};
use super::super::view::Segment;
use super::acts::key_bytes;
use super::audit::live;
use super::eviction::{Full, POLICIES, reopen};
use super::rounds;
use super::world::{Handle, SMALL_LIMIT, World, open};
use crate::os::sim::{Machine, SimOs};
use crate::os::{Os, OsMap, Pinned};
use crate::storage::state::{self, Retiree};

/// Operations while others stand still.
const OPERATIONS: usize = 1_500;

/// Bytes that are taken and have no name.
fn nameless(machine: &Machine) -> u64 {
    machine.used_bytes() - machine.linked_bytes()
}

/// What a handle reports, which accounts for all that has no name.
fn pinned(handle: &Handle, machine: &Machine) -> u64 {
    handle.store.epilogue_at_once();
    let pinned = handle.store.pinned().unwrap();
    let (waiting, nameless) = (handle.store.waiting().1, nameless(machine));
    assert!(pinned + waiting >= nameless, "{pinned} bytes pinned, {nameless} without a name");
    assert!(pinned == 0 || nameless > 0, "{pinned} bytes pinned, and all have names");
    pinned
}

/// Borrows a value that is in the log.
fn borrowed(handle: &Handle) -> Pinned<Segment<SimOs>> {
    let store = &handle.store;
    let mut keys = live(store).into_keys().map(key_bytes);
    let borrow = |key: Vec<u8>| {
        let found = store.read(&key, store.hash(&key), |record| Ok(record.large().is_none().then(|| record.pin())));
        found.unwrap().flatten().flatten()
    };
    keys.find_map(borrow).expect("something is in the log")
}

#[test]
fn what_processes_that_stand_still_keep_is_reported_until_they_go_on_or_end() {
    for policy in POLICIES {
        for seed in rounds(1) {
            let mut full = Full::new(4_000 + seed, policy);
            let machine = full.world.machine.clone();
            for _ in 0..OPERATIONS {
                let act = full.act();
                full.apply(&act);
            }
            let (idle, victim, borrower) = (reopen(&machine), reopen(&machine), reopen(&machine));
            assert_eq!(live(&idle.store), live(&victim.store));
            let value = borrowed(&borrower);
            let mut most = 0;
            for _ in 0..OPERATIONS {
                let act = full.act();
                full.apply(&act);
                most = most.max(pinned(&full.handles[0], &machine));
            }
            assert!(most > 0, "{policy:?}: nothing that the idle have mapped went");
            let all = pinned(&full.handles[0], &machine);
            idle.store.len();
            assert_eq!(pinned(&full.handles[0], &machine), all, "a call that looks at no map");
            victim.os.kill();
            assert_eq!(pinned(&full.handles[0], &machine), all, "the other one has the same maps");
            drop(idle.store.enter().unwrap());
            drop(borrower.store.enter().unwrap());
            let kept = pinned(&full.handles[0], &machine);
            assert!(kept <= 4 * segment_bytes(SMALL_LIMIT), "{policy:?}: one segment at most, not {kept}");
            drop(value);
            drop(borrower.store.enter().unwrap());
            assert_eq!((pinned(&full.handles[0], &machine), nameless(&machine)), (0, 0), "{policy:?}");
            full.check();
        }
    }
}

#[test]
fn tables_of_the_index_that_were_grown_out_of_are_pinned_too() {
    let (mut world, handle) = World::with(7, &[super::acts::put(0, 0, 100)]);
    let idle = open(&world.machine);
    assert_eq!(live(&idle.store).len(), 1);
    let generation = handle.store.geometry().unwrap().current.generation;
    for key in 1..2_000 {
        world.apply(&handle, &super::acts::put(key, key, 20));
    }
    assert!(handle.store.geometry().unwrap().current.generation > generation + 1, "the index has grown twice");
    let idle_has = idle.store.view.load().indexes.iter().map(|index| index.map.len() as u64).sum::<u64>();
    assert_eq!(pinned(&handle, &world.machine), idle_has);
    idle.os.kill();
    assert_eq!((pinned(&handle, &world.machine), nameless(&world.machine)), (0, 0));
}

/// The words of a handle's list that are taken.
fn taken(handle: &Handle) -> usize {
    let page = SimOs::presence_page(handle.store.presence.as_ref().unwrap());
    (LIST..page.len()).step_by(8).filter(|&at| page.load(at) != 0).count()
}

#[test]
fn a_list_that_is_full_leaves_out_what_comes_later_and_values_leave_room_for_segments() {
    let (world, handle) = World::with(8, &[super::acts::put(0, 0, 100)]);
    let store = &handle.store;
    let words = (presence_bytes(store.rows) as usize - LIST) / 8;
    let before = taken(&handle);
    let values: Vec<_> = (1..=words as u64).map(|id| store.list(Retiree::Value(id), 100_000)).collect();
    assert_eq!(taken(&handle), before + 120);
    // Of these, one and no more is a value that there was.
    store.state.store(state::NEXT_VALUE, 2);
    assert_eq!(store.pinned().unwrap(), 102_400);
    let segments: Vec<_> = (1..=words as u64).map(|id| store.list(Retiree::Segment(1_000 + id), 100_000)).collect();
    assert_eq!(taken(&handle), words);
    // Of those neither: they are not made yet.
    assert_eq!(store.pinned().unwrap(), 102_400);
    drop((values, segments));
    assert_eq!(taken(&handle), before);
    assert_eq!(store.pinned().unwrap(), 0);
    assert!(
        store.list(Retiree::Value(1 << 38), 1).is_nowhere() && store.list(Retiree::Segment(1 << 45), 1).is_nowhere()
    );
    drop(world);
}

#[test]
fn whatever_stands_in_a_list_is_a_number_and_nothing_else() {
    let (mut world, handle) = World::with(9, &[super::acts::put(0, 0, 100), super::acts::put(1, 0, 70_000)]);
    let mut dice = super::Dice(9);
    let page = SimOs::presence_page(handle.store.presence.as_ref().unwrap());
    for round in 0..200 {
        for at in (LIST..page.len()).step_by(8) {
            let word = match round % 4 {
                0 => u64::MAX,
                1 => dice.next(),
                // Small numbers of each kind, of which some are those of files that are there.
                2 => dice.below(4) << 62 | dice.below(4) << 42 | dice.below(4) << 24 | dice.below(4) << 16 | 1,
                _ => dice.next() >> dice.below(64),
            };
            page.store(at, word);
        }
        // The longest that a word can say is 64 GiB.
        let most = (page.len() - LIST) as u64 / 8 * (1 << 36);
        assert!(handle.store.pinned().unwrap() <= most);
        world.apply(&handle, &super::acts::put(round, round, 3_000));
    }
    world.check(&handle);
    drop(handle);
    world.check(&open(&world.machine));
}
