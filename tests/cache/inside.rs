//! What is done inside a transaction beside staging: names are made, room is made for them, and other stores are used.
use std::cell::RefCell;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use larder::{Cache, Error, Eviction, SetOptions};

use super::scratch::Scratch;

/// A store, and a copy of its directory: another store, with the same id.
fn with_copy() -> (tempfile::TempDir, Cache, Cache) {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    drop(Cache::open(&first).unwrap());
    std::fs::create_dir(&second).unwrap();
    for entry in std::fs::read_dir(&first).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), second.join(entry.file_name())).unwrap();
        }
    }
    let open = |path: &Path| Cache::builder(path).lock_timeout(Duration::from_millis(100)).open().unwrap();
    let (cache, copy) = (open(&first), open(&second));
    (dir, cache, copy)
}

#[test]
fn a_copy_of_a_store_is_locked_for_itself() {
    let (_dir, cache, copy) = with_copy();
    let (started, has_started) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let made = std::thread::scope(|scope| {
        let there = copy.clone();
        scope.spawn(move || {
            there.transact(|_| {
                started.send(()).unwrap();
                may_go_on.recv().unwrap();
                Ok(())
            })
        });
        has_started.recv().unwrap();
        let made = cache.transact(|_| Ok(copy.index::<String, u32>("made").map(drop)));
        go_on.send(()).unwrap();
        made
    });
    assert!(made.unwrap().is_err_and(|error| error.is_timeout()), "it was made without the lock");
}

#[test]
fn a_transaction_on_a_copy_of_the_store_is_no_nesting() {
    let (_dir, cache, copy) = with_copy();
    cache.transact(|_| copy.transact(|tx| tx.set("k", &1))).unwrap();
    assert_eq!((copy.get::<i32>("k").unwrap(), cache.get::<i32>("k").unwrap()), (Some(1), None));
}

#[test]
fn a_thread_that_is_given_the_transaction_makes_names_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::builder(&dir).lock_timeout(Duration::from_millis(100)).open().unwrap();
    cache
        .transact(|tx| {
            std::thread::scope(|scope| {
                scope.spawn(|| tx.set("k", &1)).join().unwrap()?;
                scope.spawn(|| tx.index::<String, u32>("new")?.insert("a", &2).map(drop)).join().unwrap()?;
                scope.spawn(|| tx.cache("within")?.set_with("b", &3, SetOptions::new().tag("t"))).join().unwrap()
            })
        })
        .unwrap();
    assert_eq!(cache.index::<String, u32>("new").unwrap().get("a").unwrap(), Some(2));
    assert_eq!(cache.cache("within").unwrap().evict("t").unwrap(), 1);
}

/// In a cache that evicts, names get their room inside as they do outside.
#[test]
fn a_name_that_is_made_inside_has_room_made_for_it() {
    for eviction in [Eviction::S3Fifo, Eviction::LeastRecentlyUsed] {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::builder(&dir).size_limit(2 << 20).eviction(eviction).background(false).open().unwrap();
        for key in 0..2_000_u32 {
            cache.set_bytes(key, &[1; 2_000]).unwrap();
        }
        let within = |tx: &Cache| {
            let within = tx.cache("within")?;
            (0..1_000_u32).try_for_each(|i| within.set_with(i % 10, &i, SetOptions::new().tag(format!("tag {i}"))))
        };
        cache.transact(|tx| within(tx)).unwrap();
        assert_eq!(cache.cache("within").unwrap().len(), 10);
    }
}

#[test]
fn what_was_made_inside_makes_no_names_and_changes_no_setting_after_the_end() {
    let cache = Scratch::new();
    cache.deque::<u32>("d").unwrap().extend(0..10).unwrap();
    cache.set_with("old", &1, SetOptions::new().expire(Duration::ZERO)).unwrap();
    let mut kept = None;
    cache
        .transact(|tx| {
            let deque = tx.deque::<u32>("d")?;
            assert!(matches!(deque.set_maxlen(Some(3)), Err(Error::InTransaction)));
            assert!(matches!(tx.cull(), Err(Error::InTransaction)));
            kept = Some((Cache::clone(tx), deque));
            Ok(())
        })
        .unwrap();
    let (kept, deque) = kept.unwrap();
    let answers = [
        ("index", kept.index::<u32, u32>("new").map(drop)),
        ("set_maxlen", deque.set_maxlen(Some(3))),
        ("cull", kept.cull().map(drop)),
        ("reset_stats", kept.reset_stats().map(drop)),
        ("cache", kept.cache("within").map(drop)),
    ];
    for (what, answer) in answers {
        assert!(matches!(answer, Err(Error::InTransaction)), "{what}: {answer:?}");
    }
    let deque = cache.deque::<u32>("d").unwrap();
    assert_eq!((deque.len(), deque.maxlen().unwrap()), (10, None));
}

/// Who decodes a value may ask for others; outside, that is answered.
#[test]
fn decoding_that_reads_the_transaction_does_not_wait_for_itself() {
    thread_local! { static TX: RefCell<Option<Cache>> = const { RefCell::new(None) }; }
    #[derive(serde::Serialize)]
    struct Looks(u32);
    impl<'de> serde::Deserialize<'de> for Looks {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Looks, D::Error> {
            let number = u32::deserialize(from)?;
            let there = TX.with(|tx| tx.borrow().as_ref().map(|tx| tx.get::<u32>("k")));
            assert!(there.is_none_or(|there| matches!(there, Err(Error::InTransaction))));
            Ok(Looks(number))
        }
    }
    let cache = Scratch::new();
    cache.set("k", &1_u32).unwrap();
    cache.index::<String, Looks>("i").unwrap().insert("a", &Looks(7)).unwrap();
    cache.deque::<Looks>("d").unwrap().push_back(&Looks(8)).unwrap();
    let popped = cache.transact(|tx| {
        TX.set(Some(Cache::clone(tx)));
        let first = tx.index::<String, Looks>("i")?.pop_first()?;
        let front = tx.deque::<Looks>("d")?.pop_front()?;
        Ok((first.map(|(_, looks)| looks.0), front.map(|looks| looks.0)))
    });
    TX.set(None);
    assert_eq!(popped.unwrap(), (Some(7), Some(8)));
    assert_eq!(cache.transact(|tx| tx.get::<u32>("k")).unwrap(), Some(1));
}

/// What is in namespaces stays, in its order.
#[test]
fn a_clear_inside_keeps_the_order_of_insertion_of_what_stays() {
    let act = |cache: &Cache| {
        let index = cache.index::<String, u32>("i")?;
        let within = cache.cache("c")?;
        for (key, value) in [("a", 1), ("b", 1), ("a", 2)] {
            index.insert(key, &value)?;
            within.set(key, &value)?;
        }
        cache.clear()?;
        let keys = |items: Vec<(String, u32)>| items.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        Ok::<_, Error>((
            keys(index.iter_inserted()?.collect::<Result<_, _>>()?),
            keys(within.iter_inserted()?.collect::<Result<_, _>>()?),
        ))
    };
    let outside = act(&Scratch::new()).unwrap();
    assert_eq!(outside.0, ["a", "b"]);
    let cache = Scratch::new();
    assert_eq!(cache.transact(|tx| act(tx)).unwrap(), outside);
    let index = cache.index::<String, u32>("i").unwrap();
    let after: Vec<String> = index.iter_inserted().unwrap().map(|item| item.unwrap().0).collect();
    assert_eq!(after, outside.0);
}

#[test]
fn what_expired_inside_and_is_stored_again_takes_a_new_place() {
    let act = |cache: &Cache| {
        cache.delete("a")?;
        cache.set_with("a", &1, SetOptions::new().expire(Duration::ZERO))?;
        cache.set("b", &1)?;
        assert!(!cache.contains("a")?);
        cache.set("a", &2)?;
        cache.iter_inserted::<String, i64>()?.map(|item| item.map(|(key, _)| key)).collect::<Result<Vec<_>, _>>()
    };
    let (outside, inside) = (Scratch::new(), Scratch::new());
    for cache in [&outside, &inside] {
        cache.set("a", &0).unwrap();
    }
    let expected = act(&outside).unwrap();
    assert_eq!(expected, ["b", "a"]);
    assert_eq!(inside.transact(|tx| act(tx)).unwrap(), expected);
}

#[test]
fn expire_inside_counts_as_outside() {
    let act = |cache: &Cache, how: u32| {
        match how {
            0 => drop(cache.clear()?),
            1 => cache.set("k", &2)?,
            2 => drop(cache.evict("t")?),
            3 => drop(cache.delete("k")?),
            _ => {}
        }
        cache.expire()
    };
    for how in 0..5 {
        let filled = || {
            let cache = Scratch::new();
            cache.set_with("k", &1, SetOptions::new().tag("t").expire(Duration::ZERO)).unwrap();
            cache
        };
        let outside = act(&filled(), how).unwrap();
        let cache = filled();
        assert_eq!(cache.transact(|tx| act(tx, how)).unwrap(), outside, "case {how}");
        cache.assert_clean();
    }
}

/// What was decoded is removed only if it is still what is stored.
#[test]
fn a_pop_inside_removes_what_it_gives() {
    thread_local! { static SET: RefCell<Option<Cache>> = const { RefCell::new(None) }; }
    struct Number(u32);
    impl<'de> serde::Deserialize<'de> for Number {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Number, D::Error> {
            let number = u32::deserialize(from)?;
            // What another thread may do that has the transaction too.
            if let Some(cache) = SET.take() {
                cache.set("k", &(number + 1)).unwrap();
            }
            Ok(Number(number))
        }
    }
    let act = |cache: &Cache| {
        cache.set("k", &1_u32)?;
        SET.set(Some(cache.clone()));
        Ok::<_, Error>((cache.pop::<Number>("k")?.map(|number| number.0), cache.get::<u32>("k")?))
    };
    let outside = act(&Scratch::new()).unwrap();
    assert_eq!(outside, (Some(2), None));
    assert_eq!(Scratch::new().transact(|tx| act(tx)).unwrap(), outside);
}

/// To ask whether something is there keeps nothing from eviction.
#[test]
fn a_look_inside_is_no_use() {
    for policy in [Eviction::S3Fifo, Eviction::LeastRecentlyUsed, Eviction::LeastFrequentlyUsed] {
        let is_there_after = |look: &dyn Fn(&Cache) -> bool| {
            let dir = tempfile::tempdir().unwrap();
            let cache = Cache::builder(&dir).size_limit(2 << 20).eviction(policy).background(false).open().unwrap();
            (0..20_u32).for_each(|i| cache.set(("looked at", i), &vec![1_u8; 500]).unwrap());
            for number in 0..12_000_u32 {
                cache.set(number, &vec![1_u8; 500]).unwrap();
                if number % 50 == 0 {
                    look(&cache);
                }
            }
            look(&cache)
        };
        let is_any_there = |cache: &Cache| (0..20_u32).any(|i| cache.contains(("looked at", i)).unwrap());
        let outside = is_there_after(&is_any_there);
        let inside = is_there_after(&|cache| cache.transact(|tx| Ok(is_any_there(tx))).unwrap());
        assert_eq!((inside, outside), (false, false), "{policy:?}");
    }
}

/// An element was lost with the file of its value: who pops takes its place out, inside as outside.
#[test]
fn a_pop_inside_that_finds_lost_elements_alone_takes_them_out() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Cache::builder(&dir).size_limit(64 << 20).open().unwrap();
    let cache = open();
    let deque = cache.deque::<Vec<u8>>("d").unwrap();
    for len in [1, 300_000, 1] {
        deque.push_back(&vec![7; len]).unwrap();
    }
    drop((deque, cache));
    for entry in std::fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("value-") || name == "state" {
            std::fs::remove_file(path).unwrap();
        }
    }
    let cache = open();
    let deque = cache.deque::<Vec<u8>>("d").unwrap();
    assert!(deque.pop_front().unwrap().is_some() && deque.pop_back().unwrap().is_some());
    assert_eq!(deque.len(), 1);
    let popped = cache.transact(|tx| {
        let deque = tx.deque::<Vec<u8>>("d")?;
        Ok((deque.pop_front()?, deque.len()))
    });
    assert_eq!((popped.unwrap(), deque.len()), ((None, 0), 0));
}

/// Names that are made through another handle of the store need room, for which the oldest goes, but for what is touched.
#[test]
fn names_made_through_another_handle_take_nothing_that_is_touched() {
    for eviction in [Eviction::LeastRecentlyStored, Eviction::S3Fifo, Eviction::LeastRecentlyUsed] {
        let dir = tempfile::tempdir().unwrap();
        let open = || Cache::builder(&dir).size_limit(2 << 20).eviction(eviction).background(false).open().unwrap();
        let (one, other) = (open(), open());
        let large = "v".repeat(100_000);
        one.set("touched", &large).unwrap();
        let fill = (0..2_000_u32).take_while(|_| one.volume() < (2 << 20) - (300 << 10));
        fill.for_each(|key| one.set_bytes(key, &[1; 2_000]).unwrap());
        let made = one.transact(|tx| {
            assert!(tx.touch("touched", None)?);
            // Names go with nothing: in the end there is no room for another one.
            Ok((0..1_000_u32).take_while(|name| other.index::<u32, u32>(&format!("{name:0200}")).is_ok()).count())
        });
        assert!(made.unwrap() > 300);
        assert!(one.get::<String>("touched").unwrap() == Some(large), "{eviction:?}");
        assert!(one.check().unwrap().is_clean(), "{eviction:?}");
    }
}
