//! The bytes of a value: which kinds there are, how a value becomes a record's bytes, and how it is read again as the
//! type that wrote it or not at all.
//!
//! It owns the kind byte and everything in a record's value area. It may not know keys, records or files.
//!
//! Integers, floats, `bool`, `char`, strings and byte strings are *native*: their bytes stand alone, and all widths of
//! integer are one kind. Every other value is a [`Header`] and the codec's payload. What the header catches:
//!
//! * another outer type, by kind and by serde's name of it, before the payload is looked at;
//! * other types down the left edge (`Vec<Option<A>>` read as `Vec<Option<B>>`), likewise;
//! * under a codec by position: any other sequence of primitives, options, tuples, variants, field names or variant
//!   names, at any depth, in the first element of every list and map; after the payload has been read.
//!
//! What it does not catch: inner structs off the left edge that differ in name alone; elements of a list behind the
//! first; newtypes off the left edge; names, if some field or variant goes by more than one (`#[serde(alias)]`). Under
//! a self-describing codec the fields are left to the format, so that a type may gain fields with `#[serde(default)]`.
//! Types whose two sides serde knows under different names (`#[serde(try_from = "Raw")]`) are compared by structure
//! alone. A type that writes itself as a bare number or text and reads itself as a named type needs
//! `#[serde(transparent)]` on its reading side.

mod errand;
mod fingerprint;
mod native;
mod probe_read;
mod probe_write;
pub(crate) mod streamed;
mod trace_read;
mod trace_write;
mod trail;
mod variant_index;

use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned};

use crate::codec::Codec;
use crate::error::{BoxError, Error, Result};
use fingerprint::{Edge, HEADER_BYTES, Header, OTHER_CONTENT};
use native::{Malformed, Native, NativeDeserializer, NativeError};
use probe_write::{Mode, WriteProbe};
use trace_read::Followed;
use trace_write::{Traced, TracedRoot};
use trail::{Trail, element_limit};

/// How the bytes of a value are to be read. One byte on disk; the numbers may never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A byte string.
    Bytes = 1,
    /// UTF-8; a `char` is one letter of it.
    Text = 2,
    /// An integer in the range of `i64`, eight bytes, little-endian, as all numbers are.
    Signed = 3,
    /// An integer beyond `i64::MAX` in the range of `u64`, eight bytes.
    Unsigned = 4,
    /// An integer outside both in the range of `i128`, sixteen bytes.
    Wide = 5,
    /// An integer beyond `i128::MAX`, sixteen bytes.
    UnsignedWide = 6,
    /// One byte, 0 or 1.
    Bool = 7,
    /// Four bytes.
    Float32 = 8,
    /// Eight bytes.
    Float64 = 9,
    /// A byte string and its checksums: see `streamed`.
    Streamed = 10,
    /// From here on a header and a codec's payload; the kind says what the outermost type is.
    Unit = 16,
    UnitStruct = 17,
    Option = 18,
    Newtype = 19,
    Seq = 20,
    Tuple = 21,
    TupleStruct = 22,
    Map = 23,
    Struct = 24,
    Enum = 25,
    /// A value that told the codec something and the probe nothing.
    Opaque = 26,
}

impl Kind {
    const ALL: &[Kind] = &[
        Kind::Bytes,
        Kind::Text,
        Kind::Signed,
        Kind::Unsigned,
        Kind::Wide,
        Kind::UnsignedWide,
        Kind::Bool,
        Kind::Float32,
        Kind::Float64,
        Kind::Streamed,
        Kind::Unit,
        Kind::UnitStruct,
        Kind::Option,
        Kind::Newtype,
        Kind::Seq,
        Kind::Tuple,
        Kind::TupleStruct,
        Kind::Map,
        Kind::Struct,
        Kind::Enum,
        Kind::Opaque,
    ];

    /// The kinds by their numbers.
    const BY_BYTE: [Option<Kind>; 32] = {
        let mut table = [None; 32];
        let mut rest = Kind::ALL;
        while let [kind, others @ ..] = rest {
            table[*kind as usize] = Some(*kind);
            rest = others;
        }
        table
    };

    #[inline]
    pub(crate) fn from_byte(byte: u8) -> Result<Kind> {
        let kind = Kind::BY_BYTE.get(usize::from(byte)).copied().flatten();
        kind.ok_or_else(|| Error::Codec(Box::new(Malformed)))
    }

    fn word(self) -> &'static str {
        match self {
            Kind::Bytes | Kind::Streamed => "a byte string",
            Kind::Text => "a string",
            Kind::Signed | Kind::Unsigned | Kind::Wide | Kind::UnsignedWide => "an integer",
            Kind::Bool => "a bool",
            Kind::Float32 | Kind::Float64 => "a float",
            Kind::Unit => "a unit",
            Kind::UnitStruct => "a unit struct",
            Kind::Option => "an option",
            Kind::Newtype => "a newtype struct",
            Kind::Seq => "a list",
            Kind::Tuple => "a tuple",
            Kind::TupleStruct => "a tuple struct",
            Kind::Map => "a map",
            Kind::Struct => "a struct",
            Kind::Enum => "an enum",
            Kind::Opaque => "a value",
        }
    }
}

/// What `kind` is called in messages, with its article.
pub(crate) fn kind_name(kind: u8) -> &'static str {
    Kind::from_byte(kind).map_or("a value of an unknown kind", Kind::word)
}

/// Bytes of a value without what a stream puts behind it.
pub(crate) fn content_len(kind: u8, bytes: &[u8]) -> Result<usize> {
    if kind == Kind::Streamed as u8 { streamed::value(bytes).map(<[u8]>::len) } else { Ok(bytes.len()) }
}

/// A value as a record holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EncodedValue {
    /// One of the numbers of [`Kind`].
    pub kind: u8,
    bytes: Storage,
}

/// Numbers stand where they are; only longer values cost an allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Storage {
    Inline { len: u8, bytes: [u8; 16] },
    Heap(Vec<u8>),
}

impl EncodedValue {
    fn new(kind: u8, bytes: &[u8]) -> EncodedValue {
        let mut inline = [0; 16];
        let storage = match (inline.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            (Some(room), Ok(len)) => {
                room.copy_from_slice(bytes);
                Storage::Inline { len, bytes: inline }
            }
            _ => Storage::Heap(bytes.to_vec()),
        };
        EncodedValue { kind, bytes: storage }
    }

    /// Exactly what goes into the value area of the record.
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Storage::Inline { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Storage::Heap(bytes) => bytes,
        }
    }
}

/// Encodes `value` and hands kind and bytes to `f`, without a copy if the value is native.
///
/// # Errors
/// [`Error::Codec`] if the codec cannot express the value.
pub(crate) fn encode_with<V, C, R>(codec: &C, value: &V, f: impl FnOnce(u8, &[u8]) -> R) -> Result<R>
where
    V: Serialize + ?Sized,
    C: Codec,
{
    let mut edge = Edge::new();
    let (mut deliver, mut result) = (Some(f), None);
    let native = |kind: Kind, bytes: &[u8]| result = deliver.take().map(|f| f(kind as u8, bytes));
    // The probe fails for every value that is not native, and the codec speaks for those.
    let _ = value.serialize(WriteProbe { edge: &mut edge, native: Some(native), mode: mode::<C>() });
    match (result, deliver) {
        (Some(result), _) => Ok(result),
        (None, Some(f)) => encode_structured(codec, value, &edge).map(|(kind, bytes)| f(kind as u8, &bytes)),
        (None, None) => Err(Error::Codec(Box::new(Malformed))),
    }
}

/// Encodes `value` into memory of its own. [`encode_with`] is cheaper for long strings.
///
/// # Errors
/// As [`encode_with`].
pub(crate) fn encode<V: Serialize + ?Sized, C: Codec>(codec: &C, value: &V) -> Result<EncodedValue> {
    encode_with(codec, value, EncodedValue::new)
}

fn mode<C: Codec>() -> Mode {
    Mode { human_readable: C::HUMAN_READABLE, self_describing: C::SELF_DESCRIBING }
}

fn encode_structured<V: Serialize + ?Sized, C: Codec>(codec: &C, value: &V, edge: &Edge) -> Result<(Kind, Vec<u8>)> {
    let kind = edge.top().map_or(Kind::Opaque, |level| level.kind);
    let (top, inner) = edge.hashes();
    let mut header = Header { codec: C::ID, top, edge: inner, structure: 0, names: 0 };
    let mut out = Vec::with_capacity(64);
    let placeholder = header.to_bytes();
    out.extend_from_slice(&placeholder);
    if C::SELF_DESCRIBING {
        codec.encode(value, &mut out).map_err(Error::Codec)?;
    } else {
        let trail = Trail::new();
        codec.encode(&TracedRoot(Traced { value, trail: &trail }), &mut out).map_err(Error::Codec)?;
        if trail.elements() > element_limit(out.len().saturating_sub(HEADER_BYTES)) {
            return Err(Error::Codec(BoxError::from("too many elements that take no bytes")));
        }
        (header.structure, header.names) = (trail.structure(), trail.names());
    }
    match out.first_chunk_mut::<HEADER_BYTES>() {
        Some(room) if *room == placeholder => *room = header.to_bytes(),
        _ => return Err(Error::Codec(BoxError::from("the codec did not append to what was there"))),
    }
    Ok((kind, out))
}

/// Reads a value of kind `kind` from the bytes of a record.
///
/// # Errors
/// [`Error::Type`] if it was written as another type or by another codec, [`Error::Codec`] if the bytes cannot be read
/// as `V`, or some are left over. Whatever the bytes, it ends and makes no more room than they warrant.
pub(crate) fn decode<V: DeserializeOwned, C: Codec>(codec: &C, kind: u8, bytes: &[u8]) -> Result<V> {
    let kind = Kind::from_byte(kind)?;
    if let Some(value) = Native::parse(kind, bytes)? {
        return decode_native::<V, C>(kind, value);
    }
    let (header, payload) = Header::split(bytes).ok_or_else(|| Error::Codec(Box::new(Malformed)))?;
    let mut edge = Edge::new();
    probe_read::trace_edge::<V>(&mut edge, mode::<C>());
    if header.codec != C::ID {
        return Err(Error::mismatch(edge.inner_word(), "a value of another codec"));
    }
    edge.check(kind, &header, C::SELF_DESCRIBING)?;
    if C::SELF_DESCRIBING {
        return codec.decode(payload).map_err(Error::Codec);
    }
    let followed: Followed<V> = errand::read(payload.len(), || codec.decode(payload)).map_err(Error::Codec)?;
    let other = || Err(Error::mismatch(edge.inner_word(), OTHER_CONTENT));
    if !followed.comparable {
        return Ok(followed.value);
    }
    if followed.structure != header.structure {
        return other();
    }
    let excused = followed.names == header.names
        || followed.aliased
        || (0..followed.enums).any(|number| aliases_excuse::<V, C>(codec, payload, number));
    if excused { Ok(followed.value) } else { other() }
}

/// How many enums of one value are asked for aliases. A value with more is not refused for the names of its variants.
const ASKED_ENUMS: u32 = 64;

/// True unless the enum of this number has surely one name for each variant.
fn aliases_excuse<V: DeserializeOwned, C: Codec>(codec: &C, payload: &[u8], number: u32) -> bool {
    number >= ASKED_ENUMS
        || errand::ask_for_aliases(payload.len(), number, || codec.decode::<Followed<V>>(payload).map(drop))
            != Some(false)
}

fn decode_native<'de, V: Deserialize<'de>, C: Codec>(kind: Kind, value: Native<'de>) -> Result<V> {
    if value == Native::Bytes(&[]) {
        // A list without elements cannot show that bytes are what it wants.
        let mut edge = Edge::new();
        probe_read::trace_edge::<V>(&mut edge, mode::<C>());
        if edge.top().is_some_and(|top| top.kind == Kind::Seq) && edge.inner_word() != "u8" {
            return Err(Error::mismatch("a list of something other than bytes", kind.word()));
        }
    }
    let reader = NativeDeserializer { value, human_readable: C::HUMAN_READABLE, self_describing: C::SELF_DESCRIBING };
    V::deserialize(reader).map_err(|error| match error {
        NativeError::Mismatch(expected) => Error::mismatch(expected.unwrap_or("another type"), kind.word()),
        refused => Error::Codec(Box::new(refused)),
    })
}

/// The value of a counter.
///
/// # Errors
/// [`Error::NotAnInteger`] for other kinds, [`Error::Overflow`] if it is outside `i64`.
pub(crate) fn as_integer(kind: u8, bytes: &[u8]) -> Result<i64> {
    match Native::parse(Kind::from_byte(kind)?, bytes)? {
        Some(Native::Signed(n)) => Ok(n),
        Some(value @ (Native::Unsigned(_) | Native::Wide(_) | Native::UnsignedWide(_))) => {
            value.integer().ok_or(Error::Overflow)
        }
        _ => Err(Error::NotAnInteger),
    }
}

/// The bytes of a counter, the same as those of any integer of that value.
pub(crate) fn from_integer(value: i64) -> EncodedValue {
    EncodedValue::new(Kind::Signed as u8, &value.to_le_bytes())
}

#[cfg(test)]
mod tests;
