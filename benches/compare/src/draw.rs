//! Keys, values and numbers that look drawn and are the same in every run and for every store.

/// The finalizer of splitmix64: a permutation without a visible order.
pub fn mix(number: u64) -> u64 {
    let z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

pub type Key = [u8; 16];

/// The key of an item: in no order, and made from its number so that no table of keys competes for the caches.
pub fn key(number: u64) -> Key {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&mix(number).to_le_bytes());
    key[8..].copy_from_slice(&mix(!number).to_le_bytes());
    key
}

/// Writes at both ends of a value whose it is.
pub fn stamp(value: &mut [u8], number: u64) {
    let end = value.len() - 8;
    value[..8].copy_from_slice(&number.to_le_bytes());
    value[end..].copy_from_slice(&mix(number).to_le_bytes());
}

/// Writes behind the beginning of a value which one of its key it is.
pub fn number_version(value: &mut [u8], version: u64) {
    value[8..16].copy_from_slice(&version.to_le_bytes());
}

/// A value that does not compress and says at both ends whose it is.
pub struct Value(Vec<u8>, u64);

impl Value {
    pub fn new(len: usize) -> Value {
        Value((0..len as u64).map(|i| mix(i) as u8).collect(), 0)
    }

    pub fn of(&mut self, number: u64) -> &[u8] {
        stamp(&mut self.0, number);
        &self.0
    }

    /// A value that is told from all before it: a store that finds what it is to write need not write it.
    pub fn next_of(&mut self, number: u64) -> &[u8] {
        self.1 += 1;
        number_version(&mut self.0, self.1);
        self.of(number)
    }

    /// Whether this is what was stored, as far as length and both ends tell.
    pub fn is_of(&self, number: u64, found: &[u8]) -> bool {
        found.len() == self.0.len() && found[..8] == number.to_le_bytes() && found.ends_with(&mix(number).to_le_bytes())
    }

    /// Whether every byte is.
    pub fn is_whole(&mut self, number: u64, found: &[u8]) -> bool {
        self.of(number) == found
    }
}

/// Numbers below a bound, each as likely as any other.
pub struct Uniform {
    state: u64,
}

impl Uniform {
    pub fn seeded(seed: u64) -> Uniform {
        Uniform { state: mix(seed) }
    }

    pub fn unit(&mut self) -> f64 {
        self.state = self.state.wrapping_add(1);
        (mix(self.state) >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn below(&mut self, below: u64) -> u64 {
        self.state = self.state.wrapping_add(1);
        ((u128::from(mix(self.state)) * u128::from(below)) >> 64) as u64
    }
}

/// Numbers below a bound of which few are drawn often: the n-th most frequent as often as `n^-0.99` says (the method of J. Gray
/// et al., SIGMOD 1994). Which ones they are is scattered.
pub struct Zipf {
    uniform: Uniform,
    below: u64,
    zeta: f64,
    eta: f64,
}

const THETA: f64 = 0.99;

impl Zipf {
    pub fn new(seed: u64, below: u64) -> Zipf {
        let zeta = |n: u64| (1..=n).map(|i| (i as f64).powf(-THETA)).sum::<f64>();
        let all = zeta(below);
        let eta = (1.0 - (2.0 / below as f64).powf(1.0 - THETA)) / (1.0 - zeta(2) / all);
        Zipf { uniform: Uniform::seeded(seed), below, zeta: all, eta }
    }

    pub fn draw(&mut self) -> u64 {
        let unit = self.uniform.unit();
        let scaled = unit * self.zeta;
        let rank = if scaled < 1.0 {
            0
        } else if scaled < 1.0 + 0.5f64.powf(THETA) {
            1
        } else {
            let share = (self.eta * unit - self.eta + 1.0).powf(1.0 / (1.0 - THETA));
            (self.below as f64 * share) as u64
        };
        // Neighbours in rank are to be no neighbours in the store.
        mix(rank.min(self.below - 1)) % self.below
    }
}
