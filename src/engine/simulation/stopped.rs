//! A writer is stopped at every step of a change of a queue. Who reads then, and never has the lock, waits for nobody, and
//! sees the change done or not done: all of it, and from some step on. The invariants are those of `pending`.

use std::collections::VecDeque;

use super::queue::{Act, Element, Model, Process, open, push_drafted, whole};
use super::world::open_to_read;
use super::{scale, spread};
use crate::engine::handle;
use crate::engine::living::Living;
use crate::engine::queue::{End, Span};
use crate::options::Eviction;
use crate::os::OsMap;
use crate::os::sim::{Machine, SimOs};
use crate::storage::redo::{self, CHANGES_INLINE};
use crate::storage::state::{PENDING, VISIBLE};

const FILE_CAPACITY: usize = 16 << 20;
/// Steps of one change at which its writer is stopped.
const STOPS: usize = 150;

/// A handle that never has the lock.
fn reader(machine: &Machine) -> (handle::Handle<SimOs>, SimOs) {
    let reader = open_to_read(machine);
    (handle::Handle::Store(Living::new(reader.store)), reader.os)
}

/// True while a commit is published half, and whether its list is in a file.
fn half_published(handle: &handle::Handle<SimOs>) -> (bool, bool) {
    let is_half = handle.state.load(PENDING) > handle.state.load(VISIBLE);
    (is_half, is_half && redo::describe(&handle.state).1.is_some())
}

/// What was met: steps at which a commit was published half, and those of them at which its list was in a file.
#[derive(Default)]
struct Met {
    half: usize,
    spilled: usize,
}

impl Met {
    fn note(&mut self, handle: &handle::Handle<SimOs>) {
        let (is_half, is_spilled) = half_published(handle);
        self.half += usize::from(is_half);
        self.spilled += usize::from(is_spilled);
    }
}

/// Elements of both queues: numbers below a hundred, one of them with a file of its own.
fn furnished() -> (Machine, Process, Model) {
    let machine = Machine::with_file_capacity(7, FILE_CAPACITY);
    let process = open(&machine, Eviction::None);
    let mut model = Model::default();
    for number in 0..6 {
        let act = Act::Push(number as usize % 2, End::Back, (number, 20 + number as usize), u64::MAX);
        act.apply(&process.handle, &process.queues).unwrap();
        act.model(&mut model);
    }
    push_drafted(&process, (6, 40_000)).unwrap();
    model[0].push_back((6, 40_000));
    (machine, process, model)
}

/// An element of a queue.
fn read(process: &Process, which: usize, place: impl Fn(Span) -> Option<u64>) -> Option<Element> {
    process.handle.read_queue(process.queues[which], place, |found| whole(&process.handle, found)).unwrap()
}

/// All elements, after a look whether those at the ends are the first and the last.
fn seen(process: &Process) -> Model {
    [0, 1].map(|which| {
        let span = process.handle.span(process.queues[which]).unwrap();
        let all: VecDeque<Element> =
            (0..span.len).map(|number| read(process, which, |span| span.position(number)).unwrap()).collect();
        let ends = [End::Front, End::Back].map(|end| read(process, which, |span| span.at(end)));
        assert_eq!(ends, [all.front().copied(), all.back().copied()]);
        all
    })
}

/// Stops whoever makes a change at each of its steps.
fn stop_at_every_step(prepare: &[Act], act: &Act) -> Met {
    let prepared = || {
        let (machine, process, mut model) = furnished();
        for act in prepare {
            act.apply(&process.handle, &process.queues).unwrap();
            act.model(&mut model);
        }
        (machine, process, model)
    };
    let steps = {
        let (_machine, process, _) = prepared();
        let before = process.os.steps();
        act.apply(&process.handle, &process.queues).unwrap();
        process.os.steps() - before
    };
    let (mut met, mut was_done) = (Met::default(), false);
    for step in spread(steps, STOPS * scale()) {
        let (machine, victim, before) = prepared();
        let mut after = before.clone();
        act.model(&mut after);
        let (handle, os) = reader(&machine);
        let reader = Process { handle, queues: victim.queues, os };
        victim.os.kill_after(step);
        assert!(victim.os.run(|| act.apply(&victim.handle, &victim.queues)).is_none(), "step {step} was not reached");
        met.note(&reader.handle);
        let seen = seen(&reader);
        let is_done = seen == after;
        assert!(is_done || seen == before, "{act:?} at step {step} of {steps}: {seen:?}");
        assert!(is_done || !was_done, "{act:?} at step {step} of {steps}: it was seen before");
        was_done = is_done && before != after;
    }
    assert!(met.half > 0, "{act:?}: nothing was published half");
    met
}

#[test]
fn a_queue_is_read_whole_whoever_is_stopped_in_a_push_or_a_pop() {
    for end in [End::Front, End::Back] {
        stop_at_every_step(&[], &Act::Push(0, end, (100, 30), u64::MAX));
        // What is over the bound goes by the same commit.
        stop_at_every_step(&[], &Act::Push(0, end, (100, 30), 3));
        stop_at_every_step(&[], &Act::Push(1, end, (100, 30), 3));
        // Of the first queue the large element is at the back.
        stop_at_every_step(&[], &Act::Pop(0, end));
        stop_at_every_step(&[], &Act::Pop(1, end));
        stop_at_every_step(&[Act::Pop(1, end), Act::Pop(1, end)], &Act::Pop(1, end));
    }
}

#[test]
fn a_queue_is_read_whole_whoever_is_stopped_in_another_change() {
    stop_at_every_step(&[], &Act::Replace(1, 1, (100, 30)));
    stop_at_every_step(&[], &Act::Clear(0));
    stop_at_every_step(&[Act::Clear(1), Act::Push(1, End::Back, (100, 30), u64::MAX)], &Act::Clear(1));
    let moved = vec![Act::Pop(0, End::Front), Act::Push(1, End::Back, (0, 20), u64::MAX)];
    stop_at_every_step(&[], &Act::Together(moved, true));
    let turned = vec![Act::Pop(1, End::Front), Act::Push(1, End::Back, (1, 21), u64::MAX)];
    stop_at_every_step(&[], &Act::Together(turned, true));
    let emptied = vec![Act::Clear(1), Act::Push(1, End::Front, (100, 30), u64::MAX), Act::Pop(0, End::Back)];
    stop_at_every_step(&[], &Act::Together(emptied, true));
}

#[test]
fn a_queue_is_read_whole_whoever_is_stopped_in_a_change_whose_list_spills() {
    let pushes = (0..CHANGES_INLINE as u32).map(|i| Act::Push(1, End::Back, (100 + i, 8), u64::MAX)).collect();
    let met = stop_at_every_step(&[], &Act::Together(pushes, true));
    assert!(met.spilled > 0, "no list spilled");
}
