//! Replaying a trace through a store: read, and on a miss store. Every value read is checked.

use crate::trace::Trace;
use crate::value::Values;
use std::time::Instant;

/// Requests between two looks at how much room the store takes.
const SAMPLE_EVERY: u64 = 1_000;

/// What the replay needs of a store.
pub trait Store {
    fn get(&self, id: u64) -> larder::Result<Option<Vec<u8>>>;

    /// Stores a value. False if there was no room for it.
    fn set(&self, id: u64, value: &[u8]) -> larder::Result<bool>;

    /// Bytes on disk.
    fn volume(&self) -> u64;

    /// Bytes that eviction has copied from place to place, if the store counts them.
    fn copied(&self) -> larder::Result<Option<u64>>;
}

/// What came out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    pub requests: u64,
    pub hits: u64,
    pub bytes: u64,
    pub hit_bytes: u64,
    /// Misses that were not stored, for want of room or because they never could.
    pub refused: u64,
    /// Bytes of what was stored.
    pub stored_bytes: u64,
    /// Of those, copied again by eviction.
    pub copied_bytes: Option<u64>,
    /// Reads that gave another value than was stored.
    pub wrong: u64,
    /// The most that the store took, as sampled.
    pub volume_max: u64,
    pub seconds: f64,
}

impl Measured {
    pub fn count(&mut self, is_hit: bool, size: u64) {
        self.requests += 1;
        self.bytes += size;
        if is_hit {
            self.hits += 1;
            self.hit_bytes += size;
        }
    }

    pub fn hit_percent(&self) -> f64 {
        self.hits as f64 * 100.0 / self.requests.max(1) as f64
    }

    pub fn byte_hit_percent(&self) -> f64 {
        self.hit_bytes as f64 * 100.0 / self.bytes.max(1) as f64
    }

    /// Bytes written for each byte stored.
    pub fn amplification(&self) -> Option<f64> {
        let copied = self.copied_bytes?;
        Some((self.stored_bytes + copied) as f64 / self.stored_bytes.max(1) as f64)
    }

    pub fn requests_per_second(&self) -> f64 {
        self.requests as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }
}

/// Replays a trace. Objects larger than `limit` are not offered to the store.
pub fn replay(trace: &Trace, values: &Values, store: &impl Store, limit: u64) -> larder::Result<Measured> {
    let mut measured = Measured::default();
    let mut value = Vec::new();
    let start = Instant::now();
    for object in &trace.requests {
        let id = trace.ids[*object as usize];
        let size = values.size(trace, *object);
        let found = store.get(id)?;
        measured.count(found.is_some(), size);
        match found {
            Some(found) => measured.wrong += u64::from(!values.is_value(id, size, &found)),
            None if size > limit => measured.refused += 1,
            None => {
                values.write(id, size, &mut value);
                if store.set(id, &value)? {
                    measured.stored_bytes += size;
                } else {
                    measured.refused += 1;
                }
            }
        }
        if measured.requests.is_multiple_of(SAMPLE_EVERY) {
            measured.volume_max = measured.volume_max.max(store.volume());
        }
    }
    measured.seconds = start.elapsed().as_secs_f64();
    measured.volume_max = measured.volume_max.max(store.volume());
    measured.copied_bytes = store.copied()?;
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::of_ids;
    use std::cell::RefCell;
    use std::collections::HashMap;

    /// Holds everything, up to a number of objects.
    struct Shelf {
        values: RefCell<HashMap<u64, Vec<u8>>>,
        most: usize,
        /// The object for which it gives the value of another one.
        mixed_up: Option<u64>,
    }

    impl Shelf {
        fn new(most: usize, mixed_up: Option<u64>) -> Shelf {
            Shelf { values: RefCell::default(), most, mixed_up }
        }
    }

    impl Store for Shelf {
        fn get(&self, id: u64) -> larder::Result<Option<Vec<u8>>> {
            let id = if self.mixed_up == Some(id) { id + 1 } else { id };
            Ok(self.values.borrow().get(&id).cloned())
        }

        fn set(&self, id: u64, value: &[u8]) -> larder::Result<bool> {
            let mut values = self.values.borrow_mut();
            let has_room = values.len() < self.most;
            if has_room {
                values.insert(id, value.to_vec());
            }
            Ok(has_room)
        }

        fn volume(&self) -> u64 {
            self.values.borrow().values().map(|value| value.len() as u64).sum()
        }

        fn copied(&self) -> larder::Result<Option<u64>> {
            Ok(Some(50))
        }
    }

    fn replayed(ids: &[u64], shelf: Shelf, limit: u64) -> Measured {
        let trace = of_ids(ids);
        replay(&trace, &Values::of_bytes(100), &shelf, limit).unwrap()
    }

    #[test]
    fn hits_misses_and_refusals_are_counted() {
        let measured = replayed(&[1, 2, 1, 3, 3, 2], Shelf::new(2, None), 1_000);
        assert_eq!((measured.requests, measured.hits, measured.refused, measured.wrong), (6, 2, 2, 0));
        assert_eq!((measured.bytes, measured.hit_bytes, measured.stored_bytes), (600, 200, 200));
        assert_eq!((measured.volume_max, measured.amplification()), (200, Some(1.25)));
    }

    #[test]
    fn a_wrong_value_is_noticed() {
        assert_eq!(replayed(&[1, 2, 2, 1, 1], Shelf::new(9, Some(1)), 1_000).wrong, 2);
    }

    #[test]
    fn what_is_larger_than_the_limit_is_not_offered() {
        let measured = replayed(&[1, 1], Shelf::new(9, None), 99);
        assert_eq!((measured.hits, measured.refused, measured.volume_max), (0, 2, 0));
    }
}
