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
        for len in [100, 600] {
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
        process.audit_all("beside");
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

#[test]
fn death_at_every_step_of_giving_space_of_nodes_back() {
    let fill = |process: &Process| (0..2_000).find(|&number| !process.apply(&Act::Around(number, LEN)));
    let (_machine, process) = emptied();
    let full = process.said();
    let first = (0..).find(|&number| {
        assert!(process.apply(&Act::Around(number, LEN)));
        process.said() < full
    });
    let first = first.expect("it is given back");
    let before_it = || {
        let (machine, process) = emptied();
        (0..first).for_each(|number| assert!(process.apply(&Act::Around(number, LEN))));
        (machine, process)
    };
    let (_machine, process) = before_it();
    let start = process.os.steps();
    assert!(process.apply(&Act::Around(first, LEN)));
    let steps = process.os.steps() - start;
    for step in spread(steps, 6 * scale()) {
        let (machine, process) = before_it();
        let survivor = open(&machine);
        process.os.kill_after(step);
        assert!(process.os.run(|| process.apply(&Act::Around(first, LEN))).is_none(), "step {step} was not reached");
        let moment = format!("death at step {step} of {steps}");
        drop(survivor.handle.lock().unwrap());
        survivor.audit_all(&moment);
        let (files, said) = space(&survivor);
        assert_eq!(files, said, "{moment}");
        assert!(fill(&survivor).is_some(), "{moment}");
        survivor.audit_all(&moment);
        assert!(survivor.said() * 4 < full, "{moment}: {} of {full}", survivor.said());
        assert!(machine.peak_linked_bytes() <= LIMIT, "{moment}");
    }
}

/// Where files have no holes, space stays with the nodes; where releasing fails, it is the next to take the lock of one who died that
/// does it.
#[test]
fn what_cannot_be_released_is_there_for_nodes() {
    for fault in [Fault::Kind(std::io::ErrorKind::Unsupported), Fault::Short(rustix::io::Errno::IO)] {
        let (machine, process) = emptied();
        let full = process.said();
        // The first of them is the question whether there are holes.
        let nth = if matches!(fault, Fault::Short(_)) { 2 } else { 1 };
        machine.fail(CallKind::Release, nth, fault);
        process.fill_around();
        let moment = format!("{fault:?}");
        process.audit_all(&moment);
        let (files, said) = space(&process);
        if nth == 1 {
            assert_eq!((files, said), (full, full), "{moment}");
        } else {
            assert!(said < files && files <= full, "{moment}: {said} of {files}");
            let survivor = open(&machine);
            process.os.kill_after(2);
            assert!(process.os.run(|| process.apply(&Act::RemoveAround(0))).is_none());
            drop(survivor.handle.lock().unwrap());
            let (files, said) = space(&survivor);
            assert_eq!(files, said, "{moment}");
        }
        assert!(open(&machine).fill(600) > 300 || nth != 1, "{moment}");
    }
}
