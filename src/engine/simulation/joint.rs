//! Commits of several shards: whoever dies at whatever step, every reader sees all of one or nothing of it, before anybody has
//! taken a lock, after that, and after a rebuild; and of a lasting one after a power cut.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::super::handle::Handle;
use super::super::shards::Shards;
use super::super::shards_change::Group;
use super::super::{Change, Found, Op, Put, Tag, Value};
use super::acts::{Act, Contents, key_bytes, put, tag_name, tagged, value_bytes};
use super::audit::{audit, live};
use super::world::{SMALL_LIMIT, opening};
use super::{Dice, rounds, scale, spread};
use crate::error::Result;
use crate::os::sim::{Machine, SimOs};
use crate::os::{Os, OsMap};
use crate::storage::fanout::OVERHEAD;
use crate::storage::namespace::Label;
use crate::storage::state;

pub(super) const SHARDS: u32 = 3;
const LIMIT: u64 = SHARDS as u64 * SMALL_LIMIT + OVERHEAD;
pub(super) const ROOT: &str = "/fan";
pub(super) const FILE_CAPACITY: usize = 4 << 20;
/// Deaths tried of one commit.
const DEATHS: usize = 8;

/// A process with the fan-out cache open.
pub(super) struct Process {
    pub(super) os: SimOs,
    pub(super) shards: Arc<Shards<SimOs>>,
}

pub(super) fn open_in(os: &SimOs, read_only: bool) -> Result<Arc<Shards<SimOs>>> {
    let is_new = !os.list(Path::new(ROOT)).is_ok_and(|names| names.iter().any(|name| name == "fanout"));
    let mut opening = opening(is_new.then_some(LIMIT));
    if read_only {
        (opening.read_only, opening.eviction) = (true, None);
    }
    Shards::open(|| Ok(os.clone()), Path::new(ROOT), is_new.then_some(SHARDS), &opening)
}

pub(super) fn process(machine: &Machine) -> Process {
    let os = machine.process();
    let shards = open_in(&os, false).unwrap();
    Process { os, shards }
}

pub(super) fn reader(machine: &Machine) -> Arc<Shards<SimOs>> {
    open_in(&machine.process(), true).unwrap()
}

pub(super) fn number_of(shards: &Shards<SimOs>, key: u32) -> usize {
    shards.fanout.shard_of(&key_bytes(key))
}

/// Stages operations inside a transaction.
fn stage(shards: &Shards<SimOs>, handles: &[Handle<SimOs>], acts: &[Act]) -> Result<()> {
    for act in acts {
        match act {
            Act::Put(key, item) => {
                let (bytes, value) = (key_bytes(*key), value_bytes(*key, *item));
                let tag = item.tag.map(tag_name);
                let tag = tag.as_deref().map_or(Tag::None, |tag| Tag::Named(Label::tag(tag)));
                let kind = (item.version % 251) as u8;
                let put = Put { kind, value: Value::Inline(&value), expires: item.expires, tag };
                let inside = &handles[number_of(shards, *key)];
                inside.put_hashed(&bytes, inside.hash(&bytes), put)?;
            }
            Act::Remove(key) => {
                let (bytes, inside) = (key_bytes(*key), &handles[number_of(shards, *key)]);
                inside.remove_hashed(&bytes, inside.hash(&bytes))?;
            }
            Act::Evict(tag) => {
                for inside in handles {
                    inside.evict(Label::tag(&tag_name(*tag)))?;
                }
            }
            Act::Clear => {
                for inside in handles {
                    inside.clear()?;
                }
            }
            other => unreachable!("{other:?} in these transactions"),
        }
    }
    Ok(())
}

/// How operations are made one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Lasting,
    Torn,
    Batch,
}

pub(super) fn commit(shards: &Shards<SimOs>, acts: &[Act], way: Way) -> Result<()> {
    if way != Way::Batch {
        return shards.transact(None, way == Way::Lasting, |handles| stage(shards, handles, acts));
    }
    type Encoded = (Vec<u8>, Vec<u8>, Act);
    let mut ops: BTreeMap<usize, Vec<Encoded>> = BTreeMap::new();
    for act in acts {
        let (key, value) = match act {
            Act::Put(key, item) => (*key, value_bytes(*key, *item)),
            Act::Remove(key) => (*key, Vec::new()),
            other => unreachable!("{other:?} in a batch"),
        };
        ops.entry(number_of(shards, key)).or_default().push((key_bytes(key), value, act.clone()));
    }
    let tags: Vec<String> = (0..=u8::MAX).map(tag_name).collect();
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (&number, ops) in &ops {
        let mut group = Vec::new();
        for (key, value, act) in ops {
            let change = match act {
                Act::Put(_, item) => Change::Put(Put {
                    kind: (item.version % 251) as u8,
                    value: Value::Inline(value),
                    expires: item.expires,
                    tag: item.tag.map_or(Tag::None, |tag| Tag::Named(Label::tag(&tags[usize::from(tag)]))),
                }),
                _ => Change::Remove,
            };
            group.push(Op { key, hash: shards.members[number].hash(key), change });
        }
        groups.push((number, group));
    }
    shards.batch(&groups).map(drop)
}

/// What all shards have, each by itself.
pub(super) fn live_in_all(shards: &Shards<SimOs>) -> Contents {
    let mut all = Contents::new();
    for member in &shards.members {
        all.append(&mut live(member.store()));
    }
    all
}

/// What one consistent read of some keys gives, without the locks: versions by key.
fn versions(shards: &Shards<SimOs>, keys: &[u32]) -> Vec<(u32, u8)> {
    let encoded: Vec<Vec<u8>> = keys.iter().map(|&key| key_bytes(key)).collect();
    let mut asked: Vec<Vec<(&[u8], u64)>> = vec![Vec::new(); SHARDS as usize];
    let mut names: Vec<Vec<u32>> = vec![Vec::new(); SHARDS as usize];
    for (&key, bytes) in keys.iter().zip(&encoded) {
        let number = number_of(shards, key);
        asked[number].push((bytes, shards.members[number].hash(bytes)));
        names[number].push(key);
    }
    let mut seen: Vec<(u32, u8)> = Vec::new();
    let take = |seen: &mut Vec<(u32, u8)>, (shard, i): (usize, usize), found: &Found<'_, SimOs>| {
        seen.push((names[shard][i], found.header().kind));
        Ok(())
    };
    shards.read_many(&asked, &mut seen, Vec::clear, take).unwrap();
    seen.sort_unstable();
    seen
}

fn versions_of(contents: &Contents, keys: &[u32]) -> Vec<(u32, u8)> {
    keys.iter().filter_map(|key| contents.get(key).map(|item| (*key, (item.version % 251) as u8))).collect()
}

pub(super) fn model(acts: &[Act], contents: &Contents) -> Contents {
    let mut after = contents.clone();
    acts.iter().for_each(|act| _ = act.model(&mut after, 0));
    after
}

fn furniture() -> Vec<Act> {
    let mut acts: Vec<Act> = (0..18).map(|i| tagged(i, i + 1, 40 + i as usize, (i % 3) as u8)).collect();
    acts.extend((18..30).map(|i| put(i, i + 1, 100)));
    acts.push(put(30, 31, 20_000));
    acts
}

/// One of each kind of change, and their combinations, in all shards or in some.
pub(super) fn cases() -> Vec<Vec<Act>> {
    vec![
        vec![put(0, 101, 30), put(1, 102, 30), put(2, 103, 30), put(3, 104, 30), Act::Remove(4), Act::Remove(5)],
        (6..14).map(Act::Remove).collect(),
        vec![tagged(40, 105, 10, 9), tagged(41, 106, 10, 9), tagged(42, 107, 10, 9), tagged(43, 108, 10, 8)],
        (0..300).map(|i| put(1_000 + i, 117, 20)).collect(),
        vec![
            put(30, 113, 30_000),
            put(31, 114, 9_000),
            put(32, 115, 12_000),
            put(33, 116, 40_000),
            put(34, 117, 9_000),
        ],
    ]
}

fn cases_of_transactions() -> Vec<Vec<Act>> {
    let mut all = cases();
    all.push(vec![Act::Evict(0), put(0, 104, 30), tagged(3, 105, 10, 0), Act::Remove(12), put(13, 106, 10)]);
    all.push(vec![Act::Clear, put(5, 110, 10), put(6, 111, 10), put(7, 111, 10), tagged(24, 112, 10, 1)]);
    all
}

/// A process that has the furniture, and a machine that it is on.
pub(super) fn prepared(seed: u64) -> (Machine, Process, Contents) {
    let machine = Machine::with_file_capacity(seed, FILE_CAPACITY);
    let process = process(&machine);
    let acts = furniture();
    commit(&process.shards, &acts, Way::Torn).unwrap();
    let contents = model(&acts, &Contents::new());
    (machine, process, contents)
}

fn audit_all(shards: &Shards<SimOs>) {
    shards.members.iter().for_each(|member| audit(member.store()));
}

fn keys() -> Vec<u32> {
    (0..60).chain(1_000..1_300).collect()
}

/// Each death of a commit, and what is left: J2, J3, and J4 for a lasting one.
fn deaths_of(acts: &[Act], way: Way, name: &str) {
    let keys = keys();
    let (machine, victim, before) = prepared(7);
    // What the first commit of a process maps is mapped.
    let started = victim.os.steps();
    commit(&victim.shards, acts, way).unwrap();
    let steps = victim.os.steps() - started;
    let after = model(acts, &before);
    assert_eq!(live_in_all(&victim.shards), after, "{name}");
    drop(victim);
    drop(machine);
    let (mut deaths, mut more) = (0, 0);
    for step in spread(steps, DEATHS * scale()) {
        let moment = format!("{name}, death at step {step} of {steps}");
        let (machine, victim, _) = prepared(7);
        let survivor = process(&machine);
        victim.os.kill_after(step);
        assert!(victim.os.run(|| commit(&victim.shards, acts, way)).is_none(), "{moment} was not reached");
        // Who never has a lock.
        let (seen, one_by_one) = (versions(&survivor.shards, &keys), live_in_all(&reader(&machine)));
        let is_after = one_by_one == after;
        assert!(is_after || one_by_one == before, "{moment}: a reader sees a part of it");
        assert_eq!(seen, versions_of(if is_after { &after } else { &before }, &keys), "{moment}: all at once");
        if way == Way::Lasting {
            assert_whole_after_a_cut(&machine, step, &[&before, &after], &moment);
        }
        more += resolved(machine, survivor, step, (&before, &after), is_after, &moment);
        deaths += 1;
        drop(victim);
    }
    println!("{way:?}, {name}: {deaths} deaths in {steps} steps, {more} while it was resolved");
}

/// Somebody takes a lock; it may die, and then another one does. How many died.
fn resolved(
    machine: Machine,
    survivor: Process,
    step: u64,
    (before, after): (&Contents, &Contents),
    is_after: bool,
    moment: &str,
) -> usize {
    let shard = (step % u64::from(SHARDS)) as usize;
    let started = survivor.os.steps();
    let copy = machine.copy();
    // One of those that had nothing to commit has nothing to resolve.
    for other in 0..SHARDS as usize {
        let member = &survivor.shards.members[(shard + other) % SHARDS as usize];
        drop(member.store().lock().unwrap());
    }
    let steps = survivor.os.steps() - started;
    let settled = live_in_all(&survivor.shards);
    assert!(settled == *after || settled == *before, "{moment}: neither before nor after");
    assert!(settled == *after || !is_after, "{moment}: what was seen is gone");
    audit_all(&survivor.shards);
    put_alone(&survivor.shards, 500);
    let mut with_more = settled.clone();
    put(500, 1, 10).model(&mut with_more, 0);
    assert_eq!(live_in_all(&survivor.shards), with_more, "{moment}: going on");
    machine.remount();
    drop(survivor);
    let rebuilt = process(&machine);
    assert_eq!(live_in_all(&rebuilt.shards), with_more, "{moment}: rebuilt");
    audit_all(&rebuilt.shards);
    // Deaths while it is resolved, by somebody who opens it.
    let deaths = spread(steps.min(60), 2 * scale());
    for &death in &deaths {
        let machine = copy.copy();
        let second = machine.process();
        second.kill_after(death);
        let opened = second.run(|| open_in(&second, false).map(drop));
        let third = process(&machine);
        let found = live_in_all(&third.shards);
        assert!(found == *after || found == *before, "{moment}, then at {death} ({}): neither", opened.is_none());
        assert!(found == *after || !is_after, "{moment}, then at {death}: what was seen is gone");
        audit_all(&third.shards);
    }
    deaths.len()
}

/// A put of a key that concerns one shard.
fn put_alone(shards: &Shards<SimOs>, key: u32) {
    let act = put(key, 1, 10);
    let member = &shards.members[number_of(shards, key)];
    assert_eq!(act.apply(member.store()).unwrap(), 0);
}

/// After a power cut each shard has what was durable: the furniture may be gone in part, which no joint commit of this test
/// wrote durably, and so what is looked at is the keys that the lasting one changed.
fn assert_whole_after_a_cut(machine: &Machine, seed: u64, outcomes: &[&Contents; 2], moment: &str) {
    for seed in [3 * seed, 3 * seed + 1] {
        let cut = machine.power_cut_copy(seed);
        let found = live_in_all(&process(&cut).shards);
        let changed = |contents: &Contents| -> Contents {
            let differs = |key: &u32| outcomes[0].get(key) != outcomes[1].get(key);
            contents.iter().filter(|(key, _)| differs(key)).map(|(&key, &item)| (key, item)).collect()
        };
        let (found, before, after) = (changed(&found), changed(outcomes[0]), changed(outcomes[1]));
        let is_older = found.iter().all(|(key, item)| before.get(key) == Some(item));
        assert!(found == after || is_older, "{moment}, power cut {seed}: a part of it is there");
    }
}

#[test]
fn j3_death_at_every_step_of_a_lasting_transaction_leaves_all_or_nothing() {
    for (number, acts) in cases_of_transactions().iter().enumerate() {
        deaths_of(acts, Way::Lasting, &format!("case {number}"));
    }
}

#[test]
fn j3_death_at_every_step_of_a_transaction_that_may_tear_leaves_all_or_nothing() {
    for (number, acts) in cases_of_transactions().iter().enumerate() {
        deaths_of(acts, Way::Torn, &format!("case {number}"));
    }
}

#[test]
fn j3_death_at_every_step_of_a_batch_leaves_all_or_nothing() {
    for (number, acts) in cases().iter().enumerate() {
        deaths_of(acts, Way::Batch, &format!("case {number}"));
    }
}

/// Keys, one in each shard: what each lasting transaction writes to all of them.
pub(super) fn one_in_each(shards: &Shards<SimOs>) -> Vec<u32> {
    (0..SHARDS as usize).map(|number| (2_000..).find(|&key| number_of(shards, key) == number).unwrap()).collect()
}

/// J4: lasting transactions, changes of single shards, batches, refused transactions and deaths, in any order; at any moment the
/// power goes. Each lasting one that returned is there, and none in part.
#[test]
fn j4_a_power_cut_leaves_each_lasting_transaction_whole() {
    let mut lost = 0;
    for round in rounds(5) {
        let mut dice = Dice(round + 77);
        let machine = Machine::with_file_capacity(round, FILE_CAPACITY);
        let mut writer = process(&machine);
        let group = one_in_each(&writer.shards);
        let (mut returned, mut version) = (0, 0);
        for turn in 0..40 {
            version += 1;
            let len = if dice.below(8) == 0 { 9_000 } else { 10 + dice.below(200) as usize };
            match dice.below(7) {
                0..3 => {
                    let acts: Vec<Act> = group.iter().map(|&key| put(key, version, len)).collect();
                    let dies = dice.below(4) == 0;
                    if dies {
                        writer.os.kill_after(dice.below(400));
                    }
                    match writer.os.run(|| commit(&writer.shards, &acts, Way::Lasting)) {
                        Some(done) => {
                            done.unwrap();
                            returned = version;
                        }
                        None => writer = process(&machine),
                    }
                    if dies && !writer.os.is_dead() {
                        writer.os.kill_after(u64::MAX);
                    }
                }
                3 => commit(
                    &writer.shards,
                    &[put(50, version, len), put(51, version, 10), put(52, version, 10)],
                    Way::Torn,
                )
                .unwrap(),
                4 => put(60 + dice.below(20) as u32, version, len).apply_alone(writer.shards.members[0].store()),
                5 => {
                    // Without room in one of the shards for what it asks, nothing happens in any.
                    let mut acts: Vec<Act> = group.iter().map(|&key| put(key, version, 10)).collect();
                    acts.push(Act::Put(90, super::acts::item(version, 3 << 20)));
                    assert!(commit(&writer.shards, &acts, Way::Lasting).is_err());
                }
                _ => machine.write_back(dice.next(), 2),
            }
            if turn % 4 == 3 {
                let cut = machine.power_cut_copy(dice.next());
                let opened = process(&cut);
                let found = live_in_all(&opened.shards);
                let versions: Vec<Option<u32>> =
                    group.iter().map(|key| found.get(key).map(|item| item.version)).collect();
                assert!(versions.iter().all(|other| *other == versions[0]), "round {round}, turn {turn}: {versions:?}");
                assert!(versions[0].unwrap_or(0) >= returned, "round {round}, turn {turn}: {versions:?}, {returned}");
                lost += u64::from(found.len() < live_in_all(&process(&machine.copy()).shards).len());
                // It can go on, and what it does lasts.
                let acts: Vec<Act> = group.iter().map(|&key| put(key, 100_000, 20)).collect();
                commit(&opened.shards, &acts, Way::Lasting).unwrap();
                audit_all(&opened.shards);
                let again = process(&cut.power_cut_copy(dice.next()));
                let found = live_in_all(&again.shards);
                assert!(
                    group.iter().all(|key| found[key].version == 100_000),
                    "round {round}, turn {turn}: second cut"
                );
            }
        }
    }
    assert!(lost > 0, "no power cut took anything");
}

/// The number that a shard's batch has was never decided: it is no commit, now and when a later one is decided.
#[test]
fn j4_what_was_not_decided_does_not_come_back_with_a_later_decision() {
    let mut reached = 0;
    for round in rounds(2) {
        let (machine, victim, _) = prepared(round);
        let group = one_in_each(&victim.shards);
        let acts: Vec<Act> = group.iter().map(|&key| put(key, 1, 30)).collect();
        let started = victim.os.steps();
        commit(&victim.shards, &acts, Way::Lasting).unwrap();
        let steps = victim.os.steps() - started;
        drop((victim, machine));
        for step in spread(steps, 2 * DEATHS * scale()) {
            let (machine, victim, _) = prepared(round);
            victim.os.kill_after(step);
            assert!(victim.os.run(|| commit(&victim.shards, &acts, Way::Lasting)).is_none());
            let has = |shards: &Shards<SimOs>, version: u32| {
                let found = live_in_all(shards);
                group.iter().filter(|key| found.get(key).is_some_and(|item| item.version == version)).count()
            };
            // Made anew from the logs after a power cut, or taken back by who finds it.
            let mut found = vec![machine.power_cut_copy(round * 1_000 + step), machine.copy()];
            // Or by one who dies of it.
            found.extend(spread(80, 6 * scale()).into_iter().map(|death| {
                let machine = machine.copy();
                let second = machine.process();
                second.kill_after(death);
                second.run(|| drop(open_in(&second, false)));
                machine
            }));
            for machine in found {
                let opened = process(&machine);
                let there = has(&opened.shards, 1);
                assert!(there == 0 || there == group.len(), "step {step}: {there}");
                reached += usize::from(there == 0);
                // Decided, and without any change in the shard that may have the batch.
                let elsewhere = (3_000..).filter(|&key| number_of(&opened.shards, key) != 0).take(6);
                let others: Vec<Act> = elsewhere.map(|key| put(key, 5, 10)).collect();
                for _ in 0..4 {
                    commit(&opened.shards, &others, Way::Lasting).unwrap();
                }
                for seed in 0..3 {
                    let again = process(&machine.power_cut_copy(step * 10 + seed));
                    assert_eq!(has(&again.shards, 1), there, "step {step}: after other decisions");
                }
            }
        }
    }
    assert!(reached > 0, "every death was after the decision");
}

/// Who has a handle of one shard and nothing else resolves what concerns all of them.
#[test]
fn j3_a_handle_of_one_shard_keeps_what_it_needs_of_the_others() {
    let (machine, victim, before) = prepared(7);
    let acts = &cases()[0];
    let started = victim.os.steps();
    commit(&victim.shards, acts, Way::Torn).unwrap();
    let steps = victim.os.steps() - started;
    let after = model(acts, &before);
    drop((victim, machine));
    for step in spread(steps, DEATHS * scale()) {
        let (machine, victim, _) = prepared(7);
        let Process { shards, .. } = process(&machine);
        let handles = shards.handles();
        drop(shards);
        victim.os.kill_after(step);
        assert!(victim.os.run(|| commit(&victim.shards, acts, Way::Torn)).is_none());
        for (number, handle) in handles.iter().enumerate() {
            let key = key_bytes((5_000..).find(|&key| number_of(&victim.shards, key) == number).unwrap());
            let put = Put { kind: 1, value: Value::Inline(b"value"), expires: None, tag: Tag::None };
            handle.put_hashed(&key, handle.hash(&key), put).unwrap();
            handle.remove_hashed(&key, handle.hash(&key)).unwrap();
        }
        let found = live_in_all(&reader(&machine));
        assert!(found == before || found == after, "death at step {step}");
    }
}

/// Whoever leads in all shards asks the disk by that where room has to be made, and does not wait for itself.
#[test]
fn a_lasting_commit_of_full_shards_that_were_synced_evicts() {
    for way in [Way::Torn, Way::Lasting] {
        let machine = Machine::with_file_capacity(1, FILE_CAPACITY);
        let os = machine.process();
        let policy = crate::options::Eviction::LeastRecentlyUsed.to_bits();
        let opening = super::super::recovery::Opening { eviction: Some(policy), ..opening(Some(LIMIT)) };
        let shards = Shards::open(|| Ok(os.clone()), Path::new(ROOT), Some(SHARDS), &opening).unwrap();
        for key in 0..1_500 {
            commit(&shards, &[put(key, 1, 8_000)], Way::Batch).unwrap();
        }
        for size in [20, 40, 60] {
            shards.members.iter().for_each(|member| member.store().sync().unwrap());
            let acts: Vec<Act> = (0..size).map(|key| put(10_000 * size + key, 1, 7_000)).collect();
            let before = os.uptime();
            commit(&shards, &acts, way).unwrap();
            assert!(os.uptime() - before < std::time::Duration::from_millis(100), "{size} puts");
            let found = live_in_all(&shards);
            assert!((0..size).all(|key| found.contains_key(&(10_000 * size + key))));
        }
    }
}

/// The state file of the first shard is made anew, and the others remember larger numbers: those are not given again.
#[test]
fn j3_numbers_go_on_when_the_first_shard_is_made_anew() {
    let acts = &cases()[0];
    for way in [Way::Torn, Way::Batch, Way::Lasting] {
        let prepared_anew = || {
            let (machine, one, before) = prepared(7);
            for _ in 0..5 {
                commit(&one.shards, &furniture(), Way::Torn).unwrap();
            }
            drop(one);
            let os = machine.process();
            let state = crate::storage::paths::Paths::new(&crate::storage::fanout::shard(Path::new(ROOT), 0))
                .of(crate::storage::paths::Name::State);
            os.remove(&state).unwrap();
            let victim = process(&machine);
            (machine, victim, before)
        };
        let (_machine, victim, before) = prepared_anew();
        let started = victim.os.steps();
        commit(&victim.shards, acts, way).unwrap();
        let steps = victim.os.steps() - started;
        let after = model(acts, &before);
        assert_eq!(live_in_all(&victim.shards), after);
        drop(victim);
        for step in spread(steps, DEATHS * scale()) {
            let (machine, victim, _) = prepared_anew();
            let survivor = process(&machine);
            victim.os.kill_after(step);
            assert!(victim.os.run(|| commit(&victim.shards, acts, way)).is_none());
            for member in &survivor.shards.members {
                drop(member.store().lock().unwrap());
            }
            let settled = live_in_all(&survivor.shards);
            assert!(settled == before || settled == after, "{way:?}, death at step {step} of {steps}");
        }
    }
}

/// A child of `fork` may make the first shard anew alone, and its words begin again.
#[test]
fn no_number_is_given_twice_after_the_first_shard_was_made_anew() {
    let (machine, first, _) = prepared(7);
    for _ in 0..5 {
        commit(&first.shards, &cases()[0], Way::Torn).unwrap();
    }
    drop(first);
    let process = process(&machine);
    let words = [state::JOINT, state::JOINT_CHOSEN, state::JOINT_NEXT, state::JOINT_DONE];
    let known: Vec<u64> =
        process.shards.stores().iter().flat_map(|store| words.map(|word| store.state.load(word))).collect();
    for word in words {
        process.shards.stores()[0].state.store(word, 0);
    }
    let others = process.shards.stores()[1..].iter().flat_map(|store| words.map(|word| store.state.load(word))).max();
    assert!(others > Some(0), "{known:?}");
    assert!(Some(process.shards.next_number(false).unwrap()) > others);
}
