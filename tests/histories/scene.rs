//! Transactions as they are played: what each of them calls, writes down and takes back. It knows the API and the
//! workloads; what comes of them is judged elsewhere.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use larder::{Cache, Error};

use crate::op::{Key, Op, Outcome};
use crate::plan::{Part, number};
use crate::stored::{key_name, try_perform};
use crate::tape::Tape;

/// One thread of a worker, with what it plays its part with.
pub struct Hand<'h> {
    pub cache: &'h Cache,
    pub tape: Tape,
    pub thread: usize,
    pub part: Part<'h>,
}

/// How the body of a transaction ends.
enum End {
    Commit,
    /// By an error.
    Abort,
    Panic,
}

/// A transaction that is running.
struct Scene<'s, 'p> {
    cache: &'s Cache,
    part: &'s mut Part<'p>,
    steps: Vec<Op>,
    outcomes: Vec<Outcome>,
}

impl Scene<'_, '_> {
    fn step(&mut self, op: Op) -> larder::Result<Outcome> {
        let outcome = try_perform(self.cache, &op)?;
        self.part.see(&op, &outcome);
        self.steps.push(op);
        self.outcomes.push(outcome.clone());
        Ok(outcome)
    }

    fn get(&mut self, key: Key) -> larder::Result<u64> {
        match self.step(Op::Get(key))? {
            Outcome::Value(Some(value)) => Ok(number(value)),
            other => panic!("key {key} holds {other:?} in a transaction"),
        }
    }

    fn set(&mut self, key: Key, number: u64) -> larder::Result<()> {
        let value = self.part.sized(number);
        self.step(Op::Set(key, value, 0)).map(drop)
    }

    /// A part of the transaction that is taken back, and so leaves nothing to be seen.
    fn vain(&mut self, ops: &[Op]) -> larder::Result<()> {
        let vain = self.cache.transact(|inner| {
            for op in ops {
                try_perform(inner, op)?;
            }
            Err::<(), _>(Error::aborted("in vain"))
        });
        match vain {
            Err(error) if error.is_aborted() => Ok(()),
            other => other,
        }
    }

    /// What was read before anything was written: all that is left of a transaction that is taken back.
    fn reads(self) -> (Vec<Op>, Vec<Outcome>) {
        let steps = self.steps.into_iter().zip(self.outcomes);
        steps.take_while(|(step, outcome)| step.is_silent(Some(outcome))).unzip()
    }
}

impl Hand<'_> {
    /// Plays a transaction, and writes down what it will have done just before it is committed.
    fn transact(&mut self, body: impl FnOnce(&mut Scene<'_, '_>) -> larder::Result<End>) {
        let Hand { cache, tape, part, .. } = self;
        tape.record(&Op::Transaction(Vec::new()), |tape| {
            let play = || {
                cache.transact(|tx| {
                    let mut scene = Scene { cache: tx, part, steps: Vec::new(), outcomes: Vec::new() };
                    let end = body(&mut scene)?;
                    let (steps, outcomes) = match end {
                        End::Commit => (scene.steps, scene.outcomes),
                        End::Abort | End::Panic => scene.reads(),
                    };
                    tape.steps(steps, outcomes);
                    match end {
                        End::Commit => Ok(()),
                        End::Abort => Err(Error::aborted("taken back")),
                        // Without the hook, by which a worker ends when it finds something wrong.
                        End::Panic => resume_unwind(Box::new("taken back")),
                    }
                })
            };
            match catch_unwind(AssertUnwindSafe(play)) {
                Ok(Ok(())) | Err(_) => Outcome::Done,
                Ok(Err(error)) if error.is_aborted() => Outcome::Done,
                Ok(Err(Error::Full | Error::TransactionTooLarge { .. })) => Outcome::Refused,
                Ok(Err(error)) => panic!("a transaction failed: {error}"),
            }
        });
    }

    /// Some calls of all kinds.
    pub fn calls(&mut self) {
        self.transact(|scene| {
            for _ in 0..1 + scene.part.dice.below(5) {
                if scene.part.is_one_of(8) {
                    let ops = [scene.part.next(), scene.part.next()];
                    scene.vain(&ops)?;
                } else {
                    let op = scene.part.next();
                    scene.step(op)?;
                }
            }
            Ok(match scene.part.dice.below(12) {
                0 => End::Abort,
                1 => End::Panic,
                _ => End::Commit,
            })
        });
    }

    /// Lists are read and appended to, by one transaction or by comparing.
    pub fn append(&mut self, n: u64) {
        match self.part.dice.below(6) {
            0 => self.read_lists(),
            1 => self.append_by_comparing(n),
            _ => self.append_several(n),
        }
    }

    fn read_lists(&mut self) {
        let keys = self.part.some_keys();
        self.tape.record(&Op::Transaction(Vec::new()), |tape| {
            let lists = self.cache.get_many::<Vec<u64>>(keys.iter().copied().map(key_name)).expect("lists are read");
            let lists = lists.into_iter().map(|list| Outcome::List(list.unwrap_or_default()));
            tape.steps(keys.iter().copied().map(Op::List).collect(), lists.collect());
            Outcome::Done
        });
    }

    fn append_by_comparing(&mut self, n: u64) {
        let key = self.part.key();
        let element = self.element(n, 0);
        let list: Option<Vec<u64>> = self.cache.get(key_name(key)).expect("a list is read");
        self.tape.record(&Op::Transaction(Vec::new()), |tape| {
            let found = list.clone().unwrap_or_default();
            let longer = [&found[..], &[element]].concat();
            tape.steps(vec![Op::List(key), Op::Append(key, element)], vec![Outcome::List(found), Outcome::Done]);
            match self.cache.compare_and_set(key_name(key), list.as_ref(), Some(&longer)) {
                Ok(true) => Outcome::Done,
                Ok(false) | Err(Error::Full) => Outcome::Refused,
                Err(error) => panic!("nothing appended: {error}"),
            }
        });
    }

    fn append_several(&mut self, n: u64) {
        let elements: Vec<u64> = (0..6).map(|place| self.element(n, place)).collect();
        self.transact(|scene| {
            for &element in &elements[..1 + scene.part.dice.below(5) as usize] {
                let key = scene.part.key();
                match scene.part.dice.below(8) {
                    0..3 => drop(scene.step(Op::List(key))?),
                    // This element is in no list, ever.
                    3 => scene.vain(&[Op::Append(key, element)])?,
                    _ => drop(scene.step(Op::Append(key, element))?),
                }
            }
            Ok(if scene.part.is_one_of(12) { End::Abort } else { End::Commit })
        });
    }

    /// The `place`th of those that the `n`th operation may append.
    fn element(&self, n: u64, place: u64) -> u64 {
        (n + 1) << 16 | place << 8 | self.thread as u64
    }

    /// All accounts are read, or money moves from one to another.
    pub fn bank(&mut self) {
        if self.part.is_one_of(3) {
            return self.read_all();
        }
        let from = self.part.key();
        let to = (from + 1 + self.part.dice.below(self.part.plan.keys - 1) as Key) % self.part.plan.keys as Key;
        let amount = 1 + self.part.dice.below(60);
        self.transact(|scene| {
            let left = scene.get(from)?.checked_sub(amount);
            let more = scene.get(to)? + amount;
            scene.set(to, more)?;
            // Too late: more has come than there is to go.
            let Some(left) = left else { return Ok(if amount.is_multiple_of(2) { End::Abort } else { End::Panic }) };
            if scene.part.is_one_of(6) {
                let value = scene.part.sized(amount);
                scene.vain(&[Op::Set(from, value, 0), Op::Delete(to)])?;
            }
            scene.set(from, left)?;
            Ok(End::Commit)
        });
    }

    /// The ring is read, or one key is taken out of it and put in behind another.
    pub fn ring(&mut self) {
        if self.part.is_one_of(3) {
            return self.read_all();
        }
        let before = self.part.key();
        let behind = (before + 1 + self.part.dice.below(self.part.plan.keys - 1) as Key) % self.part.plan.keys as Key;
        self.transact(|scene| {
            let moved = scene.get(before)? as Key;
            if moved == behind {
                return Ok(End::Commit);
            }
            let Outcome::Value(Some(next)) = scene.step(Op::Pop(moved))? else { panic!("{moved} was not in the ring") };
            scene.set(before, number(next))?;
            let next = scene.get(behind)?;
            scene.set(behind, u64::from(moved))?;
            if scene.part.is_one_of(8) {
                return Ok(End::Abort);
            }
            scene.set(moved, next)?;
            Ok(End::Commit)
        });
    }

    /// All keys at one moment: by a call, or by a transaction that gets one after the other.
    fn read_all(&mut self) {
        let keys: Vec<Key> = (0..self.part.plan.keys as Key).collect();
        if self.part.is_one_of(3) {
            self.transact(|scene| {
                for key in keys {
                    scene.get(key)?;
                }
                Ok(End::Commit)
            });
        } else {
            let op = Op::GetMany(keys);
            self.tape.record(&op, |_| crate::stored::perform(self.cache, &op));
        }
    }
}
