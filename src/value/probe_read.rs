//! The first look at a type that is to be read: what does it ask for, before any byte of the value is looked at?
//!
//! It owns a deserializer that records what it is asked and gives nothing. It may not know codecs or bytes.

use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::Kind;
use super::fingerprint::{Edge, Level};
use super::probe_write::{Mode, Stop};

/// Fills in the edge of `V`, as `V` asks for itself.
#[inline]
pub(super) fn trace_edge<'de, V: Deserialize<'de>>(edge: &mut Edge, mode: Mode) {
    // A type that asks for nothing at all leaves the edge empty, and is compared with nothing.
    let _ = V::deserialize(ReadProbe { edge, type_name: std::any::type_name::<V>(), mode });
}

impl de::Error for Stop {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Stop
    }
}

struct ReadProbe<'a> {
    edge: &'a mut Edge,
    type_name: &'static str,
    mode: Mode,
}

impl<'a> ReadProbe<'a> {
    fn leaf<T>(self, kind: Kind, name: &'static str) -> Result<T, Stop> {
        // A writer may have left it out; what a reader has in excess is not compared.
        self.last(kind, name, 0)
    }

    /// Records a level, and gives the probe for what is inside unless the edge is long enough.
    fn record(self, kind: Kind, name: &'static str, len: usize) -> Result<ReadProbe<'a>, Stop> {
        self.edge.push(Level { kind, name, len, type_name: self.type_name });
        if self.edge.is_full() { Err(Stop) } else { Ok(self) }
    }

    fn last<T>(self, kind: Kind, name: &'static str, len: usize) -> Result<T, Stop> {
        self.record(kind, name, len).and(Err(Stop))
    }

    fn inner<'de, S: DeserializeSeed<'de>, T>(&mut self, seed: S) -> Result<T, Stop> {
        let type_name = std::any::type_name::<S>();
        seed.deserialize(ReadProbe { edge: self.edge, type_name, mode: self.mode }).and(Err(Stop))
    }
}

macro_rules! leaves {
    ($($method:ident $kind:ident $word:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Stop> {
            self.leaf(Kind::$kind, $word)
        }
    )*};
}

impl<'de> Deserializer<'de> for ReadProbe<'_> {
    type Error = Stop;

    leaves! {
        deserialize_bool Bool "bool";
        deserialize_i8 Signed "i8";
        deserialize_i16 Signed "i16";
        deserialize_i32 Signed "i32";
        deserialize_i64 Signed "i64";
        deserialize_i128 Signed "i128";
        deserialize_u8 Signed "u8";
        deserialize_u16 Signed "u16";
        deserialize_u32 Signed "u32";
        deserialize_u64 Signed "u64";
        deserialize_u128 Signed "u128";
        deserialize_f32 Float32 "f32";
        deserialize_f64 Float64 "f64";
        deserialize_char Text "char";
        deserialize_str Text "a string";
        deserialize_string Text "a string";
        deserialize_bytes Bytes "a byte string";
        deserialize_byte_buf Bytes "a byte string";
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Stop> {
        self.edge.open = true;
        Err(Stop)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_any(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let mut inner = self.record(Kind::Option, "", 0)?;
        // What an option holds is read without a seed, so its name is the rest of the option's.
        inner.type_name = inner.type_name.split_once("option::Option<").map_or("", |(_, rest)| rest);
        visitor.visit_some(inner)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Stop> {
        self.last(Kind::Unit, "", 0)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, _: V) -> Result<V::Value, Stop> {
        self.last(Kind::UnitStruct, name, 0)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, _: V) -> Result<V::Value, Stop> {
        self.last(Kind::Newtype, name, 0)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_seq(self.record(Kind::Seq, "", 0)?)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_seq(self.record(Kind::Tuple, "", len)?)
    }

    fn deserialize_tuple_struct<V>(self, name: &'static str, len: usize, _: V) -> Result<V::Value, Stop>
    where
        V: Visitor<'de>,
    {
        self.last(Kind::TupleStruct, name, len)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_map(self.record(Kind::Map, "", 0)?)
    }

    fn deserialize_struct<V>(self, name: &'static str, _: &'static [&'static str], _: V) -> Result<V::Value, Stop>
    where
        V: Visitor<'de>,
    {
        self.last(Kind::Struct, name, 0)
    }

    fn deserialize_enum<V>(self, name: &'static str, _: &'static [&'static str], _: V) -> Result<V::Value, Stop>
    where
        V: Visitor<'de>,
    {
        self.last(Kind::Enum, name, 0)
    }

    fn is_human_readable(&self) -> bool {
        self.mode.human_readable
    }
}

impl<'de> SeqAccess<'de> for ReadProbe<'_> {
    type Error = Stop;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Stop> {
        self.inner(seed)
    }
}

impl<'de> MapAccess<'de> for ReadProbe<'_> {
    type Error = Stop;

    /// A visitor that takes key and value one by one cannot be led to the value.
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, _: K) -> Result<Option<K::Value>, Stop> {
        self.edge.open = true;
        Err(Stop)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Stop> {
        self.inner(seed)
    }

    fn next_entry_seed<K, S>(&mut self, _: K, seed: S) -> Result<Option<(K::Value, S::Value)>, Stop>
    where
        K: DeserializeSeed<'de>,
        S: DeserializeSeed<'de>,
    {
        self.inner(seed)
    }
}
