//! A full store in which nothing is evicted can be emptied key by key, in any order: what says that an item was removed is
//! longer than items as short as these, and so are their copies.

use super::super::limit::segment_bytes;
use super::acts::{Act, put};
use super::audit::audit;
use super::index::{self, Act as InIndex};
use super::world::{SMALL_LIMIT, open, open_sized, path};
use crate::engine::queue::End;
use crate::error::Result;
use crate::options::Eviction;
use crate::os::Os;
use crate::os::sim::Machine;

/// What is removed as the `i`th of so many.
const ORDERS: [fn(u32, u32) -> u32; 3] = [
    |i, _| i,
    |i, stored| stored - 1 - i,
    // The factor is prime, and more than is stored.
    |i, stored| (u64::from(i) * 1_000_003 % u64::from(stored)) as u32,
];

/// How many are stored until the store is full.
fn fill<R>(mut store: impl FnMut(u32) -> Result<R>) -> u32 {
    let full = |&key: &u32| match store(key) {
        Ok(_) => false,
        Err(error) => {
            assert!(error.is_full(), "{error:?}");
            true
        }
    };
    (0..).find(full).expect("there is a limit")
}

fn empty<R: std::fmt::Debug>(stored: u32, order: fn(u32, u32) -> u32, mut remove: impl FnMut(u32) -> Result<R>) {
    for i in 0..stored {
        let removed = remove(order(i, stored));
        assert!(removed.is_ok(), "{i} of {stored}: {removed:?}");
    }
}

#[test]
fn a_full_store_of_short_values_is_emptied_newest_first_and_in_no_order() {
    for order in ORDERS.into_iter().skip(1) {
        let machine = Machine::with_file_capacity(3, 16 << 20);
        let handle = open_sized(&machine, SMALL_LIMIT);
        let stored = fill(|key| put(key, 1, 0).apply(&handle.store));
        empty(stored, order, |key| Act::Remove(key).apply(&handle.store));
        assert_eq!(handle.store.all_items(), 0);
        audit(&handle.store);
        assert!(machine.peak_linked_bytes() <= SMALL_LIMIT);
    }
}

/// A reboot makes the store anew from its log, and it is as full as before.
#[test]
fn a_full_store_is_emptied_after_it_was_made_anew() {
    for (len, order) in [(0, 1), (0, 2), (100, 0), (400, 2)] {
        let machine = Machine::with_file_capacity(3, 16 << 20);
        let first = open_sized(&machine, SMALL_LIMIT);
        let stored = fill(|key| put(key, 1, len).apply(&first.store));
        let before = first.store.volume();
        drop(first);
        machine.process().remove(&path("state")).unwrap();
        let handle = open(&machine);
        println!("{len} B, {stored} stored, {before} and {} taken", handle.store.volume());
        empty(stored, ORDERS[order], |key| Act::Remove(key).apply(&handle.store));
        assert_eq!(handle.store.all_items(), 0);
        audit(&handle.store);
    }
}

#[test]
fn a_full_index_is_emptied_newest_first_and_in_no_order() {
    for (policy, order) in [(Eviction::None, 1), (Eviction::LeastRecentlyUsed, 2)] {
        let machine = Machine::with_file_capacity(3, 16 << 20);
        let index::Process { handle, indexes, .. } = &index::open_with(&machine, policy, SMALL_LIMIT);
        let key = |number: u32| number.to_be_bytes().to_vec();
        let stored = fill(|number| InIndex::Put(0, key(number), 1, 1).apply(handle, indexes));
        empty(stored, ORDERS[order], |number| InIndex::Remove(0, key(number)).apply(handle, indexes));

        assert_eq!(handle.all_items(), 0);
        audit(handle);
        // Where something is evicted, what moves is over the limit for as long.
        assert!(machine.peak_linked_bytes() <= SMALL_LIMIT + segment_bytes(SMALL_LIMIT));
    }
}

/// At the ends a key that goes takes its leaf with it, and what led there is written anew.
#[test]
fn a_full_index_of_long_keys_is_popped_empty() {
    for (policy, end) in [(Eviction::None, End::Front), (Eviction::LeastRecentlyUsed, End::Back)] {
        let machine = Machine::with_file_capacity(3, 16 << 20);
        let index::Process { handle, indexes, .. } = &index::open_with(&machine, policy, 2 * SMALL_LIMIT);
        let key = |number: u32| [&number.to_be_bytes()[..], &[7; 1_200]].concat();
        let stored = fill(|number| InIndex::Put(0, key(number), 1, 1).apply(handle, indexes));
        empty(stored, ORDERS[0], |_| InIndex::Pop(0, end).apply(handle, indexes));
        assert_eq!(handle.all_items(), 0);
        audit(handle);
    }
}
