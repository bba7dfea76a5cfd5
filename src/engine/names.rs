//! Moving names of tags out of the oldest segment: they are needed for as long as their tags are, and would keep a segment,
//! and with it all younger ones, that holds nothing else.
//!
//! 1. Look through the segment for names that their tags' rows still lead to.
//! 2. Write them again at the tail, as one batch and by one commit that also changes where the rows lead and what the two
//!    segments count.
//! 3. Make the log durable up to the copies. Only then may the originals go: a name that a power cut took would leave its
//!    tag's id to another tag. A rebuild stops at the first break, so what stands before the copies is made durable first.

use crate::error::Result;
use crate::os::{Access, Os, OsMap};
use crate::storage::location::Location;
use crate::storage::record::{BATCH_RECORD, Draft, Type};
use crate::storage::state::{LIVE_NAME, row, row_word};
use crate::storage::tag_table::{self, RowPlace};

use super::commit::Commit;
use super::lock::Locked;
use super::log::Batches;
use super::room::Purpose;
use super::store::Store;

/// Bytes of names moved by one commit.
const BYTES: usize = 32 << 10;

/// A name that its tag's row leads to.
struct Named {
    id: u32,
    place: RowPlace,
    name: Vec<u8>,
}

impl<O: Os> Store<O> {
    /// Moves the names out of a segment that holds nothing else that lives. False if it holds none.
    pub(super) fn move_names(&self, locked: &Locked<'_, O>, slot: usize) -> Result<bool> {
        let mut moved = false;
        loop {
            let mut commit = Commit::new(locked)?;
            let names = commit.names_in(slot)?;
            if names.is_empty() {
                return Ok(moved);
            }
            commit.write_again(slot, &names)?;
            commit.publish()?;
            commit.sync_log()?;
            moved = true;
        }
    }
}

impl<O: Os> Commit<'_, O> {
    /// Step 1, up to [`BYTES`].
    fn names_in(&mut self, slot: usize) -> Result<Vec<Named>> {
        let segment = self.store.map_segment(slot, self.store.segment_in(slot), Access::Read)?;
        let end = usize::try_from(self.store.committed_end(slot)).unwrap_or(0);
        let mut batches = Batches::new(&segment.map, segment.nonce, end);
        let (mut names, mut bytes) = (Vec::new(), 0);
        while let Some(members) = batches.next_batch() {
            for member in members.iter().filter(|member| member.header.kind_of_record == Type::TagDefined) {
                let here = Location::new(slot, member.offset as u64);
                let Some(place) = self.row_named_at(member.header.tag, here)? else { continue };
                let (at, len) = member.header.value_range(member.offset);
                let mut name = Vec::new();
                if bytes < BYTES && segment.map.append_to(at, len, &mut name) {
                    bytes += member.header.size();
                    names.push(Named { id: member.header.tag, place, name });
                }
            }
        }
        Ok(names)
    }

    /// Step 2.
    fn write_again(&mut self, from: usize, names: &[Named]) -> Result<()> {
        let sequence = self.sequence;
        let draft = |named: &'_ Named| Draft { tag: named.id, ..Draft::bare(Type::TagDefined, sequence) };
        let members: usize = names.iter().map(|named| Draft { value: &named.name, ..draft(named) }.size()).sum();
        let batch = self.open_batch(BATCH_RECORD + members, Purpose::Free)?;
        for named in names {
            let location = self.append(&Draft { value: &named.name, ..draft(named) })?;
            self.stage_tag_name(named.place, location);
            self.add_state(row_word(location.slot(), row::LIVE), LIVE_NAME);
            self.add_state(row_word(from, row::LIVE), -LIVE_NAME);
        }
        self.end_batch(batch).map(drop)
    }

    /// Step 3.
    fn sync_log(&self) -> Result<()> {
        let rows = 0..self.store.rows;
        let mut ids: Vec<u64> = rows.map(|slot| self.store.segment_in(slot)).filter(|&id| id != 0).collect();
        ids.sort_unstable();
        self.store.sync_segments(&ids)
    }

    /// The row of a tag, if its name stands at that place.
    fn row_named_at(&mut self, id: u32, here: Location) -> Result<Option<RowPlace>> {
        let Some(place) = tag_table::place_of(id) else { return Ok(None) };
        Ok((self.name_of_tag(place)? == here.bits()).then_some(place))
    }
}
