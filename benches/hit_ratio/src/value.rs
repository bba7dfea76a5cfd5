//! The values that are stored: long enough, and so that each tells whose it is.

use crate::seeded::{Random, mix};
use crate::trace::Trace;

/// Bytes at the front and at the back that depend on the object.
const OWN: usize = 8;
/// Bytes of noise that values are cut from, over and over.
const NOISE: usize = 1 << 16;

/// Makes and checks values.
pub struct Values {
    /// Bytes of each value of a trace without sizes.
    unit: u64,
    noise: Vec<u8>,
}

impl Values {
    /// For traces without sizes, values of so many bytes.
    pub fn of_bytes(unit: u64) -> Values {
        let mut random = Random::new(0);
        Values { unit, noise: (0..NOISE / 8).flat_map(|_| random.word().to_le_bytes()).collect() }
    }

    /// Bytes of an object's value.
    pub fn size(&self, trace: &Trace, object: u32) -> u64 {
        if trace.has_sizes { u64::from(trace.sizes[object as usize]) } else { self.unit }
    }

    /// Puts the value of `id` into a buffer.
    pub fn write(&self, id: u64, size: u64, value: &mut Vec<u8>) {
        let size = size as usize;
        value.clear();
        while value.len() < size {
            let more = (size - value.len()).min(NOISE);
            value.extend_from_slice(&self.noise[..more]);
        }
        let own = size.min(OWN);
        value[size - own..].copy_from_slice(&mix(id).to_le_bytes()[..own]);
        value[..own].copy_from_slice(&id.to_le_bytes()[..own]);
    }

    /// Whether these bytes are the value of `id`: of its length, and its own at both ends.
    pub fn is_value(&self, id: u64, size: u64, value: &[u8]) -> bool {
        let own = value.len().min(OWN);
        // In a short value the front overlaps the back.
        let back = value.len().saturating_sub(own).max(own);
        let back_of = back - value.len().saturating_sub(own);
        value.len() as u64 == size
            && value[..own] == id.to_le_bytes()[..own]
            && value[back..] == mix(id).to_le_bytes()[back_of..own]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_its_own_objects_and_no_others() {
        let values = Values::of_bytes(1);
        let mut value = Vec::new();
        for size in [0, 1, 7, 8, 9, 12, 15, 16, 17, 5_000, 200_000] {
            values.write(77, size, &mut value);
            assert_eq!(value.len() as u64, size);
            assert!(values.is_value(77, size, &value), "{size}");
            assert!(!values.is_value(77, size + 1, &value), "{size}");
            if size > 0 {
                assert!(!values.is_value(78, size, &value), "{size}");
                let last = value.len() - 1;
                value[last] ^= 1;
                assert!(!values.is_value(77, size, &value), "{size}");
            }
        }
    }
}
