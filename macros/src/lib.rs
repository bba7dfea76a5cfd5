//! The macros of larder. They are re-exported by it, under its feature `macros`, and not meant to be used without it.

mod key;
mod variant;

use proc_macro::TokenStream;
use syn::{DeriveInput, Error, parse_macro_input};

/// Makes a struct or an enum a key: the tuple of its parts.
///
/// | type | its key |
/// |---|---|
/// | a struct with named fields, a tuple struct | the tuple of the fields, in the order they are declared |
/// | a tuple struct with one field | that field's key |
/// | a struct without fields | the empty tuple |
/// | a variant of an enum | the tuple of the variant's number and its fields |
///
/// Hence `Tile { zoom: 3, name: "alps" }` is the key `(3, "alps")` and `UserId(7)` is the key `7`. The order of the keys
/// is that of a derived `Ord`.
///
/// A variant's number is its discriminant: 0, 1, 2 in the order of declaration unless the enum says otherwise
/// (`Red = 10`). Stored keys know variants and fields by position and not by name, so that names may change. A new field
/// makes new keys of all values, and a new variant before others makes them each other's keys: add it at the end, or give
/// numbers to all.
///
/// Every field must be a `Key`. A type parameter `T` gets the bound `T: Key`.
///
/// ```
/// use larder::{Cache, Key, OwnedKey};
///
/// #[derive(Key, OwnedKey, Debug, PartialEq)]
/// struct UserId(u64);
///
/// #[derive(Key, OwnedKey, Debug, PartialEq)]
/// enum Page {
///     Home,
///     Profile { user: UserId, tab: String },
/// }
///
/// # let dir = tempfile::tempdir()?;
/// let cache = Cache::open(&dir)?;
/// let page = Page::Profile { user: UserId(7), tab: "posts".into() };
/// cache.set(&page, "<html>")?;
/// assert_eq!(cache.get::<String>(&page)?.as_deref(), Some("<html>"));
/// assert_eq!(cache.get::<String>((1, 7, "posts"))?.as_deref(), Some("<html>"));
/// assert_eq!(Page::decode(&page.encode()?)?, page);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[proc_macro_derive(Key)]
pub fn derive_key(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    key::derive_key(input).unwrap_or_else(Error::into_compile_error).into()
}

/// Makes a struct or an enum a key that can be read back: the inverse of `derive(Key)`, which it needs.
///
/// Every field must be an `OwnedKey`, so that it cannot be a reference; `Cow` can. A type parameter `T`
/// gets the bound `T: OwnedKey`. A key of another shape, or with the number of no variant, is `Error::Type`.
///
/// ```
/// use larder::{Cache, Key, OwnedKey};
///
/// #[derive(Key, OwnedKey, Debug, PartialEq, Eq, PartialOrd, Ord)]
/// struct Tile { zoom: u8, name: String }
///
/// # let dir = tempfile::tempdir()?;
/// let cache = Cache::open(&dir)?;
/// cache.set(Tile { zoom: 3, name: "alps".into() }, &[1u8, 2])?;
/// let tiles = cache.keys::<Tile>().collect::<larder::Result<Vec<_>>>()?;
/// assert_eq!(tiles, [Tile { zoom: 3, name: "alps".into() }]);
///
/// assert!(Tile::decode(&(3, "alps", "more").encode()?).unwrap_err().is_type());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[proc_macro_derive(OwnedKey)]
pub fn derive_owned_key(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    key::derive_owned_key(input).unwrap_or_else(Error::into_compile_error).into()
}
