//! Commits per second under `Durability::Sync`: by one thread, by several, and by several processes.
//!
//! `cargo bench --bench sync [-- seconds directory]`. The disk decides, so run it on the one that counts; the last column
//! is what hardly depends on it: how many times the commits of one thread. `strace -f -c -e fdatasync` shows how many calls
//! the commits shared.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use larder::{Cache, Durability};

/// In the environment of a child: how many threads it shall have.
const THREADS: &str = "LARDER_BENCH_THREADS";

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let seconds = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(2.0);
    let time = Duration::from_secs_f64(seconds);
    let place = arguments.next();
    if let (Ok(threads), Some(place)) = (std::env::var(THREADS), &place) {
        println!("{}", commits(Path::new(place), threads.parse().unwrap_or(1), time));
        return;
    }
    let base = place.map_or_else(std::env::temp_dir, Into::into);
    let mut alone = 0.0;
    println!("{:>9} {:>7} {:>12} {:>9}", "processes", "threads", "commits/s", "of one");
    for (processes, threads) in [(1, 1), (1, 2), (1, 4), (1, 8), (2, 4), (4, 2)] {
        let directory = tempfile::tempdir_in(&base).expect("a directory for the store");
        let all = if processes == 1 {
            commits(directory.path(), threads, time)
        } else {
            by_processes(directory.path(), processes, threads, seconds)
        };
        let rate = all as f64 / seconds;
        if (processes, threads) == (1, 1) {
            alone = rate;
        }
        println!("{processes:>9} {threads:>7} {rate:>12.0} {:>9.2}", rate / alone);
    }
}

/// What so many threads of this process commit in a while.
fn commits(directory: &Path, threads: u64, time: Duration) -> u64 {
    let cache = Cache::builder(directory).durability(Durability::Sync).open().expect("the store opens");
    cache.set("warm", &0).expect("a change");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (cache, stop) = (&cache, &stop);
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    let mut done = 0u64;
                    while !stop.load(Ordering::Relaxed) {
                        cache
                            .set((std::process::id(), thread, done % 1000), "a value of some length")
                            .expect("a change");
                        done += 1;
                    }
                    done
                })
            })
            .collect();
        let start = Instant::now();
        while start.elapsed() < time {
            std::thread::sleep(time.saturating_sub(start.elapsed()));
        }
        stop.store(true, Ordering::Relaxed);
        workers.into_iter().map(|worker| worker.join().unwrap_or(0)).sum()
    })
}

fn by_processes(directory: &Path, processes: usize, threads: u64, seconds: f64) -> u64 {
    let program = std::env::current_exe().expect("this program has a path");
    let start = |_| {
        Command::new(&program)
            .arg(seconds.to_string())
            .arg(directory)
            .env(THREADS, threads.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process starts")
    };
    let children: Vec<_> = (0..processes).map(start).collect();
    let count = |child: std::process::Child| {
        let output = child.wait_with_output().expect("a process ends");
        String::from_utf8_lossy(&output.stdout).trim().parse::<u64>().unwrap_or(0)
    };
    children.into_iter().map(count).sum()
}
