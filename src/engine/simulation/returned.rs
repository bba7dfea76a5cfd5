//! What the nodes of an index took is there for values once the index needs it no more, whoever dies meanwhile.

use super::blocks::{LIMIT, emptied, key, open, space};
use super::index::{self, Act, Process};
use super::{scale, spread};
use crate::engine::queue::End;
use crate::options::Eviction;
use crate::os::sim::{CallKind, Fault, Machine};

/// A value that takes a few blocks.
const LEN: usize = 3_000;

impl Process {
    /// How many values are put beside the indexes until one is refused.
    fn fill_around(&self) -> u32 {
        (0..).find(|&number| !self.apply(&Act::Around(number, LEN))).expect("there is a limit")
    }

    fn said(&self) -> u64 {
        space(self).1
    }
}

fn machine() -> Machine {
    Machine::with_file_capacity(3, 16 << 20)
}

fn fill_fresh() -> u32 {
    open(&machine()).fill_around()
}

#[test]
fn an_emptied_index_leaves_its_room_to_values() {
    let fresh = fill_fresh();
    for is_cleared in [false, true] {
        for len in if is_cleared { [600] } else { [100] } {
            let machine = machine();
            let process = open(&machine);
            let stored = process.fill(len);
            let act = |act: Act| act.apply(&process.handle, &process.indexes).unwrap();
            match is_cleared {
                true => drop(act(Act::Clear(0))),
                false => (0..stored).for_each(|_| drop(act(Act::Pop(0, End::Front)))),
            }
            let around = process.fill_around();
            let moment = format!("{stored} keys of {len}, then {around} values for {fresh}, cleared: {is_cleared}");
            process.audit_all(&moment);
            // The index has grown for the keys, and does not shrink.
            assert!(around * 10 >= fresh * 8, "{moment}");
            let (files, said) = space(&process);
            assert_eq!(files, said, "{moment}");
            // Those can go too, and the index comes back.
            for number in 0..around {
                act(Act::RemoveAround(number));
            }
            let again = process.fill(len);
            assert!(again * 10 >= stored * 8, "{moment}, then {again} keys");
            process.audit_all(&moment);
            assert!(machine.peak_linked_bytes() <= LIMIT, "{moment}: {}", machine.peak_linked_bytes());
        }
    }
}

/// Nodes that are in use stay, with what is in front of them.
#[test]
fn an_index_beside_one_that_was_emptied_stays() {
    let process = open(&machine());
    (0..300).for_each(|number| assert!(process.apply(&Act::Put(1, key(number, 60), 1, 1))));
    process.fill(600);
    let full = process.said();
    Act::Clear(0).apply(&process.handle, &process.indexes).unwrap();
    let around = process.fill_around();
    assert!(around * 10 >= fill_fresh() * 8, "{around}");
    assert!(process.said() * 4 < full, "{} of {full}", process.said());
    for number in 0..300 {
        if number % 30 == 0 {
            process.audit_all("beside");
        }
        assert!(process.apply(&Act::Remove(1, key(number, 60))), "{number}");
    }
    process.audit_all("empty");
}

#[test]
fn nothing_is_evicted_for_room_that_nodes_need_no_more() {
    for is_emptied in [true, false] {
        let process = index::open_with(&machine(), Eviction::LeastRecentlyStored, LIMIT);
        if is_emptied {
            process.fill(600);
            Act::Clear(0).apply(&process.handle, &process.indexes).unwrap();
        }
        let fits = fill_fresh() - 20;
        (0..fits).for_each(|number| assert!(process.apply(&Act::Around(number, LEN))));
        process.audit_all("around");
        let own = process.handle.len();
        assert!(own * 10 >= u64::from(fits) * 9, "{own} of {fits}, emptied: {is_emptied}");
    }
}

/// A machine whose store gives space of nodes back with the next value, and the number of that.
fn about_to_give_back() -> (Machine, u32) {
    let (machine, process) = emptied();
    let full = process.said();
    for number in 0.. {
        let before = machine.copy();
        assert!(process.apply(&Act::Around(number, LEN)));
        if process.said() < full {
            return (before, number);
        }
    }
    unreachable!("it is given back")
}

#[test]
fn death_at_every_step_of_giving_space_of_nodes_back() {
    let (before, number) = about_to_give_back();
    let put = |process: &Process| process.apply(&Act::Around(number, LEN));
    let whole = open(&before.copy());
    let (full, start) = (whole.said(), whole.os.steps());
    assert!(put(&whole));
    let steps = whole.os.steps() - start;
    assert!(whole.said() < full);
    // What gives back is at the end of it.
    let last = steps.saturating_sub(130)..steps;
    let before_that = spread(last.start, 6 * scale());
    let all = before_that.into_iter().chain(last).map(|step| (step, step % 5 == 0));
    for (step, is_alone) in
        all.flat_map(|(step, twice)| [(step, false), (step, true)].into_iter().take(1 + usize::from(twice)))
    {
        let machine = before.copy();
        let process = open(&machine);
        let beside = (!is_alone).then(|| open(&machine));
        process.os.kill_after(step);
        assert!(process.os.run(|| put(&process)).is_none(), "step {step} was not reached");
        let survivor = beside.unwrap_or_else(|| open(&machine));
        let moment = format!("death at step {step} of {steps}, alone: {is_alone}");
        drop(survivor.handle.lock().unwrap());
        let (files, said) = space(&survivor);
        assert_eq!(files, said, "{moment}");
        if step % 4 == 0 {
            survivor.audit_all(&moment);
        }
        if step % 16 == 0 {
            survivor.fill_around();
            survivor.audit_all(&moment);
            assert!(survivor.said() * 4 < full, "{moment}: {} of {full}", survivor.said());
            assert!(machine.peak_linked_bytes() <= LIMIT, "{moment}");
        }
    }
}

/// Where files have no holes, space stays with the nodes; where releasing fails, whoever has the lock next does it.
#[test]
fn what_cannot_be_released_is_there_for_nodes_or_goes_later() {
    for (fault, nth) in [
        (Fault::Kind(std::io::ErrorKind::Unsupported), 1),
        // The first of them is the question whether there are holes.
        (Fault::Short(rustix::io::Errno::IO), 2),
        (Fault::Says(rustix::io::Errno::IO), 4),
    ] {
        let (machine, number) = about_to_give_back();
        let process = open(&machine);
        let full = process.said();
        machine.fail(CallKind::Release, nth, fault);
        assert!(process.apply(&Act::Around(number, LEN)));
        let moment = format!("{fault:?}");
        let (files, said) = space(&process);
        if nth == 1 {
            assert_eq!((files, said), (full, full), "{moment}");
            continue;
        }
        assert!(said < full && said <= files, "{moment}: {said} of {full}, {files}");
        drop(process.handle.lock().unwrap());
        let (files, said) = space(&process);
        assert_eq!(files, said, "{moment}");
        process.audit_all(&moment);
    }
}

/// Where looking was in vain, and what stood behind all that is free goes after that.
#[test]
fn a_put_that_finds_no_other_room_looks_again() {
    let process = open(&machine());
    (0..3_000).for_each(|number| assert!(process.apply(&Act::Put(1, key(number, 60), 1, 1))));
    let stored = process.fill(600);
    let remove = |number| assert!(process.apply(&Act::Remove(0, key(number, 600))), "{number} of {stored}");
    (0..stored - 12).for_each(remove);
    let (full, around) = (process.said(), process.fill_around());
    (stored - 12..stored).for_each(remove);
    let more = (around..).find(|&number| !process.apply(&Act::Around(number, LEN)));
    let more = more.expect("there is a limit");
    process.audit_all("refused");
    assert!(process.said() * 2 < full, "{} of {full} for nodes, {around} and then {more} around", process.said());
}

/// What a full store is asked for and gives by turns.
#[test]
fn space_is_not_given_and_claimed_at_each_turn() {
    let mut most = 0;
    for (len, base) in [(600, 20), (3_000, 40), (9_000, 60), (9_000, 20), (30_000, 22), (30_000, 50), (30_000, 82)] {
        let process = index::open_with(&machine(), Eviction::LeastRecentlyStored, LIMIT);
        (0..base).for_each(|number| assert!(process.apply(&Act::Put(1, key(number, 600), 1, 1))));
        (0..1_400).for_each(|number| assert!(process.apply(&Act::Around(number, LEN))));
        let (mut changes, mut before) = (0, process.said());
        for turn in 0..60 {
            for act in [Act::Put(0, key(turn, len), 1, 1), Act::Around(turn, LEN), Act::Remove(0, key(turn, len))] {
                assert!(process.apply(&act));
                changes += u32::from(process.said() != before);
                before = process.said();
            }
        }
        most = most.max(changes);
    }
    assert!(most < 10, "{most} changes in 60 turns");
}

/// Space of several chunks, of which the last cannot be had.
#[test]
fn what_was_allocated_in_vain_is_released() {
    let mut failed = 0;
    for (base, kind) in
        [(100, CallKind::Allocate), (500, CallKind::Allocate), (900, CallKind::Open), (100, CallKind::Open)]
    {
        for nth in (1..14).step_by(3) {
            let machine = Machine::with_file_capacity(3, 32 << 20);
            let process = index::open_with(&machine, Eviction::None, 4 * LIMIT);
            let put = |i: u32| Act::Put(0, key(i.wrapping_mul(2_654_435_761), 300), 1, 1);
            (0..base).for_each(|i| assert!(process.apply(&put(i))));
            machine.fail(kind, nth, Fault::Says(rustix::io::Errno::IO));
            let all = Act::Together((1_300..4_200).map(put).collect(), true);
            failed += u32::from(all.apply(&process.handle, &process.indexes).is_err());
            machine.clear_failures();
            drop(process.handle.lock().unwrap());
            let (files, said) = space(&process);
            assert_eq!(files, said, "{base}, {kind:?} {nth}");
            process.audit_all("failed");
        }
    }
    assert!(failed > 2, "{failed}");
}

/// Space that was claimed and allocated by a commit whose list could not be written then.
#[test]
fn what_was_claimed_in_vain_is_released() {
    let mut failed = 0;
    for base in (100..3_000).step_by(680) {
        for kind in [CallKind::Create, CallKind::WriteAt] {
            let machine = Machine::with_file_capacity(3, 32 << 20);
            let process = index::open_with(&machine, Eviction::None, 4 * LIMIT);
            let put = |i: u32| Act::Put(0, key(i.wrapping_mul(2_654_435_761), 60), 1, 1);
            (0..base).for_each(|i| assert!(process.apply(&put(i))));
            machine.fail_at(kind, "spill", 1, Fault::Says(rustix::io::Errno::IO));
            let all = Act::Together((1_300..4_200).map(put).collect(), true);
            failed += u32::from(all.apply(&process.handle, &process.indexes).is_err());
            machine.clear_failures();
            let (files, said) = space(&process);
            assert_eq!(files, said, "{base}, {kind:?}");
            process.audit_all("failed");
        }
    }
    assert!(failed > 5, "{failed}");
}
