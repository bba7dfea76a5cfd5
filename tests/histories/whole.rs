//! What is true of all keys together at every moment: a bank's money, a ring that is one. It knows events and no cache.
//!
//! The search for a legal order finds the same and more; this says it in one line.

use crate::linear::Event;
use crate::op::{Key, Op, Outcome};
use crate::plan::{Kind, Plan, number};

/// What each account begins with.
pub const BALANCE: u64 = 100;

/// What the keys of a plan hold at first.
pub fn first(plan: &Plan) -> Vec<(Key, u64)> {
    let number = |key: u64| if plan.name.kind == Kind::Ring { (key + 1) % plan.keys } else { BALANCE };
    (0..plan.keys).map(|key| (key as Key, number(key) << 12)).collect()
}

/// Judges every read of all keys.
pub fn judge_whole(kind: Kind, keys: u64, events: &[Event]) -> Result<(), String> {
    for event in events {
        let Some(numbers) = read_of_all(event, keys) else { continue };
        let is_whole = match kind {
            Kind::Bank => numbers.iter().sum::<u64>() == BALANCE * keys,
            Kind::Ring => is_ring(&numbers),
            _ => true,
        };
        if !is_whole {
            return Err(format!("thread {} saw {numbers:?} by {:?}", event.thread, event.op));
        }
    }
    Ok(())
}

/// What was under all keys, if that is what was read and nothing else was done.
fn read_of_all(event: &Event, keys: u64) -> Option<Vec<u64>> {
    let values: Vec<Option<u64>> = match (&event.op, event.outcome.as_ref()?) {
        (Op::GetMany(_), Outcome::Values(values)) => values.clone(),
        (op @ Op::Transaction(_), Outcome::Steps(outcomes)) if op.is_read() => {
            let values = outcomes.iter().map(|outcome| if let Outcome::Value(value) = outcome { *value } else { None });
            values.collect()
        }
        _ => return None,
    };
    // An absent account is worth more than all the money.
    let numbers = values.iter().map(|value| value.map_or(u64::from(u32::MAX), number));
    (values.len() as u64 == keys).then(|| numbers.collect())
}

fn is_ring(nexts: &[u64]) -> bool {
    let mut at = 0;
    for step in 1..=nexts.len() {
        match nexts.get(at) {
            Some(next) => at = *next as usize,
            None => return false,
        }
        if at == 0 {
            return step == nexts.len();
        }
    }
    false
}

#[test]
fn what_is_not_whole_is_refused() {
    let read = |numbers: &[u64]| Event {
        thread: 0,
        start: 1,
        end: 2,
        op: Op::GetMany((0..numbers.len() as Key).collect()),
        outcome: Some(Outcome::Values(numbers.iter().map(|number| Some(number << 12)).collect())),
    };
    assert_eq!(judge_whole(Kind::Bank, 3, &[read(&[90, 110, 100])]), Ok(()));
    assert!(judge_whole(Kind::Bank, 3, &[read(&[90, 100, 100])]).is_err());
    assert_eq!(judge_whole(Kind::Ring, 4, &[read(&[2, 0, 3, 1])]), Ok(()));
    for broken in [[1, 0, 3, 2], [1, 2, 3, 3], [0, 2, 3, 1], [2, 0, 3, 9]] {
        assert!(judge_whole(Kind::Ring, 4, &[read(&broken)]).is_err());
    }
    let gets = Op::Transaction(vec![Op::Get(0), Op::Get(1)]);
    let outcome = Outcome::Steps(vec![Outcome::Value(Some(90 << 12)), Outcome::Value(None)]);
    let torn = Event { thread: 0, start: 1, end: 2, op: gets, outcome: Some(outcome) };
    assert!(judge_whole(Kind::Bank, 2, &[torn]).is_err());
}
