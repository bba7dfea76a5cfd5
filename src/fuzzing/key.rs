//! Keys: bytes that are read as keys of every type, and values that become keys.
//!
//! Input: a byte that says which type the rest is read as, or which two keys are drawn from it, the second one so that it
//! often begins as the first does. One of them each time: a fuzzer finds more by trying often than by trying all at once.

use std::fmt::Debug;

use super::input::Input;
use crate::key::{AnyKey, Key, MAX_KEY_BYTES, OwnedKey};
use crate::os::bounded::within;

/// The deepest that is drawn: deeper than any key may be.
const DEPTH_MAX: usize = 36;

/// Reads or writes keys.
pub fn key(bytes: &[u8]) {
    // A key of a tuple takes one byte, and 32 in memory, in vectors that double.
    within(512 * bytes.len() + (64 << 10), || {
        let mut input = Input::new(bytes);
        match input.byte() {
            which if which & 1 == 0 => read_keys(which >> 1, input.rest()),
            which => write_keys(which >> 1, &mut input),
        }
    });
}

fn read_keys(which: u8, bytes: &[u8]) {
    match which % 4 {
        0 => read::<AnyKey>(bytes),
        1 => {
            read::<String>(bytes);
            read::<Vec<u8>>(bytes);
            read::<[u8; 4]>(bytes);
            read::<char>(bytes);
            read::<bool>(bytes);
            read::<f32>(bytes);
            read::<f64>(bytes);
            read::<()>(bytes);
        }
        2 => {
            read::<i8>(bytes);
            read::<u16>(bytes);
            read::<i64>(bytes);
            read::<u64>(bytes);
            read::<i128>(bytes);
            read::<u128>(bytes);
        }
        _ => {
            read::<(u32, String)>(bytes);
            read::<(Option<u8>, (i16, Vec<u8>), bool)>(bytes);
            read::<Option<(String, Option<i32>)>>(bytes);
            read::<((), (AnyKey,), AnyKey)>(bytes);
        }
    }
}

/// What is read is written as the same bytes, so that a key has one spelling.
fn read<K: OwnedKey + Debug>(bytes: &[u8]) {
    let Ok(key) = K::decode(bytes) else { return };
    let again = key.encode();
    assert!(again.as_ref().is_ok_and(|again| again == bytes), "{bytes:02x?} is {key:?}, written as {again:02x?}");
}

fn write_keys(which: u8, input: &mut Input<'_>) {
    match which % 8 {
        0..3 => compare(&draw(input, 0), &draw(input, 0)),
        3 => {
            let (a, b) = (draw(input, 0), draw(input, 0));
            compare(&AnyKey::Tuple(vec![a.clone(), b]), &AnyKey::Tuple(vec![a]));
        }
        4 => {
            let (a, b) = (draw(input, 0), draw(input, 0));
            compare(&AnyKey::Tuple(vec![a.clone(), draw(input, 0)]), &AnyKey::Tuple(vec![a, draw(input, 0), b]));
        }
        5 => compare(&(input.word() as i64, text(input)), &(input.word() as i64, text(input))),
        6 => {
            compare(&(input.wide(), bytes(input)), &(input.wide(), bytes(input)));
            compare(&(input.wide() as i128, input.byte() > 127), &(input.wide() as i128, input.byte() > 127));
        }
        _ => {
            let part = |input: &mut Input<'_>| {
                let some = input.byte() & 1 != 0;
                some.then(|| (input.byte() as i8, input.short(), (input.int() as i32,)))
            };
            compare(&part(input), &part(input));
        }
    }
}

/// Two keys have the order of their values, come back as they were, and are told apart when something stands behind them.
fn compare<K: OwnedKey + Debug + Ord>(a: &K, b: &K) {
    let (Ok(a_bytes), Ok(b_bytes)) = (a.encode(), b.encode()) else { return };
    assert_eq!(a.cmp(b), a_bytes.cmp(&b_bytes), "{a:?} and {b:?}: {a_bytes:02x?}, {b_bytes:02x?}");
    for (key, bytes) in [(a, &a_bytes), (b, &b_bytes)] {
        let again = K::decode(bytes);
        assert!(bytes.len() <= MAX_KEY_BYTES && again.as_ref().is_ok_and(|again| again == key), "{key:?}: {again:?}");
        let any = AnyKey::decode(bytes);
        assert!(any.as_ref().is_ok_and(|any| any.encode().is_ok_and(|again| again == *bytes)), "{key:?}: {any:?}");
    }
    if let Some(behind) = b_bytes.strip_prefix(&a_bytes[..]).filter(|behind| !behind.is_empty()) {
        assert_eq!(behind[0], 0xFF, "{b:?} begins as {a:?} does");
    }
}

/// A key of any kind. Numbers are often near the ends of what so many bytes hold.
fn draw(input: &mut Input<'_>, depth: usize) -> AnyKey {
    let kind = input.byte();
    match kind % 12 {
        0 => AnyKey::None,
        1 => AnyKey::Bytes(bytes(input)),
        2 => AnyKey::String(text(input)),
        3..6 if depth < DEPTH_MAX => {
            AnyKey::Tuple((0..usize::from(kind >> 4) % 5).map(|_| draw(input, depth + 1)).collect())
        }
        3..6 => AnyKey::None,
        6 => AnyKey::Int(input.wide() as i128),
        7 => AnyKey::Uint(input.wide()),
        8 => {
            let near = 1i128 << (8 * i128::from(kind >> 4)).min(126);
            let value = near + i128::from(input.byte() as i8);
            AnyKey::Int(if input.byte() & 1 == 0 { value } else { -value })
        }
        9 => AnyKey::F32(f32::from_bits(input.int())),
        10 => AnyKey::F64(f64::from_bits(input.word())),
        _ => AnyKey::Bool(kind > 127),
    }
}

fn bytes(input: &mut Input<'_>) -> Vec<u8> {
    let len = usize::from(input.byte()) % 40;
    input.take(len).to_vec()
}

fn text(input: &mut Input<'_>) -> String {
    String::from_utf8_lossy(&bytes(input)).into_owned()
}
