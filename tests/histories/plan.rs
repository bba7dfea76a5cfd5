//! What a history is made of: everything that its dice decide, drawn from three numbers, the same in every process. It
//! knows operations and no cache.

use std::fmt;
use std::str::FromStr;

use crate::op::{KEYS_MAX, Key, Op, Outcome, Tag};
use crate::values::{Dice, mixed};

pub const PROCESSES: usize = 4;
pub const THREADS: usize = 2;
/// Histories that run one after the other over one directory.
pub const GROUP: u64 = 8;
const TAGS: u64 = 2;

/// The workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// All calls on few keys.
    Cells,
    /// Lists that grow under several keys.
    Append,
    /// Accounts, between which money moves and never changes in all.
    Bank,
    /// Keys that name each other in a ring, one of which moves at a time.
    Ring,
}

const KINDS: [(Kind, &str); 4] =
    [(Kind::Cells, "cells"), (Kind::Append, "append"), (Kind::Bank, "bank"), (Kind::Ring, "ring")];

/// Which history it is, and how to name it on a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    pub kind: Kind,
    /// Of the directory and all that happens in it.
    pub seed: u64,
    /// Its place among the histories of the directory.
    pub number: u64,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = KINDS.iter().find(|(kind, _)| *kind == self.kind).map_or("", |(_, name)| name);
        write!(f, "{kind} {} {}", self.seed, self.number)
    }
}

impl FromStr for Name {
    type Err = String;
    fn from_str(text: &str) -> Result<Name, String> {
        let [kind, seed, number] = text.split(' ').collect::<Vec<_>>()[..] else {
            return Err(format!("{text:?} is no kind, seed and number"));
        };
        let kind =
            KINDS.iter().find(|(_, name)| *name == kind).ok_or_else(|| format!("{kind:?} is no kind of history"))?.0;
        let number_of = |text: &str| text.parse().map_err(|_| format!("{text:?} is no number"));
        Ok(Name { kind, seed: number_of(seed)?, number: number_of(number)? })
    }
}

/// What the dice have decided.
#[derive(Clone, Debug)]
pub struct Plan {
    pub name: Name,
    /// Of the store: so small that segments are short, values soon have files of their own, and it gets full.
    pub size_limit: u64,
    /// A bit for each process whose changes return when they are on the disk.
    pub syncs: u64,
    /// A history over the directory of the one before begins with every handle closed.
    pub reopens: bool,
    /// It begins with an index that has to be made anew from the log.
    pub rebuilds: bool,
    pub keys: u64,
    /// Of each thread.
    pub operations: u64,
    /// Whether both threads of a process have a handle of their own.
    pub has_two_handles: bool,
    /// Of how many operations one is followed by a yield; 0 for none.
    pub yields: u64,
    /// Of how many operations one is followed by a batch of keys that are no part of the history; 0 for none.
    pub fillers: u64,
    /// Bytes of a value of those: the long ones are there to fill the store.
    pub filler_len: usize,
    /// Threads that kill their processes before the operation of this number.
    pub deaths: Vec<(usize, u64)>,
    /// How many values out of 16 are longer than some hundred bytes.
    long: u64,
    mix: Mix,
}

#[derive(Clone, Copy, Debug)]
enum Mix {
    All,
    Single,
    Batches,
    Counters,
    Transactions,
}

impl Plan {
    pub fn of(name: Name) -> Plan {
        let mut group = Dice::new(mixed(name.seed));
        let size_limit = [2 << 20, 2 << 20, 3 << 20, 8 << 20][group.below(4) as usize];
        let fills = group.below(2) == 0;
        let syncs = if group.below(3) == 0 { group.below(1 << PROCESSES) } else { 0 };
        let mut dice = Dice::new(mixed(group.throw() ^ mixed(name.number)));
        let operations = match name.kind {
            Kind::Cells => [30, 40, 60, 60, 200][dice.below(5) as usize],
            Kind::Append => [20, 30, 40][dice.below(3) as usize],
            Kind::Bank | Kind::Ring => [30, 50, 120][dice.below(3) as usize],
        };
        let mut deaths = Vec::new();
        if dice.below(3) == 0 {
            for process in 0..1 + dice.below(2) as usize {
                deaths.push((process * THREADS, dice.below(operations)));
            }
        }
        Plan {
            name,
            size_limit,
            syncs,
            reopens: dice.below(4) == 0,
            rebuilds: dice.below(2) == 0,
            keys: match name.kind {
                Kind::Cells => 1 + dice.below(KEYS_MAX as u64),
                Kind::Append => 2 + dice.below(4),
                Kind::Bank => 2 + dice.below(KEYS_MAX as u64 - 1),
                Kind::Ring => 4 + dice.below(KEYS_MAX as u64 - 3),
            },
            operations,
            has_two_handles: dice.below(4) == 0,
            yields: [0, 2, 4, 16][dice.below(4) as usize],
            fillers: if fills { [0, 20, 60][dice.below(3) as usize] } else { 0 },
            filler_len: [10, 1500][dice.below(2) as usize],
            deaths,
            long: [0, 1, 8][dice.below(3) as usize],
            mix: [Mix::All, Mix::Single, Mix::Batches, Mix::Counters, Mix::Transactions, Mix::Transactions]
                [dice.below(6) as usize],
        }
    }

    pub fn dies(&self, process: usize) -> bool {
        self.deaths.iter().any(|(thread, _)| thread / THREADS == process)
    }

    pub fn dice(&self, thread: usize) -> Dice {
        Dice::new(mixed(mixed(self.name.seed ^ mixed(self.name.number)) + thread as u64))
    }
}

/// Values of these keys are numbers; those of the others are texts.
pub fn is_number(key: Key) -> bool {
    key.is_multiple_of(3)
}

/// What a value stands for, whatever its length.
pub fn number(value: u64) -> u64 {
    value >> 12
}

/// One thread's part: what it calls next, by its dice and by what it has seen.
pub struct Part<'p> {
    pub plan: &'p Plan,
    pub dice: Dice,
    thread: usize,
    written: u64,
    /// What it last saw under each key.
    seen: [Option<u64>; KEYS_MAX],
}

impl<'p> Part<'p> {
    pub fn new(plan: &'p Plan, thread: usize) -> Part<'p> {
        Part { plan, dice: plan.dice(thread), thread, written: 0, seen: [None; KEYS_MAX] }
    }

    /// A value that nobody else writes in the life of the directory, and that says how long its text is.
    pub fn value(&mut self) -> u64 {
        self.written += 1;
        let thread = self.thread as u64 + 1;
        self.sized((self.plan.name.number % 1024 + 1) << 36 | thread << 28 | self.written)
    }

    /// A value that stands for a number: [`number`] gives it back.
    pub fn sized(&mut self, number: u64) -> u64 {
        let class = if self.dice.below(16) < self.plan.long { 1 + self.dice.below(3) } else { 0 };
        number << 12 | class << 10
    }

    pub fn is_one_of(&mut self, count: u64) -> bool {
        self.dice.below(count) == 0
    }

    /// Whether the next call is a transaction.
    pub fn is_transaction(&mut self) -> bool {
        match self.plan.mix {
            Mix::Transactions => !self.is_one_of(3),
            Mix::All => self.is_one_of(4),
            _ => false,
        }
    }

    pub fn key(&mut self) -> Key {
        self.dice.below(self.plan.keys) as Key
    }

    pub fn some_keys(&mut self) -> Vec<Key> {
        let mask = 1 + self.dice.below((1 << self.plan.keys) - 1);
        (0..self.plan.keys as Key).filter(|key| mask >> key & 1 == 1).collect()
    }

    fn tag(&mut self) -> Tag {
        self.dice.below(TAGS + 1) as Tag
    }

    fn number_key(&mut self) -> Key {
        self.key() / 3 * 3
    }

    pub fn next(&mut self) -> Op {
        let batches = |part: &mut Part<'p>| match part.dice.below(12) {
            0..4 => Op::GetMany(part.some_keys()),
            4..8 => {
                let keys = part.some_keys();
                let tag = part.tag();
                Op::SetMany(keys.into_iter().map(|key| (key, part.value())).collect(), tag)
            }
            8 | 9 => Op::DeleteMany(part.some_keys()),
            10 => Op::Evict(1 + part.dice.below(TAGS) as Tag),
            _ if part.dice.below(8) == 0 => Op::Clear,
            _ => Op::GetMany(part.some_keys()),
        };
        match (self.plan.mix, self.dice.below(4)) {
            (Mix::Batches, 0..3) | (Mix::All | Mix::Transactions, 0) => batches(self),
            (Mix::Counters, 0..3) => self.counters(),
            _ => self.single(),
        }
    }

    fn counters(&mut self) -> Op {
        match self.dice.below(8) {
            0..3 => Op::Incr(self.number_key(), 1 + self.dice.below(3)),
            3 => Op::Get(self.key()),
            _ => self.exchange(),
        }
    }

    fn exchange(&mut self) -> Op {
        let key = self.key();
        let new = self.value();
        let new = Some(new).filter(|_| self.dice.below(8) != 0);
        Op::Exchange(key, self.seen[usize::from(key)], new)
    }

    fn single(&mut self) -> Op {
        let key = self.key();
        match self.dice.below(24) {
            0..7 => Op::Get(key),
            7 | 8 => Op::Look(key),
            9..13 => {
                let value = self.value();
                Op::Set(key, value, self.tag())
            }
            13 | 14 => {
                let value = self.value();
                Op::Add(key, value, self.tag())
            }
            15 | 16 => Op::Delete(key),
            17 | 18 => Op::Pop(key),
            19 => Op::Incr(self.number_key(), 1 + self.dice.below(3)),
            20 => Op::Touch(key, self.dice.below(3) != 0),
            _ => self.exchange(),
        }
    }

    /// Remembers what was under a key, for the next comparison.
    pub fn see(&mut self, op: &Op, outcome: &Outcome) {
        match (op, outcome) {
            (Op::Get(key) | Op::Incr(key, _), Outcome::Value(value)) => self.seen[usize::from(*key)] = *value,
            (Op::Look(key), Outcome::Tagged(found)) => self.seen[usize::from(*key)] = found.map(|(value, _)| value),
            (Op::GetMany(keys), Outcome::Values(values)) => {
                for (key, value) in keys.iter().zip(values) {
                    self.seen[usize::from(*key)] = *value;
                }
            }
            (Op::Set(key, value, _), Outcome::Done) => self.seen[usize::from(*key)] = Some(*value),
            (Op::Pop(key) | Op::Delete(key), _) => self.seen[usize::from(*key)] = None,
            (Op::Exchange(key, _, new), Outcome::Bool(true)) => self.seen[usize::from(*key)] = *new,
            _ => (),
        }
    }
}

#[test]
fn a_name_reads_back() {
    for (kind, _) in KINDS {
        let name = Name { kind, seed: 17, number: 3 };
        assert_eq!(name.to_string().parse(), Ok(name));
    }
    assert!("cells 1".parse::<Name>().is_err());
}
