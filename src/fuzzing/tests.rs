//! Every body on the corpus that is committed, and on random bytes. `LARDER_TEST_SCALE` multiplies the random inputs,
//! `LARDER_TEST_SEED` says where they begin.

use std::path::Path;

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    /// Some bytes of the corpus changed, or bytes that are nobody's.
    fn input(&mut self, corpus: &[Vec<u8>], longest: usize) -> Vec<u8> {
        if corpus.is_empty() || self.below(4) == 0 {
            let len = self.below(longest);
            return self.bytes(len);
        }
        let mut bytes = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            match self.below(5) {
                0 => bytes.truncate(at),
                1 => {
                    let (from, len) = (&corpus[self.below(corpus.len())], self.below(64));
                    let piece = from.iter().skip(self.below(from.len())).take(len).copied();
                    bytes.splice(at..at, piece.collect::<Vec<u8>>());
                }
                2 => {
                    let word = self.next() >> self.below(64);
                    bytes.iter_mut().skip(at).zip(word.to_le_bytes()).for_each(|(to, from)| *to = from);
                }
                3 => bytes.get_mut(at).map_or((), |byte| *byte ^= 1 << (word_bit(self))),
                _ => bytes.get_mut(at).map_or((), |byte| *byte = byte.wrapping_add(1)),
            }
        }
        bytes
    }
}

fn word_bit(random: &mut Random) -> u32 {
    random.below(8) as u32
}

fn number(name: &str) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// The inputs that are committed for a target, in the order of their names.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    // A packaged larder has no fuzz targets beside it.
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Bytes as a fuzzer writes them: to be put into a file and given to the target.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn run(target: &str, body: impl Fn(&[u8]) + std::panic::RefUnwindSafe, longest: usize, everyday: u64) {
    let attempt = |bytes: &[u8], what: &str| {
        if std::panic::catch_unwind(|| body(bytes)).is_err() {
            panic!("{target}, {what}: {}", hex(bytes));
        }
    };
    let corpus = corpus(target);
    for (i, bytes) in corpus.iter().enumerate() {
        attempt(bytes, &format!("number {i} of the corpus"));
    }
    let first = (number("LARDER_TEST_SEED") - 1) * 1_000_000_000;
    let rounds = everyday * number("LARDER_TEST_SCALE");
    for seed in first..first + rounds {
        attempt(&Random(seed).input(&corpus, longest), &format!("seed {seed}"));
    }
    println!("{target}: {} inputs of the corpus, {rounds} random ones", corpus.len());
}

#[test]
fn any_bytes_as_a_record() {
    run("record", super::record, 200, 5_000);
}

#[test]
fn any_bytes_as_a_segment() {
    run("segment", super::segment, 1_000, 1_500);
}

#[test]
fn any_bytes_as_an_index() {
    run("index", super::index, 1_000, 2_000);
}

#[test]
fn any_bytes_as_the_small_files() {
    run("state", super::state, 300, 3_000);
}

#[test]
fn any_bytes_as_keys() {
    run("key", super::key, 300, 3_000);
}

#[test]
fn any_bytes_as_values() {
    run("value", super::value, 200, 500);
}

#[test]
fn any_bytes_as_a_damaged_directory() {
    run("store_directory", super::store_directory, 120, 15);
}

#[test]
fn any_bytes_as_operations_with_failures() {
    run("operations", super::operations, 300, 12);
}
