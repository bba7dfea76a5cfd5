//! What commits leave that never happened, for who took a view before, and for who comes next.

use super::acts::{key_bytes, put};
use super::audit::{audit, lookup};
use super::world::{self, World};
use crate::engine::change::{Change, Op, Put, Tag, Value};
use crate::engine::commit::Commit;
use crate::engine::limit::Purpose;
use crate::engine::read::Try;
use crate::os::OsMap;
use crate::storage::index::{BUCKET_BYTES, bucket_offset};

/// A commit begins a segment and fails; the next one makes another file of that name. A thread of the same process has a view with the
/// first, and waits for the lock; another one reads.
#[test]
fn whoever_has_a_view_of_a_segment_that_was_forgotten_takes_the_one_that_is_there() {
    let (world, handle) = World::with(9, &[put(1, 1, 100), put(2, 1, 100)]);
    let store = &handle.store;
    let (views, ids) = {
        let locked = store.lock().unwrap();
        let mut fails = Commit::new(&locked).unwrap();
        fails.begin_segment(Purpose::Store).unwrap();
        let views = [store.enter().unwrap(), store.enter().unwrap()];
        let first = fails.tail;
        drop(fails);
        let mut next = Commit::new(&locked).unwrap();
        next.begin_segment(Purpose::Store).unwrap();
        let ids = (first, next.tail);
        next.publish().unwrap();
        (views, ids)
    };
    assert_eq!((ids.0.slot, ids.0.offset), (ids.1.slot, ids.1.offset), "the second is what the first was");
    let [waited, reads] = views;
    let (key, value) = (key_bytes(3), [7; 50]);
    let change = Change::Put(Put { kind: 1, value: Value::Inline(&value), expires: None, tag: Tag::None });
    let op = Op { key: &key, hash: store.hash(&key), change };
    {
        let locked = store.lock().unwrap();
        let (view, tail) = locked.begin_with(waited, 1).unwrap();
        Commit::with(&locked, view, tail).carry_out(std::slice::from_ref(&op)).unwrap();
    }
    let other = world::open(&world.machine);
    for handle in [&handle, &other] {
        assert!(handle.store.look(&key, op.hash, |_| Ok(())).unwrap().is_some(), "it was stored where nobody finds it");
        audit(&handle.store);
    }
    let found = store.try_read::<false, ()>(&reads, &key, op.hash, &mut |_| Ok(())).unwrap();
    assert!(matches!(found, Try::Map(_)), "nothing was found where nothing is");
    assert!(lookup(store, 1).is_some() && store.check(&mut |_| ()).unwrap().is_clean());
}

/// A move fills overflow buckets of the next table before its commit, and may not come to that.
#[test]
fn an_overflow_bucket_that_is_linked_is_empty() {
    let (_world, handle) = World::with(9, &[put(1, 1, 100)]);
    let locked = handle.store.lock().unwrap();
    let table = handle.store.geometry().unwrap().current;
    let index = handle.store.map_index(table).unwrap();
    let mut commit = Commit::new(&locked).unwrap();
    let first = commit.overflow_bucket(table).unwrap();
    let words = |bucket: u64| (bucket_offset(bucket)..bucket_offset(bucket) + BUCKET_BYTES).step_by(8);
    words(first + 1).for_each(|word| index.map.store(word, 0x55));
    assert_eq!(commit.overflow_bucket(table).unwrap(), first + 1);
    assert!(words(first + 1).all(|word| index.map.load(word) == 0));
}
