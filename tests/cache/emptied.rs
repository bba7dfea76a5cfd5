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
    open_sized(dir, 2, eviction)
}

fn open_sized(dir: &tempfile::TempDir, mib: u64, eviction: Eviction) -> Cache {
    Cache::builder(dir).size_limit(mib << 20).eviction(eviction).background(false).open().unwrap()
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
    for (i, (name, order)) in ORDERS.into_iter().enumerate() {
        for (bytes, is_named) in [[(40, true)], [(1, true)], [(40, false)]][i] {
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

/// Also where hardly anything is left but what says that something was removed.
#[test]
fn a_full_cache_is_emptied_by_transactions() {
    for (order, together) in [(ORDERS[1], 7), (ORDERS[0], 2), (ORDERS[0], 4)] {
        let dir = tempfile::tempdir().unwrap();
        let cache = open(&dir, Eviction::None);
        let stored = fill(|key| cache.set_bytes(key, b"1")) / together * together;
        for i in (0..stored).step_by(together as usize) {
            let mut keys = (i..i + together).map(|i| order.1(i, stored));
            let removed = cache.transact(|tx| keys.try_for_each(|key| tx.delete(key).map(drop)));
            assert!(removed.is_ok(), "{}, {together} at a time: {i} of {stored}: {removed:?}", order.0);
        }
        assert!(cache.len() < together as usize);
    }
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

/// Stores keys and values of such lengths until one is refused.
fn fill_with(cache: &Cache, keys: &mut Vec<String>, key_len: usize, value_len: usize) {
    let from = keys.len();
    for number in from.. {
        let key = format!("{number:06}{}", "k".repeat(key_len - 6));
        if cache.set_bytes(&key[..], &vec![1; value_len]).is_err() {
            return;
        }
        keys.push(key);
    }
}

/// Survivors of a quantum are as long as a segment, or hardly fit in twos and threes, or leave the last block of a segment empty that
/// their originals filled.
#[test]
fn a_full_cache_of_middling_records_is_emptied_newest_first() {
    let shapes = [
        (2, 2_000, 8_000),
        (4, 300, 8_000),
        (2, 10_000, 100),
        (2, 20_000, 100),
        (8, 60_000, 1),
        (2, 5_000, 8_000),
        (8, 1_000, 8_000),
        (4, 10_000, 4_000),
    ];
    for (mib, key, value) in shapes {
        let dir = tempfile::tempdir().unwrap();
        let (cache, mut keys) = (open_sized(&dir, mib, Eviction::None), Vec::new());
        fill_with(&cache, &mut keys, key, value);
        let stored = keys.len() as u32;
        let what = format!("{mib} MiB, key {key}, value {value}");
        is_emptied(&what, stored, ORDERS[1].1, |number| cache.delete(&keys[number as usize][..]));
    }
}

/// What says that a long key was removed is as long as what it removes.
#[test]
fn a_full_cache_of_long_keys_is_emptied_oldest_first() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, mut keys) = (open_sized(&dir, 64, Eviction::None), Vec::new());
    fill_with(&cache, &mut keys, 10_000, 1);
    is_emptied("long keys", keys.len() as u32, ORDERS[0].1, |number| cache.delete(&keys[number as usize][..]));
}

/// Large values leave as much free as others.
#[test]
fn a_cache_full_of_large_values_and_then_of_small_ones_is_emptied_newest_first() {
    for (large, small) in [(10_000, 10), (8_192, 1)] {
        let dir = tempfile::tempdir().unwrap();
        let (cache, mut keys) = (open(&dir, Eviction::None), Vec::new());
        fill_with(&cache, &mut keys, 6, large);
        fill_with(&cache, &mut keys, 6, small);
        let what = format!("{large}, {small}");
        is_emptied(&what, keys.len() as u32, ORDERS[1].1, |number| cache.delete(&keys[number as usize][..]));
    }
}
