//! The os floor: files, maps, locks, sleeping and time. The only floor that talks to the kernel, and the only one with
//! `unsafe`. It knows nothing of records, indexes or keys.
//!
//! The floors above are generic over [`Os`], so that a test can hand them [`sim`] instead of [`real`]: one thread then
//! plays many processes, and the simulation kills one, fills the disk or moves the clock between any two steps.
//!
//! Three rules hold for memory that other processes may write:
//! - a word is read and written by the atomic methods of [`OsMap`] alone;
//! - bytes are copied out and in; no reference into a map leaves this floor but through [`Pinned`];
//! - what is stored through a map has space that was allocated to its file, and files never shrink.

#[cfg(any(test, fuzzing))]
pub mod bounded;
pub mod companion;
pub mod once;
pub mod real;
#[cfg(any(test, fuzzing))]
pub mod sim;
pub mod text;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How [`Os::open`] opens a file. Symbolic links are never followed, and what is not a regular file is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    Write,
    /// A new file with mode 0600; an existing one is an error of kind `AlreadyExists`.
    Create,
}

/// Which file this is, and under which boot and mount it is seen: what has to agree before words in a file that was
/// never synced may be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// A number drawn by the kernel at boot.
    pub boot: u128,
    /// The device the file is on.
    pub device: u64,
    /// The file's number on that device.
    pub inode: u64,
    /// The mount through which it is seen, never used twice in a boot; 0 where the kernel cannot tell.
    pub mount: u64,
}

/// The kernel, or a simulation of it.
pub trait Os: Clone + Send + Sync + 'static {
    /// An open file.
    type File: OsFile<Map = Self::Map>;
    /// A shared mapping of a file.
    type Map: OsMap;
    /// An exclusive lock on a file, held until dropped.
    type Lock: Send + Sync;
    /// The sign of life of one handle: others see it until it is dropped or the process ends, however it ends.
    type Presence: Send + Sync;

    /// Makes a directory of mode 0700. One that exists is fine.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Opens a file; see [`OpenMode`].
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Self::File>;
    /// Removes a name. Maps and open files of it stay valid.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Gives a file another name in the same directory tree, replacing what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// The names in a directory, in no order; names that are not UTF-8 are left out.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// The magic number of the file system under a path if processes cannot share maps and locks on it, else `None`.
    fn unsupported_file_system(&self, path: &Path) -> io::Result<Option<u64>>;

    /// Locks a file exclusively, making it if it is not there, and waits for at most `timeout`; `None` when it ran out.
    fn lock(&self, path: &Path, timeout: Duration) -> io::Result<Option<Self::Lock>>;
    /// Makes a file of so many bytes, a multiple of 4096, and locks it for the life of the returned value. The lock does not
    /// pass to a child of `fork` and is gone as soon as the process is.
    fn announce(&self, path: &Path, bytes: usize) -> io::Result<Self::Presence>;
    /// The bytes of a presence, for words that this handle alone writes and others read.
    fn presence_page(presence: &Self::Presence) -> &Self::Map;
    /// False if the handle that announced itself at `path` is gone: the file is missing, or nobody holds its lock.
    fn is_alive(&self, path: &Path) -> bool;
    /// True in a child of `fork` that inherited this value.
    fn is_forked(&self) -> bool;
    /// A value that is this process's own, for a child of `fork`.
    fn after_fork(&self) -> io::Result<Self>;
    /// From now on, if `path` no longer names the file that it names now, whatever gives, takes or changes a name or
    /// opens a file for writing fails with `StaleNetworkFileHandle`, and nobody is found dead. Costs each such call one
    /// look at the file's number. A handle calls it once, before it is shared.
    fn anchor(&self, path: &Path) -> io::Result<()>;
    /// The process that this value was made in, and the device and number of the file that [`Os::anchor`] named.
    fn place(&self) -> (u64, u64, u64);

    /// Sleeps while the 32-bit word at `offset` equals `expected`, until woken or for `timeout`. May wake for no reason.
    fn wait(&self, map: &Self::Map, offset: usize, expected: u32, timeout: Duration);
    /// Wakes up to `count` sleepers on the word at `offset`, in every process.
    fn wake(&self, map: &Self::Map, offset: usize, count: u32);
    /// Runs something in a thread of its own. A simulation has none: `Unsupported`, and `body` is dropped.
    fn spawn(&self, body: impl FnOnce() + Send + 'static) -> io::Result<()>;
    /// Steps of spinning for a lock before the first sleep: as long as a sleep costs. A model that tries every order of steps
    /// needs few of them.
    const SPINS: u32 = 60;
    /// A step of spinning: a processor hint, or the simulation's turn to run somebody else.
    fn spin(&self);

    /// Wall clock, in nanoseconds since 1970. May be some milliseconds old, and may step.
    fn now(&self) -> u64;
    /// Time since some fixed moment of this boot, the same for all processes; never steps. May be some milliseconds old.
    fn uptime(&self) -> Duration;
    /// 64 random bits.
    fn random(&self) -> u64;
}

/// An open file. Positions are absolute; short reads and writes are completed, interrupted calls repeated.
pub trait OsFile: Send + Sync {
    /// What mapping it gives.
    type Map: OsMap;
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Bytes of disk that it takes.
    fn allocated(&self) -> io::Result<u64>;
    /// Fills `bytes` from `offset`; `UnexpectedEof` if the file ends before.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;
    /// Adds `len` bytes from `offset` on to the end of `to`; `UnexpectedEof` if the file ends before. After an error `to` may be
    /// longer.
    fn append_to(&self, to: &mut Vec<u8>, len: usize, offset: u64) -> io::Result<()> {
        let start = to.len();
        to.resize(start.saturating_add(len), 0);
        self.read_at(&mut to[start..], offset)
    }
    /// Writes `bytes` at `offset`, growing the file if it ends before.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes the file `len` bytes long without allocating; never shortens it.
    fn extend(&self, len: u64) -> io::Result<()>;
    /// Allocates zeroed space for `offset..offset + len`, growing the file if it ends before. After an error the
    /// file may have grown.
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()>;
    /// Gives the space of the pages of `offset..offset + len` back: they read as zeros, and the file is as long as before. Does
    /// nothing behind its end. `Unsupported`, with nothing changed, where the file system cannot, or where reading them through a map
    /// could fail then.
    fn release(&self, offset: u64, len: u64) -> io::Result<()>;
    /// Makes the bytes durable. After an error nothing is known about any byte written since the last success.
    fn sync(&self) -> io::Result<()>;
    /// Maps the first `len` bytes; `UnexpectedEof` if the file is shorter.
    fn map(&self, len: usize, access: Access) -> io::Result<Self::Map>;
    /// Which file this is.
    fn identity(&self) -> io::Result<Identity>;
}

/// What a mapping allows. A store through a mapping for reading is refused by the kernel with a signal, so methods that
/// write check it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Loads alone.
    Read,
    /// Loads and stores.
    Write,
}

/// A shared mapping. Offsets out of bounds, misaligned words and writes to a mapping for reading read as zero or
/// do nothing (and fail a `debug_assert!`): callers check bounds of what they read from disk before they come here.
pub trait OsMap: Send + Sync + 'static {
    /// Length in bytes.
    fn len(&self) -> usize;
    /// True if the mapping allows stores.
    fn is_writable(&self) -> bool;

    /// Loads the 64-bit word at `offset` with Acquire.
    fn load(&self, offset: usize) -> u64;
    /// Loads the eight 64-bit words from `offset` on, in order, each with Acquire.
    #[inline]
    fn load_line(&self, offset: usize) -> [u64; 8] {
        std::array::from_fn(|i| self.load(offset + 8 * i))
    }
    /// Stores the 64-bit word at `offset` with Release.
    fn store(&self, offset: usize, value: u64);
    /// Stores 64-bit words from `offset` on, in order, each with Release.
    #[inline]
    fn store_words<const N: usize>(&self, offset: usize, words: [u64; N]) {
        for (i, word) in words.into_iter().enumerate() {
            self.store(offset + 8 * i, word);
        }
    }
    /// Replaces `old` by `new`, or says what is there.
    fn compare_exchange(&self, offset: usize, old: u64, new: u64) -> Result<u64, u64>;
    /// Adds, wrapping, with Relaxed; the value before.
    fn fetch_add(&self, offset: usize, delta: u64) -> u64;
    /// Raises to at least `value`; the value before.
    fn fetch_max(&self, offset: usize, value: u64) -> u64;

    /// Loads the 32-bit word at `offset` with Acquire.
    fn load32(&self, offset: usize) -> u32;
    /// Replaces `old` by `new` with Acquire, or says what is there.
    fn compare_exchange32(&self, offset: usize, old: u32, new: u32) -> Result<u32, u32>;
    /// Stores `value` with Release; the value before.
    fn swap32(&self, offset: usize, value: u32) -> u32;

    /// Copies bytes out. False, and `to` unspecified, if out of bounds.
    #[must_use]
    fn read(&self, offset: usize, to: &mut [u8]) -> bool;
    /// Copies bytes out onto the end of `to`. False, and `to` as before, if out of bounds.
    #[must_use]
    fn append_to(&self, offset: usize, len: usize, to: &mut Vec<u8>) -> bool;
    /// Copies bytes in. Nobody may read them before a later Release store leads there.
    fn write(&self, offset: usize, bytes: &[u8]);
    /// True if the bytes at `offset` are `bytes`.
    fn equals(&self, offset: usize, bytes: &[u8]) -> bool;
    /// Asks the processor to fetch the line at `offset`. Never faults, whatever the offset.
    fn prefetch(&self, offset: usize);
    /// The bytes of a range, for [`Pinned`] alone. The range must be immutable: written before the store that led the
    /// caller to it, and never after.
    fn immutable(&self, offset: usize, len: usize) -> Option<&[u8]>;
}

/// What keeps a mapping.
pub trait HoldsMap: Send + Sync {
    /// The mapping's type.
    type Map: OsMap;
    /// The mapping.
    fn held(&self) -> &Self::Map;
}

impl<M: OsMap> HoldsMap for M {
    type Map = M;
    fn held(&self) -> &M {
        self
    }
}

/// Committed bytes, borrowed from the mapping whose holder this value keeps alive.
pub struct Pinned<H: HoldsMap> {
    holder: Arc<H>,
    offset: usize,
    len: usize,
}

impl<H: HoldsMap> Pinned<H> {
    /// Pins a range of committed, immutable bytes; `None` if it is out of bounds.
    pub fn new(holder: Arc<H>, offset: usize, len: usize) -> Option<Self> {
        holder.held().immutable(offset, len)?;
        Some(Pinned { holder, offset, len })
    }
}

impl<H: HoldsMap> std::ops::Deref for Pinned<H> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.holder.held().immutable(self.offset, self.len).unwrap_or_default()
    }
}
