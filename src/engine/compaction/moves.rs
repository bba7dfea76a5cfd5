//! Writing what survives to the main stream: step 4 of a quantum, record by record.

use crate::error::Result;
use crate::os::{Access, Os};
use crate::storage::location::Entry;
use crate::storage::namespace::{Kind, Namespace, parse};
use crate::storage::record::{Draft, Header, LargeReference, Type, salt};
use crate::storage::state::{self, LIVE_NAME, row, row_word};
use crate::storage::tag_table;

use super::super::cells::{CellPlace, Old};
use super::super::commit::signed;
use super::super::large::file_space;
use super::{Candidate, Quantum};

impl<O: Os> Quantum<'_, '_, O> {
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
