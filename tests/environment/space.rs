//! A file system that is full, or nearly so: each call works or is `Full`, loses nothing, and works when there is space.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use larder::Error;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::crew::{self, Crew, Role};
use crate::every_call::{CALLS, Known, survives};
use crate::mount;

const FILE_SYSTEM: u64 = 8 << 20;
const PAGE: u64 = 4096;
/// Pages that a call finds free; every other one in an everyday run.
const FREE: [u64; 15] = [0, 1, 2, 3, 4, 6, 8, 12, 16, 18, 20, 24, 40, 80, 160];
/// Of the calls and degrees of want, so many fail at least; else nothing was tested.
const FAILURES_MIN: usize = 25;

/// A file that takes what is free, but for so many bytes. It goes when it is dropped.
struct Ballast(PathBuf);

impl Ballast {
    fn leaving(root: &Path, free: u64) -> Ballast {
        let ballast = Ballast(root.join("ballast"));
        let mut file = File::create(&ballast.0).unwrap();
        let page = [1; PAGE as usize];
        let full = std::iter::repeat_with(|| file.write_all(&page)).find_map(Result::err).unwrap();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        let taken = file.metadata().unwrap().len() / PAGE * PAGE;
        file.set_len(taken.saturating_sub(free)).unwrap();
        ballast
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

#[test]
fn a_full_disk_is_full_at_every_call_and_loses_nothing() {
    let Some(mounted) = mount::small(FILE_SYSTEM) else { return };
    let root = mounted.path.as_path();
    let step = if crew::scale() == 1 { 2 } else { 1 };
    let mut failed = 0;
    for call in CALLS.map(Known::of) {
        let mut worked = false;
        for free in FREE.into_iter().step_by(step) {
            let directory = root.join("store");
            worked = survives(&directory, &call, || Ballast::leaving(root, free * PAGE), Error::is_full);
            failed += usize::from(!worked);
            std::fs::remove_dir_all(&directory).unwrap();
        }
        assert!(worked, "{} does not work with plenty of space", call.name);
    }
    println!("{failed} calls found the disk full");
    assert!(failed >= FAILURES_MIN);
}

/// Files of this process may not get longer than that: the kernel's answer is not `ENOSPC` but `EFBIG`.
const LONGEST_FILES: [u64; 5] = [0, 4096, 40_000, 70_000, 200_000];

fn is_about_length(error: &Error) -> bool {
    matches!(error, Error::Io(failure) if failure.source.kind() == std::io::ErrorKind::FileTooLarge)
}

struct ShortFiles(Rlimit);

impl ShortFiles {
    fn of(longest: u64) -> ShortFiles {
        let before = getrlimit(Resource::Fsize);
        setrlimit(Resource::Fsize, Rlimit { current: Some(longest), maximum: before.maximum }).unwrap();
        ShortFiles(before)
    }
}

impl Drop for ShortFiles {
    fn drop(&mut self) {
        setrlimit(Resource::Fsize, self.0).unwrap();
    }
}

/// Sets limits to itself; whoever started it has made it ignore the signal that comes with them.
pub fn play(role: &Role) {
    let mut failed = 0;
    for call in CALLS.map(Known::of) {
        for longest in LONGEST_FILES {
            let directory = role.directory.join(format!("{} {longest}", call.name));
            failed += usize::from(!survives(&directory, &call, || ShortFiles::of(longest), is_about_length));
        }
    }
    crew::say(failed);
}

#[test]
fn a_limit_on_the_length_of_files_is_an_error_at_every_call_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut crew = Crew::new();
    let member = crew.start_ignoring("XFSZ", "small files", directory.path(), &[]);
    let failed: usize = crew.finish(member)[0].parse().unwrap();
    println!("{failed} calls met the limit");
    assert!(failed >= FAILURES_MIN);
}
