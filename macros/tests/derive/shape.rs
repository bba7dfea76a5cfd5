//! Which key each kind of type is, and that it is read back.

use std::borrow::Cow;
use std::fmt::Debug;

use larder::{Key, OwnedKey};

#[track_caller]
fn assert_is<K: OwnedKey + PartialEq + Debug>(key: K, same: impl Key) {
    let bytes = key.encode().unwrap();
    assert_eq!(bytes, same.encode().unwrap());
    assert_eq!(K::decode(&bytes).unwrap(), key);
}

#[derive(Key, OwnedKey, Debug, PartialEq, Clone)]
struct Tile {
    zoom: u8,
    name: String,
}

#[derive(Key, OwnedKey, Debug, PartialEq)]
struct Pair(i64, Option<bool>);

#[derive(Key, OwnedKey, Debug, PartialEq)]
struct UserId(u64);

#[derive(Key, OwnedKey, Debug, PartialEq)]
struct One {
    only: u64,
}

#[derive(Key, OwnedKey, Debug, PartialEq)]
struct Unit;

#[derive(Key, OwnedKey, Debug, PartialEq)]
struct Empty {}

#[test]
fn a_struct_is_the_tuple_of_its_fields() {
    assert_is(Tile { zoom: 3, name: "alps".into() }, (3, "alps"));
    assert_is(Pair(-1, None), (-1, None::<bool>));
    assert_is(One { only: 7 }, (7,));
    assert_is(Unit, ());
    assert_is(Empty {}, ());
}

#[test]
fn a_newtype_is_its_field() {
    assert_is(UserId(7), 7);
    const { assert!(!UserId::MAY_BE_NULL && !Tile::MAY_BE_NULL && Maybe::MAY_BE_NULL) };
}

#[derive(Key, OwnedKey, Debug, PartialEq)]
struct Maybe(Option<u8>);

#[test]
fn a_newtype_that_may_be_none_is_told_from_none() {
    let keys = [None, Some(Maybe(None)), Some(Maybe(Some(0)))].map(|key| key.encode().unwrap());
    assert!(keys.is_sorted_by(|a, b| a < b), "{keys:02x?}");
    assert_is(Some(Maybe(None)), (None::<u8>,));
    assert_is(Some(UserId(7)), 7);
}

#[derive(Key, OwnedKey, Debug, PartialEq)]
enum Page {
    Home,
    User(UserId),
    Tile { tile: Tile, scale: f32 },
    Nothing {},
    None(),
}

#[test]
fn a_variant_is_the_tuple_of_its_number_and_its_fields() {
    assert_is(Page::Home, (0,));
    assert_is(Page::User(UserId(7)), (1, 7));
    assert_is(Page::Tile { tile: Tile { zoom: 3, name: "alps".into() }, scale: 0.5 }, (2, (3, "alps"), 0.5f32));
    assert_is(Page::Nothing {}, (3,));
    assert_is(Page::None(), (4,));
}

const BASE: i16 = 500;

#[derive(Key, OwnedKey, Debug, PartialEq)]
#[repr(i16)]
enum Code {
    Last = BASE,
    Later(u8),
    First = -1,
    Zero { of: u8 },
}

#[test]
fn the_number_of_a_variant_is_its_discriminant() {
    assert_is(Code::Last, (500,));
    assert_is(Code::Later(1), (501, 1));
    assert_is(Code::First, (-1,));
    assert_is(Code::Zero { of: 2 }, (0, 2));
}

#[test]
fn what_is_no_value_of_the_type_is_an_error() {
    let refuse = |bytes: Vec<u8>| assert!(Page::decode(&bytes).unwrap_err().is_type(), "{bytes:02x?}");
    refuse((5,).encode().unwrap());
    refuse((-1,).encode().unwrap());
    refuse((u128::MAX,).encode().unwrap());
    refuse(("Home",).encode().unwrap());
    refuse(().encode().unwrap());
    refuse(0.encode().unwrap());
    refuse((0, 1).encode().unwrap());
    refuse((1,).encode().unwrap());
    refuse((1, "7").encode().unwrap());
    refuse(vec![]);
    refuse(vec![0x05]);
    assert_eq!(
        Page::decode(&(5,).encode().unwrap()).unwrap_err().to_string(),
        "asked for a variant of Page, but the end of a tuple is stored"
    );
    assert!(UserId::decode(&(7,).encode().unwrap()).unwrap_err().is_type());
    assert!(Unit::decode(&(7,).encode().unwrap()).unwrap_err().is_type());
}

#[test]
fn every_cut_of_a_key_is_an_error() {
    let whole = Page::Tile { tile: Tile { zoom: 3, name: "a\0b".into() }, scale: 0.5 }.encode().unwrap();
    for end in 0..whole.len() {
        assert!(Page::decode(&whole[..end]).unwrap_err().is_type(), "{end}");
    }
}

#[derive(Key, OwnedKey, Debug, PartialEq)]
enum Never {}

#[test]
fn an_enum_without_variants_has_no_keys() {
    assert!(Never::decode(&(0,).encode().unwrap()).unwrap_err().is_type());
    assert_is(None::<Never>, None::<u8>);
}

#[derive(Key, OwnedKey, Debug, PartialEq)]
struct Generic<T, U = u8, const N: usize = 2>
where
    U: Clone,
{
    one: T,
    two: Option<U>,
    bytes: [u8; N],
}

#[derive(Key, OwnedKey, Debug, PartialEq, Clone)]
struct Wrapped<T>(T);

#[derive(Key, OwnedKey, Debug, PartialEq)]
enum Either<A, B> {
    Left(A),
    Right(B),
}

#[test]
fn parameters_are_keys_too() {
    assert_is(Generic { one: "a".to_owned(), two: Some(1u8), bytes: [1, 2] }, ("a", 1, b"\x01\x02"));
    assert_is(Generic { one: Wrapped(1u8), two: None::<Wrapped<u8>>, bytes: [] }, (1, None::<u8>, b""));
    assert_is(Either::<u8, String>::Left(1), (0, 1));
    assert_is(Either::<u8, String>::Right("b".into()), (1, "b"));
    const { assert!(Wrapped::<Option<u8>>::MAY_BE_NULL && !Wrapped::<u8>::MAY_BE_NULL) };
}

#[derive(Key)]
struct Borrowed<'a, T: ?Sized> {
    name: &'a str,
    bytes: &'a [u8],
    rest: &'a T,
}

#[derive(Key)]
struct Unsized(str);

#[derive(Key, OwnedKey, Debug, PartialEq)]
struct Cowed<'a>(Cow<'a, str>, u8);

#[test]
fn fields_may_be_borrowed() {
    let key = Borrowed { name: "n", bytes: b"b", rest: "r" };
    assert_eq!(key.encode().unwrap(), ("n", b"b", "r").encode().unwrap());
    assert_is(Cowed("c".into(), 1), ("c", 1));
    fn is_key<K: Key + ?Sized>() {}
    is_key::<Unsized>();
}

#[derive(Key, OwnedKey, Debug, PartialEq)]
enum Path {
    Root,
    In(Box<Path>, String),
}

#[test]
fn types_may_be_recursive() {
    assert_is(Path::In(Box::new(Path::Root), "a".into()), (1, (0,), "a"));
    let deep = |depth| (1..depth).fold(Path::Root, |path, _| Path::In(Box::new(path), String::new()));
    assert_eq!(Path::decode(&deep(32).encode().unwrap()).unwrap(), deep(32));
    assert!(deep(33).encode().unwrap_err().is_type());
}

#[derive(Key, OwnedKey, Debug, PartialEq)]
struct Wide(u8, u8, u8, u8, u8, u8, u8, u8, u8, u8);

#[test]
fn more_fields_than_a_tuple_of_std_has_are_fine() {
    let wide = Wide(0, 1, 2, 3, 4, 5, 6, 7, 8, 9);
    assert_eq!(Wide::decode(&wide.encode().unwrap()).unwrap(), wide);
}

/// Everything a macro might name is something else here.
mod hostile {
    #![allow(non_camel_case_types, non_upper_case_globals, dead_code, reason = "the names are the point")]

    pub struct Ok;
    pub struct Err;
    pub struct Result;
    pub struct Option;
    pub struct bool;
    pub struct isize;
    pub const __larder: u8 = 0;
    mod core {}
    mod larder {}

    #[derive(::larder::Key, ::larder::OwnedKey)]
    pub enum r#enum {
        r#match,
        Self_ { r#type: u8, writer: u8, fields: u8 },
    }
}

#[test]
fn names_of_the_scope_do_not_matter() {
    assert_eq!(hostile::r#enum::r#match.encode().unwrap(), (0,).encode().unwrap());
    let read = hostile::r#enum::decode(&(1, 2, 3, 4).encode().unwrap()).unwrap();
    assert!(matches!(read, hostile::r#enum::Self_ { r#type: 2, writer: 3, fields: 4 }));
}

/// Types that come from where the derive does not see.
macro_rules! made {
    ($name:ident, $inner:ident, $ty:ty) => {
        #[derive(Key, OwnedKey, Debug, PartialEq)]
        struct $inner($ty);
        #[derive(Key, OwnedKey, Debug, PartialEq)]
        struct $name {
            inner: $inner,
            other: $ty,
        }
    };
    (enum $name:ident, $variant:ident, $ty:ty) => {
        #[derive(Key, OwnedKey, Debug, PartialEq)]
        enum $name {
            $variant($ty),
            Other { ty: $ty },
        }
    };
}

made!(Made, Inner, u8);
made!(enum Chosen, This, String);

#[test]
fn types_may_come_from_macros() {
    assert_is(Made { inner: Inner(1), other: 2 }, (1, 2));
    assert_is(Chosen::This("a".into()), (0, "a"));
    assert_is(Chosen::Other { ty: "a".into() }, (1, "a"));
}
