//! What an index may be asked with: other types than its keys', which are encoded as those are.

use std::ops::{Bound, Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

use crate::engine::Window;
use crate::error::Result;
use crate::key::Key;

/// What stands for a key of type `K`: `str` for `String`, `(&str, u32)` for `(String, u32)`, any integer for another of the same value.
///
/// `#[derive(OwnedKey)]` says it of a type and itself; where [`Key`](crate::Key) is written by hand, say `impl AsKey<Mine> for Mine {}`.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let scores = larder::Index::<(String, u32), u64>::open(&dir)?;
/// scores.insert(("ada", 1), &100)?;
/// assert_eq!(scores.get(&("ada".to_string(), 1))?, Some(100));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait AsKey<K: ?Sized>: Key {
    /// True if it is what a key can be: not so of 300 where keys are `u8`, which can be looked for but not inserted.
    ///
    /// ```
    /// use larder::AsKey;
    /// assert!(AsKey::<u8>::can_be_key(&200_u32) && !AsKey::<u8>::can_be_key(&300_u32));
    /// ```
    fn can_be_key(&self) -> bool {
        true
    }
}

impl<K: ?Sized, Q: AsKey<K> + ?Sized> AsKey<K> for &Q {
    fn can_be_key(&self) -> bool {
        (**self).can_be_key()
    }
}

macro_rules! as_key {
    ($($key:ty: $($query:ty),+;)+) => { $($(impl AsKey<$key> for $query {})+)+ };
}

as_key! {
    String: String, str, char;
    char: char;
    Vec<u8>: Vec<u8>, [u8];
    bool: bool;
    f32: f32;
    f64: f64;
    crate::key::AnyKey: crate::key::AnyKey;
}

impl<const N: usize> AsKey<Vec<u8>> for [u8; N] where [u8; N]: Key {}

macro_rules! as_integers {
    ($($key:ty)+) => { $(as_integers!(@ $key: u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);)+ };
    (@ $key:ty: $($query:ty)+) => { $(impl AsKey<$key> for $query {
        fn can_be_key(&self) -> bool {
            <$key>::try_from(*self).is_ok()
        }
    })+ };
}

impl<K, Q: AsKey<K>> AsKey<Option<K>> for Option<Q>
where
    Option<Q>: Key,
{
    fn can_be_key(&self) -> bool {
        self.as_ref().is_none_or(AsKey::can_be_key)
    }
}

macro_rules! as_tuples {
    ($($key:ident $query:ident),+) => {
        impl<$($key, $query: AsKey<$key>),+> AsKey<($($key,)+)> for ($($query,)+)
        where
            ($($query,)+): Key,
        {
            #[expect(non_snake_case, reason = "the parts of a tuple are named as their types are")]
            fn can_be_key(&self) -> bool {
                let ($($query,)+) = self;
                $($query.can_be_key())&&+
            }
        }
    };
}

as_integers!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);
as_tuples!(A P);
as_tuples!(A P, B Q);
as_tuples!(A P, B Q, C R);
as_tuples!(A P, B Q, C R, D S);
as_tuples!(A P, B Q, C R, D S, E T);
as_tuples!(A P, B Q, C R, D S, E T, F U);
as_tuples!(A P, B Q, C R, D S, E T, F U, G V);
as_tuples!(A P, B Q, C R, D S, E T, F U, G V, H W);

/// Two bounds as encoded keys.
pub type EncodedBounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// A range of keys of type `K`. Bounds that are upside down are no error: nothing is between them.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let index = larder::Index::<String, u32>::open(&dir)?;
/// index.extend([("a".to_string(), 1), ("b".to_string(), 2), ("c".to_string(), 3)])?;
/// assert_eq!(index.range("a".."c").count(), 2);
/// assert_eq!(index.range("b"..).count(), 2);
/// assert_eq!(index.range(..).count(), 3);
/// assert_eq!(index.range("c".."a").count(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait KeyRange<K: ?Sized> {
    /// The bounds, as [`Key::encode`] writes them, and with its errors.
    fn encoded(&self) -> Result<EncodedBounds>;
}

impl<K: ?Sized> KeyRange<K> for RangeFull {
    fn encoded(&self) -> Result<EncodedBounds> {
        Ok((Bound::Unbounded, Bound::Unbounded))
    }
}

impl<K: ?Sized, Q: AsKey<K>> KeyRange<K> for Range<Q> {
    fn encoded(&self) -> Result<EncodedBounds> {
        Ok((Bound::Included(self.start.encode()?), Bound::Excluded(self.end.encode()?)))
    }
}

impl<K: ?Sized, Q: AsKey<K>> KeyRange<K> for RangeInclusive<Q> {
    fn encoded(&self) -> Result<EncodedBounds> {
        Ok((Bound::Included(self.start().encode()?), Bound::Included(self.end().encode()?)))
    }
}

impl<K: ?Sized, Q: AsKey<K>> KeyRange<K> for RangeFrom<Q> {
    fn encoded(&self) -> Result<EncodedBounds> {
        Ok((Bound::Included(self.start.encode()?), Bound::Unbounded))
    }
}

impl<K: ?Sized, Q: AsKey<K>> KeyRange<K> for RangeTo<Q> {
    fn encoded(&self) -> Result<EncodedBounds> {
        Ok((Bound::Unbounded, Bound::Excluded(self.end.encode()?)))
    }
}

impl<K: ?Sized, Q: AsKey<K>> KeyRange<K> for RangeToInclusive<Q> {
    fn encoded(&self) -> Result<EncodedBounds> {
        Ok((Bound::Unbounded, Bound::Included(self.end.encode()?)))
    }
}

impl<K: ?Sized, Q: AsKey<K>, R: AsKey<K>> KeyRange<K> for (Bound<Q>, Bound<R>) {
    fn encoded(&self) -> Result<EncodedBounds> {
        fn one(bound: &Bound<impl Key>) -> Result<Bound<Vec<u8>>> {
            Ok(match bound {
                Bound::Included(key) => Bound::Included(key.encode()?),
                Bound::Excluded(key) => Bound::Excluded(key.encode()?),
                Bound::Unbounded => Bound::Unbounded,
            })
        }
        Ok((one(&self.0)?, one(&self.1)?))
    }
}

/// The window of a range.
pub(super) fn window((low, high): EncodedBounds) -> Window {
    // Directly behind a key comes that key and a zero: no encoded key is between them.
    let behind = |mut key: Vec<u8>| {
        key.push(0);
        key
    };
    Window {
        low: match low {
            Bound::Included(key) => key,
            Bound::Excluded(key) => behind(key),
            Bound::Unbounded => Vec::new(),
        },
        high: match high {
            Bound::Included(key) => Some(behind(key)),
            Bound::Excluded(key) => Some(key),
            Bound::Unbounded => None,
        },
    }
}

/// What keys of type `K` begin with: the first elements of a tuple, as a tuple; the first letters of a string; the first bytes of
/// a byte string.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let index = larder::Index::<(String, u32), ()>::open(&dir)?;
/// for key in [("a", 1), ("a", 2), ("a\0", 1), ("b", 1)] {
///     index.insert(key, &())?;
/// }
/// assert_eq!(index.prefix(("a",)).count(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait KeyPrefix<K: ?Sized> {
    /// The first bytes of what is encoded like that, and the bytes that come directly behind all of them.
    ///
    /// # Errors
    /// As [`Key::encode`].
    fn encoded(&self) -> Result<(Vec<u8>, Vec<u8>)>;
}

impl<K: ?Sized, P: KeyPrefix<K> + ?Sized> KeyPrefix<K> for &P {
    fn encoded(&self) -> Result<(Vec<u8>, Vec<u8>)> {
        (**self).encoded()
    }
}

/// Without the mark of its end an encoded string begins all that it is a prefix of.
fn beginning(key: &(impl Key + ?Sized)) -> Result<(Vec<u8>, Vec<u8>)> {
    let mut low = key.encode()?;
    low.pop();
    let mut high = low.clone();
    while high.last() == Some(&u8::MAX) {
        high.pop();
    }
    if let Some(last) = high.last_mut() {
        *last += 1;
    }
    Ok((low, high))
}

impl KeyPrefix<String> for str {
    fn encoded(&self) -> Result<(Vec<u8>, Vec<u8>)> {
        beginning(self)
    }
}

impl KeyPrefix<String> for String {
    fn encoded(&self) -> Result<(Vec<u8>, Vec<u8>)> {
        beginning(self)
    }
}

impl KeyPrefix<Vec<u8>> for [u8] {
    fn encoded(&self) -> Result<(Vec<u8>, Vec<u8>)> {
        beginning(self)
    }
}

impl KeyPrefix<Vec<u8>> for Vec<u8> {
    fn encoded(&self) -> Result<(Vec<u8>, Vec<u8>)> {
        beginning(self)
    }
}

macro_rules! tuple_prefixes {
    ($($prefix:ident of $key:ident),+; $($rest:ident),+) => {
        impl<$($prefix: AsKey<$key>, $key,)+ $($rest),+> KeyPrefix<($($key,)+ $($rest,)+)> for ($($prefix,)+)
        where
            ($($prefix,)+): Key,
        {
            fn encoded(&self) -> Result<(Vec<u8>, Vec<u8>)> {
                let mut low = self.encode()?;
                low.pop();
                // Every element begins with a byte below that.
                let high = [&low[..], &[u8::MAX]].concat();
                Ok((low, high))
            }
        }
    };
}

tuple_prefixes!(P of A; B);
tuple_prefixes!(P of A; B, C);
tuple_prefixes!(P of A, Q of B; C);
tuple_prefixes!(P of A; B, C, D);
tuple_prefixes!(P of A, Q of B; C, D);
tuple_prefixes!(P of A, Q of B, R of C; D);
tuple_prefixes!(P of A; B, C, D, E);
tuple_prefixes!(P of A, Q of B; C, D, E);
tuple_prefixes!(P of A, Q of B, R of C; D, E);
tuple_prefixes!(P of A, Q of B, R of C, S of D; E);
tuple_prefixes!(P of A; B, C, D, E, F);
tuple_prefixes!(P of A, Q of B; C, D, E, F);
tuple_prefixes!(P of A, Q of B, R of C; D, E, F);
tuple_prefixes!(P of A, Q of B, R of C, S of D; E, F);
tuple_prefixes!(P of A, Q of B, R of C, S of D, T of E; F);
tuple_prefixes!(P of A; B, C, D, E, F, G);
tuple_prefixes!(P of A, Q of B; C, D, E, F, G);
tuple_prefixes!(P of A, Q of B, R of C; D, E, F, G);
tuple_prefixes!(P of A, Q of B, R of C, S of D; E, F, G);
tuple_prefixes!(P of A, Q of B, R of C, S of D, T of E; F, G);
tuple_prefixes!(P of A, Q of B, R of C, S of D, T of E, U of F; G);
tuple_prefixes!(P of A; B, C, D, E, F, G, H);
tuple_prefixes!(P of A, Q of B; C, D, E, F, G, H);
tuple_prefixes!(P of A, Q of B, R of C; D, E, F, G, H);
tuple_prefixes!(P of A, Q of B, R of C, S of D; E, F, G, H);
tuple_prefixes!(P of A, Q of B, R of C, S of D, T of E; F, G, H);
tuple_prefixes!(P of A, Q of B, R of C, S of D, T of E, U of F; G, H);
tuple_prefixes!(P of A, Q of B, R of C, S of D, T of E, U of F, V of G; H);
