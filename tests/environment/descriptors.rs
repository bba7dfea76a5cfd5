//! A process that may open few or no more files: each call works or fails, loses nothing, and works when it may again.

use std::fs::File;
use std::path::Path;

use larder::Error;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::crew::{self, Crew, Role};
use crate::every_call::{CALLS, Known, survives};

/// Descriptors that the process may have under pressure, and those of them that it finds free.
const DESCRIPTORS: u64 = 120;
const FREE_MAX: usize = 7;
/// Of the calls and degrees of want, so many fail at least; else nothing was tested.
const FAILURES_MIN: usize = 15;

fn is_about_descriptors(error: &Error) -> bool {
    matches!(error, Error::Io(failure) if failure.source.raw_os_error() == Some(24)) || error.is_timeout()
}

/// Takes all descriptors but some.
fn take_all_but(free: usize) -> Vec<File> {
    let mut taken: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!(taken.len() > free, "the limit leaves something to take");
    taken.truncate(taken.len() - free);
    taken
}

/// Lowers this process's own limit.
pub fn play(role: &Role) {
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(DESCRIPTORS), maximum: before.maximum }).unwrap();
    let mut failed = 0;
    for call in CALLS.map(Known::of) {
        let mut needed = None;
        for free in 0..FREE_MAX {
            let directory = role.directory.join(format!("{} {free}", call.name));
            let worked = survives(Path::new(&directory), &call, || take_all_but(free), is_about_descriptors);
            needed = needed.or(worked.then_some(free));
            failed += usize::from(!worked);
        }
        assert!(needed.is_some(), "{} does not work with {FREE_MAX} descriptors", call.name);
    }
    crew::say(failed);
}

#[test]
fn no_call_loses_anything_for_want_of_descriptors() {
    let directory = tempfile::tempdir().unwrap();
    let mut crew = Crew::new();
    let member = crew.start("descriptors", directory.path(), &[]);
    let failed: usize = crew.finish(member)[0].parse().unwrap();
    println!("{failed} calls found too few descriptors");
    assert!(failed >= FAILURES_MIN);
}
