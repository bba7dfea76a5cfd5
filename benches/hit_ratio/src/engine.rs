//! Larder's side: a cache in a directory of its own for each run, through the public calls, and what it is charged for.

use crate::replay::{Measured, Store, replay};
use crate::trace::Trace;
use crate::value::Values;
use larder::{Cache, Eviction};
use std::path::Path;

/// The policies of the engine, by the names they have here.
pub const POLICIES: [(&str, Eviction); 5] = [
    ("s3-fifo", Eviction::S3Fifo),
    ("lru", Eviction::LeastRecentlyUsed),
    ("lfu", Eviction::LeastFrequentlyUsed),
    ("lrs", Eviction::LeastRecentlyStored),
    ("none", Eviction::None),
];

/// Bytes of a record beside key and value.
const RECORD: u64 = 24;
/// The longest encoded key: a number of up to eight bytes, and one that says so.
const KEY: u64 = 9;
/// Records are padded to a multiple of this.
const ALIGNED: u64 = 8;
/// Bytes of the index for an item, at most, in the long run.
const INDEX: u64 = 16;
/// The smallest limit that a cache takes.
pub const LIMIT_MIN: u64 = 2 << 20;

/// What an object of a trace without sizes is charged with.
pub fn object_bytes(value: u64) -> u64 {
    (RECORD + KEY + value).next_multiple_of(ALIGNED) + INDEX
}

/// How `object_bytes` comes about, for the reader of the table.
pub fn object_bytes_explained(value: u64) -> String {
    let record = RECORD + KEY + value;
    let padding = record.next_multiple_of(ALIGNED) - record;
    format!(
        "{} B an object: value {value}, record {RECORD}, key {KEY}, padding {padding}, index {INDEX}",
        object_bytes(value)
    )
}

/// The length of the values for a capacity in objects, if nobody says: 64 MiB of them, between 1 KiB and 16 KiB each.
pub fn value_bytes(capacity: u64) -> u64 {
    let share = ((64 << 20) / capacity.max(1)).clamp(1 << 10, 16 << 10);
    1 << share.ilog2()
}

/// The size limit for a capacity: in bytes as it is, in objects with what each is charged with.
pub fn size_limit(trace: &Trace, capacity: u64, value: u64) -> u64 {
    if trace.has_sizes { capacity } else { capacity.saturating_mul(object_bytes(value)) }
}

struct Larder(Cache);

impl Store for Larder {
    fn get(&self, id: u64) -> larder::Result<Option<Vec<u8>>> {
        self.0.get_bytes(id)
    }

    fn set(&self, id: u64, value: &[u8]) -> larder::Result<bool> {
        match self.0.set_bytes(id, value) {
            Ok(()) => Ok(true),
            Err(error) if error.is_full() => Ok(false),
            Err(larder::Error::ValueTooLarge { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn volume(&self) -> u64 {
        self.0.volume()
    }

    fn copied(&self) -> larder::Result<Option<u64>> {
        Ok(Some(self.0.stats()?.moved_bytes))
    }
}

/// Replays a trace through a new cache below `directory`.
pub fn run(
    trace: &Trace,
    values: &Values,
    policy: Eviction,
    size_limit: u64,
    directory: &Path,
) -> Result<Measured, Box<dyn std::error::Error>> {
    let directory = tempfile::Builder::new().prefix("hit_ratio-").tempdir_in(directory)?;
    let cache = Cache::builder(directory.path()).size_limit(size_limit).eviction(policy).statistics(true);
    // What goes is to follow from the trace, not from when a thread gets a processor.
    let cache = cache.background(false).open()?;
    Ok(replay(trace, values, &Larder(cache), size_limit)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::of_ids;

    #[test]
    fn a_small_trace_goes_through_a_real_cache() {
        let directory = tempfile::tempdir().unwrap();
        let trace = of_ids(&[1, 2, 3, 1, 2, u64::MAX, 3, u64::MAX]);
        let values = Values::of_bytes(5_000);
        let limit = size_limit(&trace, 1_000, 5_000);
        for (_, policy) in POLICIES {
            let measured = run(&trace, &values, policy, limit, directory.path()).unwrap();
            assert_eq!((measured.requests, measured.hits, measured.wrong, measured.refused), (8, 4, 0, 0));
            assert!(measured.volume_max > 20_000 && measured.volume_max <= limit);
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_the_limit_holds() {
        let directory = tempfile::tempdir().unwrap();
        let ids: Vec<u64> = (0..400).collect();
        let trace = of_ids(&ids);
        let values = Values::of_bytes(20_000);
        let measured = run(&trace, &values, Eviction::None, LIMIT_MIN, directory.path()).unwrap();
        assert!(measured.refused > 200 && measured.refused < 400, "{}", measured.refused);
        assert!(measured.volume_max <= LIMIT_MIN);
    }

    #[test]
    fn objects_are_charged_with_more_than_their_values() {
        assert_eq!(object_bytes(4_096), 4_096 + 24 + 9 + 7 + 16);
        assert!(object_bytes_explained(4_096).starts_with("4152 B an object"));
        assert_eq!([1_000, 5_000, 40_000, 160_000].map(value_bytes), [16_384, 8_192, 1_024, 1_024]);
    }
}
