//! Is a `Deque` a `VecDeque`, with reopening, several handles, transactions and leases among the calls, in a directory of its own
//! and in a cache?
//!
//! A failure names its seed. `LARDER_TEST_SCALE` multiplies the cases, `LARDER_TEST_SEED` says where they begin.

#[path = "deque/leases.rs"]
mod leases;
#[path = "deque/model.rs"]
mod model;
#[path = "deque/refusals.rs"]
mod refusals;
#[path = "deque/waiting.rs"]
mod waiting;
