//! The order of derived keys is that of a derived `Ord`, over many values that no one chose.

use std::fmt::Debug;

use larder::{Key, OwnedKey};

/// Numbers that repeat with every run: splitmix64.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Small ones often, so that values agree in their first parts.
    fn integer(&mut self) -> i64 {
        let shift = self.next() % 64;
        (self.next() as i64) >> shift
    }

    fn string(&mut self) -> String {
        let letters = ['\0', 'a', 'b', '\u{ff}', '\u{1F980}'];
        (0..self.next() % 4).map(|_| letters[(self.next() % 5) as usize]).collect()
    }
}

#[derive(Key, OwnedKey, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Id(Option<String>);

#[derive(Key, OwnedKey, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Shape {
    Nothing,
    Named { id: Option<Id>, size: i64 },
    Both(Vec<u8>, bool),
}

#[derive(Key, OwnedKey, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    High = 300,
    Middle = -5,
    Above,
}

#[derive(Key, OwnedKey, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Whole {
    level: Level,
    shape: Shape,
    after: Option<i64>,
}

fn whole(numbers: &mut Numbers) -> Whole {
    let level = match numbers.next() % 3 {
        0 => Level::High,
        1 => Level::Middle,
        _ => Level::Above,
    };
    let shape = match numbers.next() % 4 {
        0 => Shape::Nothing,
        1 => Shape::Both(numbers.string().into_bytes(), numbers.next().is_multiple_of(2)),
        _ => {
            let id = (!numbers.next().is_multiple_of(3))
                .then(|| Id((!numbers.next().is_multiple_of(3)).then(|| numbers.string())));
            Shape::Named { id, size: numbers.integer() }
        }
    };
    Whole { level, shape, after: numbers.next().is_multiple_of(2).then(|| numbers.integer()) }
}

fn assert_ordered<K: OwnedKey + Ord + Debug>(mut make: impl FnMut() -> K) {
    let keys: Vec<(K, Vec<u8>)> = (0..300)
        .map(|_| {
            let key = make();
            let bytes = key.encode().unwrap();
            (key, bytes)
        })
        .collect();
    for (a, a_bytes) in &keys {
        assert_eq!(K::decode(a_bytes).unwrap(), *a);
        for (b, b_bytes) in &keys {
            assert_eq!(a.cmp(b), a_bytes.cmp(b_bytes), "{a:?} and {b:?}");
        }
    }
}

#[test]
fn encodings_sort_as_values_do() {
    let mut numbers = Numbers(1);
    assert_ordered(|| whole(&mut numbers));
    assert_ordered(|| whole(&mut numbers).shape);
    assert_ordered(|| (whole(&mut numbers).level, Id(Some(numbers.string()))));
}
