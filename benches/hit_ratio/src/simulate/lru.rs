//! Least recently used by ages of four bits: a mark says in which epoch its object was last used. What is younger than a
//! quantile of all ages stays.

use super::{Judge, Resident};

const EPOCHS: usize = 16;
/// An epoch ends when this part of the limit has been stored. An object is looked at again within less than sixteen of them.
const EPOCHS_IN_LIMIT: u64 = 8;

pub struct Judgement {
    limit: u64,
    /// The share of the oldest that goes.
    quantile: f64,
    epoch: u8,
    stored: u64,
    /// Bytes in the cache by the epoch of their last use.
    used_in: [u64; EPOCHS],
    /// What is at least so many epochs old goes.
    oldest: u8,
}

impl Judgement {
    pub fn new(quantile: f64, limit: u64) -> Judgement {
        Judgement { limit, quantile, epoch: 0, stored: 0, used_in: [0; EPOCHS], oldest: 1 }
    }

    fn age(&self, mark: u8) -> u8 {
        (self.epoch + EPOCHS as u8 - mark) % EPOCHS as u8
    }

    fn begin_epoch(&mut self) {
        self.stored = 0;
        self.epoch = (self.epoch + 1) % EPOCHS as u8;
        // What has not been used for a whole round of epochs becomes as old as can be told.
        let bytes = std::mem::take(&mut self.used_in[self.epoch as usize]);
        self.used_in[(self.epoch as usize + 1) % EPOCHS] += bytes;
    }

    fn forget(&mut self, mark: u8, size: u64) {
        let bytes = &mut self.used_in[mark as usize];
        *bytes = bytes.saturating_sub(size);
    }
}

impl Judge for Judgement {
    fn insert(&mut self, _object: u32, size: u64) -> u8 {
        self.stored += size;
        if self.stored >= self.limit / EPOCHS_IN_LIMIT {
            self.begin_epoch();
        }
        self.used_in[self.epoch as usize] += size;
        self.epoch
    }

    fn hit(&mut self, mark: u8, size: u64) -> u8 {
        self.forget(mark, size);
        self.used_in[self.epoch as usize] += size;
        self.epoch
    }

    fn look_at(&mut self, _victim: &[Resident]) {
        let total: u64 = self.used_in.iter().sum();
        let wanted = total as f64 * self.quantile;
        let mut sum = 0;
        let is_enough = |age: &u8| {
            sum += self.used_in[(self.epoch as usize + EPOCHS - *age as usize) % EPOCHS];
            sum as f64 >= wanted
        };
        self.oldest = (1..EPOCHS as u8).rev().find(is_enough).unwrap_or(1);
    }

    fn verdict(&self, mark: u8, _is_compacted: bool) -> Option<u8> {
        (self.age(mark) < self.oldest).then_some(mark)
    }

    fn dropped(&mut self, resident: Resident, _is_compacted: bool) {
        self.forget(resident.mark, resident.size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_share_goes_and_what_is_used_stays() {
        let mut judgement = Judgement::new(0.2, 800);
        // Each fills an epoch.
        let mut marks: Vec<u8> = (0..8).map(|object| judgement.insert(object, 100)).collect();
        marks[1] = judgement.hit(marks[1], 100);
        judgement.look_at(&[]);
        let stays: Vec<bool> = marks.iter().map(|mark| judgement.verdict(*mark, false).is_some()).collect();
        assert_eq!(stays, [false, true, false, true, true, true, true, true]);
    }

    #[test]
    fn ages_go_round_without_an_end() {
        let mut judgement = Judgement::new(0.2, 800);
        for object in 0..100 {
            let mark = judgement.insert(object, 100);
            assert_eq!(judgement.age(mark), 0);
        }
        assert_eq!(judgement.used_in.iter().sum::<u64>(), 100 * 100);
    }
}
