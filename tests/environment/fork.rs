//! `fork` without `exec`: an inherited handle works in the child, its destructors disturb nobody, and the parent notices
//! nothing. All forking is done in processes that a test has started, because the test runner has threads of its own.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fork::{Fork, fork, waitpid};
use larder::recipes::Lock;
use larder::{Cache, Error, FanoutCache, SetOptions};
use rustix::process::Signal;

use crate::crew::{self, Crew, Role};

const ROUNDS: u64 = 60;
const LARGE: usize = 300 << 10;

/// Runs a piece in a child, and fails if it fails there. A panic in it ends the child with a status of its own.
fn in_child(piece: impl FnOnce()) {
    let child = begin_child(piece);
    assert_eq!(waitpid(child).unwrap(), 0, "the child failed");
}

fn begin_child(piece: impl FnOnce()) -> i32 {
    match fork().unwrap() {
        Fork::Parent(child) => child,
        Fork::Child => {
            piece();
            std::process::exit(0);
        }
    }
}

pub fn play(role: &Role) {
    let scenes = [
        inherits as fn(&Path),
        forks_beside_busy_threads,
        forks_again,
        drops_in_the_child,
        reads_what_was_pinned,
        goes_on_in_several_threads,
        inherits_for_reading,
        forks_while_opening,
        finds_another_store,
        finds_nothing,
        leaves_a_child_behind,
        forks_inside_a_transaction,
        has_shards,
        forks_beside_what_is_let_go_later,
        dies_with_locks,
        makes_names_inside_a_transaction,
    ];
    scenes[role.numbers[0] as usize](&role.directory);
}

/// Every kind of call, by a process that inherited the handle.
fn use_all(cache: &Cache, who: u64) {
    let text = format!("of {who}");
    cache.set(("own", who), &text).unwrap();
    assert_eq!(cache.get::<String>(("own", who)).unwrap().as_deref(), Some(&*text));
    cache.incr("together", 1).unwrap();
    cache.set_many((0..20u64).map(|i| (("many", who, i), i))).unwrap();
    assert_eq!(cache.get_many::<u64>((0..20u64).map(|i| ("many", who, i))).unwrap()[19], Some(19));
    cache.set_bytes(("large", who), &vec![who as u8; LARGE]).unwrap();
    assert_eq!(cache.get_bytes(("large", who)).unwrap().unwrap(), vec![who as u8; LARGE]);
    cache.set_with(("tagged", who), &1, SetOptions::new().tag(text.clone())).unwrap();
    assert_eq!(cache.evict(&text).unwrap(), 1);
    assert!(cache.delete(("many", who, 0)).unwrap());
    assert!(cache.len() > 20 && cache.volume() > 0);
    assert!(cache.keys::<larder::AnyKey>().all(|key| key.is_ok()));
    cache.sync().unwrap();
    let report = cache.check().unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
}

#[track_caller]
fn assert_clean(cache: &Cache) {
    let report = cache.check().unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
}

fn inherits(directory: &Path) {
    let cache = Cache::open(directory).unwrap();
    cache.set("before", "the fork").unwrap();
    in_child(|| {
        assert_eq!(cache.get::<String>("before").unwrap().as_deref(), Some("the fork"));
        use_all(&cache, 1);
        // A clone that was made before finds the same store.
        let clone = cache.clone();
        assert_eq!(clone.get::<String>(("own", 1)).unwrap().as_deref(), Some("of 1"));
    });
    use_all(&cache, 2);
    assert_eq!(cache.get::<i64>("together").unwrap(), Some(2));
}

/// Threads of the parent hold the lock, the mutex of its maps and drafts at any moment when it forks.
fn forks_beside_busy_threads(directory: &Path) {
    let cache = Cache::builder(directory).size_limit(64 << 20).eviction(larder::Eviction::None).open().unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..2u64 {
            let (cache, stop) = (&cache, &stop);
            scope.spawn(move || {
                let mut n = 0;
                while !stop.load(Ordering::Relaxed) {
                    n += 1;
                    cache.set(("busy", thread, n % 500), &n).unwrap();
                    if n % 40 == 0 {
                        cache.set_bytes(("busy", thread, "large"), &vec![n as u8; LARGE]).unwrap();
                    }
                    if n % 3000 == 0 {
                        cache.clear().unwrap();
                    }
                }
            });
        }
        for round in 0..ROUNDS * crew::scale() {
            in_child(|| {
                cache.incr(("rounds", round), 7).unwrap();
                cache.set_many((0..50u64).map(|i| (("child", i), round))).unwrap();
                cache.get::<u64>(("busy", 0, 1)).unwrap();
            });
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_clean(&cache);
    let found = cache.get_many::<u64>((0..50u64).map(|i| ("child", i))).unwrap();
    assert!(found.iter().all(|one| *one == found[0]), "{found:?}");
}

fn forks_again(directory: &Path) {
    let cache = Cache::open(directory).unwrap();
    in_child(|| {
        // One grandchild before the child has used the handle, and one after.
        in_child(|| use_all(&cache, 1));
        use_all(&cache, 2);
        in_child(|| {
            use_all(&cache, 3);
            in_child(|| use_all(&cache, 4));
        });
        use_all(&cache, 5);
    });
    assert_eq!(cache.get::<i64>("together").unwrap(), Some(5));
    assert_clean(&cache);
}

fn presences(directory: &Path) -> usize {
    std::fs::read_dir(directory.join("procs")).unwrap().count()
}

fn drops_in_the_child(directory: &Path) {
    let cache = Cache::open(directory).unwrap();
    cache.set("k", "v").unwrap();
    let mut mine = Some(cache.clone());
    in_child(|| {
        // Never used in the child.
        drop(mine.take());
        drop(cache.clone());
    });
    assert_eq!(presences(directory), 1, "the child took its parent's sign of life");
    drop(mine);
    let mut mine = Some(cache);
    let child = begin_child(|| {
        mine.as_ref().unwrap().set("child", "v").unwrap();
        assert_eq!(presences(directory), 2);
        drop(mine.take());
        assert_eq!(presences(directory), 1, "the child's own handle stayed open, or the parent's did not");
    });
    assert_eq!(waitpid(child).unwrap(), 0);
    let cache = mine.unwrap();
    cache.set("k", "w").unwrap();
    // Nobody can take the lock from the parent: an opener finds it alive.
    let other = Cache::open(directory).unwrap();
    assert_eq!(presences(directory), 2);
    assert_eq!(other.get::<String>("k").unwrap().as_deref(), Some("w"));
    assert_clean(&other);
}

fn reads_what_was_pinned(directory: &Path) {
    let cache = Cache::open(directory).unwrap();
    cache.set_bytes("small", &[7; 100]).unwrap();
    cache.set_bytes("large", &vec![8; LARGE]).unwrap();
    let small = cache.get_ref("small").unwrap().unwrap();
    let large = cache.get_ref("large").unwrap().unwrap();
    let mut again = cache.get_ref("large").unwrap();
    in_child(|| {
        // It is in the parent's list, which is the parent's to change.
        drop(again.take());
        assert_eq!((&*small, &*large), (&[7; 100][..], &vec![8; LARGE][..]));
        cache.clear().unwrap();
        (0..2000).for_each(|n| cache.set(("other", n), &n).unwrap());
        assert_eq!((&*small, &*large), (&[7; 100][..], &vec![8; LARGE][..]));
        assert!(cache.stats().unwrap().pinned >= LARGE as u64);
    });
    assert!(cache.stats().unwrap().pinned >= LARGE as u64);
    assert_eq!((&*small, &*large), (&[7; 100][..], &vec![8; LARGE][..]));
    assert!(!cache.contains("small").unwrap());
    drop((small, large, again));
    assert_eq!(cache.stats().unwrap().pinned, 0);
}

/// Several threads of the child come first: each may open, one of them wins.
fn goes_on_in_several_threads(directory: &Path) {
    let cache = Cache::open(directory).unwrap();
    in_child(|| {
        let barrier = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for thread in 0..4u64 {
                let (cache, barrier) = (&cache, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    (0..100u64).for_each(|n| assert!(cache.incr(("sum", n % 3), thread as i64).unwrap() >= 0));
                });
            }
        });
        assert_eq!(presences(directory), 2, "the threads that came too late have closed what they opened");
    });
    let sums: i64 = (0..3u64).map(|n| cache.get::<i64>(("sum", n)).unwrap().unwrap()).sum();
    assert_eq!(sums, 600);
}

fn inherits_for_reading(directory: &Path) {
    let writer = Cache::open(directory).unwrap();
    writer.set("k", &1).unwrap();
    let reader = Cache::builder(directory).read_only(true).open().unwrap();
    in_child(|| {
        assert_eq!(reader.get::<i64>("k").unwrap(), Some(1));
        assert!(matches!(reader.set("k", &2), Err(Error::ReadOnly)));
        writer.set("k", &3).unwrap();
        assert_eq!(reader.get::<i64>("k").unwrap(), Some(3));
    });
    assert_eq!(reader.get::<i64>("k").unwrap(), Some(3));
}

/// A child that is forked while a thread opens has a copy of the opener's lock, and does not keep it.
fn forks_while_opening(directory: &Path) {
    let stop = AtomicBool::new(false);
    let opened = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let cache = Cache::builder(directory).lock_timeout(Duration::from_secs(20)).open().unwrap();
                cache.incr("opened", 1).unwrap();
                opened.fetch_add(1, Ordering::Relaxed);
            }
        });
        let (barrier, keeper) = std::io::pipe().unwrap();
        let wait = || {
            let mut barrier = barrier.try_clone().unwrap();
            assert_eq!(std::io::Read::read(&mut barrier, &mut [0]).unwrap(), 0);
        };
        let mut keeper = Some(keeper);
        let mut children = Vec::new();
        for _ in 0..ROUNDS {
            let before = opened.load(Ordering::Relaxed);
            children.push(begin_child(|| {
                drop(keeper.take());
                wait();
            }));
            // The parent goes on opening, however many children live.
            while opened.load(Ordering::Relaxed) < before + 2 {
                std::thread::yield_now();
            }
        }
        drop(keeper);
        children.into_iter().for_each(|child| assert_eq!(waitpid(child).unwrap(), 0));
        stop.store(true, Ordering::Relaxed);
    });
    let cache = Cache::open(directory).unwrap();
    assert_eq!(cache.get::<u64>("opened").unwrap(), Some(opened.load(Ordering::Relaxed)));
    assert_clean(&cache);
}

fn finds_another_store(directory: &Path) {
    let store = directory.join("store");
    let cache = Cache::open(&store).unwrap();
    cache.set("k", "old").unwrap();
    std::fs::rename(&store, directory.join("moved")).unwrap();
    let other = Cache::open(&store).unwrap();
    other.set("k", "new").unwrap();
    let before = names(&store);
    in_child(|| {
        assert!(matches!(cache.get::<String>("k"), Err(Error::Forked)));
        assert!(matches!(cache.set("k", "child's"), Err(Error::Forked)));
        drop(cache.clone());
    });
    assert_eq!(names(&store), before);
    assert_eq!(other.get::<String>("k").unwrap().as_deref(), Some("new"));
}

fn finds_nothing(directory: &Path) {
    let store = directory.join("store");
    let cache = Cache::open(&store).unwrap();
    cache.set("k", "old").unwrap();
    let moved = directory.join("moved");
    std::fs::rename(&store, &moved).unwrap();
    in_child(|| {
        assert!(matches!(cache.set("k", "child's"), Err(Error::Forked)));
        assert!(!store.exists(), "a child made a store");
        // As soon as the directory is back, so is the handle.
        std::fs::rename(&moved, &store).unwrap();
        assert_eq!(cache.get::<String>("k").unwrap().as_deref(), Some("old"));
    });
}

/// The child has a copy of the transaction, which is dead there, and a handle that reads.
fn forks_inside_a_transaction(directory: &Path) {
    let cache = Cache::open(directory).unwrap();
    cache.set("k", "before").unwrap();
    let outcome = cache.transact(|tx| {
        tx.set("k", "the parent's")?;
        in_child(|| {
            assert!(matches!(tx.set("k", "the child's"), Err(Error::Forked)));
            assert_eq!(cache.get::<String>("k").unwrap().as_deref(), Some("before"));
            // The thread is still inside, in the child too.
            assert!(matches!(cache.set("k", "the child's"), Err(Error::InTransaction)));
        });
        larder::Result::Ok(())
    });
    outcome.unwrap();
    assert_eq!(cache.get::<String>("k").unwrap().as_deref(), Some("the parent's"));
    // A child that returns from the body commits nothing.
    let parent = std::process::id();
    let outcome = cache.transact(|tx| {
        tx.set("k", "again")?;
        if let Fork::Parent(child) = fork().unwrap() {
            assert_eq!(waitpid(child).unwrap(), 0);
        }
        larder::Result::Ok(())
    });
    if std::process::id() != parent {
        std::process::exit(i32::from(!matches!(outcome, Err(Error::Forked))));
    }
    outcome.unwrap();
    assert_eq!(cache.get::<String>("k").unwrap().as_deref(), Some("again"));
    assert_clean(&cache);
}

/// The parent has the lock for as long as its child lives, so the child makes nothing.
fn makes_names_inside_a_transaction(directory: &Path) {
    let cache = Cache::builder(directory).lock_timeout(Duration::from_millis(100)).open().unwrap();
    let outcome = cache.transact(|tx| {
        tx.set("k", "the parent's")?;
        in_child(|| {
            let made = cache.index::<String, u64>("new");
            assert!(matches!(made, Err(Error::InTransaction)), "made without the lock: {}", made.is_ok());
        });
        larder::Result::Ok(())
    });
    outcome.unwrap();
    assert_clean(&cache);
}

/// The parent is killed by the test; the child, which has used nothing yet, goes on when it is told to.
fn leaves_a_child_behind(directory: &Path) {
    let cache = Cache::open(directory).unwrap();
    cache.set("parent", "was here").unwrap();
    let stop = crew::told_to_stop();
    begin_child(|| {
        crew::say("a child lives");
        // The parent has a thread that holds the lock of `stdin`, and the child has the lock without the thread.
        let mut orders = std::fs::File::open("/dev/stdin").unwrap();
        std::io::Read::read_to_end(&mut orders, &mut Vec::new()).unwrap();
        assert_eq!(cache.get::<String>("parent").unwrap().as_deref(), Some("was here"));
        cache.set("child", "goes on").unwrap();
        crew::say("the child went on");
    });
    let mut n = 0u64;
    while !stop.load(Ordering::Relaxed) {
        n += 1;
        cache.set_many((0..300u64).map(|key| (("together", key), n))).unwrap();
    }
}

fn names(directory: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

/// A fan-out cache, whose changes of several shards a thread makes all the time, also when the process forks.
fn has_shards(directory: &Path) {
    let cache = FanoutCache::builder(directory).shards(3).size_limit(96 << 20).open().unwrap();
    let total = |cache: &Cache| {
        let found = cache.get_many::<i64>((0..6).map(|account| ("account", account))).unwrap();
        found.into_iter().flatten().sum::<i64>()
    };
    let transfer = |cache: &Cache, from: u64, to: u64| {
        cache.transact(|tx| {
            tx.decr(("account", from), 3)?;
            tx.incr(("account", to), 3)
        })
    };
    cache.set_many((0..6).map(|account| (("account", account), 100))).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 0u64.. {
                transfer(&cache, turn % 6, (turn + 1) % 6).unwrap();
                if stop.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        for round in 0..10 * crew::scale() {
            in_child(|| {
                assert_eq!(total(&cache), 600);
                use_all(&cache, round);
                transfer(&cache, round % 6, (round + 2) % 6).unwrap();
                in_child(|| transfer(&cache, 1, 2).map(drop).unwrap());
                assert_eq!(total(&cache), 600);
            });
        }
        stop.store(true, Ordering::Relaxed);
    });
    let inside = cache.transact(|tx| {
        tx.incr("inside", 1)?;
        in_child(|| assert!(matches!(tx.incr("inside", 1), Err(Error::Forked))));
        // What the child dropped is held here still.
        assert!(matches!(cache.incr("other", 1), Err(Error::InTransaction)));
        tx.incr("inside", 1)
    });
    assert_eq!((inside.unwrap(), total(&cache)), (2, 600));
    assert_clean(&cache);
}

/// Threads leave to be let go later what they hold; a child waits for none of them.
fn forks_beside_what_is_let_go_later(directory: &Path) {
    let cache = Cache::open(directory).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (cache, stop) = (&cache, &stop);
            scope.spawn(move || {
                let lock = Lock::new(cache, &format!("of {thread}")).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    let held = lock.lock().unwrap();
                    // Inside a transaction nothing can be let go.
                    cache
                        .transact(move |_| {
                            drop(held);
                            Ok(())
                        })
                        .unwrap();
                }
            });
        }
        for round in 0..20 * ROUNDS {
            // It ends by a signal: what std does before it exits wants a lock that threads of the parent take when they begin and end,
            // as those do that let go later.
            let child = begin_child(|| {
                drop(Lock::new(&cache, "of a child").unwrap().lock().unwrap());
                rustix::process::kill_process(rustix::process::getpid(), Signal::KILL).unwrap();
            });
            let begin = std::time::Instant::now();
            loop {
                let pid = rustix::process::Pid::from_raw(child).unwrap();
                if let Some((_, status)) =
                    rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::NOHANG).unwrap()
                {
                    assert_eq!(status.terminating_signal(), Some(Signal::KILL.as_raw()), "the child failed");
                    break;
                }
                if begin.elapsed() > Duration::from_secs(20) {
                    rustix::process::kill_process(pid, Signal::KILL).unwrap();
                    panic!("the child of round {round} waits for ever");
                }
                std::thread::yield_now();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// Children die with locks that nobody asks for again: what is written down of them does not fill the cache for good.
fn dies_with_locks(directory: &Path) {
    let cache = Cache::builder(directory).size_limit(2 << 20).open().unwrap();
    for child in 0..20 {
        in_child(|| {
            for number in 0..2_000 {
                let lock = larder::recipes::Lock::new(&cache, &format!("{child} {number}")).unwrap();
                let held = lock.lock();
                assert!(held.is_ok(), "{:?} after {child} children have died", held.err());
                std::mem::forget(held);
            }
        });
    }
}

fn run_scene(number: u64) {
    let directory = tempfile::tempdir().unwrap();
    let mut crew = Crew::new();
    let member = crew.start("forker", directory.path(), &[number]);
    crew.finish(member);
}

#[test]
fn an_inherited_handle_works_in_the_child() {
    run_scene(0);
}

#[test]
fn a_fork_beside_busy_threads_waits_for_none_of_them() {
    run_scene(1);
}

#[test]
fn a_child_of_a_child_has_a_store_of_its_own() {
    run_scene(2);
}

#[test]
fn what_a_child_drops_its_parent_keeps() {
    run_scene(3);
}

#[test]
fn pinned_values_stay_readable_in_the_child() {
    run_scene(4);
}

#[test]
fn threads_of_a_child_that_come_first_together_have_one_store() {
    run_scene(5);
}

#[test]
fn an_inherited_reader_reads_on() {
    run_scene(6);
}

#[test]
fn a_child_forked_while_a_thread_opens_keeps_nobody_out() {
    run_scene(7);
}

#[test]
fn a_child_leaves_another_store_in_the_same_place_alone() {
    run_scene(8);
}

#[test]
fn a_child_makes_no_store_where_there_was_one() {
    run_scene(9);
}

#[test]
fn a_transaction_is_dead_in_a_child_of_fork() {
    run_scene(11);
}

#[test]
fn a_child_of_a_transaction_makes_nothing_beside_it() {
    run_scene(15);
}

#[test]
fn shards_and_what_changes_several_of_them_work_in_a_child() {
    run_scene(12);
}

#[test]
fn a_fork_beside_what_is_let_go_later_waits_for_nobody() {
    run_scene(13);
}

#[test]
fn locks_of_the_dead_do_not_fill_a_cache_for_good() {
    run_scene(14);
}

#[test]
fn a_living_child_does_not_keep_its_dead_parents_lock() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::open(&directory).unwrap();
    let mut crew = Crew::new();
    let member = crew.start("forker", directory.path(), &[10]);
    crew.expect_of(member, "a child lives");
    crew.strike(member);
    // The parent dies at any moment of its batches; the lock is free although its child lives.
    for n in 0..100 {
        cache.set("next", &n).unwrap();
    }
    let found = cache.get_many::<u64>((0..300u64).map(|key| ("together", key))).unwrap();
    assert!(found.iter().all(|one| *one == found[0]), "a batch is there in part: {found:?}");
    crew.close(member);
    crew.expect_of(member, "the child went on");
    assert_eq!(crew.hear_of(member), None);
    assert_eq!(cache.get::<String>("child").unwrap().as_deref(), Some("goes on"));
    assert_clean(&cache);
}
