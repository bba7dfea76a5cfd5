//! Transactions: whoever dies at whatever step, every reader sees all of one or nothing of it, before anybody has taken the
//! lock, after that, and after a rebuild or a power cut. It knows nothing of the typed front.

use crate::storage::namespace::Label;
use std::path::Path;
use std::sync::Arc;

use super::super::handle::Handle;
use super::super::living::Living;
use super::super::store::Store;
use super::super::{Change, Found, Op, Put, Tag, Value};
use super::acts::{Act, Contents, expiring, key_bytes, put, tag_name, tagged, value_bytes};
use super::audit::{audit, drift, live};
use super::world::{World, living, open, opening, path};
use super::{Dice, rounds, scale, spread};
use crate::error::{Error, Result};
use crate::os::Os;
use crate::os::sim::{Machine, SimOs};

/// Deaths tried of one transaction.
const DEATHS: usize = 8;

/// A process with the store open, and a handle that can run transactions on it.
struct Process {
    os: SimOs,
    store: Arc<Store<SimOs>>,
}

fn process(machine: &Machine) -> Process {
    let os = machine.process();
    let store = Store::open(os.clone(), Path::new("/cache"), &opening(None)).unwrap();
    Process { os, store: Arc::new(store) }
}

fn handle(store: &Arc<Store<SimOs>>) -> Handle<SimOs> {
    Handle::Store(Living::of(Arc::clone(store)))
}

/// Stages operations inside a transaction, and compares each answer with the model's.
fn stage(inside: &Handle<SimOs>, acts: &[Act], contents: &mut Contents) -> Result<()> {
    for act in acts {
        let expected = act.model(contents, inside.now());
        let answer = match act {
            Act::Put(..) | Act::Remove(_) => change(inside, std::slice::from_ref(act))?,
            Act::Batch(acts) => change(inside, acts)?,
            Act::Evict(tag) => inside.evict(Label::tag(&tag_name(*tag)))?,
            Act::Clear => inside.clear()?,
            Act::Expire => inside.expire()?,
            Act::Update(..) | Act::Compare(..) | Act::SizeLimit(_) => unreachable!("{act:?} in these transactions"),
        };
        assert_eq!(answer, expected, "{act:?}");
        assert_eq!(inside.len(), contents.len() as u64, "{act:?}");
    }
    Ok(())
}

fn change(inside: &Handle<SimOs>, acts: &[Act]) -> Result<u64> {
    let mut answer = 0;
    for act in acts {
        let (key, item) = match act {
            Act::Put(key, item) => (*key, Some(*item)),
            Act::Remove(key) => (*key, None),
            other => unreachable!("{other:?} in a batch"),
        };
        let bytes = key_bytes(key);
        let value = item.map_or(Vec::new(), |item| value_bytes(key, item));
        let tag = item.and_then(|item| item.tag).map(tag_name);
        let change = item.map_or(Change::Remove, |item| {
            Change::Put(Put {
                kind: (item.version % 251) as u8,
                value: Value::Inline(&value),
                expires: item.expires,
                tag: tag.as_deref().map_or(Tag::None, |tag| Tag::Named(Label::tag(tag))),
            })
        });
        answer += inside.batch(&[Op { key: &bytes, hash: inside.hash(&bytes), change }])?;
    }
    Ok(answer)
}

/// Runs operations as one transaction on a store that holds `contents`.
pub(super) fn transact(store: &Arc<Store<SimOs>>, acts: &[Act], contents: &Contents) -> Result<()> {
    handle(store).transact((None, false), |inside| stage(inside, acts, &mut contents.clone()))
}

/// What one consistent read of all keys that a test uses gives, without the lock: versions by key.
fn versions(store: &Arc<Store<SimOs>>, keys: &[u32]) -> Vec<(u32, u8)> {
    let encoded: Vec<Vec<u8>> = keys.iter().map(|&key| key_bytes(key)).collect();
    let asked: Vec<(&[u8], u64)> = encoded.iter().map(|key| (&**key, store.hash(key))).collect();
    let mut seen = Vec::new();
    let take = |seen: &mut Vec<(u32, u8)>, i: usize, found: &Found<'_, SimOs>| {
        seen.push((keys[i], found.header().kind));
        Ok(())
    };
    handle(store).read_many(&asked, &mut seen, Vec::clear, take).unwrap();
    seen
}

/// The same, key by key: where nobody writes any more, each key has to be of the same moment.
fn versions_one_by_one(store: &Store<SimOs>, keys: &[u32]) -> Vec<(u32, u8)> {
    let one = |&key: &u32| {
        let bytes = key_bytes(key);
        let kind = store.read(&bytes, store.hash(&bytes), |record| Ok(record.header.kind)).unwrap();
        kind.map(|kind| (key, kind))
    };
    keys.iter().filter_map(one).collect()
}

fn versions_of(contents: &Contents, keys: &[u32], time: u64) -> Vec<(u32, u8)> {
    let living = living(contents, time);
    keys.iter().filter_map(|key| living.get(key).map(|item| (*key, (item.version % 251) as u8))).collect()
}

fn furniture() -> Vec<Act> {
    let mut acts: Vec<Act> = (0..12).map(|i| tagged(i, i + 1, 40 + i as usize, (i % 3) as u8)).collect();
    acts.extend((12..16).map(|i| put(i, i + 1, 100)));
    acts.push(put(16, 17, 20_000));
    acts.push(expiring(17, 18, 10, 2_000_000_000_000_000_000));
    acts
}

/// One of each kind of change, and their combinations in one transaction.
fn cases() -> Vec<Vec<Act>> {
    vec![
        vec![put(0, 101, 30), put(1, 102, 30), Act::Remove(2), put(20, 103, 50), Act::Remove(21)],
        vec![Act::Evict(0), put(0, 104, 30), tagged(3, 105, 10, 0), Act::Remove(12)],
        vec![tagged(22, 106, 10, 9), Act::Evict(1), Act::Evict(9), tagged(23, 107, 10, 9), put(4, 108, 10)],
        vec![put(5, 109, 10), Act::Clear],
        vec![Act::Clear, put(5, 110, 10), put(16, 111, 25_000), tagged(24, 112, 10, 1)],
        vec![put(16, 113, 30_000), put(25, 114, 9_000), put(26, 115, 12_000), Act::Remove(16), put(16, 116, 20)],
        (0..400).map(|i| put(1_000 + i, 117, 20)).collect(),
        vec![Act::Expire, Act::Remove(17), Act::Remove(13), Act::Remove(14), put(13, 118, 64)],
    ]
}

fn prepared() -> (World, Process) {
    let (world, first) = World::with(11, &furniture());
    let process = process(&world.machine);
    drop(first);
    (world, process)
}

/// T2, for readers that have no lock, for the next owner of the lock, and for a rebuild from the log.
#[test]
fn t2_death_at_every_step_of_a_transaction_leaves_all_or_nothing() {
    let keys: Vec<u32> = (0..30).chain(1_000..1_400).collect();
    for (number, acts) in cases().into_iter().enumerate() {
        let (mut world, victim) = prepared();
        let before = world.contents.clone();
        let started = victim.os.steps();
        transact(&victim.store, &acts, &before).unwrap();
        let steps = victim.os.steps() - started;
        acts.iter().for_each(|act| _ = act.model(&mut world.contents, victim.store.now()));
        let after = world.contents.clone();
        assert_eq!(live(&victim.store), living(&after, victim.store.now()), "case {number}");
        audit(&victim.store);
        for step in spread(steps, DEATHS * scale()) {
            let moment = format!("case {number}, death at step {step} of {steps}");
            let (world, victim) = prepared();
            let survivor = process(&world.machine);
            victim.os.kill_after(step);
            let outcome = victim.os.run(|| transact(&victim.store, &acts, &before));
            assert!(outcome.is_none(), "{moment} was not reached");
            let now = survivor.store.now();
            let seen = versions(&survivor.store, &keys);
            assert_eq!(versions_one_by_one(&survivor.store, &keys), seen, "{moment}: key by key");
            let is_after = seen == versions_of(&after, &keys, now);
            assert!(is_after || seen == versions_of(&before, &keys, now), "{moment}: a part of it is seen: {seen:?}");
            // The next owner of the lock finishes it, if it was committed, and is seen to have done so.
            put(500, 1, 10).apply_alone(&survivor.store);
            let mut settled = live(&survivor.store);
            settled.remove(&500);
            let done = settled == living(&after, now);
            assert!(done || settled == living(&before, now), "{moment}: neither before nor after");
            assert!(done || !is_after, "{moment}: what was seen is gone");
            audit(&survivor.store);
            world.machine.remount();
            drop(survivor);
            let rebuilt = open(&world.machine);
            let mut found = live(&rebuilt.store);
            found.remove(&500);
            assert_eq!(found, settled, "{moment}: rebuilt");
            audit(&rebuilt.store);
            assert_eq!(drift(&rebuilt.store).0, 0, "{moment}");
        }
    }
}

/// T2 for power cuts: every image holds whole transactions, and a prefix of them.
#[test]
fn t2_a_power_cut_leaves_a_prefix_of_whole_transactions() {
    for round in rounds(3) {
        let mut dice = Dice(round);
        // Without large values: the file of one that was replaced may be gone before its removal is durable.
        let (mut world, first) = World::with(round, &furniture()[..16]);
        let process = process(&world.machine);
        drop(first);
        let mut history = vec![world.contents.clone()];
        process.store.sync().unwrap();
        for number in 0..25u32 {
            let acts: Vec<Act> = (0..1 + dice.below(6))
                .map(|_| match dice.below(8) {
                    0 => Act::Evict(dice.below(3) as u8),
                    1 | 2 => Act::Remove(dice.below(16) as u32),
                    3 => put(dice.below(16) as u32, 200 + number, 4 + dice.below(3_000) as usize),
                    _ => tagged(dice.below(16) as u32, 200 + number, 10, dice.below(3) as u8),
                })
                .collect();
            transact(&process.store, &acts, &world.contents).unwrap();
            acts.iter().for_each(|act| _ = act.model(&mut world.contents, process.store.now()));
            history.push(world.contents.clone());
            for seed in 0..3 {
                let machine = world.machine.power_cut_copy(round * 1_000 + u64::from(number) * 10 + seed);
                let found = open(&machine);
                let seen = live(&found.store);
                let now = found.store.now();
                let known = history.iter().any(|contents| living(contents, now) == seen);
                assert!(
                    known,
                    "round {round}, transaction {number}, cut {seed}: no prefix of whole ones gives {seen:?}"
                );
                audit(&found.store);
            }
        }
    }
}

/// T1, and step 4: an error takes back what was staged, in memory and on disk.
#[test]
fn t1_nobody_sees_what_is_staged_and_an_error_takes_it_back() {
    for acts in cases() {
        let (world, process) = prepared();
        let other = self::process(&world.machine);
        let volume = process.store.volume();
        let files = world.machine.paths();
        let refused = handle(&process.store).transact((None, false), |inside| {
            stage(inside, &acts, &mut world.contents.clone())?;
            assert_eq!(live(&other.store), living(&world.contents, other.store.now()));
            Err::<(), _>(Error::aborted("no"))
        });
        assert!(refused.is_err_and(|error| error.is_aborted()));
        assert_eq!(live(&process.store), living(&world.contents, process.store.now()));
        assert_eq!((process.store.volume(), world.machine.paths()), (volume, files));
        audit(&process.store);
        assert!(path("state").exists() || process.os.list(Path::new("/cache")).is_ok());
    }
}

/// The files of several large values have names before their commit. Whoever dies in it, and whoever dies removing them, the next
/// to open finds each counted or gone.
#[test]
fn large_values_of_a_transaction_that_never_was_are_gone_whoever_dies() {
    let acts: Vec<Act> = (40..44).map(|key| put(key, 200 + key, 100_000)).collect();
    let (world, victim) = prepared();
    let started = victim.os.steps();
    transact(&victim.store, &acts, &world.contents).unwrap();
    let steps = victim.os.steps() - started;
    let mut never_was = 0;
    for step in spread(steps, DEATHS * scale()) {
        let (world, victim) = prepared();
        victim.os.kill_after(step);
        assert!(victim.os.run(|| transact(&victim.store, &acts, &world.contents)).is_none());
        let names = world.machine.paths();
        never_was += usize::from(names.iter().filter(|name| name.to_string_lossy().contains("/value-")).count() > 2);
        for again in spread(30, 10 * scale()) {
            let machine = world.machine.copy();
            let second = machine.process();
            second.kill_after(again);
            let opened = second.run(|| Store::open(second.clone(), Path::new("/cache"), &opening(None)).map(drop));
            drop(opened);
            let third = process(&machine);
            drop(third.store.lock().unwrap());
            let fourth = process(&machine);
            audit(&fourth.store);
            assert_eq!(drift(&fourth.store).0, 0, "deaths at {step} and {again}");
        }
    }
    assert!(never_was > 0, "no death left several");
}
