//! The whole store: counts, expiring, evicting, clearing, statistics, checking, repairing.

use super::{HOUR, Scratch, expired, lasting, sorted, tagged};
use larder::{Cache, Eviction, Stats};
use std::time::Duration;

#[test]
fn len_counts_what_is_there_and_what_has_only_expired() {
    let cache = Scratch::new();
    assert!(cache.is_empty() && cache.len_live().unwrap() == 0);
    cache.set("a", &1).unwrap();
    cache.set("a", &2).unwrap();
    cache.set_with("b", &1, expired()).unwrap();
    cache.set_with("c", &1, lasting().tag("t")).unwrap();
    assert_eq!((cache.len(), cache.len_live().unwrap(), cache.is_empty()), (3, 2, false));
    cache.delete("a").unwrap();
    cache.evict("t").unwrap();
    assert_eq!((cache.len(), cache.len_live().unwrap()), (1, 0));
    assert_eq!(cache.expire().unwrap(), 1);
    assert!(cache.is_empty());
}

#[test]
fn expire_removes_what_is_due_and_nothing_else() {
    let cache = Scratch::new();
    for i in 0..3_000u32 {
        let options = match i % 3 {
            0 => expired(),
            1 => lasting(),
            _ => tagged("t"),
        };
        cache.set_with(i, &i, options).unwrap();
    }
    assert_eq!(cache.expire().unwrap(), 1_000);
    assert_eq!(cache.expire().unwrap(), 0);
    assert_eq!((cache.len(), cache.len_live().unwrap()), (2_000, 2_000));
    assert!(sorted(cache.keys::<u32>()).into_iter().eq((0..3_000).filter(|i| i % 3 != 0)));
    cache.assert_clean();
    // Many more than the items of one segment or one commit, and all due at the same moment.
    cache.set_many_with((10_000..10_250u32).map(|i| (i, i)), expired()).unwrap();
    assert_eq!(cache.expire().unwrap(), 250);
    assert_eq!(cache.len(), 2_000);
    cache.assert_clean();
}

#[test]
fn expire_follows_touch_and_replacement() {
    let cache = Scratch::new();
    for i in 0..100u32 {
        cache.set_with(i, &i, lasting()).unwrap();
    }
    for i in 0..10u32 {
        cache.touch(i, Some(Duration::ZERO)).unwrap();
        cache.touch(i + 10, None).unwrap();
        cache.set(i + 20, &0).unwrap();
        cache.set_with(i + 30, &0, expired()).unwrap();
    }
    assert_eq!(cache.expire().unwrap(), 20);
    assert_eq!(cache.len_live().unwrap(), 80);
    cache.assert_clean();
}

#[test]
fn evict_removes_one_tag_and_lets_it_be_used_again() {
    let cache = Scratch::new();
    cache.set_many_with((0..1_000u32).map(|i| (i, i)), tagged("a")).unwrap();
    cache.set_many_with((1_000..1_500u32).map(|i| (i, i)), tagged("b")).unwrap();
    cache.set("untagged", &0).unwrap();
    assert_eq!(cache.evict("unknown").unwrap(), 0);
    // Items that moved to another tag or lost theirs do not go.
    cache.set_with(0u32, &0, tagged("b")).unwrap();
    cache.set(1u32, &1).unwrap();
    cache.delete(2u32).unwrap();
    assert_eq!(cache.evict("a").unwrap(), 997);
    assert_eq!(cache.evict("a").unwrap(), 0);
    assert_eq!(cache.len(), 503);
    assert!(cache.contains(0u32).unwrap() && cache.contains(1u32).unwrap() && !cache.contains(3u32).unwrap());
    for round in 0..5u32 {
        cache.set_with("again", &round, tagged("a")).unwrap();
        assert_eq!(cache.get::<u32>("again").unwrap(), Some(round));
        assert_eq!(cache.evict("a").unwrap(), 1);
        assert!(!cache.contains("again").unwrap());
    }
    assert_eq!(cache.evict("b").unwrap(), 501);
    assert_eq!((cache.len(), cache.len_live().unwrap()), (2, 2));
    cache.assert_clean();
}

#[test]
fn evict_counts_expired_items_that_len_counts() {
    let cache = Scratch::new();
    cache.set_with("a", &1, expired().tag("t")).unwrap();
    cache.set_with("b", &1, tagged("t")).unwrap();
    assert_eq!(cache.evict("t").unwrap(), 2);
    assert_eq!((cache.len(), cache.expire().unwrap()), (0, 0));
    cache.assert_clean();
}

#[test]
fn an_evicted_item_is_absent_to_every_call() {
    let cache = Scratch::new();
    let fill = || {
        cache.set_with("k", "v", tagged("t")).unwrap();
        assert_eq!(cache.evict("t").unwrap(), 1);
    };
    fill();
    assert_eq!(cache.get::<String>("k").unwrap(), None);
    assert!(!cache.delete("k").unwrap() && !cache.touch("k", None).unwrap());
    assert_eq!(cache.pop::<String>("k").unwrap(), None);
    assert_eq!(cache.iter_inserted::<String, String>().unwrap().count(), 0);
    assert!(cache.add("k", "new").unwrap());
    fill();
    assert!(cache.compare_and_set("k", None, Some("new")).unwrap());
    fill();
    cache.set_many([("k", "new")]).unwrap();
    assert_eq!(cache.delete_many(["k"]).unwrap(), 1);
    fill();
    assert_eq!(cache.delete_many(["k"]).unwrap(), 0);
    assert_eq!(cache.len(), 0);
    cache.assert_clean();
}

#[test]
fn clear_empties_the_store_and_gives_the_space_back() {
    let cache = Scratch::new();
    let second = cache.second();
    assert_eq!(cache.clear().unwrap(), 0);
    for round in 0..4u32 {
        let value = vec![round; 200];
        for i in 0..2_000u32 {
            let tag = if i % 2 == 0 { "even" } else { "odd" };
            second.set_with(i, &value, tagged(tag)).unwrap();
        }
        cache.set_with("old", "v", expired()).unwrap();
        let full = cache.volume();
        assert_eq!(cache.clear().unwrap(), 2_001);
        assert!(cache.volume() < full, "{} after {full}", cache.volume());
        for handle in [&cache.cache, &second] {
            assert_eq!((handle.len(), handle.len_live().unwrap()), (0, 0));
            assert_eq!(handle.get::<Vec<u32>>(7u32).unwrap(), None);
        }
        // The tags of before mean nothing now, and work again.
        assert_eq!(second.evict("odd").unwrap(), 0);
        cache.set_with("k", "v", tagged("even")).unwrap();
        assert_eq!(second.keys_tagged::<String>("even").unwrap().count(), 1);
        assert_eq!((second.evict("even").unwrap(), cache.len()), (1, 0));
        cache.assert_clean();
    }
}

#[test]
fn volume_is_what_the_files_take_and_stays_under_the_limit() {
    use std::os::unix::fs::MetadataExt;
    let limit = 8 << 20;
    let cache = Scratch::with_limit(limit);
    let on_disk = || -> u64 {
        let files = std::fs::read_dir(&cache.dir).unwrap().map(|file| file.unwrap().metadata().unwrap());
        files.filter(|file| file.is_file()).map(|file| file.blocks() * 512).sum()
    };
    let value = "v".repeat(3_000);
    for i in 0..6_000u32 {
        match cache.set(i % 1_500, &value) {
            Ok(()) => {}
            Err(error) => assert!(error.is_full(), "{error:?}"),
        }
        if i % 100 == 0 {
            assert!(cache.volume() <= limit, "{}", cache.volume());
            assert!(on_disk() <= cache.volume(), "{} on disk, {} said", on_disk(), cache.volume());
        }
    }
    cache.clear().unwrap();
    assert!(on_disk() <= cache.volume());
    cache.assert_clean();
}

/// What a full store moves has to be on the disk before the files that it came from go, and nobody waits for the disk in a
/// transaction: so it may be refused, and does not look for room for ever.
#[test]
fn a_transaction_that_finds_the_store_full_ends() {
    let dir = tempfile::tempdir().unwrap();
    let builder = Cache::builder(dir.path()).size_limit(8 << 20).eviction(Eviction::None);
    let cache = builder.open().unwrap();
    let value = vec![7u8; 1000];
    // Segments of little that lives, so that each of them takes next to nothing to give back, but none goes by itself.
    let mut kept = 0u32;
    while cache.volume() < 14 << 19 {
        cache.set(("kept", kept), &value).unwrap();
        cache.set_many((0..50u32).map(|i| (("replaced", i), &value))).unwrap();
        kept += 1;
    }
    let mut outcomes = Vec::new();
    for round in 0..10u32 {
        outcomes.push(cache.transact(|tx| {
            for i in 0..900u32 {
                tx.set(("added", i), &(round, &value))?;
            }
            Ok(())
        }));
        cache.expire().unwrap();
    }
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(()) | Err(larder::Error::Full))), "{outcomes:?}");
    assert!(outcomes.last().unwrap().is_ok(), "there was room in the end: {outcomes:?}");
    assert_eq!(cache.len(), kept as usize + 50 + 900);
    let report = cache.check().unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
}

#[test]
fn overwriting_for_ever_needs_no_more_room() {
    let cache = Scratch::with_limit(4 << 20);
    let value = "v".repeat(1_000);
    for i in 0..10_000u32 {
        cache.set(i % 100, &value).unwrap();
    }
    assert_eq!(cache.len(), 100);
    cache.delete_many(0..100u32).unwrap();
    for i in 0..10_000u32 {
        cache.set(1_000 + i, &value).unwrap();
        assert!(cache.delete(1_000 + i).unwrap());
    }
    assert_eq!(cache.len_live().unwrap(), 0);
    cache.assert_clean();
}

#[test]
fn overwriting_tagged_items_for_ever_needs_no_more_room() {
    let cache = Scratch::with_limit(4 << 20);
    let value = "v".repeat(1_000);
    for i in 0..10_000u32 {
        let tag = if i % 2 == 0 { "even" } else { "odd" };
        cache.set_with(i % 100, &value, tagged(tag)).unwrap();
    }
    assert_eq!((cache.evict("even").unwrap(), cache.evict("odd").unwrap(), cache.len()), (50, 50, 0));
    cache.assert_clean();
}

fn counted(dir: &tempfile::TempDir) -> Cache {
    Cache::builder(dir).size_limit(16 << 20).statistics(true).open().unwrap()
}

#[test]
fn statistics_count_reads_stores_and_removals() {
    let dir = tempfile::tempdir().unwrap();
    let cache = counted(&dir);
    cache.set("a", &1).unwrap(); // store
    cache.set_bytes("b", b"b").unwrap(); // store
    cache.set_many([("c", 1), ("d", 2)]).unwrap(); // 2 stores
    assert!(cache.add("e", &1).unwrap() && !cache.add("e", &1).unwrap()); // store
    cache.incr("n", 1).unwrap(); // store
    assert!(cache.compare_and_set("n", Some(&1), Some(&2)).unwrap()); // store
    assert!(!cache.compare_and_set("n", Some(&1), Some(&3)).unwrap());
    cache.get::<i32>("a").unwrap(); // hit
    cache.get::<i32>("x").unwrap(); // miss
    cache.get_bytes("b").unwrap(); // hit
    cache.get_ref("b").unwrap(); // hit
    cache.get_ref("x").unwrap(); // miss
    cache.entry::<i32>("a").unwrap(); // hit
    cache.get_many::<i32>(["a", "x", "c"]).unwrap(); // 2 hits, miss
    cache.contains("a").unwrap();
    cache.contains("x").unwrap();
    let stats = cache.stats().unwrap();
    assert_eq!((stats.hits, stats.misses, stats.stores), (6, 3, 7));
    assert!((stats.hit_rate() - 6.0 / 9.0).abs() < 1e-9);

    cache.pop::<i32>("a").unwrap(); // removal
    cache.delete("b").unwrap(); // removal
    cache.delete("b").unwrap();
    cache.delete_many(["c", "x"]).unwrap(); // removal
    assert!(cache.compare_and_set("n", Some(&2), None).unwrap()); // removal
    cache.set_with("t", &1, tagged("t")).unwrap();
    cache.evict("t").unwrap(); // eviction
    cache.set_with("o", &1, expired()).unwrap();
    cache.get::<i32>("o").unwrap(); // miss
    cache.expire().unwrap(); // expiration
    assert_eq!(cache.clear().unwrap(), 2); // 2 evictions
    let stats = cache.stats().unwrap();
    assert_eq!((stats.removals, stats.evictions, stats.expirations, stats.misses), (4, 3, 1, 4));
}

/// What is counted, and begins anew; not how the space is used.
fn counts(stats: larder::Result<Stats>) -> [u64; 7] {
    let s = stats.unwrap();
    [s.hits, s.misses, s.stores, s.removals, s.evictions, s.expirations, s.culled]
}

#[test]
fn statistics_sum_over_handles_survive_them_and_start_anew() {
    let dir = tempfile::tempdir().unwrap();
    let cache = counted(&dir);
    for _ in 0..3 {
        let second = Cache::open(&dir).unwrap();
        second.set("k", &1).unwrap();
        second.get::<i32>("k").unwrap();
        assert_eq!(counts(second.stats()), counts(cache.stats()));
    }
    cache.get::<i32>("k").unwrap();
    let stats = cache.stats().unwrap();
    assert_eq!((stats.stores, stats.hits), (3, 4));
    assert_eq!(counts(cache.reset_stats()), counts(Ok(stats)));
    assert_eq!(counts(cache.stats()), [0; 7]);
    let second = Cache::open(&dir).unwrap();
    assert_eq!(counts(second.stats()), [0; 7]);
    second.get::<i32>("x").unwrap();
    assert_eq!(cache.reset_stats().unwrap().misses, 1);
    cache.update_settings(|settings| settings.statistics = false).unwrap();
    second.get::<i32>("k").unwrap();
    cache.set("k", &2).unwrap();
    assert_eq!(counts(cache.stats()), [0; 7]);
    drop((cache, second));
    assert_eq!(counts(Cache::open(&dir).unwrap().stats()), [0; 7]);
}

#[test]
fn counts_of_many_threads_are_exact() {
    let dir = tempfile::tempdir().unwrap();
    let cache = counted(&dir);
    let second = Cache::open(&dir).unwrap();
    cache.set("k", &1).unwrap();
    std::thread::scope(|scope| {
        for handle in [&cache, &cache, &second, &second] {
            scope.spawn(|| {
                for _ in 0..5_000 {
                    handle.get::<i32>("k").unwrap();
                }
            });
        }
    });
    assert_eq!(second.stats().unwrap().hits, 20_000);
}

#[test]
fn sync_returns_and_changes_nothing() {
    let cache = Scratch::new();
    cache.sync().unwrap();
    cache.set("k", "v").unwrap();
    cache.set_bytes("large", &[0; 300_000]).unwrap();
    cache.sync().unwrap();
    cache.second().sync().unwrap();
    assert_eq!(cache.get::<String>("k").unwrap().unwrap(), "v");
    assert_eq!(cache.len(), 2);
    cache.touch("k", Some(HOUR)).unwrap();
    cache.assert_clean();
}

#[test]
fn bytes_that_live_grow_with_what_is_stored_and_shrink_with_what_is_removed_or_replaced() {
    let cache = Scratch::new();
    let live = || cache.stats().unwrap().live_bytes;
    assert_eq!(live(), 0);
    for key in 0..100 {
        cache.set_bytes(key, &[1; 1000]).unwrap();
    }
    let full = live();
    assert!((100_000..110_000).contains(&full), "{full}");
    cache.set_bytes("large", &[1; 400_000]).unwrap();
    assert!((500_000..520_000).contains(&live()), "{}", live());
    cache.delete("large").unwrap();
    for key in 0..50 {
        cache.set_bytes(key, &[2; 10]).unwrap();
        cache.delete(50 + key).unwrap();
    }
    // What removes has its bytes too, until its segment goes.
    assert!(live() < full / 10, "{}", live());
}

/// A throttle that is through says nothing any more: of many names, each called once, not all stay for ever.
#[test]
fn throttles_of_many_names_do_not_fill_a_cache_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let cache = larder::Cache::builder(&dir).size_limit(2 << 20).open().unwrap();
    let call = |name: u32| {
        let throttle = larder::recipes::Throttle::new(&cache, &name.to_string(), 1, std::time::Duration::from_nanos(1));
        throttle.unwrap().try_pass()
    };
    for name in 0..50_000 {
        if let Err(error) = call(name) {
            cache.clear().unwrap();
            panic!("{error} at the {name}th name; after `clear`: {:?}, {:?}", call(name), cache.set("key", &1));
        }
    }
}
