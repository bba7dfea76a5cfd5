//! Random damage of a store with a queue and an index in it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use larder::{Cache, Deque, Index, Result};

use super::mutations::{Random, mutate};
use super::seeds;
use super::store::{adopt_state, files_of, run_named};

/// Mutations of each kind of file at the everyday scale.
const ROUNDS: u64 = 12;
/// More than any damaged walk may give.
const ITEMS_MAX: usize = 300_000;

fn original() -> BTreeMap<String, Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::builder(&directory).size_limit(2 << 20).open().unwrap();
    let deque: Deque<String> = cache.deque("queue").unwrap();
    let index: Index<String, u32> = cache.index("index").unwrap();
    for i in 0..400u32 {
        cache.set(i, &i).unwrap();
        deque.push_back(&format!("element {i}")).unwrap();
        index.insert(format!("key {:04}", i * 7919 % 4001), &i).unwrap();
    }
    for i in 0..100u32 {
        deque.pop_front().unwrap();
        index.remove(format!("key {:04}", i * 7919 % 4001)).unwrap();
    }
    std::mem::forget(deque.lease_front(Duration::from_secs(3600)).unwrap());
    drop(cache);
    files_of(directory.path())
}

/// Every call, some of them twice; nothing but errors may come of the damage.
fn exercise(directory: &Path, what: &str) {
    for _ in 0..2 {
        let Ok(cache) = Cache::builder(directory).lock_timeout(Duration::from_secs(20)).open() else { return };
        let (Ok(deque), Ok(index)) = (cache.deque::<String>("queue"), cache.index::<String, u32>("index")) else {
            let _ = cache.repair();
            continue;
        };
        let _ = cache.check();
        let bounded = |count: usize| assert!(count < ITEMS_MAX, "{what}: {count} items");
        bounded(deque.iter().take(ITEMS_MAX).count());
        bounded(deque.iter().rev().take(ITEMS_MAX).count());
        bounded(index.iter().take(ITEMS_MAX).count());
        bounded(index.iter().rev().take(ITEMS_MAX).count());
        bounded(index.keys().take(ITEMS_MAX).count());
        bounded(index.range("key 1".."key 2").take(ITEMS_MAX).count());
        bounded(index.iter_inserted().map_or(0, |pairs| pairs.take(ITEMS_MAX).count()));
        let _ = write_some(&deque, &index);
        let _ = cache.transact(|tx| {
            write_some(&tx.deque("queue")?, &tx.index("index")?)?;
            tx.clear().map(drop)
        });
        let _ = cache.repair();
        bounded(index.iter().take(ITEMS_MAX).count());
        let _ = write_some(&deque, &index);
        let _ = (index.clear(), deque.clear(), index.insert("k", &1), deque.push_back("e"));
    }
}

fn write_some(deque: &Deque<String>, index: &Index<String, u32>) -> Result<()> {
    for i in 0..20u32 {
        let _ = index.insert(format!("key {:04}", i * 31 % 4001), &i);
        let _ = index.remove(format!("key {:04}", i * 37 % 4001));
        let _ = (index.pop_first(), index.pop_last(), index.get("key 0001"), index.first_key_value());
        let _ = (deque.push_back("more"), deque.push_front("more"), deque.set(i as usize, "other"));
        let _ = (deque.pop_front(), deque.pop_back(), deque.get(i as usize), deque.len());
    }
    let _ = (deque.rotate_left(3), deque.remove(2), deque.remove_value(&"element 200".to_string()));
    let _ = deque.lease_front(Duration::from_secs(1)).map(|lease| lease.map(|lease| lease.ack()));
    deque.leased().map(drop)
}

#[test]
fn random_damage_of_a_store_with_a_queue_and_an_index() {
    run_named(|says| {
        let original = original();
        let names: Vec<&String> = original.keys().filter(|name| *name != "larder" && *name != "open.lock").collect();
        for seed in seeds(ROUNDS * names.len() as u64) {
            let mut random = Random(seed);
            let name = names[seed as usize % names.len()];
            let mut bytes = original[name].clone();
            let what = format!("seed {seed}: {name}, {}", mutate(&mut random, &mut bytes));
            says(what.clone());
            let directory = tempfile::tempdir().unwrap();
            for (other, content) in &original {
                std::fs::write(directory.path().join(other), if other == name { &bytes } else { content }).unwrap();
            }
            if name != "state" || bytes.len() > 68 {
                adopt_state(&directory.path().join("state"));
            }
            exercise(directory.path(), &what);
        }
    });
}

#[test]
fn what_a_free_row_holds_is_nobodys_name() {
    // Places of records: beyond all segments, in one that there is, in a row without one.
    for name in [u64::MAX, 0xFFFF << 24, 64, 1 << 40] {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::builder(&directory).size_limit(2 << 20).open().unwrap();
        cache.deque::<String>("queue").unwrap().push_back("element").unwrap();
        drop(cache);
        let path = directory.path().join("tags-0");
        let mut rows = std::fs::read(&path).unwrap();
        for row in rows.chunks_mut(64).filter(|row| row[..8] == [0; 8]) {
            row[56..].copy_from_slice(&name.to_le_bytes());
        }
        std::fs::write(&path, rows).unwrap();
        let cache = Cache::open(&directory).unwrap();
        let index = cache.index::<String, u32>("index").unwrap();
        index.insert("key", &7).unwrap();
        assert_eq!(index.get("key").unwrap(), Some(7));
        assert_eq!(cache.deque::<String>("queue").unwrap().pop_front().unwrap().as_deref(), Some("element"));
        let report = cache.check().unwrap();
        assert!(report.is_clean(), "{name:#x}: {:?}", report.problems);
    }
}
