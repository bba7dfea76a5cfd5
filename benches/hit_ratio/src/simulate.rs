//! A model of eviction by segments: what would a rule give, before it is built into the engine. The engine itself is
//! replayed by [`crate::engine`].
//!
//! The model: the limit is cut into segments. A new object goes to the end of the *commit* stream. When room is short, the oldest
//! segment of one stream is given up, and what survives is copied to the end of the *compaction* stream. Each object in the
//! cache has a mark of four bits, which hits change and which decides whether it survives.

mod ghosts;
mod lfu;
mod log;
mod lru;
mod rules;
mod s3_fifo;

pub use rules::rules;

use crate::trace::Trace;
use log::Log;

/// Units that an object of a trace without sizes takes, so that it need not divide a segment.
const UNIT: u64 = 1_000;
/// Segments that are free at any time: a spare one, and as much for the index and fixed files.
const FREE: u64 = 2;
/// Victims after which a rule that lets everything stay is overruled.
const VICTIMS_MAX: u64 = 64;

/// An object in the cache.
#[derive(Clone, Copy, Debug)]
struct Resident {
    object: u32,
    size: u64,
    mark: u8,
}

fn total(residents: &[Resident]) -> u64 {
    residents.iter().map(|resident| resident.size).sum()
}

/// What a policy decides.
trait Judge {
    /// The mark of a new object.
    fn insert(&mut self, object: u32, size: u64) -> u8;

    /// The mark of an object that was asked for.
    fn hit(&mut self, mark: u8, size: u64) -> u8;

    /// Whether the next victim is the oldest segment of the compaction stream, not of the commit stream.
    fn picks_compacted(&self, log: &Log) -> bool {
        log.is_compacted_older()
    }

    /// Looks at what lives in a victim, before it is judged one by one.
    fn look_at(&mut self, _victim: &[Resident]) {}

    /// The new mark of an object that stays.
    fn verdict(&self, mark: u8, is_compacted: bool) -> Option<u8>;

    /// An object was given up.
    fn dropped(&mut self, _resident: Resident, _is_compacted: bool) {}
}

/// Bounds on what is copied.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Copying {
    /// At most this share of what lives in a victim is kept.
    keep: f64,
    /// Victims from the compaction stream of which this share would stay go back to its end whole, without a copy.
    requeue: Option<f64>,
    /// Bytes copied for each byte stored, in the long run.
    budget: Option<f64>,
}

impl Default for Copying {
    fn default() -> Copying {
        Copying { keep: 0.9, requeue: None, budget: None }
    }
}

/// What came out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    pub requests: u64,
    pub hits: u64,
    pub bytes: u64,
    pub hit_bytes: u64,
    pub stored: u64,
    pub copied: u64,
}

/// A rule with a name.
pub struct Rule {
    pub name: String,
    copying: Copying,
    /// Makes the judge for a limit in bytes and the mean size of an object.
    judge: Box<dyn Fn(u64, u64) -> Box<dyn Judge>>,
}

struct Model<'t> {
    trace: &'t Trace,
    limit: u64,
    log: Log,
    copying: Copying,
    judge: Box<dyn Judge>,
    /// The mark of each object, if it is in the cache.
    marks: Vec<Option<u8>>,
    /// What may be copied now, of the budget.
    allowance: f64,
    outcome: Outcome,
}

/// Replays a trace against a rule, with a capacity in bytes, or in objects if the trace has no sizes, of so many segments.
pub fn run(trace: &Trace, capacity: u64, segments: u64, rule: &Rule) -> Outcome {
    let limit = if trace.has_sizes { capacity } else { capacity * UNIT };
    let segment = (limit / segments).max(1);
    let mean = if trace.has_sizes { (trace.bytes_of_objects() / trace.ids.len().max(1) as u64).max(1) } else { UNIT };
    // Objects of one size are small ones, whatever the segments.
    let large_min = if trace.has_sizes { segment / 8 } else { u64::MAX };
    let mut model = Model {
        trace,
        limit: segment * segments.saturating_sub(FREE),
        log: Log::new(segment, large_min),
        copying: rule.copying,
        judge: (rule.judge)(limit, mean),
        marks: vec![None; trace.ids.len()],
        allowance: limit as f64,
        outcome: Outcome::default(),
    };
    for object in &trace.requests {
        model.request(*object);
    }
    model.outcome
}

impl Model<'_> {
    fn size(&self, object: u32) -> u64 {
        if self.trace.has_sizes { u64::from(self.trace.sizes[object as usize]) } else { UNIT }
    }

    fn request(&mut self, object: u32) {
        let size = self.size(object);
        self.outcome.requests += 1;
        self.outcome.bytes += size;
        if let Some(mark) = &mut self.marks[object as usize] {
            *mark = self.judge.hit(*mark, size);
            self.outcome.hits += 1;
            self.outcome.hit_bytes += size;
        } else if size <= self.limit / 2 {
            self.store(object, size);
        }
    }

    fn store(&mut self, object: u32, size: u64) {
        let mut victims = 0;
        while self.log.charge_with(size) > self.limit {
            victims += 1;
            self.give_up_a_segment(victims <= VICTIMS_MAX);
        }
        self.outcome.stored += size;
        if let Some(budget) = self.copying.budget {
            self.allowance = (self.allowance + size as f64 * budget).min(self.limit as f64);
        }
        self.marks[object as usize] = Some(self.judge.insert(object, size));
        self.log.commit(object, size);
    }

    fn give_up_a_segment(&mut self, may_stay: bool) {
        let is_compacted = self.judge.picks_compacted(&self.log);
        let Some(segment) = self.log.take_oldest(is_compacted) else { return };
        let resident = |object: &u32| {
            let mark = self.marks[*object as usize]?;
            Some(Resident { object: *object, size: self.size(*object), mark })
        };
        let victim: Vec<Resident> = segment.objects.iter().filter_map(resident).collect();
        let total = total(&victim);
        self.judge.look_at(&victim);
        let verdict = |resident: &Resident| self.judge.verdict(resident.mark, is_compacted);
        if let Some(share) = self.copying.requeue.filter(|_| is_compacted && may_stay) {
            let staying: u64 = victim.iter().filter(|r| verdict(r).is_some()).map(|r| r.size).sum();
            if staying as f64 >= total as f64 * share {
                for resident in &victim {
                    self.marks[resident.object as usize] = verdict(resident).or(Some(resident.mark));
                }
                return self.log.requeue(segment);
            }
        }
        let mut left = if may_stay { total as f64 * self.copying.keep } else { 0.0 };
        if self.copying.budget.is_some() {
            left = left.min(self.allowance);
        }
        for resident in victim {
            let size = resident.size as f64;
            match self.judge.verdict(resident.mark, is_compacted).filter(|_| size <= left) {
                Some(mark) => {
                    left -= size;
                    self.marks[resident.object as usize] = Some(mark);
                    let copied = self.log.compact(resident.object, resident.size);
                    self.outcome.copied += copied;
                    self.allowance -= copied as f64;
                }
                None => {
                    self.marks[resident.object as usize] = None;
                    self.judge.dropped(resident, is_compacted);
                }
            }
        }
    }
}

/// First in, first out: nothing ever stays.
struct Fifo;

impl Judge for Fifo {
    fn insert(&mut self, _object: u32, _size: u64) -> u8 {
        0
    }

    fn hit(&mut self, mark: u8, _size: u64) -> u8 {
        mark
    }

    fn verdict(&self, _mark: u8, _is_compacted: bool) -> Option<u8> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{self, Reference};
    use crate::trace::synthetic::{Recipe, make};

    fn trace() -> Trace {
        make(&Recipe { requests: 60_000, keys: 5_000, scan_length: 500, scan_keys: 20_000, ..Recipe::default() })
            .unwrap()
    }

    fn named(name: &str) -> Rule {
        rules().into_iter().find(|rule| rule.name == name).unwrap()
    }

    fn hit_percent(outcome: Outcome) -> f64 {
        outcome.hits as f64 * 100.0 / outcome.requests as f64
    }

    #[test]
    fn fifo_by_segments_is_fifo_of_what_space_is_left() {
        let trace = trace();
        let outcome = run(&trace, 1_024, 64, &named("FIFO"));
        assert_eq!((outcome.copied, outcome.requests), (0, 60_000));
        // 62 segments of 16; the one that is being filled is on the average half empty.
        let exact = |capacity| {
            let mut policy = Reference::Fifo.build(&trace, capacity);
            reference::run(&trace, policy.as_mut()).hits as f64 * 100.0 / 60_000.0
        };
        let percent = hit_percent(outcome);
        assert!(exact(950) <= percent && percent <= exact(1_010), "{percent}: {} .. {}", exact(950), exact(1_010));
    }

    #[test]
    fn every_rule_counts_each_request_and_copies_less_than_its_bound() {
        let trace = trace();
        for rule in rules() {
            let outcome = run(&trace, 1_000, 64, &rule);
            assert_eq!(outcome.requests, 60_000, "{}", rule.name);
            assert_eq!(outcome.stored, (60_000 - outcome.hits) * UNIT, "{}", rule.name);
            assert!(hit_percent(outcome) > 20.0, "{}", rule.name);
            if let Some(budget) = rule.copying.budget {
                let most = outcome.stored as f64 * budget + 1_000.0 * UNIT as f64;
                assert!(outcome.copied as f64 <= most, "{}", rule.name);
            }
        }
    }

    #[test]
    fn two_queues_hold_out_against_a_scan_that_washes_fifo_away() {
        // Ten objects asked for all the time, between scans that are longer than the cache.
        let hot = |round: u64| (0..10).map(move |id| (id, round));
        let ids: Vec<u64> = (0..200u64)
            .flat_map(|round| {
                hot(round).chain(hot(round)).map(|(id, _)| id).chain((0..300).map(move |id| 1_000 + round * 300 + id))
            })
            .collect();
        let trace = crate::trace::of_ids(&ids);
        let hits = |name: &str| run(&trace, 256, 64, &named(name)).hits;
        // A hit for each second asking, and no more.
        assert_eq!(hits("FIFO"), 200 * 10);
        assert!(hits("S3-FIFO") > 199 * 20 - 100, "{}", hits("S3-FIFO"));
    }
}
