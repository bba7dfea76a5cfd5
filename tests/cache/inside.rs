//! What is done inside a transaction beside staging: names are made, room is made for them, and other stores are used.
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
