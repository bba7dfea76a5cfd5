//! The blocks of a full index, once keys of another length come: what is free is cut, and joined, whoever dies meanwhile.

use super::audit::audit;
use super::index::{self, Act, Process, blocks};
use super::{scale, spread};
use crate::options::Eviction;
use crate::os::OsMap;
use crate::os::sim::Machine;
use crate::storage::state;
use crate::storage::tree::CLASSES;

const LIMIT: u64 = 2 << 20;

fn key(number: u32, len: usize) -> Vec<u8> {
    let mut key = number.to_be_bytes().to_vec();
    key.resize(len, 7);
    key
}

impl Process {
    fn put_one(&self, number: u32, len: usize) -> bool {
        match Act::Put(0, key(number, len), 1, 1).apply(&self.handle, &self.indexes) {
            Ok(_) => true,
            Err(error) => {
                assert!(error.is_full(), "{error:?}");
                false
            }
        }
    }

    /// How many keys of a length are put until one is refused.
    fn fill(&self, len: usize) -> u32 {
        (0..).find(|&number| !self.put_one(number, len)).expect("there is a limit")
    }

    /// O3, and that the counts are right.
    fn audit_all(&self, moment: &str) {
        blocks(&self.handle, &self.indexes);
        audit(&self.handle);
        assert!(self.handle.check(&mut |_| {}).unwrap().is_clean(), "{moment}");
    }
}

fn open(machine: &Machine) -> Process {
    index::open_with(machine, Eviction::None, LIMIT)
}

/// A machine with a store that short keys have filled, and which is empty again.
fn emptied() -> (Machine, Process) {
    let machine = Machine::with_file_capacity(3, 16 << 20);
    let process = open(&machine);
    process.fill(600);
    Act::Clear(0).apply(&process.handle, &process.indexes).unwrap();
    (machine, process)
}

#[test]
fn o3_what_keys_of_one_length_leave_is_there_for_those_of_another() {
    for (first, then) in [(600, 1_200), (1_200, 300), (300, 3_000)] {
        for is_cleared in [false, true] {
            let machine = Machine::with_file_capacity(3, 16 << 20);
            let process = open(&machine);
            let stored = process.fill(first);
            if is_cleared {
                Act::Clear(0).apply(&process.handle, &process.indexes).unwrap();
            } else {
                for number in 0..stored {
                    let removed = Act::Remove(0, key(number, first)).apply(&process.handle, &process.indexes);
                    assert!(removed.is_ok(), "{number} of {stored}: {removed:?}");
                }
            }
            let again = process.fill(then);
            let moment = format!("{stored} of {first}, then {again} of {then}, cleared: {is_cleared}");
            process.audit_all(&moment);
            let other = Machine::with_file_capacity(3, 16 << 20);
            let fresh = open(&other).fill(then);
            assert!(again * 2 > fresh, "{moment}, for {fresh}");
        }
    }
}

/// What is taken apart, and then joined, is free whoever dies meanwhile.
#[test]
fn o3_death_at_every_step_of_a_put_that_joins_blocks() {
    let longest = |process: &Process| process.handle.state.load(state::ORDER_FREE + 8 * (CLASSES - 1));
    let (_machine, process) = emptied();
    assert_eq!(longest(&process), 0);
    let before = process.os.steps();
    assert!(process.put_one(7, 1_200));
    let steps = process.os.steps() - before;
    assert_ne!(longest(&process), 0, "blocks were not joined");
    process.audit_all("joined");
    for step in spread(steps, 6 * scale()) {
        let (machine, process) = emptied();
        let survivor = open(&machine);
        process.os.kill_after(step);
        assert!(process.os.run(|| process.put_one(7, 1_200)).is_none(), "step {step} was not reached");
        let moment = format!("death at step {step} of {steps}");
        assert!(survivor.put_one(8, 1_200), "{moment}");
        survivor.audit_all(&moment);
        assert!(survivor.fill(1_200) > 200, "{moment}");
        survivor.audit_all(&moment);
    }
}
