//! Reading beside a commit that is published half: who publishes it may be stopped in the middle of it, and readers wait for
//! nobody. It does not know what is read.
//!
//! Until `VISIBLE` says its sequence, readers take the records that a commit replaces. Words of rows and nodes have no record
//! before them; but the redo list has the old value of each word that the commit changes. What is read is what readers accept:
//!
//! 1. the moment: what is accepted ([`Store::visible`]), then `PENDING`, then `JOINT`.
//! 2. If nothing is pending that is not accepted, words are as they are: step 6 of a commit comes before step 7. Else a word
//!    is what the list says that it was, and as it is if the list does not name it.
//! 3. A record is found as ever. If there is none, its cell may be one that the commit empties: the list says where that led.
//! 4. The moment again. If it is the same, what was read was so at that moment; else it counts for nothing.
//!
//! Invariants:
//!
//! - **R1** While the moment is the same, no words change but those that the list names, and they from their old values to the
//!   new ones: nobody else commits (I1, J1), and who finishes the commit of a dead owner stores what the list says.
//! - **R2** The list is whole before `PENDING` names its commit, and is not touched before `PENDING` is 0 again. Each store of a
//!   word is a release and each load an acquire; so who has read a word of a later list finds `PENDING` or `JOINT` changed.
//! - **R3** No moment comes again. A commit that is not joint gets visible once it is pending. A joint one that is taken back gives its
//!   sequence to the next, which has another number, stored before its `PENDING`.
//! - **R4** What is accepted is there while the moment is the same: a row that a cell led through is freed by a later commit than the
//!   one that emptied it (I9), files that a commit ends are unlinked when nothing is pending, and blocks of nodes that it frees are
//!   written by later ones (O2).
//!
//! After [`TRIES`] the lock decides: somebody commits all the time, or the list is damaged or gone.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use crate::error::Result;
use crate::os::{Os, OsMap};
use crate::storage::location::Entry;
use crate::storage::redo::{self, Address, Change, Place};
use crate::storage::state::{IS_JOINT, JOINT, PENDING};

use super::read::{Life, Missing, Record, Try};
use super::store::Store;
use super::view::View;

/// Moments that are tried.
const TRIES: usize = 8;

/// A moment, and what was different then.
pub(super) struct Moment {
    /// The newest commit that readers accept.
    pub accepted: u64,
    pending: u64,
    joint: u64,
    /// Words of rows and nodes that the commit under way changes, as they were.
    were: HashMap<Address, u64>,
    /// Cells that it empties, as they were.
    emptied: Vec<u64>,
}

impl Moment {
    /// A word of a row or a node.
    pub fn word<M: OsMap>(&self, map: &M, place: Place, offset: usize) -> u64 {
        match self.were.is_empty() {
            true => map.load(offset),
            false => self.were.get(&Address::new(place, offset)).copied().unwrap_or_else(|| map.load(offset)),
        }
    }

    fn note(&mut self, change: Change) {
        match change.address.parse() {
            Some((Place::Tags(_) | Place::Order(_), _)) => drop(self.were.insert(change.address, change.old)),
            Some((Place::Index(_), _))
                if change.new == 0 && change.old != 0 && !seeded!("emptied_cells_lead_nobody") =>
            {
                self.emptied.push(change.old);
            }
            _ => {}
        }
    }
}

impl<O: Os> Store<O> {
    /// Calls `attempt`, which does steps 2 and 3, until what it gives is of one moment. `None` if it never was.
    #[cold]
    pub(super) fn at_a_moment<R>(
        &self,
        mut attempt: impl FnMut(&Arc<View<O>>, &Moment) -> Result<Try<R>>,
    ) -> Result<Option<R>> {
        let (mut tries, mut files) = (0, 0);
        while tries < TRIES && files < self.rows + TRIES {
            let view = self.enter()?;
            let outcome = self.moment().map(|moment| (attempt(&view, &moment), moment));
            match outcome {
                Some((Ok(Try::Map(missing)), _)) => {
                    drop(view);
                    self.map_missing(missing)?;
                    files += 1;
                    continue;
                }
                Some((outcome, moment)) if self.is_still(&moment) => {
                    if let Try::Done(found) = outcome? {
                        return Ok(Some(found));
                    }
                }
                _ => {}
            }
            self.os.spin();
            tries += 1;
        }
        Ok(None)
    }

    /// Step 1, and the list. `None` if that cannot be read.
    fn moment(&self) -> Option<Moment> {
        let accepted = self.visible();
        let pending = self.state.load(PENDING);
        let joint = self.state.load(JOINT);
        let mut moment = Moment { accepted, pending, joint, were: HashMap::new(), emptied: Vec::new() };
        if pending & !IS_JOINT <= accepted || seeded!("words_of_a_pending_commit_count") {
            return Some(moment);
        }
        match redo::describe(&self.state) {
            (changes, None) if changes <= redo::CHANGES_INLINE => {
                (0..changes).for_each(|i| moment.note(redo::read_inline(&self.state, i)));
            }
            (changes, Some(sequence)) if changes <= redo::CHANGES_MAX => {
                let note = |change| {
                    moment.note(change);
                    Ok(())
                };
                self.walk_spill(sequence, changes, note).ok()?;
            }
            _ => return None,
        }
        Some(moment)
    }

    /// Step 4.
    pub(super) fn is_still(&self, moment: &Moment) -> bool {
        // What was copied was copied before.
        fence(Ordering::Acquire);
        self.state.load(PENDING) == moment.pending
            && self.state.load(JOINT) == moment.joint
            && self.visible() == moment.accepted
    }

    /// Step 3: the live record of a key whose cell the commit has emptied.
    pub(super) fn record_of_emptied<'v>(
        &self,
        view: &'v View<O>,
        moment: &Moment,
        key: &[u8],
    ) -> Try<Option<Record<'v, O>>> {
        for &bits in &moment.emptied {
            let location = Entry::from_bits(bits).location();
            let id = self.segment_in(location.slot());
            let Some(segment) = view.segment(location.slot(), id) else {
                if id == 0 {
                    continue;
                }
                return Try::Map(Missing::Segment(location.slot(), id));
            };
            let is_of_key = |record: &Record<'_, O>| {
                let (at, len) = record.header.key_range(record.offset);
                record.header.sequence <= moment.accepted && len == key.len() && segment.map.equals(at, key)
            };
            let Some(record) = self.record_at(segment, location).filter(is_of_key) else { continue };
            return match self.life(view, &record.header) {
                Try::Done(life) => Try::Done((life == Life::Live).then_some(record)),
                Try::Again => Try::Again,
                Try::Map(missing) => Try::Map(missing),
            };
        }
        Try::Done(None)
    }
}
