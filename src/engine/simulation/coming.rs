//! What a process has found out of an index ahead counts until somebody commits: the keys that come next at an end, and the leaf that
//! a new key goes to.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::index::{self, Act, Model, Process, check};
use super::{Dice, rounds};
use crate::engine::change::{Change, Op, Put, Tag, Value};
use crate::engine::commit::Commit;
use crate::engine::queue::End;
use crate::error::Result;
use crate::options::Eviction;
use crate::os::OsMap;
use crate::os::sim::Machine;
use crate::storage::namespace::{Kind, prefix};
use crate::storage::state::VISIBLE;

/// Keys of which some fill a leaf.
const KEYS: u64 = 400;
const OPERATIONS: usize = 150;

fn key(number: u64) -> Vec<u8> {
    let mut key = (number as u16).to_be_bytes().to_vec();
    key.resize(2 + number as usize % 60, 7);
    key
}

/// A pop three times of four, so that they follow each other.
fn draw(dice: &mut Dice) -> Act {
    let which = dice.below(8) as usize / 7;
    match dice.below(40) {
        0..5 => Act::Put(which, key(dice.below(KEYS)), dice.below(200) as u8, 9),
        5..8 => Act::Remove(which, key(dice.below(KEYS))),
        8 => Act::Together((0..9).map(|_| Act::Put(which, key(dice.below(KEYS)), 3, 9)).collect(), dice.below(4) != 0),
        9 if dice.below(4) == 0 => Act::Clear(which),
        9 => Act::Around(dice.below(20) as u32, 2_000),
        _ => Act::Pop(which, if dice.below(9) == 0 { End::Back } else { End::Front }),
    }
}

fn apply(process: &Process, act: &Act, model: &mut Model, moment: &str) {
    let popped = act.apply(&process.handle, &process.indexes).unwrap();
    assert_eq!(popped, act.model(model), "{moment}: {act:?}");
}

/// Fills the first index with most of the keys.
fn filled(dice: &mut Dice) -> (Machine, [Process; 2], Model) {
    let machine = Machine::with_file_capacity(3, 16 << 20);
    let processes = [0, 1].map(|_| index::open(&machine, Eviction::None));
    let mut model = Model::default();
    for _ in 0..KEYS {
        apply(&processes[0], &Act::Put(0, key(dice.below(KEYS)), 1, 9), &mut model, "filling");
    }
    (machine, processes, model)
}

#[test]
fn whoever_pops_beside_others_meets_each_key_in_its_turn() {
    for round in rounds(12) {
        let mut dice = Dice(7 + round);
        let (_machine, processes, mut model) = filled(&mut dice);
        let mut turn = 0;
        for at in 0..OPERATIONS {
            // One goes on for a while.
            if dice.below(6) == 0 {
                turn = dice.below(2) as usize;
            }
            apply(&processes[turn], &draw(&mut dice), &mut model, &format!("round {round}, {at}"));
        }
        check(&processes[0], &model);
        while !model[0].is_empty() {
            apply(&processes[turn], &Act::Pop(0, End::Front), &mut model, "emptying");
        }
        check(&processes[1], &model);
    }
}

/// Between the look and the lock anything may be committed.
#[test]
fn a_leaf_that_was_foreseen_counts_unless_somebody_has_committed() {
    let (mut kept, mut gone) = (0, 0);
    for round in rounds(12) {
        let mut dice = Dice(70 + round);
        let (_machine, [process, other], mut model) = filled(&mut dice);
        let store = &*process.handle;
        for at in 0..OPERATIONS {
            let number = dice.below(KEYS);
            let own = key(number);
            let whole = [&prefix(Kind::Index, process.indexes[0].id)[..], &own].concat();
            let put =
                Put { kind: 1, value: Value::Inline(&[5; 9]), expires: None, tag: Tag::Id(process.indexes[0].id) };
            let op = Op { key: &whole, hash: store.hash(&whole), change: Change::Put(put) };
            let (view, before) = (store.enter().unwrap(), store.state.load(VISIBLE));
            let foreseen = store.foresee(&view, &op, || true);
            for _ in 0..dice.below(3) * dice.below(12) {
                // Near it, so that its leaf is written anew.
                let near = key((number + dice.below(24)).saturating_sub(12));
                let act = if dice.below(3) == 0 { Act::Remove(0, near) } else { Act::Put(0, near, 2, 9) };
                apply(&other, &act, &mut model, "beside");
            }
            let locked = store.lock().unwrap();
            let (view, tail) = locked.begin_with(view, 1).unwrap();
            let mut commit = Commit::with(&locked, view, tail);
            let is_right = commit.sequence == before + 1;
            *(if is_right { &mut kept } else { &mut gone }) += u32::from(foreseen.is_some());
            commit.foreseen = foreseen;
            commit.carry_out(std::slice::from_ref(&op)).unwrap();
            drop(commit);
            drop(locked);
            model[0].insert(own, (5, 9));
            if at % 25 == 0 {
                check(&process, &model);
            }
        }
        check(&process, &model);
    }
    assert!(kept > 100 && gone > 100, "{kept} counted, {gone} did not");
}

/// In a batch a leaf is sought a few keys before its turn, and those keys may split it, join it with another or empty it.
#[test]
fn a_leaf_foreseen_in_a_batch_counts_until_the_batch_frees_it() {
    for round in rounds(12) {
        let mut dice = Dice(700 + round);
        let (_machine, [process, _], mut model) = filled(&mut dice);
        for at in 0..OPERATIONS / 2 {
            let first = dice.below(KEYS);
            let acts = (0..10 + dice.below(60)).map(|_| {
                // Near each other: several come to one leaf.
                let (which, near) = (dice.below(9) as usize / 8, key((first + dice.below(40)) % (2 * KEYS)));
                if dice.below(5) < 1 + at as u64 % 4 { Act::Put(which, near, 2, 9) } else { Act::Remove(which, near) }
            });
            let together = Act::Together(acts.collect(), true);
            apply(&process, &together, &mut model, &format!("round {round}, {at}"));
            check(&process, &model);
        }
    }
}

/// A thread has entered before another one of its process has mapped what the nodes stand in, and gets the lock after that one.
#[test]
fn a_view_from_before_the_nodes_were_mapped_will_do() {
    let machine = Machine::with_file_capacity(3, 16 << 20);
    let first = index::open(&machine, Eviction::None);
    let mut model = Model::default();
    (0..20).for_each(|number| apply(&first, &Act::Put(0, key(number), 1, 9), &mut model, "filling"));
    let second = index::open(&machine, Eviction::None);
    let entered = second.handle.view.load_full();
    assert!(entered.order(0).is_none());
    let pop = Act::Pop(0, End::Front);
    (0..2).for_each(|_| apply(&second, &pop, &mut model, "the one thread"));
    second.handle.view.store(entered);
    apply(&second, &pop, &mut model, "the other");
    (0..4).for_each(|_| apply(&second, &pop, &mut model, "the one again"));
    check(&first, &model);
    while !model[0].is_empty() {
        apply(&first, &pop, &mut model, "emptying");
    }
}

#[test]
fn a_panic_over_an_item_does_not_end_looking_ahead() {
    let machine = Machine::with_file_capacity(3, 16 << 20);
    let process = index::open(&machine, Eviction::None);
    let mut model = Model::default();
    (0..20).for_each(|number| apply(&process, &Act::Put(0, key(number), 1, 9), &mut model, "filling"));
    let pop = Act::Pop(0, End::Front);
    (0..3).for_each(|_| apply(&process, &pop, &mut model, "before"));
    let panics =
        || process.handle.pop_in_order(process.indexes[0], End::Front, |_, _| -> Result<()> { panic!("over it") });
    assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
    (0..3).for_each(|_| apply(&process, &pop, &mut model, "after"));
    assert!(process.handle.coming.lock().unwrap().next.len() > 5);
    check(&process, &model);
}
