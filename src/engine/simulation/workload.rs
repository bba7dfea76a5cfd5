//! Random operations by several processes in turn, some of which die, on a small store: what power cuts are tried on. It
//! keeps the history of what was held; it knows nothing of what a power cut leaves.

use super::super::store::Store;
use super::acts::{Act, Contents, Item, tag_by};
use super::audit::live;
use super::history::History;
use super::world::{Handle, SMALL_LIMIT, living, open_sized};
use super::{Chance, Dice};
use crate::os::Os;
use crate::os::OsMap;
use crate::os::sim::{Machine, SimOs};
use crate::storage::state;
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;
/// From this length on a value has a file of its own: an eighth of a segment of the smallest size.
pub const LARGE: usize = 8 << 10;

/// What the operations of one run are like.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    keys: u64,
    len: u64,
    /// In a hundred: values with files of their own, batches of many keys, evictions and clears.
    large: u64,
    bulk: u64,
    drops: u64,
}

/// Few keys that meet often; items that fill segments; large values; many keys, so that the index grows.
const SHAPES: [Shape; 4] = [
    Shape { keys: 12, len: 200, large: 2, bulk: 0, drops: 10 },
    Shape { keys: 16, len: 7_000, large: 1, bulk: 0, drops: 4 },
    Shape { keys: 10, len: 600, large: 25, bulk: 0, drops: 6 },
    Shape { keys: 60, len: 40, large: 0, bulk: 12, drops: 2 },
];

/// A machine with processes at work, and what they did.
pub struct Workload<D = Dice> {
    pub machine: Machine,
    pub handles: Vec<Handle>,
    pub history: History,
    pub dice: D,
    shape: Shape,
    version: u32,
    /// Files that had gone when the history began.
    retired: u64,
    /// A sync has returned, and what the history says of it is still to be said: until then moments within it are looked at.
    is_synced: bool,
    pub deaths: u64,
}

impl Workload {
    pub fn new(seed: u64) -> Workload {
        Workload::drawn_from(seed, Dice(seed.wrapping_mul(0x9E37_79B9)))
    }
}

impl<D: Chance> Workload<D> {
    /// On the machine and of the shape of a seed, with operations that are drawn from elsewhere.
    pub fn drawn_from(seed: u64, dice: D) -> Workload<D> {
        let machine = Machine::with_file_capacity(seed, 4 << 20);
        let handle = open_sized(&machine, SMALL_LIMIT);
        let shape = SHAPES[seed as usize % SHAPES.len()];
        let history = History::new(Contents::new());
        // The names of the first files are durable: before that there is no store to speak of.
        handle.store.sync().unwrap();
        let handles = vec![handle];
        Workload { machine, handles, history, dice, shape, version: 0, retired: 0, is_synced: false, deaths: 0 }
    }

    /// Goes on with a store that was found after a power cut.
    pub fn adopt(&mut self, handle: Handle, contents: Contents) {
        self.machine = handle.os.machine().clone();
        // What had expired and was removed may be back, to be removed once more.
        handle.store.expire().unwrap();
        self.retired = handle.store.state.load(state::RETIRED);
        self.handles = vec![handle];
        self.history = History::new(contents);
        self.history.is_found = true;
        self.is_synced = false;
    }

    pub fn now(&self) -> u64 {
        self.handles[0].os.now()
    }

    fn item(&mut self) -> Item {
        self.version += 1;
        let len = match self.dice.below(100) < self.shape.large {
            true => LARGE as u64 + self.dice.below(12_000),
            false => 8 + self.dice.below(self.shape.len),
        };
        let tag = (self.dice.below(3) == 0).then(|| tag_by(self.version, self.dice.below(4)));
        let expires = (self.dice.below(8) == 0).then(|| self.now() + self.dice.below(60) * SECOND);
        Item { version: self.version, len: len as usize, tag, expires }
    }

    fn change(&mut self) -> Act {
        let key = self.dice.below(self.shape.keys) as u32;
        match self.dice.below(8) {
            0 | 1 => Act::Remove(key),
            2 => {
                self.version += 1;
                Act::Update(key, self.version)
            }
            _ => Act::Put(key, self.item()),
        }
    }

    /// Some operation.
    pub fn act(&mut self) -> Act {
        if self.dice.below(100) < self.shape.bulk {
            let from = 1_000 + self.dice.below(12) as u32 * 40;
            let removes = self.dice.below(4) == 0;
            let one = |run: &mut Workload<D>, key| match removes {
                true => Act::Remove(key),
                false => Act::Put(key, Item { len: 8, ..run.item() }),
            };
            return Act::Batch((from..from + 40).map(|key| one(self, key)).collect());
        }
        if self.dice.below(100) < self.shape.drops {
            return match self.dice.below(8) {
                0 => Act::Clear,
                1..4 => Act::Expire,
                _ => Act::Evict(tag_by(self.version, self.dice.below(4))),
            };
        }
        match self.dice.below(6) {
            0 => {
                let changes = (0..2 + self.dice.below(5)).map(|_| self.change());
                super::random::each_key_once(changes.filter(|act| !matches!(act, Act::Update(..))).collect())
            }
            _ => self.change(),
        }
    }

    /// One operation by one of the processes, which may die in it; what the machine was at some step within it, if
    /// `between` says which.
    pub fn step(&mut self, between: Option<u64>) -> Option<Machine> {
        let who = self.dice.below(self.handles.len() as u64) as usize;
        let os = self.handles[who].os.clone();
        os.copy_after(between.unwrap_or(u64::MAX));
        if self.dice.below(24) == 0 {
            self.handles[who].store.sync().unwrap();
            self.is_synced = true;
        } else {
            self.change_something(who);
        }
        os.copy_after(u64::MAX);
        self.machine.take_moment()
    }

    fn change_something(&mut self, who: usize) {
        let act = self.act();
        let time = self.now();
        if self.dice.below(24) == 0 {
            self.die(who, &act, time);
        } else {
            let mut after = self.history.newest().clone();
            let expected = act.model(&mut after, time);
            match act.apply(&self.handles[who].store) {
                Ok(answer) => {
                    assert_eq!(answer, expected, "{act:?}");
                    self.history.push(&act, time, after);
                }
                Err(error) => {
                    assert!(error.is_full(), "{act:?}: {error:?}");
                    self.history.push_stray(&act, time);
                }
            }
        }
        self.history.retired |= self.store().state.load(state::RETIRED) != self.retired;
    }

    pub fn store(&self) -> &Store<SimOs> {
        &self.handles[0].store
    }

    /// A process dies at some step of an operation.
    fn die(&mut self, who: usize, act: &Act, time: u64) {
        self.deaths += 1;
        let victim = self.handles.swap_remove(who);
        victim.os.kill_after(self.dice.below(120));
        let _ = victim.os.run(|| act.apply(&victim.store));
        victim.os.kill();
        drop(victim);
        if self.handles.is_empty() {
            self.handles.push(open_sized(&self.machine, SMALL_LIMIT));
        }
        let store = self.store();
        drop(store.lock().unwrap());
        // Nobody can tell whether what had expired when it was put was put: afterwards it is gone in either case.
        store.expire().unwrap();
        let seen = live(store);
        let mut after = self.history.newest().clone();
        act.model(&mut after, time);
        if seen == living(&after, time) {
            self.history.push(act, time, after);
        } else {
            assert_eq!(seen, living(self.history.newest(), time), "{act:?} and a death");
            self.history.push_stray(act, time);
        }
        let left = living(self.history.newest(), time);
        self.history.push(&Act::Expire, time, left);
    }

    /// What happens between operations: time, processes that come and go, pages that are written back.
    pub fn pass(&mut self) {
        if std::mem::take(&mut self.is_synced) {
            self.history.sync();
            self.retired = self.store().state.load(state::RETIRED);
        }
        match self.dice.below(40) {
            0 => self.machine.advance(Duration::from_secs(self.dice.below(20))),
            1 if self.handles.len() < 3 => self.handles.push(open_sized(&self.machine, SMALL_LIMIT)),
            2 if self.handles.len() > 1 => drop(self.handles.swap_remove(0)),
            3 => {
                self.handles.clear();
                self.handles.push(open_sized(&self.machine, SMALL_LIMIT));
            }
            4..10 => self.machine.write_back(self.dice.next(), 1 + self.dice.below(4)),
            _ => {}
        }
    }
}
