//! Which variant of an enum a codec by position chose, and whether its name can be told from its number.
//!
//! It owns the seed that overhears the number, and the question to a derived enum how many variants it has.

use std::cell::Cell;
use std::fmt;

use serde::de::value::U64Deserializer;
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};

/// Overhears the number of the variant that `inner` reads.
pub(super) struct Index<'c, T> {
    pub inner: T,
    pub seen: &'c Cell<Option<u64>>,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Index<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Index { inner: deserializer, seen: self.seen })
    }
}

macro_rules! pass_on {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method(Index { inner: visitor, seen: self.seen })
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Index<'_, D> {
    type Error = D::Error;

    pass_on! { deserialize_any deserialize_identifier deserialize_u32 deserialize_u64 }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum ignored_any
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! overhear {
    ($($method:ident $type:ty;)*) => {$(
        fn $method<E: de::Error>(self, number: $type) -> Result<V::Value, E> {
            self.seen.set(Some(number.into()));
            self.inner.$method(number)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Index<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    overhear! {
        visit_u8 u8;
        visit_u16 u16;
        visit_u32 u32;
        visit_u64 u64;
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<V::Value, E> {
        self.inner.visit_str(name)
    }

    fn visit_bytes<E: de::Error>(self, name: &[u8]) -> Result<V::Value, E> {
        self.inner.visit_bytes(name)
    }
}

/// True if `variants`, which lists every name that a variant goes by, has more names than there are variants, so that
/// a number does not lead to a name; `None` if the enum does not tell.
///
/// A derived enum that is handed an impossible number answers that it expected a number below that of its variants.
pub(super) fn has_aliases<'de, S: DeserializeSeed<'de>>(seed: S, variants: &[&str]) -> Option<bool> {
    let impossible: U64Deserializer<Expectation> = u64::MAX.into_deserializer();
    let expected = seed.deserialize(impossible).err()?.0;
    let count: usize = expected.strip_prefix("variant index 0 <= i < ")?.parse().ok()?;
    Some(count != variants.len())
}

/// An error that keeps what was expected instead.
#[derive(Debug)]
struct Expectation(String);

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Expectation {}

impl de::Error for Expectation {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Expectation(String::new())
    }

    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Expectation(expected.to_string())
    }
}
