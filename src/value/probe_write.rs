//! The first look at a value that is to be stored: is it native, and if not, what is its outer type?
//!
//! It owns a serializer that answers at its first call and never writes anything. It may not know codecs.

use std::fmt;

use serde::Serialize;
use serde::ser::{self, Impossible, Serializer};

use super::Kind;
use super::fingerprint::{Edge, Level};
use super::native::{Integer, with_integer};

/// The two answers of a codec that change what a type says of itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mode {
    pub human_readable: bool,
    /// Below the outermost type, only types with names are recorded: the format itself marks primitives, and types
    /// that write a number and read a string, say, are common where a format allows it.
    pub self_describing: bool,
}

/// Hands a native value to `native`; of any other value it records the edge and fails.
pub(super) struct WriteProbe<'a, F> {
    pub edge: &'a mut Edge,
    pub native: Option<F>,
    pub mode: Mode,
}

/// The probe has seen enough.
#[derive(Debug)]
pub(super) struct Stop;

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the probe has seen enough")
    }
}

impl std::error::Error for Stop {}

impl ser::Error for Stop {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Stop
    }
}

/// The first part of a value that has parts.
pub(super) struct Inner<'a> {
    edge: &'a mut Edge,
    mode: Mode,
}

impl Inner<'_> {
    fn enter<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Stop> {
        if !self.edge.is_full() {
            let native = None::<fn(Kind, &[u8])>;
            // Only what the inner probe records matters; it fails whenever it has recorded anything.
            let _ = value.serialize(WriteProbe { edge: self.edge, native, mode: self.mode });
        }
        Err(Stop)
    }

    fn enter_first<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> {
        Inner { edge: self.edge, mode: self.mode }.enter(value)
    }
}

impl<'a, F: FnOnce(Kind, &[u8])> WriteProbe<'a, F> {
    fn leaf(self, kind: Kind, word: &'static str, bytes: &[u8]) -> Result<(), Stop> {
        match self.native {
            Some(native) => {
                native(kind, bytes);
                Ok(())
            }
            None => self.leaf_of_other(kind, word),
        }
    }

    fn integer(self, value: Integer, word: &'static str) -> Result<(), Stop> {
        match self.native {
            Some(native) => {
                with_integer(value, native);
                Ok(())
            }
            None => self.leaf_of_other(Kind::Signed, word),
        }
    }

    fn leaf_of_other(self, kind: Kind, name: &'static str) -> Result<(), Stop> {
        if !self.mode.self_describing {
            self.edge.push(Level { kind, name, len: 0, type_name: "" });
        }
        Err(Stop)
    }

    fn record(self, kind: Kind, name: &'static str, len: usize) -> Inner<'a> {
        self.edge.push(Level { kind, name, len, type_name: "" });
        Inner { edge: self.edge, mode: self.mode }
    }

    fn last(self, kind: Kind, name: &'static str, len: usize) -> Stop {
        self.record(kind, name, len);
        Stop
    }
}

macro_rules! integers {
    ($($method:ident $type:ident $integer:ident)*) => {$(
        fn $method(self, value: $type) -> Result<(), Stop> {
            self.integer(Integer::$integer(value.into()), stringify!($type))
        }
    )*};
}

impl<'a, F: FnOnce(Kind, &[u8])> Serializer for WriteProbe<'a, F> {
    type Ok = ();
    type Error = Stop;
    type SerializeSeq = Inner<'a>;
    type SerializeTuple = Inner<'a>;
    type SerializeTupleStruct = Impossible<(), Stop>;
    type SerializeTupleVariant = Impossible<(), Stop>;
    type SerializeMap = Inner<'a>;
    type SerializeStruct = Impossible<(), Stop>;
    type SerializeStructVariant = Impossible<(), Stop>;

    integers! {
        serialize_i8 i8 Signed
        serialize_i16 i16 Signed
        serialize_i32 i32 Signed
        serialize_i64 i64 Signed
        serialize_i128 i128 Signed
        serialize_u8 u8 Unsigned
        serialize_u16 u16 Unsigned
        serialize_u32 u32 Unsigned
        serialize_u64 u64 Unsigned
        serialize_u128 u128 Unsigned
    }

    fn serialize_bool(self, value: bool) -> Result<(), Stop> {
        self.leaf(Kind::Bool, "bool", &[u8::from(value)])
    }

    fn serialize_f32(self, value: f32) -> Result<(), Stop> {
        self.leaf(Kind::Float32, "f32", &value.to_le_bytes())
    }

    fn serialize_f64(self, value: f64) -> Result<(), Stop> {
        self.leaf(Kind::Float64, "f64", &value.to_le_bytes())
    }

    fn serialize_char(self, value: char) -> Result<(), Stop> {
        self.leaf(Kind::Text, "char", value.encode_utf8(&mut [0; 4]).as_bytes())
    }

    fn serialize_str(self, value: &str) -> Result<(), Stop> {
        self.leaf(Kind::Text, "a string", value.as_bytes())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Stop> {
        self.leaf(Kind::Bytes, "a byte string", value)
    }

    fn serialize_none(self) -> Result<(), Stop> {
        Err(self.last(Kind::Option, "", 0))
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Stop> {
        self.record(Kind::Option, "", 0).enter(value)
    }

    fn serialize_unit(self) -> Result<(), Stop> {
        Err(self.last(Kind::Unit, "", 0))
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<(), Stop> {
        Err(self.last(Kind::UnitStruct, name, 0))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, _: &T) -> Result<(), Stop> {
        Err(self.last(Kind::Newtype, name, 0))
    }

    fn serialize_unit_variant(self, name: &'static str, _: u32, _: &'static str) -> Result<(), Stop> {
        Err(self.last(Kind::Enum, name, 0))
    }

    fn serialize_newtype_variant<T>(self, name: &'static str, _: u32, _: &'static str, _: &T) -> Result<(), Stop>
    where
        T: Serialize + ?Sized,
    {
        Err(self.last(Kind::Enum, name, 0))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Stop> {
        Err(self.last(Kind::Enum, name, 0))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Stop> {
        Err(self.last(Kind::Enum, name, 0))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Inner<'a>, Stop> {
        Ok(self.record(Kind::Seq, "", 0))
    }

    fn serialize_tuple(self, len: usize) -> Result<Inner<'a>, Stop> {
        Ok(self.record(Kind::Tuple, "", len))
    }

    fn serialize_tuple_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeTupleStruct, Stop> {
        Err(self.last(Kind::TupleStruct, name, len))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Inner<'a>, Stop> {
        Ok(self.record(Kind::Map, "", 0))
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Self::SerializeStruct, Stop> {
        Err(self.last(Kind::Struct, name, 0))
    }

    fn is_human_readable(&self) -> bool {
        self.mode.human_readable
    }
}

impl ser::SerializeSeq for Inner<'_> {
    type Ok = ();
    type Error = Stop;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> {
        self.enter_first(value)
    }

    fn end(self) -> Result<(), Stop> {
        Err(Stop)
    }
}

impl ser::SerializeTuple for Inner<'_> {
    type Ok = ();
    type Error = Stop;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> {
        self.enter_first(value)
    }

    fn end(self) -> Result<(), Stop> {
        Err(Stop)
    }
}

impl ser::SerializeMap for Inner<'_> {
    type Ok = ();
    type Error = Stop;

    /// The edge of a map goes on in its values: keys are seldom more than primitives.
    fn serialize_key<T: Serialize + ?Sized>(&mut self, _: &T) -> Result<(), Stop> {
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> {
        self.enter_first(value)
    }

    fn end(self) -> Result<(), Stop> {
        Err(Stop)
    }
}
