//! Leaves the trail of a value while a codec by position writes it.
//!
//! It owns the wrapper around the codec's serializer. It changes no byte that the codec writes.

use std::fmt;

use serde::Serialize;
use serde::ser::{self, Serializer};

use super::trail::{MAX_DEPTH, OutOfBounds, Step, Trail};

/// A value that leaves its trail in `trail` when it is serialized.
pub(super) struct Traced<'t, 'v, T: ?Sized> {
    pub value: &'v T,
    pub trail: &'t Trail,
}

/// As [`Traced`], for the outermost value: every walk over it begins a new trail.
pub(super) struct TracedRoot<'t, 'v, T: ?Sized>(pub Traced<'t, 'v, T>);

impl<T: Serialize + ?Sized> Serialize for TracedRoot<'_, '_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.trail.restart();
        self.0.serialize(serializer)
    }
}

impl<T: Serialize + ?Sized> Serialize for Traced<'_, '_, T> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Tracer { inner: serializer, trail: self.trail })
    }
}

struct Tracer<'t, S> {
    inner: S,
    trail: &'t Trail,
}

/// The wrapper around the codec's serializer of any compound.
struct Parts<'t, C> {
    inner: C,
    trail: &'t Trail,
    begun: u64,
}

pub(super) fn too_deep<E: ser::Error>(_: OutOfBounds) -> E {
    E::custom(format_args!("the value is nested deeper than {MAX_DEPTH} levels"))
}

impl<'t, S: Serializer> Tracer<'t, S> {
    fn parts<C>(
        self,
        open: impl FnOnce(S) -> Result<C, S::Error>,
        steps: impl FnOnce(&Trail),
    ) -> Result<Parts<'t, C>, S::Error> {
        self.trail.enter().map_err(too_deep)?;
        steps(self.trail);
        Ok(Parts { inner: open(self.inner)?, trail: self.trail, begun: 0 })
    }

    fn within<T: ?Sized>(
        self,
        value: &T,
        write: impl FnOnce(S, &Traced<'t, '_, T>) -> Result<S::Ok, S::Error>,
    ) -> Result<S::Ok, S::Error> {
        self.trail.enter().map_err(too_deep)?;
        let result = write(self.inner, &Traced { value, trail: self.trail });
        self.trail.leave();
        result
    }
}

fn variant(trail: &Trail, index: u32, name: &str, form: Step) {
    trail.step(Step::Enum);
    trail.number(index.into());
    trail.name(name);
    trail.step(form);
}

macro_rules! leaves {
    ($($method:ident $type:ty, $step:ident;)*) => {$(
        #[inline]
        fn $method(self, value: $type) -> Result<S::Ok, S::Error> {
            self.trail.step(Step::$step);
            self.inner.$method(value)
        }
    )*};
}

impl<'t, S: Serializer> Serializer for Tracer<'t, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Parts<'t, S::SerializeSeq>;
    type SerializeTuple = Parts<'t, S::SerializeTuple>;
    type SerializeTupleStruct = Parts<'t, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Parts<'t, S::SerializeTupleVariant>;
    type SerializeMap = Parts<'t, S::SerializeMap>;
    type SerializeStruct = Parts<'t, S::SerializeStruct>;
    type SerializeStructVariant = Parts<'t, S::SerializeStructVariant>;

    leaves! {
        serialize_bool bool, Bool;
        serialize_i8 i8, I8;
        serialize_i16 i16, I16;
        serialize_i32 i32, I32;
        serialize_i64 i64, I64;
        serialize_i128 i128, I128;
        serialize_u8 u8, U8;
        serialize_u16 u16, U16;
        serialize_u32 u32, U32;
        serialize_u64 u64, U64;
        serialize_u128 u128, U128;
        serialize_f32 f32, F32;
        serialize_f64 f64, F64;
        serialize_char char, Char;
        serialize_str &str, Str;
        serialize_bytes &[u8], Bytes;
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.trail.step(Step::Str);
        self.inner.collect_str(value)
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.trail.step(Step::None);
        self.inner.serialize_none()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.trail.step(Step::Some);
        self.within(value, |inner, value| inner.serialize_some(value))
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.trail.step(Step::Unit);
        self.inner.serialize_unit()
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<S::Ok, S::Error> {
        self.trail.step(Step::Unit);
        self.inner.serialize_unit_struct(name)
    }

    fn serialize_newtype_struct<T>(self, name: &'static str, value: &T) -> Result<S::Ok, S::Error>
    where
        T: Serialize + ?Sized,
    {
        self.within(value, |inner, value| inner.serialize_newtype_struct(name, value))
    }

    fn serialize_unit_variant(self, name: &'static str, index: u32, word: &'static str) -> Result<S::Ok, S::Error> {
        variant(self.trail, index, word, Step::UnitVariant);
        self.inner.serialize_unit_variant(name, index, word)
    }

    fn serialize_newtype_variant<T>(
        self,
        name: &'static str,
        index: u32,
        word: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error>
    where
        T: Serialize + ?Sized,
    {
        variant(self.trail, index, word, Step::NewtypeVariant);
        self.within(value, |inner, value| inner.serialize_newtype_variant(name, index, word, value))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        word: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        self.parts(
            |inner| inner.serialize_tuple_variant(name, index, word, len),
            |trail| variant(trail, index, word, Step::Fixed),
        )
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        word: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        self.parts(
            |inner| inner.serialize_struct_variant(name, index, word, len),
            |trail| variant(trail, index, word, Step::Fixed),
        )
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        self.parts(|inner| inner.serialize_seq(len), |trail| trail.step(Step::List))
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        self.parts(|inner| inner.serialize_tuple(len), |trail| trail.step(Step::Fixed))
    }

    fn serialize_tuple_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeTupleStruct, S::Error> {
        self.parts(|inner| inner.serialize_tuple_struct(name, len), |trail| trail.step(Step::Fixed))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        self.parts(|inner| inner.serialize_map(len), |trail| trail.step(Step::Map))
    }

    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeStruct, S::Error> {
        self.parts(|inner| inner.serialize_struct(name, len), |trail| trail.step(Step::Fixed))
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

impl<'t, C> Parts<'t, C> {
    #[inline]
    fn list_element<'v, T: ?Sized>(&mut self, value: &'v T) -> Traced<'t, 'v, T> {
        self.trail.element(self.begun);
        self.trail.count_element();
        self.begun += 1;
        Traced { value, trail: self.trail }
    }

    fn field<'v, T: ?Sized>(&mut self, name: Option<&str>, value: &'v T) -> Traced<'t, 'v, T> {
        if let Some(name) = name {
            self.trail.name(name);
        }
        self.begun += 1;
        Traced { value, trail: self.trail }
    }

    fn end_list(self) -> C {
        self.trail.leave();
        self.trail.end_list(self.begun);
        self.inner
    }

    fn end_fixed(self) -> C {
        self.trail.leave();
        self.trail.end_fixed(self.begun);
        self.inner
    }
}

/// A reader by position would take the next field's bytes for the one left out.
fn left_out<T, E: ser::Error>(field: &str) -> Result<T, E> {
    Err(E::custom(format_args!("field {field} was left out, and could not be found again by position")))
}

impl<C: ser::SerializeSeq> ser::SerializeSeq for Parts<'_, C> {
    type Ok = C::Ok;
    type Error = C::Error;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
        let traced = self.list_element(value);
        self.inner.serialize_element(&traced)
    }

    fn end(self) -> Result<C::Ok, C::Error> {
        self.end_list().end()
    }
}

impl<C: ser::SerializeMap> ser::SerializeMap for Parts<'_, C> {
    type Ok = C::Ok;
    type Error = C::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), C::Error> {
        let traced = self.list_element(key);
        self.inner.serialize_key(&traced)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
        self.inner.serialize_value(&Traced { value, trail: self.trail })
    }

    fn end(self) -> Result<C::Ok, C::Error> {
        self.end_list().end()
    }
}

macro_rules! unnamed {
    ($($trait:ident $method:ident)*) => {$(
        impl<C: ser::$trait> ser::$trait for Parts<'_, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
                let traced = self.field(None, value);
                self.inner.$method(&traced)
            }

            fn end(self) -> Result<C::Ok, C::Error> {
                self.end_fixed().end()
            }
        }
    )*};
}

unnamed! {
    SerializeTuple serialize_element
    SerializeTupleStruct serialize_field
    SerializeTupleVariant serialize_field
}

macro_rules! named {
    ($($trait:ident)*) => {$(
        impl<C: ser::$trait> ser::$trait for Parts<'_, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            fn serialize_field<T>(&mut self, name: &'static str, value: &T) -> Result<(), C::Error>
            where
                T: Serialize + ?Sized,
            {
                let traced = self.field(Some(name), value);
                self.inner.serialize_field(name, &traced)
            }

            fn skip_field(&mut self, name: &'static str) -> Result<(), C::Error> {
                left_out(name)
            }

            fn end(self) -> Result<C::Ok, C::Error> {
                self.end_fixed().end()
            }
        }
    )*};
}

named! { SerializeStruct SerializeStructVariant }
