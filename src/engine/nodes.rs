//! The nodes of trees that a commit changes, before it is published. It does not know what changes them (`order`).

use std::collections::BTreeMap;

use crate::storage::tree::Node;

/// The nodes that a commit writes and frees.
#[derive(Default)]
pub struct Nodes {
    /// By their blocks.
    pub written: BTreeMap<u32, Node>,
    /// Blocks of nodes that were there before.
    pub freed: Vec<(usize, u32)>,
    /// Blocks that this commit took and needs no more.
    pub spare: Vec<(usize, u32)>,
    /// Words of children were staged.
    pub leads: bool,
}

/// The leaf whose key at an end a commit is about to take out, and the bits that are left then, if the leaf can stay where it is.
pub struct AtEnd {
    pub block: u32,
    pub left: Option<u64>,
}
