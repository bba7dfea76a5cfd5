//! Does a hot `get` or an uncontended `set` make a system call? Run it under `strace`:
//!
//! ```text
//! strace -f -o /tmp/calls <this program>
//! ```
//! Each phase stands between two reads of a file that is not there, whose name says which phase it is, so that the calls
//! between the two are those of the phase. Without `strace` it prints how long the phases took.

mod stage;

use std::hint::black_box;

use stage::{filled, key, timed, value};

const CALLS: u64 = 100_000;
const HOT: u64 = 1000;

fn phase(name: &str, work: impl FnOnce()) {
    let mark = |side: &str| drop(std::fs::metadata(format!("/larder-mark/{name}/{side}")));
    mark("begin");
    let time = timed(work);
    mark("end");
    println!("{name}: {CALLS} calls, {:.0} ns each", time.as_nanos() as f64 / CALLS as f64);
}

fn main() {
    let (cache, _directory) = filled(HOT, 100);
    let bytes = value(100);
    phase("get", || {
        for i in 0..CALLS {
            assert!(black_box(cache.get_bytes(key(i % HOT))).expect("readable").is_some());
        }
    });
    phase("get_ref", || {
        for i in 0..CALLS {
            assert!(black_box(cache.get_ref(key(i % HOT))).expect("readable").is_some());
        }
    });
    phase("overwrite", || (0..CALLS).for_each(|i| cache.set_bytes(key(i % HOT), &bytes).expect("stored")));
    phase("new", || (0..CALLS).for_each(|i| cache.set_bytes(key(HOT + i), &bytes).expect("stored")));
}
