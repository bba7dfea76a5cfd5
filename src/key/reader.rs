//! Reading elements of the key format from bytes that may be hostile.
//!
//! Owns what counts as well formed: exactly what the writer gives, nothing else. It indexes nothing, allocates no more
//! than the bytes it was given are long, and nests no deeper than the writer does.

use std::borrow::Cow;

use super::{MAX_DEPTH, OwnedKey, code};
use crate::error::{Error, Result};

const MALFORMED: &str = "a malformed key";

/// Gives the elements of an encoded key, one after the other; see [`OwnedKey`] and [`Key`](super::Key) for its use.
///
/// ```
/// use larder::{Key, KeyReader, KeyWriter, KeyWritten, OwnedKey, Result};
///
/// #[derive(PartialEq, Debug)]
/// enum Size { Small, Exactly(u32) }
///
/// impl Key for Size {
///     const MAY_BE_NULL: bool = false;
///     fn write_key(&self, writer: KeyWriter<'_>) -> KeyWritten {
///         writer.tuple(|tuple| {
///             match self {
///                 Size::Small => tuple.field(&0),
///                 Size::Exactly(n) => tuple.field(&1).field(n),
///             };
///         })
///     }
/// }
///
/// impl OwnedKey for Size {
///     fn read_key(reader: &mut KeyReader<'_>) -> Result<Self> {
///         reader.tuple(|fields| match fields.read::<u32>()? {
///             0 => Ok(Size::Small),
///             1 => Ok(Size::Exactly(fields.read()?)),
///             _ => Err(fields.unexpected("a Size")),
///         })
///     }
/// }
///
/// assert_eq!(Size::decode(&Size::Exactly(5).encode()?)?, Size::Exactly(5));
/// assert!(Size::decode(&(2, 5).encode()?).is_err());
/// # Ok::<(), larder::Error>(())
/// ```
#[derive(Debug)]
pub struct KeyReader<'a> {
    rest: &'a [u8],
    /// How many tuples are open around the next element.
    depth: u8,
}

/// An integer as it is written: wider than any type of Rust, so that the type asked for decides what fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Integer {
    pub(super) negative: bool,
    pub(super) magnitude: u128,
}

impl<'a> KeyReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> KeyReader<'a> {
        KeyReader { rest: bytes, depth: 0 }
    }

    /// Reads the next element as a `K`.
    ///
    /// # Errors
    /// [`Error::Type`] if there is none, or it is no `K`.
    #[inline]
    pub fn read<K: OwnedKey>(&mut self) -> Result<K> {
        K::read_key(self)
    }

    /// Reads the next element as a tuple; `fields` must read all of its elements.
    ///
    /// # Errors
    /// [`Error::Type`] if it is no tuple, or has more elements, or tuples are nested more than 32 deep; and what
    /// `fields` returns.
    pub fn tuple<T>(&mut self, fields: impl FnOnce(&mut KeyReader<'a>) -> Result<T>) -> Result<T> {
        self.take_code(code::TUPLE, "a tuple")?;
        if self.depth >= MAX_DEPTH {
            return Err(Error::mismatch("a key of at most 32 nested tuples", "a deeper one"));
        }
        self.depth += 1;
        let value = fields(self)?;
        if !self.at_end() {
            return Err(Error::mismatch("the end of a tuple", self.found()));
        }
        self.advance(1)?;
        self.depth -= 1;
        Ok(value)
    }

    /// True if no element is left: of the tuple, or of the key. For tuples whose length is not known.
    ///
    /// ```
    /// use larder::{Key, KeyReader, KeyWriter, KeyWritten, OwnedKey, Result};
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
    /// impl OwnedKey for Path {
    ///     fn read_key(reader: &mut KeyReader<'_>) -> Result<Self> {
    ///         reader.tuple(|fields| {
    ///             let mut parts = Vec::new();
    ///             while !fields.at_end() {
    ///                 parts.push(fields.read()?);
    ///             }
    ///             Ok(Path(parts))
    ///         })
    ///     }
    /// }
    ///
    /// assert_eq!(Path::decode(&("a", "b", "c").encode()?)?.0, ["a", "b", "c"]);
    /// # Ok::<(), larder::Error>(())
    /// ```
    #[inline]
    pub fn at_end(&self) -> bool {
        match self.rest {
            [] => self.depth == 0,
            [code::END, code::ESCAPE, ..] => false,
            [first, ..] => self.depth > 0 && *first == code::END,
        }
    }

    /// The error for a well-formed key that is none of the type's values, such as an unknown variant of an enum.
    /// It names what comes next as that which was found.
    pub fn unexpected(&self, expected: &'static str) -> Error {
        Error::mismatch(expected, self.found())
    }

    #[inline]
    pub(super) fn finish(&self) -> Result<()> {
        if self.at_end() { Ok(()) } else { Err(Error::mismatch("one key", "more bytes after it")) }
    }

    /// The first byte of the next element, if there is one.
    pub(super) fn next_code(&self) -> Option<u8> {
        if self.at_end() { None } else { self.rest.first().copied() }
    }

    /// Passes a `None`, if that comes next.
    pub(super) fn take_null(&mut self) -> bool {
        let rest = match self.rest {
            [code::NULL, rest @ ..] if self.depth == 0 => rest,
            [code::NULL, code::ESCAPE, rest @ ..] => rest,
            _ => return false,
        };
        self.rest = rest;
        true
    }

    /// The content of a byte string; borrowed unless it holds escaped bytes.
    pub(super) fn bytes(&mut self, expected: &'static str) -> Result<Cow<'a, [u8]>> {
        self.take_code(code::BYTES, expected)?;
        self.take_framed()
    }

    pub(super) fn string(&mut self, expected: &'static str) -> Result<String> {
        self.take_code(code::STRING, expected)?;
        String::from_utf8(self.take_framed()?.into_owned()).map_err(|_| Error::mismatch(expected, MALFORMED))
    }

    /// An integer that is not negative and below 2^64, which nearly all are. `None`, and nothing passed, for what is anything else.
    #[inline]
    pub(super) fn natural(&mut self) -> Option<u64> {
        let (&first, behind) = self.rest.split_first()?;
        let count = usize::from(first.checked_sub(code::ZERO)?);
        let (digits, rest) = behind.split_at_checked(count)?;
        if count > 8 || digits.first() == Some(&0) {
            return None;
        }
        self.rest = rest;
        Some(match digits.first_chunk() {
            Some(eight) => u64::from_be_bytes(*eight),
            None => digits.iter().fold(0, |value, &digit| value << 8 | u64::from(digit)),
        })
    }

    pub(super) fn integer(&mut self, expected: &'static str) -> Result<Integer> {
        let Some(first) = self.next_code().filter(|first| (code::BIG_NEGATIVE..=code::BIG_POSITIVE).contains(first))
        else {
            return Err(self.unexpected(expected));
        };
        self.advance(1)?;
        let negative = first < code::ZERO;
        let invert = if negative { 0xff } else { 0x00 };
        let is_big = first == code::BIG_NEGATIVE || first == code::BIG_POSITIVE;
        let count =
            if is_big { self.advance(1)?.first().map_or(0, |n| n ^ invert) } else { first.abs_diff(code::ZERO) };
        if is_big && !(9..=16).contains(&count) {
            return Err(Error::mismatch(expected, MALFORMED));
        }
        let ahead = self.rest.first_chunk().map(|eight| u64::from_be_bytes(*eight));
        let digits = self.advance(usize::from(count))?;
        if digits.first() == Some(&invert) {
            return Err(Error::mismatch(expected, MALFORMED));
        }
        if let (Some(ahead), Some(excess)) = (ahead, u64::BITS.checked_sub(8 * u32::from(count))) {
            // What comes behind the digits is shifted out.
            let inverted = if negative { !ahead } else { ahead };
            return Ok(Integer { negative, magnitude: inverted.checked_shr(excess).unwrap_or(0).into() });
        }
        let mut bytes = [0; 16];
        let Some(to) = bytes.len().checked_sub(digits.len()).and_then(|at| bytes.get_mut(at..)) else {
            return Err(Error::mismatch(expected, MALFORMED));
        };
        to.copy_from_slice(digits);
        // Those of a negative number are inverted, each of them and no more.
        let mask = if negative { u128::MAX.checked_shr(128 - 8 * digits.len() as u32).unwrap_or(0) } else { 0 };
        let magnitude = u128::from_be_bytes(bytes) ^ mask;
        Ok(Integer { negative, magnitude })
    }

    pub(super) fn float32(&mut self) -> Result<f32> {
        self.take_code(code::F32, "an f32")?;
        let ordered = u32::from_be_bytes(self.take_array()?);
        Ok(f32::from_bits(if ordered >> 31 == 1 { ordered ^ 1 << 31 } else { !ordered }))
    }

    pub(super) fn float64(&mut self) -> Result<f64> {
        self.take_code(code::F64, "an f64")?;
        let ordered = u64::from_be_bytes(self.take_array()?);
        Ok(f64::from_bits(if ordered >> 63 == 1 { ordered ^ 1 << 63 } else { !ordered }))
    }

    pub(super) fn boolean(&mut self) -> Result<bool> {
        let value = match self.next_code() {
            Some(code::FALSE) => false,
            Some(code::TRUE) => true,
            _ => return Err(self.unexpected("a bool")),
        };
        self.advance(1)?;
        Ok(value)
    }

    /// What comes next, in words.
    fn found(&self) -> &'static str {
        if self.at_end() {
            return if self.depth > 0 { "the end of a tuple" } else { "nothing" };
        }
        match self.rest.first().copied() {
            Some(code::NULL) => "None",
            Some(code::BYTES) => "a byte string",
            Some(code::STRING) => "a string",
            Some(code::TUPLE) => "a tuple",
            Some(code::BIG_NEGATIVE..=code::BIG_POSITIVE) => "an integer",
            Some(code::F32) => "an f32",
            Some(code::F64) => "an f64",
            Some(code::FALSE | code::TRUE) => "a bool",
            _ => MALFORMED,
        }
    }

    fn take_code(&mut self, code: u8, expected: &'static str) -> Result<()> {
        if self.next_code() != Some(code) {
            return Err(self.unexpected(expected));
        }
        self.advance(1).map(|_| ())
    }

    /// Passes `count` bytes and returns them.
    fn advance(&mut self, count: usize) -> Result<&'a [u8]> {
        let (passed, rest) = self.rest.split_at_checked(count).ok_or_else(|| Error::mismatch("a key", MALFORMED))?;
        self.rest = rest;
        Ok(passed)
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk().ok_or_else(|| Error::mismatch("a key", MALFORMED))?;
        self.rest = rest;
        Ok(*array)
    }

    /// Everything up to the first `00` that no `FF` follows. Each round passes at least two bytes, so it ends.
    fn take_framed(&mut self) -> Result<Cow<'a, [u8]>> {
        let mut content = Cow::Borrowed(&[][..]);
        loop {
            let zero = self.rest.iter().position(|byte| *byte == 0).unwrap_or(self.rest.len());
            let piece = self.advance(zero)?;
            self.advance(1)?;
            let escaped = self.rest.first() == Some(&code::ESCAPE);
            if content.is_empty() && !escaped {
                return Ok(Cow::Borrowed(piece));
            }
            content.to_mut().extend_from_slice(piece);
            if !escaped {
                return Ok(content);
            }
            content.to_mut().push(0);
            self.advance(1)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Key;
    use super::*;

    fn words(error: Error) -> (&'static str, &'static str) {
        match error {
            Error::Type(mismatch) => (mismatch.expected, mismatch.found),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn errors_say_what_was_asked_for_and_what_is_there() {
        let found = |key: Vec<u8>| words(u8::decode(&key).unwrap_err());
        assert_eq!(found(None::<u8>.encode().unwrap()), ("u8", "None"));
        assert_eq!(found(b"x".encode().unwrap()), ("u8", "a byte string"));
        assert_eq!(found("x".encode().unwrap()), ("u8", "a string"));
        assert_eq!(found((1,).encode().unwrap()), ("u8", "a tuple"));
        assert_eq!(found(256.encode().unwrap()), ("u8", "an integer outside its range"));
        assert_eq!(found((-1).encode().unwrap()), ("u8", "an integer outside its range"));
        assert_eq!(found(1.0f32.encode().unwrap()), ("u8", "an f32"));
        assert_eq!(found(1.0f64.encode().unwrap()), ("u8", "an f64"));
        assert_eq!(found(true.encode().unwrap()), ("u8", "a bool"));
        assert_eq!(found(vec![]), ("u8", "nothing"));
        assert_eq!(found(vec![0x33]), ("u8", MALFORMED));
        assert_eq!(words(String::decode(&1.encode().unwrap()).unwrap_err()), ("a string", "an integer"));
        assert_eq!(words(<(u8, u8)>::decode(&(1,).encode().unwrap()).unwrap_err()), ("u8", "the end of a tuple"));
        assert_eq!(
            words(<(u8,)>::decode(&(1, 2).encode().unwrap()).unwrap_err()),
            ("the end of a tuple", "an integer")
        );
    }

    #[test]
    fn a_none_in_a_tuple_is_not_its_end_and_the_end_is_no_none() {
        let bytes = (1u8, None::<u8>).encode().unwrap();
        assert_eq!(<(u8, Option<u8>)>::decode(&bytes).unwrap(), (1, None));
        assert!(<(u8,)>::decode(&bytes).is_err());
        assert!(<(u8, Option<u8>)>::decode(&(1u8,).encode().unwrap()).is_err());
        let bytes = ((1u8,), None::<u8>).encode().unwrap();
        assert_eq!(<((u8,), Option<u8>)>::decode(&bytes).unwrap(), ((1,), None));
    }

    #[test]
    fn a_reader_cannot_leave_its_tuple() {
        let bytes = ((1u8,), 2u8).encode().unwrap();
        let mut reader = KeyReader::new(&bytes);
        let read = reader.tuple(|outer| outer.tuple(|inner| Ok((inner.read::<u8>()?, inner.read::<u8>()?))));
        assert!(read.unwrap_err().is_type());
    }
}
