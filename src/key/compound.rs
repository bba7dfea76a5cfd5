//! The keys made of other keys: tuples, `Option`, and everything that only points to a key.
//!
//! Owns how parts become one key; it knows no bytes.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use super::reader::KeyReader;
use super::writer::{KeyWriter, KeyWritten};
use super::{Key, OwnedKey};
use crate::error::Result;

impl<K: Key> Key for Option<K> {
    const MAY_BE_NULL: bool = true;

    #[inline]
    fn write_key(&self, writer: KeyWriter<'_>) -> KeyWritten {
        match self {
            None => writer.null(),
            Some(key) if K::MAY_BE_NULL => writer.tuple(|tuple| {
                tuple.field(key);
            }),
            Some(key) => key.write_key(writer),
        }
    }
}

impl<K: OwnedKey> OwnedKey for Option<K> {
    fn read_key(reader: &mut KeyReader<'_>) -> Result<Self> {
        if reader.take_null() {
            return Ok(None);
        }
        let key = if K::MAY_BE_NULL { reader.tuple(|fields| fields.read()) } else { reader.read() };
        key.map(Some)
    }
}

macro_rules! tuple_keys {
    ($($part:ident $place:tt),*) => {
        impl<$($part: Key),*> Key for ($($part,)*) {
            const MAY_BE_NULL: bool = false;

            #[inline]
            fn write_key(&self, writer: KeyWriter<'_>) -> KeyWritten {
                writer.tuple(|_tuple| {
                    $(_tuple.field(&self.$place);)*
                })
            }
        }

        impl<$($part: OwnedKey),*> OwnedKey for ($($part,)*) {
            fn read_key(reader: &mut KeyReader<'_>) -> Result<Self> {
                reader.tuple(|_fields| Ok(($(_fields.read::<$part>()?,)*)))
            }
        }
    };
}

tuple_keys!();
tuple_keys!(A 0);
tuple_keys!(A 0, B 1);
tuple_keys!(A 0, B 1, C 2);
tuple_keys!(A 0, B 1, C 2, D 3);
tuple_keys!(A 0, B 1, C 2, D 3, E 4);
tuple_keys!(A 0, B 1, C 2, D 3, E 4, F 5);
tuple_keys!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuple_keys!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);

macro_rules! pointer_keys {
    ($($pointer:ty),*) => {$(
        impl<K: Key + ?Sized> Key for $pointer {
            const MAY_BE_NULL: bool = K::MAY_BE_NULL;

            #[inline]
            fn write_key(&self, writer: KeyWriter<'_>) -> KeyWritten {
                (**self).write_key(writer)
            }
        }
    )*};
}

pointer_keys!(&K, &mut K, Box<K>, Rc<K>, Arc<K>);

impl<K: Key + ToOwned + ?Sized> Key for Cow<'_, K> {
    const MAY_BE_NULL: bool = K::MAY_BE_NULL;

    #[inline]
    fn write_key(&self, writer: KeyWriter<'_>) -> KeyWritten {
        (**self).write_key(writer)
    }
}

impl<K: Key + ToOwned<Owned: OwnedKey> + ?Sized> OwnedKey for Cow<'_, K> {
    fn read_key(reader: &mut KeyReader<'_>) -> Result<Self> {
        reader.read().map(Cow::Owned)
    }
}

macro_rules! owned_pointer_keys {
    ($($pointer:ident)*) => {$(
        impl<K: OwnedKey> OwnedKey for $pointer<K> {
            fn read_key(reader: &mut KeyReader<'_>) -> Result<Self> {
                reader.read().map($pointer::new)
            }
        }

        impl OwnedKey for $pointer<str> {
            fn read_key(reader: &mut KeyReader<'_>) -> Result<Self> {
                reader.read::<String>().map(Self::from)
            }
        }

        impl OwnedKey for $pointer<[u8]> {
            fn read_key(reader: &mut KeyReader<'_>) -> Result<Self> {
                reader.read::<Vec<u8>>().map(Self::from)
            }
        }
    )*};
}

owned_pointer_keys!(Box Rc Arc);
