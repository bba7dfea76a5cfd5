//! The blocks of a full index, once keys of another length come: what is free is cut, and joined, whoever dies meanwhile.

use super::audit::audit;
use super::index::{self, Act, Process, blocks};
use super::world::path;
use super::{scale, spread};
use crate::options::Eviction;
use crate::os::sim::Machine;
use crate::os::{OpenMode, Os, OsFile, OsMap};
use crate::storage::state::{self, VISIBLE};
use crate::storage::tree::{CHUNKS_MAX, CLASSES, chunk_bytes, place_of};

pub(super) const LIMIT: u64 = 2 << 20;

pub(super) fn key(number: u32, len: usize) -> Vec<u8> {
    let mut key = number.to_be_bytes().to_vec();
    key.resize(len, 7);
    key
}

/// Files of nodes, by what is allocated for them, and by what is said to be.
pub(super) fn space(process: &Process) -> (u64, u64) {
    let word = |at| process.handle.state.load(at);
    let files = (0..CHUNKS_MAX as u64).filter_map(|chunk| {
        let file = process.os.open(&path(&format!("order-{chunk}")), OpenMode::Read).ok()?;
        Some(file.allocated().unwrap())
    });
    let said: u64 = (0..word(state::ORDER_CHUNKS) as usize).map(chunk_bytes).sum();
    (files.sum(), said - word(state::ORDER_LEFT))
}

impl Process {
    pub(super) fn apply(&self, act: &Act) -> bool {
        match act.apply(&self.handle, &self.indexes) {
            Ok(_) => true,
            Err(error) => {
                assert!(error.is_full(), "{error:?}");
                false
            }
        }
    }

    pub(super) fn put_one(&self, number: u32, len: usize) -> bool {
        self.apply(&Act::Put(0, key(number, len), 1, 1))
    }

    /// How many keys of a length are put until one is refused.
    pub(super) fn fill(&self, len: usize) -> u32 {
        (0..).find(|&number| !self.put_one(number, len)).expect("there is a limit")
    }

    /// O3, and that the counts are right.
    pub(super) fn audit_all(&self, moment: &str) {
        blocks(&self.handle, &self.indexes);
        audit(&self.handle);
        let report = self.handle.check(&mut |_| {}).unwrap();
        assert!(report.is_clean(), "{moment}: {:?}", report.problems);
    }
}

pub(super) fn open(machine: &Machine) -> Process {
    index::open_with(machine, Eviction::None, LIMIT)
}

/// A machine with a store that short keys have filled, and which is empty again.
pub(super) fn emptied() -> (Machine, Process) {
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

/// The same, with a node of another index in one of its last blocks, so that none of its space can go.
fn emptied_beside_another() -> (Machine, Process) {
    let machine = Machine::with_file_capacity(3, 16 << 20);
    let process = open(&machine);
    let stored = process.fill(600);
    (stored - 20..stored).for_each(|number| assert!(process.apply(&Act::Remove(0, key(number, 600)))));
    assert!(process.apply(&Act::Put(1, key(0, 600), 1, 1)));
    Act::Clear(0).apply(&process.handle, &process.indexes).unwrap();
    (machine, process)
}

/// What is taken apart, and then joined, is free whoever dies meanwhile.
#[test]
fn o3_death_at_every_step_of_a_put_that_joins_blocks() {
    let longest = |process: &Process| process.handle.state.load(state::ORDER_FREE + 8 * (CLASSES - 1));
    let (_machine, process) = emptied_beside_another();
    assert_eq!(longest(&process), 0);
    let before = process.os.steps();
    assert!(process.put_one(7, 1_200));
    let steps = process.os.steps() - before;
    assert_ne!(longest(&process), 0, "blocks were not joined");
    process.audit_all("joined");
    for step in spread(steps, 6 * scale()) {
        let (machine, process) = emptied_beside_another();
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

/// A split takes two blocks: where one of them is free, and nothing lies side by side, what may be evicted makes room for another.
#[test]
fn an_index_grows_where_all_else_may_be_evicted() {
    let machine = Machine::with_file_capacity(3, 16 << 20);
    let process = index::open_with(&machine, Eviction::LeastRecentlyStored, 2 * LIMIT);
    for number in 0..2_500_u32 {
        (0..2).for_each(|i| assert!(process.apply(&Act::Around((2 * number + i) % 200, 9_000))));
        assert!(process.put_one(number.wrapping_mul(2_654_435_761), 40), "{number}");
    }
    process.audit_all("grown");
}

#[test]
fn a_refused_put_joins_once() {
    let machine = Machine::with_file_capacity(3, 16 << 20);
    let process = open(&machine);
    let stored = process.fill(600);
    let mut refused = 0;
    for number in (0..stored).step_by(2) {
        // Every other one, so that hardly two blocks are side by side.
        assert!(process.apply(&Act::Remove(0, key(number, 600))));
        let before = process.handle.state.load(VISIBLE);
        if !process.apply(&Act::Put(1, key(number, 1_500), 1, 1)) {
            refused += 1;
            let commits = process.handle.state.load(VISIBLE) - before;
            assert!(commits < 10, "{commits} commits by a put that was refused");
        }
    }
    assert!(refused > 20, "{refused}");
}

/// Pieces that a transaction got before it was refused more.
#[test]
fn what_a_refused_transaction_claimed_is_not_allocated() {
    let mut refused = 0;
    for around in (0..3_000).step_by(300) {
        let machine = Machine::with_file_capacity(3, 32 << 20);
        let process = index::open_with(&machine, Eviction::None, 2 * LIMIT);
        let put = |i: u32| Act::Put(0, key(i.wrapping_mul(2_654_435_761), 300), 1, 1);
        (0..1_300).for_each(|i| assert!(process.apply(&put(i))));
        (0..around).all(|i| process.apply(&Act::Around(i, 500)));
        refused += u32::from(!process.apply(&Act::Together((1_300..2_100).map(put).collect(), true)));
        let (files, said) = space(&process);
        assert_eq!(files, said, "{around} around");
    }
    assert!(refused > 2, "{refused}");
}

/// Lists in which a block is twice are used no more.
#[test]
fn lists_that_run_in_circles_are_forgotten() {
    let machine = Machine::with_file_capacity(3, 16 << 20);
    let process = open(&machine);
    let stored = process.fill(600);
    (0..stored / 2).for_each(|number| assert!(process.apply(&Act::Remove(0, key(number, 600)))));
    let list = |class: usize| state::ORDER_FREE + 8 * class;
    let (class, block) =
        (0..CLASSES).map(|class| (class, process.handle.state.load(list(class)))).find(|at| at.1 != 0).unwrap();
    let (chunk, offset) = place_of(block as u32);
    process.handle.map_order(chunk).unwrap().store(offset, block);
    let longer = 500 << class;
    (class + 1..CLASSES).for_each(|class| process.handle.state.store(list(class), 0));
    // Some of them are refused.
    let _ = (0..40).filter(|&number| process.apply(&Act::Put(1, key(number, 4 * longer), 1, 1))).count();
    assert_ne!(process.handle.state.load(state::SUSPECT), 0);
    assert_ne!(process.handle.state.load(list(class)), block);
}

/// Trees that are taken apart, by a word that is damaged: they are given up, and what is evicted makes room.
#[test]
fn trees_that_cannot_be_taken_apart_keep_no_put_waiting() {
    for doomed in [1 << 63, 1, 10, 32, 353, u64::MAX] {
        let process = index::open_with(&Machine::with_file_capacity(3, 16 << 20), Eviction::LeastRecentlyStored, LIMIT);
        (0..600).for_each(|number| assert!(process.put_one(number, 600)));
        process.handle.state.store(state::ORDER_DOOMED, doomed);
        let before = process.os.steps();
        (0..600).for_each(|number| drop(Act::Around(number, 3_000).apply(&process.handle, &process.indexes)));
        let steps = process.os.steps() - before;
        assert_eq!(process.handle.state.load(state::ORDER_DOOMED), 0, "{doomed:#x}");
        // A block in use looks like any.
        let is_seen = process.handle.state.load(state::SUSPECT) != 0;
        assert!(is_seen || doomed <= u64::from(u32::MAX), "{doomed:#x}");
        assert!(steps < 400_000, "{steps} steps, {doomed:#x}");
    }
}
