//! Space that somebody took out of use and did not give back: who needs it does. It knows nothing of what takes it.

use super::super::limit::segment_bytes;
use super::acts::put;
use super::audit::audit;
use super::eviction::reopen as open_with;
use super::world::{Handle, SMALL_LIMIT, open, open_sized, opening, path};
use super::{scale, spread};
use crate::engine::notices::{Listener, Notice};
use crate::engine::recovery::Opening;
use crate::engine::store::Store;
use crate::options::Eviction;
use crate::os::real::RealOs;
use crate::os::sim::{CallKind, Machine};
use std::sync::Arc;

/// What a handle sets aside for its presence.
const PAGE: u64 = 4096;

/// Puts small items until the store is full: how many fit.
fn fill(handle: &Handle) -> u32 {
    let fit = (0..).find(|&key| match put(key, 1, 0).apply(&handle.store) {
        Ok(_) => false,
        Err(error) => {
            assert!(error.is_full(), "{error:?}");
            true
        }
    });
    fit.expect("there is a limit")
}

/// How many items fit into a store that somebody cleared and died before the files were unlinked. With a thread in the background,
/// if there is to be one, that is not heard of meanwhile, as one that waits for a disk.
fn fit_after_a_clear(has_thread: bool) -> u32 {
    let machine = Machine::with_file_capacity(3, 16 << 20);
    let (handle, other) = (open_sized(&machine, SMALL_LIMIT), open(&machine));
    if has_thread {
        let real = RealOs::new().unwrap();
        handle.store.duty.companion.start(&real, |companion| while companion.rest(None) {}).unwrap();
    }
    for key in 0..100 {
        put(key, 1, 1000).apply(&handle.store).unwrap();
    }
    other.store.clear_by_mark().unwrap();
    assert!(other.store.reclaim(&other.store.lock().unwrap()).unwrap());
    other.os.kill();
    let (files, bytes) = handle.store.waiting();
    assert!(files > 1 && bytes > segment_bytes(SMALL_LIMIT), "{files} files of {bytes} bytes wait");
    let fit = fill(&handle);
    assert!(machine.peak_linked_bytes() <= SMALL_LIMIT);
    audit(&handle.store);
    handle.store.end_upkeep();
    fit
}

/// Who cleared a store of large values died before their files were unlinked, and nobody opens it since.
#[test]
fn what_a_dead_clear_has_left_makes_room_for_who_evicts() {
    let filled = || {
        let machine = Machine::with_file_capacity(3, 16 << 20);
        let eviction = Some(Eviction::LeastRecentlyUsed.to_bits());
        let os = machine.process();
        let opening = Opening { eviction, ..opening(Some(SMALL_LIMIT)) };
        let handle = Handle { store: Store::open(os.clone(), &path(""), &opening).unwrap(), os };
        let other = open_with(&machine);
        (0..150).for_each(|key| put(key, 1, 12_000).apply(&handle.store).map(drop).unwrap());
        (machine, handle, other)
    };
    let steps = {
        let (_machine, handle, _other) = filled();
        let before = handle.os.steps();
        handle.store.clear().unwrap();
        handle.os.steps() - before
    };
    for step in spread(steps, 40 * scale()) {
        let (machine, handle, other) = filled();
        handle.os.kill_after(step);
        assert!(handle.os.run(|| handle.store.clear()).is_none());
        handle.os.kill();
        for key in 0..300 {
            let stored = put(key, 2, 12_000).apply(&other.store);
            assert!(stored.is_ok(), "a death at step {step} of {steps}, key {key}: {stored:?}");
        }
        assert!(machine.peak_linked_bytes() <= SMALL_LIMIT, "a death at step {step} of {steps}");
        audit(&other.store);
    }
}

/// The index has to double when there is just room for two of them. If what waits to be unlinked has that room, it goes before
/// items take the rest.
#[test]
fn as_much_fits_if_the_thread_is_slow_to_give_back_what_was_cleared() {
    let (alone, with_thread) = (fit_after_a_clear(false), fit_after_a_clear(true));
    assert_eq!(with_thread, alone);
}

/// A listener is called between the steps of a `clear`, and stands for whoever comes just then.
#[test]
fn a_clear_gives_back_what_others_retire_meanwhile() {
    let machine = Machine::with_file_capacity(3, 16 << 20);
    let handle = open_sized(&machine, SMALL_LIMIT);
    let other = open(&machine);
    let listen = move |_| assert!(other.store.reclaim(&other.store.lock().unwrap()).unwrap());
    let listener = Some(Listener(Arc::new(listen)));
    let clearer = Store::open(machine.process(), &path(""), &Opening { listener, ..opening(None) }).unwrap();
    for key in 0..1000 {
        put(key, 1, 1000).apply(&handle.store).unwrap();
    }
    clearer.notices.add(vec![Notice { key: Vec::new(), value_bytes: 0 }]);
    assert_eq!(clearer.clear().unwrap(), 1000);
    assert_eq!(clearer.waiting(), (0, 0));
    audit(&clearer);
}

/// What cannot be unlinked is tried once for what it is needed for: a write after the other would wait for the disk.
#[test]
fn writes_do_not_wait_for_what_cannot_be_unlinked() {
    let machine = Machine::with_file_capacity(3, 16 << 20);
    let (handle, other) = (open_sized(&machine, SMALL_LIMIT), open(&machine));
    let real = RealOs::new().unwrap();
    handle.store.duty.companion.start(&real, |companion| while companion.rest(None) {}).unwrap();
    for key in 0..100 {
        put(key, 1, 1000).apply(&handle.store).unwrap();
    }
    handle.store.sync().unwrap();
    other.store.clear_by_mark().unwrap();
    assert!(other.store.reclaim(&other.store.lock().unwrap()).unwrap());
    other.os.kill();
    machine.fail_from(CallKind::Remove, 1, std::io::ErrorKind::PermissionDenied);
    let mut waited = 0;
    let writes = (0..).take_while(|&key| put(key, 1, 0).apply(&handle.store).is_ok());
    let writes = writes.inspect(|_| waited += u32::from(handle.store.is_all_durable())).count();
    assert!(writes > 10_000 && waited < 10, "{waited} of {writes} writes waited for the disk");
    handle.store.end_upkeep();
}

/// A handle is stopped in the middle of a change of what it has set aside; another one dies, is found dead, and what the living have set
/// aside is counted anew; the first one goes on.
#[test]
fn what_is_set_aside_is_counted_whole() {
    let bytes: u64 = 1 << 20;
    for gives_back in [true, false] {
        let machine = Machine::with_file_capacity(3, 16 << 20);
        let (one, other) = (open_sized(&machine, SMALL_LIMIT), open(&machine));
        if gives_back {
            one.store.set_aside(bytes);
        }
        let delta = if gives_back { bytes.wrapping_neg() } else { bytes };
        one.store.begin_to_set_aside(delta);
        other.os.kill();
        let third = open(&machine);
        one.store.end_to_set_aside(delta);
        // The share of the dead is its page alone, and stays.
        assert_eq!(third.store.reserved(), 3 * PAGE + if gives_back { 0 } else { bytes });
        if !gives_back {
            one.store.set_aside(bytes.wrapping_neg());
            assert_eq!(third.store.reserved(), 3 * PAGE);
        }
    }
}

#[test]
fn what_the_dead_have_set_aside_is_given_back() {
    let machine = Machine::with_file_capacity(3, 16 << 20);
    let (one, other) = (open_sized(&machine, SMALL_LIMIT), open(&machine));
    one.store.set_aside(1 << 20);
    other.store.set_aside(1 << 19);
    other.os.kill();
    assert_eq!(open(&machine).store.reserved(), 2 * PAGE + (1 << 20));
}
