//! What is kept of a result, and what is not.

use std::borrow::Cow;

use larder::memoize;
use serde::{Deserialize, Serialize};

use crate::{CACHE, ran, runs};

#[memoize(cache = CACHE)]
fn parsed(text: &str) -> Result<i64, std::num::ParseIntError> {
    ran();
    let number: i64 = text.parse()?;
    Ok(number * 2)
}

#[test]
fn of_a_result_only_ok_is_kept() {
    assert_eq!(runs(|| assert_eq!((parsed("21"), parsed("21")), (Ok(42), Ok(42)))), 1);
    assert_eq!(runs(|| assert!(parsed("x").is_err() && parsed("x").is_err())), 2);
}

#[memoize(cache = CACHE)]
fn aliased(fail: bool) -> std::io::Result<u8> {
    ran();
    if fail { Err(std::io::ErrorKind::Other.into()) } else { Ok(1) }
}

#[memoize(cache = CACHE)]
fn boxed(fail: bool) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    ran();
    if fail {
        return Err("failed".into());
    }
    Ok("done".to_owned())
}

#[test]
fn a_result_of_any_error_is_one() {
    let calls =
        || assert!(aliased(false).is_ok() && aliased(true).is_err() && boxed(false).is_ok() && boxed(true).is_err());
    assert_eq!((runs(calls), runs(calls)), (4, 2));
}

#[memoize(cache = CACHE)]
fn first(text: &str) -> Option<char> {
    ran();
    let first = text.chars().next()?;
    Some(first)
}

#[test]
fn none_is_a_result() {
    let calls = || assert_eq!((first(""), first("ab")), (None, Some('a')));
    assert_eq!((runs(calls), runs(calls)), (2, 0));
}

#[memoize(cache = CACHE)]
fn nothing(n: u8) {
    ran();
    if n == 0 {
        return;
    }
    let _ = n;
}

#[derive(Serialize, Deserialize, Debug, PartialEq, Clone)]
struct Place<T> {
    name: String,
    at: Vec<T>,
}

#[memoize(cache = CACHE)]
fn place<'a, T>(name: &'a str, at: T) -> Place<T>
where
    T: larder::Key + Copy + Serialize + serde::de::DeserializeOwned + 'a,
{
    ran();
    Place { name: name.to_owned(), at: vec![at; 2] }
}

#[memoize(cache = CACHE)]
fn cow(text: &str) -> Cow<'_, str> {
    ran();
    Cow::Borrowed(text)
}

#[test]
fn results_may_be_of_any_type_that_serde_knows() {
    let calls = || {
        nothing(0);
        nothing(1);
        assert_eq!(place("a", 1u8), Place { name: "a".into(), at: vec![1, 1] });
        assert_eq!(place("a", 'c'), Place { name: "a".into(), at: vec!['c', 'c'] });
        assert_eq!(cow("moo"), "moo");
    };
    assert_eq!((runs(calls), runs(calls)), (5, 0));
}

#[memoize(cache = CACHE)]
fn failing(n: u8) -> u8 {
    ran();
    assert_ne!(n, 7, "unlucky");
    n
}

#[test]
fn a_panic_keeps_nothing() {
    let fail = || assert!(std::panic::catch_unwind(|| failing(7)).is_err());
    assert_eq!((runs(fail), runs(fail)), (1, 1));
}
