//! The checker is checked: it refuses illegal histories made by hand, agrees with a search that tries every order, and
//! accepts and refuses invented histories as it must. It knows the checker and no cache.

use crate::explain::judge;
use crate::linear::{Event, NEVER, Verdict, search};
use crate::op::{Cell, Op, Outcome, State};
use crate::values::Dice;

const THREADS: usize = 4;

fn event(thread: usize, start: u64, end: u64, op: Op, outcome: Outcome) -> Event {
    Event { thread, start, end, op, outcome: Some(outcome) }
}

fn found(value: u64) -> Outcome {
    Outcome::Value(Some(value))
}

const NOTHING: Outcome = Outcome::Value(None);

#[track_caller]
fn assert_illegal(events: &[Event], story: &[&str]) {
    let why = judge(&State::default(), events).expect_err("an illegal history was accepted");
    for part in story {
        assert!(why.contains(part), "{part:?} is missing in\n{why}");
    }
}

#[track_caller]
fn assert_legal(events: &[Event]) {
    if let Err(why) = judge(&State::default(), events) {
        panic!("a legal history was refused: {why}");
    }
}

fn set(thread: usize, start: u64, end: u64, key: u8, value: u64) -> Event {
    event(thread, start, end, Op::Set(key, value, 0), Outcome::Done)
}

fn get(thread: usize, start: u64, end: u64, key: u8, value: u64) -> Event {
    event(thread, start, end, Op::Get(key), found(value))
}

#[test]
fn a_stale_read_is_refused() {
    let stale = [set(0, 1, 2, 0, 7), set(0, 3, 4, 0, 8), get(1, 5, 6, 0, 7)];
    assert_illegal(&stale, &["key 0", "none of these can follow", "Get(0)"]);
    let overlapping = [set(0, 1, 2, 0, 7), set(0, 3, 6, 0, 8), get(1, 5, 7, 0, 7)];
    assert_legal(&overlapping);
}

#[test]
fn time_that_runs_backwards_is_refused() {
    // Two readers, one after the other, see a change that is under way and then do not.
    let back = [set(0, 1, 2, 0, 7), set(0, 3, 10, 0, 8), get(1, 4, 5, 0, 8), get(2, 6, 7, 0, 7)];
    assert_illegal(&back, &["key 0"]);
    let forth = [set(0, 1, 2, 0, 7), set(0, 3, 10, 0, 8), get(1, 4, 5, 0, 7), get(2, 6, 7, 0, 8)];
    assert_legal(&forth);
}

#[test]
fn a_lost_update_is_refused() {
    let incr = |thread, start, end, sum| event(thread, start, end, Op::Incr(0, 1), found(sum));
    assert_illegal(&[incr(0, 1, 5, 1), incr(1, 2, 6, 1)], &["key 0"]);
    assert_legal(&[incr(0, 1, 5, 2), incr(1, 2, 6, 1)]);
    let exchange = |thread, new| event(thread, 3, 9, Op::Exchange(0, Some(7), Some(new)), Outcome::Bool(true));
    assert_illegal(&[set(0, 1, 2, 0, 7), exchange(0, 8), exchange(1, 9)], &["key 0"]);
    let popped = |thread| event(thread, 3, 9, Op::Pop(0), found(7));
    assert_illegal(&[set(0, 1, 2, 0, 7), popped(1), popped(2)], &["key 0"]);
    let added = |thread, value| event(thread, 1, 5, Op::Add(0, value, 0), Outcome::Bool(true));
    assert_illegal(&[added(0, 7), added(1, 8)], &["key 0"]);
}

#[test]
fn a_value_out_of_nothing_is_refused() {
    assert_illegal(&[set(0, 1, 2, 0, 7), get(1, 1, 9, 0, 8)], &["key 0"]);
    let refused = event(0, 1, 2, Op::Set(0, 7, 0), Outcome::Refused);
    assert_illegal(&[refused.clone(), get(1, 1, 9, 0, 7)], &["key 0"]);
    assert_legal(&[refused, event(1, 1, 9, Op::Get(0), NOTHING)]);
    // It is seen before it is written.
    assert_illegal(&[get(1, 1, 2, 0, 7), set(0, 3, 4, 0, 7)], &["key 0"]);
}

#[test]
fn a_write_that_vanishes_is_refused() {
    assert_illegal(&[set(0, 1, 2, 0, 7), event(1, 3, 4, Op::Get(0), NOTHING)], &["key 0"]);
    let deleted = event(0, 3, 4, Op::Delete(0), Outcome::Bool(true));
    assert_illegal(&[set(0, 1, 2, 0, 7), deleted, get(1, 5, 6, 0, 7)], &["key 0"]);
}

#[test]
fn a_torn_batch_is_refused() {
    let batch = |value| Op::SetMany(vec![(0, value), (1, value)], 0);
    let read = |values| event(1, 2, 20, Op::GetMany(vec![0, 1]), Outcome::Values(values));
    let first = event(0, 1, 2, batch(7), Outcome::Done);
    let second = event(0, 3, 10, batch(8), Outcome::Done);
    let both = [first.clone(), second.clone()];
    let torn = [&both[..], &[read(vec![Some(8), Some(7)])]].concat();
    assert_illegal(&torn, &["each key alone is linearizable", "GetMany"]);
    assert_legal(&[&both[..], &[read(vec![Some(8), Some(8)])]].concat());
    // Two single reads, one after the other, must not see the halves either.
    let halves = [&both[..], &[get(1, 4, 5, 0, 8), get(1, 6, 7, 1, 7)]].concat();
    assert_illegal(&halves, &["each key alone is linearizable"]);
    // Half of a batch that was under way when its process died.
    let died = Event { end: NEVER, outcome: None, ..second };
    let half = [first, died, get(1, 20, 21, 0, 8), get(1, 22, 23, 1, 7)];
    assert_illegal(&half, &["each key alone is linearizable", "died"]);
}

#[test]
fn two_reads_that_see_two_writes_in_two_orders_are_refused() {
    let read = |thread, values| event(thread, 1, 20, Op::GetMany(vec![0, 1]), Outcome::Values(values));
    let writes = [set(0, 1, 20, 0, 7), set(1, 1, 20, 1, 8)];
    let skew = [&writes[..], &[read(2, vec![Some(7), None]), read(3, vec![None, Some(8)])]].concat();
    assert_illegal(&skew, &["each key alone is linearizable"]);
    let order = [&writes[..], &[read(2, vec![Some(7), None]), read(3, vec![Some(7), Some(8)])]].concat();
    assert_legal(&order);
}

#[test]
fn an_eviction_in_halves_is_refused() {
    let tagged = event(0, 1, 2, Op::SetMany(vec![(0, 7), (1, 7)], 3), Outcome::Done);
    let evict = |count| event(0, 3, 10, Op::Evict(3), Outcome::Count(count));
    let half = event(1, 4, 5, Op::GetMany(vec![0, 1]), Outcome::Values(vec![None, Some(7)]));
    assert_illegal(&[tagged.clone(), evict(2), half], &["each key alone is linearizable"]);
    assert_illegal(&[tagged.clone(), evict(1)], &["each key alone is linearizable"]);
    assert_legal(&[tagged.clone(), evict(2)]);
    // What has expired may count.
    let expired = event(1, 2, 3, Op::Touch(0, false), Outcome::Bool(true));
    assert_legal(&[tagged.clone(), expired.clone(), evict(1)]);
    assert_legal(&[tagged, expired, evict(2)]);
}

#[test]
fn what_was_under_way_at_a_death_happened_or_not() {
    let died = Event { end: NEVER, outcome: None, ..set(0, 3, 4, 0, 8) };
    let before = set(0, 1, 2, 0, 7);
    assert_legal(&[before.clone(), died.clone(), get(1, 9, 10, 0, 7)]);
    assert_legal(&[before.clone(), died.clone(), get(1, 9, 10, 0, 7), get(1, 11, 12, 0, 8)]);
    assert_illegal(&[before.clone(), died.clone(), get(1, 9, 10, 0, 8), get(1, 11, 12, 0, 7)], &["key 0", "died"]);
    assert_illegal(&[before, died, get(1, 1, 2, 0, 8)], &["key 0"]);
}

#[test]
fn a_transaction_between_two_others_is_refused() {
    let transfer = |thread, from: u64, to: u64| {
        let steps = vec![Op::Get(0), Op::Set(0, to, 0)];
        event(thread, 3, 9, Op::Transaction(steps), Outcome::Steps(vec![found(from), Outcome::Done]))
    };
    assert_legal(&[set(0, 1, 2, 0, 7), transfer(0, 7, 8), transfer(1, 8, 9)]);
    assert_illegal(&[set(0, 1, 2, 0, 7), transfer(0, 7, 8), transfer(1, 7, 9)], &["key 0"]);
}

/// What is printed is short: the rest of a long history is no part of the story.
#[test]
fn the_story_of_a_violation_is_short() {
    let mut events = Vec::new();
    for n in 0..500 {
        events.push(set(0, 10 * n, 10 * n + 1, 1, n));
        events.push(get(1, 10 * n + 2, 10 * n + 3, 1, n));
    }
    events.extend([set(2, 3000, 3001, 0, 7), get(3, 3002, 3003, 0, 9)]);
    assert_illegal(&events, &["key 0"]);
    let why = judge(&State::default(), &events).unwrap_err();
    assert!(why.lines().count() < 10, "{why}");
}

/// Every order that time allows.
fn tries_all(state: &State, events: &[Event], left: &mut Vec<usize>) -> bool {
    if left.iter().all(|&index| events[index].end == NEVER) {
        return true;
    }
    (0..left.len()).any(|place| {
        let index = left[place];
        let event = &events[index];
        let mut after = *state;
        let is_first = left.iter().all(|&other| events[other].end >= event.start);
        if !is_first || !event.op.apply(event.outcome.as_ref(), &mut after) {
            return false;
        }
        left.remove(place);
        let fits = tries_all(&after, events, left);
        left.insert(place, index);
        fits
    })
}

fn thrown_op(dice: &mut Dice, keys: u64, value: u64) -> Op {
    let key = dice.below(keys) as u8;
    let tag = dice.below(3) as u8;
    let all: Vec<u8> = (0..keys as u8).collect();
    match dice.below(16) {
        0 | 1 => Op::Get(key),
        2 => Op::Look(key),
        3 | 4 => Op::GetMany(all),
        5 | 6 => Op::Set(key, value, tag),
        7 => Op::SetMany(all.into_iter().map(|key| (key, value)).collect(), tag),
        8 => Op::Add(key, value, tag),
        9 => Op::Delete(key),
        10 => Op::DeleteMany(all),
        11 => Op::Pop(key),
        12 => Op::Incr(key, 1),
        13 => Op::Exchange(key, [None, Some(value - 1)][dice.below(2) as usize], Some(value)),
        14 => Op::Touch(key, dice.below(2) == 0),
        _ => Op::Evict(tag.max(1)),
    }
}

/// A history of a machine that keeps its promises: each operation takes effect at one moment between its beginning and
/// its return. Some die before they return, and of those some before they take effect.
fn invented(dice: &mut Dice, threads: usize, operations: usize, keys: u64) -> Vec<Event> {
    let mut planned = Vec::new();
    for thread in 0..threads {
        let mut at = dice.below(50);
        for n in 0..operations {
            let (start, moment) = (at, at + 1 + dice.below(60));
            let end = moment + 1 + dice.below(60);
            at = end + 1 + dice.below(20);
            let dies = n + 1 == operations && dice.below(3) == 0;
            planned.push((moment, dies, Event { thread, start, end, op: Op::Clear, outcome: None }));
        }
    }
    planned.sort_by_key(|(moment, ..)| *moment);
    let mut state = State::default();
    let mut value = 10;
    let done = planned.into_iter().map(|(_, dies, event)| {
        value += 1;
        let op = thrown_op(dice, keys, value);
        if !dies || dice.below(2) == 0 {
            let outcome = outcome_of(&op, &mut state);
            return Event {
                op,
                outcome: (!dies).then_some(outcome),
                end: if dies { NEVER } else { event.end },
                ..event
            };
        }
        Event { op, end: NEVER, ..event }
    });
    done.collect()
}

/// Does the operation, and says what came out.
fn outcome_of(op: &Op, state: &mut State) -> Outcome {
    let before = *state;
    let value = |key: u8| match before.0[usize::from(key)] {
        Cell::Live(value, tag) => Some((value, tag)),
        _ => None,
    };
    assert!(op.apply(None, state));
    let known = |key: u8| value(key).map(|(value, _)| value);
    match op {
        Op::Get(key) | Op::Pop(key) => Outcome::Value(known(*key)),
        Op::Look(key) => Outcome::Tagged(value(*key)),
        Op::GetMany(keys) => Outcome::Values(keys.iter().map(|key| known(*key)).collect()),
        Op::Add(key, ..) => Outcome::Bool(value(*key).is_none()),
        Op::Delete(key) | Op::Touch(key, _) => Outcome::Bool(value(*key).is_some()),
        Op::DeleteMany(keys) => Outcome::Count(keys.iter().filter(|key| value(**key).is_some()).count() as u64),
        Op::Incr(key, delta) => Outcome::Value(Some(known(*key).unwrap_or(0) + delta)),
        Op::Exchange(key, expected, _) => Outcome::Bool(known(*key) == *expected),
        Op::Evict(tag) => {
            let is_gone = |cell: &&Cell| matches!(cell, Cell::Live(_, other) if other == tag);
            Outcome::Count(before.0.iter().filter(is_gone).count() as u64)
        }
        _ => Outcome::Done,
    }
}

#[test]
fn invented_histories_are_accepted() {
    let mut dice = Dice::new(3);
    for _ in 0..200 {
        let keys = 1 + dice.below(5);
        assert_legal(&invented(&mut dice, THREADS, 60, keys));
    }
}

/// Histories so small that every order can be tried, half of them with one outcome exchanged for another.
#[test]
fn the_search_agrees_with_one_that_tries_every_order() {
    let mut dice = Dice::new(4);
    let (mut legal, mut illegal) = (0, 0);
    for _ in 0..3000 {
        let keys = 1 + dice.below(3);
        let mut events = invented(&mut dice, 3, 3, keys);
        for _ in 0..dice.below(3) {
            let (one, other) = (dice.below(9) as usize, dice.below(9) as usize);
            let is_alike = std::mem::discriminant(&events[one].op) == std::mem::discriminant(&events[other].op);
            if is_alike && events[one].outcome.is_some() && events[other].outcome.is_some() {
                let outcome = events[one].outcome.clone();
                events[one].outcome = std::mem::replace(&mut events[other].outcome, outcome);
            }
            let outcome = &mut events[one].outcome;
            match outcome {
                Some(Outcome::Bool(flag)) => *flag = !*flag,
                Some(Outcome::Value(value)) => *value = Some(11 + dice.below(9)),
                _ => (),
            }
        }
        let expected = tries_all(&State::default(), &events, &mut (0..events.len()).collect());
        let verdict = search(&State::default(), &events);
        assert_eq!(matches!(verdict, Verdict::Legal), expected, "{events:?}");
        assert_eq!(matches!(verdict, Verdict::Illegal(_)), !expected, "{events:?}");
        if expected { legal += 1 } else { illegal += 1 }
    }
    assert!(legal > 500 && illegal > 500, "{legal} legal, {illegal} illegal");
}
