//! Whether one thread plays all processes of a machine: then nobody else can come to what one of them waits for, and
//! giving up the processor would only wait for strangers. Knows nothing of what a thread does.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

thread_local! {
    /// Its address tells threads that live at the same time apart.
    static HERE: u8 = const { 0 };
}

/// The threads that have acted on a machine.
#[derive(Default)]
pub(super) struct Crowd {
    first: AtomicUsize,
    is_many: AtomicBool,
}

impl Crowd {
    /// This thread acts.
    pub(super) fn note(&self) {
        let here = HERE.with(|here| std::ptr::from_ref(here).addr());
        let first = self.first.load(Ordering::Relaxed);
        if first == here || self.is_many.load(Ordering::Relaxed) {
            return;
        }
        if first != 0 || self.first.compare_exchange(0, here, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            self.is_many.store(true, Ordering::Relaxed);
        }
    }

    /// Lets the others go on, if there are any.
    pub(super) fn yield_now(&self) {
        self.note();
        if self.is_many.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_thread_makes_a_crowd_and_one_that_comes_back_does_not() {
        let crowd = Crowd::default();
        crowd.note();
        crowd.note();
        assert!(!crowd.is_many.load(Ordering::Relaxed));
        std::thread::scope(|scope| scope.spawn(|| crowd.note()).join().unwrap());
        assert!(crowd.is_many.load(Ordering::Relaxed));
    }
}
