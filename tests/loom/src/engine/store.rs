//! As much of a store as the lock needs.

use std::time::Duration;

use super::commit;
use super::lock::Locked;
use super::siblings::Siblings;
use crate::error::Result;
use crate::os::Os;
use crate::storage::paths::Paths;

pub struct Store<O: Os> {
    pub os: O,
    pub paths: Paths,
    pub store_id: u64,
    pub read_only: bool,
    pub state: std::sync::Arc<O::Map>,
    pub owner: u32,
    pub lock_timeout: Duration,
}

impl<O: Os> Store<O> {
    /// There are no files here.
    pub(super) fn sweep_unpublished(&self) -> Result<()> {
        Ok(())
    }

    /// There is no log to rebuild from here.
    pub(super) fn begin_epoch(&self) {}

    /// A store of these models is no shard.
    pub(super) fn is_shard(&self) -> bool {
        false
    }

    pub(super) fn siblings(&self) -> Option<std::sync::Arc<dyn Siblings>> {
        None
    }

    /// Durability is the matter of others.
    pub(super) fn doubt_the_tail(&self) {}
}

impl<O: Os> Locked<'_, O> {
    pub(super) fn recover(&self) -> Result<()> {
        commit::recover(&*self.store.state);
        Ok(())
    }
}
