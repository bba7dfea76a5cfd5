//! Giving space back: the oldest segment of a stream is the *victim*, and what is to stay of it is moved, bit by bit, until
//! nothing is left and it can go. This file carries that out; which stream gives the victim and what stays is the
//! business of `policy`, and when it is done at all that of `pressure`.
//!
//! There are two streams of segments. Every commit appends to the *commit stream*. What survives the end of a segment is
//! copied to the *main stream*, with the sequence and the place in the order of insertion that it had. Each stream loses its oldest
//! segment first. A copy is made by a commit of its own, whose batch stands in the main stream and nowhere else.
//!
//! # A quantum
//!
//! Under the lock, at most [`RECORDS`] records and [`BYTES`] bytes of survivors:
//!
//! 1. Read records of the victim from the *hand* on, which says how far the walk is; fetch their buckets.
//! 2. For each put whose cell still leads here: it stays, or it is evicted and its cell emptied. Expired and dead ones go.
//! 3. What has to outlive the victim although it is no item is carried over: names of tags, and what says that something in
//!    the main stream is dead (below).
//! 4. Make room in the main stream and write one batch: the survivors and what is carried.
//! 5. One commit: the cells lead to the copies, the counts follow, the hand moves on. Once it is at the end of a sealed
//!    victim, the next quantum, which changes no cell, frees the victim's row, and its file waits to be unlinked.
//!
//! Readers notice nothing: the copy has the sequence of the original, and whoever was on the way to the original sees
//! another cell and begins again. A death before the commit leaves a batch at the main tail, which is emptied like one
//! at the other tail.
//!
//! # What a rebuild needs
//!
//! Replaying both streams must not bring back what was replaced, removed, cleared or evicted by tag. As long as the record
//! that did so is in the commit stream, it sees to that. When it leaves:
//!
//! - **K1** A put or removal whose key had its record in the main stream says so (`over_main`). Leaving, it leaves a `dead`
//!   record in the main stream: nothing older of that key counts there.
//! - **K2** A `clear` and an eviction of a tag are copied with their sequences.
//! - **K3** These need not be copied again when their own segment is the victim: every other segment of the main stream was
//!   begun after them, and copies are made of what is alive.
//! - **K4** A segment goes only after everything that it left is durable (`carried`), if any of it is of this kind, or nothing
//!   may be lost (`Eviction::None`). An item that was to survive and is lost with the power was evicted, so to speak.
//! - **K5** A victim of the main stream is walked to its end, and unlinked, before the next one of the commit stream: an item
//!   that was evicted from the first half of a segment, put again, and evicted again, would else be there in its first
//!   version.
//! - **K6** A copy counts only if its sequence is not beyond the end of the commit stream, so a prefix stays a prefix.
//!   What is left out for that stays out of every later rebuild (K9 in `voids`).
//! - **K7** No record says that an item was evicted, so until its segment is gone for good a rebuild may find it. A removal
//!   of a key that is absent is therefore written down once anything was evicted (`remove_evicted`).
//! - **K8** A segment of the commit stream that was cleared goes without a look at its records only after everything in the
//!   main stream that is older than the `clear`: a power cut may take the `clear`, and what it cleared in the one stream
//!   may have been the end of something in the other.
//!
//! What was evicted for space and not removed since may be back after a rebuild, in the version that was evicted.

mod moves;

use std::mem::take;
use std::sync::atomic::Ordering;

use crate::error::Result;
use crate::os::{Access, Os, OsMap};
use crate::storage::location::{Location, Tail};
use crate::storage::namespace::is_inner;
use crate::storage::record::{BATCH_RECORD, DEAD_VALUE, Draft, Header, Type};
use crate::storage::state::{self, Retiree, row, row_word};
use crate::storage::tag_table;

use super::cells::{CellPlace, Old};
use super::commit::Commit;
use super::limit::Purpose;
use super::lock::Locked;
use super::log::Batches;
use super::notices::Notice;
use super::policy::{Judge, Victim, hand_word};
use super::read::Life;
use super::statistics::Counter;
use super::store::Store;

/// Records looked at in one quantum.
const RECORDS: usize = 64;
/// The same if no cell leads to any of them.
const DEAD_RECORDS: usize = 1024;
/// Bytes of survivors moved in one quantum.
const BYTES: usize = 64 << 10;
/// Large values evicted in one quantum: each gives back by itself what may be all that is needed.
const LARGE_VALUES: usize = 1;

/// What a quantum came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There is no victim, or nothing that could be done to it.
    Nothing,
    /// The victim can go, once something has left the ring of retirees.
    RingFull,
    /// The hand has moved, and so many items have gone.
    Moved(u64),
}

/// A record of the victim.
struct Candidate {
    location: Location,
    header: Header,
    key: std::ops::Range<usize>,
    hash: u64,
}

/// What is going to be written to the main stream.
enum Kept {
    /// The record with that number among the candidates, whose cell is this one, with its mark, and whether it may never be
    /// evicted.
    Item { candidate: usize, old: Old, cell: CellPlace, mark: u64, lasts: bool },
    /// The name of a tag, and its row.
    Name { candidate: usize, place: tag_table::RowPlace },
    /// A mark of an eviction or a clear.
    Mark { candidate: usize },
    /// The key of a record whose older versions in the main stream are dead.
    Dead { candidate: usize },
}

impl Kept {
    fn candidate(&self) -> usize {
        match *self {
            Kept::Item { candidate, .. }
            | Kept::Name { candidate, .. }
            | Kept::Mark { candidate }
            | Kept::Dead { candidate } => candidate,
        }
    }
}

/// What a quantum has left to do of a victim.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Walk {
    GoesOn,
    Ends,
    /// It was at the end, and something seems to lead into the victim still.
    InVain,
}

/// A quantum under way.
struct Quantum<'c, 'l, O: Os> {
    store: &'l Store<O>,
    commit: &'c mut Commit<'l, O>,
    victim: Victim,
    candidates: Vec<Candidate>,
    keys: Vec<u8>,
    kept: Vec<Kept>,
    /// Bytes of what is kept, in the log.
    bytes: usize,
    evicted: u64,
    expired: u64,
    notices: Vec<Notice>,
}

impl<O: Os> Store<O> {
    /// One quantum.
    #[cold]
    pub(super) fn compact(&self, locked: &Locked<'_, O>) -> Result<Step> {
        self.compact_some(locked, RECORDS)
    }

    /// One quantum of another size.
    #[cold]
    pub(super) fn compact_some(&self, locked: &Locked<'_, O>, records: usize) -> Result<Step> {
        let mut commit = Commit::to_main(locked)?;
        let Some(victim) = self.victim(&commit)? else { return Ok(Step::Nothing) };
        if victim.is_at_end() && !commit.can_retire() {
            return Ok(Step::RingFull);
        }
        let judge = self.judge(&commit, &victim);
        let mut quantum = Quantum {
            store: locked.store,
            commit: &mut commit,
            victim,
            candidates: Vec::with_capacity(records),
            keys: Vec::new(),
            kept: Vec::new(),
            bytes: 0,
            evicted: 0,
            expired: 0,
            notices: Vec::new(),
        };
        let hand = quantum.look(if judge.is_dead { DEAD_RECORDS / RECORDS * records } else { records })?;
        let done = quantum.decide(&judge)?;
        // The first candidate that was not decided on is the next to be looked at.
        let hand = quantum.candidates.get(done).map_or(hand, |next| next.location.offset() as u64);
        if hand == victim.hand && !victim.is_at_end() {
            return Ok(Step::Nothing);
        }
        let left = quantum.write(&judge)?.and_then(|left| quantum.candidates.get(left));
        let hand = left.map_or(hand, |left| left.location.offset() as u64);
        let (evicted, expired, notices) = (quantum.evicted, quantum.expired, take(&mut quantum.notices));
        let moved = quantum.bytes as u64;
        let walk = commit.move_hand(&victim, hand);
        commit.publish()?;
        drop(commit);
        let progressed = walk == Walk::GoesOn;
        self.state.store(state::KEPT, if progressed { self.state.load(state::KEPT) + moved } else { 0 });
        self.state.store(state::COPIED, self.state.load(state::COPIED).wrapping_add(moved));
        if !notices.is_empty() {
            self.notices.add(notices);
            self.retires.store(true, Ordering::Relaxed);
        }
        self.count_now(Counter::Culled, evicted);
        self.count_now(Counter::Expirations, expired);
        // The same victim would be walked again, and give no more than now.
        let is_in_vain = walk == Walk::InVain && !seeded!("walks_in_vain_have_no_end");
        Ok(if is_in_vain { Step::Nothing } else { Step::Moved(evicted + expired) })
    }
}

impl<'l, O: Os> Quantum<'_, 'l, O> {
    /// Step 1. Where the records end that were read.
    fn look(&mut self, records: usize) -> Result<u64> {
        let Victim { slot, id, end, .. } = self.victim;
        let segment = self.store.map_segment(slot, id, Access::Read)?;
        self.commit.refresh_view();
        let end = usize::try_from(end).unwrap_or(0).min(segment.map.len());
        let mut at = usize::try_from(self.victim.hand).unwrap_or(end);
        let word = self.store.state.load(state::GEOMETRY);
        while self.candidates.len() < records && at < end {
            let Some(header) = Header::read(&segment.map, at, end) else {
                // Damage: what can be reached behind it is looked at next.
                let mut batches = Batches::of(&segment.map, id, segment.nonce, end);
                batches.offset = at;
                at = if batches.skip_damage() { batches.offset } else { end };
                continue;
            };
            let start = self.keys.len();
            let mut hash = 0;
            if matches!(header.kind_of_record, Type::Put | Type::Removal) {
                let (key, len) = header.key_range(at);
                let read = segment.map.append_to(key, len, &mut self.keys);
                debug_assert!(read, "the header was checked against the end");
                hash = self.store.hash(&self.keys[start..]);
                self.store.prefetch_home(&self.commit.view, word, hash);
            }
            let location = Location::new(slot, at as u64);
            self.candidates.push(Candidate { location, header, key: start..self.keys.len(), hash });
            at += header.size();
        }
        Ok(at as u64)
    }

    /// Steps 2 and 3. How many candidates were decided on.
    fn decide(&mut self, judge: &Judge) -> Result<usize> {
        let mut large_values = 0;
        for i in 0..self.candidates.len() {
            if self.bytes >= BYTES || large_values >= LARGE_VALUES {
                return Ok(i);
            }
            let Candidate { header, location, .. } = self.candidates[i];
            match header.kind_of_record {
                Type::Put | Type::Removal if judge.is_dead => {}
                Type::Put => {
                    let evicted = self.decide_on_item(i, judge)?;
                    large_values += usize::from(evicted && header.is_large());
                }
                _ if self.victim.is_gleaned() => {}
                Type::TagDefined => {
                    if let Some(place) = self.commit.row_named_at(header.tag, location)? {
                        self.keep(Kept::Name { candidate: i, place }, header.size());
                    }
                }
                Type::TagEvicted | Type::Cleared
                    if !self.victim.is_main && judge.has_main && !seeded!("marks_go_with_their_segment") =>
                {
                    self.keep(Kept::Mark { candidate: i }, header.size());
                }
                Type::Removal => self.empty_removal(i)?,
                Type::TagEvicted | Type::Cleared | Type::Batch | Type::Dead | Type::Joint => {}
            }
            if self.may_end_a_copy(&header) && judge.has_main && !seeded!("nothing_says_what_is_dead") {
                self.keep(Kept::Dead { candidate: i }, Draft::bare(Type::Dead, 0).size() + DEAD_VALUE);
            }
        }
        Ok(self.candidates.len())
    }

    /// True if a candidate replaced or removed what stands in the main stream, as it says (K1). One that a rebuild or a repair has
    /// found may have come after an eviction from there, which it does not say, as the segment was to go first (K5): what was
    /// walked of that is forgotten since.
    fn may_end_a_copy(&self, header: &Header) -> bool {
        let was_found = !self.victim.is_main && self.victim.id < self.store.state.load(state::FOUND);
        let is_change = matches!(header.kind_of_record, Type::Put | Type::Removal);
        header.over_main || (was_found && is_change && !seeded!("rebuilds_forget_what_was_walked"))
    }

    fn keep(&mut self, kept: Kept, bytes: usize) {
        self.kept.push(kept);
        self.bytes += bytes;
    }

    /// The cell that leads to a candidate, if one still does.
    fn cell_of(&mut self, i: usize) -> Result<Option<(Old, CellPlace)>> {
        let Candidate { location, ref key, hash, .. } = self.candidates[i];
        let place = self.commit.locate(&self.keys[key.clone()], hash)?;
        Ok(place.led_to(location))
    }

    /// True if the item was evicted.
    fn decide_on_item(&mut self, i: usize, judge: &Judge) -> Result<bool> {
        let Some((old, cell)) = self.cell_of(i)? else { return Ok(false) };
        let hash = self.candidates[i].hash;
        let is_borrowed = self.commit.is_borrowed(&old);
        let dies = (old.life != Life::Live || self.store.has_expired(old.header.expires)) && !is_borrowed;
        if dies && (!self.victim.is_gleaned() || old.header.is_large()) {
            self.expired += u64::from(old.life == Life::Expired);
            self.commit.empty_cell(&old, &cell);
            return Ok(true);
        }
        let index = self.commit.index(cell.table).map(std::sync::Arc::clone);
        let Some(index) = index else { return Ok(false) };
        let mark = self.store.mark(&index.map, cell.offset);
        if self.victim.is_gleaned() {
            let lasts = old.header.is_large() && (is_borrowed || self.lasts(&old)?);
            let stays = judge.stays(mark, 0).or(lasts.then_some(mark));
            return Ok(self.glean(&old, &cell, &index.map, stays));
        }
        // A copy has its order with it, which the original may have had in its place.
        let size = old.header.with_order(0).size();
        let lasts = is_borrowed || self.lasts(&old)?;
        if let Some(mark) = judge.stays(mark, self.bytes + size).or(lasts.then_some(mark)) {
            self.keep(Kept::Item { candidate: i, old, cell, mark, lasts }, size);
            return Ok(false);
        }
        if judge.remembers {
            self.store.remember(&index.map, cell.table, hash);
        }
        self.evict(&old, &cell);
        Ok(true)
    }

    /// True if an item is never evicted.
    fn lasts(&mut self, old: &Old) -> Result<bool> {
        Ok(old.header.tag != 0
            && !seeded!("what_lasts_is_evicted")
            && self.commit.kind_of_tag_id(old.header.tag)?.is_kept())
    }

    /// What becomes of an item that stands where survivors go. True if it was evicted.
    fn glean(&mut self, old: &Old, cell: &CellPlace, index: &O::Map, stays: Option<u64>) -> bool {
        match stays {
            _ if !old.header.is_large() => false,
            Some(mark) => {
                self.store.set_mark(index, cell.offset, mark);
                false
            }
            None => {
                self.evict(old, cell);
                true
            }
        }
    }

    fn evict(&mut self, old: &Old, cell: &CellPlace) {
        self.evicted += 1;
        if self.store.notices.are_wanted() {
            let notice = self.commit.notice_of(old);
            // A user knows nothing of keys in namespaces.
            self.notices.extend(notice.filter(|notice| !is_inner(&notice.key)));
        }
        self.commit.empty_cell(old, cell);
    }

    /// A cell that leads to a removal counts in its segment as any does, and is of no use.
    fn empty_removal(&mut self, i: usize) -> Result<()> {
        if let Some((old, cell)) = self.cell_of(i)? {
            self.commit.empty_cell(&old, &cell);
        }
        Ok(())
    }

    /// Step 4. If there is no room for survivors, some of them are evicted like the rest, where that may be. The number of the
    /// first candidate that is left for the next quantum, if any is.
    fn write(&mut self, judge: &Judge) -> Result<Option<usize>> {
        let mut kept = take(&mut self.kept);
        if kept.is_empty() {
            return Ok(None);
        }
        let mut left = self.fit_behind_tail(&mut kept);
        let mut room = self.commit.open_batch(BATCH_RECORD + self.bytes, Purpose::Compact);
        if matches!(room, Err(crate::error::Error::Full)) && judge.evicts {
            left = self.give_up(&mut kept).or(left);
            if kept.is_empty() {
                return Ok(left);
            }
            let lasts = kept.iter().any(|one| matches!(one, Kept::Item { .. }));
            let purpose = if lasts { Purpose::Compact } else { Purpose::Renew };
            room = self.commit.open_batch(BATCH_RECORD + self.bytes, purpose);
        }
        let batch = room?;
        let mut carried = false;
        for one in &kept {
            carried |= judge.loses_nothing || !matches!(one, Kept::Item { lasts: false, .. });
            self.write_one(one)?;
        }
        if self.commit.end_batch(batch)? && carried {
            self.commit.stage_carried();
        }
        Ok(left)
    }

    fn write_one(&mut self, kept: &Kept) -> Result<()> {
        match *kept {
            Kept::Item { candidate, old, cell, mark, .. } => self.move_item(candidate, &old, &cell, mark),
            Kept::Name { candidate, place } => self.move_name(candidate, place),
            Kept::Mark { candidate } => {
                let header = self.candidates[candidate].header;
                let mark =
                    Draft { kind: header.kind, tag: header.tag, ..Draft::bare(header.kind_of_record, header.sequence) };
                self.commit.append(&mark).map(drop)
            }
            Kept::Dead { candidate } => {
                let Candidate { hash, header, .. } = self.candidates[candidate];
                let value = hash.to_le_bytes();
                self.commit.append(&Draft { value: &value, ..Draft::bare(Type::Dead, header.sequence) }).map(drop)
            }
        }
    }
}

impl<O: Os> Commit<'_, O> {
    /// Empties a cell and counts out what it led to.
    pub(super) fn empty_cell(&mut self, old: &Old, cell: &CellPlace) {
        self.stage_cell(cell.table, cell.offset, cell.bits, 0);
        if old.header.kind_of_record == Type::Put && matches!(old.life, Life::Live | Life::Expired) {
            let count = self.count_of(tag_table::place_of(old.header.tag));
            self.add_state(count, -1);
        }
        self.count_replaced(old, false);
    }

    /// Step 5. Where the walk is at its end the victim goes; if a cell still seems to lead into it, it stays.
    fn move_hand(&mut self, victim: &Victim, hand: u64) -> Walk {
        let (place, id) =
            if victim.is_main { (state::MAIN_HAND, state::MAIN_HAND_ID) } else { (state::HAND, state::HAND_ID) };
        let at_end = hand >= victim.end && !victim.is_open;
        // A victim that this quantum emptied goes with the next one (I9).
        let is_emptied = self.is_led_into(victim.slot) && self.state(row_word(victim.slot, row::LIVE)) == 0;
        if !at_end || is_emptied || !self.can_retire() {
            let word = hand_word(victim, hand);
            self.stage_state(place, Tail { slot: victim.slot, offset: hand, epoch: 0 }.bits());
            self.stage_state(id, word);
            return if at_end { Walk::Ends } else { Walk::GoesOn };
        }
        self.stage_state(id, 0);
        if self.state(row_word(victim.slot, row::LIVE)) != 0 {
            // What leads here cannot be read, or the counts are wrong: the next to open alone looks at everything.
            self.store.state.store(state::SUSPECT, 1);
            return Walk::InVain;
        }
        let bytes = self.state(row_word(victim.slot, row::ALLOCATED));
        self.stage_state(row_word(victim.slot, row::ID), 0);
        self.retire(Retiree::Segment(victim.id), bytes);
        Walk::Ends
    }
}
