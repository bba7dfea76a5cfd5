//! Large values that end all at once give back their space to whoever needs it, and a store that is full of what lasts says so.
use std::time::Duration;

use larder::{Cache, Eviction, SetOptions};

fn open(dir: &tempfile::TempDir, size_limit: u64, eviction: Eviction) -> Cache {
    Cache::builder(dir).size_limit(size_limit).eviction(eviction).background(false).open().unwrap()
}

/// How many are stored until one is refused.
fn fill(mut store: impl FnMut(u32) -> larder::Result<()>) -> u32 {
    (0..1_000).find(|&key| store(key).is_err()).expect("there is a limit")
}

fn large() -> String {
    "v".repeat(100 << 10)
}

/// Fills a store that evicts nothing twice, and ends what is there in between.
fn fits_again(what: &str, cache: &Cache, mut store: impl FnMut(u32) -> larder::Result<()>, end: impl FnOnce()) {
    let first = fill(&mut store);
    end();
    let second = fill(&mut store);
    assert!(first > 10 && second + 2 >= first, "{what}: {first} fit at first, {second} then");
    assert!(cache.check().unwrap().is_clean(), "{what}");
}

#[test]
fn large_values_that_a_mark_has_ended_give_their_space_back() {
    for (what, has_cache_within) in [("tag", false), ("clear", true)] {
        let dir = tempfile::tempdir().unwrap();
        let cache = open(&dir, 2 << 20, Eviction::None);
        if has_cache_within {
            cache.cache("within").unwrap().set("key", &1).unwrap();
        }
        let store = |key| cache.set_with(key, &large(), SetOptions::new().tag("tag"));
        fits_again(what, &cache, store, || drop(if has_cache_within { cache.clear() } else { cache.evict("tag") }));
    }
    for eviction in [Eviction::None, Eviction::LeastRecentlyUsed, Eviction::S3Fifo] {
        let dir = tempfile::tempdir().unwrap();
        let cache = open(&dir, 2 << 20, eviction);
        let deque = cache.deque::<String>("deque").unwrap();
        fits_again("deque", &cache, |_| deque.push_back(&large()), || drop(deque.clear()));
        deque.clear().unwrap();
        let index = cache.index::<u32, String>("index").unwrap();
        let store = |key| index.insert(key, &large()).map(drop);
        fits_again("index", &cache, store, || drop(index.clear()));
    }
}

/// Few large values among many small ones, which stay where they are.
#[test]
fn few_large_values_give_their_space_back_beside_many_small_ones() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(&dir, 2 << 20, Eviction::None);
    for key in 0..3_000_u32 {
        cache.set_bytes(("small", key), &[1; 200]).unwrap();
        if key % 500 == 0 {
            cache.set_with(("large", key), &large(), SetOptions::new().tag("tag")).unwrap();
        }
    }
    fill(|key| cache.set(key, &large()));
    assert_eq!(cache.evict("tag").unwrap(), 6);
    assert!(fill(|key| cache.set(("more", key), &large())) >= 5);
}

/// By transactions, which hold the lock for as long as they look for room.
#[test]
fn a_store_full_of_what_lasts_says_so() {
    for large in 6..14 {
        let dir = tempfile::tempdir().unwrap();
        let cache = open(&dir, 16 << 20, Eviction::LeastRecentlyUsed);
        let deque = cache.deque::<String>("jobs").unwrap();
        for _ in 0..large {
            deque.push_back(&"v".repeat(512 << 10)).unwrap();
        }
        while deque.extend(vec!["v".repeat(1_000); 100]).is_ok() {}
        assert!(deque.push_back(&"v".repeat(512 << 10)).is_err());
        let other = Cache::builder(&dir).lock_timeout(Duration::from_secs(5)).background(false).open().unwrap();
        assert!(!other.delete("absent").unwrap());
    }
}
