//! Is an `Index` a `BTreeMap`, with reopening, several handles and transactions among the calls, in a directory of its own and in a
//! cache?
//!
//! A failure names its seed. `LARDER_TEST_CASES` says how many cases there are, `LARDER_TEST_SEED` where they begin.

#[path = "index/among_writers.rs"]
mod among_writers;
#[path = "index/keys.rs"]
mod keys;
#[path = "index/model.rs"]
mod model;
#[path = "deque/random.rs"]
mod random;
#[path = "index/refusals.rs"]
mod refusals;
#[path = "index/space.rs"]
mod space;
