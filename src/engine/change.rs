//! What is to be done with a key: plain values that say it, and know nothing of how.

use std::time::Duration;

use crate::storage::namespace::{Kind, Label};
use crate::storage::record::LargeReference;

/// The value of a put.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// Bytes for the log.
    Inline(&'a [u8]),
    /// A draft file that becomes the value: its number, length and checksum.
    Draft { number: u64, len: u64, crc: u32 },
    /// The file that the present record already refers to.
    Same(LargeReference),
}

/// The tag of a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag<'a> {
    None,
    Named(Label<'a>),
    /// The one the present record has.
    Id(u32),
}

/// What to store under a key.
#[derive(Clone, Copy, Debug)]
pub struct Put<'a> {
    pub kind: u8,
    pub value: Value<'a>,
    /// Nanoseconds since 1970.
    pub expires: Option<u64>,
    pub tag: Tag<'a>,
}

/// A change of one key.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    Keep,
    Put(Put<'a>),
    Remove,
}

/// One change of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Op<'a> {
    pub key: &'a [u8],
    pub hash: u64,
    pub change: Change<'a>,
}

impl<'a> Op<'a> {
    #[inline(always)]
    pub fn put(key: &'a [u8], hash: u64, put: Put<'a>) -> Op<'a> {
        Op { key, hash, change: Change::Put(put) }
    }
}

/// What a decision taken under the lock asks for; the bytes of a value are in the buffer that the decision filled.
#[derive(Clone, Debug)]
pub enum Decision {
    Keep,
    Remove,
    Put { kind: u8, expires: Option<u64>, tag: OwnedTag, value: DecidedValue },
}

/// The tag of a decision.
#[derive(Clone, Debug)]
pub enum OwnedTag {
    None,
    Named(Kind, String),
    Id(u32),
}

impl OwnedTag {
    /// The tag of a put.
    pub fn as_tag(&self) -> Tag<'_> {
        match self {
            OwnedTag::None => Tag::None,
            OwnedTag::Named(kind, name) => Tag::Named(Label { kind: *kind, name }),
            OwnedTag::Id(id) => Tag::Id(*id),
        }
    }
}

/// Bytes of the longest short value.
pub const SHORT: usize = 16;

impl DecidedValue {
    /// A value of a few bytes; `None` if it is longer.
    pub fn short(value: &[u8]) -> Option<DecidedValue> {
        let mut bytes = [0; SHORT];
        bytes.get_mut(..value.len())?.copy_from_slice(value);
        Some(DecidedValue::Short { bytes, len: value.len() as u8 })
    }
}

/// The value of a decision.
#[derive(Clone, Copy, Debug)]
pub enum DecidedValue {
    /// The bytes in the buffer.
    Buffer,
    /// A value so short that it needs none.
    Short {
        bytes: [u8; SHORT],
        len: u8,
    },
    Draft {
        number: u64,
        len: u64,
        crc: u32,
    },
    Same(LargeReference),
}

impl Decision {
    pub(super) fn change<'a>(&'a self, buffer: &'a [u8]) -> Change<'a> {
        match self {
            Decision::Keep => Change::Keep,
            Decision::Remove => Change::Remove,
            Decision::Put { kind, expires, tag, value } => Change::Put(Put {
                kind: *kind,
                expires: *expires,
                tag: match tag {
                    OwnedTag::None => Tag::None,
                    OwnedTag::Named(kind, name) => Tag::Named(Label { kind: *kind, name }),
                    OwnedTag::Id(id) => Tag::Id(*id),
                },
                value: match value {
                    DecidedValue::Buffer => Value::Inline(buffer),
                    DecidedValue::Short { bytes, len } => {
                        Value::Inline(bytes.get(..usize::from(*len)).unwrap_or_default())
                    }
                    &DecidedValue::Draft { number, len, crc } => Value::Draft { number, len, crc },
                    &DecidedValue::Same(reference) => Value::Same(reference),
                },
            }),
        }
    }
}

/// How what says who holds something is changed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hold {
    /// For the lock, and then room is not made either; `None` for the store's.
    pub timeout: Option<Duration>,
    /// It gives up what was taken before, which has to be possible in a full store: so it may use the space that is kept free for
    /// removals. There are no more of these than there were takings, which had to have room as any put.
    pub gives_up: bool,
}
