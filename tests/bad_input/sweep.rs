//! Every byte, one after the other: every bit of every head and shared word of a store is flipped, bits of all other bytes, files
//! are cut at each 512 bytes, take each other's place, are what they were earlier, and become directories, links and devices.
//! Each time the store is opened, read, written, checked and repaired, and what was not touched is looked for.
//!
//! Everyday a spread of these mutants is tried; `LARDER_TEST_SCALE` multiplies it until it is all of them. How many there were,
//! and what became of them, is printed.

use super::mutations::Random;
use super::store::{Original, Trust, adopt_state, exercise_with, is_written_over, run_named};
use larder::Cache;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What takes longer is told: nothing should.
const SLOW: Duration = Duration::from_secs(1);
const CUT: usize = 512;
/// From this scale on the store has 1 MiB.
const CAMPAIGN: usize = 100;
/// Mutants after which what was found so far is said.
const PORTION: usize = 2_000;
/// Threads that try mutants at once.
const WORKERS_MAX: usize = 4;

/// One thing that is wrong with a store.
#[derive(Clone)]
enum Mutant {
    Flip(String, usize, u8),
    Cut(String, usize),
    Swap(String, String),
    Older(String),
    Gone(String),
    Other(String, Kind),
}

/// What stands in the place of a file.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Directory,
    LinkToFile,
    LinkToNothing,
    LinkToItself,
    /// Reads as nothing and takes all that is written.
    NullDevice,
    /// Reads as zeros without end.
    ZeroDevice,
    /// Who opens it to read waits for somebody who writes.
    Pipe,
    Socket,
}

const KINDS: [Kind; 8] = [
    Kind::Directory,
    Kind::LinkToFile,
    Kind::LinkToNothing,
    Kind::LinkToItself,
    Kind::NullDevice,
    Kind::ZeroDevice,
    Kind::Pipe,
    Kind::Socket,
];

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mutant::Flip(name, at, bit) => write!(f, "{name}: bit {bit} of byte {at}"),
            Mutant::Cut(name, at) => write!(f, "{name}: cut at {at}"),
            Mutant::Swap(a, b) => write!(f, "{a} and {b} swapped"),
            Mutant::Older(name) => write!(f, "{name} as it was earlier"),
            Mutant::Gone(name) => write!(f, "{name} is not there"),
            Mutant::Other(name, kind) => write!(f, "{name} is a {kind:?}"),
        }
    }
}

impl Mutant {
    fn touches(&self, name: &str) -> bool {
        match self {
            Mutant::Swap(a, b) => a == name || b == name,
            Mutant::Flip(at, ..) | Mutant::Cut(at, _) | Mutant::Older(at) | Mutant::Gone(at) | Mutant::Other(at, _) => {
                at == name
            }
        }
    }

    /// Does it to a copy. False if it cannot be done here: who may not make devices is not harmed by them.
    fn apply(&self, original: &Original, dir: &Path, outside: &Path) -> bool {
        let write = |name: &str, bytes: &[u8]| {
            // In place, so that a state file stays the one that its head names.
            let file = std::fs::OpenOptions::new().write(true).truncate(true).open(dir.join(name)).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, bytes, 0).unwrap();
        };
        let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
        match self {
            Mutant::Flip(name, at, bit) => {
                let mut bytes = read(name);
                bytes[*at] ^= 1 << bit;
                write(name, &bytes);
            }
            Mutant::Cut(name, at) => write(name, &read(name)[..*at]),
            Mutant::Swap(a, b) => {
                let (a_bytes, b_bytes) = (read(a), read(b));
                write(a, &b_bytes);
                write(b, &a_bytes);
            }
            Mutant::Older(name) => {
                write(name, &original.older[name]);
                if name == "state" {
                    adopt_state(&dir.join(name));
                }
            }
            Mutant::Gone(name) => std::fs::remove_file(dir.join(name)).unwrap(),
            Mutant::Other(name, kind) => {
                let path = dir.join(name);
                let _ = std::fs::remove_file(&path);
                return kind.make(&path, outside);
            }
        }
        true
    }
}

impl Kind {
    fn make(self, path: &Path, outside: &Path) -> bool {
        let node = |kind, device| mknodat(CWD, path, kind, Mode::RUSR | Mode::WUSR, device).is_ok();
        match self {
            Kind::Directory => std::fs::create_dir(path).is_ok(),
            Kind::LinkToFile => std::os::unix::fs::symlink(outside.join("precious"), path).is_ok(),
            Kind::LinkToNothing => std::os::unix::fs::symlink(outside.join("new"), path).is_ok(),
            Kind::LinkToItself => std::os::unix::fs::symlink(path, path).is_ok(),
            Kind::NullDevice => node(FileType::CharacterDevice, makedev(1, 3)),
            Kind::ZeroDevice => node(FileType::CharacterDevice, makedev(1, 5)),
            Kind::Pipe => node(FileType::Fifo, 0),
            Kind::Socket => node(FileType::Socket, 0),
        }
    }
}

/// The ranges of a file that are heads, and words that processes share.
fn heads(name: &str) -> &'static [(usize, usize)] {
    match name.split('-').next().unwrap() {
        "state" => &[(0, 68), (256, 1_640), (4_096, 4_200), (69_632, 70_200)],
        "synced" => &[(0, 64), (512, 576)],
        "index" => &[(0, 88)],
        "larder" | "log" | "main" => &[(0, 64)],
        _ => &[],
    }
}

/// At most so many of them, spread evenly.
fn spread(all: Vec<Mutant>, most: usize) -> Vec<Mutant> {
    let count = all.len();
    if count <= most {
        return all;
    }
    (0..most).map(|i| all[i * count / most].clone()).collect()
}

/// At most so many bits of these bytes of files, spread evenly: one or more of each byte, or one of some bytes.
fn bits_of(bytes: &[(&String, usize)], most: usize) -> Vec<Mutant> {
    let mut random = Random(1);
    let each = most.div_ceil(bytes.len()).clamp(1, 8);
    let mut flip = |(name, at): (&String, usize)| -> Vec<Mutant> {
        let first = random.below(8);
        (0..each).map(|i| Mutant::Flip(name.clone(), at, ((first + i) % 8) as u8)).collect()
    };
    if most <= bytes.len() {
        return (0..most).flat_map(|i| flip(bytes[i * bytes.len() / most])).collect();
    }
    spread(bytes.iter().flat_map(|&byte| flip(byte)).collect(), most)
}

fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)
}

/// All that is to be tried, by how it is called in what is printed.
fn mutants(original: &Original, scale: usize) -> Vec<(&'static str, Vec<Mutant>)> {
    let (mut in_heads, mut elsewhere, mut cuts, mut whole) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let names: Vec<&String> = original.files.keys().collect();
    for (i, (name, bytes)) in original.files.iter().enumerate() {
        let is_head = |at: usize| heads(name).iter().any(|&(from, to)| (from..to).contains(&at));
        let range = heads(name).iter().flat_map(|&(from, to)| from..to.min(bytes.len()));
        in_heads.extend(range.flat_map(|at| (0..8).map(move |bit| Mutant::Flip(name.clone(), at, bit))));
        elsewhere.extend((0..used(bytes)).filter(|at| !is_head(*at)).map(|at| (name, at)));
        cuts.extend((0..used(bytes)).step_by(CUT).map(|at| Mutant::Cut(name.clone(), at)));
        whole.extend(names[i + 1..].iter().map(|other| Mutant::Swap(name.clone(), other.to_string())));
        whole.push(Mutant::Gone(name.clone()));
        whole.extend(original.older.contains_key(name).then(|| Mutant::Older(name.clone())));
    }
    let others = ["procs", "larder.new", "state.new", "index-2", "log-9", "value-9"].map(str::to_string);
    let all = original.files.keys().cloned().chain(others);
    whole.extend(all.flat_map(|name| KINDS.map(move |kind| Mutant::Other(name.clone(), kind))));
    vec![
        ("bits of heads and words", spread(in_heads, 30 * scale)),
        ("bits of other bytes", bits_of(&elsewhere, 20 * scale)),
        ("cuts", spread(cuts, 10 * scale)),
        ("whole files", spread(whole, 30 * scale)),
    ]
}

/// What became of the mutants of one sort.
#[derive(Debug, Default)]
struct Tally {
    tried: usize,
    impossible: usize,
    /// The store was not opened.
    refused: usize,
    /// Every item was found when the store was opened; or every one whose bytes were not in a file that was touched; or not even
    /// that, before `repair`: words of the state, the index and the tags say where items are, and whether they live.
    whole: usize,
    untouched_whole: usize,
    /// The bit was in the cell of an item in the index, and that item alone was not found.
    cell: usize,
    less: usize,
    /// Of the two before: `repair` found every item that was not in a file that was touched.
    mended: usize,
    slow: Vec<String>,
}

impl Tally {
    /// What was lost when the store was opened, and what still was after `repair`, if it was carried out.
    fn judge(&mut self, mutant: &Mutant, lost: &[Lost]) {
        let [first, rest @ ..] = lost else { return };
        let is_cell = matches!(mutant, Mutant::Flip(name, ..) if name.starts_with("index-")) && first.all == 1;
        match first {
            Lost { all: 0, .. } => self.whole += 1,
            Lost { elsewhere: 0, .. } => self.untouched_whole += 1,
            _ if is_cell => self.cell += 1,
            _ => {
                self.less += 1;
                println!(
                    "{mutant}: {} items are not found, {} of them in files that were not touched",
                    first.all, first.elsewhere
                );
            }
        }
        if first.elsewhere > 0 && rest.first().is_some_and(|after| after.lasting == 0) {
            self.mended += 1;
        }
    }

    fn add(&mut self, other: Tally) {
        let counts = |tally: &Tally| {
            let found = [tally.whole, tally.untouched_whole, tally.cell, tally.less, tally.mended];
            ([tally.tried, tally.impossible, tally.refused], found)
        };
        let ((a, b), (c, d)) = (counts(self), counts(&other));
        let [tried, impossible, refused] = std::array::from_fn(|i| a[i] + c[i]);
        let [whole, untouched_whole, cell, less, mended] = std::array::from_fn(|i| b[i] + d[i]);
        let slow = self.slow.drain(..).chain(other.slow).collect();
        *self = Tally { tried, impossible, refused, whole, untouched_whole, cell, less, mended, slow };
    }
}

/// The files that an item's newest value is in. Which segment leads to a file of its own is not looked for, so each may; and an
/// empty value is in no file in particular.
fn homes(original: &Original, items: &BTreeMap<u32, Vec<u8>>) -> BTreeMap<u32, Vec<String>> {
    let of = |kind: &str| -> Vec<_> { original.files.iter().filter(|(name, _)| name.starts_with(kind)).collect() };
    let (logs, large) = (of("log-"), of("value-"));
    let homes = |value: &Vec<u8>| -> Vec<String> {
        let holds = |bytes: &[u8]| !value.is_empty() && bytes.windows(value.len()).any(|window| window == value);
        let one = |files: &[(&String, &Vec<u8>)]| {
            files.iter().find(|(_, bytes)| holds(bytes)).map(|(name, _)| name.to_string())
        };
        one(&logs).map_or_else(
            || one(&large).into_iter().chain(logs.iter().map(|(name, _)| name.to_string())).collect(),
            |name| vec![name],
        )
    };
    items.iter().map(|(key, value)| (*key, homes(value))).collect()
}

/// A store, what is to be tried of it, and what became of that.
struct Sweep {
    original: Original,
    items: BTreeMap<u32, Vec<u8>>,
    homes: BTreeMap<u32, Vec<String>>,
    sorts: Vec<(&'static str, Vec<Mutant>)>,
    tallies: Mutex<BTreeMap<&'static str, Tally>>,
}

impl Sweep {
    fn new(scale: usize) -> Sweep {
        let original = if scale < CAMPAIGN { Original::new() } else { Original::of_a_mebibyte() };
        let items = original.items();
        let (homes, sorts) = (homes(&original, &items), mutants(&original, scale));
        Sweep { original, items, homes, sorts, tallies: Mutex::default() }
    }

    /// Tries every `of`-th mutant, from one on.
    fn part(&self, from: usize, of: usize, says: &dyn Fn(String)) {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("precious"), "precious").unwrap();
        for (sort, mutants) in &self.sorts {
            let mut tally = Tally::default();
            for mutant in mutants.iter().skip(from).step_by(of) {
                says(mutant.to_string());
                self.attempt(mutant, outside.path(), &mut tally);
                if tally.tried == PORTION {
                    self.count(sort, std::mem::take(&mut tally));
                }
            }
            self.count(sort, tally);
        }
    }

    /// A campaign that is cut short has said what it found so far.
    fn count(&self, sort: &'static str, tally: Tally) {
        let mut tallies = self.tallies.lock().unwrap();
        tallies.entry(sort).or_default().add(tally);
        println!("{sort}, so far: {:?}", tallies[sort]);
    }

    fn attempt(&self, mutant: &Mutant, outside: &Path, tally: &mut Tally) {
        let dir = self.original.write();
        if !mutant.apply(&self.original, dir.path(), outside) {
            tally.impossible += 1;
            return;
        }
        tally.tried += 1;
        let (what, begun) = (mutant.to_string(), Stopwatch::started());
        let mut lost = Vec::new();
        let opened = exercise_with(&self.original, dir.path(), Trust::Always, &what, |cache| {
            lost.push(self.lost(mutant, cache));
        });
        match opened {
            Ok(()) => tally.judge(mutant, &lost),
            Err(error) => {
                tally.refused += 1;
                println!("{mutant}: not opened: {error}");
            }
        }
        if begun.elapsed() > SLOW {
            tally.slow.push(what.clone());
        }
        assert_eq!(std::fs::read_to_string(outside.join("precious")).unwrap(), "precious", "{what}");
        assert_eq!(std::fs::read_dir(outside).unwrap().count(), 1, "{what}");
    }
}

/// Measures how long this thread takes, whatever else the machine has to do: the time in which it was ready and no processor was
/// free for it does not count, where the kernel tells.
struct Stopwatch {
    begun: Instant,
    kept_waiting: Duration,
}

impl Stopwatch {
    fn started() -> Stopwatch {
        Stopwatch { begun: Instant::now(), kept_waiting: kept_waiting() }
    }

    fn elapsed(&self) -> Duration {
        self.begun.elapsed().saturating_sub(kept_waiting() - self.kept_waiting)
    }
}

/// How long this thread was kept waiting for a processor in its life.
fn kept_waiting() -> Duration {
    let said = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(said.split_whitespace().nth(1).and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

/// Items that a store does not hold, after damage.
struct Lost {
    all: usize,
    /// Those whose bytes are in no file that was touched, and, of them, those that nothing written since has touched.
    elsewhere: usize,
    lasting: usize,
}

impl Sweep {
    fn lost(&self, mutant: &Mutant, cache: &Cache) -> Lost {
        let is_there = |key: &u32| cache.get_bytes(*key).is_ok_and(|found| found.as_ref() == Some(&self.items[key]));
        let all: Vec<u32> = self.items.keys().filter(|key| !is_there(key)).copied().collect();
        let is_touched = |key: &u32| self.homes[key].iter().any(|name| mutant.touches(name));
        let elsewhere: Vec<u32> = all.iter().filter(|key| !is_touched(key)).copied().collect();
        let lasting = elsewhere.iter().filter(|key| !is_written_over(**key)).count();
        Lost { all: all.len(), elsewhere: elsewhere.len(), lasting }
    }
}

/// The most memory that this process has had at once, in bytes; `None` where the kernel does not say.
fn peak_of_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
}

#[test]
fn every_bit_flipped_every_file_cut_or_another() {
    let scale = std::env::var("LARDER_TEST_SCALE").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let sweep = Arc::new(Sweep::new(scale));
    let files = &sweep.original.files;
    println!("{} files of {} bytes", files.len(), files.values().map(Vec::len).sum::<usize>());
    let workers = std::thread::available_parallelism().map_or(1, |count| count.get().min(WORKERS_MAX));
    std::thread::scope(|scope| {
        for from in 0..workers {
            let sweep = Arc::clone(&sweep);
            scope.spawn(move || run_named(move |says| sweep.part(from, workers, says)));
        }
    });
    let tallies = sweep.tallies.lock().unwrap();
    for (sort, tally) in tallies.iter() {
        assert!(tally.tried > 0, "{sort}: none");
        println!("{sort}: {tally:?}");
    }
    let sum = |of: fn(&Tally) -> usize| tallies.values().map(of).sum::<usize>();
    let (tried, readable) = (sum(|tally| tally.tried), sum(|tally| tally.whole + tally.untouched_whole + tally.cell));
    println!("{readable} of {tried} lost nothing that was not touched; at most {:?} bytes of memory", peak_of_memory());
    // Of all bytes those of the manifest are few, of a spread over everything they are many.
    assert!(scale < CAMPAIGN || readable * 100 >= tried * 99, "{readable} of {tried}");
}
