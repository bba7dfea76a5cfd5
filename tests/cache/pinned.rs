//! Files that are unlinked and mapped still: reported as long as somebody keeps them, and by Linux's own account.

use larder::Cache;
use std::collections::BTreeMap;
use std::path::Path;

const LIMIT: u64 = 4 << 20;
const KEYS: u32 = 400;

/// A handle that does everything in its own calls, so that nothing is unlinked later.
fn open(dir: &tempfile::TempDir) -> Cache {
    Cache::builder(dir).size_limit(LIMIT).background(false).open().unwrap()
}

fn value(round: u32) -> Vec<u8> {
    vec![round as u8; 3_000]
}

fn fill(cache: &Cache, round: u32) {
    for key in 0..KEYS {
        cache.set_bytes(key, &value(round)).unwrap();
    }
}

fn pinned(cache: &Cache) -> u64 {
    cache.stats().unwrap().pinned
}

/// Overwrites everything until the segments that were there before have gone.
fn overwrite(cache: &Cache) {
    (1..8).for_each(|round| fill(cache, round));
    cache.expire().unwrap();
}

fn read_all(cache: &Cache) {
    for key in 0..KEYS {
        cache.get_bytes(key).unwrap();
    }
}

/// Bytes of files of a directory that this process has mapped and that have no name, as Linux says.
fn nameless(directory: &Path) -> u64 {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut files = BTreeMap::new();
    for line in maps.lines().filter(|line| line.ends_with(" (deleted)")) {
        let Some(at) = line.find(directory.to_str().unwrap()) else { continue };
        let (from, to) = line.split_whitespace().next().unwrap().split_once('-').unwrap();
        let address = |text| u64::from_str_radix(text, 16).unwrap();
        files.insert(&line[at..], address(to) - address(from));
    }
    files.values().sum()
}

#[test]
fn what_an_idle_handle_keeps_is_pinned_until_its_next_call_or_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(&dir);
    fill(&cache, 0);
    assert_eq!(pinned(&cache), 0);
    let (idle, other) = (open(&dir), open(&dir));
    read_all(&idle);
    read_all(&other);
    overwrite(&cache);
    let all = pinned(&cache);
    assert!(all >= u64::from(KEYS) * 3_000, "{all} bytes, and they had mapped every value");
    assert!(cache.volume() <= LIMIT);
    if cfg!(target_os = "linux") {
        assert_eq!(all, nameless(dir.path()));
    }
    let read_only = Cache::builder(&dir).read_only(true).open().unwrap();
    assert_eq!(pinned(&read_only), all, "who only reads sees it too");

    // Both have the same files mapped, and each is counted once.
    idle.contains("a call").unwrap();
    assert_eq!(pinned(&cache), all);
    drop(other);
    assert_eq!(pinned(&cache), 0);
    if cfg!(target_os = "linux") {
        assert_eq!(nameless(dir.path()), 0);
    }
    read_all(&idle);
    overwrite(&cache);
    assert!(pinned(&cache) > 0);
    // Who asks is a handle like the others, and lets go first.
    assert_eq!(pinned(&idle), 0);
    assert_eq!(cache.reset_stats().unwrap().pinned, 0);
}

#[test]
fn what_is_borrowed_keeps_its_segment_and_no_other_pinned() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(&dir);
    let borrower = open(&dir);
    fill(&cache, 0);
    read_all(&borrower);
    let borrowed = borrower.get_ref(7u32).unwrap().unwrap();
    overwrite(&cache);
    let all = pinned(&cache);
    borrower.contains("a call").unwrap();
    let one = pinned(&cache);
    assert!((3_000..=128 << 10).contains(&one) && one < all, "{one} bytes of {all}");
    if cfg!(target_os = "linux") {
        assert_eq!(one, nameless(dir.path()));
    }
    assert_eq!(*borrowed, value(0));
    drop(borrowed);
    assert_eq!(pinned(&cache), 0);

    // What outlives its handle is nobody's.
    let borrowed = borrower.get_ref(7u32).unwrap().unwrap();
    overwrite(&cache);
    assert!(pinned(&cache) > 0);
    drop(borrower);
    assert_eq!(pinned(&cache), 0);
    assert_eq!(*borrowed, value(7));
    drop(borrowed);
    cache.check().unwrap();
}

#[test]
fn large_values_that_are_borrowed_are_pinned_once_they_are_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, other) = (open(&dir), open(&dir));
    let large = vec![1; 500_000];
    cache.set_bytes("k", &large).unwrap();
    let borrowed = [cache.get_ref("k").unwrap().unwrap(), other.get_ref("k").unwrap().unwrap()];
    assert_eq!(pinned(&cache), 0, "it is in the volume");
    cache.set_bytes("k", &[2; 500_000]).unwrap();
    let bytes = 500_000_u64.next_multiple_of(4096);
    assert_eq!((pinned(&cache), pinned(&other)), (bytes, bytes));
    let [first, second] = borrowed;
    drop(second);
    assert_eq!(pinned(&cache), bytes);
    assert!(*first == large);
    drop(first);
    assert_eq!(pinned(&cache), 0);
}

#[test]
fn many_threads_that_borrow_and_let_go_leave_nothing_in_the_list() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, writer) = (open(&dir), open(&dir));
    let large = |round: u32| vec![round as u8; 20_000];
    let replace = |round| (0..8u32).for_each(|key| writer.set_bytes(key, &large(round)).unwrap());
    replace(0);
    let held: Vec<_> = std::thread::scope(|scope| {
        let cache = &cache;
        let borrow = |thread: u32| {
            let get = |n: u32| cache.get_ref((thread + n) % 8).unwrap().unwrap();
            (0..400).for_each(|n| drop([get(n), get(n + 1), get(n + 5)]));
            get(0)
        };
        let threads: Vec<_> = (0..4).map(|thread| scope.spawn(move || borrow(thread))).collect();
        (1..40).for_each(replace);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    replace(40);
    assert_eq!(pinned(&cache), held.len() as u64 * 20_480);
    drop(held);
    assert_eq!(pinned(&cache), 0);
}
