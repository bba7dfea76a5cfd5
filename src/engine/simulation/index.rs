//! Indexes beside `BTreeMap`, over every step: puts, removals and pops by several processes that die anywhere, transactions, the
//! trees made anew, power cuts. The invariants are those of `order`.

use std::collections::{BTreeMap, HashSet};

use super::audit::audit;
use super::world::{opening, path};
use super::{Dice, rounds};
use crate::engine::change::{Change, Op, Put, Tag, Value};
use crate::engine::handle;
use crate::engine::living::Living;
use crate::engine::order::read_node;
use crate::engine::order_read::{Stretch, Window};
use crate::engine::queue::End;
use crate::engine::recovery::Opening;
use crate::engine::store::Store;
use crate::error::{Error, Result};
use crate::options::Eviction;
use crate::os::sim::{Machine, SimOs};
use crate::os::{Os, OsMap};
use crate::storage::namespace::{Kind, Label, Namespace, prefix};
use crate::storage::state;
use crate::storage::tag_table::row;
use crate::storage::tree::{self, CLASSES};

const SIZE_LIMIT: u64 = 2 << 20;
const FILE_CAPACITY: usize = 16 << 20;
/// Operations of one case, and of every sixteenth, whose trees get deep.
const OPERATIONS: usize = 40;
const OPERATIONS_MAX: usize = 800;
const INDEXES: usize = 2;

pub(super) type Model = [BTreeMap<Vec<u8>, (u8, usize)>; INDEXES];

pub(super) struct Process {
    pub(super) handle: handle::Handle<SimOs>,
    pub(super) indexes: [Namespace; INDEXES],
    pub(super) os: SimOs,
}

fn label(which: usize) -> Label<'static> {
    Label { kind: Kind::Index, name: ["first", "second"][which] }
}

pub(super) fn open(machine: &Machine, eviction: Eviction) -> Process {
    open_with(machine, eviction, SIZE_LIMIT)
}

pub(super) fn open_with(machine: &Machine, eviction: Eviction, size_limit: u64) -> Process {
    let os = machine.process();
    let new = os.open(&path("larder"), crate::os::OpenMode::Read).is_err();
    let eviction = Some(eviction.to_bits());
    let opening = Opening { eviction, ..opening(new.then_some(size_limit)) };
    let store = Store::open(os.clone(), &path(""), &opening).unwrap();
    let indexes = [0, 1].map(|which| store.namespace(label(which)).unwrap());
    Process { handle: handle::Handle::Store(Living::new(store)), indexes, os }
}

#[derive(Clone, Debug)]
pub(super) enum Act {
    Put(usize, Vec<u8>, u8, usize),
    Remove(usize, Vec<u8>),
    Pop(usize, End),
    Clear(usize),
    /// Fills the cache around, so that segments go.
    Around(u32, usize),
    RemoveAround(u32),
    ClearAround,
    Together(Vec<Act>, bool),
}

/// Short keys that meet often, and a few that fill a block alone.
fn key(dice: &mut Dice, long: bool) -> Vec<u8> {
    let number = dice.below(if long { 3000 } else { 60 }) as u32;
    let mut key = number.to_be_bytes()[2..].to_vec();
    match number % 97 {
        0 => key.resize(3000, 7),
        1..20 => key.resize(60, 7),
        _ => {}
    }
    key
}

impl Act {
    fn draw(dice: &mut Dice, long: bool) -> Act {
        let which = dice.below(INDEXES as u64) as usize;
        match dice.below(100) {
            0..48 => Act::Put(which, key(dice, long), dice.below(200) as u8, dice.below(120) as usize),
            48..66 => Act::Remove(which, key(dice, long)),
            66..74 => Act::Pop(which, if dice.below(2) == 0 { End::Front } else { End::Back }),
            74 if dice.below(8) == 0 => Act::Clear(which),
            75 if dice.below(4) == 0 => Act::ClearAround,
            76..84 => {
                let acts = (0..2 + dice.below(12)).map(|_| Act::draw_simple(dice, long)).collect();
                Act::Together(acts, dice.below(4) != 0)
            }
            _ => Act::Around(dice.below(200) as u32, 500 + dice.below(6000) as usize),
        }
    }

    fn draw_simple(dice: &mut Dice, long: bool) -> Act {
        loop {
            let act = Act::draw(dice, long);
            if !matches!(act, Act::Together(..)) {
                return act;
            }
        }
    }

    /// Carries it out; what was popped.
    pub(super) fn apply(&self, handle: &handle::Handle<SimOs>, indexes: &[Namespace]) -> Result<Vec<Option<Vec<u8>>>> {
        let mut popped = Vec::new();
        let whole = |which: usize, key: &[u8]| [&prefix(Kind::Index, indexes[which].id)[..], key].concat();
        match self {
            Act::Put(which, key, byte, len) => {
                let (key, value) = (whole(*which, key), vec![*byte; *len]);
                let tag = Tag::Id(indexes[*which].id);
                let put = Put { kind: 1, value: Value::Inline(&value), expires: None, tag };
                handle.put_hashed(&key, handle.hash(&key), put)?;
            }
            Act::Remove(which, key) => {
                let key = whole(*which, key);
                handle.batch(&[Op { key: &key, hash: handle.hash(&key), change: Change::Remove }])?;
            }
            Act::Pop(which, end) => {
                popped.push(handle.pop_in_order(indexes[*which], *end, |key, _| Ok(key.to_vec()))?);
            }
            Act::Clear(which) => drop(handle.evict(label(*which))?),
            Act::ClearAround => drop(handle.clear()?),
            Act::RemoveAround(key) => {
                let key = key.to_be_bytes();
                handle.batch(&[Op { key: &key, hash: handle.hash(&key), change: Change::Remove }])?;
            }
            Act::Around(key, len) => {
                let (key, value) = (key.to_be_bytes(), vec![1; *len]);
                let put = Put { kind: 0, value: Value::Inline(&value), expires: None, tag: Tag::None };
                handle.put_hashed(&key, handle.hash(&key), put)?;
            }
            Act::Together(acts, keep) => {
                let outcome = handle.transact((None, false), |inside| {
                    for act in acts {
                        popped.extend(act.apply(inside, indexes)?);
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

    pub(super) fn model(&self, model: &mut Model) -> Vec<Option<Vec<u8>>> {
        let mut popped = Vec::new();
        match self {
            Act::Put(which, key, byte, len) => drop(model[*which].insert(key.clone(), (*byte, *len))),
            Act::Remove(which, key) => drop(model[*which].remove(key)),
            Act::Pop(which, End::Front) => popped.push(model[*which].pop_first().map(|(key, _)| key)),
            Act::Pop(which, End::Back) => popped.push(model[*which].pop_last().map(|(key, _)| key)),
            Act::Clear(which) => model[*which].clear(),
            Act::ClearAround | Act::Around(..) | Act::RemoveAround(_) => {}
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

/// What a window has, from one end, in ascending order.
pub(super) fn window(
    handle: &handle::Handle<SimOs>,
    index: Namespace,
    window: &Window,
    end: End,
    most: usize,
) -> Vec<(Vec<u8>, (u8, usize))> {
    let (mut left, mut to, mut found) = (window.clone(), Stretch::default(), Vec::new());
    while !left.is_empty() {
        handle.stretch(index, &left, end, (most, true), &mut to).unwrap();
        let items = to.items.iter().map(|item| {
            let value = to.value(item);
            assert!(item.kind == 1 && value.iter().all(|&byte| byte == value[0]), "torn");
            (to.key(item).to_vec(), (value.first().copied().unwrap_or(0), value.len()))
        });
        match end {
            End::Front => found.extend(items),
            End::Back => found = items.chain(found).collect(),
        }
        left.without(end, to.fence.take());
    }
    found
}

pub(super) fn found(process: &Process) -> Model {
    process
        .indexes
        .map(|index| window(&process.handle, index, &Window::default(), End::Front, usize::MAX).into_iter().collect())
}

/// The values of the model as they can be read back: an empty one has no byte.
pub(super) fn readable(model: &Model) -> Model {
    let read = |(&byte, &len): (&u8, &usize)| (if len == 0 { 0 } else { byte }, len);
    model.clone().map(|index| index.into_iter().map(|(key, (byte, len))| (key, read((&byte, &len)))).collect())
}

/// O1, by the check too, and O3.
pub(super) fn check(process: &Process, expected: &Model) {
    audit(&process.handle);
    assert_eq!(found(process), readable(expected));
    for (index, expected) in process.indexes.iter().zip(expected) {
        assert_eq!(process.handle.items_of(*index).unwrap(), expected.len() as u64);
    }
    blocks(&process.handle, &process.indexes);
    let report = process.handle.check(&mut |_| {}).unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
}

/// O3: each block below `ORDER_NEXT` is met once at most, all of it, whatever it is for.
pub(super) fn blocks(store: &Store<SimOs>, indexes: &[Namespace]) {
    let mut met = HashSet::new();
    let mut meet = |block: u32, class: usize, what: &str| {
        let end = block + (1 << class);
        assert!((block..end).all(|part| met.insert(part)), "block {block} of class {class} is {what}, and another too");
        assert!(u64::from(end) <= store.state.load(state::ORDER_NEXT), "block {block} of class {class}");
    };
    let word = |block: u32, at: usize| {
        let (chunk, offset) = tree::place_of(block);
        store.map_order(chunk).unwrap().load(offset + at)
    };
    let mut below: Vec<u32> = Vec::new();
    for index in indexes {
        let place = index.place();
        below.push(tree::block_of(store.map_tags(place.chunk).unwrap().load(place.offset + row::ANCHOR)));
    }
    let mut doomed = store.state.load(state::ORDER_DOOMED) as u32;
    while doomed != 0 {
        below.push(doomed);
        doomed = word(doomed, 0) as u32;
    }
    while let Some(block) = below.pop() {
        if block != 0 {
            meet(block, tree::class_of(tree::Node::head_of(word(block, tree::LINK)).2), "a node");
            let (chunk, offset) = tree::place_of(block);
            let node = read_node(&*store.map_order(chunk).unwrap(), offset).unwrap();
            below.extend((0..node.count()).map(|i| tree::block_of(node.child(i))));
        }
    }
    let mut freed = 0;
    for class in 0..CLASSES {
        let mut free = store.state.load(state::ORDER_FREE + 8 * class) as u32;
        while free != 0 {
            meet(free, class, "free");
            free = word(free, 0) as u32;
            freed += 1 << class;
        }
    }
    assert_eq!(store.state.load(state::ORDER_FREED), freed, "blocks on the lists");
}

struct Run {
    machine: Machine,
    eviction: Eviction,
    processes: Vec<Process>,
    dice: Dice,
    /// What the indexes may have been after each change since the last sync.
    history: Vec<Model>,
}

impl Run {
    fn new(seed: u64) -> Run {
        let machine = Machine::with_file_capacity(seed, FILE_CAPACITY);
        let eviction = [Eviction::None, Eviction::S3Fifo, Eviction::LeastRecentlyUsed][seed as usize / 16 % 3];
        let processes = vec![open(&machine, eviction)];
        if seed.is_multiple_of(16) {
            // Full, so that segments go from the beginning.
            for key in 0..700 {
                let set = Act::Around(key % 200, 3000);
                let outcome = set.apply(&processes[0].handle, &processes[0].indexes);
                assert!(outcome.as_ref().is_ok_and(Vec::is_empty) || outcome.is_err_and(|error| error.is_full()));
            }
        }
        processes[0].handle.sync().unwrap();
        Run { machine, eviction, processes, dice: Dice(seed), history: vec![Model::default()] }
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
        match act.apply(&process.handle, &process.indexes) {
            Ok(answer) => {
                assert_eq!(answer, expected, "{act:?}");
                self.history.push(after);
            }
            Err(error) => assert!(error.is_full(), "{act:?}: {error:?}"),
        }
    }

    fn die(&mut self, act: &Act) {
        let who = self.dice.below(self.processes.len() as u64) as usize;
        let victim = self.processes.swap_remove(who);
        victim.os.kill_after(self.dice.below(300));
        let _ = victim.os.run(|| act.apply(&victim.handle, &victim.indexes));
        victim.os.kill();
        drop(victim);
        if self.processes.is_empty() || self.dice.below(2) == 0 {
            self.open();
        }
        let mut after = self.newest().clone();
        act.model(&mut after);
        drop(self.processes[0].handle.lock().unwrap());
        if found(&self.processes[0]) == readable(&after) {
            self.history.push(after);
        }
        check(&self.processes[0], self.newest());
    }

    /// Opens anew without the state file; the first to try may die at it.
    fn rebuild(&mut self) {
        self.processes.clear();
        self.machine.process().remove(&path("state")).unwrap();
        if self.dice.below(2) == 0 {
            let os = self.machine.process();
            os.kill_after(self.dice.below(3000));
            let _ = os.run(|| Store::open(os.clone(), &path(""), &opening(None)).map(drop));
            os.kill();
        }
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
        let at = self.history.iter().rposition(|moment| readable(moment) == there);
        let at = at.unwrap_or_else(|| panic!("no moment since the last sync had {there:?}"));
        self.history.truncate(at + 1);
        check(&self.processes[0], self.newest());
    }

    /// A window that is drawn, from both ends.
    fn look(&mut self) {
        let process = &self.processes[0];
        let (low, high) = (key(&mut self.dice, true), key(&mut self.dice, true));
        let range = Window { low, high: Some(high).filter(|_| self.dice.below(4) != 0) };
        let most = 1 + self.dice.below(20) as usize;
        for (index, expected) in process.indexes.iter().zip(&readable(self.newest())) {
            let expected: Vec<_> = expected
                .iter()
                .filter(|(key, _)| **key >= range.low && range.high.as_ref().is_none_or(|high| *key < high))
                .map(|(key, value)| (key.clone(), *value))
                .collect();
            for end in [End::Front, End::Back] {
                assert_eq!(window(&process.handle, *index, &range, end, most), expected, "{range:?} from {end:?}");
            }
        }
    }
}

#[test]
fn indexes_are_b_tree_maps_whoever_dies_and_whenever_the_power_goes() {
    let (mut most, mut cuts) = (0, 0);
    for round in rounds(64) {
        let mut run = Run::new(round);
        let long = round % 16 == 0;
        for i in 0..if long { OPERATIONS_MAX } else { OPERATIONS } {
            let act = Act::draw(&mut run.dice, long);
            match run.dice.below(200) {
                0 if run.processes.len() < 3 => run.open(),
                1 => run.rebuild(),
                2 => {
                    run.cut();
                    cuts += 1;
                }
                3..12 => run.die(&act),
                12..24 => run.look(),
                _ => run.apply(&act),
            }
            if i % 40 == 0 {
                check(&run.processes[0], run.newest());
            }
        }
        most = most.max(run.history.iter().map(|model| model[0].len()).max().unwrap());
    }
    assert!(most > 150 && cuts > 5, "{most} keys at most, {cuts} power cuts");
}

/// A list of free blocks is not believed: one that ends beyond its chunk, or that a node has been written to, is damage. It is used no
/// more, and whoever opens the store alone makes all anew.
#[test]
fn a_block_that_cannot_be_free_is_not_used() {
    let machine = Machine::with_file_capacity(3, FILE_CAPACITY);
    let process = open(&machine, Eviction::None);
    let put = |key: Vec<u8>| Act::Put(0, key, 1, 10).apply(&process.handle, &process.indexes);
    put(vec![1]).unwrap();
    let last_of_the_chunk = (tree::chunk_bytes(0) / tree::BLOCK - 1) as u32;
    // A key of its own fills a block of four times the least length.
    process.handle.state.store(state::ORDER_FREE + 16, last_of_the_chunk.into());
    put(vec![2; 3000]).unwrap();
    assert_ne!(process.handle.state.load(state::SUSPECT), 0);
    put(vec![3]).unwrap();
    // A list in which one block follows itself.
    let (chunk, offset) = tree::place_of(last_of_the_chunk);
    process.handle.map_order(chunk).unwrap().store(offset, last_of_the_chunk.into());
    process.handle.state.store(state::ORDER_FREE + 16, 0);
    process.handle.state.store(state::ORDER_FREE, last_of_the_chunk.into());
    let fills = |from: u8| {
        Act::Together(
            (0..200).map(|i| Act::Put(0, vec![from, i, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7], 1, 10)).collect(),
            true,
        )
    };
    process.handle.state.store(state::SUSPECT, 0);
    fills(9).apply(&process.handle, &process.indexes).unwrap();
    assert_ne!(process.handle.state.load(state::SUSPECT), 0);
    assert_eq!(found(&process)[0].len(), 203);
    drop(process);
    let process = open(&machine, Eviction::None);
    assert_eq!(process.handle.state.load(state::SUSPECT), 0);
    assert_eq!(found(&process)[0].len(), 203);
    audit(&process.handle);
}

/// Trees that were thrown away are taken apart as far as they can be read: nobody waits for what is damaged there.
#[test]
fn damage_in_trees_that_were_thrown_away_keeps_nobody_from_putting() {
    for child in [true, false] {
        let machine = Machine::with_file_capacity(3, FILE_CAPACITY);
        let process = open(&machine, Eviction::None);
        let put = |key: u32| Act::Put(0, key.to_be_bytes().to_vec(), 1, 10).apply(&process.handle, &process.indexes);
        (0..500).for_each(|key| drop(put(key).unwrap()));
        Act::Clear(0).apply(&process.handle, &process.indexes).unwrap();
        let doomed = process.handle.state.load(state::ORDER_DOOMED) as u32;
        let (chunk, offset) = tree::place_of(doomed);
        let map = process.handle.map_order(chunk).unwrap();
        match child {
            // A child in a block of no chunk.
            true => map.store(offset + tree::LINK + 16, u64::from(u32::MAX)),
            false => map.store(offset + tree::LINK, 0),
        }
        (0..100).for_each(|key| drop(put(key).unwrap()));
        assert_eq!(found(&process)[0].len(), 100);
    }
}

/// O2: where the key stands that came last, and now goes, the next one comes only when it has gone: not when a commit that has
/// taken the one out and put the other in dies before it is one.
#[test]
fn a_key_that_goes_is_there_until_the_commit_is() {
    let one = |key: u8| Act::Put(0, vec![key; 4], key, 10);
    let act = Act::Together(vec![Act::Remove(0, vec![9; 4]), one(3), one(4)], true);
    let (mut done, mut undone) = (0, 0);
    for steps in 0.. {
        let mut run = Run::new(1);
        (0..10).filter(|key| !(3..5).contains(key)).for_each(|key| run.apply(&one(key)));
        run.open();
        let victim = run.processes.pop().unwrap();
        victim.os.kill_after(steps);
        let died = victim.os.run(|| act.apply(&victim.handle, &victim.indexes)).is_none();
        victim.os.kill();
        drop(victim);
        let mut after = run.newest().clone();
        act.model(&mut after);
        drop(run.processes[0].handle.lock().unwrap());
        if found(&run.processes[0]) == readable(&after) {
            run.history.push(after);
            done += 1;
        } else {
            undone += 1;
        }
        check(&run.processes[0], run.newest());
        if !died {
            break;
        }
    }
    assert!(done > 1 && undone > 10, "{done} done, {undone} not");
}

/// Who takes one item after the other out in a transaction looks at none of them again. What is put at an end meanwhile is found,
/// and what is taken back.
#[test]
fn who_empties_an_index_in_a_transaction_looks_once_at_each_item() {
    let machine = Machine::with_file_capacity(7, FILE_CAPACITY);
    let process = open(&machine, Eviction::None);
    let one = |key: u32| Act::Put(0, key.to_be_bytes().to_vec(), 1, 4);
    let fill = Act::Together((0..1000).map(one).collect(), true);
    fill.apply(&process.handle, &process.indexes).unwrap();
    let index = process.indexes[0];
    let work = process.handle.transact((None, false), |inside| {
        let handle::Handle::Inside(transaction) = inside else { return Err(Error::InTransaction) };
        let pop = |end| inside.pop_in_order(index, end, |key, _| Ok(u32::from_be_bytes(key.try_into().unwrap())));
        for number in 0..300 {
            assert_eq!((pop(End::Front)?, pop(End::Back)?), (Some(number), Some(999 - number)));
        }
        for key in [5, 990] {
            one(key).apply(inside, &process.indexes)?;
        }
        assert_eq!((pop(End::Front)?, pop(End::Back)?), (Some(5), Some(990)));
        assert_eq!((pop(End::Front)?, pop(End::Back)?), (Some(300), Some(699)));
        let looks = transaction.looks()?;
        let taken_back = inside.transact((None, false), |_| {
            assert_eq!((pop(End::Front)?, pop(End::Back)?), (Some(301), Some(698)));
            Err::<(), _>(Error::InTransaction)
        });
        assert!(taken_back.is_err());
        assert_eq!((pop(End::Front)?, pop(End::Back)?), (Some(301), Some(698)));
        Ok(looks)
    });
    // Each of 604 once, and after a put at each end those again between it and what is left.
    let work = work.unwrap();
    assert!(work <= 604 + 600, "{work}");
    let left = (302u32..698).map(|key| (key.to_be_bytes().to_vec(), (1, 4))).collect();
    check(&process, &[left, BTreeMap::new()]);
}
