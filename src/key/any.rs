//! A key whose type is not known before it is read.
//!
//! Owns the value form of the key format, its order and its text; the bytes are the writer's and the reader's.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use super::reader::{Integer, KeyReader};
use super::writer::{KeyWriter, KeyWritten};
use super::{Key, OwnedKey, code};
use crate::error::{Error, Result};

/// Any key of a cache whose keys are of several types.
///
/// It is itself a key: it finds what was stored under the key that it was read from. Order, equality and hash are
/// those of the encoding, over all types: `None`, byte strings, strings, tuples, integers, `f32`, `f64`, `bool`.
/// Floats have the order of `total_cmp`, so a NaN equals itself and `-0.0` is less than `0.0`.
///
/// The text of a key is what one would write for it in Rust, so that `1`, `1.0` and `"1"` look different.
///
/// ```
/// use larder::{AnyKey, Key, OwnedKey};
///
/// let key = AnyKey::decode(&("alps", 3u8, None::<bool>).encode()?)?;
/// assert_eq!(key.to_string(), r#"("alps", 3, None)"#);
/// assert_eq!(key, AnyKey::Tuple(vec![AnyKey::String("alps".into()), AnyKey::Int(3), AnyKey::None]));
/// assert!(AnyKey::String("9".into()) < AnyKey::Int(1));
/// # Ok::<(), larder::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum AnyKey {
    /// The absent value of an `Option`.
    None,
    /// A byte string.
    Bytes(Vec<u8>),
    /// A string, or a `char`.
    String(String),
    /// A tuple of any length.
    Tuple(Vec<AnyKey>),
    /// An integer.
    Int(i128),
    /// An integer that may be above `i128::MAX`. Smaller ones are read as [`AnyKey::Int`], to which they are equal.
    Uint(u128),
    /// A float of 32 bits.
    F32(f32),
    /// A float of 64 bits.
    F64(f64),
    /// A truth value.
    Bool(bool),
}

impl AnyKey {
    /// Takes a key of any type. Costs its encoding and reading.
    ///
    /// # Errors
    /// As [`Key::encode`].
    ///
    /// ```
    /// use larder::AnyKey;
    ///
    /// assert_eq!(AnyKey::of('a')?, AnyKey::String("a".into()));
    /// # Ok::<(), larder::Error>(())
    /// ```
    pub fn of(key: impl Key) -> Result<AnyKey> {
        AnyKey::decode(super::encode(&key)?.as_bytes())
    }

    /// The place of the kind in the order of all keys. Both integers have the same one.
    fn rank(&self) -> u8 {
        match self {
            AnyKey::None => code::NULL,
            AnyKey::Bytes(_) => code::BYTES,
            AnyKey::String(_) => code::STRING,
            AnyKey::Tuple(_) => code::TUPLE,
            AnyKey::Int(_) | AnyKey::Uint(_) => code::ZERO,
            AnyKey::F32(_) => code::F32,
            AnyKey::F64(_) => code::F64,
            AnyKey::Bool(_) => code::FALSE,
        }
    }
}

impl Key for AnyKey {
    const MAY_BE_NULL: bool = true;

    fn write_key(&self, writer: KeyWriter<'_>) -> KeyWritten {
        match self {
            AnyKey::None => writer.null(),
            AnyKey::Bytes(bytes) => writer.bytes(bytes),
            AnyKey::String(string) => writer.string(string),
            AnyKey::Tuple(elements) => writer.tuple(|tuple| {
                for element in elements {
                    tuple.field(element);
                }
            }),
            AnyKey::Int(value) => writer.signed_128(*value),
            AnyKey::Uint(value) => writer.unsigned_128(*value),
            AnyKey::F32(value) => writer.float32(*value),
            AnyKey::F64(value) => writer.float64(*value),
            AnyKey::Bool(value) => writer.boolean(*value),
        }
    }
}

impl OwnedKey for AnyKey {
    fn read_key(reader: &mut KeyReader<'_>) -> Result<Self> {
        if reader.take_null() {
            return Ok(AnyKey::None);
        }
        Ok(match reader.next_code() {
            Some(code::BYTES) => AnyKey::Bytes(reader.read()?),
            Some(code::STRING) => AnyKey::String(reader.read()?),
            Some(code::TUPLE) => AnyKey::Tuple(reader.tuple(|fields| {
                let mut elements = Vec::new();
                while !fields.at_end() {
                    elements.push(fields.read()?);
                }
                Ok(elements)
            })?),
            Some(code::F32) => AnyKey::F32(reader.read()?),
            Some(code::F64) => AnyKey::F64(reader.read()?),
            Some(code::FALSE | code::TRUE) => AnyKey::Bool(reader.read()?),
            _ => AnyKey::from_integer(reader.integer("a key")?)?,
        })
    }
}

impl AnyKey {
    fn from_integer(integer: Integer) -> Result<AnyKey> {
        let signed = integer.signed().map(AnyKey::Int);
        signed
            .or_else(|| integer.unsigned().map(AnyKey::Uint))
            .ok_or_else(|| Error::mismatch("a key", "an integer below every type's range"))
    }
}

impl Ord for AnyKey {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (AnyKey::Bytes(a), AnyKey::Bytes(b)) => a.cmp(b),
            (AnyKey::String(a), AnyKey::String(b)) => a.cmp(b),
            (AnyKey::Tuple(a), AnyKey::Tuple(b)) => a.cmp(b),
            (AnyKey::Int(a), AnyKey::Int(b)) => a.cmp(b),
            (AnyKey::Uint(a), AnyKey::Uint(b)) => a.cmp(b),
            (AnyKey::Int(a), AnyKey::Uint(b)) => u128::try_from(*a).map_or(Ordering::Less, |a| a.cmp(b)),
            (AnyKey::Uint(a), AnyKey::Int(b)) => u128::try_from(*b).map_or(Ordering::Greater, |b| a.cmp(&b)),
            (AnyKey::F32(a), AnyKey::F32(b)) => a.total_cmp(b),
            (AnyKey::F64(a), AnyKey::F64(b)) => a.total_cmp(b),
            (AnyKey::Bool(a), AnyKey::Bool(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for AnyKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for AnyKey {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for AnyKey {}

impl Hash for AnyKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.rank().hash(state);
        match self {
            AnyKey::None => {}
            AnyKey::Bytes(bytes) => bytes.hash(state),
            AnyKey::String(string) => string.hash(state),
            AnyKey::Tuple(elements) => elements.hash(state),
            // The same bits for both forms of one integer; that -1 and `u128::MAX` share theirs is harmless here.
            AnyKey::Int(value) => (*value as u128).hash(state),
            AnyKey::Uint(value) => value.hash(state),
            AnyKey::F32(value) => value.to_bits().hash(state),
            AnyKey::F64(value) => value.to_bits().hash(state),
            AnyKey::Bool(value) => value.hash(state),
        }
    }
}

impl fmt::Display for AnyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AnyKey::None => f.write_str("None"),
            AnyKey::Bytes(bytes) => write!(f, "b\"{}\"", bytes.escape_ascii()),
            AnyKey::String(string) => write!(f, "{string:?}"),
            AnyKey::Tuple(elements) => {
                f.write_str("(")?;
                for (place, element) in elements.iter().enumerate() {
                    write!(f, "{}{element}", if place == 0 { "" } else { ", " })?;
                }
                f.write_str(if elements.len() == 1 { ",)" } else { ")" })
            }
            AnyKey::Int(value) => write!(f, "{value}"),
            AnyKey::Uint(value) => write!(f, "{value}"),
            AnyKey::F32(value) => write!(f, "{value:?}_f32"),
            AnyKey::F64(value) => write!(f, "{value:?}"),
            AnyKey::Bool(value) => write!(f, "{value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn both_forms_of_an_integer_are_one_key() {
        let forms = [AnyKey::Int(5), AnyKey::Uint(5), AnyKey::Int(-1), AnyKey::Uint(u128::MAX)];
        assert_eq!(forms[0], forms[1]);
        assert_ne!(forms[2], forms[3]);
        assert_eq!(forms[0].encode().unwrap(), forms[1].encode().unwrap());
        assert_eq!(forms.iter().collect::<HashSet<_>>().len(), 3);
        assert!(AnyKey::Int(i128::MAX) < AnyKey::Uint(i128::MAX as u128 + 1));
        assert!(AnyKey::Uint(0) > AnyKey::Int(i128::MIN));
        assert!(matches!(AnyKey::of(i128::MAX as u128).unwrap(), AnyKey::Int(i128::MAX)));
        assert!(matches!(AnyKey::of(u128::MAX).unwrap(), AnyKey::Uint(u128::MAX)));
    }

    #[test]
    fn a_nan_is_found_again() {
        assert_eq!(AnyKey::of(f64::NAN).unwrap(), AnyKey::F64(f64::NAN));
        assert_ne!(AnyKey::F64(0.0), AnyKey::F64(-0.0));
    }

    #[test]
    fn the_text_tells_the_kinds_apart() {
        let text = |key: AnyKey| key.to_string();
        assert_eq!(text(AnyKey::of(1).unwrap()), "1");
        assert_eq!(text(AnyKey::of(1.0).unwrap()), "1.0");
        assert_eq!(text(AnyKey::of(1.0f32).unwrap()), "1.0_f32");
        assert_eq!(text(AnyKey::of("1\"\n").unwrap()), r#""1\"\n""#);
        assert_eq!(text(AnyKey::of(b"1\0").unwrap()), r#"b"1\x00""#);
        assert_eq!(text(AnyKey::of(()).unwrap()), "()");
        assert_eq!(text(AnyKey::of((1,)).unwrap()), "(1,)");
        assert_eq!(text(AnyKey::of((u128::MAX, None::<u8>, false)).unwrap()), format!("({}, None, false)", u128::MAX));
    }
}
