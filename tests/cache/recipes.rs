//! Locks, semaphores and the like.

use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use larder::recipes::{Averager, Barrier, BoundedSemaphore, Lock, RLock, Throttle};
use larder::{Cache, Error};

use crate::Scratch;

const SOON: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(600);
/// Where in the file `state` the latest time stands at which something was found expired.
const CLOCK: u64 = 416;
/// Where it says what could not be made durable.
const SYNC_FAILED: u64 = 744;

/// Threads that have a handle of their own each, and do something many times.
fn together(cache: &Scratch, body: impl Fn(&Cache, u64) + Sync) {
    std::thread::scope(|scope| {
        for who in 0..4 {
            let (cache, body) = (cache.second(), &body);
            scope.spawn(move || (0..50).for_each(|_| body(&cache, who)));
        }
    });
}

#[test]
fn one_at_a_time_holds_a_lock() {
    let cache = Scratch::new();
    let (inside, sum) = (AtomicU64::new(0), AtomicU64::new(0));
    together(&cache, |cache, who| {
        let lock = Lock::new(cache, "lock").unwrap();
        let _held = if who == 0 { lock.lock_timeout(LONG).unwrap() } else { lock.lock().unwrap() };
        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
        let before = sum.load(Ordering::Relaxed);
        std::thread::yield_now();
        sum.store(before + 1, Ordering::Relaxed);
        inside.fetch_sub(1, Ordering::SeqCst);
    });
    assert_eq!(sum.into_inner(), 200);
    assert!(!Lock::new(&cache, "lock").unwrap().is_locked().unwrap());
    assert_eq!((cache.len(), cache.check().unwrap().is_clean()), (0, true), "locks are no items");
}

#[test]
fn a_lock_that_is_held_is_not_to_be_had_by_others() {
    let cache = Scratch::new();
    let (mine, other) = (Lock::new(&cache, "lock").unwrap(), Lock::new(&cache.second(), "lock").unwrap());
    let held = mine.lock().unwrap();
    assert!(other.is_locked().unwrap() && other.try_lock().unwrap().is_none());
    assert!(other.lock_timeout(SOON).unwrap_err().is_timeout());
    assert!(Lock::new(&cache, "another").unwrap().try_lock().unwrap().is_some());
    assert!(RLock::new(&cache, "lock").unwrap().try_lock().unwrap().is_some(), "a lock of another kind");
    cache.clear().unwrap();
    assert!(other.try_lock().unwrap().is_none(), "clear does not let go");
    drop(held);
    let held = other.try_lock().unwrap().unwrap();
    assert!(mine.try_lock().unwrap().is_none());
    drop(held);
    let inside = cache.transact(|tx| Lock::new(tx, "lock").map(drop));
    assert!(matches!(inside, Err(Error::InTransaction)));
    let outside = cache.transact(|_| mine.lock().map(drop));
    assert!(matches!(outside, Err(Error::InTransaction)));
}

#[test]
fn a_thread_takes_a_reentrant_lock_as_often_as_it_likes() {
    let cache = Scratch::new();
    let lock = RLock::new(&cache, "tree").unwrap();
    let other = RLock::new(&cache.second(), "tree").unwrap();
    let held: Vec<_> = (0..5).map(|_| lock.lock().unwrap()).collect();
    for guard in held {
        assert!(other.try_lock().unwrap().is_none() && lock.is_locked().unwrap());
        let from_another_thread = std::thread::scope(|scope| scope.spawn(|| lock.try_lock().unwrap().is_some()).join());
        assert!(!from_another_thread.unwrap());
        drop(guard);
    }
    assert!(!lock.is_locked().unwrap());
    let held = other.lock_timeout(SOON).unwrap();
    assert!(lock.lock_timeout(SOON).unwrap_err().is_timeout());
    drop(held);
    assert!(lock.try_lock().unwrap().is_some());
}

#[test]
fn no_more_permits_are_taken_than_there_are() {
    let cache = Scratch::new();
    let (inside, most) = (AtomicU64::new(0), AtomicU64::new(0));
    together(&cache, |cache, _| {
        let semaphore = BoundedSemaphore::new(cache, "permits", 2).unwrap();
        let _permit = semaphore.acquire().unwrap();
        let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
        most.fetch_max(now, Ordering::SeqCst);
        std::thread::yield_now();
        inside.fetch_sub(1, Ordering::SeqCst);
    });
    assert!(most.into_inner() <= 2);
    let semaphore = BoundedSemaphore::new(&cache, "permits", 2).unwrap();
    assert_eq!(semaphore.taken().unwrap(), 0);
    let permits = [semaphore.acquire().unwrap(), semaphore.try_acquire().unwrap().unwrap()];
    assert_eq!(semaphore.taken().unwrap(), 2);
    assert!(semaphore.try_acquire().unwrap().is_none());
    assert!(semaphore.acquire_timeout(SOON).unwrap_err().is_timeout());
    drop(permits);
    assert_eq!(semaphore.taken().unwrap(), 0);
    let none = BoundedSemaphore::new(&cache, "none", 0).unwrap();
    assert!(none.acquire_timeout(SOON).unwrap_err().is_timeout());
}

#[test]
fn an_average_is_of_all_that_anybody_added() {
    let cache = Scratch::new();
    together(&cache, |cache, who| Averager::new(cache, "average").unwrap().add(who as f64).unwrap());
    let average = Averager::new(&cache, "average").unwrap();
    assert_eq!((average.get().unwrap(), average.pop().unwrap(), average.get().unwrap()), (Some(1.5), Some(1.5), None));
}

#[test]
fn a_throttle_lets_so_many_go_at_once_and_no_more() {
    let cache = Scratch::new();
    let throttle = |cache: &Cache| Throttle::new(cache, "hourly", 10, Duration::from_secs(3600)).unwrap();
    let passed = AtomicU64::new(0);
    together(&cache, |cache, _| {
        if throttle(cache).try_pass().unwrap() {
            passed.fetch_add(1, Ordering::Relaxed);
        }
    });
    assert_eq!(passed.into_inner(), 10);
    assert!(throttle(&cache).wait_timeout(SOON).unwrap_err().is_timeout());
    // The clock is read to some milliseconds.
    let quick = Throttle::new(&cache, "quick", 1, 40 * SOON).unwrap();
    let begin = std::time::Instant::now();
    (0..2).for_each(|_| quick.wait().unwrap());
    assert!(begin.elapsed() >= 20 * SOON, "the first goes at once, the other one has to wait");
    Throttle::new(&cache, "none", 0, Duration::ZERO).unwrap().wait().unwrap();
}

/// The clock was an hour ahead for a moment, and what was due then was found expired: turns come all the same.
#[test]
fn a_throttle_goes_on_after_the_clock_was_ahead() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(&dir).unwrap();
    let then = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + Duration::from_secs(3600);
    let state = std::fs::OpenOptions::new().write(true).open(dir.path().join("state")).unwrap();
    state.write_all_at(&u64::try_from(then.as_nanos()).unwrap().to_le_bytes(), CLOCK).unwrap();
    let throttle = Throttle::new(&cache, "quick", 1, 40 * SOON).unwrap();
    // If no time passed, each would have to wait for all before it.
    (0..6).for_each(|_| throttle.wait_timeout(80 * SOON).unwrap());
}

#[test]
fn calls_behind_a_barrier_do_not_overlap() {
    let cache = Scratch::new();
    let inside = AtomicU64::new(0);
    together(&cache, |cache, _| {
        let barrier = Barrier::new(cache, "barrier").unwrap();
        let called = barrier.call(|| {
            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
            std::thread::yield_now();
            inside.fetch_sub(1, Ordering::SeqCst);
            7
        });
        assert_eq!(called.unwrap(), 7);
    });
    let barrier = Barrier::new(&cache, "barrier").unwrap();
    let panics = || barrier.call(|| std::panic::resume_unwind(Box::new("on purpose")));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics));
    assert!(panicked.is_err());
    assert_eq!(barrier.call(|| 8).unwrap(), 8);
}

/// Who waits with the lock of the store waits for somebody who cannot write.
#[test]
fn nobody_waits_for_a_lock_inside_a_transaction_or_without_writing() {
    let cache = Scratch::new();
    let theirs = Lock::new(&cache, "lock").unwrap();
    let second = cache.second();
    let mine = Lock::new(&second, "lock").unwrap();
    let held = theirs.lock().unwrap();
    let inside = second.transact(|_| mine.lock_timeout(Duration::from_secs(60)).map(drop));
    assert!(matches!(inside, Err(Error::InTransaction)), "{inside:?}");
    let reader = crate::open_to_read(cache.dir.path());
    let reading = Lock::new(&reader, "lock").unwrap().lock_timeout(Duration::from_secs(60)).map(drop);
    assert!(matches!(reading, Err(Error::ReadOnly)), "{reading:?}");
    drop(held);
    drop(mine.lock().unwrap());
}

/// Whatever it was that failed when a guard was dropped, what it held is to be had again.
#[test]
fn what_could_not_be_let_go_is_let_go_later() {
    for has_thread in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let cache =
            Cache::builder(&dir).lock_timeout(Duration::from_millis(200)).background(has_thread).open().unwrap();
        let other = Cache::open(&dir).unwrap();
        let within = cache.cache("within").unwrap();
        let lock = Lock::new(&within, "lock").unwrap();
        let again = RLock::new(&cache, "again").unwrap();
        let permits = BoundedSemaphore::new(&cache, "permits", 1).unwrap();
        let outer = again.lock().unwrap();
        let held = (lock.lock().unwrap(), permits.acquire().unwrap());
        // Here the lock is not had in time, there the thread is inside a transaction.
        other
            .transact(move |_| {
                std::thread::scope(|scope| drop(scope.spawn(move || drop(held))));
                Ok(())
            })
            .unwrap();
        let inner = again.lock().unwrap();
        cache
            .transact(move |_| {
                drop(inner);
                Ok(())
            })
            .unwrap();
        // Another process that waits has it from the thread; without one, whoever of this process asks next lets go.
        let second = Cache::open(&dir).unwrap();
        if !has_thread {
            assert!(Lock::new(&cache, "any").unwrap().try_lock().unwrap().is_some());
        }
        drop(Lock::new(&second.cache("within").unwrap(), "lock").unwrap().lock_timeout(LONG).unwrap());
        drop(BoundedSemaphore::new(&second, "permits", 1).unwrap().acquire_timeout(LONG).unwrap());
        let theirs = RLock::new(&second, "again").unwrap();
        std::thread::scope(|scope| {
            let is_taken = scope.spawn(|| theirs.try_lock().unwrap().is_none());
            assert!(is_taken.join().unwrap(), "it was let go once of two times");
            drop(outer);
            scope.spawn(|| drop(theirs.lock_timeout(LONG).unwrap()));
        });
    }
}

/// Nothing is evicted, and there is room for nothing more: what somebody has is to be given back all the same.
#[test]
fn a_permit_and_a_reentrant_lock_are_let_go_in_a_full_store() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Cache::builder(&dir).size_limit(2 << 20).eviction(larder::Eviction::None).background(false);
    let cache = open().open().unwrap();
    let permits = BoundedSemaphore::new(&cache, "permits", 2).unwrap();
    let again = RLock::new(&cache, "again").unwrap();
    let lock = Lock::new(&cache, "lock").unwrap();
    let (first, second) = (permits.acquire().unwrap(), permits.acquire().unwrap());
    let (outer, inner) = (again.lock().unwrap(), again.lock().unwrap());
    let held = lock.lock().unwrap();
    let mut stored = 0;
    for len in [10_000, 1_000, 100, 10, 1] {
        while cache.set_bytes(stored, &vec![1; len]).is_ok() {
            stored += 1;
        }
    }
    drop(held);
    assert!(!lock.is_locked().unwrap());
    drop(first);
    let other = open().open().unwrap();
    let theirs = BoundedSemaphore::new(&other, "permits", 2).unwrap();
    let taken = theirs.taken().unwrap();
    drop((inner, outer));
    let is_locked = again.is_locked().unwrap();
    drop(second);
    let at_last = theirs.taken().unwrap();
    assert_eq!((taken, is_locked, at_last), (1, false, 0), "permits, the lock, permits");
}

/// The thread ends when it sees nothing left, and what another thread is just trying is not to be seen.
#[test]
fn what_somebody_else_tried_in_vain_is_let_go_later() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::builder(&dir).lock_timeout(Duration::from_millis(50)).open().unwrap();
    let other = Cache::open(&dir).unwrap();
    let lock = Lock::new(&cache, "lock").unwrap();
    let any = Lock::new(&cache, "any").unwrap();
    let held = lock.lock().unwrap();
    other
        .transact(|_| {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    drop(held);
                    // Each does first what is left, in vain.
                    (0..20).for_each(|_| drop(any.try_lock()));
                });
            });
            Ok(())
        })
        .unwrap();
    // Who looks does not let go of anything.
    let theirs = Lock::new(&other, "lock").unwrap();
    let begin = std::time::Instant::now();
    while theirs.is_locked().unwrap() && begin.elapsed() < Duration::from_secs(10) {
        std::thread::yield_now();
    }
    assert!(!theirs.is_locked().unwrap(), "nobody tries any more");
}

/// Each of what is left waits for the lock of the store: who only tries a lock does not wait for all of them.
#[test]
fn who_tries_a_lock_does_not_wait_for_all_that_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::builder(&dir).lock_timeout(200 * SOON).background(false).open().unwrap();
    let other = Cache::open(&dir).unwrap();
    let _theirs = Lock::new(&other, "theirs").unwrap().lock().unwrap();
    let theirs = Lock::new(&cache, "theirs").unwrap();
    let held: Vec<_> = (0..20).map(|i| Lock::new(&cache, &i.to_string()).unwrap().lock().unwrap()).collect();
    let took = other.transact(|_| {
        Ok(std::thread::scope(|scope| {
            let tries = scope.spawn(|| {
                std::thread::scope(|scope| held.into_iter().for_each(|held| drop(scope.spawn(move || drop(held)))));
                let begin = std::time::Instant::now();
                assert!(theirs.try_lock().unwrap().is_none());
                begin.elapsed()
            });
            tries.join().unwrap()
        }))
    });
    assert!(took.unwrap() < 1000 * SOON, "a lock that is tried and not waited for");
}

/// One thread tries all that is left, and one store whose lock is not to be had is none of the others' business.
#[test]
fn what_is_left_in_one_cache_does_not_wait_for_another() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let stuck = Cache::builder(&dirs[0]).lock_timeout(500 * SOON).open().unwrap();
    let (other, free) = (Cache::open(&dirs[0]).unwrap(), Cache::open(&dirs[1]).unwrap());
    let held: Vec<_> = (0..20).map(|i| Lock::new(&stuck, &i.to_string()).unwrap().lock().unwrap()).collect();
    let lock = Lock::new(&free, "lock").unwrap();
    let mine = lock.lock().unwrap();
    let took = other.transact(|_| {
        std::thread::scope(|scope| held.into_iter().for_each(|held| drop(scope.spawn(move || drop(held)))));
        free.transact(|_| {
            drop(mine);
            Ok(())
        })?;
        let begin = std::time::Instant::now();
        while lock.is_locked()? {
            std::thread::yield_now();
        }
        Ok(begin.elapsed())
    });
    let took = took.unwrap();
    assert!(took < 2000 * SOON, "{took:?}: let go as soon as the transaction is over");
}

/// The disk has failed, and nothing can be made durable: that somebody has let go needs not be.
#[test]
fn a_lock_is_let_go_after_the_disk_has_failed() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::builder(&dir).durability(larder::Durability::Sync).open().unwrap();
    let other = Cache::open(&dir).unwrap();
    let theirs = Lock::new(&other, "lock").unwrap();
    let held = Lock::new(&cache, "lock").unwrap().lock().unwrap();
    let state = std::fs::OpenOptions::new().write(true).open(dir.path().join("state")).unwrap();
    // As a failed `fsync` of the log leaves it, of which somebody was told.
    state.write_all_at(&(32u64 | 16 | 4).to_le_bytes(), SYNC_FAILED).unwrap();
    assert!(cache.set("key", &1).is_err() && other.set("key", &1).is_ok());
    drop(held);
    assert!(!theirs.is_locked().unwrap(), "nobody holds it, and others can write");
}
