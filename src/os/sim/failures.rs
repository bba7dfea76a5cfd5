//! The failures that a test has planned. Counts calls; knows nothing of what they do.

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
    /// `OsFile::write_at`: nothing is written.
    WriteAt,
    /// `OsFile::extend`.
    Extend,
    /// `OsFile::allocate`: nothing is allocated.
    Allocate,
    /// `OsFile::sync`: as with real kernels, the pages then count as clean, so that the next sync succeeds and yet does
    /// not make them durable.
    Sync,
    /// `OsFile::map`.
    Map,
    /// `OsFile::identity`.
    Identity,
}

#[derive(Clone)]
struct Failure {
    call: CallKind,
    within: String,
    left: u64,
    kind: io::ErrorKind,
}

/// The failures still to come.
#[derive(Clone, Default)]
pub(super) struct Failures {
    planned: Vec<Failure>,
    /// Calls so far.
    pub(super) calls: u64,
}

impl Failures {
    pub(super) fn plan(&mut self, call: CallKind, within: &str, nth: u64, kind: io::ErrorKind) {
        self.planned.push(Failure { call, within: within.to_owned(), left: nth.max(1), kind });
    }

    pub(super) fn clear(&mut self) {
        self.planned.clear();
    }

    /// Counts a call, and fails it if a failure was planned for it.
    pub(super) fn check(&mut self, call: CallKind, path: &Path) -> io::Result<()> {
        self.calls += 1;
        let mut kind = None;
        self.planned.retain_mut(|failure| {
            let is_kind = failure.call == CallKind::Any || failure.call == call;
            if is_kind && path.to_string_lossy().contains(&failure.within) {
                failure.left -= 1;
            }
            if failure.left == 0 {
                kind = Some(failure.kind);
            }
            failure.left > 0
        });
        match kind {
            Some(kind) => Err(io::Error::new(kind, format!("simulated failure of {call:?} on {}", path.display()))),
            None => Ok(()),
        }
    }
}
