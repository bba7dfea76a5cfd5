//! A full store that may lose nothing can be emptied key by key, in any order, however short what it holds is: what says that
//! something was removed may be longer than what it removes.
use larder::recipes::Lock;
use larder::{Cache, Eviction};

/// What is removed as the `i`th of so many.
type Order = fn(u32, u32) -> u32;
const ORDERS: [(&str, Order); 3] = [
    ("oldest first", |i, _| i),
    ("newest first", |i, stored| stored - 1 - i),
    // The factor is prime, and more than is stored.
    ("in no order", |i, stored| (u64::from(i) * 1_000_003 % u64::from(stored)) as u32),
];

fn open(dir: &tempfile::TempDir, eviction: Eviction) -> Cache {
    Cache::builder(dir).size_limit(2 << 20).eviction(eviction).background(false).open().unwrap()
}

/// How many are stored until one is refused.
fn fill(mut store: impl FnMut(u32) -> larder::Result<()>) -> u32 {
    (0..u32::MAX).find(|&key| store(key).is_err()).unwrap()
}

fn is_emptied(what: &str, stored: u32, order: Order, mut remove: impl FnMut(u32) -> larder::Result<bool>) {
    for i in 0..stored {
        let removed = remove(order(i, stored));
        assert!(matches!(removed, Ok(true)), "{what}: {i} of {stored}: {removed:?}");
    }
}

#[test]
fn a_full_cache_is_emptied_key_by_key() {
    for (name, order) in ORDERS {
        for (bytes, is_named) in [(1, true), (40, false)] {
            let dir = tempfile::tempdir().unwrap();
            let cache = open(&dir, Eviction::None);
            if is_named {
                // The name of the lock is what is left in the oldest segment.
                drop(Lock::new(&cache, "lock").unwrap().lock().unwrap());
            }
            let stored = fill(|key| cache.set_bytes(key, &vec![1; bytes]));
            is_emptied(&format!("{name}, {bytes} bytes, {is_named}"), stored, order, |key| cache.delete(key));
            assert!(cache.is_empty());
            assert!(cache.check().unwrap().problems.is_empty());
        }
    }
}

#[test]
fn a_full_cache_is_emptied_by_transactions() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(&dir, Eviction::None);
    let stored = fill(|key| cache.set_bytes(key, b"1")) / 7 * 7;
    for i in (0..stored).step_by(7) {
        let removed = cache.transact(|tx| (i..i + 7).try_for_each(|i| tx.delete(stored - 1 - i).map(drop)));
        assert!(removed.is_ok(), "{i} of {stored}: {removed:?}");
    }
    assert!(cache.len() < 7);
}

/// Beside what may be evicted too.
#[test]
fn a_full_index_is_emptied_key_by_key() {
    for (eviction, i) in [(Eviction::None, 1), (Eviction::LeastRecentlyUsed, 1), (Eviction::S3Fifo, 2)] {
        let (name, order) = ORDERS[i];
        let dir = tempfile::tempdir().unwrap();
        let cache = open(&dir, eviction);
        let index = cache.index::<u32, u8>("index").unwrap();
        let stored = fill(|key| index.insert(key, &1).map(drop));
        is_emptied(&format!("{eviction:?}, {name}"), stored, order, |key| Ok(index.remove(key)? == Some(1)));
        assert!(index.is_empty());
    }
}

#[test]
fn a_full_deque_is_emptied_from_both_ends() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(&dir, Eviction::None);
    let deque = cache.deque::<u32>("deque").unwrap();
    let stored = fill(|key| deque.push_back(&key));
    is_emptied(
        "deque",
        stored,
        |i, _| i,
        |i| {
            let popped = if i % 3 == 0 { deque.pop_front() } else { deque.pop_back() };
            Ok(popped?.is_some())
        },
    );
    assert!(deque.is_empty());
}

#[test]
fn a_full_queue_is_consumed_by_leases() {
    for (eviction, bytes) in [(Eviction::None, 1), (Eviction::S3Fifo, 1_000)] {
        let dir = tempfile::tempdir().unwrap();
        let cache = open(&dir, eviction);
        let deque = cache.deque::<Vec<u8>>("deque").unwrap();
        let stored = fill(|_| deque.push_back(&vec![1; bytes]));
        for done in 0..stored {
            let lease = deque.lease_front(std::time::Duration::from_secs(60));
            assert!(matches!(lease, Ok(Some(_))), "{eviction:?}, {done} of {stored}: {lease:?}");
            let acked = lease.unwrap().unwrap().ack();
            assert!(acked.is_ok(), "{eviction:?}, {done} of {stored}: {acked:?}");
        }
        assert!(deque.is_empty());
    }
}
