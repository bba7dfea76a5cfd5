//! Stores at their limit, where every write may evict and move: a death at every step of an operation, and what power
//! cuts may leave of a moment within one. It knows the operations and what must be found from `eviction`.
//!
//! Under each policy a twenty-fifth of `LARDER_TEST_IMAGES` are drawn; unset, it is the everyday number times the scale.

use super::acts::{Act, Contents, key_bytes, put};
use super::audit::{audit, drift, live};
use super::eviction::{Full, POLICIES, reopen, reopen_in};
use super::images::{Tally, open_image};
use super::world::{Handle, SMALL_LIMIT, open_sized, open_to_read, path};
use super::{Dice, rounds, scale, spread};
use crate::engine::compaction::Step;
use crate::options::Eviction;
use crate::os::Os;
use crate::os::OsMap;
use crate::os::sim::Machine;
use crate::storage::state;

/// Operations until such a store is full, and what compaction moved comes round.
const UNTIL_FULL: usize = 1_200;
/// Operations in each of which somebody dies, and deaths tried in one.
const OPERATIONS: usize = 2;
const DEATHS: usize = 4;
/// Of so many operations one makes room: where nothing is evicted, only once enough is dead.
const LOOKS: usize = 1_000;
/// Images of everyday tests under each policy, of one moment, and of one run.
const IMAGES: usize = 40;
const IMAGES_OF_MOMENT: usize = 4;
const IMAGES_OF_RUN: usize = 500;

fn full(seed: u64, policy: Eviction) -> Full {
    let mut full = Full::new(seed, policy);
    for _ in 0..UNTIL_FULL {
        let act = full.act();
        full.apply(&act);
        full.read();
    }
    full.check();
    full
}

/// How far the walks of compaction are, and the segments that there are.
fn walks(handle: &Handle) -> Vec<u64> {
    let words = [state::HAND, state::HAND_ID, state::MAIN_HAND, state::MAIN_HAND_ID];
    let segments = (0..handle.store.rows).map(|slot| handle.store.segment_in(slot));
    words.map(|word| handle.store.state.load(word)).into_iter().chain(segments).collect()
}

/// The next operation that moves or evicts something.
fn next_that_compacts(full: &mut Full) -> Act {
    let looks = if full.policy() == Eviction::None { 20 } else { LOOKS };
    for _ in 0..looks {
        let act = full.act();
        let trial = reopen(&full.world.machine.copy());
        let before = walks(&trial);
        let _ = act.apply(&trial.store);
        if walks(&trial) != before {
            full.forget_evicted(0, &act);
            return act;
        }
        full.apply(&act);
    }
    assert_eq!(
        full.policy(),
        Eviction::None,
        "{LOOKS} operations on a full store moved nothing, volume {}",
        full.handles[0].store.volume()
    );
    full.act()
}

/// A death in one operation, and what is there then: all of it is what was there before or after, and whoever goes on
/// can write, within the limit.
struct Death<'f> {
    full: &'f Full,
    machine: Machine,
    act: &'f Act,
    after: &'f Contents,
    moment: String,
}

impl Death<'_> {
    /// Who reads and never has the lock meets what was there before or after, as the dead left it.
    fn glance(&self, reader: &Handle) -> bool {
        let (found, now) = (live(&reader.store), reader.store.now());
        let fits = |contents: &Contents| self.full.fits(&found, contents, now);
        let is_after = fits(self.after);
        assert!(is_after || fits(self.full.newest()), "{}: neither before nor after", self.moment);
        is_after
    }

    /// What of a model must be there is there, and nothing else.
    fn look(&self, handle: &Handle, when: &str) -> bool {
        audit(&handle.store);
        let is_after = self.glance(handle);
        let peak = self.machine.peak_linked_bytes();
        assert!(peak <= SMALL_LIMIT, "{}, {when}: {peak} bytes on disk", self.moment);
        is_after
    }

    /// False if the operation was over before that step.
    fn at_step(&self, step: u64, has_survivor: bool) -> bool {
        let victim = reopen(&self.machine);
        let survivor = has_survivor.then(|| reopen(&self.machine));
        let reader = open_to_read(&self.machine);
        victim.os.kill_after(step);
        let outcome = victim.os.run(|| self.act.apply(&victim.store).map(drop));
        victim.os.kill();
        drop(victim);
        self.glance(&reader);
        drop(reader);
        let heir = survivor.unwrap_or_else(|| reopen(&self.machine));
        self.look(&heir, "after the death");
        for act in [put(1 << 20, u32::MAX, 3_000), put(1 << 21, u32::MAX, 20_000), Act::Remove(1 << 20)] {
            match act.apply(&heir.store) {
                Err(error) => assert!(error.is_full() && self.full.policy() == Eviction::None, "{}", self.moment),
                Ok(_) => audit(&heir.store),
            }
        }
        let _ = Act::Remove(1 << 21).apply(&heir.store).unwrap();
        self.look(&heir, "after writing");
        drop(heir);
        self.machine.process().remove(&path("state")).unwrap();
        self.look(&reopen(&self.machine), "after a rebuild");
        outcome.is_none()
    }
}

#[test]
fn a_death_at_every_step_of_making_room_is_harmless_under_every_policy() {
    let (mut tried, mut reached) = (0, 0);
    for policy in POLICIES {
        for seed in rounds(1) {
            let mut full = full(2_000 + seed, policy);
            for number in 0..OPERATIONS {
                let act = next_that_compacts(&mut full);
                let mut after = full.newest().clone();
                act.model(&mut after, full.handles[0].store.now());
                let trial = reopen(&full.world.machine.copy());
                let before = trial.os.steps();
                let outcome = act.apply(&trial.store);
                assert!(outcome.is_ok() || policy == Eviction::None, "{act:?}: {outcome:?}");
                for (i, step) in spread(trial.os.steps() - before, DEATHS * scale()).into_iter().enumerate() {
                    let moment = format!("{policy:?} {seed}, operation {number} ({act:?}), step {step}");
                    let machine = full.world.machine.copy();
                    let death = Death { full: &full, machine, act: &act, after: &after, moment };
                    tried += 1;
                    reached += u32::from(death.at_step(step, i % 2 == 0));
                }
                full.apply(&act);
            }
        }
    }
    assert!(reached * 10 > tried * 9, "{reached} deaths in {tried} trials");
}

/// Images of moments within operations, and between them.
fn images_of(seed: u64, policy: Eviction, count: usize, tally: &mut Tally) -> usize {
    let mut full = full(seed, policy);
    let mut dice = Dice(seed ^ 0x5EED);
    let mut behind = 0;
    let end = count;
    let mut drawn = 0;
    while drawn < end {
        let act = full.act();
        if dice.below(30) == 0 {
            full.sync();
        }
        if dice.below(4) == 0 {
            full.world.machine.write_back(dice.next(), 1 + dice.below(4));
        }
        if dice.below(3) > 0 {
            full.apply(&act);
            continue;
        }
        full.handles.iter().for_each(|handle| handle.os.copy_after(dice.below(300)));
        full.apply(&act);
        full.handles.iter().for_each(|handle| handle.os.copy_after(u64::MAX));
        let moment = full.world.machine.take_moment().unwrap_or_else(|| full.world.machine.clone());
        for _ in 0..IMAGES_OF_MOMENT {
            let seed = dice.next();
            let handle = open_image(moment.power_cut_copy(seed), &mut Dice(seed), tally, reopen_in);
            audit(&handle.store);
            let (found, now) = (live(&handle.store), handle.store.now());
            let newest = full.newest();
            let unlike =
                || found.iter().filter(|&(key, item)| newest.get(key) != Some(item)).take(5).collect::<Vec<_>>();
            let at = full.moment_of(&found, now);
            assert!(at.is_some(), "{policy:?}, image {seed}: no moment since the last sync explains {:?}", unlike());
            behind += usize::from(at != Some(full.moments() - 1));
            assert_eq!(drift(&handle.store).0, 0, "{policy:?}, image {seed}: files that are in nobody's count");
            drawn += 1;
        }
    }
    behind
}

/// Under `Eviction::None` `images` does so, where nothing may be missing.
#[test]
fn whatever_a_power_cut_leaves_of_a_full_store_is_part_of_one_moment_since_the_last_sync() {
    let mut tally = Tally::default();
    for policy in POLICIES.into_iter().filter(|policy| *policy != Eviction::None) {
        let images = super::number("LARDER_TEST_IMAGES").map_or(IMAGES * scale(), |images: usize| images / 25);
        let mut behind = 0;
        for (round, seed) in (0..images.div_ceil(IMAGES_OF_RUN)).zip(super::seed() * 1_000_000..) {
            let count = IMAGES_OF_RUN.min(images - round * IMAGES_OF_RUN);
            println!("{policy:?}, seed {seed}");
            behind += images_of(seed, policy, count, &mut tally);
        }
        println!("{policy:?}: {images} images, {behind} of an earlier moment than the newest; {tally:?}");
        assert!(behind > 0, "no power cut lost anything under {policy:?}");
    }
}

/// K7. Under a policy that evicts, the segment of an evicted item is there until the walk through it is over.
#[test]
fn a_deleted_key_that_had_been_evicted_stays_deleted_after_a_rebuild() {
    // To look does not count as a use.
    let is_there = |handle: &Handle, key: u32| {
        let key = key_bytes(key);
        handle.store.look(&key, handle.store.hash(&key), |_| Ok(())).unwrap().is_some()
    };
    for policy in POLICIES.into_iter().filter(|&policy| policy != Eviction::None) {
        let full = Full::new(1, policy);
        let handle = &full.handles[0];
        let keys = 0..2_500;
        for key in keys.clone() {
            put(key, 1, 300).apply(&handle.store).unwrap();
        }
        let before: Vec<u32> = keys.filter(|&key| is_there(handle, key)).collect();
        assert_ne!(handle.store.compact(&handle.store.lock().unwrap()).unwrap(), Step::Nothing);
        let evicted: Vec<u32> = before.into_iter().filter(|&key| !is_there(handle, key)).collect();
        assert!(evicted.len() > 20, "{policy:?}: {}", evicted.len());
        for &key in &evicted {
            assert_eq!(Act::Remove(key).apply(&handle.store).unwrap(), 0, "{policy:?}: {key} was there");
        }
        handle.store.sync().unwrap();
        for seed in 0..10 {
            let heir = reopen(&full.world.machine.power_cut_copy(seed));
            let back: Vec<u32> = evicted.iter().copied().filter(|&key| is_there(&heir, key)).collect();
            assert!(back.is_empty(), "{policy:?}, image {seed}: {back:?}");
        }
    }
}

/// Everything gets a step older with each eighth of the limit, whatever the limit was before.
#[test]
fn the_age_goes_by_the_limit_there_is() {
    let machine = Machine::with_file_capacity(3, 16 << 20);
    let handle = open_sized(&machine, 4 << 20);
    let store = &handle.store;
    let mut version = 0;
    let mut put_until = |bytes: u64| {
        while store.state.load(state::APPENDED) < bytes {
            version += 1;
            let (before, age) = (store.state.load(state::APPENDED), store.state.load(state::EVICTION));
            put(version % 50, version, 3000).apply(store).unwrap();
            let (after, eighth) = (store.state.load(state::APPENDED), store.state.load(state::SIZE_LIMIT) / 8);
            let has_aged = store.state.load(state::EVICTION) != age;
            assert_eq!(has_aged, before / eighth != after / eighth, "from {before} to {after}");
        }
    };
    put_until(700 << 10);
    for (limit, bytes) in [(3 << 20, 3 << 20), (5 << 20, 6 << 20)] {
        store.change_settings(|shared| shared.size_limit = limit).unwrap();
        put_until(bytes);
    }
}
