//! Writing one element of the key format.
//!
//! Owns which bytes stand for a value. The types make sure that every key is exactly one element: a [`KeyWriter`] is
//! used up by writing, and only writing gives the [`KeyWritten`] that [`Key::write_key`] must return.

use super::buffer::EncodedKey;
use super::{Key, code};

/// Takes one key; see [`Key`] for its use.
///
/// A type with one field passes the writer on, a type with several writes a tuple:
///
/// ```
/// use larder::{Key, KeyWriter, KeyWritten};
///
/// struct UserId(u64);
///
/// impl Key for UserId {
///     const MAY_BE_NULL: bool = false;
///     fn write_key(&self, writer: KeyWriter<'_>) -> KeyWritten {
///         self.0.write_key(writer)
///     }
/// }
///
/// assert_eq!(UserId(7).encode()?, 7.encode()?);
/// # Ok::<(), larder::Error>(())
/// ```
#[derive(Debug)]
pub struct KeyWriter<'a> {
    buffer: &'a mut EncodedKey,
    /// How many tuples are open around this element.
    depth: u8,
}

/// The proof that a key was written. Only a [`KeyWriter`] gives it.
///
/// ```
/// use larder::{Key, KeyWriter, KeyWritten};
///
/// struct Unit;
///
/// impl Key for Unit {
///     fn write_key(&self, writer: KeyWriter<'_>) -> KeyWritten {
///         writer.tuple(|_| {})
///     }
/// }
///
/// assert_eq!(Unit.encode()?, ().encode()?);
/// # Ok::<(), larder::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "`Key::write_key` returns it"]
pub struct KeyWritten(());

/// Takes the elements of a tuple, in their order; [`KeyWriter::tuple`] gives it.
///
/// ```
/// use larder::{Key, KeyWriter, KeyWritten};
///
/// struct Path(Vec<String>);
///
/// impl Key for Path {
///     const MAY_BE_NULL: bool = false;
///     fn write_key(&self, writer: KeyWriter<'_>) -> KeyWritten {
///         writer.tuple(|tuple| {
///             for part in &self.0 {
///                 tuple.field(part);
///             }
///         })
///     }
/// }
///
/// assert_eq!(Path(vec!["a".into(), "b".into()]).encode()?, ("a", "b").encode()?);
/// # Ok::<(), larder::Error>(())
/// ```
#[derive(Debug)]
pub struct TupleWriter<'a> {
    buffer: &'a mut EncodedKey,
    depth: u8,
}

impl TupleWriter<'_> {
    /// Adds an element.
    #[inline]
    pub fn field<K: Key + ?Sized>(&mut self, key: &K) -> &mut Self {
        let _: KeyWritten = key.write_key(KeyWriter { buffer: self.buffer, depth: self.depth });
        self
    }
}

impl<'a> KeyWriter<'a> {
    #[inline]
    pub(super) fn new(buffer: &'a mut EncodedKey) -> KeyWriter<'a> {
        KeyWriter { buffer, depth: 0 }
    }

    /// For an element that will stand in as many tuples as `depth` says.
    #[cfg(feature = "macros")]
    #[inline]
    pub(super) fn within(buffer: &'a mut EncodedKey, depth: u8) -> KeyWriter<'a> {
        KeyWriter { buffer, depth }
    }

    /// Copies a tuple that was written for at most `depth` tuples around it. Elements of a tuple look the same everywhere.
    #[cfg(feature = "macros")]
    #[inline]
    pub(super) fn encoded(self, tuple: &EncodedKey, depth: u8) -> KeyWritten {
        self.buffer.push_encoded(tuple, self.depth <= depth);
        KeyWritten(())
    }

    /// Writes a tuple of the elements that `fields` adds, however many.
    ///
    /// Beyond 32 tuples within each other `fields` is not called, and the key is refused.
    #[inline]
    pub fn tuple(self, fields: impl FnOnce(&mut TupleWriter<'_>)) -> KeyWritten {
        let depth = self.depth + 1;
        if self.buffer.admits_depth(depth) {
            self.buffer.push_first([code::TUPLE], 1);
            fields(&mut TupleWriter { buffer: self.buffer, depth });
            self.buffer.push_first([code::END], 1);
        }
        KeyWritten(())
    }

    #[inline]
    pub(super) fn null(self) -> KeyWritten {
        let count = if self.depth == 0 { 1 } else { 2 };
        self.buffer.push_first([code::NULL, code::ESCAPE], count);
        KeyWritten(())
    }

    #[inline]
    pub(super) fn bytes(self, bytes: &[u8]) -> KeyWritten {
        self.buffer.push_framed(code::BYTES, bytes);
        KeyWritten(())
    }

    #[inline]
    pub(super) fn string(self, string: &str) -> KeyWritten {
        self.buffer.push_framed(code::STRING, string.as_bytes());
        KeyWritten(())
    }

    #[inline]
    pub(super) fn unsigned(self, value: u64) -> KeyWritten {
        let count = significant_bytes(value);
        self.small_integer(code::ZERO + count, value, count)
    }

    #[inline]
    pub(super) fn signed(self, value: i64) -> KeyWritten {
        if value >= 0 {
            return self.unsigned(value.unsigned_abs());
        }
        let magnitude = value.unsigned_abs();
        let count = significant_bytes(magnitude);
        self.small_integer(code::ZERO - count, !magnitude, count)
    }

    pub(super) fn unsigned_128(self, value: u128) -> KeyWritten {
        match u64::try_from(value) {
            Ok(small) => self.unsigned(small),
            Err(_) => self.big_integer(code::BIG_POSITIVE, value, 0x00),
        }
    }

    pub(super) fn signed_128(self, value: i128) -> KeyWritten {
        let magnitude = value.unsigned_abs();
        if value >= 0 {
            return self.unsigned_128(magnitude);
        }
        match u64::try_from(magnitude) {
            Ok(small) => {
                let count = significant_bytes(small);
                self.small_integer(code::ZERO - count, !small, count)
            }
            Err(_) => self.big_integer(code::BIG_NEGATIVE, magnitude, 0xff),
        }
    }

    #[inline]
    pub(super) fn float32(self, value: f32) -> KeyWritten {
        let bits = value.to_bits();
        let ordered = if bits >> 31 == 0 { bits | 1 << 31 } else { !bits };
        let [a, b, c, d] = ordered.to_be_bytes();
        self.buffer.push_first([code::F32, a, b, c, d], 5);
        KeyWritten(())
    }

    #[inline]
    pub(super) fn float64(self, value: f64) -> KeyWritten {
        let bits = value.to_bits();
        let ordered = if bits >> 63 == 0 { bits | 1 << 63 } else { !bits };
        self.push_code_and_word(code::F64, ordered, 9);
        KeyWritten(())
    }

    #[inline]
    pub(super) fn boolean(self, value: bool) -> KeyWritten {
        self.buffer.push_first([if value { code::TRUE } else { code::FALSE }], 1);
        KeyWritten(())
    }

    /// The lowest `count` bytes of `value` after `code`.
    #[inline]
    fn small_integer(self, code: u8, value: u64, count: u8) -> KeyWritten {
        let highest_first = value.checked_shl(8 * (8 - u32::from(count))).unwrap_or(0);
        self.push_code_and_word(code, highest_first, usize::from(count) + 1);
        KeyWritten(())
    }

    /// The first `count` of `code` and the bytes of `word`.
    #[inline]
    fn push_code_and_word(self, code: u8, word: u64, count: usize) {
        let [a, b, c, d, e, f, g, h] = word.to_be_bytes();
        self.buffer.push_first([code, a, b, c, d, e, f, g, h], count);
    }

    /// `invert` is `FF` for a negative number, whose length and magnitude must sort the other way round.
    fn big_integer(self, code: u8, magnitude: u128, invert: u8) -> KeyWritten {
        let skipped = (magnitude.leading_zeros() / 8) as usize;
        let count = (16 - skipped) as u8;
        let bytes = magnitude.to_be_bytes().map(|byte| byte ^ invert);
        self.buffer.push(&[code, count ^ invert]);
        self.buffer.push(bytes.get(skipped..).unwrap_or_default());
        KeyWritten(())
    }
}

/// How many bytes a magnitude needs: 0 for zero, at most 8.
#[inline]
fn significant_bytes(magnitude: u64) -> u8 {
    (8 - magnitude.leading_zeros() / 8) as u8
}

#[cfg(test)]
mod tests {
    use super::super::{MAX_DEPTH, encode};
    use super::*;

    /// A key that is nested as deep as it says.
    struct Nested(usize);

    impl Key for Nested {
        fn write_key(&self, writer: KeyWriter<'_>) -> KeyWritten {
            writer.tuple(|tuple| {
                if self.0 > 1 {
                    tuple.field(&Nested(self.0 - 1));
                }
            })
        }
    }

    #[test]
    fn depth_is_bounded_however_deep_the_key_is() {
        let deepest = usize::from(MAX_DEPTH);
        assert_eq!(encode(&Nested(deepest)).unwrap().as_bytes().len(), 2 * deepest);
        assert!(encode(&Nested(deepest + 1)).unwrap_err().is_type());
        // Were the recursion not stopped, this would end in a stack overflow.
        assert!(encode(&Nested(usize::MAX)).unwrap_err().is_type());
    }

    /// Says nothing of `None`, as a type does whose author has not read about it.
    struct Careless(Option<u8>);

    impl Key for Careless {
        fn write_key(&self, writer: KeyWriter<'_>) -> KeyWritten {
            self.0.write_key(writer)
        }
    }

    #[test]
    fn the_default_keeps_some_none_apart_from_none() {
        let keys = [None, Some(Careless(None)), Some(Careless(Some(0))), Some(Careless(Some(1)))];
        let encodings: Vec<_> = keys.iter().map(|key| key.encode().unwrap()).collect();
        assert!(encodings.is_sorted_by(|a, b| a < b), "{encodings:02x?}");
    }
}
