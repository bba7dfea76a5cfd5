//! Do operations of all kinds agree with the collections of std, with deaths, power cuts, rebuilding, reopening and a
//! clock that steps among them? Sequences are drawn by proptest, so that one that fails is made short before it is shown.
//! It knows nothing of how the store does it.
//!
//! `LARDER_TEST_CASES` says how many sequences are tried; unset, it is the everyday number times the scale.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use std::time::Duration;

use super::acts::{Act, Item};
use super::random::{Run, each_key_once};
use super::{number, scale, seed};
use crate::os::Os;

const CASES: usize = 70;
const STEPS: usize = 200;
const SECOND: u64 = 1_000_000_000;

/// One item to be put: its length, tag and seconds to live.
type Drawn = (usize, Option<u8>, Option<u64>);

/// What a sequence consists of.
#[derive(Clone, Debug)]
enum Step {
    Put(u32, Drawn),
    Remove(u32),
    Count(u32),
    /// With the right guess or a wrong one; with nothing, it removes.
    Compare(u32, bool, Option<Drawn>),
    Batch(Vec<(u32, Option<Drawn>)>),
    /// Fifty keys at once, or away again.
    Bulk(u32, bool),
    Evict(u8),
    Clear,
    Expire,
    /// Seconds, forward or back.
    Clock(i64),
    Check,
    Open,
    Close(usize),
    Reopen,
    Rebuild,
    Cut(u64),
    /// The process that does the next operation dies after so many steps.
    Die(u64),
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let len = prop_oneof![8 => 8..300usize, 2 => 300..7_000usize, 1 => 8_500..20_000usize];
    let tag = prop_oneof![2 => Just(None), 1 => (0..4u8).prop_map(Some)];
    let expires = prop_oneof![3 => Just(None), 1 => (0..40u64).prop_map(Some)];
    (len, tag, expires)
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..16u32;
    let member = (key.clone(), prop_oneof![3 => drawn().prop_map(Some), 1 => Just(None)]);
    prop_oneof![
        30 => (key.clone(), drawn()).prop_map(|(key, drawn)| Step::Put(key, drawn)),
        12 => key.clone().prop_map(Step::Remove),
        8 => key.clone().prop_map(Step::Count),
        8 => (key, any::<bool>(), proptest::option::of(drawn())).prop_map(|(k, right, new)| Step::Compare(k, right, new)),
        8 => proptest::collection::vec(member, 1..6).prop_map(Step::Batch),
        2 => (0..8u32, any::<bool>()).prop_map(|(from, removes)| Step::Bulk(1_000 + from * 50, removes)),
        4 => (0..4u8).prop_map(Step::Evict),
        1 => Just(Step::Clear),
        3 => Just(Step::Expire),
        4 => (-20..30i64).prop_map(Step::Clock),
        3 => Just(Step::Check),
        2 => Just(Step::Open),
        2 => (0..3usize).prop_map(Step::Close),
        1 => Just(Step::Reopen),
        1 => Just(Step::Rebuild),
        1 => any::<u64>().prop_map(Step::Cut),
        4 => (0..150u64).prop_map(Step::Die),
    ]
}

/// A sequence being carried out.
struct Case {
    run: Run,
    dies_after: Option<u64>,
}

impl Case {
    fn item(&mut self, (len, tag, expires): Drawn) -> Item {
        let now = self.run.handles[0].store.now();
        Item { version: self.run.next_version(), len, tag, expires: expires.map(|after| now + after * SECOND) }
    }

    fn act(&mut self, step: &Step) -> Option<Act> {
        Some(match step {
            Step::Put(key, drawn) => Act::Put(*key, self.item(*drawn)),
            Step::Remove(key) => Act::Remove(*key),
            Step::Count(key) => Act::Update(*key, self.run.next_version()),
            Step::Compare(key, right, new) => {
                let now = self.run.handles[0].store.now();
                let there = super::world::living(&self.run.world.contents, now).get(key).map_or(0, |item| item.version);
                let new = new.map(|(len, ..)| Item { len: len.min(4_000), ..self.item(new.unwrap_or_default()) });
                Act::Compare(*key, there + u32::from(!right), new)
            }
            Step::Batch(changes) => {
                let change = |&(key, drawn): &(u32, Option<Drawn>)| match drawn {
                    Some(drawn) => Act::Put(key, self.item(drawn)),
                    None => Act::Remove(key),
                };
                each_key_once(changes.iter().map(change).collect())
            }
            Step::Bulk(from, true) => Act::Batch((*from..from + 50).map(Act::Remove).collect()),
            Step::Bulk(from, false) => {
                Act::Batch((*from..from + 50).map(|key| Act::Put(key, self.item((8, None, None)))).collect())
            }
            Step::Evict(tag) => Act::Evict(*tag),
            Step::Clear => Act::Clear,
            Step::Expire => Act::Expire,
            _ => return None,
        })
    }

    fn carry_out(&mut self, step: &Step) {
        if let Some(act) = self.act(step) {
            match self.dies_after.take() {
                Some(steps) => self.run.die_after(&act, steps),
                None => self.run.apply(&act),
            }
            return;
        }
        let run = &mut self.run;
        match step {
            Step::Clock(seconds) => {
                // What is expired has been seen to be by the time the clock steps.
                super::audit::live(&run.handles[0].store);
                let machine = &run.world.machine;
                match u64::try_from(*seconds) {
                    Ok(forward) => machine.advance(Duration::from_secs(forward)),
                    Err(_) => machine.set_clock(run.handles[0].os.now() - seconds.unsigned_abs() * SECOND),
                }
                super::audit::live(&run.handles[0].store);
            }
            Step::Open if run.handles.len() < 3 => run.handles.push(super::world::open(&run.world.machine)),
            Step::Close(which) if run.handles.len() > 1 => {
                run.handles.swap_remove(which % run.handles.len());
            }
            Step::Reopen => {
                run.handles.clear();
                run.handles.push(super::world::open(&run.world.machine));
            }
            Step::Rebuild => run.rebuild(),
            Step::Cut(seed) => run.cut(*seed),
            Step::Die(steps) => self.dies_after = Some(*steps),
            _ => run.check(),
        }
    }
}

/// Half of the cases: the halves run side by side, and draw from seeds of their own.
fn run_half(half: u64) {
    let cases = (number("LARDER_TEST_CASES").unwrap_or(CASES * scale()) as u32).div_ceil(2);
    let drawn_from = 2 * seed() + half;
    // Shown if it fails.
    println!("seed {}, half {half}: {cases} sequences", seed());
    let config = Config { cases, rng_seed: RngSeed::Fixed(drawn_from), failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let sequences = proptest::collection::vec(step(), STEPS);
    let outcome = runner.run(&sequences, |steps| {
        let mut case = Case { run: Run::new(7), dies_after: None };
        steps.iter().for_each(|step| case.carry_out(step));
        case.run.check();
        case.run.rebuild();
        case.run.check();
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[test]
fn sequences_of_operations_agree_with_a_model_one_half() {
    run_half(0);
}

#[test]
fn sequences_of_operations_agree_with_a_model_other_half() {
    run_half(1);
}
