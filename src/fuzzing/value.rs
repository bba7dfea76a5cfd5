//! Values: bytes that nobody honest wrote, read as many types under both codecs.
//!
//! Input: which type they are read as, the upper bits under which codec and whether they pretend to be of that type; a byte
//! of kind for bytes that pretend nothing, and else how the payload is used; then the payload. One reading each time: a
//! fuzzer finds more by trying often than by trying all at once.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

#[cfg(feature = "json")]
use crate::codec::Json;
use crate::codec::{Codec, Postcard};
use crate::os::bounded::within;
use crate::value::{self, EncodedValue};

/// Bytes of a value's header in front of the payload.
const HEADER: usize = 9;
/// The most bytes in memory that a byte on disk stands for: an element of a list or a map of the types below, in a table
/// that doubles, and is copied while it does.
const RATIO: usize = 1024;
/// What a value may take beside that: elements that take no bytes are allowed, and none of them here takes memory.
const BESIDE: usize = 256 << 10;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Nested {
    id: u32,
    name: String,
    inner: Option<Box<Nested>>,
    list: Vec<Shape>,
    map: BTreeMap<String, (i64, f32)>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Dot,
    Circle(f64),
    Line(i16, i16),
    Named { name: String, at: Option<(u8, char)> },
    Both(Box<Shape>, Box<Shape>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Tree(Vec<Tree>);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Chain {
    End,
    Link(Box<Chain>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Hollow {
    nothing: (),
    less: [u8; 0],
}

fn nested() -> Nested {
    let list = vec![Shape::Both(Box::new(Shape::Dot), Box::new(Shape::Line(-1, 1))), Shape::Circle(1.0)];
    let inner = Nested { id: 0, name: String::new(), inner: None, list: vec![], map: BTreeMap::new() };
    let map = BTreeMap::from([("m".into(), (1, 2.0))]);
    Nested { id: 7, name: "n".into(), inner: Some(Box::new(inner)), list, map }
}

/// Reads the bytes.
pub fn value(bytes: &[u8]) {
    let Some((&[which, kind], payload)) = bytes.split_first_chunk() else { return };
    within(RATIO * bytes.len() + BESIDE, || match which >> 4 & 3 {
        0 => pretend(&Postcard, which, kind, payload),
        1 => read_as_is(&Postcard, which, kind, payload),
        #[cfg(feature = "json")]
        2 => pretend(&Json, which, kind, payload),
        #[cfg(feature = "json")]
        3 => read_as_is(&Json, which, kind, payload),
        _ => {}
    });
}

/// Bytes of some kind, whatever type is asked for.
fn read_as_is<C: Codec>(codec: &C, which: u8, kind: u8, payload: &[u8]) {
    fn read<V: DeserializeOwned, C: Codec>(codec: &C, kind: u8, payload: &[u8]) {
        let _ = value::decode::<V, C>(codec, kind, payload);
    }
    match which % 16 {
        0 => read::<String, C>(codec, kind, payload),
        1 => read::<i64, C>(codec, kind, payload),
        2 => read::<u128, C>(codec, kind, payload),
        3 => read::<f32, C>(codec, kind, payload),
        4 => read::<bool, C>(codec, kind, payload),
        5 => read::<char, C>(codec, kind, payload),
        6 => read::<Vec<u8>, C>(codec, kind, payload),
        7 => read::<Nested, C>(codec, kind, payload),
        8 => read::<Option<Shape>, C>(codec, kind, payload),
        _ => {
            let _ = value::as_integer(kind, payload);
            let _ = value::kind_name(kind);
            if let Ok(len) = value::content_len(kind, payload) {
                assert!(len <= payload.len());
            }
        }
    }
}

/// Behind the header of an honest value of some type, the bytes are read as that type.
fn pretend<C: Codec>(codec: &C, which: u8, how: u8, payload: &[u8]) {
    match which % 16 {
        0 => forged(codec, &nested(), how, payload),
        1 => forged(codec, &vec![Shape::Dot, Shape::Circle(0.5)], how, payload),
        2 => forged(codec, &Tree(vec![Tree(vec![])]), how, payload),
        3 => forged(codec, &Chain::Link(Box::new(Chain::End)), how, payload),
        4 => forged(codec, &vec![()], how, payload),
        5 => forged(codec, &vec![vec![Hollow { nothing: (), less: [] }]], how, payload),
        6 => forged(codec, &HashMap::from([((), ())]), how, payload),
        7 => forged(codec, &HashMap::from([(1u32, vec!["x".to_string()])]), how, payload),
        8 => forged(codec, &BTreeMap::from([("k".to_string(), BTreeSet::from([1u8]))]), how, payload),
        9 => forged(codec, &VecDeque::from([(1u64, Some('c'), true)]), how, payload),
        10 => forged(codec, &vec![Some(vec![Some(())])], how, payload),
        11 => forged(codec, &(1u8, "s".to_string(), [1i128; 3], ((), 2.0f64)), how, payload),
        12 => forged(codec, &Some(std::time::Duration::new(1, 1)), how, payload),
        13 => forged(codec, &vec![std::path::PathBuf::from("p")], how, payload),
        14 => forged(codec, &Ok::<Vec<u16>, String>(vec![1]), how, payload),
        _ => forged(codec, &vec![[[1u32; 4]; 4]], how, payload),
    }
}

fn forged<V: Serialize + DeserializeOwned + Debug, C: Codec>(codec: &C, like: &V, how: u8, payload: &[u8]) {
    // JSON has no maps whose keys are no text.
    let Ok(honest) = value::encode(codec, like) else { return };
    let bytes = honest.bytes();
    if payload.is_empty() {
        let back = value::decode::<V, C>(codec, honest.kind, bytes);
        assert!(back.is_ok(), "{like:?}: {back:?}");
    }
    // Those given alone behind the sample's header, or the sample's own bytes with some of those given in their place.
    if how & 1 == 0 {
        let header = bytes.get(..HEADER).unwrap_or(bytes);
        read_back::<V, C>(codec, honest.kind, &[header, payload].concat());
    } else {
        let mut mixed = bytes.to_vec();
        for (to, from) in mixed.iter_mut().zip(payload) {
            *to ^= from;
        }
        read_back::<V, C>(codec, honest.kind, &mixed);
    }
}

/// What is read is written again, and then reads as itself.
fn read_back<V: Serialize + DeserializeOwned + Debug, C: Codec>(codec: &C, kind: u8, bytes: &[u8]) {
    let Ok(found) = value::decode::<V, C>(codec, kind, bytes) else { return };
    if C::SELF_DESCRIBING {
        // Text has more than one spelling for a float, and none for some.
        return;
    }
    let Ok(again): Result<EncodedValue, _> = value::encode(codec, &found) else { return };
    let back = value::decode::<V, C>(codec, again.kind, again.bytes());
    let same = back.as_ref().is_ok_and(|back| value::encode(codec, back).is_ok_and(|third| third == again));
    assert!(same || is_unordered::<V>(), "{found:?}: {back:?}");
}

/// A hashed map is written in any order.
fn is_unordered<V>() -> bool {
    std::any::type_name::<V>().contains("HashMap")
}
