//! An explicit-state model of the commit protocol, searched to the end.
//!
//! This file owns the description of the protocol, its invariants, and the runs; it may not know how the engine is
//! written, and shares no code with it. The engine is right if it makes these steps in this order, each with at
//! least the ordering that makes it look like one step to the others. Memory is sequentially consistent here:
//! orderings are the matter of `tests/loom`, and the loss of power is that of the simulation. A rebuild sees all that was stored.
//!
//! # Words shared by all processes
//!
//! `LOCK` (0 or the owner's id, and a bit that says that somebody sleeps), `PENDING` (0 or a sequence number), `VISIBLE`,
//! the redo list `[(word, new)]`, and what changes through that list alone: one index cell a key, `TAIL`, `LIVE`. The
//! log is a chain of segments, each of which says where the one before it ended. A batch is one record that says so
//! (*alone*), or a head and a record for each key. Records have the sequence of their commit and the location of
//! the record that they replaced; a head says how many members follow, and vouches for each.
//!
//! # A writer (numbers of `src/engine/mod.rs`)
//!
//! 2. **Lock** (`lock.rs`). Compare and swap 0 for the own id. Else: set the sleepers' bit, sleep for a bounded time, and if
//!    the word is the same still, ask whether the owner's presence is gone; if so, compare and swap *that word* for the
//!    own id (a takeover), else look again. A word that was freed is taken with the sleepers' bit set. Ids are never
//!    used twice. After a takeover, and if no commit is pending, remove the segment that the dead owner may have made.
//!    If `PENDING` is set, however the lock was obtained, recover: store every new word of the list, then
//!    `VISIBLE = PENDING`, then `PENDING = 0` (`finish.rs`).
//! 3. **Prepare**: `sequence = VISIBLE + 1`. The batch goes to the tail or to a segment that is made now.
//! 4. **Write** the records: members first, the head last. What a dead writer left at the tail is written over.
//! 5. **Fill** the redo list; `PENDING = sequence`: committed against the death of processes (`commit.rs`).
//! 6. **Apply** the new words, cells last. 7. `VISIBLE = sequence`. 8. `PENDING = 0`; unlock by a swap with 0.
//!
//! A removal alone empties its cell. In a batch the cell leads to the record of the removal, and a second commit without a
//! batch empties it. A panic or error before 5 removes the segment that was made, or else empties the record that was
//! written first, then unlocks and tells its caller; later, it only unlocks. Who opens the store when nobody else has
//! it open removes what a dead owner made, and then frees the lock word (`recovery.rs`).
//!
//! # A reader
//!
//! * One key (`read.rs`): (a) Load the cell; if it is empty, the key is absent. (b) Load `VISIBLE`; the record counts if
//!   its sequence is at most that. (c) Else the record that it replaced counts, or none if there is none: unless `VISIBLE`
//!   has come up to the newer one meanwhile; then from (a). (d) Load the cell again; if it has changed, from (a).
//! * Both keys at one moment (`snapshot.rs`): (a) `S = VISIBLE`. (b) For each key load the cell; take the record if its
//!   sequence is at most `S`, else the one that it replaced if the sequence of that is, or none if there is none; else from
//!   (a). (c) If a key had no value, load `VISIBLE`; if it is not `S` any more, from (a).
//!
//! # Invariants, with the engine's numbers
//!
//! All processes may die in any state, so I2, I4 and I7 are judged in each state as if they did.
//!
//! * **I1** At most one living process is between lock and unlock, and the word names it.
//! * **I2** Recovery yields exactly the commits that reached `PENDING`: no acknowledged write is lost, and no other shows.
//! * **I3** A read returns what the keys were at one moment between its begin and its end, and no read that begins later
//!   returns an earlier moment: reads of one key are linearizable, and both keys of a batch are seen or neither.
//! * **I4** What a cell leads to, now and after recovery, is a whole record of its key, and so is what that one replaced.
//! * **I6** `LIVE` is the number of present keys whenever the lock is free and `PENDING` is 0.
//! * **I7** A rebuild from the log yields the committed batches in their order and at most one more, whole, at their end:
//!   that of a writer that got no answer. A batch whose caller was told that it failed is in no rebuild.
//! * **EveryoneFinishes**: from every state, without any further death, everybody alive can still come to the end: no
//!   rescuer is stuck and no lock is orphaned. (A waiter that is always too late is a matter of fairness, not of
//!   this model.)
//!
//! I5 holds here by construction (one cell a key, no growth), and I8 is about damage.
//!
//! # What is searched
//!
//! Three processes, two keys, one to three deaths anywhere in a write or an opening (a death in the middle of a record
//! leaves it torn), at most one failure anywhere under the lock or of a waiter's patience. The search is breadth first and ends when no
//! state is left that was not seen; no bound on depth or states cuts it. `--nocapture` prints the sizes. Everyday:
//!
//! | run | states | steps between them | depth |
//! |---|---|---|---|
//! | two writers and a reader of each key (1 death) | 510,619 | 1,284,827 | 74 |
//! | two writers and a reader of both (1 death) | 276,784 | 677,091 | 72 |
//! | a removal in a batch and a reader of both (1 death) | 60,207 | 140,933 | 64 |
//! | three writers (2 deaths) | 81,681 | 207,415 | 67 |
//! | three batches at one tail (2 deaths) | 26,722 | 67,734 | 59 |
//! | newcomers follow the dead (1 death) | 119,560 | 281,270 | 64 |
//! | newcomers open what nobody has open (2 deaths) | 125,826 | 240,072 | 71 |
//!
//! With `LARDER_TEST_SCALE` above 1 (a release build is of use then):
//!
//! | run | states | steps between them | depth |
//! |---|---|---|---|
//! | two writers and a reader of each key (2 deaths, 1 failure) | 2,312,878 | 6,364,274 | 74 |
//! | two writers and a reader of one key twice (2 deaths, 1 failure) | 2,961,033 | 8,272,941 | 74 |
//! | two writers and a reader of both (2 deaths, 1 failure) | 1,384,282 | 3,718,852 | 72 |
//! | a removal in a batch and a reader of both (2 deaths, 1 failure) | 250,216 | 642,506 | 64 |
//! | three writers (2 deaths, 1 failure) | 324,575 | 887,670 | 67 |
//! | three batches at one tail (2 deaths, 1 failure) | 89,899 | 232,947 | 59 |
//! | newcomers follow the dead (2 deaths) | 254,953 | 667,522 | 68 |
//! | newcomers open what nobody has open (3 deaths, 1 failure) | 817,866 | 1,711,449 | 73 |
//!
//! A search that finds nothing proves nothing unless it can find something: rules are left out one at a time, each in
//! a run of its own that must break the invariant which the rule serves, and prints a shortest way there.
//!
//! Left out: growth and retiring of segments, so the second load of the cell, of the geometry and of the segment's row serve
//! nothing here; tags, marks and expiry; large values; spilled lists; orderings of memory; power loss; calls of the
//! system that fail (a segment that cannot be removed after a takeover or an abort is rule 07 left out).

#[path = "protocol_model/explore.rs"]
mod explore;
#[path = "protocol_model/invariants.rs"]
mod invariants;
#[path = "protocol_model/memory.rs"]
mod memory;
#[path = "protocol_model/reader.rs"]
mod reader;
#[path = "protocol_model/world.rs"]
mod world;
#[path = "protocol_model/writer.rs"]
mod writer;

use explore::{Report, explore};
use invariants::Invariant;
use memory::Change::{Keep, Remove, Set};
use world::{Bug, Op, PROCESSES, Setup};

const IDLE: &[Op] = &[];
const GET_TWICE: &[Op] = &[Op::Get(0), Op::Get(0)];
const GET_EACH: &[Op] = &[Op::Get(0), Op::Get(1)];
const GET_BOTH: &[Op] = &[Op::GetBoth];

const SET_BOTH: &[Op] = &[Op::Write([Set, Set])];
const SET_BOTH_THEN_REMOVE: &[Op] = &[Op::Write([Set, Set]), Op::Write([Remove, Keep])];
const SET_BOTH_THEN_SWAP: &[Op] = &[Op::Write([Set, Set]), Op::Write([Remove, Set])];
const SET_FIRST: &[Op] = &[Op::Write([Set, Keep])];
const SET_FIRST_THEN_BOTH: &[Op] = &[Op::Write([Set, Keep]), Op::Write([Set, Set])];
const SET_SECOND: &[Op] = &[Op::Write([Keep, Set])];

/// Whether `LARDER_TEST_SCALE` asks for the longer runs.
fn is_long() -> bool {
    let scale = std::env::var("LARDER_TEST_SCALE").ok().and_then(|text| text.parse().ok());
    scale.is_some_and(|scale: u32| scale > 1)
}

/// A batch, a removal alone, a put and another batch; the third process as given.
fn two_writers_and(third: &'static [Op]) -> Setup {
    let scripts = [SET_BOTH_THEN_REMOVE, SET_FIRST_THEN_BOTH, third];
    Setup { scripts, deaths: 2, failures: 1, newcomers: false, bug: Bug::None }
}

/// The same in everyday size. To a reader, a commit that a failure left pending is one that a death left pending.
fn everyday(setup: Setup) -> Setup {
    if is_long() { setup } else { Setup { deaths: 1, failures: 0, ..setup } }
}

/// A batch that removes one key and sets the other, beside a put; the third process as given.
fn removal_in_a_batch_and(third: &'static [Op]) -> Setup {
    Setup { scripts: [SET_BOTH_THEN_SWAP, SET_FIRST, third], ..two_writers_and(third) }
}

fn three_writers() -> Setup {
    Setup { scripts: [SET_BOTH_THEN_REMOVE, SET_FIRST, SET_SECOND], ..two_writers_and(IDLE) }
}

fn three_batches() -> Setup {
    Setup { scripts: [SET_BOTH, SET_BOTH, SET_BOTH], ..two_writers_and(IDLE) }
}

/// Whoever dies is followed by a new process, which takes the next operation.
fn writers_and_newcomers(writers: usize) -> Setup {
    let mut scripts = [SET_BOTH_THEN_REMOVE, SET_FIRST, SET_SECOND];
    scripts[writers..].fill(IDLE);
    Setup { scripts, deaths: 1, failures: 0, newcomers: true, bug: Bug::None }
}

/// At least `expected` states: a smaller run has left most of the protocol out.
#[track_caller]
fn holds(setup: Setup, expected: usize) {
    let Report { states, events, depth, violation } = explore(&setup);
    println!("{states} states, {events} events, depth {depth}, {PROCESSES} processes");
    if let Some(violation) = violation {
        panic!("{violation}");
    }
    assert!(states > expected, "only {states} states");
}

#[track_caller]
fn breaks(setup: Setup, bug: Bug, expected: Invariant) {
    let report = explore(&Setup { bug, ..setup });
    let violation = report.violation.unwrap_or_else(|| panic!("{bug:?} was not found in {} states", report.states));
    println!("{} states, {violation}", report.states);
    assert_eq!(violation.invariant, expected, "{violation}");
}

#[test]
fn all_invariants_hold_for_two_writers_and_a_reader_of_each_key() {
    holds(everyday(two_writers_and(GET_EACH)), 50_000);
    if is_long() {
        holds(two_writers_and(GET_TWICE), 50_000);
    }
}

#[test]
fn all_invariants_hold_for_two_writers_and_a_reader_of_both_keys() {
    holds(everyday(two_writers_and(GET_BOTH)), 50_000);
}

#[test]
fn all_invariants_hold_for_a_removal_in_a_batch_and_a_reader_of_both_keys() {
    holds(everyday(removal_in_a_batch_and(GET_BOTH)), 10_000);
}

#[test]
fn all_invariants_hold_for_three_writers() {
    let setup = three_writers();
    holds(if is_long() { setup } else { Setup { failures: 0, ..setup } }, 50_000);
}

#[test]
fn all_invariants_hold_for_three_batches_at_one_tail() {
    let setup = three_batches();
    holds(if is_long() { setup } else { Setup { failures: 0, ..setup } }, 20_000);
}

#[test]
fn all_invariants_hold_when_newcomers_follow_the_dead() {
    let setup = writers_and_newcomers(3);
    holds(if is_long() { Setup { deaths: 2, ..setup } } else { setup }, 50_000);
}

#[test]
fn all_invariants_hold_when_newcomers_open_what_nobody_has_open() {
    let setup = Setup { scripts: [SET_BOTH_THEN_REMOVE, SET_FIRST_THEN_BOTH, IDLE], ..writers_and_newcomers(2) };
    let (deaths, failures) = if is_long() { (3, 1) } else { (2, 0) };
    holds(Setup { deaths, failures, ..setup }, 50_000);
}

/// A writer panics after `pending`, its guard unlocks, and the next owner, who did not take the lock over, writes where the
/// committed batch is.
#[test]
fn bug_01_recovery_only_on_takeover_breaks_i7() {
    breaks(two_writers_and(IDLE), Bug::RecoveryOnlyOnTakeover, Invariant::I7RebuildAgrees);
}

/// The rescuer commits what its writer never did. I2 draws the line at `pending` and nowhere else: only the writer
/// knows whether everything that can fail was over, and readers have relied on the state without this batch.
#[test]
fn bug_02_whole_batch_at_the_tail_counts_as_commit_breaks_i2() {
    breaks(two_writers_and(IDLE), Bug::WholeBatchCountsAsCommit, Invariant::I2CommittedIsInEffect);
}

/// Whoever recovers takes a commit that is visible for one that is done.
#[test]
fn bug_03_visible_before_cells_breaks_i2() {
    breaks(two_writers_and(IDLE), Bug::VisibleBeforeCells, Invariant::I2CommittedIsInEffect);
}

#[test]
fn bug_04_pending_before_the_list_is_complete_breaks_i2() {
    breaks(two_writers_and(IDLE), Bug::PendingBeforeListIsComplete, Invariant::I2CommittedIsInEffect);
}

#[test]
fn bug_05_takeover_by_plain_store_breaks_i1() {
    breaks(three_writers(), Bug::TakeoverByPlainStore, Invariant::I1OneOwner);
}

/// A waiter has found the owner dead; before it swaps, the id comes to life again and takes the lock.
#[test]
fn bug_06_reused_owner_ids_break_i1() {
    breaks(writers_and_newcomers(3), Bug::OwnerIdsReused, Invariant::I1OneOwner);
}

/// The id of the dead owner comes to life again before anybody has asked, and never lets go of what it never took.
#[test]
fn bug_06_reused_owner_ids_orphan_the_lock() {
    breaks(writers_and_newcomers(2), Bug::OwnerIdsReused, Invariant::EveryoneFinishes);
}

/// A dead writer made a segment ahead, and the next batch goes into the one before, behind where that one says it ended.
#[test]
fn bug_07_takeover_that_does_not_sweep_breaks_i7() {
    breaks(two_writers_and(IDLE), Bug::TakeoverDoesNotSweep, Invariant::I7RebuildAgrees);
}

#[test]
fn bug_08_reader_that_ignores_visible_breaks_i3() {
    breaks(two_writers_and(GET_EACH), Bug::ReaderIgnoresVisible, Invariant::I3ReadsAreOfOneMoment);
}

#[test]
fn bug_09_live_as_delta_breaks_i6() {
    breaks(two_writers_and(IDLE), Bug::LiveAsDelta, Invariant::I6LiveCounts);
}

#[test]
fn bug_10_snapshot_that_trusts_missing_keys_breaks_i3() {
    breaks(
        Setup { deaths: 0, failures: 0, ..two_writers_and(GET_BOTH) },
        Bug::SnapshotTrustsMissing,
        Invariant::I3ReadsAreOfOneMoment,
    );
}

/// A writer dies with a whole batch behind it, the next one over the first record of its own: a rebuild finds the head of
/// the one before members of both.
#[test]
fn bug_11_head_that_vouches_for_no_member_breaks_i7() {
    breaks(three_batches(), Bug::HeadVouchesForNoMember, Invariant::I7RebuildAgrees);
}

#[test]
fn bug_12_abort_that_leaves_its_batch_whole_breaks_i7() {
    breaks(two_writers_and(IDLE), Bug::AbortLeavesBatchWhole, Invariant::I7RebuildAgrees);
}

/// The lock is handed to a sleeper that is dead, or has run out of time; nobody owns it, so nobody is asked for.
#[test]
fn bug_13_hand_off_token_orphans_the_lock() {
    breaks(Setup { deaths: 0, ..three_writers() }, Bug::HandOffToken, Invariant::EveryoneFinishes);
}

#[test]
fn bug_14_batch_that_empties_cells_at_once_breaks_i3() {
    breaks(
        Setup { deaths: 0, failures: 0, ..removal_in_a_batch_and(GET_BOTH) },
        Bug::BatchEmptiesCellsAtOnce,
        Invariant::I3ReadsAreOfOneMoment,
    );
}

#[test]
fn bug_15_pending_cleared_before_visible_breaks_i2() {
    breaks(two_writers_and(IDLE), Bug::PendingClearedBeforeVisible, Invariant::I2CommittedIsInEffect);
}

/// The rescuer removes the segment of the commit that it is about to finish.
#[test]
fn bug_16_sweep_that_ignores_pending_breaks_i2() {
    breaks(two_writers_and(IDLE), Bug::SweepIgnoresPending, Invariant::I2CommittedIsInEffect);
}

/// Two find the owner dead and finish its commit before either has the lock; the slower one does so after the other's own.
#[test]
fn bug_17_recovery_before_the_lock_breaks_i2() {
    breaks(three_writers(), Bug::RecoveryBeforeTheLock, Invariant::I2CommittedIsInEffect);
}

/// A stopped owner is robbed.
#[test]
fn bug_18_takeover_after_a_timeout_breaks_i1() {
    breaks(three_writers(), Bug::TakeoverAfterTimeout, Invariant::I1OneOwner);
}

#[test]
fn bug_19_opener_that_frees_before_it_sweeps_breaks_i7() {
    breaks(Setup { deaths: 2, ..writers_and_newcomers(2) }, Bug::OpenerFreesBeforeItSweeps, Invariant::I7RebuildAgrees);
}
