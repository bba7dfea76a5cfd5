//! Writing what survives to the main stream: step 4 of a quantum, what there is room for, and record by record.

use crate::error::Result;
use crate::os::{Access, Os};
use crate::storage::location::Entry;
use crate::storage::namespace::{Kind, Namespace, parse};
use crate::storage::record::{BATCH_RECORD, DEAD_VALUE, Draft, Header, LargeReference, Type, salt};
use crate::storage::state::{self, LIVE_NAME, row, row_word};
use crate::storage::tag_table;

use super::super::cells::{CellPlace, Old};
use super::super::commit::signed;
use super::super::large::file_space;
use super::super::limit::segment_bytes;
use super::{Candidate, Kept, Quantum};

impl<O: Os> Quantum<'_, '_, O> {
    /// Leaves for the next quantum what does not fit behind the main tail, if something does: what is left of that segment is
    /// room, and there may be none for another. The number of the first candidate that is left.
    pub(super) fn fit_behind_tail(&mut self, kept: &mut Vec<Kept>) -> Option<usize> {
        let first = kept.first()?.candidate();
        let first_beyond = |free: usize| {
            let mut bytes = BATCH_RECORD;
            let is_beyond = |one: &&Kept| {
                bytes += self.size_of(one);
                bytes > free
            };
            kept.iter().find(is_beyond).map(Kept::candidate)
        };
        let behind_tail = first_beyond(self.commit.free_behind_tail())?;
        let left = match behind_tail == first {
            true => first_beyond(self.commit.free_in_new_segment())?,
            false => behind_tail,
        };
        // One that is longer than a segment goes alone.
        let alone = kept.iter().map(Kept::candidate).find(|&candidate| candidate != first);
        let left = if left == first { alone? } else { left };
        kept.retain(|one| one.candidate() < left);
        self.bytes = kept.iter().map(|one| self.size_of(one)).sum();
        Some(left)
    }

    /// Evicts survivors for which there is no room: all of them, but no more than it takes to gain a segment's space where they
    /// have files of their own. The number of the candidate behind the last of these.
    pub(super) fn give_up(&mut self, kept: &mut Vec<Kept>) -> Option<usize> {
        let enough = segment_bytes(self.commit.state(state::SIZE_LIMIT));
        let (mut gained, mut left) = (0, None);
        for one in &*kept {
            let Kept::Item { candidate, old, cell, lasts: false, .. } = *one else { continue };
            gained += self.commit.large_of(&old).map_or(0, |large| file_space(large.len));
            self.evict(&old, &cell);
            if gained >= enough {
                left = Some(candidate + 1);
                break;
            }
        }
        kept.retain(|one| {
            !matches!(one, Kept::Item { lasts: false, .. }) && left.is_none_or(|left| one.candidate() < left)
        });
        self.bytes = kept.iter().map(|one| self.size_of(one)).sum();
        left
    }

    /// Bytes of what is kept, if it is no item.
    fn size_of(&self, kept: &Kept) -> usize {
        match kept {
            Kept::Dead { .. } => Draft::bare(Type::Dead, 0).size() + DEAD_VALUE,
            Kept::Item { old, .. } => old.header.with_order(0).size(),
            other => self.candidates[other.candidate()].header.size(),
        }
    }

    /// Gives up an item that is damaged, whatever the policy.
    fn lose(&mut self, candidate: usize, old: &Old, cell: &CellPlace) -> Result<()> {
        self.evict(old, cell);
        let key = self.candidates[candidate].key.clone();
        match parse(&self.keys[key]) {
            Some((kind @ Kind::Index, id, key)) => self.commit.take_out_of_order(Namespace { kind, id }, key),
            // Its position stays, without an element.
            Some((kind @ Kind::Deque, id, _)) => {
                self.commit.keep_position(Namespace { kind, id });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn move_item(&mut self, candidate: usize, old: &Old, cell: &CellPlace, mark: u64) -> Result<()> {
        let Candidate { location, header, ref key, .. } = self.candidates[candidate];
        let segment = self.store.map_segment(self.victim.slot, self.victim.id, Access::Read)?;
        let mut value = Vec::new();
        let salt = salt(segment.nonce, location.offset());
        if !header.append_value(&segment.map, location.offset(), salt, &mut value) {
            // A copy would vouch for what is damaged.
            self.lose(candidate, old, cell)?;
            return Ok(());
        }
        let draft = Draft {
            key: &self.keys[key.clone()],
            value: &value,
            kind: header.kind,
            tag: header.tag,
            expires: Some(header.expires).filter(|&at| at != u64::MAX),
            replaces: Some((0, old.order())),
            large: header.is_large(),
            ..Draft::bare(Type::Put, header.sequence)
        };
        let to = self.commit.append(&draft)?;
        let entry = Entry::new(Entry::from_bits(cell.bits).tag(), to).bits();
        self.commit.stage_cell(cell.table, cell.offset, cell.bits, entry);
        self.commit.add_state(row_word(location.slot(), row::LIVE), -1);
        self.commit.add_state(row_word(to.slot(), row::LIVE), 1);
        if let Some(expires) = draft.expires {
            self.commit.count_expiry(to.slot(), expires.max(1));
        }
        if draft.large && !self.victim.is_main {
            let space = file_space(LargeReference::decode(&value).len);
            self.commit.add_state(state::MAIN_LARGE_BYTES, signed(space));
        }
        if let Some(place) = tag_table::place_of(header.tag) {
            // The copy is longer by the order that it carries with it.
            let longer = draft.size() as i64 - header.size() as i64;
            self.commit.count_tag(place, 0, longer);
        }
        if let Some(index) = self.commit.index(cell.table) {
            self.store.set_mark(&index.map, cell.offset, mark);
        }
        Ok(())
    }

    pub(super) fn move_name(&mut self, candidate: usize, place: tag_table::RowPlace) -> Result<()> {
        let Candidate { location, header, .. } = self.candidates[candidate];
        let segment = self.store.map_segment(self.victim.slot, self.victim.id, Access::Read)?;
        let mut name = Vec::new();
        let salt = salt(segment.nonce, location.offset());
        if !header.append_value(&segment.map, location.offset(), salt, &mut name) {
            return Ok(());
        }
        let Header { kind, tag, .. } = header;
        let draft = Draft { kind, value: &name, tag, ..Draft::bare(Type::TagDefined, header.sequence) };
        let to = self.commit.append(&draft)?;
        self.commit.stage_tag_name(place, to);
        self.commit.add_state(row_word(location.slot(), row::LIVE), -LIVE_NAME);
        self.commit.add_state(row_word(to.slot(), row::LIVE), LIVE_NAME);
        Ok(())
    }
}
