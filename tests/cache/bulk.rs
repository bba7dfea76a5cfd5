//! Many items in one call: `get_many`, `set_many`, `delete_many`.

use super::{Scratch, expired, lasting, tagged};
use larder::Error;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn get_many_answers_in_the_order_of_the_keys() {
    let cache = Scratch::new();
    cache.set("a", &1).unwrap();
    cache.set("b", &2).unwrap();
    cache.set_with("old", &3, expired()).unwrap();
    assert_eq!(cache.get_many::<i32>(["b", "x", "a", "b", "old"]).unwrap(), [Some(2), None, Some(1), Some(2), None]);
    assert_eq!(cache.get_many::<i32>(Vec::<&str>::new()).unwrap(), []);
    cache.set("text", "t").unwrap();
    assert!(cache.get_many::<i32>(["a", "text"]).unwrap_err().is_type());
    let many: Vec<u32> = (0..2_000).collect();
    cache.set_many(many.iter().map(|&i| (i, i * 3))).unwrap();
    let found = cache.get_many::<u32>(many.iter().rev()).unwrap();
    assert!(found.into_iter().eq(many.iter().rev().map(|&i| Some(i * 3))));
}

#[test]
fn get_many_mixes_small_and_large_values() {
    let cache = Scratch::new();
    let values: Vec<String> = [0, 1, 300_000, 10, 256 << 10, 9_000].map(|len| "v".repeat(len)).into();
    for (i, value) in values.iter().enumerate() {
        cache.set(i, value).unwrap();
    }
    let found = cache.get_many::<String>(0..values.len()).unwrap();
    assert!(found.into_iter().eq(values.into_iter().map(Some)));
}

#[test]
fn set_many_stores_all_with_one_tag_and_expiry() {
    let cache = Scratch::new();
    cache.set_with("a", "old", lasting().tag("old")).unwrap();
    cache.set_many_with([("a", 1), ("b", 2)], lasting().tag("t")).unwrap();
    for key in ["a", "b"] {
        let entry = cache.entry::<i32>(key).unwrap().unwrap();
        assert!(entry.expires_at.is_some() && entry.tag.as_deref() == Some("t"));
    }
    cache.set_many([("a", 3)]).unwrap();
    let entry = cache.entry::<i32>("a").unwrap().unwrap();
    assert_eq!((entry.value, entry.tag, entry.expires_at), (3, None, None));
    assert_eq!((cache.len(), cache.evict("old").unwrap(), cache.evict("t").unwrap()), (2, 0, 1));
    cache.set_many_with([("c", 1), ("d", 2)], expired()).unwrap();
    assert_eq!((cache.len(), cache.len_live().unwrap(), cache.expire().unwrap()), (3, 1, 2));
    cache.set_many(Vec::<(u8, u8)>::new()).unwrap();
    assert_eq!(cache.len(), 1);
    cache.assert_clean();
}

#[test]
fn of_a_key_given_twice_the_last_value_counts() {
    let cache = Scratch::new();
    cache.set_many([("a", 1), ("b", 2), ("a", 3), ("c", 4), ("a", 5)]).unwrap();
    assert_eq!(cache.len(), 3);
    assert_eq!(cache.get_many::<i32>(["a", "b", "c"]).unwrap(), [Some(5), Some(2), Some(4)]);
    let large = |c: &str| c.repeat(300_000);
    cache.set_many([("l", large("x")), ("l", "small".into()), ("m", "small".into()), ("m", large("y"))]).unwrap();
    assert_eq!(cache.get::<String>("l").unwrap().unwrap(), "small");
    assert_eq!(cache.get::<String>("m").unwrap().unwrap(), large("y"));
    cache.assert_clean();
}

#[test]
fn set_many_replaces_and_inserts_in_one_call() {
    let cache = Scratch::new();
    for round in 0..4u32 {
        cache.set_many((0..1_500u32).map(|i| (i, i + round))).unwrap();
        assert_eq!(cache.len(), 1_500);
    }
    assert_eq!(cache.get::<u32>(1_499).unwrap(), Some(1_502));
    cache.assert_clean();
}

#[test]
fn a_refused_pair_refuses_the_batch() {
    let cache = Scratch::new();
    let over = "x".repeat(larder::MAX_KEY_BYTES);
    let error = cache.set_many([("fine", 1), (over.as_str(), 2)]).unwrap_err();
    assert!(matches!(error, Error::KeyTooLarge { .. }));
    assert!(cache.delete_many(["fine", &over]).is_err());
    assert!(cache.is_empty() && !cache.contains("fine").unwrap());
}

#[test]
fn delete_many_counts_what_was_there() {
    let cache = Scratch::new();
    cache.set_many((0..2_000u32).map(|i| (i, i))).unwrap();
    cache.set_with(5_000u32, &1, expired()).unwrap();
    assert_eq!(cache.delete_many([0u32, 1, 1, 0, 9_999, 5_000]).unwrap(), 2);
    assert_eq!(cache.delete_many(Vec::<u32>::new()).unwrap(), 0);
    assert_eq!(cache.delete_many(0..2_000u32).unwrap(), 1_998);
    assert_eq!(cache.len_live().unwrap(), 0);
    cache.assert_clean();
    cache.set_many((0..10u32).map(|i| (i, i))).unwrap();
    assert_eq!(cache.len_live().unwrap(), 10);
    cache.assert_clean();
}

#[test]
fn a_batch_is_seen_whole_or_not_at_all() {
    let cache = Scratch::new();
    let keys: Vec<u32> = (0..40).collect();
    cache.set_many(keys.iter().map(|&i| (i, 0u32))).unwrap();
    let second = cache.second();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut last = 0;
            let mut rounds = 0u32;
            while !done.load(Ordering::Acquire) || rounds == 0 {
                let seen = second.get_many::<u32>(&keys).unwrap();
                let first = seen[0].expect("a key that stays");
                assert!(seen.iter().all(|&value| value == Some(first)), "{seen:?}");
                assert!(first >= last, "{first} after {last}");
                last = first;
                rounds += 1;
            }
        });
        for round in 1..=600u32 {
            cache.set_many(keys.iter().map(|&i| (i, round))).unwrap();
        }
        done.store(true, Ordering::Release);
        reader.join().unwrap();
    });
    assert_eq!(second.get_many::<u32>(&keys).unwrap(), vec![Some(600); 40]);
    cache.assert_clean();
}

#[test]
fn a_batch_and_its_removal_are_seen_whole_too() {
    let cache = Scratch::new();
    let keys: Vec<u32> = (0..20).collect();
    let second = cache.second();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut rounds = 0u32;
            while !done.load(Ordering::Acquire) || rounds == 0 {
                let seen = second.get_many::<u32>(&keys).unwrap();
                assert!(seen.iter().all(|value| *value == seen[0]), "{seen:?}");
                rounds += 1;
            }
        });
        for round in 1..=300u32 {
            cache.set_many_with(keys.iter().map(|&i| (i, round)), tagged("t")).unwrap();
            match round % 3 {
                0 => assert_eq!(cache.delete_many(&keys).unwrap(), 20),
                1 => assert_eq!(cache.evict("t").unwrap(), 20),
                _ => assert_eq!(cache.clear().unwrap(), 20),
            }
        }
        done.store(true, Ordering::Release);
        reader.join().unwrap();
    });
    assert!(cache.is_empty());
    cache.assert_clean();
}
