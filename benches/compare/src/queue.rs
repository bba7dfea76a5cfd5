//! What does a queue cost: an element pushed and popped, beside SQLite as python-diskcache uses it; waking a process that waits,
//! and its waiting; an element leased and acknowledged? All in one run, in turns, as medians.
//!
//! `cargo run --release --bin queue [ROUNDS]`. Directories are made beside the program, or in `LARDER_BENCH_DIR`.

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use larder::Deque;
use larder_compare::measure::{Outcome, micros, parent, print, quantile};
use larder_compare::memory;
use larder_compare::sqlite_queue::SqliteQueue;
use rustix::time::{ClockId, clock_gettime};

/// Elements of the long queue.
const LONG: u64 = 100_000;
/// Pairs of a round.
const PAIRS: u64 = 100_000;
const SQLITE_PAIRS: u64 = 10_000;
const LEASES: u64 = 20_000;
/// Elements that are pushed, and then leased one by one.
const TOGETHER: u64 = 100;
const WAKES: usize = 5_000;
/// Within this time who waits has gone to sleep, and its processor perhaps too.
const PAUSE: Duration = Duration::from_micros(300);
/// In the environment of the process that answers: the directory of the two queues.
const ECHO: &str = "LARDER_COMPARE_ECHO";

/// Nanoseconds of a clock.
fn nanos(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Both kinds of queue, each with so many elements in it, and what a pair took in each round.
struct Sides {
    deque: Deque<String>,
    sqlite: SqliteQueue,
    times: [Vec<f64>; 2],
    _directories: [tempfile::TempDir; 2],
}

impl Sides {
    fn new(parent: &Path, value: &str, len: u64) -> Outcome<Sides> {
        let directories = [tempfile::tempdir_in(parent)?, tempfile::tempdir_in(parent)?];
        let deque = Deque::open(&directories[0])?;
        deque.extend((0..len).map(|_| value.to_owned()))?;
        let sqlite = SqliteQueue::open(directories[1].path())?;
        sqlite.fill(value, len)?;
        Ok(Sides { deque, sqlite, times: [Vec::new(), Vec::new()], _directories: directories })
    }

    fn round(&mut self, value: &str) -> Outcome<()> {
        let time = micros(PAIRS, || {
            self.deque.push_back(value)?;
            assert!(self.deque.pop_front()?.is_some());
            Ok(())
        })?;
        self.times[0].push(time);
        let time = micros(SQLITE_PAIRS, || {
            self.sqlite.append(value)?;
            assert!(self.sqlite.popleft()?.is_some());
            Ok(())
        })?;
        self.times[1].push(time);
        Ok(())
    }

    fn print(&mut self, name: &str) {
        let ours = print(&format!("larder, push and pop of 100 B, {name}"), &mut self.times[0]);
        let theirs = print(&format!("SQLite, append and popleft of 100 B, {name}"), &mut self.times[1]);
        println!("{:<58} {:>9.1}", "  ratio", theirs / ours);
    }
}

/// What an element costs that is leased and acknowledged, in one round.
fn leases(deque: &Deque<String>, value: &str) -> Outcome<f64> {
    let mut times = Vec::new();
    for _ in 0..LEASES / TOGETHER {
        (0..TOGETHER).try_for_each(|_| deque.push_back(value))?;
        let time = micros(TOGETHER, || {
            let lease = deque.lease_front(Duration::from_secs(60))?.ok_or("an element is there")?;
            Ok(lease.ack()?)
        })?;
        times.push(time);
    }
    Ok(times.iter().sum::<f64>() / times.len() as f64)
}

/// The two queues between the processes.
fn channel(directory: &Path) -> Outcome<(Deque<u64>, Deque<u64>)> {
    Ok((Deque::open(directory.join("there"))?, Deque::open(directory.join("back"))?))
}

/// What the other process does: says of each moment how long ago it was when the element was there. Ends with a zero.
fn echo(directory: &Path) -> Outcome<()> {
    let (there, back) = channel(directory)?;
    loop {
        match there.pop_front_wait(Duration::from_secs(60))? {
            Some(0) | None => return Ok(()),
            Some(sent) => back.push_back(&nanos(ClockId::Monotonic).saturating_sub(sent))?,
        }
    }
}

/// Microseconds from before a push to after the pop of a process that sleeps.
fn wakes(parent: &Path) -> Outcome<Vec<f64>> {
    let directory = tempfile::tempdir_in(parent)?;
    let (there, back) = channel(directory.path())?;
    let mut child: Child = Command::new(std::env::current_exe()?).env(ECHO, directory.path()).spawn()?;
    let mut times = Vec::with_capacity(WAKES);
    for _ in 0..WAKES {
        std::thread::sleep(PAUSE);
        there.push_back(&nanos(ClockId::Monotonic))?;
        let late = back.pop_front_wait(Duration::from_secs(60))?.ok_or("the other process answers")?;
        times.push(late as f64 / 1e3);
    }
    there.push_back(&0)?;
    assert!(child.wait()?.success());
    Ok(times)
}

fn main() -> Outcome<()> {
    if let Some(directory) = std::env::var_os(ECHO) {
        return echo(Path::new(&directory));
    }
    let rounds: usize = std::env::args().nth(1).map_or(Ok(9), |text| text.parse())?;
    let parent = parent()?;
    let value = "x".repeat(100);
    let mut short = Sides::new(&parent, &value, 0)?;
    let mut long = Sides::new(&parent, &value, LONG)?;
    let leased = tempfile::tempdir_in(&parent)?;
    let leased = (Deque::open(&leased)?, leased);
    let mut lease_times = Vec::new();
    for _ in 0..rounds.max(1) {
        memory::touch(&parent)?;
        short.round(&value)?;
        memory::touch(&parent)?;
        long.round(&value)?;
        memory::touch(&parent)?;
        lease_times.push(leases(&leased.0, &value)?);
    }
    println!("{:<58} {:>9}   (least to most of {rounds} rounds)", "us a pair", "median");
    short.print("short queue");
    long.print("among 100,000");
    print("larder, lease and ack of 100 B", &mut lease_times);

    let mut late = wakes(&parent)?;
    let (half, most) = (quantile(&mut late, 0.5), quantile(&mut late, 0.99));
    println!("us from push to pop of a process that sleeps: p50 {half:.1}, p99 {most:.1}, of {WAKES}");

    assert!(leased.0.is_empty());
    let start = (Instant::now(), nanos(ClockId::ProcessCPUTime));
    assert!(leased.0.pop_front_wait(Duration::from_secs(1))?.is_none());
    let (waited, used) = (start.0.elapsed().as_secs_f64(), nanos(ClockId::ProcessCPUTime) - start.1);
    println!("us of a processor in {waited:.3} s of waiting: {:.0}", used as f64 / 1e3);
    Ok(())
}
