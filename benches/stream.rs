//! What a long value costs that is written and read piece by piece, beside `cat` to and from the same file system; and how much
//! memory that takes. `cargo bench --bench stream [MIB]`

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use larder::{Cache, SetOptions};

const ROUNDS: usize = 5;

/// Bytes that are made as they are read.
struct Source {
    left: u64,
    block: Vec<u8>,
}

impl Read for Source {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let len = self.left.min(to.len() as u64).min(self.block.len() as u64) as usize;
        to[..len].copy_from_slice(&self.block[..len]);
        self.left -= len as u64;
        Ok(len)
    }
}

fn source(len: u64) -> Source {
    Source { left: len, block: (0..1 << 20).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect() }
}

/// MiB a second.
fn rate(len: u64, work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    len as f64 / (1 << 20) as f64 / start.elapsed().as_secs_f64()
}

/// The most memory this process had at a time, in MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// The output of a `cat` whose input is written by `feed`, or is a file.
fn cat(from: Stdio, to: Stdio, feed: impl FnOnce(&mut dyn Write)) {
    let mut child = Command::new("cat").stdin(from).stdout(to).spawn().expect("there is a cat");
    if let Some(mut input) = child.stdin.take() {
        feed(&mut input);
    }
    assert!(child.wait().expect("it ends").success());
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn round(cache: &Cache, plain: &Path, len: u64) -> [f64; 4] {
    let write = rate(len, || {
        assert_eq!(cache.set_reader("long", source(len), SetOptions::new()).expect("room"), len);
    });
    let read = rate(len, || {
        let mut reader = cache.reader("long").expect("a read").expect("it is there");
        // As long as that of `cat`.
        let (mut buffer, mut all) = (vec![0; 128 << 10], 0);
        while let Some(read) = Some(reader.read(&mut buffer).expect("whole")).filter(|read| *read > 0) {
            all += read as u64;
        }
        assert_eq!(all, len);
    });
    let cat_write = rate(len, || {
        let to = File::create(plain).expect("a file").into();
        cat(Stdio::piped(), to, |input| assert_eq!(io::copy(&mut source(len), input).expect("written"), len));
    });
    let cat_read = rate(len, || cat(File::open(plain).expect("a file").into(), Stdio::null(), |_| ()));
    cache.delete("long").expect("a removal");
    std::fs::remove_file(plain).expect("a file");
    [write, read, cat_write, cat_read]
}

fn main() {
    let mib: u64 = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(1024);
    let directory = tempfile::tempdir().expect("a directory");
    let cache =
        Cache::builder(directory.path().join("cache")).size_limit((mib * 2).max(64) << 20).open().expect("a cache");
    let plain = directory.path().join("plain");
    let rounds: Vec<[f64; 4]> = (0..ROUNDS).map(|_| round(&cache, &plain, mib << 20)).collect();
    let of = |place: usize| median(&mut rounds.iter().map(|round| round[place]).collect::<Vec<f64>>());
    println!("{mib} MiB, medians of {ROUNDS} rounds, MiB/s");
    println!("write: larder {:.0}, cat {:.0}, ratio {:.2}", of(0), of(2), of(0) / of(2));
    println!("read: larder {:.0}, cat {:.0}, ratio {:.2}", of(1), of(3), of(1) / of(3));
    println!("most memory: {} MiB", peak());
}
