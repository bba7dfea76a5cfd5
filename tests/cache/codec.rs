//! Codecs other than the default, side by side in one directory.

use super::Scratch;
use larder::{BoxError, Cache, Codec, Postcard};
use serde::{Serialize, de::DeserializeOwned};

/// Postcard with every byte inverted, under an id of its own.
#[derive(Clone, Debug)]
struct Inverted;

impl Codec for Inverted {
    const ID: u8 = 77;

    fn encode<V: Serialize + ?Sized>(&self, value: &V, out: &mut Vec<u8>) -> Result<(), BoxError> {
        let start = out.len();
        Postcard.encode(value, out)?;
        out[start..].iter_mut().for_each(|byte| *byte = !*byte);
        Ok(())
    }

    fn decode<V: DeserializeOwned>(&self, bytes: &[u8]) -> Result<V, BoxError> {
        Postcard.decode(&bytes.iter().map(|byte| !byte).collect::<Vec<_>>())
    }
}

#[test]
fn a_value_of_another_codec_is_a_type_error_and_natives_are_shared() {
    let plain = Scratch::new();
    let inverted = Cache::builder(&plain.dir).codec(Inverted).open().unwrap();
    plain.set("plain", &vec![1, 2]).unwrap();
    inverted.set("inverted", &vec![1, 2]).unwrap();
    assert_eq!(inverted.get::<Vec<i32>>("inverted").unwrap(), Some(vec![1, 2]));
    assert!(inverted.get::<Vec<i32>>("plain").unwrap_err().is_type());
    assert!(plain.get::<Vec<i32>>("inverted").unwrap_err().is_type());
    assert!(plain.iter::<String, Vec<i32>>().any(|item| item.is_err_and(|e| e.is_type())));
    assert!(plain.get_ref("inverted").unwrap().unwrap().decode::<Vec<i32>>().unwrap_err().is_type());
    plain.set("number", &4).unwrap();
    plain.set("text", "t").unwrap();
    assert_eq!(inverted.incr("number", 1).unwrap(), 5);
    assert_eq!(inverted.get::<String>("text").unwrap().unwrap(), "t");
    assert!(!inverted.compare_and_set("plain", Some(&vec![1, 2]), None).unwrap(), "encoded in another way");
    inverted.set("plain", &vec![3]).unwrap();
    assert!(plain.get::<Vec<i32>>("plain").unwrap_err().is_type());
    let typed = inverted.typed::<String, Vec<i32>>();
    assert_eq!(typed.get(&"plain".into()).unwrap(), Some(vec![3]));
    plain.assert_clean();
}

#[cfg(feature = "json")]
#[test]
fn json_stores_what_needs_a_self_describing_format() {
    use larder::Json;
    use serde::Deserialize;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    #[serde(untagged)]
    enum Either {
        Number(i64),
        Words { words: Vec<String> },
    }

    let plain = Scratch::new();
    let json = Cache::builder(&plain.dir).codec(Json).open().unwrap();
    for value in [Either::Number(-4), Either::Words { words: vec!["a".into(), "\"".into()] }] {
        json.set("either", &vec![&value]).unwrap();
        assert_eq!(json.get::<Vec<Either>>("either").unwrap(), Some(vec![value]));
    }
    json.set("list", &vec![Some(1), None]).unwrap();
    assert_eq!(json.get::<Vec<Option<u8>>>("list").unwrap(), Some(vec![Some(1), None]));
    assert!(plain.get::<Vec<Option<u8>>>("list").unwrap_err().is_type());
    plain.set("list", &vec![Some(1)]).unwrap();
    assert!(json.get::<Vec<Option<u8>>>("list").unwrap_err().is_type());
    assert_eq!(json.incr("n", 2).unwrap(), 2);
    assert_eq!(plain.get::<i64>("n").unwrap(), Some(2));
}
