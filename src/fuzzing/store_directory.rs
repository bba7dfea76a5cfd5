//! A directory in which several files were changed: opened, read, written to, checked and repaired.
//!
//! The directory is a real one, in memory where there is such a file system: the mappings of `os::real` are what hostile
//! files meet, and a simulated machine would have none of its `unsafe`. The store that is changed was made by a simulated
//! machine, whose chance is a seed: the same input is the same directory, whenever it is tried.
//!
//! Input: a byte of flags (1: checksums of records are put right, 2: those of heads, 4: the state file is damaged under a
//! sound head, so that it is trusted), then changes. A change is a byte that says of which kind, which file, where, and with
//! what.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use serde::de::IgnoredAny;

use super::input::Input;
use super::repaired::{repair_head, repair_records};
use crate::cache::Cache;
use crate::codec::Postcard;
use crate::engine::{Change, Kind, Label, Op, Opening, Put, Store, Tag, Value};
use crate::key::{self, AnyKey};
use crate::options::{Durability, Eviction, SetOptions};
use crate::os::bounded::within;
use crate::os::real::RealOs;
use crate::os::sim::{Machine, SimOs};
use crate::os::{OpenMode, Os, OsFile};
use crate::storage::namespace::prefix;
use crate::storage::state;
use crate::value;

/// What a damaged store of some 400 KiB may make a process hold.
const BOUND: usize = 64 << 20;
const CHANGES_MAX: usize = 12;
const ITEMS_MAX: usize = 20_000;
/// A damaged lock may look like one that is held.
const LOCK_TIMEOUT: Duration = Duration::from_millis(1);

/// The files of a sound store, and every value that was ever stored under each key.
struct Original {
    files: BTreeMap<String, Vec<u8>>,
    values: BTreeMap<u32, Vec<Vec<u8>>>,
}

fn original() -> &'static Original {
    static ORIGINAL: OnceLock<Original> = OnceLock::new();
    ORIGINAL.get_or_init(Original::new)
}

fn opening() -> Opening {
    Opening {
        kind: crate::engine::KIND_CACHE,
        size_limit: Some(2 << 20),
        eviction: Some(Eviction::LeastRecentlyStored.to_bits()),
        statistics: Some(true),
        lock_timeout: Duration::from_secs(10),
        durability: Durability::Buffered,
        read_only: false,
        background: false,
        listener: None,
    }
}

impl Original {
    fn new() -> Original {
        let machine = Machine::with_file_capacity(11, 4 << 20);
        let mut values = BTreeMap::new();
        let store = Store::open(machine.process(), Path::new("/store"), &opening()).unwrap();
        fill(&store, &mut values);
        // As a store that is closed in the middle of its life: the mark of what is durable is there.
        store.sync().unwrap();
        put(&store, 7, b"after the sync", None, &mut values);
        drop(store);
        let names = machine.paths().into_iter().filter(|path| path.parent() == Some(Path::new("/store")));
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_string();
        let files: BTreeMap<_, _> = names.map(|path| (name(&path), machine.file_bytes(&path).unwrap())).collect();
        for kind in ["larder", "state", "synced", "index-", "log-", "tags-", "order-", "value-"] {
            assert!(files.keys().any(|name| name.starts_with(kind)), "no {kind} among {:?}", files.keys());
        }
        Original { files, values }
    }
}

type Values = BTreeMap<u32, Vec<Vec<u8>>>;

fn put(store: &Store<SimOs>, key: u32, bytes: &[u8], tag: Option<&str>, values: &mut Values) {
    let encoded = key::encode(&key).unwrap();
    let draft = store.is_large(bytes.len()).then(|| store.draft(bytes).unwrap());
    let value = match &draft {
        Some(draft) => Value::Draft { number: draft.number, len: draft.len, crc: draft.crc },
        None => Value::Inline(bytes),
    };
    let tag = tag.map_or(Tag::None, |name| Tag::Named(Label::tag(name)));
    let expires = key.is_multiple_of(8).then_some(u64::MAX >> 1);
    let put = Put { kind: value::Kind::Bytes as u8, value, expires, tag };
    let (key_bytes, hash) = (encoded.as_bytes(), store.hash(encoded.as_bytes()));
    store.batch(&[Op { key: key_bytes, hash, change: Change::Put(put) }]).unwrap();
    values.entry(key).or_default().push(bytes.to_vec());
}

/// One of everything.
fn fill(store: &Store<SimOs>, values: &mut Values) {
    let tags = [None, Some("red"), Some("green")];
    for key in 0..24u32 {
        put(
            store,
            key,
            format!("value of {key}").repeat(1 + key as usize % 5).as_bytes(),
            tags[key as usize % 3],
            values,
        );
    }
    for key in (0..24u32).step_by(3) {
        put(store, key, format!("second value of {key}").as_bytes(), None, values);
    }
    for key in 100..130u32 {
        put(store, key, &vec![key as u8; 1_000 + 150 * (key as usize % 20)], Some("bulk"), values);
    }
    put(store, 200, &[200; 9_000], None, values);
    let removed = key::encode(&101u32).unwrap();
    let change = Change::Remove;
    store.batch(&[Op { key: removed.as_bytes(), hash: store.hash(removed.as_bytes()), change }]).unwrap();
    store.evict(Label::tag("green")).unwrap();
    // An index, with enough keys for a tree of two levels, and a queue.
    let index = store.namespace_as(Label { kind: Kind::Index, name: "index" }, false).unwrap();
    for number in 0..90u32 {
        let encoded = key::encode(&format!("key number {number}")).unwrap();
        let whole = [&prefix(Kind::Index, index.id)[..], encoded.as_bytes()].concat();
        let value = value::encode(&Postcard, &number).unwrap();
        let put = Put { kind: value.kind, value: Value::Inline(value.bytes()), expires: None, tag: Tag::Id(index.id) };
        store.batch(&[Op::put(&whole, store.hash(&whole), put)]).unwrap();
    }
    let queue = store.namespace_as(Label { kind: Kind::Deque, name: "queue" }, false).unwrap();
    for number in 0..12u32 {
        let value = value::encode(&Postcard, &format!("element {number}")).unwrap();
        let put = Put { kind: value.kind, value: Value::Inline(value.bytes()), expires: None, tag: Tag::Id(queue.id) };
        store.push(queue, crate::engine::End::Back, put, crate::engine::Bound::NONE).unwrap();
    }
}

/// Changes the files, and uses what they are then.
pub fn store_directory(bytes: &[u8]) {
    let original = original();
    let mut input = Input::new(bytes);
    let flags = input.byte();
    let mut files = original.files.clone();
    for _ in 0..CHANGES_MAX {
        if input.is_spent() {
            break;
        }
        change(&mut input, &mut files);
    }
    for (name, bytes) in &mut files {
        if flags & 1 != 0 && (name.starts_with("log-") || name.starts_with("main-")) {
            repair_records(bytes);
        }
        if flags & 2 != 0 {
            repair_head(name, bytes);
        }
    }
    // Bytes that no checksum was put right over show that they were changed.
    let trusted = flags & 3 == 0;
    let directory = Directory::new(&files, flags & 4 != 0);
    within(BOUND, || exercise(directory.path(), original, trusted));
}

/// A name among those that are there, or were to be.
fn some_name(input: &mut Input<'_>, files: &BTreeMap<String, Vec<u8>>) -> String {
    let others = ["main-1", "log-4", "index-2", "tags-1", "order-1", "value-2", "spill-5", "state.new", "draft-1-1"];
    let at = input.below(files.len() + others.len());
    files.keys().nth(at).cloned().unwrap_or_else(|| others[at - files.len()].to_string())
}

/// Where a file has something in it: most of some is zeros.
fn some_place(input: &mut Input<'_>, bytes: &[u8]) -> usize {
    let used = bytes.iter().rposition(|&byte| byte != 0).map_or(1, |last| last + 1);
    let at = input.below(used + 64) & !7;
    at.min(bytes.len().saturating_sub(8))
}

fn change(input: &mut Input<'_>, files: &mut BTreeMap<String, Vec<u8>>) {
    let kind = input.byte();
    let name = some_name(input, files);
    let mut bytes = files.remove(&name).unwrap_or_default();
    let at = some_place(input, &bytes);
    let len = bytes.len();
    match kind % 9 {
        // A word, a byte, a few bits, any bytes.
        0 => overwrite(&mut bytes, at, &input.word().to_le_bytes()),
        1 => overwrite(&mut bytes, at + input.below(8), &[input.byte()]),
        2 => {
            let (at, bit) = (at + input.below(8), input.byte() % 8);
            let flipped = bytes.get(at).map_or(0, |byte| byte ^ 1 << bit);
            overwrite(&mut bytes, at, &[flipped]);
        }
        3 => {
            let count = input.below(256);
            overwrite(&mut bytes, at, input.take(count));
        }
        4 => {
            let (from, count) = (some_place(input, &bytes), input.below(4096));
            let piece = bytes[from..(from + count).min(len)].to_vec();
            overwrite(&mut bytes, at, &piece);
        }
        5 => bytes.truncate(at + input.below(8)),
        6 => bytes.resize(at.max(len) + input.below(8192), input.byte()),
        7 => return,
        _ => {
            let other = some_name(input, files);
            if let Some(others) = files.insert(other, std::mem::take(&mut bytes)) {
                bytes = others;
            }
        }
    }
    files.insert(name, bytes);
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    for (to, from) in bytes.iter_mut().skip(at).zip(with) {
        *to = *from;
    }
}

/// A directory of its own, gone when this is dropped.
struct Directory(PathBuf);

impl Directory {
    fn new(files: &BTreeMap<String, Vec<u8>>, is_adopted: bool) -> Directory {
        static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = parent.join(format!("larder-fuzz-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        for (name, bytes) in files {
            std::fs::write(path.join(name), bytes).unwrap();
        }
        if is_adopted {
            adopt_state(&path.join("state"), &original().files["state"]);
        }
        Directory(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Gives a state file the head of one that was written here: otherwise it is never trusted.
fn adopt_state(path: &Path, sound: &[u8]) {
    let Ok(file) = RealOs::new().and_then(|os| os.open(path, OpenMode::Write)) else { return };
    let (store, rows) = (crate::storage::u64_at(sound, 16), crate::storage::u32_at(sound, 12));
    let head = state::encode_head(store, rows, &file.identity().unwrap());
    if file.len().unwrap() >= head.len() as u64 {
        file.write_at(&head, 0).unwrap();
    }
}

fn exercise(directory: &Path, original: &Original, trusted: bool) {
    let open = || Cache::builder(directory).lock_timeout(LOCK_TIMEOUT).background(false).open();
    let Ok(cache) = open() else { return };
    read(&cache, original, trusted);
    walk(&cache);
    let _ = cache.check();
    write(&cache);
    if cache.repair().is_ok() {
        read(&cache, original, trusted);
        let _ = cache.set(1_009u32, "after repair");
    }
    drop(cache);
    // As the next process finds it.
    let Ok(cache) = open() else { return };
    read(&cache, original, trusted);
    let _ = cache.check();
}

fn read(cache: &Cache, original: &Original, trusted: bool) {
    for (&key, known) in &original.values {
        if let Ok(Some(found)) = cache.get_bytes(key) {
            assert!(!trusted || known.contains(&found), "key {key} has a value that nobody stored: {found:02x?}");
        }
    }
}

/// Everything, in every way in which it can be met.
fn walk(cache: &Cache) {
    let bounded = |count: usize| assert!(count < ITEMS_MAX, "{count} items");
    bounded(cache.iter::<AnyKey, IgnoredAny>().take(ITEMS_MAX).count());
    bounded(cache.iter_inserted::<u32, String>().map_or(0, |items| items.take(ITEMS_MAX).count()));
    bounded(cache.keys_tagged::<u32>("bulk").map_or(0, |keys| keys.take(ITEMS_MAX).count()));
    if let Ok(Some(value)) = cache.get_ref(110u32) {
        std::hint::black_box(value.iter().map(|&byte| u64::from(byte)).sum::<u64>());
    }
    if let Ok(index) = cache.index::<String, u32>("index") {
        bounded(index.iter().take(ITEMS_MAX).count());
        bounded(index.range("key number 2".to_string()..).take(ITEMS_MAX).count());
        let _ = index.get("key number 44");
    }
    if let Ok(deque) = cache.deque::<String>("queue") {
        bounded(deque.iter().take(ITEMS_MAX).count());
        let _ = deque.get(3);
    }
    let _ = (cache.len_live(), cache.stats(), cache.settings(), cache.volume());
}

/// Writing of every kind. What can be written reads back.
fn write(cache: &Cache) {
    for key in [1_000u32, 3, 200] {
        if cache.set(key, "written later").is_ok() {
            let found = cache.get::<String>(key);
            assert!(found.as_ref().is_ok_and(|found| found.as_deref() == Some("written later")), "{key}: {found:?}");
        }
        let _ = cache.delete(key);
    }
    let _ = cache.set_bytes_with(1_001u32, &[1; 9_000], SetOptions::new().tag("red"));
    let _ = cache.incr(1_003u32, 1);
    let _ = cache.touch(6u32, Some(Duration::from_secs(1 << 29)));
    let _ = cache.set_many((1_004..1_008u32).map(|key| (key, "many")));
    let _ = cache.evict("bulk");
    let _ = cache.expire();
    if let Ok(index) = cache.index::<String, u32>("index") {
        let _ = index.insert("new".to_string(), &1);
        let _ = index.remove("key number 5");
        let _ = index.pop_first();
    }
    if let Ok(deque) = cache.deque::<String>("queue") {
        let _ = deque.push_back("new");
        let _ = deque.pop_front();
    }
    let _ = cache.sync();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    /// Else every change would be answered by a rebuild, and nothing else would be tried.
    #[test]
    fn what_was_not_changed_is_trusted_and_whole() {
        let original = original();
        for is_adopted in [true, false] {
            let directory = Directory::new(&original.files, is_adopted);
            let inode = || std::fs::metadata(directory.path().join("state")).unwrap().ino();
            let before = inode();
            let cache = Cache::builder(directory.path()).background(false).open().unwrap();
            assert_eq!(inode() == before, is_adopted);
            assert!(cache.check().unwrap().is_clean());
            let evicted = |key: u32| key < 24 && key % 3 == 2 || key == 101;
            for (&key, known) in &original.values {
                let newest = known.last().filter(|_| !evicted(key));
                assert_eq!(cache.get_bytes(key).unwrap().as_ref(), newest, "{key}");
            }
            assert_eq!(cache.index::<String, u32>("index").unwrap().iter().count(), 90);
            assert_eq!(cache.deque::<String>("queue").unwrap().iter().count(), 12);
        }
    }
}
