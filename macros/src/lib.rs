//! The macros of larder. They are re-exported by it, under its feature `macros`, and not meant to be used without it.

mod attributes;
mod duration;
mod key;
mod memoize;
mod options;
mod signature;
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
///
/// It also makes the type one that its own index is asked with (`AsKey`):
///
/// ```
/// use larder::{Index, Key, OwnedKey};
///
/// #[derive(Key, OwnedKey)]
/// struct Score(u32);
///
/// # let dir = tempfile::tempdir()?;
/// let names = Index::<Score, String>::open(&dir)?;
/// names.insert(Score(7), "grace")?;
/// names.insert(&Score(9), "ada")?;
/// assert_eq!(names.range(Score(8)..).count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[proc_macro_derive(OwnedKey)]
pub fn derive_owned_key(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    key::derive_owned_key(input).unwrap_or_else(Error::into_compile_error).into()
}

/// Keeps the results of a function in a cache: each is computed once, however many threads and processes ask for it.
///
/// ```
/// use larder::{Cache, memoize};
/// use std::sync::LazyLock;
///
/// # static DIR: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());
/// static CACHE: LazyLock<Cache> = LazyLock::new(|| Cache::open(DIR.path()).expect("a cache"));
///
/// /// Where an address is.
/// #[memoize(cache = CACHE, expire = "30d", tag = "geo:{country}", ignore(client), version = 2)]
/// fn geocode(client: &Client, address: &str, country: &str) -> Result<(f64, f64), Unreachable> {
///     client.ask(address, country)
/// }
///
/// # struct Client;
/// # struct Unreachable;
/// # impl Client {
/// #     fn ask(&self, address: &str, _: &str) -> Result<(f64, f64), Unreachable> {
/// #         if address == "Karl Johans gate" { Ok((59.91, 10.74)) } else { Err(Unreachable) }
/// #     }
/// # }
/// # fn main() -> larder::Result<()> {
/// # let client = Client;
/// let place = geocode(&client, "Karl Johans gate", "no");         // asks
/// let same = geocode(&client, "Karl Johans gate", "no");          // does not ask
/// let anew = geocode_no_cache(&client, "Karl Johans gate", "no"); // asks
/// # assert!(place.is_ok_and(|place| same.is_ok_and(|same| anew.is_ok_and(|anew| place == same && same == anew))));
/// # assert!(geocode(&client, "nowhere", "no").is_err());
/// assert_eq!(CACHE.len(), 1);
/// assert_eq!(CACHE.evict("geo:no")?, 1);
/// # Ok(())
/// # }
/// ```
///
/// # Options
///
/// | option | meaning |
/// |---|---|
/// | `cache = CACHE` | where the results are: the name of a static `LazyLock<Cache>`, or any expression, such as `self.cache`, that has the method [`memoize`](https://docs.rs/larder/latest/larder/struct.Cache.html#method.memoize) of a `Cache`. It may also stand in a string. Must be given |
/// | `expire = "10m"` | how long a result counts: numbers with the units `w d h m s ms`, as in `"1h30m"`, or an expression that is a `Duration` |
/// | `tag = "geo"` | the tag of the results, to evict them by. With braces, as in `"user:{id}"`, it is a format string that sees the arguments. Or an expression that is a string |
/// | `ignore(client)` | arguments that are no part of the key: they need not be keys, and must not change the result |
/// | `version = 2` | which version of the function it is. Results of another one do not count |
/// | `early_recompute = 1.0` | computes a result anew shortly before it expires, by one call among many; see `Memoize::early_recompute` |
/// | `name = "geo"` | a name for the function in place of its path, so that it can be moved or renamed and keep its results |
///
/// # What is cached
///
/// A function whose return type is a `Result`, by its last name, has its `Ok` cached and nothing else. Every other type is
/// cached as it is: that a function returned `None` is a result like others. The type needs `Serialize` and
/// `DeserializeOwned`. Errors of the cache are no errors of the function: then the result is computed.
///
/// # The key
///
/// A key binds the path of the function, also of one within another function; for a method the type that it belongs to; the
/// types and constants that stand for parameters, of the function and of the `impl` around it; the version; and each
/// argument that is not ignored by its place, its value and its type as it is written. So no two different calls share
/// a result, even if one function is memoized in several programs that share a cache. `self` is an argument as others, and
/// needs `ignore(self)` if it is no key.
///
/// The compiler gives the names of types, and does not promise to give the same ones in its next version: then results are
/// computed anew. Nor does it tell apart two types of one path, from two versions of a crate. With a `name` the types
/// that a method belongs to are no longer in the key; its own parameters still are.
///
/// # What else is made
///
/// Two functions beside it, with its visibility and its arguments:
///
/// - `{fn}_no_cache(..)` is the function as it was, which neither looks up nor stores.
/// - `{fn}_cache_key(..)` gives the encoded key that the call has in the cache, a `larder::Result<Vec<u8>>`.
///
/// The body is in both the function and `{fn}_no_cache`. A `static` within it is therefore two of them.
///
/// # Where it can stand
///
/// On functions and on methods in an `impl` of a type. The companions have no place in an `impl` of a trait. Arguments need
/// names: patterns are taken apart in the body. A `const fn` cannot be memoized. References may be arguments; what is
/// returned must be owned.
///
/// An `async fn` looks up, awaits its body on a miss, and stores. Nobody waits for others across an `await`, so calls at one
/// time may each compute the result, and `early_recompute` is not to be had. Looking up and storing block the thread as
/// every call of a cache does, for microseconds as a rule.
///
/// ```
/// # use larder::{Cache, memoize};
/// # use std::sync::LazyLock;
/// # static DIR: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());
/// # static CACHE: LazyLock<Cache> = LazyLock::new(|| Cache::open(DIR.path()).expect("a cache"));
/// struct Primes {
///     limit: u64,
/// }
///
/// impl Primes {
///     #[memoize(cache = CACHE, ignore(self))]
///     fn is_prime(&self, number: u64) -> bool {
///         number > 1 && (2..number).take_while(|n| n * n <= number).all(|n| number % n != 0)
///     }
/// }
///
/// let primes = Primes { limit: 100 };
/// assert_eq!((0..primes.limit).filter(|n| primes.is_prime(*n)).count(), 25);
/// assert_eq!(CACHE.len(), 100);
/// ```
#[proc_macro_attribute]
pub fn memoize(options: TokenStream, function: TokenStream) -> TokenStream {
    // With an error the function stays, so that there is no second error wherever it is called.
    let unchanged = function.clone();
    let expanded = syn::parse(options).and_then(|options| memoize::memoize(&options, &syn::parse(function)?));
    expanded
        .map_or_else(|error| [error.into_compile_error().into(), unchanged].into_iter().collect(), TokenStream::from)
}
