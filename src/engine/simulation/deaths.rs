//! A process dies at every step of every operation. Whoever goes on, with the store open already or opening it anew,
//! finds the operation done or not done, and every word in order; so does a rebuild from the log.

use super::super::store::Store;
use super::acts::{Act, Contents, expiring, item, put, tagged};
use super::audit::{audit, drift, live};
use super::world::{Handle, World, living, open, open_in, open_to_read, path};
use super::{Dice, scale, spread};
use crate::os::Os;
use crate::os::sim::SimOs;
use crate::storage::redo::CHANGES_INLINE;
use crate::storage::state;

/// Deaths tried of one operation, and pairs of deaths.
const DEATHS: usize = 16;
const PAIRS: usize = 5;
/// Bytes of files that a death may leave behind unaccounted: a window, an index file, a draft.
const LEFT_BEHIND: u64 = 400 << 10;
/// A moment after every expiry that these tests use.
const LATER: u64 = 2_000_000_000_000_000_000;
/// A moment before the machine's clock begins.
const LONG_AGO: u64 = 1_000_000_000;

/// An operation in the middle of which somebody dies.
struct Case {
    prepare: Vec<Act>,
    act: Act,
    /// What the wall clock shows when it begins, if not the time of the machine's first day.
    clock: Option<u64>,
}

/// What must be there before and after it.
struct Outcomes {
    before: Contents,
    after: Contents,
}

impl Case {
    fn new(prepare: Vec<Act>, act: Act) -> Case {
        Case { prepare, act, clock: None }
    }

    fn prepared(&self) -> (World, Handle, Outcomes) {
        let (world, victim) = World::with(7, &self.prepare);
        if let Some(clock) = self.clock {
            world.machine.set_clock(clock);
        }
        let before = world.contents.clone();
        let mut after = before.clone();
        self.act.model(&mut after, victim.store.now());
        (world, victim, Outcomes { before, after })
    }

    /// Steps that the operation takes.
    fn steps(&self) -> u64 {
        let (_world, victim, _) = self.prepared();
        let before = victim.os.steps();
        self.act.apply(&victim.store).unwrap();
        victim.os.steps() - before
    }

    fn kill(&self, victim: Handle, step: u64) {
        victim.os.kill_after(step);
        let outcome = victim.os.run(|| self.act.apply(&victim.store).unwrap());
        assert!(outcome.is_none(), "step {step} was not reached");
    }
}

impl Outcomes {
    /// Who reads and never has the lock sees one of the two as well, as the dead left it.
    fn glance(&self, reader: Handle, moment: &str) {
        let (seen, now) = (live(&reader.store), reader.store.now());
        let is_one = [&self.before, &self.after].into_iter().any(|contents| seen == living(contents, now));
        assert!(is_one, "{moment}: a reader sees neither before nor after");
    }

    /// Which of the two a process sees: what was acknowledged is there, what was not is whole or not at all.
    fn settle(&self, world: &mut World, store: &Store<SimOs>, moment: &str) {
        let (seen, now) = (live(store), store.now());
        let is_after = seen == living(&self.after, now);
        if !is_after {
            assert_eq!(seen, living(&self.before, now), "{moment}: neither before nor after");
        }
        world.contents = if is_after { self.after.clone() } else { self.before.clone() };
        // What has expired may be collected in part.
        if store.len() != world.contents.len() as u64 {
            world.contents = seen;
            let collected = Act::Expire.apply(store).unwrap();
            assert!(collected <= (self.before.len() - world.contents.len()) as u64, "{moment}");
        }
        assert_eq!(store.len(), world.contents.len() as u64, "{moment}: len");
    }
}

/// Everything that must still work.
fn go_on(world: &mut World, one: &Handle, other: &Handle) {
    let acts = [
        put(900, 1, 30),
        put(0, 901, 50),
        tagged(1, 902, 40, 1),
        tagged(902, 903, 40, 9),
        Act::Batch(vec![put(903, 904, 10), Act::Remove(900), tagged(2, 905, 20, 2)]),
        Act::Evict(1),
        Act::Evict(9),
        put(904, 906, 20_000),
        put(904, 907, 21_000),
        Act::Expire,
        Act::Remove(0),
    ];
    for (i, act) in acts.iter().enumerate() {
        world.apply(if i % 2 == 0 { one } else { other }, act);
    }
    world.check(one);
    world.check(other);
}

/// After a death: somebody who had the store open, and somebody who opens it now.
fn survive(world: &mut World, outcomes: &Outcomes, survivor: Handle, moment: &str) {
    audit(&survivor.store);
    outcomes.settle(world, &survivor.store, moment);
    let newcomer = open(&world.machine);
    assert_eq!(live(&newcomer.store), live(&survivor.store), "{moment}: two processes differ");
    audit(&newcomer.store);
    let (left, _) = drift(&survivor.store);
    assert!(left <= LEFT_BEHIND, "{moment}: {left} bytes of files are not in the volume");
    go_on(world, &survivor, &newcomer);
    drop((survivor, newcomer));
    let rebuilt = world.rebuild();
    assert_eq!(live(&rebuilt.store), living(&world.contents, rebuilt.store.now()), "{moment}: rebuilt");
    audit(&rebuilt.store);
    let (left, _) = drift(&rebuilt.store);
    assert_eq!(left, 0, "{moment}: bytes of files that nobody knows of after a rebuild");
    rebuilt.store.expire().unwrap();
    world.contents = living(&world.contents, rebuilt.store.now());
    world.check(&rebuilt);
}

/// The dead left all there is: whoever opens next rebuilds it from the log.
fn rebuild_at_once(world: &mut World, outcomes: &Outcomes, moment: &str) {
    world.machine.remount();
    let rebuilt = open(&world.machine);
    audit(&rebuilt.store);
    rebuilt.store.expire().unwrap();
    let without_expired = |contents: &Contents| living(contents, rebuilt.store.now());
    let outcomes = Outcomes { before: without_expired(&outcomes.before), after: without_expired(&outcomes.after) };
    outcomes.settle(world, &rebuilt.store, moment);
    let other = open(&world.machine);
    go_on(world, &rebuilt, &other);
}

fn die_at_every_step(case: &Case) {
    let steps = case.steps();
    assert!(steps > 0);
    for step in spread(steps, DEATHS * scale()) {
        let moment = format!("death at step {step} of {steps}");
        let (mut world, victim, outcomes) = case.prepared();
        let survivor = open(&world.machine);
        let reader = open_to_read(&world.machine);
        case.kill(victim, step);
        outcomes.glance(reader, &moment);
        survive(&mut world, &outcomes, survivor, &moment);
        let (mut world, victim, outcomes) = case.prepared();
        case.kill(victim, step);
        rebuild_at_once(&mut world, &outcomes, &format!("rebuild after {moment}"));
    }
    die_while_recovering(case, steps);
}

/// A second process dies while it finishes what the first one left, by writing or by opening.
fn die_while_recovering(case: &Case, steps: u64) {
    let mut dice = Dice(steps);
    for pair in 0..PAIRS * scale() {
        let step = dice.below(steps);
        let (mut world, victim, outcomes) = case.prepared();
        let by_opening = pair % 2 == 1;
        let (first, second) = match by_opening {
            true => (None, None),
            false => (Some(open(&world.machine)), Some(open(&world.machine))),
        };
        case.kill(victim, step);
        let heir = first.as_ref().map_or_else(|| world.machine.process(), |first| first.os.clone());
        let again = dice.below(if by_opening { 60 } else { 40 });
        let moment = format!("death at step {step} of {steps} and then at {again}, opening: {by_opening}");
        heir.kill_after(again);
        let done = heir.run(|| match &first {
            None => drop(open_in(&heir).unwrap()),
            Some(first) => drop(first.store.lock().unwrap()),
        });
        heir.kill();
        let survivor = second.unwrap_or_else(|| open(&world.machine));
        let moment = format!("{moment}, which it survived: {}", done.is_some());
        survive(&mut world, &outcomes, survivor, &moment);
    }
}

/// Some items of all kinds: large ones, tagged ones, and more than one segment.
fn furniture() -> Vec<Act> {
    let mut acts = vec![tagged(0, 1, 30, 1), tagged(1, 1, 30, 1), tagged(2, 1, 40, 2), put(3, 1, 12_000)];
    acts.extend((4..12).map(|key| put(key, 1, 100)));
    acts.push(expiring(12, 1, 20, LATER));
    acts
}

fn after(more: Vec<Act>) -> Vec<Act> {
    let mut acts = furniture();
    acts.extend(more);
    acts
}

#[test]
fn death_at_every_step_of_a_put_of_a_new_key() {
    die_at_every_step(&Case::new(furniture(), put(50, 1, 100)));
}

#[test]
fn death_at_every_step_of_the_first_put() {
    die_at_every_step(&Case::new(vec![], put(50, 1, 100)));
}

#[test]
fn death_at_every_step_of_an_overwrite() {
    die_at_every_step(&Case::new(furniture(), put(1, 2, 90)));
}

#[test]
fn death_at_every_step_of_a_put_with_a_new_tag() {
    die_at_every_step(&Case::new(furniture(), tagged(50, 1, 100, 7)));
    die_at_every_step(&Case::new(vec![put(1, 1, 10)], tagged(50, 1, 100, 7)));
}

#[test]
fn death_at_every_step_of_a_put_with_a_known_tag() {
    die_at_every_step(&Case::new(furniture(), tagged(1, 2, 100, 2)));
}

#[test]
fn death_at_every_step_of_a_removal() {
    die_at_every_step(&Case::new(furniture(), Act::Remove(1)));
    die_at_every_step(&Case::new(furniture(), Act::Remove(3)));
}

#[test]
fn death_at_every_step_of_a_batch_of_puts() {
    let puts = vec![put(0, 2, 20), put(60, 1, 40), tagged(61, 1, 40, 3), tagged(62, 1, 10, 1), put(63, 1, 200)];
    die_at_every_step(&Case::new(furniture(), Act::Batch(puts)));
}

#[test]
fn death_at_every_step_of_a_batch_of_removals() {
    let removals = [0, 2, 3, 5, 70].map(Act::Remove).to_vec();
    die_at_every_step(&Case::new(furniture(), Act::Batch(removals)));
}

#[test]
fn death_at_every_step_of_a_mixed_batch() {
    let mixed = vec![Act::Remove(0), put(3, 2, 15_000), tagged(60, 1, 10, 3), Act::Remove(4), put(5, 2, 8)];
    die_at_every_step(&Case::new(furniture(), Act::Batch(mixed)));
}

#[test]
fn death_at_every_step_of_an_eviction() {
    die_at_every_step(&Case::new(furniture(), Act::Evict(1)));
    let again = after(vec![Act::Evict(1), tagged(1, 3, 20, 1), tagged(40, 1, 10_000, 1)]);
    die_at_every_step(&Case::new(again, Act::Evict(1)));
}

/// The first chunk of the tests has four rows: the fifth tag is put in the commit that removes the last item of another.
#[test]
fn death_at_every_step_of_a_put_of_a_new_tag_beside_the_removal_of_another_ones_last_item() {
    let tags = (0..4u8).map(|tag| tagged(tag.into(), 1, 30, tag)).collect();
    die_at_every_step(&Case::new(tags, Act::Batch(vec![Act::Remove(1), tagged(50, 1, 30, 9)])));
}

/// The same where the row is free to be taken over.
#[test]
fn death_at_every_step_of_a_put_whose_tag_takes_over_a_row() {
    let mut tags: Vec<Act> = (0..4u8).map(|tag| tagged(tag.into(), 1, 30, tag)).collect();
    tags.push(Act::Remove(1));
    die_at_every_step(&Case::new(tags.clone(), tagged(50, 1, 30, 9)));
    die_at_every_step(&Case::new(
        tags,
        Act::Batch(vec![tagged(50, 1, 30, 9), tagged(51, 1, 9_000, 9), Act::Remove(2)]),
    ));
}

#[test]
fn death_at_every_step_of_a_clear() {
    die_at_every_step(&Case::new(furniture(), Act::Clear));
    let again = after(vec![Act::Clear, tagged(1, 3, 20, 1), put(3, 2, 9_000), put(13, 1, 20_000)]);
    die_at_every_step(&Case::new(again, Act::Clear));
}

#[test]
fn death_at_every_step_of_collecting_what_has_expired() {
    let mut prepare = furniture();
    prepare.extend((20..30).map(|key| expiring(key, 1, 30, LATER - 1)));
    prepare.push(Act::Put(31, super::acts::Item { tag: Some(1), expires: Some(LATER - 2), ..item(1, 9_000) }));
    let case = Case { prepare, act: Act::Expire, clock: Some(LATER - 1) };
    die_at_every_step(&case);
}

#[test]
fn death_at_every_step_of_a_put_over_what_has_expired() {
    let prepare = after(vec![expiring(20, 1, 30, LONG_AGO), Act::Batch(vec![expiring(21, 1, 30, LONG_AGO)])]);
    die_at_every_step(&Case::new(prepare, tagged(20, 2, 20, 1)));
}

#[test]
fn death_at_every_step_of_a_large_put() {
    die_at_every_step(&Case::new(furniture(), put(50, 1, 40_000)));
}

#[test]
fn death_at_every_step_of_an_overwrite_of_a_large_value() {
    die_at_every_step(&Case::new(furniture(), put(3, 2, 20_000)));
    die_at_every_step(&Case::new(furniture(), put(3, 2, 20)));
}

/// There is no room but that of large values of a tag that was evicted.
#[test]
fn death_at_every_step_of_a_put_that_looks_for_what_a_mark_has_ended() {
    let mut prepare = furniture();
    prepare.extend((0..42).map(|i| tagged(100 + i, 1, 90_000, 3)));
    prepare.push(Act::Evict(3));
    die_at_every_step(&Case::new(prepare, put(200, 1, 90_000)));
}

#[test]
fn death_at_every_step_of_beginning_a_segment() {
    let mut prepare = furniture();
    prepare.extend((0..10).map(|i| put(100 + i, 1, 6_000)));
    die_at_every_step(&Case::new(prepare, put(5, 2, 6_000)));
}

#[test]
fn death_at_every_step_of_retiring_a_segment() {
    let mut prepare: Vec<Act> = (0..10).map(|i| put(i, 1, 6_000)).collect();
    prepare.extend((0..10).map(|i| put(i, 2, 6_000)));
    die_at_every_step(&Case::new(prepare, put(5, 3, 6_000)));
}

#[test]
fn death_at_every_step_of_a_change_of_settings() {
    die_at_every_step(&Case::new(furniture(), Act::SizeLimit(8 << 20)));
}

/// Items that fill the smallest table, so that the next put begins to grow it.
fn full_table(more: u32) -> Vec<Act> {
    let batch = |from: u32, to: u32| Act::Batch((from..to).map(|key| put(1_000 + key, 1, 8)).collect());
    let mut acts = furniture();
    acts.extend((0..3).map(|i| batch(i * 100, (i + 1) * 100)));
    acts.push(batch(300, 310));
    acts.extend((0..more).map(|i| put(5_000 + i, 1, 8)));
    acts
}

#[test]
fn death_at_every_step_of_beginning_to_grow() {
    die_at_every_step(&Case::new(full_table(0), put(50, 1, 10)));
}

#[test]
fn death_at_every_step_of_moving_buckets() {
    die_at_every_step(&Case::new(full_table(2), put(50, 1, 10)));
}

#[test]
fn death_at_every_step_of_the_last_move_of_growth() {
    die_at_every_step(&Case::new(full_table(4), put(50, 1, 10)));
}

/// A commit that changes more words than the state file has a place for.
fn spilling() -> Case {
    let keys: Vec<u32> = (1_000..1_100 + CHANGES_INLINE as u32).collect();
    let puts = keys.chunks(1_400).map(|keys| Act::Batch(keys.iter().map(|key| put(*key, 1, 8)).collect()));
    let prepare = std::iter::once(Act::SizeLimit(16 << 20)).chain(puts).collect();
    Case::new(prepare, Act::Batch(keys.iter().map(|key| Act::Remove(*key)).collect()))
}

fn spilled_list(world: &World) -> Option<std::path::PathBuf> {
    world.machine.paths().into_iter().find(|path| path.to_string_lossy().contains("/spill-"))
}

#[test]
fn death_at_every_step_of_a_commit_whose_list_spills() {
    let case = spilling();
    let steps = case.steps();
    let mut spilled = 0;
    for step in spread(steps, 5 * scale()) {
        let (mut world, victim, outcomes) = case.prepared();
        let survivor = open(&world.machine);
        case.kill(victim, step);
        spilled += usize::from(spilled_list(&world).is_some());
        survive(&mut world, &outcomes, survivor, &format!("death at step {step} of {steps}"));
    }
    assert!(spilled > 1, "no list spilled");
}

/// Who goes on with the state file that the dead left cannot finish their commit. Once nobody does, the log says what it was.
#[test]
fn a_list_that_is_damaged_or_gone_stops_writers_until_the_store_is_opened_anew() {
    let long = spilling();
    let short = Case::new(after(vec![]), Act::Batch((0..30).map(|key| put(400 + key, 1, 20)).collect()));
    for (case, damages) in [(&long, 0..4), (&short, 4..6)] {
        let steps = case.steps();
        for (damage, sees_it) in damages.flat_map(|damage| [(damage, true), (damage, false)]) {
            let (mut world, victim, outcomes) = case.prepared();
            let other = open(&world.machine);
            case.kill(victim, steps - 30);
            damage_list(&world, damage);
            let moment = format!("damage {damage}, seen by another process: {sees_it}");
            if sees_it {
                let refused = put(1, 1, 10).apply(&other.store);
                assert!(refused.is_err_and(|error| !error.is_full()), "{moment}");
            }
            drop(other);
            let first = open(&world.machine);
            outcomes.settle(&mut world, &first.store, &moment);
            audit(&first.store);
            let second = open(&world.machine);
            go_on(&mut world, &first, &second);
        }
    }
}

/// Damages the list of the commit that is pending.
fn damage_list(world: &World, damage: usize) {
    let (state, list) = (path("state"), spilled_list(world).unwrap_or_default());
    let is_done = match damage {
        0 => world.machine.corrupt(&list, 100, &[1]),
        1 => world.machine.truncate(&list, 1_000),
        2 => world.machine.process().remove(&list).is_ok(),
        // Its length.
        3 => world.machine.corrupt(&state, state::REDO as u64 + 4, &[0xFF]),
        4 => world.machine.corrupt(&state, state::REDO as u64 + 4, &[0xFF]),
        // The place of the first word.
        _ => world.machine.corrupt(&state, state::REDO as u64 + 16, &[0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
    };
    assert!(is_done, "damage {damage}");
}

/// The store is full of what was evicted: room is made by emptying cells, writing a name again and retiring segments.
#[test]
fn death_at_every_step_of_making_room() {
    let (_world, filler) = World::with(7, &furniture());
    let fits = (0..).take_while(|&i| tagged(2_000 + i, 1, 7_900, 1).apply(&filler.store).is_ok()).count() as u32;
    let mut prepare = vec![tagged(0, 1, 30, 1), tagged(1, 1, 30, 3)];
    prepare.extend((0..fits).map(|i| tagged(2_000 + i, 1, 7_900, 1)));
    prepare.extend([Act::Evict(1), Act::Remove(1)]);
    let case = Case::new(prepare, put(50, 1, 7_000));
    let steps = case.steps();
    for step in spread(steps, 5 * scale()) {
        let moment = format!("death at step {step} of {steps}");
        let (mut world, victim, outcomes) = case.prepared();
        let survivor = open(&world.machine);
        let reader = open_to_read(&world.machine);
        case.kill(victim, step);
        outcomes.glance(reader, &moment);
        survive(&mut world, &outcomes, survivor, &moment);
        let (mut world, victim, outcomes) = case.prepared();
        case.kill(victim, step);
        rebuild_at_once(&mut world, &outcomes, &format!("rebuild after {moment}"));
    }
}

#[test]
fn death_at_every_step_of_opening() {
    for prepare in [None, Some(vec![]), Some(furniture())] {
        for is_rebuild in [false, true] {
            let prepared = || match &prepare {
                None => World::new(3),
                Some(acts) => {
                    let (world, handle) = World::with(3, acts);
                    drop(handle);
                    if is_rebuild {
                        world.machine.remount();
                    }
                    world
                }
            };
            let os = prepared().machine.process();
            let store = open_in(&os).unwrap();
            let steps = os.steps();
            drop(store);
            for step in spread(steps, 2 * DEATHS * scale()) {
                let mut world = prepared();
                let victim = world.machine.process();
                victim.kill_after(step);
                assert!(victim.run(|| drop(open_in(&victim).unwrap())).is_none());
                let survivor = open(&world.machine);
                world.check(&survivor);
                let (left, _) = drift(&survivor.store);
                assert!(left == 0, "death at step {step} of {steps} of opening: {left} bytes nobody knows of");
                let outcomes = Outcomes { before: world.contents.clone(), after: world.contents.clone() };
                survive(&mut world, &outcomes, survivor, &format!("death at step {step} of {steps} of opening"));
            }
        }
    }
}

#[test]
fn death_at_every_step_of_closing() {
    let (_world, handle) = World::with(3, &furniture());
    let before = handle.os.steps();
    let Handle { store, os } = handle;
    drop(store);
    let steps = os.steps() - before;
    for step in 0..steps {
        for alone in [false, true] {
            let (mut world, Handle { store, os }) = World::with(3, &furniture());
            let survivor = (!alone).then(|| open(&world.machine));
            os.kill_after(step);
            assert!(os.run(|| drop(store)).is_none());
            let survivor = survivor.unwrap_or_else(|| open(&world.machine));
            world.check(&survivor);
            let outcomes = Outcomes { before: world.contents.clone(), after: world.contents.clone() };
            survive(&mut world, &outcomes, survivor, &format!("death at step {step} of closing"));
        }
    }
}

#[test]
fn a_process_that_sleeps_at_its_death_leaves_no_lock_behind() {
    let (mut world, victim) = World::with(5, &furniture());
    let survivor = open(&world.machine);
    victim.os.run(|| {
        let _locked = victim.store.lock().unwrap();
        victim.os.kill();
    });
    assert!(victim.os.is_dead() && !survivor.os.is_forked());
    world.apply(&survivor, &put(1, 2, 10));
    world.check(&survivor);
}
