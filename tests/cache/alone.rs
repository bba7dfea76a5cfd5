//! What holds of a cache that is one store: an order of insertion of all its items, limits in bytes, and the names of its files.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use larder::{Cache, End, Error, Eviction, SetOptions};

use crate::flight::{AT_ONCE, while_computing};
use crate::stream::*;
use crate::{Scratch, expired, sorted, tagged};

/// Files of large values, finished or not.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let is_meant = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("val") || name.starts_with("draft")
    };
    names.filter(is_meant).collect()
}

#[test]
fn a_batch_over_an_eighth_of_the_limit_is_refused_whole() {
    let cache = Scratch::with_limit(4 << 20);
    cache.set(0u32, "before").unwrap();
    let value = "v".repeat(1_000);
    let error = cache.set_many((0..700u32).map(|i| (i, &value))).unwrap_err();
    assert!(
        matches!(error, Error::TransactionTooLarge { bytes, limit } if bytes > limit && limit == 512 << 10),
        "{error:?}"
    );
    assert_eq!((cache.len(), cache.get::<String>(0u32).unwrap().unwrap()), (1, "before".to_string()));
    cache.set_many((0..400u32).map(|i| (i, &value))).unwrap();
    assert_eq!(cache.len(), 400);
    cache.assert_clean();
}

/// What takes the space of others must not take a claim: a second one would compute the same.
#[test]
fn a_claim_outlives_eviction_and_clear() {
    let cache = Scratch::with_limit(2 << 20);
    while_computing(&cache, "slow", || {
        for n in 0..10_000u32 {
            cache.set_bytes(n, &[7; 1000]).unwrap();
        }
        assert!(cache.stats().unwrap().culled > 5000);
        cache.clear().unwrap();
        assert!(cache.get_or_insert_with("slow", AT_ONCE(), || 1).unwrap_err().is_timeout());
        assert!(cache.check().unwrap().is_clean());
    });
    assert!(cache.volume() <= 2 << 20);
}

#[test]
fn every_walk_meets_every_live_item_once() {
    let cache = Scratch::new();
    let mut expected = BTreeMap::new();
    for i in 0..5_000u32 {
        cache.set_with(i, &(i * 2), tagged(if i % 3 == 0 { "fizz" } else { "other" })).unwrap();
        expected.insert(i, i * 2);
    }
    for i in (0..5_000u32).step_by(7) {
        cache.delete(i).unwrap();
        expected.remove(&i);
    }
    cache.set_with(9_999u32, &0, expired()).unwrap();
    let pairs: Vec<(u32, u32)> = expected.clone().into_iter().collect();
    let keys: Vec<u32> = expected.keys().copied().collect();
    assert_eq!(sorted(cache.iter::<u32, u32>()), pairs);
    assert_eq!(sorted(cache.keys::<u32>()), keys);
    assert_eq!(sorted(cache.entries::<u32, u32>().map(|e| e.map(|(key, entry)| (key, entry.value)))), pairs);
    for entry in cache.entries::<u32, u32>() {
        let (key, entry) = entry.unwrap();
        assert_eq!(entry.tag.as_deref(), Some(if key % 3 == 0 { "fizz" } else { "other" }));
        assert_eq!(entry.expires_at, None);
    }
    let fizz: Vec<u32> = keys.iter().copied().filter(|key| key % 3 == 0).collect();
    assert_eq!(sorted(cache.keys_tagged::<u32>("fizz").unwrap()), fizz);
    assert_eq!(cache.keys_tagged::<u32>("unknown").unwrap().count(), 0);
    assert!(cache.keys_sorted::<u32>().unwrap().map(Result::unwrap).eq(keys.iter().copied()));
    assert!(cache.iter_inserted::<u32, u32>().unwrap().map(Result::unwrap).eq(pairs));
    assert_eq!(cache.len_live().unwrap(), keys.len());
    cache.evict("fizz").unwrap();
    assert_eq!(cache.keys_tagged::<u32>("fizz").unwrap().count(), 0);
    assert_eq!(cache.keys::<u32>().count(), keys.len() - fizz.len());
}

#[test]
fn insertion_order_survives_reopening() {
    let Scratch { cache, dir } = Scratch::new();
    for i in [5u32, 3, 9, 1] {
        cache.set(i, &i).unwrap();
    }
    cache.set(3u32, &33).unwrap();
    drop(cache);
    let order = |cache: &larder::Cache| -> Vec<u32> {
        cache.iter_inserted::<u32, u32>().unwrap().map(|pair| pair.unwrap().0).collect()
    };
    assert_eq!(order(&larder::Cache::open(&dir).unwrap()), [5, 3, 9, 1]);
    std::fs::remove_file(dir.path().join("state")).unwrap();
    assert_eq!(order(&larder::Cache::open(&dir).unwrap()), [5, 3, 9, 1], "also when rebuilt from the log");
}

#[test]
fn insertion_order_survives_replacing_and_not_removing() {
    let cache = Scratch::new();
    for key in ["d", "b", "a", "c"] {
        cache.set_with(key, "1", tagged("t")).unwrap();
    }
    let order =
        || -> Vec<String> { cache.iter_inserted::<String, String>().unwrap().map(|pair| pair.unwrap().0).collect() };
    assert_eq!(order(), ["d", "b", "a", "c"]);
    cache.set("b", "replaced").unwrap();
    cache.touch("d", None).unwrap();
    cache.compare_and_set("a", Some("1"), Some("2")).unwrap();
    cache.set_many([("c", "3"), ("d", "3")]).unwrap();
    assert_eq!(order(), ["d", "b", "a", "c"]);
    cache.delete("b").unwrap();
    cache.set("b", "again").unwrap();
    assert_eq!(order(), ["d", "a", "c", "b"]);
    cache.pop::<String>("d").unwrap();
    cache.add("d", "again").unwrap();
    assert_eq!(order(), ["a", "c", "b", "d"]);
    // Within one batch the order of the pairs counts.
    cache.clear().unwrap();
    cache.set_many([("z", "1"), ("y", "1"), ("x", "1")]).unwrap();
    assert_eq!(order(), ["z", "y", "x"]);
    cache.evict("none").unwrap();
    cache.set_with("y", "2", tagged("t")).unwrap();
    assert_eq!(order(), ["z", "y", "x"]);
    cache.evict("t").unwrap();
    cache.set("y", "3").unwrap();
    assert_eq!(order(), ["z", "x", "y"]);
}

#[test]
fn ordered_walks_are_double_ended_and_meet_in_the_middle() {
    let cache = Scratch::new();
    cache.set_many((0..10u32).map(|i| (i, i))).unwrap();
    let mut items = cache.iter_inserted::<u32, u32>().unwrap();
    let mut keys = cache.keys_sorted::<u32>().unwrap();
    let mut found = Vec::new();
    for _ in 0..4 {
        found.push(items.next().unwrap().unwrap().0);
        found.push(items.next_back().unwrap().unwrap().0);
        assert_eq!(keys.next().unwrap().unwrap(), found[found.len() - 2]);
        assert_eq!(keys.next_back().unwrap().unwrap(), found[found.len() - 1]);
    }
    assert_eq!(found, [0, 9, 1, 8, 2, 7, 3, 6]);
    // Values are as they are by then, and what is gone is left out.
    cache.delete(4u32).unwrap();
    cache.set(5u32, &55).unwrap();
    assert_eq!(items.next().unwrap().unwrap(), (5, 55));
    assert!(items.next().is_none() && items.next_back().is_none());
    assert_eq!(keys.by_ref().count(), 2);
    assert!(keys.next_back().is_none());
}

#[test]
fn damage_is_found_in_the_piece_that_has_it() {
    let cache = Scratch::new();
    let value = bytes(10 * BLOCK + 5, 9);
    write(&cache, "k", &value, NONE);
    let path = files(cache.dir.path()).pop().unwrap();
    let whole = std::fs::read(&path).unwrap();
    let damage = |at: usize| {
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        std::fs::write(&path, damaged).unwrap();
    };
    for block in 0..11 {
        damage(block * BLOCK);
        let mut reader = cache.reader("k").unwrap().unwrap();
        for other in 0..11 {
            reader.seek(SeekFrom::Start((other * BLOCK) as u64)).unwrap();
            let mut some = [0; 5];
            let read = reader.read_exact(&mut some);
            assert_eq!(read.is_err(), other == block, "block {other} with block {block} damaged");
            assert!(read.is_err() || some == value[other * BLOCK..][..5]);
        }
        assert!(cache.get_bytes("k").unwrap_err().is_corrupt());
        assert!(!cache.check().unwrap().is_clean());
    }
    for at in value.len()..whole.len() {
        damage(at);
        assert!(cache.reader("k").unwrap_err().is_corrupt(), "byte {at}");
    }
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert!(cache.reader("k").unwrap_err().is_corrupt());
    cache.set_bytes("plain", &value).unwrap();
    let path = files(cache.dir.path()).into_iter().find(|other| *other != path).unwrap();
    std::fs::write(&path, bytes(value.len(), 1)).unwrap();
    assert!(cache.reader("plain").unwrap_err().is_corrupt());
}

#[test]
fn a_writer_that_is_dropped_leaves_nothing() {
    let cache = Scratch::new();
    write(&cache, "k", &bytes(1 << 20, 1), NONE);
    let (volume, before) = (cache.volume(), files(cache.dir.path()));
    let mut writer = cache.writer("k", NONE).unwrap();
    writer.write_all(&bytes(5 << 20, 2)).unwrap();
    assert_eq!(files(cache.dir.path()).len(), before.len() + 1);
    assert_holds(&cache, "k", &bytes(1 << 20, 1));
    drop(writer);
    assert_eq!((cache.volume(), files(cache.dir.path())), (volume, before));
    // What it had set aside is free again: nearly all of the limit can be written.
    write(&cache, "large", &bytes(54 << 20, 4), NONE);
    assert!(cache.volume() <= 64 << 20);
}

#[test]
fn what_does_not_fit_is_refused_and_the_key_is_as_it_was() {
    let cache = Scratch::with_limit(4 << 20);
    cache.update_settings(|settings| settings.eviction = Eviction::None).unwrap();
    cache.set_bytes("k", b"before").unwrap();
    let endless = || io::repeat(7);
    assert!(matches!(cache.set_reader("k", endless(), NONE), Err(Error::ValueTooLarge { .. })));
    write(&cache, "half", &bytes(2 << 20, 1), NONE);
    assert!(cache.set_reader("k", endless().take(3 << 20), NONE).unwrap_err().is_full());
    struct Broken(u64);
    impl Read for Broken {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or(io::ErrorKind::ConnectionReset)?;
            to.fill(1);
            Ok(to.len())
        }
    }
    let broken = cache.set_reader("k", Broken(8), NONE).unwrap_err();
    assert!(matches!(&broken, Error::Io(failure) if failure.source.kind() == io::ErrorKind::ConnectionReset));
    assert!(matches!(
        cache.set_reader("k", &b""[..], SetOptions::new().tag("t".repeat(2000))),
        Err(Error::TagTooLarge { .. })
    ));
    assert_eq!(cache.get_bytes("k").unwrap().as_deref(), Some(&b"before"[..]));
    assert_eq!(files(cache.dir.path()).len(), 1);
    let mut writer = cache.writer("k", NONE).unwrap();
    let mut failed = 0;
    for _ in 0..8 {
        failed += usize::from(writer.write_all(&[7; 1 << 20]).is_err());
    }
    assert!(failed > 0);
    assert!(matches!(writer.commit(), Err(Error::Io(_))), "of a value that was written in part nothing is stored");
    assert_eq!(cache.get_bytes("k").unwrap().as_deref(), Some(&b"before"[..]));
    let reader = Cache::builder(&cache.dir).read_only(true).open().unwrap();
    assert!(read_all(reader.reader("half").unwrap().unwrap()) == bytes(2 << 20, 1));
    assert!(matches!(reader.set_reader("k", endless().take(1 << 20), NONE), Err(Error::ReadOnly)));
    cache.set("number", &7).unwrap();
    assert!(cache.reader("number").unwrap_err().is_type());
    assert!(cache.reader("absent").unwrap().is_none());
}

/// A key that is there keeps its place in the order of insertion; one that was cleared, evicted or removed begins anew.
#[test]
fn the_order_of_insertion_inside_and_after() {
    let cache = Scratch::new();
    let order = |cache: &Cache| -> Vec<String> {
        cache.iter_inserted::<String, i64>().unwrap().map(|pair| pair.unwrap().0).collect()
    };
    cache.set_many_with([("a", 1), ("b", 1)], SetOptions::new().tag("t")).unwrap();
    cache.set_many([("c", 1), ("d", 1)]).unwrap();
    let inside = cache
        .transact(|tx| {
            tx.set("d", &2)?;
            tx.set("e", &2)?;
            tx.delete("c")?;
            tx.set("f", &2)?;
            tx.set("c", &2)?;
            tx.set("b", &2)?;
            assert_eq!(order(tx), ["a", "b", "d", "e", "f", "c"]);
            assert_eq!(tx.peek_item::<String, i64>(End::Newest)?.unwrap().0, "c");
            tx.evict("t")?;
            tx.set("a", &3)?;
            assert_eq!(tx.keys_sorted::<String>()?.map(|key| key.unwrap()).collect::<String>(), "abcdef");
            Ok(order(tx))
        })
        .unwrap();
    assert_eq!(inside, ["b", "d", "e", "f", "c", "a"]);
    assert_eq!(order(&cache), inside);
    cache.assert_clean();
}

#[test]
fn what_is_staged_has_a_bound_and_the_call_that_passes_it_says_so() {
    let cache = Scratch::with_limit(4 << 20);
    let stored = cache
        .transact(|tx| {
            let mut stored = 0;
            loop {
                match tx.set_bytes(stored, &[7; 10_000]) {
                    Ok(()) => stored += 1,
                    Err(Error::TransactionTooLarge { limit, .. }) => {
                        assert_eq!(limit, 512 << 10);
                        return Ok(stored);
                    }
                    Err(error) => return Err(error),
                }
            }
        })
        .unwrap();
    assert!((40..=52).contains(&stored), "{stored}");
    assert_eq!(cache.len_live().unwrap(), stored as usize);
    // A counter that is counted up does not fill it.
    cache.transact(|tx| (0..50_000).try_for_each(|_| tx.incr("count", 1).map(drop))).unwrap();
    assert_eq!(cache.get::<i64>("count").unwrap(), Some(50_000));
    cache.assert_clean();
}

#[test]
fn check_reports_and_repair_leaves_a_sound_store_alone() {
    let cache = Scratch::new();
    let large = vec![1u8; 400_000];
    cache.set_many_with((0..1_000u32).map(|i| (i, i)), tagged("t")).unwrap();
    cache.set_bytes("large", &large).unwrap();
    cache.set_with("old", &1, expired()).unwrap();
    cache.delete_many(0..10u32).unwrap();
    let mut steps = Vec::new();
    let report = cache.check_with(|progress| steps.push(progress)).unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
    assert_eq!(report.items, 992);
    assert!(report.records >= 1_002 && report.segments >= 1 && report.bytes >= 400_000);
    assert!(!steps.is_empty() && steps.iter().all(|progress| progress.done <= progress.total));
    assert!(steps.is_sorted_by_key(|progress| progress.done));
    assert_eq!(cache.repair().unwrap(), report);
    assert_eq!(cache.len(), 992);
    assert!(cache.get_bytes("large").unwrap().unwrap() == large);
    cache.assert_clean();
}

#[test]
fn what_was_cleared_or_evicted_stays_away_after_reopening_and_rebuilding() {
    let Scratch { mut cache, dir } = Scratch::new();
    cache.set_many_with((0..500u32).map(|i| (i, i)), tagged("t")).unwrap();
    cache.clear().unwrap();
    cache.set_many_with((500..600u32).map(|i| (i, i)), tagged("t")).unwrap();
    cache.evict("t").unwrap();
    cache.set_with(600u32, &600, tagged("t")).unwrap();
    for _ in 0..2 {
        drop(cache);
        cache = crate::open(dir.path(), None);
        assert_eq!(sorted(cache.keys::<u32>()), [600]);
        assert_eq!((cache.len(), cache.keys_tagged::<u32>("t").unwrap().count()), (1, 1));
        assert!(cache.check().unwrap().is_clean());
        std::fs::remove_file(dir.path().join("state")).unwrap();
    }
}

/// All items are values with files of their own, and all were used just now: one goes all the same.
#[test]
fn something_goes_when_everything_was_used_just_now() {
    for policy in [Eviction::S3Fifo, Eviction::LeastRecentlyUsed, Eviction::LeastFrequentlyUsed] {
        let cache = Scratch::with_limit(2 << 20);
        cache.update_settings(|settings| settings.eviction = policy).unwrap();
        let value = vec![7u8; 100_000];
        for i in 0..60u32 {
            cache.set_bytes(i, &value).unwrap();
            for _ in 0..3 {
                cache.keys::<u32>().for_each(|key| assert!(cache.get_bytes(key.unwrap()).unwrap().is_some()));
            }
        }
        assert!((8..=19).contains(&cache.len()), "{policy:?}: {} items", cache.len());
        cache.assert_clean();
    }
}

#[test]
fn items_of_a_cache_within_make_room_as_those_around_do() {
    let cache = Scratch::with_limit(2 << 20);
    let within = cache.cache("within").unwrap();
    for n in 0..20_000u32 {
        within.set_bytes_with(n, &[7; 500], SetOptions::new().tag("all")).unwrap();
    }
    assert!(cache.volume() <= 2 << 20 && within.len() < 5_000, "{} items", within.len());
    assert_eq!((cache.len(), within.evict("all").unwrap() > 100, within.len()), (0, true, 0));
    cache.set_bytes(1, &[1; 500]).unwrap();
    assert_eq!((within.clear().unwrap(), cache.len()), (0, 1));
    assert!(cache.check().unwrap().is_clean());
}

#[test]
fn peek_item_shows_both_ends() {
    let cache = Scratch::new();
    assert_eq!(cache.peek_item::<String, i32>(End::Oldest).unwrap(), None);
    assert_eq!(cache.peek_item::<String, i32>(End::Newest).unwrap(), None);
    cache.set_with("gone", &0, expired()).unwrap();
    assert_eq!(cache.peek_item::<String, i32>(End::Oldest).unwrap(), None);
    cache.set("a", &1).unwrap();
    cache.set("b", &2).unwrap();
    cache.set_with("gone too", &0, expired()).unwrap();
    assert_eq!(cache.peek_item(End::Oldest).unwrap(), Some(("a".to_string(), 1)));
    assert_eq!(cache.peek_item(End::Newest).unwrap(), Some(("b".to_string(), 2)));
    assert!(cache.peek_item::<i32, i32>(End::Newest).unwrap_err().is_type());
    assert_eq!(cache.len(), 4);
}
