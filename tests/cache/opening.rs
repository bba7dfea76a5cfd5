//! Opening: settings that persist, several handles, read-only handles, the typed view, and what crosses threads.

use super::{HOUR, Scratch, expired, lasting, sorted, tagged};
use larder::{
    Builder, Cache, ConfigProblem, End, Entries, Entry, Error, Eviction, Items, Keys, OrderedItems, OrderedKeys,
    TypedCache, ValueRef,
};
use std::time::Duration;

#[test]
fn a_directory_is_made_with_its_parents_and_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b/c");
    {
        let cache = Cache::open(&path).unwrap();
        assert_eq!(cache.directory(), path);
        cache.set_with("k", &vec![1, 2, 3], lasting().tag("t")).unwrap();
        cache.set_with("old", "v", expired()).unwrap();
    }
    let cache = Cache::open(&path).unwrap();
    let entry = cache.entry::<Vec<i32>>("k").unwrap().unwrap();
    assert!(entry.value == [1, 2, 3] && entry.tag.as_deref() == Some("t") && entry.expires_at.is_some());
    assert!(!cache.contains("old").unwrap());
    assert_eq!((cache.len(), cache.evict("t").unwrap()), (2, 1));
}

#[test]
fn many_items_are_there_after_reopening_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..5u32 {
        let cache = Cache::builder(&dir).size_limit(64 << 20).open().unwrap();
        assert_eq!(cache.len(), round as usize * 1_000);
        cache.set_many((round * 1_000..(round + 1) * 1_000).map(|i| (i, i))).unwrap();
        cache.set("round", &round).unwrap();
        assert!(cache.delete("round").unwrap());
    }
    let cache = Cache::open(&dir).unwrap();
    assert!(sorted(cache.iter::<u32, u32>()).into_iter().eq((0..5_000).map(|i| (i, i))));
    assert!(cache.check().unwrap().is_clean());
}

#[test]
fn two_opens_of_one_directory_see_each_other_at_once() {
    let one = Scratch::new();
    let two = one.second();
    for i in 0..3_000u32 {
        one.set(i, &i).unwrap();
        assert_eq!(two.get::<u32>(i).unwrap(), Some(i));
        assert!(two.delete(i).unwrap());
        assert!(!one.contains(i).unwrap());
        two.set_with(i, &(i + 1), tagged("t")).unwrap();
        assert_eq!((one.get::<u32>(i).unwrap(), one.len()), (Some(i + 1), i as usize + 1));
    }
    assert_eq!(one.evict("t").unwrap(), 3_000);
    assert_eq!((two.len(), two.len_live().unwrap(), two.keys::<u32>().count()), (0, 0, 0));
    drop(one.cache.clone());
    two.set("k", "v").unwrap();
    assert_eq!(one.get::<String>("k").unwrap().unwrap(), "v");
    one.assert_clean();
}

#[test]
fn threads_that_open_and_create_at_once_get_one_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new");
    let barrier = std::sync::Barrier::new(8);
    let caches: Vec<Cache> = std::thread::scope(|scope| {
        let open = |i: u32| {
            let (barrier, path) = (&barrier, &path);
            move || {
                barrier.wait();
                let cache = Cache::open(path).unwrap();
                cache.set(i, &i).unwrap();
                cache.incr("sum", 1).unwrap();
                cache
            }
        };
        let threads: Vec<_> = (0..8).map(|i| scope.spawn(open(i))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for cache in &caches {
        assert_eq!((cache.len(), cache.get::<i64>("sum").unwrap()), (9, Some(8)));
    }
    assert!(caches[0].check().unwrap().is_clean());
}

#[test]
fn a_handle_may_be_dropped_while_others_work() {
    let cache = Scratch::new();
    cache.set("n", &0).unwrap();
    for _ in 0..50 {
        let second = cache.second();
        second.incr("n", 1).unwrap();
        drop(second);
        cache.incr("n", 1).unwrap();
    }
    assert_eq!(cache.get::<i32>("n").unwrap(), Some(100));
    assert_eq!(std::fs::read_dir(cache.dir.path().join("procs")).unwrap().count(), 1);
}

#[test]
fn settings_persist_and_hold_for_every_handle() {
    let dir = tempfile::tempdir().unwrap();
    let one = Cache::open(&dir).unwrap();
    let defaults = one.settings();
    assert_eq!((defaults.size_limit, defaults.eviction, defaults.statistics), (1 << 30, Eviction::S3Fifo, false));
    let two = Cache::builder(&dir).size_limit(512 << 20).eviction(Eviction::None).statistics(true).open().unwrap();
    let expected = two.settings();
    assert_eq!((expected.size_limit, expected.eviction, expected.statistics), (512 << 20, Eviction::None, true));
    assert_eq!(one.settings(), expected);
    let changed = one.update_settings(|settings| settings.eviction = Eviction::LeastRecentlyUsed).unwrap();
    let mut expected = expected;
    expected.eviction = Eviction::LeastRecentlyUsed;
    assert_eq!(changed, expected);
    assert_eq!(two.settings(), changed);
    drop((one, two));
    assert_eq!(Cache::open(&dir).unwrap().settings(), changed);
    std::fs::remove_file(dir.path().join("state")).unwrap();
    let reopened = Cache::builder(&dir).statistics(false).open().unwrap();
    expected.statistics = false;
    assert_eq!(reopened.settings(), expected, "after a rebuild");
    for eviction in [
        Eviction::S3Fifo,
        Eviction::LeastRecentlyStored,
        Eviction::LeastRecentlyUsed,
        Eviction::LeastFrequentlyUsed,
        Eviction::None,
    ] {
        reopened.update_settings(|settings| settings.eviction = eviction).unwrap();
        assert_eq!(reopened.settings().eviction, eviction);
    }
    assert!(reopened.check().unwrap().is_clean());
}

#[test]
fn who_changes_one_setting_leaves_the_others_to_others() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (Cache::open(&dir).unwrap(), Cache::open(&dir).unwrap());
    let fanout = tempfile::tempdir().unwrap();
    let shards = || larder::FanoutCache::builder(&fanout).shards(3).open().unwrap();
    let (three, four) = (shards(), shards());
    for (first, second) in [(&one, &two), (&*three, &*four)] {
        let changed = first.update_settings(|settings| {
            second.update_settings(|settings| (settings.size_limit, settings.statistics) = (512 << 20, true)).unwrap();
            settings.eviction = Eviction::LeastRecentlyUsed;
        });
        let changed = changed.unwrap();
        assert_eq!((changed.size_limit, changed.statistics), (512 << 20, true));
        assert_eq!(changed.eviction, Eviction::LeastRecentlyUsed);
        assert_eq!(second.settings(), changed);
    }
}

#[test]
fn limits_that_cannot_hold_are_refused_and_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cache");
    let open = |limit: u64| Cache::builder(&path).size_limit(limit).open();
    let problem = |result: larder::Result<Cache>| match result {
        Err(Error::Config(problem)) => problem,
        other => panic!("{other:?}"),
    };
    for limit in [0, 1, larder::MIN_SIZE_LIMIT - 1] {
        assert_eq!(problem(open(limit)), ConfigProblem::SizeLimitTooSmall);
    }
    assert_eq!(problem(open(u64::MAX)), ConfigProblem::SizeLimitTooLarge);
    let cache = open(larder::MIN_SIZE_LIMIT).unwrap();
    cache.set("k", "v").unwrap();
    assert_eq!(problem(open(larder::MIN_SIZE_LIMIT - 1)), ConfigProblem::SizeLimitTooSmall);
    assert_eq!(problem(open(1 << 50)), ConfigProblem::SizeLimitTooLarge);
    for limit in [0, larder::MIN_SIZE_LIMIT - 1, 1 << 50, u64::MAX] {
        let refused = cache.update_settings(|settings| {
            settings.size_limit = limit;
            settings.statistics = true;
        });
        assert!(matches!(refused, Err(Error::Config(_))), "{limit}: {refused:?}");
    }
    let settings = cache.settings();
    assert_eq!((settings.size_limit, settings.statistics), (larder::MIN_SIZE_LIMIT, false));
    assert_eq!(Cache::open(&path).unwrap().get::<String>("k").unwrap().unwrap(), "v");
    // Four times the limit it was made with is what a directory can be raised to.
    assert_eq!(open(8 << 20).unwrap().settings().size_limit, 8 << 20);
    assert_eq!(cache.settings().size_limit, 8 << 20);
}

#[test]
fn a_limit_lowered_below_what_is_there_loses_nothing() {
    let cache = Scratch::with_limit(32 << 20);
    cache.update_settings(|settings| settings.eviction = Eviction::None).unwrap();
    let value = "v".repeat(10_000);
    for i in 0..1_000u32 {
        cache.set(i, &value).unwrap();
    }
    cache.update_settings(|settings| settings.size_limit = 4 << 20).unwrap();
    assert_eq!(cache.len(), 1_000);
    let refused = (0..200u32).find_map(|i| cache.set(5_000 + i, &value).err());
    assert!(refused.is_some_and(|error| error.is_full()));
    assert!((0..1_000u32).all(|i| cache.get::<String>(i).unwrap().unwrap() == value));
    cache.clear().unwrap();
    cache.set("k", &value).unwrap();
    cache.assert_clean();
}

#[test]
fn a_read_only_handle_reads_everything_and_changes_nothing() {
    let cache = Scratch::new();
    let large = "l".repeat(300_000);
    cache.set_with("k", "v", lasting().tag("t")).unwrap();
    cache.set("n", &1).unwrap();
    cache.set("large", &large).unwrap();
    cache.set_with("old", &1, expired().tag("old")).unwrap();
    let reader = Cache::builder(&cache.dir).read_only(true).open().unwrap();
    assert_eq!(reader.get::<String>("k").unwrap().unwrap(), "v");
    assert_eq!(reader.get::<String>("large").unwrap().unwrap(), large);
    assert_eq!(&*reader.get_ref("k").unwrap().unwrap(), b"v");
    assert_eq!(reader.entry::<String>("k").unwrap().unwrap().tag.as_deref(), Some("t"));
    assert_eq!(reader.get_many::<i32>(["n", "absent"]).unwrap(), [Some(1), None]);
    assert_eq!((reader.len(), reader.keys::<String>().count(), reader.len_live().unwrap()), (4, 3, 3));
    assert_eq!(reader.keys_tagged::<String>("t").unwrap().count(), 1);
    assert_eq!(reader.iter_inserted::<String, larder_any::Any>().unwrap().count(), 3);
    assert!(reader.contains("k").unwrap() && reader.volume() > 0);
    assert_eq!(reader.settings(), cache.settings());
    let refused = [
        reader.set("k", "w").err(),
        reader.set_bytes("k", b"w").err(),
        reader.set("k", &large).err(),
        reader.add("new", "w").err(),
        reader.incr("n", 1).err(),
        reader.compare_and_set("k", Some("v"), Some("w")).err(),
        reader.touch("k", None).err(),
        reader.pop::<String>("k").err(),
        reader.delete("k").err(),
        reader.set_many([("k", "w")]).err(),
        reader.delete_many(["k"]).err(),
        reader.push("v", larder::QueueOptions::new()).err(),
        reader.expire().err(),
        reader.evict("t").err(),
        reader.clear().err(),
        reader.update_settings(|settings| settings.statistics = true).err(),
        reader.reset_stats().err(),
        reader.repair().err(),
    ];
    for (i, error) in refused.into_iter().enumerate() {
        assert!(matches!(error, Some(Error::ReadOnly)), "call {i}: {error:?}");
    }
    // It follows what others do, index growth and clearing included.
    for hundred in 0..200u32 {
        cache.set_many((hundred * 100..(hundred + 1) * 100).map(|i| (i, i))).unwrap();
    }
    assert_eq!(reader.get::<u32>(19_999u32).unwrap(), Some(19_999));
    assert_eq!(reader.keys::<larder::AnyKey>().count(), 20_003);
    cache.clear().unwrap();
    assert_eq!((reader.len(), reader.get::<String>("k").unwrap()), (0, None));
    cache.set("k", "after").unwrap();
    assert_eq!(reader.get::<String>("k").unwrap().unwrap(), "after");
    cache.assert_clean();
}

/// A type that reads itself from anything.
mod larder_any {
    pub struct Any;
    impl<'de> serde::Deserialize<'de> for Any {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Any, D::Error> {
            serde::de::IgnoredAny::deserialize(deserializer).map(|_| Any)
        }
    }
}

#[test]
fn reading_only_needs_a_store_and_makes_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("none");
    for path in [&path, &dir.path().to_owned()] {
        let opened = Cache::builder(path).read_only(true).open();
        assert!(matches!(opened, Err(Error::Config(ConfigProblem::NothingToRead))), "{opened:?}");
    }
    assert!(!path.exists());
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
    drop(Cache::open(&dir).unwrap());
    let reader = Cache::builder(&dir).read_only(true).open().unwrap();
    assert!(reader.is_empty());
}

#[test]
fn the_typed_view_is_the_same_store() {
    let cache = Scratch::new();
    let typed: TypedCache<(String, u32), Vec<u8>> = cache.typed();
    let key = |i: u32| ("k".to_string(), i);
    typed.set(&key(1), &vec![1]).unwrap();
    typed.set_with(&key(2), &vec![2], tagged("t").expire(HOUR)).unwrap();
    assert!(typed.add(&key(3), &vec![3]).unwrap() && !typed.add(&key(3), &vec![4]).unwrap());
    assert!(typed.add_with(&key(4), &vec![4], tagged("t")).unwrap());
    assert_eq!(cache.get::<Vec<u8>>(("k", 1)).unwrap(), Some(vec![1]));
    assert_eq!(typed.get(&key(2)).unwrap(), Some(vec![2]));
    assert!(typed.entry(&key(2)).unwrap().unwrap().expires_at.is_some());
    assert!(typed.contains(&key(1)).unwrap() && typed.touch(&key(2), None).unwrap());
    assert_eq!(typed.entry(&key(2)).unwrap().unwrap().expires_at, None);
    assert!(typed.compare_and_set(&key(1), Some(&vec![1]), Some(&vec![9])).unwrap());
    typed.set_many([(key(5), vec![5]), (key(6), vec![6])]).unwrap();
    assert_eq!(typed.get_many([key(6), key(7)]).unwrap(), [Some(vec![6]), None]);
    assert_eq!(sorted(typed.keys_tagged("t").unwrap()), [key(2), key(4)]);
    assert_eq!(sorted(typed.keys()), (1..=6).map(key).collect::<Vec<_>>());
    assert_eq!(sorted(typed.iter())[0], (key(1), vec![9]));
    assert_eq!(typed.entries().count(), 6);
    assert_eq!(typed.iter_inserted().unwrap().next_back().unwrap().unwrap().0, key(6));
    assert_eq!(typed.peek_item(End::Oldest).unwrap(), Some((key(1), vec![9])));
    assert_eq!(typed.pop(&key(1)).unwrap(), Some(vec![9]));
    assert!(typed.delete(&key(2)).unwrap() && !typed.delete(&key(2)).unwrap());
    assert_eq!(typed.delete_many([key(3), key(4), key(1)]).unwrap(), 2);
    cache.set(("k", 5), "text").unwrap();
    assert!(typed.get(&key(5)).unwrap_err().is_type());
    cache.set("another key", &vec![0u8]).unwrap();
    assert_eq!(typed.keys().filter(|key| key.is_err()).count(), 1);
    assert_eq!(typed.clone().cache().len(), 3);
}

#[test]
fn handles_cross_threads_and_print_themselves() {
    fn crosses<T: Send + Sync + 'static>() {}
    fn copies<T: Clone>() {}
    fn prints<T: std::fmt::Debug>() {}
    crosses::<Cache>();
    crosses::<Builder>();
    crosses::<TypedCache<u8, String>>();
    crosses::<ValueRef>();
    crosses::<Entry<String>>();
    crosses::<Error>();
    fn moves<T: Send>() {}
    moves::<Items<u8, String>>();
    moves::<Keys<u8>>();
    moves::<Entries<u8, String>>();
    moves::<OrderedItems<u8, String>>();
    moves::<OrderedKeys<u8>>();
    copies::<Cache>();
    copies::<Builder>();
    // A view needs no copyable types.
    copies::<TypedCache<std::cell::Cell<u8>, std::sync::Mutex<()>>>();
    prints::<Builder>();
    let cache = Scratch::new();
    cache.set("k", "v").unwrap();
    assert!(format!("{:?}", cache.cache).contains("len: 1"));
    assert!(format!("{:?}", cache.get_ref("k").unwrap().unwrap()).contains("len: 1"));
    assert!(format!("{:?}", cache.iter_inserted::<String, String>().unwrap()).contains("left: 1"));
}

#[test]
fn a_clone_is_the_same_handle_and_outlives_its_origin() {
    let Scratch { cache, dir } = Scratch::new();
    let clone = cache.clone();
    cache.set("k", "v").unwrap();
    drop(cache);
    assert_eq!(clone.get::<String>("k").unwrap().unwrap(), "v");
    std::thread::spawn(move || clone.set("k", "w").unwrap()).join().unwrap();
    assert_eq!(Cache::open(&dir).unwrap().get::<String>("k").unwrap().unwrap(), "w");
}

#[test]
fn a_time_out_of_nothing_still_takes_a_free_lock() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::builder(&dir).lock_timeout(Duration::ZERO).open().unwrap();
    for i in 0..100u32 {
        cache.set(i, &i).unwrap();
    }
    let patient = Cache::builder(&dir).lock_timeout(Duration::MAX).open().unwrap();
    assert_eq!(patient.incr(0u32, 1).unwrap(), 1);
}
