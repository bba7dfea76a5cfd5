//! The values of a leaf's keys, as of the moment that the leaf is of. It does not know how the leaf was found.
//!
//! Most leaves are read while no commit comes, and then nothing has to be looked at twice, neither a cell nor the geometry:
//!
//! 1. the keys' home buckets are fetched, and the records that the first cells with the right tags lead to: nearly always
//!    those of the keys, and else the chain is gone through;
//! 2. each record is the item: its key, its namespace, older than no mark of that, without an expiry or a file of its own;
//! 3. `PENDING` is 0 and `VISIBLE` the moment still: nothing has changed since the leaf was sought.
//!
//! Where one of these does not hold (a large value, a file that is not mapped, a commit), the keys are read as those of any other call
//! that wants many (`snapshot`). Reading marks nothing as used: no policy takes what is in an index.

use std::ops::Range;
use std::sync::Arc;

use crate::error::Result;
use crate::os::{Os, OsMap};
use crate::storage::location::Location;
use crate::storage::namespace::{Namespace, PREFIX, prefix};
use crate::storage::record::{LargeReference, Type};
use crate::storage::state::{self, PENDING, VISIBLE};
use crate::storage::tag_table::{self, row};
use crate::storage::tree::Node;

use super::order_read::{Item, Stretch};
use super::pending::Moment;
use super::read::{Record, Try};
use super::store::Store;
use super::view::{Index, View};

/// Keys whose buckets are fetched ahead of their turn.
const AHEAD: usize = 16;
/// Keys whose records are, all at once: of a million pairs each took 0.204 µs that way, and 0.215 one after the other.
const NEAR: usize = 4;
/// The lines of a record that are fetched.
const LINES: [usize; 3] = [0, 64, 128];

/// A key with the prefix in front of it.
#[inline(always)]
fn whole<'k>(keys: &'k [u8], item: &Item) -> &'k [u8] {
    keys.get(item.key.start.saturating_sub(PREFIX)..item.key.end).unwrap_or_default()
}

/// Items whose values are sought, and which have theirs.
struct Found<'a> {
    values: &'a mut Vec<u8>,
    items: &'a mut [Item],
    are_there: Vec<bool>,
}

impl Found<'_> {
    fn add<O: Os>(&mut self, store: &Store<O>, i: usize, record: &Record<'_, O>) -> Result<()> {
        let start = self.values.len();
        store.append_whole(record, self.values)?;
        if let (Some(item), Some(is_there)) = (self.items.get_mut(i), self.are_there.get_mut(i)) {
            (item.kind, item.value) = (record.header.kind, start..self.values.len());
            *is_there = true;
        }
        Ok(())
    }
}

impl<O: Os> Store<O> {
    /// Adds some of a leaf's keys to `to`, which is empty, with their values.
    pub(super) fn read_items(
        &self,
        (view, at): (&Arc<View<O>>, Option<&Moment>),
        index: Namespace,
        (node, range): (&Node, Range<usize>),
        moment: u64,
        to: &mut Stretch,
    ) -> Result<Try<()>> {
        let prefix = prefix(index.kind, index.id);
        range.for_each(|i| to.add_key(&prefix, node.key(i)));
        let Stretch { keys, values, items, .. } = to;
        let hashes: Vec<u64> = items.iter().map(|item| self.hash(whole(keys, item))).collect();
        if at.is_none() && self.read_unchanged(view, index, (keys, &hashes, items), moment, values) {
            return Ok(Try::Done(()));
        }
        values.clear();
        let asked = items.clone();
        let keys: Vec<(&[u8], u64)> = asked.iter().map(|item| whole(keys, item)).zip(hashes).collect();
        let mut into = Found { values, are_there: vec![false; keys.len()], items };
        let mut add = |into: &mut Found<'_>, i: usize, record: &Record<'_, O>| into.add(self, i, record);
        match self.try_read_many(view, &keys, Some(moment), &mut into, &mut add)? {
            Try::Done(()) => {}
            other => return Ok(other),
        }
        for (i, &(key, _)) in keys.iter().enumerate() {
            if into.are_there.get(i).is_some_and(|is_there| *is_there) {
                continue;
            }
            match at.map_or(Try::Done(None), |at| self.record_of_emptied(view, at, key)) {
                Try::Done(Some(record)) => into.add(self, i, &record)?,
                Try::Map(file) => return Ok(Try::Map(file)),
                Try::Done(None) | Try::Again => return Ok(Try::Again),
            }
        }
        Ok(Try::Done(()))
    }

    /// Steps 1 to 3. False if they do not hold.
    fn read_unchanged(
        &self,
        view: &View<O>,
        namespace: Namespace,
        (keys, hashes, items): (&[u8], &[u64], &mut [Item]),
        moment: u64,
        values: &mut Vec<u8>,
    ) -> bool {
        let word = self.state.load(state::GEOMETRY);
        let place = namespace.place();
        let Some(rows) = view.tags(place.chunk) else { return false };
        let marks = tag_table::marks(&**rows, place.offset);
        let kind = tag_table::kind_of(rows.load(place.offset + row::HASH_HIGH));
        if marks.newest > moment || kind != namespace.kind {
            return false;
        }
        // The table, unless the index is growing.
        let only = view.only_index(word);
        let table = |hash| only.or_else(|| self.table_of(view, word, hash));
        let mut near = [Location::from_bits(0); NEAR];
        let groups = |first: usize| hashes.get(first..).unwrap_or_default().iter().take(NEAR);
        let homes = |first: usize| {
            groups(first).for_each(|&hash| table(hash).into_iter().for_each(|index| index.prefetch_home(hash)));
        };
        let records = |first: usize, near: &mut [Location; NEAR]| {
            near.iter_mut().zip(groups(first)).for_each(|(at, &hash)| *at = self.fetch_item(view, table(hash), hash));
        };
        (0..AHEAD).step_by(NEAR).for_each(homes);
        let mut ahead = near;
        records(0, &mut ahead);
        for (i, (item, &hash)) in items.iter_mut().zip(hashes).enumerate() {
            if i % NEAR == 0 {
                near = ahead;
                homes(i + AHEAD);
                records(i + NEAR, &mut ahead);
            }
            let location = near[i % NEAR];
            let Some(record) = self.item_at(view, whole(keys, item), hash, location) else { return false };
            let header = &record.header;
            let is_item = header.kind_of_record == Type::Put
                && header.tag == namespace.id
                && header.sequence <= moment
                && header.expires == u64::MAX
                && !header.is_large();
            if !is_item || (marks.newest != 0 && marks.kill(header.sequence, moment)) {
                return false;
            }
            let Some(value) = record.append_among(values) else { return false };
            (item.kind, item.value) = (header.kind, value);
        }
        self.state.load(PENDING) == 0 && self.state.load(VISIBLE) == moment
    }

    /// The record of a key: what was fetched for it, if that is it, else the one that is found in the chain of its bucket.
    #[inline(always)]
    fn item_at<'v>(&self, view: &'v View<O>, key: &[u8], hash: u64, location: Location) -> Option<Record<'v, O>> {
        if !location.is_none()
            && let Some(segment) = view.segment(location.slot(), self.segment_in(location.slot()))
            && let Some(record) = self.record_at(segment, location)
        {
            let (at, len) = record.header.key_range(record.offset);
            if len == key.len() && segment.map.equals(at, key) {
                return Some(record);
            }
        }
        self.item_in_chain(view, key, hash)
    }

    #[inline(never)]
    fn item_in_chain<'v>(&self, view: &'v View<O>, key: &[u8], hash: u64) -> Option<Record<'v, O>> {
        match self.find(view, key, hash) {
            Ok(Try::Done(found)) => found.map(|hit| hit.record),
            _ => None,
        }
    }

    /// The table that has a hash while the index grows.
    #[cold]
    fn table_of<'v>(&self, view: &'v View<O>, word: u64, hash: u64) -> Option<&'v Arc<Index<O>>> {
        match self.index_of(view, word, hash) {
            Ok(Try::Done(index)) => Some(index),
            _ => None,
        }
    }

    /// Where the first cell of a home bucket that has a hash's tag leads, and a look ahead at what is there.
    #[inline(always)]
    fn fetch_item(&self, view: &View<O>, index: Option<&Arc<Index<O>>>, hash: u64) -> Location {
        let Some(index) = index else { return Location::from_bits(0) };
        self.prefetch_record_of(view, index, hash, LINES)
    }

    /// Adds a record's value to `to`, wherever it is.
    fn append_whole(&self, record: &Record<'_, O>, to: &mut Vec<u8>) -> Result<()> {
        let damaged = || record.damaged(self.paths.root());
        if !record.header.is_large() {
            return if record.append_value(to) { Ok(()) } else { Err(damaged()) };
        }
        let large: LargeReference = record.large().ok_or_else(damaged)?;
        self.append_large(large, to)
    }
}
