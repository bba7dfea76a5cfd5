//! What the log says of items that are dead, whatever stands where. For a rebuild; it does not know how the log is read.

use std::collections::HashMap;

use crate::storage::namespace::Kind;
use crate::storage::record::{Header, Type};
use crate::storage::state::{HAS_INNER, HAS_LASTING};

/// What the whole log says of items that are dead, gathered before anything is replayed: an item that a later mark ends
/// never comes into the index.
#[derive(Default)]
pub struct Ends {
    /// The newest `clear`.
    pub cleared: u64,
    /// The newest eviction of each tag.
    pub evicted: HashMap<u32, u64>,
    /// Rows of the tag table that are of namespaces, whose items no `clear` concerns.
    pub inner: HashMap<u32, Kind>,
    /// By the hash of a key: what the main stream has of it with a smaller sequence is dead.
    pub dead: HashMap<u64, u64>,
}

impl Ends {
    /// True if a clear or an eviction ends a record.
    pub fn end(&self, header: &Header) -> bool {
        (header.sequence < self.cleared && !self.inner.contains_key(&header.tag))
            || self.evicted.get(&header.tag).is_some_and(|&mark| header.sequence < mark)
    }

    /// Takes a mark in, if the record is one, with the sequence that counts.
    pub fn learn(&mut self, header: &Header, sequence: u64) {
        let end = match header.kind_of_record {
            Type::Cleared => &mut self.cleared,
            Type::TagEvicted => self.evicted.entry(header.tag).or_default(),
            Type::TagDefined => {
                if let Some(kind) = Kind::from_bits(header.kind.into()).filter(|kind| kind.is_inner()) {
                    self.inner.insert(header.tag, kind);
                }
                return;
            }
            _ => return,
        };
        *end = sequence.max(*end);
    }

    /// The word `NAMESPACES`.
    pub fn namespaces(&self) -> u64 {
        let bit = |kind: &Kind| if kind.is_lasting() { HAS_INNER | HAS_LASTING } else { HAS_INNER };
        self.inner.values().map(bit).fold(0, |all, bits| all | bits)
    }

    /// True if there are keys that have to be kept in order.
    pub fn has_orders(&self) -> bool {
        self.inner.values().any(|&kind| kind == Kind::Index) && !seeded!("rebuild_makes_no_order")
    }

    /// Takes in that what the main stream has of a key with a smaller sequence is dead.
    pub fn learn_dead(&mut self, hash: u64, sequence: u64) {
        let end = self.dead.entry(hash).or_default();
        *end = sequence.max(*end);
    }

    /// True if a copy in the main stream is dead for what came after it.
    pub fn end_copy(&self, hash: u64, header: &Header) -> bool {
        self.dead.get(&hash).is_some_and(|&end| header.sequence < end)
    }
}
