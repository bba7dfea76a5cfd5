//! Seeded randomness: the same seed gives the same numbers on every machine. Knows nothing of what they decide.

/// A splitmix64 generator.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, 0 if `bound` is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }
}

/// What a power cut does to each thing that was not synced.
///
/// Each page decides for itself, but with odds drawn once a cut: with even odds alone, a cut that loses everything or
/// nothing would never be seen among many pages.
pub(super) struct Fate {
    dice: Dice,
    old_in_eight: u64,
}

/// What becomes of one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Old,
    New,
    /// Bit `n` is set if sector `n` of the page is the new one.
    Torn(u8),
}

impl Fate {
    pub(super) fn new(seed: u64) -> Fate {
        let mut dice = Dice::new(seed);
        let odds = [0, 1, 4, 7, 8];
        let old_in_eight = odds.get(dice.below(5) as usize).copied().unwrap_or(4);
        Fate { dice, old_in_eight }
    }

    pub(super) fn page(&mut self) -> Kept {
        let torn = self.dice.below(4) == 0 && !matches!(self.old_in_eight, 0 | 8);
        match torn {
            true => Kept::Torn(self.dice.next() as u8),
            false if self.dice.below(8) < self.old_in_eight => Kept::Old,
            false => Kept::New,
        }
    }

    /// How many of `count` steps that happen in order got through.
    pub(super) fn prefix(&mut self, count: u64) -> u64 {
        match self.dice.below(4) {
            0 => 0,
            1 => count,
            _ => self.dice.below(count.saturating_add(1)),
        }
    }
}
