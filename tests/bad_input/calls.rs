//! Sound directories, unreasonable calls: too large, too many, full.

use larder::{Cache, Error, Eviction, SetOptions};
use std::time::Duration;

fn small(dir: &tempfile::TempDir) -> Cache {
    Cache::builder(dir).size_limit(2 << 20).eviction(Eviction::None).open().unwrap()
}

#[test]
fn a_value_larger_than_fits_is_refused_by_every_call() {
    let dir = tempfile::tempdir().unwrap();
    let cache = small(&dir);
    cache.set_with("k", "before", SetOptions::new().tag("t")).unwrap();
    let before = cache.volume();
    let huge = vec![1u8; 3 << 20];
    let text = "x".repeat(3 << 20);
    let refused = [
        cache.set_bytes("k", &huge).err(),
        cache.set("k", &text).err(),
        cache.set("k", &huge).err(),
        cache.add("new", &text).err(),
        cache.compare_and_set("k", Some("before"), Some(text.as_str())).err(),
        cache.set_many([("fine", "small"), ("k", &text)]).err(),
    ];
    for (i, error) in refused.into_iter().enumerate() {
        let Some(Error::ValueTooLarge { bytes, limit }) = error else { panic!("call {i}: {error:?}") };
        assert!(bytes >= 3 << 20 && limit < 2 << 20, "call {i}: {bytes} over {limit}");
    }
    assert_eq!(cache.get::<String>("k").unwrap().unwrap(), "before");
    assert_eq!((cache.len(), cache.volume()), (1, before));
    assert!(cache.check().unwrap().is_clean());
    assert!(!std::fs::read_dir(&dir).unwrap().any(|f| f.unwrap().file_name().to_string_lossy().starts_with("draft")));
}

/// Fills a store until it is full; how many items it took.
fn fill(cache: &Cache, value: &[u8]) -> u32 {
    for i in 0..100_000 {
        match cache.set_bytes(i, value) {
            Ok(()) => {}
            Err(Error::Full) => return i,
            Err(other) => panic!("{other:?}"),
        }
    }
    panic!("never full");
}

#[test]
fn a_full_store_keeps_everything_can_be_emptied_and_used_again() {
    // Below a page, above the size from which records are written by a call, and in files of their own.
    for len in [10, 700, 5_000, 60_000] {
        let dir = tempfile::tempdir().unwrap();
        let cache = small(&dir);
        let value = vec![5; len];
        let count = fill(&cache, &value);
        assert!(count as usize * (len + 100) > 1 << 20, "{count} items of {len} bytes fill 2 MiB");
        // Where there is no place for another key there may be room for what a key that is there is to hold.
        while cache.set_bytes(0u32, &value).is_ok() {}
        let readable = || (0..count).all(|i| cache.get_bytes(i).unwrap().unwrap() == value);
        for _ in 0..3 {
            assert!(cache.set_bytes(count, &value).unwrap_err().is_full());
            assert!(cache.set_bytes(0u32, &value).unwrap_err().is_full());
            assert!(cache.set_many((0..10u32).map(|i| (i, vec![9u8; len]))).is_err());
        }
        assert!(readable() && cache.len() == count as usize && !cache.contains(count).unwrap());
        assert!(cache.volume() <= 2 << 20);
        assert!(cache.check().unwrap().is_clean(), "{len}");
        let other = Cache::open(&dir).unwrap();
        assert_eq!(other.get_bytes(count - 1).unwrap().unwrap(), value);
        // Deleting works on a full store, one by one, in one call, and to the last item.
        assert!(other.delete(0u32).unwrap() && other.pop::<serde::de::IgnoredAny>(1u32).unwrap().is_some());
        assert_eq!(cache.delete_many(2..5u32).unwrap(), 3);
        for i in 5..count {
            assert!(cache.delete(i).unwrap(), "{i} of {count}, {len} bytes");
        }
        assert!(cache.is_empty() && cache.volume() <= 2 << 20);
        assert!(cache.check().unwrap().is_clean());
        // Of short values somewhat fewer: a table of the index for which there was no room may have been made since.
        let enough = if len == 10 { count * 8 / 10 } else { count * 9 / 10 };
        let again = fill(&cache, &value);
        assert!(again >= enough, "{again} fit after deleting {count} items of {len} bytes");
        assert_eq!(cache.clear().unwrap(), u64::from(again));
        let again = fill(&cache, &value);
        assert!(again >= enough, "{again} fit after clearing, {count} before, of {len} bytes");
        assert!(cache.check().unwrap().is_clean());
    }
}

#[test]
fn a_full_store_can_be_emptied_by_tag() {
    let dir = tempfile::tempdir().unwrap();
    let cache = small(&dir);
    for round in 0..3 {
        let mut stored = 0u64;
        let full = loop {
            match cache.set_bytes_with(stored, &[1; 500], SetOptions::new().tag("t")) {
                Ok(()) => stored += 1,
                Err(error) => break error,
            }
        };
        assert!(full.is_full(), "{full:?}");
        assert!(stored > 1_000);
        assert_eq!((cache.evict("t").unwrap(), cache.len()), (stored, 0), "round {round}");
        // Space comes back with the next writes, at the latest when everything is cleared.
        cache.clear().unwrap();
        assert!(cache.check().unwrap().is_clean());
    }
}

#[test]
fn what_has_expired_never_fills_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let cache = small(&dir);
    for i in 0..20_000u64 {
        cache.set_bytes_with(i, &[1; 500], SetOptions::new().tag("t").expire(Duration::ZERO)).unwrap();
    }
    cache.expire().unwrap();
    assert_eq!(cache.len(), 0);
    assert!(cache.check().unwrap().is_clean());
}

#[test]
fn a_full_store_still_opens_checks_and_takes_settings() {
    let dir = tempfile::tempdir().unwrap();
    let count = fill(&small(&dir), &[1; 900]);
    let cache = small(&dir);
    assert_eq!(cache.len(), count as usize);
    assert!(cache.set_bytes("more", &[1; 900]).unwrap_err().is_full());
    assert!(cache.repair().unwrap().is_clean());
    cache.sync().unwrap();
    cache.update_settings(|settings| settings.size_limit = 4 << 20).unwrap();
    assert!(fill(&cache, &[1; 900]) > count, "there is more room under the new limit");
    drop(cache);
    // A full store rebuilds from its log, and stays under its limit.
    std::fs::remove_file(dir.path().join("state")).unwrap();
    let cache = Cache::open(&dir).unwrap();
    assert!(cache.len() > count as usize && cache.volume() <= 4 << 20);
    assert!(cache.check().unwrap().is_clean());
}

#[test]
fn extremes_of_every_argument_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let cache = small(&dir);
    let forever = SetOptions::new().expire(Duration::MAX);
    cache.set_with("", "", forever.clone()).unwrap();
    assert_eq!(cache.get::<String>("").unwrap().unwrap(), "");
    cache.set_many_with([("a", ""), ("", "x")], forever.clone().tag("")).unwrap();
    assert!(cache.touch("", Some(Duration::MAX)).unwrap());
    assert_eq!(
        cache.incr_with("n", i64::MIN, -1, forever.clone()).unwrap_err().to_string(),
        Error::Overflow.to_string()
    );
    assert_eq!(cache.incr_with("n", i64::MIN, 0, forever).unwrap(), i64::MIN);
    assert!(matches!(cache.decr("n", 1), Err(Error::Overflow)));
    assert_eq!(cache.evict("").unwrap(), 2);
    assert_eq!(cache.get_many::<i64>(vec!["n"; 10_000]).unwrap().len(), 10_000);
    assert_eq!(cache.delete_many(vec!["n"; 10_000]).unwrap(), 1);
    assert!(cache.check().unwrap().is_clean());
}
