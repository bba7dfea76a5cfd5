//! Making commits durable: one handle at a time asks the disk, for everybody who waits. It does not know what was
//! committed, and how files are made anew is the business of `remake`. The protocol:
//!
//! `SYNCING` is a lock word like `LOCK`, for whoever asks the disk: the *leader*. It is not `LOCK`: writers go on
//! meanwhile. `SYNCED` says up to which commit everything is durable. Whoever needs commit `n` durable:
//!
//! 1. `SYNCED >= n` and nothing has failed: done. Something has failed: an error.
//! 2. `SYNCING` from 0 to my id by compare-and-exchange: I lead. Else set the sleepers' bit, sleep on the word for at most
//!    [`ROUND`], and if it has not changed, probe the leader's presence. A dead one is replaced by a compare-and-exchange
//!    of that very word to my id, as with `LOCK`. Then 1 again.
//!
//! The leader:
//!
//! 3. What a dead leader left in `SYNC_STAGE`: the kernel may have told it of a failure and tells nobody else. Those
//!    files are written once more, and those that `SYNC_FAILED` names are made anew, if `sync` was called (`remake`). Then the directory,
//!    and only then is the doubt over.
//! 4. Wait a moment for those who came in the last rounds ([`GATHERING`]): whoever was let go by the last leader is about to
//!    commit again, and would miss this round by a hair.
//! 5. Load `VISIBLE`, then where the tails are, then the next id of a value: in this order, and once, so that all that the commits
//!    up to that `VISIBLE` wrote is in the files asked for, and what becomes new meanwhile is new to the next leader too.
//! 6. `SYNC_STAGE = VALUES`; each value file that is not durable yet, `SYNCED_VALUES` following; `SYNC_STAGE = NAMES`; the
//!    directory, if a file may be new in it; `SYNC_STAGE = MAIN_LOG`; the segments of the main stream from `SYNCED_MAIN` on;
//!    `SYNC_STAGE = LOG`; those of the commit stream from `SYNCED_SEGMENT` on, in order, those words following: a sealed one
//!    is asked for once. For what victims of compaction left, less is asked for (`carried`).
//! 7. If something was announced since step 3 (`doubt`), which is looked at after step 5 too, before any word follows: all again.
//!    `SYNCED = ` the `VISIBLE` of step 5; `SYNC_STAGE = 0`. Now and then, and for `sync` always: write to the file `synced` how far
//!    the log is durable, and make that durable (see `rebuild` for its use).
//! 8. `SYNCING = 0`; wake all sleepers. Most are done by step 1; one of the others leads everybody who came meanwhile.
//!
//! # When the disk fails
//!
//! After a failed `fsync` the kernel counts the pages as written, and a second `fsync` says that all is well. So nothing is
//! ever asked again about a file for which it failed. `SYNC_FAILED` gets the stage, before `SYNC_STAGE` is cleared, and
//! from then on step 1 is an error in every process, whoever dies. Only `sync`, and a writer without room, lead past it, by making
//! the suspect files anew: their bytes are still in memory, every record is verified, and a new file's pages have never failed. If
//! that works, nothing suspect is left; if not, the failure stays. `clear` helps too: what it retires needs no writing.
//! Commits behind a suspect one cannot be made durable either, whatever segment they are in: a rebuild would stop before them.
//!
//! A directory has no pages of its own that could be lost like this: a file system that cannot write its journal fails
//! every later call.
//!
//! # Invariants
//!
//! - **D1** What was visible when a call of `sync`, or a change under `Durability::Sync`, returned `Ok` survives a power cut.
//! - **D2** What a power cut leaves is what the store held at some moment not before the newest such return.
//! - **D3** After a failed `fsync` no call returns `Ok` that depends on the bytes it was about, in any process, until they
//!   stand in another file that is durable. If whoever was told died before it could say so, they were written once more
//!   and verified, and the disk was asked again.
//! - **D4** A leader's death at any step delays the others by two rounds at most.

use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::options::Durability;
use crate::os::{Access, OpenMode, Os, OsFile, OsMap};
use crate::storage::location::Tail;
use crate::storage::paths::Name;
use crate::storage::segment::{self, MAIN, is_main};
use crate::storage::state::{
    self, SYNC_FAILED, SYNC_STAGE, SYNCED, SYNCED_MAIN, SYNCED_SEGMENT, SYNCED_VALUES, SYNCING, VISIBLE,
};
use crate::storage::synced;

use super::doubt::TOLD;
use super::store::Store;

/// Stages of step 6, as bits: several may be in doubt.
pub const VALUES: u64 = 1;
pub const NAMES: u64 = 2;
pub const LOG: u64 = 4;
pub const MAIN_LOG: u64 = 8;
/// The main stream from `CARRIED_UPTO` on.
pub const MAIN_END: u64 = 16;
const STAGES: u64 = VALUES | NAMES | LOG | MAIN_LOG | MAIN_END;

/// Bit of `SYNCING` that says that somebody sleeps on it.
const SLEEPERS: u32 = 1 << 31;
/// Bit of `SYNCING` that says that its leader asks for nothing but what victims left; ids are smaller.
pub(super) const CARRIES: u32 = 1 << 30;
/// The longest sleep between two probes of the leader.
const ROUND: Duration = Duration::from_millis(4);
/// Step 4 waits so many times so long, for at most so many.
const GATHERING: u32 = 5;
const GATHERING_STEP: Duration = Duration::from_micros(50);
const GROUP_MAX: u64 = 64;
/// Without a call of `sync`, the mark on disk is renewed this often.
const MARK_EVERY: u64 = 1000;
/// Up to so many files are opened by their numbers; of more, the directory is asked which there are.
const NUMBERED_MAX: u64 = 256;

/// Who leads, and what for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A change that is to be durable.
    Change,
    /// A call of `sync`.
    Sync,
    /// What compaction carried over, before what it came from goes.
    Carried,
}

/// Up to where a leader asks (step 5).
pub(super) struct Ends {
    pub visible: u64,
    /// The newest of these commits that `CARRIED` is about.
    pub carried: u64,
    /// The segment that the commit stream ends in, and where.
    pub segment: u64,
    pub offset: u64,
    /// The number of the segment that the main stream ends in; 0 if it has none.
    pub main: u64,
    pub next_value: u64,
}

/// The held word `SYNCING`. Dropping it lets the next one lead.
pub(super) struct Lead<'s, O: Os> {
    pub(super) store: &'s Store<O>,
}

impl<O: Os> Store<O> {
    /// Makes everything durable that is visible now. What is derived is not written: it is rebuilt if it is lost.
    pub fn sync(&self) -> Result<()> {
        self.enter()?;
        if self.read_only {
            return Err(Error::ReadOnly);
        }
        if self.is_inside_transaction() {
            // Whoever leads may need the lock that this thread holds.
            return Err(Error::InTransaction);
        }
        self.refuse_inside_sibling()?;
        self.make_durable(self.visible(), Purpose::Sync)
    }

    /// What a change does first: under `Durability::Sync` it is refused while nothing can be made durable.
    #[inline]
    pub(super) fn before_change(&self) -> Result<()> {
        if self.durability == Durability::Sync { self.refuse_after_failure() } else { Ok(()) }
    }

    /// What a change does last, outside the lock: waits, if its handle wants that, until the commit `newest` is durable.
    #[inline]
    pub(super) fn after_change(&self, newest: u64) -> Result<()> {
        if self.durability == Durability::Sync { self.await_durable(newest) } else { Ok(()) }
    }

    #[cold]
    fn await_durable(&self, newest: u64) -> Result<()> {
        self.make_durable(newest, Purpose::Change).map_err(|error| Error::NotDurable(Box::new(error)))
    }

    /// True if whatever is visible now is durable.
    pub(super) fn is_all_durable(&self) -> bool {
        self.state.load(SYNCED) >= self.state.load(VISIBLE)
    }

    /// Makes everything durable that is visible now, before files go that a sync has vouched for. Not under the lock.
    #[cold]
    pub(super) fn make_all_durable(&self) -> Result<()> {
        self.make_durable(self.state.load(VISIBLE), Purpose::Change)
    }

    /// Steps 1 and 2.
    pub(super) fn make_durable(&self, newest: u64, purpose: Purpose) -> Result<()> {
        let start = self.os.uptime();
        let known_failure = self.state.load(SYNC_FAILED);
        loop {
            let failure = self.state.load(SYNC_FAILED);
            if purpose != Purpose::Sync || failure != known_failure {
                self.refuse_after_failure()?;
            }
            if purpose == Purpose::Carried && failure == 0 && self.state.load(state::CARRIED_SYNCED) >= newest {
                return Ok(());
            }
            let (done, marked) = (self.state.load(SYNCED) >= newest, self.state.load(state::MARKED) >= newest);
            if failure == 0 && done && (marked || purpose != Purpose::Sync) {
                return Ok(());
            }
            if let Some(lead) = self.try_to_lead(purpose) {
                match lead.carry_out(purpose) {
                    // Something became doubtful meanwhile: once more.
                    Ok(false) => {}
                    done => return done.map(drop),
                }
            }
            if self.os.uptime().saturating_sub(start) >= self.lock_timeout {
                return Err(Error::Timeout);
            }
        }
    }

    /// Step 2, once.
    pub(super) fn try_to_lead(&self, purpose: Purpose) -> Option<Lead<'_, O>> {
        let mine = if purpose == Purpose::Carried { self.owner | CARRIES } else { self.owner };
        let word = self.state.load32(SYNCING);
        if word == 0 {
            return self.state.compare_exchange32(SYNCING, 0, mine).is_ok().then(|| Lead { store: self });
        }
        let sleeping = word | SLEEPERS;
        if word != sleeping && self.state.compare_exchange32(SYNCING, word, sleeping).is_err() {
            return None;
        }
        self.os.wait(&self.state, SYNCING, sleeping, ROUND);
        let leader = sleeping & !(SLEEPERS | CARRIES);
        let takes_over = self.state.load32(SYNCING) == sleeping
            && leader != self.owner
            && !self.os.is_alive(&self.paths.presence(leader.into()))
            && self.state.compare_exchange32(SYNCING, sleeping, mine | SLEEPERS).is_ok();
        takes_over.then(|| Lead { store: self })
    }

    /// Frees a dead leader's word. What it was at stays in `SYNC_STAGE` for the next one. For a sole opener.
    pub(super) fn free_dead_leader(&self) {
        let word = self.state.load32(SYNCING);
        if word != 0 {
            let _ = self.state.compare_exchange32(SYNCING, word, 0);
        }
    }

    /// Makes a file durable. One that is gone was retired, and nothing that it held counts any more. One that cannot be
    /// opened now may be asked again.
    pub(super) fn sync_named(&self, name: Name, stage: u64) -> Result<()> {
        let path = self.paths.of(name);
        match self.os.open(&path, OpenMode::Read) {
            Ok(file) => file.sync().map_err(|e| {
                self.announce_failure(stage, true);
                Error::not_written(&path, e)
            }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(Error::not_written(&path, e)),
        }
    }

    /// Step 5.
    pub(super) fn ends(&self) -> Ends {
        // What is visible is read after `SYNCING` was written: see `retire` for who asks the other way round.
        fence(Ordering::SeqCst);
        let state = &self.state;
        let visible = state.load(VISIBLE);
        let carried = self.carried();
        let (segment, offset) = self.position(state::TAIL, state::NEXT_SEGMENT);
        let (main, _) = self.position(state::MAIN_TAIL, state::NEXT_MAIN);
        Ends { visible, carried, segment, offset, main: main & !MAIN, next_value: state.load(state::NEXT_VALUE) }
    }

    /// The segment that a tail is in, and its offset there: everything before it was written before this call. The last segment
    /// there is, and 0 as an offset, if writers were too quick; 0 if the stream has no segment.
    fn position(&self, word: usize, next: usize) -> (u64, u64) {
        for _ in 0..64 {
            let tail = self.state.load(word);
            let id = self.segment_in(Tail::from_bits(tail).slot);
            if self.state.load(word) == tail {
                // The tail of a stream without a segment is 0, where another may stand.
                let is_its_own = is_main(id) == (word == state::MAIN_TAIL);
                return if is_its_own { (id, Tail::from_bits(tail).offset) } else { (0, 0) };
            }
            self.os.spin();
        }
        (self.state.load(next).saturating_sub(1), 0)
    }
}

impl<O: Os> Lead<'_, O> {
    /// Steps 3 to 7. False if something that it asked for is in doubt now.
    pub(super) fn carry_out(&self, purpose: Purpose) -> Result<bool> {
        let (store, state) = (self.store, &self.store.state);
        self.dispel_doubt(purpose)?;
        if purpose == Purpose::Carried {
            return self.carry_out_carried();
        }
        if purpose == Purpose::Change {
            self.gather();
        }
        let before = state.load(SYNCED);
        let ends = store.ends();
        if state.load(SYNC_FAILED) != 0 {
            return Ok(false);
        }
        let asked = self.ask_disk(self.has_new_names(&ends), &ends);
        if asked.is_err() {
            // What failed for good was announced.
            state.store(SYNC_STAGE, 0);
        }
        asked?;
        if state.load(SYNC_FAILED) != 0 {
            state.store(SYNC_STAGE, 0);
            return Ok(false);
        }
        state.store(state::GROUP, state.load(VISIBLE).saturating_sub(before));
        state.store(SYNCED, ends.visible);
        state.fetch_max(state::CARRIED_SYNCED, ends.carried);
        state.store(SYNC_STAGE, 0);
        let now = u64::try_from(store.os.uptime().as_millis()).unwrap_or(u64::MAX);
        if purpose == Purpose::Sync || now.abs_diff(state.load(state::MARKED_AT)) >= MARK_EVERY {
            // Without it, damage may be taken for the end of the log: nothing that was promised.
            if self.write_mark(&ends).is_some() {
                state.store(state::MARKED, ends.visible);
            }
            state.store(state::MARKED_AT, now);
        }
        Ok(true)
    }

    pub(super) fn has_new_names(&self, ends: &Ends) -> bool {
        let state = &self.store.state;
        ends.segment > state.load(SYNCED_SEGMENT)
            || ends.main > state.load(SYNCED_MAIN)
            || ends.next_value > state.load(SYNCED_VALUES)
            || state.load(state::MARKED) == 0
    }

    /// Step 6.
    pub(super) fn ask_disk(&self, has_new_names: bool, ends: &Ends) -> Result<()> {
        let (store, state) = (self.store, &self.store.state);
        let Ends { segment, next_value, .. } = *ends;
        state.store(SYNC_STAGE, VALUES);
        let value = |name| if let Name::Value(id) = name { Some(id) } else { None };
        for id in self.numbers(state.load(SYNCED_VALUES), next_value, value)? {
            state.store(SYNCED_VALUES, id);
            if !seeded!("sync_forgets_large_values") {
                store.sync_named(Name::Value(id), VALUES)?;
            }
        }
        if has_new_names && !seeded!("sync_forgets_names") {
            self.make_mark_file();
            self.ask_for_names()?;
        }
        state.store(SYNCED_VALUES, next_value);
        // Before the other: what is durable there is not asked for again when a segment goes.
        self.ask_for_segments(MAIN_LOG, SYNCED_MAIN, ends.main)?;
        state.store(SYNC_STAGE, LOG);
        let log = |name| if let Name::Segment(id) = name { Some(id).filter(|&id| !is_main(id)) } else { None };
        let from = if seeded!("sync_of_the_newest_segment_alone") { segment } else { state.load(SYNCED_SEGMENT) };
        for id in self.numbers(from, segment.saturating_add(1), log)? {
            state.store(SYNCED_SEGMENT, id);
            store.sync_named(Name::Segment(id), LOG)?;
        }
        state.store(SYNCED_SEGMENT, segment);
        Ok(())
    }

    /// The segments of the main stream from the one that a word names, which follows, so that a failure finds the one it is about.
    pub(super) fn ask_for_segments(&self, stage: u64, word: usize, last: u64) -> Result<()> {
        let (store, state) = (self.store, &self.store.state);
        state.store(SYNC_STAGE, stage);
        let main = |name| if let Name::Segment(id) = name { is_main(id).then_some(id & !MAIN) } else { None };
        for id in self.numbers(state.load(word).max(1), last.saturating_add(1), main)? {
            state.store(word, id);
            store.sync_named(Name::Segment(id | MAIN), stage)?;
        }
        state.fetch_max(word, last);
        Ok(())
    }

    /// The directory.
    pub(super) fn ask_for_names(&self) -> Result<()> {
        let (store, root) = (self.store, self.store.paths.root());
        store.state.store(SYNC_STAGE, NAMES);
        store.os.sync_dir(root).map_err(|e| {
            store.announce_failure(NAMES, true);
            Error::not_written(root, e)
        })
    }

    /// Step 3.
    fn dispel_doubt(&self, purpose: Purpose) -> Result<()> {
        let (store, state) = (self.store, &self.store.state);
        let stage = state.load(SYNC_STAGE);
        if stage != 0 {
            store.announce_failure(stage & STAGES, false);
            state.store(SYNC_STAGE, 0);
        }
        let doubt = state.load(SYNC_FAILED);
        if purpose != Purpose::Sync {
            store.refuse_after_failure()?;
        }
        if doubt == 0 {
            return Ok(());
        }
        if let Err(error) = store.remake(doubt & STAGES, doubt & TOLD != 0) {
            if !matches!(error, Error::Timeout | Error::Forked) {
                store.announce_failure(doubt & STAGES, true);
            }
            return Err(error);
        }
        // New files have their names for good before it is forgotten why.
        let named = self.ask_for_names();
        state.store(SYNC_STAGE, 0);
        named?;
        // What was announced meanwhile is for the next call.
        if state.compare_exchange(SYNC_FAILED, doubt, 0).is_err_and(|now| now != 0) {
            store.refuse_after_failure()?;
            return Err(Error::Timeout);
        }
        Ok(())
    }

    /// Step 4.
    fn gather(&self) {
        let state = &self.store.state;
        let group = state.load(state::GROUP).min(GROUP_MAX);
        for _ in 0..GATHERING {
            if state.load(VISIBLE).saturating_sub(state.load(SYNCED)) >= group {
                return;
            }
            self.store.os.wait(state, SYNCING, state.load32(SYNCING), GATHERING_STEP);
        }
    }

    /// The numbers in a range that files may have, ascending.
    fn numbers(&self, from: u64, to: u64, number: impl Fn(Name) -> Option<u64>) -> Result<Vec<u64>> {
        if to.saturating_sub(from) <= NUMBERED_MAX {
            return Ok((from..to).collect());
        }
        let root = self.store.paths.root();
        let names = self.store.os.list(root).map_err(|e| Error::not_written(root, e))?;
        let named = names.iter().filter_map(|name| Name::parse(name)).filter_map(number);
        let mut found: Vec<u64> = named.filter(|id| (from..to).contains(id)).collect();
        found.sort_unstable();
        Ok(found)
    }

    /// Makes the file of the mark, if it is not there, before the directory becomes durable.
    fn make_mark_file(&self) {
        if let Ok(file) = self.store.os.open(&self.store.paths.of(Name::Synced), OpenMode::Create) {
            let _ = file.write_at(&[0; synced::BYTES], 0);
        }
    }

    /// Says on disk how far the log is durable. `None` if that did not succeed.
    fn write_mark(&self, ends: &Ends) -> Option<()> {
        let store = self.store;
        let Ends { visible: sequence, segment, offset, .. } = *ends;
        let file = store.os.open(&store.paths.of(Name::Synced), OpenMode::Write).ok()?;
        let mut bytes = [0; synced::BYTES];
        file.read_at(&mut bytes, 0).ok()?;
        let slot = (0..store.rows).find(|&slot| store.segment_in(slot) == segment)?;
        let nonce = store.map_segment(slot, segment, Access::Read).ok()?.nonce;
        let offset = offset.max(segment::HEAD as u64);
        let (_, place) = synced::Mark::newest(&bytes, store.store_id);
        let mark = synced::Mark { store: store.store_id, sequence, segment, nonce, offset };
        file.write_at(&mark.encode(), place).ok()?;
        file.sync().ok()
    }
}

impl<O: Os> Drop for Lead<'_, O> {
    /// Step 8.
    fn drop(&mut self) {
        if self.store.os.is_forked() {
            return;
        }
        if self.store.state.swap32(SYNCING, 0) & SLEEPERS != 0 {
            self.store.os.wake(&self.store.state, SYNCING, u32::MAX >> 1);
        }
    }
}
