//! Writers that die or stand still in the middle of a write, and the next write of another process.
//!
//! What a test cannot see is whether a process died inside the lock. It can see that a process which stands still holds
//! the lock, because a handle with a short lock time-out gets `Timeout`; killed then, it died inside for certain.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use larder::{Cache, Error};

use crate::crew::{self, Crew, Role};
use crate::values::Dice;

/// Keys that are always written together.
const TOGETHER: u64 = 300;
const ALONE: u64 = 64;
const KILLS: u64 = 80;
const KILLS_INSIDE: u64 = 40;
const STOPS: u64 = 30;
/// Tries to stop a worker inside the lock.
const TRIES: usize = 200;
/// The promise is 10 ms; a test of the promise fails when it is off by far, since the machine has other things to do.
const LONGEST: Duration = Duration::from_secs(1);
/// An uncontended write is faster than that, and one that found a dead owner slept that long at least.
const WAITED: Duration = Duration::from_micros(500);

/// Writes as fast as it can: one item at a time, or many together.
pub fn play(role: &Role) {
    let &[together, first] = &role.numbers[..] else { panic!("two numbers: {:?}", role.numbers) };
    let cache = Cache::open(&role.directory).unwrap();
    let stop = crew::told_to_stop();
    let mut n = first;
    while !stop.load(Ordering::Relaxed) {
        n += 1;
        if together == 1 {
            cache.set_many((0..TOGETHER).map(|key| (("together", key), n))).unwrap();
        } else {
            cache.set(("alone", n % ALONE), &format!("{n:0100}")).unwrap();
        }
        if n == first + 1 {
            crew::say("at work");
        }
    }
}

struct Scene {
    directory: tempfile::TempDir,
    cache: Cache,
    impatient: Cache,
    crew: Crew,
}

impl Scene {
    fn new(lock_timeout: Duration) -> Scene {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(&directory).unwrap();
        let impatient = Cache::builder(&directory).lock_timeout(lock_timeout).open().unwrap();
        Scene { directory, cache, impatient, crew: Crew::new() }
    }

    /// Starts a worker, on an empty store when half of the space is taken.
    fn start(&mut self, together: bool, first: u64) -> usize {
        self.make_room();
        let member = self.crew.start("hammer", self.directory.path(), &[together.into(), first]);
        self.crew.expect_of(member, "at work");
        member
    }

    fn make_room(&self) {
        if self.cache.volume() > self.cache.settings().size_limit / 2 {
            self.cache.clear().unwrap();
        }
    }

    /// Stops a worker. True if it stands still inside the lock, and then a write of the impatient handle left no trace.
    fn stop(&mut self, member: usize) -> bool {
        self.crew.stop(member);
        match self.impatient.set("impatient", &1) {
            Ok(()) => {
                assert!(self.impatient.delete("impatient").unwrap());
                false
            }
            Err(Error::Timeout) => {
                assert!(!self.cache.contains("impatient").unwrap(), "a write that failed left something");
                true
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn timed_set(&self, n: u64) -> Duration {
        let begin = Instant::now();
        self.cache.set("next write", &n).unwrap();
        begin.elapsed()
    }

    /// The number under the keys that are always written together.
    fn together(&self) -> Option<u64> {
        let found = self.cache.get_many::<u64>((0..TOGETHER).map(|key| ("together", key))).unwrap();
        assert!(found.iter().all(|one| *one == found[0]), "a batch is there in part: {found:?}");
        found[0]
    }

    fn check(&self) {
        let report = self.cache.check().unwrap();
        assert!(report.is_clean(), "{:?}", report.problems);
        assert_eq!(self.cache.len(), self.cache.len_live().unwrap());
    }
}

/// Prints how long something took, and fails if it ever took far too long.
pub fn distribution(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    let waited = times.iter().filter(|time| **time >= WAITED).count();
    println!(
        "{what}: {} times, {waited} of {WAITED:?} or more; p50 {:.1?}, p90 {:.1?}, p99 {:.1?}, longest {:.1?}",
        times.len(),
        at(50),
        at(90),
        at(99),
        at(100)
    );
    assert!(at(100) < LONGEST);
}

#[test]
fn the_next_write_takes_over_within_10_ms() {
    let mut scene = Scene::new(Duration::from_millis(8));
    let mut dice = Dice::new(crew::seed());
    let scale = crew::scale();

    for together in [false, true] {
        let mut times = Vec::new();
        for round in 0..KILLS * scale {
            let victim = scene.start(together, round << 32);
            for n in 0..dice.below(200) {
                scene.timed_set(n);
            }
            scene.crew.strike(victim);
            // The first of these may come before the death, and the last is behind it.
            let mut longest = (0..20).map(|n| scene.timed_set(n)).max().unwrap();
            scene.crew.bury(victim);
            longest = longest.max(scene.timed_set(0));
            times.push(longest);
            scene.together();
        }
        let what = if together { "killed while writing batches" } else { "killed while writing single items" };
        distribution(&format!("longest write of another after one was {what}"), &mut times);
    }
    scene.check();

    let (mut since_kill, mut since_death) = (Vec::new(), Vec::new());
    for round in 0..KILLS_INSIDE * scale {
        let victim = scene.start(true, (1 << 60) + (round << 32));
        let before = scene.together();
        for _ in 0..TRIES {
            if scene.stop(victim) {
                break;
            }
            scene.crew.go_on(victim);
        }
        let killed = Instant::now();
        scene.crew.kill(victim);
        since_death.push(scene.timed_set(round));
        since_kill.push(killed.elapsed());
        assert!(scene.together() >= before, "a batch of another went back");
    }
    distribution("first write after the end of one inside the lock", &mut since_death);
    distribution("the same, from the kill on", &mut since_kill);
    scene.check();
}

#[test]
fn a_stopped_writer_is_waited_for() {
    let mut scene = Scene::new(Duration::from_millis(40));
    let mut held = 0;
    let stops = STOPS * crew::scale();
    // One worker at a time: with another at work a time-out would prove nothing.
    for together in [false, true] {
        let member = scene.start(together, 0);
        for n in 0..stops / 2 {
            scene.make_room();
            if scene.stop(member) {
                held += 1;
                // Reads go on whoever stands still, and they see whole batches.
                let seen = scene.together();
                assert_eq!(scene.together(), seen, "somebody wrote while the lock was held");
                assert!(scene.impatient.check().unwrap_err().is_timeout());
                assert!(scene.impatient.set_many([("impatient", 1), ("likewise", 2)]).unwrap_err().is_timeout());
            }
            scene.crew.go_on(member);
            scene.timed_set(n);
            let found = scene.impatient.get_many::<i64>(["impatient", "likewise"]).unwrap();
            assert_eq!(found, [None, None], "a write that failed was done later");
        }
        scene.crew.finish(member);
    }
    println!("{held} of {stops} times the stopped one held the lock");
    scene.together();
    scene.check();
}
