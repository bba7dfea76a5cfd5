//! Long sequences of operations by several processes in turn, against a model: with deaths, clocks that step, closing,
//! opening and rebuilding. It knows nothing of what one operation does inside.

use std::collections::BTreeMap;
use std::time::Duration;

use super::acts::{Act, Contents, Item, tag_by};
use super::audit::{audit, inserted_order, live, lookup};
#[cfg(test)]
use super::rounds;
use super::world::{Handle, World, living, open};
use super::{Chance, Dice};
use crate::engine::store::Store;
use crate::os::Os;
use crate::os::sim::SimOs;

const KEYS: u64 = 60;
const SECOND: u64 = 1_000_000_000;

/// A run: a machine, its processes, and what one of them left behind.
pub struct Run<D = Dice> {
    pub world: World,
    pub handles: Vec<Handle>,
    pub dice: D,
    version: u32,
    /// The keys that are there, expired or not, in the order of their insertion.
    order: Vec<u32>,
    /// What a process was at when it died, if the log may hold it whole: until somebody writes over it, a rebuild may
    /// bring it.
    in_flight: Option<Act>,
    /// What was refused last for want of room, if it may have been written before that: it was wiped, and a power cut may
    /// undo the wiping until somebody writes over it.
    refused: Option<Act>,
}

impl Run {
    pub fn new(seed: u64) -> Run {
        Run::drawn_from(seed, Dice(seed))
    }
}

impl<D: Chance> Run<D> {
    /// A run on the machine of a seed, whose operations are drawn from elsewhere.
    pub fn drawn_from(seed: u64, dice: D) -> Run<D> {
        let world = World::new(seed);
        let handles = (0..2).map(|_| open(&world.machine)).collect();
        Run { world, handles, dice, version: 0, order: Vec::new(), in_flight: None, refused: None }
    }

    /// A version that no item had.
    pub fn next_version(&mut self) -> u32 {
        self.version += 1;
        self.version
    }

    fn item(&mut self) -> Item {
        self.version += 1;
        let now = self.handles[0].store.now();
        let len = match self.dice.below(12) {
            0 => 8_500 + self.dice.below(30_000),
            1..4 => 1_000 + self.dice.below(6_000),
            _ => 8 + self.dice.below(300),
        };
        let tag = (self.dice.below(3) == 0).then(|| tag_by(self.version, self.dice.below(5)));
        let expires = (self.dice.below(5) == 0).then(|| now + self.dice.below(40) * SECOND);
        Item { version: self.version, len: len as usize, tag, expires }
    }

    fn change(&mut self) -> Act {
        let key = self.dice.below(KEYS) as u32;
        match self.dice.below(4) {
            0 => Act::Remove(key),
            _ => Act::Put(key, self.item()),
        }
    }

    pub fn act(&mut self) -> Act {
        match self.dice.below(40) {
            0 if self.dice.below(4) == 0 => Act::Clear,
            1 | 2 => Act::Evict(tag_by(self.version, self.dice.below(5))),
            3 | 4 => Act::Expire,
            5..9 => {
                let changes: Vec<Act> = (0..1 + self.dice.below(6)).map(|_| self.change()).collect();
                each_key_once(changes)
            }
            // Keys of their own, so that the index grows and shrinks.
            9 => {
                let from = 1_000 + self.dice.below(20) as u32 * 50;
                Act::Batch((0..50).map(|i| Act::Put(from + i, Item { len: 8, tag: None, ..self.item() })).collect())
            }
            10 => {
                let from = 1_000 + self.dice.below(20) as u32 * 50;
                Act::Batch((0..50).map(|i| Act::Remove(from + i)).collect())
            }
            _ => self.change(),
        }
    }

    /// Carries an operation out, in full or not.
    pub fn apply(&mut self, act: &Act) {
        self.apply_or(act, crate::error::Error::is_full);
    }

    /// As [`Run::apply`]; it may fail in a way that is allowed, and then it was not carried out.
    pub fn apply_or(&mut self, act: &Act, may_be: impl Fn(&crate::error::Error) -> bool) {
        let who = self.dice.below(self.handles.len() as u64) as usize;
        let handle = &self.handles[who];
        let time = handle.store.now();
        let mut after = self.world.contents.clone();
        let expected = act.model(&mut after, time);
        let outcome = act.apply(&handle.store);
        self.world.machine.clear_failures();
        match outcome {
            Ok(answer) => {
                assert_eq!(answer, expected, "{act:?}");
                let is_same = after == self.world.contents;
                let writes = matches!(act, Act::Put(..) | Act::Clear) || !(is_same || matches!(act, Act::Expire));
                self.in_flight = self.in_flight.take().filter(|_| !writes);
                self.refused = self.refused.take().filter(|_| !writes);
            }
            Err(error) => {
                assert!(may_be(&error), "{act:?}: {error:?}");
                self.refused = Some(act.clone());
                after = self.world.contents.clone();
            }
        }
        // For want of room, files of values that had expired were given back.
        let store = &self.handles[who].store;
        if store.len() < after.len() as u64 {
            after = living(&after, time);
            store.expire().unwrap();
        }
        self.now_holds(after, time);
    }

    /// The contents are others now, since an operation at `time`.
    fn now_holds(&mut self, contents: Contents, time: u64) {
        let before = std::mem::replace(&mut self.world.contents, contents);
        let now = &self.world.contents;
        // A key keeps its place for as long as an item is there that lives.
        let stays = |key: &u32| {
            let (old, new) = (before.get(key), now.get(key));
            old == new || (new.is_some() && old.is_some_and(|old| old.expires.is_none_or(|at| time < at)))
        };
        self.order.retain(|key| now.contains_key(key) && stays(key));
        let placed: std::collections::BTreeSet<u32> = self.order.iter().copied().collect();
        // Of one batch, in the order of keys, which is that of its members.
        self.order.extend(now.keys().filter(|key| !placed.contains(key)));
    }

    /// The process that carries it out dies at some step of it.
    pub fn die(&mut self, act: &Act) {
        let step = self.dice.below(150);
        self.die_after(act, step);
    }

    /// It dies after so many steps.
    pub fn die_after(&mut self, act: &Act, step: u64) {
        let who = self.dice.below(self.handles.len() as u64) as usize;
        let victim = self.handles.swap_remove(who);
        let time = victim.store.now();
        victim.os.kill_after(step);
        let _ = victim.os.run(|| act.apply(&victim.store));
        victim.os.kill();
        drop(victim);
        if self.handles.is_empty() || self.dice.below(2) == 0 {
            self.handles.push(open(&self.world.machine));
        }
        let store = &self.handles[0].store;
        audit(store);
        let (seen, now, len) = (live(store), store.now(), store.len());
        let mut after = self.world.contents.clone();
        act.model(&mut after, time);
        let is_as = |contents: &Contents| seen == living(contents, now) && len == contents.len() as u64;
        match (is_as(&self.world.contents), is_as(&after)) {
            (true, false) => self.in_flight = Some(act.clone()),
            (false, true) => {
                self.now_holds(after, time);
                self.in_flight = None;
            }
            // They differ in what has expired alone.
            (true, true) => {
                store.expire().unwrap();
                self.now_holds(seen, time);
                self.in_flight = Some(act.clone());
            }
            (false, false) => {
                assert_eq!(seen, living(&self.world.contents, store.now()), "{act:?} and a death at step {step}");
                assert!(matches!(act, Act::Expire), "{act:?} and a death at step {step}");
                store.expire().unwrap();
                self.now_holds(seen, time);
            }
        }
    }

    /// What is expired has been seen to be by the time the clock steps.
    pub fn step_clock(&mut self) {
        let machine = &self.world.machine;
        live(&self.handles[0].store);
        match self.dice.below(3) {
            0 => machine.set_clock(self.handles[0].os.now() - self.dice.below(30) * SECOND),
            _ => machine.advance(Duration::from_secs(self.dice.below(20))),
        }
        live(&self.handles[0].store);
    }

    pub fn come_and_go(&mut self) {
        match self.dice.below(3) {
            0 if self.handles.len() < 3 => self.handles.push(open(&self.world.machine)),
            1 if self.handles.len() > 1 => {
                let who = self.dice.below(self.handles.len() as u64) as usize;
                self.handles.swap_remove(who);
            }
            _ => {
                self.handles.clear();
                self.handles.push(open(&self.world.machine));
            }
        }
    }

    /// A rebuild knows no clock but the machine's, and brings back what expired and was collected, as expired.
    pub fn rebuild(&mut self) {
        let time = self.handles[0].store.now();
        if !Store::<SimOs>::doubts(&self.handles[0].store.state).is_empty() {
            // What the disk refused in this boot the state file alone knows, and it is removed here.
            self.handles[0].store.sync().unwrap();
        }
        self.handles.clear();
        self.world.machine.set_clock(time);
        self.handles.push(self.world.rebuild());
        self.refused = None;
        self.settle();
    }

    /// After a rebuild.
    fn settle(&mut self) {
        let now = self.handles[0].store.now();
        for act in [self.in_flight.take(), self.refused.take()].into_iter().flatten() {
            let mut with = self.world.contents.clone();
            act.model(&mut with, now);
            if live(&self.handles[0].store) == living(&with, now) {
                self.now_holds(with, now);
            }
        }
        let store = &self.handles[0].store;
        let left = living(&self.world.contents, now);
        assert_eq!(live(store), left, "rebuilt");
        audit(store);
        store.expire().unwrap();
        self.now_holds(left, now);
    }

    /// Everything is made durable; then the power goes, and nothing may be missing.
    pub fn cut(&mut self, seed: u64) {
        let time = self.handles[0].store.now();
        self.handles[0].store.sync().unwrap();
        self.handles.clear();
        self.world.machine.set_clock(time);
        self.world.machine.power_cut(seed);
        self.handles.push(open(&self.world.machine));
        self.settle();
    }

    pub fn check(&self) {
        for handle in &self.handles {
            self.world.check(handle);
            let version = |key: u32| lookup(&handle.store, key).map(|item| item.version);
            let there = living(&self.world.contents, handle.store.now());
            (0..KEYS as u32).for_each(|key| assert_eq!(version(key), there.get(&key).map(|item| item.version)));
            let inserted: Vec<u32> = self.order.iter().filter(|key| there.contains_key(key)).copied().collect();
            assert_eq!(inserted_order(&handle.store), inserted, "order of insertion");
        }
    }
}

/// A batch holds each key once.
pub fn each_key_once(acts: Vec<Act>) -> Act {
    let key = |act: &Act| match act {
        Act::Put(key, _) | Act::Remove(key) => *key,
        other => panic!("{other:?} in a batch"),
    };
    let acts = acts.into_iter().map(|act| (key(&act), act)).collect::<BTreeMap<u32, Act>>();
    Act::Batch(acts.into_values().collect())
}

#[cfg(test)]
fn run(seed: u64, operations: usize, deaths: bool) {
    let mut run = Run::new(seed);
    for i in 0..operations {
        let act = run.act();
        match run.dice.below(60) {
            0 => run.come_and_go(),
            1 => run.step_clock(),
            2 if run.dice.below(3) == 0 => run.rebuild(),
            3..8 if deaths => run.die(&act),
            _ => run.apply(&act),
        }
        if i % 16 == 0 {
            run.check();
        }
    }
    run.check();
    run.rebuild();
    run.check();
}

#[test]
fn processes_in_turn_agree_with_a_model() {
    for seed in rounds(2) {
        run(seed, 400, false);
    }
}

#[test]
fn processes_in_turn_agree_with_a_model_whoever_dies() {
    for seed in rounds(3) {
        run(500_000 + seed, 400, true);
    }
}

#[test]
fn the_volume_stays_under_the_limit_whoever_dies() {
    for seed in rounds(1) {
        let mut run = Run::new(77 + seed);
        for i in 0..450u64 {
            let item = Item { len: 3_000 + (i as usize * 37) % 30_000, expires: None, ..run.item() };
            let act = Act::Put(run.dice.below(200) as u32, item);
            if i % 20 == 19 { run.die(&act) } else { run.apply(&act) }
        }
        run.check();
        let peak = run.world.machine.peak_linked_bytes();
        assert!(peak <= super::world::SIZE_LIMIT, "{peak} bytes on disk");
        assert!(!run.world.contents.is_empty());
    }
}
