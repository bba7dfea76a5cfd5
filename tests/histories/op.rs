//! What one operation of a history does, told over a handful of keys: the sequential specification that every history is
//! held against. It knows no processes, no clock and no cache.
//!
//! A value is a number that says who wrote it; a list is known by a fold over its elements. Expired items stay as
//! [`Cell::Dead`], because `evict` may or may not count them.

use serde::{Deserialize, Serialize};

pub const KEYS_MAX: usize = 8;

/// The number of a key, below [`KEYS_MAX`].
pub type Key = u8;
/// The number of a tag; 0 for none.
pub type Tag = u8;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    Get(Key),
    /// Value and tag.
    Look(Key),
    GetMany(Vec<Key>),
    Set(Key, u64, Tag),
    SetMany(Vec<(Key, u64)>, Tag),
    Add(Key, u64, Tag),
    Delete(Key),
    DeleteMany(Vec<Key>),
    Pop(Key),
    Incr(Key, u64),
    /// Compare with the first, store the second.
    Exchange(Key, Option<u64>, Option<u64>),
    /// Keeps the item for good, or has it expire at once.
    Touch(Key, bool),
    Evict(Tag),
    Clear,
    /// Reads a list; absent is empty.
    List(Key),
    Append(Key, u64),
    /// All of them at one moment, one after the other.
    Transaction(Vec<Op>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Done,
    Bool(bool),
    Value(Option<u64>),
    Tagged(Option<(u64, Tag)>),
    Values(Vec<Option<u64>>),
    Count(u64),
    List(Vec<u64>),
    Steps(Vec<Outcome>),
    /// An error that promises that nothing was changed.
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Cell {
    #[default]
    Absent,
    Live(u64, Tag),
    /// Expired: a miss to all readers.
    Dead(Tag),
}

impl Cell {
    fn value(self) -> Option<u64> {
        if let Cell::Live(value, _) = self { Some(value) } else { None }
    }

    fn tag(self) -> Tag {
        match self {
            Cell::Absent => 0,
            Cell::Live(_, tag) | Cell::Dead(tag) => tag,
        }
    }

    /// A key that is there keeps its tag.
    fn replaced_by(self, value: u64) -> Cell {
        Cell::Live(value, if self.value().is_some() { self.tag() } else { 0 })
    }
}

/// What the keys hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct State(pub [Cell; KEYS_MAX]);

impl State {
    fn at(&mut self, key: Key) -> &mut Cell {
        &mut self.0[usize::from(key)]
    }

    /// What had expired and was stored and removed by one transaction may count still: all in all, the transaction removed
    /// nothing that was there.
    fn keep_dead(&mut self, before: &State) {
        for (cell, before) in self.0.iter_mut().zip(before.0) {
            if *cell == Cell::Absent && matches!(before, Cell::Dead(_)) {
                *cell = before;
            }
        }
    }

    fn count(&self, is_counted: impl Fn(Cell) -> bool) -> u64 {
        self.0.iter().filter(|cell| is_counted(**cell)).count() as u64
    }

    /// Removes what `is_meant`. The number of items is known but for those that have expired.
    fn remove(&mut self, outcome: Option<&Outcome>, others: u64, is_meant: impl Fn(Cell) -> bool) -> bool {
        let live = self.count(|cell| is_meant(cell) && cell.value().is_some());
        let dead = self.count(|cell| is_meant(cell) && matches!(cell, Cell::Dead(_)));
        for cell in &mut self.0 {
            if is_meant(*cell) {
                *cell = Cell::Absent;
            }
        }
        let is_possible = |count: u64| (live..=live + dead + others).contains(&count);
        matches(outcome, |outcome| matches!(outcome, Outcome::Count(count) if is_possible(*count)))
    }
}

/// What a list of these elements is known by.
pub fn fold(elements: &[u64]) -> Option<u64> {
    (!elements.is_empty()).then(|| elements.iter().fold(0, |list, element| appended(list, *element)))
}

fn appended(list: u64, element: u64) -> u64 {
    crate::values::mixed(list.rotate_left(5) ^ crate::values::mixed(element + 1))
}

/// An outcome that nobody has heard of fits anything.
fn matches(outcome: Option<&Outcome>, fits: impl Fn(&Outcome) -> bool) -> bool {
    outcome.is_none_or(fits)
}

impl Op {
    /// Does it, and says whether that is how it can have gone if this was the outcome. If not, the state is void.
    pub fn apply(&self, outcome: Option<&Outcome>, state: &mut State) -> bool {
        if matches!(outcome, Some(Outcome::Refused)) {
            return true;
        }
        let is = |expected: Outcome| matches(outcome, |outcome| *outcome == expected);
        match self {
            Op::Get(key) => is(Outcome::Value(state.at(*key).value())),
            Op::Look(key) => {
                let cell = *state.at(*key);
                is(Outcome::Tagged(cell.value().map(|value| (value, cell.tag()))))
            }
            Op::GetMany(keys) => matches(outcome, |outcome| {
                let Outcome::Values(values) = outcome else { return false };
                keys.len() == values.len()
                    && keys.iter().zip(values).all(|(key, value)| state.0[usize::from(*key)].value() == *value)
            }),
            Op::List(key) => matches(
                outcome,
                |outcome| matches!(outcome, Outcome::List(elements) if fold(elements) == state.0[usize::from(*key)].value()),
            ),
            Op::Transaction(steps) => match outcome {
                None => steps.iter().all(|step| step.apply(None, state)),
                Some(Outcome::Steps(outcomes)) => {
                    let before = *state;
                    let fits = steps.len() == outcomes.len()
                        && steps.iter().zip(outcomes).all(|(step, outcome)| step.apply(Some(outcome), state));
                    state.keep_dead(&before);
                    fits
                }
                Some(_) => false,
            },
            Op::Evict(tag) => state.remove(outcome, 0, |cell| cell.tag() == *tag),
            // Items that are no part of the history are removed and counted too.
            Op::Clear => state.remove(outcome, u64::MAX >> 1, |_| true),
            _ => self.write(outcome, state),
        }
    }

    /// The operations that change keys that they name.
    fn write(&self, outcome: Option<&Outcome>, state: &mut State) -> bool {
        let is = |expected: Outcome| matches(outcome, |outcome| *outcome == expected);
        match self {
            Op::Set(key, value, tag) => {
                *state.at(*key) = Cell::Live(*value, *tag);
                is(Outcome::Done)
            }
            Op::SetMany(pairs, tag) => {
                for (key, value) in pairs {
                    *state.at(*key) = Cell::Live(*value, *tag);
                }
                is(Outcome::Done)
            }
            Op::DeleteMany(keys) => {
                let count = keys.iter().filter(|key| remove(state.at(**key)).is_some()).count();
                is(Outcome::Count(count as u64))
            }
            Op::Add(key, value, tag) => {
                let cell = state.at(*key);
                let is_new = cell.value().is_none();
                if is_new {
                    *cell = Cell::Live(*value, *tag);
                }
                is(Outcome::Bool(is_new))
            }
            Op::Delete(key) => is(Outcome::Bool(remove(state.at(*key)).is_some())),
            Op::Pop(key) => is(Outcome::Value(remove(state.at(*key)))),
            Op::Incr(key, delta) => {
                let cell = state.at(*key);
                let sum = cell.value().unwrap_or(0).wrapping_add(*delta);
                *cell = cell.replaced_by(sum);
                is(Outcome::Value(Some(sum)))
            }
            Op::Exchange(key, expected, new) => {
                let cell = state.at(*key);
                let is_equal = cell.value() == *expected;
                match new {
                    Some(new) if is_equal => *cell = cell.replaced_by(*new),
                    None if is_equal => drop(remove(cell)),
                    _ => (),
                }
                is(Outcome::Bool(is_equal))
            }
            Op::Touch(key, stays) => {
                let cell = state.at(*key);
                let is_there = cell.value().is_some();
                if is_there && !stays {
                    *cell = Cell::Dead(cell.tag());
                }
                is(Outcome::Bool(is_there))
            }
            Op::Append(key, element) => {
                let cell = state.at(*key);
                *cell = cell.replaced_by(appended(cell.value().unwrap_or(0), *element));
                is(Outcome::Done)
            }
            Op::Get(_) | Op::Look(_) | Op::GetMany(_) | Op::List(_) | Op::Transaction(_) | Op::Evict(_) | Op::Clear => {
                unreachable!("{self:?} names no key that it changes")
            }
        }
    }

    /// True if it changes nothing, whatever it finds.
    pub fn is_read(&self) -> bool {
        match self {
            Op::Get(_) | Op::Look(_) | Op::GetMany(_) | Op::List(_) => true,
            Op::Transaction(steps) => steps.iter().all(Op::is_read),
            _ => false,
        }
    }

    /// True if with this outcome it cannot have changed anything, wherever in the order it stands. (An eviction that
    /// counted nothing may have removed what had expired; no later outcome depends on that.)
    pub fn is_silent(&self, outcome: Option<&Outcome>) -> bool {
        match (self, outcome) {
            (_, None) => false,
            (Op::Transaction(steps), Some(Outcome::Steps(outcomes))) => {
                steps.iter().zip(outcomes).all(|(step, outcome)| step.is_silent(Some(outcome)))
            }
            (Op::Touch(_, true), _) => true,
            (Op::Add(..) | Op::Delete(_) | Op::Touch(..) | Op::Exchange(..), Some(Outcome::Bool(false))) => true,
            (Op::Pop(_), Some(Outcome::Value(None))) => true,
            (Op::DeleteMany(_) | Op::Evict(_), Some(Outcome::Count(0))) => true,
            _ => self.is_read(),
        }
    }

    /// What it does to one key, with what is known of the outcome there.
    pub fn on(&self, key: Key, outcome: Option<&Outcome>) -> Option<(Op, Option<Outcome>)> {
        if matches!(outcome, Some(Outcome::Refused)) {
            return None;
        }
        let whole = || Some((self.clone(), outcome.cloned()));
        match self {
            Op::Get(k) | Op::Look(k) | Op::Delete(k) | Op::Pop(k) | Op::List(k) => whole().filter(|_| *k == key),
            Op::Set(k, ..) | Op::Add(k, ..) | Op::Exchange(k, ..) => whole().filter(|_| *k == key),
            Op::Incr(k, _) | Op::Touch(k, _) | Op::Append(k, _) => whole().filter(|_| *k == key),
            Op::GetMany(keys) => {
                let place = keys.iter().position(|k| *k == key)?;
                let value = match outcome {
                    Some(Outcome::Values(values)) => values.get(place).map(|value| Outcome::Value(*value)),
                    _ => outcome.cloned(),
                };
                Some((Op::Get(key), value))
            }
            Op::SetMany(pairs, tag) => {
                let value = pairs.iter().rfind(|(k, _)| *k == key)?.1;
                Some((Op::Set(key, value, *tag), outcome.cloned()))
            }
            // How many of the others were there is not known here.
            Op::DeleteMany(keys) if keys.contains(&key) => Some((Op::Delete(key), None)),
            Op::DeleteMany(_) => None,
            Op::Evict(_) | Op::Clear => Some((self.clone(), None)),
            Op::Transaction(steps) => {
                let outcomes: Vec<Option<&Outcome>> = match outcome {
                    Some(Outcome::Steps(outcomes)) => outcomes.iter().map(Some).collect(),
                    Some(_) => return None,
                    None => vec![None; steps.len()],
                };
                let parts = steps.iter().zip(outcomes).filter_map(|(step, outcome)| step.on(key, outcome));
                let (steps, outcomes): (Vec<Op>, Vec<Option<Outcome>>) = parts.unzip();
                let outcomes: Option<Vec<Outcome>> = outcomes.into_iter().collect();
                (!steps.is_empty()).then(|| (Op::Transaction(steps), outcomes.map(Outcome::Steps)))
            }
        }
    }
}

fn remove(cell: &mut Cell) -> Option<u64> {
    let value = cell.value();
    if value.is_some() {
        *cell = Cell::Absent;
    }
    value
}
