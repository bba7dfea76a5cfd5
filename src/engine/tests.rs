//! The engine over the real os floor: the paths that crash tests and the front build on.

use std::time::Duration;

use super::change::{Change, Op, Put, Tag, Value};
use super::recovery::Opening;
use super::store::Store;
use crate::os::real::RealOs;

pub fn opening() -> Opening {
    Opening {
        size_limit: Some(64 << 20),
        eviction: None,
        statistics: None,
        lock_timeout: Duration::from_secs(10),
        durability: crate::options::Durability::Buffered,
        read_only: false,
    }
}

fn open(dir: &std::path::Path) -> Store<RealOs> {
    Store::open(RealOs::new().unwrap(), dir, &opening()).unwrap()
}

fn put<'a>(value: &'a [u8], tag: Tag<'a>) -> Put<'a> {
    Put { kind: 1, value: Value::Inline(value), expires: None, tag }
}

fn put_in(store: &Store<RealOs>, key: &[u8], put: Put<'_>) {
    store.put_hashed(key, store.hash(key), put).unwrap();
}

fn get(store: &Store<RealOs>, key: &[u8]) -> Option<Vec<u8>> {
    store
        .read(key, store.hash(key), |record| {
            let mut value = Vec::new();
            assert!(record.append_value(&mut value));
            Ok(value)
        })
        .unwrap()
}

#[test]
fn what_is_put_is_found_by_every_handle_and_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let one = open(dir.path());
    let two = open(dir.path());
    for i in 0..20_000u32 {
        put_in(&one, &i.to_be_bytes(), put(format!("value {i}").as_bytes(), Tag::None));
    }
    assert_eq!(two.len(), 20_000);
    for i in 0..20_000u32 {
        assert_eq!(get(&two, &i.to_be_bytes()).unwrap(), format!("value {i}").as_bytes());
    }
    assert_eq!(get(&two, b"absent"), None);
    drop((one, two));
    let three = open(dir.path());
    assert_eq!(three.len(), 20_000);
    assert_eq!(get(&three, &7u32.to_be_bytes()).unwrap(), b"value 7");
}

#[test]
fn a_store_whose_state_is_gone_is_rebuilt_from_its_log() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for i in 0..5_000u32 {
        let tag = if i % 2 == 0 { Tag::Named("even") } else { Tag::Named("odd") };
        put_in(&store, &(i % 3_000).to_be_bytes(), put(&i.to_be_bytes(), tag));
    }
    let removals: Vec<[u8; 4]> = (0..100u32).map(u32::to_be_bytes).collect();
    let ops: Vec<Op> = removals.iter().map(|key| Op { key, hash: store.hash(key), change: Change::Remove }).collect();
    assert_eq!(store.batch(&ops).unwrap(), 100);
    let evicted = store.evict("odd").unwrap();
    assert_eq!(store.len() + evicted, 2_900);
    let len = store.len();
    drop(store);
    std::fs::remove_file(dir.path().join("state")).unwrap();
    let store = open(dir.path());
    assert_eq!(store.len(), len);
    assert_eq!(get(&store, &5u32.to_be_bytes()), None);
    assert_eq!(get(&store, &200u32.to_be_bytes()).unwrap(), 3200u32.to_be_bytes());
    assert_eq!(get(&store, &201u32.to_be_bytes()), None);
    assert_eq!(store.evict("odd").unwrap(), 0);
    put_in(&store, b"new", put(b"x", Tag::Named("odd")));
    assert_eq!(store.evict("odd").unwrap(), 1);
}

#[test]
fn a_clear_empties_the_store_and_gives_space_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let other = open(dir.path());
    for i in 0..10_000u32 {
        put_in(&store, &i.to_be_bytes(), put(&[1; 1000], Tag::None));
    }
    let before = store.volume();
    assert_eq!(other.clear().unwrap(), 10_000);
    assert_eq!(store.len(), 0);
    assert!(store.volume() < before / 4, "{} of {before}", store.volume());
    assert_eq!(get(&store, &7u32.to_be_bytes()), None);
    put_in(&store, b"k", put(b"v", Tag::None));
    assert_eq!(get(&other, b"k").unwrap(), b"v");
}

/// What the batch `round` of [`members_of_every_kind_and_length_come_back_whole`] says about a key.
fn value_in(round: usize, i: usize) -> Option<Vec<u8>> {
    match (i + round) % 60 {
        // Longer than what is encoded together, and written by a call.
        0 => Some(vec![i as u8; 9000]),
        1 if round > 0 => None,
        kind => Some(format!("{round} {i}").repeat(kind % 20).into_bytes()),
    }
}

#[test]
fn members_of_every_kind_and_length_come_back_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    // Some of so many keys have the same tag in the same bucket, and hundreds of checksums are taken together.
    for (round, count) in [(0, 20_000), (1, 300), (2, 20_010)] {
        let made: Vec<_> = (0..count).map(|i| ((i as u32).to_be_bytes(), value_in(round, i % 300))).collect();
        let mut ops = Vec::new();
        for (i, (key, value)) in made.iter().enumerate() {
            let tag = if i % 7 == 0 { Tag::Named("seventh") } else { Tag::None };
            let expires = (i % 11 == 0).then_some(u64::MAX - 1);
            let change = match value {
                Some(value) => Change::Put(Put { expires, ..put(value, tag) }),
                None => Change::Remove,
            };
            ops.push(Op { key, hash: store.hash(key), change });
        }
        store.batch(&ops).unwrap();
    }
    let as_it_should_be = |store: &Store<RealOs>| {
        let report = store.check(&mut |_| {}).unwrap();
        assert!(report.is_clean(), "{report:?}");
        for i in 0..20_010usize {
            assert_eq!(get(store, &(i as u32).to_be_bytes()), value_in(2, i % 300), "key {i}");
        }
    };
    as_it_should_be(&store);
    drop(store);
    std::fs::remove_file(dir.path().join("state")).unwrap();
    as_it_should_be(&open(dir.path()));
}
