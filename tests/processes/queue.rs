//! Producers and consumers share a queue that is in a cache, and are killed at any moment: nothing is lost, nothing comes twice
//! that no lease explains, and what one producer pushed comes in its order.
//!
//! Each producer pushes 0, 1, 2 … and counts by the same commit, so that one that takes the place of a dead one goes on where
//! that was. A consumer pops and writes down what came last by one commit; or it leases, counts what it was given by a commit
//! of its own, and is done by a third.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use larder::{Cache, Eviction};

use crate::crew::{self, Crew, Role};
use crate::values::Dice;

const PRODUCERS: u64 = 4;
const CONSUMERS: u64 = 4;
const ELEMENTS: u64 = 1000;
const KILLS: u64 = 12;
const LEASE: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(100);

type Job = (u64, u64);

fn open(directory: &Path) -> Cache {
    Cache::builder(directory).eviction(Eviction::None).open().unwrap()
}

/// A producer: its number, and up to which number it pushes.
pub fn play_producer(role: &Role) {
    let cache = open(&role.directory);
    let (producer, until) = (role.numbers[0], role.numbers[1]);
    loop {
        let pushed = cache.transact(|tx| {
            let next: u64 = tx.get(("pushed", producer))?.unwrap_or(0);
            if next < until {
                tx.deque::<Job>("jobs")?.push_back(&(producer, next))?;
                tx.set(("pushed", producer), &(next + 1))?;
            }
            Ok(next)
        });
        if pushed.unwrap() >= until {
            return crew::say("done");
        }
    }
}

/// A consumer: 1 if it leases.
pub fn play_consumer(role: &Role) {
    let cache = open(&role.directory);
    let stop = crew::told_to_stop();
    let jobs = cache.deque::<Job>("jobs").unwrap();
    while !stop.load(Ordering::Relaxed) {
        if role.numbers[0] == 1 {
            let Some(job) = jobs.lease_front_wait(LEASE, SOON).unwrap() else { continue };
            let (producer, number) = *job.value();
            cache.incr(("given", producer, number), 1).unwrap();
            let done = cache.transact(|tx| {
                tx.incr(("done", producer, number), 1)?;
                job.ack_in(&tx.deque("jobs")?)
            });
            done.unwrap();
            continue;
        }
        let popped = cache.transact(|tx| {
            let Some((producer, number)) = tx.deque::<Job>("jobs")?.pop_front()? else { return Ok(false) };
            let last: u64 = tx.get(("popped", producer))?.unwrap_or(0);
            assert_eq!(number, last, "what producer {producer} pushed comes in its order");
            tx.set(("popped", producer), &(last + 1))?;
            Ok(true)
        });
        if !popped.unwrap() {
            std::thread::yield_now();
        }
    }
}

/// Everything goes through the queue while members of the crew are killed and replaced. How many consumers died.
fn run(directory: &Path, leases: u64, dice: &mut Dice) -> u64 {
    let cache = open(directory);
    let until = crew::rounds(ELEMENTS, 2);
    let mut crew = Crew::new();
    let start = |crew: &mut Crew, who: u64| match who.checked_sub(PRODUCERS) {
        None => crew.start("producer", directory, &[who, until]),
        Some(_) => crew.start("consumer", directory, &[leases]),
    };
    let mut members: Vec<usize> = (0..PRODUCERS + CONSUMERS).map(|who| start(&mut crew, who)).collect();
    let mut dead_consumers = 0;
    let through = || -> u64 {
        let of = |producer| match leases {
            1 => cache.get::<u64>(("pushed", producer)).unwrap().unwrap_or(0),
            _ => cache.get::<u64>(("popped", producer)).unwrap().unwrap_or(0),
        };
        (0..PRODUCERS).map(of).sum()
    };
    for kill in 1..=KILLS {
        // Deaths are spread over the whole of it.
        while through() < until * PRODUCERS * kill / (KILLS + 1) {
            std::thread::yield_now();
        }
        let who = dice.below(PRODUCERS + CONSUMERS);
        let (ended, _) = crew.kill_if_running(members[who as usize]);
        dead_consumers += u64::from(!ended && who >= PRODUCERS);
        members[who as usize] = start(&mut crew, who);
    }
    for producer in 0..PRODUCERS {
        crew.expect_of(members[producer as usize], "done");
    }
    let jobs = cache.deque::<Job>("jobs").unwrap();
    while !jobs.is_empty() || jobs.leased().unwrap() > 0 {
        std::thread::yield_now();
    }
    for &member in &members {
        crew.finish(member);
    }
    assert!(cache.check().unwrap().is_clean());
    dead_consumers
}

#[test]
fn what_goes_through_a_queue_comes_once_and_in_its_order_whoever_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    run(directory.path(), 0, &mut Dice::new(crew::seed()));
    let cache = open(directory.path());
    for producer in 0..PRODUCERS {
        assert_eq!(cache.get::<u64>(("popped", producer)).unwrap(), Some(crew::rounds(ELEMENTS, 2)));
    }
}

#[test]
fn what_is_leased_is_done_once_and_given_twice_only_if_its_holder_was_killed() {
    let directory = tempfile::tempdir().unwrap();
    let dead = run(directory.path(), 1, &mut Dice::new(crew::seed() + 1));
    let cache = open(directory.path());
    let mut given_again = 0;
    for producer in 0..PRODUCERS {
        for number in 0..crew::rounds(ELEMENTS, 2) {
            assert_eq!(cache.get::<u64>(("done", producer, number)).unwrap(), Some(1), "{producer} {number}");
            given_again += cache.get::<u64>(("given", producer, number)).unwrap().unwrap() - 1;
        }
    }
    println!("{dead} consumers were killed, {given_again} elements given again");
    assert!(given_again <= dead, "{given_again} elements were given again, and {dead} consumers died");
}
