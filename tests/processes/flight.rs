//! Processes that ask for one missing value together: one computes it, and if that one is killed exactly one other goes on.
//!
//! Who computes does not return before all have asked, so that each of the others has found the claim taken or the value there.

use std::path::Path;
use std::time::Duration;

use larder::{Cache, SetOptions};
use rustix::time::{ClockId, clock_gettime};

use crate::crew::{self, Crew, Role};

const ASKERS: u64 = 8;
const ROUNDS: u64 = 12;
const DEATHS: u64 = 3;

/// How long the value takes to compute, in milliseconds.
fn work() -> Duration {
    let given = std::env::var("LARDER_TEST_WORK").map_or(2, |text| text.parse().expect("milliseconds"));
    Duration::from_millis(given)
}

/// Microseconds that this thread has had a processor.
fn used() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000
}

/// Waits until all have asked, and for as long as the work takes.
fn compute(cache: &Cache, round: u64, dies: bool) -> u64 {
    let runs = cache.incr(("runs", round), 1).unwrap();
    while cache.get::<u64>(("asked", round)).unwrap() != Some(ASKERS) {
        std::thread::yield_now();
    }
    crew::say("computes");
    // A queue that nobody pushes to.
    let nothing = cache.deque::<u8>("nothing").unwrap();
    let work = if dies && runs == 1 { Duration::MAX } else { work() };
    assert_eq!(nothing.pop_front_wait(work).unwrap(), None);
    round * 7
}

/// Asks for the value of each round that it is told.
pub fn play(role: &Role) {
    let cache = Cache::open(&role.directory).unwrap();
    while let Some(order) = crew::next_order() {
        let (round, dies) = match order.split_once(' ') {
            Some((round, _)) => (round.parse().unwrap(), true),
            None => (order.parse::<u64>().unwrap(), false),
        };
        cache.incr(("asked", round), 1).unwrap();
        let (mut computed, before) = (false, used());
        let value = cache.get_or_insert_with(("value", round), SetOptions::new(), || {
            computed = true;
            compute(&cache, round, dies)
        });
        assert_eq!(value.unwrap(), round * 7);
        crew::say(format!("got {} {}", u8::from(computed), used() - before));
    }
}

/// What the askers of a round say until all have the value: how many computed it, and what those that waited used.
fn listen(crew: &mut Crew, askers: u64, used: &mut Vec<u64>) -> u64 {
    let (mut got, mut computed) = (0, 0);
    while got < askers {
        let (_, line) = crew.hear();
        let line = line.expect("nobody dies here");
        let Some(rest) = line.strip_prefix("got ") else { continue };
        let (did, micros) = rest.split_once(' ').unwrap();
        got += 1;
        computed += u64::from(did == "1");
        if did == "0" {
            used.push(micros.parse().unwrap());
        }
    }
    computed
}

fn start(crew: &mut Crew, directory: &Path) -> usize {
    crew.start("asker", directory, &[])
}

fn print(what: &str, rounds: u64, used: &mut [u64]) {
    used.sort_unstable();
    let (half, most) = (used[used.len() / 2], used[used.len() - 1]);
    println!("{rounds} rounds, {what}: who waited used {half} us of a processor in the median, {most} us at most");
}

#[test]
fn a_missing_value_is_computed_once_however_many_processes_ask() {
    let directory = tempfile::tempdir().unwrap();
    let mut crew = Crew::new();
    let askers: Vec<usize> = (0..ASKERS).map(|_| start(&mut crew, directory.path())).collect();
    let (rounds, mut used) = (ROUNDS * crew::scale(), Vec::new());
    for round in 0..rounds {
        askers.iter().for_each(|&asker| crew.tell(asker, &round.to_string()));
        assert_eq!(listen(&mut crew, ASKERS, &mut used), 1, "round {round}");
    }
    askers.iter().for_each(|&asker| drop(crew.finish(asker)));
    let cache = Cache::open(directory.path()).unwrap();
    for round in 0..rounds {
        assert_eq!(cache.get(("runs", round)).unwrap(), Some(1), "round {round}");
    }
    assert!(cache.check().unwrap().is_clean());
    print("nobody killed", rounds, &mut used);
}

#[test]
fn if_who_computes_is_killed_exactly_one_other_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut crew = Crew::new();
    let mut askers: Vec<usize> = (0..ASKERS).map(|_| start(&mut crew, directory.path())).collect();
    let (rounds, mut used) = (DEATHS * crew::scale(), Vec::new());
    for round in 0..rounds {
        askers.iter().for_each(|&asker| crew.tell(asker, &format!("{round} dies")));
        let (victim, line) = crew.hear();
        assert_eq!(line.as_deref(), Some("computes"), "round {round}");
        crew.kill(victim);
        assert_eq!(listen(&mut crew, ASKERS - 1, &mut used), 1, "round {round}");
        let place = askers.iter().position(|&asker| asker == victim).unwrap();
        askers[place] = start(&mut crew, directory.path());
    }
    askers.iter().for_each(|&asker| drop(crew.finish(asker)));
    let cache = Cache::open(directory.path()).unwrap();
    for round in 0..rounds {
        assert_eq!(cache.get(("runs", round)).unwrap(), Some(2), "round {round}");
    }
    assert!(cache.check().unwrap().is_clean());
    print("who computed killed in each", rounds, &mut used);
}
