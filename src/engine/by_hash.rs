//! Tables in memory whose keys are hashes of a store's keys. It does not know what is in them.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A table by hashes. They have the store's seed, so nobody chooses which ones meet.
pub type ByHash<V> = HashMap<u64, V, BuildHasherDefault<AsIs>>;

/// Hashes are spread already.
#[derive(Default)]
pub struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 << 8) | u64::from(byte);
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }
}
