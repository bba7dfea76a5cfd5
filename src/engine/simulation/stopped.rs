//! A writer is stopped at every step of a change of a queue, an index or a cache. Who reads then, and never has the lock, waits for nobody, and
//! sees the change done or not done: all of it, and from some step on. The invariants are those of `pending`.

use std::collections::VecDeque;
use std::fmt::Debug;

use super::acts::{self as cache, put, tagged};
use super::queue::{Act, Element, Model, Process, open, push_drafted, whole};
use super::world::{Handle, World, open_to_read};
use super::{audit, index, joint, scale, spread};
use crate::engine::change::{Put, Tag, Value};
use crate::engine::found::Found;
use crate::engine::handle;
use crate::engine::living::Living;
use crate::engine::order_read::{Stretch, Window};
use crate::engine::queue::{Bound, End, Span};
use crate::engine::read::{Record, Try};
use crate::engine::store::Store;
use crate::error::Result;
use crate::options::Eviction;
use crate::os::OsMap;
use crate::os::sim::{Machine, SimOs};
use crate::storage::namespace::{Kind, Label, Namespace};
use crate::storage::redo::{self, Address, CHANGES_INLINE, Change, Place};
use crate::storage::state::{PENDING, SUSPECT, VISIBLE};
use crate::storage::tag_table::row;

const FILE_CAPACITY: usize = 16 << 20;
/// Steps of one change at which its writer is stopped.
const STOPS: usize = 80;

/// Who makes a change, and is stopped at it.
trait Victim {
    fn os(&self) -> &SimOs;
}

impl Victim for Process {
    fn os(&self) -> &SimOs {
        &self.os
    }
}

impl Victim for index::Process {
    fn os(&self) -> &SimOs {
        &self.os
    }
}

impl Victim for joint::Process {
    fn os(&self) -> &SimOs {
        &self.os
    }
}

impl Victim for Handle {
    fn os(&self) -> &SimOs {
        &self.os
    }
}

/// What was met: steps at which a commit was published half, and those of them at which its list was in a file.
#[derive(Default)]
struct Met {
    half: usize,
    spilled: usize,
}

impl Met {
    fn note(&mut self, store: &Store<SimOs>) {
        let is_half = store.state.load(PENDING) > store.state.load(VISIBLE);
        self.half += usize::from(is_half);
        self.spilled += usize::from(is_half && redo::describe(&store.state).1.is_some());
    }
}

/// Stops whoever makes a change at each of its steps. `prepared` gives that process and what is seen before the change and after
/// it, `see` what a `reader` sees, which never has the lock.
fn stop_at_every_step<V: Victim, R, S: PartialEq + Debug>(
    what: &dyn Debug,
    prepared: impl Fn() -> (Machine, V, [S; 2]),
    change: impl Fn(&V),
    reader: impl Fn(&Machine) -> R,
    see: impl Fn(R, &V, &mut Met) -> S,
) -> Met {
    let steps = {
        let (_machine, process, _) = prepared();
        let before = process.os().steps();
        change(&process);
        process.os().steps() - before
    };
    let (mut met, mut was_done) = (Met::default(), false);
    for step in spread(steps, STOPS * scale()) {
        let (machine, victim, [before, after]) = prepared();
        let reader = reader(&machine);
        victim.os().kill_after(step);
        assert!(victim.os().run(|| change(&victim)).is_none(), "step {step} was not reached");
        let seen = see(reader, &victim, &mut met);
        let is_done = seen == after;
        assert!(is_done || seen == before, "{what:?} at step {step} of {steps}: {seen:?}");
        assert!(is_done || !was_done, "{what:?} at step {step} of {steps}: it was seen before");
        was_done = is_done && before != after;
    }
    assert!(met.half > 0, "{what:?}: nothing was published half");
    met
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

fn stop_in_queues(prepare: &[Act], act: &Act) -> Met {
    let prepared = || {
        let (machine, process, mut before) = furnished();
        for act in prepare {
            act.apply(&process.handle, &process.queues).unwrap();
            act.model(&mut before);
        }
        let mut after = before.clone();
        act.model(&mut after);
        (machine, process, [before, after])
    };
    let change = |victim: &Process| drop(act.apply(&victim.handle, &victim.queues).unwrap());
    stop_at_every_step(act, prepared, change, open_to_read, |reader, victim, met| {
        met.note(&reader.store);
        let handle = handle::Handle::Store(Living::new(reader.store));
        seen(&Process { handle, queues: victim.queues, os: reader.os })
    })
}

#[test]
fn a_queue_is_read_whole_whoever_is_stopped_in_a_push_or_a_pop() {
    for end in [End::Front, End::Back] {
        stop_in_queues(&[], &Act::Push(0, end, (100, 30), u64::MAX));
        // What is over the bound goes by the same commit.
        stop_in_queues(&[], &Act::Push(0, end, (100, 30), 3));
        stop_in_queues(&[], &Act::Push(1, end, (100, 30), 3));
        // Of the first queue the large element is at the back.
        stop_in_queues(&[], &Act::Pop(0, end));
        stop_in_queues(&[], &Act::Pop(1, end));
        stop_in_queues(&[Act::Pop(1, end), Act::Pop(1, end)], &Act::Pop(1, end));
    }
}

#[test]
fn a_queue_is_read_whole_whoever_is_stopped_in_another_change() {
    stop_in_queues(&[], &Act::Replace(1, 1, (100, 30)));
    stop_in_queues(&[], &Act::Clear(0));
    stop_in_queues(&[Act::Clear(1), Act::Push(1, End::Back, (100, 30), u64::MAX)], &Act::Clear(1));
    let moved = vec![Act::Pop(0, End::Front), Act::Push(1, End::Back, (0, 20), u64::MAX)];
    stop_in_queues(&[], &Act::Together(moved, true));
    let turned = vec![Act::Pop(1, End::Front), Act::Push(1, End::Back, (1, 21), u64::MAX)];
    stop_in_queues(&[], &Act::Together(turned, true));
    let emptied = vec![Act::Clear(1), Act::Push(1, End::Front, (100, 30), u64::MAX), Act::Pop(0, End::Back)];
    stop_in_queues(&[], &Act::Together(emptied, true));
}

#[test]
fn a_queue_is_read_whole_whoever_is_stopped_in_a_change_whose_list_spills() {
    let pushes = (0..CHANGES_INLINE as u32).map(|i| Act::Push(1, End::Back, (100 + i, 8), u64::MAX)).collect();
    let met = stop_in_queues(&[], &Act::Together(pushes, true));
    assert!(met.spilled > 0, "no list spilled");
}

/// What both indexes have, after a look whether it is the same from either end and without the values.
fn in_order(process: &index::Process) -> index::Model {
    for index in process.indexes {
        let all = |end, most| index::window(&process.handle, index, &Window::default(), end, most);
        let there = all(End::Front, usize::MAX);
        assert_eq!(there, all(End::Back, 3));
        let (mut left, mut to, mut keys) = (Window::default(), Stretch::default(), Vec::new());
        while !left.is_empty() {
            process.handle.stretch(index, &left, End::Front, (usize::MAX, false), &mut to).unwrap();
            keys.extend(to.items.iter().map(|item| to.key(item).to_vec()));
            left.without(End::Front, to.fence.take());
        }
        assert!(keys.iter().eq(there.iter().map(|(key, _)| key)), "keys alone are others");
    }
    index::found(process)
}

fn key(number: u32) -> Vec<u8> {
    let mut key = number.to_be_bytes()[2..].to_vec();
    key.resize(if number % 40 == 39 { 900 } else { 30 }, 7);
    key
}

/// As many keys as make a tree of several levels in the first index, and few in the second.
fn stop_in_indexes(keys: u32, prepare: &[index::Act], act: &index::Act) -> Met {
    let prepared = || {
        let machine = Machine::with_file_capacity(7, FILE_CAPACITY);
        let process = index::open(&machine, Eviction::None);
        let put = |which, number| index::Act::Put(which, key(number), number as u8, 20);
        let all = index::Act::Together((0..keys).map(|number| put(0, 2 * number)).chain([put(1, 1)]).collect(), true);
        let mut before = index::Model::default();
        for act in [&all].into_iter().chain(prepare) {
            act.apply(&process.handle, &process.indexes).unwrap();
            act.model(&mut before);
        }
        let mut after = before.clone();
        act.model(&mut after);
        (machine, process, [index::readable(&before), index::readable(&after)])
    };
    let change = |victim: &index::Process| drop(act.apply(&victim.handle, &victim.indexes).unwrap());
    stop_at_every_step(act, prepared, change, open_to_read, |reader, victim, met| {
        met.note(&reader.store);
        let handle = handle::Handle::Store(Living::new(reader.store));
        in_order(&index::Process { handle, indexes: victim.indexes, os: reader.os })
    })
}

#[test]
fn an_index_is_read_whole_whoever_is_stopped_in_a_put_or_a_removal() {
    use index::Act;
    for (keys, at) in [(5, 4), (300, 300)] {
        stop_in_indexes(keys, &[], &Act::Put(0, key(at + 1), 9, 40));
        stop_in_indexes(keys, &[], &Act::Put(0, key(at), 9, 40));
        stop_in_indexes(keys, &[], &Act::Remove(0, key(at)));
        stop_in_indexes(keys, &[Act::Remove(0, key(at))], &Act::Put(0, key(at), 9, 40));
        for end in [End::Front, End::Back] {
            stop_in_indexes(keys, &[], &Act::Pop(0, end));
        }
    }
    // The first key of an index, and its last.
    stop_in_indexes(5, &[Act::Clear(1)], &Act::Put(1, key(3), 9, 40));
    stop_in_indexes(5, &[], &Act::Remove(1, key(1)));
}

#[test]
fn an_index_is_read_whole_whoever_is_stopped_in_another_change() {
    use index::Act;
    stop_in_indexes(300, &[], &Act::Clear(0));
    stop_in_indexes(5, &[Act::Clear(0), Act::Put(0, key(7), 1, 10)], &Act::Clear(0));
    // Leaves that get too long, and that are written over.
    let more = (0..80).map(|i| Act::Put(0, key(201 + 2 * i), 9, 40)).collect();
    let met = stop_in_indexes(300, &[], &Act::Together(more, true));
    assert_eq!(met.spilled, 0);
    // Leaves that become one.
    let fewer = (0..90).map(|i| Act::Remove(0, key(200 + 2 * i))).collect();
    stop_in_indexes(300, &[], &Act::Together(fewer, true));
    let moved = vec![Act::Remove(0, key(100)), Act::Put(1, key(100), 50, 20), Act::Pop(0, End::Front)];
    stop_in_indexes(300, &[], &Act::Together(moved, true));
    let anew = vec![Act::Clear(0), Act::Put(0, key(100), 50, 20)];
    stop_in_indexes(300, &[], &Act::Together(anew, true));
}

#[test]
fn an_index_is_read_whole_whoever_is_stopped_in_a_change_whose_list_spills() {
    let puts = (0..CHANGES_INLINE as u32).map(|i| index::Act::Put(0, i.to_be_bytes().to_vec(), 9, 8)).collect();
    let met = stop_in_indexes(5, &[], &index::Act::Together(puts, true));
    assert!(met.spilled > 0, "no list spilled");
}

/// Whoever asks for many keys beside a `clear` or an eviction goes by the marks that were there before.
#[test]
fn many_keys_are_read_as_of_one_moment_whoever_is_stopped() {
    let all = [tagged(0, 1, 30, 1), tagged(1, 1, 30, 1), tagged(2, 1, 40, 2), put(3, 1, 12_000), put(4, 1, 50)];
    let again = [cache::Act::Evict(1), cache::Act::Clear, tagged(0, 2, 30, 1), put(4, 2, 50)];
    let batch = cache::Act::Batch(vec![cache::Act::Remove(0), put(3, 2, 13_000), cache::Act::Remove(4), put(7, 1, 8)]);
    let keys: Vec<Vec<u8>> = (0..10).map(cache::key_bytes).collect();
    for prepare in [all.to_vec(), [&all[..], &again].concat()] {
        for act in [cache::Act::Evict(1), cache::Act::Clear, cache::Act::Remove(0), put(4, 3, 60), batch.clone()] {
            let prepared = || {
                let (world, handle) = World::with(7, &prepare);
                let mut after = world.contents.clone();
                act.model(&mut after, handle.store.now());
                let versions = |contents: &cache::Contents| {
                    (0..10).map(|key| contents.get(&key).map(|item| item.version)).collect::<Vec<_>>()
                };
                let seen = [versions(&world.contents), versions(&after)];
                (world.machine, handle, seen)
            };
            stop_at_every_step(
                &act,
                prepared,
                |victim| act.apply_alone(&victim.store),
                open_to_read,
                |reader, _, met| {
                    met.note(&reader.store);
                    let store = &reader.store;
                    let asked: Vec<(&[u8], u64)> = keys.iter().map(|key| (&key[..], store.hash(key))).collect();
                    let mut versions = vec![None; 10];
                    let restart = |versions: &mut Vec<Option<u32>>| versions.fill(None);
                    let take = |versions: &mut Vec<Option<u32>>, i: usize, record: &Record<'_, SimOs>| {
                        versions[i] = Some(audit::seen(store, record).1.version);
                        Ok(())
                    };
                    store.read_many(&asked, &mut versions, restart, take).unwrap();
                    versions
                },
            );
        }
    }
}

/// Pushes and pops of one transaction over shards: a reader sees all of it or nothing, in each of the shards.
#[test]
fn queues_of_shards_are_read_whole_whoever_is_stopped() {
    let label = Label { kind: Kind::Deque, name: "queue" };
    let push = |handle: &handle::Handle<SimOs>, number: u32| {
        let queue = handle.namespace(label, false).unwrap();
        let put = Put { kind: 1, value: Value::Inline(&number.to_le_bytes()), expires: None, tag: Tag::Id(queue.id) };
        handle.push(queue, End::Back, put, Bound::NONE).unwrap();
    };
    let numbers = |store: &Store<SimOs>| -> Vec<u32> {
        let queue = Namespace { kind: Kind::Deque, id: store.tag_id(label).unwrap().unwrap() };
        let take = |found: &Found<'_, SimOs>| Ok(u32::from_le_bytes(found.value().unwrap().try_into().unwrap()));
        let read = |number| store.read_queue(queue, |span| span.position(number), take).unwrap().unwrap();
        (0..store.span(queue).unwrap().len).map(read).collect()
    };
    for is_lasting in [false, true] {
        let prepared = || {
            let machine = Machine::with_file_capacity(7, FILE_CAPACITY);
            let process = joint::process(&machine);
            let handles: Vec<_> =
                process.shards.members.iter().map(|shard| handle::Handle::Store(shard.clone())).collect();
            [(0, 1), (0, 2), (1, 3)].iter().for_each(|&(shard, number)| push(&handles[shard], number));
            (machine, process, [[vec![1, 2], vec![3]], [vec![2], vec![3, 1]]])
        };
        let change = |victim: &joint::Process| {
            let moved: Result<()> = victim.shards.transact(None, is_lasting, |inside| {
                let queue = inside[0].namespace(label, false)?;
                inside[0].pop(queue, End::Front, None, |_| Ok(()))?;
                push(&inside[1], 1);
                Ok(())
            });
            moved.unwrap();
        };
        let met = stop_at_every_step(&is_lasting, prepared, change, joint::reader, |reader, _, met| {
            let shards = [0, 1].map(|shard| reader.members[shard].store());
            shards.iter().for_each(|store| met.note(store));
            shards.map(|store| numbers(store))
        });
        assert!(met.half > 10, "{} steps with a part that was published half", met.half);
    }
}

/// A reader that reads a list while another one is written in its place reads what is of no moment. Nothing is made of that: it is
/// no damage, and no opener has to make the store anew for it.
#[test]
fn a_list_that_was_read_while_it_was_written_is_no_damage() {
    let (machine, process, _) = furnished();
    let store: &Store<SimOs> = &process.handle;
    let (queue, state) = (process.queues[1], &store.state);
    let place = queue.place();
    let len = Address::new(Place::Tags(place.chunk as u32), place.offset + row::LIVE);
    let list = |old| [Change { address: len, old, new: old }];
    let writer = super::world::open_in(&machine.process()).unwrap();
    let _locked = writer.lock().unwrap();
    let sequence = state.load(VISIBLE) + 1;
    // What the reader takes for the length is a word of the list that is being written.
    redo::write_inline(state, [&list(1 << 40), &[]]);
    state.store(PENDING, sequence);
    let mut looks = 0;
    let read = store.at_a_moment(|view, moment| {
        looks += 1;
        if looks > 1 {
            return Ok(Try::Done(None));
        }
        state.store(VISIBLE, sequence);
        redo::write_inline(state, [&list(1), &[]]);
        state.store(PENDING, sequence + 1);
        store.read_queue_at(view, moment, queue, |span| span.position(0), |_: &Found<'_, SimOs>| Ok(()))
    });
    assert!(read.is_ok() && looks > 1, "{:?}", read.err());
    assert_eq!(state.load(SUSPECT), 0, "the next to open alone makes all anew");
    state.store(PENDING, 0);
}
