//! Queues: items in a row under consecutive numbers, the positions, which grow and shrink at both ends. Each element is an
//! item of the store like any other, whose key is its position, so that commits, recovery, compaction and checking are those
//! of all items. What is here are two words of the namespace's row, and how they change.
//!
//! The row's count of live items is the length, and its own word (`ANCHOR`) says the position of the first element. Both
//! change through the redo list, in the commit that puts or removes the elements. Positions are never used up: there are
//! 2^64 of them, begun in the middle.
//!
//! Invariants, whenever the lock is free and `PENDING` is 0:
//!
//! - **Q1** There is an element at each position from the first on, as many as the row counts, and at no other. What
//!   is lost with damage, or with the file of a large value, leaves a position without an element, which who pops it skips.
//! - **Q2** A position that has an element keeps it until it is removed: pushing and popping move none.
//! - **Q3** A reader sees the two words and an element of one moment (`read_queue`), whoever is stopped in the middle of a commit.
//! - **Q4** After a power cut the elements are those of one moment: the log gives a prefix of the commits, and no segment
//!   goes before what took its records out of use is durable (`retire`). Large elements that nobody synced may be missing
//!   among them.
//!
//! A rebuild counts from the keys that it finds (`replay`).

use std::sync::Arc;
use std::time::Duration;

use arc_swap::Guard;

use crate::error::{Corruption, Error, Result};
use crate::os::{Os, OsMap};
use crate::storage::index::CELLS;
use crate::storage::namespace::{ELEMENT, Namespace, element};
use crate::storage::paths::Name;
use crate::storage::redo::Place;
use crate::storage::state::{GEOMETRY, PENDING, SUSPECT, VISIBLE};
use crate::storage::tag_table::row;

use super::cells::{KeyPlace, Present};
use super::change::{Change, Op, Put};
use super::commit::{Commit, signed};
use super::found::Found;
use super::namespace::version_in;
use super::pending::Moment;
use super::read::{Missing, Try};
use super::store::Store;
use super::view::View;

/// Tries of a reader to meet a moment at which nothing is pending, before it reads beside what is (`pending`).
const RETRIES: usize = 64;
/// A queue may have so many elements whatever the index is.
const PLAUSIBLE: u64 = 1 << 16;
/// What a position is stored as: so that a word of zeros is the middle.
const MIDDLE: u64 = 1 << 63;
/// How many positions ahead of an end the buckets are fetched for whoever comes next. Measured with 100,000 and 1,500,000
/// elements: from 6 on it makes no difference, nor does it to fetch records too, which follow each other in the log.
const BUCKETS_AHEAD: u64 = 6;
/// Elements over the bound that one push drops. There may be any number: whoever lowered the bound may have died over it.
pub(super) const DROPPED_MAX: u64 = 1000;
/// An index of fewer home buckets is near anyway.
const FETCHED_FROM: u64 = 4096;

/// One of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Front,
    Back,
}

/// The most elements that a push may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    pub most: u64,
    /// The version of the queue's setting that says so; [`Bound::OWN`] where the caller does.
    pub version: u64,
}

impl Bound {
    /// No setting has this version.
    const OWN: u64 = u64::MAX;
    pub const NONE: Bound = Bound::of(u64::MAX);

    /// One that holds whatever the queue is set to.
    pub const fn of(most: u64) -> Bound {
        Bound { most, version: Bound::OWN }
    }
}

/// The positions that have elements: the first, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub first: u64,
    pub len: u64,
}

impl Span {
    /// What the words of a row say.
    pub(super) fn of(anchor: u64, len: u64) -> Span {
        Span { first: anchor ^ MIDDLE, len }
    }

    /// The word that says the first position.
    pub(super) fn anchor(self) -> u64 {
        self.first ^ MIDDLE
    }

    /// The position of an element by its number from the front.
    pub fn position(self, number: u64) -> Option<u64> {
        (number < self.len).then(|| self.first.wrapping_add(number))
    }

    /// The position of the element at an end.
    pub fn at(self, end: End) -> Option<u64> {
        match end {
            End::Front => self.position(0),
            End::Back => self.position(self.len.wrapping_sub(1)),
        }
    }

    /// The position of an element that is pushed, and the span with it.
    pub(super) fn pushed(self, end: End) -> (u64, Span) {
        let len = self.len.saturating_add(1);
        match end {
            End::Front => {
                let first = self.first.wrapping_sub(1);
                (first, Span { first, len })
            }
            End::Back => (self.first.wrapping_add(self.len), Span { len, ..self }),
        }
    }

    /// Without the element at an end.
    pub(super) fn popped(self, end: End) -> Span {
        let len = self.len.saturating_sub(1);
        match end {
            End::Front => Span { first: self.first.wrapping_add(1), len },
            End::Back => Span { len, ..self },
        }
    }
}

impl End {
    pub(super) fn other(self) -> End {
        match self {
            End::Front => End::Back,
            End::Back => End::Front,
        }
    }
}

impl<O: Os> Store<O> {
    /// A view that has a queue's row.
    #[inline]
    fn enter_queue(&self, queue: Namespace) -> Result<Guard<Arc<View<O>>>> {
        let view = self.enter()?;
        if view.tags(queue.place().chunk).is_some() {
            return Ok(view);
        }
        self.map_tags(queue.place().chunk)?;
        self.enter()
    }

    /// The two words. Of one moment only under the lock.
    #[inline]
    fn span_now(view: &View<O>, queue: Namespace) -> Span {
        let place = queue.place();
        let word = |word| view.tags(place.chunk).map_or(0, |map| map.load(place.offset + word));
        Span::of(word(row::ANCHOR), word(row::LIVE))
    }

    /// The positions that have elements, as of a moment at which nothing was pending, and that moment. `None` if something is
    /// all the time.
    #[inline]
    fn settled_span(&self, view: &View<O>, queue: Namespace) -> Option<(u64, Span)> {
        for _ in 0..RETRIES {
            let moment = self.state.load(VISIBLE);
            if self.state.load(PENDING) == 0 {
                let span = Self::span_now(view, queue);
                if self.state.load(PENDING) == 0 && self.state.load(VISIBLE) == moment {
                    return Some((moment, span));
                }
            }
            self.os.spin();
        }
        None
    }

    /// The positions that have elements, as of one moment.
    pub fn span(&self, queue: Namespace) -> Result<Span> {
        let view = self.enter_queue(queue)?;
        match self.settled_span(&view, queue) {
            Some((_, span)) => self.plausible(span),
            // Who is inside a transaction never comes here: nobody else commits.
            None => self.unsettled_span(queue),
        }
    }

    #[cold]
    fn unsettled_span(&self, queue: Namespace) -> Result<Span> {
        if let Some(span) = self.at_a_moment(|view, moment| Ok(Self::span_at(view, queue, moment)))? {
            return self.plausible(span);
        }
        let _locked = self.lock_to_read()?;
        self.plausible(Self::span_now(&*self.enter_queue(queue)?, queue))
    }

    /// The two words at a moment.
    fn span_at(view: &View<O>, queue: Namespace, moment: &Moment) -> Try<Span> {
        let place = queue.place();
        let Some(map) = view.tags(place.chunk) else { return Try::Map(Missing::Tags(place.chunk)) };
        let word = |word| moment.word(&**map, Place::Tags(place.chunk as u32), place.offset + word);
        Try::Done(Span::of(word(row::ANCHOR), word(row::LIVE)))
    }

    /// A span, if the index could hold so many elements, or once did. Words that are damaged would else send who looks for an
    /// element through more positions than anybody has time for.
    #[inline]
    fn plausible(&self, span: Span) -> Result<Span> {
        if span.len < PLAUSIBLE { Ok(span) } else { self.plausible_in_table(span) }
    }

    #[cold]
    fn plausible_in_table(&self, span: Span) -> Result<Span> {
        let geometry = self.geometry()?;
        let table = geometry.next.map_or(geometry.current, |(next, _)| next);
        if span.len < PLAUSIBLE + 2 * table.buckets() * CELLS as u64 {
            return Ok(span);
        }
        if !self.read_only {
            self.state.store(SUSPECT, 1);
        }
        Err(Error::corrupt(&self.paths.of(Name::Tags(0)), row::LIVE as u64, Corruption::Count))
    }

    /// True if a queue has no element at this moment. Mostly false while a commit is under way, whatever there is.
    #[inline]
    fn is_seen_empty(&self, view: &View<O>, queue: Namespace) -> bool {
        // Whoever sees a word of a commit sees at least its `PENDING` after it.
        Self::span_now(view, queue).len == 0 && self.state.load(PENDING) == 0
    }

    /// Calls `take` with the element at a position that `place` finds, as of one moment. `None` if there is none. `take` may be
    /// called more than once; the last call counts.
    pub fn read_queue<R>(
        &self,
        queue: Namespace,
        place: impl Fn(Span) -> Option<u64>,
        mut take: impl FnMut(&Found<'_, O>) -> Result<R>,
    ) -> Result<Option<R>> {
        for _ in 0..RETRIES {
            let view = self.enter_queue(queue)?;
            let Some((moment, span)) = self.settled_span(&view, queue) else { break };
            let Some(position) = place(self.plausible(span)?) else { return Ok(None) };
            let key = element(queue.id, position);
            let found = self.read(&key, self.hash(&key), |record| take(&Found::Log(record)));
            match self.settled_span(&view, queue) {
                None => break,
                // Q3: while the words are the same, an element that was found is where it was. One that was not may have been
                // on its way out, and another one have come to its position since.
                Some((then, after)) if after == span && (then == moment || !matches!(found, Ok(None))) => return found,
                Some(_) => {}
            }
        }
        if let Some(found) =
            self.at_a_moment(|view, moment| self.read_queue_at(view, moment, queue, &place, &mut take))?
        {
            return Ok(found);
        }
        let _locked = self.lock_to_read()?;
        let Some(position) = place(Self::span_now(&*self.enter_queue(queue)?, queue)) else { return Ok(None) };
        let key = element(queue.id, position);
        self.read(&key, self.hash(&key), |record| take(&Found::Log(record)))
    }

    /// The same as of a moment: steps 2 and 3 of `pending`.
    pub(super) fn read_queue_at<R>(
        &self,
        view: &Arc<View<O>>,
        moment: &Moment,
        queue: Namespace,
        place: impl Fn(Span) -> Option<u64>,
        mut take: impl FnMut(&Found<'_, O>) -> Result<R>,
    ) -> Result<Try<Option<R>>> {
        let span = match Self::span_at(view, queue, moment) {
            // What a list says that is being written anew is nobody's damage.
            Try::Done(_) if !self.is_still(moment) => return Ok(Try::Again),
            Try::Done(span) => self.plausible(span)?,
            Try::Again => return Ok(Try::Again),
            Try::Map(missing) => return Ok(Try::Map(missing)),
        };
        let Some(position) = place(span) else { return Ok(Try::Done(None)) };
        let key = element(queue.id, position);
        let found = self.try_read::<true, R>(view, &key, self.hash(&key), &mut |record| take(&Found::Log(record)))?;
        if !matches!(found, Try::Done(None)) {
            return Ok(found);
        }
        match self.record_of_emptied(view, moment, &key) {
            Try::Done(Some(record)) => take(&Found::Log(&record)).map(|found| Try::Done(Some(found))),
            Try::Done(None) => Ok(Try::Done(None)),
            Try::Again => Ok(Try::Again),
            Try::Map(missing) => Ok(Try::Map(missing)),
        }
    }

    /// Adds an element at one end. If there are more than the bound allows then, those at the other end go by the same commit,
    /// or [`DROPPED_MAX`] of them. False, and nothing is changed, if the queue has been set to another bound.
    pub fn push(&self, queue: Namespace, end: End, put: Put<'_>, bound: Bound) -> Result<bool> {
        let Bound { most, version } = bound;
        let pushed = self.change_by(self.enter_queue(queue)?, 1, |commit| {
            // Whoever changes the setting has had the lock since it was read.
            if version != version_in(&commit.view, queue) && version != Bound::OWN {
                return Ok(false);
            }
            if most == 0 {
                return Ok(true);
            }
            let before = self.plausible(commit.span(queue))?;
            let (position, after) = before.pushed(end);
            let key = element(queue.id, position);
            let op = Op { key: &key, hash: self.hash(&key), change: Change::Put(put) };
            self.fetch_elements(&commit.view, queue, end, position);
            if after.len <= most {
                commit.stage_span(queue, before, after);
                commit.carry_out(&[op])?;
                return Ok(true);
            }
            let (over, left) = over(queue, end.other(), after, most, DROPPED_MAX);
            let mut ops = vec![op];
            let mut lost = 0;
            for key in &over {
                let op = Op { key, hash: self.hash(key), change: Change::Remove };
                if commit.locate(key, op.hash)?.is_live() { ops.push(op) } else { lost += 1 }
            }
            commit.stage_span(queue, before, left);
            commit.stage_lost(queue, lost);
            commit.carry_out(&ops)?;
            Ok(true)
        })?;
        if pushed {
            self.wake_takers();
        }
        Ok(pushed)
    }

    /// Takes the element at one end out, and gives what `take` makes of it. `None` if there is none. `timeout` is for the lock;
    /// without one it is the store's.
    pub fn pop<R>(
        &self,
        queue: Namespace,
        end: End,
        timeout: Option<Duration>,
        mut take: impl FnMut(&Found<'_, O>) -> Result<R>,
    ) -> Result<Option<R>> {
        // A look without the lock: many ask an empty queue.
        let view = self.enter_queue(queue)?;
        if self.is_seen_empty(&view, queue) {
            return Ok(None);
        }
        self.change_within(timeout.unwrap_or(self.lock_timeout), view, 0, |commit| {
            let before = self.plausible(commit.span(queue))?;
            let (mut left, mut lost, mut taken) = (before, 0, None);
            let mut place = KeyPlace::default();
            while let Some(position) = left.at(end) {
                left = left.popped(end);
                let key = element(queue.id, position);
                let hash = self.hash(&key);
                commit.locate_into(&mut place, &key, hash)?;
                let Some(live) = self.living(commit, &place) else {
                    lost += 1;
                    continue;
                };
                taken = Some(take(&Found::Present(&live))?);
                commit.change_alone(&Op { key: &key, hash, change: Change::Remove }, &place)?;
                self.fetch_elements(&commit.view, queue, end.other(), position);
                break;
            }
            if left != before {
                commit.stage_span(queue, before, left);
                commit.stage_lost(queue, lost);
                commit.publish()?;
            }
            Ok(taken)
        })
    }

    /// Replaces the element at a position that `place` finds. False if there is none.
    pub fn replace(&self, queue: Namespace, place: impl Fn(Span) -> Option<u64>, put: Put<'_>) -> Result<bool> {
        self.change_by(self.enter_queue(queue)?, 1, |commit| {
            let Some(position) = place(self.plausible(commit.span(queue))?) else { return Ok(false) };
            let key = element(queue.id, position);
            commit.carry_out(&[Op { key: &key, hash: self.hash(&key), change: Change::Put(put) }])?;
            Ok(true)
        })
    }

    fn living<'c>(&self, commit: &'c Commit<'_, O>, place: &'c KeyPlace) -> Option<Present<'c, O>> {
        place.old.as_ref().filter(|_| place.is_live()).and_then(|old| commit.open_old(old))
    }

    /// Fetches what the next calls at this end will look at.
    #[inline]
    fn fetch_elements(&self, view: &View<O>, queue: Namespace, end: End, position: u64) {
        let index = view.only_index(self.state.load(GEOMETRY));
        if let Some(index) = index.filter(|index| index.table.homes() >= FETCHED_FROM) {
            let ahead = match end {
                End::Front => position.wrapping_sub(BUCKETS_AHEAD),
                End::Back => position.wrapping_add(BUCKETS_AHEAD),
            };
            index.prefetch_home(self.hash(&element(queue.id, ahead)));
        }
    }
}

impl<O: Os> Commit<'_, O> {
    /// The positions that have elements, as this commit will leave them.
    pub(super) fn span(&self, queue: Namespace) -> Span {
        let place = queue.place();
        let len = self.word(Place::Tags(place.chunk as u32), place.offset + row::LIVE);
        Span::of(self.anchor(queue), len)
    }

    /// Stages the word that says where the elements begin. Their number is counted where they are put and removed.
    pub(super) fn stage_span(&mut self, queue: Namespace, before: Span, after: Span) {
        if before.first != after.first && !seeded!("queue_keeps_its_beginning") {
            self.stage_anchor(queue, after.anchor());
        }
    }

    /// Counts a position in again whose element is lost.
    pub(super) fn keep_position(&mut self, queue: Namespace) {
        let place = queue.place();
        let len = self.items_of_tag(place).saturating_add(1);
        self.stage(Place::Tags(place.chunk as u32), place.offset + row::LIVE, len);
    }

    /// Counts positions out that had lost their elements.
    pub(super) fn stage_lost(&mut self, queue: Namespace, lost: u64) {
        if lost != 0 {
            let place = queue.place();
            self.add(Place::Tags(place.chunk as u32), place.offset + row::LIVE, -signed(lost));
        }
    }
}

/// The keys of what is over `most` at an end, but not more of them than `dropped`, and the span without them.
pub(super) fn over(queue: Namespace, end: End, span: Span, most: u64, dropped: u64) -> (Vec<[u8; ELEMENT]>, Span) {
    let mut left = span;
    let mut keys = Vec::new();
    let most = most.max(span.len.saturating_sub(dropped));
    while left.len > most
        && let Some(position) = left.at(end)
    {
        keys.push(element(queue.id, position));
        left = left.popped(end);
    }
    (keys, left)
}
