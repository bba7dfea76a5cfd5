//! Values through both codecs: what comes back, what is refused as another type, and what hostile bytes do.

mod evolution;
mod hostile;
#[cfg(feature = "json")]
mod json;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::time::Duration;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::codec::Postcard;

/// A byte string, as `serde_bytes` has it.
#[derive(Debug, PartialEq)]
struct ByteBuf(Vec<u8>);

impl Serialize for ByteBuf {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for ByteBuf {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl serde::de::Visitor<'_> for Bytes {
            type Value = ByteBuf;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<ByteBuf, E> {
                Ok(ByteBuf(bytes.to_vec()))
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}

fn read<V: DeserializeOwned>(value: &EncodedValue) -> Result<V> {
    decode(&Postcard, value.kind, value.bytes())
}

fn through<W: Serialize + ?Sized, R: DeserializeOwned>(value: &W) -> Result<R> {
    read(&encode(&Postcard, value)?)
}

#[track_caller]
fn round<V: Serialize + DeserializeOwned + PartialEq + Debug>(value: V) {
    assert_eq!(through::<V, V>(&value).unwrap(), value);
    #[cfg(feature = "json")]
    json::round(value);
}

#[track_caller]
fn other_type<W: Serialize + ?Sized, R: DeserializeOwned + Debug>(value: &W) {
    let error = through::<W, R>(value).unwrap_err();
    assert!(error.is_type(), "{error}");
}

#[derive(Debug, PartialEq, Clone, Serialize, Deserialize)]
struct Job {
    id: u32,
    n: u32,
}

mod other {
    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    pub struct Flagged {
        pub flag: bool,
        pub id: u16,
    }

    /// Of the same name as the other one.
    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    pub struct Job {
        pub flag: bool,
        pub id: u16,
    }

    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    pub struct Task {
        pub id: u32,
        pub n: u32,
    }
}

#[derive(Debug, PartialEq, Clone, Serialize, Deserialize)]
enum Shape {
    Dot,
    Round(f64),
    Line(i8, u16),
    Box { width: u32, height: u32 },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Id(u64);
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Number(u64);
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Tree(Vec<Tree>);
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Nothing;
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Pair(u8, String);
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Transparent(u64);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Nested {
    job: Option<Job>,
    shapes: Vec<Shape>,
    map: BTreeMap<String, (u8, Vec<Job>)>,
    unit: (),
    nothing: Nothing,
    pair: Pair,
    deep: Option<Option<Box<Nested>>>,
    letter: char,
    #[serde(skip)]
    skipped: u32,
}

fn nested(deep: Option<Option<Box<Nested>>>) -> Nested {
    Nested {
        job: Some(Job { id: 1, n: 2 }),
        shapes: vec![Shape::Dot, Shape::Line(-1, 2), Shape::Box { width: 1, height: 2 }, Shape::Round(0.5)],
        map: BTreeMap::from([("a".into(), (1, vec![])), ("b".into(), (2, vec![Job { id: 3, n: 4 }]))]),
        unit: (),
        nothing: Nothing,
        pair: Pair(1, "one".into()),
        deep,
        letter: 'ß',
        skipped: 0,
    }
}

#[test]
fn structured_values_come_back() {
    round(Job { id: 1, n: 2 });
    round(vec![Shape::Dot, Shape::Round(1.5), Shape::Line(-3, 4), Shape::Box { width: 5, height: 6 }]);
    round(Shape::Dot);
    round(Shape::Round(2.5));
    round(Shape::Line(1, 2));
    round(Shape::Box { width: 5, height: 6 });
    round((Id(1), Nothing, Pair(2, "two".into())));
    round(Id(7));
    round(Nothing);
    round(());
    round(Pair(2, "two".into()));
    round([0u8; 0]);
    round([1u16, 2, 3]);
    round(vec![(); 1000]);
    round(vec![None, Some(Job { id: 1, n: 2 })]);
    round(Vec::<Job>::new());
    round(Some(5u8));
    round(None::<String>);
    round(HashMap::from([("a".to_owned(), Some(Job { id: 1, n: 2 }))]));
    round(Ok::<u8, String>(1));
    round(Duration::from_millis(1500));
    round(std::ops::Bound::Included(3u8));
    round("127.0.0.1".parse::<std::net::IpAddr>().unwrap());
    round("[::1]:80".parse::<std::net::SocketAddr>().unwrap());
    round(std::time::UNIX_EPOCH);
    round(std::ffi::OsString::from("name"));
    round(std::sync::atomic::AtomicBool::new(true).into_inner());
    round(nested(Some(Some(Box::new(nested(None))))));
    // JSON writes `Some(None)` and `None` alike.
    let inner_none = nested(Some(None));
    assert_eq!(through::<_, Nested>(&inner_none).unwrap(), inner_none);
    round(vec![vec![], vec![Some(1u8)], vec![None]]);
    round(vec![ByteBuf(vec![1, 2])].len());
    assert_eq!(through::<_, Vec<ByteBuf>>(&[ByteBuf(vec![1, 2])][..]).unwrap(), [ByteBuf(vec![1, 2])]);
}

#[test]
fn all_widths_of_integer_are_one_kind() {
    assert_eq!(through::<_, i64>(&5u8).unwrap(), 5);
    assert_eq!(through::<_, u8>(&5i64).unwrap(), 5);
    assert_eq!(through::<_, u128>(&5i8).unwrap(), 5);
    assert_eq!(through::<_, Transparent>(&5u8).unwrap(), Transparent(5));
    assert_eq!(encode(&Postcard, &5u128).unwrap(), encode(&Postcard, &5i8).unwrap());
    assert_eq!(encode(&Postcard, &-5i128).unwrap(), from_integer(-5));
    other_type::<_, u8>(&300u16);
    other_type::<_, u64>(&-1i8);
    other_type::<_, u64>(&(u128::from(u64::MAX) + 1));
    other_type::<_, i64>(&u64::MAX);
    for n in [0, 1, i128::MIN, i128::MAX, i64::MIN.into(), i64::MAX.into(), i128::from(i64::MAX) + 1] {
        round(n);
    }
    round(u128::MAX);
    round(u64::MAX);
    round(std::num::NonZeroU8::MIN);
    assert!(matches!(through::<_, std::num::NonZeroU8>(&0u8), Err(Error::Codec(_))));
}

#[test]
fn natives_are_not_each_other() {
    other_type::<_, f64>(&5u8);
    other_type::<_, u8>(&5.0f64);
    other_type::<_, u8>(&true);
    other_type::<_, bool>(&1u8);
    other_type::<_, Vec<u8>>("text");
    other_type::<_, ByteBuf>("text");
    other_type::<_, String>(&ByteBuf(b"text".to_vec()));
    other_type::<_, u64>("5");
    other_type::<_, String>(&5u64);
    other_type::<_, Option<u64>>(&5u64);
    other_type::<_, u64>(&Some(5u64));
    other_type::<_, Id>(&5u64);
    other_type::<_, u64>(&Id(5));
    other_type::<_, Job>("text");
    other_type::<_, Shape>("Dot");
    other_type::<_, (u8,)>(&1u8);
    other_type::<_, ()>(&false);
    let error = through::<_, u32>("text").unwrap_err();
    assert_eq!(error.to_string(), "asked for u32, but a string is stored");
}

#[test]
fn text_bytes_and_floats() {
    round("text".to_owned());
    round('ß');
    round(String::new());
    round(f32::MIN_POSITIVE);
    round(f64::MAX);
    round(true);
    assert_eq!(&*through::<_, Box<str>>("text").unwrap(), "text");
    assert_eq!(through::<_, std::path::PathBuf>("/a").unwrap(), std::path::Path::new("/a"));
    assert_eq!(through::<_, ByteBuf>(&ByteBuf(vec![0, 255])).unwrap(), ByteBuf(vec![0, 255]));
    assert_eq!(through::<_, String>(&'x').unwrap(), "x");
    assert_eq!(through::<_, char>("x").unwrap(), 'x');
    other_type::<_, char>("xy");
    other_type::<_, char>("");
    assert_eq!(through::<_, f64>(&0.5f32).unwrap(), 0.5);
    assert_eq!(through::<_, f32>(&0.5f64).unwrap(), 0.5);
    assert!(through::<_, f32>(&f64::NAN).unwrap().is_nan());
    assert_eq!(through::<_, f32>(&f64::INFINITY).unwrap(), f32::INFINITY);
    other_type::<_, f32>(&0.1f64);
    other_type::<_, f32>(&1e300f64);
}

#[test]
fn a_byte_string_is_a_list_of_bytes_and_of_nothing_else() {
    let bytes = ByteBuf(vec![1, 2]);
    assert_eq!(through::<_, Vec<u8>>(&bytes).unwrap(), [1, 2]);
    assert!(through::<_, Vec<u8>>(&ByteBuf(vec![])).unwrap().is_empty());
    other_type::<_, Vec<u32>>(&bytes);
    other_type::<_, Vec<u32>>(&ByteBuf(vec![]));
    other_type::<_, Vec<()>>(&bytes);
    other_type::<_, ByteBuf>(&vec![1u8, 2]);
}

#[test]
fn what_postcard_alone_misreads_is_refused() {
    let job = Job { id: 1, n: 7 };
    let bare = postcard::to_stdvec(&job).unwrap();
    assert_eq!(postcard::from_bytes::<other::Flagged>(&bare).unwrap().id, 7, "the trap is real");
    other_type::<_, other::Flagged>(&job);
    other_type::<_, other::Job>(&job);
    other_type::<_, other::Task>(&job);
    other_type::<_, Vec<other::Flagged>>(&vec![job.clone()]);
    other_type::<_, Vec<other::Job>>(&vec![job.clone(), job.clone()]);
    other_type::<_, Vec<other::Task>>(&vec![job.clone()]);
    other_type::<_, Option<other::Flagged>>(&Some(job.clone()));
    other_type::<_, Option<other::Job>>(&Some(job.clone()));
    other_type::<_, Option<Vec<Option<other::Task>>>>(&Some(vec![Some(job.clone())]));
    other_type::<_, BTreeMap<u8, other::Task>>(&BTreeMap::from([(1u8, job.clone())]));
    other_type::<_, BTreeMap<u8, other::Job>>(&BTreeMap::from([(1u8, job.clone())]));
    other_type::<_, (u8, other::Job)>(&(1u8, job.clone()));
    other_type::<_, (u32, u32)>(&job);
    other_type::<_, BTreeMap<String, u32>>(&job);
}

#[test]
fn other_structures_are_refused() {
    other_type::<_, Vec<u64>>(&vec![1u32]);
    other_type::<_, Vec<i32>>(&vec![1u32]);
    other_type::<_, (u32, u64)>(&(1u64, 2u32));
    other_type::<_, (u8, u8, u8)>(&(1u8, 2u8));
    other_type::<_, Vec<u8>>(&[1u8, 2]);
    other_type::<_, Number>(&Id(1));
    other_type::<_, Vec<Number>>(&vec![Id(1)]);
    other_type::<_, Option<u8>>(&vec![1u8]);
    other_type::<_, Shape>(&Job { id: 1, n: 2 });
    other_type::<_, Job>(&Shape::Box { width: 1, height: 2 });
    other_type::<_, Nothing>(&());
    other_type::<_, (bool, Vec<String>)>(&(true, vec![ByteBuf(b"a".to_vec())]));
    assert_eq!(
        through::<_, Vec<other::Task>>(&vec![Job { id: 1, n: 2 }]).unwrap_err().to_string(),
        "asked for Task, but a value with other content is stored"
    );
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Sparse {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    a: Option<u8>,
    b: u8,
}

#[test]
fn a_field_left_out_by_position_is_an_error_at_once() {
    round(Sparse { a: Some(1), b: 2 });
    assert!(matches!(encode(&Postcard, &Sparse { a: None, b: 2 }), Err(Error::Codec(_))));
    assert!(matches!(encode(&Postcard, &vec![Sparse { a: None, b: 2 }]), Err(Error::Codec(_))));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u64),
    Text(String),
    Job(Job),
}

#[test]
fn an_untagged_native_needs_no_codec() {
    round(Untagged::Number(4));
    round(Untagged::Text("x".into()));
    assert!(through::<_, Untagged>(&Untagged::Job(Job { id: 1, n: 2 })).is_err());
}

#[test]
fn counters() {
    let of = |value: EncodedValue| as_integer(value.kind, value.bytes());
    assert_eq!(of(encode(&Postcard, &7u8).unwrap()).unwrap(), 7);
    assert_eq!(of(from_integer(i64::MIN)).unwrap(), i64::MIN);
    assert!(matches!(of(encode(&Postcard, &u64::MAX).unwrap()), Err(Error::Overflow)));
    assert!(matches!(of(encode(&Postcard, &i128::MIN).unwrap()), Err(Error::Overflow)));
    assert!(matches!(of(encode(&Postcard, &1.0).unwrap()), Err(Error::NotAnInteger)));
    assert!(matches!(of(encode(&Postcard, &true).unwrap()), Err(Error::NotAnInteger)));
    assert!(matches!(of(encode(&Postcard, "1").unwrap()), Err(Error::NotAnInteger)));
    assert!(matches!(of(encode(&Postcard, &Id(1)).unwrap()), Err(Error::NotAnInteger)));
    assert!(as_integer(Kind::Signed as u8, &[1, 2]).is_err());
    assert_eq!(kind_name(Kind::Signed as u8), "an integer");
    assert_eq!(kind_name(99), "a value of an unknown kind");
}

#[test]
fn text_is_handed_over_without_a_copy() {
    let text = "a text longer than what fits in place";
    let same = encode_with(&Postcard, text, |kind, bytes| kind == 2 && std::ptr::eq(bytes, text.as_bytes()));
    assert!(same.unwrap());
}

#[test]
fn values_of_other_codecs_are_another_type() {
    #[derive(Clone)]
    struct Own;
    impl Codec for Own {
        const ID: u8 = 64;
        fn encode<V: Serialize + ?Sized>(&self, value: &V, out: &mut Vec<u8>) -> Result<(), BoxError> {
            Postcard.encode(value, out)
        }
        fn decode<V: DeserializeOwned>(&self, bytes: &[u8]) -> Result<V, BoxError> {
            Postcard.decode(bytes)
        }
    }
    let value = encode(&Own, &Job { id: 1, n: 2 }).unwrap();
    assert!(decode::<Job, _>(&Own, value.kind, value.bytes()).is_ok());
    assert!(read::<Job>(&value).unwrap_err().is_type());
    let value = encode(&Own, &5u8).unwrap();
    assert_eq!(read::<u8>(&value).unwrap(), 5);
}

#[test]
fn a_codec_that_replaces_what_was_there_is_found_out() {
    #[derive(Clone)]
    struct Replaces;
    impl Codec for Replaces {
        const ID: u8 = 65;
        fn encode<V: Serialize + ?Sized>(&self, value: &V, out: &mut Vec<u8>) -> Result<(), BoxError> {
            out.clear();
            Postcard.encode(value, out)
        }
        fn decode<V: DeserializeOwned>(&self, bytes: &[u8]) -> Result<V, BoxError> {
            Postcard.decode(bytes)
        }
    }
    assert!(matches!(encode(&Replaces, &nested(None)), Err(Error::Codec(_))));
}

/// Records written once must be readable for ever.
#[test]
fn the_bytes_of_a_job_never_change() {
    let value = encode(&Postcard, &vec![Some(Job { id: 1, n: 2 })]).unwrap();
    assert_eq!((value.kind, value.bytes()), (20, &JOB[..]));
    let value = encode(&Postcard, &Shape::Box { width: 1, height: 2 }).unwrap();
    assert_eq!((value.kind, value.bytes()), (25, &BOX[..]));
}

const JOB: [u8; 13] = [1, 147, 137, 3, 41, 77, 49, 224, 20, 1, 1, 1, 2];
const BOX: [u8; 12] = [1, 154, 72, 0, 0, 3, 96, 53, 103, 3, 1, 2];

type Anything = Vec<(Option<u8>, BTreeMap<String, Vec<i32>>, Result<char, bool>)>;

fn anything() -> impl Strategy<Value = Anything> {
    use proptest::collection::{btree_map, vec};
    vec(
        (any::<Option<u8>>(), btree_map("[a-z]{0,3}", vec(any::<i32>(), 0..4), 0..4), any::<Result<char, bool>>()),
        0..4,
    )
}

/// The same values in every run; another `LARDER_TEST_SEED` draws others.
fn drawn() -> ProptestConfig {
    let seed = std::env::var("LARDER_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let rng_seed = proptest::test_runner::RngSeed::Fixed(seed);
    ProptestConfig { rng_seed, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(drawn())]

    #[test]
    fn integers_keep_their_value(n: i128) {
        prop_assert_eq!(through::<_, i128>(&n).unwrap(), n);
        prop_assert_eq!(through::<_, u64>(&n).ok(), u64::try_from(n).ok());
        prop_assert_eq!(through::<_, i16>(&(n as i16)).unwrap(), n as i16);
        prop_assert_eq!(through::<_, i8>(&(n as i16)).ok(), i8::try_from(n as i16).ok());
    }

    #[test]
    fn floats_keep_their_bits(bits: u64) {
        let x = f64::from_bits(bits);
        prop_assert_eq!(through::<_, f64>(&x).unwrap().to_bits(), bits);
        if let Ok(near) = through::<_, f32>(&x) {
            prop_assert!(f64::from(near) == x || x.is_nan());
        }
    }

    #[test]
    fn texts_come_back(text: String) {
        prop_assert_eq!(through::<_, String>(&text).unwrap(), text);
    }

    #[test]
    fn anything_nested_comes_back(value in anything()) {
        prop_assert_eq!(&through::<_, Anything>(&value).unwrap(), &value);
    }

    #[test]
    fn a_job_is_never_read_as_something_else(id: u32, n: u32) {
        let job = Job { id, n };
        prop_assert!(through::<_, other::Flagged>(&job).unwrap_err().is_type());
        prop_assert!(through::<_, other::Job>(&job).is_err());
        prop_assert!(through::<_, Vec<other::Flagged>>(&vec![&job]).unwrap_err().is_type());
        prop_assert!(through::<_, Vec<other::Job>>(&vec![&job]).is_err());
        prop_assert!(through::<_, (u8, other::Job)>(&(1u8, &job)).is_err());
    }
}
