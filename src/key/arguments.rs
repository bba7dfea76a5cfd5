//! The arguments of a memoized function as one key that borrows none of them.
//!
//! The function's body takes its arguments while the cache waits for the result, so that their key is encoded before.

use super::Key;
use super::buffer::EncodedKey;
use super::writer::{KeyWriter, KeyWritten, TupleWriter};

/// How many tuples may stand around the arguments, in a key that larder makes of them. So many fewer may stand in them.
const DEPTH_AROUND: u8 = 2;

/// An encoded tuple, which is a key itself. It may be of any length, as who memoizes hashes what is long.
#[derive(Debug, Clone)]
pub struct Arguments(EncodedKey);

impl Arguments {
    /// Encodes the tuple of the elements that `fields` adds.
    #[inline]
    pub fn of(fields: impl FnOnce(&mut TupleWriter<'_>)) -> Arguments {
        let mut buffer = EncodedKey::unlimited();
        let _: KeyWritten = KeyWriter::within(&mut buffer, DEPTH_AROUND).tuple(fields);
        Arguments(buffer)
    }
}

impl Key for Arguments {
    const MAY_BE_NULL: bool = false;

    #[inline]
    fn write_key(&self, writer: KeyWriter<'_>) -> KeyWritten {
        writer.encoded(&self.0, DEPTH_AROUND)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AnyKey, MAX_KEY_BYTES};
    use super::*;

    #[test]
    fn arguments_are_the_tuple_of_them() {
        let arguments = Arguments::of(|tuple| {
            tuple.field(&1).field("a\0b").field(&None::<u8>);
        });
        let same = (1, "a\0b", None::<u8>);
        assert_eq!(arguments.encode().unwrap(), same.encode().unwrap());
        assert_eq!((0, &arguments).encode().unwrap(), (0, same).encode().unwrap());
        assert_eq!(Arguments::of(|_| {}).encode().unwrap(), ().encode().unwrap());
        assert_eq!(AnyKey::of(Some(&arguments)).unwrap(), AnyKey::of(same).unwrap());
    }

    #[test]
    fn long_arguments_are_refused_by_who_has_a_limit() {
        let longest = "x".repeat(MAX_KEY_BYTES - 4);
        let arguments = |string: &str| {
            Arguments::of(|tuple| {
                tuple.field(string);
            })
        };
        assert_eq!(arguments(&longest).encode().unwrap(), (&longest,).encode().unwrap());
        let longer = arguments(&(longest.clone() + "x"));
        let error = longer.encode().unwrap_err();
        assert_eq!(error.to_string(), "a key of 65536 encoded bytes is over the limit of 65535");
        let whole = |key: &Arguments| super::super::encode_whole(key).unwrap().into_vec();
        assert_eq!(whole(&longer).len(), MAX_KEY_BYTES + 1);
        assert_ne!(whole(&longer), whole(&arguments(&(longest + "y"))));
    }

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
    fn what_is_written_can_be_read_however_deep_it_stands() {
        let nested = |depth| {
            Arguments::of(|tuple| {
                tuple.field(&Nested(depth));
            })
        };
        // With the two around them and their own, 32 in all.
        let deepest = nested(29);
        assert!(AnyKey::of(((&deepest,),)).is_ok());
        assert!((((&deepest,),),).encode().unwrap_err().is_type());
        assert!(nested(30).encode().unwrap_err().is_type());
        assert!((nested(30),).encode().unwrap_err().is_type());
        assert!((nested(usize::MAX),).encode().unwrap_err().is_type());
    }
}
