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
//! The program starts itself four times. These workers talk to each other through the cache alone: it holds the list of
//! files, a counter from which each takes the next number, and the results. This file is the pipeline; what is computed
//! is in `pipeline/analysis.rs`.

#[path = "pipeline/analysis.rs"]
mod analysis;

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use analysis::Analysis;
use larder::{Cache, SetOptions};
use serde::{Deserialize, Serialize};

const WORKERS: usize = 4;
const SIZE_LIMIT: u64 = 256 << 20;
/// A result is good for a day, whether its file changes or not.
const RESULT_LIFE: Duration = Duration::from_secs(24 * 3600);
/// What the workers of one run share is removed when the run ends; if it is killed, after an hour.
const RUN_LIFE: Duration = Duration::from_secs(3600);
/// Part of every key: a program that computes something else must not find these results.
const ANALYSIS_VERSION: u32 = 1;
/// The first argument of a worker; its second is the number of the run.
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
        [flag, run] if flag.as_os_str() == WORKER => work(&cache, run.to_string_lossy().parse()?),
        [] => lead(&cache, &project.join("src")),
        [directory] => lead(&cache, Path::new(directory)),
        _ => Err(Failure("usage: pipeline [DIR]".into())),
    }
}

// ---- A worker ---------------------------------------------------------------------------------------------------------

/// What one process does: takes the next file that nobody has taken, until there is none.
fn work(cache: &Cache, run: i64) -> Result<(), Failure> {
    let files: Vec<SourceFile> = cache.get((run, "files"))?.ok_or(Failure(format!("run {run} has no files")))?;
    while let Some(file) = next_file(cache, run, &files)? {
        if let Err(failure) = process(cache, run, file) {
            // One file that cannot be read is no reason to leave the others.
            eprintln!("skipped: {failure:?}");
        }
    }
    Ok(())
}

/// `incr` gives every caller another number, in whatever process it is: no file is taken twice.
fn next_file<'f>(cache: &Cache, run: i64, files: &'f [SourceFile]) -> Result<Option<&'f SourceFile>, Failure> {
    let taken = cache.incr_with((run, "taken"), 1, 0, run_options(&run_tag(run)))?;
    Ok(usize::try_from(taken - 1).ok().and_then(|number| files.get(number)))
}

/// Makes sure that the result of one file is in the cache, and counts whether it was there.
fn process(cache: &Cache, run: i64, file: &SourceFile) -> Result<(), Failure> {
    if cache.get::<Analysis>(file.key())?.is_some() {
        cache.incr((run, "hits"), 1)?;
        return Ok(());
    }
    let bytes = std::fs::read(&file.path).map_err(|error| Failure(format!("{}: {error}", file.path.display())))?;
    let analysis = analysis::analyse(&bytes);
    if SourceFile::at(&file.path)? != *file {
        return Err(Failure(format!("{}: changed during the run", file.path.display())));
    }
    let file_type = file.file_type();
    cache.set_with(file.key(), &analysis, SetOptions::new().expire(RESULT_LIFE).tag(file_type))?;
    cache.incr((run, "misses"), 1)?;
    Ok(())
}

// ---- The process that was started -------------------------------------------------------------------------------------

/// Lists the files, lets the workers loose on them, and prints what they found.
fn lead(cache: &Cache, directory: &Path) -> Result<(), Failure> {
    let began = Instant::now();
    let files = files_below(directory)?;
    cache.expire()?;
    let run = cache.incr("runs", 1)?;
    let tag = run_tag(run);
    cache.set_with((run, "files"), &files, run_options(&tag))?;
    for count in ["hits", "misses"] {
        cache.set_with((run, count), &0, run_options(&tag))?;
    }
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        workers.push(Command::new(std::env::current_exe()?).arg(WORKER).arg(run.to_string()).spawn()?);
    }
    for worker in workers {
        wait(worker)?;
    }
    let results = cache.get_many::<Analysis>(files.iter().map(SourceFile::key))?;
    let seconds = began.elapsed().as_secs_f64();
    let hits = cache.get::<u64>((run, "hits"))?.unwrap_or(0);
    let misses = cache.get::<u64>((run, "misses"))?.unwrap_or(0);
    // All that this run shared goes by one commit; the results stay.
    cache.evict(&tag)?;

    print_table(&files, &results);
    let found: Vec<&Analysis> = results.iter().flatten().collect();
    print_summary(cache, &found, (hits, misses), seconds);
    if found.len() < files.len() {
        return Err(Failure(format!("{} of {} files have no result", files.len() - found.len(), files.len())));
    }
    Ok(())
}

/// A worker that was killed took at most one file with it, which the summary reports and the next run makes up for.
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

#[derive(Default)]
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

    fn print(&self, name: &str) {
        let Totals { files, lines, words, tokens, twins } = self;
        println!("{name:<10} {files:>7} {lines:>9} {words:>9} {tokens:>9} {twins:>11}");
    }
}

fn print_table(files: &[SourceFile], results: &[Option<Analysis>]) {
    let mut by_type: BTreeMap<String, Totals> = BTreeMap::new();
    let mut all = Totals::default();
    for (file, analysis) in files.iter().zip(results) {
        if let Some(analysis) = analysis {
            by_type.entry(file.file_type()).or_default().add(analysis);
            all.add(analysis);
        }
    }
    println!("{:<10} {:>7} {:>9} {:>9} {:>9} {:>11}", "type", "files", "lines", "words", "tokens", "twin lines");
    for (name, totals) in &by_type {
        totals.print(name);
    }
    all.print("all");
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
