//! The keys without parts: strings, byte strings, numbers, `bool`.
//!
//! Owns which type of Rust is which kind of element; the bytes are the writer's and the reader's.

use super::reader::{Integer, KeyReader};
use super::writer::{KeyWriter, KeyWritten};
use super::{Key, OwnedKey};
use crate::error::{Error, Result};

impl Key for str {
    const MAY_BE_NULL: bool = false;

    #[inline]
    fn write_key(&self, writer: KeyWriter<'_>) -> KeyWritten {
        writer.string(self)
    }
}

impl Key for String {
    const MAY_BE_NULL: bool = false;

    #[inline]
    fn write_key(&self, writer: KeyWriter<'_>) -> KeyWritten {
        writer.string(self)
    }
}

impl OwnedKey for String {
    fn read_key(reader: &mut KeyReader<'_>) -> Result<Self> {
        reader.string("a string")
    }
}

impl Key for char {
    const MAY_BE_NULL: bool = false;

    #[inline]
    fn write_key(&self, writer: KeyWriter<'_>) -> KeyWritten {
        writer.string(self.encode_utf8(&mut [0; 4]))
    }
}

impl OwnedKey for char {
    fn read_key(reader: &mut KeyReader<'_>) -> Result<Self> {
        let string = reader.string("a char")?;
        let mut letters = string.chars();
        match (letters.next(), letters.next()) {
            (Some(letter), None) => Ok(letter),
            _ => Err(Error::mismatch("a char", "a string that is not one letter")),
        }
    }
}

impl Key for [u8] {
    const MAY_BE_NULL: bool = false;

    #[inline]
    fn write_key(&self, writer: KeyWriter<'_>) -> KeyWritten {
        writer.bytes(self)
    }
}

impl Key for Vec<u8> {
    const MAY_BE_NULL: bool = false;

    #[inline]
    fn write_key(&self, writer: KeyWriter<'_>) -> KeyWritten {
        writer.bytes(self)
    }
}

impl OwnedKey for Vec<u8> {
    fn read_key(reader: &mut KeyReader<'_>) -> Result<Self> {
        Ok(reader.bytes("a byte string")?.into_owned())
    }
}

impl<const N: usize> Key for [u8; N] {
    const MAY_BE_NULL: bool = false;

    #[inline]
    fn write_key(&self, writer: KeyWriter<'_>) -> KeyWritten {
        writer.bytes(self)
    }
}

impl<const N: usize> OwnedKey for [u8; N] {
    fn read_key(reader: &mut KeyReader<'_>) -> Result<Self> {
        let bytes = reader.bytes("a byte array")?;
        Self::try_from(&*bytes)
            .map_err(|_| Error::mismatch("a byte array", "a byte string of another length than the array's"))
    }
}

impl Key for bool {
    const MAY_BE_NULL: bool = false;

    #[inline]
    fn write_key(&self, writer: KeyWriter<'_>) -> KeyWritten {
        writer.boolean(*self)
    }
}

impl OwnedKey for bool {
    fn read_key(reader: &mut KeyReader<'_>) -> Result<Self> {
        reader.boolean()
    }
}

impl Key for f32 {
    const MAY_BE_NULL: bool = false;

    #[inline]
    fn write_key(&self, writer: KeyWriter<'_>) -> KeyWritten {
        writer.float32(*self)
    }
}

impl OwnedKey for f32 {
    fn read_key(reader: &mut KeyReader<'_>) -> Result<Self> {
        reader.float32()
    }
}

impl Key for f64 {
    const MAY_BE_NULL: bool = false;

    #[inline]
    fn write_key(&self, writer: KeyWriter<'_>) -> KeyWritten {
        writer.float64(*self)
    }
}

impl OwnedKey for f64 {
    fn read_key(reader: &mut KeyReader<'_>) -> Result<Self> {
        reader.float64()
    }
}

/// What is said of an integer that the type asked for cannot hold.
#[cold]
fn out_of_range(expected: &'static str) -> Error {
    Error::mismatch(expected, "an integer outside its range")
}

impl Integer {
    /// The value, unless it is above `i128`.
    pub(super) fn signed(self) -> Option<i128> {
        if self.negative { 0i128.checked_sub_unsigned(self.magnitude) } else { i128::try_from(self.magnitude).ok() }
    }

    /// The value, unless it is negative.
    pub(super) fn unsigned(self) -> Option<u128> {
        (!self.negative).then_some(self.magnitude)
    }
}

macro_rules! integer_keys {
    ($write:ident as $wide:ty, $read:ident: $($integer:ident)*) => {$(
        impl Key for $integer {
            const MAY_BE_NULL: bool = false;

            #[inline]
            fn write_key(&self, writer: KeyWriter<'_>) -> KeyWritten {
                // Widening: `$wide` holds every value of `$integer`, and `usize` has no `From` for it.
                writer.$write(*self as $wide)
            }
        }

        impl OwnedKey for $integer {
            #[inline]
            fn read_key(reader: &mut KeyReader<'_>) -> Result<Self> {
                if let Some(natural) = reader.natural() {
                    return $integer::try_from(natural).map_err(|_| out_of_range(stringify!($integer)));
                }
                let value = reader.integer(stringify!($integer))?.$read();
                value.and_then(|value| $integer::try_from(value).ok()).ok_or_else(|| out_of_range(stringify!($integer)))
            }
        }
    )*};
}

integer_keys!(unsigned as u64, unsigned: u8 u16 u32 u64 usize);
integer_keys!(signed as i64, signed: i8 i16 i32 i64 isize);
integer_keys!(unsigned_128 as u128, unsigned: u128);
integer_keys!(signed_128 as i128, signed: i128);
