//! Which segment is the next victim of compaction, and what of it stays. It does not know how anything is moved.
//!
//! | policy | victim | stays |
//! |---|---|---|
//! | `S3Fifo` | of the commit stream while that is more than a tenth of all; else of the main stream | what was read twice; in the main stream what was read |
//! | `LeastRecentlyStored` | of the commit stream | nothing |
//! | `LeastRecentlyUsed` | the older of both | what is younger than a fifth of all items |
//! | `LeastFrequentlyUsed` | the older of both | what was used most |
//! | `None` | of the stream whose oldest segment has more that is dead | everything that lives |
//!
//! The commit stream is the small queue of S3-FIFO and the main stream its main queue (the paper is named in `marks`); a
//! mark is how often an item was read since it came into its segment.

use crate::error::Result;
use crate::options::Eviction;
use crate::os::{Os, OsMap};
use crate::storage::index::{self, Geometry};
use crate::storage::location::Tail;
use crate::storage::segment::{self, MAIN, is_main};
use crate::storage::state::{self, row, row_word};

use super::commit::Commit;
use super::limit::{Purpose, segment_bytes};
use super::marks::Rule;
use super::store::Store;

/// The share of the commit stream under `S3Fifo` is one of this many parts.
const SMALL_SHARE: u64 = 10;
/// Of a victim, at most this many of [`KEPT_OF`] parts stay: so each gives something back.
const KEPT_PARTS: u64 = 9;
const KEPT_OF: u64 = 10;
/// Under `S3Fifo`, how often an item of the commit stream must have been read to stay.
const READ_AGAIN: u64 = 2;
/// In the long run at most so many bytes are moved for a hundred that are stored …
const MOVED_PERCENT: u64 = 72;
/// … with this share of the size limit in advance.
const ADVANCE: u64 = 16;
/// Under `LeastRecentlyUsed`, the share of items that go, in percent: those that were not used for longest.
const GO_PERCENT: u64 = 20;
/// Buckets that are looked at to learn how items are marked.
const SAMPLE: u64 = 256;
/// Where nothing is evicted, there has to be this share of what would be moved that is dead, and a segment, before anything is: each
/// byte that is given back costs at most so many that are moved.
const DEAD_SHARE: u64 = 8;
/// For a removal that share of a segment is enough: who leases and acknowledges elements of a byte uses a segment while it leaves a
/// quarter of one.
const REMOVAL_SHARE: u64 = 8;

/// Bit of the word `MAIN_HAND_ID` while the walk is one through a segment that is appended to: nothing is moved, and of
/// what is evicted only values with files of their own, as the rest of the segment stays (K5).
const GLEANED: u64 = 1 << 56;
/// Bit of that word once such a walk was at its end: on the next one, whatever may be evicted is.
const AGAIN: u64 = 1 << 57;
/// Bit of that word once that one was at its end too: what is left is never evicted, and another walk would find nothing until
/// there is more in the segment.
const SPENT: u64 = 1 << 58;

/// What the word says that belongs to a victim's hand, which has come so far.
pub(super) fn hand_word(victim: &Victim, hand: u64) -> u64 {
    let bit = |is: bool, bit| if is { bit } else { 0 };
    let is_spent = (victim.again && hand >= victim.end) && !seeded!("gleaning_has_no_end");
    let walk = if is_spent { SPENT } else { bit(victim.again, AGAIN) };
    victim.id | if victim.is_gleaned() { GLEANED | walk } else { 0 }
}

/// Where a victim's walk begins.
const START: u64 = segment::HEAD as u64;

/// True if nothing at all may be lost.
pub(super) fn loses_nothing(policy: Eviction) -> bool {
    policy == Eviction::None
}

/// A segment that is to go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Victim {
    pub slot: usize,
    pub id: u64,
    pub is_main: bool,
    /// Its stream is still appended to it.
    pub is_open: bool,
    /// How far the walk is.
    pub hand: u64,
    pub end: u64,
    /// It was gleaned to its end and gave nothing.
    pub again: bool,
    /// That was so twice, and there is nothing new.
    spent: bool,
}

impl Victim {
    /// True if it is only gleaned: its stream is the one to which survivors go, and they are there.
    pub fn is_gleaned(&self) -> bool {
        self.is_main && self.is_open
    }

    /// True if nothing is left but to retire it.
    pub fn is_at_end(&self) -> bool {
        self.hand >= self.end && !self.is_open
    }
}

/// What stays of a victim.
pub(super) struct Judge {
    /// No cell leads into the victim.
    pub is_dead: bool,
    rule: Rule,
    from_main: bool,
    /// What a mark must be.
    cut: u64,
    /// Bytes that may still be moved out of this victim.
    left: u64,
    /// Whatever may go goes.
    all_go: bool,
    /// Items may be evicted.
    pub evicts: bool,
    /// Whatever is moved has to be durable before the victim goes.
    pub loses_nothing: bool,
    /// Keys that are evicted are remembered.
    pub remembers: bool,
    /// There are segments of the main stream.
    pub has_main: bool,
}

impl Judge {
    /// The mark with which an item stays, if `bytes` are moved with it; `None` if it goes.
    pub fn stays(&self, mark: u64, bytes: usize) -> Option<u64> {
        if !self.evicts {
            return Some(mark);
        }
        if self.all_go || bytes as u64 > self.left {
            return None;
        }
        match self.rule.policy {
            Eviction::S3Fifo => (mark >= if self.from_main { 1 } else { READ_AGAIN }).then_some(0),
            Eviction::LeastRecentlyUsed => (self.rule.steps_since(mark) < self.cut).then_some(mark),
            Eviction::LeastFrequentlyUsed => (mark >= self.cut).then_some(mark / 2),
            Eviction::LeastRecentlyStored | Eviction::None => None,
        }
    }
}

impl<O: Os> Store<O> {
    /// The next victim; `None` if there is none.
    pub(super) fn victim(&self, commit: &Commit<'_, O>) -> Result<Option<Victim>> {
        let commits = self.oldest(commit, false);
        let main = self.oldest(commit, true);
        let exhausted = |victim: &Victim| victim.is_open && victim.hand >= victim.end;
        // What is gleaned and gave nothing is gleaned again, and then whatever it has goes.
        let again = |main: Option<Victim>| {
            let main = main.filter(|main| !main.spent)?;
            Some(if exhausted(&main) { Victim { hand: START, again: true, ..main } } else { main })
        };
        let (Some(commits), Some(main)) = (commits.filter(|commits| !exhausted(commits)), main) else {
            return Ok(commits.filter(|commits| !exhausted(commits)).or(again(main)));
        };
        // One whose walk has begun is walked to its end first (K5); then one to which nothing leads, for it costs nothing.
        if main.hand > START && !main.is_open {
            return Ok(Some(main));
        }
        // What is half moved takes its room twice.
        if self.loses_nothing() && commits.hand > START && !commits.is_open {
            return Ok(Some(commits));
        }
        if let Some(dead) = [main, commits].into_iter().find(|victim| self.nothing_leads_into(victim)) {
            return Ok(Some(dead));
        }
        let takes_main = match self.policy() {
            Eviction::S3Fifo => {
                let (small, large) = self.shares(commit, commits.id, main.id);
                small.saturating_mul(SMALL_SHARE) <= small.saturating_add(large)
            }
            Eviction::LeastRecentlyStored => false,
            Eviction::LeastRecentlyUsed | Eviction::LeastFrequentlyUsed => self.age_of(&main) < self.age_of(&commits),
            Eviction::None => self.dead_of(&main) > self.dead_of(&commits),
        };
        Ok(Some(if takes_main && !exhausted(&main) { main } else { commits }))
    }

    /// True if a cell leads into the segment of a slot, as the last commit has left it.
    pub(super) fn is_led_into(&self, slot: usize) -> bool {
        self.state.load(row_word(slot, row::LIVE)) as u32 != 0
    }

    /// True if no cell leads into a segment that is not appended to any more.
    pub(super) fn nothing_leads_into(&self, victim: &Victim) -> bool {
        !victim.is_open && !self.is_led_into(victim.slot)
    }

    /// The oldest segment of a stream, and how far its walk is. The one that is appended to only where items of the stream
    /// have files of their own, which can be given back without it.
    fn oldest(&self, commit: &Commit<'_, O>, main: bool) -> Option<Victim> {
        let (hand, hand_id, tail) = if main {
            (state::MAIN_HAND, state::MAIN_HAND_ID, state::MAIN_TAIL)
        } else {
            (state::HAND, state::HAND_ID, state::TAIL)
        };
        let word = commit.state(hand_id);
        let (at, id) = (Tail::from_bits(commit.state(hand)), word & !(GLEANED | AGAIN | SPENT));
        let (slot, id) = if id != 0 && self.segment_in(at.slot) == id {
            (at.slot, id)
        } else {
            let all = (0..self.rows).map(|slot| (slot, self.segment_in(slot)));
            all.filter(|&(_, id)| id != 0 && is_main(id) == main).min_by_key(|&(_, id)| id)?
        };
        let is_open = Tail::from_bits(commit.state(tail)).slot == slot;
        // What was gleaned while it was open is walked in earnest once it is not.
        let known = word & !(AGAIN | SPENT) == if main && is_open { id | GLEANED } else { id };
        let main_large = commit.state(state::MAIN_LARGE_BYTES);
        let large = if main { main_large } else { commit.state(state::LARGE_BYTES).saturating_sub(main_large) };
        let (hand, end) = (if known { at.offset.max(START) } else { START }, self.committed_end(slot));
        let victim = Victim {
            slot,
            id,
            is_main: main,
            is_open,
            hand,
            end,
            again: known && word & AGAIN != 0,
            spent: known && word & SPENT != 0 && hand >= end,
        };
        (!is_open || (large > 0 && !loses_nothing(self.policy()))).then_some(victim)
    }

    /// Bytes of the commit stream and of the main stream, about, from the ids of their oldest segments.
    fn shares(&self, commit: &Commit<'_, O>, commits: u64, main: u64) -> (u64, u64) {
        let segment = segment_bytes(commit.state(state::SIZE_LIMIT));
        let count = |next: u64, oldest: u64| next.saturating_sub(oldest & !MAIN).saturating_mul(segment);
        let main_large = commit.state(state::MAIN_LARGE_BYTES);
        let small_large = commit.state(state::LARGE_BYTES).saturating_sub(main_large);
        (
            count(commit.state(state::NEXT_SEGMENT), commits).saturating_add(small_large),
            count(commit.state(state::NEXT_MAIN), main).saturating_add(main_large),
        )
    }

    /// When a segment was sealed.
    fn age_of(&self, victim: &Victim) -> u64 {
        if victim.is_open { u64::MAX } else { self.state.load(row_word(victim.slot, row::NEWEST)) }
    }

    /// How much of a segment is dead, of a thousand parts.
    fn dead_of(&self, victim: &Victim) -> u64 {
        self.state.load(row_word(victim.slot, row::DEAD)).saturating_mul(1000) / victim.end.max(1)
    }

    /// What stays of a victim.
    pub(super) fn judge(&self, commit: &Commit<'_, O>, victim: &Victim) -> Judge {
        let rule = self.rule();
        let limit = commit.state(state::SIZE_LIMIT);
        if victim.hand == START {
            self.state.store(state::KEPT, 0);
            self.state.store(state::CUT, self.cut(rule));
        }
        let evicts = !loses_nothing(rule.policy);
        // Over a limit that was lowered, nothing is moved that may go.
        let most = if commit.state(state::VOLUME) > limit { 0 } else { victim.end / KEPT_OF * KEPT_PARTS };
        Judge {
            is_dead: self.nothing_leads_into(victim),
            rule,
            from_main: victim.is_main,
            cut: self.state.load(state::CUT),
            left: most.saturating_sub(self.state.load(state::KEPT)).min(self.budget(limit)),
            all_go: victim.again,
            evicts,
            loses_nothing: !evicts,
            remembers: rule.policy == Eviction::S3Fifo && !victim.is_main,
            has_main: commit.state(state::NEXT_MAIN) > 1 && self.oldest_main(commit).is_some(),
        }
    }

    /// Bytes that may be moved now. What was not used of it is not kept for later.
    fn budget(&self, limit: u64) -> u64 {
        let moved = self.state.load(state::COPIED);
        let earned = self.state.load(state::APPENDED) / 100 * MOVED_PERCENT;
        let advance = limit / ADVANCE;
        if moved.saturating_add(advance) < earned {
            // As if it had been: the words are of use to nobody else.
            self.state.store(state::FORGONE, earned - moved - advance);
        }
        let forgone = self.state.load(state::FORGONE);
        earned.saturating_add(advance).saturating_sub(moved.saturating_add(forgone)).min(2 * advance)
    }

    fn oldest_main(&self, commit: &Commit<'_, O>) -> Option<usize> {
        let tail = Tail::from_bits(commit.state(state::MAIN_TAIL));
        is_main(self.segment_in(tail.slot)).then_some(tail.slot)
    }

    /// What a mark must be for its item to stay, from a sample of all marks.
    fn cut(&self, rule: Rule) -> u64 {
        let share = match rule.policy {
            Eviction::LeastRecentlyUsed => 100 - GO_PERCENT,
            Eviction::LeastFrequentlyUsed => 75,
            _ => return 0,
        };
        let mut found = [0u64; 16];
        let Ok(Geometry { current, .. }) = self.geometry() else { return 0 };
        let Ok(index) = self.map_index(current) else { return 0 };
        let mut at = self.state.load(state::VISIBLE);
        for _ in 0..SAMPLE {
            at = at.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
            for (cell, _) in index::entries_of(&index.map, current, current.home(at)) {
                let mark = self.mark(&index.map, cell);
                let kind = if rule.policy == Eviction::LeastRecentlyUsed { rule.steps_since(mark) } else { 15 - mark };
                found[(kind % 16) as usize] += 1;
            }
        }
        let all: u64 = found.iter().sum();
        let mut sum = 0;
        // The best kinds first, as many as may stay.
        let best = found.iter().take_while(|&&count| {
            sum += count;
            sum * 100 <= all * share
        });
        let best = best.count() as u64;
        if rule.policy == Eviction::LeastRecentlyUsed { best.max(1) } else { (16 - best).min(15) }
    }

    /// True if something may have been evicted that a rebuild would find (K7). Also under a policy that evicts nothing, if another one
    /// did before, as nobody knows when the end of the last segment that it walked is durable.
    pub(super) fn has_evicted(&self) -> bool {
        let walks = self.state.load(state::HAND_ID) | self.state.load(state::MAIN_HAND_ID);
        let evicts = self.policy() != Eviction::None || self.state.load(state::EVICTED) != 0;
        walks != 0 || (self.state.load(state::RETIRED) != 0 && evicts)
    }

    /// True if so much of one segment is dead.
    pub(super) fn is_enough_dead_for_removals(&self, slot: usize) -> bool {
        let enough = segment_bytes(self.state.load(state::SIZE_LIMIT)) / REMOVAL_SHARE;
        slot < self.rows && self.segment_in(slot) != 0 && self.state.load(row_word(slot, row::DEAD)) >= enough
    }

    /// True if compaction can give something back: where items are evicted, if enough is not of those that last; else if
    /// enough is dead. For a removal that found no room a part of a segment is enough, whatever it costs to get there: short values
    /// leave hardly more than what says that they were removed takes, and that has to go before the next can be removed.
    pub(super) fn is_worth_compacting(&self, purpose: Purpose) -> bool {
        let is_whole = loses_nothing(self.policy());
        let lasting = self.state.load(state::LASTING_BYTES);
        if !is_whole && lasting == 0 {
            return true;
        }
        let word = |slot, word| self.state.load(row_word(slot, word));
        let open = [state::TAIL, state::MAIN_TAIL].map(|tail| Tail::from_bits(self.state.load(tail)).slot);
        let sealed = (0..self.rows).filter(|slot| self.segment_in(*slot) != 0 && !open.contains(slot));
        let (mut cells, mut dead, mut written, mut is_due) = (0, 0_u64, 0_u64, false);
        let now = self.time();
        for slot in sealed {
            cells += word(slot, row::LIVE) & u64::from(u32::MAX);
            // What says that something was removed is not counted as dead before nothing leads into its segment.
            dead = dead.saturating_add(word(slot, if word(slot, row::LIVE) == 0 { row::END } else { row::DEAD }));
            written = written.saturating_add(word(slot, row::END));
            let earliest = word(slot, row::EXPIRES_MIN);
            is_due |= earliest != 0 && earliest <= now;
        }
        let limit = self.state.load(state::SIZE_LIMIT);
        let much = limit / DEAD_SHARE;
        let is_removal = purpose == Purpose::Free && !seeded!("removals_wait_for_much_that_is_dead");
        if is_removal && dead >= segment_bytes(limit) / REMOVAL_SHARE {
            return true;
        }
        if !is_whole {
            // What lasts would only be moved from place to place.
            let files = self.state.load(state::LARGE_BYTES);
            return written.saturating_add(files).saturating_sub(lasting) >= much;
        }
        // What is given back costs the same whether the store is full of what lives or there is hardly any of it.
        let enough = (written.saturating_sub(dead) / DEAD_SHARE).max(segment_bytes(limit)).min(much);
        // What was evicted or has expired may have its cells still, and then is not counted as dead.
        is_due || dead >= enough || cells > self.all_items().saturating_add(cells / DEAD_SHARE)
    }
}
