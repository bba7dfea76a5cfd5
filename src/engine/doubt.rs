//! The words that say what could not be made durable, or may not have been. It does not know how anything is made durable (`durable`),
//! nor how it is put right (`remake`).

use crate::error::{Error, Result};
use crate::os::{Os, OsFile, OsMap};
use crate::storage::state::{CARRIED_UPTO, SYNC_FAILED, SYNC_STAGE, SYNCED_MAIN, SYNCED_SEGMENT, SYNCED_VALUES};

use super::store::Store;

/// Bit of `SYNC_FAILED`: somebody was told, so it stays until `sync` has put it right.
pub(super) const TOLD: u64 = 32;
/// `SYNC_FAILED` counts up by this with each failure, so that one that comes while an older one is put right is not lost.
const ONE_FAILURE: u64 = 64;

impl<O: Os> Store<O> {
    #[cold]
    pub(super) fn refuse_after_failure(&self) -> Result<()> {
        if self.is_refusing() { Err(self.refusal()) } else { Ok(()) }
    }

    #[cold]
    pub(super) fn refusal(&self) -> Error {
        let earlier = "an earlier write to the disk failed; `sync` has to succeed before anything is durable again";
        Error::not_written(self.paths.root(), std::io::Error::other(earlier))
    }

    /// True if somebody was told of a failure that was not put right.
    pub(super) fn is_refusing(&self) -> bool {
        self.state.load(SYNC_FAILED) & TOLD != 0
    }

    /// Says that a stage failed, or may have, to every process and for good. `told` if a caller hears of it.
    #[cold]
    pub(super) fn announce_failure(&self, stages: u64, told: bool) {
        let told = if told { TOLD } else { 0 };
        if seeded!("failed_sync_is_not_announced") {
            return;
        }
        self.count_failure(stages | told);
    }

    /// Counts a failure of some stages: the word before it, and with it.
    fn count_failure(&self, bits: u64) -> (u64, u64) {
        let mut before = self.state.load(SYNC_FAILED);
        loop {
            let with = before.wrapping_add(ONE_FAILURE) | bits;
            match self.state.compare_exchange(SYNC_FAILED, before, with) {
                Ok(_) => return (before, with),
                Err(now) => before = now,
            }
        }
    }

    /// Makes a file of the log durable for who has the lock and does not lead. It is said before that it may fail: who leads meanwhile
    /// must not vouch for what it is about, and if this process dies of it, the next leader writes it once more.
    pub(super) fn sync_beside(&self, file: &O::File, stage: u64) -> std::io::Result<()> {
        let (before, doubt) = self.count_failure(stage);
        let synced = file.sync();
        match &synced {
            Ok(()) => drop(self.state.compare_exchange(SYNC_FAILED, doubt, before)),
            Err(_) => self.announce_failure(stage, true),
        }
        synced
    }

    /// The words that say what could not be made durable, if there is anything of the kind: failures that were announced,
    /// and stages that dead owners were at.
    pub(super) fn doubts(state: &O::Map) -> Vec<(usize, u64)> {
        let words = [SYNC_FAILED, SYNC_STAGE, SYNCED_SEGMENT, SYNCED_MAIN, CARRIED_UPTO, SYNCED_VALUES];
        let found = words.map(|word| (word, state.load(word)));
        if found[..2].iter().any(|&(_, value)| value != 0) { found.to_vec() } else { Vec::new() }
    }
}
