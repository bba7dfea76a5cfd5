//! What is left of a commit that does not happen: taking it away again. It does not know why it does not.

use crate::os::{Os, OsFile, OsMap};
use crate::storage::paths::Name;
use crate::storage::record::HEADER;
use crate::storage::state::{self, row, row_word};

use super::commit::{Commit, Made};
use super::durable::{LOG, MAIN_END};

impl<O: Os> Commit<'_, O> {
    /// Makes sure that a rebuild finds nothing of a batch that failed after its first byte: its caller was told so. The
    /// next batch goes to the same place; until then a record with an empty header stands there.
    #[cold]
    fn wipe(&mut self) {
        if self.store.os.is_forked() || seeded!("failed_batch_not_wiped") {
            return;
        }
        let mut rolled = false;
        // The last first, as `sweep_unpublished` relies on if this process dies here.
        for made in std::mem::take(&mut self.made).into_iter().rev() {
            if let Made::Segment { id, .. } = made {
                rolled = true;
                // Another thread may have taken it out of the view, and a third have it still.
                self.made_segment.iter().filter(|segment| segment.id == id).for_each(|segment| segment.disown());
            }
            self.store.forget(made);
        }
        if self.written.is_some() && !self.main {
            self.store.begin_epoch();
        }
        if let Some(first) = self.written.take()
            && !rolled
        {
            let id = self.store.segment_in(first.slot);
            if let Some(segment) = self.segment(first.slot, id)
                && segment.map.is_writable()
            {
                let allocated = self.store.state.load(row_word(first.slot, row::ALLOCATED));
                let mut is_empty = true;
                if first.offset + HEADER as u64 <= allocated.min(segment.map.len() as u64) {
                    segment.map.write(first.offset as usize, &[0; HEADER]);
                } else if let Some(file) = &segment.file {
                    // Where nothing is allocated, a store through the map may be fatal; a failed write is not, and the next owner of
                    // the lock tries again.
                    is_empty = file.write_at(&[0; HEADER], first.offset).is_ok();
                }
                // The main stream has no epochs: what was wiped there must not come back with a power cut. Nor must what was
                // part of a joint commit.
                if self.main || self.joint.is_some() {
                    // What else is in that file may be lost if it fails, and no later sync would say so.
                    let stage = if self.main { MAIN_END } else { LOG };
                    let synced = segment.file.as_ref().map(|file| self.store.sync_beside(file, stage));
                    is_empty &= synced.is_some_and(|synced| synced.is_ok());
                }
                if !is_empty {
                    self.store.state.fetch_max(state::UNSWEPT, 1);
                }
            }
        }
    }
}

impl<O: Os> Drop for Commit<'_, O> {
    fn drop(&mut self) {
        if self.written.is_some() || !self.made.is_empty() {
            self.wipe();
        }
        if let Some(sequence) = self.spill.take_if(|_| !self.store.os.is_forked()) {
            // Of a list that was never published.
            let _ = self.store.os.remove(&self.store.paths.of(Name::Spill(sequence)));
        }
        if self.made_ahead != 0 && !self.store.os.is_forked() {
            self.store.set_aside(self.made_ahead.wrapping_neg());
        }
        self.staged.give_back();
    }
}
