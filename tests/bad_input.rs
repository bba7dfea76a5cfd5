//! Does a damaged or hostile directory, or a call with impossible arguments, give the documented error or result: never a
//! panic, a hang, a lost item or a value that nobody stored?
//!
//! `calls` asks with sound directories, `directories` with wrong ones, `files` damages one file at a time by hand, and
//! `mutations` at random; `store` owns the directory that the last two damage. `LARDER_TEST_SCALE` multiplies the rounds.

#[path = "bad_input/calls.rs"]
mod calls;
#[path = "bad_input/directories.rs"]
mod directories;
#[path = "bad_input/files.rs"]
mod files;
#[path = "bad_input/mutations.rs"]
mod mutations;
#[path = "bad_input/store.rs"]
mod store;

/// How many times the everyday number of rounds.
fn scale() -> usize {
    std::env::var("LARDER_TEST_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1)
}
