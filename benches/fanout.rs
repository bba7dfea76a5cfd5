//! Writers of several processes on one `Cache` and on a `FanoutCache`: sets per second of all together, and how long one takes.
//!
//! `cargo bench --bench fanout [-- processes shards rounds directory]`. The two take turns; what is printed are medians of the
//! rounds. Each process stores keys of its own, and at the end every key has its last value: nothing was dropped.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use larder::{Cache, FanoutCache};

/// In the environment of a child: its number, and the shards of the cache or 0 for one without.
const CHILD: &str = "LARDER_BENCH_CHILD";
const KEYS: u64 = 20_000;
const SETS: u64 = 200_000;
const LIMIT: u64 = 2 << 30;
const VALUE: [u8; 92] = [7; 92];

fn open(directory: &Path, shards: u32) -> Cache {
    if shards == 0 {
        return Cache::builder(directory).size_limit(LIMIT).open().expect("the cache opens");
    }
    let opened = FanoutCache::builder(directory).size_limit(LIMIT).shards(shards).open();
    Cache::clone(&opened.expect("the cache opens"))
}

fn value(set: u64) -> [u8; 100] {
    let mut bytes = [0; 100];
    bytes[..8].copy_from_slice(&set.to_le_bytes());
    bytes[8..].copy_from_slice(&VALUE);
    bytes
}

/// What a child does: waits for the word, and prints how long each set took, by percentile, and all of them.
fn play(directory: &Path, number: u64, shards: u32) {
    let cache = open(directory, shards);
    cache.set_bytes((number, KEYS), &value(0)).expect("a set");
    println!("ready");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).expect("the word comes");
    let mut nanos: Vec<u64> = Vec::with_capacity(SETS as usize);
    let start = Instant::now();
    let mut last = start;
    for set in 0..SETS {
        let key = set.wrapping_mul(7919) % KEYS;
        cache.set_bytes((number, key), &value(set)).expect("a set");
        let now = Instant::now();
        nanos.push(now.duration_since(last).as_nanos() as u64);
        last = now;
    }
    let all = start.elapsed();
    nanos.sort_unstable();
    let at = |part: f64| nanos[(nanos.len() as f64 * part) as usize];
    println!("{} {} {} {}", all.as_nanos(), at(0.5), at(0.99), at(0.999));
}

/// One round: sets per second of all processes, and the percentiles of a set, each as the median of the processes.
fn round(base: &Path, processes: u64, shards: u32) -> [f64; 4] {
    let directory = tempfile::tempdir_in(base).expect("a directory for the cache");
    let program = std::env::current_exe().expect("this program has a path");
    let start = |number: u64| {
        Command::new(&program)
            .arg(directory.path())
            .env(CHILD, format!("{number} {shards}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process starts")
    };
    let mut children: Vec<Child> = (0..processes).map(start).collect();
    let mut outputs: Vec<_> = children
        .iter_mut()
        .map(|child| BufReader::new(child.stdout.take().expect("it is piped")).lines().map(|line| line.expect("text")))
        .collect();
    for output in &mut outputs {
        assert_eq!(output.next().as_deref(), Some("ready"));
    }
    let began = Instant::now();
    for child in &mut children {
        writeln!(child.stdin.as_mut().expect("it is piped"), "go").expect("the child listens");
    }
    let said: Vec<Vec<f64>> = outputs
        .into_iter()
        .map(|mut output| output.next().expect("a line"))
        .map(|line| line.split(' ').map(|number| number.parse().expect("a number")).collect())
        .collect();
    let seconds = began.elapsed().as_secs_f64();
    for mut child in children {
        assert!(child.wait().expect("a process ends").success());
    }
    assert_all_there(&open(directory.path(), shards), processes);
    let of_all = |at: usize| median(said.iter().map(|numbers| numbers[at]).collect());
    [(processes * SETS) as f64 / seconds, of_all(1), of_all(2), of_all(3)]
}

fn assert_all_there(cache: &Cache, processes: u64) {
    assert_eq!(cache.len() as u64, processes * (KEYS + 1));
    for number in 0..processes {
        for set in SETS - KEYS..SETS {
            let found = cache.get_bytes((number, set.wrapping_mul(7919) % KEYS)).expect("a get");
            assert_eq!(found.as_deref(), Some(&value(set)[..]), "nothing is dropped");
        }
    }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    if let Ok(child) = std::env::var(CHILD) {
        let (number, shards) = child.split_once(' ').expect("two numbers");
        let directory = arguments.next().expect("a directory");
        return play(Path::new(&directory), number.parse().expect("a number"), shards.parse().expect("a number"));
    }
    let mut number = |default| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (processes, shards, rounds) = (number(8), number(8) as u32, number(5));
    let base = arguments.next().map_or_else(std::env::temp_dir, Into::into);
    let mut found: [Vec<[f64; 4]>; 2] = Default::default();
    for _ in 0..rounds {
        for (numbers, shards) in found.iter_mut().zip([0, shards]) {
            numbers.push(round(&base, processes, shards));
        }
    }
    println!("{processes} processes, {SETS} sets of 100 B each, medians of {rounds} rounds");
    println!("{:<10} {:>10} {:>10} {:>10} {:>10}", "", "sets/s", "p50 ns", "p99 ns", "p99.9 ns");
    for (numbers, name) in found.iter().zip(["Cache".to_string(), format!("{shards} shards")]) {
        let of_all = |at: usize| median(numbers.iter().map(|numbers| numbers[at]).collect());
        println!("{name:<10} {:>10.0} {:>10.0} {:>10.0} {:>10.0}", of_all(0), of_all(1), of_all(2), of_all(3));
    }
}
