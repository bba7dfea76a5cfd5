//! S3-FIFO over segments: the commit stream is the small queue, the compaction stream the main one. A new object always
//! begins in the commit stream; a ghost of it gives it the mark that carries it into the main queue.

use super::ghosts::Ghosts;
use super::log::Log;
use super::{Judge, Resident};

/// Hits are counted up to this.
const MARK_MAX: u8 = 3;
/// The small queue's share moves by this …
const STEP: f64 = 1.0 / 128.0;
/// … each time that this share of the limit has been stored, …
const ROUND: f64 = 1.0 / 64.0;
/// … if ghosts were met so often, …
const MET_MIN: u64 = 32;
/// … and those of one queue so many times as often as those of the other.
const MET_RATIO: f64 = 1.1;

/// What a mark of the main queue becomes when it has saved its object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decay {
    Decrement,
    Halve,
    Reset,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct S3Fifo {
    /// The small queue's share of the limit, at first …
    pub small: f64,
    /// … and the bounds between which it follows the ghosts that are met, if it does.
    pub adapts: Option<(f64, f64)>,
    /// Hits that carry an object from the small queue into the main one.
    pub threshold: u8,
    pub decay: Decay,
    /// Ghosts for each object of the mean size that the limit has room for.
    pub ghosts: f64,
}

impl Default for S3Fifo {
    fn default() -> S3Fifo {
        S3Fifo { small: 0.1, adapts: None, threshold: 2, decay: Decay::Decrement, ghosts: 0.9 }
    }
}

pub struct Judgement {
    rule: S3Fifo,
    limit: u64,
    small: f64,
    ghosts: Ghosts,
    /// As many of what left the main queue as the newest eighth of the others.
    main_ghosts: Ghosts,
    stored: u64,
    met: u64,
    main_met: u64,
}

impl Judgement {
    pub fn new(rule: S3Fifo, limit: u64, mean: u64) -> Judgement {
        let ghosts = (limit / mean) as f64 * rule.ghosts;
        Judgement {
            rule,
            limit,
            small: rule.small,
            ghosts: Ghosts::new(ghosts),
            main_ghosts: Ghosts::new(ghosts / 8.0),
            stored: 0,
            met: 0,
            main_met: 0,
        }
    }

    /// A ghost that is met soon after its object left a queue says that this queue is a little too short.
    fn adapt(&mut self, size: u64) {
        let Some((least, most)) = self.rule.adapts else { return };
        self.stored += size;
        if self.stored as f64 <= self.limit as f64 * ROUND {
            return;
        }
        self.stored = 0;
        if self.met + self.main_met < MET_MIN {
            return;
        }
        if self.met as f64 > self.main_met as f64 * MET_RATIO {
            self.small = (self.small + STEP).min(most);
        } else if self.main_met as f64 > self.met as f64 * MET_RATIO {
            self.small = (self.small - STEP).max(least);
        }
        (self.met, self.main_met) = (0, 0);
    }
}

impl Judge for Judgement {
    fn insert(&mut self, object: u32, size: u64) -> u8 {
        let age = self.ghosts.take(object);
        self.met += u64::from(age == Some(0));
        self.main_met += u64::from(self.main_ghosts.take(object).is_some());
        self.adapt(size);
        if age.is_some() { self.rule.threshold } else { 0 }
    }

    fn hit(&mut self, mark: u8, _size: u64) -> u8 {
        (mark + 1).min(MARK_MAX)
    }

    fn picks_compacted(&self, log: &Log) -> bool {
        match log.have_sealed() {
            (true, true) => (log.charge_of_committed() as f64) < self.limit as f64 * self.small,
            (committed, compacted) => compacted && !committed,
        }
    }

    fn verdict(&self, mark: u8, is_compacted: bool) -> Option<u8> {
        if !is_compacted {
            return (mark >= self.rule.threshold).then_some(0);
        }
        let decayed = match self.rule.decay {
            Decay::Decrement => mark.saturating_sub(1),
            Decay::Halve => mark / 2,
            Decay::Reset => 0,
        };
        (mark > 0).then_some(decayed)
    }

    fn dropped(&mut self, resident: Resident, is_compacted: bool) {
        let ghosts = if is_compacted { &mut self.main_ghosts } else { &mut self.ghosts };
        ghosts.add(resident.object);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ghost_of_the_small_queue_survives_it_and_one_of_the_main_queue_does_not() {
        let mut judgement = Judgement::new(S3Fifo::default(), 100_000, 1_000);
        let resident = |object| Resident { object, size: 1_000, mark: 0 };
        judgement.dropped(resident(1), false);
        judgement.dropped(resident(2), true);
        let marks = [1, 2, 3].map(|object| judgement.insert(object, 1_000));
        assert_eq!(marks.map(|mark| judgement.verdict(mark, false)), [Some(0), None, None]);
        assert_eq!((judgement.met, judgement.main_met), (1, 1));
    }

    #[test]
    fn marks_decay_in_the_main_queue() {
        let decays = |decay| {
            let judgement = Judgement::new(S3Fifo { decay, ..S3Fifo::default() }, 1_000, 1);
            [0, 1, 2, 3].map(|mark| judgement.verdict(mark, true))
        };
        assert_eq!(decays(Decay::Decrement), [None, Some(0), Some(1), Some(2)]);
        assert_eq!(decays(Decay::Halve), [None, Some(0), Some(1), Some(1)]);
        assert_eq!(decays(Decay::Reset), [None, Some(0), Some(0), Some(0)]);
    }

    #[test]
    fn the_queue_whose_fresh_ghosts_are_met_grows() {
        let rule = S3Fifo { adapts: Some((0.05, 0.8)), ..S3Fifo::default() };
        for (is_compacted, grows) in [(false, true), (true, false)] {
            let mut judgement = Judgement::new(rule, 640_000, 1_000);
            for object in 0..200 {
                judgement.dropped(Resident { object, size: 1_000, mark: 0 }, is_compacted);
                judgement.insert(object, 1_000);
            }
            assert_eq!(judgement.small > rule.small, grows, "{}", judgement.small);
            assert_ne!(judgement.small, rule.small);
        }
    }
}
