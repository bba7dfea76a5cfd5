//! The real os floor: Linux and other Unix systems. Holds every kernel call of the crate and, with [`map`], every
//! `unsafe` block of a release build.
//!
//! Where there is no futex (outside Linux) sleepers poll with short naps; correctness never depends on a wake.

mod map;

pub use map::RealMap;

use std::collections::hash_map::RandomState;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::{Access, Identity, OpenMode, Os, OsFile};
use map::ForkCanary;

/// The nap between two tries of a file lock.
/// So long a presence that is new waits for those who look whether its owner lives.
const LOOK_MAX: Duration = Duration::from_secs(1);
const LOCK_NAP: Duration = Duration::from_micros(500);

/// The kernel this program runs on.
#[derive(Clone)]
pub struct RealOs {
    canary: Arc<ForkCanary>,
    process: u32,
    /// Set once, by the thread that opens the store.
    anchor: Arc<OnceLock<Anchor>>,
}

/// A name and the file that it has to lead to.
struct Anchor {
    path: PathBuf,
    file: (u64, u64),
}

/// An open file of the real file system.
pub struct RealFile(File);

/// A held file lock. It is released by its name, for closing the descriptor would leave it to a child that was forked
/// meanwhile and has a copy.
pub struct RealLock {
    file: File,
    canary: Arc<ForkCanary>,
}

impl Drop for RealLock {
    fn drop(&mut self) {
        if !self.canary.is_wiped() {
            // What fails here leaves the lock to the descriptor, which is closed next.
            let _ = fs2::FileExt::unlock(&self.file);
        }
    }
}

/// A locked page. The mapping keeps the lock after the descriptor is closed, where the file system allows that; it is
/// not inherited by a forked child, so that the lock ends with this process whatever its children do.
pub struct RealPresence {
    page: RealMap,
    _descriptor: Option<File>,
}

impl RealOs {
    /// The kernel.
    pub fn new() -> io::Result<RealOs> {
        Ok(RealOs { canary: Arc::new(ForkCanary::new()?), process: std::process::id(), anchor: Arc::default() })
    }

    /// An error if the directory that this handle was opened on is not where it was.
    fn in_place(&self) -> io::Result<()> {
        let Some(anchor) = self.anchor.get() else { return Ok(()) };
        let stale = || io::Error::from(io::ErrorKind::StaleNetworkFileHandle);
        match fs::symlink_metadata(&anchor.path) {
            Ok(found) if (found.dev(), found.ino()) == anchor.file => Ok(()),
            Ok(_) => Err(stale()),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Err(stale()),
            Err(e) => Err(e),
        }
    }
}

/// What `O_NOFOLLOW` and `O_NONBLOCK` are for: a symbolic link is refused, and a FIFO put in a file's place does not
/// block the open.
fn open_flags() -> i32 {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    flags.bits() as i32
}

fn open(path: &Path, mode: OpenMode) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(open_flags()).mode(0o600);
    match mode {
        OpenMode::Read => {}
        OpenMode::Write => {
            options.write(true);
        }
        OpenMode::Create => {
            options.write(true).create_new(true);
        }
    }
    let file = options.open(path)?;
    match is_regular(&file)? {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
    }
}

/// Asks for the type alone. Who asks for times as well has the kernel keep finer ones of the file from then on, so that each
/// write changes them and each `fdatasync` writes them to the disk too: a durable commit took half as long again.
#[cfg(target_os = "linux")]
fn is_regular(file: &File) -> io::Result<bool> {
    use rustix::fs::{AtFlags, FileType, StatxFlags, statx};
    match statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::TYPE) {
        Ok(found) => Ok(FileType::from_raw_mode(found.stx_mode.into()) == FileType::RegularFile),
        // A filter of system calls may refuse it.
        Err(_) => Ok(file.metadata()?.is_file()),
    }
}

#[cfg(not(target_os = "linux"))]
fn is_regular(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.is_file())
}

impl Os for RealOs {
    type File = RealFile;
    type Map = RealMap;
    type Lock = RealLock;
    type Presence = RealPresence;

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && fs::metadata(path)?.is_dir() => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(io::Error::from(io::ErrorKind::NotADirectory)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).ok_or(e)?;
                self.create_dir(parent)?;
                fs::DirBuilder::new().mode(0o700).recursive(true).create(path)
            }
            other => other,
        }
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<RealFile> {
        if mode != OpenMode::Read {
            self.in_place()?;
        }
        open(path, mode).map(RealFile)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.in_place()?;
        fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.in_place()?;
        fs::rename(from, to)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.in_place()?;
        File::open(path)?.sync_all()
    }

    fn unsupported_file_system(&self, path: &Path) -> io::Result<Option<u64>> {
        #[cfg(target_os = "linux")]
        {
            let magic = rustix::fs::statfs(path)?.f_type as u64 & 0xFFFF_FFFF;
            Ok((!SHARED_FILE_SYSTEMS.contains(&magic)).then_some(magic))
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = path;
            Ok(None)
        }
    }

    fn lock(&self, path: &Path, timeout: Duration) -> io::Result<Option<RealLock>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(open_flags())
            .mode(0o600)
            .open(path)?;
        let start = Instant::now();
        loop {
            match fs2::FileExt::try_lock_exclusive(&file) {
                Ok(()) => return Ok(Some(RealLock { file, canary: Arc::clone(&self.canary) })),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
            if start.elapsed() >= timeout {
                return Ok(None);
            }
            std::thread::sleep(LOCK_NAP);
        }
    }

    fn announce(&self, path: &Path, bytes: usize) -> io::Result<RealPresence> {
        let file = open(path, OpenMode::Create)?;
        file.write_all_at(&vec![0; bytes], 0)?;
        // Somebody who looks whether its owner lives has a shared lock on it for a moment.
        let start = Instant::now();
        while let Err(e) = fs2::FileExt::try_lock_exclusive(&file) {
            if e.kind() != io::ErrorKind::WouldBlock || start.elapsed() >= LOOK_MAX {
                return Err(e);
            }
            std::thread::sleep(LOCK_NAP);
        }
        let page = RealMap::of(&file, bytes, Access::Write)?;
        page.keep_from_children()?;
        drop(file);
        // Overlay file systems drop the lock when the descriptor closes although the mapping lives. What this very
        // process can take back through another descriptor is not held: there the descriptor has to stay.
        let probe = open(path, OpenMode::Write)?;
        let lost = fs2::FileExt::try_lock_exclusive(&probe).is_ok();
        Ok(RealPresence { page, _descriptor: lost.then_some(probe) })
    }

    fn presence_page(presence: &RealPresence) -> &RealMap {
        &presence.page
    }

    fn is_alive(&self, path: &Path) -> bool {
        match open(path, OpenMode::Read) {
            // Shared, so that two probes never take each other for a sign of life.
            Ok(file) => fs2::FileExt::try_lock_shared(&file).is_err() || self.in_place().is_err(),
            // Any failure but absence, such as too many open files, proves nothing; the living are never robbed. Nor does
            // absence where another directory is.
            Err(e) => e.kind() != io::ErrorKind::NotFound || self.in_place().is_err(),
        }
    }

    fn is_forked(&self) -> bool {
        self.canary.is_wiped()
    }

    fn after_fork(&self) -> io::Result<RealOs> {
        RealOs::new()
    }

    fn anchor(&self, path: &Path) -> io::Result<()> {
        let found = fs::symlink_metadata(path)?;
        self.anchor.get_or_init(|| Anchor { path: path.to_owned(), file: (found.dev(), found.ino()) });
        Ok(())
    }

    fn place(&self) -> (u64, u64, u64) {
        let (device, number) = self.anchor.get().map_or((0, 0), |anchor| anchor.file);
        (self.process.into(), device, number)
    }

    fn wait(&self, map: &RealMap, offset: usize, expected: u32, timeout: Duration) {
        map.wait32(offset, expected, timeout);
    }

    fn wake(&self, map: &RealMap, offset: usize, count: u32) {
        map.wake32(offset, count);
    }

    fn spawn(&self, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let body = move || {
            give_way_on_waking();
            body();
        };
        std::thread::Builder::new().name("larder upkeep".into()).spawn(body).map(drop)
    }

    /// Thirty to fifty microseconds. With 8 processes on 2 processors, all of which write, a hundredth of the writes took 60 to
    /// 510 after two microseconds of it and take 5 to 17 after so many, in less time of the clock; 20 did less, 200 no
    /// more, and on a single processor none of them made a difference.
    const SPINS: u32 = 1500;

    fn spin(&self) {
        std::hint::spin_loop();
    }

    fn now(&self) -> u64 {
        #[cfg(target_os = "linux")]
        let clock = rustix::time::ClockId::RealtimeCoarse;
        #[cfg(not(target_os = "linux"))]
        let clock = rustix::time::ClockId::Realtime;
        nanoseconds(rustix::time::clock_gettime(clock))
    }

    fn uptime(&self) -> Duration {
        Duration::from_nanos(nanoseconds(rustix::time::clock_gettime(rustix::time::ClockId::Monotonic)))
    }

    fn random(&self) -> u64 {
        RandomState::new().build_hasher().finish()
    }
}

/// File systems on which processes of one machine share maps and `flock` locks: ext2-4, xfs, btrfs, tmpfs, f2fs,
/// overlayfs, ramfs and bcachefs. Anything else may be a network or FUSE file system.
#[cfg(target_os = "linux")]
const SHARED_FILE_SYSTEMS: [u64; 8] =
    [0xEF53, 0x5846_5342, 0x9123_683E, TMPFS, 0xF2F5_2010, OVERLAYFS, 0x8584_58F6, 0xCA45_1A4E];

#[cfg(target_os = "linux")]
const TMPFS: u64 = 0x0102_1994;
#[cfg(target_os = "linux")]
const OVERLAYFS: u64 = 0x794C_7630;

/// Asks the kernel to let go on whoever runs when this thread is woken: what is done in the background has time. The thread
/// gets as much of the processor as any other, for it may hold what others wait for.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn give_way_on_waking() {
    // SAFETY: all zeros is a value of this struct of integers.
    let parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: 0 means the calling thread, and the pointer is to a value that lives through the call. A failure leaves the thread
    // as it is.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &parameters) };
}

#[cfg(not(target_os = "linux"))]
fn give_way_on_waking() {}

/// A clock before 1970 counts as 1970.
fn nanoseconds(time: rustix::time::Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// A number that the kernel draws at boot; 0 where it does not say.
fn boot_id() -> u128 {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).unwrap_or(0)
}

/// How often an allocation is begun anew after a signal.
#[cfg(target_os = "linux")]
const INTERRUPTIONS_MAX: u32 = 8;

/// Allocates, beginning anew when a signal comes. `None` if it has to be done in another way: the file system knows no
/// allocation, or, as on tmpfs before Linux 5.19, each signal undoes what there is so far, and they come faster than it takes.
#[cfg(target_os = "linux")]
fn uninterrupted(mut call: impl FnMut() -> rustix::io::Result<()>) -> Option<io::Result<()>> {
    for _ in 0..INTERRUPTIONS_MAX {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::OPNOTSUPP) => return None,
            result => return Some(result.map_err(io::Error::from)),
        }
    }
    None
}

impl OsFile for RealFile {
    type Map = RealMap;

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn allocated(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.blocks() * 512)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(bytes, offset)
    }

    /// Without zeroing first what is about to be read.
    fn append_to(&self, to: &mut Vec<u8>, len: usize, offset: u64) -> io::Result<()> {
        let start = to.len();
        let end = start.saturating_add(len);
        to.reserve(len);
        while to.len() < end {
            let at = offset + (to.len() - start) as u64;
            match rustix::io::pread(&self.0, rustix::buffer::spare_capacity(to), at) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // There may have been more room than was asked for, and more in the file.
        to.truncate(end);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn extend(&self, len: u64) -> io::Result<()> {
        match self.0.metadata()?.len() < len {
            true => self.0.set_len(len),
            false => Ok(()),
        }
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        {
            let call = || rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), offset, len);
            if let Some(result) = uninterrupted(call) {
                return result;
            }
        }
        static ZEROS: [u8; 65536] = [0; 65536];
        let end = offset + len;
        let mut at = offset;
        while at < end {
            let step = (end - at).min(ZEROS.len() as u64);
            self.0.write_all_at(&ZEROS[..step as usize], at)?;
            at += step;
        }
        Ok(())
    }

    fn release(&self, offset: u64, len: u64) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::FallocateFlags;
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // There a map that is read where there is no space takes some, and a full one ends whoever reads. What is below an
            // overlay nobody can tell.
            if [TMPFS, OVERLAYFS].contains(&(rustix::fs::fstatfs(&self.0)?.f_type as u64 & 0xFFFF_FFFF)) {
                return Err(io::ErrorKind::Unsupported.into());
            }
            if let Some(result) = uninterrupted(|| rustix::fs::fallocate(&self.0, flags, offset, len)) {
                return result;
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (offset, len);
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn map(&self, len: usize, access: Access) -> io::Result<RealMap> {
        RealMap::of(&self.0, len, access)
    }

    fn identity(&self) -> io::Result<Identity> {
        let metadata = self.0.metadata()?;
        Ok(Identity { boot: boot_id(), device: metadata.dev(), inode: metadata.ino(), mount: mount_id(&self.0) })
    }
}

/// `STATX_MNT_ID_UNIQUE`, of Linux 6.8: not reused within a boot.
#[cfg(target_os = "linux")]
const MOUNT_ID_UNIQUE: u32 = 0x4000;

#[cfg(target_os = "linux")]
fn mount_id(file: &File) -> u64 {
    let wanted = rustix::fs::StatxFlags::from_bits_retain(MOUNT_ID_UNIQUE);
    match rustix::fs::statx(file, "", rustix::fs::AtFlags::EMPTY_PATH, wanted) {
        Ok(found) if found.stx_mask & MOUNT_ID_UNIQUE != 0 => found.stx_mnt_id,
        _ => 0,
    }
}

#[cfg(not(target_os = "linux"))]
fn mount_id(_: &File) -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::OsMap;

    #[cfg(target_os = "linux")]
    #[test]
    fn signals_do_not_keep_space_from_being_allocated() {
        use rustix::io::Errno;
        let after = |interruptions: u32, last: Errno| {
            let mut calls = 0;
            let result = uninterrupted(|| {
                calls += 1;
                if calls <= interruptions { Err(Errno::INTR) } else { Err(last) }
            });
            (result.map(|result| result.unwrap_err().raw_os_error()), calls)
        };
        assert_eq!(after(0, Errno::NOSPC), (Some(Some(Errno::NOSPC.raw_os_error())), 1));
        assert_eq!(after(3, Errno::IO), (Some(Some(Errno::IO.raw_os_error())), 4));
        assert_eq!(after(3, Errno::OPNOTSUPP), (None, 4));
        assert_eq!(after(1_000, Errno::IO), (None, INTERRUPTIONS_MAX));
        assert!(uninterrupted(|| Ok(())).is_some_and(|result| result.is_ok()));
    }

    #[test]
    fn space_is_released_and_the_length_stays() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealOs::new().unwrap().open(&dir.path().join("f"), OpenMode::Create).unwrap();
        file.allocate(0, 16 << 12).unwrap();
        let map = file.map(16 << 12, Access::Write).unwrap();
        (0..16).for_each(|page| map.store(page << 12, 7));
        match file.release(4 << 12, 8 << 12) {
            Ok(()) => {
                assert!(file.allocated().unwrap() <= 8 << 12);
                assert!((0..16).all(|page| map.load(page << 12) == if (4..12).contains(&page) { 0 } else { 7 }));
                file.release(16 << 12, 1 << 12).unwrap();
            }
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::Unsupported);
                assert!((0..16).all(|page| map.load(page << 12) == 7));
            }
        }
        assert_eq!(file.len().unwrap(), 16 << 12);
    }

    #[test]
    fn presence_is_seen_while_held_and_gone_after() {
        let dir = tempfile::tempdir().unwrap();
        let os = RealOs::new().unwrap();
        let path = dir.path().join("1");
        assert!(!os.is_alive(&path));
        let presence = os.announce(&path, 8192).unwrap();
        assert!(os.is_alive(&path));
        assert_eq!(RealOs::presence_page(&presence).len(), 8192);
        drop(presence);
        assert!(!os.is_alive(&path));
    }

    #[test]
    fn as_many_bytes_are_read_onto_the_end_of_a_buffer_as_were_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let os = RealOs::new().unwrap();
        let file = os.open(&directory.path().join("file"), OpenMode::Create).unwrap();
        file.write_at(b"0123456789", 0).unwrap();
        // There is more room, and more in the file.
        let mut bytes = Vec::with_capacity(100);
        bytes.extend(b"ab");
        file.append_to(&mut bytes, 3, 4).unwrap();
        assert_eq!(bytes, b"ab456");
        file.append_to(&mut bytes, 0, 0).unwrap();
        let mut none = Vec::new();
        file.append_to(&mut none, 10, 0).unwrap();
        assert_eq!((&bytes[..], &none[..]), (&b"ab456"[..], &b"0123456789"[..]));
        assert_eq!(file.append_to(&mut none, 3, 8).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_symbolic_link_and_a_directory_are_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), b"x").unwrap();
        std::os::unix::fs::symlink(dir.path().join("file"), dir.path().join("link")).unwrap();
        assert!(open(&dir.path().join("file"), OpenMode::Write).is_ok());
        assert!(open(&dir.path().join("link"), OpenMode::Read).is_err());
        assert!(open(dir.path(), OpenMode::Read).is_err());
    }

    #[test]
    fn a_lock_excludes_a_second_descriptor_until_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let os = RealOs::new().unwrap();
        let path = dir.path().join("lock");
        let held = os.lock(&path, Duration::ZERO).unwrap();
        assert!(held.is_some());
        assert!(os.lock(&path, Duration::ZERO).unwrap().is_none());
        drop(held);
        assert!(os.lock(&path, Duration::ZERO).unwrap().is_some());
    }

    #[test]
    fn nested_directories_are_made_and_a_file_in_the_way_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let os = RealOs::new().unwrap();
        os.create_dir(&dir.path().join("a/b")).unwrap();
        os.create_dir(&dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("f"), b"").unwrap();
        assert!(os.create_dir(&dir.path().join("f")).is_err());
        assert!(os.create_dir(&dir.path().join("f/g")).is_err());
    }
}
