//! What only a fan-out cache has: shards that keep their number, an even spread, and changes of several shards as one.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use larder::{Cache, ConfigProblem, Error, Eviction, FanoutCache, SetOptions};

use crate::scratch::*;

fn is_other_kind<T>(opened: larder::Result<T>) -> bool {
    matches!(opened, Err(Error::Config(ConfigProblem::OtherKind)))
}

/// Keys of the first two shards that have a key each of `0..`.
fn keys_of_two_shards(cache: &FanoutCache) -> [i64; 2] {
    let mut lens = cache.shard_lens();
    let mut found: Vec<(usize, i64)> = Vec::new();
    for key in 0.. {
        cache.set(("probe", key), &0).unwrap();
        cache.delete(("probe", key)).unwrap();
        cache.set(key, &0).unwrap();
        let now = cache.shard_lens();
        let shard = (0..now.len()).find(|&i| now[i] != lens[i]).unwrap();
        lens = now;
        if found.iter().all(|(other, _)| *other != shard) {
            found.push((shard, key));
        }
        if let [(_, a), (_, b)] = found[..] {
            return [a, b];
        }
    }
    unreachable!()
}

#[test]
fn the_number_of_shards_stays() {
    let dir = tempfile::tempdir().unwrap();
    let cache = FanoutCache::builder(&dir).shards(5).open().unwrap();
    cache.set_many((0..100).map(|i| (i, i))).unwrap();
    drop(cache);
    let cache = FanoutCache::open(&dir).unwrap();
    assert_eq!((cache.shards(), cache.len()), (5, 100));
    assert!((0..100).all(|i| cache.get::<i32>(i).unwrap() == Some(i)));
    for shards in [4, 0, 129] {
        let refused = FanoutCache::builder(&dir).shards(shards).open();
        assert!(matches!(refused, Err(Error::Config(ConfigProblem::Shards))), "{shards}");
    }
    let new = tempfile::tempdir().unwrap();
    for shards in [0, 129] {
        assert!(FanoutCache::builder(&new).shards(shards).size_limit(1 << 40).open().is_err());
    }
    assert!(
        FanoutCache::builder(&new).shards(8).size_limit(16 << 20).open().is_err(),
        "2 MiB each, and what is no shard's"
    );
}

#[test]
fn a_directory_of_another_kind_is_refused() {
    let (single, several) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Cache::open(&single).unwrap();
    let cache = FanoutCache::open(&several).unwrap();
    assert!(is_other_kind(FanoutCache::open(&single)));
    assert!(is_other_kind(Cache::open(&several)));
    assert!(is_other_kind(Cache::open(several.path().join("shard-0"))));
    assert!(is_other_kind(larder::Deque::<u8>::open(&several)));
    drop(cache);
    assert!(matches!(
        FanoutCache::builder(several.path().join("shard-0")).read_only(true).open(),
        Err(Error::Config(ConfigProblem::NothingToRead | ConfigProblem::OtherKind))
    ));
    assert!(Cache::open(single.path()).is_ok() && FanoutCache::open(several.path()).is_ok());
}

#[test]
fn a_damaged_manifest_is_an_error_and_nothing_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    FanoutCache::builder(&dir).shards(2).open().unwrap().set("k", "v").unwrap();
    let path = dir.path().join("fanout");
    let sound = std::fs::read(&path).unwrap();
    for at in 0..sound.len() {
        let mut bytes = sound.clone();
        bytes[at] ^= 16;
        std::fs::write(&path, &bytes).unwrap();
        assert!(FanoutCache::open(&dir).is_err(), "byte {at}");
    }
    for len in 0..sound.len() {
        std::fs::write(&path, &sound[..len]).unwrap();
        assert!(FanoutCache::open(&dir).is_err(), "{len} bytes");
    }
    std::fs::write(&path, &sound).unwrap();
    assert_eq!(FanoutCache::open(&dir).unwrap().get::<String>("k").unwrap().as_deref(), Some("v"));
    // Without it there is no fan-out cache; the shards are nobody else's either.
    std::fs::remove_file(&path).unwrap();
    assert!(FanoutCache::builder(&dir).read_only(true).open().is_err());
}

#[test]
fn keys_that_have_much_in_common_spread_evenly() {
    let dir = tempfile::tempdir().unwrap();
    let cache = FanoutCache::builder(&dir).shards(64).size_limit(1 << 30).open().unwrap();
    const KEYS: usize = 20_000;
    let even_digits = |mut n: usize| {
        let mut text = String::new();
        while n > 0 {
            text.push(char::from(b'0' + 2 * (n % 5) as u8));
            n /= 5;
        }
        text
    };
    let sets: [Vec<String>; 3] = [
        (1..=KEYS).map(even_digits).collect(),
        (0..KEYS).map(|i| format!("https://example.org/a/very/long/prefix/that/all/keys/have/{i}")).collect(),
        (0..KEYS).map(|i| format!("{:0width$}", 0, width = i % 4000 + 1) + &"x".repeat(i / 4000)).collect(),
    ];
    for keys in sets {
        let distinct: HashSet<&String> = keys.iter().collect();
        cache.set_many(keys.iter().map(|key| (key, 0u8))).unwrap();
        let lens = cache.shard_lens();
        assert_eq!(lens.iter().sum::<usize>(), distinct.len());
        let mean = distinct.len() as f64 / 64.0;
        let fullest = *lens.iter().max().unwrap() as f64;
        assert!(fullest <= 1.3 * mean, "{fullest} of {mean}");
        cache.clear().unwrap();
    }
}

#[test]
fn the_limit_is_that_of_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let limit = 24_000_001;
    let cache = FanoutCache::builder(&dir).shards(3).size_limit(limit).open().unwrap();
    assert_eq!(cache.settings().size_limit, limit);
    for i in 0..40_000u32 {
        cache.set_bytes(i, &[7; 1000]).unwrap();
        if i % 1000 == 0 {
            assert!(cache.volume() <= limit);
        }
    }
    assert!(cache.len() > 10_000 && cache.stats().unwrap().culled > 0);
    assert_eq!(cache.update_settings(|settings| settings.size_limit = 12_000_000).unwrap().size_limit, 12_000_000);
    assert!(cache.volume() <= 12_000_000);
    cache.update_settings(|settings| settings.eviction = Eviction::None).unwrap();
    drop(cache);
    let cache = FanoutCache::builder(&dir).size_limit(16 << 20).open().unwrap();
    assert_eq!((cache.settings().size_limit, cache.settings().eviction), (16 << 20, Eviction::None));
    let full = (0..40_000u32).try_for_each(|i| cache.set_bytes(("more", i), &[7; 1000]));
    assert!(full.unwrap_err().is_full(), "nothing is dropped silently");
    assert!(cache.check().unwrap().is_clean());
}

#[test]
fn a_transaction_over_shards_is_whole_after_everything_derived_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let cache = FanoutCache::builder(&dir).shards(3).open().unwrap();
    let [a, b] = keys_of_two_shards(&cache);
    let long = "v".repeat(400_000);
    for round in 1..=5 {
        cache
            .transact(|tx| {
                tx.set_with(a, &round, tagged("t"))?;
                tx.set(b, &-round)?;
                tx.set(("long", round), &long)?;
                tx.cache("within")?.set(a, &round)?;
                tx.cache("within")?.set(b, &round)?;
                tx.deque::<i64>("queue")?.push_back(&round)
            })
            .unwrap();
        let refused: larder::Result<()> = cache.transact(|tx| {
            tx.set(a, &100)?;
            tx.set(b, &100)?;
            tx.clear()?;
            Err(Error::aborted("no"))
        });
        assert!(refused.unwrap_err().is_aborted());
    }
    drop(cache);
    for _ in 0..2 {
        let cache = crate::open(dir.path(), None);
        assert_eq!(cache.get_many::<i64>([a, b]).unwrap(), [Some(5), Some(-5)]);
        let within = cache.cache("within").unwrap();
        assert_eq!((within.get_many::<i64>([a, b]).unwrap(), within.len()), (vec![Some(5), Some(5)], 2));
        assert_eq!(cache.deque::<i64>("queue").unwrap().iter().map(Result::unwrap).sum::<i64>(), 15);
        assert_eq!(cache.get::<String>(("long", 3)).unwrap().as_ref(), Some(&long));
        assert_eq!(cache.keys_tagged::<i64>("t").unwrap().map(Result::unwrap).collect::<Vec<_>>(), [a]);
        assert!(cache.check().unwrap().is_clean());
        drop(cache);
        crate::forget_index(dir.path());
    }
}

#[test]
fn a_part_of_a_transaction_that_is_taken_back_is_so_in_every_shard() {
    let cache = Scratch::new();
    let [a, b] = keys_of_two_shards(&cache.cache);
    cache
        .transact(|tx| {
            tx.set_many([(a, 1), (b, 1)])?;
            let part: larder::Result<()> = tx.transact(|tx| {
                tx.set_many([(a, 2), (b, 2)])?;
                tx.cache("within")?.set(a, &2)?;
                Err(Error::aborted("no"))
            });
            assert!(part.unwrap_err().is_aborted());
            assert_eq!(tx.get_many::<i64>([a, b])?, [Some(1), Some(1)]);
            assert!(tx.cache("within")?.is_empty());
            tx.transact(|tx| tx.set(b, &3))
        })
        .unwrap();
    assert_eq!(cache.get_many::<i64>([a, b]).unwrap(), [Some(1), Some(3)]);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = cache.transact(|tx| {
            tx.set_many([(a, 9), (b, 9)])?;
            if tx.contains(a)? { panic!("in the middle") } else { Ok(()) }
        });
    }));
    assert!(panicked.is_err());
    assert_eq!(cache.get_many::<i64>([a, b]).unwrap(), [Some(1), Some(3)]);
    cache.set(b, &4).unwrap();
    cache.assert_clean();
}

#[test]
fn who_is_inside_cannot_write_through_another_handle() {
    let cache = Scratch::new();
    let second = cache.second();
    let [a, b] = keys_of_two_shards(&cache.cache);
    cache
        .transact(|tx| {
            tx.set(a, &1)?;
            for key in [a, b] {
                assert!(matches!(cache.set(key, &2), Err(Error::InTransaction)));
                assert!(matches!(second.set(key, &2), Err(Error::InTransaction)));
                assert!(matches!(second.transact(|tx| tx.set(key, &2)), Err(Error::InTransaction)));
            }
            assert!(matches!(tx.sync(), Err(Error::InTransaction)));
            Ok(())
        })
        .unwrap();
    let late: Cache = cache.transact(|tx| Ok(Cache::clone(tx))).unwrap();
    assert!(matches!(late.set(a, &5), Err(Error::InTransaction)));
    assert_eq!(cache.get::<i64>(a).unwrap(), Some(1));
}

#[test]
fn a_transaction_waits_for_all_locks_no_longer_than_it_was_told() {
    let cache = Scratch::new();
    let second = cache.second();
    let barrier = std::sync::Barrier::new(2);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            second
                .transact(|_| {
                    barrier.wait();
                    barrier.wait();
                    Ok(())
                })
                .unwrap();
        });
        barrier.wait();
        let waited = cache.transact_timeout(Duration::from_millis(20), |tx| tx.set(1, &1));
        assert!(waited.unwrap_err().is_timeout());
        barrier.wait();
    });
    cache.transact_timeout(Duration::from_secs(60), |tx| tx.set(1, &1)).unwrap();
}

/// Threads move money between accounts in all shards, by transactions and by `set_many`, and remove and add accounts; whoever
/// reads all at once finds what there was, and whoever reads one after the other finds no older state after a newer one.
#[test]
fn readers_see_all_of_a_change_over_shards_or_nothing() {
    const ACCOUNTS: i64 = 12;
    let cache = Scratch::new();
    let second = cache.second();
    cache.set_many((0..ACCOUNTS).map(|i| (("account", i), 100i64))).unwrap();
    cache.set_many((0..ACCOUNTS).map(|i| (("version", i), 0i64))).unwrap();
    let done = AtomicBool::new(false);
    let names = || (0..ACCOUNTS).map(|i| ("account", i));
    std::thread::scope(|threads| {
        let readers: Vec<_> = [&*cache, &*second]
            .into_iter()
            .map(|reader| {
                let done = &done;
                threads.spawn(move || {
                    let mut rounds = 0u64;
                    while !done.load(Ordering::Relaxed) || rounds < 50 {
                        let found = reader.get_many::<i64>(names()).unwrap();
                        assert_eq!(
                            found.iter().map(|amount| amount.unwrap()).sum::<i64>(),
                            100 * ACCOUNTS,
                            "{found:?}"
                        );
                        // One that was written together with the others: what is read later is no older.
                        let mut newest = 0;
                        for i in (0..ACCOUNTS).rev() {
                            let version = reader.get::<i64>(("version", i)).unwrap().unwrap();
                            assert!(version >= newest, "{version} after {newest}");
                            newest = version;
                        }
                        rounds += 1;
                    }
                    rounds
                })
            })
            .collect();
        for round in 1..=150i64 {
            let (from, to) = (round % ACCOUNTS, (round * 5 + 1) % ACCOUNTS);
            let writer: &Cache = if round % 2 == 0 { &cache } else { &second };
            writer
                .transact(|tx| {
                    tx.decr(("account", from), 7)?;
                    tx.incr(("account", to), 7)
                })
                .unwrap();
            writer.set_many((0..ACCOUNTS).map(|i| (("version", i), round))).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        assert!(readers.into_iter().all(|reader| reader.join().unwrap() >= 50));
    });
    cache.assert_clean();
}

#[test]
fn a_tag_is_evicted_in_all_shards_at_once() {
    let cache = Scratch::new();
    cache.set_many_with((0..300).map(|i| (i, i)), tagged("t")).unwrap();
    cache.set_many((300..310).map(|i| (i, i))).unwrap();
    assert_eq!(cache.keys_tagged::<i32>("t").unwrap().count(), 300);
    assert_eq!(cache.entry::<i32>(7).unwrap().unwrap().tag.as_deref(), Some("t"));
    let tags = cache.entries::<i32, i32>().map(|entry| entry.unwrap().1.tag);
    assert_eq!(tags.filter(|tag| tag.as_deref() == Some("t")).count(), 300);
    assert_eq!((cache.evict("t").unwrap(), cache.len(), cache.evict("t").unwrap()), (300, 10, 0));
    assert_eq!((cache.clear().unwrap(), cache.len()), (10, 0));
    cache.assert_clean();
}

#[test]
fn statistics_are_those_of_all_shards() {
    let dir = tempfile::tempdir().unwrap();
    let cache = FanoutCache::builder(&dir).shards(4).statistics(true).open().unwrap();
    for i in 0..100 {
        cache.set(i, &i).unwrap();
        cache.get::<i32>(i).unwrap();
        cache.get::<i32>(i + 1000).unwrap();
    }
    cache.get_many::<i32>((0..200).step_by(2)).unwrap();
    cache.delete(5).unwrap();
    let stats = cache.reset_stats().unwrap();
    assert_eq!((stats.stores, stats.hits, stats.misses, stats.removals), (100, 150, 150, 1));
    assert_eq!(cache.stats().unwrap().hits, 0);
}

#[test]
fn a_sync_handle_changes_several_shards_durably() {
    let dir = tempfile::tempdir().unwrap();
    let cache = FanoutCache::builder(&dir).shards(3).durability(larder::Durability::Sync).open().unwrap();
    cache.set_many((0..50).map(|i| (i, i))).unwrap();
    cache.transact(|tx| tx.set_many((50..100).map(|i| (i, i)))).unwrap();
    cache.transact(|tx| tx.set(3, &4)).unwrap();
    cache.set_with(4, &5, SetOptions::new()).unwrap();
    cache.sync().unwrap();
    drop(cache);
    crate::forget_index(dir.path());
    let cache = FanoutCache::open(&dir).unwrap();
    assert_eq!((cache.len(), cache.get::<i32>(3).unwrap(), cache.get::<i32>(4).unwrap()), (100, Some(4), Some(5)));
}

#[test]
fn all_at_once_by_one_who_has_mapped_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cache = FanoutCache::builder(&dir).shards(16).size_limit(64 << 20).open().unwrap();
    for first in (0..4_000u32).step_by(1000) {
        cache.set_many((first..first + 1000).map(|i| (i, "v".repeat(500)))).unwrap();
    }
    let reader = FanoutCache::builder(&dir).read_only(true).open().unwrap();
    let found = reader.get_many::<String>(0..4_000u32).unwrap();
    assert_eq!(found.iter().flatten().count(), 4_000);
    drop(cache);
    let found = FanoutCache::open(&dir).unwrap().get_many::<String>(0..4_000u32).unwrap();
    assert_eq!(found.iter().flatten().count(), 4_000);
}

#[test]
fn who_is_inside_one_shard_waits_for_no_other() {
    let cache = Scratch::new();
    let [a, b] = keys_of_two_shards(&cache.cache);
    let queue = cache.deque::<u32>("queue").unwrap();
    queue
        .transact(|queue| {
            queue.push_back(&1)?;
            let refused = [a, b].map(|key| cache.set(key, &1)).into_iter().all(|set| set.is_err_and(is_inside));
            assert!(refused && cache.set_many([(a, 1), (b, 1)]).is_err_and(is_inside));
            assert!(cache.transact(|tx| tx.set(a, &1)).is_err_and(is_inside) && cache.sync().is_err_and(is_inside));
            // Reading waits for nobody.
            assert_eq!(cache.get_many::<i64>([a, b])?, [Some(0), Some(0)]);
            Ok(())
        })
        .unwrap();
    assert_eq!(queue.len(), 1);
    cache.set_many([(a, 1), (b, 1)]).unwrap();
}

fn is_inside(error: Error) -> bool {
    matches!(error, Error::InTransaction)
}

/// What was synced does not go with the file of decisions.
#[test]
fn a_lost_file_of_decisions_costs_nothing_that_was_synced() {
    for is_missing in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let cache = crate::open(dir.path(), Some(16 << 20));
        for round in 0..5 {
            cache.transact(|tx| tx.set_many((0..30).map(|i| (i, round)))).unwrap();
            cache.set(("alone", round), &round).unwrap();
        }
        cache.sync().unwrap();
        drop(cache);
        let decided = dir.path().join("decided");
        if is_missing {
            std::fs::remove_file(&decided).unwrap();
        } else {
            std::fs::write(&decided, [0x5a; 1024]).unwrap();
        }
        for _ in 0..2 {
            crate::forget_index(dir.path());
            let cache = crate::open(dir.path(), None);
            assert_eq!(cache.get_many::<i32>(0..30).unwrap(), vec![Some(4); 30]);
            assert_eq!(cache.get::<i32>(("alone", 4)).unwrap(), Some(4));
            cache.transact(|tx| tx.set_many((100..130).map(|i| (i, 7)))).unwrap();
            assert!(cache.check().unwrap().is_clean());
            cache.sync().unwrap();
        }
        crate::forget_index(dir.path());
        assert_eq!(crate::open(dir.path(), None).get_many::<i32>(100..130).unwrap(), vec![Some(7); 30]);
    }
}

#[test]
fn nobody_waits_for_a_lock_of_another_shard_inside_a_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let cache = FanoutCache::builder(&dir).shards(2).open().unwrap();
    let other = FanoutCache::open(&dir).unwrap();
    let deque = cache.deque::<u8>("deque").unwrap();
    for i in 0..8 {
        let name = format!("lock {i}");
        let lock = larder::recipes::Lock::new(&cache, &name).unwrap();
        let held = larder::recipes::Lock::new(&other, &name).unwrap().lock().unwrap();
        let inside = deque.transact(|_| lock.lock_timeout(Duration::from_millis(600)).map(drop));
        assert!(matches!(inside, Err(Error::InTransaction)), "{name}: waited with the lock of a shard: {inside:?}");
        drop(held);
    }
}

/// Without a thread, the next call that takes something lets go of what was left, whichever shard it is in.
#[test]
fn what_could_not_be_let_go_in_one_shard_is_let_go_by_a_call_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let cache = FanoutCache::builder(&dir).shards(2).background(false).open().unwrap();
    let names: Vec<String> = (0..8).map(|i| format!("lock {i}")).collect();
    for name in &names {
        for other in &names {
            let lock = larder::recipes::Lock::new(&cache, name).unwrap();
            let held = lock.lock().unwrap();
            cache
                .transact(move |_| {
                    drop(held);
                    Ok(())
                })
                .unwrap();
            assert!(lock.is_locked().unwrap());
            drop(larder::recipes::Lock::new(&cache, other).unwrap().lock_timeout(Duration::from_millis(50)));
            assert!(!lock.is_locked().unwrap(), "{name} is held by nobody, after {other} was taken");
        }
    }
}
