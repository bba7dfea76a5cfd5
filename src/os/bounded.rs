//! The allocator of the unit tests and of the fuzz targets: it counts what a thread asks for while a piece of code runs,
//! so that a length that was believed unchecked shows. Knows nothing of what the memory is for.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What no piece of code may pass, whatever its bound: memory for this is refused, and not only counted.
const REFUSED: isize = 1 << 30;

#[global_allocator]
static ALLOCATOR: Bounded = Bounded;

/// The system's allocator, with a meter in front.
struct Bounded;

/// What one thread has asked for and given back since its meter was started.
#[derive(Clone, Copy)]
struct Meter {
    runs: bool,
    bound: isize,
    held: isize,
    peak: isize,
}

thread_local! {
    // Without a destructor, so that it can be asked while the thread ends.
    static METER: Cell<Meter> = const { Cell::new(Meter { runs: false, bound: 0, held: 0, peak: 0 }) };
}

/// Counts so many bytes more. False if they are to be refused.
fn count(bytes: isize) -> bool {
    let mut meter = METER.get();
    // Who panics needs memory to say so.
    if !meter.runs || std::thread::panicking() {
        return true;
    }
    meter.held += bytes;
    meter.peak = meter.peak.max(meter.held);
    // A fuzzer shows the call that asked for it, if it ends there and then; a test goes on to name what it tried.
    let refused = meter.held > if cfg!(fuzzing) { meter.bound } else { meter.bound.max(REFUSED) };
    if refused {
        meter.held -= bytes;
        meter.runs = false;
    }
    METER.set(meter);
    !refused
}

fn signed(bytes: usize) -> isize {
    isize::try_from(bytes).unwrap_or(isize::MAX)
}

// SAFETY: every call goes to the system's allocator as it came; what is refused is null, as the trait allows.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !count(signed(layout.size())) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller keeps the promises of this very call.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !count(signed(layout.size())) {
            return std::ptr::null_mut();
        }
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-signed(layout.size()));
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if !count(signed(new_size) - signed(layout.size())) {
            return std::ptr::null_mut();
        }
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, new_size) }
    }
}

/// Runs a piece of code in which this thread may hold at most so many bytes more than it does now. Panics if it held more;
/// a fuzz target ends where it asks for them.
pub fn within<R>(bound: usize, piece: impl FnOnce() -> R) -> R {
    struct Stopped;
    impl Drop for Stopped {
        fn drop(&mut self) {
            METER.set(Meter { runs: false, ..METER.get() });
        }
    }
    METER.set(Meter { runs: true, bound: signed(bound), held: 0, peak: 0 });
    let stopped = Stopped;
    let result = piece();
    drop(stopped);
    let meter = METER.get();
    assert!(meter.peak <= meter.bound, "held {} bytes, which is more than {bound}", meter.peak);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_the_bound_is_told() {
        let outcome = |bytes: usize| std::panic::catch_unwind(|| within(1_000, || vec![1u8; bytes].len()));
        assert_eq!(outcome(1_000).unwrap(), 1_000);
        assert!(outcome(1_001).is_err());
        // What was given back does not count.
        within(1_000, || (0..10).for_each(|_| drop(vec![1u8; 900])));
        let grown = std::panic::catch_unwind(|| {
            within(100, || {
                let mut bytes = Vec::<u8>::with_capacity(60);
                bytes.reserve_exact(101);
            })
        });
        assert!(grown.is_err());
    }
}
