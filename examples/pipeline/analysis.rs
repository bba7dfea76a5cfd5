//! The expensive part of the pipeline: what is computed from the bytes of one file. It knows nothing of the cache.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// Each line is compared with this many lines before it.
const TWIN_REACH: usize = 150;
/// Lines shorter than this are alike by chance.
const TWIN_BYTES_MIN: usize = 12;
/// Of longer lines only the beginning is compared, so that a file of one huge line ends too.
const TWIN_BYTES_MAX: usize = 200;
/// Two lines are twins if at most one byte in this many has to change to make one of the other.
const TWIN_SHARE: usize = 4;

/// What is known about one file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// Lines, as `str::lines` counts them.
    pub lines: u64,
    /// Runs of anything but white space.
    pub words: u64,
    /// Runs of letters, digits and underscores.
    pub tokens: u64,
    /// Different tokens.
    pub vocabulary: u64,
    /// Information per token, in bits: how little the next token can be foretold from the frequencies.
    pub entropy: f64,
    /// Lines that are nearly equal to one of the lines before them.
    pub twin_lines: u64,
    /// A digest of the bytes, to tell copies; not safe against forgery.
    pub digest: u64,
    /// How long it took to compute all this.
    pub nanos: u64,
}

/// Some tens of milliseconds for an ordinary source file; linear in its length. Bytes that are not UTF-8 count as
/// replacement characters.
pub fn analyse(bytes: &[u8]) -> Analysis {
    let began = Instant::now();
    let text = String::from_utf8_lossy(bytes);
    let frequencies = token_frequencies(&text);
    let tokens = frequencies.values().sum();
    Analysis {
        lines: text.lines().count() as u64,
        words: text.split_whitespace().count() as u64,
        tokens,
        vocabulary: frequencies.len() as u64,
        entropy: entropy(&frequencies, tokens),
        twin_lines: twin_lines(&text),
        digest: fnv1a(bytes),
        nanos: u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX),
    }
}

fn token_frequencies(text: &str) -> HashMap<&str, u64> {
    let mut frequencies = HashMap::new();
    for token in text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|token| !token.is_empty()) {
        *frequencies.entry(token).or_default() += 1;
    }
    frequencies
}

/// Shannon's measure. The counts are sorted first: a sum of floats depends on its order, and a map has none.
fn entropy(frequencies: &HashMap<&str, u64>, tokens: u64) -> f64 {
    let mut counts: Vec<u64> = frequencies.values().copied().collect();
    counts.sort_unstable();
    let share = |count: u64| count as f64 / tokens as f64;
    counts.into_iter().map(|count| -share(count) * share(count).log2()).sum()
}

/// This is where the time goes: an edit distance for every pair of near lines.
fn twin_lines(text: &str) -> u64 {
    let mut before: VecDeque<&[u8]> = VecDeque::with_capacity(TWIN_REACH);
    let mut row = Vec::new();
    let mut twins = 0;
    for line in text.lines() {
        let line = line.trim().as_bytes();
        let line = &line[..line.len().min(TWIN_BYTES_MAX)];
        if line.len() < TWIN_BYTES_MIN {
            continue;
        }
        let is_twin = |other: &&[u8]| {
            let most = line.len().max(other.len()) / TWIN_SHARE;
            line.len().abs_diff(other.len()) <= most && edit_distance(line, other, &mut row) <= most
        };
        twins += u64::from(before.iter().any(is_twin));
        if before.len() == TWIN_REACH {
            before.pop_front();
        }
        before.push_back(line);
    }
    twins
}

/// Levenshtein's distance: the fewest bytes to insert, remove or replace. `row` is memory that calls share.
fn edit_distance(a: &[u8], b: &[u8], row: &mut Vec<usize>) -> usize {
    row.clear();
    row.extend(0..=b.len());
    for (i, from) in a.iter().enumerate() {
        // The distance of one byte less of both, of `a` and of `b`.
        let mut both = i;
        let mut left = i + 1;
        row[0] = left;
        for (to, above) in b.iter().zip(&mut row[1..]) {
            let replaced = both + usize::from(from != to);
            both = *above;
            left = replaced.min(left + 1).min(both + 1);
            *above = left;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// FNV-1a of 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}
