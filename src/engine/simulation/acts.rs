//! What a test does to a store, and what it expects of it: every operation of the engine as a value that can be carried
//! out on a store and on a model. It knows nothing of machines and deaths.

use crate::storage::namespace::{Kind, Label};
use std::collections::BTreeMap;

use super::super::cells::Present;
use super::super::store::Store;
use super::super::{Change, DecidedValue, Decision, Op, OwnedTag, Put, Tag, Value};
use crate::error::Result;
use crate::os::sim::SimOs;

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    pub version: u32,
    pub len: usize,
    pub tag: Option<u8>,
    pub expires: Option<u64>,
}

/// What a store holds, expired items that nobody has collected among it.
pub type Contents = BTreeMap<u32, Item>;

/// One operation.
#[derive(Clone, Debug)]
pub enum Act {
    Put(u32, Item),
    Remove(u32),
    /// Looks at the key under the lock, and puts an item of that version in its place: as long as the one that was there
    /// and with its tag and its end, or of eight bytes.
    Update(u32, u32),
    /// Puts an item in the place of one of the version given, or removes it; nothing happens if it is another one.
    Compare(u32, u32, Option<Item>),
    Batch(Vec<Act>),
    Evict(u8),
    Clear,
    Expire,
    SizeLimit(u64),
}

/// An item of `len` bytes.
pub fn item(version: u32, len: usize) -> Item {
    Item { version, len, tag: None, expires: None }
}

/// A put of an item without a tag.
pub fn put(key: u32, version: u32, len: usize) -> Act {
    Act::Put(key, item(version, len))
}

/// A put of a tagged item.
pub fn tagged(key: u32, version: u32, len: usize, tag: u8) -> Act {
    Act::Put(key, Item { tag: Some(tag), ..item(version, len) })
}

/// A put of an item that expires.
pub fn expiring(key: u32, version: u32, len: usize, expires: u64) -> Act {
    Act::Put(key, Item { expires: Some(expires), ..item(version, len) })
}

pub fn key_bytes(key: u32) -> Vec<u8> {
    format!("key {key}").into_bytes()
}

/// A tag that was drawn, of those that are in use by a version: as time goes on others are, so that rows are taken over.
pub fn tag_by(version: u32, drawn: u64) -> u8 {
    (u64::from(version / 16 % 8) * 5 + drawn) as u8
}

pub fn tag_name(tag: u8) -> String {
    format!("tag {tag}")
}

/// The bytes of an item's value: they name key and version, so that a value in the wrong place is seen.
pub fn value_bytes(key: u32, item: Item) -> Vec<u8> {
    let word = u64::from(key) << 32 | u64::from(item.version);
    let mut bytes = word.to_le_bytes().repeat(item.len.div_ceil(8));
    bytes.truncate(item.len);
    bytes
}

impl Act {
    /// Carries it out. What the store answers: items that were replaced, removed or counted out.
    pub fn apply(&self, store: &Store<SimOs>) -> Result<u64> {
        match self {
            Act::Put(..) | Act::Remove(_) => change(store, std::slice::from_ref(self)),
            Act::Batch(acts) => change(store, acts),
            Act::Update(key, version) => update(store, *key, *version),
            Act::Compare(key, guess, new) => compare(store, *key, *guess, *new),
            Act::Evict(tag) => store.evict(Label::tag(&tag_name(*tag))),
            Act::Clear => store.clear(),
            Act::Expire => store.expire(),
            Act::SizeLimit(limit) => store.change_settings(|shared| shared.size_limit = *limit).map(|_| 0),
        }
    }

    /// Carries it out and does not ask what it answers.
    pub fn apply_alone(&self, store: &Store<SimOs>) {
        self.apply(store).unwrap();
    }

    /// What a store that held `contents` at `time` holds after it, and what it answers.
    pub fn model(&self, contents: &mut Contents, time: u64) -> u64 {
        let is_live = |item: &Item| item.expires.is_none_or(|at| time < at);
        match self {
            Act::Put(key, item) => u64::from(contents.insert(*key, *item).is_some_and(|old| is_live(&old))),
            Act::Remove(key) => {
                let live = contents.get(key).is_some_and(is_live);
                if live {
                    contents.remove(key);
                }
                u64::from(live)
            }
            Act::Batch(acts) => acts.iter().map(|act| act.model(contents, time)).sum(),
            Act::Update(key, version) => {
                let old = contents.get(key).copied().filter(is_live);
                contents.insert(*key, updated(old, *version));
                u64::from(old.map_or(0, |old| old.version))
            }
            Act::Compare(key, guess, new) => {
                let live = contents.get(key).filter(|item| is_live(item)).map(|item| item.version);
                let matches = live.unwrap_or(0) == *guess;
                match new.filter(|_| matches) {
                    Some(item) => drop(contents.insert(*key, item)),
                    None if matches && live.is_some() => drop(contents.remove(key)),
                    None => {}
                }
                u64::from(matches)
            }
            Act::Evict(tag) => drain(contents, |item| item.tag == Some(*tag)),
            Act::Clear => drain(contents, |_| true),
            Act::Expire => drain(contents, |item| !is_live(item)),
            Act::SizeLimit(_) => 0,
        }
    }
}

/// What [`Act::Update`] makes of an item.
fn updated(old: Option<Item>, version: u32) -> Item {
    old.map_or(item(version, 8), |old| Item { version, len: old.len.min(4_000), ..old })
}

/// Length and version of the value that is there.
fn look(store: &Store<SimOs>, present: &Present<'_, SimOs>) -> (usize, u32) {
    let value = match present.large() {
        Some(large) => store.read_large(large).unwrap(),
        None => {
            let mut value = Vec::new();
            assert!(present.append_value(&mut value));
            value
        }
    };
    (value.len(), u32::from_le_bytes(value[..4].try_into().unwrap()))
}

fn decided(key: u32, item: Item, tag: OwnedTag, buffer: &mut Vec<u8>) -> Decision {
    buffer.extend_from_slice(&value_bytes(key, item));
    let kind = (item.version % 251) as u8;
    Decision::Put { kind, expires: item.expires, tag, value: DecidedValue::Buffer }
}

/// The version that was there, or 0.
fn update(store: &Store<SimOs>, key: u32, version: u32) -> Result<u64> {
    let decide = |present: Option<&Present<'_, SimOs>>, buffer: &mut Vec<u8>| {
        let old = present.map(|present| {
            let (len, version) = look(store, present);
            let expires = Some(present.header.expires).filter(|&at| at != u64::MAX);
            Item { version, len, tag: None, expires }
        });
        let tag = present.map_or(0, |present| present.header.tag);
        let tag = if tag == 0 { OwnedTag::None } else { OwnedTag::Id(tag) };
        Ok((decided(key, updated(old, version), tag, buffer), u64::from(old.map_or(0, |old| old.version))))
    };
    store.update(&key_bytes(key), decide)
}

/// 1 if the version was the one that was guessed.
fn compare(store: &Store<SimOs>, key: u32, guess: u32, new: Option<Item>) -> Result<u64> {
    let decide = |present: Option<&Present<'_, SimOs>>, buffer: &mut Vec<u8>| {
        let version = present.map_or(0, |present| look(store, present).1);
        let decision = match new {
            _ if version != guess => Decision::Keep,
            None => Decision::Remove,
            Some(item) => {
                let tag = item.tag.map_or(OwnedTag::None, |tag| OwnedTag::Named(Kind::Tag, tag_name(tag)));
                decided(key, item, tag, buffer)
            }
        };
        Ok((decision, u64::from(version == guess)))
    };
    store.update(&key_bytes(key), decide)
}

fn drain(contents: &mut Contents, dead: impl Fn(&Item) -> bool) -> u64 {
    let before = contents.len();
    contents.retain(|_, item| !dead(item));
    (before - contents.len()) as u64
}

/// One change of a batch with everything it borrows.
struct Prepared {
    key: Vec<u8>,
    value: Vec<u8>,
    item: Option<Item>,
    tag: Option<String>,
    draft: Option<(u64, u64, u32)>,
}

fn change(store: &Store<SimOs>, acts: &[Act]) -> Result<u64> {
    let mut drafts = Vec::new();
    let mut prepared = Vec::new();
    for act in acts {
        let (key, item) = match act {
            Act::Put(key, item) => (*key, Some(*item)),
            Act::Remove(key) => (*key, None),
            other => panic!("{other:?} in a batch"),
        };
        let value = item.map_or(Vec::new(), |item| value_bytes(key, item));
        let mut draft = None;
        if item.is_some() && store.is_large(value.len()) {
            let written = store.draft(&value)?;
            draft = Some((written.number, written.len, written.crc));
            drafts.push(written);
        }
        let tag = item.and_then(|item| item.tag).map(tag_name);
        prepared.push(Prepared { key: key_bytes(key), value, item, tag, draft });
    }
    let ops: Vec<Op<'_>> = prepared.iter().map(|one| op(store, one)).collect();
    store.batch(&ops)
}

fn op<'a>(store: &Store<SimOs>, one: &'a Prepared) -> Op<'a> {
    let change = match one.item {
        None => Change::Remove,
        Some(item) => Change::Put(Put {
            kind: (item.version % 251) as u8,
            value: match one.draft {
                Some((number, len, crc)) => Value::Draft { number, len, crc },
                None => Value::Inline(&one.value),
            },
            expires: item.expires,
            tag: one.tag.as_deref().map_or(Tag::None, |tag| Tag::Named(Label::tag(tag))),
        }),
    };
    Op { key: &one.key, hash: store.hash(&one.key), change }
}
