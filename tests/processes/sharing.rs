//! What two processes share besides items: settings, statistics, and the bytes that one of them looks at.

use std::sync::atomic::Ordering;

use larder::{Cache, Eviction};

use crate::crew::{self, Crew, Role};
use crate::values::{mixed, read_text, text};

const OVERWRITTEN: u64 = 24;
/// Longer than any value of the log: from here on, a value is a file.
const LARGE_LEN: usize = 300 << 10;
/// Values that the reader looks at. It gives up if it finds none.
const SMALL: u64 = 600;
const LARGE: u64 = 150;
const SWEEPS_MAX: u64 = 1_000_000;
/// Values of so many sweeps are held at once.
const SWEEPS_HELD: u64 = 5;

// ---- Settings and statistics -----------------------------------------------------------------------------------------

/// Does a known number of everything at each order.
pub fn play_counter(role: &Role) {
    let cache = Cache::open(&role.directory).unwrap();
    crew::say("open");
    while crew::next_order().is_some() {
        for i in 0..10 {
            cache.set(i, &i).unwrap();
        }
        for i in 0..15 {
            assert_eq!(cache.get::<i32>(i).unwrap().is_some(), i < 10);
        }
        for i in 0..3 {
            assert!(cache.delete(i).unwrap());
        }
        crew::say("done");
    }
}

/// Changes the settings at the first order.
pub fn play_settler(role: &Role) {
    let cache = Cache::open(&role.directory).unwrap();
    assert_eq!(cache.settings().size_limit, 64 << 20);
    assert!(cache.settings().statistics);
    crew::say("open");
    assert_eq!(crew::next_order().as_deref(), Some("go"));
    cache
        .update_settings(|settings| {
            settings.size_limit = 32 << 20;
            settings.eviction = Eviction::None;
            settings.statistics = false;
        })
        .unwrap();
    crew::say("done");
    assert_eq!(crew::next_order(), None);
}

#[test]
fn settings_and_statistics_are_shared() {
    let directory = tempfile::tempdir().unwrap();
    let mut crew = Crew::new();
    let cache = Cache::builder(&directory)
        .size_limit(64 << 20)
        .eviction(larder::Eviction::None)
        .statistics(true)
        .open()
        .unwrap();
    let sums = || {
        let stats = cache.stats().unwrap();
        (stats.hits, stats.misses, stats.stores, stats.removals)
    };
    let members: Vec<usize> = (0..2).map(|_| crew.start("counter", directory.path(), &[])).collect();
    for (n, &member) in (1..).zip(&members) {
        crew.expect_of(member, "open");
        crew.tell(member, "go");
        crew.expect_of(member, "done");
        assert_eq!(sums(), (n * 10, n * 5, n * 10, n * 3), "while both are open");
    }
    assert_eq!(crew.kill(members[0]), [""; 0]);
    assert_eq!(sums(), (20, 10, 20, 6), "after one was killed");
    assert_eq!(cache.get::<i32>(5).unwrap(), Some(5));
    let before = cache.reset_stats().unwrap();
    assert_eq!((before.hits, before.misses, before.stores), (21, 10, 20));
    assert_eq!(sums(), (0, 0, 0, 0));
    crew.tell(members[1], "go");
    crew.expect_of(members[1], "done");
    assert_eq!(sums(), (10, 5, 10, 3), "after a reset by another process");
    crew.finish(members[1]);
    assert_eq!(sums(), (10, 5, 10, 3), "after both have ended");

    let settler = crew.start("settler", directory.path(), &[]);
    crew.expect_of(settler, "open");
    crew.tell(settler, "go");
    crew.expect_of(settler, "done");
    let settings = cache.settings();
    assert_eq!((settings.size_limit, settings.eviction), (32 << 20, Eviction::None));
    cache.get::<i32>(5).unwrap();
    assert_eq!(sums(), (10, 5, 10, 3), "they were switched off by another process");
    crew.finish(settler);
    let later = Cache::open(&directory).unwrap().settings();
    assert_eq!(later, settings);
}

// ---- Borrowed bytes --------------------------------------------------------------------------------------------------

fn wreck_value(key: u64, n: u64) -> String {
    let value = text(&format!("k{key}"), key, n);
    if key.is_multiple_of(4) { value.repeat(LARGE_LEN / value.len() + 1) } else { value }
}

/// Overwrites, removes and clears, all the time; what it is told to stop at is the end of its orders.
pub fn play_wrecker(role: &Role) {
    let cache = Cache::open(&role.directory).unwrap();
    let stop = crew::told_to_stop();
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        n += 1;
        for key in 0..OVERWRITTEN {
            if mixed(n ^ key << 32).is_multiple_of(8) {
                cache.delete(("wreck", key)).unwrap();
            } else {
                cache.set(("wreck", key), &wreck_value(key, n)).unwrap();
            }
        }
        if n % 4 == 0 {
            cache.clear().unwrap();
        }
        if n == 1 {
            crew::say("at work");
        }
    }
}

#[test]
fn a_reader_keeps_its_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let mut crew = Crew::new();
    let cache = Cache::builder(&directory).size_limit(64 << 20).eviction(larder::Eviction::None).open().unwrap();
    let wrecker = crew.start("wrecker", directory.path(), &[]);
    let (mut small, mut large) = (0, 0);
    let mut kept: Vec<(u64, larder::ValueRef, Vec<u8>)> = Vec::new();
    crew.expect_of(wrecker, "at work");
    let scale = crew::scale();
    for sweep in 1..=SWEEPS_MAX * scale {
        if small >= SMALL * scale && large >= LARGE * scale {
            break;
        }
        for key in 0..OVERWRITTEN {
            let Some(found) = cache.get_ref(("wreck", key)).unwrap() else { continue };
            let copy = found.to_vec();
            kept.push((key, found, copy));
        }
        if sweep.is_multiple_of(SWEEPS_HELD) {
            for (key, found, copy) in kept.drain(..) {
                assert!(*found == *copy, "the bytes of {key} changed under its reader");
                let value: String = found.decode().unwrap();
                let n = value.split(' ').nth(2).and_then(|n| n.parse().ok()).expect("the value says its number");
                assert!(value == wreck_value(key, n), "the bytes of {key} were not those of a value");
                if key.is_multiple_of(4) {
                    large += 1;
                } else {
                    read_text(&format!("k{key}"), &value);
                    small += 1;
                }
            }
        }
    }
    println!("{small} small and {large} large values kept their bytes");
    assert!(small >= SMALL * scale && large >= LARGE * scale);
    crew.finish(wrecker);
    drop(kept);
    let report = cache.check().unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
}
