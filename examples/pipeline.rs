//! A pipeline over real files: an expensive analysis of each, cached, and shared by four processes.
//!
//! ```sh
//! cargo run --release --example pipeline [DIR]
//! ```
//!
//! DIR is the directory to analyse; without one, the sources of this crate. The cache is in the directory that the
//! variable `CACHE_DIR` names, else in `target/pipeline-cache`; `FANOUT_DIR` and `QUEUE_DIR` name two more, else they are beside
//! it. Run it twice: the second run is served from the cache. Touch or change a file, and that file alone is analysed again.
//!
//! The program starts itself four times. These workers talk to each other through the directories alone: a queue of the files that
//! are to be done; the cache with the results, which a memoized function keeps, and an index with the sums of each file type; and a
//! fan-out cache in which the first to meet some contents leaves its name, so that copies are found. Two of them read files at
//! a time, for which a semaphore is in the cache; the report is written to the cache as a stream. This file is the pipeline; what
//! is computed is in `pipeline/analysis.rs`.

#[path = "pipeline/analysis.rs"]
mod analysis;

use std::cell::Cell;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use analysis::Analysis;
use larder::recipes::{Averager, BoundedSemaphore};
use larder::{Cache, Deque, Error, FanoutCache, Index, Key, SetOptions, memoize};
use serde::{Deserialize, Serialize};

const WORKERS: usize = 4;
/// How many of them read a file at a time.
const READERS: usize = 2;
const SHARDS: u32 = 4;
const SIZE_LIMIT: u64 = 256 << 20;
/// What the workers of one run share is removed when the run ends; if it is killed, after an hour.
const RUN_LIFE: Duration = Duration::from_secs(3600);
/// Longer than the analysis of any file takes. A file whose worker has died does not wait for that.
const LEASE: Duration = Duration::from_secs(600);
/// The first argument of a worker.
const WORKER: &str = "--worker";

/// Where the results are.
static CACHE: LazyLock<Cache> = LazyLock::new(|| {
    let cache = Cache::builder(directory("CACHE_DIR", "pipeline-cache")).size_limit(SIZE_LIMIT).open();
    cache.unwrap_or_else(|error| exit(&error))
});

/// Which contents were met in a run, and where first.
static CONTENTS: LazyLock<FanoutCache> = LazyLock::new(|| {
    let contents = FanoutCache::builder(directory("FANOUT_DIR", "pipeline-fanout")).shards(SHARDS).open();
    contents.unwrap_or_else(|error| exit(&error))
});

/// The directory that a variable of the environment names, or one of cargo's.
fn directory(variable: &str, default: &str) -> PathBuf {
    let target = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target").join(default);
    std::env::var_os(variable).map_or_else(target, PathBuf::from)
}

fn exit<T>(error: &Error) -> T {
    eprintln!("{error}");
    std::process::exit(1)
}

/// A failure, printed as a sentence when `main` returns it.
struct Failure(String);

impl std::fmt::Debug for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure(error.to_string())
    }
}

/// One file as it was when the run began. Any change of it makes another key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Key)]
struct SourceFile {
    name: Vec<u8>,
    bytes: u64,
    modified_ns: i128,
}

impl SourceFile {
    fn at(path: &Path) -> Result<SourceFile, Failure> {
        let about = std::fs::metadata(path).map_err(|error| Failure(format!("{}: {error}", path.display())))?;
        let modified_ns = i128::from(about.mtime()) * 1_000_000_000 + i128::from(about.mtime_nsec());
        Ok(SourceFile { name: path.as_os_str().as_bytes().to_vec(), bytes: about.len(), modified_ns })
    }

    fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.name))
    }

    /// The tag of its result: `CACHE.evict("rs")` would forget all Rust files at once.
    fn file_type(&self) -> String {
        self.path().extension().map_or("(none)".into(), |extension| extension.to_string_lossy().into_owned())
    }
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    match arguments.as_slice() {
        [flag] if flag.as_os_str() == WORKER => work(),
        [] => lead(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")),
        [directory] => lead(Path::new(directory)),
        _ => Err(Failure("usage: pipeline [DIR]".into())),
    }
}

// ---- A worker ---------------------------------------------------------------------------------------------------------

/// What is to be done: the number of the run that wants it, and a file.
type Job = (i64, SourceFile);
/// The sums of a run, by file type.
type Summary = Index<(i64, String), Totals>;

fn jobs() -> larder::Result<Deque<Job>> {
    Deque::open(directory("QUEUE_DIR", "pipeline-queue"))
}

thread_local! {
    /// True once something was computed, and not found.
    static COMPUTED: Cell<bool> = const { Cell::new(false) };
}

/// The analysis of a file, good for a day and as long as the file stays as it is. Computed once if several workers ask at the same
/// time. Another version is for a program that computes something else.
#[memoize(cache = CACHE, expire = "24h", tag = file.file_type(), version = 2)]
fn analysis_of(file: &SourceFile) -> Result<Analysis, Failure> {
    let path = file.path();
    let reading = BoundedSemaphore::new(&CACHE, "readers", READERS)?.acquire()?;
    let contents = std::fs::read(path).map_err(|error| Failure(format!("{}: {error}", path.display())))?;
    drop(reading);
    let analysis = analysis::analyse(&contents);
    if SourceFile::at(path)? != *file {
        return Err(Failure(format!("{}: changed during the run", path.display())));
    }
    COMPUTED.set(true);
    Ok(analysis)
}

/// The analysis of a file, and whether it was found or computed.
fn find(file: &SourceFile) -> Result<(Analysis, &'static str), Failure> {
    COMPUTED.set(false);
    let analysis = analysis_of(file)?;
    Ok((analysis, if COMPUTED.get() { "misses" } else { "hits" }))
}

/// What one process does: takes the next file that nobody has taken, until there is none.
fn work() -> Result<(), Failure> {
    let jobs = jobs()?;
    while let Some(job) = jobs.lease_front(LEASE)? {
        let (run, file) = job.value();
        match find(file) {
            // One file that cannot be read is no reason to leave the others.
            Err(failure) => eprintln!("skipped: {failure:?}"),
            Ok((analysis, count)) => count_file(*run, file, &analysis, count)?,
        }
        match job.ack() {
            // It took longer than the lease, and the file is somebody else's.
            Err(Error::LeaseLost) => {}
            done => done?,
        }
    }
    Ok(())
}

/// Adds a file to the sums of its run, unless somebody has: who dies before it has acknowledged leaves the file to another one.
fn count_file(run: i64, file: &SourceFile, analysis: &Analysis, count: &str) -> larder::Result<()> {
    // Who comes first with these contents has the original. Of several processes one comes first.
    let of_run = SetOptions::new().expire(RUN_LIFE).tag(run_tag(run));
    let is_copy = !CONTENTS.add_with((run, analysis.digest), &file.name, of_run)?
        && CONTENTS.get::<Vec<u8>>((run, analysis.digest))?.is_some_and(|first| first != file.name);
    if count == "misses" {
        Averager::new(&CACHE, "nanoseconds of an analysis")?.add(analysis.nanos as f64)?;
    }
    let tag = run_tag(run);
    CACHE.transact(|tx| {
        if !tx.add_with((run, "done", &*file.name), &true, run_options(&tag))? {
            return Ok(());
        }
        let sums: Summary = tx.index("sums")?;
        let mut totals = sums.get((run, file.file_type()))?.unwrap_or_default();
        totals.add(analysis, is_copy);
        sums.insert((run, file.file_type()), &totals)?;
        tx.incr_with((run, count), 1, 0, run_options(&tag)).map(drop)
    })
}

// ---- The process that was started -------------------------------------------------------------------------------------

/// Lists the files, lets the workers loose on them, and prints what they found.
fn lead(directory: &Path) -> Result<(), Failure> {
    let began = Instant::now();
    let files = files_below(directory)?;
    CACHE.expire()?;
    let run = CACHE.incr("runs", 1)?;
    let tag = run_tag(run);
    jobs()?.extend(files.iter().map(|file| (run, file.clone())))?;
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        workers.push(Command::new(std::env::current_exe()?).arg(WORKER).spawn()?);
    }
    for worker in workers {
        wait(worker)?;
    }
    // What a worker had that was killed is done here.
    work()?;
    let seconds = began.elapsed().as_secs_f64();
    let counted = |count: &str| Ok::<u64, Error>(CACHE.get((run, count))?.unwrap_or(0));
    let (hits, misses) = (counted("hits")?, counted("misses")?);
    write_report(run)?;
    let mut report = String::new();
    if let Some(mut written) = CACHE.reader("report")? {
        written.read_to_string(&mut report)?;
    }
    print!("{report}");
    // What this run counted goes; the results stay.
    CACHE.evict(&tag)?;
    CONTENTS.evict(&tag)?;
    print_summary((hits, misses), seconds)?;
    if hits + misses < files.len() as u64 {
        let missing = files.len() as u64 - hits - misses;
        return Err(Failure(format!("{missing} of {} files have no result", files.len())));
    }
    Ok(())
}

/// A worker that was killed leaves the file that it had to the others.
fn wait(mut worker: Child) -> Result<(), Failure> {
    let status = worker.wait()?;
    if !status.success() {
        eprintln!("a worker ended badly: {status}");
    }
    Ok(())
}

fn run_tag(run: i64) -> String {
    format!("run {run}")
}

fn run_options(tag: &str) -> SetOptions<'_> {
    SetOptions::new().expire(RUN_LIFE).tag(tag)
}

/// All regular files below a directory, in order of path. Hidden ones, links, and directories that say they are caches
/// themselves, as cargo's `target` does, are left out.
fn files_below(directory: &Path) -> Result<Vec<SourceFile>, Failure> {
    let root = directory.canonicalize().map_err(|error| Failure(format!("{}: {error}", directory.display())))?;
    let mut directories = vec![root];
    let mut files = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).map_err(|e| Failure(format!("{}: {e}", directory.display())))? {
            let entry = entry?;
            let (kind, path) = (entry.file_type()?, entry.path());
            if entry.file_name().as_bytes().starts_with(b".") {
                continue;
            }
            if kind.is_dir() && !path.join("CACHEDIR.TAG").exists() {
                directories.push(path);
            } else if kind.is_file() {
                files.push(SourceFile::at(&path)?);
            }
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

// ---- What is printed --------------------------------------------------------------------------------------------------

#[derive(Debug, Default, Serialize, Deserialize)]
struct Totals {
    files: u64,
    lines: u64,
    words: u64,
    tokens: u64,
    twins: u64,
    copies: u64,
    /// Of the analyses, when they were made.
    nanos: u64,
}

impl Totals {
    fn add(&mut self, analysis: &Analysis, is_copy: bool) {
        self.files += 1;
        self.lines += analysis.lines;
        self.words += analysis.words;
        self.tokens += analysis.tokens;
        self.twins += analysis.twin_lines;
        self.copies += u64::from(is_copy);
        self.nanos += analysis.nanos;
    }

    fn join(&mut self, other: &Totals) {
        self.files += other.files;
        self.lines += other.lines;
        self.words += other.words;
        self.tokens += other.tokens;
        self.twins += other.twins;
        self.copies += other.copies;
        self.nanos += other.nanos;
    }

    fn write(&self, name: &str, to: &mut impl Write) -> std::io::Result<()> {
        let Totals { files, lines, words, tokens, twins, copies, .. } = self;
        writeln!(to, "{name:<10} {files:>7} {lines:>9} {words:>9} {tokens:>9} {twins:>11} {copies:>7}")
    }
}

/// Writes the sums of a run in the order of their types, as a value that is there when all of it is, and takes them out.
fn write_report(run: i64) -> Result<(), Failure> {
    let sums: Summary = CACHE.index("sums")?;
    let mut report = CACHE.writer("report", SetOptions::new().expire(RUN_LIFE))?;
    let mut all = Totals::default();
    let titles = ["type", "files", "lines", "words", "tokens", "twin lines", "copies"];
    let [name, files, lines, words, tokens, twins, copies] = titles;
    writeln!(report, "{name:<10} {files:>7} {lines:>9} {words:>9} {tokens:>9} {twins:>11} {copies:>7}")?;
    for sum in sums.prefix((run,)) {
        let ((_, name), totals) = sum?;
        totals.write(&name, &mut report)?;
        all.join(&totals);
        sums.remove((run, name))?;
    }
    all.write("all", &mut report)?;
    CACHE.set("nanoseconds of the last run", &all.nanos)?;
    report.commit()?;
    Ok(())
}

/// The time without the cache is what the results once cost, shared out among as many processes.
fn print_summary((hits, misses): (u64, u64), seconds: f64) -> Result<(), Failure> {
    let percent = if hits + misses == 0 { 0.0 } else { 100.0 * hits as f64 / (hits + misses) as f64 };
    let nanos: u64 = CACHE.get("nanoseconds of the last run")?.unwrap_or(0);
    let without = nanos as f64 / 1e9 / WORKERS as f64;
    let mean = Averager::new(&CACHE, "nanoseconds of an analysis")?.get()?.unwrap_or(0.0) / 1e6;
    println!();
    println!("hit rate        {percent:.1} % ({hits} hits, {misses} misses, {WORKERS} processes)");
    println!("an analysis     {mean:.1} ms in the mean, over all runs");
    println!("without cache   {without:.3} s (time of the analyses, divided by the processes)");
    println!("this run        {seconds:.3} s");
    let directory = CACHE.directory();
    let directory = directory.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(directory);
    println!("on disk         {} KiB, {} items, in {}", CACHE.volume() >> 10, CACHE.len(), directory.display());
    Ok(())
}
