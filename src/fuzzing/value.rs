//! Values: bytes that nobody honest wrote, read as many types under both codecs.
//!
//! Input: which type they pretend to be of, a byte of kind for bytes that pretend nothing, then the payload.

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
/// What a value may take beside that: a million elements that take no bytes are allowed, and none of them here takes memory.
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
    let bound = RATIO * bytes.len() + BESIDE;
    within(bound, || read_as_is(kind, payload));
    within(bound, || pretend(&Postcard, which, payload));
    #[cfg(feature = "json")]
    within(bound, || pretend(&Json, which, payload));
}

/// Bytes of some kind, whatever type is asked for.
fn read_as_is(kind: u8, payload: &[u8]) {
    fn read<V: DeserializeOwned + Serialize + Debug>(kind: u8, payload: &[u8]) {
        let _ = value::decode::<V, _>(&Postcard, kind, payload);
        #[cfg(feature = "json")]
        let _ = value::decode::<V, _>(&Json, kind, payload);
    }
    read::<String>(kind, payload);
    read::<i64>(kind, payload);
    read::<u128>(kind, payload);
    read::<f32>(kind, payload);
    read::<bool>(kind, payload);
    read::<char>(kind, payload);
    read::<Vec<u8>>(kind, payload);
    read::<Nested>(kind, payload);
    read::<Option<Shape>>(kind, payload);
    let _ = value::as_integer(kind, payload);
    let _ = value::kind_name(kind);
    if let Ok(len) = value::content_len(kind, payload) {
        assert!(len <= payload.len());
    }
}

/// Behind the header of an honest value of some type, the bytes are read as that type.
fn pretend<C: Codec>(codec: &C, which: u8, payload: &[u8]) {
    match which % 16 {
        0 => forged(codec, &nested(), payload),
        1 => forged(codec, &vec![Shape::Dot, Shape::Circle(0.5)], payload),
        2 => forged(codec, &Tree(vec![Tree(vec![])]), payload),
        3 => forged(codec, &Chain::Link(Box::new(Chain::End)), payload),
        4 => forged(codec, &vec![()], payload),
        5 => forged(codec, &vec![vec![Hollow { nothing: (), less: [] }]], payload),
        6 => forged(codec, &HashMap::from([((), ())]), payload),
        7 => forged(codec, &HashMap::from([(1u32, vec!["x".to_string()])]), payload),
        8 => forged(codec, &BTreeMap::from([("k".to_string(), BTreeSet::from([1u8]))]), payload),
        9 => forged(codec, &VecDeque::from([(1u64, Some('c'), true)]), payload),
        10 => forged(codec, &vec![Some(vec![Some(())])], payload),
        11 => forged(codec, &(1u8, "s".to_string(), [1i128; 3], ((), 2.0f64)), payload),
        12 => forged(codec, &Some(std::time::Duration::new(1, 1)), payload),
        13 => forged(codec, &vec![std::path::PathBuf::from("p")], payload),
        14 => forged(codec, &Ok::<Vec<u16>, String>(vec![1]), payload),
        _ => forged(codec, &vec![[[1u32; 4]; 4]], payload),
    }
}

fn forged<V: Serialize + DeserializeOwned + Debug, C: Codec>(codec: &C, like: &V, payload: &[u8]) {
    // JSON has no maps whose keys are no text.
    let Ok(honest) = value::encode(codec, like) else { return };
    let back = value::decode::<V, C>(codec, honest.kind, honest.bytes());
    assert!(back.is_ok(), "{like:?}: {back:?}");
    // The sample's own bytes with some of those given in their place, or those given alone.
    let bytes = honest.bytes();
    let header = bytes.get(..HEADER).unwrap_or(bytes);
    read_back::<V, C>(codec, honest.kind, &[header, payload].concat());
    let mut mixed = bytes.to_vec();
    for (to, from) in mixed.iter_mut().zip(payload) {
        *to ^= from;
    }
    read_back::<V, C>(codec, honest.kind, &mixed);
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
