//! Many processes open a directory at once that holds no cache yet, and all have the same one then.

use std::io::pipe;
use std::time::{Duration, Instant};

use larder::Cache;

use crate::crew::{self, Crew, Role};
use crate::values::{Dice, read_text, text};

const CREATORS: u64 = 16;
const CREATORS_MAX: u64 = 64;
const ROUNDS: u64 = 6;
const ROUNDS_OF_KILLS: u64 = 10;
/// Opening takes about that long for one of many on a busy machine.
const OPENING_NANOS: u64 = 60_000_000;

/// Opens with all the others at once. If it is to meet them, it goes on until it has seen what every one of them wrote.
pub fn play(role: &Role) {
    let &[me, meets] = &role.numbers[..] else { panic!("two numbers: {:?}", role.numbers) };
    crew::say("ready");
    assert_eq!(crew::next_order(), None);
    let cache = Cache::open(&role.directory).unwrap();
    cache.set(("creator", me), &text(&format!("creator{me}"), me, 0)).unwrap();
    cache.incr("arrived", 1).unwrap();
    crew::say("written");
    for other in 0..meets {
        let found = loop {
            match cache.get::<String>(("creator", other)).unwrap() {
                Some(found) => break found,
                None => std::thread::yield_now(),
            }
        };
        assert_eq!(read_text(&format!("creator{other}"), &found), (other, 0));
    }
}

/// Starts them, and lets them go at the same time.
fn start_all(crew: &mut Crew, cache: &std::path::Path, count: u64, meets: u64) -> Vec<usize> {
    let (barrier, keeper) = pipe().unwrap();
    let members: Vec<usize> =
        (0..count).map(|me| crew.start_behind(&barrier, "creator", cache, &[me, meets])).collect();
    for &member in &members {
        crew.expect_of(member, "ready");
    }
    drop(keeper);
    members
}

fn is_whole(cache: &Cache, me: u64) -> bool {
    let found = cache.get::<String>(("creator", me)).unwrap();
    found.inspect(|found| assert_eq!(read_text(&format!("creator{me}"), found), (me, 0))).is_some()
}

fn check(cache: &Cache) {
    let report = cache.check().unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
    assert_eq!(cache.len(), cache.len_live().unwrap());
}

#[test]
fn any_number_of_processes_create_at_once() {
    let scale = crew::scale();
    let count = (CREATORS * scale.isqrt()).min(CREATORS_MAX);
    for _ in 0..ROUNDS * scale {
        let directory = tempfile::tempdir().unwrap();
        let mut crew = Crew::new();
        // The last part of the path is theirs to make.
        let place = directory.path().join("cache");
        for member in start_all(&mut crew, &place, count, count) {
            crew.expect_of(member, "written");
            crew.finish(member);
        }
        let cache = Cache::open(&place).unwrap();
        assert_eq!(cache.get::<u64>("arrived").unwrap(), Some(count));
        assert!((0..count).all(|me| is_whole(&cache, me)));
        assert_eq!(cache.len() as u64, count + 1);
        check(&cache);
    }
}

#[test]
fn processes_that_die_while_they_create_stop_nobody() {
    let mut dice = Dice::new(crew::seed());
    let (mut early, mut late) = (0, 0);
    for _ in 0..crew::rounds(ROUNDS_OF_KILLS, 2) {
        let directory = tempfile::tempdir().unwrap();
        let mut crew = Crew::new();
        let members = start_all(&mut crew, directory.path(), CREATORS, 0);
        let begin = Instant::now();
        let mut moments: Vec<Duration> =
            (0..CREATORS / 2).map(|_| Duration::from_nanos(dice.below(OPENING_NANOS))).collect();
        moments.sort_unstable();
        let (victims, survivors) = members.split_at(moments.len());
        let mut acknowledged = Vec::new();
        for (moment, &victim) in moments.iter().zip(victims) {
            // A moment within some milliseconds can only be met by looking at the clock all the time.
            while begin.elapsed() < *moment {
                std::hint::spin_loop();
            }
            let (_, words) = crew.kill_if_running(victim);
            acknowledged.push(!words.is_empty());
        }
        for &survivor in survivors {
            crew.expect_of(survivor, "written");
            crew.finish(survivor);
        }
        let cache = Cache::open(&directory).unwrap();
        for (me, &acknowledged) in (0..).zip(&acknowledged) {
            assert!(is_whole(&cache, me) || !acknowledged, "what {me} wrote is lost");
        }
        assert!((victims.len() as u64..CREATORS).all(|me| is_whole(&cache, me)));
        let acknowledged = acknowledged.into_iter().filter(|acknowledged| *acknowledged).count();
        let arrived = cache.get::<u64>("arrived").unwrap().unwrap();
        assert!((survivors.len() + acknowledged..=members.len()).contains(&(arrived as usize)), "{arrived}");
        (early, late) = (early + victims.len() - acknowledged, late + acknowledged);
        check(&cache);
    }
    println!("{early} died before they had said that they had written, {late} later");
}
