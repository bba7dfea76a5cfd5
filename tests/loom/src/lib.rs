//! What the loom models run on: the real os traits, the real storage floor and the real lock word of larder, over memory
//! whose every access loom watches. It owns that memory and the little of a store that the lock needs; the models
//! are in `tests/`, one file each.
//!
//! # What is the engine's own code here, and what mirrors it
//!
//! `src/engine/lock.rs`, `src/storage` and the traits of `src/os` are compiled as they are, by path: taking, taking over and
//! giving back the lock, offsets, geometry, redo lists. The engine above cannot be: a store comes from
//! an opening of some thousand steps, and one put is some hundred and fifty stores, each of them a place where loom
//! branches twice (who goes on, and which of the stores a load sees). Steps 4 to 8 of `commit.rs`, recovery of
//! `finish.rs`, and the readers of `read.rs` and `snapshot.rs` are written down again in `engine`, with the same
//! numbers; whoever changes them there changes them here.
//!
//! # What loom can and cannot show
//!
//! Every interleaving and every allowed outcome of a load is tried, within a bound of preemptions
//! where a model names one. Loads are Acquire and stores Release, as in `src/os/real/map.rs`. loom takes SeqCst for AcqRel, so it may
//! report what SeqCst forbids (nothing here uses it); it cannot let a load see a store that comes later in its own thread's
//! order (load buffering), so what only that would break is not found. Bytes of the log are memory without atomics:
//! an access that nothing orders after the write is an error.
//!
//! Each model has a seeded twin with a rule left out, which loom must find.
#![allow(dead_code, reason = "the floors are compiled whole, the models need a part of them")]
#![allow(unused_imports, reason = "likewise")]

#[macro_use]
#[path = "../../../src/seeded.rs"]
mod seeded;

pub mod engine;
#[path = "../../../src/error.rs"]
pub mod error;
pub mod memory;
#[path = "../../../src/os/mod.rs"]
pub mod os;
/// What messages of errors name.
mod options {
    pub const MAX_KEY_BYTES: usize = 0;
    pub const MAX_TAG_BYTES: usize = 0;
}
#[path = "../../../src/storage/mod.rs"]
pub mod storage;

/// Runs a model to the end, within a bound of preemptions if there is one, and says how many runs that were.
pub fn check(preemptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) {
    let runs = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&runs);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(preemptions);
    builder.max_branches = 20_000;
    builder.check(move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        model();
    });
    println!("{} runs", runs.load(std::sync::atomic::Ordering::Relaxed));
}
