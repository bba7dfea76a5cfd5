//! What a joint commit has left in a shard whose words are about to be made anew from its log, in the boot in which it was made. It
//! does not know why they are, nor how.
//!
//! A rebuild counts whatever batch stands at the end of the log, and parts of a joint commit that is not lasting say in no record
//! that they are such. The other shards go by their words. So before a shard is rebuilt (J3 of `joint`):
//!
//! 1. If it has a part that was chosen, or decided, the others that have one are told so: the words that say it may be in this shard
//!    alone. The rebuild counts the part.
//! 2. If it has one that was not, the others will take theirs back. The word goes that says it is pending, which is what makes
//!    sweeping leave it.
//! 3. If somebody died with the lock, or left it unswept, what he wrote is swept. A part that was written and is pending nowhere
//!    is among that.
//!
//! Before 2, words say that this shard is suspect and unswept: a death anywhere begins it again. It is a shard that somebody found
//! suspect, so its tail is believed only if no record of a visible commit stands there.

use crate::error::{Error, Result};
use crate::os::{Access, OpenMode, Os, OsFile, OsMap};
use crate::storage::fanout;
use crate::storage::location::Tail;
use crate::storage::manifest::KIND_SHARD;
use crate::storage::paths::{Name, Paths};
use crate::storage::record::Header;
use crate::storage::state::{self, IS_JOINT, JOINT, JOINT_CHOSEN, LOCK, MAIN_TAIL, PENDING, SUSPECT, TAIL, UNSWEPT};

use super::decided::{read_decision, read_manifest};
use super::finish::is_lost;
use super::store::Store;

impl<O: Os> Store<O> {
    /// Steps 1 to 3. Nobody else lives.
    pub(super) fn leave_no_part(&self) -> Result<()> {
        if self.kind != KIND_SHARD {
            return Ok(());
        }
        if self.state.load(PENDING) & IS_JOINT != 0 {
            if self.tell_if_chosen(self.state.load(JOINT))? {
                return Ok(());
            }
            self.state.store(SUSPECT, 1);
            self.state.fetch_max(UNSWEPT, 1);
            self.state.store(PENDING, 0);
        }
        let is_unswept = self.state.load(LOCK) != 0 || self.state.load(UNSWEPT) != 0;
        if !is_unswept || [TAIL, MAIN_TAIL].iter().any(|&word| self.has_visible_at(word)) {
            return Ok(());
        }
        match self.sweep_unpublished() {
            // What cannot be found for damage is what the rebuild is for.
            Err(error) if is_lost(&error) => Ok(()),
            swept => swept,
        }
    }

    /// Step 1. False if the commit of that number was neither chosen nor decided.
    fn tell_if_chosen(&self, number: u64) -> Result<bool> {
        let Some(root) = self.paths.root().parent() else { return Ok(false) };
        let Some(fanout) = read_manifest(&self.os, root)? else { return Ok(false) };
        let (decided, _) = read_decision(&self.os, &fanout::decisions(root), fanout.id)?;
        let paths = (0..fanout.shards).map(|shard| Paths::new(&fanout::shard(root, shard)).of(Name::State));
        // One that is not there has no part.
        let states: Vec<_> =
            paths.filter_map(|path| Some((self.os.open(&path, OpenMode::Write).ok()?, path))).collect();
        let word = |file: &O::File, at: usize| {
            let mut bytes = [0; 8];
            file.read_at(&mut bytes, at as u64).map_or(0, |()| u64::from_ne_bytes(bytes))
        };
        let chosen = states.iter().map(|(file, _)| word(file, JOINT_CHOSEN)).fold(decided, u64::max);
        if chosen < number {
            return Ok(false);
        }
        for (file, path) in &states {
            if word(file, PENDING) & IS_JOINT != 0 && word(file, JOINT) == number {
                let told = file.write_at(&number.to_ne_bytes(), JOINT_CHOSEN as u64);
                told.map_err(|e| Error::io("write", path, e))?;
            }
        }
        Ok(true)
    }

    /// True if a record of a visible commit stands where a word says that the next one goes.
    fn has_visible_at(&self, word: usize) -> bool {
        let tail = Tail::from_bits(self.state.load(word));
        let id = self.segment_in(tail.slot);
        let Ok(offset) = usize::try_from(tail.offset) else { return true };
        let Ok(segment) = self.map_segment(tail.slot, id, Access::Read) else { return false };
        let there = Header::read(&segment.map, offset, segment.map.len());
        there.is_some_and(|header| header.sequence <= self.state.load(state::VISIBLE))
    }
}
