//! Stores at their limit, under every policy: whatever is found is the newest version of its key, nothing removed comes
//! back, every count agrees, and the limit holds, with deaths, rebuilding and power cuts among the operations. What was
//! evicted may be gone or, after a rebuild, be back: which items stay is the business of the hit-ratio benchmark.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::super::limit::segment_bytes;
use super::super::recovery::Opening;
use super::super::statistics::Counter;
use super::super::store::Store;
use super::super::upkeep::Next;
use super::acts::{Act, Contents, Item, put, tag_by};
use super::audit::{audit, live, lookup};
use super::world::{Handle, SMALL_LIMIT, World, living, opening, path};
use super::{Dice, rounds};
use crate::error::Result;
use crate::options::Eviction;
use crate::os::sim::{Machine, SimOs};
use crate::os::{Os, OsMap};
use crate::storage::state;

const SECOND: u64 = 1_000_000_000;
pub(super) const POLICIES: [Eviction; 5] = [
    Eviction::S3Fifo,
    Eviction::LeastRecentlyUsed,
    Eviction::LeastFrequentlyUsed,
    Eviction::LeastRecentlyStored,
    Eviction::None,
];

/// A store under a policy, and what it may hold: of each key the newest version, if it was not removed.
pub(super) struct Full {
    pub(super) world: World,
    pub(super) handles: Vec<Handle>,
    pub(super) dice: Dice,
    version: u32,
    policy: Eviction,
    /// What the store may have held after each operation since the last sync, the newest last.
    history: Vec<Contents>,
    /// Where the power never goes, no moment but the newest is asked for.
    keeps_moments: bool,
    /// What a dead process was at: it may be in effect, and be brought by a rebuild later.
    in_flight: Option<Act>,
    /// Items that were missing at some check, or were counted as evicted.
    most_gone: usize,
    /// Rounds of upkeep that did something, and deaths in one.
    rounds: u64,
    killed_in_upkeep: u64,
    /// A rebuild may have left less than a segment free.
    is_rebuilt: bool,
}

pub(super) fn open(machine: &Machine, opening: &Opening) -> Handle {
    let os = machine.process();
    let store = Store::open(os.clone(), &path(""), opening).unwrap();
    Handle { store, os }
}

/// Opens a store with the policy that it has.
pub(super) fn reopen(machine: &Machine) -> Handle {
    let os = machine.process();
    let store = reopen_in(&os).unwrap();
    Handle { store, os }
}

/// The same in a process.
pub(super) fn reopen_in(os: &SimOs) -> Result<Store<SimOs>> {
    Store::open(os.clone(), &path(""), &Opening { eviction: None, ..opening(None) })
}

impl Full {
    pub(super) fn new(seed: u64, policy: Eviction) -> Full {
        let world = World::new(seed);
        let opening = Opening { eviction: Some(policy.to_bits()), ..opening(Some(SMALL_LIMIT)) };
        let handles = vec![open(&world.machine, &opening)];
        Full {
            world,
            handles,
            dice: Dice(seed),
            version: 0,
            policy,
            history: vec![Contents::new()],
            keeps_moments: true,
            in_flight: None,
            most_gone: 0,
            rounds: 0,
            is_rebuilt: false,
            killed_in_upkeep: 0,
        }
    }

    fn item(&mut self) -> Item {
        self.version += 1;
        let len = match self.dice.below(40) {
            0 => 9_000 + self.dice.below(60_000),
            1..4 => 2_000 + self.dice.below(6_000),
            _ => 8 + self.dice.below(4_000),
        };
        let tag = (self.dice.below(4) == 0).then(|| tag_by(self.version, self.dice.below(4)));
        let now = self.handles[0].store.now();
        let expires = (self.dice.below(8) == 0).then(|| now + self.dice.below(60) * SECOND);
        Item { version: self.version, len: len as usize, tag, expires }
    }

    /// Few keys are used often, many seldom.
    fn key(&mut self) -> u32 {
        let range = 1 << (3 + self.dice.below(10));
        self.dice.below(range) as u32
    }

    pub(super) fn act(&mut self) -> Act {
        match self.dice.below(60) {
            0 => Act::Evict(tag_by(self.version, self.dice.below(4))),
            1 if self.dice.below(20) == 0 => Act::Clear,
            2 => Act::Expire,
            3..10 => Act::Remove(self.key()),
            10..14 => {
                let mut changes = BTreeMap::new();
                for _ in 0..1 + self.dice.below(8) {
                    let key = self.key();
                    let put = self.dice.below(4) > 0;
                    changes.insert(key, if put { Act::Put(key, self.item()) } else { Act::Remove(key) });
                }
                Act::Batch(changes.into_values().collect())
            }
            14..18 => Act::Update(self.key(), {
                self.version += 1;
                self.version
            }),
            _ => Act::Put(self.key(), self.item()),
        }
    }

    pub(super) fn newest(&self) -> &Contents {
        self.history.last().unwrap()
    }

    /// What the store may hold after an operation. What it says of evicted items is not asked.
    fn note(&mut self, act: &Act, time: u64) {
        if self.keeps_moments {
            self.history.push(self.newest().clone());
        }
        act.model(self.history.last_mut().unwrap(), time);
    }

    /// An update makes of what is there what it can: of an evicted item nothing.
    pub(super) fn forget_evicted(&mut self, who: usize, act: &Act) {
        if let Act::Update(key, _) = act
            && super::audit::lookup(&self.handles[who].store, *key).is_none()
        {
            self.history.last_mut().unwrap().remove(key);
        }
    }

    pub(super) fn apply(&mut self, act: &Act) {
        let who = self.dice.below(self.handles.len() as u64) as usize;
        let time = self.handles[who].store.now();
        self.forget_evicted(who, act);
        let store = &self.handles[who].store;
        match act.apply(store) {
            Ok(_) => {
                self.note(act, time);
                self.in_flight = None;
            }
            Err(error) => {
                assert!(error.is_full() && self.policy == Eviction::None, "{act:?}: {error:?}");
            }
        }
    }

    /// Reads some keys, so that there is something to tell items by.
    pub(super) fn read(&mut self) {
        for _ in 0..8 {
            let key = self.key();
            let found = super::audit::lookup(&self.handles[0].store, key);
            let now = self.handles[0].store.now();
            let is_newest = |item: &Item| is_live(item, now) && self.newest().get(&key) == Some(item);
            assert!(found.as_ref().is_none_or(is_newest), "key {key}: {found:?}");
        }
    }

    /// True if everything that is there is what some contents have.
    fn is_part(found: &Contents, of: &Contents) -> bool {
        found.iter().all(|(key, item)| of.get(key) == Some(item))
    }

    /// True if a store may hold just that when it should hold what of some contents has not expired.
    pub(super) fn fits(&self, found: &Contents, contents: &Contents, now: u64) -> bool {
        if self.policy != Eviction::None {
            return Full::is_living_part(found, contents, now);
        }
        found.iter().eq(contents.iter().filter(|(_, item)| is_live(item, now)))
    }

    fn is_living_part(found: &Contents, of: &Contents, now: u64) -> bool {
        Full::is_part(found, of) && found.values().all(|item| is_live(item, now))
    }

    /// The same after a power cut: a large value that was not synced may have lost its file, and is absent then.
    fn fits_cut(&self, found: &Contents, contents: &Contents, now: u64) -> bool {
        if !Full::is_living_part(found, contents, now) {
            return false;
        }
        let synced = &self.history[0];
        let may_be_lost = |key: &u32, item: &Item| {
            self.handles[0].store.is_large(item.len) && synced.get(key) != Some(item) && !found.contains_key(key)
        };
        let mut expected = contents.iter().filter(|(_, item)| is_live(item, now));
        self.policy != Eviction::None
            || expected.all(|(key, item)| found.get(key) == Some(item) || may_be_lost(key, item))
    }

    pub(super) fn check(&mut self) {
        self.check_peak();
        for handle in &self.handles {
            audit(&handle.store);
        }
        let store = &self.handles[0].store;
        let (found, now) = (live(store), store.now());
        let expected = living(self.newest(), now);
        let (wrong, missing) = (difference(&found, &expected), difference(&expected, &found));
        assert!(self.fits(&found, self.newest(), now), "not as expected: {wrong:?}; missing: {missing:?}");
        self.most_gone = self.most_gone.max(expected.len() - found.len());
        // Those that were put again since are not missing.
        let culled = store.sums().unwrap()[Counter::Culled as usize];
        self.most_gone = self.most_gone.max(usize::try_from(culled).unwrap());
    }

    /// The limit held since the last time. Only a rebuild may pass it, and what gives back what it took too much.
    fn check_peak(&mut self) {
        let peak = self.world.machine.peak_linked_bytes();
        assert!(peak <= SMALL_LIMIT || self.is_rebuilt, "{peak} bytes on disk");
        self.world.machine.forget_peak();
        self.is_rebuilt &= self.handles[0].store.volume() + segment_bytes(SMALL_LIMIT) > SMALL_LIMIT;
    }

    /// The background thread of some handle comes to a few rounds.
    fn keep_up(&mut self) {
        let who = self.dice.below(self.handles.len() as u64) as usize;
        let rounds = self.dice.below(40);
        // As much as a busy store has: the thread works ahead of writers.
        let margin = self.dice.below(3) * (SMALL_LIMIT / 32);
        let store = &self.handles[who].store;
        store.duty.margin.store(margin, Ordering::Relaxed);
        for _ in 0..rounds {
            match store.upkeep_round() {
                Ok(Next::Round) => self.rounds += 1,
                Ok(_) => break,
                Err(error) => panic!("upkeep: {error:?}"),
            }
        }
        store.duty.margin.store(0, Ordering::Relaxed);
    }

    /// A process dies in the middle of a round of its thread, or of several.
    fn die_in_upkeep(&mut self) {
        let steps = self.dice.below(600);
        let who = self.dice.below(self.handles.len() as u64) as usize;
        let victim = self.handles.swap_remove(who);
        victim.store.duty.margin.store(SMALL_LIMIT / 8, Ordering::Relaxed);
        victim.os.kill_after(steps);
        let rounds = || while let Ok(Next::Round) = victim.store.upkeep_round() {};
        self.killed_in_upkeep += u64::from(victim.os.run(rounds).is_none());
        victim.os.kill();
        drop(victim);
        if self.handles.is_empty() {
            self.handles.push(reopen(&self.world.machine));
        }
        // Whoever is elected next finds the dead one's election, and goes on.
        self.keep_up();
        self.check();
    }

    fn die(&mut self, act: &Act) {
        let steps = self.dice.below(400);
        let who = self.dice.below(self.handles.len() as u64) as usize;
        self.forget_evicted(who, act);
        let victim = self.handles.swap_remove(who);
        let time = victim.store.now();
        victim.os.kill_after(steps);
        let _ = victim.os.run(|| act.apply(&victim.store));
        victim.os.kill();
        drop(victim);
        if self.handles.is_empty() || self.dice.below(2) == 0 {
            self.handles.push(reopen(&self.world.machine));
        }
        let store = &self.handles[0].store;
        audit(store);
        let (found, now) = (live(store), store.now());
        let mut after = self.newest().clone();
        act.model(&mut after, time);
        let is_before = self.fits(&found, self.newest(), now);
        let unlike = || difference(&found, &living(self.newest(), now));
        assert!(is_before || self.fits(&found, &after, now), "{act:?}: {:?}", unlike());
        // In doubt, what it removed may not be held against the store, and what it put neither: both count from here on.
        if is_before {
            self.in_flight = Some(act.clone());
        } else {
            self.in_flight = None;
            self.history.push(after);
        }
        self.settle(&found);
    }

    /// What is certain to be gone now is not expected again, but by a rebuild: what is found is.
    fn settle(&mut self, found: &Contents) {
        if self.policy == Eviction::None {
            return;
        }
        // A removal that a dead process has carried out on an evicted item cannot be told from none.
        if let Some(act) = &self.in_flight {
            let mut after = self.newest().clone();
            act.model(&mut after, self.handles[0].store.now());
            if Full::is_part(found, &after) && after.len() <= self.newest().len() {
                self.history.push(after);
            }
        }
    }

    /// The newest moment since the last sync that may have held what was found, if the power was cut.
    pub(super) fn moment_of(&self, found: &Contents, now: u64) -> Option<usize> {
        self.history.iter().rposition(|contents| self.fits_cut(found, contents, now))
    }

    /// Moments since the last sync.
    pub(super) fn moments(&self) -> usize {
        self.history.len()
    }

    pub(super) fn policy(&self) -> Eviction {
        self.policy
    }

    pub(super) fn sync(&mut self) {
        self.handles[0].store.sync().unwrap();
        self.history.drain(..self.history.len() - 1);
    }

    /// After a rebuild: what is found is what some moment since the last sync may have held.
    fn rebuilt(&mut self, is_cut: bool) {
        let store = &self.handles[0].store;
        self.is_rebuilt = true;
        audit(store);
        let (found, now) = (live(store), store.now());
        let mut possible: Vec<Contents> = self.history.clone();
        if let Some(act) = self.in_flight.take() {
            let mut after = self.newest().clone();
            act.model(&mut after, now);
            possible.push(after);
        }
        let fits = |contents: &Contents| {
            if is_cut { self.fits_cut(&found, contents, now) } else { self.fits(&found, contents, now) }
        };
        let at = possible.iter().rposition(fits).unwrap_or_else(|| {
            let newest = living(self.newest(), now);
            let (wrong, missing) = (difference(&found, &newest), difference(&newest, &found));
            panic!("nothing that was there explains {wrong:?}; missing: {missing:?}")
        });
        // What is expected from here on is that moment: a removal since may be lost, and nothing younger may be there.
        let mut moment = possible[at].clone();
        if is_cut && self.policy == Eviction::None {
            moment.retain(|key, item| found.contains_key(key) || item.expires.is_some_and(|at| at <= now));
        }
        // Nothing is synced by that, but nothing older can be back: no segment goes before what ended its records is durable.
        self.history = vec![moment];
    }

    fn rebuild(&mut self) {
        self.check_peak();
        let time = self.handles[0].store.now();
        self.handles.clear();
        self.world.machine.set_clock(time);
        // Nothing is lost now, but nothing has become durable either: a power cut may still go back to earlier moments.
        let newest = self.history.pop().into_iter().collect();
        let earlier = std::mem::replace(&mut self.history, newest);
        self.world.machine.process().remove(&path("state")).unwrap();
        self.handles.push(reopen(&self.world.machine));
        self.rebuilt(false);
        self.history.splice(..0, earlier);
    }

    fn cut(&mut self) {
        self.check_peak();
        let time = self.handles[0].store.now();
        if self.dice.below(2) == 0 {
            self.sync();
        }
        self.handles.clear();
        self.world.machine.set_clock(time);
        let seed = self.dice.next();
        self.world.machine.power_cut(seed);
        self.handles.push(reopen(&self.world.machine));
        self.rebuilt(true);
    }

    fn step(&mut self, deaths: bool, upkeep: bool) {
        if upkeep {
            match self.dice.below(100) {
                0 if deaths => self.die_in_upkeep(),
                0..20 => self.keep_up(),
                _ => {}
            }
        }
        let act = self.act();
        match self.dice.below(200) {
            0 if self.handles.len() < 3 => self.handles.push(reopen(&self.world.machine)),
            1 => {
                self.handles.clear();
                self.handles.push(reopen(&self.world.machine));
            }
            2 => {
                live(&self.handles[0].store);
                self.world.machine.advance(std::time::Duration::from_secs(self.dice.below(20)));
            }
            3 if deaths => self.rebuild(),
            4 if deaths => self.cut(),
            5..10 if deaths => self.die(&act),
            _ => self.apply(&act),
        }
        self.read();
    }
}

fn is_live(item: &Item, now: u64) -> bool {
    item.expires.is_none_or(|at| now < at)
}

/// The first keys that are not as expected: found, expected.
fn difference(found: &Contents, expected: &Contents) -> Vec<(u32, Item, Option<Item>)> {
    let wrong = found.iter().filter(|(key, item)| expected.get(key) != Some(item));
    wrong.take(5).map(|(&key, &item)| (key, item, expected.get(&key).copied())).collect()
}

/// How a run goes on.
#[derive(Clone, Copy)]
struct Plan {
    seed: u64,
    operations: usize,
    /// Processes die, the power goes, and the index is made anew.
    deaths: bool,
    /// Background threads work between the operations.
    upkeep: bool,
}

/// What happened in a run, so that runs in which nothing does are noticed.
struct Happened {
    /// The most items that were missing at some check.
    gone: usize,
    /// Whether items were moved to the main log.
    moved: bool,
    /// How many background threads died in their work.
    killed_in_upkeep: u64,
}

fn run(plan: Plan, policy: Eviction) -> Happened {
    println!("seed {}, {policy:?}", plan.seed);
    let mut full = Full::new(plan.seed, policy);
    full.keeps_moments = plan.deaths;
    for i in 0..plan.operations {
        full.step(plan.deaths, plan.upkeep);
        if i % 50 == 0 {
            full.check();
        }
    }
    full.check();
    let has_moved = full.world.machine.paths().iter().any(|path| path.to_string_lossy().contains("main-"));
    full.rebuild();
    full.check();
    if plan.upkeep && policy != Eviction::None {
        assert!(full.rounds > 10, "{policy:?}: {} rounds of upkeep", full.rounds);
    }
    Happened { gone: full.most_gone, moved: has_moved, killed_in_upkeep: full.killed_in_upkeep }
}

/// Runs the plan under every policy, with other seeds in each round.
fn under_every_policy(plan: Plan) {
    let (mut evict, mut move_items, mut killed_in_upkeep) = (0, 0, 0_u64);
    for policy in POLICIES {
        for round in rounds(1) {
            let happened = run(Plan { seed: plan.seed + round, ..plan }, policy);
            evict += usize::from(happened.gone > 5);
            move_items += usize::from(happened.moved);
            killed_in_upkeep += happened.killed_in_upkeep;
        }
    }
    // A run may clear its store before it is full.
    assert!(evict > 0 && move_items >= 3, "{evict} runs in which items went, {move_items} in which some were moved");
    assert!(!(plan.deaths && plan.upkeep) || killed_in_upkeep > 0, "nobody died in upkeep");
}

#[test]
fn what_is_found_in_a_full_store_is_the_newest_under_every_policy() {
    under_every_policy(Plan { seed: 0, operations: 1_600, deaths: false, upkeep: false });
}

#[test]
fn what_is_found_in_a_full_store_is_the_newest_whoever_dies_and_whenever_the_power_goes() {
    under_every_policy(Plan { seed: 1_000, operations: 1_000, deaths: true, upkeep: false });
}

#[test]
fn threads_that_give_space_back_change_nothing_but_what_goes() {
    under_every_policy(Plan { seed: 2_000, operations: 2_000, deaths: false, upkeep: true });
}

#[test]
fn a_death_anywhere_in_upkeep_leaves_what_is_the_newest_and_a_thread_that_goes_on() {
    under_every_policy(Plan { seed: 3_000, operations: 1_200, deaths: true, upkeep: true });
}

/// Nothing is evicted any more, and what was evicted before stands in a segment that waits to be unlinked (K7).
#[test]
fn what_was_evicted_under_another_policy_and_removed_since_stays_removed() {
    for policy in POLICIES.into_iter().filter(|&policy| policy != Eviction::None) {
        let full = Full::new(1, policy);
        let (one, other) = (&full.handles[0], reopen(&full.world.machine));
        for key in 0..2_500 {
            put(key, 1, 300).apply(&one.store).unwrap();
        }
        let there = |handle: &Handle, key: u32| lookup(&handle.store, key).is_some();
        let before: Vec<u32> = (0..2_500).filter(|&key| there(&other, key)).collect();
        let retired = one.store.state.load(state::RETIRED);
        while one.store.state.load(state::RETIRED) == retired {
            one.store.compact(&one.store.lock().unwrap()).unwrap();
        }
        one.os.kill();
        let gone: Vec<u32> = before.into_iter().filter(|&key| !there(&other, key)).collect();
        assert!(gone.len() > 20);
        other.store.change_settings(|shared| shared.eviction = Eviction::None.to_bits()).unwrap();
        gone.iter().for_each(|&key| assert_eq!(Act::Remove(key).apply(&other.store).unwrap(), 0));
        other.store.sync().unwrap();
        for seed in 0..20 {
            let heir = reopen(&full.world.machine.power_cut_copy(seed));
            let back = gone.iter().filter(|&&key| there(&heir, key)).count();
            assert_eq!(back, 0, "{policy:?}, power cut {seed}: of {} that were removed, and that synced", gone.len());
        }
    }
}
