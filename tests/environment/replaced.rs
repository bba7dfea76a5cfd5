//! A directory that is removed, renamed or replaced while a handle is open: what is mapped is read on, and nothing that has
//! the path by now is touched.

use std::collections::BTreeMap;
use std::path::Path;

use larder::{Cache, Error};

const SIZE_LIMIT: u64 = 4 << 20;
/// More than a segment holds.
const MANY: u64 = 200;

fn open(directory: &Path) -> Cache {
    Cache::builder(directory).size_limit(SIZE_LIMIT).eviction(larder::Eviction::None).open().unwrap()
}

fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(contents(&entry.path()).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)));
        } else {
            found.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
    found
}

fn is_replaced(error: &Error) -> bool {
    matches!(error, Error::Replaced(_))
}

/// All that needs a name fails; what needs none may go on.
fn use_the_lost(cache: &Cache) {
    assert_eq!(cache.get::<String>("k").unwrap().as_deref(), Some("old"));
    let wrote = (0..MANY).try_for_each(|n| cache.set(("many", n), &"x".repeat(4000)));
    assert!(is_replaced(&wrote.unwrap_err()), "a segment was begun in a directory that is another's");
    assert!(is_replaced(&cache.set_bytes("large", &vec![1; 300 << 10]).unwrap_err()));
    assert!(is_replaced(&cache.set_many((0..4000u64).map(|n| (("batch", n), n))).unwrap_err()));
    assert!(cache.sync().is_err(), "nothing was made durable");
    assert!(is_replaced(&cache.update_settings(|settings| settings.size_limit += 1 << 20).unwrap_err()));
    // What unlinks files leaves them alone. Whether it works does not matter.
    let _ = cache.clear();
    let _ = cache.repair();
    let _ = cache.expire();
    assert!(cache.stats().is_ok() || cache.stats().is_err());
}

#[test]
fn another_store_in_the_same_place_is_left_alone() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("store");
    let old = open(&path);
    old.set("k", "old").unwrap();
    std::fs::rename(&path, parent.path().join("moved")).unwrap();
    let new = open(&path);
    for n in 0..MANY {
        new.set(("new", n), &"y".repeat(4000)).unwrap();
    }
    new.set_bytes("large", &vec![2; 300 << 10]).unwrap();
    new.sync().unwrap();
    let before = contents(&path);
    use_the_lost(&old);
    drop(old);
    assert!(contents(&path) == before, "a handle of another store changed files of this one");
    assert_eq!(new.get_bytes("large").unwrap().unwrap(), vec![2; 300 << 10]);
    let report = new.check().unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
}

#[test]
fn a_new_store_in_the_same_directory_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let old = open(directory.path());
    old.set("k", "old").unwrap();
    for entry in std::fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { std::fs::remove_dir_all(path).unwrap() } else { std::fs::remove_file(path).unwrap() }
    }
    let new = open(directory.path());
    (0..MANY).for_each(|n| new.set(("new", n), &"y".repeat(4000)).unwrap());
    let before = contents(directory.path());
    use_the_lost(&old);
    drop(old);
    assert!(contents(directory.path()) == before);
    let report = new.check().unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
}

#[test]
fn a_removed_directory_is_not_made_again() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("store");
    let old = open(&path);
    old.set("k", "old").unwrap();
    std::fs::remove_dir_all(&path).unwrap();
    use_the_lost(&old);
    drop(old);
    assert!(!path.exists());
    assert_eq!(open(&path).len(), 0);
}

#[test]
fn a_directory_that_comes_back_is_the_handles_own_again() {
    let parent = tempfile::tempdir().unwrap();
    let (path, moved) = (parent.path().join("store"), parent.path().join("moved"));
    let cache = open(&path);
    cache.set("k", "old").unwrap();
    std::fs::rename(&path, &moved).unwrap();
    let lost = (0..MANY).try_for_each(|n| cache.set(("many", n), &"x".repeat(4000)));
    assert!(is_replaced(&lost.unwrap_err()));
    std::fs::rename(&moved, &path).unwrap();
    (0..MANY).for_each(|n| cache.set(("many", n), &"x".repeat(4000)).unwrap());
    cache.set_bytes("large", &vec![1; 300 << 10]).unwrap();
    drop(cache);
    let report = open(&path).check().unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
}

#[test]
fn a_living_owner_is_not_found_dead_where_another_store_is() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("store");
    let first = open(&path);
    let second = Cache::builder(&path).lock_timeout(std::time::Duration::from_millis(20)).open().unwrap();
    std::fs::rename(&path, parent.path().join("moved")).unwrap();
    let mut waited = 0;
    // What is not mapped yet is missing, and said to be.
    let checked = first.check_with(|_| {
        // The lock is held by the thread that checks. Whoever waits finds no sign of its life under that path.
        assert!(second.set("k", &1).unwrap_err().is_timeout());
        waited += 1;
    });
    assert!(checked.is_ok() && waited > 0);
}
