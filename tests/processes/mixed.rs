//! Four processes of two threads each do everything to one directory, and the books balance afterwards.
//!
//! Keys are a letter and a number. What is asserted of each family, by every thread at once:
//!
//! | letter | who writes | what holds |
//! |---|---|---|
//! | `s` | all, by every call | a value read under a key was written under it |
//! | `c` | all, by `incr` and `decr` | the value is the sum of all changes |
//! | `x` | all, by `compare_and_set` | the value is the number of successes |
//! | `t` | all, by `add` and `pop` | those left are those added less those popped |
//! | `l`, `r` | all, in one `set_many` | both are there or none, and both are the same |
//! | `v` | one thread each | it never goes back, and no walk misses it or meets it twice |
//! | `f` | one thread, once | it stays |

use std::collections::HashMap;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use larder::{AnyKey, Cache, SetOptions};

use crate::crew::{self, Crew, Role};
use crate::values::{Dice, mixed, read_text, text};

const PROCESSES: u64 = 4;
const THREADS: u64 = 2;
const WRITERS: u64 = PROCESSES * THREADS;
const OPERATIONS: u64 = 100_000;
/// On one directory; beyond that, there are more directories.
const OPERATIONS_MAX: u64 = 1_000_000;
const SHARED: u64 = 400;
const TAGGED: u64 = 64;
const COUNTERS: usize = 16;
const TICKETS: u64 = 300;
const PAIRS: u64 = 6;
/// Keys between the two of a pair when both are read, so that there is time for somebody to come between.
const BETWEEN: u64 = 24;
const HOUR: Duration = Duration::from_secs(3600);

/// What threads did that must be found again.
#[derive(Default)]
struct Books {
    counters: [i64; COUNTERS],
    exchanges: i64,
    tickets: i64,
    fresh: u64,
    walks: u64,
}

impl Books {
    fn line(&self) -> String {
        let counters = self.counters.map(|sum| sum.to_string()).join(" ");
        format!("{counters} {} {} {} {}", self.exchanges, self.tickets, self.fresh, self.walks)
    }

    fn add(&mut self, line: &str) -> u64 {
        let numbers: Vec<i64> = line.split(' ').map(|number| number.parse().expect("a number")).collect();
        let (counters, [exchanges, tickets, fresh, walks]) = numbers.split_at(COUNTERS) else {
            panic!("no books: {line}");
        };
        for (sum, change) in self.counters.iter_mut().zip(counters) {
            *sum += change;
        }
        self.exchanges += exchanges;
        self.tickets += tickets;
        self.fresh += *fresh as u64;
        self.walks += *walks as u64;
        *fresh as u64
    }
}

/// One thread at work.
struct Hand {
    cache: Cache,
    me: u64,
    dice: Dice,
    written: u64,
    version: u64,
    seen: [u64; WRITERS as usize],
    books: Books,
}

pub fn play(role: &Role) {
    let &[process, seed, operations] = &role.numbers[..] else { panic!("three numbers: {:?}", role.numbers) };
    let cache = Cache::open(&role.directory).unwrap();
    crew::say("ready");
    assert_eq!(crew::next_order().as_deref(), Some("go"));
    let start = Barrier::new(THREADS as usize);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (cache, start, me) = (cache.clone(), &start, process * THREADS + thread);
            scope.spawn(move || {
                let dice = Dice::new(mixed(seed) ^ me);
                let seen = [0; WRITERS as usize];
                let mut hand = Hand { cache, me, dice, written: 0, version: 0, seen, books: Books::default() };
                start.wait();
                for _ in 0..operations {
                    hand.step();
                }
                crew::say(format!("{me} {}", hand.books.line()));
            });
        }
    });
}

fn version_key(writer: u64) -> (&'static str, u64) {
    ("v", writer)
}

impl Hand {
    fn step(&mut self) {
        let shared = self.dice.below(SHARED);
        match self.dice.below(2000) {
            0..280 => self.set_shared(shared),
            280..640 => self.read_shared(shared),
            640..780 => self.change_shared(shared),
            780..820 => self.tag(),
            820..822 => drop(self.cache.evict(tag_name(self.dice.below(4))).unwrap()),
            822..1080 => self.count(),
            1080..1200 => self.exchange(),
            1200..1360 => self.trade_ticket(),
            1360..1580 => self.pair(),
            1580..1700 => self.advance(),
            1700..1880 => {
                let writer = self.dice.below(WRITERS);
                let found: String = self.cache.get(version_key(writer)).unwrap().expect("it was never removed");
                self.see(writer, &found);
            }
            1880..1970 => self.store_fresh(),
            // A walk takes as long as the store is large, so there are fewer of them the larger it gets.
            1970 if self.dice.below(1 + self.books.fresh / 500) == 0 => self.walk(),
            1971 => assert_eq!(self.cache.expire().unwrap(), 0, "something expired within an hour"),
            _ => self.read_several(),
        }
    }

    fn next(&mut self) -> u64 {
        self.written += 1;
        self.written
    }

    fn set_shared(&mut self, i: u64) {
        let value = text(&format!("s{i}"), self.me, self.next());
        match self.dice.below(4) {
            0 => self.cache.set_with(("s", i), &value, SetOptions::new().expire(HOUR)).unwrap(),
            1 => drop(self.cache.add(("s", i), &value).unwrap()),
            _ => self.cache.set(("s", i), &value).unwrap(),
        }
    }

    fn read_shared(&mut self, i: u64) {
        let name = format!("s{i}");
        let found = match self.dice.below(4) {
            0 => self.cache.get_ref(("s", i)).unwrap().map(|found| String::from_utf8(found.to_vec()).unwrap()),
            1 => self.cache.entry::<String>(("s", i)).unwrap().map(|entry| entry.value),
            _ => self.cache.get::<String>(("s", i)).unwrap(),
        };
        if let Some(found) = found {
            read_text(&name, &found);
        }
    }

    fn change_shared(&mut self, i: u64) {
        let name = format!("s{i}");
        match self.dice.below(4) {
            0 => drop(self.cache.delete(("s", i)).unwrap()),
            1 => drop(self.cache.touch(("s", i), Some(HOUR)).unwrap()),
            2 => {
                if let Some(found) = self.cache.pop::<String>(("s", i)).unwrap() {
                    read_text(&name, &found);
                }
            }
            _ => {
                let old = self.cache.get::<String>(("s", i)).unwrap();
                let new = text(&name, self.me, self.next());
                self.cache.compare_and_set(("s", i), old.as_ref(), Some(&new)).unwrap();
            }
        }
    }

    fn tag(&mut self) {
        let i = self.dice.below(TAGGED);
        let value = text(&format!("g{i}"), self.me, self.next());
        self.cache.set_with(("g", i), &value, SetOptions::new().tag(tag_name(i % 4))).unwrap();
        let j = self.dice.below(TAGGED);
        if let Some(found) = self.cache.entry::<String>(("g", j)).unwrap() {
            read_text(&format!("g{j}"), &found.value);
            assert_eq!(found.tag.as_deref(), Some(tag_name(j % 4)));
        }
    }

    fn count(&mut self) {
        let i = self.dice.below(COUNTERS as u64) as usize;
        let change = self.dice.below(20) as i64;
        if self.dice.below(3) == 0 {
            self.cache.decr(("c", i), change).unwrap();
            self.books.counters[i] -= change;
        } else {
            self.cache.incr(("c", i), change).unwrap();
            self.books.counters[i] += change;
        }
    }

    fn exchange(&mut self) {
        let old: Option<i64> = self.cache.get(("x", 0)).unwrap();
        let new = old.unwrap_or(0) + 1;
        self.books.exchanges += i64::from(self.cache.compare_and_set(("x", 0), old.as_ref(), Some(&new)).unwrap());
    }

    fn trade_ticket(&mut self) {
        let i = self.dice.below(TICKETS);
        let name = format!("t{i}");
        if self.dice.below(2) == 0 {
            let value = text(&name, self.me, self.next());
            self.books.tickets += i64::from(self.cache.add(("t", i), &value).unwrap());
        } else if let Some(found) = self.cache.pop::<String>(("t", i)).unwrap() {
            read_text(&name, &found);
            self.books.tickets -= 1;
        }
    }

    fn pair(&mut self) {
        let i = self.dice.below(PAIRS);
        let keys = [("l", i), ("r", i)];
        let tag = format!("pairs {}", i % 3);
        match self.dice.below(24) {
            0..8 => {
                let value = text(&format!("p{i}"), self.me, self.next());
                self.cache.set_many_with(keys.map(|key| (key, &value)), SetOptions::new().tag(tag)).unwrap();
            }
            8..10 => assert_ne!(self.cache.delete_many(keys).unwrap(), 1, "half of pair {i} was there"),
            10 => assert_eq!(self.cache.evict(&tag).unwrap() % 2, 0, "half of a pair of {i}'s tag was there"),
            _ => {
                let between = (0..BETWEEN).map(|n| version_key(n % WRITERS));
                let keys = std::iter::once(keys[0]).chain(between).chain([keys[1]]);
                let found = self.cache.get_many::<String>(keys).unwrap();
                let found = [found.first().unwrap(), found.last().unwrap()];
                let heads: Vec<_> = found.iter().map(|v| v.as_ref().map(|v| &v[..v.len().min(40)])).collect();
                assert!(found[0] == found[1], "pair {i} differs: {heads:?}");
                if let Some(found) = found[0] {
                    read_text(&format!("p{i}"), found);
                }
            }
        }
    }

    fn advance(&mut self) {
        self.version += 1;
        let value = text(&format!("v{}", self.me), self.me, self.version);
        self.cache.set(version_key(self.me), &value).unwrap();
        if self.dice.below(4) == 0 {
            assert!(self.cache.touch(version_key(self.me), None).unwrap(), "a key that stays was not there");
        }
    }

    #[track_caller]
    fn see(&mut self, writer: u64, found: &str) {
        let (by, version) = read_text(&format!("v{writer}"), found);
        let seen = if writer == self.me { self.version } else { self.seen[writer as usize] };
        assert_eq!(by, writer);
        assert!(version >= seen, "version {version} of {writer} was seen after {seen}");
        self.seen[writer as usize] = version;
    }

    fn store_fresh(&mut self) {
        let base = self.me << 32;
        let first = self.books.fresh;
        let count = if self.dice.below(10) == 0 { 20 } else { 1 };
        self.books.fresh += count;
        let fresh = |n| (("f", base + n), text(&format!("f{}", base + n), self.me, n));
        if count == 1 {
            let (key, value) = fresh(first);
            assert!(self.cache.add(key, &value).unwrap(), "a new key was there: {key:?}");
        } else {
            self.cache.set_many((first..first + count).map(fresh)).unwrap();
        }
        let n = self.dice.below(self.books.fresh);
        let found = self.cache.get::<String>(("f", base + n)).unwrap();
        assert_eq!(read_text(&format!("f{}", base + n), &found.expect("a key that stays")), (self.me, n));
    }

    fn read_several(&mut self) {
        let picked: Vec<u64> = (0..8).map(|_| self.dice.below(SHARED)).collect();
        let found = self.cache.get_many::<String>(picked.iter().map(|&i| ("s", i))).unwrap();
        for (i, found) in picked.into_iter().zip(found) {
            if let Some(found) = found {
                read_text(&format!("s{i}"), &found);
            }
        }
        let versions = (0..WRITERS).map(version_key);
        for (writer, found) in (0..).zip(self.cache.get_many::<String>(versions).unwrap()) {
            self.see(writer, &found.expect("it was never removed"));
        }
    }

    fn walk(&mut self) {
        self.books.walks += 1;
        let mut met: HashMap<u64, u64> = HashMap::new();
        let (fresh, base) = (self.books.fresh, self.me << 32);
        let mut mine = 0;
        for pair in self.cache.iter::<(String, u64), String>() {
            match pair {
                Err(error) => assert!(error.is_type(), "{error}"),
                Ok(((letter, i), found)) => match letter.as_str() {
                    "l" | "r" => drop(read_text(&format!("p{i}"), &found)),
                    "v" => {
                        assert_eq!(met.insert(i, 1), None, "a walk met version {i} twice");
                        self.see(i, &found);
                    }
                    _ => {
                        read_text(&format!("{letter}{i}"), &found);
                        mine += u64::from(letter == "f" && (base..base + fresh).contains(&i));
                    }
                },
            }
        }
        assert_eq!(met.len() as u64, WRITERS, "a walk missed a key that stays");
        assert_eq!(mine, fresh, "a walk missed a key that stays, or met it twice");
    }
}

fn tag_name(number: u64) -> &'static str {
    ["north", "east", "south", "west"][number as usize % 4]
}

fn full_count(cache: &Cache) -> HashMap<String, u64> {
    let mut keys: Vec<AnyKey> = cache.keys::<AnyKey>().map(Result::unwrap).collect();
    let count = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), count, "a walk over a cache at rest met a key twice");
    let mut counts: HashMap<String, u64> = HashMap::new();
    for key in cache.keys::<(String, u64)>() {
        *counts.entry(key.unwrap().0).or_default() += 1;
    }
    assert_eq!(counts.values().sum::<u64>(), count as u64);
    assert_eq!(cache.len(), count);
    assert_eq!(cache.len_live().unwrap(), count);
    counts
}

fn balance(cache: &Cache, books: &Books, fresh: &[u64]) {
    for (i, &sum) in books.counters.iter().enumerate() {
        assert_eq!(cache.get::<i64>(("c", i)).unwrap().unwrap_or(0), sum, "counter {i}");
    }
    assert_eq!(cache.get::<i64>(("x", 0)).unwrap().unwrap_or(0), books.exchanges);
    let counts = full_count(cache);
    let count = |letter: &str| counts.get(letter).copied().unwrap_or(0);
    assert_eq!(count("t") as i64, books.tickets);
    assert_eq!(count("l"), count("r"));
    assert_eq!(count("v"), WRITERS);
    assert_eq!(count("f"), books.fresh);
    for (writer, &fresh) in (0..).zip(fresh) {
        for n in 0..fresh {
            let key = ("f", (writer << 32) + n);
            let found = cache.get::<String>(key).unwrap().unwrap_or_else(|| panic!("{key:?} is lost"));
            assert_eq!(read_text(&format!("f{}", key.1), &found), (writer, n));
        }
    }
    let report = cache.check().unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
    assert_eq!(report.items, cache.len() as u64);
}

#[test]
fn four_processes_and_two_threads_lose_nothing() {
    let scale = crew::scale();
    let operations = (OPERATIONS * scale).min(OPERATIONS_MAX);
    let rounds = (OPERATIONS * scale).div_ceil(operations);
    for round in 0..rounds {
        let directory = tempfile::tempdir().unwrap();
        let early = Cache::open(&directory).unwrap();
        for writer in 0..WRITERS {
            early.set(version_key(writer), &text(&format!("v{writer}"), writer, 0)).unwrap();
        }
        let mut crew = Crew::new();
        let seed = mixed(crew::seed() + round);
        let numbers = |process| [process, seed, operations / WRITERS];
        let members: Vec<usize> =
            (0..PROCESSES).map(|process| crew.start("mixed", directory.path(), &numbers(process))).collect();
        for &member in &members {
            crew.expect_of(member, "ready");
        }
        let begin = Instant::now();
        for &member in &members {
            crew.tell(member, "go");
        }
        let (mut books, mut fresh) = (Books::default(), vec![0; WRITERS as usize]);
        for &member in &members {
            for _ in 0..THREADS {
                let said = crew.hear_of(member).expect("a child gives its books");
                let (writer, line) = said.split_once(' ').expect("writer and books");
                fresh[writer.parse::<usize>().unwrap()] = books.add(line);
            }
        }
        let took = begin.elapsed();
        for member in members {
            crew.finish(member);
        }
        balance(&early, &books, &fresh);
        balance(&Cache::open(&directory).unwrap(), &books, &fresh);
        println!(
            "{operations} operations by {PROCESSES} processes x {THREADS} threads in {took:.1?}: {} items, {} walks, {} bytes",
            early.len(),
            books.walks,
            early.volume()
        );
    }
}
