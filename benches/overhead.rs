//! How many bytes does an item take beyond its own, on disk and in the memory of a process that reads?
//!
//! Prints a table. Items have keys of 16 bytes and values of 100.

mod stage;

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use stage::{Uniform, filled, items, key, open};

/// In the environment of the process that reads: the directory.
const READER: &str = "LARDER_BENCH_READER";
const ITEM: u64 = 16 + 100;

fn main() {
    if let Some(path) = std::env::var_os(READER) {
        return read(Path::new(&path));
    }
    let items = items();
    let (cache, directory) = filled(items, 100);
    let volume = cache.volume();
    let records = cache.check().expect("the store is readable").bytes;
    drop(cache);
    let path = directory.path();
    let all = allocated(path, "");
    let per_item = |bytes: u64| bytes as f64 / items as f64;
    println!("{items} items of 16 + 100 B                 bytes   bytes an item");
    let row = |name: &str, bytes: u64| println!("{name:34} {bytes:12} {:13.1}", per_item(bytes));
    row("on disk, all files", all);
    row("volume()", volume);
    let log = allocated(path, "log-");
    row("log", log);
    row("of it not filled yet", log.saturating_sub(records));
    row("index", allocated(path, "index-"));
    row("state", allocated(path, "state"));
    row("overhead", all.saturating_sub(items * ITEM));
    row("overhead without what is not filled", all.saturating_sub(log.saturating_sub(records) + items * ITEM));
    println!();
    println!("a process that reads                  VmRSS kB   anonymous   of files");
    let program = std::env::current_exe().expect("this program has a path");
    let status = Command::new(program).env(READER, path).status().expect("the reader runs");
    assert!(status.success());
}

/// Bytes of disk under the files whose names begin so.
fn allocated(path: &Path, prefix: &str) -> u64 {
    let entries = std::fs::read_dir(path).expect("the directory is readable").map(|entry| entry.expect("an entry"));
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| {
            let metadata = entry.metadata().expect("the file is there");
            if metadata.is_dir() { allocated(&entry.path(), "") } else { metadata.blocks() * 512 }
        })
        .sum()
}

fn read(path: &Path) {
    let items = items();
    report("before opening");
    let cache = open(path);
    report("opened");
    let mut draws = Uniform::below(items);
    let mut get = |count: u64| {
        for _ in 0..count {
            assert!(cache.get_bytes(key(draws.draw())).expect("readable").is_some());
        }
    };
    // The kernel maps some 64 KiB around every page that is touched for the first time, in the index and in the log.
    get(10);
    report("10 gets");
    get(90);
    report("100 gets");
    get(900);
    report("1,000 gets");
    get(items - 1000);
    report("as many gets as items");
    for i in 0..items {
        assert!(cache.get_bytes(key(i)).expect("readable").is_some());
    }
    report("every item read");
}

fn report(moment: &str) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().nth(1).unwrap_or("?").to_owned()
    };
    println!("{moment:34} {:>11} {:>11} {:>10}", field("VmRSS"), field("RssAnon"), field("RssFile"));
}
