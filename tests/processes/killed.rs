//! Workers are killed at any moment: the others notice nothing, and what is left is what some number of whole steps leaves.
//! It knows who dies; what a step does is in `own_keys`.
//!
//! Trials are of two kinds in turn. In a crowd several workers share a store that the parent has open too, so that somebody
//! living takes over; one or two die at a time. A worker that is alone may clear its store; half of its deaths leave
//! nobody, and the next to open finds what is there.

use std::path::Path;
use std::time::{Duration, Instant};

use larder::Cache;

use crate::crew::{self, Crew};
use crate::own_keys::{ALONE, Own, SHARED_COUNTER, STEPS_PER_ACK, WORKERS};
use crate::takeover::distribution;
use crate::values::Dice;

const KILLS: u64 = 300;
const KILLS_PER_CHECK: u64 = 50;
const KILLS_PER_TRIAL: u64 = 100;
/// Small, so that segments are short and many. When half of it is taken, the next trial begins.
const SIZE_LIMIT: u64 = 256 << 20;
/// What a store needs, what living handles have, and some that a dead one may leave until the next is opened.
const FILES_MAX: usize = 400;
const OF_THE_PARENT: &str = "written by the parent";

/// What is known of a worker.
struct Worker {
    number: u64,
    member: usize,
    own: Own,
    /// Steps in `own`.
    done: u64,
    /// Steps it has said it did.
    acknowledged: u64,
}

/// How long writes of the parent took.
#[derive(Default)]
struct Times {
    beside_the_crowd: Vec<Duration>,
    after_one_of_the_crowd: Vec<Duration>,
    after_the_one: Vec<Duration>,
    opening_after_the_last: Vec<Duration>,
}

struct Trial {
    directory: tempfile::TempDir,
    /// The parent's handle, but for while nobody is to be left.
    cache: Option<Cache>,
    crew: Crew,
    workers: Vec<Worker>,
    seed: u64,
    /// Steps to the shared counter that were done for certain.
    shared: i64,
    /// Steps to it that those killed may have done besides.
    shared_in_doubt: i64,
}

impl Trial {
    fn new(seed: u64, is_crowd: bool) -> Trial {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::builder(&directory).size_limit(SIZE_LIMIT).eviction(larder::Eviction::None).open().unwrap();
        let mut crew = Crew::new();
        let start = |number| Worker {
            number,
            member: crew.start("own_keys", directory.path(), &[seed, number, 0]),
            own: Own::nothing(seed, number),
            done: 0,
            acknowledged: 0,
        };
        let numbers = if is_crowd { 0..WORKERS } else { ALONE..ALONE + 1 };
        let workers = numbers.map(start).collect();
        Trial { directory, cache: Some(cache), crew, workers, seed, shared: 0, shared_in_doubt: 0 }
    }

    fn is_crowd(&self) -> bool {
        self.workers.len() > 1
    }

    fn cache(&mut self) -> &Cache {
        self.cache.get_or_insert_with(|| Cache::open(&self.directory).unwrap())
    }

    /// Listens to one line of anybody.
    fn listen(&mut self) {
        let (member, line) = self.crew.hear();
        let worker = self.workers.iter_mut().find(|worker| worker.member == member).expect("the dead are silent");
        let line = line.unwrap_or_else(|| panic!("a worker ended that nobody killed, after {}", worker.acknowledged));
        worker.acknowledged = line.parse().unwrap();
    }

    fn timed_set(&mut self) -> Duration {
        let begin = Instant::now();
        self.cache().set(OF_THE_PARENT, "again").unwrap();
        begin.elapsed()
    }

    /// Kills one worker, or two at the same time: the second may be about to take over from the first.
    fn kill(&mut self, dice: &mut Dice, times: &mut Times) -> u64 {
        if self.is_crowd() {
            times.beside_the_crowd.push(self.timed_set());
            let first = dice.below(WORKERS) as usize;
            let second = (dice.below(4) == 0).then(|| (first + 1) % self.workers.len());
            if let Some(w) = second {
                self.crew.strike(self.workers[w].member);
            }
            times.after_one_of_the_crowd.push(self.replace(first));
            let Some(w) = second else { return 1 };
            self.replace(w);
            return 2;
        }
        if dice.below(2) == 0 {
            self.cache = None;
            times.opening_after_the_last.push(self.replace(0));
        } else {
            self.timed_set();
            times.after_the_one.push(self.replace(0));
        }
        1
    }

    /// Kills a worker, finds out how far it got, and starts another in its place. Gives how long the first write took.
    fn replace(&mut self, w: usize) -> Duration {
        let words = self.crew.kill(self.workers[w].member);
        // A read does not finish what the dead one had committed and not yet made visible; a write does.
        let took = self.timed_set();
        if let Some(last) = words.last() {
            self.workers[w].acknowledged = last.parse().unwrap();
        }
        let (seed, number) = (self.seed, self.workers[w].number);
        let found = Own::found(self.cache(), seed, number);
        self.catch_up(w);
        let worker = &mut self.workers[w];
        let acknowledged = worker.own.clone();
        while worker.own != found {
            assert!(
                worker.done < worker.acknowledged + STEPS_PER_ACK,
                "worker {number} had done {} steps, and no number of further ones leads from\n{acknowledged:?}\nto\n{found:?}",
                worker.acknowledged
            );
            self.shared += i64::from(worker.own.apply(worker.done));
            worker.done += 1;
        }
        // It may have done more, if that led back to the same: its successor does it again, and counts again.
        let mut further = worker.own.clone();
        let mut counted = 0;
        for n in worker.done..worker.acknowledged + STEPS_PER_ACK {
            counted += i64::from(further.apply(n));
            if further == found {
                self.shared_in_doubt += std::mem::take(&mut counted);
            }
        }
        let numbers = [seed, number, worker.done];
        worker.acknowledged = worker.done;
        worker.member = self.crew.start("own_keys", self.directory.path(), &numbers);
        took
    }

    /// Brings the model to what was acknowledged.
    fn catch_up(&mut self, w: usize) {
        let worker = &mut self.workers[w];
        while worker.done < worker.acknowledged {
            self.shared += i64::from(worker.own.apply(worker.done));
            worker.done += 1;
        }
    }

    fn check(&mut self) {
        let report = self.cache().check().unwrap();
        assert!(report.is_clean(), "{:?}", report.problems);
    }

    /// Lets all end in good order, and compares everything.
    fn end(mut self) -> u64 {
        for w in 0..self.workers.len() {
            if let Some(last) = self.crew.finish(self.workers[w].member).last() {
                self.workers[w].acknowledged = last.parse().unwrap();
            }
            self.catch_up(w);
        }
        self.check();
        for cache in [self.cache.take().unwrap(), Cache::open(&self.directory).unwrap()] {
            cache.expire().unwrap();
            let mut items = cache.len_live().unwrap();
            assert_eq!(items, cache.len());
            for worker in &self.workers {
                assert_eq!(Own::found(&cache, self.seed, worker.number), worker.own);
                items -= worker.own.len();
            }
            items -= usize::from(cache.contains(OF_THE_PARENT).unwrap());
            let shared = cache.get::<i64>(SHARED_COUNTER).unwrap();
            items -= usize::from(shared.is_some());
            assert_eq!(items, 0, "something is there that nobody stored");
            let expected = self.shared..=self.shared + self.shared_in_doubt;
            assert!(expected.contains(&shared.unwrap_or(0)), "{shared:?} is not in {expected:?}");
        }
        let files = count_files(self.directory.path());
        assert!(files <= FILES_MAX, "{files} files are left");
        self.workers.iter().map(|worker| worker.done).sum()
    }
}

fn count_files(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries.map(|entry| if entry.file_type().unwrap().is_dir() { count_files(&entry.path()) } else { 1 }).sum()
}

#[test]
fn a_killed_process_disturbs_no_other() {
    let kills = crew::rounds(KILLS, 3);
    let mut dice = Dice::new(crew::seed());
    let begin = Instant::now();
    let (mut killed, mut trials, mut steps) = (0, 0, 0);
    let mut times = Times::default();
    while killed < kills {
        let mut trial = Trial::new(dice.throw(), trials % 2 == 0);
        let end = killed + KILLS_PER_TRIAL.min(kills / 2).min(kills - killed);
        while killed < end && trial.cache().volume() < SIZE_LIMIT / 2 {
            // Few lines strike a worker that is still opening, many one that is at work.
            let lines_max = 1 << dice.below(7);
            for _ in 0..dice.below(lines_max) {
                trial.listen();
            }
            let before = killed;
            killed += trial.kill(&mut dice, &mut times);
            if killed / KILLS_PER_CHECK != before / KILLS_PER_CHECK {
                trial.check();
            }
        }
        trials += 1;
        steps += trial.end();
    }
    println!("{killed} kills on {trials} directories in {:.1?}, {steps} steps done", begin.elapsed());
    distribution("write beside the four", &mut times.beside_the_crowd);
    distribution("first write after a death, beside three", &mut times.after_one_of_the_crowd);
    distribution("first write after the death of the only other", &mut times.after_the_one);
    distribution("opening and first write after the death of the last", &mut times.opening_after_the_last);
}
