//! Is an `Index` a `BTreeMap`, with reopening, several handles and transactions among the calls, in a directory of its own and in a
//! cache?
//!
//! A failure names its seed. `LARDER_TEST_SCALE` multiplies the cases, `LARDER_TEST_SEED` says where they begin.

#[path = "index/among_writers.rs"]
mod among_writers;
#[path = "index/keys.rs"]
mod keys;
#[path = "index/model.rs"]
mod model;
#[path = "index/refusals.rs"]
mod refusals;
