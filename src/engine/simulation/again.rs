//! Two rebuilds one after the other. The second finds what the first found, and what was done since.

use std::collections::BTreeMap;

use super::acts::{Act, put, tagged};
use super::audit::{audit, live, lookup};
use super::eviction::{Full, POLICIES, open, reopen};
use super::world::{Handle, SMALL_LIMIT, World, living, opening, path};
use super::{rounds, scale};
use crate::engine::commit::Commit;
use crate::engine::log::Batches;
use crate::engine::recovery::Opening;
use crate::options::Eviction;
use crate::os::sim::Machine;
use crate::os::{Access, Os, OsMap};
use crate::storage::location::{Location, Tail};
use crate::storage::record::Type;
use crate::storage::segment::is_main;
use crate::storage::state;

/// Opens a store whose state file is gone.
fn rebuild(machine: &Machine) -> Handle {
    machine.process().remove(&path("state")).unwrap();
    let handle = reopen(machine);
    audit(&handle.store);
    handle
}

/// A power cut takes commits whose copies in the main stream it keeps. They are out of the first rebuild, and stay so when the
/// commit stream has gone on and their numbers are none beyond its end any more: nothing comes back, no `clear`, no mark.
#[test]
fn k9_what_a_power_cut_took_stays_taken() {
    for policy in POLICIES.into_iter().filter(|&policy| policy != Eviction::None) {
        for seed in rounds(2) {
            let mut full = Full::new(seed * 7 + 1, policy);
            for i in 0..900 {
                let act = full.act();
                full.apply(&act);
                full.read();
                if i < 600 || i % 20 != 0 {
                    continue;
                }
                let machine = full.world.machine.power_cut_copy(seed * 10_000 + i);
                let first = reopen(&machine);
                for act in [put(5_000_000, 9_999, 30), Act::Remove(3), Act::Evict(7)] {
                    act.apply_alone(&first.store);
                }
                let (expected, now) = (live(&first.store), first.store.now());
                drop(first);
                machine.set_clock(now);
                let second = rebuild(&machine);
                let expected = living(&expected, second.store.now());
                assert_eq!(live(&second.store), expected, "{policy:?}, seed {seed}, operation {i}");
                // The ranges are known to rebuilds after that one, too, and those of another power cut.
                drop(second);
                let machine = machine.power_cut_copy(i);
                let third = reopen(&machine);
                audit(&third.store);
                put(5_000_001, 9_999, 30).apply_alone(&third.store);
                let expected = live(&third.store);
                drop(third);
                assert_eq!(
                    live(&rebuild(&machine).store),
                    living(&expected, now),
                    "{policy:?}, {seed}, {i}: cut twice"
                );
            }
        }
    }
}

/// The same of a name: a tag has taken over a row, which the power took, and kept the copy of its name.
#[test]
fn k9_a_row_stays_that_tags_which_has_it_after_a_power_cut() {
    let world = World::new(3);
    let policy = Eviction::LeastRecentlyUsed.to_bits();
    let one = open(&world.machine, &Opening { eviction: Some(policy), ..opening(Some(SMALL_LIMIT)) });
    for tag in 0..4u8 {
        tagged(tag.into(), 1, 30, tag).apply_alone(&one.store);
    }
    (0..6).for_each(|key| put(100 + key, 1, 500).apply_alone(&one.store));
    one.store.sync().unwrap();
    (0..10).for_each(|key| put(200 + key, 1, 1_000).apply_alone(&one.store));
    Act::Remove(1).apply_alone(&one.store);
    tagged(50, 1, 30, 9).apply_alone(&one.store);
    (0..60).for_each(|key| put(300 + key, 1, 3_000).apply_alone(&one.store));
    for _ in 0..14 {
        one.store.compact_some(&one.store.lock().unwrap(), 3).unwrap();
    }
    for seed in 0..200 {
        let machine = world.machine.power_cut_copy(seed);
        let two = reopen(&machine);
        for key in [7, 8] {
            tagged(key, 2, 30, 1).apply_alone(&two.store);
        }
        two.store.sync().unwrap();
        drop(two);
        let three = rebuild(&machine);
        assert_eq!(live(&three.store)[&7].tag, Some(1), "power cut {seed}");
        Act::Evict(1).apply_alone(&three.store);
        assert!(!live(&three.store).contains_key(&8), "power cut {seed}");
    }
}

/// The stores of full runs, at some moments.
fn moments(policy: Eviction, visit: impl Fn(&Machine, u64)) {
    let mut full = Full::new(8, policy);
    for i in 0..1_000 {
        let act = full.act();
        full.apply(&act);
        full.read();
        if i >= 700 && i % 25 == 0 {
            visit(&full.world.machine, i);
        }
    }
}

/// Closes a store, and opens it after a rebuild, at the same time of day.
fn again(machine: &Machine, handle: Handle) -> Handle {
    let now = handle.store.now();
    handle.store.sync().unwrap();
    drop(handle);
    machine.set_clock(now);
    rebuild(machine)
}

/// K7 where nothing is evicted any more: what was evicted before may be in the log still.
#[test]
fn k7_what_is_removed_once_nothing_is_evicted_any_more_stays_away() {
    for policy in POLICIES.into_iter().filter(|&policy| policy != Eviction::None) {
        // Removals take their time: every day a quarter of the moments will do.
        moments(policy, |machine, i| {
            if i % 100 != 0 && scale() == 1 {
                return;
            }
            let machine = machine.copy();
            let none = Some(Eviction::None.to_bits());
            let first = open(&machine, &Opening { eviction: none, ..opening(None) });
            (0..8_192).for_each(|key| Act::Remove(key).apply_alone(&first.store));
            let left = live(&again(&machine, first).store).len();
            assert_eq!(left, 0, "{policy:?}, operation {i}");
        });
    }
}

/// K7 for tags: all items of one were evicted for want of room, and then by the tag.
#[test]
fn k7_a_tag_whose_items_had_gone_is_evicted_all_the_same() {
    for policy in POLICIES.into_iter().filter(|&policy| policy != Eviction::None) {
        moments(policy, |machine, i| {
            let machine = machine.copy();
            let first = reopen(&machine);
            (0..40).for_each(|tag| Act::Evict(tag).apply_alone(&first.store));
            let second = again(&machine, first);
            let tagged = live(&second.store).values().filter(|item| item.tag.is_some()).count();
            assert_eq!(tagged, 0, "{policy:?}, operation {i}");
        });
    }
}

#[test]
fn the_ranges_of_a_power_cut_are_written_down_once() {
    moments(Eviction::S3Fifo, |machine, i| {
        let machine = machine.power_cut_copy(i);
        let bytes = || machine.file_bytes(&path("void")).map_or(0, |bytes| bytes.len());
        drop(reopen(&machine));
        let before = bytes();
        for seed in 0..4 {
            machine.power_cut(seed);
            drop(reopen(&machine));
        }
        assert_eq!(bytes(), before, "operation {i}");
    });
}

/// What was evicted from the first half of a main segment was put again, and removed after a rebuild, which forgets how far the walk
/// was: the next rebuild does not bring the first version back (K1, K5).
#[test]
fn k5_what_was_walked_before_a_rebuild_stays_dead_after_it() {
    let policy = Eviction::S3Fifo.to_bits();
    let world = World::new(0);
    let one = open(&world.machine, &Opening { eviction: Some(policy), ..opening(Some(SMALL_LIMIT)) });
    let mut looks = 0;
    for key in 0..4_000u32 {
        put(key, 1, 900).apply_alone(&one.store);
        if key % 10 != 0 {
            (0..3).for_each(|_| _ = lookup(&one.store, key));
        }
        if key > 1_000 {
            let _ = one.store.compact_some(&one.store.lock().unwrap(), 3);
        }
        let word = |word| one.store.state.load(word);
        let main = word(state::MAIN_HAND_ID);
        let is_walked = main != 0 && main >> 56 == 0 && Tail::from_bits(word(state::MAIN_HAND)).offset > 20_000;
        if !is_walked || looks >= 3 || key % 7 != 0 {
            continue;
        }
        let machine = world.machine.copy();
        let zero = reopen(&machine);
        let mut gone: Vec<u32> = (0..key).filter(|&key| lookup(&zero.store, key).is_none()).collect();
        gone = gone.split_off(gone.len().saturating_sub(400));
        gone.iter().for_each(|&key| put(key, 7_777, 8).apply_alone(&zero.store));
        if zero.store.state.load(state::MAIN_HAND_ID) != main {
            continue;
        }
        looks += 1;
        let first = again(&machine, zero);
        gone.iter().for_each(|&key| Act::Remove(key).apply_alone(&first.store));
        let fill = (2 * SMALL_LIMIT / 1_500) as u32;
        (0..fill).for_each(|i| put(5_000_000 + i, 9_999, 1_500).apply_alone(&first.store));
        let second = again(&machine, first);
        let back: Vec<&u32> = gone.iter().filter(|&&key| lookup(&second.store, key).is_some()).collect();
        assert!(back.is_empty(), "removed and synced before operation {key}, and back: {back:?}");
    }
    assert!(looks > 0);
}

/// A victim of the main stream that is half walked when all die leaves two copies of one item. The one in the segment that goes later
/// counts: the other would leave it behind, where nothing says of it that it was replaced or removed.
#[test]
fn of_two_copies_a_rebuild_takes_the_one_that_goes_last() {
    let mut doubles = 0;
    for policy in [Eviction::S3Fifo, Eviction::LeastRecentlyUsed, Eviction::LeastFrequentlyUsed] {
        let mut full = Full::new(3, policy);
        for i in 0..3_000 {
            let act = full.act();
            full.apply(&act);
            full.read();
            let hand = full.handles[0].store.state.load(state::MAIN_HAND_ID);
            (0..4).for_each(|_| full.read());
            if i < 900 || i % 10 != 0 || hand == 0 {
                continue;
            }
            let heir = rebuild(&full.world.machine.copy());
            doubles += assert_that_the_last_copy_counts(&heir, policy);
            heir.store.state.store(state::SUSPECT, 1);
            heir.store.repair(&mut |_| ()).unwrap();
            assert_that_the_last_copy_counts(&heir, policy);
        }
    }
    assert!(doubles > 10, "{doubles} items with two copies");
}

/// Where the copies of an item stand, by its key and sequence: segments and places.
type Copies = BTreeMap<(Vec<u8>, u64), Vec<(u64, Location)>>;

/// How many items have two copies in the main stream.
fn assert_that_the_last_copy_counts(heir: &Handle, policy: Eviction) -> usize {
    let store = &heir.store;
    let mut copies = Copies::new();
    for slot in 0..store.rows {
        let id = store.segment_in(slot);
        let Some(segment) =
            Some(id).filter(|&id| is_main(id)).map(|id| store.map_segment(slot, id, Access::Read).unwrap())
        else {
            continue;
        };
        let end = usize::try_from(store.committed_end(slot)).unwrap();
        let mut batches = Batches::of(&segment.map, id, segment.nonce, end);
        while let Some(members) = batches.next_batch() {
            for member in members.iter().filter(|member| member.header.kind_of_record == Type::Put) {
                let mut key = Vec::new();
                let (at, len) = member.header.key_range(member.offset);
                assert!(segment.map.append_to(at, len, &mut key));
                let of = copies.entry((key, member.header.sequence)).or_default();
                of.push((id, Location::new(slot, member.offset as u64)));
            }
        }
    }
    let locked = store.lock().unwrap();
    let mut commit = Commit::new(&locked).unwrap();
    let mut doubles = 0;
    for ((key, _), found) in copies.iter_mut().filter(|(_, found)| found.len() > 1) {
        found.sort_unstable();
        let there = commit.locate(key, store.hash(key)).unwrap().old.map(|old| old.location);
        if let Some(at) = found.iter().position(|(_, location)| Some(*location) == there) {
            assert_eq!(at, found.len() - 1, "{policy:?}: an earlier copy counts");
            doubles += 1;
        }
    }
    doubles
}
