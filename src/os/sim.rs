//! A simulated machine: the [`Os`](super::Os) of tests. Files live in memory, and one thread plays as many processes as
//! it likes. Owns what the machine's processes share and what a test may do to it; knows nothing of what the files
//! mean.
//!
//! Everything that is left to chance comes from a seed, so a run that went wrong can be run again. Every step by which
//! a process changes what others see is a place where it can be killed: run an operation once and ask [`SimOs::steps`]
//! how many it took, then run it on fresh machines with [`SimOs::kill_after`] 0, 1, … of them. Likewise
//! [`Machine::calls`] counts the calls that can fail, and [`Machine::fail`] makes one of them fail.
//!
//! What it does not show: weaker orderings than sequential consistency (accesses to one file exclude each other), and
//! of a page that was written several times since its last sync, the versions between the first and the last.
#![cfg_attr(not(test), allow(dead_code, unused_imports, reason = "the fuzz targets use a part of it"))]

mod actor;
mod calls;
mod crowd;
mod dice;
mod disk;
mod failures;
mod file;
mod hold;
mod machine;
mod map;
mod memory;
mod names;
mod poison;
mod process;
mod state;
#[cfg(test)]
mod tests;

pub use actor::SimOs;
pub use calls::{SimLock, SimPresence};
pub use failures::{CallKind, Fault};
pub use file::SimFile;
pub use machine::Machine;
pub use map::SimMap;
