//! Several handles of one directory in one process, and a process that is stopped while it holds the lock.

use std::sync::atomic::Ordering;
use std::time::Duration;

use larder::{Cache, Error};

use crate::crew::{self, Crew, Role};

const HANDLES: i64 = 4;
const STEPS: i64 = 400;
const TOGETHER: u64 = 400;
const TRIES: usize = 400;

/// Writes batches until it is told to stop.
pub fn play(role: &Role) {
    let cache = Cache::open(&role.directory).unwrap();
    let stop = crew::told_to_stop();
    let mut n = 0u64;
    while !stop.load(Ordering::Relaxed) {
        n += 1;
        cache.set_many((0..TOGETHER).map(|key| (("together", key), n))).unwrap();
        if n == 1 {
            crew::say("at work");
        }
    }
}

#[test]
fn handles_of_one_process_exclude_each_other_and_see_all() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Cache::builder(&directory).size_limit(16 << 20).eviction(larder::Eviction::None).open().unwrap();
    let handles: Vec<Cache> = (0..HANDLES).map(|_| open()).collect();
    std::thread::scope(|scope| {
        for (own, handle) in handles.iter().enumerate() {
            scope.spawn(move || {
                for n in 0..STEPS {
                    handle.incr("sum", 1).unwrap();
                    handle.set((own, n % 50), &n).unwrap();
                    if n % 97 == 0 {
                        // One more opens and closes beside the others.
                        Cache::open(handle.directory()).unwrap().incr("opened", 1).unwrap();
                    }
                }
            });
        }
    });
    for handle in &handles {
        assert_eq!(handle.get::<i64>("sum").unwrap(), Some(HANDLES * STEPS));
        assert_eq!(handle.len(), HANDLES as usize * 50 + 2);
    }
    // One thread that goes from handle to handle waits for nobody.
    for (n, handle) in handles.iter().cycle().take(100).enumerate() {
        handle.set("in turn", &n).unwrap();
        assert!(handles.iter().all(|other| other.get::<usize>("in turn").unwrap() == Some(n)));
    }
    for handle in handles {
        drop(handle);
        let other = open();
        other.set("after one was closed", &1).unwrap();
        let report = other.check().unwrap();
        assert!(report.is_clean(), "{:?}", report.problems);
    }
}

#[test]
fn beside_a_process_stopped_in_the_lock_all_can_read_and_open() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::open(&directory).unwrap();
    let impatient = Cache::builder(&directory).lock_timeout(Duration::from_millis(20)).open().unwrap();
    let mut crew = Crew::new();
    let member = crew.start("writer", directory.path(), &[]);
    crew.expect_of(member, "at work");
    let mut held = 0;
    for _ in 0..TRIES {
        if cache.volume() > cache.settings().size_limit / 2 {
            cache.clear().unwrap();
        }
        crew.stop(member);
        match impatient.set("probe", &1) {
            Ok(()) => {}
            Err(Error::Timeout) => {
                held += 1;
                let reader = Cache::builder(&directory).read_only(true).open().unwrap();
                let other = Cache::builder(&directory).lock_timeout(Duration::from_millis(20)).open().unwrap();
                for handle in [&impatient, &reader, &other] {
                    let found = handle.get_many::<u64>((0..TOGETHER).map(|key| ("together", key))).unwrap();
                    assert!(found.iter().all(|one| *one == found[0]), "{found:?}");
                    assert!(handle.keys::<larder::AnyKey>().all(|key| key.is_ok()));
                }
                assert!(other.set("probe", &2).unwrap_err().is_timeout());
                assert!(matches!(reader.set("probe", &2), Err(Error::ReadOnly)));
            }
            Err(error) => panic!("{error:?}"),
        }
        crew.go_on(member);
        // The patient one gets the lock as soon as the other goes on.
        cache.set("patient", &1).unwrap();
        if held == 5 {
            break;
        }
    }
    println!("the stopped one held the lock {held} times");
    crew.finish(member);
    let report = cache.check().unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
}
