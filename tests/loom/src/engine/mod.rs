//! The engine of the models: the real lock, and commit, recovery and readers written down again with the numbers of
//! `src/engine/mod.rs`. A record is one 64-bit word of memory without atomics; a cell leads to its place.

pub mod commit;
#[path = "../../../../src/engine/lock.rs"]
pub mod lock;
pub mod read;
#[path = "../../../../src/engine/siblings.rs"]
pub mod siblings;
pub mod store;

use crate::error::Result;
use crate::os::Os;

/// `Store::lock`, as a write calls it.
pub fn enter<O: Os>(store: &store::Store<O>) -> Result<lock::Locked<'_, O>> {
    store.lock()
}

/// The index cells of two keys: words of a map, beside those of the state file.
pub const CELLS: [usize; 2] = [1 << 20, (1 << 20) + 8];

/// A record: its commit, its value (0 in a removal), and where the record is that it replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    pub sequence: u64,
    pub value: u64,
    pub previous: usize,
}

impl Record {
    pub fn bits(self) -> u64 {
        self.sequence << 32 | self.value << 16 | self.previous as u64
    }

    pub fn from_bits(bits: u64) -> Record {
        Record { sequence: bits >> 32, value: bits >> 16 & 0xFFFF, previous: (bits & 0xFFFF) as usize }
    }
}
