//! The bodies of the fuzz targets in `fuzz/`: plain functions that take any bytes and panic if a promise is broken. The
//! unit tests here run each of them on the corpus that is committed and on random bytes. They stand above all floors, as
//! tests do, and are compiled for tests and fuzzers alone.
//!
//! What each of them makes of its bytes is said at its head. Where a checksum would be in the way, a bit of the input says
//! whether it is put right first: so both damage that shows and damage that does not are tried.

mod held;
mod index;
mod input;
mod key;
mod operations;
mod record;
mod repaired;
mod segment;
mod state;
mod store_directory;
#[cfg(test)]
mod tests;
mod value;

pub use index::index;
pub use key::key;
pub use operations::operations;
pub use record::record;
pub use segment::segment;
pub use state::state;
pub use store_directory::store_directory;
pub use value::value;
