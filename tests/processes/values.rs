//! Dice, and values that say under which key, by whom and as which of his they were written. They know no cache.

use std::sync::OnceLock;

/// A small generator of numbers: the same from the same start.
pub struct Dice(u64);

impl Dice {
    pub fn new(start: u64) -> Dice {
        Dice(start)
    }

    pub fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.throw() % bound
    }
}

/// A number in which every bit of the given one counts.
pub fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

const FILLER_LEN: usize = 1 << 19;
const OFFSET_MAX: u64 = 1 << 12;
/// A value from here on is a file of its own.
const LARGE: u64 = 256 << 10;

fn filler() -> &'static str {
    static FILLER: OnceLock<String> = OnceLock::new();
    FILLER.get_or_init(|| {
        let mut dice = Dice::new(0);
        (0..FILLER_LEN).map(|_| char::from(b'a' + dice.below(26) as u8)).collect()
    })
}

/// The value that `writer` stores under `key` as his `n`th. Most have some hundred bytes, some several thousand, and a few
/// so many that they are files of their own.
pub fn text(key: &str, writer: u64, n: u64) -> String {
    let hash = key.bytes().fold(writer << 48 ^ n, |hash, byte| mixed(hash ^ u64::from(byte)));
    let len = match (hash >> 20) % 4096 {
        0..6 => LARGE + hash % 1000,
        6..32 => 9000 + hash % 9000,
        32..64 => 0,
        _ => hash % 400,
    } as usize;
    let offset = ((hash >> 32) % OFFSET_MAX) as usize;
    format!("{key} {writer} {n} {len} {}", &filler()[offset..offset + len])
}

/// The writer and the number of a value that was found under `key`.
#[track_caller]
pub fn read_text(key: &str, found: &str) -> (u64, u64) {
    let head = &found[..found.len().min(80)];
    let mut words = found.split(' ');
    assert_eq!(words.next(), Some(key), "a value of another key: {head:?}");
    let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
    let (Some(writer), Some(n)) = (number(), number()) else { panic!("no value of ours under {key}: {head:?}") };
    assert!(text(key, writer, n) == found, "a value under {key} that nobody wrote: {head:?}, {} bytes", found.len());
    (writer, n)
}

#[test]
fn a_value_tells_where_it_belongs() {
    for n in 0..5000 {
        assert_eq!(read_text("k7", &text("k7", 3, n)), (3, n));
    }
    let another = std::panic::catch_unwind(|| read_text("k7", &text("k8", 3, 1)));
    assert!(another.is_err());
    let mut torn = text("k7", 3, 1);
    torn.pop();
    assert!(std::panic::catch_unwind(|| read_text("k7", &torn)).is_err());
}
