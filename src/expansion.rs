//! What the code that `#[memoize]` expands to calls. It is public for that reason alone: none of it is for anyone else, and
//! it may change with any version.

pub use crate::key::Arguments;

/// The name that the calls of a memoized function have in the cache.
///
/// `closure` is the type name of a closure within `function`, which is the memoized one or its companion. The compiler puts
/// into it all that tells functions apart: the path, also through other functions, and the types and constants that stand
/// for the parameters of the function and of the `impl` around it. `given`, if any, is in the place of path and `impl`.
/// `types` are the arguments' types as they are written.
pub fn name(given: Option<&str>, closure: &str, function: &str, memoized: &str, types: &str) -> String {
    // In a form that is not known, all of it is the path: what differs still differs.
    let (path, parameters) = path_and_parameters(closure, function).unwrap_or((closure, ""));
    match given {
        Some(name) if path == closure => [name, "::", closure, types].concat(),
        Some(name) => [name, parameters, types].concat(),
        None => [path, "::", memoized, parameters, types].concat(),
    }
}

/// `a::S<u8>::f<u16>::{{closure}}` as `a::S<u8>` and `<u16>`.
fn path_and_parameters<'a>(closure: &'a str, function: &str) -> Option<(&'a str, &'a str)> {
    let mut path = closure;
    while path.ends_with('}') {
        // The form that is known is found sooner by far.
        path = path.strip_suffix("::{{closure}}").or_else(|| path.rfind("::{").and_then(|at| path.get(..at)))?;
    }
    let (path, parameters) = path.split_at_checked(parameters_start(path)?)?;
    let path = path.strip_suffix(function.strip_prefix("r#").unwrap_or(function))?;
    let path = path.strip_suffix("r#").unwrap_or(path);
    Some((path.strip_suffix("::")?, parameters))
}

/// Where the `<..>` at the end begins.
fn parameters_start(path: &str) -> Option<usize> {
    let bytes = path.as_bytes();
    if !path.ends_with('>') {
        return Some(path.len());
    }
    let mut depth = 0usize;
    for (at, byte) in bytes.iter().enumerate().rev() {
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        let is_char = before == Some(&b'\'') && bytes.get(at + 1) == Some(&b'\'');
        let is_arrow = *byte == b'>' && before == Some(&b'-');
        match byte {
            _ if is_char || is_arrow => {}
            b'>' => depth += 1,
            b'<' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_path_function_parameters_and_types() {
        for (closure, expected) in [
            ("a::f::{{closure}}", "a::f(u8)"),
            ("a::f::{{closure}}::{{closure}}", "a::f(u8)"),
            ("a::f::{closure#0}", "a::f(u8)"),
            ("a::f<u8, 'x'>::{{closure}}", "a::f<u8, 'x'>(u8)"),
            ("a::f<'>'>::{{closure}}", "a::f<'>'>(u8)"),
            ("a::f<'<', b::g<i8>::{{closure}}>::{{closure}}", "a::f<'<', b::g<i8>::{{closure}}>(u8)"),
            ("a::f<fn(u8) -> b::f<u8>>::{{closure}}", "a::f<fn(u8) -> b::f<u8>>(u8)"),
            ("<a::S<u8> as a::T>::f::{{closure}}", "<a::S<u8> as a::T>::f(u8)"),
            ("a::<impl b::S<i8>>::f<3>::{{closure}}", "a::<impl b::S<i8>>::f<3>(u8)"),
            ("a::outer::{{closure}}::f::{{closure}}", "a::outer::{{closure}}::f(u8)"),
            ("a::r#f::{{closure}}", "a::f(u8)"),
        ] {
            assert_eq!(name(None, closure, "f", "f", "(u8)"), expected);
            let companion = closure.replacen("f::{", "f_cache_key::{", 1).replacen("f<", "f_cache_key<", 1);
            if !closure.contains("b::f") && !closure.contains("b::g") {
                assert_eq!(name(None, &companion, "f_cache_key", "f", "(u8)"), expected, "{companion}");
            }
        }
    }

    #[test]
    fn a_given_name_replaces_the_path_and_nothing_else() {
        assert_eq!(name(Some("geo"), "a::S<i8>::f<u8>::{{closure}}", "f", "f", "(u8)"), "geo<u8>(u8)");
        assert_eq!(name(Some("geo"), "a::f::{{closure}}", "f", "f", "()"), "geo()");
    }

    #[test]
    fn names_in_another_form_still_differ() {
        for closure in ["", ">", "a::f>", "a::g::{{closure}}", "f", "a::f<\u{fc}>::x", "{{closure}}"] {
            assert_eq!(name(None, closure, "f", "f", "()"), format!("{closure}::f()"));
            assert_eq!(name(Some("n"), closure, "f", "f", "()"), format!("n::{closure}()"));
        }
    }
}
