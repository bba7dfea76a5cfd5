//! Tags: a name's row, its counts, and evicting all items of a tag at once by one mark. The rows of namespaces are such
//! rows too; what is different about them is told by their kind.
//!
//! # Rows without items
//!
//! A row stays its tag's when the last item of it has gone. If a new tag finds no free row where it looks for one, it takes
//! over such a row, so that the table is as long as the most tags that had items at one time need, and not as there ever
//! were. The commit that does so
//!
//! 1. marks the id as taken over, in the log, and as evicted, in the row: whatever is left of the former tag's records, in the
//!    log or behind a cell, is older than the mark and so stays dead, also to a rebuild that knows the id by its new name alone;
//! 2. gives the row the new name: of the names of an id a rebuild takes the youngest, and none that is older than the mark, so
//!    that the former one is not the row's again when the new one is lost;
//! 3. may put items of the new tag: they are as old as the mark, and not older.
//!
//! Who has found out an id without the lock, or looks up a name for one, asks afterwards how old the row's name is: a record
//! that is older has not that tag.
//!
//! - **G1** An item is only ever listed under, said to have, or evicted with the tag that it was put with.
//! - **G2** No row is taken over that has an item, or had one before the commit, or that the transaction refers to which looks
//!   for one.
//!
//! Rows of namespaces, and of the tags in caches within the store, are used by their ids without the lock: they stay.

use crate::error::{Corruption, Error, Result};
use crate::os::{Access, Os, OsMap};
use crate::storage::location::Location;
use crate::storage::namespace::{Kind, Label, Namespace, parse_name};
use crate::storage::paths::Name;
use crate::storage::record::{Draft, TAKEN_OVER, Type};
use crate::storage::redo::Place;
use crate::storage::state::{self, LIVE_NAME, row_word};
use crate::storage::tag_table::{self, CHUNKS_MAX, Probe, RowPlace, TagHash, row};

use super::commit::{Commit, Made, signed};
use super::limit::Purpose;
use super::lock::Locked;
use super::store::Store;

/// A tag as a commit sees it.
#[derive(Clone, Copy, Debug)]
pub struct TagRow {
    pub id: u32,
    pub place: RowPlace,
    /// The commit has to write the tag's name into the log.
    pub is_new: bool,
    /// The row was that of another tag.
    pub is_taken_over: bool,
}

impl TagRow {
    /// A row that has its name in the log.
    pub(super) fn named(place: RowPlace) -> TagRow {
        TagRow { id: tag_table::id_of(place), place, is_new: false, is_taken_over: false }
    }
}

/// What the log says of a row.
pub(super) struct Named {
    pub setting: u64,
    pub name: String,
    /// Of a tag: items that are older are not of it.
    since: u64,
}

fn place_in(row: RowPlace) -> Place {
    Place::Tags(row.chunk as u32)
}

impl<O: Os> Commit<'_, O> {
    /// The row of a tag, if it has one.
    pub fn find_tag(&mut self, label: Label<'_>) -> Result<Option<RowPlace>> {
        let hash = TagHash::new(self.store.seed, label);
        for chunk in (0..self.chunks()).rev() {
            self.map_chunk(chunk)?;
            let load = |offset| self.word(Place::Tags(chunk as u32), offset);
            if let Probe::Found(offset) = tag_table::find(hash, chunk, load) {
                return Ok(Some(RowPlace { chunk, offset }));
            }
        }
        Ok(None)
    }

    /// The row of a tag, made if need be.
    #[inline(never)]
    pub fn tag(&mut self, label: Label<'_>) -> Result<TagRow> {
        if let Some(place) = self.find_tag(label)? {
            return Ok(TagRow::named(place));
        }
        let hash = TagHash::new(self.store.seed, label);
        for chunk in 0..CHUNKS_MAX {
            if chunk == self.chunks() {
                self.make_chunk(chunk)?;
            }
            self.map_chunk(chunk)?;
            let load = |offset| self.word(Place::Tags(chunk as u32), offset);
            let found = match tag_table::find(hash, chunk, load) {
                Probe::Free(offset) => Some((RowPlace { chunk, offset }, false)),
                _ => self.row_without_items(hash, chunk, label.kind).map(|place| (place, true)),
            };
            if let Some((place, is_taken_over)) = found {
                if is_taken_over {
                    // What it counts may be what was cleared.
                    self.count_anew(place);
                }
                let since = if label.kind.is_inner() { 0 } else { self.state(state::CLEARED) };
                for (word, value) in
                    [(row::HASH_LOW, hash.low), (row::HASH_HIGH, hash.high), (row::COUNTED_SINCE, since)]
                {
                    self.stage(place_in(place), place.offset + word, value);
                }
                return Ok(TagRow { is_new: true, is_taken_over, ..TagRow::named(place) });
            }
        }
        Err(Error::Full)
    }

    /// A row that a new tag may take over (G2): until the commit is visible, readers find the items that there were before it.
    fn row_without_items(&self, hash: TagHash, chunk: usize, kind: Kind) -> Option<RowPlace> {
        if kind != Kind::Tag {
            return None;
        }
        tag_table::probe(hash, chunk).map(|offset| RowPlace { chunk, offset }).find(|&place| {
            self.kind_of_tag(place) == Kind::Tag
                && self.items_of_tag(place) == 0
                && (self.had_no_items(place) || seeded!("rows_are_taken_over_by_who_empties_them"))
                && (!self.held_tags.contains(&tag_table::id_of(place)) || seeded!("rows_in_use_are_taken_over"))
        })
    }

    /// True if a tag's row had no items before this commit.
    fn had_no_items(&self, place: RowPlace) -> bool {
        let cleared = self.store.state.load(state::CLEARED);
        self.map_of(place_in(place)).is_some_and(|map| {
            map.load(place.offset + row::COUNTED_SINCE) != cleared || map.load(place.offset + row::LIVE) == 0
        })
    }

    /// Step 1 for a row that is taken over, once there is room for the mark: its former name counts no more.
    pub(super) fn end_former_tag(&mut self, tag: TagRow) -> Result<()> {
        let former = self.name_before(tag)?;
        if !seeded!("rows_are_taken_over_without_a_mark") {
            self.append(&Draft { kind: TAKEN_OVER, tag: tag.id, ..Draft::bare(Type::TagEvicted, self.sequence) })?;
            self.stage_eviction(tag.place)?;
        }
        if let Some(former) = former {
            self.add_state(row_word(former.slot(), state::row::LIVE), -LIVE_NAME);
        }
        Ok(())
    }

    /// Remembers where a new tag's name stands in the log.
    pub fn stage_tag_name(&mut self, place: RowPlace, name: Location) {
        self.stage(place_in(place), place.offset + row::NAME, name.bits());
    }

    /// Where the name of a tag stands in the log, as bits; 0 if it is nowhere.
    pub fn name_of_tag(&mut self, place: RowPlace) -> Result<u64> {
        if place.chunk >= self.chunks() {
            return Ok(0);
        }
        self.map_chunk(place.chunk)?;
        Ok(self.word(place_in(place), place.offset + row::NAME))
    }

    /// The row of a tag, if its name stands at that place.
    pub(super) fn row_named_at(&mut self, id: u32, here: Location) -> Result<Option<RowPlace>> {
        let Some(place) = tag_table::place_of(id) else { return Ok(None) };
        Ok((self.name_of_tag(place)? == here.bits()).then_some(place))
    }

    /// Counts items and bytes in or out of a tag.
    #[inline(never)]
    pub fn count_tag(&mut self, place: RowPlace, items: i64, bytes: i64) {
        let tags = place_in(place);
        let kind = self.kind_of_tag(place);
        if !kind.is_inner() {
            self.count_anew(place);
        }
        for (word, delta) in [(row::LIVE, items), (row::BYTES, bytes)] {
            self.add(tags, place.offset + word, delta);
        }
        if kind.is_kept() {
            self.add_state(state::LASTING_BYTES, bytes);
        }
    }

    /// Begins the counts of a tag anew if everything was cleared since.
    #[inline]
    fn count_anew(&mut self, place: RowPlace) {
        let (since, tags) = (self.state(state::CLEARED), place_in(place));
        if self.word(tags, place.offset + row::COUNTED_SINCE) == since || seeded!("tags_count_what_was_cleared") {
            return;
        }
        for (word, value) in [(row::LIVE, 0), (row::BYTES, 0), (row::COUNTED_SINCE, since)] {
            self.stage(tags, place.offset + word, value);
        }
    }

    /// What a row stands for.
    #[inline]
    pub(super) fn kind_of_tag(&self, place: RowPlace) -> Kind {
        tag_table::kind_of(self.word(place_in(place), place.offset + row::HASH_HIGH))
    }

    /// What the row of a tag's id stands for; a tag if there is no such row.
    pub(super) fn kind_of_tag_id(&mut self, id: u32) -> Result<Kind> {
        match tag_table::place_of(id) {
            Some(place) if place.chunk < self.chunks() => {
                self.map_chunk(place.chunk)?;
                Ok(self.kind_of_tag(place))
            }
            _ => Ok(Kind::Tag),
        }
    }

    /// The count of items that one with such a row is in.
    #[inline]
    pub(super) fn count_of(&self, place: Option<RowPlace>) -> usize {
        match place {
            Some(place) if self.kind_of_tag(place).is_inner() => state::INNER,
            _ => state::LIVE,
        }
    }

    /// The items that count as a tag's.
    pub(super) fn items_of_tag(&self, place: RowPlace) -> u64 {
        let word = |word| self.word(place_in(place), place.offset + word);
        let current = self.kind_of_tag(place).is_inner() || word(row::COUNTED_SINCE) == self.state(state::CLEARED);
        if current { word(row::LIVE) } else { 0 }
    }

    /// Stages the words that make all items of a tag dead that are older than this commit.
    pub(super) fn stage_eviction(&mut self, place: RowPlace) -> Result<()> {
        let tags = place_in(place);
        let kind = self.kind_of_tag(place);
        if kind == Kind::Index {
            self.drop_order(Namespace { kind, id: tag_table::id_of(place) })?;
        }
        let items = self.items_of_tag(place);
        let before = self.word(tags, place.offset + row::EVICTED);
        self.stage(tags, place.offset + row::EVICTED_BEFORE, before);
        let mark = self.sequence - u64::from(seeded!("eviction_marks_the_commit_before"));
        self.stage(tags, place.offset + row::EVICTED, mark);
        self.stage_ended();
        if kind.is_kept() {
            let bytes = self.word(tags, place.offset + row::BYTES);
            self.add_state(state::LASTING_BYTES, -signed(bytes));
        }
        self.stage(tags, place.offset + row::LIVE, 0);
        self.stage(tags, place.offset + row::BYTES, 0);
        let count = self.count_of(Some(place));
        let live = self.state(count);
        self.stage_state(count, live.saturating_sub(items));
        Ok(())
    }

    fn chunks(&self) -> usize {
        usize::try_from(self.state(state::TAG_CHUNKS)).unwrap_or(0).min(CHUNKS_MAX)
    }

    fn map_chunk(&mut self, chunk: usize) -> Result<()> {
        if self.view.tags(chunk).is_none() {
            self.store.map_tags(chunk)?;
            self.refresh_view();
        }
        Ok(())
    }

    #[cold]
    fn make_chunk(&mut self, chunk: usize) -> Result<()> {
        let bytes = tag_table::chunk_bytes(chunk) as u64;
        self.admit(bytes, Purpose::Store)?;
        self.make_chunk_file(Name::Tags(chunk as u64), bytes, bytes, Made::Tags(chunk))?;
        self.stage_state(state::TAG_CHUNKS, chunk as u64 + 1);
        Ok(())
    }
}

impl<O: Os> Store<O> {
    /// Evicts every item of a tag by one commit. The number of items that counted as live.
    pub fn evict(&self, label: Label<'_>) -> Result<u64> {
        self.before_change()?;
        let attempt = || {
            let locked = self.lock()?;
            let items = self.evict_by(&locked, label)?;
            Ok((items, locked.newest()))
        };
        let (items, newest) = match attempt() {
            Err(Error::Full) => self.until_there_is_room(Purpose::Free, attempt)?,
            outcome => outcome?,
        };
        self.after_change(newest)?;
        Ok(items)
    }

    fn evict_by(&self, locked: &Locked<'_, O>, label: Label<'_>) -> Result<u64> {
        let mut commit = Commit::new(locked)?;
        let Some(place) = commit.find_tag(label)? else { return Ok(0) };
        let items = commit.items_of_tag(place);
        // What was evicted for want of room may be found by a rebuild, and is to be dead then (K7).
        if items == 0 && !self.has_evicted() {
            return Ok(0);
        }
        let mut draft = Draft::bare(Type::TagEvicted, commit.sequence);
        draft.tag = tag_table::id_of(place);
        draft.alone = true;
        commit.reserve(draft.size(), true, Purpose::Free)?;
        commit.append(&draft)?;
        commit.stage_eviction(place)?;
        commit.publish()?;
        Ok(items)
    }

    /// The name of the tag that a record of that sequence has. `None` for no tag, and for a record that is gone and whose tag
    /// has lost its row.
    pub fn tag_name(&self, id: u32, sequence: u64) -> Result<Option<String>> {
        let name = self.named(id)?.filter(|name| name.since <= sequence || seeded!("names_are_of_any_age"));
        Ok(name.map(|name| name.name))
    }

    /// From which sequence on a record with that id has the tag of that name. `None` if none has: the row is another's.
    pub fn tag_since(&self, label: Label<'_>, id: u32) -> Result<Option<u64>> {
        let name = self.named(id)?.filter(|name| name.name == label.name);
        Ok(name.map(|name| name.since))
    }

    /// What the log says of a row. `None` for no tag.
    pub(super) fn named(&self, id: u32) -> Result<Option<Named>> {
        let Some(place) = tag_table::place_of(id) else { return Ok(None) };
        if place.chunk as u64 >= self.state.load(state::TAG_CHUNKS) {
            return Ok(None);
        }
        let chunk = self.map_tags(place.chunk)?;
        loop {
            let word = chunk.load(place.offset + row::NAME);
            if word == 0 {
                // The record of the name was damaged, and the store repaired.
                return Ok(None);
            }
            let read = self.name_at(id, place, Location::from_bits(word));
            // The name may have been written again elsewhere meanwhile, and what it was read from given back.
            if read.is_ok() || chunk.load(place.offset + row::NAME) == word {
                return read.map(Some);
            }
        }
    }

    fn name_at(&self, id: u32, place: RowPlace, location: Location) -> Result<Named> {
        let path = self.paths.of(Name::Tags(place.chunk as u64));
        let damaged = || Error::corrupt(&path, place.offset as u64, Corruption::Index);
        let slot = location.slot();
        let segment_id = self.segment_in(slot);
        let view = self.enter()?;
        let segment = match view.segment(slot, segment_id) {
            Some(segment) => std::sync::Arc::clone(segment),
            None if segment_id == 0 => return Err(damaged()),
            None => self.map_segment(slot, segment_id, Access::Read)?,
        };
        let record = self.record_at(&segment, location).ok_or_else(damaged)?;
        if record.header.kind_of_record != Type::TagDefined || record.header.tag != id {
            return Err(damaged());
        }
        let mut bytes = Vec::new();
        if !record.append_value(&mut bytes) {
            return Err(damaged());
        }
        let kind = Kind::from_bits(record.header.kind.into()).ok_or_else(damaged)?;
        let (setting, name) = parse_name(kind, &bytes).ok_or_else(damaged)?;
        // A namespace's name is written again with each setting.
        let since = if kind == Kind::Tag { record.header.sequence } else { 0 };
        Ok(Named { setting, name: name.to_owned(), since })
    }

    /// The id of a tag by name, without the lock; `None` if it was never used.
    pub fn tag_id(&self, label: Label<'_>) -> Result<Option<u32>> {
        let hash = TagHash::new(self.seed, label);
        let chunks = usize::try_from(self.state.load(state::TAG_CHUNKS)).unwrap_or(0).min(CHUNKS_MAX);
        for chunk in (0..chunks).rev() {
            let map = self.map_tags(chunk)?;
            if let Probe::Found(offset) = tag_table::find(hash, chunk, |offset| map.load(offset)) {
                return Ok(Some(tag_table::id_of(RowPlace { chunk, offset })));
            }
        }
        Ok(None)
    }
}
