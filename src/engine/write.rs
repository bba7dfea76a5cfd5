//! Changing keys: puts and removals, alone or many in one commit. The steps are those
//! of the engine's head; this file fills in step 3 for keys.
//!
//! A key that is replaced keeps its cell, and its new record names the old one, which readers take until the commit is
//! visible. A key that is removed alone loses its cell: one store, so it needs no more. In a batch its cell first leads
//! to the record of the removal, which names the old record, and is emptied after the commit.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::Guard;

use crate::error::{Error, Result};
use crate::os::{Os, OsMap};
use crate::storage::index::Table;
use crate::storage::location::{Entry, Location, Tail};
use crate::storage::namespace::{Kind, Label, Namespace, parse};
use crate::storage::record::{BATCH_RECORD, Draft, LARGE_REFERENCE, LargeReference, Type, order_of_place};
use crate::storage::state::{self, LIVE_NAME, Retiree, row, row_word};
use crate::storage::tag_table;

use super::batch::{AHEAD, Batch, RECORD_LINES, new_tag_bytes, purpose_of, tag_draft};
use super::cells::{Cell, KeyPlace, Old};
use super::change::{Change, Op, Put, Tag, Value};
use super::coming::Foreseen;
use super::commit::{Commit, signed};
use super::large::file_space;
use super::limit::Purpose;
use super::lock::Locked;
use super::read::Life;
use super::store::Store;
use super::tags::TagRow;
use super::view::View;

impl<O: Os> Store<O> {
    /// Removes a key. False if it was not live.
    #[inline]
    pub fn remove_hashed(&self, key: &[u8], hash: u64) -> Result<bool> {
        let op = Op { key, hash, change: Change::Remove };
        self.batch(std::slice::from_ref(&op)).map(|removed| removed == 1)
    }

    /// Makes all changes by one commit. Each key may be in it once. The number of keys that were live before.
    pub fn batch(&self, ops: &[Op<'_>]) -> Result<u64> {
        if ops.len() > 1 {
            self.check_size(ops)?;
        }
        self.before_change()?;
        let mut newest = 0;
        let changed = match self.batch_once(ops, &mut newest) {
            Err(Error::Full) => self.until_there_is_room(purpose_of(ops), || self.batch_once(ops, &mut newest))?,
            changed => changed?,
        };
        self.after_change(newest)?;
        Ok(changed)
    }

    /// One attempt. `newest` is the newest commit when it was over.
    #[inline(always)]
    fn batch_once(&self, ops: &[Op<'_>], newest: &mut u64) -> Result<u64> {
        let puts = ops.iter().filter(|op| matches!(op.change, Change::Put(_))).count() as u64;
        let view = self.enter()?;
        let foreseen = self.fetch_first(&view, ops);
        let locked = self.lock()?;
        let outcome = match locked.begin_with(view, puts) {
            Ok((view, tail)) => {
                let mut commit = Commit::with(&locked, view, tail);
                commit.foreseen = foreseen;
                commit.carry_out(ops)
            }
            Err(error) => Err(error),
        };
        *newest = locked.newest();
        drop(locked);
        self.epilogue();
        outcome
    }

    /// Makes a commit of so many new keys that begins with a view, again if there was no room for it.
    pub(super) fn change_by<R>(
        &self,
        view: Guard<Arc<View<O>>>,
        new_keys: u64,
        change: impl FnMut(&mut Commit<'_, O>) -> Result<R>,
    ) -> Result<R> {
        self.change_within(self.lock_timeout, view, new_keys, change)
    }

    /// The same with another time-out for the lock.
    #[inline]
    pub(super) fn change_within<R>(
        &self,
        timeout: Duration,
        view: Guard<Arc<View<O>>>,
        new_keys: u64,
        mut change: impl FnMut(&mut Commit<'_, O>) -> Result<R>,
    ) -> Result<R> {
        self.before_change()?;
        let mut attempt = |view| {
            let locked = self.lock_within(timeout)?;
            let (view, tail) = locked.begin_with(view, new_keys)?;
            let outcome = change(&mut Commit::with(&locked, view, tail))?;
            Ok((outcome, locked.newest()))
        };
        let (outcome, newest) = match attempt(view) {
            Err(Error::Full) => {
                let purpose = if new_keys == 0 { Purpose::Free } else { Purpose::Store };
                self.until_there_is_room(purpose, || attempt(self.enter()?))?
            }
            outcome => outcome?,
        };
        self.epilogue();
        self.after_change(newest)?;
        Ok(outcome)
    }

    /// Fetches the home buckets of the first keys, then what they lead to: outside the lock, so that nobody waits for memory.
    /// While the index grows a key alone is not worth the search for its table. Of one that leads nowhere it is the leaf that it
    /// goes to, if it goes to one.
    #[inline]
    pub(super) fn fetch_first(&self, view: &View<O>, ops: &[Op<'_>]) -> Option<Foreseen> {
        let index = view.only_index(self.state.load(state::GEOMETRY))?;
        for op in ops.iter().take(AHEAD) {
            index.prefetch_home(op.hash);
        }
        let fetch = |op: &Op<'_>| self.prefetch_record_of(view, index, op.hash, RECORD_LINES);
        if let [op] = ops {
            return self.foresee(view, op, || fetch(op).is_none());
        }
        for op in ops.iter().take(AHEAD / 2) {
            fetch(op);
        }
        None
    }

    /// Refuses a batch that is too large for this store, before the lock.
    pub(super) fn check_size(&self, ops: &[Op<'_>]) -> Result<()> {
        let limit = self.state.load(state::SIZE_LIMIT);
        let bytes = |op: &Op<'_>| match op.change {
            Change::Put(Put { value: Value::Inline(value), .. }) => op.key.len() + value.len() + 64,
            _ => op.key.len() + LARGE_REFERENCE + 64,
        };
        let total: u64 = ops.iter().map(|op| bytes(op) as u64).sum();
        if total > limit / 8 {
            return Err(Error::TransactionTooLarge { bytes: total, limit: limit / 8 });
        }
        Ok(())
    }
}

impl<O: Os> Locked<'_, O> {
    /// A commit for some new keys, after this write's share of growing.
    pub(super) fn begin(&self, new_keys: u64) -> Result<Commit<'_, O>> {
        let (view, tail) = self.begin_with(self.store.enter()?, new_keys)?;
        Ok(Commit::with(self, view, tail))
    }

    /// View and tail of a commit of some new keys, likewise.
    #[inline(always)]
    pub(super) fn begin_with(&self, view: Guard<Arc<View<O>>>, new_keys: u64) -> Result<(Guard<Arc<View<O>>>, Tail)> {
        let is_low = || new_keys > 0 && self.store.is_low();
        if self.store.is_outdated(&view) || self.store.must_grow(&view, new_keys) || is_low() {
            // Unpacked at once: what is common stays in registers.
            let (view, tail) = self.begin_prepared(new_keys)?;
            return Ok((view, tail));
        }
        Ok((view, self.tail()?))
    }

    #[cold]
    fn begin_prepared(&self, new_keys: u64) -> Result<(Guard<Arc<View<O>>>, Tail)> {
        if new_keys > 0 && self.store.is_low() {
            // Whether it succeeds is seen by who needs the room.
            let _ = self.store.relieve(self);
        }
        self.store.grow_for(self, new_keys)?;
        Ok((self.store.enter()?, self.tail()?))
    }
}

impl<O: Os> Commit<'_, O> {
    /// Steps 3 and 4 of a commit that changes one key. False if there is nothing to publish.
    #[inline]
    pub(super) fn change_alone(&mut self, op: &Op<'_>, place: &KeyPlace) -> Result<bool> {
        match &op.change {
            Change::Put(put) => self.put(op, put, place, true)?,
            Change::Remove if place.is_live() => {
                self.remove(op, place, true, &mut Vec::new())?;
            }
            Change::Remove => return self.remove_evicted(op, place, true),
            Change::Keep => return Ok(false),
        }
        Ok(true)
    }

    /// Step 3 and 4 of one put.
    pub(super) fn put(&mut self, op: &Op<'_>, put: &Put<'_>, place: &KeyPlace, alone: bool) -> Result<()> {
        let tag = self.tag_of(put.tag)?;
        let names_tag = tag.filter(|tag| tag.is_new);
        let mut reference = [0; LARGE_REFERENCE];
        let (value, large) = match put.value {
            Value::Inline(bytes) => (bytes, None),
            Value::Draft { number, len, crc } => (&reference[..], Some(self.adopt(number, len, crc)?)),
            Value::Same(same) => (&reference[..], Some(same)),
        };
        let value = match large {
            Some(large) => {
                reference = large.encode();
                &reference[..]
            }
            None => value,
        };
        let old = place.old.as_ref();
        let replaces = old.and_then(|p| self.replaces(p));
        let draft = Draft {
            kind_of_record: Type::Put,
            key: op.key,
            value,
            kind: put.kind,
            tag: tag.map_or(0, |tag| tag.id),
            sequence: self.sequence,
            expires: put.expires,
            replaces,
            large: large.is_some(),
            alone: alone && names_tag.is_none(),
            epoch: (0, false),
            over_main: old.is_some_and(Old::is_main),
        };
        let mut batch = None;
        if alone {
            batch = self.reserve_alone(&draft, names_tag.zip(tag_name(put.tag)))?;
        } else if let Some((tag, name)) = names_tag.zip(tag_name(put.tag)) {
            self.append_tag_name(tag, name)?;
        }
        let location = self.append(&draft)?;
        if let Some(batch) = batch {
            self.end_batch(batch)?;
        }
        self.appended += draft.size() as u64 + large.map_or(0, |large| large.len);
        self.enter_cell(place, op.hash, location)?;
        self.count_put(&draft, tag, location, old)?;
        if let Some(old) = old {
            if old.location.slot() != location.slot() {
                self.add_state(row_word(old.location.slot(), row::LIVE), -1);
            }
            self.add_state(row_word(old.location.slot(), row::DEAD), old.header.size() as i64);
            self.release(old, matches!(put.value, Value::Same(_)));
        }
        Ok(())
    }

    /// What a put names as the record before it, and the order it takes. A record that this very commit ends is what
    /// readers take until the commit is visible.
    #[inline]
    fn replaces(&self, old: &Old) -> Option<(u64, u64)> {
        if !matches!(old.life, Life::Live | Life::Ending) {
            return None;
        }
        let order = if old.anew {
            let id = self.state(row_word(self.tail.slot, row::ID));
            order_of_place(id, self.tail.offset as usize)
        } else {
            if seeded!("replacing_loses_the_order") { 0 } else { old.order() }
        };
        Some((old.location.bits(), order))
    }

    /// What room for puts is for: what says who has something, or that nobody has it any more, may use that of removals.
    #[inline]
    pub(super) fn purpose_of_puts(&self) -> Purpose {
        if self.gives_up { Purpose::Free } else { Purpose::Store }
    }

    /// Room for a put that is a commit of its own; if its tag is new, a batch that the tag's name begins.
    fn reserve_alone(&mut self, draft: &Draft<'_>, new_tag: Option<(TagRow, Label<'_>)>) -> Result<Option<Batch>> {
        let Some((tag, name)) = new_tag else {
            return self.reserve(draft.size(), true, self.purpose_of_puts()).map(|()| None);
        };
        let members = new_tag_bytes(tag, name) + draft.size();
        let batch = self.open_batch(BATCH_RECORD + members, Purpose::Store)?;
        self.append_tag_name(tag, name)?;
        Ok(Some(batch))
    }

    #[inline(never)]
    fn append_tag_name(&mut self, tag: TagRow, name: Label<'_>) -> Result<()> {
        if tag.is_taken_over {
            self.end_former_tag(tag)?;
        }
        let location = self.append(&tag_draft(tag, name, self.sequence))?;
        self.stage_tag_name(tag.place, location);
        self.add_state(row_word(location.slot(), row::LIVE), LIVE_NAME);
        Ok(())
    }

    fn tag_of(&mut self, tag: Tag<'_>) -> Result<Option<TagRow>> {
        match tag {
            Tag::None => Ok(None),
            Tag::Named(label) => self.tag(label).map(Some),
            Tag::Id(id) => Ok(tag_table::place_of(id).map(TagRow::named)),
        }
    }

    /// Counts a new record in.
    fn count_put(
        &mut self,
        draft: &Draft<'_>,
        tag: Option<TagRow>,
        location: Location,
        old: Option<&Old>,
    ) -> Result<()> {
        let counted = old.is_some_and(|p| matches!(p.life, Life::Live | Life::Expired));
        if !counted {
            let count = self.count_of(tag.map(|tag| tag.place));
            self.add_state(count, 1);
            if let Some((Kind::Index, id, key)) = parse(draft.key) {
                self.put_in_order(Namespace { kind: Kind::Index, id }, key, self.purpose_of_puts())?;
            }
        }
        let slot = location.slot();
        // One that replaces a record of the same segment leaves that segment's count as it is.
        if old.is_none_or(|old| old.location.slot() != slot) {
            self.add_state(row_word(slot, row::LIVE), 1);
        }
        if let Some(tag) = tag {
            let file = if draft.large { file_space(LargeReference::decode(draft.value).len) } else { 0 };
            self.count_tag(tag.place, 1, draft.size() as i64 + signed(file));
        }
        if let Some(expires) = draft.expires.map(|at| at.max(1)) {
            self.count_expiry(slot, expires);
        }
        Ok(())
    }

    /// Counts in when a record of a segment expires.
    pub(super) fn count_expiry(&mut self, slot: usize, expires: u64) {
        let min = row_word(slot, row::EXPIRES_MIN);
        let earliest = self.state(min);
        if earliest == 0 || expires < earliest {
            self.stage_state(min, expires);
            self.store.note_expiry(expires);
        }
    }

    /// Counts out the record that a cell led to until now, and retires its file.
    pub(super) fn count_replaced(&mut self, old: &Old, keeps_file: bool) {
        if !seeded!("replaced_record_still_counts") {
            self.add_state(row_word(old.location.slot(), row::LIVE), -1);
        }
        self.add_state(row_word(old.location.slot(), row::DEAD), old.header.size() as i64);
        self.release(old, keeps_file);
    }

    /// Gives back what a replaced record held besides its segment: its part in its tag's counts, and its file.
    #[inline]
    fn release(&mut self, old: &Old, keeps_file: bool) {
        let large = self.large_of(old);
        let bytes = large.map_or(0, |large| file_space(large.len));
        if old.header.kind_of_record == Type::Put
            && matches!(old.life, Life::Live | Life::Expired)
            && let Some(place) = tag_table::place_of(old.header.tag)
        {
            self.count_tag(place, -1, -(old.header.size() as i64 + signed(bytes)));
        }
        if let Some(large) = large
            && large.file >= self.state(state::VALUE_FLOOR)
        {
            if old.is_main() {
                self.add_state(state::MAIN_LARGE_BYTES, -signed(bytes));
            }
            if !keeps_file {
                self.add_state(state::LARGE_BYTES, -signed(bytes));
                self.retire(Retiree::Value(large.file), bytes);
            }
        }
    }

    /// Steps 3 and 4 of the removal of a key that has no cell. It may have been evicted, and until the segment that it was
    /// evicted from is gone for good, a rebuild finds it there: what was removed and synced must not be back. So its
    /// removal is written down once anything was evicted. False if that is not needed.
    pub(super) fn remove_evicted(&mut self, op: &Op<'_>, place: &KeyPlace, alone: bool) -> Result<bool> {
        let main_hand = self.state(state::MAIN_HAND_ID);
        if place.old.is_some() || !self.store.has_evicted() || seeded!("evicted_keys_are_not_removed") {
            return Ok(false);
        }
        let draft =
            Draft { key: op.key, alone, over_main: main_hand != 0, ..Draft::bare(Type::Removal, self.sequence) };
        if alone {
            self.reserve(draft.size(), true, Purpose::Free)?;
        }
        let location = self.append(&draft)?;
        self.add_state(row_word(location.slot(), row::DEAD), draft.size() as i64);
        Ok(true)
    }

    /// Step 3 and 4 of one removal of a live key.
    pub(super) fn remove(
        &mut self,
        op: &Op<'_>,
        place: &KeyPlace,
        alone: bool,
        emptied: &mut Vec<(Table, usize, u64)>,
    ) -> Result<()> {
        let (Some(old), Cell::Taken { offset, bits }) = (&place.old, place.cell) else { return Ok(()) };
        let draft = Draft {
            key: op.key,
            alone,
            replaces: (!alone).then(|| (old.location.bits(), old.order())),
            over_main: old.is_main(),
            ..Draft::bare(Type::Removal, self.sequence)
        };
        if alone {
            self.reserve(draft.size(), true, Purpose::Free)?;
        }
        let location = self.append(&draft)?;
        let left = if alone { 0 } else { Entry::new(place.table.tag(op.hash), location).bits() };
        self.stage_cell(place.table, offset, bits, left);
        if !alone {
            emptied.push((place.table, offset, left));
            self.add_state(row_word(location.slot(), row::LIVE), 1);
        }
        let count = self.count_of(tag_table::place_of(old.header.tag));
        self.add_state(count, -1);
        if let Some((Kind::Index, id, key)) = parse(op.key) {
            self.take_out_of_order(Namespace { kind: Kind::Index, id }, key)?;
        }
        self.count_replaced(old, false);
        Ok(())
    }

    /// Empties the cells that lead to removals, by a commit of its own: until then they count in their segment as any cell
    /// does. The removals are done whatever becomes of this; a cell that stays is a miss, and is reused.
    pub(super) fn empty_removed(&mut self, removed: &[(Table, usize, u64)]) {
        for &(table, cell, bits) in removed {
            self.stage_cell(table, cell, bits, 0);
            self.add_state(row_word(Entry::from_bits(bits).location().slot(), row::LIVE), -1);
        }
        let _ = self.publish();
    }
}

fn tag_name(tag: Tag<'_>) -> Option<Label<'_>> {
    match tag {
        Tag::Named(name) => Some(name),
        _ => None,
    }
}
