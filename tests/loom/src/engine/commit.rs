//! Steps 5 to 8 as `Commit::publish` of `commit.rs` makes them, and recovery as `Locked::recover` of `finish.rs` does.

use crate::os::OsMap;
use crate::storage::redo::{self, Address, Change, Place};
use crate::storage::state::{PENDING, VISIBLE};

/// In which order the words of a commit are stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Real,
    /// Seeded: step 7 before step 6.
    VisibleFirst,
    /// Seeded: `PENDING` before the list that it vouches for.
    PendingFirst,
}

/// A change of a word of the one map that a model has.
pub fn change(offset: usize, new: u64) -> Change {
    Change { address: Address::new(Place::State, offset), old: 0, new }
}

/// `Commit::publish`: `changes` has the cells last.
pub fn publish(state: &impl OsMap, sequence: u64, changes: &[Change], order: Order) {
    // 5. The list, then the word that makes it count.
    if order == Order::PendingFirst {
        state.store(PENDING, sequence);
    }
    redo::write_inline(state, [changes, &[]]);
    if order != Order::PendingFirst {
        state.store(PENDING, sequence);
    }
    // 6 and 7.
    if order == Order::VisibleFirst {
        state.store(VISIBLE, sequence);
    }
    changes.iter().for_each(|change| apply(state, *change));
    if order != Order::VisibleFirst {
        state.store(VISIBLE, sequence);
    }
    // 8.
    state.store(PENDING, 0);
}

/// As far as step 5, and into step 6: what a process leaves that dies there.
pub fn publish_and_die(state: &impl OsMap, sequence: u64, changes: &[Change], applied: usize, order: Order) {
    if order == Order::PendingFirst {
        state.store(PENDING, sequence);
        return;
    }
    redo::write_inline(state, [changes, &[]]);
    state.store(PENDING, sequence);
    changes.iter().take(applied).for_each(|change| apply(state, *change));
}

/// `Locked::recover`: steps 6 to 8 with the list that is there.
pub fn recover(state: &impl OsMap) {
    let pending = state.load(PENDING);
    if pending > state.load(VISIBLE) {
        let (changes, _) = redo::describe(state);
        (0..changes).for_each(|i| apply(state, redo::read_inline(state, i)));
        state.store(VISIBLE, pending);
    }
    state.store(PENDING, 0);
}

fn apply(state: &impl OsMap, change: Change) {
    if let Some((_, offset)) = change.address.parse() {
        state.store(offset, change.new);
    }
}
