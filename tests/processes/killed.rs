//! Workers are killed at any moment: the others notice nothing, and what is left is what some number of whole steps leaves.
//! It knows who dies; what a step does is in `own_keys`.

use std::path::Path;
use std::time::{Duration, Instant};

use larder::Cache;

use crate::crew::{self, Crew};
use crate::own_keys::{Own, SHARED_COUNTER, STEPS_PER_ACK, WORKERS};
use crate::takeover::distribution;
use crate::values::Dice;

const KILLS: u64 = 200;
const KILLS_PER_CHECK: u64 = 50;
/// Small, so that segments are short and many. When half of it is taken, the next trial begins.
const SIZE_LIMIT: u64 = 256 << 20;
/// What a store needs, what living handles have, and some that a dead one may leave until the next is opened.
const FILES_MAX: usize = 400;

/// What is known of a worker.
struct Worker {
    member: usize,
    own: Own,
    /// Steps in `own`.
    done: u64,
    /// Steps it has said it did.
    acknowledged: u64,
}

struct Trial {
    directory: tempfile::TempDir,
    cache: Cache,
    crew: Crew,
    workers: Vec<Worker>,
    seed: u64,
    /// Steps to the shared counter that were done for certain.
    shared: i64,
    /// Steps to it that those killed may have done besides.
    shared_in_doubt: i64,
}

impl Trial {
    fn new(seed: u64) -> Trial {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::builder(&directory).size_limit(SIZE_LIMIT).open().unwrap();
        let mut crew = Crew::new();
        let start = |worker| Worker {
            member: crew.start("own_keys", directory.path(), &[seed, worker, 0]),
            own: Own::nothing(seed, worker),
            done: 0,
            acknowledged: 0,
        };
        let workers = (0..WORKERS).map(start).collect();
        Trial { directory, cache, crew, workers, seed, shared: 0, shared_in_doubt: 0 }
    }

    /// Listens to one line of anybody.
    fn listen(&mut self) {
        let (member, line) = self.crew.hear();
        let worker = self.workers.iter_mut().find(|worker| worker.member == member).expect("the dead are silent");
        let line = line.unwrap_or_else(|| panic!("a worker ended that nobody killed, after {}", worker.acknowledged));
        worker.acknowledged = line.parse().unwrap();
    }

    fn timed_set(&self) -> Duration {
        let begin = Instant::now();
        self.cache.set("written by the parent", "again").unwrap();
        begin.elapsed()
    }

    /// Kills a worker, finds out how far it got, and starts another in its place. Gives how long the first write took.
    fn replace(&mut self, w: usize) -> Duration {
        let words = self.crew.kill(self.workers[w].member);
        // A read does not finish what the dead one had committed and not yet made visible; a write does.
        let took = self.timed_set();
        if let Some(last) = words.last() {
            self.workers[w].acknowledged = last.parse().unwrap();
        }
        let found = Own::found(&self.cache, self.seed, w as u64);
        self.catch_up(w);
        let worker = &mut self.workers[w];
        let acknowledged = worker.own.clone();
        while worker.own != found {
            assert!(
                worker.done < worker.acknowledged + STEPS_PER_ACK,
                "worker {w} had done {} steps, and no number of further ones leads from\n{acknowledged:?}\nto\n{found:?}",
                worker.acknowledged
            );
            self.shared += i64::from(worker.own.apply(worker.done));
            worker.done += 1;
        }
        // It may have done more, if that led back to the same: its successor does it again, and counts again.
        let (mut further, mut counted) = (worker.own.clone(), 0);
        for n in worker.done..worker.acknowledged + STEPS_PER_ACK {
            counted += i64::from(further.apply(n));
            if further == found {
                self.shared_in_doubt += std::mem::take(&mut counted);
            }
        }
        let numbers = [self.seed, w as u64, worker.done];
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

    fn check(&self) {
        let report = self.cache.check().unwrap();
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
        for cache in [&self.cache, &Cache::open(&self.directory).unwrap()] {
            let mut items = cache.len_live().unwrap();
            assert_eq!(items, cache.len());
            for (w, worker) in (0..).zip(&self.workers) {
                assert_eq!(Own::found(cache, self.seed, w), worker.own);
                items -= worker.own.len();
            }
            assert_eq!(items, 2, "the shared counter, and what the parent wrote");
            let shared: i64 = cache.get(SHARED_COUNTER).unwrap().unwrap();
            let expected = self.shared..=self.shared + self.shared_in_doubt;
            assert!(expected.contains(&shared), "{shared} is not in {expected:?}");
        }
        self.check();
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
    let kills = KILLS * crew::scale();
    let mut dice = Dice::new(crew::seed());
    let begin = Instant::now();
    let (mut killed, mut trials, mut steps) = (0, 0, 0);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    while killed < kills {
        let mut trial = Trial::new(dice.throw());
        while killed < kills && trial.cache.volume() < SIZE_LIMIT / 2 {
            // Few lines strike a worker that is still opening, many one that is at work.
            let lines_max = 1 << dice.below(7);
            for _ in 0..dice.below(lines_max) {
                trial.listen();
            }
            before.push(trial.timed_set());
            after.push(trial.replace(dice.below(WORKERS) as usize));
            killed += 1;
            if killed % KILLS_PER_CHECK == 0 {
                trial.check();
            }
        }
        trials += 1;
        steps += trial.end();
    }
    println!("{killed} kills on {trials} directories in {:.1?}, {steps} steps done", begin.elapsed());
    distribution("write beside the four", &mut before);
    distribution("first write after a death, beside three", &mut after);
}
