//! A map whose words and bytes loom watches, and an os floor of nothing but such maps. It knows no protocol.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, AtomicU64};

use crate::os::{Access, Identity, OpenMode, Os, OsFile, OsMap};

/// Orderings of the accesses to words: those of `src/os/real/map.rs`, or weaker ones that a model is seeded with.
#[derive(Clone, Copy)]
pub struct Orderings {
    pub load: Ordering,
    pub store: Ordering,
    /// Of a successful compare-and-exchange and of a swap.
    pub change: Ordering,
}

pub const REAL: Orderings = Orderings { load: Ordering::Acquire, store: Ordering::Release, change: Ordering::AcqRel };
pub const RELAXED_STORES: Orderings = Orderings { store: Ordering::Relaxed, ..REAL };
pub const RELAXED_LOADS: Orderings = Orderings { load: Ordering::Relaxed, ..REAL };
pub const RELAXED_CHANGES: Orderings = Orderings { change: Ordering::Relaxed, ..REAL };

/// Words at given offsets, one 32-bit word, and records of 64 bits in memory without atomics. A word that was not asked for
/// is 0, and what is stored there is lost: advisory words are of no interest here.
pub struct Map {
    words: BTreeMap<usize, AtomicU64>,
    lock: (usize, AtomicU32),
    records: BTreeMap<usize, UnsafeCell<u64>>,
    orderings: Orderings,
    /// Seeded: a compare-and-exchange from this word succeeds whatever is there.
    blind_from: Option<u32>,
}

// SAFETY: the cells are what makes a map neither `Send` nor `Sync`, and loom stops at any two accesses to one that
// nothing orders.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

impl Map {
    pub fn new(orderings: Orderings, words: &[(usize, u64)], records: &[(usize, u64)]) -> Map {
        Map {
            words: words.iter().map(|&(offset, value)| (offset, AtomicU64::new(value))).collect(),
            lock: (crate::storage::state::LOCK, AtomicU32::new(0)),
            records: records.iter().map(|&(offset, value)| (offset, UnsafeCell::new(value))).collect(),
            orderings,
            blind_from: None,
        }
    }

    /// The lock word as it is found.
    pub fn locked_by(mut self, word: u32) -> Map {
        self.lock.1 = AtomicU32::new(word);
        self
    }

    pub fn blind_from(mut self, word: u32) -> Map {
        self.blind_from = Some(word);
        self
    }

    pub fn record(&self, offset: usize) -> u64 {
        // SAFETY: loom stops the model if a write is not ordered before this.
        self.records[&offset].with(|at| unsafe { *at })
    }

    pub fn write_record(&self, offset: usize, value: u64) {
        // SAFETY: loom stops the model if any other access is not ordered before this.
        self.records[&offset].with_mut(|at| unsafe { *at = value });
    }
}

impl OsMap for Map {
    fn len(&self) -> usize {
        usize::MAX
    }

    fn is_writable(&self) -> bool {
        true
    }

    fn load(&self, offset: usize) -> u64 {
        self.words.get(&offset).map_or(0, |word| word.load(self.orderings.load))
    }

    fn store(&self, offset: usize, value: u64) {
        if let Some(word) = self.words.get(&offset) {
            word.store(value, self.orderings.store);
        }
    }

    fn compare_exchange(&self, _offset: usize, old: u64, _new: u64) -> Result<u64, u64> {
        Ok(old)
    }

    fn fetch_add(&self, _offset: usize, _delta: u64) -> u64 {
        0
    }

    fn fetch_max(&self, _offset: usize, _value: u64) -> u64 {
        0
    }

    fn load32(&self, _offset: usize) -> u32 {
        self.lock.1.load(self.orderings.load)
    }

    fn compare_exchange32(&self, _offset: usize, old: u32, new: u32) -> Result<u32, u32> {
        if self.blind_from == Some(old) {
            self.lock.1.store(new, self.orderings.store);
            return Ok(old);
        }
        self.lock.1.compare_exchange(old, new, self.orderings.change, self.orderings.load)
    }

    fn swap32(&self, _offset: usize, value: u32) -> u32 {
        self.lock.1.swap(value, self.orderings.change)
    }

    fn read(&self, offset: usize, to: &mut [u8]) -> bool {
        to.copy_from_slice(&self.record(offset).to_le_bytes());
        true
    }

    fn append_to(&self, offset: usize, _len: usize, to: &mut Vec<u8>) -> bool {
        to.extend_from_slice(&self.record(offset).to_le_bytes());
        true
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        let mut value = [0; 8];
        value.copy_from_slice(bytes);
        self.write_record(offset, u64::from_le_bytes(value));
    }

    fn equals(&self, offset: usize, bytes: &[u8]) -> bool {
        self.record(offset).to_le_bytes() == bytes
    }

    fn prefetch(&self, _offset: usize) {}

    fn immutable(&self, _offset: usize, _len: usize) -> Option<&[u8]> {
        None
    }
}

/// An os floor with no files: it knows who is alive, and lets others go on where the real one sleeps.
#[derive(Clone)]
pub struct Loom {
    /// 1 while the handle with the id 1 lives. The kernel gives a presence free after all that its owner stored.
    pub first_lives: Arc<AtomicU32>,
}

impl Os for Loom {
    type File = NoFile;
    type Map = Map;
    type Lock = ();
    type Presence = ();

    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }
    fn open(&self, _path: &Path, _mode: OpenMode) -> io::Result<NoFile> {
        Err(io::ErrorKind::NotFound.into())
    }
    fn remove(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }
    fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        Ok(())
    }
    fn list(&self, _path: &Path) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }
    fn unsupported_file_system(&self, _path: &Path) -> io::Result<Option<u64>> {
        Ok(None)
    }
    fn lock(&self, _path: &Path, _timeout: Duration) -> io::Result<Option<()>> {
        Ok(None)
    }
    fn announce(&self, _path: &Path, _bytes: usize) -> io::Result<()> {
        Ok(())
    }
    fn presence_page(_presence: &()) -> &Map {
        unreachable!("no model looks at statistics")
    }

    fn is_alive(&self, path: &Path) -> bool {
        !path.ends_with("1") || self.first_lives.load(Ordering::Acquire) != 0
    }
    fn is_forked(&self) -> bool {
        false
    }
    fn after_fork(&self) -> io::Result<Loom> {
        Ok(self.clone())
    }
    fn place(&self) -> (u64, u64, u64) {
        (0, 0, 0)
    }

    fn anchor(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }
    fn wait(&self, _map: &Map, _offset: usize, _expected: u32, _timeout: Duration) {
        loom::thread::yield_now();
    }
    fn wake(&self, _map: &Map, _offset: usize, _count: u32) {}
    fn spawn(&self, _body: impl FnOnce() + Send + 'static) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    const SPINS: u32 = 3;
    /// No yield: loom would let the owner go on to its end then, and nobody would ever come to sleep.
    fn spin(&self) {}
    fn now(&self) -> u64 {
        0
    }
    fn uptime(&self) -> Duration {
        Duration::ZERO
    }
    fn random(&self) -> u64 {
        0
    }
}

/// A file that cannot be.
pub enum NoFile {}

impl OsFile for NoFile {
    type Map = Map;
    fn len(&self) -> io::Result<u64> {
        match *self {}
    }
    fn allocated(&self) -> io::Result<u64> {
        match *self {}
    }
    fn read_at(&self, _bytes: &mut [u8], _offset: u64) -> io::Result<()> {
        match *self {}
    }
    fn write_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        match *self {}
    }
    fn extend(&self, _len: u64) -> io::Result<()> {
        match *self {}
    }
    fn allocate(&self, _offset: u64, _len: u64) -> io::Result<()> {
        match *self {}
    }
    fn release(&self, _offset: u64, _len: u64) -> io::Result<()> {
        match *self {}
    }
    fn sync(&self) -> io::Result<()> {
        match *self {}
    }
    fn map(&self, _len: usize, _access: Access) -> io::Result<Map> {
        match *self {}
    }
    fn identity(&self) -> io::Result<Identity> {
        match *self {}
    }
}
