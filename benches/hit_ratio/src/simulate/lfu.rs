//! Least frequently used with counts that decay: the highest of a victim stay, with half of their counts.

use super::{Judge, Resident, total};

const MARK_MAX: u8 = 15;

pub struct Judgement {
    /// At most this share of a victim stays.
    keep: f64,
    /// Lower marks go.
    least: u8,
}

impl Judgement {
    pub fn new(keep: f64) -> Judgement {
        Judgement { keep, least: 1 }
    }
}

impl Judge for Judgement {
    fn insert(&mut self, _object: u32, _size: u64) -> u8 {
        0
    }

    fn hit(&mut self, mark: u8, _size: u64) -> u8 {
        (mark + 1).min(MARK_MAX)
    }

    fn look_at(&mut self, victim: &[Resident]) {
        let most = total(victim) as f64 * self.keep;
        let with = |mark: u8| -> u64 { victim.iter().filter(|r| r.mark == mark).map(|r| r.size).sum() };
        let mut sum = 0;
        let is_too_much = |mark: &u8| {
            sum += with(*mark);
            sum as f64 > most
        };
        // Of the first mark that does not fit whole, what is met first stays.
        self.least = (1..=MARK_MAX).rev().find(is_too_much).unwrap_or(1);
    }

    fn verdict(&self, mark: u8, _is_compacted: bool) -> Option<u8> {
        (mark >= self.least).then_some(mark / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_counts_stay_and_halve() {
        let mut judgement = Judgement::new(0.5);
        let victim = [0, 3, 1, 7].map(|mark| Resident { object: 0, size: 10, mark });
        judgement.look_at(&victim);
        assert_eq!(victim.map(|r| judgement.verdict(r.mark, false)), [None, Some(1), Some(0), Some(3)]);
        // Three of four do not fit the half, so the least that does decides.
        let victim = [3, 3, 3, 0].map(|mark| Resident { object: 0, size: 10, mark });
        judgement.look_at(&victim);
        assert_eq!(judgement.verdict(3, false), Some(1));
        assert_eq!(judgement.verdict(2, false), None);
    }
}
