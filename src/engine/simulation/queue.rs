//! Queues beside `VecDeque`, over every step: pushes and pops at both ends by several processes that die anywhere,
//! transactions over two queues and an item, the index made anew, power cuts. The invariants are those of `queue`.

use std::collections::VecDeque;

use super::audit::audit;
use super::world::{opening, path};
use super::{Dice, rounds};
use crate::engine::change::{Put, Tag, Value};
use crate::engine::found::Found;
use crate::engine::handle;
use crate::engine::living::Living;
use crate::engine::queue::{Bound, DROPPED_MAX, End};
use crate::engine::recovery::Opening;
use crate::engine::store::Store;
use crate::error::{Error, Result};
use crate::options::Eviction;
use crate::os::sim::{Machine, SimOs};
use crate::os::{Os, OsMap};
use crate::storage::namespace::{self, Kind, Label, Namespace};
use crate::storage::state;

const SIZE_LIMIT: u64 = 2 << 20;
const FILE_CAPACITY: usize = 16 << 20;
/// Operations of one case, and of every sixteenth, which has the time to fill the store.
const OPERATIONS: usize = 40;
const OPERATIONS_MAX: usize = 600;
const QUEUES: usize = 2;

/// An element: its number, and the length of its value.
pub(super) type Element = (u32, usize);
pub(super) type Model = [VecDeque<Element>; QUEUES];

pub(super) struct Process {
    pub(super) handle: handle::Handle<SimOs>,
    pub(super) queues: [Namespace; QUEUES],
    pub(super) os: SimOs,
}

fn label(which: usize) -> Label<'static> {
    Label { kind: Kind::Deque, name: ["first", "second"][which] }
}

pub(super) fn open(machine: &Machine, eviction: Eviction) -> Process {
    let os = machine.process();
    let new = os.open(&path("larder"), crate::os::OpenMode::Read).is_err();
    let eviction = Some(eviction.to_bits());
    let opening = Opening { eviction, ..opening(new.then_some(SIZE_LIMIT)) };
    let store = Store::open(os.clone(), &path(""), &opening).unwrap();
    let queues = [0, 1].map(|which| store.namespace(label(which)).unwrap());
    Process { handle: handle::Handle::Store(Living::new(store)), queues, os }
}

fn bytes((number, len): Element) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(len.max(4), number as u8);
    bytes
}

fn element(bytes: &[u8]) -> Element {
    let number = u32::from_le_bytes(bytes[..4].try_into().unwrap());
    assert!(bytes[4..].iter().all(|&byte| byte == number as u8), "torn");
    (number, bytes.len())
}

/// An element, wherever its bytes are.
pub(super) fn whole(handle: &handle::Handle<SimOs>, found: &Found<'_, SimOs>) -> Result<Element> {
    match found.large() {
        Some(large) => handle.read_large(large).map(|bytes| element(&bytes)),
        None => Ok(element(&found.value().unwrap())),
    }
}

#[derive(Clone, Debug)]
pub(super) enum Act {
    Push(usize, End, Element, u64),
    Pop(usize, End),
    Replace(usize, u64, Element),
    Clear(usize),
    /// Clears the cache that the queues are in, which is nothing to them.
    ClearAround,
    /// Fills the cache around, so that segments go.
    Set(u32, usize),
    Together(Vec<Act>, bool),
}

fn put<'v>(value: &'v [u8], queue: Namespace) -> Put<'v> {
    Put { kind: 1, value: Value::Inline(value), expires: None, tag: Tag::Id(queue.id) }
}

impl Act {
    fn draw(dice: &mut Dice, number: &mut u32) -> Act {
        let mut new = |dice: &mut Dice| {
            *number += 1;
            let len = if dice.below(12) == 0 { 2_000 } else { 8 + dice.below(300) };
            (*number, len as usize)
        };
        let end = if dice.below(3) == 0 { End::Front } else { End::Back };
        let which = dice.below(QUEUES as u64) as usize;
        match dice.below(100) {
            0..40 => Act::Push(which, end, new(dice), u64::MAX),
            40..48 => Act::Push(which, end, new(dice), dice.below(60)),
            48..53 => Act::Replace(which, dice.below(40), new(dice)),
            53 if dice.below(6) == 0 => Act::Clear(which),
            54 if dice.below(4) == 0 => Act::ClearAround,
            55..62 => {
                let acts = (0..2 + dice.below(8)).map(|_| Act::draw_simple(dice, number)).collect();
                Act::Together(acts, dice.below(4) != 0)
            }
            62..80 => Act::Set(dice.below(200) as u32, 500 + dice.below(6000) as usize),
            _ => Act::Pop(which, if end == End::Back { End::Front } else { End::Back }),
        }
    }

    fn draw_simple(dice: &mut Dice, number: &mut u32) -> Act {
        loop {
            let act = Act::draw(dice, number);
            if !matches!(act, Act::Together(..)) {
                return act;
            }
        }
    }

    /// Carries it out; what was popped.
    pub(super) fn apply(&self, handle: &handle::Handle<SimOs>, queues: &[Namespace]) -> Result<Vec<Option<Element>>> {
        let mut popped = Vec::new();
        match self {
            Act::Push(which, end, new, most) => {
                let bytes = bytes(*new);
                handle.push(queues[*which], *end, put(&bytes, queues[*which]), Bound::of(*most))?;
            }
            Act::Pop(which, end) => {
                popped.push(handle.pop(queues[*which], *end, None, |found| whole(handle, found))?);
            }
            Act::Replace(which, number, with) => {
                let bytes = bytes(*with);
                handle.replace(queues[*which], |span| span.position(*number), put(&bytes, queues[*which]))?;
            }
            Act::Clear(which) => drop(handle.evict(label(*which))?),
            Act::ClearAround => drop(handle.clear()?),
            Act::Set(key, len) => {
                let (key, value) = (key.to_le_bytes(), vec![1; *len]);
                let put = Put { kind: 0, value: Value::Inline(&value), expires: None, tag: Tag::None };
                handle.put_hashed(&key, handle.hash(&key), put)?;
            }
            Act::Together(acts, keep) => {
                let outcome = handle.transact((None, false), |inside| {
                    for act in acts {
                        popped.extend(act.apply(inside, queues)?);
                    }
                    if *keep { Ok(()) } else { Err(Error::InTransaction) }
                });
                match outcome {
                    Err(Error::InTransaction) if !keep => {}
                    outcome => outcome?,
                }
            }
        }
        Ok(popped)
    }

    pub(super) fn model(&self, model: &mut Model) -> Vec<Option<Element>> {
        let mut popped = Vec::new();
        match self {
            Act::Push(which, end, element, most) if *most > 0 => {
                let queue = &mut model[*which];
                match end {
                    End::Front => queue.push_front(*element),
                    End::Back => queue.push_back(*element),
                }
                while queue.len() as u64 > *most {
                    match end {
                        End::Front => queue.pop_back(),
                        End::Back => queue.pop_front(),
                    };
                }
            }
            Act::Push(..) | Act::ClearAround | Act::Set(..) => {}
            Act::Pop(which, End::Front) => popped.push(model[*which].pop_front()),
            Act::Pop(which, End::Back) => popped.push(model[*which].pop_back()),
            Act::Replace(which, number, with) => {
                if let Some(there) = model[*which].get_mut(*number as usize) {
                    *there = *with;
                }
            }
            Act::Clear(which) => model[*which].clear(),
            Act::Together(acts, keep) => {
                let before = model.clone();
                popped = acts.iter().flat_map(|act| act.model(model)).collect();
                if !keep {
                    *model = before;
                }
            }
        }
        popped
    }
}

/// What a process finds, element by element.
fn found(process: &Process) -> Model {
    process.queues.map(|queue| {
        let span = process.handle.span(queue).unwrap();
        let read = |number| {
            let take = |found: &Found<'_, SimOs>| whole(&process.handle, found);
            process.handle.read_queue(queue, |span| span.position(number), take).unwrap().unwrap()
        };
        (0..span.len).map(read).collect()
    })
}

/// Q1.
fn check(process: &Process, expected: &Model) {
    audit(&process.handle);
    assert_eq!(&found(process), expected);
    for queue in process.queues {
        let span = process.handle.span(queue).unwrap();
        for beyond in [span.first.wrapping_sub(1), span.first.wrapping_add(span.len)] {
            let key = namespace::element(queue.id, beyond);
            assert!(process.handle.look(&key, process.handle.hash(&key), |_| Ok(())).unwrap().is_none());
        }
    }
}

struct Run {
    machine: Machine,
    eviction: Eviction,
    processes: Vec<Process>,
    dice: Dice,
    number: u32,
    /// What the queues may have been after each change since the last sync.
    history: Vec<Model>,
    refused: usize,
}

impl Run {
    fn new(seed: u64) -> Run {
        let machine = Machine::with_file_capacity(seed, FILE_CAPACITY);
        let eviction = [Eviction::None, Eviction::S3Fifo, Eviction::LeastRecentlyUsed][seed as usize / 16 % 3];
        let processes = vec![open(&machine, eviction)];
        if seed.is_multiple_of(16) {
            // Full, so that segments go from the beginning.
            for key in 0..700 {
                let set = Act::Set(key % 200, 3000);
                let outcome = set.apply(&processes[0].handle, &processes[0].queues);
                assert!(outcome.as_ref().is_ok_and(Vec::is_empty) || outcome.is_err_and(|error| error.is_full()));
            }
        }
        processes[0].handle.sync().unwrap();
        let history = vec![Model::default()];
        Run { machine, eviction, processes, dice: Dice(seed), number: 0, history, refused: 0 }
    }

    fn newest(&self) -> &Model {
        self.history.last().unwrap()
    }

    fn open(&mut self) {
        self.processes.push(open(&self.machine, self.eviction));
    }

    fn apply(&mut self, act: &Act) {
        let who = self.dice.below(self.processes.len() as u64) as usize;
        let mut after = self.newest().clone();
        let expected = act.model(&mut after);
        let process = &self.processes[who];
        match act.apply(&process.handle, &process.queues) {
            Ok(answer) => {
                assert_eq!(answer, expected, "{act:?}");
                self.history.push(after);
            }
            Err(error) => {
                assert!(error.is_full(), "{act:?}: {error:?}");
                self.refused += 1;
            }
        }
    }

    fn die(&mut self, act: &Act) {
        let who = self.dice.below(self.processes.len() as u64) as usize;
        let victim = self.processes.swap_remove(who);
        victim.os.kill_after(self.dice.below(300));
        let _ = victim.os.run(|| act.apply(&victim.handle, &victim.queues));
        victim.os.kill();
        drop(victim);
        if self.processes.is_empty() || self.dice.below(2) == 0 {
            self.open();
        }
        let mut after = self.newest().clone();
        act.model(&mut after);
        drop(self.processes[0].handle.lock().unwrap());
        if found(&self.processes[0]) == after {
            self.history.push(after);
        }
        check(&self.processes[0], self.newest());
    }

    fn rebuild(&mut self) {
        self.processes.clear();
        self.machine.process().remove(&path("state")).unwrap();
        self.open();
        check(&self.processes[0], self.newest());
    }

    fn cut(&mut self) {
        if self.dice.below(2) == 0 {
            self.processes[0].handle.sync().unwrap();
            self.history.drain(..self.history.len() - 1);
        }
        self.processes.clear();
        self.machine.power_cut(self.dice.next());
        self.open();
        let there = found(&self.processes[0]);
        let at = self.history.iter().rposition(|moment| *moment == there);
        let at = at.unwrap_or_else(|| panic!("no moment since the last sync had {there:?}"));
        self.history.truncate(at + 1);
        check(&self.processes[0], &there);
    }
}

#[test]
fn queues_are_vec_deques_whoever_dies_and_whenever_the_power_goes() {
    let (mut longest, mut cuts, mut refused) = (0, 0, 0);
    for round in rounds(100) {
        let mut run = Run::new(round);
        for i in 0..if round % 16 == 0 { OPERATIONS_MAX } else { OPERATIONS } {
            let act = Act::draw(&mut run.dice, &mut run.number);
            match run.dice.below(200) {
                0 if run.processes.len() < 3 => run.open(),
                1 => run.rebuild(),
                2 => {
                    run.cut();
                    cuts += 1;
                }
                3..12 => run.die(&act),
                _ => run.apply(&act),
            }
            if i % 40 == 0 {
                check(&run.processes[0], run.newest());
            }
        }
        longest = longest.max(run.history.iter().map(|model| model[0].len()).max().unwrap());
        refused += run.refused;
    }
    assert!(longest > 30 && cuts > 5, "{longest} elements at most, {cuts} power cuts, {refused} refused");
}

/// The queue takes all of a store that evicts: what is around it goes, none of it does, and then it is `Full`.
#[test]
fn what_is_in_a_queue_is_never_evicted() {
    for eviction in [Eviction::S3Fifo, Eviction::LeastRecentlyStored, Eviction::LeastRecentlyUsed] {
        let machine = Machine::with_file_capacity(7, FILE_CAPACITY);
        let process = open(&machine, eviction);
        let around = |key| Act::Set(key, 3000).apply(&process.handle, &process.queues).unwrap();
        (0..2000).for_each(|key| drop(around(key)));
        let mut number = 0;
        let error = loop {
            assert!(number < 2000, "more than there is room for");
            let push = Act::Push(0, End::Back, (number, 3000), u64::MAX);
            match push.apply(&process.handle, &process.queues) {
                Ok(_) => number += 1,
                Err(error) => break error,
            }
        };
        assert!(error.is_full() && number > 300, "{number} elements, {error:?}");
        let expected: Model = [(0..number).map(|number| (number, 3000)).collect(), VecDeque::new()];
        check(&process, &expected);
        assert!(process.handle.volume() <= SIZE_LIMIT);
        // Taking out gives space back, to the queue and to what is around it.
        for _ in 0..number / 2 {
            Act::Pop(0, End::Front).apply(&process.handle, &process.queues).unwrap();
        }
        (0..250).for_each(|key| drop(around(key)));
        let expected: Model = [(number / 2..number).map(|number| (number, 3000)).collect(), VecDeque::new()];
        check(&process, &expected);
    }
}

/// Pushes an element to the first queue, with a file of its own if it is large.
pub(super) fn push_drafted(process: &Process, element: Element) -> Result<bool> {
    let (queue, bytes) = (process.queues[0], bytes(element));
    let large = process.handle.is_large(bytes.len()).then(|| process.handle.draft(&bytes)).transpose()?;
    let value = large.as_ref().map_or(Value::Inline(&bytes), |draft| Value::Draft {
        number: draft.number,
        len: draft.len,
        crc: draft.crc,
    });
    process.handle.push(queue, End::Back, Put { value, ..put(&[], queue) }, Bound::NONE)
}

/// A store that evicts, full of elements with files of their own, says so soon: to look again at what may never go finds nothing.
#[test]
fn a_store_full_of_large_elements_is_full_without_long_work() {
    for eviction in [Eviction::S3Fifo, Eviction::LeastRecentlyStored, Eviction::LeastRecentlyUsed] {
        let machine = Machine::with_file_capacity(7, FILE_CAPACITY);
        let process = open(&machine, eviction);
        let commits = || process.handle.state.load(state::VISIBLE);
        let mut full = 0;
        for i in 0..5_000 {
            let before = commits();
            let is_push = i % 50 == 0;
            let done = match is_push {
                true => push_drafted(&process, (i, 20_000)).map(drop),
                false => Act::Set(i % 3000, 600).apply(&process.handle, &process.queues).map(drop),
            };
            let made = commits() - before;
            assert!(made < 1_000, "{eviction:?}: {made} commits in one call, {done:?}");
            full += u32::from(!is_push && done.is_err_and(|error| error.is_full()));
            if full == 10 {
                break;
            }
        }
        assert_eq!(full, 10, "{eviction:?}");
    }
}

/// Where a bound was lowered and nothing dropped, pushes drop what is over it little by little, each by itself and those of a
/// transaction together.
#[test]
fn a_push_drops_so_many_and_leaves_the_rest_to_the_next() {
    let machine = Machine::with_file_capacity(7, FILE_CAPACITY);
    let process = open(&machine, Eviction::None);
    let mut number = 0;
    let mut push = |most, len| {
        number += 1;
        Act::Push(0, End::Back, (number, len), most)
    };
    let apply = |act: Act| drop(act.apply(&process.handle, &process.queues).unwrap());
    let len = || process.handle.span(process.queues[0]).unwrap().len;
    (0..5500).for_each(|_| apply(push(u64::MAX, 8)));
    apply(push(10, 8));
    assert_eq!(len(), 5501 - DROPPED_MAX);
    apply(Act::Together((0..3).map(|_| push(10, 8)).collect(), true));
    assert_eq!(len(), 5501 - 2 * DROPPED_MAX);
    // An element that takes most of what a transaction may have is put all the same.
    apply(Act::Together(vec![push(10, 200_000)], true));
    assert_eq!(len(), 5501 - 2 * DROPPED_MAX);
    let mut lens = Vec::new();
    while len() > 10 {
        apply(push(10, 8));
        lens.push(len());
    }
    assert_eq!(lens, [2502, 1503, 504, 10]);
    (0..10).for_each(|_| apply(push(10, 8)));
    let last = (5510..=5519).map(|number| (number, 8)).collect();
    check(&process, &[last, VecDeque::new()]);
}

/// Who pops skips a position whose element was lost with the file of its value.
#[test]
fn an_element_whose_file_is_lost_is_skipped() {
    let machine = Machine::with_file_capacity(7, FILE_CAPACITY);
    let process = open(&machine, Eviction::None);
    for (number, len) in [(0, 100), (1, 40_000), (2, 100), (3, 40_000)] {
        push_drafted(&process, (number, len)).unwrap();
    }
    let lost = machine.paths().into_iter().filter(|path| path.to_string_lossy().contains("value-")).min().unwrap();
    drop(process);
    machine.process().remove(&lost).unwrap();
    machine.process().remove(&path("state")).unwrap();
    let process = open(&machine, Eviction::None);
    audit(&process.handle);
    assert_eq!(process.handle.span(process.queues[0]).unwrap().len, 4);
    let pop =
        || process.handle.pop(process.queues[0], End::Front, None, |found| Ok(found.header().is_large())).unwrap();
    assert_eq!([pop(), pop(), pop(), pop()], [Some(false), Some(false), Some(true), None]);
    assert_eq!(process.handle.span(process.queues[0]).unwrap().len, 0);
    audit(&process.handle);
}
