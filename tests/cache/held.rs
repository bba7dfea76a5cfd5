//! What is held beside a listener that panics, a disk that fails, and inside of a transaction: leases, and what locks make room for.

use std::cell::Cell;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use larder::Cache;
use larder::recipes::Lock;

use crate::slow::Slow;

const LONG: Duration = Duration::from_secs(3600);
/// Where it says what could not be made durable.
const SYNC_FAILED: u64 = 744;

thread_local! {
    static ARMED: Cell<bool> = const { Cell::new(false) };
}

/// A cache that is full, with a listener that panics in a thread that is armed.
fn armed(dir: &tempfile::TempDir) -> Cache {
    let builder = Cache::builder(dir).size_limit(2 << 20).background(false);
    let cache = builder.on_evict(|_| assert!(!ARMED.get(), "on purpose")).open().unwrap();
    for key in 0..5_000_u32 {
        cache.set_bytes(key, &[2; 700]).unwrap();
    }
    cache
}

/// Another thread makes room meanwhile, and what it does not tell is told when the lease is given.
#[test]
fn a_lease_beside_a_listener_that_panics_is_not_held_by_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let cache = armed(&dir);
    let deque = cache.deque::<u32>("jobs").unwrap();
    let stop = AtomicBool::new(false);
    let lost = std::thread::scope(|scope| {
        scope.spawn(|| {
            let lock = Lock::new(&cache, "lock").unwrap();
            for key in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                cache.set_bytes(key, &[2; 700]).unwrap();
                drop(lock.lock());
            }
        });
        let lost = (0..2_000).find(|round| {
            deque.push_back(round).unwrap();
            ARMED.set(true);
            let leased = catch_unwind(AssertUnwindSafe(|| deque.lease_front(LONG).unwrap().unwrap()));
            ARMED.set(false);
            if let Ok(job) = leased {
                job.ack().unwrap();
            }
            while deque.pop_front().unwrap().is_some() {}
            deque.leased().unwrap() != 0
        });
        stop.store(true, Ordering::Relaxed);
        lost
    });
    assert!(lost.is_none(), "round {lost:?}: leased, and nobody has it");
}

/// A panic while a thread panics would end the process.
#[test]
fn to_drop_a_lease_beside_a_listener_that_panics_does_not_panic_and_gives_it_back() {
    let dir = tempfile::tempdir().unwrap();
    let cache = armed(&dir);
    let deque = cache.deque::<u32>("jobs").unwrap();
    for round in 0..500 {
        deque.push_back(&round).unwrap();
        let job = deque.lease_front(LONG).unwrap().unwrap();
        ARMED.set(true);
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(job)));
        ARMED.set(false);
        assert!(dropped.is_ok(), "round {round}: len {}, leased {}", deque.len(), deque.leased().unwrap());
        // Where there is no thread for it, the next call that leases gives back what could not be given back.
        deque.lease_front(LONG).unwrap().unwrap().ack().unwrap();
        assert!(deque.is_empty());
    }
}

/// The disk fails while the lease is given: whoever asked for it has none, so nobody holds the element.
#[test]
fn a_lease_that_is_not_durable_is_not_held_by_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::builder(&dir).durability(larder::Durability::Sync).open().unwrap();
    let deque = cache.deque::<Slow>("jobs").unwrap();
    deque.push_back(&Slow(7)).unwrap();
    let path = dir.path().join("state");
    Slow::meanwhile(move || {
        let state = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        state.write_all_at(&(32u64 | 16 | 4).to_le_bytes(), SYNC_FAILED).unwrap();
    });
    let leased = deque.lease_front(LONG);
    assert!(leased.is_ok() || deque.leased().unwrap() == 0, "{:?}, and it is leased", leased.err());
}

/// As a lock that is dropped there, it is let go later.
#[test]
fn a_lease_dropped_inside_a_transaction_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(&dir).unwrap();
    let deque = cache.deque::<u32>("jobs").unwrap();
    deque.push_back(&1).unwrap();
    let job = deque.lease_front(Duration::MAX).unwrap().unwrap();
    let failed = cache.transact(move |tx| {
        job.ack_in(&tx.deque("jobs")?)?;
        Err::<(), _>(larder::Error::aborted("no"))
    });
    assert!(failed.is_err());
    let begin = Instant::now();
    while deque.is_empty() && begin.elapsed() < Duration::from_secs(5) {
        std::thread::yield_now();
    }
    assert_eq!((deque.len(), deque.leased().unwrap()), (1, 0));
}

#[test]
fn what_locks_made_room_for_is_told_before_the_cache_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let told = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&told);
    let builder = Cache::builder(&dir).size_limit(2 << 20).background(false);
    let cache = builder.on_evict(move |_| _ = count.fetch_add(1, Ordering::Relaxed)).open().unwrap();
    for key in 0..5_000_u32 {
        cache.set_bytes(key, &[2; 700]).unwrap();
    }
    let lock = Lock::new(&cache, "lock").unwrap();
    for _ in 0..20_000 {
        drop(lock.lock().unwrap());
    }
    let left = cache.len() as u64;
    drop((lock, cache));
    assert_eq!(told.load(Ordering::Relaxed) + left, 5_000);
}
