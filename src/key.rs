//! Keys: what may be a key, and the bytes it becomes.
//!
//! This file owns the traits and the format; it knows nothing of files, hashes or stores. Everything above compares,
//! hashes and sorts keys by these bytes alone.
//!
//! # The format
//!
//! A key is one element of the FoundationDB tuple format, which needs no schema to be read and sorts as its values do:
//!
//! | first byte | what | then |
//! |---|---|---|
//! | `00` | `None` | nothing; inside a tuple `FF`, which tells it from the tuple's end |
//! | `01` | byte string | the bytes, each `00` followed by `FF`; then `00` |
//! | `02` | string | its UTF-8, in the same way |
//! | `05` | tuple | the elements, then `00` |
//! | `0B` | integer below -(2^64 - 1) | the inverted count of bytes, then the inverted magnitude, highest byte first |
//! | `0C`..`13` | negative integer | 8..1 bytes of the inverted magnitude, highest first |
//! | `14` | zero | nothing |
//! | `15`..`1C` | positive integer | 1..8 bytes, highest first |
//! | `1D` | integer above 2^64 - 1 | the count of bytes, then the bytes, highest first |
//! | `20`, `21` | `f32`, `f64` | the bits, highest byte first; the sign bit inverted, all bits if negative |
//! | `26`, `27` | `false`, `true` | nothing |
//!
//! A key that is no tuple stands as its element alone, and a tuple always has its frame, so `"a"` (`02 61 00`) and
//! `("a",)` (`05 02 61 00 00`) are two keys.
//!
//! # What follows from it
//!
//! * Every value has one encoding. Readers refuse any other spelling, so equal keys are equal bytes and vice versa.
//! * Encodings can be put end to end and still be told apart: no encoding begins with another one *followed by a byte
//!   below `FF`*, and every element begins with a byte below `FF`. The condition is needed because a string's end and
//!   an escaped `00` within it share their first byte: `"a"` is `02 61 00` and `"a\0"` is `02 61 00 FF 00`.
//! * Hence the tuples that begin with the elements whose encodings, after the frame's `05`, join to `P` are exactly
//!   the keys from `05 P` up to, and not with, `05 P FF`. A bare "starts with" would also catch `"a\0"` for `"a"`.

mod any;
#[cfg(feature = "macros")]
mod arguments;
mod buffer;
mod compound;
mod reader;
mod scalar;
mod writer;

pub use any::AnyKey;
#[cfg(feature = "macros")]
pub use arguments::Arguments;
pub(crate) use buffer::EncodedKey;
pub use reader::KeyReader;
pub use writer::{KeyWriter, KeyWritten, TupleWriter};

use crate::error::{Error, Result};
pub use crate::options::MAX_KEY_BYTES;

/// How many tuples may stand within each other. It bounds the recursion that bytes on disk can cause.
const MAX_DEPTH: u8 = 32;

/// The first byte of each kind of element.
mod code {
    pub(super) const NULL: u8 = 0x00;
    pub(super) const BYTES: u8 = 0x01;
    pub(super) const STRING: u8 = 0x02;
    pub(super) const TUPLE: u8 = 0x05;
    pub(super) const BIG_NEGATIVE: u8 = 0x0b;
    pub(super) const ZERO: u8 = 0x14;
    pub(super) const BIG_POSITIVE: u8 = 0x1d;
    pub(super) const F32: u8 = 0x20;
    pub(super) const F64: u8 = 0x21;
    pub(super) const FALSE: u8 = 0x26;
    pub(super) const TRUE: u8 = 0x27;
    /// Ends strings, byte strings and tuples.
    pub(super) const END: u8 = 0x00;
    /// After a `00`: that was a byte of the content, or a `None` in a tuple, and not the end.
    pub(super) const ESCAPE: u8 = 0xff;
}

/// What can be a key.
///
/// Keys are compared and sorted by value, whatever type carries them:
///
/// * All integers are one kind: `1u8`, `1i64` and `1u128` are one key. `usize` and `isize` count as 64 bit.
/// * `1`, `1.0` and `"1"` are three keys, and so are `1.0f32` and `1.0f64`. Floats have the order of `total_cmp`:
///   `-0.0` and `0.0` are two keys, and a NaN is found again by the same NaN.
/// * A `char` is a string of one letter. `str` and `[u8]` are different kinds: `"a"` and `b"a"` are two keys.
/// * `Some(k)` is the key `k` and `None` is the least of all keys. Where `k` may itself be `None`, `Some(k)` is the
///   tuple `(k,)` instead, so that `Some(None)` and `None` differ (see [`MAY_BE_NULL`](Key::MAY_BE_NULL)).
/// * References, `Box`, `Rc`, `Arc` and `Cow` are what they point to.
///
/// Within one type, `a.cmp(&b)` is the order of the encodings.
///
/// A type of your own becomes a key as the tuple of its fields, or as the one field it wraps. `#[derive(Key, OwnedKey)]`
/// (feature `macros`, on by default) writes for a struct or an enum what is written here by hand:
///
/// ```
/// use larder::{Key, KeyReader, KeyWriter, KeyWritten, OwnedKey, Result};
///
/// #[derive(PartialEq, Debug)]
/// struct Tile { zoom: u8, name: String }
///
/// impl Key for Tile {
///     const MAY_BE_NULL: bool = false;
///     fn write_key(&self, writer: KeyWriter<'_>) -> KeyWritten {
///         writer.tuple(|tuple| {
///             tuple.field(&self.zoom).field(&self.name);
///         })
///     }
/// }
///
/// impl OwnedKey for Tile {
///     fn read_key(reader: &mut KeyReader<'_>) -> Result<Self> {
///         reader.tuple(|fields| Ok(Tile { zoom: fields.read()?, name: fields.read()? }))
///     }
/// }
///
/// let tile = Tile { zoom: 3, name: "alps".into() };
/// assert_eq!(tile.encode()?, (3, "alps").encode()?);
/// assert_eq!(Tile::decode(&tile.encode()?)?, tile);
/// # Ok::<(), larder::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a key",
    note = "keys are strings, byte strings, integers, floats, `bool`, `char`, `Option` and tuples of up to 8 of them",
    note = "`#[derive(larder::Key)]` makes a struct or an enum a key"
)]
pub trait Key {
    /// Whether some value of this type is written as `None` is.
    ///
    /// It decides how `Some` of this type is written: as the value itself if this is false, else as a tuple around it.
    /// The default is therefore always right and costs two bytes in an `Option`. Say false for a type that is a
    /// tuple or that wraps a field which is never an `Option`; with a wrong false, `Some` and `None` can be one key.
    const MAY_BE_NULL: bool = true;

    /// Writes the key, as exactly one element. Cannot fail: a key that is too long is found out by who asked for it.
    fn write_key(&self, writer: KeyWriter<'_>) -> KeyWritten;

    /// The bytes of the key, as [`OwnedKey::decode`] reads them. One allocation; the stores themselves need none.
    ///
    /// # Errors
    /// [`Error::KeyTooLarge`] above [`MAX_KEY_BYTES`]; [`Error::Type`] if tuples are nested more than 32 deep.
    ///
    /// ```
    /// use larder::Key;
    ///
    /// assert_eq!("a".encode()?, [0x02, b'a', 0x00]);
    /// assert!((1, "b").encode()? < (2, "a").encode()?);
    /// # Ok::<(), larder::Error>(())
    /// ```
    fn encode(&self) -> Result<Vec<u8>> {
        Ok(encode(self)?.into_vec())
    }
}

/// A key that can be read back: what `keys` and the sorted index return.
///
/// ```
/// use larder::{Key, OwnedKey};
///
/// let bytes = ("alps", Some(3u8)).encode()?;
/// assert_eq!(<(String, Option<i64>)>::decode(&bytes)?, ("alps".to_owned(), Some(3)));
/// assert!(String::decode(&bytes).unwrap_err().is_type());
/// # Ok::<(), larder::Error>(())
/// ```
pub trait OwnedKey: Key + Sized {
    /// Reads the one element that [`Key::write_key`] of this type writes.
    ///
    /// # Errors
    /// [`Error::Type`] if the element is of another type, out of this type's range, or malformed.
    fn read_key(reader: &mut KeyReader<'_>) -> Result<Self>;

    /// Reads a key from all of `bytes`, which need not be trusted.
    ///
    /// # Errors
    /// [`Error::Type`] if they are another type's key, or no key at all: cut off, followed by more, in another
    /// spelling than [`Key::encode`] gives, or nested too deep. [`Error::KeyTooLarge`] above [`MAX_KEY_BYTES`].
    fn decode(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > MAX_KEY_BYTES {
            return Err(Error::KeyTooLarge { bytes: bytes.len() });
        }
        let mut reader = KeyReader::new(bytes);
        let key = Self::read_key(&mut reader)?;
        reader.finish()?;
        Ok(key)
    }
}

/// As [`encode`], into a buffer that may have held other keys before. An encoded key is longer than what a call does with it
/// warrants copying.
#[inline]
pub(crate) fn encode_into<'b, K: Key + ?Sized>(key: &K, buffer: &'b mut EncodedKey) -> Result<&'b [u8]> {
    buffer.clear();
    let _: KeyWritten = key.write_key(KeyWriter::new(buffer));
    if buffer.is_valid() { Ok(buffer.as_bytes()) } else { Err(buffer.refusal()) }
}

/// As [`encode_into`], behind bytes that say which namespace the key is in.
#[inline]
pub(crate) fn encode_behind<'b, K: Key + ?Sized>(
    prefix: &[u8],
    key: &K,
    buffer: &'b mut EncodedKey,
) -> Result<&'b [u8]> {
    buffer.clear();
    buffer.push(prefix);
    let _: KeyWritten = key.write_key(KeyWriter::new(buffer));
    if buffer.is_valid() { Ok(buffer.as_bytes()) } else { Err(buffer.refusal()) }
}

/// As [`encode`], however long it gets: for what is going to be hashed.
pub(crate) fn encode_whole<K: Key + ?Sized>(key: &K) -> Result<EncodedKey> {
    let mut buffer = EncodedKey::unlimited();
    let _: KeyWritten = key.write_key(KeyWriter::new(&mut buffer));
    if buffer.is_valid() { Ok(buffer) } else { Err(buffer.refusal()) }
}

/// Encodes a key without allocating, unless it is long.
///
/// Errors as [`Key::encode`] does.
#[inline]
pub(crate) fn encode<K: Key + ?Sized>(key: &K) -> Result<EncodedKey> {
    let mut buffer = EncodedKey::new();
    let _: KeyWritten = key.write_key(KeyWriter::new(&mut buffer));
    if buffer.is_valid() { Ok(buffer) } else { Err(buffer.refusal()) }
}
