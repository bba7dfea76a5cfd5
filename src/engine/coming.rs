//! What a process has found out of an index before it was asked. It does not know how (`order_ahead`, `order_coming`), nor when it
//! counts no more, but that each says which commit was the newest then.

use std::ops::Range;

use crate::storage::namespace::Namespace;

/// The leaf that a new key goes to.
pub struct Foreseen {
    /// The newest commit when this was so.
    pub moment: u64,
    /// The word that led to the root.
    pub root: u64,
    pub block: u32,
    /// How many nodes the commit had freed then that is under way.
    pub freed: usize,
}

/// An end of an index, and whether it is the front.
pub type EndOf = (Namespace, bool);

/// A key that comes next at an end: its entry in the leaf, and where the whole key is.
pub struct Next {
    pub entry: usize,
    pub key: Range<usize>,
    pub hash: u64,
}

/// The keys that come next at an end.
#[derive(Default)]
pub struct Coming {
    pub end: Option<EndOf>,
    /// The newest commit when this was so: that which took the key before.
    pub moment: u64,
    pub block: u32,
    pub keys: Vec<u8>,
    /// In the order in which they come.
    pub next: std::vec::IntoIter<Next>,
}

impl Coming {
    /// Says that a key was taken from an end by a commit, and whether it was the one that was to come, out of a leaf that stays
    /// where it is.
    pub fn taken(&mut self, end: EndOf, moment: u64, was_foretold: bool) {
        self.moment = moment;
        if was_foretold {
            self.next.next();
        } else {
            self.end = Some(end);
            self.next = Vec::new().into_iter();
        }
    }

    /// Nothing is known.
    pub fn forget(&mut self) {
        *self = Coming::default();
    }
}
