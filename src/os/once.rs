//! A value that is set once and never waited for. It knows nothing of what it holds.
//!
//! `std::sync::OnceLock` makes whoever comes second wait for whoever came first. In a child of `fork` the one that came
//! first may not exist, so here both bring a value, and the second to arrive drops its own.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Empty, or a value that stays.
pub struct WriteOnce<T> {
    /// Null, or from `Box::into_raw` and owned by this.
    value: AtomicPtr<T>,
    _owns: PhantomData<Box<T>>,
}

impl<T: Send + Sync> WriteOnce<T> {
    /// An empty one.
    pub const fn new() -> Self {
        WriteOnce { value: AtomicPtr::new(ptr::null_mut()), _owns: PhantomData }
    }

    /// The value, if there is one.
    pub fn get(&self) -> Option<&T> {
        let value = self.value.load(Ordering::Acquire);
        // SAFETY: null, or a box that `set` released to this pointer and that nothing frees before `drop`, which has
        // `self` exclusively; only shared references to it are ever made.
        unsafe { value.as_ref() }
    }

    /// The value that is there from now on: this one, or the one that was there before it.
    pub fn set(&self, value: T) -> &T {
        let new = Box::into_raw(Box::new(value));
        let set = self.value.compare_exchange(ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire);
        let there = set.map_or_else(
            |there| {
                // SAFETY: `new` came from `Box::into_raw` above, and the exchange that failed gave it to nobody.
                drop(unsafe { Box::from_raw(new) });
                there
            },
            |_| new,
        );
        // SAFETY: not null, and a box that stays until `drop`, as in `get`.
        unsafe { &*there }
    }
}

impl<T> Drop for WriteOnce<T> {
    fn drop(&mut self) {
        let value = *self.value.get_mut();
        if !value.is_null() {
            // SAFETY: it came from `Box::into_raw` in `set`, and no reference outlives `self`.
            drop(unsafe { Box::from_raw(value) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn the_first_value_stays_and_each_is_dropped_once() {
        let (first, second) = (Arc::new(1), Arc::new(2));
        let cell = WriteOnce::new();
        assert!(cell.get().is_none());
        assert_eq!(**cell.set(Arc::clone(&first)), 1);
        assert_eq!(**cell.set(Arc::clone(&second)), 1);
        assert_eq!(cell.get().map(|value| **value), Some(1));
        assert_eq!((Arc::strong_count(&first), Arc::strong_count(&second)), (2, 1));
        drop(cell);
        assert_eq!((Arc::strong_count(&first), Arc::strong_count(&second)), (1, 1));
    }

    #[test]
    fn of_many_at_once_all_see_the_same() {
        for _ in 0..200 {
            let cell = WriteOnce::new();
            let seen: Vec<usize> = std::thread::scope(|scope| {
                let cell = &cell;
                let setters: Vec<_> = (0..4usize).map(|i| scope.spawn(move || *cell.set(i))).collect();
                setters.into_iter().map(|setter| setter.join().unwrap()).collect()
            });
            assert!(seen.iter().all(|value| Some(value) == cell.get()), "{seen:?}");
        }
    }
}
