//! Reading one item: `get`, `get_bytes`, `get_ref`, `entry`, `contains`, and which keys are one.

use super::{HOUR, Scratch, expired, lasting, tagged};
use larder::{Cache, Error, SetOptions};
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime};

#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
struct User {
    id: u32,
    name: String,
    scores: Vec<Option<f32>>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Flag {
    flag: bool,
    id: u16,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Pair {
    id: u32,
    n: u32,
}

#[test]
fn what_is_stored_is_read_back_as_it_was() {
    let cache = Scratch::new();
    macro_rules! same {
        ($($type:ty: $($value:expr),+;)*) => {$($({
            let value: $type = $value;
            cache.set("k", &value).unwrap();
            assert_eq!(cache.get::<$type>("k").unwrap(), Some(value.clone()));
            assert_eq!(cache.entry::<$type>("k").unwrap().unwrap().value, value);
            assert_eq!(cache.get_ref("k").unwrap().unwrap().decode::<$type>().unwrap(), value);
            assert_eq!(cache.get_many::<$type>(["k"]).unwrap(), [Some(value)]);
        })+)*};
    }
    same! {
        u8: 0, 255;
        i8: -128, 127;
        i32: i32::MIN, 0, i32::MAX;
        i64: i64::MIN, i64::MAX;
        u64: u64::MAX;
        i128: i128::MIN, i128::MAX;
        u128: u128::MAX;
        usize: usize::MAX;
        bool: true, false;
        char: 'a', '\u{10ffff}';
        f32: f32::MIN, -0.0, f32::INFINITY;
        f64: 0.1, f64::MIN_POSITIVE, f64::NEG_INFINITY;
        String: String::new(), "text\0with\r\nall\u{fffd}".to_string();
        (): ();
        Option<u8>: None, Some(3);
        Option<Option<String>>: Some(None), Some(Some("x".into()));
        Vec<u8>: vec![], vec![0, 255];
        Vec<String>: vec![], vec!["a".into(), String::new()];
        (u8, String, [i16; 3]): (1, "one".into(), [-1, 0, 1]);
        std::collections::BTreeMap<String, Vec<u64>>: [("a".to_string(), vec![1, 2])].into();
        Result<u8, String>: Ok(1), Err("no".into());
        Duration: Duration::from_nanos(1_500_000_001);
        User: User { id: 7, name: "Ada".into(), scores: vec![None, Some(0.5)] };
    }
    cache.assert_clean();
}

#[test]
fn a_nan_is_stored_with_its_bits() {
    let cache = Scratch::new();
    let nan = f64::from_bits(0x7ff8_0000_dead_beef);
    cache.set("nan", &nan).unwrap();
    assert_eq!(cache.get::<f64>("nan").unwrap().unwrap().to_bits(), nan.to_bits());
}

#[test]
fn integers_are_read_at_any_width_that_holds_them() {
    let cache = Scratch::new();
    cache.set("n", &5u8).unwrap();
    assert_eq!(cache.get::<i64>("n").unwrap(), Some(5));
    assert_eq!(cache.get::<u128>("n").unwrap(), Some(5));
    cache.set("n", &-1i128).unwrap();
    assert_eq!(cache.get::<i8>("n").unwrap(), Some(-1));
    cache.set("n", &300i64).unwrap();
    assert!(cache.get::<u8>("n").is_err());
    assert_eq!(cache.get::<u16>("n").unwrap(), Some(300));
}

#[test]
fn a_value_read_as_another_type_is_an_error_and_stays() {
    let cache = Scratch::new();
    cache.set("text", "5").unwrap();
    cache.set("number", &5).unwrap();
    cache.set("pair", &Pair { id: 1, n: 2 }).unwrap();
    cache.set("list", &vec![1u32, 2]).unwrap();
    assert!(cache.get::<u32>("text").unwrap_err().is_type());
    assert!(cache.get::<String>("number").unwrap_err().is_type());
    assert!(cache.get::<f64>("number").unwrap_err().is_type());
    assert!(cache.get::<bool>("number").unwrap_err().is_type());
    assert!(cache.get::<Flag>("pair").unwrap_err().is_type());
    assert!(cache.get::<(u32, u32)>("pair").unwrap_err().is_type());
    assert!(cache.get::<Pair>("list").unwrap_err().is_type());
    assert!(cache.entry::<Flag>("pair").unwrap_err().is_type());
    assert!(cache.get_many::<Flag>(["pair"]).unwrap_err().is_type());
    assert!(cache.get_bytes("number").unwrap_err().is_type());
    assert!(cache.get_ref("pair").unwrap().unwrap().decode::<Flag>().unwrap_err().is_type());
    assert!(cache.pop::<Flag>("pair").unwrap_err().is_type());
    assert_eq!(cache.get::<Pair>("pair").unwrap(), Some(Pair { id: 1, n: 2 }));
}

#[test]
fn bytes_go_past_serde() {
    let cache = Scratch::new();
    let all: Vec<u8> = (0..=255).collect();
    cache.set_bytes("b", &all).unwrap();
    assert_eq!(cache.get_bytes("b").unwrap().unwrap(), all);
    assert_eq!(*cache.get_ref("b").unwrap().unwrap(), *all);
    cache.set_bytes_with("b", b"", tagged("t")).unwrap();
    assert_eq!(cache.get_bytes("b").unwrap().unwrap(), b"");
    assert_eq!(cache.get_ref("b").unwrap().unwrap().len(), 0);
    assert_eq!(cache.get_bytes("absent").unwrap(), None);
    cache.set("text", "häs").unwrap();
    assert_eq!(cache.get_bytes("text").unwrap().unwrap(), "häs".as_bytes());
    assert_eq!(&*cache.get_ref("text").unwrap().unwrap(), "häs".as_bytes());
}

#[test]
fn a_borrowed_value_outlives_its_item_and_the_cache() {
    let Scratch { cache, dir } = Scratch::with_limit(2 << 20);
    let large = vec![3u8; 100_000];
    cache.set_bytes("small", b"the old one").unwrap();
    cache.set_bytes("large", &large).unwrap();
    let small_ref = cache.get_ref("small").unwrap().unwrap();
    let large_ref = cache.get_ref("large").unwrap().unwrap();
    cache.set_bytes("small", b"a new one").unwrap();
    cache.set_bytes("large", &[4; 100_000]).unwrap();
    assert_eq!((&*small_ref, &*large_ref), (&b"the old one"[..], &large[..]));
    cache.clear().unwrap();
    // The log goes round: segments and value files of the time before are unlinked, their numbers go to others.
    for i in 0..3_000u32 {
        cache.set_bytes(i % 10, &[i as u8; 1000]).unwrap();
        cache.delete(i % 10).unwrap();
    }
    assert_eq!((&*small_ref, &*large_ref), (&b"the old one"[..], &large[..]));
    drop(cache);
    drop(dir);
    assert_eq!((&*small_ref, &*large_ref), (&b"the old one"[..], &large[..]));
    assert_eq!(small_ref.decode::<serde_bytes_of_test::Bytes>().unwrap().0, b"the old one");
}

/// A type that reads itself from a byte string.
mod serde_bytes_of_test {
    pub struct Bytes(pub Vec<u8>);

    impl<'de> serde::Deserialize<'de> for Bytes {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
            struct Visitor;
            impl serde::de::Visitor<'_> for Visitor {
                type Value = Bytes;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("bytes")
                }
                fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                    Ok(Bytes(bytes.to_vec()))
                }
            }
            deserializer.deserialize_bytes(Visitor)
        }
    }
}

#[test]
fn an_entry_tells_expiry_tag_and_size() {
    let cache = Scratch::new();
    let before = SystemTime::now();
    cache.set_with("k", "12345", SetOptions::new().expire(HOUR).tag("größe")).unwrap();
    let after = SystemTime::now();
    let entry = cache.entry::<String>("k").unwrap().unwrap();
    assert_eq!((entry.value.as_str(), entry.tag.as_deref(), entry.size), ("12345", Some("größe"), 5));
    // The clock of the cache may lag behind by some milliseconds.
    let lag = Duration::from_millis(100);
    let expires_at = entry.expires_at.unwrap();
    assert!(expires_at >= before + HOUR - lag && expires_at <= after + HOUR, "{expires_at:?}");
    cache.set("k", "").unwrap();
    let entry = cache.entry::<String>("k").unwrap().unwrap();
    assert_eq!((entry.expires_at, entry.tag, entry.size), (None, None, 0));
    assert_eq!(cache.entry::<String>("absent").unwrap(), None);
}

#[test]
fn an_expired_item_is_absent_to_every_reader() {
    let cache = Scratch::new();
    cache.set_with("k", "v", expired().tag("t")).unwrap();
    assert_eq!(cache.get::<String>("k").unwrap(), None);
    assert_eq!(cache.get_bytes("k").unwrap(), None);
    assert!(cache.get_ref("k").unwrap().is_none());
    assert_eq!(cache.entry::<String>("k").unwrap(), None);
    assert!(!cache.contains("k").unwrap());
    assert_eq!(cache.get_many::<String>(["k"]).unwrap(), [None]);
    assert_eq!(cache.iter::<String, String>().count(), 0);
    assert_eq!(cache.keys::<String>().count(), 0);
    assert_eq!(cache.entries::<String, String>().count(), 0);
    assert_eq!(cache.keys_tagged::<String>("t").unwrap().count(), 0);
    assert_eq!(cache.iter_inserted::<String, String>().unwrap().count(), 0);
    assert_eq!(cache.keys_sorted::<String>().unwrap().count(), 0);
    assert_eq!(cache.pop::<String>("k").unwrap(), None);
    assert!(!cache.delete("k").unwrap());
    assert!(!cache.touch("k", None).unwrap());
    assert_eq!(cache.len_live().unwrap(), 0);
    cache.assert_clean();
}

#[test]
fn the_longest_expiry_is_never() {
    let cache = Scratch::new();
    for forever in [Duration::MAX, Duration::from_secs(u64::MAX), Duration::from_secs(u64::MAX / 1_000_000_000)] {
        cache.set_with("k", "v", SetOptions::new().expire(forever)).unwrap();
        let entry = cache.entry::<String>("k").unwrap().unwrap();
        assert_eq!(entry.expires_at, None, "{forever:?}");
        assert!(cache.touch("k", Some(forever)).unwrap());
        assert!(cache.contains("k").unwrap());
    }
    cache.set_with("k", "v", SetOptions::new().expire(Duration::from_secs(400 * 365 * 86400))).unwrap();
    assert!(cache.entry::<String>("k").unwrap().unwrap().expires_at.is_some());
    assert_eq!(cache.expire().unwrap(), 0);
}

#[test]
fn keys_are_told_apart_by_value_and_kind() {
    let cache = Scratch::new();
    cache.set(1u8, "integer").unwrap();
    cache.set(1.0f64, "double").unwrap();
    cache.set(1.0f32, "single").unwrap();
    cache.set("1", "text").unwrap();
    cache.set(b"1", "bytes").unwrap();
    cache.set((1,), "tuple").unwrap();
    cache.set(true, "bool").unwrap();
    assert_eq!(cache.len(), 7);
    let text = |value: Option<String>| value.unwrap();
    assert_eq!(text(cache.get(1i64).unwrap()), "integer");
    assert_eq!(text(cache.get(1u128).unwrap()), "integer");
    assert_eq!(text(cache.get(1usize).unwrap()), "integer");
    assert_eq!(text(cache.get(1.0f64).unwrap()), "double");
    assert_eq!(text(cache.get(1.0f32).unwrap()), "single");
    assert_eq!(text(cache.get('1').unwrap()), "text");
    assert_eq!(text(cache.get(String::from("1")).unwrap()), "text");
    assert_eq!(text(cache.get(vec![b'1']).unwrap()), "bytes");
    assert_eq!(text(cache.get((1i8,)).unwrap()), "tuple");
    assert_eq!(text(cache.get(Some(true)).unwrap()), "bool");
    cache.set(0.0, "zero").unwrap();
    cache.set(-0.0, "minus zero").unwrap();
    cache.set(f64::NAN, "nan").unwrap();
    assert_eq!(text(cache.get(0.0).unwrap()), "zero");
    assert_eq!(text(cache.get(-0.0).unwrap()), "minus zero");
    assert_eq!(text(cache.get(f64::NAN).unwrap()), "nan");
    assert!(cache.delete(f64::NAN).unwrap());
}

#[test]
fn empty_keys_are_keys() {
    let cache = Scratch::new();
    cache.set("", "string").unwrap();
    cache.set([0u8; 0].as_slice(), "bytes").unwrap();
    cache.set(None::<u8>, "none").unwrap();
    cache.set(("",), "tuple").unwrap();
    cache.set("\0", "nul").unwrap();
    assert_eq!(cache.len(), 5);
    assert_eq!(cache.get::<String>("").unwrap().unwrap(), "string");
    assert_eq!(cache.get::<String>([0u8; 0].as_slice()).unwrap().unwrap(), "bytes");
    assert_eq!(cache.get::<String>(None::<u8>).unwrap().unwrap(), "none");
    assert_eq!(cache.get::<String>(("",)).unwrap().unwrap(), "tuple");
    assert_eq!(cache.get::<String>("\0").unwrap().unwrap(), "nul");
    cache.assert_clean();
}

#[test]
fn the_longest_key_works_and_a_longer_one_is_refused_by_every_call() {
    let cache = Scratch::new();
    let longest = "x".repeat(larder::MAX_KEY_BYTES - 2);
    cache.set_with(&longest, &1, lasting().tag("t")).unwrap();
    assert_eq!(cache.get::<i32>(&longest).unwrap(), Some(1));
    assert_eq!(cache.incr(&longest, 1).unwrap(), 2);
    assert_eq!(cache.keys::<String>().next().unwrap().unwrap(), longest);
    assert_eq!(cache.second().get::<i32>(&longest).unwrap(), Some(2));
    refuses_everywhere(&cache, &"x".repeat(larder::MAX_KEY_BYTES - 1));
    assert_eq!(cache.len(), 1);
    cache.assert_clean();
}

/// Every call refuses a key that is a byte too long for it.
fn refuses_everywhere(cache: &Cache, over: &str) {
    let refused = [
        cache.set(over, "v").err(),
        cache.set_bytes(over, b"v").err(),
        cache.get::<String>(over).err(),
        cache.get_bytes(over).err(),
        cache.get_ref(over).err(),
        cache.entry::<String>(over).err(),
        cache.contains(over).err(),
        cache.add(over, "v").err(),
        cache.incr(over, 1).err(),
        cache.compare_and_set(over, None, Some("v")).err(),
        cache.touch(over, None).err(),
        cache.pop::<String>(over).err(),
        cache.delete(over).err(),
        cache.get_many::<String>([over]).err(),
        cache.set_many([(over, "v")]).err(),
        cache.delete_many([over]).err(),
    ];
    for (i, error) in refused.into_iter().enumerate() {
        assert!(matches!(error, Some(Error::KeyTooLarge { bytes: 65_536 })), "call {i}: {error:?}");
    }
}

#[test]
fn in_a_cache_within_another_a_key_may_be_five_bytes_shorter() {
    let cache = Scratch::new();
    let inner = cache.cache("inner").unwrap();
    let longest = "x".repeat(larder::MAX_KEY_BYTES - 7);
    inner.set_with(&longest, &1, lasting().tag("t")).unwrap();
    assert_eq!(inner.incr(&longest, 1).unwrap(), 2);
    assert_eq!(inner.keys::<String>().next().unwrap().unwrap(), longest);
    let over = "x".repeat(larder::MAX_KEY_BYTES - 6);
    refuses_everywhere(&inner, &over);
    let refused = cache.transact(|tx| {
        tx.set("beside", &1)?;
        tx.cache("inner")?.set(&over, &1)
    });
    assert!(matches!(refused, Err(Error::KeyTooLarge { .. })), "{refused:?}");
    assert!((inner.len(), cache.contains("beside").unwrap()) == (1, false));
    let name = "n".repeat(larder::MAX_KEY_BYTES);
    let held = larder::recipes::Lock::new(&cache, &name).and_then(|lock| lock.lock().map(drop));
    assert!(matches!(held, Err(Error::KeyTooLarge { .. })), "{held:?}");
    cache.assert_clean();
    assert_eq!(cache.second().cache("inner").unwrap().get::<i32>(&longest).unwrap(), Some(2));
}
