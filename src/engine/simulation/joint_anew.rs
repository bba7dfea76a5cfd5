//! Shards that are made anew beside parts of a joint commit: whoever died, how often, and whatever their words say.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::acts::{Act, Contents, put};
use super::audit::audit;
use super::joint::{
    Process, ROOT, SHARDS, Way, cases, commit, live_in_all, model, number_of, open_in, prepared, process,
};
use super::{Dice, rounds};
use crate::os::OsMap;
use crate::os::sim::{CallKind, Machine};
use crate::storage::fanout;
use crate::storage::location::Tail;
use crate::storage::state::{
    GROUP, IS_JOINT, JOINT, JOINT_CHOSEN, LOCK, MAIN_TAIL, NEXT_SEGMENT, NEXT_VALUE, PENDING, STRAYS, SUSPECT, TAIL,
    VISIBLE,
};

pub(super) fn state_path(shard: usize) -> PathBuf {
    fanout::shard(Path::new(ROOT), shard as u32).join("state")
}

pub(super) fn set(machine: &Machine, shard: usize, word: usize, value: u64) -> bool {
    machine.overwrite(&state_path(shard), word as u64, &value.to_ne_bytes())
}

fn get(machine: &Machine, shard: usize, word: usize) -> u64 {
    let Some(bytes) = machine.file_bytes(&state_path(shard)) else { return 0 };
    u64::from_ne_bytes(bytes[word..word + 8].try_into().unwrap())
}

/// Dies when the commit is chosen in the first shard alone.
fn chosen_in_first(acts: &[Act], way: Way) -> (Machine, Contents, Contents) {
    let step = (0..)
        .find(|&step| {
            let (machine, victim, _) = prepared(7);
            victim.os.kill_after(step);
            assert!(victim.os.run(|| commit(&victim.shards, acts, way)).is_none());
            let word = |shard: usize, word| get(&machine, shard, word);
            word(0, PENDING) & IS_JOINT != 0
                && word(0, JOINT_CHOSEN) == word(0, JOINT)
                && word(1, JOINT_CHOSEN) != word(0, JOINT)
        })
        .unwrap();
    let (machine, victim, before) = prepared(7);
    victim.os.kill_after(step);
    assert!(victim.os.run(|| commit(&victim.shards, acts, way)).is_none());
    let after = model(acts, &before);
    (machine, before, after)
}

/// Chosen in the first shard alone; who finishes it dies too, and a shard is made anew then.
#[test]
fn j3_who_finishes_a_commit_dies_and_a_shard_is_made_anew() {
    let acts = &cases()[0];
    let mut bad = Vec::new();
    for way in [Way::Batch, Way::Torn] {
        let (machine, before, after) = chosen_in_first(acts, way);
        for shard in 0..SHARDS as usize {
            for step in 0.. {
                let copy = machine.copy();
                let second = copy.process();
                second.kill_after(step);
                if second.run(|| open_in(&second, false).map(drop)).is_some() {
                    break;
                }
                if !set(&copy, shard, STRAYS, 1) {
                    continue;
                }
                let third = process(&copy);
                let found = live_in_all(&third.shards);
                if found != after && found != before {
                    bad.push(format!("{way:?}: shard {shard} anew, finisher died at {step}"));
                } else {
                    third.shards.members.iter().for_each(|member| audit(member.store()));
                }
            }
        }
    }
    assert!(bad.is_empty(), "{} {bad:#?}", bad.len());
}

/// What cannot be opened or read just now is not what is not there.
#[test]
fn j3_a_state_file_that_cannot_be_read_now_may_have_a_part() {
    let acts = &cases()[0];
    let (machine, before, after) = chosen_in_first(acts, Way::Batch);
    let mut bad = Vec::new();
    for (kind, what) in [(CallKind::Open, "open"), (CallKind::ReadAt, "read")] {
        for nth in 1..12 {
            let copy = machine.copy();
            set(&copy, 1, STRAYS, 1);
            copy.fail_at(kind, "shard-0/state", nth, ErrorKind::Other);
            let os = copy.process();
            let opened = open_in(&os, false);
            copy.clear_failures();
            drop(opened);
            let found = live_in_all(&process(&copy).shards);
            if found != after && found != before {
                bad.push(format!("{what} {nth}"));
            }
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

/// What a quantum that never was has left behind the tail of the main stream are copies of what is visible.
#[test]
fn j3_leftovers_in_the_main_stream_keep_no_part_from_being_swept() {
    let acts = &cases()[0];
    for is_natural in [false, true] {
        let (machine, first, _) = prepared(7);
        let keys: Vec<u32> = (5_000..).filter(|&key| number_of(&first.shards, key) == 0).take(1500).collect();
        let store = first.shards.members[0].store();
        keys.iter().for_each(|&key| put(key, 1, 40).apply_alone(store));
        let locked = store.lock().unwrap();
        store.compact(&locked).unwrap();
        store.compact(&locked).unwrap();
        assert!(store.state.load(MAIN_TAIL) != 0);
        drop(locked);
        let victim = process(&machine);
        let compacts = |process: &Process| {
            let store = process.shards.members[0].store();
            let locked = store.lock().unwrap();
            store.compact(&locked).unwrap();
        };
        // The last step before it is published.
        let step = (0..)
            .find(|&step| {
                let copy = machine.copy();
                let _looks = process(&copy);
                let one = process(&copy);
                one.os.kill_after(step);
                assert!(one.os.run(|| compacts(&one)).is_none(), "never published");
                get(&copy, 0, PENDING) != 0
            })
            .unwrap();
        victim.os.kill_after(step - 1);
        assert!(victim.os.run(|| compacts(&victim)).is_none());
        // The next one does a smaller quantum, as the thread in the background does.
        let locked = store.lock().unwrap();
        if is_natural {
            store.compact_some(&locked, 8).unwrap();
        }
        drop(locked);
        let before = live_in_all(&first.shards);
        let after = model(acts, &before);
        drop(first);
        // Who dies just before it is chosen.
        let step = (0..)
            .find(|&step| {
                let copy = machine.copy();
                let _looks = process(&copy);
                let one = process(&copy);
                one.os.kill_after(step);
                assert!(one.os.run(|| commit(&one.shards, acts, Way::Batch)).is_none());
                (0..3).all(|shard| get(&copy, shard, PENDING) & IS_JOINT != 0)
            })
            .unwrap();
        let looks = process(&machine);
        let one = process(&machine);
        one.os.kill_after(step);
        assert!(one.os.run(|| commit(&one.shards, acts, Way::Batch)).is_none());
        looks.os.kill();
        assert!((0..3).all(|shard| get(&machine, shard, PENDING) & IS_JOINT != 0));
        assert!(get(&machine, 0, JOINT_CHOSEN) < get(&machine, 0, JOINT));
        set(&machine, 0, STRAYS, 1);
        let found = live_in_all(&process(&machine).shards);
        assert!(found == before || found == after, "neither; smaller quantum: {is_natural}");
    }
}

/// Words of the state file of a shard that is made anew are damaged: what the log has is there afterwards.
#[test]
fn what_a_damaged_state_file_says_costs_nothing_that_the_log_has() {
    let mut bad = Vec::new();
    let cases: Vec<(&str, usize, u64)> = vec![
        ("nothing", GROUP, 0),
        ("NEXT_SEGMENT", NEXT_SEGMENT, u64::MAX),
        ("NEXT_VALUE", NEXT_VALUE, 1),
        ("TAIL", TAIL, u64::MAX),
        ("TAIL, VISIBLE", TAIL, u64::MAX - 1),
    ];
    for (what, word, value) in cases {
        let (machine, first, _) = prepared(7);
        let store = first.shards.members[0].store();
        let keys: Vec<u32> = (90..).filter(|&key| number_of(&first.shards, key) == 0).take(40).collect();
        keys.iter().for_each(|&key| put(key, 4, 3_000).apply_alone(store));
        keys[..4].iter().for_each(|&key| put(key, 5, 9_000).apply_alone(store));
        let before = live_in_all(&first.shards);
        drop(first);
        let value = match (word, value) {
            (NEXT_SEGMENT, _) => get(&machine, 0, NEXT_SEGMENT) - 1,
            (TAIL, u64::MAX) => {
                // one bit: the middle of a record
                let tail = Tail::from_bits(get(&machine, 0, TAIL));
                Tail { offset: tail.offset - 1_024, ..tail }.bits()
            }
            (TAIL, _) => {
                let tail = Tail::from_bits(get(&machine, 0, TAIL));
                Tail { offset: 64, ..tail }.bits()
            }
            (_, value) => value,
        };
        if what == "TAIL, VISIBLE" {
            set(&machine, 0, VISIBLE, 0);
        }
        set(&machine, 0, word, value);
        set(&machine, 0, SUSPECT, 1);
        set(&machine, 0, LOCK, 77);
        let os = machine.process();
        let opened = open_in(&os, false);
        let found = opened.map(|shards| live_in_all(&shards));
        match found {
            Ok(found) if found == before => {}
            Ok(found) => {
                let gone: Vec<_> =
                    before.iter().filter(|(key, item)| found.get(key) != Some(item)).map(|(key, _)| *key).collect();
                bad.push(format!("{what}: {} of {} gone: {gone:?}", gone.len(), before.len()))
            }
            Err(error) => bad.push(format!("{what}: {error}")),
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

/// Several deaths, one after the other, and several shards made anew.
#[test]
fn j3_several_deaths_and_rebuilds_leave_all_or_nothing() {
    let cases = cases();
    let mut bad = Vec::new();
    let mut steps = HashMap::new();
    for round in rounds(150) {
        let mut dice = Dice(round + 1);
        let which = dice.below(cases.len() as u64) as usize;
        let acts = &cases[which];
        let way = [Way::Batch, Way::Torn, Way::Lasting][dice.below(3) as usize];
        let all = *steps.entry((which, way as usize)).or_insert_with(|| {
            let (_m, victim, _) = prepared(7);
            let begun = victim.os.steps();
            commit(&victim.shards, acts, way).unwrap();
            victim.os.steps() - begun
        });
        let (machine, victim, before) = prepared(7);
        let after = model(acts, &before);
        let step = if dice.below(2) == 0 { dice.below(all) } else { all - 1 - dice.below(all.min(160)) };
        let mut story = format!("{way:?} {which}, death at {step} of {all}");
        let survivor = (dice.below(3) == 0).then(|| process(&machine));
        victim.os.kill_after(step);
        assert!(victim.os.run(|| commit(&victim.shards, acts, way)).is_none());
        if let Some(survivor) = survivor {
            let at = dice.below(220);
            survivor.os.kill_after(at);
            let done = survivor
                .os
                .run(|| drop(survivor.shards.lock_all(&survivor.shards.stores(), || Duration::from_secs(1))))
                .is_some();
            story += &format!(", survivor died at {at} {done}");
            survivor.os.kill();
        }
        for _ in 0..dice.below(4) {
            let shard = dice.below(SHARDS as u64) as usize;
            let word = [STRAYS, SUSPECT][dice.below(2) as usize];
            set(&machine, shard, word, 1);
            let at = if dice.below(2) == 0 { dice.below(80) } else { dice.below(700) };
            let os = machine.process();
            os.kill_after(at);
            let opened = os.run(|| open_in(&os, false).map(std::mem::forget));
            story += &format!(", shard {shard} {word}, opener dies at {at} {}", opened.is_some());
            os.kill();
        }
        for shard in 0..SHARDS as usize {
            if dice.below(3) == 0 {
                story += &format!(", {shard} anew");
                set(&machine, shard, SUSPECT, 1);
            }
        }
        let last = process(&machine);
        let found = live_in_all(&last.shards);
        if found != after && found != before {
            bad.push(format!("{round}: {story}"));
            continue;
        }
        last.shards.members.iter().for_each(|member| audit(member.store()));
    }
    assert!(bad.is_empty(), "{} {bad:#?}", bad.len());
}
