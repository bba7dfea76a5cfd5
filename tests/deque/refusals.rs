//! What is refused, and leaves the queue as it was.

use larder::{Cache, ConfigProblem, Deque, Error, MAX_TAG_BYTES};

#[test]
fn places_beyond_the_ends_are_nowhere() {
    let directory = tempfile::tempdir().unwrap();
    let deque = Deque::<u8>::open(&directory).unwrap();
    deque.rotate_left(3).unwrap();
    deque.reverse().unwrap();
    deque.truncate(3).unwrap();
    deque.extend([1, 2]).unwrap();
    for beyond in [2, 3, usize::MAX] {
        assert_eq!((deque.get(beyond).unwrap(), deque.set(beyond, &9).unwrap()), (None, false));
        assert_eq!(deque.remove(beyond).unwrap(), None);
        deque.truncate(beyond).unwrap();
    }
    deque.rotate_right(usize::MAX).unwrap();
    assert_eq!(deque.iter().collect::<larder::Result<Vec<u8>>>().unwrap(), [2, 1]);
}

#[test]
fn an_element_of_another_type_is_refused_and_stays() {
    let directory = tempfile::tempdir().unwrap();
    let words = Deque::<String>::open(&directory).unwrap();
    words.push_back("word").unwrap();
    let numbers = Deque::<u32>::open(&directory).unwrap();
    assert!(numbers.pop_front().unwrap_err().is_type());
    assert!(numbers.iter().next().unwrap().unwrap_err().is_type());
    assert!(numbers.lease_front(std::time::Duration::ZERO).unwrap_err().is_type());
    assert_eq!(words.pop_front().unwrap().as_deref(), Some("word"));
}

#[test]
fn another_kind_of_store_and_settings_that_make_no_sense_are_refused() {
    let problem = |error: Error| match error {
        Error::Config(problem) => problem,
        other => panic!("{other:?}"),
    };
    let (queue, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let deque = Deque::<u8>::open(&queue).unwrap();
    Cache::open(&cache).unwrap();
    assert!(matches!(problem(Cache::open(&queue).unwrap_err()), ConfigProblem::OtherKind));
    assert!(matches!(problem(Deque::<u8>::open(&cache).unwrap_err()), ConfigProblem::OtherKind));
    assert!(matches!(problem(deque.set_maxlen(Some(0)).unwrap_err()), ConfigProblem::MaxlenZero));
    let none = Deque::<u8>::builder(queue.path().join("none")).read_only(true).open();
    assert!(matches!(problem(none.unwrap_err()), ConfigProblem::NothingToRead));
    let cache = Cache::open(&cache).unwrap();
    assert!(matches!(problem(cache.deque::<u8>("zero\0byte").unwrap_err()), ConfigProblem::Name));
    let long = "x".repeat(MAX_TAG_BYTES + 1);
    assert!(matches!(cache.deque::<u8>(&long), Err(Error::TagTooLarge { .. })));
    let reader = Cache::builder(cache.directory()).read_only(true).open().unwrap();
    assert!(matches!(problem(reader.deque::<u8>("absent").unwrap_err()), ConfigProblem::NothingToRead));
}

#[test]
fn a_queue_that_is_full_says_so_and_keeps_what_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let deque = Deque::<Vec<u8>>::builder(&directory).size_limit(2 << 20).open().unwrap();
    let value = vec![7u8; 5000];
    let mut pushed = 0;
    let error = loop {
        match deque.push_back(&value) {
            Ok(()) => pushed += 1,
            Err(error) => break error,
        }
    };
    assert!(error.is_full() && pushed > 200, "{pushed}: {error:?}");
    assert_eq!(deque.len(), pushed);
    assert!(deque.volume() <= 2 << 20);
    for _ in 0..pushed {
        assert_eq!(deque.pop_front().unwrap().as_ref(), Some(&value));
    }
    deque.push_back(&value).unwrap();
    assert!(deque.check().unwrap().is_clean());
}

#[test]
fn the_cache_around_a_queue_does_not_see_it() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::builder(&directory).size_limit(2 << 20).open().unwrap();
    let deque = cache.deque::<u32>("jobs").unwrap();
    deque.extend(0..100).unwrap();
    cache.set("item", &1).unwrap();
    assert_eq!((cache.len(), cache.keys::<String>().count(), cache.len_live().unwrap()), (1, 1, 1));
    assert_eq!((cache.clear().unwrap(), cache.len(), deque.len()), (1, 0, 100));
    // What fills the cache does not push the queue out.
    for i in 0..4000u32 {
        cache.set_bytes(i, &[1; 1000]).unwrap();
    }
    assert_eq!(deque.iter().collect::<larder::Result<Vec<u32>>>().unwrap(), (0..100).collect::<Vec<_>>());
    // Room is made before a transaction begins; within it nothing goes.
    let (items, cleared) = cache.transact(|tx| Ok::<_, larder::Error>((tx.len() as u64, tx.clear()?))).unwrap();
    assert_eq!(cleared, items);
    assert_eq!((cache.len(), deque.len()), (0, 100));
    assert!(cache.check().unwrap().is_clean());
}

/// Two faults: a table was taken for mostly dead while everything alive in it was in a queue, and was never doubled; and a batch
/// of many keys came to a table that had no buckets left for chains, as those that were long once keep theirs.
#[test]
fn a_queue_that_fills_and_empties_is_not_full_for_want_of_buckets() {
    let directory = tempfile::tempdir().unwrap();
    let deque = Deque::<u64>::builder(&directory).size_limit(64 << 20).open().unwrap();
    for _ in 0..3 {
        deque.extend(0..20_000).unwrap();
        deque.truncate(0).unwrap();
    }
    for element in 0..20_000 {
        deque.push_back(&element).unwrap();
    }
    assert_eq!((deque.len(), deque.get(12_345).unwrap()), (20_000, Some(12_345)));
    assert!(deque.check().unwrap().is_clean());
}

#[test]
fn long_elements_are_put_in_by_as_many_commits_as_they_need() {
    let dir = tempfile::tempdir().unwrap();
    let deque = Deque::<String>::builder(&dir).size_limit(8 << 20).open().unwrap();
    let element = |n: usize| n.to_string().repeat(5_000);
    deque.extend((0..200).map(element)).unwrap();
    deque.extend_front((200..210).map(element)).unwrap();
    let expected: Vec<String> = (200..210).rev().chain(0..200).map(element).collect();
    assert_eq!(deque.iter().collect::<larder::Result<Vec<_>>>().unwrap(), expected);
    // One alone is still too long.
    let refused = deque.extend(["x".into(), "y".repeat(7 << 20)]);
    assert!(
        matches!(refused, Err(Error::ValueTooLarge { .. } | Error::TransactionTooLarge { .. } | Error::Full)),
        "{refused:?}"
    );
}
