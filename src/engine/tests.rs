//! The engine over the real os floor: the paths that crash tests and the front build on.

use crate::storage::namespace::Label;
use std::time::Duration;

use super::change::{Change, Op, Put, Tag, Value};
use super::found::Found;
use super::recovery::Opening;
use super::store::Store;
use crate::os::real::RealOs;

pub fn opening() -> Opening {
    Opening {
        kind: crate::storage::manifest::KIND_CACHE,
        size_limit: Some(64 << 20),
        eviction: None,
        statistics: None,
        lock_timeout: Duration::from_secs(10),
        durability: crate::options::Durability::Buffered,
        read_only: false,
        background: false,
        listener: None,
    }
}

fn open(dir: &std::path::Path) -> Store<RealOs> {
    Store::open(RealOs::new().unwrap(), dir, &opening()).unwrap()
}

fn put<'a>(value: &'a [u8], tag: Tag<'a>) -> Put<'a> {
    Put { kind: 1, value: Value::Inline(value), expires: None, tag }
}

fn put_in(store: &Store<RealOs>, key: &[u8], put: Put<'_>) {
    store.batch(&[Op::put(key, store.hash(key), put)]).unwrap();
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
        let tag = if i % 2 == 0 { Tag::Named(Label::tag("even")) } else { Tag::Named(Label::tag("odd")) };
        put_in(&store, &(i % 3_000).to_be_bytes(), put(&i.to_be_bytes(), tag));
    }
    let removals: Vec<[u8; 4]> = (0..100u32).map(u32::to_be_bytes).collect();
    let ops: Vec<Op> = removals.iter().map(|key| Op { key, hash: store.hash(key), change: Change::Remove }).collect();
    assert_eq!(store.batch(&ops).unwrap(), 100);
    let evicted = store.evict(Label::tag("odd")).unwrap();
    assert_eq!(store.len() + evicted, 2_900);
    let len = store.len();
    drop(store);
    std::fs::remove_file(dir.path().join("state")).unwrap();
    let store = open(dir.path());
    assert_eq!(store.len(), len);
    assert_eq!(get(&store, &5u32.to_be_bytes()), None);
    assert_eq!(get(&store, &200u32.to_be_bytes()).unwrap(), 3200u32.to_be_bytes());
    assert_eq!(get(&store, &201u32.to_be_bytes()), None);
    assert_eq!(store.evict(Label::tag("odd")).unwrap(), 0);
    put_in(&store, b"new", put(b"x", Tag::Named(Label::tag("odd"))));
    assert_eq!(store.evict(Label::tag("odd")).unwrap(), 1);
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
            let tag = if i % 7 == 0 { Tag::Named(Label::tag("seventh")) } else { Tag::None };
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

/// A shared store that may have a thread.
#[test]
fn values_read_one_behind_the_other_are_not_all_moved_by_each() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let value = vec![7; 300 << 10];
    let draft = store.draft(&value).unwrap();
    put_in(
        &store,
        b"key",
        Put {
            kind: 1,
            value: Value::Draft { number: draft.number, len: draft.len, crc: draft.crc },
            expires: None,
            tag: Tag::None,
        },
    );
    drop(draft);
    let reference =
        store.read(b"key", store.hash(b"key"), |record| Ok(Found::Log(record).large())).unwrap().unwrap().unwrap();
    let (mut bytes, mut moves) = (Vec::new(), 0);
    for _ in 0..100 {
        let before = bytes.capacity();
        store.append_large(reference, &mut bytes).unwrap();
        moves += u32::from(bytes.capacity() != before);
    }
    assert!(bytes.len() == 100 * value.len() && moves < 20, "{moves} moves");
}

fn open_with_thread(dir: &std::path::Path, size_limit: u64) -> std::sync::Arc<Store<RealOs>> {
    let opening = Opening { background: true, size_limit: Some(size_limit), ..opening() };
    Store::open(RealOs::new().unwrap(), dir, &opening).unwrap().share()
}

/// Waits until something is so; a minute is for ever.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn the_thread_is_started_by_the_first_need_and_keeps_space_free_that_no_writer_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with_thread(dir.path(), 2 << 20);
    let mut i = 0u32;
    while !store.is_low() {
        assert!(!store.duty.companion.runs(), "before it is needed");
        put_in(&store, &i.to_be_bytes(), put(&[7; 500], Tag::None));
        i += 1;
    }
    put_in(&store, &i.to_be_bytes(), put(&[7; 500], Tag::None));
    assert!(store.duty.companion.runs());
    // Nobody writes any more, and yet there is room again.
    until("room", || store.duty.margin.load(std::sync::atomic::Ordering::Relaxed) > 0 && !store.is_low());
    assert_eq!(get(&store, &i.to_be_bytes()), Some(vec![7; 500]), "the newest is there");
    for j in i + 1..i + 20_000 {
        put_in(&store, &j.to_be_bytes(), put(&[7; 500], Tag::None));
    }
    store.end_upkeep();
    assert!(!store.duty.companion.runs());
    assert_eq!(std::sync::Arc::strong_count(&store), 1, "the thread has let go");
    let report = store.check(&mut |_| {}).unwrap();
    assert!(report.is_clean(), "{report:?}");
    put_in(&store, b"alone again", put(&[7; 500], Tag::None));
}

/// How many index tables of a store this process has mapped.
fn mapped_tables(directory: &std::path::Path) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let prefix = directory.join("index-").to_string_lossy().into_owned();
    maps.lines().filter(|line| line.contains(&prefix)).count()
}

/// To unmap a long table takes a while, so nobody waits for it who only wants to read or write.
#[test]
fn the_thread_unmaps_the_long_tables_that_a_growing_index_leaves() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with_thread(dir.path(), 64 << 20);
    let mut keys = 0..;
    loop {
        let table = store.geometry().unwrap().current;
        let some: Vec<[u8; 4]> = keys.by_ref().take(1_000).map(u32::to_be_bytes).collect();
        let change = Change::Put(put(b"v", Tag::None));
        let ops: Vec<Op> = some.iter().map(|key| Op { key, hash: store.hash(key), change }).collect();
        store.batch(&ops).unwrap();
        if table.home_bytes() > 1 << 20 && store.geometry().unwrap().current != table {
            break;
        }
    }
    assert_eq!(get(&store, &0u32.to_be_bytes()).unwrap(), b"v");
    assert!(store.duty.companion.runs());
    until("the table is unmapped", || mapped_tables(dir.path()) == 1);
    assert!(!store.drop_parting());
}

#[test]
fn a_thread_removes_what_has_expired_from_a_store_that_nobody_writes_to() {
    let dir = tempfile::tempdir().unwrap();
    let opening = Opening { background: true, ..opening() };
    let store = Store::open(RealOs::new().unwrap(), dir.path(), &opening).unwrap();
    // It was due a minute ago.
    let long_ago = store.now() - 60_000_000_000;
    put_in(&store, b"stays", put(b"v", Tag::None));
    put_in(&store, b"goes", Put { expires: Some(long_ago), ..put(b"v", Tag::None) });
    assert_eq!(store.len(), 2);
    let store = store.share();
    until("the item goes", || store.len() == 1);
    // One that comes later: the thread sleeps, and is called for it once it has been at rest long enough.
    assert!(store.duty.companion.runs());
    store.end_upkeep();
    assert_eq!(get(&store, b"stays").unwrap(), b"v");
}

#[test]
fn nobody_has_a_thread_who_does_not_want_one_or_only_reads() {
    let dir = tempfile::tempdir().unwrap();
    let alone = Store::open(RealOs::new().unwrap(), dir.path(), &opening()).unwrap().share();
    let expires = Some(alone.now());
    put_in(&alone, b"k", Put { expires, ..put(b"v", Tag::None) });
    assert!(!alone.duty.companion.runs());
    let reading = Opening { read_only: true, background: true, size_limit: None, ..opening() };
    let reader = Store::open(RealOs::new().unwrap(), dir.path(), &reading).unwrap().share();
    assert!(!reader.duty.companion.runs());
}
