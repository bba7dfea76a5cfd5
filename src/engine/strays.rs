//! Files of large values that are out of use, that a sync has vouched for, and that nothing names: the ring of retirees was
//! full, or a rebuild found them. It does not know why they are out of use.
//!
//! They must not go before the commit that ended them is durable, which nobody can wait for under the lock. So they count
//! in `VOLUME` and in `STRAYS`, and this handle remembers them until it has unlinked them as `retire` does what the ring
//! names. If it dies before that, `STRAYS` stays above 0, and the next to open alone does not trust the state file: a
//! rebuild finds what nothing leads to.

use std::collections::{BTreeMap, HashSet};
use std::sync::MutexGuard;
use std::sync::atomic::Ordering;

use crate::error::{Error, Result};
use crate::os::{OpenMode, Os, OsFile};
use crate::storage::paths::{Name, Paths};
use crate::storage::state::{self, Retiree};

use super::commit::{Commit, signed};
use super::store::Store;

/// The id of a value, and the bytes of its file.
pub(super) type Stray = (u64, u64);

impl<O: Os> Store<O> {
    /// Those that this handle is to unlink: their ids, and their bytes.
    fn strays(&self) -> MutexGuard<'_, BTreeMap<u64, u64>> {
        self.strays.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Remembers what a commit or a rebuild has counted as stray.
    pub(super) fn remember_strays(&self, strays: &mut Vec<Stray>) {
        if !strays.is_empty() {
            self.strays().extend(strays.drain(..));
            self.retires.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn stray_ids(&self) -> Vec<u64> {
        self.strays().keys().copied().collect()
    }

    /// How many there are, and their bytes.
    pub(super) fn waiting_strays(&self) -> (usize, u64) {
        let strays = self.strays();
        (strays.len(), strays.values().fold(0, |sum, bytes| sum.saturating_add(*bytes)))
    }

    /// Unlinks those of the ids whose files can go now, and leaves these.
    pub(super) fn unlink_strays(&self, ids: &mut Vec<u64>) {
        ids.retain(|&id| self.unlink(Retiree::Value(id)));
    }

    /// Forgets what is gone. Under the lock, once it is counted out.
    pub(super) fn forget_strays(&self, gone: &[u64]) {
        let mut strays = self.strays();
        for id in gone {
            strays.remove(id);
        }
    }
}

impl<O: Os> Commit<'_, O> {
    /// Stages a file as one that goes once this commit is durable.
    pub(super) fn stray(&mut self, id: u64, bytes: u64) {
        self.strays.push((id, bytes));
        self.add_state(state::STRAYS, signed(bytes));
    }

    /// Counts out those that are gone and that no other thread has counted out before.
    pub(super) fn count_out_strays(&mut self, gone: &[u64]) {
        let strays = self.store.strays();
        let freed = gone.iter().filter_map(|id| strays.get(id)).fold(0u64, |sum, bytes| sum.saturating_add(*bytes));
        drop(strays);
        // Nothing but damage makes the word less than that.
        let freed = signed(freed.min(self.state(state::STRAYS)));
        if freed != 0 {
            self.add_state(state::STRAYS, -freed);
            self.add_state(state::VOLUME, -freed);
        }
    }
}

/// Unlinks the large values that nothing leads to.
pub(super) fn sweep_values<O: Os>(os: &O, paths: &Paths, used: &HashSet<u64>) -> Result<()> {
    for (id, _) in unused_values(os, paths, used)? {
        let _ = os.remove(&paths.of(Name::Value(id)));
    }
    Ok(())
}

/// The large values that nothing leads to, and their bytes.
pub(super) fn unused_values<O: Os>(os: &O, paths: &Paths, used: &HashSet<u64>) -> Result<Vec<Stray>> {
    let names = os.list(paths.root()).map_err(|e| Error::io("list", paths.root(), e))?;
    let ids = names.iter().filter_map(|name| match Name::parse(name) {
        Some(Name::Value(id)) if !used.contains(&id) => Some(id),
        _ => None,
    });
    // One that cannot be looked at counts for nothing, and goes all the same.
    let bytes = |id| os.open(&paths.of(Name::Value(id)), OpenMode::Read).and_then(|file| file.allocated()).unwrap_or(0);
    Ok(ids.map(|id| (id, bytes(id))).collect())
}
