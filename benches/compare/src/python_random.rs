//! Python's `random`, as far as `benchmark_core` draws from it: what it draws here is what it draws there.

const LEN: usize = 624;
const MIDDLE: usize = 397;

/// The Mersenne Twister (M. Matsumoto, T. Nishimura, 1998) with the seeding by an array that Python uses for integers.
pub struct PythonRandom {
    state: [u32; LEN],
    next: usize,
}

impl PythonRandom {
    pub fn seeded(seed: u32) -> PythonRandom {
        let mut state = [0u32; LEN];
        state[0] = 19_650_218;
        for i in 1..LEN {
            state[i] = mixed(&state, i).wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        let mut i = 1;
        let mut step = |state: &mut [u32; LEN]| {
            i += 1;
            if i > LEN {
                state[0] = state[LEN - 1];
                i = 2;
            }
            i - 1
        };
        for _ in 0..LEN {
            let i = step(&mut state);
            state[i] = (state[i] ^ mixed(&state, i).wrapping_mul(1_664_525)).wrapping_add(seed);
        }
        for _ in 1..LEN {
            let i = step(&mut state);
            state[i] = (state[i] ^ mixed(&state, i).wrapping_mul(1_566_083_941)).wrapping_sub(i as u32);
        }
        state[0] = 0x8000_0000;
        PythonRandom { state, next: LEN }
    }

    fn twist(&mut self) {
        for i in 0..LEN {
            let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % LEN] & 0x7fff_ffff);
            let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + MIDDLE) % LEN] ^ (y >> 1) ^ odd;
        }
        self.next = 0;
    }

    fn word(&mut self) -> u32 {
        if self.next == LEN {
            self.twist();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// `randrange(below)`.
    pub fn below(&mut self, below: u32) -> u32 {
        let shift = below.leading_zeros();
        loop {
            let drawn = self.word() >> shift;
            if drawn < below {
                return drawn;
            }
        }
    }

    /// `random()`.
    pub fn unit(&mut self) -> f64 {
        let (high, low) = (self.word() >> 5, self.word() >> 6);
        (f64::from(high) * 67_108_864.0 + f64::from(low)) / 9_007_199_254_740_992.0
    }
}

/// What a word is made from in seeding: the one before it.
fn mixed(state: &[u32; LEN], i: usize) -> u32 {
    state[i - 1] ^ (state[i - 1] >> 30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_what_python_draws() {
        // [random.seed(1)] + [random.randrange(100) for _ in range(5)], then random.random().
        let mut random = PythonRandom::seeded(1);
        let drawn: Vec<u32> = (0..5).map(|_| random.below(100)).collect();
        assert_eq!(drawn, [17, 72, 97, 8, 32]);
        assert_eq!(PythonRandom::seeded(0).unit(), 0.8444218515250481);
    }
}
