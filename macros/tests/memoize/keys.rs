//! Which calls share a result.

use std::collections::HashSet;
use std::fmt::Debug;

use larder::{AnyKey, Key, OwnedKey, memoize};

use crate::{CACHE, ran, runs};

#[memoize(cache = CACHE)]
fn pair(a: u32, b: u32) -> u32 {
    ran();
    a * 10 + b
}

#[test]
fn a_call_is_computed_once() {
    assert_eq!(runs(|| assert_eq!((pair(1, 2), pair(1, 2), pair(1, 2)), (12, 12, 12))), 1);
}

#[test]
fn arguments_count_by_place_and_value() {
    assert_eq!(runs(|| assert_eq!((pair(3, 4), pair(4, 3), pair(3, 3)), (34, 43, 33))), 3);
}

#[memoize(cache = CACHE)]
fn joined(a: &str, b: &str, rest: &[u8]) -> String {
    ran();
    format!("{a}|{b}|{rest:?}")
}

#[test]
fn arguments_do_not_run_into_each_other() {
    let calls: [(&str, &str, &[u8]); 5] =
        [("ab", "c", b""), ("a", "bc", b""), ("", "abc", b""), ("ab", "", b"c"), ("ab\0", "c", b"")];
    let all = || calls.iter().for_each(|(a, b, rest)| assert_eq!(joined(a, b, rest), format!("{a}|{b}|{rest:?}")));
    assert_eq!(runs(all), 5);
    assert_eq!(runs(all), 0);
}

/// One function in two forms, which must not share results though each path and name is the same.
mod forms {
    macro_rules! form {
        ($form:ident, $version:literal, ($($argument:ident: $ty:ty),*)) => {
            pub mod $form {
                pub fn key() -> Vec<u8> {
                    mod inner {
                        #![allow(dead_code, reason = "its key alone is of interest")]
                        #[larder::memoize(cache = crate::CACHE, name = "forms", version = $version)]
                        pub fn f($($argument: $ty),*) -> u8 { $(let _ = $argument;)* 0 }
                    }
                    $(let $argument = 1;)*
                    inner::f_cache_key($($argument),*).unwrap()
                }
            }
        };
    }
    form!(base, 0, (a: u8, b: u8));
    form!(same, 0, (a: u8, b: u8));
    form!(renamed, 0, (c: u8, d: u8));
    form!(other_version, 1, (a: u8, b: u8));
    form!(other_type, 0, (a: u8, b: i8));
    form!(other_place, 0, (a: i8, b: u8));
    form!(fewer, 0, (a: u8));
}

#[test]
fn version_types_and_number_of_arguments_count() {
    assert_eq!(forms::base::key(), forms::same::key());
    assert_eq!(forms::base::key(), forms::renamed::key());
    let keys = [
        forms::base::key(),
        forms::other_version::key(),
        forms::other_type::key(),
        forms::other_place::key(),
        forms::fewer::key(),
    ];
    assert_eq!(HashSet::from(keys).len(), 5);
}

#[memoize(cache = CACHE)]
fn width<T: Key, const N: usize>(value: T) -> usize {
    ran();
    let _ = value;
    size_of::<T>() * N
}

#[memoize(cache = CACHE)]
fn debugged(value: &(impl Key + Debug)) -> String {
    ran();
    format!("{value:?}")
}

#[test]
fn parameters_count_where_values_are_the_same_key() {
    let all = || {
        assert_eq!((width::<u8, 1>(7), width::<u64, 1>(7), width::<u8, 2>(7)), (1, 8, 2));
        assert_eq!(
            (debugged(&'a'), debugged(&"a"), debugged(&"a".to_owned())),
            ("'a'".into(), "\"a\"".into(), "\"a\"".into())
        );
    };
    assert_eq!(runs(all), 6);
    assert_eq!(runs(all), 0);
}

struct Of<T>(T);

trait Kind {
    fn kind(&self) -> String;
}

impl<T> Of<T> {
    /// Nothing in the signature tells the types of `T` apart.
    #[memoize(cache = CACHE)]
    fn made() -> String {
        ran();
        std::any::type_name::<T>().to_owned()
    }

    #[memoize(cache = CACHE, ignore(self))]
    fn seen(&self) -> String {
        ran();
        std::any::type_name_of_val(&self.0).to_owned()
    }
}

struct Plain;

impl Plain {
    #[memoize(cache = CACHE)]
    fn made() -> String {
        ran();
        "plain".to_owned()
    }
}

#[memoize(cache = CACHE)]
fn made() -> String {
    ran();
    "free".to_owned()
}

fn outer() -> String {
    #[memoize(cache = CACHE)]
    fn made() -> String {
        ran();
        "outer".to_owned()
    }
    made()
}

fn other_outer() -> String {
    let inside = || {
        #[memoize(cache = CACHE)]
        fn made() -> String {
            ran();
            "other outer".to_owned()
        }
        made()
    };
    inside()
}

mod deeper {
    #[larder::memoize(cache = crate::CACHE)]
    pub(super) fn made() -> String {
        crate::ran();
        "deeper".to_owned()
    }

    impl super::Of<i16> {
        #[larder::memoize(cache = crate::CACHE)]
        pub(super) fn made_elsewhere() -> String {
            crate::ran();
            "i16".to_owned()
        }
    }

    impl super::Of<i32> {
        #[larder::memoize(cache = crate::CACHE)]
        pub(super) fn made_elsewhere() -> String {
            crate::ran();
            "i32".to_owned()
        }
    }
}

impl<T: Default> Kind for Of<T> {
    fn kind(&self) -> String {
        #[memoize(cache = CACHE)]
        fn made() -> String {
            ran();
            "kind".to_owned()
        }
        made()
    }
}

#[test]
fn functions_of_one_name_share_nothing() {
    let all = || {
        let made = [
            made(),
            Of::<u8>::made(),
            Of::<u16>::made(),
            Of(1u8).seen(),
            Of(1u16).seen(),
            Plain::made(),
            outer(),
            other_outer(),
            deeper::made(),
            Of::<i16>::made_elsewhere(),
            Of::<i32>::made_elsewhere(),
            Of(1u8).kind(),
        ];
        let expected =
            ["free", "u8", "u16", "u8", "u16", "plain", "outer", "other outer", "deeper", "i16", "i32", "kind"];
        assert_eq!(made, expected);
    };
    assert_eq!(runs(all), 12);
    assert_eq!(runs(all), 0);
}

/// The key of a call as it is read from the cache.
fn read(key: larder::Result<Vec<u8>>) -> String {
    AnyKey::decode(&key.unwrap()).unwrap().to_string()
}

#[test]
fn a_key_says_what_was_called() {
    assert!(
        read(pair_cache_key(1, 2)).contains(r#""memoize::keys::pair(u32,u32)", 0, (1, 2)"#),
        "{}",
        read(pair_cache_key(1, 2))
    );
    assert!(read(made_cache_key()).contains(r#""memoize::keys::made()", 0, ()"#));
    assert!(read(width_cache_key::<u8, 2>(3)).contains(r#""memoize::keys::width<u8, 2>(T)", 0, (3,)"#));
    assert!(read(Of(1u8).seen_cache_key()).contains(r#""memoize::keys::Of<u8>::seen(_)", 0, ()"#));
    assert!(read(Of::<u8>::made_cache_key()).contains(r#""memoize::keys::Of<u8>::made()", 0, ()"#));
}

#[memoize(cache = CACHE)]
#[allow(clippy::too_many_arguments, reason = "more than the longest tuple that is a key has elements")]
fn many(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8, j: u8) -> u32 {
    ran();
    [a, b, c, d, e, f, g, h, i, j].iter().fold(0, |sum, digit| sum * 3 + u32::from(*digit))
}

#[test]
fn arguments_may_be_many() {
    let calls = || {
        assert_ne!(many(1, 0, 0, 0, 0, 0, 0, 0, 0, 0), many(0, 0, 0, 0, 0, 0, 0, 0, 0, 1));
        assert_ne!(many(0, 0, 0, 0, 0, 0, 0, 1, 0, 0), many(0, 0, 0, 0, 0, 0, 0, 0, 1, 0));
    };
    assert_eq!((runs(calls), runs(calls)), (4, 0));
}

#[test]
fn arguments_may_be_long() {
    let long = "x".repeat(100_000);
    let other = format!("{long}y");
    let calls = || assert_ne!(joined(&long, "", b""), joined(&other, "", b""));
    assert_eq!((runs(calls), runs(calls)), (2, 0));
}

#[derive(Key, Clone)]
enum Unit {
    Metre,
    Foot { survey: bool },
}

#[memoize(cache = CACHE)]
fn metres(unit: Unit, count: Option<i64>) -> f64 {
    ran();
    let one = match unit {
        Unit::Metre => 1.0,
        Unit::Foot { survey: false } => 0.3048,
        Unit::Foot { survey: true } => 1200.0 / 3937.0,
    };
    one * count.unwrap_or(1) as f64
}

#[test]
fn arguments_may_be_of_derived_keys() {
    let calls = || {
        assert_eq!(metres(Unit::Metre, None), 1.0);
        assert_eq!(metres(Unit::Metre, Some(0)), 0.0);
        assert_eq!(metres(Unit::Foot { survey: false }, None), 0.3048);
        assert_ne!(metres(Unit::Foot { survey: true }, None), 0.3048);
    };
    assert_eq!((runs(calls), runs(calls)), (4, 0));
}
