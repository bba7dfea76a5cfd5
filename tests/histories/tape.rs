//! What a thread writes down of its operations, so that it can be read even if its process is killed between any two
//! instructions. It knows operations and files, and no cache.
//!
//! Before an operation begins, a note of it is in the file; when the next one begins, a note of how the last one ended.
//! So an operation without an end may have happened or not, and what is not in the file did not begin. Where nobody
//! will be killed, notes are kept in memory until the end, so that writing them down disturbs nothing.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::linear::{Event, NEVER};
use crate::op::{Op, Outcome};

#[derive(Serialize, Deserialize)]
enum Note {
    /// It begins not before this moment.
    Begin {
        not_before: u64,
        op: Op,
    },
    /// A transaction is about to be committed, and this is what it did and saw.
    Steps {
        steps: Vec<Op>,
        outcomes: Vec<Outcome>,
    },
    End {
        start: u64,
        end: u64,
        outcome: Outcome,
    },
}

/// The clock of all processes, in nanoseconds.
pub fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

pub fn path(scratch: &Path, thread: usize) -> PathBuf {
    scratch.join(format!("tape-{thread}"))
}

pub struct Tape {
    file: File,
    notes: Vec<u8>,
    /// Whether every note has to be in the file before what it announces.
    is_eager: bool,
}

impl Tape {
    pub fn new(scratch: &Path, thread: usize, is_eager: bool) -> Tape {
        let file = File::create(path(scratch, thread)).expect("a tape can be made");
        Tape { file, notes: Vec::new(), is_eager }
    }

    fn note(&mut self, note: &Note) {
        postcard::to_io(note, &mut self.notes).expect("memory can be written");
    }

    pub fn flush(&mut self) {
        self.file.write_all(&self.notes).expect("a tape can be written");
        self.notes.clear();
    }

    /// Announces an operation, has it done, and notes when that was and how it ended.
    pub fn record(&mut self, op: &Op, perform: impl FnOnce(&mut Tape) -> Outcome) -> Outcome {
        self.note(&Note::Begin { not_before: now(), op: op.clone() });
        if self.is_eager {
            self.flush();
        }
        let start = now();
        let outcome = perform(self);
        let end = now();
        self.note(&Note::End { start, end, outcome: outcome.clone() });
        outcome
    }

    /// Announces what a transaction will have done and seen if it is committed.
    pub fn steps(&mut self, steps: Vec<Op>, outcomes: Vec<Outcome>) {
        self.note(&Note::Steps { steps, outcomes });
        if self.is_eager {
            self.flush();
        }
    }
}

/// The operations of a thread, in order. A transaction that did not come to its end is left out.
pub fn read(scratch: &Path, thread: usize) -> Vec<Event> {
    let bytes = std::fs::read(path(scratch, thread)).unwrap_or_default();
    let mut events: Vec<Event> = Vec::new();
    let mut rest = &bytes[..];
    // What was being written when its process died is cut off, and was not done.
    while let Ok((note, after)) = postcard::take_from_bytes::<Note>(rest) {
        rest = after;
        match (note, events.last_mut()) {
            (Note::Begin { not_before, op }, _) => {
                events.push(Event { thread, start: not_before, end: NEVER, op, outcome: None });
            }
            (Note::Steps { steps, outcomes }, Some(event)) => {
                event.op = Op::Transaction(steps);
                event.outcome = Some(Outcome::Steps(outcomes));
            }
            (Note::End { start, end, outcome }, Some(event)) => {
                (event.start, event.end) = (start, end);
                if outcome != Outcome::Done || !matches!(event.op, Op::Transaction(_)) {
                    event.outcome = Some(outcome);
                }
            }
            (_, None) => panic!("a tape begins with a beginning"),
        }
    }
    events.retain(|event| !(event.outcome.is_none() && matches!(event.op, Op::Transaction(_))));
    events
}

#[test]
fn a_tape_that_is_cut_anywhere_loses_its_end_alone() {
    let scratch = tempfile::tempdir().unwrap();
    let mut tape = Tape::new(scratch.path(), 0, true);
    tape.record(&Op::Get(1), |_| Outcome::Value(Some(7)));
    tape.record(&Op::Transaction(Vec::new()), |tape| {
        tape.steps(vec![Op::Get(2)], vec![Outcome::Value(None)]);
        Outcome::Done
    });
    tape.record(&Op::Transaction(Vec::new()), |_| Outcome::Refused);
    tape.record(&Op::Delete(3), |_| Outcome::Bool(true));
    tape.flush();
    let whole = read(scratch.path(), 0);
    let outcomes = [
        Some(Outcome::Value(Some(7))),
        Some(Outcome::Steps(vec![Outcome::Value(None)])),
        Some(Outcome::Refused),
        Some(Outcome::Bool(true)),
    ];
    assert_eq!(whole.iter().map(|event| event.outcome.clone()).collect::<Vec<_>>(), outcomes);
    let bytes = std::fs::read(path(scratch.path(), 0)).unwrap();
    for len in 0..bytes.len() {
        std::fs::write(path(scratch.path(), 0), &bytes[..len]).unwrap();
        for (event, before) in read(scratch.path(), 0).iter().zip(&whole) {
            assert_eq!(event.op, before.op);
            assert!(event.end == NEVER || event.outcome == before.outcome);
        }
    }
}
