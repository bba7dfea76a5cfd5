//! What may be asked with, and what it finds.

use larder::{Error, Index, QueueSide, Result};

fn open<K, V>() -> (tempfile::TempDir, Index<K, V>) {
    let directory = tempfile::tempdir().unwrap();
    let index = Index::open(&directory).unwrap();
    (directory, index)
}

#[test]
fn a_key_is_found_by_all_that_encodes_as_it_does() {
    let (_directory, index) = open::<String, u8>();
    index.insert("k", &1).unwrap();
    assert_eq!((index.get("k").unwrap(), index.get("k".to_string()).unwrap()), (Some(1), Some(1)));
    let owned = String::from("k");
    assert_eq!((index.get(&owned).unwrap(), index.get('k').unwrap()), (Some(1), Some(1)));
    let (_directory, index) = open::<(String, Option<u64>), u8>();
    index.insert(("k", Some(7u8)), &2).unwrap();
    index.insert(("k", None::<u64>), &3).unwrap();
    assert_eq!(index.get(("k", Some(7i32))).unwrap(), Some(2));
    assert_eq!(index.get(&(String::from("k"), None::<u64>)).unwrap(), Some(3));
    let (_directory, index) = open::<Vec<u8>, u8>();
    index.insert(b"bytes", &4).unwrap();
    assert_eq!((index.get(&b"bytes"[..]).unwrap(), index.get(vec![7]).unwrap()), (Some(4), None));
}

#[test]
fn prefixes_take_what_begins_with_them_and_nothing_else() {
    let (_directory, strings) = open::<String, ()>();
    for key in ["", "a", "a\0", "a\0b", "aa", "a\u{10FFFF}", "b"] {
        strings.insert(key, &()).unwrap();
    }
    let with = |prefix: &str| strings.prefix(prefix).map(|pair| pair.unwrap().0).collect::<Vec<String>>();
    assert_eq!(with("a"), ["a", "a\0", "a\0b", "aa", "a\u{10FFFF}"]);
    assert_eq!(with("a\0"), ["a\0", "a\0b"]);
    assert_eq!((with("").len(), with("c").len()), (7, 0));
    let (_directory, bytes) = open::<Vec<u8>, ()>();
    for key in [&[0xFF][..], &[0xFF, 0xFF], &[0xFF, 0xFF, 1], &[0xFE], &[0]] {
        bytes.insert(key, &()).unwrap();
    }
    assert_eq!(bytes.prefix(&[0xFF, 0xFF][..]).count(), 2);
    let (_directory, tuples) = open::<(String, u32, bool), ()>();
    for key in [("a", 1, true), ("a", 2, false), ("a\0", 1, true), ("b", 1, true)] {
        tuples.insert(key, &()).unwrap();
    }
    assert_eq!((tuples.prefix(("a",)).count(), tuples.prefix(("a", 2)).count()), (2, 1));
}

#[test]
fn long_keys_fill_blocks_of_their_own() {
    let (directory, index) = open::<String, u32>();
    let key = |i: u32| format!("{}{i:05}", "k".repeat([10, 900, 5000, 65_000][i as usize % 4]));
    for i in 0..400 {
        index.insert(key(i * 7 % 400), &i).unwrap();
    }
    let mut expected: Vec<String> = (0..400).map(key).collect();
    expected.sort();
    assert_eq!(index.keys().collect::<Result<Vec<_>>>().unwrap(), expected);
    for i in (0..400).step_by(2) {
        index.remove(key(i)).unwrap();
    }
    drop(index);
    std::fs::remove_file(directory.path().join("state")).unwrap();
    let index = Index::<String, u32>::open(&directory).unwrap();
    assert_eq!((index.keys().count(), index.len()), (200, 200));
    assert!(index.check().unwrap().is_clean());
}

#[test]
fn the_first_is_popped_as_quickly_after_many() {
    let (_directory, index) = open::<u64, u64>();
    index.extend((0..10_000).map(|i| (i * 7919 % 10_000, i))).unwrap();
    for expected in 0..10_000 {
        assert_eq!(index.pop_first().unwrap().unwrap().0, expected);
    }
    assert_eq!(index.pop_first().unwrap(), None);
    // What is put again finds the blocks that have become free.
    let volume = index.volume();
    index.extend((0..10_000).map(|i| (i, i))).unwrap();
    assert!(index.volume() <= volume + (8 << 20), "{} after {volume}", index.volume());
    assert!(index.check().unwrap().is_clean());
}

#[test]
fn who_pushes_gets_a_key_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let index = Index::<i64, u64>::open(&directory).unwrap();
    let pushed = |side: QueueSide, value: u64| index.push(&value, side).unwrap();
    let mut keys: Vec<i64> = std::thread::scope(|scope| {
        let pushers: Vec<_> = (0..4)
            .map(|who| {
                let side = if who % 2 == 0 { QueueSide::Back } else { QueueSide::Front };
                scope.spawn(move || (0..100).map(|n| pushed(side, who * 100 + n)).collect::<Vec<i64>>())
            })
            .collect();
        pushers.into_iter().flat_map(|pusher| pusher.join().unwrap()).collect()
    });
    keys.sort_unstable();
    assert!(keys.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{keys:?}");
    assert_eq!((keys.len(), index.len()), (400, 400));
    let mut values = std::collections::BTreeSet::new();
    while let Some((key, value)) = index.pull(QueueSide::Back).unwrap() {
        assert_eq!(keys.pop(), Some(key));
        values.insert(value);
    }
    assert_eq!(values.len(), 400);
    assert_eq!(index.pull(QueueSide::Front).unwrap(), None);
    index.insert(i64::MAX, &1).unwrap();
    assert!(matches!(index.push(&2, QueueSide::Back), Err(Error::Overflow)));
    assert_eq!((index.push(&2, QueueSide::Front).unwrap(), index.len()), (i64::MAX - 1, 2));
}

/// What could not be read again is not taken.
#[test]
fn an_integer_that_is_no_key_is_not_inserted() {
    let (_directory, index) = open::<u8, u8>();
    assert!(matches!(index.insert(300_u32, &1), Err(Error::Codec(_))));
    assert!(matches!(index.insert(-1, &1), Err(Error::Codec(_))));
    assert!(matches!(index.get_or_insert_with(256_u64, || 1), Err(Error::Codec(_))));
    assert!(index.insert(255_u64, &2).unwrap());
    assert_eq!(index.get(300).unwrap(), None);
    assert!(!index.contains_key(-1).unwrap());
    assert_eq!(index.range(0..300).count(), 1);
    assert_eq!(index.keys().collect::<Result<Vec<u8>>>().unwrap(), [255]);

    let (_directory, pairs) = open::<(String, Option<i8>), u8>();
    assert!(matches!(pairs.insert(("a", Some(128)), &1), Err(Error::Codec(_))));
    assert!(pairs.insert(("a", Some(127)), &1).unwrap());
    assert_eq!(pairs.len(), 1);
}
