//! Counting, and comparing before storing: `incr`, `decr`, `incr_with`, `compare_and_set`.

use super::{HOUR, Scratch, expired, lasting, tagged};
use larder::{Error, SetOptions};
use std::sync::Barrier;

#[test]
fn a_missing_counter_starts_at_its_default() {
    let cache = Scratch::new();
    assert_eq!(cache.incr("a", 5).unwrap(), 5);
    assert_eq!(cache.decr("b", 5).unwrap(), -5);
    assert_eq!(cache.incr_with("c", 1, 100, lasting().tag("t")).unwrap(), 101);
    let entry = cache.entry::<i64>("c").unwrap().unwrap();
    assert!(entry.expires_at.is_some() && entry.tag.as_deref() == Some("t"));
    assert_eq!(cache.incr("d", 0).unwrap(), 0);
    assert!(cache.contains("d").unwrap());
    assert_eq!(cache.decr("e", i64::MAX).unwrap(), -i64::MAX);
}

#[test]
fn a_counter_that_is_there_keeps_its_expiry_and_tag() {
    let cache = Scratch::new();
    cache.set_with("n", &1u8, lasting().tag("t")).unwrap();
    let expires_at = cache.entry::<i64>("n").unwrap().unwrap().expires_at;
    assert_eq!(cache.incr_with("n", 2, 1000, tagged("other").expire(HOUR * 9)).unwrap(), 3);
    assert_eq!(cache.decr("n", 5).unwrap(), -2);
    let entry = cache.entry::<i64>("n").unwrap().unwrap();
    assert_eq!((entry.value, entry.tag.as_deref(), entry.expires_at), (-2, Some("t"), expires_at));
    assert_eq!((cache.len(), cache.evict("other").unwrap(), cache.evict("t").unwrap()), (1, 0, 1));
    cache.assert_clean();
}

#[test]
fn an_expired_or_evicted_counter_starts_anew() {
    let cache = Scratch::new();
    cache.set_with("n", &50, expired().tag("t")).unwrap();
    assert_eq!(cache.incr("n", 1).unwrap(), 1);
    let entry = cache.entry::<i64>("n").unwrap().unwrap();
    assert_eq!((entry.expires_at, entry.tag), (None, None));
    cache.set_with("m", &50, tagged("t")).unwrap();
    cache.evict("t").unwrap();
    assert_eq!(cache.incr("m", 1).unwrap(), 1);
    cache.clear().unwrap();
    assert_eq!(cache.incr("m", 1).unwrap(), 1);
    cache.assert_clean();
}

#[test]
fn integers_of_every_width_count_and_nothing_else_does() {
    let cache = Scratch::new();
    macro_rules! counts {
        ($($type:ty)*) => {$(
            cache.set("n", &(41 as $type)).unwrap();
            assert_eq!(cache.incr("n", 1).unwrap(), 42, stringify!($type));
            assert_eq!(cache.get::<$type>("n").unwrap(), Some(42));
        )*};
    }
    counts! { u8 i8 u16 i16 u32 i32 u64 i64 u128 i128 usize isize }
    let large = "1".repeat(300_000);
    cache.set("text", "1").unwrap();
    cache.set("large", &large).unwrap();
    cache.set("float", &1.0).unwrap();
    cache.set("bool", &true).unwrap();
    cache.set("option", &Some(1)).unwrap();
    cache.set_bytes("bytes", &1i64.to_le_bytes()).unwrap();
    for key in ["text", "large", "float", "bool", "option", "bytes"] {
        assert!(matches!(cache.incr(key, 1), Err(Error::NotAnInteger)), "{key}");
        assert!(matches!(cache.decr(key, 0), Err(Error::NotAnInteger)), "{key}");
        assert!(cache.incr(key, 1).unwrap_err().is_type());
    }
    assert_eq!(cache.get::<String>("large").unwrap(), Some(large));
    assert_eq!(cache.get::<String>("text").unwrap().unwrap(), "1");
    assert_eq!(cache.get_bytes("bytes").unwrap().unwrap(), 1i64.to_le_bytes());
}

#[test]
fn leaving_the_range_is_an_error_and_changes_nothing() {
    let cache = Scratch::new();
    cache.set("top", &i64::MAX).unwrap();
    cache.set("bottom", &i64::MIN).unwrap();
    cache.set("beyond", &(i64::MAX as u64 + 1)).unwrap();
    cache.set("far", &u128::MAX).unwrap();
    assert!(matches!(cache.incr("top", 1), Err(Error::Overflow)));
    assert!(matches!(cache.decr("top", -1), Err(Error::Overflow)));
    assert!(matches!(cache.incr("bottom", -1), Err(Error::Overflow)));
    assert!(matches!(cache.decr("bottom", 1), Err(Error::Overflow)));
    assert!(matches!(cache.decr("absent", i64::MIN), Err(Error::Overflow)));
    assert!(matches!(cache.incr_with("absent", 1, i64::MAX, lasting()), Err(Error::Overflow)));
    assert!(matches!(cache.incr("beyond", 0), Err(Error::Overflow)));
    assert!(matches!(cache.incr("far", -1), Err(Error::Overflow)));
    assert_eq!(cache.get::<i64>("top").unwrap(), Some(i64::MAX));
    assert_eq!(cache.get::<i64>("bottom").unwrap(), Some(i64::MIN));
    assert_eq!(cache.get::<u64>("beyond").unwrap(), Some(i64::MAX as u64 + 1));
    assert_eq!(cache.get::<u128>("far").unwrap(), Some(u128::MAX));
    assert!(!cache.contains("absent").unwrap());
    assert_eq!(cache.incr("top", i64::MIN).unwrap(), -1);
    assert_eq!(cache.decr("bottom", i64::MIN).unwrap(), 0);
}

#[test]
fn counts_of_many_threads_and_handles_all_add_up() {
    let cache = Scratch::new();
    let second = cache.second();
    let barrier = Barrier::new(4);
    std::thread::scope(|scope| {
        for who in 0..4usize {
            let handle = if who.is_multiple_of(2) { cache.cache.clone() } else { second.clone() };
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                for i in 0..2_000u32 {
                    handle.incr("shared", 3).unwrap();
                    handle.decr("shared", 2).unwrap();
                    handle.incr(("one of ten", i % 10), 1).unwrap();
                }
            });
        }
    });
    assert_eq!(second.get::<i64>("shared").unwrap(), Some(8_000));
    for i in 0..10 {
        assert_eq!(cache.get::<i64>(("one of ten", i)).unwrap(), Some(800));
    }
    cache.assert_clean();
}

#[test]
fn compare_and_set_in_all_four_forms() {
    let cache = Scratch::new();
    // Nothing for nothing: true if there is nothing.
    assert!(cache.compare_and_set("k", None::<&str>, None).unwrap());
    assert!(cache.is_empty());
    // Something for nothing adds.
    assert!(cache.compare_and_set("k", None, Some("a")).unwrap());
    assert!(!cache.compare_and_set("k", None, Some("b")).unwrap());
    assert!(!cache.compare_and_set("k", None::<&str>, None).unwrap());
    // Something for something replaces.
    assert!(!cache.compare_and_set("k", Some("x"), Some("b")).unwrap());
    assert!(cache.compare_and_set("k", Some("a"), Some("b")).unwrap());
    assert_eq!(cache.get::<String>("k").unwrap().unwrap(), "b");
    // Nothing for something removes.
    assert!(!cache.compare_and_set("k", Some("a"), None).unwrap());
    assert!(cache.compare_and_set("k", Some("b"), None).unwrap());
    assert!(!cache.contains("k").unwrap() && cache.is_empty());
    assert!(!cache.compare_and_set("k", Some("b"), Some("c")).unwrap());
    assert!(!cache.compare_and_set("k", Some("b"), None).unwrap());
    cache.assert_clean();
}

#[test]
fn compare_and_set_takes_an_expired_item_for_absent() {
    let cache = Scratch::new();
    cache.set_with("k", "old", expired().tag("t")).unwrap();
    assert!(!cache.compare_and_set("k", Some("old"), Some("new")).unwrap());
    assert!(!cache.compare_and_set("k", Some("old"), None).unwrap());
    assert!(cache.compare_and_set("k", None, Some("new")).unwrap());
    let entry = cache.entry::<String>("k").unwrap().unwrap();
    assert_eq!((entry.value.as_str(), entry.expires_at, entry.tag), ("new", None, None));
    cache.assert_clean();
}

#[test]
fn compare_and_set_keeps_expiry_and_tag_unless_told_otherwise() {
    let cache = Scratch::new();
    cache.set_with("k", &1, lasting().tag("t")).unwrap();
    let expires_at = cache.entry::<i32>("k").unwrap().unwrap().expires_at;
    assert!(cache.compare_and_set("k", Some(&1), Some(&2)).unwrap());
    let entry = cache.entry::<i32>("k").unwrap().unwrap();
    assert_eq!((entry.value, entry.expires_at, entry.tag.as_deref()), (2, expires_at, Some("t")));
    assert!(!cache.compare_and_set_with("k", Some(&1), Some(&3), tagged("u")).unwrap());
    assert!(cache.compare_and_set_with("k", Some(&2), Some(&3), tagged("u")).unwrap());
    let entry = cache.entry::<i32>("k").unwrap().unwrap();
    assert_eq!((entry.value, entry.expires_at, entry.tag.as_deref()), (3, expires_at, Some("u")));
    assert!(cache.compare_and_set_with("k", Some(&3), Some(&4), SetOptions::new().expire(HOUR / 2)).unwrap());
    let entry = cache.entry::<i32>("k").unwrap().unwrap();
    assert!(entry.expires_at != expires_at && entry.tag.as_deref() == Some("u"));
    assert_eq!((cache.evict("t").unwrap(), cache.evict("u").unwrap()), (0, 1));
    assert!(cache.compare_and_set_with("k", None, Some(&4), lasting()).unwrap());
    assert!(cache.entry::<i32>("k").unwrap().unwrap().expires_at.is_some());
    cache.assert_clean();
}

#[test]
fn compare_and_set_compares_kinds_and_large_values() {
    let cache = Scratch::new();
    cache.set("k", &1u8).unwrap();
    assert!(cache.compare_and_set("k", Some(&1i64), Some(&2)).unwrap(), "all widths of integer are one kind");
    assert!(!cache.compare_and_set("k", Some("2"), Some("3")).unwrap());
    assert!(!cache.compare_and_set("k", Some(&2.0), Some(&3.0)).unwrap());
    let (old, new) = ("o".repeat(300_000), "n".repeat(400_000));
    cache.set_with("large", &old, tagged("t")).unwrap();
    assert!(!cache.compare_and_set("large", Some(&new), Some(&old)).unwrap());
    assert!(cache.compare_and_set("large", Some(&old), Some(&new)).unwrap());
    let entry = cache.entry::<String>("large").unwrap().unwrap();
    assert!(entry.value == new && entry.tag.as_deref() == Some("t"));
    assert!(cache.compare_and_set("large", Some(new.as_str()), Some("small")).unwrap());
    assert_eq!(cache.get::<String>("large").unwrap().unwrap(), "small");
    cache.assert_clean();
}

#[test]
fn of_many_that_compare_and_set_one_wins_each_round() {
    let cache = Scratch::new();
    cache.set("turn", &0u32).unwrap();
    let second = cache.second();
    let barrier = Barrier::new(4);
    let wins: u32 = std::thread::scope(|scope| {
        let contend = |who: usize| {
            let handle = if who.is_multiple_of(2) { cache.cache.clone() } else { second.clone() };
            let barrier = &barrier;
            move || {
                barrier.wait();
                let mut wins = 0;
                for _ in 0..1_000 {
                    let now = handle.get::<u32>("turn").unwrap().unwrap();
                    wins += u32::from(handle.compare_and_set("turn", Some(&now), Some(&(now + 1))).unwrap());
                }
                wins
            }
        };
        let threads: Vec<_> = (0..4).map(|who| scope.spawn(contend(who))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(cache.get::<u32>("turn").unwrap(), Some(wins));
    // A win makes each of the three others fail at most once.
    assert!(wins >= 1_000, "{wins}");
    cache.assert_clean();
}
