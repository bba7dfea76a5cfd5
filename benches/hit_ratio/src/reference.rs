//! Policies as they are in books: exact, one object at a time, without an engine's costs. They are what larder's
//! policies are compared with.

mod fifo;
mod lfu;
mod list;
mod lru;
mod s3_fifo;
mod sieve;

use crate::replay::Measured;
use crate::trace::Trace;
use std::time::Instant;

/// What an exact policy holds, and up to what it may.
#[derive(Debug)]
pub struct Room<'t> {
    capacity: u64,
    used: u64,
    sizes: &'t [u32],
}

impl Room<'_> {
    fn size(&self, object: u32) -> u64 {
        u64::from(self.sizes[object as usize])
    }

    fn take(&mut self, object: u32) {
        self.used += self.size(object);
    }

    fn give(&mut self, object: u32) {
        self.used -= self.size(object);
    }

    /// Whether something has to go before `object` can come.
    fn is_short(&self, object: u32) -> bool {
        self.used + self.size(object) > self.capacity
    }
}

/// A cache with an eviction policy.
pub trait Policy {
    /// Asks for an object, which is stored if it was absent. Whether it was there.
    fn request(&mut self, object: u32) -> bool;
}

/// Asks a policy for everything that a trace asks for.
pub fn run(trace: &Trace, policy: &mut dyn Policy) -> Measured {
    let mut measured = Measured::default();
    let start = Instant::now();
    for object in &trace.requests {
        let is_hit = policy.request(*object);
        measured.count(is_hit, u64::from(trace.sizes[*object as usize]));
    }
    measured.seconds = start.elapsed().as_secs_f64();
    measured
}

/// The policies to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    Fifo,
    Lru,
    Lfu,
    Sieve,
    S3Fifo,
}

impl Reference {
    pub const ALL: [Reference; 5] =
        [Reference::Fifo, Reference::Lru, Reference::Lfu, Reference::Sieve, Reference::S3Fifo];

    pub fn name(self) -> &'static str {
        match self {
            Reference::Fifo => "exact-fifo",
            Reference::Lru => "exact-lru",
            Reference::Lfu => "exact-lfu",
            Reference::Sieve => "exact-sieve",
            Reference::S3Fifo => "exact-s3-fifo",
        }
    }

    /// An empty cache for `capacity` bytes of the trace's objects, or so many objects if it has no sizes.
    pub fn build<'t>(self, trace: &'t Trace, capacity: u64) -> Box<dyn Policy + 't> {
        let room = Room { capacity, used: 0, sizes: &trace.sizes };
        match self {
            Reference::Fifo => Box::new(fifo::Fifo::new(room)),
            Reference::Lru => Box::new(lru::Lru::new(room)),
            Reference::Lfu => Box::new(lfu::Lfu::new(room)),
            Reference::Sieve => Box::new(sieve::Sieve::new(room)),
            Reference::S3Fifo => Box::new(s3_fifo::S3Fifo::new(room)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Collector, of_ids};

    /// The hits of a policy as a string: `+` for each hit, `.` for each miss.
    pub fn hits(reference: Reference, trace: &Trace, capacity: u64) -> String {
        let mut policy = reference.build(trace, capacity);
        trace.requests.iter().map(|object| if policy.request(*object) { '+' } else { '.' }).collect()
    }

    #[test]
    fn the_policies_differ_where_they_should() {
        // 1 is used before 4 comes: FIFO drops it all the same, LRU and SIEVE drop 2.
        let trace = of_ids(&[1, 2, 3, 1, 4, 1, 2]);
        assert_eq!(hits(Reference::Fifo, &trace, 3), "...+...");
        assert_eq!(hits(Reference::Lru, &trace, 3), "...+.+.");
        assert_eq!(hits(Reference::Sieve, &trace, 3), "...+.+.");
        // 1 was used often but long ago: LRU forgets it, LFU does not.
        let trace = of_ids(&[1, 1, 1, 2, 3, 4, 1]);
        assert_eq!(hits(Reference::Lru, &trace, 2), ".++....");
        assert_eq!(hits(Reference::Lfu, &trace, 2), ".++...+");
    }

    #[test]
    fn lfu_takes_the_least_recent_of_the_least_frequent() {
        // 1 and 2 have one hit each when 3 comes, and that of 1 is the older one.
        assert_eq!(hits(Reference::Lfu, &of_ids(&[1, 2, 1, 2, 3, 2, 1]), 2), "..++.+.");
    }

    #[test]
    fn the_hand_of_sieve_goes_on_where_it_stopped() {
        // 4 drives 3 out, the only one unused, and the hand stops at the end. 3 then drives 1 out, whose mark the hand took;
        // 1 spares 2 and drives 4 out; 4 drives 3 out.
        let trace = of_ids(&[1, 2, 3, 1, 2, 4, 3, 2, 1, 4, 2, 1]);
        assert_eq!(hits(Reference::Sieve, &trace, 3), "...++..+..++");
    }

    #[test]
    fn s3_fifo_keeps_what_came_back_or_was_used_twice_from_a_scan() {
        // 10 drives 0 out of the small queue; its ghost puts it into the main one. 2 is used twice before it leaves the
        // small queue, and 1 comes back in time, but 3 does not: thirty others have come in between.
        let start = (0..11).chain([0, 2, 2, 2, 11, 2, 1]);
        let ids: Vec<u64> = start.chain(20..50).chain([0, 1, 2, 3]).collect();
        let wanted = format!("{}+++.+.{}+++.", ".".repeat(12), ".".repeat(30));
        assert_eq!(hits(Reference::S3Fifo, &of_ids(&ids), 10), wanted);
    }

    #[test]
    fn a_cache_of_everything_misses_each_object_once() {
        let trace = of_ids(&[1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 5]);
        for reference in Reference::ALL {
            assert_eq!(hits(reference, &trace, 5), ".....++++++", "{}", reference.name());
        }
    }

    #[test]
    fn a_loop_one_longer_than_the_cache_defeats_fifo_and_lru() {
        let ids: Vec<u64> = (0..10).flat_map(|_| 0..11).collect();
        let trace = of_ids(&ids);
        for reference in [Reference::Fifo, Reference::Lru] {
            assert!(!hits(reference, &trace, 10).contains('+'), "{}", reference.name());
        }
    }

    #[test]
    fn capacity_is_in_bytes_where_the_trace_has_sizes() {
        let mut collector = Collector::new("test", true, usize::MAX);
        for (id, size) in [(1, 60), (2, 30), (3, 30), (1, 60), (2, 30), (9, 101), (2, 30), (9, 101)] {
            collector.push(id, size).unwrap();
        }
        let trace = collector.finish();
        for reference in Reference::ALL {
            let hits = hits(reference, &trace, 100);
            // 3 takes 30 of 100 when 90 are used, so 1 or 2 goes; what is larger than the cache is never stored.
            assert_eq!((hits.as_bytes()[5], hits.as_bytes()[7]), (b'.', b'.'), "{}", reference.name());
            assert_eq!(hits.as_bytes()[6], b'+', "{}", reference.name());
        }
        // At 100, 3 drives 1 out, 1 drives 2 out, and 2 drives 3 out.
        assert_eq!(hits(Reference::Fifo, &trace, 100), "......+.");
        // At 120, all three fit, and then 9 drives them out, and 2 drives 9 out.
        assert_eq!(hits(Reference::Fifo, &trace, 120), "...++...");
    }
}
