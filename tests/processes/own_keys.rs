//! A worker with keys of its own, whose every step follows from its number: so that whoever knows how many steps were done
//! knows what must be there. It knows what a step does, to the cache and to the model; it does not know who dies.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use larder::{Cache, SetOptions};

use crate::crew::{self, Role};
use crate::values::{Dice, mixed, read_text, text};

/// Keys of one worker.
const KEYS: u64 = 40;
pub const WORKERS: u64 = 4;
/// A worker says so every so many steps.
pub const STEPS_PER_ACK: u64 = 32;
pub const SHARED_COUNTER: &str = "shared counter";
const HOUR: Duration = Duration::from_secs(3600);

/// The worker of a store that nobody else writes to: it alone may clear it.
pub const ALONE: u64 = WORKERS;

#[derive(Clone, Debug)]
enum Step {
    Set {
        key: u64,
        tagged: bool,
    },
    /// Stores what has expired by then.
    SetExpired(u64),
    Add(u64),
    SetMany(Vec<u64>),
    Delete(u64),
    DeleteMany(Vec<u64>),
    Pop(u64),
    Touch {
        key: u64,
        expires: bool,
    },
    Evict,
    Expire,
    Clear,
    Count(i64),
    CountShared,
    Read {
        worker: u64,
        key: u64,
    },
}

impl Step {
    fn of(seed: u64, worker: u64, n: u64) -> Step {
        let mut dice = Dice::new(mixed(seed) ^ mixed(worker << 48 ^ n));
        let key = dice.below(KEYS);
        let several = |dice: &mut Dice| {
            let count = if dice.below(8) == 0 { 3 * KEYS } else { 2 + dice.below(6) };
            let mut keys: Vec<u64> = (0..count).map(|_| dice.below(KEYS)).collect();
            keys.sort_unstable();
            keys.dedup();
            keys
        };
        match dice.below(100) {
            0..24 => Step::Set { key, tagged: dice.below(4) == 0 },
            24..28 => Step::SetExpired(key),
            28..36 => Step::Add(key),
            36..52 => Step::SetMany(several(&mut dice)),
            52..62 => Step::Delete(key),
            62..66 => Step::DeleteMany(several(&mut dice)),
            66..72 => Step::Pop(key),
            72..77 => Step::Touch { key, expires: dice.below(2) == 0 },
            77..79 => Step::Evict,
            79 => Step::Expire,
            80..88 => Step::Count(dice.below(9) as i64),
            88..92 if worker == ALONE => Step::Clear,
            88..92 => Step::CountShared,
            _ => Step::Read { worker: dice.below(WORKERS), key },
        }
    }
}

/// What is stored under one key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Item {
    /// The step that stored it.
    n: u64,
    tagged: bool,
    expires: bool,
}

/// The keys of one worker as they must be, or as they are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Own {
    seed: u64,
    worker: u64,
    items: Vec<Option<Item>>,
    counter: Option<i64>,
}

fn place(worker: u64, key: u64) -> (&'static str, u64, u64) {
    ("own", worker, key)
}

fn name(worker: u64, key: u64) -> String {
    format!("w{worker}k{key}")
}

fn tag(worker: u64) -> String {
    format!("of worker {worker}")
}

impl Own {
    pub fn nothing(seed: u64, worker: u64) -> Own {
        Own { seed, worker, items: vec![None; KEYS as usize], counter: None }
    }

    /// What a cache holds of a worker's keys.
    pub fn found(cache: &Cache, seed: u64, worker: u64) -> Own {
        let item = |key| {
            let entry = cache.entry::<String>(place(worker, key)).unwrap()?;
            let (by, n) = read_text(&name(worker, key), &entry.value);
            assert_eq!(by, worker, "a key of {worker} was written by {by}");
            let tagged = entry.tag.is_some_and(|found| found == tag(worker));
            Some(Item { n, tagged, expires: entry.expires_at.is_some() })
        };
        Own { seed, worker, items: (0..KEYS).map(item).collect(), counter: cache.get(("counter", worker)).unwrap() }
    }

    /// The keys under which these have something that `found` has not, if that is all they differ in.
    pub fn missing_in(&self, found: &Own) -> Option<Vec<u64>> {
        let mut missing = Vec::new();
        for (key, (mine, theirs)) in (0..).zip(self.items.iter().zip(&found.items)) {
            match (mine, theirs) {
                (Some(_), None) => missing.push(key),
                (mine, theirs) if mine == theirs => {}
                _ => return None,
            }
        }
        (self.counter == found.counter).then_some(missing)
    }

    /// Where these and those that were found are not the same.
    pub fn differences(&self, found: &Own) -> Vec<String> {
        let keys = (0..).zip(self.items.iter().zip(&found.items)).filter(|(_, (mine, theirs))| mine != theirs);
        let len = |key: u64| self.stored(key).map_or(0, |(_, value)| value.len());
        let mut all: Vec<String> = keys
            .map(|(key, (mine, theirs))| format!("{key}: {mine:?} of {} bytes, found {theirs:?}", len(key)))
            .collect();
        if self.counter != found.counter {
            all.push(format!("counter: {:?}, found {:?}", self.counter, found.counter));
        }
        all
    }

    /// The step that stored what is under a key, and what it stored.
    pub fn stored(&self, key: u64) -> Option<(u64, String)> {
        self.items[key as usize].map(|item| (item.n, text(&name(self.worker, key), self.worker, item.n)))
    }

    /// Stores under a key what must be there.
    pub fn restore(&self, cache: &Cache, key: u64) {
        let (item, (_, value)) = (self.items[key as usize].unwrap(), self.stored(key).unwrap());
        let mut options = SetOptions::new();
        if item.tagged {
            options = options.tag(tag(self.worker));
        }
        if item.expires {
            options = options.expire(HOUR);
        }
        cache.set_with(place(self.worker, key), &value, options).unwrap();
    }

    pub fn len(&self) -> usize {
        self.items.iter().flatten().count() + usize::from(self.counter.is_some())
    }

    /// Does a step to the model, and says whether it was one to the shared counter.
    pub fn apply(&mut self, n: u64) -> bool {
        let untagged = Item { n, tagged: false, expires: false };
        let items = &mut self.items;
        match Step::of(self.seed, self.worker, n) {
            Step::Set { key, tagged } => items[key as usize] = Some(Item { tagged, ..untagged }),
            Step::Add(key) => drop(items[key as usize].get_or_insert(untagged)),
            Step::SetMany(keys) => keys.iter().for_each(|&key| items[key as usize] = Some(untagged)),
            Step::Delete(key) | Step::Pop(key) | Step::SetExpired(key) => items[key as usize] = None,
            Step::DeleteMany(keys) => keys.iter().for_each(|&key| items[key as usize] = None),
            Step::Evict => items.iter_mut().for_each(|item| *item = item.filter(|item| !item.tagged)),
            Step::Count(by) => *self.counter.get_or_insert(0) += by,
            Step::CountShared => return true,
            Step::Touch { key, expires } => items[key as usize].iter_mut().for_each(|item| item.expires = expires),
            Step::Clear => (items.fill(None), self.counter = None).0,
            Step::Expire | Step::Read { .. } => {}
        }
        false
    }

    /// Does a step to the cache; what it answers must be what the model says. An error has changed nothing.
    pub fn carry_out(&self, cache: &Cache, n: u64) -> larder::Result<()> {
        let worker = self.worker;
        let value = |key| text(&name(worker, key), worker, n);
        let is_there = |key: u64| self.items[key as usize].is_some();
        let step = Step::of(self.seed, worker, n);
        match step.clone() {
            Step::Set { key, tagged: false } => cache.set(place(worker, key), &value(key))?,
            Step::Set { key, tagged: true } => {
                cache.set_with(place(worker, key), &value(key), SetOptions::new().tag(tag(worker)))?;
            }
            Step::Add(key) => {
                assert_ne!(cache.add(place(worker, key), &value(key))?, is_there(key), "{step:?}")
            }
            Step::SetMany(keys) => cache.set_many(keys.into_iter().map(|k| (place(worker, k), value(k))))?,
            Step::Delete(key) => assert_eq!(cache.delete(place(worker, key))?, is_there(key), "{step:?}"),
            Step::DeleteMany(keys) => {
                let expected = keys.iter().filter(|&&key| is_there(key)).count() as u64;
                let removed = cache.delete_many(keys.into_iter().map(|key| place(worker, key)))?;
                assert_eq!(removed, expected, "{step:?}");
            }
            Step::Pop(key) => {
                let popped = cache.pop::<String>(place(worker, key))?;
                let popped = popped.map(|found| read_text(&name(worker, key), &found).1);
                assert_eq!(popped, self.items[key as usize].map(|item| item.n), "{step:?}");
            }
            Step::SetExpired(key) => {
                cache.set_with(place(worker, key), &value(key), SetOptions::new().expire(Duration::ZERO))?;
            }
            Step::Touch { key, expires } => {
                let found = cache.touch(place(worker, key), expires.then_some(HOUR))?;
                assert_eq!(found, is_there(key), "{step:?}");
            }
            Step::Expire => drop(cache.expire()?),
            Step::Clear => assert!(cache.clear()? >= self.len() as u64, "{step:?}"),
            Step::Evict => {
                let tagged = self.items.iter().flatten().filter(|item| item.tagged).count() as u64;
                assert_eq!(cache.evict(&tag(worker))?, tagged, "{step:?}");
            }
            Step::Count(by) => {
                let sum = cache.incr(("counter", worker), by)?;
                assert_eq!(sum, self.counter.unwrap_or(0) + by, "{step:?}");
            }
            Step::CountShared => drop(cache.incr(SHARED_COUNTER, 1)?),
            Step::Read { worker: other, key } => {
                let found = cache.get::<String>(place(other, key))?;
                let read = found.map(|found| read_text(&name(other, key), &found).1);
                assert!(other != worker || read == self.items[key as usize].map(|item| item.n), "{step:?}: {read:?}");
            }
        }
        Ok(())
    }
}

/// Reads what others write, until told to stop.
fn watch(cache: &Cache, seed: u64, stop: &AtomicBool) {
    let mut dice = Dice::new(seed);
    while !stop.load(Ordering::Relaxed) {
        let (worker, key) = (dice.below(WORKERS + 1), dice.below(KEYS));
        if let Some(found) = cache.get::<String>(place(worker, key)).unwrap() {
            assert_eq!(read_text(&name(worker, key), &found).0, worker);
        }
    }
}

/// Goes on where its predecessor was killed.
pub fn play(role: &Role) {
    let &[seed, worker, first] = &role.numbers[..] else { panic!("three numbers: {:?}", role.numbers) };
    let cache = Cache::open(&role.directory).unwrap();
    let mut own = Own::found(&cache, seed, worker);
    let stop = crew::told_to_stop();
    std::thread::scope(|scope| {
        // One that only reads is enough: more would take the cores from those that write.
        if worker == 0 {
            scope.spawn(|| watch(&cache, mixed(seed ^ first), stop));
        }
        let mut n = first;
        while !stop.load(Ordering::Relaxed) {
            for _ in 0..STEPS_PER_ACK {
                own.carry_out(&cache, n).unwrap();
                own.apply(n);
                n += 1;
            }
            crew::say(n);
        }
    });
}
