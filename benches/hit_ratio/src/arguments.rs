//! The command line.

use crate::engine::POLICIES;
use crate::reference::Reference;
use crate::trace::synthetic::{Recipe, Sizes};
use std::path::PathBuf;

pub const USAGE: &str = "\
usage: hit_ratio [TRACE] [OPTION VALUE]..

TRACE is a file: `.lis` has runs of pages (`first count 0 line`), any other name one request a line
(`time id size`); `.zst` behind either is decompressed. Without one, a trace is made up.

  --capacity N,..      capacities: objects, or bytes if the trace has sizes; K, M, G are powers of 1024
                       (a 64th and an 8th of what the trace asks for)
  --policies NAME,..   which to run (all but none): s3-fifo lru lfu lrs none
                       exact-fifo exact-lru exact-lfu exact-sieve exact-s3-fifo
  --requests N         requests to replay at most
  --value-bytes B      length of the values of a trace without sizes (64M / capacity, 1K to 16K)
  --directory DIR      where the caches are made and removed (the system's temporary directory)
  --simulate           rules of the segment model instead of caches
  --segments N         segments of the model (64)

of a trace that is made up:
  --seed N             (1)
  --keys N             objects asked for by popularity (400000)
  --zipf X             exponent of their popularity (0.9)
  --drift N            ranks that each 1000 requests move popularity on by (0)
  --scans X            share of requests in scans (0.1)
  --sizes unit|MEDIAN  sizes: all alike, or log-normal with this median (unit)
";

#[derive(Debug, PartialEq)]
pub struct Arguments {
    pub trace: Option<PathBuf>,
    pub capacities: Vec<u64>,
    pub policies: Vec<String>,
    pub requests: Option<usize>,
    pub value_bytes: Option<u64>,
    pub directory: PathBuf,
    pub simulate: bool,
    pub segments: u64,
    pub recipe: Recipe,
}

impl Default for Arguments {
    fn default() -> Arguments {
        Arguments {
            trace: None,
            capacities: Vec::new(),
            policies: names().filter(|name| *name != "none").map(str::to_owned).collect(),
            requests: None,
            value_bytes: None,
            directory: std::env::temp_dir(),
            simulate: false,
            segments: 64,
            recipe: Recipe::default(),
        }
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    Reference::ALL.iter().map(|reference| reference.name()).chain(POLICIES.iter().map(|(name, _)| *name))
}

/// A number with K, M or G behind it.
fn bytes(text: &str) -> Option<u64> {
    let shift = match text.chars().last()? {
        'K' => 10,
        'M' => 20,
        'G' => 30,
        _ => 0,
    };
    let digits = if shift > 0 { &text[..text.len() - 1] } else { text };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift).filter(|number| *number > 0)
}

fn share(text: &str) -> Option<f64> {
    text.parse().ok().filter(|share| (0.0..1.0).contains(share))
}

/// Log-normal sizes with a deviation of a factor of four, up to a thousand times the median.
fn sizes(text: &str) -> Option<Sizes> {
    if text == "unit" {
        return Some(Sizes::Unit);
    }
    let median = bytes(text).filter(|median| *median <= u64::from(u32::MAX))?;
    let most = u32::try_from(median * 1_000).unwrap_or(u32::MAX);
    Some(Sizes::LogNormal { median: median as f64, factor: 4.0, most })
}

fn policies(text: &str) -> Option<Vec<String>> {
    text.split(',').map(|name| names().find(|known| *known == name).map(str::to_owned)).collect()
}

/// What was asked for, or what is wrong with it.
pub fn parse(words: impl IntoIterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if word == "--simulate" {
            arguments.simulate = true;
        } else if word.starts_with("--") {
            let value = words.next().ok_or_else(|| format!("{word}: not understood, or without a value"))?;
            set(&mut arguments, &word, &value).ok_or_else(|| format!("{word} {value}: not understood"))?;
        } else if arguments.trace.replace(PathBuf::from(&word)).is_some() {
            return Err(format!("{word}: one trace at a time"));
        }
    }
    if let Some(requests) = arguments.requests {
        arguments.recipe.requests = requests;
    }
    Ok(arguments)
}

fn set(arguments: &mut Arguments, option: &str, value: &str) -> Option<()> {
    let recipe = &mut arguments.recipe;
    match option {
        "--capacity" => arguments.capacities = value.split(',').map(bytes).collect::<Option<_>>()?,
        "--policies" => arguments.policies = policies(value)?,
        "--requests" => arguments.requests = Some(value.parse().ok().filter(|requests| *requests > 0)?),
        "--value-bytes" => arguments.value_bytes = Some(bytes(value)?),
        "--directory" => arguments.directory = PathBuf::from(value),
        "--segments" => arguments.segments = value.parse().ok().filter(|segments| (8..=4096).contains(segments))?,
        "--seed" => recipe.seed = value.parse().ok()?,
        "--keys" => recipe.keys = value.parse().ok().filter(|keys| (1..=1 << 30).contains(keys))?,
        "--zipf" => recipe.exponent = value.parse().ok().filter(|zipf: &f64| zipf.is_finite())?,
        "--drift" => recipe.drift = value.parse().ok()?,
        "--scans" => recipe.scans = share(value)?,
        "--sizes" => recipe.sizes = sizes(value)?,
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Arguments, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_are_understood() {
        let arguments =
            parsed("a.lis --capacity 1000,2K --policies lru,exact-lru --value-bytes 4K --simulate").unwrap();
        assert_eq!(arguments.trace, Some(PathBuf::from("a.lis")));
        assert_eq!((arguments.capacities, arguments.value_bytes), (vec![1_000, 2_048], Some(4_096)));
        assert_eq!(arguments.policies, ["lru", "exact-lru"]);
        assert!(arguments.simulate);
        let recipe =
            parsed("--seed 3 --keys 10 --zipf 1.1 --drift 2 --scans 0.5 --sizes 4K --requests 7").unwrap().recipe;
        let sizes = Sizes::LogNormal { median: 4096.0, factor: 4.0, most: 4_096_000 };
        let wanted =
            Recipe { seed: 3, requests: 7, keys: 10, exponent: 1.1, scans: 0.5, drift: 2, sizes, ..Recipe::default() };
        assert_eq!(recipe, wanted);
        assert_eq!(parsed("").unwrap().policies.len(), 9);
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for line in [
            "a b",
            "--capacity",
            "--capacity x",
            "--capacity 0",
            "--capacity 99999999999G",
            "--policies lru,arc",
            "--scans 1",
            "--sizes big",
            "--requests 0",
            "--segments 2",
            "--unknown 1",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
