//! Values through a self-describing codec: tags, flattening, fields that come and go.

use super::*;
use crate::codec::Json;

fn through<W: Serialize + ?Sized, R: DeserializeOwned>(value: &W) -> Result<R> {
    let value = encode(&Json, value)?;
    decode(&Json, value.kind, value.bytes())
}

#[track_caller]
pub fn round<V: Serialize + DeserializeOwned + PartialEq + Debug>(value: V) {
    assert_eq!(through::<V, V>(&value).unwrap(), value);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Tagged {
    Job(Job),
    Size { width: u8 },
    Nothing,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", content = "c")]
enum Adjacent {
    A(u8),
    B { x: u16 },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Flat {
    name: String,
    #[serde(flatten)]
    job: Job,
    #[serde(flatten)]
    rest: BTreeMap<String, u8>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct JobWithDefault {
    #[serde(flatten)]
    job: Job,
}

#[test]
fn types_that_need_names_come_back() {
    let job = || Job { id: 1, n: 2 };
    round(Tagged::Job(job()));
    round(vec![Tagged::Size { width: 3 }, Tagged::Nothing]);
    round(Tagged::Nothing);
    round(Untagged::Job(job()));
    round(Adjacent::A(1));
    round(vec![Adjacent::B { x: 2 }]);
    round(vec![Untagged::Number(1), Untagged::Text("a".into())]);
    round(Flat { name: "a".into(), job: job(), rest: BTreeMap::from([("x".into(), 1)]) });
    round(vec![Some(Flat { name: "a".into(), job: job(), rest: BTreeMap::new() })]);
    round(Sparse { a: None, b: 1 });
    round(vec![Sparse { a: None, b: 1 }]);
    round(serde_json::json!({"a": [1, null, {"b": -1.5}], "c": "d"}));
    round(serde_json::json!(5));
    round(serde_json::json!("text"));
    round(serde_json::json!(null));
    round(serde_json::Map::new());
    assert!(matches!(super::through::<_, Tagged>(&Tagged::Job(job())), Err(Error::Codec(_))));
}

#[test]
fn other_names_are_refused_and_new_fields_welcome() {
    let job = Job { id: 1, n: 2 };
    assert!(through::<_, other::Task>(&job).unwrap_err().is_type());
    assert!(through::<_, Vec<other::Task>>(&vec![&job]).unwrap_err().is_type());
    assert!(through::<_, BTreeMap<String, u32>>(&job).unwrap_err().is_type());
    assert!(through::<_, other::Job>(&job).is_err());
    assert!(through::<_, String>(&job).unwrap_err().is_type());
    mod later {
        #[derive(Debug, PartialEq, serde::Deserialize)]
        pub struct Job {
            pub id: u32,
            #[serde(default)]
            pub urgent: bool,
        }
    }
    assert_eq!(through::<_, later::Job>(&job).unwrap(), later::Job { id: 1, urgent: false });
    // A map may be a flattened struct, and a record of the one is a record of the other.
    assert_eq!(through::<_, Job>(&BTreeMap::from([("id", 1), ("n", 2)])).unwrap(), job);
    assert!(through::<_, JobWithDefault>(&BTreeMap::from([("id", 1), ("n", 2)])).is_ok());
}

#[test]
fn an_enum_may_write_itself_as_text() {
    #[derive(Debug, PartialEq, Deserialize)]
    enum Level {
        Low,
        High,
    }
    impl Serialize for Level {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(&format_args!("{self:?}"))
        }
    }
    round(Level::Low);
    round(vec![Level::High]);
    assert!(through::<_, Level>("Middle").is_err());
}

#[test]
fn postcard_and_json_share_natives_only() {
    let value = encode(&Json, &Job { id: 1, n: 2 }).unwrap();
    assert!(read::<Job>(&value).unwrap_err().is_type());
    assert_eq!(read::<u8>(&encode(&Json, &5i64).unwrap()).unwrap(), 5);
}

#[test]
fn hostile_json_ends() {
    let honest = encode(&Json, &Tree(vec![])).unwrap();
    let mut forged = honest.bytes()[..HEADER_BYTES].to_vec();
    forged.extend_from_slice(&[b'['; 100_000]);
    assert!(matches!(decode::<Tree, _>(&Json, honest.kind, &forged), Err(Error::Codec(_))));
}
