//! Putting right what a check found: the index and every count are made anew from the records that are whole. Done under
//! the lock and published by one commit, so that readers go from the old index to the new one at once.
//!
//! 1. Check. If nothing is wrong, nothing is done.
//! 2. Replay the log in order, past damaged places: which record each key has, which tags there are and up to when each is
//!    evicted. What the index, the tag table and the marks say is not asked.
//! 3. Make a new index table of it, without what is dead and without large values that cannot be read.
//! 4. Stage the table, `LIVE`, the segment rows, the tag rows, the marks and the volume; publish.
//! 5. The files of large values that nothing refers to go once that is durable, if a sync has vouched for any (`strays`).
//!
//! A removal whose record is damaged is forgotten: what it removed may be back. That is the price of keeping all that
//! is whole.

use std::collections::{HashMap, HashSet};

use crate::error::Result;
use crate::os::{Access, OpenMode, Os, OsFile, OsMap};
use crate::storage::index::{self, FILL, Geometry, LEVEL_MAX, LEVEL_MIN, Table, generation_after};
use crate::storage::location::{Entry, Location};
use crate::storage::namespace::{Kind, Label, is_inner, parse_element, parse_name};
use crate::storage::paths::Name;
use crate::storage::record::{Header, Type};
use crate::storage::redo::Place;
use crate::storage::segment::{self, MAIN};
use crate::storage::state::{self, HAS_INNER, HAS_LASTING, LIVE_NAME, Retiree, row, row_word};
use crate::storage::tag_table::{self, TagHash};

use super::cells::Old;
use super::check::{Progress, Report};
use super::commit::Commit;
use super::ends::Names;
use super::growth::fill_bucket;
use super::large::file_space;
use super::limit::Purpose;
use super::lock::Locked;
use super::log::{Batches, Found, Member};
use super::marks::Moved;
use super::queue::Span;
use super::store::Store;
use super::strays::unused_values;
use super::voids::read_voids;

/// Volume charged for the manifest, presences and directories.
pub const OVERHEAD: u64 = 64 << 10;

/// What the log says.
#[derive(Default)]
struct Truth {
    /// The newest record of each key, and its sequence.
    keys: HashMap<Vec<u8>, (Location, u64)>,
    /// By the hash of a key: what the main stream has of it with a smaller sequence is dead.
    dead: HashMap<u64, u64>,
    tags: HashMap<u32, TagTruth>,
    names: Names,
    cleared: u64,
}

/// What the log says of a tag.
#[derive(Default)]
struct TagTruth {
    name: Option<(TagHash, Location)>,
    /// The sequence of the name.
    named: u64,
    evicted: u64,
}

/// What the new table will hold, and what it counts up to.
#[derive(Default)]
struct Survivors {
    by_home: HashMap<u64, Vec<(u64, u64)>>,
    live: u64,
    /// Those in namespaces.
    inner: u64,
    /// By slot: live records, the earliest expiry, and the bytes of the live records.
    rows: HashMap<usize, (u64, u64, u64)>,
    tags: HashMap<u32, (u64, u64)>,
    /// The first and the last position of each queue.
    spans: HashMap<u32, (u64, u64)>,
    values: HashSet<u64>,
    value_bytes: u64,
    main_value_bytes: u64,
}

impl<O: Os> Store<O> {
    /// Checks and repairs. The report says what was wrong.
    pub fn repair(&self, progress: &mut dyn FnMut(Progress)) -> Result<Report> {
        self.enter()?;
        let locked = self.lock()?;
        let report = self.check_locked(&locked, progress)?;
        if report.is_clean() {
            return Ok(report);
        }
        let truth = self.replay_truth()?;
        self.publish_anew(&locked, truth)?;
        self.make_orders(&locked)?;
        drop(locked);
        self.epilogue_at_once();
        Ok(report)
    }

    /// Step 2.
    fn replay_truth(&self) -> Result<Truth> {
        let mut truth = Truth::default();
        let voids = read_voids(&self.os, &self.paths, self.store_id)?;
        let mut slots: Vec<usize> = (0..self.rows).filter(|&slot| self.segment_in(slot) != 0).collect();
        // The main stream first: what is in that of commits is as new, or newer.
        slots.sort_unstable_by_key(|&slot| self.segment_in(slot) ^ MAIN);
        let mut newest = 0u64;
        for slot in slots {
            let Ok(segment) = self.map_segment(slot, self.segment_in(slot), Access::Read) else { continue };
            let end = usize::try_from(self.committed_end(slot)).unwrap_or(0);
            let is_main = segment.id & MAIN != 0;
            let mut batches = Batches::of(&segment.map, segment.id, segment.nonce, end);
            loop {
                while let Some(found) = batches.next(end) {
                    let members = match found {
                        Found::Batch(members) => members,
                        // Nothing is known of the age of what the main stream has lost.
                        Found::Lost(_) if is_main => continue,
                        Found::Lost(members) => {
                            members
                                .iter()
                                .for_each(|member| truth.names.learn_lost(&member.header, newest.saturating_add(1)));
                            continue;
                        }
                    };
                    if !is_main {
                        newest = members.iter().map(|member| member.header.sequence).fold(newest, u64::max);
                    }
                    let counts = |member: &&Member| !is_main || !voids.have(member.header.sequence);
                    for member in members.iter().filter(counts) {
                        let bytes = |(at, len)| {
                            let mut bytes = Vec::new();
                            let _ = segment.map.append_to(at, len, &mut bytes);
                            bytes
                        };
                        let key = bytes(member.header.key_range(member.offset));
                        let value = || bytes(member.header.value_range(member.offset));
                        truth.learn(
                            (self.seed, is_main),
                            Location::new(slot, member.offset as u64),
                            &member.header,
                            key,
                            value,
                        );
                    }
                }
                if !batches.skip_damage() {
                    break;
                }
            }
        }
        let Truth { tags, names, .. } = &mut truth;
        for (&id, tag) in tags {
            tag.name.take_if(|(hash, _)| !names.count(id, tag_table::kind_of(hash.high), tag.named));
        }
        Ok(truth)
    }

    /// Steps 3 and 4.
    fn publish_anew(&self, locked: &Locked<'_, O>, mut truth: Truth) -> Result<()> {
        let found = std::mem::take(&mut truth.keys);
        let geometry = self.geometry()?;
        let newest = geometry.next.map_or(geometry.current, |(next, _)| next);
        let mut level = LEVEL_MIN;
        while level < LEVEL_MAX && FILL << level < found.len() as u64 {
            level += 1;
        }
        let table = Table { generation: generation_after(newest.generation), level, base: level };
        let mut commit = Commit::new(locked)?;
        let mut survivors = Survivors::default();
        for (key, (location, sequence)) in found {
            let Some(old) = commit.old_at(location)? else { continue };
            let evicted = truth.tags.get(&old.header.tag).map_or(0, |tag| tag.evicted);
            let hash = self.hash(&key);
            let dead = old.is_main() && truth.dead.get(&hash).is_some_and(|&end| sequence < end);
            if sequence >= evicted && (sequence >= truth.cleared || is_inner(&key)) && !dead {
                let entry = Entry::new(table.tag(hash), location).bits();
                self.keep(&commit, &mut survivors, &old, is_inner(&key), (table.home(hash), entry));
                if let Some((id, position)) = parse_element(&key) {
                    let (first, last) = survivors.spans.entry(id).or_insert((position, position));
                    (*first, *last) = (position.min(*first), position.max(*last));
                }
            }
        }
        commit.make_index(table, Purpose::Renew)?;
        let made = self.map_index(table)?;
        for (home, entries) in &survivors.by_home {
            fill_bucket(&mut commit, &made, *home, entries, &Moved::none())?;
        }
        commit.stage_state(state::GEOMETRY, Geometry { current: table, next: None }.bits());
        for old in [Some(geometry.current), geometry.next.map(|(next, _)| next)].into_iter().flatten() {
            let bytes = self.map_index(old).map_or(old.file_bytes(), |old| old.map.load(index::ALLOCATED));
            commit.retire(Retiree::Index(old.generation.into()), bytes.min(old.file_bytes()));
        }
        self.stage_counts(&mut commit, &survivors, &truth);
        self.stage_tags(&mut commit, &survivors, &truth)?;
        self.stage_unused(&mut commit, &survivors.values)?;
        // What goes right after this commit, for want of a place in the ring, counts no more.
        let goes = commit.unlink_after.iter().fold(0u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
        commit.stage_state(state::VOLUME, (self.space_of(Name::is_in_volume) + OVERHEAD).saturating_sub(goes));
        commit.publish()?;
        self.state.store(state::SUSPECT, 0);
        Ok(())
    }

    /// Step 5: the large values that nothing leads to count as strays, which go once this commit is durable, if a sync has vouched for
    /// any; but for those that the ring names, and those whose commits are not there yet.
    fn stage_unused(&self, commit: &mut Commit<'_, O>, used: &HashSet<u64>) -> Result<()> {
        let next = commit.state(state::NEXT_VALUE);
        let named: HashSet<u64> = self.retirees().map(|(_, bits)| bits).collect();
        commit.stage_state(state::STRAYS, 0);
        for (id, bytes) in unused_values(&self.os, &self.paths, used)? {
            if id < next && !named.contains(&Retiree::Value(id).bits()) {
                commit.stray(id, bytes);
            }
        }
        Ok(())
    }

    /// Counts one record in, unless it is a large value that cannot be read.
    fn keep(
        &self,
        commit: &Commit<'_, O>,
        survivors: &mut Survivors,
        old: &Old,
        is_inner: bool,
        (home, entry): (u64, u64),
    ) {
        let mut space = 0;
        if let Some(large) = commit.large_of(old) {
            if self.read_large(large).is_err() || !survivors.values.insert(large.file) {
                return;
            }
            space = file_space(large.len);
            survivors.value_bytes += space;
            survivors.main_value_bytes += if old.is_main() { space } else { 0 };
        }
        survivors.by_home.entry(home).or_default().push((entry, 0));
        *(if is_inner { &mut survivors.inner } else { &mut survivors.live }) += 1;
        let (live, earliest, bytes) = survivors.rows.entry(old.location.slot()).or_default();
        *live += 1;
        *bytes += old.header.size() as u64;
        let expires = old.header.expires;
        if expires != u64::MAX {
            *earliest = if *earliest == 0 { expires.max(1) } else { expires.clamp(1, *earliest) };
        }
        if old.header.tag != 0 {
            let (items, bytes) = survivors.tags.entry(old.header.tag).or_default();
            *items += 1;
            *bytes += old.header.size() as u64 + space;
        }
    }

    fn stage_counts(&self, commit: &mut Commit<'_, O>, survivors: &Survivors, truth: &Truth) {
        commit.stage_state(state::CLEARED, truth.cleared);
        commit.stage_state(state::CLEARED_BEFORE, 0);
        commit.stage_state(state::LIVE, survivors.live);
        commit.stage_state(state::INNER, survivors.inner);
        commit.stage_state(state::LARGE_BYTES, survivors.value_bytes);
        commit.stage_state(state::DEAD_LARGE_BYTES, 0);
        commit.stage_state(state::MAIN_LARGE_BYTES, survivors.main_value_bytes);
        commit.stage_state(state::FOUND, commit.state(state::NEXT_SEGMENT));
        // What was evicted may be back where the walks have been.
        commit.stage_state(state::HAND_ID, 0);
        commit.stage_state(state::MAIN_HAND_ID, 0);
        for slot in 0..self.rows {
            if self.segment_in(slot) == 0 {
                continue;
            }
            let (live, earliest, bytes) = survivors.rows.get(&slot).copied().unwrap_or_default();
            let id = self.segment_in(slot);
            if live == 0 && slot != commit.tail.slot && self.map_segment(slot, id, Access::Read).is_err() {
                // The segment cannot be read, and nothing leads there any more.
                let bytes = commit.state(row_word(slot, row::ALLOCATED));
                commit.stage_state(row_word(slot, row::ID), 0);
                commit.retire(Retiree::Segment(id), bytes);
                continue;
            }
            let defined = truth.tags.values().filter_map(|tag| tag.name);
            let names = defined.filter(|(_, location)| location.slot() == slot).count() as u64 * LIVE_NAME as u64;
            commit.stage_state(row_word(slot, row::LIVE), names + live);
            commit.stage_state(row_word(slot, row::EXPIRES_MIN), earliest);
            let dead = self.committed_end(slot).saturating_sub(segment::HEAD as u64 + bytes);
            commit.stage_state(row_word(slot, row::DEAD), dead);
        }
    }

    /// Every row of the tag table as the log has it; a row that the log does not know is free, if it may be.
    fn stage_tags(&self, commit: &mut Commit<'_, O>, survivors: &Survivors, truth: &Truth) -> Result<()> {
        let chunks = usize::try_from(commit.state(state::TAG_CHUNKS)).unwrap_or(0).min(tag_table::CHUNKS_MAX);
        let (mut lasting, mut namespaces) = (0u64, commit.state(state::NAMESPACES));
        for chunk in 0..chunks {
            self.map_tags(chunk)?;
            commit.refresh_view();
            let place = Place::Tags(chunk as u32);
            // Rows that may not be free, as others are behind them.
            let mut behind = HashSet::new();
            for offset in (0..tag_table::chunk_bytes(chunk)).step_by(tag_table::ROW_BYTES) {
                let id = tag_table::id_of(tag_table::RowPlace { chunk, offset });
                let (items, bytes) = survivors.tags.get(&id).copied().unwrap_or_default();
                let known = truth.tags.get(&id);
                let span = survivors.spans.get(&id).map(|&(first, last)| Span { first, len: last - first + 1 });
                let items = span.map_or(items, |span| span.len);
                let (hash, name) = known.and_then(|tag| tag.name).map_or((None, 0), |(h, at)| (Some(h), at.bits()));
                let kind = hash.map_or(Kind::Tag, |hash| tag_table::kind_of(hash.high));
                let own_word = match kind {
                    Kind::Tag => truth.cleared,
                    _ => span.map_or(0, Span::anchor),
                };
                lasting = lasting.saturating_add(if kind.is_kept() { bytes } else { 0 });
                namespaces |= if kind.is_lasting() { HAS_LASTING } else { 0 };
                namespaces |= if kind.is_inner() { HAS_INNER } else { 0 };
                let row = tag_table::RowPlace { chunk, offset };
                behind.extend(hash.into_iter().flat_map(|hash| tag_table::probed_before(hash, row)));
                let unnamed = if items == 0 { 0 } else { tag_table::LOST };
                for (word, value) in [
                    (tag_table::row::HASH_LOW, hash.map_or(unnamed, |hash| hash.low)),
                    (tag_table::row::HASH_HIGH, hash.map_or(0, |hash| hash.high)),
                    (tag_table::row::EVICTED, known.map_or(0, |tag| tag.evicted)),
                    (tag_table::row::EVICTED_BEFORE, 0),
                    (tag_table::row::LIVE, items),
                    (tag_table::row::BYTES, bytes),
                    (tag_table::row::COUNTED_SINCE, own_word),
                    (tag_table::row::NAME, name),
                ] {
                    if commit.word(place, offset + word) != value {
                        commit.stage(place, offset + word, value);
                    }
                }
            }
            for offset in behind {
                if commit.word(place, offset + tag_table::row::HASH_LOW) == 0 {
                    commit.stage(place, offset + tag_table::row::HASH_LOW, tag_table::LOST);
                }
            }
        }
        commit.stage_state(state::ORDER_STALE, 1);
        commit.stage_state(state::LASTING_BYTES, lasting);
        commit.stage_state(state::NAMESPACES, namespaces);
        Ok(())
    }

    /// Allocated bytes of those files in the store's directory that count.
    pub(super) fn space_of(&self, counts: impl Fn(&Name) -> bool) -> u64 {
        let names = self.os.list(self.paths.root()).unwrap_or_default();
        let files = names.iter().filter_map(|name| Name::parse(name)).filter(|name| !matches!(name, Name::Presences));
        files
            .filter(counts)
            .filter_map(|name| self.os.open(&self.paths.of(name), OpenMode::Read).ok()?.allocated().ok())
            .fold(0, u64::saturating_add)
    }
}

impl Truth {
    fn learn(
        &mut self,
        (seed, is_main): (u64, bool),
        location: Location,
        header: &Header,
        key: Vec<u8>,
        value: impl FnOnce() -> Vec<u8>,
    ) {
        let sequence = header.sequence;
        match header.kind_of_record {
            // What stands in the main stream was read before, and may be younger than what is met again here. Of two copies there the
            // later one counts, as in a rebuild.
            Type::Put => {
                let (there, newest) = self.keys.entry(key).or_insert((location, sequence));
                if *newest < sequence || (*newest == sequence && is_main) {
                    (*there, *newest) = (location, sequence);
                }
            }
            Type::Removal => {
                if self.keys.get(&key).is_some_and(|&(_, newest)| newest < sequence) {
                    self.keys.remove(&key);
                }
            }
            Type::Cleared => self.cleared = self.cleared.max(sequence),
            Type::TagEvicted => {
                self.names.learn(header, sequence);
                let evicted = &mut self.tags.entry(header.tag).or_default().evicted;
                *evicted = sequence.max(*evicted);
            }
            Type::TagDefined => {
                let value = value();
                if let Some(kind) = Kind::from_bits(header.kind.into())
                    && let Some((_, name)) = parse_name(kind, &value)
                {
                    let hash = TagHash::new(seed, Label { kind, name });
                    let tag = self.tags.entry(header.tag).or_default();
                    if tag.named <= sequence {
                        (tag.name, tag.named) = (Some((hash, location)), sequence);
                    }
                }
            }
            Type::Dead => {
                if let Some(hash) = value().first_chunk() {
                    let end = self.dead.entry(u64::from_le_bytes(*hash)).or_default();
                    *end = sequence.max(*end);
                }
            }
            Type::Batch | Type::Joint => {}
        }
    }
}
