//! `get_or_insert_with` and `try_get_or_insert_with`.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use larder::{Cache, Error, SetOptions};

use crate::Scratch;

const NONE: SetOptions<'static> = SetOptions::new();
pub const AT_ONCE: fn() -> SetOptions<'static> = || SetOptions::new().wait(Duration::ZERO);

/// Runs `meanwhile` while another thread, with a handle of its own, computes the value of `key`.
pub fn while_computing<R>(cache: &Scratch, key: &str, meanwhile: impl FnOnce() -> R) -> R {
    let (begun, begins) = channel();
    let (end, ends) = channel::<()>();
    let other = cache.second();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let value = other.get_or_insert_with(key, NONE, || {
                begun.send(()).unwrap();
                // Returns when the other side is dropped, by a panic too.
                let _ = ends.recv();
                7
            });
            assert_eq!(value.unwrap(), 7);
        });
        begins.recv().unwrap();
        let _end = end;
        meanwhile()
    })
}

#[test]
fn of_many_threads_one_computes_and_all_get_its_value() {
    const THREADS: u64 = 8;
    let cache = Scratch::new();
    let handles = [cache.cache.clone(), cache.second()];
    for round in 0..20u64 {
        let (runs, asked, start) = (AtomicU64::new(0), AtomicU64::new(0), Barrier::new(THREADS as usize));
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (runs, asked, start, cache) = (&runs, &asked, &start, &handles[thread as usize % 2]);
                scope.spawn(move || {
                    start.wait();
                    asked.fetch_add(1, Ordering::Relaxed);
                    let value = cache.get_or_insert_with(("round", round), NONE, || {
                        while asked.load(Ordering::Relaxed) < THREADS {
                            std::thread::yield_now();
                        }
                        (round, runs.fetch_add(1, Ordering::Relaxed))
                    });
                    assert_eq!(value.unwrap(), (round, 0));
                });
            }
        });
        assert_eq!(runs.into_inner(), 1);
    }
    assert_eq!((cache.len(), cache.keys::<(String, u64)>().count()), (20, 20), "claims are no items");
    assert!(cache.check().unwrap().is_clean());
}

#[test]
fn an_error_is_not_stored_and_a_panic_lets_go() {
    let cache = Scratch::new();
    let failed = cache.try_get_or_insert_with("k", NONE, || Err::<u8, Error>(Error::aborted("not today")));
    assert!(failed.unwrap_err().is_aborted());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        cache.get_or_insert_with::<u8>("k", NONE, || std::panic::resume_unwind(Box::new("on purpose")))
    }));
    assert!(panicked.is_err());
    assert!(!cache.contains("k").unwrap());
    assert_eq!(cache.get_or_insert_with("k", AT_ONCE(), || 9).unwrap(), 9);
}

#[test]
fn who_waits_gets_the_value_or_is_told_in_time() {
    let cache = Scratch::new();
    while_computing(&cache, "slow", || {
        assert!(cache.get_or_insert_with("slow", AT_ONCE(), || 1).unwrap_err().is_timeout());
        let short = SetOptions::new().wait(Duration::from_millis(1));
        assert!(cache.get_or_insert_with("slow", short, || 1).unwrap_err().is_timeout());
        assert_eq!(cache.get_or_insert_with("quick", AT_ONCE(), || 2).unwrap(), 2, "another key waits for nobody");
    });
    assert_eq!(cache.get_or_insert_with("slow", AT_ONCE(), || 1).unwrap(), 7);
}

#[test]
fn a_thread_that_asks_for_what_it_computes_is_told_so() {
    let cache = Scratch::new();
    let second = cache.second();
    let outer = cache.try_get_or_insert_with("outer", NONE, || {
        for handle in [&*cache, &second] {
            let inner = handle.get_or_insert_with("outer", NONE, || 1);
            assert!(matches!(inner, Err(Error::Recursive)), "{inner:?}");
        }
        cache.get_or_insert_with("inner", NONE, || 2)
    });
    assert_eq!(outer.unwrap(), 2);
    assert_eq!(cache.get::<i32>("outer").unwrap(), Some(2));
}

#[test]
fn what_cannot_be_decoded_is_computed_anew() {
    let cache = Scratch::new();
    cache.set("k", "a text").unwrap();
    assert_eq!(cache.get_or_insert_with("k", NONE, || 5u32).unwrap(), 5);
    assert_eq!(cache.get::<u32>("k").unwrap(), Some(5));
    cache.set_with("k", &6u32, SetOptions::new().expire(Duration::ZERO)).unwrap();
    assert_eq!(cache.get_or_insert_with("k", NONE, || 7u32).unwrap(), 7, "what has expired is absent");
}

#[test]
fn expiry_and_tag_are_those_of_the_options() {
    let cache = Scratch::new();
    let options = || SetOptions::new().expire(Duration::from_secs(600)).tag("group");
    assert_eq!(cache.get_or_insert_with("k", options(), || 1).unwrap(), 1);
    let entry = cache.entry::<i32>("k").unwrap().unwrap();
    assert!(entry.expires_at.is_some());
    assert_eq!(entry.tag.as_deref(), Some("group"));
    assert_eq!(cache.evict("group").unwrap(), 1);
}

#[test]
fn who_cannot_store_is_told_so_and_a_hit_needs_no_right_to() {
    let cache = Scratch::new();
    let reader = crate::open_to_read(cache.directory());
    assert!(matches!(reader.get_or_insert_with("k", NONE, || 1), Err(Error::ReadOnly)));
    cache.get_or_insert_with("k", NONE, || 2).unwrap();
    assert_eq!(reader.get_or_insert_with("k", NONE, || 1).unwrap(), 2);
    assert!(matches!(reader.get_or_insert_with("other", NONE, || 1), Err(Error::ReadOnly)));
    let inside = cache.transact(|tx| tx.get_or_insert_with("other", NONE, || 1));
    assert!(matches!(inside, Err(Error::InTransaction)));
    let outside = cache.transact(|_| cache.get_or_insert_with("other", NONE, || 1));
    assert!(matches!(outside, Err(Error::InTransaction)));
    assert_eq!(cache.transact(|tx| tx.get_or_insert_with("k", NONE, || 1)).unwrap(), 2);
}

/// A cache within another has keys of its own.
#[test]
fn the_same_key_of_another_cache_may_be_computed_while_one_is() {
    let cache = Scratch::new();
    let (outer, inner) = (cache.cache("outer").unwrap(), cache.cache("inner").unwrap());
    let within = || inner.get_or_insert_with("key", SetOptions::new(), || 7);
    let value: Result<i32, Error> = outer.try_get_or_insert_with("key", SetOptions::new(), within);
    assert_eq!(value.unwrap(), 7);
    assert_eq!(inner.get("key").unwrap(), Some(7));
}

/// The value cannot be stored, and the claim not be let go, because somebody has the lock of the store for too long.
#[test]
fn a_claim_that_could_not_be_let_go_is_let_go_later() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::builder(&dir).lock_timeout(Duration::from_millis(50)).open().unwrap();
    let other = Cache::open(&dir).unwrap();
    let (begun, begins) = channel();
    let (end, ends) = channel::<()>();
    std::thread::scope(|scope| {
        let end = end;
        let other = &other;
        let value = cache.get_or_insert_with("k", NONE, || {
            scope.spawn(move || {
                let locked = other.transact(|_| {
                    begun.send(()).unwrap();
                    // Returns when the other side is dropped, by a panic too.
                    let _ = ends.recv();
                    Ok(())
                });
                locked.unwrap();
            });
            begins.recv().unwrap();
            1
        });
        assert!(value.unwrap_err().is_timeout());
        drop(end);
    });
    let wait = SetOptions::new().wait(Duration::from_secs(600));
    assert_eq!(other.get_or_insert_with("k", wait, || 2).unwrap(), 2);
}
