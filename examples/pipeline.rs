//! A pipeline over real files: an expensive analysis of each, cached, and shared by four processes.
//!
//! ```sh
//! cargo run --release --example pipeline [DIR]
//! ```
//!
//! DIR is the directory to analyse; without one, the sources of this crate. The cache is in the directory that the
//! variable `CACHE_DIR` names, else in `target/pipeline-cache`. Run it twice: the second run is served from the cache.
//! Touch or change a file, and that file alone is analysed again.
//!
//! The program starts itself four times. These workers talk to each other through the cache alone: it holds a queue of the
//! files that are to be done, the results, and an index with the sums of each file type. This file is the pipeline; what is
//! computed is in `pipeline/analysis.rs`.

#[path = "pipeline/analysis.rs"]
mod analysis;

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use analysis::Analysis;
use larder::{Cache, Error, Index, SetOptions};
use serde::{Deserialize, Serialize};

const WORKERS: usize = 4;
const SIZE_LIMIT: u64 = 256 << 20;
/// A result is good for a day, whether its file changes or not.
const RESULT_LIFE: Duration = Duration::from_secs(24 * 3600);
/// What the workers of one run share is removed when the run ends; if it is killed, after an hour.
const RUN_LIFE: Duration = Duration::from_secs(3600);
/// Part of every key: a program that computes something else must not find these results.
const ANALYSIS_VERSION: u32 = 1;
/// Longer than the analysis of any file takes. A file whose worker has died does not wait for that.
const LEASE: Duration = Duration::from_secs(600);
/// The first argument of a worker.
const WORKER: &str = "--worker";

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

/// One file as it was when the run began. Any change of it gives another key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SourceFile {
    path: PathBuf,
    bytes: u64,
    modified_ns: i128,
}

impl SourceFile {
    fn at(path: &Path) -> Result<SourceFile, Failure> {
        let about = std::fs::metadata(path).map_err(|error| Failure(format!("{}: {error}", path.display())))?;
        let modified_ns = i128::from(about.mtime()) * 1_000_000_000 + i128::from(about.mtime_nsec());
        Ok(SourceFile { path: path.to_owned(), bytes: about.len(), modified_ns })
    }

    /// Under which its result is stored.
    fn key(&self) -> (&str, u32, &[u8], u64, i128) {
        ("analysis", ANALYSIS_VERSION, self.path.as_os_str().as_bytes(), self.bytes, self.modified_ns)
    }

    /// The tag of its result: `cache.evict("rs")` would forget all Rust files at once.
    fn file_type(&self) -> String {
        self.path.extension().map_or("(none)".into(), |extension| extension.to_string_lossy().into_owned())
    }
}

fn main() -> Result<(), Failure> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cache_dir = std::env::var_os("CACHE_DIR").map_or(project.join("target/pipeline-cache"), PathBuf::from);
    let cache = Cache::builder(&cache_dir).size_limit(SIZE_LIMIT).open()?;
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    match arguments.as_slice() {
        [flag] if flag.as_os_str() == WORKER => work(&cache),
        [] => lead(&cache, &project.join("src")),
        [directory] => lead(&cache, Path::new(directory)),
        _ => Err(Failure("usage: pipeline [DIR]".into())),
    }
}

// ---- A worker ---------------------------------------------------------------------------------------------------------

/// What is to be done: the number of the run that wants it, and a file.
type Job = (i64, SourceFile);
/// The sums of a run, by file type.
type Summary = Index<(i64, String), Totals>;

/// What one process does: takes the next file that nobody has taken, until there is none.
fn work(cache: &Cache) -> Result<(), Failure> {
    let jobs = cache.deque::<Job>("files")?;
    while let Some(job) = jobs.lease_front(LEASE)? {
        let (run, file) = job.value();
        let found = find(cache, file);
        // The file is done by the commit that counts it. If this process dies before, it goes to another one.
        let counted = cache.transact(|tx| {
            if let Ok((analysis, count)) = &found {
                let sums: Summary = tx.index("sums")?;
                let mut totals = sums.get((*run, file.file_type()))?.unwrap_or_default();
                totals.add(analysis);
                sums.insert((*run, file.file_type()), &totals)?;
                tx.incr_with((*run, *count), 1, 0, run_options(&run_tag(*run)))?;
            }
            job.ack_in(&tx.deque("files")?)
        });
        match (counted, found) {
            (Err(Error::LeaseLost), _) => {}
            (Err(error), _) => return Err(error.into()),
            // One file that cannot be read is no reason to leave the others.
            (Ok(()), Err(failure)) => eprintln!("skipped: {failure:?}"),
            (Ok(()), Ok(_)) => {}
        }
    }
    Ok(())
}

/// The result of one file, from the cache or stored there now, and what that counts as.
fn find(cache: &Cache, file: &SourceFile) -> Result<(Analysis, &'static str), Failure> {
    if let Some(analysis) = cache.get::<Analysis>(file.key())? {
        return Ok((analysis, "hits"));
    }
    let bytes = std::fs::read(&file.path).map_err(|error| Failure(format!("{}: {error}", file.path.display())))?;
    let analysis = analysis::analyse(&bytes);
    if SourceFile::at(&file.path)? != *file {
        return Err(Failure(format!("{}: changed during the run", file.path.display())));
    }
    let file_type = file.file_type();
    cache.set_with(file.key(), &analysis, SetOptions::new().expire(RESULT_LIFE).tag(file_type))?;
    Ok((analysis, "misses"))
}

// ---- The process that was started -------------------------------------------------------------------------------------

/// Lists the files, lets the workers loose on them, and prints what they found.
fn lead(cache: &Cache, directory: &Path) -> Result<(), Failure> {
    let began = Instant::now();
    let files = files_below(directory)?;
    cache.expire()?;
    let run = cache.incr("runs", 1)?;
    let tag = run_tag(run);
    cache.deque::<Job>("files")?.extend(files.iter().map(|file| (run, file.clone())))?;
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        workers.push(Command::new(std::env::current_exe()?).arg(WORKER).spawn()?);
    }
    for worker in workers {
        wait(worker)?;
    }
    // What a worker had that was killed is done here.
    work(cache)?;
    let results = cache.get_many::<Analysis>(files.iter().map(SourceFile::key))?;
    let seconds = began.elapsed().as_secs_f64();
    let hits = cache.get::<u64>((run, "hits"))?.unwrap_or(0);
    let misses = cache.get::<u64>((run, "misses"))?.unwrap_or(0);
    print_table(&cache.index("sums")?, run)?;
    // What this run counted goes; the results stay.
    cache.evict(&tag)?;
    let found: Vec<&Analysis> = results.iter().flatten().collect();
    print_summary(cache, &found, (hits, misses), seconds);
    if found.len() < files.len() {
        return Err(Failure(format!("{} of {} files have no result", files.len() - found.len(), files.len())));
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
    files.sort_by(|a, b| a.path.cmp(&b.path));
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
}

impl Totals {
    fn add(&mut self, analysis: &Analysis) {
        self.files += 1;
        self.lines += analysis.lines;
        self.words += analysis.words;
        self.tokens += analysis.tokens;
        self.twins += analysis.twin_lines;
    }

    fn join(&mut self, other: &Totals) {
        self.files += other.files;
        self.lines += other.lines;
        self.words += other.words;
        self.tokens += other.tokens;
        self.twins += other.twins;
    }

    fn print(&self, name: &str) {
        let Totals { files, lines, words, tokens, twins } = self;
        println!("{name:<10} {files:>7} {lines:>9} {words:>9} {tokens:>9} {twins:>11}");
    }
}

/// Prints the sums of a run in the order of their types, and takes them out.
fn print_table(sums: &Summary, run: i64) -> Result<(), Failure> {
    let mut all = Totals::default();
    println!("{:<10} {:>7} {:>9} {:>9} {:>9} {:>11}", "type", "files", "lines", "words", "tokens", "twin lines");
    for sum in sums.prefix((run,)) {
        let ((_, name), totals) = sum?;
        totals.print(&name);
        all.join(&totals);
        sums.remove((run, name))?;
    }
    all.print("all");
    Ok(())
}

/// The time without the cache is what the stored results once cost, shared out among as many processes.
fn print_summary(cache: &Cache, found: &[&Analysis], (hits, misses): (u64, u64), seconds: f64) {
    let percent = if hits + misses == 0 { 0.0 } else { 100.0 * hits as f64 / (hits + misses) as f64 };
    let nanos: u64 = found.iter().map(|analysis| analysis.nanos).sum();
    let without = nanos as f64 / 1e9 / WORKERS as f64;
    println!();
    println!("hit rate        {percent:.1} % ({hits} hits, {misses} misses, {WORKERS} processes)");
    println!("without cache   {without:.3} s (time of the analyses, divided by the processes)");
    println!("this run        {seconds:.3} s");
    let directory = cache.directory();
    let directory = directory.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(directory);
    println!("on disk         {} KiB, {} items, in {}", cache.volume() >> 10, cache.len(), directory.display());
}
