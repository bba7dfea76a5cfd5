//! Does a damaged or hostile directory, or a call with impossible arguments, give the documented error or result: never a
//! panic, a hang, a lost item or a value that nobody stored?
//!
//! `calls` asks with sound directories, `directories` with wrong ones, `files` damages one file at a time by hand, and
//! `mutations` at random, `namespaces` one with a queue and an index in it, and `sweep` goes through every byte; `store` owns the directory that these damage. `LARDER_TEST_SCALE` multiplies the rounds,
//! `LARDER_TEST_SEED` says where those at random begin.

#[path = "bad_input/calls.rs"]
mod calls;
#[path = "bad_input/directories.rs"]
mod directories;
#[path = "bad_input/files.rs"]
mod files;
#[path = "bad_input/mutations.rs"]
mod mutations;
#[path = "bad_input/namespaces.rs"]
mod namespaces;
#[path = "bad_input/store.rs"]
mod store;
#[path = "bad_input/sweep.rs"]
mod sweep;

/// The seeds of as many rounds as are asked for, given how many there are everyday.
fn seeds(everyday: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok()).unwrap_or(1);
    let first = (number("LARDER_TEST_SEED") - 1) * 1_000_000;
    first..first + everyday * number("LARDER_TEST_SCALE")
}
