//! The one error type of the crate.
//!
//! Every floor uses it and it uses none of them. Callers match on variants or ask the predicates; what went wrong with
//! bytes on disk is an enum, never a sentence.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A boxed error of somebody else: a codec's, or the caller's own.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What can go wrong.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let cache = larder::Cache::open(&dir)?;
/// cache.set("name", "text")?;
/// let error = cache.get::<u32>("name").unwrap_err();
/// assert!(error.is_type());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a call on a file or directory of the store.
    Io(Box<IoFailure>),
    /// Bytes of a file do not say what they must. The operation had no effect.
    Corrupt(Box<Damage>),
    /// The encoded key is longer than [`MAX_KEY_BYTES`](crate::MAX_KEY_BYTES).
    KeyTooLarge {
        /// Length of the encoded key, in bytes.
        bytes: usize,
    },
    /// The tag is longer than [`MAX_TAG_BYTES`](crate::MAX_TAG_BYTES).
    TagTooLarge {
        /// Length of the tag, in bytes.
        bytes: usize,
    },
    /// The value can never fit under the size limit of this store.
    ValueTooLarge {
        /// Length of the encoded value, in bytes.
        bytes: u64,
        /// The longest value this store takes, in bytes.
        limit: u64,
    },
    /// One batch or transaction would write more than an eighth of the size limit.
    TransactionTooLarge {
        /// What it would write, in bytes.
        bytes: u64,
        /// The most it may write, in bytes.
        limit: u64,
    },
    /// The store or the disk is full, and nothing may be evicted. Everything stored is still there.
    Full,
    /// A value, key or store was written as another type than the one it is read as.
    Type(Box<TypeMismatch>),
    /// The codec could not encode or decode a value.
    Codec(BoxError),
    /// A counter operation met a value that is no integer. The value is unchanged.
    NotAnInteger,
    /// A counter operation would leave the range of `i64`. The value is unchanged.
    Overflow,
    /// A lock could not be had within the lock time-out.
    Timeout,
    /// The store was opened with `read_only(true)`.
    ReadOnly,
    /// Options that cannot hold, or that contradict what the directory holds.
    Config(ConfigProblem),
    /// The directory was written by a version of the format that this version does not know. Nothing was touched.
    FormatVersion {
        /// The version found in the directory.
        found: u32,
        /// The version this crate writes.
        supported: u32,
    },
    /// The path is no directory.
    NotAStore(PathBuf),
    /// The directory is on a file system whose maps and locks are not shared by processes reliably (NFS, SMB, FUSE …).
    FileSystem {
        /// The directory.
        path: PathBuf,
        /// The magic number that `statfs` reports for its file system.
        magic: u64,
    },
    /// The calling thread is inside a transaction of this store and wrote through another handle, or called what has no
    /// place inside one; or the transaction of the handle has ended.
    InTransaction,
    /// The calling thread is computing the value of this key already, and asked for it while it did.
    Recursive,
    /// The time of a lease had run out, and the element is somebody else's, or was done by somebody else.
    LeaseLost,
    /// A transaction was rolled back because its closure asked for it with [`Error::aborted`].
    Aborted(BoxError),
    /// The change is made and every process sees it, but it may be lost with the power: the disk failed, or did not answer
    /// within the lock time-out. Inside is what went wrong. Only handles with
    /// [`Durability::Sync`](crate::Durability::Sync) give it.
    NotDurable(Box<Error>),
    /// The handle's directory was removed or renamed, or holds another store by now. Nothing in it was touched. What is
    /// mapped can still be read; open the store anew for anything else.
    Replaced(PathBuf),
    /// The handle was inherited through `fork`, and opening the directory anew in the child failed; or the transaction was
    /// begun by the parent.
    Forked,
}

/// Which call failed, on which path.
#[derive(Debug)]
pub struct IoFailure {
    /// What was being done, as a verb: "open", "map", "append".
    pub action: &'static str,
    /// The file or directory it was done to.
    pub path: PathBuf,
    /// What the operating system said.
    pub source: io::Error,
}

/// Which bytes are wrong, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// The first byte of the damaged structure.
    pub offset: u64,
    /// What is wrong with it.
    pub what: Corruption,
}

/// The ways in which bytes on disk can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Corruption {
    /// The file does not begin with the magic number of its kind.
    Magic,
    /// A checksum does not match.
    Checksum,
    /// The file is shorter than its header says.
    Truncated,
    /// A length or offset points outside the file or the structure it belongs to.
    Bounds,
    /// A file that another file refers to is missing.
    Missing,
    /// The file belongs to another store or was put in another file's place.
    Identity,
    /// An index entry leads to a record that does not fit it.
    Index,
    /// A counter differs from what a full count finds.
    Count,
    /// A key, tag or value of a record cannot be parsed.
    Encoding,
    /// A structure refers to itself or never ends.
    Cycle,
}

/// What was asked for, and what is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeMismatch {
    /// The type that was asked for.
    pub expected: &'static str,
    /// What is stored, in the words of the format.
    pub found: &'static str,
}

/// Options that cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigProblem {
    /// `size_limit` is below the smallest that works, [`MIN_SIZE_LIMIT`](crate::MIN_SIZE_LIMIT).
    SizeLimitTooSmall,
    /// `size_limit` is above what this directory's segment table can address.
    SizeLimitTooLarge,
    /// Read-only was asked for, and the directory holds no store.
    NothingToRead,
    /// The directory holds another kind of store, such as a deque or a fan-out cache.
    OtherKind,
    /// A `maxlen` of 0: nothing could be in such a queue.
    MaxlenZero,
    /// A name with a zero byte in it.
    Name,
    /// No shard, more than 128, or another number of shards than the directory has.
    Shards,
}

/// What was being done when a file could not be made durable.
pub(crate) const NOT_WRITTEN: &str = "sync";

impl Error {
    /// Wraps a caller's own failure, so that it can leave a transaction's closure and roll it back.
    ///
    /// ```
    /// let error = larder::Error::aborted("insufficient funds");
    /// assert!(error.is_aborted());
    /// ```
    pub fn aborted(reason: impl Into<BoxError>) -> Error {
        Error::Aborted(reason.into())
    }

    /// True if a lock was not to be had in time; the call may be repeated.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Error::Timeout)
    }

    /// True if bytes on disk were found damaged.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Error::Corrupt(_))
    }

    /// True if the store or the disk has no room.
    pub fn is_full(&self) -> bool {
        matches!(self, Error::Full)
    }

    /// True if a stored value or key is of another type than the one asked for.
    pub fn is_type(&self) -> bool {
        matches!(self, Error::Type(_) | Error::NotAnInteger)
    }

    /// True if a change is made and visible, but not known to be on the disk.
    ///
    /// ```
    /// assert!(!larder::Error::Full.is_not_durable());
    /// ```
    pub fn is_not_durable(&self) -> bool {
        matches!(self, Error::NotDurable(_))
    }

    /// True if a transaction's own closure gave up.
    pub fn is_aborted(&self) -> bool {
        matches!(self, Error::Aborted(_))
    }

    /// An operating system failure; a full disk or quota becomes [`Error::Full`], a directory that is another's by now
    /// [`Error::Replaced`].
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Full,
            io::ErrorKind::StaleNetworkFileHandle => Error::Replaced(path.to_owned()),
            _ => Error::Io(Box::new(IoFailure { action, path: path.to_owned(), source })),
        }
    }

    /// True if the system had no space, whatever it was wanted for.
    pub(crate) fn is_for_want_of_space(&self) -> bool {
        match self {
            Error::Full => true,
            Error::Io(failure) => {
                matches!(failure.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }

    /// A failure to make a file durable. It is never [`Error::Full`], even if a disk without room is the reason: what
    /// could not be written was stored before.
    pub(crate) fn not_written(path: &Path, source: io::Error) -> Error {
        Error::Io(Box::new(IoFailure { action: NOT_WRITTEN, path: path.to_owned(), source }))
    }

    pub(crate) fn corrupt(path: &Path, offset: u64, what: Corruption) -> Error {
        Error::Corrupt(Box::new(Damage { path: path.to_owned(), offset, what }))
    }

    pub(crate) fn mismatch(expected: &'static str, found: &'static str) -> Error {
        Error::Type(Box::new(TypeMismatch { expected, found }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io(e) => write!(f, "cannot {} {}: {}", e.action, e.path.display(), e.source),
            Error::Corrupt(d) => {
                write!(f, "{} is damaged at byte {}: {}", d.path.display(), d.offset, d.what)
            }
            Error::KeyTooLarge { bytes } => {
                write!(f, "a key of {bytes} encoded bytes is over the limit of {}", crate::options::MAX_KEY_BYTES)
            }
            Error::TagTooLarge { bytes } => {
                write!(f, "a tag of {bytes} bytes is over the limit of {}", crate::options::MAX_TAG_BYTES)
            }
            Error::ValueTooLarge { bytes, limit } => {
                write!(f, "a value of {bytes} bytes can never fit: the limit is {limit}")
            }
            Error::TransactionTooLarge { bytes, limit } => {
                write!(f, "a batch of {bytes} bytes is over the limit of {limit}")
            }
            Error::Full => {
                f.write_str("the store has reached its limit and nothing may be evicted, or the disk is full")
            }
            Error::Type(t) => write!(f, "asked for {}, but {} is stored", t.expected, t.found),
            Error::Codec(e) => write!(f, "the codec failed: {e}"),
            Error::NotAnInteger => f.write_str("the stored value is not an integer"),
            Error::Overflow => f.write_str("the counter would leave the range of i64"),
            Error::Timeout => f.write_str("the lock was not to be had in time"),
            Error::ReadOnly => f.write_str("the store is open for reading only"),
            Error::Config(problem) => write!(f, "options cannot hold: {problem}"),
            Error::FormatVersion { found, supported } => {
                write!(f, "format version {found} is unknown here, where {supported} is written")
            }
            Error::NotAStore(path) => write!(f, "{} is not a store's directory", path.display()),
            Error::FileSystem { path, magic } => {
                write!(f, "{} is on an unsupported file system (magic {magic:#x})", path.display())
            }
            Error::Recursive => f.write_str("the value of a key was asked for by the thread that computes it"),
            Error::LeaseLost => f.write_str("the lease has run out and its element has passed on"),
            Error::InTransaction => f.write_str(
                "a call that has no place inside the store's transaction, or a handle of one that has ended",
            ),
            Error::Aborted(e) => write!(f, "the transaction was rolled back: {e}"),
            Error::NotDurable(e) => write!(f, "the change is made, but may be lost with the power: {e}"),
            Error::Replaced(path) => {
                write!(f, "{} is gone: the handle's directory was removed, renamed or replaced", path.display())
            }
            Error::Forked => f.write_str("the handle was inherited through fork; open the store again"),
        }
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Corruption::Magic => "wrong magic number",
            Corruption::Checksum => "wrong checksum",
            Corruption::Truncated => "too short",
            Corruption::Bounds => "length or offset out of bounds",
            Corruption::Missing => "missing file",
            Corruption::Identity => "file of another store or place",
            Corruption::Index => "index entry without its record",
            Corruption::Count => "wrong counter",
            Corruption::Encoding => "unreadable key, tag or value",
            Corruption::Cycle => "endless structure",
        })
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConfigProblem::SizeLimitTooSmall => "size_limit is below 2 MiB",
            ConfigProblem::SizeLimitTooLarge => "size_limit is more than this directory was created for",
            ConfigProblem::NothingToRead => "read_only, and there is no store to read",
            ConfigProblem::OtherKind => "the directory holds another kind of store",
            ConfigProblem::MaxlenZero => "maxlen is 0",
            ConfigProblem::Name => "the name has a zero byte in it",
            ConfigProblem::Shards => "impossible number of shards, or another one than the directory has",
        })
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io(e) => Some(&e.source),
            Error::NotDurable(e) => Some(&**e),
            Error::Codec(e) | Error::Aborted(e) => Some(e.as_ref()),
            _ => None,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        match error {
            Error::Io(failure) => failure.source,
            Error::NotDurable(inner) => {
                let kind = io::Error::from(*inner).kind();
                io::Error::new(kind, "the change is made, but may be lost with the power")
            }
            other => {
                let kind = match &other {
                    Error::Full => io::ErrorKind::StorageFull,
                    Error::Timeout => io::ErrorKind::TimedOut,
                    Error::ReadOnly => io::ErrorKind::PermissionDenied,
                    Error::FileSystem { .. } => io::ErrorKind::Unsupported,
                    Error::Corrupt(_) | Error::FormatVersion { .. } | Error::NotAStore(_) => io::ErrorKind::InvalidData,
                    Error::KeyTooLarge { .. } | Error::TagTooLarge { .. } | Error::Config(_) => {
                        io::ErrorKind::InvalidInput
                    }
                    _ => io::ErrorKind::Other,
                };
                io::Error::new(kind, other)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_small_and_can_cross_threads() {
        fn crosses<T: Send + Sync + 'static>() {}
        crosses::<Error>();
        assert!(size_of::<Error>() <= 32, "{}", size_of::<Error>());
    }

    #[test]
    fn a_full_disk_is_full_whoever_says_so() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(Error::io("append", Path::new("x"), full).is_full());
        let back = io::Error::from(Error::Full);
        assert_eq!(back.kind(), io::ErrorKind::StorageFull);
    }
}
