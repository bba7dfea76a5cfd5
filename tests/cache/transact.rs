//! Transactions: all or nothing, own changes visible, savepoints, and what is refused inside.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::time::Duration;

use larder::{AnyKey, Cache, Error, SetOptions};

use super::Scratch;

fn all(cache: &Cache) -> BTreeMap<String, i64> {
    cache.iter::<String, i64>().collect::<Result<_, _>>().unwrap()
}

fn seen(pairs: &[(&str, i64)]) -> BTreeMap<String, i64> {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value)).collect()
}

#[test]
fn a_key_that_is_put_twice_inside_keeps_the_place_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(&dir).unwrap();
    let order = |cache: &Cache| {
        let items = cache.iter_inserted::<String, u32>().unwrap();
        items.map(|item| item.unwrap()).map(|(key, value)| format!("{key}{value}")).collect::<Vec<_>>()
    };
    cache
        .transact(|tx| {
            for (key, value) in [("b", 1), ("a", 1), ("b", 2), ("c", 1), ("a", 2)] {
                tx.set(key, &value)?;
            }
            assert_eq!(order(tx), ["b2", "a2", "c1"]);
            let undone = tx.transact(|tx| {
                tx.set("b", &3)?;
                Err::<(), _>(larder::Error::aborted("no"))
            });
            assert!(undone.is_err());
            tx.delete("a")?;
            tx.set("a", &3)
        })
        .unwrap();
    assert_eq!(order(&cache), ["b2", "c1", "a3"]);
    cache
        .transact(|tx| {
            tx.clear()?;
            [("c", 1), ("b", 1), ("c", 2)].iter().try_for_each(|(key, value)| tx.set(*key, value))
        })
        .unwrap();
    assert_eq!(order(&cache), ["c2", "b1"]);
}

#[test]
fn changes_are_seen_inside_at_once_and_outside_after_the_end() {
    let cache = Scratch::new();
    cache.set_many([("a", 1), ("b", 2), ("c", 3)]).unwrap();
    let reader = cache.second();
    let answer = cache
        .transact(|tx| {
            tx.set("a", &10)?;
            assert!(tx.delete("b")?);
            assert!(!tx.delete("b")?);
            tx.set("d", &4)?;
            assert_eq!(tx.incr("c", 30)?, 33);
            assert!(tx.add("b", &20)?);
            assert!(!tx.add("a", &0)?);
            assert_eq!(tx.pop::<i64>("d")?, Some(4));
            assert!(tx.compare_and_set("c", Some(&33i64), Some(&34))?);
            assert!(!tx.compare_and_set("c", Some(&33i64), None)?);
            assert_eq!(tx.get_many::<i64>(["a", "b", "c", "d"])?, [Some(10), Some(20), Some(34), None]);
            assert_eq!(all(tx), seen(&[("a", 10), ("b", 20), ("c", 34)]));
            assert_eq!((tx.len(), tx.len_live()?), (3, 3));
            assert!(tx.contains("a")? && !tx.contains("d")?);
            assert_eq!(&*tx.get_ref("a")?.unwrap(), &*tx.get_ref("a")?.unwrap());
            assert_eq!(all(&reader), seen(&[("a", 1), ("b", 2), ("c", 3)]));
            assert_eq!((reader.len(), cache.get::<i64>("a")?), (3, Some(1)));
            Ok("done")
        })
        .unwrap();
    assert_eq!(answer, "done");
    for cache in [&*cache, &reader] {
        assert_eq!(all(cache), seen(&[("a", 10), ("b", 20), ("c", 34)]));
        assert_eq!(cache.len(), 3);
    }
    cache.assert_clean();
}

#[test]
fn an_error_or_a_panic_takes_everything_back() {
    let cache = Scratch::new();
    cache.set_with("a", &1, SetOptions::new().tag("t")).unwrap();
    cache.set("large", &vec![1u8; 600_000]).unwrap();
    let volume = cache.volume();
    let spoil = |tx: &larder::Transaction| -> larder::Result<()> {
        tx.set("a", &2)?;
        tx.set("b", &2)?;
        tx.set("large", &vec![2u8; 700_000])?;
        tx.evict("t")?;
        tx.set_with("n", &1, SetOptions::new().tag("new"))?;
        tx.clear()?;
        tx.set("c", &3)
    };
    let refused = cache.transact(|tx| {
        spoil(tx)?;
        Err::<(), _>(Error::aborted("no"))
    });
    assert!(refused.unwrap_err().is_aborted());
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        cache.transact(|tx| -> larder::Result<()> {
            spoil(tx)?;
            panic!("inside");
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(cache.len(), 2);
    assert_eq!(cache.entry::<i64>("a").unwrap().unwrap().tag.as_deref(), Some("t"));
    assert_eq!(cache.get::<Vec<u8>>("large").unwrap(), Some(vec![1u8; 600_000]));
    assert_eq!(cache.volume(), volume);
    cache.set("after", &1).unwrap();
    cache.assert_clean();
}

#[test]
fn a_nested_transaction_fails_alone() {
    let cache = Scratch::new();
    cache.set_with("t", &0, SetOptions::new().tag("tag")).unwrap();
    cache
        .transact(|tx| {
            tx.set("outer", &1)?;
            let inner = tx.transact(|tx| {
                tx.set("outer", &2)?;
                tx.set("inner", &2)?;
                tx.evict("tag")?;
                tx.transact(|tx| tx.set("innermost", &3))?;
                assert_eq!(all(tx), seen(&[("outer", 2), ("inner", 2), ("innermost", 3)]));
                tx.clear()?;
                assert!(all(tx).is_empty() && tx.is_empty());
                Err::<(), _>(Error::aborted("inner"))
            });
            assert!(inner.unwrap_err().is_aborted());
            assert_eq!(all(tx), seen(&[("outer", 1), ("t", 0)]));
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                tx.transact(|tx| -> larder::Result<()> {
                    tx.set("panic", &1)?;
                    panic!("inside the inner one");
                })
            }));
            assert!(panicked.is_err());
            tx.transact(|tx| tx.set("kept", &5))
        })
        .unwrap();
    assert_eq!(all(&cache), seen(&[("outer", 1), ("kept", 5), ("t", 0)]));
    cache.assert_clean();
}

#[test]
fn expiry_and_tags_inside() {
    let cache = Scratch::new();
    let hour = Duration::from_secs(3600);
    cache.set_with("old", &1, SetOptions::new().tag("t").expire(hour)).unwrap();
    cache.set_with("other", &1, SetOptions::new().tag("u")).unwrap();
    cache.set_with("passed", &1, SetOptions::new().expire(Duration::ZERO)).unwrap();
    cache
        .transact(|tx| {
            tx.set_with("new", &2, SetOptions::new().tag("fresh").expire(hour))?;
            tx.set_with("mine", &2, SetOptions::new().tag("t"))?;
            tx.set_with("gone", &2, SetOptions::new().expire(Duration::ZERO))?;
            assert_eq!(tx.get::<i64>("gone")?, None);
            assert_eq!(tx.entry::<i64>("new")?.unwrap().tag.as_deref(), Some("fresh"));
            assert!(tx.entry::<i64>("new")?.unwrap().expires_at.is_some());
            let mut tagged = tx.keys_tagged::<String>("t")?.collect::<Result<Vec<_>, _>>()?;
            tagged.sort();
            assert_eq!(tagged, ["mine", "old"]);
            assert_eq!(tx.evict("t")?, 2);
            assert_eq!(tx.evict("t")?, 0);
            assert_eq!(tx.evict("never used")?, 0);
            assert!(!tx.contains("old")? && !tx.contains("mine")?);
            tx.set_with("again", &3, SetOptions::new().tag("t"))?;
            tx.set("old", &4)?;
            assert!(tx.touch("new", None)?);
            assert_eq!(tx.expire()?, 2);
            assert_eq!(tx.keys_tagged::<String>("fresh")?.count(), 1);
            assert_eq!(tx.len(), 4);
            Ok(())
        })
        .unwrap();
    assert_eq!(all(&cache), seen(&[("again", 3), ("new", 2), ("old", 4), ("other", 1)]));
    assert_eq!(cache.len(), 4);
    assert_eq!(cache.entry::<i64>("new").unwrap().unwrap().expires_at, None);
    assert_eq!(cache.entry::<i64>("old").unwrap().unwrap().tag, None);
    assert_eq!(cache.evict("t").unwrap(), 1);
    assert_eq!(cache.evict("fresh").unwrap(), 1);
    cache.assert_clean();
}

#[test]
fn everything_can_be_cleared_and_stored_again_in_one() {
    for again in [0, 1, 300] {
        let cache = Scratch::new();
        cache.set_many_with((0..500).map(|i| (i, i)), SetOptions::new().tag("t")).unwrap();
        cache.set("large", &vec![1u8; 600_000]).unwrap();
        cache
            .transact(|tx| {
                tx.set(7, &70)?;
                assert_eq!(tx.clear()?, 501);
                assert!(tx.is_empty() && !tx.contains(7)?);
                for i in 0..again {
                    tx.set_with(i, &-i, SetOptions::new().tag("t"))?;
                }
                if again > 0 {
                    tx.set("large", &vec![2u8; 600_000])?;
                }
                Ok(())
            })
            .unwrap();
        let large = usize::from(again > 0);
        assert_eq!((cache.len(), cache.len_live().unwrap()), (again as usize + large, again as usize + large));
        cache.assert_clean();
        for i in 0..500 {
            assert_eq!(cache.get::<i32>(i).unwrap(), (i < again).then_some(-i));
        }
        assert_eq!(cache.get::<Vec<u8>>("large").unwrap().is_some(), again > 0);
        assert_eq!(cache.evict("t").unwrap(), again as u64);
        cache.assert_clean();
    }
}

#[test]
fn a_write_through_another_handle_inside_is_refused_and_never_a_deadlock() {
    let cache = Scratch::new();
    let second = cache.second();
    cache
        .transact(|tx| {
            tx.set("a", &1)?;
            for outside in [&*cache, &second] {
                assert!(matches!(outside.set("a", &2), Err(Error::InTransaction)));
                assert!(matches!(outside.incr("a", 2), Err(Error::InTransaction)));
                assert!(matches!(outside.set_bytes("large", &[0; 500_000]), Err(Error::InTransaction)));
                assert!(matches!(outside.transact(|_| Ok(())), Err(Error::InTransaction)));
                assert!(matches!(outside.clear(), Err(Error::InTransaction)));
                assert_eq!(outside.get::<i64>("a")?, None);
            }
            assert!(matches!(tx.sync(), Err(Error::InTransaction)));
            assert!(matches!(tx.check(), Err(Error::InTransaction)));
            assert!(matches!(tx.repair(), Err(Error::InTransaction)));
            assert!(matches!(tx.update_settings(|_| ()), Err(Error::InTransaction)));
            Ok(())
        })
        .unwrap();
    assert_eq!(all(&cache), seen(&[("a", 1)]));
    // A transaction on another cache is no nesting.
    let other = Scratch::new();
    cache.transact(|_| other.transact(|tx| tx.set("k", &1)).and(other.set("l", &1))).unwrap();
    assert_eq!(other.len(), 2);
}

#[test]
fn t3_what_was_made_inside_is_dead_after_the_end() {
    let cache = Scratch::new();
    let mut kept = Vec::new();
    let mut walk = None;
    for fails in [false, true] {
        let _ = cache.transact(|tx| {
            tx.set("a", &1)?;
            kept.push(Cache::clone(tx));
            walk = Some(tx.iter::<String, i64>());
            if fails { Err(Error::aborted("no")) } else { Ok(()) }
        });
    }
    for handle in kept {
        assert!(matches!(handle.set("b", &1), Err(Error::InTransaction)));
        assert!(matches!(handle.get::<i64>("a"), Err(Error::InTransaction)));
        assert!(matches!(handle.transact(|tx| tx.set("b", &1)), Err(Error::InTransaction)));
    }
    assert!(matches!(walk.unwrap().next(), Some(Err(Error::InTransaction))));
    assert_eq!(all(&cache), seen(&[("a", 1)]));
}

#[test]
fn writers_wait_for_it_and_readers_do_not() {
    let cache = Scratch::new();
    cache.set("k", &0).unwrap();
    let (started, has_started) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let inside = Cache::clone(&cache);
        scope.spawn(move || {
            inside
                .transact(|tx| {
                    tx.set("k", &1)?;
                    started.send(()).unwrap();
                    may_go_on.recv().unwrap();
                    Ok(())
                })
                .unwrap();
        });
        has_started.recv().unwrap();
        assert_eq!(cache.get::<i64>("k").unwrap(), Some(0));
        let short = Duration::from_millis(5);
        assert!(cache.transact_timeout(short, |_| Ok(())).unwrap_err().is_timeout());
        go_on.send(()).unwrap();
    });
    cache.transact_timeout(Duration::from_secs(10), |tx| tx.set("k", &2)).unwrap();
    assert_eq!(cache.get::<i64>("k").unwrap(), Some(2));
}

#[test]
fn large_values_inside_are_stored_whole_and_space_comes_back() {
    let cache = Scratch::new();
    let empty = cache.volume();
    let text = "x".repeat(700_000);
    for round in 0..3 {
        cache
            .transact(|tx| {
                tx.set("large", &text)?;
                assert_eq!(tx.get::<String>("large")?.as_deref(), Some(&*text));
                assert_eq!(tx.get_ref("large")?.unwrap().len(), text.len());
                assert!(tx.touch("large", Some(Duration::from_secs(1000)))?);
                tx.set("small", &round)
            })
            .unwrap();
        cache.transact(|tx| tx.touch("large", None).map(drop)).unwrap();
        assert_eq!(cache.get::<String>("large").unwrap().as_deref(), Some(&*text));
    }
    cache.transact(|tx| tx.delete("large").map(drop)).unwrap();
    // What has to wait for the disk before it goes is left to the thread.
    let begin = std::time::Instant::now();
    while cache.volume() >= empty + 1_400_000 {
        assert!(begin.elapsed() < Duration::from_secs(60), "the space does not come back");
        std::thread::yield_now();
    }
    cache.assert_clean();
}

#[test]
fn a_full_store_keeps_all_and_takes_transactions_that_free_space() {
    let cache = Scratch::with_limit(2 << 20);
    cache.update_settings(|settings| settings.eviction = larder::Eviction::None).unwrap();
    let stored =
        (0..).take_while(|i| cache.set_with(*i, &vec![1u8; 5_000], SetOptions::new().tag("t")).is_ok()).count();
    let refused = cache.transact(|tx| {
        tx.delete(0)?;
        (0..20).try_for_each(|i| tx.set(("more", i), &vec![2u8; 5_000]))
    });
    assert!(refused.unwrap_err().is_full());
    assert_eq!(cache.len_live().unwrap(), stored);
    cache.transact(|tx| tx.delete(0).map(drop)).unwrap();
    assert_eq!(cache.len(), stored - 1);
    cache
        .transact(|tx| {
            tx.evict("t")?;
            tx.set("last", &1)
        })
        .unwrap();
    assert_eq!(cache.keys::<AnyKey>().count(), 1);
    cache.assert_clean();
}

/// What a sync vouched for goes only once what took it out of use is durable: room is made before a transaction has the lock,
/// and where that is not enough it waits for the disk.
#[test]
fn a_full_cache_that_was_synced_evicts_for_transactions_too() {
    let dir = tempfile::tempdir().unwrap();
    for background in [false, true] {
        let cache = Cache::builder(dir.path()).size_limit(2 << 20).background(background).open().unwrap();
        let value = [7; 6_000];
        for key in 0..500_u64 {
            cache.set_bytes(key, &value).unwrap();
        }
        cache.sync().unwrap();
        for first in (1_000..1_400_u64).step_by(8) {
            // One of as many bytes as a segment is long, and one of a few.
            let stored =
                cache.transact(|tx| (first..first + 8).try_for_each(|key| tx.set_bytes(key, &value).map(drop)));
            stored.unwrap();
            cache.transact(|tx| tx.set_bytes(first, &value)).unwrap();
            assert!((first..first + 8).all(|key| cache.get_bytes(key).unwrap().is_some()));
        }
    }
}

#[test]
fn a_read_only_handle_has_no_transactions() {
    let cache = Scratch::new();
    let reader = crate::open_to_read(cache.directory());
    assert!(matches!(reader.transact(|tx| tx.set("k", &1)), Err(Error::ReadOnly)));
}

#[test]
fn what_was_counted_inside_is_a_number_outside() {
    let cache = Scratch::new();
    cache.set("old", &7).unwrap();
    let sums = cache.transact(|tx| Ok((tx.incr("old", 1)?, tx.incr("new", 3)?, tx.get::<i64>("new")?))).unwrap();
    assert_eq!(sums, (8, 3, Some(3)));
    assert_eq!(cache.get_many::<i64>(["old", "new"]).unwrap(), [Some(8), Some(3)]);
    assert_eq!(cache.incr("new", 1).unwrap(), 4);
}

#[test]
fn what_had_expired_is_gone_when_it_was_stored_and_removed_inside() {
    let cache = Scratch::new();
    cache.set_with("k", &1, SetOptions::new().tag("t").expire(Duration::ZERO)).unwrap();
    cache
        .transact(|tx| {
            tx.set("k", &2)?;
            tx.delete("k")?;
            assert_eq!(tx.len(), 0);
            Ok(())
        })
        .unwrap();
    assert_eq!((cache.len(), cache.evict("t").unwrap()), (0, 0));
    cache.assert_clean();
}
