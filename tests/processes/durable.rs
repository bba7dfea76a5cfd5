//! Threads and processes whose changes return once they are on the disk, and wait for it together. Some are killed while
//! they do.

use std::collections::BTreeMap;

use larder::{Cache, Durability};

use crate::crew::{self, Crew, Role};

const THREADS: u64 = 4;

fn open(directory: &std::path::Path) -> Cache {
    Cache::builder(directory)
        .size_limit(64 << 20)
        .eviction(larder::Eviction::None)
        .durability(Durability::Sync)
        .open()
        .unwrap()
}

/// Counts up a key for each of its threads, and says each number that is on the disk.
pub fn play(role: &Role) {
    let cache = open(&role.directory);
    let (who, most) = (role.numbers[0], role.numbers[1]);
    let stop = crew::told_to_stop();
    crew::say("open");
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let cache = cache.clone();
            scope.spawn(move || {
                for i in 1..=most {
                    if stop.load(std::sync::atomic::Ordering::Relaxed) {
                        break;
                    }
                    if i % 16 == 0 {
                        cache.set_bytes((who, thread, "large"), &vec![i as u8; 300 << 10]).unwrap();
                    }
                    cache.set((who, thread), &i).unwrap();
                    crew::say(format!("{thread} {i}"));
                }
            });
        }
    });
}

fn note(heard: &mut BTreeMap<(u64, u64), u64>, who: u64, line: &str) {
    if let Some((thread, number)) = line.split_once(' ') {
        heard.insert((who, thread.parse().unwrap()), number.parse().unwrap());
    }
}

#[test]
fn durable_writers_of_several_processes_go_on_whoever_is_killed_while_it_asks_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let own = open(directory.path());
    let mut crew = Crew::new();
    let mut heard = BTreeMap::new();
    let mut who = 0;
    // One that is never killed, and others one after the other.
    let constant = crew.start("durable", directory.path(), &[who, u64::MAX]);
    crew.expect_of(constant, "open");
    let mut victims = Vec::new();
    for _ in 0..8 * crew::scale() {
        who += 1;
        let victim = crew.start("durable", directory.path(), &[who, u64::MAX]);
        victims.push((victim, who));
        crew.expect_of(victim, "open");
        for _ in 0..6 {
            note(&mut heard, who, &crew.hear_of(victim).unwrap());
            own.set("parent", &who).unwrap();
        }
        for line in crew.kill(victim) {
            note(&mut heard, who, &line);
        }
        // Whoever is left is not held up, and is told of no failure.
        note(&mut heard, 0, &crew.hear_of(constant).unwrap());
        own.set(("parent", who), &who).unwrap();
    }
    for line in crew.finish(constant) {
        note(&mut heard, 0, &line);
    }
    own.sync().unwrap();
    assert!(own.check().unwrap().is_clean());
    drop(own);
    // What was said to be on the disk is in the log too.
    std::fs::remove_file(directory.path().join("state")).unwrap();
    let cache = open(directory.path());
    for (&(who, thread), &number) in &heard {
        let found = cache.get::<u64>((who, thread)).unwrap().unwrap();
        assert!(found >= number, "{who} {thread}: {found} after {number}");
    }
    assert!(cache.check().unwrap().is_clean());
}

#[test]
fn durable_writers_wait_together_and_each_finds_what_it_wrote() {
    let directory = tempfile::tempdir().unwrap();
    let mut crew = Crew::new();
    let count = 24 * crew::scale();
    let members: Vec<usize> = (0..3).map(|who| crew.start("durable", directory.path(), &[who, count])).collect();
    for &member in &members {
        crew.expect_of(member, "open");
    }
    for &member in &members {
        for _ in 0..THREADS * count {
            assert!(crew.hear_of(member).is_some(), "child {member} ended early");
        }
    }
    for &member in &members {
        assert_eq!(crew.finish(member), [""; 0]);
    }
    let cache = open(directory.path());
    for who in 0..3u64 {
        for thread in 0..THREADS {
            assert_eq!(cache.get::<u64>((who, thread)).unwrap(), Some(count));
        }
    }
    assert!(cache.check().unwrap().is_clean());
}
