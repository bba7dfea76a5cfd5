//! Other attributes of memoized functions. That this file compiles without a warning is what most of it tests.
#![deny(warnings, missing_docs, reason = "a warning in an expansion is a defect")]

use crate::CACHE;

/// Only public items need documentation.
pub mod public {
    use crate::CACHE;

    /// Documented.
    #[larder::memoize(cache = CACHE)]
    pub fn documented(n: u8) -> u8 {
        n
    }

    #[doc = "Documented before and after."]
    #[larder::memoize(cache = CACHE)]
    /// In two parts.
    #[must_use]
    #[inline]
    pub fn used(n: u8) -> u8 {
        n
    }
}

#[larder::memoize(cache = CACHE)]
#[allow(clippy::too_many_arguments, non_snake_case, reason = "the lints are to be silent for the companions too")]
fn Named(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8) -> u8 {
    a | b | c | d | e | f | g | h
}

#[larder::memoize(cache = CACHE)]
#[expect(unused_variables, reason = "is fulfilled in the function alone")]
fn expected(n: u8) -> u8 {
    let unused = n;
    n
}

#[larder::memoize(cache = CACHE)]
#[cfg(any())]
fn absent(n: Missing) -> Missing {}

#[cfg_attr(all(), allow(non_snake_case, reason = "as above"))]
#[larder::memoize(cache = CACHE)]
fn Conditional(n: u8) -> u8 {
    #![allow(unused_variables, reason = "an attribute within a body")]
    let unused = n;
    n
}

#[larder::memoize(cache = CACHE)]
#[unsafe(no_mangle)]
#[allow(unsafe_code, reason = "an attribute that two functions cannot have")]
extern "C" fn larder_macros_test_symbol(n: u8) -> u8 {
    n
}

#[test]
fn functions_with_attributes_work() {
    assert_eq!((public::documented(1), public::used(1), public::used_no_cache(1)), (1, 1, 1));
    assert_eq!((Named(1, 2, 4, 8, 0, 0, 0, 0), expected(1), Conditional(1)), (15, 1, 1));
    assert_eq!(larder_macros_test_symbol(1), 1);
}
