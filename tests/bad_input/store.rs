//! A store with one of everything, as bytes: to be written anew, damaged, and tried for every mutation.

use larder::{AnyKey, Cache, Damage, SetOptions};
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

/// How long one mutation may take: far more than any does, so that what takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// More than any damaged walk may give.
const ITEMS_MAX: usize = 100_000;

/// The files of a closed store, and every value that was ever stored under each key.
pub struct Original {
    pub files: BTreeMap<String, Vec<u8>>,
    /// The files as they were in the middle of it all.
    pub older: BTreeMap<String, Vec<u8>>,
    values: BTreeMap<u32, Vec<Vec<u8>>>,
}

const TAGS: [&str; 3] = ["red", "green", "blue"];

impl Original {
    pub fn new() -> Original {
        Original::with(&[])
    }

    /// A store of 1 MiB.
    pub fn of_a_mebibyte() -> Original {
        Original::with(&[150_000, 250_000, 400_000])
    }

    /// With values of these lengths beside all others.
    fn with(large: &[usize]) -> Original {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::builder(&dir).size_limit(2 << 20).open().unwrap();
        let mut values: BTreeMap<u32, Vec<Vec<u8>>> = BTreeMap::new();
        let mut set = |key: u32, value: Vec<u8>, options: SetOptions<'_>| {
            cache.set_bytes_with(key, &value, options).unwrap();
            values.entry(key).or_default().push(value);
        };
        for key in 0..40u32 {
            let tag = SetOptions::new().tag(TAGS[key as usize % 3]);
            let value = format!("value of {key}, first").repeat(1 + key as usize % 5).into_bytes();
            set(key, value, if key % 4 == 0 { tag.expire(Duration::from_secs(1 << 30)) } else { tag });
        }
        let older = files_of(dir.path());
        for key in (0..40u32).step_by(3) {
            set(key, format!("value of {key}, second").into_bytes(), SetOptions::new());
        }
        set(100, vec![100; 9_000], SetOptions::new());
        set(101, vec![101; 20_000], SetOptions::new().tag("red"));
        set(102, Vec::new(), SetOptions::new());
        for (key, len) in (110..).zip(large) {
            set(key, (0..*len).map(|at| (at / 7) as u8).collect(), SetOptions::new());
        }
        set(103, b"gone".to_vec(), SetOptions::new().expire(Duration::ZERO));
        // Enough for several segments, and dead records in the middle.
        for key in 200..300u32 {
            set(key, vec![key as u8; 700], SetOptions::new().tag("bulk"));
        }
        cache.delete_many((200..300u32).step_by(2)).unwrap();
        cache.evict("green").unwrap();
        cache.set_many((300..310u32).map(|key| (key, "batch"))).unwrap();
        for key in 300..310 {
            values.insert(key, vec![b"batch".to_vec()]);
        }
        assert!(cache.check().unwrap().is_clean());
        drop(cache);
        Original { files: files_of(dir.path()), older, values }
    }

    /// Writes the files into a new directory. The state file is made to say that it was written there, so that it is
    /// trusted: else every mutation would be answered by a rebuild.
    pub fn write(&self) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in &self.files {
            std::fs::write(dir.path().join(name), bytes).unwrap();
        }
        adopt_state(&dir.path().join("state"));
        dir
    }

    /// The items that a sound copy holds, each with its newest value.
    pub fn items(&self) -> BTreeMap<u32, Vec<u8>> {
        let dir = self.write();
        let cache = Cache::open(&dir).unwrap();
        let found = |key: &u32| Some((*key, cache.get_bytes(*key).unwrap()?));
        self.values.keys().filter_map(found).collect()
    }

    /// True if the value was stored under the key at some time.
    fn knows(&self, key: u32, value: &[u8]) -> bool {
        self.values.get(&key).is_some_and(|values| values.iter().any(|known| known == value))
    }

    /// What is read is what was stored under that key, or an error, or nothing.
    fn assert_genuine(&self, cache: &Cache, what: &str) {
        for &key in self.values.keys() {
            if let Ok(Some(value)) = cache.get_bytes(key) {
                assert!(self.knows(key, &value), "{what}: key {key} has a value that nobody stored");
            }
            if let Ok(values) = cache.get_many::<IgnoredAny>([key, key + 1]) {
                assert_eq!(values.len(), 2);
            }
            if let Ok(Some(entry)) = cache.entry::<String>(key) {
                assert!(self.knows(key, entry.value.as_bytes()), "{what}: key {key}");
            }
        }
    }
}

pub fn files_of(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for file in std::fs::read_dir(dir).unwrap() {
        let file = file.unwrap();
        if file.metadata().unwrap().is_file() {
            files.insert(file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap());
        }
    }
    files
}

/// Writes the file's own inode number into the head of a state file, and the head's checksum anew.
pub fn adopt_state(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let head = [&bytes[..48], &std::fs::metadata(path).unwrap().ino().to_le_bytes(), &bytes[56..64]].concat();
    bytes[..64].copy_from_slice(&head);
    bytes[64..68].copy_from_slice(&crc32fast::hash(&head).to_le_bytes());
    // In place: a new file would have another number.
    use std::os::unix::fs::FileExt;
    std::fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(&bytes[..68], 0).unwrap();
}

/// How much of what a damaged store reads must be genuine.
#[derive(Clone, Copy, PartialEq)]
pub enum Trust {
    /// Everything: whatever was damaged, the damage shows.
    Always,
    /// Nothing: checksums were made to match, so the damage is as good as a value.
    Never,
}

/// Opens a damaged store, reads all of it in every way, writes, checks, repairs, and opens it once more.
pub fn exercise(original: &Original, dir: &Path, trust: Trust, what: &str) {
    let _ = exercise_with(original, dir, trust, what, |_| ());
}

/// As [`exercise`]; the store is looked at when it was opened first, and once more when it was repaired. An error if it was
/// not opened.
pub fn exercise_with(
    original: &Original,
    dir: &Path,
    trust: Trust,
    what: &str,
    mut look: impl FnMut(&Cache),
) -> larder::Result<()> {
    for round in 0..2 {
        let cache = match Cache::builder(dir).lock_timeout(Duration::from_secs(20)).open() {
            Ok(cache) => cache,
            Err(error) if round == 0 => return Err(error),
            Err(_) => return Ok(()),
        };
        if round == 0 {
            look(&cache);
        }
        let genuine = |yes: bool| {
            if yes {
                original.assert_genuine(&cache, what);
            } else {
                original.values.keys().for_each(|&key| drop(cache.get_bytes(key)));
            }
        };
        genuine(trust == Trust::Always);
        if round == 0 {
            read_all(&cache, what);
            let _ = cache.check();
            write_some(&cache);
        }
        let Ok(report) = cache.repair() else { continue };
        if round == 0 {
            look(&cache);
        }
        assert!(report.problems.len() <= 1_000, "{what}");
        genuine(trust == Trust::Always);
        if trust == Trust::Always {
            let derived = problems_beside_the_log(&cache);
            assert!(derived.is_empty(), "{what}: after repair {derived:?}");
        }
        read_all(&cache, what);
        write_some(&cache);
    }
    Ok(())
}

/// What a check says of files that `repair` makes anew.
fn problems_beside_the_log(cache: &Cache) -> Vec<Damage> {
    let in_log = |problem: &Damage| problem.path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("log-"));
    cache.check().unwrap().problems.into_iter().filter(|problem| !in_log(problem)).collect()
}

fn read_all(cache: &Cache, what: &str) {
    let bounded = |count: usize| assert!(count < ITEMS_MAX, "{what}: {count} items");
    bounded(cache.iter::<AnyKey, IgnoredAny>().take(ITEMS_MAX).count());
    bounded(cache.entries::<u32, String>().take(ITEMS_MAX).count());
    bounded(cache.keys_sorted::<AnyKey>().map_or(0, |keys| keys.take(ITEMS_MAX).count()));
    bounded(cache.iter_inserted::<u32, String>().map_or(0, |items| items.take(ITEMS_MAX).count()));
    bounded(cache.keys_tagged::<u32>("red").map_or(0, |keys| keys.take(ITEMS_MAX).count()));
    for key in [0u32, 100, 101, 250] {
        // The bytes of a borrowed value are there to be read, whatever they are.
        if let Ok(Some(value)) = cache.get_ref(key) {
            std::hint::black_box(value.iter().map(|&byte| u64::from(byte)).sum::<u64>());
        }
    }
    let _ = (cache.len_live(), cache.stats(), cache.settings(), cache.volume());
}

/// Writing of every kind. What can be written reads back.
fn write_some(cache: &Cache) {
    for key in [1_000u32, 3, 101] {
        if cache.set(key, "written later").is_ok() {
            let found = cache.get::<String>(key);
            assert!(found.as_ref().is_ok_and(|found| found.as_deref() == Some("written later")), "{key}: {found:?}");
        }
        let _ = cache.delete(key);
    }
    let _ = cache.set_bytes_with(1_001u32, &[1; 30_000], SetOptions::new().tag("red"));
    let _ = cache.delete(1_001u32);
    let _ = cache.add_with(1_002u32, "added", SetOptions::new().tag("new").expire(Duration::from_secs(9)));
    let _ = cache.incr(1_003u32, 1);
    let _ = cache.touch(6u32, Some(Duration::from_secs(1 << 29)));
    let _ = cache.set_many((1_004..1_008u32).map(|key| (key, "many")));
    let _ = cache.delete_many(1_000..1_010u32);
    let _ = cache.evict("blue");
    let _ = cache.expire();
}

/// True if [`exercise`] writes over the key or evicts it.
pub fn is_written_over(key: u32) -> bool {
    key == 3 || key == 101 || (key < 40 && TAGS[key as usize % 3] == "blue")
}

/// Runs the mutations on a thread of their own, which says what it is about to do: one that never ends is named, and
/// fails the test instead of holding up all.
pub fn run_named(body: impl FnOnce(&dyn Fn(String)) + Send + 'static) {
    let (says, hears) = mpsc::channel();
    let worker = std::thread::spawn(move || body(&|what| drop(says.send(what))));
    let mut current = String::from("nothing yet");
    loop {
        match hears.recv_timeout(PATIENCE) {
            Ok(what) => current = what,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("hangs: {current}"),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    if worker.join().is_err() {
        panic!("failed: {current}");
    }
}
