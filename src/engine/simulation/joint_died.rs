//! What a death in the middle of a joint commit leaves, where a shard is made anew from its log before anybody has dealt with it, and
//! what a slow reader and a disk that refuses make of it.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::read::Try;
use super::super::shards::Shards;
use super::super::siblings::Siblings;
use super::super::store::Store;
use super::acts::{Act, Contents, key_bytes, put};
use super::joint::{
    FILE_CAPACITY, ROOT, SHARDS, Way, cases, commit, live_in_all, model, number_of, one_in_each, open_in, prepared,
    process, reader,
};
use super::spread;
use super::world::opening;
use crate::error::Result;
use crate::os::OsMap;
use crate::os::sim::{CallKind, Machine, SimOs};
use crate::storage::fanout;
use crate::storage::manifest::KIND_SHARD;
use crate::storage::state::{
    IS_JOINT, JOINT, JOINT_CHOSEN, JOINT_DONE, ORDER_STALE, PENDING, STRAYS, SUSPECT, VISIBLE,
};

/// What a reader of one shard asks of the others while it looks what is visible: the first time it is asked, a story happens.
struct Story {
    shards: Arc<Shards<SimOs>>,
    happens: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Siblings for Story {
    fn done(&self) -> u64 {
        let story = self.happens.lock().unwrap().take();
        if let Some(story) = story {
            story();
        }
        self.shards.done()
    }

    fn ids(&self) -> Vec<u64> {
        self.shards.ids()
    }

    fn resolve(&self, timeout: Duration) -> Result<()> {
        self.shards.resolve(timeout)
    }
}

/// A store of one shard, beside whoever lives.
fn open_one(machine: &Machine, shard: usize, read_only: bool) -> Store<SimOs> {
    let mut opening = opening(None);
    (opening.read_only, opening.eviction, opening.kind) = (read_only, None, KIND_SHARD);
    Store::open(machine.process(), &fanout::shard(Path::new(ROOT), shard as u32), &opening).unwrap()
}

fn word(shards: &Shards<SimOs>, shard: usize, word: usize) -> u64 {
    shards.members[shard].store().state.load(word)
}

/// At which step a process dies in a commit of all shards when something is so.
fn step_of_death(machine: &Machine, acts: &[Act], is_so: &dyn Fn(&Shards<SimOs>) -> bool) -> u64 {
    let find = |step: u64| {
        let copy = machine.copy();
        let looks = process(&copy);
        let victim = process(&copy);
        victim.os.kill_after(step);
        let died = victim.os.run(|| commit(&victim.shards, acts, Way::Torn)).is_none();
        assert!(died, "never so");
        is_so(&looks.shards)
    };
    (0..).find(|&step| find(step)).unwrap()
}

/// True if the cells of keys are stored in all shards, of a commit that nobody may accept yet.
fn has_stored(shards: &Shards<SimOs>, keys: &[u32]) -> bool {
    (0..SHARDS as usize).all(|shard| {
        let store = shards.members[shard].store();
        let key = key_bytes(keys[shard]);
        // Maps what is to be looked at.
        store.read(&key, store.hash(&key), |_| Ok(())).unwrap();
        let view = store.view.load();
        let found = store.find(&view, &key, store.hash(&key));
        word(shards, shard, PENDING) & IS_JOINT != 0
            && word(shards, 0, JOINT_DONE) < word(shards, shard, JOINT)
            && matches!(found, Ok(Try::Done(Some(hit))) if hit.record.header.sequence > store.state.load(VISIBLE))
    })
}

/// A reader that looks what is visible is slow between two loads: a part is taken back, another joint commit is done elsewhere, and a
/// third one is under way with the same sequence in this shard.
#[test]
fn j2_a_slow_look_at_what_is_visible_accepts_nothing_that_is_not_done() {
    let (machine, first, _) = prepared(7);
    let group = one_in_each(&first.shards);
    let all = |version: u32| -> Vec<Act> { group.iter().map(|&key| put(key, version, 30)).collect() };
    commit(&first.shards, &all(1), Way::Torn).unwrap();
    drop(first);
    let is_pending = |shards: &Shards<SimOs>| {
        (0..SHARDS as usize).all(|shard| word(shards, shard, PENDING) & IS_JOINT != 0)
            && word(shards, 0, JOINT_CHOSEN) < word(shards, 0, JOINT)
    };
    let is_stored = |shards: &Shards<SimOs>| has_stored(shards, &group);
    let other = process(&machine);
    let begun = step_of_death(&machine.copy(), &all(2), &is_pending);
    let victim = process(&machine);
    victim.os.kill_after(begun);
    assert!(victim.os.run(|| commit(&victim.shards, &all(2), Way::Torn)).is_none());
    assert!(is_pending(&other.shards));

    // A reader of the last shard, and one of all of them.
    let shard = SHARDS as usize - 1;
    let reader = open_one(&machine, shard, true);
    let everything = self::reader(&machine);
    let story = {
        let (machine, shards, group) = (machine.clone(), Arc::clone(&other.shards), group.clone());
        // Computed ahead on copies, where the same happens.
        let stored = {
            let copy = machine.copy();
            let resolver = process(&copy);
            commit(&resolver.shards, &[put(group[0], 3, 30), put(group[1], 3, 30)], Way::Torn).unwrap();
            drop(resolver);
            step_of_death(&copy, &all(4), &is_stored)
        };
        let acts = all(4);
        move || {
            // Whoever comes takes the part back, and commits in the other shards alone.
            commit(&shards, &[put(group[0], 3, 30), put(group[1], 3, 30)], Way::Torn).unwrap();
            let victim = process(&machine);
            victim.os.kill_after(stored);
            assert!(victim.os.run(|| commit(&victim.shards, &acts, Way::Torn)).is_none());
            std::mem::forget(victim);
        }
    };
    let asked: Arc<dyn Siblings> =
        Arc::new(Story { shards: Arc::clone(&everything), happens: Mutex::new(Some(Box::new(story))) });
    reader.siblings.set(Arc::downgrade(&asked));

    let accepted = reader.visible();
    assert!(is_stored(&other.shards), "the third is not under way");
    let version = |store: &Store<SimOs>, key: u32| {
        let key = key_bytes(key);
        store.read(&key, store.hash(&key), |record| Ok(record.header.kind)).unwrap()
    };
    assert_eq!(version(everything.members[0].store(), group[0]), Some(3), "the third is not done");
    assert_eq!(version(everything.members[shard].store(), group[shard]), Some(1), "the third is not done");
    assert_eq!(accepted, reader.state.load(VISIBLE), "accepted before it is done");
    assert_eq!(version(&reader, group[shard]), Some(1), "seen before it is done");
}

/// A process that dies in a joint commit of all shards just before it is chosen, and what was there before and would be after.
fn died_before_it_was_chosen(acts: &[Act], way: Way) -> (Machine, Contents, Contents) {
    let dies = |step: u64| {
        let (machine, victim, before) = prepared(7);
        let looks = process(&machine);
        let word = |shard: usize, word| looks.shards.members[shard].store().state.load(word);
        let chosen = word(0, JOINT_CHOSEN);
        victim.os.kill_after(step);
        let died = victim.os.run(|| commit(&victim.shards, acts, way)).is_none();
        let is_chosen = !died || word(0, JOINT_CHOSEN) != chosen;
        let is_pending = (0..SHARDS as usize).all(|shard| word(shard, PENDING) & IS_JOINT != 0)
            && word(0, JOINT_CHOSEN) < word(0, JOINT);
        drop(looks);
        (machine, before, is_chosen, is_pending)
    };
    let (mut low, mut high) = (0, 1 << 20);
    while low < high {
        let middle = (low + high) / 2;
        if dies(middle).2 { high = middle } else { low = middle + 1 }
    }
    let (machine, before, is_chosen, is_pending) = dies(low - 1);
    assert!(!is_chosen && is_pending, "not the moment");
    let after = model(acts, &before);
    (machine, before, after)
}

/// The list of one part is in a file, and who takes the commit back dies of it: nobody but the next opener lives.
#[test]
fn j3_death_while_a_part_is_taken_back_whose_list_spilled() {
    let fanout = process(&prepared(7).0).shards.fanout;
    let of = |shard: usize| (10_000..).filter(move |&key| fanout.shard_of(&key_bytes(key)) == shard);
    let acts: Vec<Act> =
        of(1).take(3_000).chain(of(0).take(2)).chain(of(2).take(2)).map(|key| put(key, 1, 8)).collect();
    let (machine, before, after) = died_before_it_was_chosen(&acts, Way::Batch);
    for step in 0.. {
        let machine = machine.copy();
        let second = machine.process();
        second.kill_after(step);
        if second.run(|| open_in(&second, false).map(drop)).is_some() {
            break;
        }
        let third = process(&machine);
        let found = live_in_all(&third.shards);
        let counts: Vec<u64> = third.shards.members.iter().map(|member| member.store().len()).collect();
        assert!(found == after || found == before, "death at step {step} of who takes it back: neither, {counts:?}");
    }
}

/// The state file of one part is not trusted by who opens next: a rebuild counts its batch, and the others take theirs back.
#[test]
fn j3_death_before_it_is_chosen_and_a_shard_that_is_made_anew() {
    let acts = &cases()[0];
    let mut bad = Vec::new();
    for way in [Way::Batch, Way::Torn, Way::Lasting] {
        for (what, word) in [("suspect", SUSPECT), ("strays", STRAYS)] {
            for shard in 0..SHARDS as usize {
                let (machine, before, after) = died_before_it_was_chosen(acts, way);
                let looks = open_one(&machine, shard, false);
                looks.state.store(word, 1);
                std::mem::forget(looks);
                let machine = machine.copy();
                let found = live_in_all(&process(&machine).shards);
                if found != after && found != before {
                    bad.push(format!("{way:?}: neither, as shard {shard} has {what}"));
                }
            }
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

/// As `died_before_it_was_chosen`, but one step later: chosen in the first shard, and in no other yet. That one is made anew.
#[test]
fn j3_death_when_it_is_chosen_in_the_first_shard_alone_and_that_is_made_anew() {
    let acts = &cases()[0];
    for way in [Way::Batch, Way::Torn] {
        let step = (0..)
            .find(|&step| {
                let (machine, victim, _) = prepared(7);
                let looks = process(&machine);
                let word = |shard: usize, word| looks.shards.members[shard].store().state.load(word);
                victim.os.kill_after(step);
                assert!(victim.os.run(|| commit(&victim.shards, acts, way)).is_none());
                word(0, PENDING) & IS_JOINT != 0
                    && word(0, JOINT_CHOSEN) == word(0, JOINT)
                    && word(1, JOINT_CHOSEN) != word(0, JOINT)
            })
            .unwrap();
        let (machine, victim, before) = prepared(7);
        victim.os.kill_after(step);
        assert!(victim.os.run(|| commit(&victim.shards, acts, way)).is_none());
        let after = model(acts, &before);
        open_one(&machine, 0, false).state.store(STRAYS, 1);
        let machine = machine.copy();
        let found = live_in_all(&process(&machine).shards);
        assert!(found == after || found == before, "{way:?}: neither");
    }
}

/// Trees of a shard are to be made anew, as who repaired it died before it came to that, and a joint commit is pending.
#[test]
fn a_shard_whose_trees_are_stale_opens_beside_what_is_left_of_a_joint_commit() {
    let (machine, before, after) = died_before_it_was_chosen(&cases()[0], Way::Batch);
    let looks = open_one(&machine, 1, false);
    looks.state.store(ORDER_STALE, 1);
    std::mem::forget(looks);
    let machine = machine.copy();
    let found = live_in_all(&process(&machine).shards);
    assert!(found == after || found == before);
}

/// Whoever opens next makes a shard anew, as large values are there that nothing names, wherever in a joint commit somebody died.
#[test]
fn j3_death_at_every_step_beside_a_shard_that_has_strays() {
    let acts = &cases()[0];
    let mut bad = Vec::new();
    for way in [Way::Batch, Way::Torn, Way::Lasting] {
        let steps = {
            let (_machine, victim, _) = prepared(7);
            let started = victim.os.steps();
            commit(&victim.shards, acts, way).unwrap();
            victim.os.steps() - started
        };
        for shard in 0..SHARDS as usize {
            for step in spread(steps, 80) {
                let (machine, victim, before) = prepared(7);
                victim.shards.members[shard].store().state.store(STRAYS, 1);
                victim.os.kill_after(step);
                assert!(victim.os.run(|| commit(&victim.shards, acts, way)).is_none());
                let (found, after) = (live_in_all(&process(&machine.copy()).shards), model(acts, &before));
                if found != after && found != before {
                    bad.push(format!("{way:?}, step {step} of {steps}, shard {shard}"));
                }
            }
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

/// What was written of a joint commit that fails is wiped durably. If the disk refuses that, it may have lost what stands in the same
/// file, and no later `sync` may say that this is durable.
#[test]
fn d3_a_sync_after_a_wipe_that_the_disk_refused_says_so_or_is_true() {
    let machine = Machine::with_file_capacity(3, FILE_CAPACITY);
    let process = process(&machine);
    let group = one_in_each(&process.shards);
    let all = |version: u32| -> Vec<Act> { group.iter().map(|&key| put(key, version, 30)).collect() };
    commit(&process.shards, &all(1), Way::Torn).unwrap();
    process.shards.members.iter().for_each(|member| member.store().sync().unwrap());
    // In shard 0, and longer than a page.
    let filler = (90..).find(|&key| number_of(&process.shards, key) == 0).unwrap();
    // The value of the last shard does not get its name, when the part of the first is written.
    let acts = [put(group[0], 3, 30), put(group[1], 3, 30), put(group[2], 3, 9_000)];
    for nth in 1..4 {
        put(group[0], 4 + nth as u32, 30).apply_alone(process.shards.members[0].store());
        put(filler, 4 + nth as u32, 6_000).apply_alone(process.shards.members[0].store());
        machine.fail_at(CallKind::Sync, "log-", nth, ErrorKind::Other);
        machine.fail_at(CallKind::Rename, "draft", 1, ErrorKind::Other);
        let failed = commit(&process.shards, &acts, Way::Torn);
        assert!(failed.is_err());
        machine.clear_failures();
        let store = process.shards.members[0].store();
        if store.sync().is_err() {
            continue;
        }
        for seed in 0..20 {
            let cut = self::process(&machine.power_cut_copy(seed));
            let found = live_in_all(&cut.shards).get(&group[0]).map(|item| item.version);
            assert_eq!(found, Some(4 + nth as u32), "synced, and lost by power cut {seed}");
        }
    }
}
