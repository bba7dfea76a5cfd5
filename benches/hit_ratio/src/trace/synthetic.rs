//! Traces that are made up: popularity by Zipf's law, a part of it moving on with time, with scans in between.

use super::{Collector, Trace, TraceError};
use crate::seeded::{Random, mix};

/// How large objects are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sizes {
    /// All alike; the trace has no sizes.
    Unit,
    /// Log-normal with this median and factor of one deviation, between 1 byte and this most.
    LogNormal { median: f64, factor: f64, most: u32 },
}

/// What to make up.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    pub seed: u64,
    pub requests: usize,
    /// Objects that are asked for by popularity.
    pub keys: usize,
    /// Exponent of Zipf's law: the n-th most popular object is asked for in proportion to `n^-exponent`.
    pub exponent: f64,
    /// Share of the requests that belong to scans over objects nobody asks for otherwise …
    pub scans: f64,
    /// … in runs of this length …
    pub scan_length: usize,
    /// … over so many objects, again and again from where the last scan ended.
    pub scan_keys: u64,
    /// Ranks that move on to other objects with each 1,000 requests; 0 for popularity that stays.
    pub drift: usize,
    pub sizes: Sizes,
}

impl Default for Recipe {
    fn default() -> Recipe {
        Recipe {
            seed: 1,
            requests: 2_000_000,
            keys: 400_000,
            exponent: 0.9,
            scans: 0.1,
            scan_length: 5_000,
            scan_keys: 1_000_000,
            drift: 0,
            sizes: Sizes::Unit,
        }
    }
}

const SCANNED: u64 = 1 << 40;

/// The size of an object, which depends on the seed and the object alone.
fn size(recipe: &Recipe, id: u64) -> u32 {
    match recipe.sizes {
        Sizes::Unit => 1,
        Sizes::LogNormal { median, factor, most } => {
            let mut random = Random::new(mix(id ^ mix(recipe.seed)));
            (median * factor.powf(random.normal())).clamp(1.0, f64::from(most)) as u32
        }
    }
}

/// Makes the trace.
pub fn make(recipe: &Recipe) -> Result<Trace, TraceError> {
    let recipe = &Recipe { keys: recipe.keys.max(1), ..recipe.clone() };
    let mut cumulated: Vec<f64> = Vec::with_capacity(recipe.keys);
    let mut sum = 0.0;
    for rank in 1..=recipe.keys {
        sum += (rank as f64).powf(-recipe.exponent);
        cumulated.push(sum);
    }
    let mut random = Random::new(recipe.seed);
    let mut collector = Collector::new("synthetic", recipe.sizes != Sizes::Unit, recipe.requests);
    let (mut scanned, mut left_of_scan) = (0u64, 0);
    // A scan begins at such a share of the requests outside scans that scans are `scans` of all.
    let starts = recipe.scans / (1.0 - recipe.scans).max(f64::MIN_POSITIVE) / recipe.scan_length.max(1) as f64;
    while !collector.is_full() {
        let id = if left_of_scan > 0 {
            left_of_scan -= 1;
            scanned += 1;
            SCANNED + scanned % recipe.scan_keys.max(1)
        } else {
            if random.unit() < starts {
                left_of_scan = recipe.scan_length;
            }
            let point = random.unit() * sum;
            let rank = cumulated.partition_point(|upto| *upto <= point);
            // The newest object is the most popular one, and its rank sinks as newer ones come in.
            let newest = recipe.keys + collector.len() / 1_000 * recipe.drift;
            mix((newest - rank.min(recipe.keys - 1)) as u64) >> 25
        };
        collector.push(id, size(recipe, id))?;
    }
    Ok(collector.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Recipe {
        Recipe { requests: 20_000, keys: 1_000, scan_length: 100, scan_keys: 500, ..Recipe::default() }
    }

    #[test]
    fn the_same_recipe_gives_the_same_trace() {
        let sizes = Sizes::LogNormal { median: 1000.0, factor: 3.0, most: 50_000 };
        let recipe = Recipe { sizes, drift: 3, ..small() };
        let (one, two) = (make(&recipe).unwrap(), make(&recipe).unwrap());
        assert_eq!((&one.requests, &one.sizes), (&two.requests, &two.sizes));
        assert_eq!(one.resized, 0);
        assert!(one.sizes.iter().all(|size| (1..=50_000).contains(size)));
        assert_ne!(one.requests, make(&Recipe { seed: 2, ..recipe }).unwrap().requests);
    }

    #[test]
    fn scans_have_their_share_and_the_popular_theirs() {
        let trace = make(&small()).unwrap();
        let asked = |number: &&u32| trace.ids[**number as usize] > SCANNED;
        let scanned = trace.requests.iter().filter(asked).count();
        assert!((1_000..3_500).contains(&scanned), "{scanned} of 20,000 requests are scans");
        let mut counts = vec![0; trace.ids.len()];
        trace.requests.iter().for_each(|number| counts[*number as usize] += 1);
        counts.sort_unstable();
        // Zipf's law with exponent 0.9 over 1,000 keys gives the first of them a tenth.
        let most = *counts.last().unwrap();
        assert!((1_300..2_400).contains(&most), "the most popular has {most}");
    }

    #[test]
    fn with_drift_the_popular_change() {
        let trace = make(&Recipe { drift: 100, scans: 0.0, ..small() }).unwrap();
        let (first, last) = (&trace.requests[..1_000], &trace.requests[19_000..]);
        let both = last.iter().filter(|number| first.contains(number)).count();
        assert!(both < 100, "{both} of the last thousand were asked for in the first");
    }
}
