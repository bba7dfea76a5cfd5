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
//! 3. If somebody died with the lock, or left it unswept, the one commit goes that comes right behind the newest visible one: its
//!    batch at the tail, and the segment that was begun for it. A part that was written and is pending nowhere is among that.
//!
//! Before 2, words say that this shard is suspect and unswept: a death anywhere begins it again. As it is suspect, its words are
//! believed only where the log agrees: what goes begins where a walk through the tail's segment arrives, or has been born of the newest
//! visible commit, and is in no row. What cannot be read just now is an error, and not absent.

use crate::error::{Error, Result};
use crate::os::{Access, OpenMode, Os, OsFile, OsMap};
use crate::storage::fanout;
use crate::storage::location::Tail;
use crate::storage::manifest::KIND_SHARD;
use crate::storage::paths::{Name, Paths};
use crate::storage::segment::{self, is_main};
use crate::storage::state::{self, IS_JOINT, JOINT, JOINT_CHOSEN, LOCK, PENDING, SUSPECT, TAIL, UNSWEPT, VISIBLE};

use super::decided::{read_decision, read_manifest, write_again};
use super::finish::is_lost;
use super::log::Batches;
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
        if !is_unswept || self.state.load(PENDING) > self.state.load(VISIBLE) {
            return Ok(());
        }
        match self.drop_unpublished() {
            // What cannot be found for damage is what the rebuild is for.
            Err(error) if is_lost(&error) => Ok(()),
            dropped => dropped,
        }
    }

    /// Step 3. Words of a shard that is suspect are believed only where the log agrees with them: what goes is the one commit that
    /// comes right behind the newest visible one. Copies in the main stream, and files that nothing names, are the rebuild's.
    fn drop_unpublished(&self) -> Result<()> {
        let next = self.state.load(VISIBLE).saturating_add(1);
        let tail = Tail::from_bits(self.state.load(TAIL));
        let id = self.segment_in(tail.slot);
        let ahead = self.state.load(state::NEXT_SEGMENT);
        let (path, born) = (self.paths.of(Name::Segment(ahead)), self.born_of(ahead, id)?);
        if born == Some(next - 1) && (0..self.rows).all(|slot| self.segment_in(slot) != ahead) {
            self.state.store(UNSWEPT, state::NAME_MAY_RETURN);
            self.os.remove(&path).map_err(|e| Error::io("remove", &path, e))?;
            self.make_removal_durable(state::NAME_MAY_RETURN)?;
            self.state.store(UNSWEPT, 1);
        }
        if id == 0 || is_main(id) {
            return Ok(());
        }
        let segment = self.map_segment(tail.slot, id, Access::Read)?;
        let end = segment.map.len();
        let mut batches = Batches::of(&segment.map, id, segment.nonce, end);
        while (batches.offset as u64) < tail.offset {
            match batches.next_batch() {
                Some(members) if members.iter().all(|member| member.header.sequence < next) => {}
                _ => return Ok(()),
            }
        }
        if batches.offset as u64 != tail.offset {
            return Ok(());
        }
        match batches.next_batch() {
            Some(members) if members.iter().all(|member| member.header.sequence == next) => {
                // It writes there if that is a record.
                self.empty_tail(TAIL)
            }
            _ => Ok(()),
        }
    }

    fn born_of(&self, id: u64, before: u64) -> Result<Option<u64>> {
        let path = self.paths.of(Name::Segment(id));
        let file = match self.os.open(&path, OpenMode::Read) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("open", &path, e)),
        };
        let mut bytes = [0; segment::HEAD];
        match file.read_at(&mut bytes, 0) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(e) => return Err(Error::io("read", &path, e)),
        }
        let head = segment::Head::decode(&bytes, self.store_id, id).ok();
        Ok(head.filter(|head| head.previous == before).map(|head| head.born))
    }

    /// Step 1. False if the commit of that number was neither chosen nor decided.
    fn tell_if_chosen(&self, number: u64) -> Result<bool> {
        let Some(root) = self.paths.root().parent() else { return Ok(false) };
        let Some(fanout) = read_manifest(&self.os, root)? else { return Ok(false) };
        let decisions = fanout::decisions(root);
        let (decided, next) = read_decision(&self.os, &decisions, fanout.id)?;
        let paths = (0..fanout.shards).map(|shard| Paths::new(&fanout::shard(root, shard)).of(Name::State));
        let mut states = Vec::new();
        for path in paths {
            match self.os.open(&path, OpenMode::Write) {
                Ok(file) => states.push((file, path)),
                // One that is not there has no part.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(Error::io("open", &path, e)),
            }
        }
        let word = |file: &O::File, path: &std::path::Path, at: usize| {
            let mut bytes = [0; 8];
            match file.read_at(&mut bytes, at as u64) {
                Ok(()) => Ok(u64::from_ne_bytes(bytes)),
                Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(0),
                Err(e) => Err(Error::io("read", path, e)),
            }
        };
        let mut chosen = 0;
        for (file, path) in &states {
            chosen = chosen.max(word(file, path, JOINT_CHOSEN)?);
        }
        if chosen < number {
            if decided < number {
                return Ok(false);
            }
            // As in `settle`: who wrote it may have died before it was durable.
            write_again(&self.os, &decisions, fanout.id, (decided, next))?;
        }
        for (file, path) in &states {
            if word(file, path, PENDING)? & IS_JOINT != 0 && word(file, path, JOINT)? == number {
                let told = file.write_at(&number.to_ne_bytes(), JOINT_CHOSEN as u64);
                told.map_err(|e| Error::io("write", path, e))?;
            }
        }
        Ok(true)
    }
}
