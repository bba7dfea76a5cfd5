//! Batches: many changes of keys in one commit, and the records of a batch. It does not know what becomes of one key alone.
//!
//! Nearly every member of a batch is a small put without tag or expiry, over a record of the same kind or under a new key.
//! Such a one takes a short way ([`Quick`]) that comes to the same as the long one, which all others take.

use std::sync::Arc;

use crate::error::Result;
use crate::os::{Os, OsMap};
use crate::storage::index::{self, CELLS, LINK, Table};
use crate::storage::location::Entry;
use crate::storage::namespace::Label;
use crate::storage::record::{BATCH_RECORD, Draft, Header, JOINT_VALUE, LARGE_REFERENCE, Type, batch_value};
use crate::storage::segment::is_main;
use crate::storage::state::{self, row, row_word};
use crate::storage::tag_table;

use super::cells::KeyPlace;
use super::change::{Change, Op, Put, Tag, Value};
use super::commit::{Commit, signed};
use super::limit::Purpose;
use super::order_ahead::LeavesAhead;
use super::read::{Life, Try};
use super::tags::TagRow;
use super::view::Index;

/// Keys of a batch whose buckets are fetched ahead of their turn; the records they lead to, half as far ahead.
pub(super) const AHEAD: usize = 16;

/// What is looked at of a record that is replaced: header and key.
pub(super) const RECORD_LINES: [usize; 2] = [0, 64];

/// A batch that is being written, and where the record goes that opens it.
pub(super) struct Batch {
    slot: usize,
    offset: u64,
    bytes_reserved: u64,
}

/// Where a key is, or goes, if that can be told at the first look.
enum Quick {
    /// It has this cell, which leads to a live record without tag and file.
    Replace { cell: usize, bits: u64, plain: Plain },
    /// It has no cell, and this one is free.
    New { cell: usize },
    /// It takes a closer look.
    No,
}

/// What is asked of a record that is replaced.
struct Plain {
    order: u64,
    bytes: u64,
    in_main: bool,
}

/// By how much puts change the counts of what is alive: kept here until they are staged together.
#[derive(Default)]
struct Counts {
    /// New keys.
    new: i64,
    /// Records that count in the segment of the batch and replace none that did.
    here: i64,
    /// A segment, the records that count there no more, and the bytes that are dead there now.
    left: (usize, i64, u64),
}

/// What room for changes is for: removals alone may have more of it.
pub(super) fn purpose_of(ops: &[Op<'_>]) -> Purpose {
    let is_put = |op: &Op<'_>| matches!(op.change, Change::Put(_));
    if ops.iter().any(is_put) { Purpose::Store } else { Purpose::Free }
}

impl<O: Os> Commit<'_, O> {
    /// Steps 3 to 8 for changes of keys. The number of keys that were live before.
    pub(super) fn carry_out(&mut self, ops: &[Op<'_>]) -> Result<u64> {
        let [op] = ops else {
            return self.carry_out_many(ops.iter().copied(), |i| ops.get(i).map(|op| op.hash));
        };
        if self.joint.is_some() {
            // What says so stands in a batch.
            return self.carry_out_many(ops.iter().copied(), |_| None);
        }
        let mut place = KeyPlace::default();
        self.locate_into(&mut place, op.key, op.hash)?;
        let was_live = place.is_live();
        if self.change_alone(op, &place)? {
            self.publish()?;
        }
        Ok(was_live.into())
    }

    /// The same as one batch, however many they are. `ahead` gives the hashes of their keys by number, as long as what they
    /// lead to is to be fetched ahead.
    pub(super) fn carry_out_many<'a>(
        &mut self,
        ops: impl Iterator<Item = Op<'a>> + Clone,
        ahead: impl Fn(usize) -> Option<u64>,
    ) -> Result<u64> {
        let mut replaced = 0;
        let mut removed = Vec::new();
        let batch = self.begin_batch(ops.clone(), 0, Purpose::Free)?;
        let word = self.store.state.load(state::GEOMETRY);
        let index = self.view.only_index(word).map(Arc::clone);
        let mut counts = Counts::default();
        let mut leaves = LeavesAhead::of(ops.clone());
        let mut was_new = true;
        for (i, op) in ops.enumerate() {
            leaves.turn(self, was_new);
            if let Some(hash) = ahead(i + AHEAD) {
                self.store.prefetch_home(&self.view, word, hash);
            }
            if let Some(hash) = ahead(i + AHEAD / 2) {
                self.store.prefetch_record(&self.view, word, hash);
            }
            if let (Some(draft), Some(index)) = (plain_put(&op), &index)
                && let Some(was_live) = self.put_quickly(index, op.hash, draft, &mut counts)?
            {
                replaced += u64::from(was_live);
                continue;
            }
            let place = self.locate(op.key, op.hash)?;
            let was_live = place.is_live();
            was_new = !was_live;
            match &op.change {
                Change::Put(put) => self.put(&op, put, &place, false)?,
                Change::Remove if was_live => self.remove(&op, &place, false, &mut removed)?,
                Change::Remove => drop(self.remove_evicted(&op, &place, false)?),
                Change::Keep => continue,
            }
            replaced += u64::from(was_live);
        }
        self.stage_counts(&counts);
        self.publish_batch(batch, removed)?;
        Ok(replaced)
    }

    /// Publishes a batch, and empties the cells of the keys that it removed.
    pub(super) fn publish_batch(&mut self, batch: Batch, removed: Vec<(Table, usize, u64)>) -> Result<()> {
        if !self.end_batch(batch)? {
            return Ok(());
        }
        self.publish()?;
        if self.joint.is_some() {
            self.removed = removed;
        } else if !removed.is_empty() {
            self.empty_removed(&removed);
        }
        Ok(())
    }

    /// Steps 3 and 4 of a put, if it can be made the short way: whether the key was live before.
    #[inline(always)]
    fn put_quickly(
        &mut self,
        index: &Index<O>,
        hash: u64,
        mut draft: Draft<'_>,
        counts: &mut Counts,
    ) -> Result<Option<bool>> {
        draft.sequence = self.sequence;
        let table = index.table;
        let (cell, before) = match self.look_quickly(index, draft.key, hash) {
            Quick::Replace { cell, bits, plain } => {
                let replaced = Entry::from_bits(bits).location();
                draft.replaces = Some((replaced.bits(), plain.order));
                draft.over_main = plain.in_main;
                let leaves = i64::from(replaced.slot() != self.tail.slot);
                counts.here += leaves;
                self.count_left(counts, replaced.slot(), leaves, plain.bytes);
                (cell, bits)
            }
            Quick::New { cell } => {
                counts.here += 1;
                counts.new += 1;
                (cell, 0)
            }
            Quick::No => return Ok(None),
        };
        self.appended += draft.size() as u64;
        let location = self.append_member(&draft)?;
        self.store.mark_put(&index.map, table, hash, cell, before == 0);
        self.stage_cell(table, cell, before, Entry::new(table.tag(hash), location).bits());
        Ok(Some(before != 0))
    }

    #[inline(always)]
    fn look_quickly(&self, index: &Index<O>, key: &[u8], hash: u64) -> Quick {
        let table = index.table;
        let bucket = index::bucket_offset(table.home(hash));
        let mut line = [0; 8];
        self.read_bucket(table, &index.map, bucket, &mut line);
        let found = index::matching(&line, table.tag(hash));
        if found == 0 {
            let free = line[..CELLS].iter().position(|&bits| bits == 0);
            return match free {
                Some(i) if line[CELLS] & LINK == 0 => Quick::New { cell: bucket + 8 * i },
                _ => Quick::No,
            };
        }
        let i = found.trailing_zeros() as usize % CELLS;
        let bits = line[i];
        match self.plain_record(key, Entry::from_bits(bits)) {
            Some(plain) if bits != 0 => Quick::Replace { cell: bucket + 8 * i, bits, plain },
            _ => Quick::No,
        }
    }

    /// The record that an entry leads to, if that is this key's, is live, and has neither tag nor file.
    #[inline(always)]
    fn plain_record(&self, key: &[u8], entry: Entry) -> Option<Plain> {
        let location = entry.location();
        let (slot, offset) = (location.slot(), location.offset());
        if slot >= self.store.rows || self.is_encoded(location) {
            return None;
        }
        let id = self.state(row_word(slot, row::ID));
        let segment = self.segment(slot, id)?;
        let end = usize::try_from(self.state(row_word(slot, row::ALLOCATED))).unwrap_or(0).min(segment.map.len());
        let header = Header::read(&segment.map, offset, end)?;
        let (at, len) = header.key_range(offset);
        if len != key.len() || !segment.map.equals(at, key) || header.is_large() || header.tag != 0 {
            return None;
        }
        match self.store.life(&self.view, &header) {
            Try::Done(Life::Live) => {
                Some(Plain { order: header.order(id, offset), bytes: header.size() as u64, in_main: is_main(id) })
            }
            _ => None,
        }
    }

    fn count_left(&mut self, counts: &mut Counts, slot: usize, records: i64, bytes: u64) {
        let (of, left, dead) = &mut counts.left;
        if *of == slot {
            *left += records;
            *dead += bytes;
            return;
        }
        let (of, left, dead) = std::mem::replace(&mut counts.left, (slot, records, bytes));
        self.stage_left(of, left, dead);
    }

    fn stage_left(&mut self, slot: usize, records: i64, bytes: u64) {
        for (word, by) in [(row::LIVE, -records), (row::DEAD, signed(bytes))] {
            if by != 0 {
                self.add_state(row_word(slot, word), by);
            }
        }
    }

    /// Stages what puts have counted.
    fn stage_counts(&mut self, counts: &Counts) {
        let (of, left, dead) = counts.left;
        for (word, by) in [(state::LIVE, counts.new), (row_word(self.tail.slot, row::LIVE), counts.here)] {
            if by != 0 {
                self.add_state(word, by);
            }
        }
        self.stage_left(of, left, dead);
    }

    /// Makes room for a whole batch of changes, with so many marks of evictions and clears in front.
    pub(super) fn begin_batch<'a>(
        &mut self,
        ops: impl Iterator<Item = Op<'a>>,
        marks: usize,
        at_least: Purpose,
    ) -> Result<Batch> {
        let says_joint = usize::from(self.joint.is_some_and(|joint| joint.is_lasting));
        let mut bytes = BATCH_RECORD + (marks + says_joint) * Draft::bare(Type::TagEvicted, 0).size();
        bytes += says_joint * JOINT_VALUE;
        let mut purpose = at_least;
        for op in ops {
            let mut draft = Draft { key: op.key, replaces: Some((0, 0)), ..Draft::bare(Type::Removal, 0) };
            if let Change::Put(put) = op.change {
                if purpose == Purpose::Free {
                    purpose = self.purpose_of_puts();
                }
                draft.expires = put.expires;
                draft.value = match put.value {
                    Value::Inline(value) => value,
                    _ => &[0; LARGE_REFERENCE],
                };
                if let Tag::Named(name) = put.tag {
                    bytes += new_tag_bytes(TagRow::none(), name);
                }
            }
            bytes += draft.size();
        }
        self.open_batch(bytes, purpose)
    }

    /// Makes room for a batch of at most so many bytes, and leaves the place of its record open until its members are
    /// known: it vouches for each of them.
    pub(super) fn open_batch(&mut self, bytes: usize, purpose: Purpose) -> Result<Batch> {
        self.reserve(bytes, false, purpose)?;
        let batch = Batch { slot: self.tail.slot, offset: self.tail.offset, bytes_reserved: bytes as u64 };
        self.batch_nonce = Some(self.nonce_at_tail()?);
        self.tail.offset += BATCH_RECORD as u64;
        (self.members, self.check) = (0, 0);
        if let Some(joint) = self.joint.filter(|joint| joint.is_lasting) {
            let value = joint.number.to_le_bytes();
            self.append(&Draft { value: &value, ..Draft::bare(Type::Joint, self.sequence) })?;
        }
        Ok(batch)
    }

    /// Writes the record of a batch before its members. False if there are none: nothing to publish.
    pub(super) fn end_batch(&mut self, batch: Batch) -> Result<bool> {
        debug_assert!(self.tail.slot == batch.slot && self.tail.offset <= batch.offset + batch.bytes_reserved);
        self.batch_nonce = None;
        self.write_encoded()?;
        self.take_crcs();
        let end = self.tail;
        self.tail.offset = batch.offset;
        if self.members == 0 {
            return Ok(false);
        }
        let value = batch_value(end.offset - batch.offset - BATCH_RECORD as u64, self.members, self.check);
        self.append(&Draft { value: &value, ..Draft::bare(Type::Batch, self.sequence) })?;
        self.tail = end;
        Ok(true)
    }
}

/// The draft of a put that has neither tag, expiry nor file; its commit is not known here.
#[inline(always)]
fn plain_put<'a>(op: &Op<'a>) -> Option<Draft<'a>> {
    match op.change {
        Change::Put(Put { kind, value: Value::Inline(value), expires: None, tag: Tag::None }) => {
            Some(Draft { key: op.key, value, kind, ..Draft::bare(Type::Put, 0) })
        }
        _ => None,
    }
}

impl TagRow {
    /// A row for measuring records.
    fn none() -> TagRow {
        let place = tag_table::RowPlace { chunk: 0, offset: 0 };
        TagRow { id: 0, place, is_new: true, is_taken_over: true }
    }
}

/// What a new tag takes in the log at most: its name, and a mark if its row was another's.
pub(super) fn new_tag_bytes(tag: TagRow, label: Label<'_>) -> usize {
    let mark = if tag.is_taken_over { Draft::bare(Type::TagEvicted, 0).size() } else { 0 };
    tag_draft(tag, label, 0).size() + mark
}

/// The record of a tag's name.
pub(super) fn tag_draft(tag: TagRow, label: Label<'_>, sequence: u64) -> Draft<'_> {
    let kind = label.kind as u8;
    Draft { kind, value: label.name.as_bytes(), tag: tag.id, ..Draft::bare(Type::TagDefined, sequence) }
}
