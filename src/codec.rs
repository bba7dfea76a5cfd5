//! Codecs: what turns a structured value into bytes and back.
//!
//! It owns the trait [`Codec`] and the codecs of this crate. It knows serde and the formats, and may not know what a
//! record is, which values are stored without a codec, nor how types are told apart: that is `value`'s part.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::BoxError;

/// A serde format in which a store writes its structured values.
///
/// Integers, floats, `bool`, `char`, strings and byte strings never meet a codec; all other values do. A record names
/// the codec that wrote it, and a store with another codec answers [`Error::Type`](crate::Error::Type) for it.
///
/// A codec of your own is two calls into a format crate. This one frames postcard with COBS:
///
/// ```
/// use larder::{BoxError, Codec};
/// use serde::{Serialize, de::DeserializeOwned};
///
/// #[derive(Clone)]
/// struct Framed;
///
/// impl Codec for Framed {
///     const ID: u8 = 64;
///
///     fn encode<V: Serialize + ?Sized>(&self, value: &V, out: &mut Vec<u8>) -> Result<(), BoxError> {
///         out.extend(postcard::to_stdvec_cobs(value)?);
///         Ok(())
///     }
///
///     fn decode<V: DeserializeOwned>(&self, bytes: &[u8]) -> Result<V, BoxError> {
///         let (value, rest) = postcard::take_from_bytes_cobs(&mut bytes.to_vec())
///             .map(|(value, rest)| (value, rest.len()))?;
///         if rest > 0 { Err("left-over bytes".into()) } else { Ok(value) }
///     }
/// }
///
/// let mut bytes = vec![];
/// Framed.encode(&(7u8, "seven"), &mut bytes)?;
/// assert_eq!(Framed.decode::<(u8, String)>(&bytes)?, (7, "seven".to_owned()));
/// # Ok::<(), BoxError>(())
/// ```
pub trait Codec: Clone + Send + Sync + 'static {
    /// Names the format on disk. Ids below 64 belong to this crate; a codec of your own takes one from 64 up.
    ///
    /// The id must change whenever the bytes of [`encode`](Codec::encode) change their meaning.
    const ID: u8;

    /// True if the bytes name their fields and mark their types, as JSON and MessagePack do, and `false`, the default,
    /// if they are read by position, as postcard and bincode do.
    ///
    /// Under a codec that reads by position the store compares all field names and primitive types of a value with
    /// those it was written with, and bounds depth (128 levels) and number of elements (2^20, and one more for each
    /// byte) itself, on writing and on reading. A self-describing codec is left to
    /// its own checks beyond the names of the outer types, so that a type may gain a field with `#[serde(default)]`,
    /// and must bound recursion itself.
    const SELF_DESCRIBING: bool = false;

    /// What the format answers to serde's `is_human_readable`. `false` by default.
    const HUMAN_READABLE: bool = false;

    /// Appends the encoding of `value` to `out`, leaving alone what `out` holds already.
    ///
    /// # Errors
    /// Whatever the format cannot express; the store reports it as [`Error::Codec`](crate::Error::Codec).
    fn encode<V: Serialize + ?Sized>(&self, value: &V, out: &mut Vec<u8>) -> Result<(), BoxError>;

    /// Reads one value, which must take up all of `bytes`.
    ///
    /// # Errors
    /// If the bytes are no `V`, or if some are left over. The bytes come from a file and may be anything: a codec must
    /// not panic on them.
    fn decode<V: DeserializeOwned>(&self, bytes: &[u8]) -> Result<V, BoxError>;
}

/// The default codec: [postcard](https://docs.rs/postcard), compact and fast, read by position.
///
/// Types that need a self-describing format cannot be read back with it: `#[serde(untagged)]`, `#[serde(tag = "..")]`,
/// `#[serde(flatten)]`, `serde_json::Value`. Take [`Json`] for these. Fields that `skip_serializing_if` leaves out
/// cannot be found again by position; storing such a value is an error. An enum may gain variants at its end; values
/// of a struct whose fields have changed are [`Error::Type`](crate::Error::Type), or
/// [`Error::Codec`](crate::Error::Codec) where reading stumbles before the difference is known.
///
/// ```
/// use larder::{Codec, Postcard};
///
/// let mut bytes = vec![];
/// Postcard.encode(&Some(300u16), &mut bytes)?;
/// assert_eq!(bytes, [1, 0xac, 0x02]);
/// assert_eq!(Postcard.decode::<Option<u16>>(&bytes)?, Some(300));
/// # Ok::<(), larder::BoxError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Postcard;

impl Codec for Postcard {
    const ID: u8 = 1;

    fn encode<V: Serialize + ?Sized>(&self, value: &V, out: &mut Vec<u8>) -> Result<(), BoxError> {
        postcard::serialize_with_flavor(value, Append(out)).map_err(BoxError::from)
    }

    fn decode<V: DeserializeOwned>(&self, bytes: &[u8]) -> Result<V, BoxError> {
        match postcard::take_from_bytes(bytes)? {
            (value, []) => Ok(value),
            (_, rest) => Err(Box::new(LeftOver { bytes: rest.len() })),
        }
    }
}

/// Lets postcard write behind what a vector holds already.
struct Append<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Append<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// The value ended before its bytes did.
#[derive(Debug)]
struct LeftOver {
    bytes: usize,
}

impl std::fmt::Display for LeftOver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes are left over behind the value", self.bytes)
    }
}

impl std::error::Error for LeftOver {}

/// Values as JSON text, readable with any tool; for types that need a self-describing format.
///
/// As in all JSON of serde, floats that are not finite become `null` and do not come back.
///
/// ```
/// use larder::{Codec, Json};
///
/// let mut bytes = vec![];
/// Json.encode(&[Some(1), None], &mut bytes)?;
/// assert_eq!(bytes, b"[1,null]");
/// assert_eq!(Json.decode::<Vec<Option<u8>>>(&bytes)?, [Some(1), None]);
/// # Ok::<(), larder::BoxError>(())
/// ```
#[cfg(feature = "json")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Json;

#[cfg(feature = "json")]
impl Codec for Json {
    const ID: u8 = 2;
    const SELF_DESCRIBING: bool = true;
    const HUMAN_READABLE: bool = true;

    fn encode<V: Serialize + ?Sized>(&self, value: &V, out: &mut Vec<u8>) -> Result<(), BoxError> {
        serde_json::to_writer(out, value).map_err(BoxError::from)
    }

    fn decode<V: DeserializeOwned>(&self, bytes: &[u8]) -> Result<V, BoxError> {
        serde_json::from_slice(bytes).map_err(BoxError::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postcard_appends_and_refuses_what_is_left_over() {
        let mut bytes = vec![9];
        Postcard.encode(&(1u8, true), &mut bytes).unwrap();
        assert_eq!(bytes, [9, 1, 1]);
        assert_eq!(Postcard.decode::<(u8, bool)>(&bytes[1..]).unwrap(), (1, true));
        let error = Postcard.decode::<u8>(&bytes).unwrap_err();
        assert_eq!(error.to_string(), "2 bytes are left over behind the value");
    }

    #[cfg(feature = "json")]
    #[test]
    fn json_appends_and_refuses_what_is_left_over() {
        let mut bytes = vec![b'#'];
        Json.encode(&("a", 1), &mut bytes).unwrap();
        assert_eq!(bytes, b"#[\"a\",1]");
        assert!(Json.decode::<u8>(b"1 2").is_err());
    }
}
