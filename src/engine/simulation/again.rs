//! Two rebuilds one after the other. The second finds what the first found, and what was done since.

use super::acts::{Act, put, tagged};
use super::audit::{audit, live};
use super::eviction::{Full, POLICIES, open, reopen};
use super::rounds;
use super::world::{Handle, SMALL_LIMIT, World, living, opening, path};
use crate::engine::recovery::Opening;
use crate::options::Eviction;
use crate::os::Os;
use crate::os::sim::Machine;

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
