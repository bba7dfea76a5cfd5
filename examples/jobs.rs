//! A job queue that several processes share, and a worker that is killed in the middle of a job.
//!
//! ```sh
//! cargo run --release --example jobs
//! ```
//!
//! The program starts itself as workers. Jobs are leased: one whose worker dies goes to another one, and a job is done by the
//! same commit that writes down its result, so each counts once. The results are an index sorted by score, which is
//! printed as a leaderboard.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use larder::{Cache, Deque, Error, Index, Result};

const WORKERS: usize = 4;
const JOBS: u64 = 400;
const WORKER: &str = "--worker";
/// Longer than any job takes. A job whose worker has died does not wait for that.
const LEASE: Duration = Duration::from_secs(60);
/// So long a worker that finds nothing waits for more.
const PATIENCE: Duration = Duration::from_secs(1);

/// From which number on the search begins.
type Job = u64;
/// Steps that a number took, and the number: the longest way is the last.
type Score = (u64, u64);

fn main() -> std::io::Result<()> {
    let project = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = std::env::var_os("QUEUE_DIR").map_or(project.join("target/jobs"), PathBuf::from);
    let cache = Cache::builder(&directory).size_limit(64 << 20).open()?;
    let (jobs, board) = (cache.deque::<Job>("jobs")?, cache.index::<Score, u32>("leaderboard")?);
    if std::env::args().nth(1).as_deref() == Some(WORKER) {
        return Ok(work(&cache, &jobs)?);
    }
    jobs.clear()?;
    board.clear()?;
    cache.delete("done")?;
    lead(&cache, &jobs, &board)
}

// ---- A worker ---------------------------------------------------------------------------------------------------------

fn work(cache: &Cache, jobs: &Deque<Job>) -> Result<()> {
    while let Some(job) = jobs.lease_front_wait(LEASE, PATIENCE)? {
        // Whoever has started this process may be waiting for it to be in the middle of something.
        println!("working on {}", job.value());
        let best = longest_way(*job.value());
        let done = cache.transact(|tx| {
            tx.index::<Score, u32>("leaderboard")?.insert(best, &std::process::id())?;
            tx.incr("done", 1)?;
            job.ack_in(&tx.deque("jobs")?)
        });
        match done {
            // Somebody else has taken it for dead, and does it.
            Err(Error::LeaseLost) => {}
            outcome => outcome?,
        }
    }
    Ok(())
}

/// Of a thousand numbers, the one from which the Collatz sequence needs the most steps to come to 1.
fn longest_way(job: Job) -> Score {
    let steps = |start: u64| {
        let mut number = start;
        let mut steps = 0;
        while number != 1 {
            number = if number.is_multiple_of(2) { number / 2 } else { 3 * number + 1 };
            steps += 1;
        }
        (steps, start)
    };
    (job * 1000 + 1..=job * 1000 + 1000).map(steps).max().unwrap_or_default()
}

// ---- The process that was started -------------------------------------------------------------------------------------

fn lead(cache: &Cache, jobs: &Deque<Job>, board: &Index<Score, u32>) -> std::io::Result<()> {
    let mut victim = start(Stdio::piped())?;
    let others: std::io::Result<Vec<Child>> = (1..WORKERS).map(|_| start(Stdio::null())).collect();
    jobs.extend(0..JOBS)?;

    // One dies while it has a job.
    if let Some(output) = victim.stdout.take() {
        BufReader::new(output).read_line(&mut String::new())?;
    }
    victim.kill()?;
    victim.wait()?;

    for mut worker in others? {
        worker.wait()?;
    }
    // Had all of them died, this would do what they left.
    work(cache, jobs)?;

    let done = cache.get::<u64>("done")?.unwrap_or(0);
    println!("{done} of {JOBS} jobs done by {} processes, one of {WORKERS} killed", processes(board)?);
    println!("\n{:>4} {:>9} {:>6}", "", "number", "steps");
    for (place, entry) in board.iter().rev().take(10).enumerate() {
        let ((steps, number), _) = entry?;
        println!("{:>3}. {number:>9} {steps:>6}", place + 1);
    }
    assert_eq!((done, jobs.len(), jobs.leased()?), (JOBS, 0, 0), "every job is done, once");
    assert_eq!(board.len() as u64, JOBS, "and each has its result");
    Ok(())
}

/// What the first worker says is read; of the others nobody needs it.
fn start(output: Stdio) -> std::io::Result<Child> {
    Command::new(std::env::current_exe()?).arg(WORKER).stdout(output).spawn()
}

fn processes(board: &Index<Score, u32>) -> Result<usize> {
    let ids: Result<std::collections::BTreeSet<u32>> = board.values().collect();
    Ok(ids?.len())
}
