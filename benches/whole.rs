//! What do the calls cost that concern all items: `len`, `volume`, `evict`, opening, and rebuilding the index?

mod stage;

use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use criterion::{Criterion, Throughput};
use larder::SetOptions;
use stage::{Bytes, filled, items, key, open, rounds, timed, value};

/// In the environment of the child that is going to be killed: the directory.
const VICTIM: &str = "LARDER_BENCH_VICTIM";

fn sizes(criterion: &mut Criterion) {
    let items = items();
    let (cache, _directory) = filled(items, 100);
    let mut group = criterion.benchmark_group(format!("size of {items}"));
    group.warm_up_time(Duration::from_secs(1));
    group.bench_function("len", |b| b.iter(|| black_box(cache.len())));
    group.bench_function("volume", |b| b.iter(|| black_box(cache.volume())));
    group.finish();
}

fn evict(criterion: &mut Criterion) {
    let items = items();
    let (cache, _directory) = filled(0, 100);
    let bytes = value(100);
    let tag_all = || {
        for start in (0..items).step_by(1000) {
            let pairs = (start..(start + 1000).min(items)).map(|i| (key(i), Bytes(&bytes)));
            cache.set_many_with(pairs, SetOptions::new().tag("all")).expect("stored");
        }
    };
    let mut group = criterion.benchmark_group("evict");
    rounds(&mut group, &format!("a tag of {items}"), tag_all, |()| {
        let mut evicted = 0;
        let time = timed(|| evicted = cache.evict("all").expect("evicted"));
        assert_eq!(evicted, items);
        (time, 1)
    });
    group.finish();
}

fn opening(criterion: &mut Criterion) {
    let items = items();
    let (cache, directory) = filled(items, 100);
    let log_bytes = cache.volume();
    drop(cache);
    let path = directory.path();
    let open_once = |()| {
        let mut opened = None;
        let time = timed(|| opened = Some(open(path)));
        assert_eq!(opened.map(|cache| cache.len() as u64), Some(items));
        (time, 1)
    };
    let mut group = criterion.benchmark_group(format!("open {items}"));
    rounds(&mut group, "after a close", || (), |()| open_once(()));
    rounds(&mut group, "after SIGKILL of the only process", || kill_one(path), |()| open_once(()));
    group.throughput(Throughput::Bytes(log_bytes));
    let forget = || std::fs::remove_file(path.join("state")).expect("the state file is there");
    rounds(&mut group, "rebuild, the state file being lost", forget, |()| open_once(()));
    group.finish();
}

/// Starts a process that opens the directory and writes, and kills it.
fn kill_one(path: &Path) {
    let program = std::env::current_exe().expect("this program has a path");
    let mut child = Command::new(program).env(VICTIM, path).stdout(Stdio::piped()).spawn().expect("the child starts");
    let mut line = String::new();
    let output = child.stdout.take().expect("the child's output is piped");
    BufReader::new(output).read_line(&mut line).expect("the child speaks");
    assert_eq!(line, "written\n");
    child.kill().expect("the child is killed");
    child.wait().expect("the child ends");
}

/// What the child does: replaces an item, says so, and waits for the end.
fn be_killed(path: &Path) {
    let cache = open(path);
    cache.set_bytes(key(0), &value(100)).expect("stored");
    println!("written");
    loop {
        std::thread::park();
    }
}

fn main() {
    if let Some(path) = std::env::var_os(VICTIM) {
        return be_killed(Path::new(&path));
    }
    let mut criterion = Criterion::default().measurement_time(Duration::from_secs(1)).configure_from_args();
    sizes(&mut criterion);
    evict(&mut criterion);
    opening(&mut criterion);
    criterion.final_summary();
}
