//! Storing and removing one item: `set`, `add`, `touch`, `pop`, `delete`.

use super::{HOUR, Scratch, expired, lasting, tagged};
use larder::{Error, SetOptions};
use std::sync::Barrier;
use std::time::Duration;

#[test]
fn set_replaces_value_expiry_and_tag() {
    let cache = Scratch::new();
    cache.set_with("k", &1, lasting().tag("a")).unwrap();
    cache.set_with("k", "two", tagged("b")).unwrap();
    let entry = cache.entry::<String>("k").unwrap().unwrap();
    assert_eq!((entry.value.as_str(), entry.expires_at, entry.tag.as_deref()), ("two", None, Some("b")));
    cache.set("k", &3).unwrap();
    let entry = cache.entry::<i32>("k").unwrap().unwrap();
    assert_eq!((entry.value, entry.expires_at, entry.tag), (3, None, None));
    assert_eq!(cache.len(), 1);
    assert_eq!(cache.evict("a").unwrap() + cache.evict("b").unwrap(), 0);
    assert!(cache.contains("k").unwrap());
}

#[test]
fn set_over_an_expired_item_makes_it_live_again() {
    let cache = Scratch::new();
    cache.set_with("k", "old", expired()).unwrap();
    cache.set("k", "new").unwrap();
    assert_eq!(cache.get::<String>("k").unwrap().unwrap(), "new");
    assert_eq!((cache.len(), cache.expire().unwrap()), (1, 0));
    cache.set_with("k", "newer", expired()).unwrap();
    assert_eq!(cache.get::<String>("k").unwrap(), None);
    cache.assert_clean();
}

#[test]
fn tags_of_any_content_up_to_their_limit() {
    let cache = Scratch::new();
    let longest = "ü".repeat(larder::MAX_TAG_BYTES / 2);
    for tag in ["", "\0", "a", "a\0", "ä", &longest] {
        cache.set_with(tag, "v", tagged(tag)).unwrap();
        assert_eq!(cache.entry::<String>(tag).unwrap().unwrap().tag.as_deref(), Some(tag));
    }
    for tag in ["", "\0", "a", "a\0", "ä", &longest] {
        assert_eq!(cache.evict(tag).unwrap(), 1, "{tag:?}");
        assert!(!cache.contains(tag).unwrap());
    }
    let over = "x".repeat(larder::MAX_TAG_BYTES + 1);
    let refused = [
        cache.set_with("k", "v", tagged(&over)).err(),
        cache.set_bytes_with("k", b"v", tagged(&over)).err(),
        cache.add_with("k", "v", tagged(&over)).err(),
        cache.incr_with("k", 1, 0, tagged(&over)).err(),
        cache.compare_and_set_with("k", None, Some("v"), tagged(&over)).err(),
        cache.set_many_with([("k", "v")], tagged(&over)).err(),
        cache.evict(&over).err(),
        cache.keys_tagged::<String>(&over).err(),
    ];
    for (i, error) in refused.into_iter().enumerate() {
        assert!(matches!(error, Some(Error::TagTooLarge { bytes: 1025 })), "call {i}: {error:?}");
    }
    assert!(cache.is_empty());
    cache.assert_clean();
}

#[test]
fn thousands_of_tags_each_hold_their_own() {
    let cache = Scratch::new();
    for i in 0..3_000u32 {
        cache.set_with(i, &i, tagged(&format!("tag {}", i / 2))).unwrap();
    }
    for i in (0..3_000u32).step_by(7) {
        assert_eq!(cache.entry::<u32>(i).unwrap().unwrap().tag.unwrap(), format!("tag {}", i / 2));
    }
    assert_eq!(cache.evict("tag 700").unwrap(), 2);
    assert_eq!(cache.len(), 2_998);
    assert!(!cache.contains(1_400).unwrap() && !cache.contains(1_401).unwrap() && cache.contains(1_402).unwrap());
    cache.assert_clean();
}

#[test]
fn add_stores_only_what_is_absent_or_expired() {
    let cache = Scratch::new();
    assert!(cache.add_with("k", "first", tagged("t")).unwrap());
    assert!(!cache.add_with("k", "second", lasting()).unwrap());
    let entry = cache.entry::<String>("k").unwrap().unwrap();
    assert_eq!((entry.value.as_str(), entry.tag.as_deref(), entry.expires_at), ("first", Some("t"), None));

    cache.set_with("k", "gone", expired().tag("t")).unwrap();
    assert!(cache.add("k", "third").unwrap());
    let entry = cache.entry::<String>("k").unwrap().unwrap();
    assert_eq!((entry.value.as_str(), entry.tag, entry.expires_at), ("third", None, None));
    assert_eq!((cache.len(), cache.evict("t").unwrap()), (1, 0));

    cache.delete("k").unwrap();
    assert!(cache.add_with("k", "fourth", lasting()).unwrap());
    assert!(cache.entry::<String>("k").unwrap().unwrap().expires_at.is_some());
    cache.assert_clean();
}

#[test]
fn of_many_that_add_one_wins() {
    let cache = Scratch::new();
    let second = cache.second();
    let barrier = Barrier::new(4);
    let wins: usize = std::thread::scope(|scope| {
        let contend = |who: usize| {
            let handle = if who.is_multiple_of(2) { cache.cache.clone() } else { second.clone() };
            let barrier = &barrier;
            move || {
                barrier.wait();
                (0..500u32).filter(|&i| handle.add(i, &who).unwrap()).count()
            }
        };
        let threads: Vec<_> = (0..4).map(|who| scope.spawn(contend(who))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!((wins, cache.len()), (500, 500));
    cache.assert_clean();
}

#[test]
fn touch_changes_the_expiry_alone() {
    let cache = Scratch::new();
    let large = "l".repeat(300_000);
    for value in ["small", &large] {
        cache.set_with("k", value, lasting().tag("t")).unwrap();
        assert!(cache.touch("k", None).unwrap());
        let entry = cache.entry::<String>("k").unwrap().unwrap();
        assert_eq!((entry.expires_at, entry.tag.as_deref()), (None, Some("t")));
        assert_eq!(entry.value, value);
        assert!(cache.touch("k", Some(HOUR)).unwrap());
        assert!(cache.touch("k", Some(HOUR * 2)).unwrap());
        let entry = cache.entry::<String>("k").unwrap().unwrap();
        assert!(entry.expires_at.is_some() && entry.value == value);
        assert_eq!(cache.keys_tagged::<String>("t").unwrap().count(), 1);
        assert!(cache.touch("k", Some(Duration::ZERO)).unwrap());
        assert_eq!(cache.get::<String>("k").unwrap(), None);
        assert!(!cache.touch("k", Some(HOUR)).unwrap(), "an expired item does not come back");
        cache.assert_clean();
    }
    assert!(!cache.touch("absent", Some(HOUR)).unwrap());
    assert_eq!(cache.expire().unwrap(), 1);
    assert!(cache.is_empty());
    cache.assert_clean();
}

#[test]
fn touch_keeps_the_item_evictable_and_countable() {
    let cache = Scratch::new();
    cache.set_with("n", &41, tagged("t")).unwrap();
    cache.touch("n", Some(HOUR)).unwrap();
    assert_eq!(cache.incr("n", 1).unwrap(), 42);
    assert_eq!(cache.evict("t").unwrap(), 1);
    assert_eq!(cache.get::<i32>("n").unwrap(), None);
}

#[test]
fn pop_removes_and_gives_once() {
    let cache = Scratch::new();
    cache.set_with("k", &vec![1, 2], tagged("t")).unwrap();
    assert!(cache.pop::<String>("k").unwrap_err().is_type());
    assert_eq!(cache.pop::<Vec<i32>>("k").unwrap(), Some(vec![1, 2]));
    assert_eq!(cache.pop::<Vec<i32>>("k").unwrap(), None);
    assert_eq!((cache.len(), cache.evict("t").unwrap()), (0, 0));
    let large = "l".repeat(300_000);
    cache.set("k", &large).unwrap();
    assert_eq!(cache.pop::<String>("k").unwrap(), Some(large));
    cache.set_with("k", "v", expired()).unwrap();
    assert_eq!(cache.pop::<String>("k").unwrap(), None);
    cache.assert_clean();
}

#[test]
fn of_many_that_pop_each_item_goes_to_one() {
    let cache = Scratch::new();
    cache.set_many((0..400u32).map(|i| (i, i))).unwrap();
    let second = cache.second();
    let barrier = Barrier::new(4);
    let mut popped: Vec<u32> = std::thread::scope(|scope| {
        let contend = |who: usize| {
            let handle = if who.is_multiple_of(2) { cache.cache.clone() } else { second.clone() };
            let barrier = &barrier;
            move || {
                barrier.wait();
                (0..400u32).filter_map(|i| handle.pop::<u32>(i).unwrap()).collect::<Vec<_>>()
            }
        };
        let threads: Vec<_> = (0..4).map(|who| scope.spawn(contend(who))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    popped.sort_unstable();
    assert!(popped.into_iter().eq(0..400));
    assert!(cache.is_empty());
    cache.assert_clean();
}

#[test]
fn delete_removes_and_says_whether_there_was_something() {
    let cache = Scratch::new();
    assert!(!cache.delete("k").unwrap());
    cache.set_with("k", "v", lasting().tag("t")).unwrap();
    assert!(cache.delete("k").unwrap());
    assert!(!cache.delete("k").unwrap());
    assert_eq!((cache.len(), cache.evict("t").unwrap()), (0, 0));
    cache.set("k", "again").unwrap();
    assert_eq!(cache.get::<String>("k").unwrap().unwrap(), "again");
    cache.set_with("k", "v", expired()).unwrap();
    assert!(!cache.delete("k").unwrap());
    cache.assert_clean();
}

#[test]
fn a_value_that_cannot_be_encoded_leaves_the_key_as_it_was() {
    struct Unwilling;
    impl serde::Serialize for Unwilling {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no"))
        }
    }
    let cache = Scratch::new();
    cache.set("k", "v").unwrap();
    assert!(matches!(cache.set("k", &Unwilling), Err(Error::Codec(_))));
    assert!(matches!(cache.add("new", &Unwilling), Err(Error::Codec(_))));
    assert!(matches!(cache.compare_and_set("new", None, Some(&Unwilling)), Err(Error::Codec(_))));
    assert!(matches!(cache.set_many([("new", Unwilling)]), Err(Error::Codec(_))));
    assert_eq!(cache.get::<String>("k").unwrap().unwrap(), "v");
    assert_eq!(cache.len(), 1);
}

#[test]
fn options_are_reusable_and_take_owned_tags() {
    let cache = Scratch::new();
    let options = SetOptions::new().expire(HOUR).tag(format!("tag {}", 7));
    cache.set_with("a", &1, options.clone()).unwrap();
    cache.set_with("b", &2, options).unwrap();
    assert_eq!(cache.evict("tag 7").unwrap(), 2);
}

/// The key that is changed is the oldest of all, and goes while room is made for the change: then it is absent.
#[test]
fn a_key_that_goes_while_room_is_made_for_its_change_is_absent_and_the_cache_not_full() {
    let dir = tempfile::tempdir().unwrap();
    let cache = larder::Cache::builder(dir.path()).size_limit(2 << 20).background(false).open().unwrap();
    cache.update_settings(|settings| settings.eviction = larder::Eviction::LeastRecentlyStored).unwrap();
    let (old, new) = (vec![1u8; 3_000], vec![2u8; 7_000]);
    (0..1_000u32).for_each(|key| cache.set(key, &old).unwrap());
    let oldest = (0..1_000).find(|key| cache.contains(*key).unwrap()).unwrap();
    let changed = (oldest..1_000).filter(|key| cache.compare_and_set(*key, Some(&old), Some(&new)).unwrap()).count();
    assert!(changed > 0 && changed < 1_000 - oldest as usize, "{changed} from {oldest} on");
}
