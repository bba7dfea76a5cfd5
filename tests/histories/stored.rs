//! The operations of a history, carried out on a cache: numbers of values become values that say which number they
//! are, and are verified when they are read. It knows the API and no history.

use std::fmt;
use std::time::Duration;

use larder::{Cache, Error, SetOptions};
use serde::de::{Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::op::{Key, Op, Outcome, Tag};
use crate::plan::is_number;
use crate::values::mixed;

/// A value: a number, so that it can be counted with, or a text that nobody else writes.
pub enum Stored {
    Number(u64),
    Text(String),
}

impl Stored {
    pub fn new(key: Key, value: u64) -> Stored {
        if is_number(key) { Stored::Number(value) } else { Stored::Text(text(value)) }
    }

    /// The number of the value, if it is one that was ever written.
    pub fn value(&self, key: Key) -> u64 {
        match self {
            Stored::Number(number) if is_number(key) => *number,
            Stored::Text(found) if !is_number(key) => {
                let head = found.split(' ').next().unwrap_or_default();
                let value = u64::from_str_radix(head, 16).unwrap_or_default();
                assert!(text(value) == *found, "torn: {:?} of {} bytes", head, found.len());
                value
            }
            _ => panic!("a value of another key under {key}"),
        }
    }
}

/// The text of a value: its number, and as much more as bits 10 and 11 of it say.
fn text(value: u64) -> String {
    let bits = mixed(value);
    let len = match value >> 10 & 3 {
        0 => bits % 300,
        1 => 300 + bits % 1000,
        2 => 2000 + bits % 3000,
        _ => 8000 + bits % 6000,
    };
    let letter = char::from(b'a' + (bits >> 32) as u8 % 26);
    let mut text = format!("{value:x} ");
    text.extend(std::iter::repeat_n(letter, len as usize));
    text
}

impl Serialize for Stored {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Stored::Number(number) => serializer.serialize_u64(*number),
            Stored::Text(text) => serializer.serialize_str(text),
        }
    }
}

struct StoredVisitor;

impl Visitor<'_> for StoredVisitor {
    type Value = Stored;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or a text")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Stored, E> {
        Ok(Stored::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Stored, E> {
        Ok(Stored::Text(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Stored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Stored, D::Error> {
        deserializer.deserialize_any(StoredVisitor)
    }
}

pub fn key_name(key: Key) -> (&'static str, u8) {
    ("of the history", key)
}

fn options(tag: Tag) -> SetOptions<'static> {
    if tag == 0 { SetOptions::new() } else { SetOptions::new().tag(tag_name(tag)) }
}

fn tag_name(tag: Tag) -> String {
    format!("tag {tag}")
}

fn tag_of(name: Option<&str>) -> Tag {
    name.map_or(0, |name| name.trim_start_matches("tag ").parse().expect("a tag of ours"))
}

/// Does what the operation says. What the store has no room for is [`Outcome::Refused`].
///
/// # Panics
/// On every other error: none of them is to be expected.
pub fn perform(cache: &Cache, op: &Op) -> Outcome {
    match try_perform(cache, op) {
        Ok(outcome) => outcome,
        Err(Error::Full) => Outcome::Refused,
        Err(error) => panic!("{op:?} failed: {error}"),
    }
}

/// As [`perform`], with the error: inside a transaction it is the transaction's.
pub fn try_perform(cache: &Cache, op: &Op) -> larder::Result<Outcome> {
    let of = |key: Key| move |found: Stored| found.value(key);
    Ok(match op {
        Op::Get(key) => Outcome::Value(cache.get(key_name(*key))?.map(of(*key))),
        Op::Look(key) => {
            let entry = cache.entry::<Stored>(key_name(*key))?;
            Outcome::Tagged(entry.map(|entry| (entry.value.value(*key), tag_of(entry.tag.as_deref()))))
        }
        Op::GetMany(keys) => {
            let found = cache.get_many::<Stored>(keys.iter().copied().map(key_name))?;
            Outcome::Values(keys.iter().zip(found).map(|(key, found)| found.map(of(*key))).collect())
        }
        Op::Set(key, value, tag) => {
            cache.set_with(key_name(*key), &Stored::new(*key, *value), options(*tag))?;
            Outcome::Done
        }
        Op::SetMany(pairs, tag) => {
            let pairs = pairs.iter().map(|(key, value)| (key_name(*key), Stored::new(*key, *value)));
            cache.set_many_with(pairs, options(*tag))?;
            Outcome::Done
        }
        Op::Add(key, value, tag) => {
            Outcome::Bool(cache.add_with(key_name(*key), &Stored::new(*key, *value), options(*tag))?)
        }
        Op::Delete(key) => Outcome::Bool(cache.delete(key_name(*key))?),
        Op::DeleteMany(keys) => Outcome::Count(cache.delete_many(keys.iter().copied().map(key_name))?),
        Op::Pop(key) => Outcome::Value(cache.pop(key_name(*key))?.map(of(*key))),
        Op::Incr(key, delta) => {
            let sum = cache.incr(key_name(*key), delta.cast_signed())?;
            Outcome::Value(Some(sum.cast_unsigned()))
        }
        Op::Exchange(key, expected, new) => {
            let stored = |value: &u64| Stored::new(*key, *value);
            let (expected, new) = (expected.as_ref().map(stored), new.as_ref().map(stored));
            Outcome::Bool(cache.compare_and_set(key_name(*key), expected.as_ref(), new.as_ref())?)
        }
        Op::Touch(key, stays) => {
            let expire = if *stays { None } else { Some(Duration::ZERO) };
            Outcome::Bool(cache.touch(key_name(*key), expire)?)
        }
        Op::Evict(tag) => Outcome::Count(cache.evict(&tag_name(*tag))?),
        Op::Clear => Outcome::Count(cache.clear()?),
        Op::List(key) => Outcome::List(cache.get(key_name(*key))?.unwrap_or_default()),
        Op::Append(key, element) => {
            let mut list: Vec<u64> = cache.get(key_name(*key))?.unwrap_or_default();
            list.push(*element);
            cache.set(key_name(*key), &list)?;
            Outcome::Done
        }
        Op::Transaction(_) => panic!("{op:?} is no call"),
    })
}

/// Keys that are no part of the history, so that the index grows and the log fills.
pub fn fill(cache: &Cache, thread: usize, from: u64, count: u64, len: usize) {
    let value = "f".repeat(len);
    let pairs = (from..from + count).map(|n| (("filler", thread as u64, n), value.as_str()));
    match cache.set_many_with(pairs, SetOptions::new().tag("filler")) {
        Ok(()) => (),
        Err(Error::Full) => make_room(cache),
        Err(error) => panic!("no fillers: {error}"),
    }
}

pub fn make_room(cache: &Cache) {
    match cache.evict("filler") {
        Ok(_) | Err(Error::Full) => (),
        Err(error) => panic!("fillers cannot be evicted: {error}"),
    }
}

/// Every number comes back, and a text that is not whole is found.
#[test]
fn a_value_says_which_it_is() {
    for value in (1..400).map(|n| n << 48 | n << 10) {
        for key in 0..3 {
            assert_eq!(Stored::new(key, value).value(key), value);
        }
    }
    let Stored::Text(mut torn) = Stored::new(1, 77 << 10) else { panic!("key 1 holds texts") };
    torn.pop();
    assert!(std::panic::catch_unwind(|| Stored::Text(torn).value(1)).is_err());
}
