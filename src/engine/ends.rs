//! What the log says of items that are dead, whatever stands where. For a rebuild; it does not know how the log is read.

use std::collections::HashMap;

use crate::storage::namespace::Kind;
use crate::storage::record::{Header, TAKEN_OVER, Type};
use crate::storage::state::{HAS_INNER, HAS_LASTING};

/// Which names of rows count no more: those before the row was taken over, and of a tag those before a name that was lost.
#[derive(Default)]
pub struct Names {
    taken_over: HashMap<u32, u64>,
    lost: HashMap<u32, u64>,
}

impl Names {
    /// Takes a mark in.
    pub fn learn(&mut self, header: &Header, sequence: u64) {
        if header.kind_of_record == Type::TagEvicted && header.kind == TAKEN_OVER {
            let since = self.taken_over.entry(header.tag).or_default();
            *since = sequence.max(*since);
        }
    }

    /// Takes in what is left of a record that was lost.
    pub fn learn_lost(&mut self, header: &Header, sequence: u64) {
        self.learn(header, sequence);
        if header.kind_of_record == Type::TagDefined {
            let since = self.lost.entry(header.tag).or_default();
            *since = sequence.max(*since);
        }
    }

    /// True if a name of that sequence may be its row's. Of a namespace each name is the same.
    pub fn count(&self, id: u32, kind: Kind, sequence: u64) -> bool {
        let not_before = |since: &HashMap<u32, u64>| since.get(&id).is_none_or(|&since| since <= sequence);
        (not_before(&self.taken_over) && (kind.is_inner() || not_before(&self.lost)))
            || seeded!("a_lost_name_brings_the_former_one_back")
    }
}

/// What the whole log says of items that are dead, gathered before anything is replayed: an item that a later mark ends
/// never comes into the index.
#[derive(Default)]
pub struct Ends {
    /// The newest `clear`.
    pub cleared: u64,
    /// The newest eviction of each tag.
    pub evicted: HashMap<u32, u64>,
    /// What each row of the tag table stands for, and since when.
    kinds: HashMap<u32, (u64, Kind)>,
    pub names: Names,
    /// By the hash of a key: what the main stream has of it with a smaller sequence is dead.
    pub dead: HashMap<u64, u64>,
}

impl Ends {
    /// True if a clear or an eviction ends a record.
    pub fn end(&self, header: &Header) -> bool {
        (header.sequence < self.cleared && !self.is_inner(header.tag))
            || self.evicted.get(&header.tag).is_some_and(|&mark| header.sequence < mark)
    }

    /// Takes a mark in, if the record is one, with the sequence that counts.
    pub fn learn(&mut self, header: &Header, sequence: u64) {
        let end = match header.kind_of_record {
            Type::Cleared => &mut self.cleared,
            Type::TagEvicted => {
                self.names.learn(header, sequence);
                self.evicted.entry(header.tag).or_default()
            }
            Type::TagDefined => {
                if let Some(kind) = Kind::from_bits(header.kind.into()) {
                    let newest = self.kinds.entry(header.tag).or_insert((sequence, kind));
                    if newest.0 <= sequence {
                        *newest = (sequence, kind);
                    }
                }
                return;
            }
            _ => return,
        };
        *end = sequence.max(*end);
    }

    /// Takes in what is left of a record that was lost.
    pub fn learn_lost(&mut self, header: &Header, sequence: u64) {
        // A mark has neither key nor value: what has one was something else before it was damaged.
        let is_mark = matches!(header.kind_of_record, Type::Cleared | Type::TagEvicted);
        if is_mark && !header.is_bare() {
            return;
        }
        self.learn(header, sequence);
        self.names.learn_lost(header, sequence);
    }

    /// Rows of the tag table that are of namespaces, whose items no `clear` concerns.
    pub fn inner(&self) -> impl Iterator<Item = (u32, Kind)> {
        let kinds = self.kinds.iter().map(|(&id, &(_, kind))| (id, kind));
        kinds.filter(|(_, kind)| kind.is_inner())
    }

    /// What a row stands for; a tag if nothing is known of it.
    pub fn kind_of(&self, id: u32) -> Kind {
        self.kinds.get(&id).map_or(Kind::Tag, |&(_, kind)| kind)
    }

    pub fn is_inner(&self, id: u32) -> bool {
        self.kind_of(id).is_inner()
    }

    /// The word `NAMESPACES`.
    pub fn namespaces(&self) -> u64 {
        let bit = |kind: Kind| if kind.is_lasting() { HAS_INNER | HAS_LASTING } else { HAS_INNER };
        self.inner().map(|(_, kind)| bit(kind)).fold(0, |all, bits| all | bits)
    }

    /// True if there are keys that have to be kept in order.
    pub fn has_orders(&self) -> bool {
        self.inner().any(|(_, kind)| kind == Kind::Index) && !seeded!("rebuild_makes_no_order")
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
