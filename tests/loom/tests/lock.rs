//! The lock word: `src/engine/lock.rs` itself, taken by two, given back, and taken over from an owner that is dead.

use loom::cell::UnsafeCell;
use loom::sync::atomic::AtomicU32;
use loom::thread;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use larder_loom::check;
use larder_loom::engine::commit::{Order, change, publish_and_die};
use larder_loom::engine::store::Store;
use larder_loom::engine::{CELLS, enter};
use larder_loom::memory::{Loom, Map, Orderings, REAL, RELAXED_CHANGES, RELAXED_STORES};
use larder_loom::os::OsMap;
use larder_loom::storage::paths::Paths;
use larder_loom::storage::redo::CHANGE;
use larder_loom::storage::state::{PENDING, REDO, VISIBLE};

const SLEEPERS: u32 = 1 << 31;

/// What the lock protects: memory without atomics.
struct Guarded(UnsafeCell<u32>);

// SAFETY: loom stops the model at two accesses that nothing orders.
unsafe impl Send for Guarded {}
// SAFETY: as above.
unsafe impl Sync for Guarded {}

fn store(owner: u32, state: &Arc<Map>, first_lives: &Arc<AtomicU32>) -> Store<Loom> {
    Store {
        os: Loom { first_lives: Arc::clone(first_lives) },
        paths: Paths::new(Path::new("/store")),
        store_id: 1,
        read_only: false,
        state: Arc::clone(state),
        owner,
        lock_timeout: Duration::from_secs(1),
    }
}

/// Takes the lock and counts.
fn count(store: &Store<Loom>, counter: &Guarded) {
    let locked = enter(store).unwrap();
    // SAFETY: as above.
    counter.0.with_mut(|count| unsafe { *count += 1 });
    assert_eq!(store.state.load(PENDING), 0, "recovery comes first");
    drop(locked);
}

fn two_take_it(orderings: Orderings) {
    check(None, move || {
        let state = Arc::new(Map::new(orderings, &[(PENDING, 0)], &[]));
        let lives = Arc::new(AtomicU32::new(1));
        let counter = Arc::new(Guarded(UnsafeCell::new(0)));
        let other = {
            let (store, counter) = (store(2, &state, &lives), Arc::clone(&counter));
            thread::spawn(move || count(&store, &counter))
        };
        count(&store(3, &state, &lives), &counter);
        other.join().unwrap();
        // SAFETY: as above.
        assert_eq!(counter.0.with(|count| unsafe { *count }), 2);
    });
}

#[test]
fn i1_two_take_the_lock_one_after_the_other() {
    two_take_it(REAL);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn bug_lock_without_acquire_and_release() {
    two_take_it(RELAXED_CHANGES);
}

/// The owner 1 dies after it stored `PENDING`. Two others are there, who find it dead.
fn taken_over(orderings: Orderings, blind: bool) {
    check(None, move || {
        let mut words = vec![(PENDING, 0), (VISIBLE, 1), (CELLS[0], 8), (REDO, 0)];
        words.extend([(REDO + 16, 0), (REDO + 16 + CHANGE - 8, 0)]);
        let state = Map::new(orderings, &words, &[]).locked_by(1 | SLEEPERS);
        let state = Arc::new(if blind { state.blind_from(1 | SLEEPERS) } else { state });
        let lives = Arc::new(AtomicU32::new(1));
        let counter = Arc::new(Guarded(UnsafeCell::new(0)));
        let dies = {
            let (state, lives, counter) = (Arc::clone(&state), Arc::clone(&lives), Arc::clone(&counter));
            thread::spawn(move || {
                // SAFETY: as above.
                counter.0.with_mut(|count| unsafe { *count += 1 });
                publish_and_die(&*state, 2, &[change(CELLS[0], 16)], 0, Order::Real);
                // The kernel gives the presence free when all is over.
                lives.store(0, Ordering::Release);
            })
        };
        dies.join().unwrap();
        let other = {
            let (store, counter) = (store(2, &state, &lives), Arc::clone(&counter));
            thread::spawn(move || count(&store, &counter))
        };
        count(&store(3, &state, &lives), &counter);
        other.join().unwrap();
        // SAFETY: as above.
        assert_eq!(counter.0.with(|count| unsafe { *count }), 3);
        assert_eq!((state.load(VISIBLE), state.load(CELLS[0])), (2, 16));
    });
}

#[test]
fn i1_i2_one_of_two_takes_over_and_finishes_the_commit() {
    taken_over(REAL, false);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn bug_takeover_by_plain_store() {
    taken_over(REAL, true);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn bug_takeover_without_acquire_and_release() {
    taken_over(RELAXED_CHANGES, false);
}

/// A waiter that watches its owner die: what that one stored is seen through the presence alone.
fn waiter_sees_a_death(orderings: Orderings, presence: Ordering) {
    check(None, move || {
        let mut words = vec![(PENDING, 0), (VISIBLE, 1), (CELLS[0], 8), (REDO, 0)];
        words.extend([(REDO + 16, 0), (REDO + 16 + CHANGE - 8, 0)]);
        let state = Arc::new(Map::new(orderings, &words, &[]).locked_by(1 | SLEEPERS));
        let lives = Arc::new(AtomicU32::new(1));
        let counter = Arc::new(Guarded(UnsafeCell::new(0)));
        let dies = {
            let (state, lives) = (Arc::clone(&state), Arc::clone(&lives));
            thread::spawn(move || {
                publish_and_die(&*state, 2, &[change(CELLS[0], 16)], 0, Order::Real);
                lives.store(0, presence);
            })
        };
        // Not this thread: loom lets none read again what it has seen before it yielded, and this one made the words.
        let waits = thread::spawn(move || {
            count(&store(3, &state, &lives), &counter);
            assert_eq!((state.load(VISIBLE), state.load(CELLS[0])), (2, 16), "not recovered");
        });
        dies.join().unwrap();
        waits.join().unwrap();
    });
}

#[test]
fn i2_a_waiter_that_sees_its_owner_die_finishes_the_commit() {
    waiter_sees_a_death(REAL, Ordering::Release);
    // The presence orders what the dead owner stored, whatever the stores themselves did.
    waiter_sees_a_death(RELAXED_STORES, Ordering::Release);
}

#[test]
#[should_panic(expected = "not recovered")]
fn bug_presence_that_orders_nothing() {
    waiter_sees_a_death(RELAXED_STORES, Ordering::Relaxed);
}
