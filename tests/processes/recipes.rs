//! A lock and a semaphore between processes that are killed while they hold them.
//!
//! Whoever has the lock counts twice, by two changes that nothing but the lock makes one. Who dies in between leaves the second
//! behind; the next one sees that, and mends it. A count that was lost would be a lock that two had.

use larder::Cache;
use larder::recipes::{BoundedSemaphore, Lock};

use crate::crew::{self, Crew, Role};
use crate::values::Dice;

const MEMBERS: u64 = 4;
const PERMITS: usize = 2;
const TURNS: u64 = 150;
const KILLS: u64 = 8;

fn number(cache: &Cache, name: &str) -> u64 {
    cache.get(name).unwrap().unwrap_or(0)
}

/// Takes turns until there were enough.
pub fn play(role: &Role) {
    let (cache, turns) = (Cache::open(&role.directory).unwrap(), role.numbers[0]);
    let lock = Lock::new(&cache, "lock").unwrap();
    let semaphore = BoundedSemaphore::new(&cache, "permits", PERMITS).unwrap();
    loop {
        {
            let _permit = semaphore.acquire().unwrap();
            assert!(semaphore.taken().unwrap() <= PERMITS);
        }
        let _held = lock.lock().unwrap();
        let (first, second) = (number(&cache, "first"), number(&cache, "second"));
        if first != second {
            assert_eq!(first, second + 1, "two had the lock");
            cache.incr("mended", 1).unwrap();
            cache.set("second", &first).unwrap();
        }
        if first >= turns {
            break;
        }
        // Read and stored, and not counted: two at once would lose one.
        cache.set("first", &(first + 1)).unwrap();
        std::thread::yield_now();
        cache.set("second", &(first + 1)).unwrap();
        cache.incr("turns", 1).unwrap();
    }
    crew::say("done");
    while crew::next_order().is_some() {}
}

#[test]
fn a_lock_and_a_permit_pass_on_when_their_holder_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let turns = TURNS * crew::scale();
    let cache = Cache::open(directory.path()).unwrap();
    let mut crew = Crew::new();
    let mut dice = Dice::new(crew::seed());
    let start = |crew: &mut Crew| crew.start("locker", directory.path(), &[turns]);
    let mut members: Vec<usize> = (0..MEMBERS).map(|_| start(&mut crew)).collect();
    for kill in 1..=KILLS {
        while number(&cache, "first") < turns * kill / (KILLS + 1) {
            std::thread::yield_now();
        }
        let who = dice.below(MEMBERS) as usize;
        crew.kill(members[who]);
        members[who] = start(&mut crew);
    }
    members.iter().for_each(|&member| crew.expect_of(member, "done"));
    members.iter().for_each(|&member| drop(crew.finish(member)));
    assert_eq!((number(&cache, "first"), number(&cache, "second")), (turns, turns));
    let (mended, counted) = (number(&cache, "mended"), number(&cache, "turns"));
    // Who died behind the second change has taken its turn and not counted it.
    assert!(mended <= KILLS && counted <= turns && counted + KILLS >= turns, "{mended} mended, {counted} counted");
    assert!(Lock::new(&cache, "lock").unwrap().try_lock().unwrap().is_some());
    assert_eq!(BoundedSemaphore::new(&cache, "permits", PERMITS).unwrap().taken().unwrap(), 0);
    assert!(cache.check().unwrap().is_clean());
    println!("{turns} turns, {KILLS} killed, {mended} of them between the two changes");
}
