//! Values that need no codec: integers, floats, `bool`, text and byte strings.
//!
//! It owns their bytes and the small deserializer that hands one of them to whoever asks for it. It may not know codecs
//! or fingerprints.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, SeqAccess, Visitor};

use super::{Kind, streamed};
use crate::error::{Error, Result};
use crate::os::text;

/// A native value, as read from its bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Native<'a> {
    Bytes(&'a [u8]),
    Text(&'a str),
    Signed(i64),
    Unsigned(u64),
    Wide(i128),
    UnsignedWide(u128),
    Bool(bool),
    Float32(f32),
    Float64(f64),
}

impl<'a> Native<'a> {
    /// Reads the bytes of a record; `None` if `kind` is not native.
    ///
    /// # Errors
    /// [`Error::Codec`] if the bytes cannot have been written for this kind.
    #[inline]
    pub fn parse(kind: Kind, bytes: &'a [u8]) -> Result<Option<Native<'a>>> {
        Ok(Some(match kind {
            Kind::Bytes => Native::Bytes(bytes),
            Kind::Streamed => Native::Bytes(streamed::value(bytes)?),
            Kind::Text => Native::Text(text::from_utf8(bytes).map_err(|e| Error::Codec(Box::new(e)))?),
            Kind::Signed => Native::Signed(i64::from_le_bytes(fixed(bytes)?)),
            Kind::Unsigned => Native::Unsigned(u64::from_le_bytes(fixed(bytes)?)),
            Kind::Wide => Native::Wide(i128::from_le_bytes(fixed(bytes)?)),
            Kind::UnsignedWide => Native::UnsignedWide(u128::from_le_bytes(fixed(bytes)?)),
            Kind::Float32 => Native::Float32(f32::from_le_bytes(fixed(bytes)?)),
            Kind::Float64 => Native::Float64(f64::from_le_bytes(fixed(bytes)?)),
            Kind::Bool => match fixed(bytes)? {
                [0] => Native::Bool(false),
                [1] => Native::Bool(true),
                _ => return Err(malformed()),
            },
            _ => return Ok(None),
        }))
    }

    /// The integer as `T`, if it is one and fits.
    pub fn integer<T>(self) -> Option<T>
    where
        T: TryFrom<i64> + TryFrom<u64> + TryFrom<i128> + TryFrom<u128>,
    {
        match self {
            Native::Signed(n) => T::try_from(n).ok(),
            Native::Unsigned(n) => T::try_from(n).ok(),
            Native::Wide(n) => T::try_from(n).ok(),
            Native::UnsignedWide(n) => T::try_from(n).ok(),
            _ => None,
        }
    }

    fn float64(self) -> Option<f64> {
        match self {
            Native::Float64(x) => Some(x),
            Native::Float32(x) => Some(f64::from(x)),
            _ => None,
        }
    }

    /// A wider float only if nothing is lost; every NaN is as good as another.
    fn float32(self) -> Option<f32> {
        match self {
            Native::Float32(x) => Some(x),
            Native::Float64(x) => {
                let near = x as f32;
                (f64::from(near) == x || x.is_nan()).then_some(near)
            }
            _ => None,
        }
    }

    fn character(self) -> Option<char> {
        let Native::Text(text) = self else { return None };
        let mut letters = text.chars();
        letters.next().filter(|_| letters.next().is_none())
    }
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| malformed())
}

pub(super) fn malformed() -> Error {
    Error::Codec(Box::new(Malformed))
}

/// The bytes of a record do not fit the kind it says it has.
#[derive(Debug)]
pub(super) struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes of the value do not fit its kind")
    }
}

impl std::error::Error for Malformed {}

/// An integer in the one form in which every width writes it, so that equal numbers have equal bytes.
pub(super) fn with_integer<R>(wide: Integer, f: impl FnOnce(Kind, &[u8]) -> R) -> R {
    match wide {
        Integer::Signed(n) => match (i64::try_from(n), u64::try_from(n)) {
            (Ok(n), _) => f(Kind::Signed, &n.to_le_bytes()),
            (_, Ok(n)) => f(Kind::Unsigned, &n.to_le_bytes()),
            _ => f(Kind::Wide, &n.to_le_bytes()),
        },
        Integer::Unsigned(n) => match i128::try_from(n) {
            Ok(n) => with_integer(Integer::Signed(n), f),
            Err(_) => f(Kind::UnsignedWide, &n.to_le_bytes()),
        },
    }
}

/// An integer of any width.
pub(super) enum Integer {
    Signed(i128),
    Unsigned(u128),
}

/// Why a native value could not be read.
#[derive(Debug)]
pub(super) enum NativeError {
    /// It is of another type than the one in these words.
    Mismatch(Option<&'static str>),
    /// It is of the right type, and the type refuses this value.
    Refused(Box<str>),
}

impl fmt::Display for NativeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NativeError::Mismatch(_) => f.write_str("the stored value is of another type"),
            NativeError::Refused(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for NativeError {}

impl de::Error for NativeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        NativeError::Refused(message.to_string().into())
    }

    fn invalid_type(_: de::Unexpected<'_>, _: &dyn de::Expected) -> Self {
        NativeError::Mismatch(None)
    }
}

/// Hands a native value to the type that asks for it, in the form it asks for, or not at all.
pub(super) struct NativeDeserializer<'a> {
    pub value: Native<'a>,
    pub human_readable: bool,
    /// The codec carries names, so an enum may have written itself as text.
    pub self_describing: bool,
}

fn refuse<T>(expected: &'static str) -> Result<T, NativeError> {
    Err(NativeError::Mismatch(Some(expected)))
}

/// Names the type that was asked for where a visitor could not.
fn named<T>(result: Result<T, NativeError>, expected: &'static str) -> Result<T, NativeError> {
    result.map_err(|error| match error {
        NativeError::Mismatch(None) => NativeError::Mismatch(Some(expected)),
        other => other,
    })
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NativeError> {
            match self.value.integer::<$type>() {
                Some(n) => named(visitor.$visit(n), stringify!($type)),
                None => refuse(stringify!($type)),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for NativeDeserializer<'de> {
    type Error = NativeError;

    integers! {
        deserialize_i8 visit_i8 i8
        deserialize_i16 visit_i16 i16
        deserialize_i32 visit_i32 i32
        deserialize_i64 visit_i64 i64
        deserialize_i128 visit_i128 i128
        deserialize_u8 visit_u8 u8
        deserialize_u16 visit_u16 u16
        deserialize_u32 visit_u32 u32
        deserialize_u64 visit_u64 u64
        deserialize_u128 visit_u128 u128
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NativeError> {
        let result = match self.value {
            Native::Bytes(bytes) => visitor.visit_borrowed_bytes(bytes),
            Native::Text(text) => visitor.visit_borrowed_str(text),
            Native::Signed(n) => match u64::try_from(n) {
                Ok(n) => visitor.visit_u64(n),
                Err(_) => visitor.visit_i64(n),
            },
            Native::Unsigned(n) => visitor.visit_u64(n),
            Native::Wide(n) => visitor.visit_i128(n),
            Native::UnsignedWide(n) => visitor.visit_u128(n),
            Native::Bool(b) => visitor.visit_bool(b),
            Native::Float32(x) => visitor.visit_f32(x),
            Native::Float64(x) => visitor.visit_f64(x),
        };
        named(result, "a value of another kind")
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NativeError> {
        match self.value {
            Native::Bool(b) => named(visitor.visit_bool(b), "bool"),
            _ => refuse("bool"),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NativeError> {
        self.value.float32().map_or_else(|| refuse("f32"), |x| named(visitor.visit_f32(x), "f32"))
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NativeError> {
        self.value.float64().map_or_else(|| refuse("f64"), |x| named(visitor.visit_f64(x), "f64"))
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NativeError> {
        self.value.character().map_or_else(|| refuse("char"), |c| named(visitor.visit_char(c), "char"))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NativeError> {
        match self.value {
            Native::Text(text) => named(visitor.visit_borrowed_str(text), "a string"),
            _ => refuse("a string"),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NativeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NativeError> {
        match self.value {
            Native::Bytes(bytes) => named(visitor.visit_borrowed_bytes(bytes), "a byte string"),
            _ => refuse("a byte string"),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NativeError> {
        self.deserialize_bytes(visitor)
    }

    /// A byte string is also the list of its bytes, for `set_bytes` and then `get::<Vec<u8>>`.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NativeError> {
        match self.value {
            Native::Bytes(bytes) => named(visitor.visit_seq(ByteList(bytes)), "a list"),
            _ => refuse("a list"),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, _: V) -> Result<V::Value, NativeError> {
        refuse("an option")
    }

    fn deserialize_unit<V: Visitor<'de>>(self, _: V) -> Result<V::Value, NativeError> {
        refuse("a unit")
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, _: V) -> Result<V::Value, NativeError> {
        refuse(name)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, _: V) -> Result<V::Value, NativeError> {
        refuse(name)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, NativeError> {
        refuse("a tuple")
    }

    fn deserialize_tuple_struct<V>(self, name: &'static str, _: usize, _: V) -> Result<V::Value, NativeError>
    where
        V: Visitor<'de>,
    {
        refuse(name)
    }

    fn deserialize_map<V: Visitor<'de>>(self, _: V) -> Result<V::Value, NativeError> {
        refuse("a map")
    }

    fn deserialize_struct<V>(self, name: &'static str, _: &[&str], _: V) -> Result<V::Value, NativeError>
    where
        V: Visitor<'de>,
    {
        refuse(name)
    }

    fn deserialize_enum<V>(self, name: &'static str, _: &[&str], visitor: V) -> Result<V::Value, NativeError>
    where
        V: Visitor<'de>,
    {
        match self.value {
            Native::Text(text) if self.self_describing => {
                let access: de::value::StrDeserializer<'_, NativeError> = text.into_deserializer();
                named(visitor.visit_enum(access), name)
            }
            _ => refuse(name),
        }
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NativeError> {
        self.deserialize_any(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NativeError> {
        self.deserialize_any(visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.human_readable
    }
}

/// The bytes of a byte string as elements that are `u8` and nothing else.
struct ByteList<'a>(&'a [u8]);

impl<'de> SeqAccess<'de> for ByteList<'de> {
    type Error = NativeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, NativeError> {
        let Some((&byte, rest)) = self.0.split_first() else { return Ok(None) };
        self.0 = rest;
        seed.deserialize(Byte(byte)).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

struct Byte(u8);

impl<'de> Deserializer<'de> for Byte {
    type Error = NativeError;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, NativeError> {
        refuse("a list of something other than bytes")
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NativeError> {
        visitor.visit_u8(self.0)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
