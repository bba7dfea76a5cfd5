//! Fingerprints of what was given up lately: buckets of 16-bit fingerprints, the oldest of a bucket overwritten, so that
//! the place of a fingerprint tells its age in eighths of what is remembered.

use crate::seeded::mix;

const WAYS: usize = 8;

pub struct Ghosts {
    buckets: Vec<[u16; WAYS]>,
    /// Where the next fingerprint of a bucket goes.
    next: Vec<u8>,
}

impl Ghosts {
    /// For about so many fingerprints.
    pub fn new(wanted: f64) -> Ghosts {
        let buckets = (wanted / WAYS as f64).round() as usize;
        Ghosts { buckets: vec![[0; WAYS]; buckets], next: vec![0; buckets] }
    }

    fn place(&self, object: u32) -> Option<(usize, u16)> {
        let hash = mix(u64::from(object) + 1);
        let bucket = ((hash >> 16) as usize).checked_rem(self.buckets.len())?;
        // 0 is an empty place.
        Some((bucket, (hash as u16).max(1)))
    }

    pub fn add(&mut self, object: u32) {
        let Some((bucket, fingerprint)) = self.place(object) else { return };
        let next = &mut self.next[bucket];
        self.buckets[bucket][*next as usize] = fingerprint;
        *next = (*next + 1) % WAYS as u8;
    }

    /// The age of an object that is remembered, from 0 to 7; it is forgotten then.
    pub fn take(&mut self, object: u32) -> Option<u8> {
        let (bucket, fingerprint) = self.place(object)?;
        let at = self.buckets[bucket].iter().position(|place| *place == fingerprint)?;
        self.buckets[bucket][at] = 0;
        Some((self.next[bucket] + 2 * WAYS as u8 - 1 - at as u8) % WAYS as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_last_is_remembered_once() {
        let mut ghosts = Ghosts::new(800.0);
        (0..2_000).for_each(|object| ghosts.add(object));
        let remembered = (0..2_000).filter(|object| ghosts.take(*object).is_some()).collect::<Vec<_>>();
        assert!((700..=810).contains(&remembered.len()), "{}", remembered.len());
        assert!(remembered.iter().filter(|object| **object >= 1_200).count() > 600);
        assert!((0..2_000).all(|object| ghosts.take(object).is_none()));
        let mut none = Ghosts::new(0.0);
        none.add(1);
        assert_eq!(none.take(1), None);
    }

    #[test]
    fn the_place_tells_the_age() {
        let mut ghosts = Ghosts::new(8.0);
        (0..11).for_each(|object| ghosts.add(object));
        let ages = (0..11).map(|object| ghosts.take(object)).collect::<Vec<_>>();
        assert_eq!(ages[..3], [None, None, None]);
        assert_eq!(ages[3..], [7, 6, 5, 4, 3, 2, 1, 0].map(Some));
    }
}
