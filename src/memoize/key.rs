//! Which key a call of a memoized function has: the tuple of a mark, the function's name, its version, and the arguments as
//! one element; or, where they are long, of a mark of its own and the arguments' SHA-256 in their place.
//!
//! Encodings of keys can be told apart whatever they stand behind, and say the kind and the place of each element. So two calls
//! have one key only if they agree in all of that, or in a hash that nobody can make agree.

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::key::{self, Key, KeyWriter, KeyWritten, MAX_KEY_BYTES};

/// Arguments whose encoding is longer are hashed.
const LONG: usize = 1 << 10;
/// The first elements of such keys. The zero tells them from what a user would think of.
const WHOLE: &str = "memoized\0";
const HASHED: &str = "memoized by hash\0";

/// A key, or the beginning of one.
struct Call<'c, A: ?Sized> {
    mark: &'static str,
    name: &'c str,
    version: u64,
    args: &'c A,
}

impl<A: Key + ?Sized> Key for Call<'_, A> {
    const MAY_BE_NULL: bool = false;

    fn write_key(&self, writer: KeyWriter<'_>) -> KeyWritten {
        writer.tuple(|tuple| {
            tuple.field(self.mark).field(self.name).field(&self.version).field(self.args);
        })
    }
}

/// The key of a call.
pub(super) fn of(name: &str, version: u64, args: &impl Key) -> Result<Vec<u8>> {
    // Encoded once, whatever becomes of them: they may be long.
    let whole = key::encode_whole(&Call { mark: WHOLE, name, version, args })?.into_vec();
    let begin = (WHOLE, name, version).encode()?.len() - 1;
    let args = whole.get(begin..whole.len() - 1).unwrap_or_default();
    if args.len() <= LONG {
        let bytes = whole.len();
        return if bytes <= MAX_KEY_BYTES { Ok(whole) } else { Err(Error::KeyTooLarge { bytes }) };
    }
    let hash: [u8; 32] = Sha256::digest(args).into();
    Call { mark: HASHED, name, version, args: &hash[..] }.encode()
}

/// What begins the keys of all calls of a function: with whole arguments, and with hashed ones.
pub(super) fn prefix(name: &str) -> Result<[Vec<u8>; 2]> {
    let begin = |mark| {
        let mut bytes = (mark, name).encode()?;
        // Without the end of the tuple.
        bytes.pop();
        Ok(bytes)
    };
    Ok([begin(WHOLE)?, begin(HASHED)?])
}

/// True if a key begins like that. The number of the version follows, whose first byte is none that goes on with a string.
pub(super) fn has_prefix(key: &[u8], prefixes: &[Vec<u8>; 2]) -> bool {
    prefixes.iter().any(|prefix| key.strip_prefix(&prefix[..]).is_some_and(|rest| rest.first() != Some(&0xFF)))
}
