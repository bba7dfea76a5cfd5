//! The storage floor: what the bytes of a store's files mean. It may know the os floor below it, and nothing of locks,
//! commits or recovery: the engine decides when a word changes, this floor says which word that is.
//!
//! | file | module | holds |
//! |---|---|---|
//! | `larder` | [`manifest`] | format version, store id and settings; replaced atomically |
//! | `state` | [`state`], [`redo`] | every shared word: lock, visible sequence, counters, segment rows, redo list |
//! | `log-<id>` | [`segment`], [`record`] | the commit stream: batches of records, in order |
//! | `index-<generation>` | [`index`] | hash of a key → location of its newest record |
//! | `tags-<chunk>` | [`tag_table`] | a tag's eviction marks and live count |
//! | `void` | [`void`] | commits that a power cut took and of which it kept copies |
//! | `value-<id>` | [`record`] | one large value |
//! | `procs/<id>` | | the sign of life of one handle, and its statistics |
//!
//! A fan-out cache is a directory of stores:
//!
//! | file | module | holds |
//! |---|---|---|
//! | `fanout` | [`fanout`] | how many shards, and which of them has a key |
//! | `decided` | [`decision`] | up to which number the commits of several shards count |
//! | `shard-<number>` | all of the above | a store |
//!
//! All numbers are little-endian; words that processes share are in the machine's own order, which the manifest names.

pub mod ascending;
pub mod decision;
pub mod fanout;
pub mod index;
pub mod leaf;
pub mod location;
pub mod manifest;
pub mod namespace;
pub mod paths;
pub mod record;
pub mod redo;
pub mod segment;
pub mod state;
pub mod synced;
pub mod tag_table;
pub mod tree;
pub mod void;

/// A field of a fixed-size byte table; zero if the table is too short, which its checksum then shows.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    bytes.get(offset..).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_le_bytes(*b))
}

/// As [`u32_at`], for 16 bits.
pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    bytes.get(offset..).and_then(|b| b.first_chunk()).map_or(0, |b| u16::from_le_bytes(*b))
}

/// As [`u32_at`], for 64 bits.
pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    bytes.get(offset..).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_le_bytes(*b))
}
