//! What is refused, and leaves the index as it was.

use larder::{Cache, ConfigProblem, Deque, Error, Index};

#[test]
fn bounds_that_are_upside_down_have_nothing_between_them() {
    let directory = tempfile::tempdir().unwrap();
    let index = Index::<u32, u32>::open(&directory).unwrap();
    index.extend((0..10).map(|i| (i, i))).unwrap();
    for (low, high) in [(7, 3), (5, 5), (100, 0)] {
        assert_eq!(index.range(low..high).count(), 0);
        assert_eq!(index.range(low..high).rev().count(), 0);
    }
    assert_eq!((index.range(5..=5).count(), index.range(..).count()), (1, 10));
    for (low, high) in [(8, 3), (1, 0)] {
        assert_eq!(index.range(low..=high).count(), 0);
    }
}

#[test]
fn keys_and_values_of_other_types_are_refused_and_stay() {
    let directory = tempfile::tempdir().unwrap();
    let words = Index::<String, String>::open(&directory).unwrap();
    words.insert("key", "value").unwrap();
    let numbers = Index::<String, u32>::open(&directory).unwrap();
    assert!(numbers.get("key").unwrap_err().is_type());
    assert!(numbers.remove("key").unwrap_err().is_type());
    assert!(numbers.pop_first().unwrap_err().is_type());
    let other_keys = Index::<u32, String>::open(&directory).unwrap();
    assert!(other_keys.iter().next().unwrap().unwrap_err().is_type());
    assert!(other_keys.pop_last().unwrap_err().is_type());
    assert_eq!(words.pop_first().unwrap(), Some(("key".into(), "value".into())));
}

#[test]
fn another_kind_of_store_is_refused() {
    let (index, deque) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Index::<u8, u8>::open(&index).unwrap();
    Deque::<u8>::open(&deque).unwrap();
    let is_other = |error: Error| matches!(error, Error::Config(ConfigProblem::OtherKind));
    assert!(is_other(Deque::<u8>::open(&index).unwrap_err()));
    assert!(is_other(Index::<u8, u8>::open(&deque).unwrap_err()));
    assert!(is_other(Cache::open(&index).unwrap_err()));
    let index = Index::<String, u8>::open(index).unwrap();
    let key = "k".repeat(larder::MAX_KEY_BYTES - 2);
    assert!(matches!(index.insert(&key, &1), Err(Error::KeyTooLarge { .. })));
    assert!(index.is_empty());
}

#[test]
fn an_index_that_is_full_says_so_and_gives_space_back() {
    let directory = tempfile::tempdir().unwrap();
    let index = Index::<u32, Vec<u8>>::builder(&directory).size_limit(2 << 20).open().unwrap();
    let value = vec![7u8; 300];
    let mut put = 0;
    let error = loop {
        match index.insert(put, &value) {
            Ok(_) => put += 1,
            Err(error) => break error,
        }
    };
    assert!(error.is_full() && put > 1000, "{put}: {error:?}");
    assert_eq!((index.len(), index.keys().count()), (put as usize, put as usize));
    assert!(index.volume() <= 2 << 20);
    for key in 0..put {
        assert_eq!(index.remove(key).unwrap().as_ref(), Some(&value));
    }
    index.insert(0, &value).unwrap();
    assert!(index.check().unwrap().is_clean());
}

#[test]
fn long_values_are_put_in_by_as_many_commits_as_they_need() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::<usize, String>::builder(&dir).size_limit(8 << 20).open().unwrap();
    let pairs: Vec<(usize, String)> = (0..200).map(|n| (n, n.to_string().repeat(5_000))).collect();
    index.extend(pairs.clone()).unwrap();
    assert_eq!(index.iter().collect::<larder::Result<Vec<_>>>().unwrap(), pairs);
}
