//! What `on_evict` tells.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder::recipes::{BoundedSemaphore, Lock, RLock};
use larder::{Cache, Eviction, SetOptions};

const POLICIES: [Eviction; 4] =
    [Eviction::S3Fifo, Eviction::LeastRecentlyUsed, Eviction::LeastFrequentlyUsed, Eviction::LeastRecentlyStored];

#[test]
fn each_item_that_was_evicted_is_told_once_and_no_other() {
    for (policy, background) in POLICIES.into_iter().flat_map(|policy| [(policy, false), (policy, true)]) {
        let dir = tempfile::tempdir().unwrap();
        let told: Arc<Mutex<Vec<(u32, u64)>>> = Arc::default();
        let tells = Arc::clone(&told);
        let builder = Cache::builder(&dir).size_limit(2 << 20).eviction(policy).background(background);
        let cache = builder
            .on_evict(move |item| tells.lock().unwrap().push((item.key().unwrap(), item.value_bytes())))
            .open()
            .unwrap();
        for key in 0..4_000_u32 {
            // Large ones among them.
            let len = if key % 50 == 0 { 20_000 } else { 500 };
            cache.set_bytes(key, &vec![1; len]).unwrap();
            if key % 7 == 0 {
                cache.delete(key / 2).unwrap();
            }
        }
        let stays: BTreeSet<u32> = cache.keys().collect::<Result<_, _>>().unwrap();
        let culled = cache.stats().unwrap().culled;
        drop(cache);
        let told = told.lock().unwrap();
        let keys: BTreeSet<u32> = told.iter().map(|&(key, _)| key).collect();
        assert_eq!(keys.len(), told.len(), "{policy:?}: told twice");
        // The thread may have evicted more between the look at the keys and the end.
        let slack = if background { 200 } else { 0 };
        assert!((culled..=culled + slack).contains(&(told.len() as u64)), "{policy:?}: {culled}, {}", told.len());
        assert!(stays.intersection(&keys).count() as u64 <= slack, "{policy:?}");
        let deleted = |key: u32| (0..4_000).step_by(7).any(|by| by / 2 == key);
        let lost = (0..4_000).filter(|key| !stays.contains(key) && !keys.contains(key) && !deleted(*key));
        assert_eq!(lost.count(), 0, "{policy:?}: gone and not told");
        assert!(told.iter().all(|&(key, bytes)| bytes == if key % 50 == 0 { 20_000 } else { 500 }));
    }
}

#[test]
fn who_is_told_may_use_the_cache_and_panic() {
    let dir = tempfile::tempdir().unwrap();
    let told = Arc::new(AtomicU64::new(0));
    let counts = Arc::clone(&told);
    let other = Cache::builder(&dir).size_limit(2 << 20).background(false).open().unwrap();
    let inner = other.clone();
    let cache = Cache::builder(&dir)
        .background(false)
        .on_evict(move |item| {
            // What is stored here goes in its turn.
            let Ok(key) = item.key::<u32>() else { return };
            inner.set(("gone", key), &item.value_bytes()).unwrap();
            if counts.fetch_add(1, Ordering::Relaxed) == 10 {
                panic!("the tenth");
            }
        })
        .open()
        .unwrap();
    let mut panics = 0;
    for key in 0..5_000_u32 {
        let set = catch_unwind(AssertUnwindSafe(|| cache.set_bytes(key, &[2; 700])));
        panics += u32::from(set.is_err());
        // What a call has stored is stored, whatever its listener did.
        assert!(cache.contains(key).unwrap(), "{key}");
    }
    assert_eq!(panics, 1);
    assert!(told.load(Ordering::Relaxed) > 1_000);
    assert!(other.check().unwrap().is_clean());
}

/// What is taken while a listener waits to be told, which panics, has somebody who gives it back: at no time does a panic come between
/// the taking and the guard.
#[test]
fn what_is_taken_beside_a_listener_that_panics_is_not_held_by_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let armed = Arc::new(AtomicU64::new(0));
    let is_armed = Arc::clone(&armed);
    let cache = Cache::builder(&dir)
        .size_limit(2 << 20)
        .background(false)
        .on_evict(move |_| assert!(is_armed.load(Ordering::Relaxed) == 0, "on purpose"))
        .open()
        .unwrap();
    for key in 0..5_000_u32 {
        cache.set_bytes(key, &[2; 700]).unwrap();
    }
    // So often that room has to be made for it many times; true if it was to be had after each time.
    let is_free_after = |take: &dyn Fn(), is_free: &dyn Fn() -> bool| {
        (0..20_000).all(|_| {
            armed.store(1, Ordering::Relaxed);
            let _ = catch_unwind(AssertUnwindSafe(take));
            armed.store(0, Ordering::Relaxed);
            is_free()
        })
    };
    let lock = Lock::new(&cache, "lock").unwrap();
    assert!(is_free_after(&|| drop(lock.lock()), &|| !lock.is_locked().unwrap()));
    let again = RLock::new(&cache, "again").unwrap();
    assert!(is_free_after(&|| drop(again.lock()), &|| !again.is_locked().unwrap()));
    let permits = BoundedSemaphore::new(&cache, "permits", 1).unwrap();
    assert!(is_free_after(&|| drop(permits.acquire()), &|| permits.taken().unwrap() == 0));
    // Storing the value tells the listener, with the claim in hand.
    let claimed = AtomicU64::new(0);
    let compute = || {
        let key = ("value", claimed.fetch_add(1, Ordering::Relaxed));
        cache.get_or_insert_with(key, SetOptions::new().wait(Duration::ZERO), || 7).map(drop).unwrap();
    };
    let is_free = || {
        let key = ("value", claimed.load(Ordering::Relaxed) - 1);
        cache.get_or_insert_with(key, SetOptions::new().wait(Duration::ZERO), || 7).is_ok()
    };
    assert!(is_free_after(&compute, &is_free));
}
