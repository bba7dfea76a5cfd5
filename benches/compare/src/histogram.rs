//! How long many calls took: counts in classes that are a 64th of their value wide, which can be added up and sent as text.

use std::collections::BTreeMap;

use crate::measure::Outcome;

/// Each power of two has so many classes.
const PARTS: u64 = 64;

#[derive(Clone, Default)]
pub struct Histogram {
    counts: BTreeMap<u32, u64>,
    most: u64,
    /// A class is looked up here while it is counted, and only then in the tree.
    recent: Vec<u32>,
}

fn class(nanos: u64) -> u32 {
    if nanos < PARTS {
        return nanos as u32;
    }
    let shift = nanos.ilog2() - PARTS.ilog2();
    (u64::from(shift) * PARTS + (nanos >> shift)) as u32
}

/// The middle of a class.
fn middle(class: u32) -> f64 {
    let class = u64::from(class);
    if class < 2 * PARTS {
        return class as f64;
    }
    let shift = class / PARTS - 1;
    (((class - shift * PARTS) << shift) as f64) + (1u64 << shift) as f64 / 2.0
}

impl Histogram {
    pub fn add(&mut self, nanos: u64) {
        let class = class(nanos) as usize;
        if self.recent.len() <= class {
            self.recent.resize(class + 1, 0);
        }
        self.most = self.most.max(nanos);
        self.recent[class] += 1;
        if self.recent[class] == u32::MAX {
            self.settle();
        }
    }

    fn settle(&mut self) {
        for (class, count) in self.recent.iter_mut().enumerate().filter(|(_, count)| **count > 0) {
            *self.counts.entry(class as u32).or_default() += u64::from(std::mem::take(count));
        }
    }

    pub fn merge(&mut self, mut other: Histogram) {
        self.settle();
        other.settle();
        self.most = self.most.max(other.most);
        for (class, count) in other.counts {
            *self.counts.entry(class).or_default() += count;
        }
    }

    pub fn count(&self) -> u64 {
        self.counts.values().sum::<u64>() + self.recent.iter().map(|&count| u64::from(count)).sum::<u64>()
    }

    /// Nanoseconds below which a part of the calls is.
    pub fn quantile(&self, part: f64) -> f64 {
        let mut all = self.clone();
        all.settle();
        let rank = (all.count() as f64 * part).ceil().max(1.0) as u64;
        let mut below = 0;
        for (class, count) in &all.counts {
            below += count;
            if below >= rank {
                return middle(*class).min(self.most as f64);
            }
        }
        if all.counts.is_empty() { f64::NAN } else { self.most as f64 }
    }

    pub fn most(&self) -> f64 {
        if self.count() == 0 { f64::NAN } else { self.most as f64 }
    }

    pub fn to_text(&self) -> String {
        let mut all = self.clone();
        all.settle();
        let counts: Vec<String> = all.counts.iter().map(|(class, count)| format!("{class}:{count}")).collect();
        format!("{};{}", self.most, counts.join(","))
    }

    pub fn parse(text: &str) -> Outcome<Histogram> {
        let (most, counts) = text.split_once(';').ok_or("no histogram")?;
        let mut histogram = Histogram { most: most.parse()?, ..Histogram::default() };
        for pair in counts.split(',').filter(|pair| !pair.is_empty()) {
            let (class, count) = pair.split_once(':').ok_or("no count")?;
            histogram.counts.insert(class.parse()?, count.parse()?);
        }
        Ok(histogram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_class() {
        let mut histogram = Histogram::default();
        (1..=100_000).for_each(|nanos| histogram.add(nanos));
        for part in [0.01, 0.5, 0.9, 0.99, 0.999] {
            let (found, exact) = (histogram.quantile(part), 100_000.0 * part);
            assert!((found / exact - 1.0).abs() < 1.0 / PARTS as f64, "{part}: {found}, {exact}");
        }
        let mut twice = Histogram::parse(&histogram.to_text()).unwrap();
        twice.merge(histogram.clone());
        assert_eq!((twice.count(), twice.most()), (200_000, 100_000.0));
        assert_eq!(twice.quantile(0.5), histogram.quantile(0.5));
    }
}
