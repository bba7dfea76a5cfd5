//! An explicit-state model of the commit protocol, searched to the end.
//!
//! This file owns the description of the protocol, its invariants, and the runs; it may not know how the engine is
//! written, and shares no code with it. The engine is right if it makes these steps in this order, each with at
//! least the ordering that makes it look like one step to the others; where it does without burnt numbers, because it
//! writes over what a dead owner left and sweeps what that one made ahead, DESIGN.md says why. Memory is sequentially consistent here:
//! orderings are another test's matter, and so is the loss of power. Rebuild sees all that was stored.
//!
//! # Words shared by all processes
//!
//! `lock` (0 or the owner's id), `pending` (0 or a sequence number), `V` (the newest visible sequence number),
//! `burnt` (the highest sequence number whose bytes may have been left behind), the redo list `[(word, new)]`, and
//! what changes through that list alone: one index entry a key, the tail of the log, `len`. The log is a row of
//! batches; a batch has a sequence number, the number it follows, and for each key that it changes a record (a value
//! or a tombstone) with the location of the version before it, `prev`.
//!
//! # A writer
//!
//! 1. **Lock.** Look at the word. It is 0: compare and swap 0 for the own id. It is another's id: ask whether the
//!    owner's presence is gone; if so, compare and swap *that id* for the own one (a takeover), else look again. Ids
//!    are never used twice.
//! 2. **Enter.** If `pending` is set, however the lock was obtained, recover: store every new word of the list, store
//!    `V = pending`, clear `pending`. If it is not set, and the lock was taken over: `burnt = max(V, burnt) + 1`.
//!    Nothing can fail or panic between a takeover and this store: the next owner would not know of the takeover.
//! 3. **Prepare** all that can fail: the sequence number `max(V, burnt) + 1`, the place, the words. An entry whose
//!    tombstone is visible is cleared along with the next commit.
//! 4. **Write** the batch at the tail, or in a fresh segment if something was left behind at the tail and the batch
//!    does not fit there. Its header voids all numbers between `V` and its own. (Two halves, two steps.)
//! 5. **Fill** the redo list, word by word.
//! 6. **Commit**: store `pending`. From here on the batch is committed against the death of processes.
//! 7. **Apply** the new words. 8. **Publish**: store `V`. 9. **Clear** `pending`. 10. **Unlock.**
//!
//! A panic or an error unlocks through a guard. `pending` is set: the guard only unlocks. It is not, and a byte was
//! written in step 4: `burnt = max(V, burnt) + 1`, wipe the header of the batch, unlock, and only then tell the caller.
//!
//! # A reader
//!
//! * (a) Load the entry. (b) Load `V`, after the entry; take the record if its number is at most `V`, else its
//!   `prev`. (c) Load the entry again; if it has changed, start again.
//! * Both keys at one moment: (a) `S = V`. (b) For each key load the entry; take the record if its number is at most
//!   `S`, else its `prev` if the number of that is, else start again. (c) If a key had no record, load `V`; if it is
//!   not `S` any more, start again.
//!
//! # Invariants
//!
//! All processes may die in any state, so I2, I7 and I8 are judged in each state as if they did.
//!
//! * **I1** At most one living process is between lock and unlock, and the word names it.
//! * **I2** Recovery yields exactly the batches that reached `pending`: no acknowledged write is lost, and no other
//!   batch shows.
//! * **I3** A get returns what the key was at some moment between its begin and its end.
//! * **I4** A reader never gets an older version of a key than it had before. (It follows from I3, and is what users
//!   would notice.)
//! * **I5** A get of both keys returns both as of one `V`: no transaction is seen half.
//! * **I6** `len` is the number of present keys whenever the lock is free and `pending` is clear.
//! * **I7** A rebuild from the log yields the same as recovery, except for batches whose writers got no answer and
//!   that nobody has committed after. A batch left behind is void once anybody else has committed.
//! * **I8** A batch whose caller was told that it failed is in no rebuild, even before anybody else has committed.
//! * **I9** From every state, without any further death, everybody alive can still come to the end: no rescuer is
//!   stuck and no lock is orphaned. (A waiter that is always too late is a matter of fairness, not of this model.)
//!
//! A search that finds nothing proves nothing unless it can find something: rules are left out one at a time, each in
//! a run of its own that must break the invariant which the rule serves. `--nocapture` prints the number of states of
//! each run, and for each seeded bug a shortest way to the violation.
//!
//! Three rules have no such run, because they serve what this model leaves out: the second load of the entry (reuse of
//! segments by eviction), `V` after the entry (here any `V` of the time of the get would do), and the burn in an abort
//! that wipes as well (loss of power, after which the wipe may not be on disk).

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
use memory::Change::{Delete, Keep, Set};
use world::{Bug, Op, PROCESSES, Setup};

const IDLE: &[Op] = &[];
const GET_TWICE: &[Op] = &[Op::Get(0), Op::Get(0)];
const GET_BOTH: &[Op] = &[Op::GetBoth];

// Every value is written once, so that a value names the operation it comes from.
const SET_BOTH_THEN_DELETE: &[Op] = &[Op::Write([Set(11), Set(12)]), Op::Write([Delete, Keep])];
const SET_FIRST: &[Op] = &[Op::Write([Set(21), Keep])];
const SET_FIRST_THEN_BOTH: &[Op] = &[Op::Write([Set(21), Keep]), Op::Write([Set(22), Set(23)])];
const SET_SECOND: &[Op] = &[Op::Write([Keep, Set(31)])];

/// Two writers, the third process as given.
fn two_writers_and(third: &'static [Op]) -> Setup {
    Setup {
        scripts: [SET_BOTH_THEN_DELETE, SET_FIRST_THEN_BOTH, third],
        deaths: 2,
        panics: 1,
        newcomers: false,
        bug: Bug::None,
    }
}

fn three_writers() -> Setup {
    Setup { scripts: [SET_BOTH_THEN_DELETE, SET_FIRST, SET_SECOND], ..two_writers_and(IDLE) }
}

/// Whoever dies is followed by a new process, which takes the next operation.
fn writers_and_newcomers(writers: usize) -> Setup {
    let mut scripts = [SET_BOTH_THEN_DELETE, SET_FIRST, SET_SECOND];
    scripts[writers..].fill(IDLE);
    Setup { scripts, deaths: 1, panics: 0, newcomers: true, bug: Bug::None }
}

#[track_caller]
fn holds(setup: Setup) {
    let Report { states, events, violation } = explore(&setup);
    println!("{states} states, {events} events, {PROCESSES} processes");
    if let Some(violation) = violation {
        panic!("{violation}");
    }
    assert!(states > 30_000, "only {states} states: a run as small as that has left most of the protocol out");
}

#[track_caller]
fn breaks(setup: Setup, bug: Bug, expected: Invariant) {
    let report = explore(&Setup { bug, ..setup });
    let violation = report.violation.unwrap_or_else(|| panic!("{bug:?} was not found in {} states", report.states));
    println!("{} states, {violation}", report.states);
    assert_eq!(violation.invariant, expected, "{violation}");
}

#[test]
fn all_invariants_hold_for_two_writers_and_a_reader_of_one_key() {
    // To a reader, a commit that a panic left pending is one that a death left pending.
    holds(Setup { panics: 0, ..two_writers_and(GET_TWICE) });
}

#[test]
fn all_invariants_hold_for_two_writers_and_a_reader_of_both_keys() {
    holds(two_writers_and(GET_BOTH));
}

#[test]
fn all_invariants_hold_for_three_writers() {
    holds(three_writers());
}

#[test]
fn all_invariants_hold_when_newcomers_follow_the_dead() {
    holds(writers_and_newcomers(3));
}

/// A writer panics after `pending`, its guard unlocks, and the next owner did not take the lock over.
#[test]
fn bug_01_recovery_only_on_takeover_breaks_i2() {
    breaks(two_writers_and(IDLE), Bug::RecoveryOnlyOnTakeover, Invariant::CommittedIsRecovered);
}

/// The rescuer commits what its writer never did. I2 draws the line at `pending` and nowhere else: only the writer
/// knows whether everything that can fail was over, and readers have relied on the state without this batch.
#[test]
fn bug_02_whole_batch_at_the_tail_counts_as_commit_breaks_i2() {
    breaks(two_writers_and(IDLE), Bug::WholeBatchCountsAsCommit, Invariant::CommittedIsRecovered);
}

#[test]
fn bug_03_visible_before_entries_breaks_i3() {
    breaks(two_writers_and(GET_TWICE), Bug::VisibleBeforeEntries, Invariant::ReadsAreOfTheirTime);
}

#[test]
fn bug_04_pending_before_the_list_is_complete_breaks_i2() {
    breaks(two_writers_and(IDLE), Bug::PendingBeforeListIsComplete, Invariant::CommittedIsRecovered);
}

#[test]
fn bug_05_takeover_by_plain_store_breaks_i1() {
    breaks(three_writers(), Bug::TakeoverByPlainStore, Invariant::OneOwner);
}

/// A waiter has found the owner dead; before it swaps, the id comes to life again and takes the lock.
#[test]
fn bug_06_reused_owner_ids_break_i1() {
    breaks(writers_and_newcomers(3), Bug::OwnerIdsReused, Invariant::OneOwner);
}

/// The id of the dead owner comes to life again before anybody has asked, and never lets go of what it never took.
#[test]
fn bug_06_reused_owner_ids_break_i9() {
    breaks(writers_and_newcomers(2), Bug::OwnerIdsReused, Invariant::EveryoneFinishes);
}

#[test]
fn bug_07_takeover_that_does_not_burn_breaks_i7() {
    breaks(two_writers_and(IDLE), Bug::TakeoverDoesNotBurn, Invariant::RebuildAgrees);
}

#[test]
fn bug_08_reader_that_ignores_visible_breaks_i3() {
    breaks(two_writers_and(GET_TWICE), Bug::ReaderIgnoresVisible, Invariant::ReadsAreOfTheirTime);
}

#[test]
fn bug_09_len_as_delta_breaks_i6() {
    breaks(two_writers_and(IDLE), Bug::LenAsDelta, Invariant::LenCounts);
}

#[test]
fn bug_10_snapshot_that_trusts_missing_keys_breaks_i5() {
    breaks(two_writers_and(GET_BOTH), Bug::SnapshotTrustsMissing, Invariant::SnapshotsAreWhole);
}

/// Two writers die one after the other with whole batches behind them: a flag burns one number, and the third batch
/// carries the number of the second.
#[test]
fn bug_11_burn_as_a_flag_breaks_i7() {
    breaks(three_writers(), Bug::BurnIsOnlyAFlag, Invariant::RebuildAgrees);
}

#[test]
fn bug_12_abort_that_leaves_its_batch_whole_breaks_i8() {
    breaks(two_writers_and(IDLE), Bug::AbortLeavesBatchWhole, Invariant::FailedStaysFailed);
}

/// A rescuer fails between the takeover and its burn, and unlocks: the next owner reuses the dead writer's number.
#[test]
fn bug_13_failure_between_takeover_and_burn_breaks_i7() {
    breaks(three_writers(), Bug::FailureBeforeBurn, Invariant::RebuildAgrees);
}
