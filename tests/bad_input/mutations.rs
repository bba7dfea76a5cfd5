//! Random damage from a seed: flipped bits, cut and zeroed stretches, changed words, and records whose checksums were made
//! to match. A failure names its seed.

use super::seeds;
use super::store::{Original, Trust, exercise, run_named};
use std::os::unix::fs::FileExt;

/// Mutations of one kind of file at the everyday scale.
const ROUNDS: u64 = 50;

/// SplitMix64: small, and the same everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// A word that is likely to hurt.
    fn word(&mut self) -> u64 {
        match self.below(8) {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << self.below(64),
            3 => (1 << self.below(64)) - 1,
            4 => self.below(4_096) as u64,
            5 => self.below(1 << 22) as u64 & !7,
            _ => self.next(),
        }
    }
}

/// Where a file has something in it: most of a segment or table is zeros.
fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|&byte| byte != 0).map_or(1, |last| last + 1)
}

pub fn mutate(random: &mut Random, bytes: &mut Vec<u8>) -> String {
    let used = used(bytes);
    let at = random.below(used);
    match random.below(6) {
        0 => {
            bytes[at] ^= 1 << random.below(8);
            format!("bit of byte {at}")
        }
        1 => {
            let count = 1 + random.below(20);
            for _ in 0..count {
                let at = random.below(used);
                bytes[at] = random.next() as u8;
            }
            format!("{count} bytes")
        }
        2 => {
            bytes.truncate(at);
            format!("cut at {at}")
        }
        3 => {
            let len = (1 << random.below(13)).min(bytes.len() - at);
            bytes[at..at + len].fill(0);
            format!("{len} zeros at {at}")
        }
        4 => {
            let at = (at & !7).min(bytes.len().saturating_sub(8));
            let value = random.word();
            if let Some(word) = bytes.get_mut(at..at + 8) {
                word.copy_from_slice(&value.to_le_bytes());
            }
            format!("word {at} = {value:#x}")
        }
        _ => {
            let (from, len) = (random.below(used), 1 + random.below(256));
            let piece: Vec<u8> = bytes[from..(from + len).min(used)].to_vec();
            let end = (at + piece.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&piece[..end - at]);
            format!("{len} bytes of {from} at {at}")
        }
    }
}

/// Damages files of one kind, one to three mutations at a time.
fn mutations_of(kind: &'static str, trust: Trust) {
    run_named(move |says| {
        let original = Original::new();
        let names: Vec<&String> = original.files.keys().filter(|name| name.starts_with(kind)).collect();
        for seed in seeds(ROUNDS) {
            let mut random = Random(seed);
            let name = names[random.below(names.len())];
            let mut bytes = original.files[name].clone();
            let changes: Vec<String> = (0..=random.below(3)).map(|_| mutate(&mut random, &mut bytes)).collect();
            let what = format!("{name}, seed {seed}: {}", changes.join(", "));
            says(what.clone());
            let dir = original.write();
            let path = dir.path().join(name);
            if name == "state" {
                // In place, so that the state stays trusted unless its head is hit.
                let head = std::fs::read(&path).unwrap()[..68].to_vec();
                let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
                file.set_len(bytes.len() as u64).unwrap();
                file.write_all_at(&bytes, 0).unwrap();
                if bytes.len() > 68 {
                    file.write_all_at(&head, 0).unwrap();
                }
            } else {
                std::fs::write(path, bytes).unwrap();
            }
            exercise(&original, dir.path(), trust, &what);
        }
    });
}

#[test]
fn random_damage_of_the_manifest() {
    mutations_of("larder", Trust::Always);
}

#[test]
fn random_damage_of_the_state() {
    mutations_of("state", Trust::Always);
}

#[test]
fn random_damage_of_the_index() {
    mutations_of("index-", Trust::Always);
}

#[test]
fn random_damage_of_the_tags() {
    mutations_of("tags-", Trust::Always);
}

#[test]
fn random_damage_of_the_log() {
    mutations_of("log-", Trust::Always);
}

#[test]
fn random_damage_of_large_values() {
    mutations_of("value-", Trust::Always);
}

#[test]
fn random_damage_of_the_log_is_dropped_by_a_rebuild() {
    run_named(|says| {
        let original = Original::new();
        let names: Vec<&String> = original.files.keys().filter(|name| name.starts_with("log-")).collect();
        for seed in seeds(ROUNDS) {
            let mut random = Random(!seed);
            let name = names[random.below(names.len())];
            let mut bytes = original.files[name].clone();
            let what = format!("{name}, seed {seed}: {}", mutate(&mut random, &mut bytes));
            says(what.clone());
            let dir = original.write();
            std::fs::write(dir.path().join(name), bytes).unwrap();
            std::fs::remove_file(dir.path().join("state")).unwrap();
            exercise(&original, dir.path(), Trust::Always, &what);
        }
    });
}

/// Changes fields of one record of a segment and makes its checksum match again.
fn forge(random: &mut Random, bytes: &mut [u8]) -> String {
    let nonce = u64::from_le_bytes(bytes[32..40].try_into().unwrap());
    let starts = record_starts(bytes);
    let at = starts[random.below(starts.len())];
    let mut changes = Vec::new();
    for _ in 0..=random.below(2) {
        // Every field of the fixed part, or a word behind it.
        let (field, len) =
            [(4, 1), (5, 1), (6, 2), (8, 4), (12, 1), (13, 3), (16, 8), (24, 8), (32, 8), (40, 8)][random.below(10)];
        let value = random.word();
        bytes[at + field..at + field + len].copy_from_slice(&value.to_le_bytes()[..len]);
        changes.push(format!("{field} = {value:#x}"));
    }
    let end = at + content_of(&bytes[at..]);
    if end <= bytes.len() {
        let mixed = nonce ^ (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut hasher = crc32fast::Hasher::new_with_initial((mixed >> 32) as u32 ^ mixed as u32);
        hasher.update(&bytes[at + 4..end]);
        let crc = hasher.finalize();
        bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
    }
    format!("record at {at}: {}", changes.join(", "))
}

/// Bytes of the record that begins here, without its padding.
fn content_of(record: &[u8]) -> usize {
    let optional = usize::from(record[5] & 2 != 0) * 8 + usize::from(record[5] & 4 != 0) * 16;
    let key = usize::from(u16::from_le_bytes([record[6], record[7]]));
    let value = u32::from_le_bytes(record[8..12].try_into().unwrap()) as usize;
    24 + optional + key + value
}

fn record_starts(bytes: &[u8]) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut at = 64;
    while at + 64 <= bytes.len() && bytes[at + 4] != 0 {
        starts.push(at);
        at += content_of(&bytes[at..]).next_multiple_of(8);
    }
    starts
}

#[test]
fn forged_records_with_matching_checksums() {
    run_named(|says| {
        let original = Original::new();
        let names: Vec<&String> = original.files.keys().filter(|name| name.starts_with("log-")).collect();
        for seed in seeds(ROUNDS) {
            let mut random = Random(seed << 32);
            let name = names[random.below(names.len())];
            let mut bytes = original.files[name].clone();
            let what = format!("{name}, seed {seed}: {}", forge(&mut random, &mut bytes));
            says(what.clone());
            let dir = original.write();
            std::fs::write(dir.path().join(name), bytes).unwrap();
            if seed % 2 == 0 {
                std::fs::remove_file(dir.path().join("state")).unwrap();
            }
            exercise(&original, dir.path(), Trust::Never, &what);
        }
    });
}
