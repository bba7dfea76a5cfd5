//! Is a `Deque` a `VecDeque`, with reopening, several handles, transactions and leases among the calls, in a directory of its own
//! and in a cache?
//!
//! A failure names its seed. `LARDER_TEST_CASES` says how many cases there are, `LARDER_TEST_SEED` where they begin.

#[path = "deque/leases.rs"]
mod leases;
#[path = "deque/maxlen.rs"]
mod maxlen;
#[path = "deque/model.rs"]
mod model;
#[path = "deque/random.rs"]
mod random;
#[path = "deque/refusals.rs"]
mod refusals;
#[path = "deque/stopped.rs"]
mod stopped;
#[path = "deque/waiting.rs"]
mod waiting;
