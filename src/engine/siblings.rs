//! What a store that is a shard knows of the others: what it may ask of all of them. It does not know what they are.

use std::time::Duration;

use crate::error::Result;

/// What a commit knows of the joint one that it is part of; see `joint`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joint {
    pub number: u64,
    /// It is whole after a power cut too.
    pub is_lasting: bool,
    /// Its step 1 is done, and there is something to commit.
    pub is_ready: bool,
}

/// All shards of a fan-out cache.
pub trait Siblings: Send + Sync {
    /// The number of the last joint commit that readers accept.
    fn done(&self) -> u64;
    /// The ids of the stores.
    fn ids(&self) -> Vec<u64>;
    /// Finishes or takes back what a dead owner of the locks has left of a joint commit.
    fn resolve(&self, timeout: Duration) -> Result<()>;
}
