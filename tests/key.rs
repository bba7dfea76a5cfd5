//! The key encoding through the public names: order, round trips, one encoding per key, the exact bytes, hostile bytes.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::Debug;
use std::rc::Rc;
use std::sync::Arc;

use larder::{AnyKey, Key, MAX_KEY_BYTES, OwnedKey};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// So many cases, the same in every run; another `LARDER_TEST_SEED` draws others.
fn drawn(cases: u32) -> ProptestConfig {
    let seed = std::env::var("LARDER_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..ProptestConfig::default() }
}

fn bytes_of<K: Key + ?Sized>(key: &K) -> Vec<u8> {
    key.encode().unwrap()
}

/// Two keys of one type: they sort as their encodings do, and each is read back from its own, also inside a tuple,
/// and as an `AnyKey` that is the same key.
fn check_pair<K: OwnedKey + Clone + Debug>(a: &K, b: &K, order: impl Fn(&K, &K) -> Ordering) {
    let (bytes_a, bytes_b) = (bytes_of(a), bytes_of(b));
    assert_eq!(order(a, b), bytes_a.cmp(&bytes_b), "{a:?} and {b:?}");
    let tuples = (bytes_of(&(a, 1u8, b)), bytes_of(&(b, 1u8, a)));
    assert_eq!(order(a, b), tuples.0.cmp(&tuples.1), "{a:?} and {b:?} in tuples");
    assert!(order(&K::decode(&bytes_a).unwrap(), a).is_eq(), "{a:?} read back");
    let (first, middle, last) = <(K, u8, Option<K>)>::decode(&bytes_of(&(a, 1u8, Some(b)))).unwrap();
    assert!(order(&first, a).is_eq() && middle == 1 && order(&last.unwrap(), b).is_eq(), "{a:?} {b:?} in a tuple");
    assert_eq!(bytes_of(&AnyKey::decode(&bytes_a).unwrap()), bytes_a, "{a:?} as any key");
    assert!(None::<K>.encode().unwrap() < bytes_of(&Some(a)), "None and Some({a:?})");
    assert_eq!(order(a, b), bytes_of(&Some(a)).cmp(&bytes_of(&Some(b))), "Some({a:?}) and Some({b:?})");
}

/// Bytes that the format treats specially are common, and so are common beginnings and lengths beyond any fixed buffer.
fn byte_strings() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(0u8), Just(1), Just(0xfe), Just(0xff), any::<u8>()];
    prop_oneof![vec(byte.clone(), 0..5), vec(byte, 0..200)]
}

fn strings() -> impl Strategy<Value = String> {
    let letter = prop_oneof![Just('\0'), Just('\u{1}'), Just('a'), Just('ÿ'), Just('\u{10ffff}'), any::<char>()];
    let letters = prop_oneof![vec(letter.clone(), 0..5), vec(letter, 0..100)];
    letters.prop_map(String::from_iter)
}

/// Integers of every length.
fn wide_integers() -> impl Strategy<Value = i128> {
    let spread = (any::<i128>(), 0..128u32).prop_map(|(value, shift)| value >> shift);
    let borders = (0..128u32, -2i128..=2).prop_map(|(shift, off)| (1i128 << shift).wrapping_add(off));
    prop_oneof![spread, borders.clone(), borders.prop_map(i128::wrapping_neg)]
}

fn any_keys() -> impl Strategy<Value = AnyKey> {
    let leaf = prop_oneof![
        Just(AnyKey::None),
        byte_strings().prop_map(AnyKey::Bytes),
        strings().prop_map(AnyKey::String),
        wide_integers().prop_map(AnyKey::Int),
        wide_integers().prop_map(|value| AnyKey::Uint(value as u128)),
        any::<u32>().prop_map(|bits| AnyKey::F32(f32::from_bits(bits))),
        any::<u64>().prop_map(|bits| AnyKey::F64(f64::from_bits(bits))),
        any::<bool>().prop_map(AnyKey::Bool),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| vec(inner, 0..4).prop_map(AnyKey::Tuple))
}

/// Small keys that often begin alike, so that one encoding often begins with another.
fn similar_keys() -> impl Strategy<Value = AnyKey> {
    let leaf = prop_oneof![
        Just(AnyKey::None),
        vec(prop_oneof![Just(0u8), Just(0xff)], 0..3).prop_map(AnyKey::Bytes),
        vec(prop_oneof![Just('\0'), Just('a')], 0..3).prop_map(|letters| AnyKey::String(String::from_iter(letters))),
        (-1i128..=256).prop_map(AnyKey::Int),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| vec(inner, 0..4).prop_map(AnyKey::Tuple))
}

macro_rules! typed_properties {
    ($($name:ident: $strategy:expr;)*) => {
        proptest! {
            #![proptest_config(drawn(100))]
            $(#[test]
            fn $name((a, b) in ($strategy, $strategy)) {
                check_pair(&a, &b, Ord::cmp);
                check_pair(&a, &a, Ord::cmp);
            })*
        }
    };
}

typed_properties! {
    order_and_round_trip_of_strings: strings();
    order_and_round_trip_of_byte_strings: byte_strings();
    order_and_round_trip_of_byte_arrays: any::<[u8; 3]>();
    order_and_round_trip_of_chars: any::<char>();
    order_and_round_trip_of_bools: any::<bool>();
    order_and_round_trip_of_u8: any::<u8>();
    order_and_round_trip_of_u16: any::<u16>();
    order_and_round_trip_of_u32: wide_integers().prop_map(|v| v as u32);
    order_and_round_trip_of_u64: wide_integers().prop_map(|v| v as u64);
    order_and_round_trip_of_u128: wide_integers().prop_map(|v| v as u128);
    order_and_round_trip_of_usize: wide_integers().prop_map(|v| v as usize);
    order_and_round_trip_of_i8: any::<i8>();
    order_and_round_trip_of_i16: any::<i16>();
    order_and_round_trip_of_i32: wide_integers().prop_map(|v| v as i32);
    order_and_round_trip_of_i64: wide_integers().prop_map(|v| v as i64);
    order_and_round_trip_of_i128: wide_integers();
    order_and_round_trip_of_isize: wide_integers().prop_map(|v| v as isize);
    order_and_round_trip_of_options: proptest::option::of(proptest::option::of(strings()));
    order_and_round_trip_of_pairs: (strings(), wide_integers());
    order_and_round_trip_of_pairs_of_options: (proptest::option::of(byte_strings()), proptest::option::of(any::<i8>()));
    order_and_round_trip_of_nested_tuples: ((strings(), (any::<bool>(),)), Just(()), proptest::option::of(strings()));
    order_and_round_trip_of_eight:
        (0..2u8, 0..2i64, strings(), any::<char>(), any::<bool>(), byte_strings(), 0..2u128, 0..2u16);
    order_and_round_trip_of_any_keys: any_keys();
    order_and_round_trip_of_similar_keys: similar_keys();
}

proptest! {
    #![proptest_config(drawn(400))]

    #[test]
    fn order_and_round_trip_of_f32((a, b) in (any::<u32>(), any::<u32>())) {
        check_pair(&f32::from_bits(a), &f32::from_bits(b), f32::total_cmp);
        check_pair(&f32::from_bits(a), &f32::from_bits(a ^ 1 << 31), f32::total_cmp);
    }

    #[test]
    fn order_and_round_trip_of_f64((a, b) in (any::<u64>(), any::<u64>())) {
        check_pair(&f64::from_bits(a), &f64::from_bits(b), f64::total_cmp);
        check_pair(&f64::from_bits(a), &f64::from_bits(a ^ 1 << 63), f64::total_cmp);
    }

    #[test]
    fn two_keys_have_two_encodings((a, b) in (any_keys(), any_keys())) {
        prop_assert_eq!(a == b, bytes_of(&a) == bytes_of(&b));
    }

    #[test]
    fn an_encoding_begins_with_another_only_where_ff_follows((a, b) in (similar_keys(), similar_keys())) {
        let (a, b) = (bytes_of(&a), bytes_of(&b));
        if let Some([next, ..]) = b.strip_prefix(&*a) {
            prop_assert_eq!(*next, 0xff, "{:02x?} {:02x?}", a, b);
        }
        prop_assert!(a[0] < 0xff);
    }

    #[test]
    fn tuples_that_begin_alike_are_one_range((head, tuple) in (vec(similar_keys(), 0..3), vec(similar_keys(), 0..4))) {
        let mut low = bytes_of(&AnyKey::Tuple(head.clone()));
        prop_assert_eq!(low.pop(), Some(0));
        let mut high = low.clone();
        high.push(0xff);
        let inside = (low..high).contains(&bytes_of(&AnyKey::Tuple(tuple.clone())));
        prop_assert_eq!(inside, tuple.starts_with(&head));
    }

    #[test]
    fn the_range_of_a_head_holds_its_own_tuples_and_no_scalar(
        (head, tail, scalar) in (vec(any_keys(), 0..3), vec(any_keys(), 0..3), strings())
    ) {
        let mut low = bytes_of(&AnyKey::Tuple(head.clone()));
        low.pop();
        let mut high = low.clone();
        high.push(0xff);
        let range = low..high;
        let whole = AnyKey::Tuple(head.into_iter().chain(tail).collect());
        prop_assert!(range.contains(&bytes_of(&whole)));
        prop_assert!(!range.contains(&bytes_of(&scalar)));
    }

    #[test]
    fn whatever_can_be_read_is_written_the_same_again(bytes in hostile_bytes()) {
        check_hostile(&bytes);
    }

    #[test]
    fn damaged_keys_are_errors_or_other_keys(
        (key, at, byte) in (any_keys(), any::<prop::sample::Index>(), any::<u8>())
    ) {
        let bytes = bytes_of(&key);
        let at = at.index(bytes.len());
        check_hostile(&bytes[..at]);
        let mut damaged = bytes.clone();
        damaged[at] = byte;
        check_hostile(&damaged);
        damaged.insert(at, byte);
        check_hostile(&damaged);
        let mut longer = bytes;
        longer.push(byte);
        check_hostile(&longer);
    }
}

/// Bytes made of pieces that mean something to the format.
fn hostile_bytes() -> impl Strategy<Value = Vec<u8>> {
    let special = prop::sample::select(vec![
        0x00, 0x01, 0x02, 0x05, 0x09, 0x0b, 0x0c, 0x13, 0x14, 0x15, 0x1c, 0x1d, 0x20, 0x21, 0x26, 0x27, 0x61, 0xef,
        0xf6, 0xff,
    ]);
    prop_oneof![vec(special.clone(), 0..8), vec(special, 0..40), vec(any::<u8>(), 0..40)]
}

/// No type panics on the bytes; what reads them writes them again; and what some type reads, `AnyKey` reads.
fn check_hostile(bytes: &[u8]) {
    fn check<K: OwnedKey>(bytes: &[u8]) {
        match K::decode(bytes) {
            Ok(key) => {
                assert_eq!(key.encode().unwrap(), bytes);
                assert!(AnyKey::decode(bytes).is_ok(), "{bytes:02x?}");
            }
            Err(error) => assert!(error.is_type(), "{error:?}"),
        }
    }
    check::<AnyKey>(bytes);
    check::<String>(bytes);
    check::<char>(bytes);
    check::<Vec<u8>>(bytes);
    check::<[u8; 2]>(bytes);
    check::<u8>(bytes);
    check::<i64>(bytes);
    check::<u128>(bytes);
    check::<i128>(bytes);
    check::<f32>(bytes);
    check::<f64>(bytes);
    check::<bool>(bytes);
    check::<()>(bytes);
    check::<Option<Option<Option<AnyKey>>>>(bytes);
    check::<(AnyKey, AnyKey)>(bytes);
    check::<((Option<u8>,), Option<String>, Vec<u8>)>(bytes);
}

#[test]
fn the_bytes_are_those_of_the_format() {
    let table: &[(&[u8], Vec<u8>)] = &[
        (b"\x00", bytes_of(&None::<u8>)),
        (b"\x01\x00", bytes_of(b"")),
        (b"\x01foo\x00\xffbar\x00", bytes_of(b"foo\x00bar")),
        (b"\x02\x00", bytes_of("")),
        (b"\x02F\xc3\x94O\x00\xffbar\x00", bytes_of("F\u{d4}O\u{0}bar")),
        (b"\x05\x00", bytes_of(&())),
        (b"\x05\x01foo\x00\xffbar\x00\x00\xff\x05\x00\x00", bytes_of(&(b"foo\x00bar", None::<u8>, ()))),
        (b"\x05\x02a\x00\x15\x01\x00", bytes_of(&("a", 1))),
        (b"\x0b\xf6\xfe\xff\xff\xff\xff\xff\xff\xff\xff", bytes_of(&-(1i128 << 64))),
        (b"\x0b\xef\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", bytes_of(&i128::MIN)),
        (b"\x0c\x00\x00\x00\x00\x00\x00\x00\x00", bytes_of(&-i128::from(u64::MAX))),
        (b"\x0c\x7f\xff\xff\xff\xff\xff\xff\xff", bytes_of(&i64::MIN)),
        (b"\x0d\xfe\xff\xff\xff\xff\xff\xff", bytes_of(&-(1i64 << 48))),
        (b"\x0e\xfe\xff\xff\xff\xff\xff", bytes_of(&-(1i64 << 40))),
        (b"\x0f\xfe\xff\xff\xff\xff", bytes_of(&-(1i64 << 32))),
        (b"\x10\xfe\xff\xff\xff", bytes_of(&-(1 << 24))),
        (b"\x11\xabK\x93", bytes_of(&-5_551_212)),
        (b"\x12\xfe\xff", bytes_of(&-256)),
        (b"\x13\x00", bytes_of(&-255)),
        (b"\x13\xfe", bytes_of(&-1)),
        (b"\x14", bytes_of(&0)),
        (b"\x15\x01", bytes_of(&1)),
        (b"\x15\xff", bytes_of(&255)),
        (b"\x16\x01\x00", bytes_of(&256)),
        (b"\x17\x01\x00\x00", bytes_of(&(1 << 16))),
        (b"\x18\x01\x00\x00\x00", bytes_of(&(1 << 24))),
        (b"\x19\x01\x00\x00\x00\x00", bytes_of(&(1i64 << 32))),
        (b"\x1a\x01\x00\x00\x00\x00\x00", bytes_of(&(1i64 << 40))),
        (b"\x1b\x01\x00\x00\x00\x00\x00\x00", bytes_of(&(1i64 << 48))),
        (b"\x1c\x01\x00\x00\x00\x00\x00\x00\x00", bytes_of(&(1i64 << 56))),
        (b"\x1c\xff\xff\xff\xff\xff\xff\xff\xff", bytes_of(&u64::MAX)),
        (b"\x1d\x09\x01\x00\x00\x00\x00\x00\x00\x00\x00", bytes_of(&(1u128 << 64))),
        (b"\x1d\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", bytes_of(&u128::MAX)),
        (b"\x20\x3d\xd7\xff\xff", bytes_of(&-42.0f32)),
        (b"\x20\x80\x00\x00\x00", bytes_of(&0.0f32)),
        (b"\x21\xc0\x45\x00\x00\x00\x00\x00\x00", bytes_of(&42.0f64)),
        (b"\x21\x7f\xff\xff\xff\xff\xff\xff\xff", bytes_of(&-0.0f64)),
        (b"\x26", bytes_of(&false)),
        (b"\x27", bytes_of(&true)),
    ];
    for (expected, bytes) in table {
        assert_eq!(bytes, expected, "{expected:02x?}");
        assert_eq!(AnyKey::decode(expected).unwrap().encode().unwrap(), *expected);
    }
    let mut sorted: Vec<_> = table.iter().map(|(expected, _)| AnyKey::decode(expected).unwrap()).collect();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted.len(), table.len());
    assert!(sorted.is_sorted_by_key(bytes_of));
}

#[test]
fn one_key_in_several_types_is_one_encoding() {
    let one = bytes_of(&1u8);
    for other in [
        bytes_of(&1u16),
        bytes_of(&1u32),
        bytes_of(&1u64),
        bytes_of(&1u128),
        bytes_of(&1usize),
        bytes_of(&1i8),
        bytes_of(&1i16),
        bytes_of(&1i32),
        bytes_of(&1i64),
        bytes_of(&1i128),
        bytes_of(&1isize),
        bytes_of(&Some(1)),
    ] {
        assert_eq!(other, one);
    }
    let minus = bytes_of(&-1i8);
    for other in [bytes_of(&-1i16), bytes_of(&-1i32), bytes_of(&-1i64), bytes_of(&-1i128), bytes_of(&-1isize)] {
        assert_eq!(other, minus);
    }
    let letter = bytes_of("é");
    for other in [
        bytes_of(&'é'),
        bytes_of(&"é"),
        bytes_of(&&"é"),
        bytes_of(&"é".to_owned()),
        bytes_of(&Some("é")),
        bytes_of(&Box::<str>::from("é")),
        bytes_of(&Rc::<str>::from("é")),
        bytes_of(&Arc::<str>::from("é")),
        bytes_of(&Cow::Borrowed("é")),
    ] {
        assert_eq!(other, letter);
    }
    let raw = bytes_of(b"raw");
    for other in
        [bytes_of(&b"raw".to_vec()), bytes_of(&b"raw"[..]), bytes_of(&&&b"raw"[..]), bytes_of(&Arc::new(*b"raw"))]
    {
        assert_eq!(other, raw);
    }
    assert_eq!(bytes_of(&Some(None::<u8>)), bytes_of(&(None::<u8>,)));
}

#[test]
fn keys_that_look_alike_are_different() {
    let keys = [
        bytes_of(&1),
        bytes_of(&1.0f32),
        bytes_of(&1.0f64),
        bytes_of("1"),
        bytes_of(b"1"),
        bytes_of(&(1,)),
        bytes_of(&("1",)),
        bytes_of(&true),
        bytes_of(&((1,),)),
        bytes_of(&(1, 1)),
        bytes_of(&((1,), 1)),
        bytes_of(&(1, (1,))),
        bytes_of(&((1, 1),)),
        bytes_of(&None::<u8>),
        bytes_of(&Some(None::<u8>)),
        bytes_of(&Some(Some(None::<u8>))),
        bytes_of(&()),
        bytes_of(&((),)),
        bytes_of(&0),
        bytes_of(&0.0),
        bytes_of(&-0.0),
        bytes_of(&false),
        bytes_of(""),
        bytes_of(b""),
        bytes_of("\0"),
        bytes_of(b"\0"),
        bytes_of(&("", None::<u8>)),
        bytes_of(&(None::<u8>, "")),
        bytes_of(&("\0",)),
        bytes_of(&("",)),
        bytes_of(&("", "")),
    ];
    for (place, key) in keys.iter().enumerate() {
        assert!(!keys[..place].contains(key), "key {place}: {key:02x?}");
    }
}

#[test]
fn options_of_options_keep_their_order() {
    type Deep = Option<Option<Option<bool>>>;
    let keys: [Deep; 5] = [None, Some(None), Some(Some(None)), Some(Some(Some(false))), Some(Some(Some(true)))];
    assert!(keys.is_sorted());
    for (place, a) in keys.iter().enumerate() {
        assert_eq!(Deep::decode(&bytes_of(a)).unwrap(), *a);
        for b in &keys[place + 1..] {
            assert!(bytes_of(a) < bytes_of(b), "{a:?} and {b:?}");
        }
    }
}

#[test]
fn arguments_by_value_take_what_callers_have() {
    fn take(key: impl Key) -> Vec<u8> {
        key.encode().unwrap()
    }
    let owned = String::from("k");
    assert_eq!(take("k"), take(&owned));
    assert_eq!(take(owned.as_str()), take(owned.clone()));
    assert_eq!(take(("k", 1u8)), take((&owned, 1i64)));
    assert_eq!(take(b"raw"), take(b"raw".to_vec()));
    assert_eq!(take(&[1u8, 2][..]), take([1u8, 2]));
    assert_eq!(take(AnyKey::of((1, "a")).unwrap()), take((1, "a")));
}

#[test]
fn pointers_are_read_back_as_what_they_point_to() {
    assert_eq!(Box::<str>::decode(&bytes_of("a\0b")).unwrap(), "a\0b".into());
    assert_eq!(Arc::<str>::decode(&bytes_of("a")).unwrap(), "a".into());
    assert_eq!(Rc::<[u8]>::decode(&bytes_of(b"a")).unwrap(), (*b"a").into());
    assert_eq!(Arc::<(u8, bool)>::decode(&bytes_of(&(1, true))).unwrap(), Arc::new((1, true)));
    assert_eq!(Cow::<str>::decode(&bytes_of("a")).unwrap(), "a");
}

#[test]
fn the_longest_key_is_65535_encoded_bytes() {
    assert_eq!(MAX_KEY_BYTES, 65_535);
    let longest = "x".repeat(MAX_KEY_BYTES - 2);
    let bytes = bytes_of(&longest);
    assert_eq!(bytes.len(), MAX_KEY_BYTES);
    assert_eq!(String::decode(&bytes).unwrap(), longest);
    let refused = |error: larder::Error| match error {
        larder::Error::KeyTooLarge { bytes } => bytes,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused("x".repeat(MAX_KEY_BYTES - 1).encode().unwrap_err()), MAX_KEY_BYTES + 1);
    assert_eq!(refused((longest, 1).encode().unwrap_err()), MAX_KEY_BYTES + 4);
    assert_eq!(refused("\0".repeat(40_000).encode().unwrap_err()), 80_002);
    assert_eq!(refused(AnyKey::decode(&vec![0x05; MAX_KEY_BYTES + 1]).unwrap_err()), MAX_KEY_BYTES + 1);
}

#[test]
fn other_spellings_of_a_key_are_refused() {
    let refused: &[&[u8]] = &[
        b"",
        b"\x00\x00",
        b"\x00\xff",
        b"\x01",
        b"\x01a",
        b"\x01a\x00\xff",
        b"\x02\xff\x00",
        b"\x02\xed\xa0\x80\x00",
        b"\x02a\x00\x00",
        b"\x03\x00",
        b"\x05",
        b"\x05\x15\x01",
        b"\x05\x00\x00",
        b"\x05\x00\xff",
        b"\x05\x05\x00",
        b"\x14\x00",
        b"\x15",
        b"\x15\x00",
        b"\x16\x00\x01",
        b"\x16\x01",
        b"\x13\xff",
        b"\x12\xff\x00",
        b"\x1d",
        b"\x1d\x00",
        b"\x1d\x01\x01",
        b"\x1d\x08\x01\x00\x00\x00\x00\x00\x00\x00",
        b"\x1d\x09\x00\x01\x00\x00\x00\x00\x00\x00\x00",
        b"\x1d\x11\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
        b"\x0b\xf7\xfe\xff\xff\xff\xff\xff\xff\xff",
        b"\x0b\xf6\xff\xfe\xff\xff\xff\xff\xff\xff\xff",
        b"\x0b\xef\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe",
        b"\x20\x80\x00\x00",
        b"\x21\x80\x00\x00\x00",
        b"\x27\x27",
        b"\xff",
    ];
    for bytes in refused {
        let error = AnyKey::decode(bytes).expect_err(&format!("{bytes:02x?}"));
        assert!(error.is_type(), "{error:?}");
        check_hostile(bytes);
    }
}

#[test]
fn depth_is_bounded_alike_for_writing_and_reading() {
    let nested = |depth| (1..depth).fold(AnyKey::Tuple(Vec::new()), |inner, _| AnyKey::Tuple(vec![inner]));
    let deepest = bytes_of(&nested(32));
    assert_eq!(AnyKey::decode(&deepest).unwrap(), nested(32));
    assert!(nested(33).encode().unwrap_err().is_type());
    let mut deeper = vec![0x05];
    deeper.extend(&deepest);
    deeper.push(0x00);
    assert!(AnyKey::decode(&deeper).unwrap_err().is_type());
    assert!(AnyKey::decode(&vec![0x05; MAX_KEY_BYTES]).unwrap_err().is_type());
}
