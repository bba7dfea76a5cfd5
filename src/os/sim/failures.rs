//! The failures that a test has planned. Counts calls; knows nothing of what they do.

use rustix::io::Errno;
use std::io;
use std::path::Path;

/// The calls that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallKind {
    /// Any of the below.
    Any,
    /// `Os::create_dir`.
    CreateDir,
    /// `Os::open` of an existing file.
    Open,
    /// `Os::open` of a new file.
    Create,
    /// `Os::remove`.
    Remove,
    /// `Os::rename`; a filter on the path looks at the old name.
    Rename,
    /// `Os::list`.
    List,
    /// `Os::sync_dir`.
    SyncDir,
    /// `Os::unsupported_file_system`.
    FileSystem,
    /// `Os::lock`.
    Lock,
    /// `Os::announce`.
    Announce,
    /// `OsFile::len`.
    Len,
    /// `OsFile::allocated`.
    Allocated,
    /// `OsFile::read_at`.
    ReadAt,
    /// `OsFile::write_at`: nothing is written, unless the fault is [`Fault::Short`].
    WriteAt,
    /// `OsFile::extend`.
    Extend,
    /// `OsFile::allocate`: nothing is allocated, unless the fault is [`Fault::Short`].
    Allocate,
    /// `OsFile::release`: nothing is given back, unless the fault is [`Fault::Short`].
    Release,
    /// `OsFile::sync`: as with real kernels, the pages then count as clean, so that the next sync succeeds and yet does
    /// not make them durable.
    Sync,
    /// `OsFile::map`.
    Map,
    /// `OsFile::identity`.
    Identity,
}

/// What a call that fails says, and what it has done by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It has done nothing, and says so in general.
    Kind(io::ErrorKind),
    /// It has done nothing, and says what the kernel would.
    Says(Errno),
    /// A write or an allocation has done the first half of its bytes, as the kernel may before it says this. Any other call
    /// has done nothing.
    Short(Errno),
}

impl From<io::ErrorKind> for Fault {
    fn from(kind: io::ErrorKind) -> Fault {
        Fault::Kind(kind)
    }
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Fault {
        Fault::Says(errno)
    }
}

impl Fault {
    /// As it is returned. What the kernel says has a number, which a sentence of the simulation would hide.
    pub(super) fn error(self, call: CallKind, path: &Path) -> io::Error {
        match self {
            Fault::Kind(kind) => io::Error::new(kind, format!("simulated failure of {call:?} on {}", path.display())),
            Fault::Says(errno) | Fault::Short(errno) => errno.into(),
        }
    }
}

#[derive(Clone)]
struct Failure {
    call: CallKind,
    within: String,
    /// Calls until it happens; 0 when it has begun and goes on.
    left: u64,
    goes_on: bool,
    fault: Fault,
}

/// The failures still to come.
#[derive(Clone, Default)]
pub(super) struct Failures {
    planned: Vec<Failure>,
    /// Calls so far.
    pub(super) calls: u64,
}

impl Failures {
    pub(super) fn plan(&mut self, call: CallKind, within: &str, nth: u64, fault: Fault, goes_on: bool) {
        self.planned.push(Failure { call, within: within.to_owned(), left: nth.max(1), goes_on, fault });
    }

    pub(super) fn clear(&mut self) {
        self.planned.clear();
    }

    /// Counts a call; the failure that was planned for it.
    pub(super) fn next(&mut self, call: CallKind, path: &Path) -> Option<Fault> {
        self.calls += 1;
        let mut fault = None;
        self.planned.retain_mut(|failure| {
            let is_kind = failure.call == CallKind::Any || failure.call == call;
            if is_kind && path.to_string_lossy().contains(&failure.within) {
                failure.left = failure.left.saturating_sub(1);
                if failure.left == 0 {
                    fault = Some(failure.fault);
                }
            }
            failure.left > 0 || failure.goes_on
        });
        fault
    }
}
