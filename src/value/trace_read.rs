//! Follows the trail of a value while a codec by position reads it.
//!
//! It owns the wrapper around the codec's deserializer, and the bounds on hostile payloads. It may not know headers: it
//! reports hashes, and `value` compares them.

use std::cell::Cell;
use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess};
use serde::de::{Error as _, Visitor};

use super::errand;
use super::trail::{MAX_DEPTH, OutOfBounds, Step, Trail, element_limit};
use super::variant_index::{Index, has_aliases};

/// A value and the trail that it left; what a codec by position is asked for, inside an [`errand`].
pub(super) struct Followed<V> {
    pub value: V,
    pub structure: u16,
    pub names: u16,
    /// Both hashes may be compared. Not so if the type asked for whatever is stored.
    pub comparable: bool,
    /// Some struct takes a field under more than one name, so that the names cannot be compared.
    pub aliased: bool,
    /// The number of enums whose variant is part of the names.
    pub enums: u32,
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Followed<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let task = errand::current();
        let state = State {
            trail: Trail::new(),
            limit: element_limit(task.payload),
            payload: task.payload,
            ask: task.ask,
            comparable: Cell::new(true),
            aliased: Cell::new(false),
        };
        let value = V::deserialize(Follower { inner: deserializer, state: &state })?;
        Ok(Followed {
            value,
            structure: state.trail.structure(),
            names: state.trail.names(),
            comparable: state.comparable.get(),
            aliased: state.aliased.get(),
            enums: state.trail.enums(),
        })
    }
}

struct State {
    trail: Trail,
    limit: u64,
    payload: usize,
    ask: Option<u32>,
    comparable: Cell<bool>,
    aliased: Cell<bool>,
}

impl State {
    fn count_element<E: de::Error>(&self) -> Result<(), E> {
        self.trail.count_element();
        if self.trail.elements() > self.limit {
            return Err(E::custom("the value has more elements than its bytes allow"));
        }
        Ok(())
    }
}

fn too_deep<E: de::Error>(_: OutOfBounds) -> E {
    E::custom(format_args!("the value is nested deeper than {MAX_DEPTH} levels"))
}

/// The wrapper around whatever serde hands over: a deserializer, a visitor, a seed, an access.
struct Follower<'t, T> {
    inner: T,
    state: &'t State,
}

/// What a visitor was told to expect.
#[derive(Clone, Copy)]
enum Form {
    Plain,
    List,
    Fixed,
    Named(&'static [&'static str]),
    Variants(&'static [&'static str]),
}

struct Watcher<'t, V> {
    inner: V,
    state: &'t State,
    form: Form,
}

impl<'t, D> Follower<'t, D> {
    fn watch<V, R, E: de::Error>(
        self,
        visitor: V,
        form: Form,
        read: impl FnOnce(D, Watcher<'t, V>) -> Result<R, E>,
    ) -> Result<R, E> {
        self.state.trail.enter().map_err(too_deep)?;
        let result = read(self.inner, Watcher { inner: visitor, state: self.state, form });
        self.state.trail.leave();
        result
    }
}

macro_rules! leaves {
    ($($method:ident $step:ident)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.state.trail.step(Step::$step);
            self.inner.$method(visitor)
        }
    )*};
}

macro_rules! wildcards {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.state.comparable.set(false);
            self.watch(visitor, Form::Plain, |inner, watcher| inner.$method(watcher))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Follower<'_, D> {
    type Error = D::Error;

    leaves! {
        deserialize_bool Bool
        deserialize_i8 I8
        deserialize_i16 I16
        deserialize_i32 I32
        deserialize_i64 I64
        deserialize_i128 I128
        deserialize_u8 U8
        deserialize_u16 U16
        deserialize_u32 U32
        deserialize_u64 U64
        deserialize_u128 U128
        deserialize_f32 F32
        deserialize_f64 F64
        deserialize_char Char
        deserialize_str Str
        deserialize_string Str
        deserialize_bytes Bytes
        deserialize_byte_buf Bytes
        deserialize_unit Unit
    }

    wildcards! { deserialize_any deserialize_ignored_any deserialize_identifier }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        // Only an option that holds something is a level, here as on writing.
        self.inner.deserialize_option(Watcher { inner: visitor, state: self.state, form: Form::Plain })
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        self.state.trail.step(Step::Unit);
        self.inner.deserialize_unit_struct(name, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        self.watch(visitor, Form::Plain, |inner, watcher| inner.deserialize_newtype_struct(name, watcher))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.state.trail.step(Step::List);
        self.watch(visitor, Form::List, |inner, watcher| inner.deserialize_seq(watcher))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, D::Error> {
        self.state.trail.step(Step::Fixed);
        self.watch(visitor, Form::Fixed, |inner, watcher| inner.deserialize_tuple(len, watcher))
    }

    fn deserialize_tuple_struct<V>(self, name: &'static str, len: usize, visitor: V) -> Result<V::Value, D::Error>
    where
        V: Visitor<'de>,
    {
        self.state.trail.step(Step::Fixed);
        self.watch(visitor, Form::Fixed, |inner, watcher| inner.deserialize_tuple_struct(name, len, watcher))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.state.trail.step(Step::Map);
        self.watch(visitor, Form::List, |inner, watcher| inner.deserialize_map(watcher))
    }

    fn deserialize_struct<V>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error>
    where
        V: Visitor<'de>,
    {
        self.state.trail.step(Step::Fixed);
        self.watch(visitor, Form::Named(fields), |inner, watcher| inner.deserialize_struct(name, fields, watcher))
    }

    fn deserialize_enum<V>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error>
    where
        V: Visitor<'de>,
    {
        self.state.trail.step(Step::Enum);
        // The enum itself is no level: what its variant holds is one.
        let watcher = Watcher { inner: visitor, state: self.state, form: Form::Variants(variants) };
        self.inner.deserialize_enum(name, variants, watcher)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! pass_on {
    ($($method:ident $type:ty;)*) => {$(
        #[inline]
        fn $method<E: de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Watcher<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    pass_on! {
        visit_bool bool;
        visit_i8 i8;
        visit_i16 i16;
        visit_i32 i32;
        visit_i64 i64;
        visit_i128 i128;
        visit_u8 u8;
        visit_u16 u16;
        visit_u32 u32;
        visit_u64 u64;
        visit_u128 u128;
        visit_f32 f32;
        visit_f64 f64;
        visit_char char;
        visit_str &str;
        visit_borrowed_str &'de str;
        visit_string String;
        visit_bytes &[u8];
        visit_borrowed_bytes &'de [u8];
        visit_byte_buf Vec<u8>;
    }

    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.state.trail.step(Step::None);
        self.inner.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.state.trail.step(Step::Some);
        self.state.trail.enter().map_err(too_deep)?;
        let value = self.inner.visit_some(Follower { inner: deserializer, state: self.state });
        self.state.trail.leave();
        value
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(Follower { inner: deserializer, state: self.state })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        let mut elements = Elements { inner: seq, state: self.state, form: self.form, begun: 0, taken: 0 };
        let value = self.inner.visit_seq(&mut elements)?;
        match self.form {
            Form::List => self.state.trail.end_list(elements.begun),
            Form::Plain | Form::Variants(_) => self.state.comparable.set(false),
            Form::Fixed => self.state.trail.end_fixed(elements.taken),
            Form::Named(fields) => {
                self.state.trail.end_fixed(elements.taken);
                if elements.taken != fields.len() as u64 && !self.state.trail.is_muted() {
                    self.state.aliased.set(true);
                }
            }
        }
        Ok(value)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        if !matches!(self.form, Form::List) {
            self.state.comparable.set(false);
        }
        let mut elements = Elements { inner: map, state: self.state, form: Form::List, begun: 0, taken: 0 };
        let value = self.inner.visit_map(&mut elements)?;
        self.state.trail.end_list(elements.begun);
        Ok(value)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let variants = match self.form {
            Form::Variants(variants) => variants,
            _ => {
                self.state.comparable.set(false);
                &[]
            }
        };
        self.inner.visit_enum(Choice { inner: access, state: self.state, variants })
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Follower<'_, S> {
    type Value = S::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Follower { inner: deserializer, state: self.state })
    }
}

/// The elements of a list, the fields of a struct or tuple, or the entries of a map.
struct Elements<'t, A> {
    inner: A,
    state: &'t State,
    form: Form,
    begun: u64,
    taken: u64,
}

impl<'t, A> Elements<'t, A> {
    #[inline]
    fn begin<S>(&mut self, seed: S) -> Follower<'t, S> {
        match self.form {
            Form::Named(fields) => {
                if let Some(name) = usize::try_from(self.begun).ok().and_then(|index| fields.get(index)) {
                    self.state.trail.name(name);
                }
            }
            Form::List => self.state.trail.element(self.begun),
            _ => {}
        }
        self.begun += 1;
        Follower { inner: seed, state: self.state }
    }

    #[inline]
    fn take<E: de::Error>(&mut self) -> Result<(), E> {
        self.taken += 1;
        match self.form {
            Form::Named(_) | Form::Fixed => Ok(()),
            _ => self.state.count_element(),
        }
    }

    /// No visitor shall make room for more elements than there are bytes.
    fn bounded(&self, hint: Option<usize>) -> Option<usize> {
        hint.map(|hint| hint.min(self.state.payload))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Elements<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let seed = self.begin(seed);
        let element = self.inner.next_element_seed(seed)?;
        if element.is_some() {
            self.take()?;
        }
        Ok(element)
    }

    fn size_hint(&self) -> Option<usize> {
        self.bounded(self.inner.size_hint())
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Elements<'_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let seed = self.begin(seed);
        let key = self.inner.next_key_seed(seed)?;
        if key.is_some() {
            self.take()?;
        }
        Ok(key)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.next_value_seed(Follower { inner: seed, state: self.state })
    }

    fn size_hint(&self) -> Option<usize> {
        self.bounded(self.inner.size_hint())
    }
}

/// The choice of an enum's variant.
struct Choice<'t, A> {
    inner: A,
    state: &'t State,
    variants: &'static [&'static str],
}

impl<'de, 't, A: EnumAccess<'de>> EnumAccess<'de> for Choice<'t, A> {
    type Error = A::Error;
    type Variant = Follower<'t, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let state = self.state;
        if !state.trail.is_muted() && state.ask == Some(state.trail.next_enum()) {
            errand::answer(has_aliases(seed, self.variants));
            return Err(A::Error::custom("only the names of the variants were wanted"));
        }
        let index = Cell::new(None);
        let (value, access) = self.inner.variant_seed(Index { inner: seed, seen: &index })?;
        match index.get() {
            Some(index) => {
                state.trail.number(index);
                let name = usize::try_from(index).ok().and_then(|index| self.variants.get(index));
                state.trail.name(name.copied().unwrap_or_default());
            }
            None => state.comparable.set(false),
        }
        Ok((value, Follower { inner: access, state }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Follower<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.state.trail.step(Step::UnitVariant);
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let state = self.state;
        state.trail.step(Step::NewtypeVariant);
        state.trail.enter().map_err(too_deep)?;
        let value = self.inner.newtype_variant_seed(Follower { inner: seed, state });
        state.trail.leave();
        value
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.state.trail.step(Step::Fixed);
        self.watch(visitor, Form::Fixed, |inner, watcher| inner.tuple_variant(len, watcher))
    }

    fn struct_variant<V>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, A::Error>
    where
        V: Visitor<'de>,
    {
        self.state.trail.step(Step::Fixed);
        self.watch(visitor, Form::Named(fields), |inner, watcher| inner.struct_variant(fields, watcher))
    }
}
