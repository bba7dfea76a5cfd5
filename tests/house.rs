//! The rules of the house, as tests: heads, sizes, floors, unsafe, names, leftovers.
//!
//! Each rule is a function from the sources to a list of offences. One test, named after the rule, runs it over the
//! project and prints every offence; another feeds it invented files and sees it fire.

#[path = "house/imports.rs"]
mod imports;
#[path = "house/source.rs"]
mod source;

use imports::{import_cycles, upward_imports};
use source::{Source, attributes, house, is_in, is_word, item_end, tree, words};
use std::ops::Range;

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
/// A harness of tests, whose panics accuse the code under test.
const SIMULATION: [&str; 2] = ["src/os/sim.rs", "src/os/sim/"];
const SAFETY_LINES_ABOVE: usize = 4;
const VAGUE_NAMES: [&str; 5] = ["util", "helper", "manager", "common", "misc"];

// ---- Rules about one file --------------------------------------------------------------------------------------------

type Rule = fn(&[Source]) -> Vec<String>;

/// Runs a rule for one file over the files of `src/`.
fn in_src(sources: &[Source], rule: impl Fn(&Source) -> Vec<String>) -> Vec<String> {
    sources.iter().filter(|source| source.in_src()).flat_map(rule).collect()
}

fn offences_at(source: &Source, text: &str, what: &str, is_bad: impl Fn(usize, &str) -> bool) -> Vec<String> {
    let bad = words(text).filter(|(at, word)| is_bad(*at, word));
    bad.map(|(at, word)| source.offence(at, &what.replace("{}", word))).collect()
}

fn missing_heads(sources: &[Source]) -> Vec<String> {
    let is_headless = |source: &Source| !source.text.trim_start().starts_with("//!");
    in_src(sources, |source| {
        is_headless(source).then(|| source.offence(0, "does not open with `//!`")).into_iter().collect()
    })
}

fn long_files(sources: &[Source]) -> Vec<String> {
    in_src(sources, |source| {
        let in_tests = |range: &Range<usize>| source.line(range.end) - source.line(range.start) + 1;
        let lines = source.text.lines().count().saturating_sub(source.tests.iter().map(in_tests).sum());
        let is_long = lines > FILE_LINES_MAX;
        is_long.then(|| source.offence(0, &format!("has {lines} lines beside its tests"))).into_iter().collect()
    })
}

fn long_functions(sources: &[Source]) -> Vec<String> {
    in_src(sources, |source| {
        let code = &source.code;
        let long = words(code).filter(|(_, word)| *word == "fn").filter_map(|(at, _)| {
            // `fn(` is a type.
            let name = code[at + 2..].trim_start().split(|c| !is_word(c)).next().filter(|name| !name.is_empty())?;
            let lines = source.line(item_end(code, at, false)) - source.line(at) + 1;
            (lines > FUNCTION_LINES_MAX).then(|| source.offence(at, &format!("`{name}` has {lines} lines")))
        });
        long.collect()
    })
}

fn unsafe_upstairs(sources: &[Source]) -> Vec<String> {
    in_src(sources, |source| {
        let is_os = source.path.starts_with("src/os/");
        offences_at(source, &source.code, "`{}` outside src/os", |_, word| !is_os && word == "unsafe")
    })
}

fn unexplained_unsafe(sources: &[Source]) -> Vec<String> {
    in_src(sources, |source| {
        let comments: Vec<&str> = source.comments.lines().collect();
        offences_at(source, &source.code, "`{}` without a SAFETY note", |at, word| {
            let after = source.code[at + word.len()..].trim_start();
            if word != "unsafe" || !(after.starts_with('{') || after.starts_with("impl")) {
                return false;
            }
            let line = source.line(at);
            let near = &comments[line.saturating_sub(SAFETY_LINES_ABOVE + 1)..line];
            !near.iter().any(|comment| comment.contains("SAFETY"))
        })
    })
}

fn vague_names(sources: &[Source]) -> Vec<String> {
    in_src(sources, |source| {
        let names = source.path.trim_end_matches(".rs").split(['/', '_']).map(|name| name.trim_end_matches('s'));
        let vague = names.filter(|name| VAGUE_NAMES.contains(name));
        vague.map(|name| source.offence(0, &format!("a file named `{name}` is about nothing"))).collect()
    })
}

fn panics(sources: &[Source]) -> Vec<String> {
    in_src(sources, |source| {
        if SIMULATION.iter().any(|path| source.path.starts_with(path)) {
            return Vec::new();
        }
        offences_at(source, &source.live, "`{}` may panic", |at, word| {
            let (before, after) = (&source.live[..at], &source.live[at + word.len()..]);
            match word {
                "todo" | "unimplemented" | "panic" | "dbg" => after.starts_with('!') && !after.starts_with("!="),
                "unwrap" | "expect" | "unwrap_err" | "expect_err" => {
                    before.ends_with("::") || (before.ends_with('.') && after.starts_with('('))
                }
                _ => false,
            }
        })
    })
}

fn leftovers(sources: &[Source]) -> Vec<String> {
    in_src(sources, |source| {
        let mut examples: Vec<Range<usize>> = Vec::new();
        let (mut in_example, mut at) = (false, 0);
        for line in source.text.split_inclusive('\n') {
            let doc = line.trim_start().strip_prefix("///").or(line.trim_start().strip_prefix("//!"));
            in_example ^= doc.is_some_and(|doc| doc.trim_start().starts_with("```"));
            if in_example && doc.is_some() {
                examples.push(at..at + line.len());
            }
            at += line.len();
        }
        offences_at(source, &source.text, "`{}` is left over", |at, word| {
            ["TODO", "FIXME", "XXX"].contains(&word) && !is_in(&examples, at) && !is_in(&source.tests, at)
        })
    })
}

fn unexplained_exceptions(sources: &[Source]) -> Vec<String> {
    in_src(sources, |source| {
        let is_bad = |attribute: &Range<usize>| {
            let inside = source.code[attribute.clone()].trim_start_matches(['#', '!', '[']);
            let is_exception = words(inside)
                .any(|(at, word)| ["allow", "expect"].contains(&word) && inside[at + word.len()..].starts_with('('));
            let is_explained = words(inside).any(|(_, word)| word == "reason");
            let is_os_unsafe = source.path.starts_with("src/os/") && inside == "allow(unsafe_code)]";
            is_exception && !is_explained && !is_os_unsafe
        };
        let bad = attributes(&source.code).filter(is_bad);
        bad.map(|at| source.offence(at.start, "a lint exception without its reason: `#[expect(.., reason = ..)]`"))
            .collect()
    })
}

fn sleeping_tests(sources: &[Source]) -> Vec<String> {
    let sleeps = |source: &Source| {
        offences_at(source, &source.code, "a test that calls `{}`", |at, word| {
            word == "sleep" && (!source.in_src() || is_in(&source.tests, at))
        })
    };
    sources.iter().flat_map(sleeps).collect()
}

// ---- The house keeps them --------------------------------------------------------------------------------------------

fn assert_kept(rule: Rule) {
    let offences = rule(house());
    assert!(offences.is_empty(), "{} offences:\n{}\n", offences.len(), offences.join("\n"));
}

#[test]
fn every_file_opens_by_saying_what_it_owns() {
    assert_kept(missing_heads);
}

#[test]
fn no_file_is_longer_than_500_lines_before_its_tests() {
    assert_kept(long_files);
}

#[test]
fn no_function_is_longer_than_70_lines() {
    assert_kept(long_functions);
}

#[test]
fn unsafe_code_lives_in_the_os_floor_alone() {
    assert_kept(unsafe_upstairs);
}

#[test]
fn every_unsafe_block_says_why_it_is_sound() {
    assert_kept(unexplained_unsafe);
}

#[test]
fn imports_run_downward_only() {
    assert_kept(upward_imports);
}

#[test]
fn no_floor_has_an_import_cycle() {
    assert_kept(import_cycles);
}

#[test]
fn every_file_is_named_after_something() {
    assert_kept(vague_names);
}

#[test]
fn nothing_in_src_panics_on_purpose() {
    assert_kept(panics);
}

#[test]
fn nothing_in_src_is_left_over() {
    assert_kept(leftovers);
}

#[test]
fn every_lint_exception_has_a_reason() {
    assert_kept(unexplained_exceptions);
}

#[test]
fn no_test_sleeps() {
    assert_kept(sleeping_tests);
}

// ---- Each rule fires -------------------------------------------------------------------------------------------------

/// Runs the rule over an invented house and compares where it fires: `path:line`, or the whole offence for a cycle.
#[track_caller]
fn assert_fires(rule: Rule, files: &[(&str, &str)], expected: &[&str]) {
    let place = |offence: String| offence.split(": ").next().unwrap_or_default().to_string();
    let found: Vec<String> = rule(&tree(files)).into_iter().map(place).collect();
    assert_eq!(found, expected);
}

/// The offence is on line 3 of the bad text, and the good text has none.
#[track_caller]
fn assert_tells(rule: Rule, path: &str, bad: &str, good: &str) {
    assert_fires(rule, &[(path, bad)], &[&format!("{path}:3")]);
    assert_fires(rule, &[(path, good)], &[]);
}

#[test]
fn a_file_without_a_head_is_found() {
    assert_fires(missing_heads, &[("src/a.rs", "use b;\n//! Late.")], &["src/a.rs:1"]);
    assert_fires(missing_heads, &[("src/a.rs", "//! Owns.\nuse b;"), ("tests/a.rs", "")], &[]);
}

#[test]
fn a_long_file_is_found() {
    let lines = |count: usize| "fn f() {}\n".repeat(count);
    let tests = "#[cfg(test)]\nmod tests {\n    fn t() {}\n}\n";
    assert_fires(long_files, &[("src/a.rs", &(lines(501) + tests))], &["src/a.rs:1"]);
    assert_fires(long_files, &[("src/a.rs", &(tests.to_string() + &lines(501)))], &["src/a.rs:1"]);
    assert_fires(long_files, &[("src/a.rs", &(lines(500) + tests))], &[]);
}

#[test]
fn a_long_function_is_found() {
    let function =
        |lines: usize| format!("\n\nfn f(x: fn(u8), y: [u8; 2]) {{\n{}}}", "'{'; \"{\"; // {\n".repeat(lines - 2));
    assert_tells(long_functions, "src/a.rs", &function(71), &function(70));
}

#[test]
fn unsafe_code_upstairs_is_found() {
    let text = "// unsafe\n\nunsafe impl Send for A {}";
    assert_fires(unsafe_upstairs, &[("src/engine/a.rs", text), ("src/os/a.rs", text)], &["src/engine/a.rs:3"]);
}

#[test]
fn an_unexplained_unsafe_block_is_found() {
    let far = "// SAFETY: b.\n\n\n\n\nunsafe { a() }";
    let near = "// SAFETY: b.\n\n\n\nunsafe { a() }\nunsafe fn c() {}";
    assert_tells(unexplained_unsafe, "src/os/a.rs", "\n\"SAFETY\";\nunsafe { a() }", near);
    assert_fires(unexplained_unsafe, &[("src/os/a.rs", far)], &["src/os/a.rs:6"]);
}

#[test]
fn a_vague_name_is_found() {
    let files =
        [("src/os/file_utils.rs", ""), ("src/common/a.rs", ""), ("src/miscount.rs", ""), ("tests/common/a.rs", "")];
    assert_fires(vague_names, &files, &["src/os/file_utils.rs:1", "src/common/a.rs:1"]);
}

#[test]
fn a_panic_is_found() {
    let good =
        "/// x.unwrap()\nx.unwrap_or(y); \"panic!()\"; self.expect;\n#[cfg(test)]\nmod t { fn f() { x.unwrap() } }";
    for bad in [
        "x.unwrap()",
        "x.expect(y)",
        "x.map(Result::unwrap_err)",
        "todo!()",
        "panic!(x)",
        "dbg!(x)",
        "unimplemented!()",
    ] {
        assert_tells(panics, "src/a.rs", &format!("struct S {{ #[cfg(test)] x: u8, }}\n\nfn f() {{ {bad} }}"), good);
    }
    let declared =
        [("src/engine/mod.rs", "#[cfg(test)]\nmod crash;"), ("src/engine/crash.rs", "fn f() { x.unwrap() }")];
    assert_fires(panics, &declared, &[]);
    assert_fires(panics, &[("src/os/sim/map.rs", "fn f() { panic!() }")], &[]);
    assert_fires(panics, &declared[1..], &["src/engine/crash.rs:1"]);
    let fuzzed =
        |cfg: &str| [("src/lib.rs", format!("#[cfg({cfg})]\npub mod f;")), ("src/f/a.rs", declared[1].1.to_string())];
    let fires = |cfg: &str| panics(&tree(&fuzzed(cfg).each_ref().map(|(path, text)| (*path, text.as_str())))).len();
    assert_eq!((fires("any(test, fuzzing)"), fires("any(test, unix)")), (0, 1));
}

#[test]
fn a_leftover_is_found() {
    for bad in ["// TODO: b", "/// FIXME", "\"XXX\""] {
        assert_tells(leftovers, "src/a.rs", &format!("\n\n{bad}"), "/// ```\n/// // TODO\n/// ```\n\"XXXXXX\"");
    }
}

#[test]
fn an_unexplained_exception_is_found() {
    let good = "#![allow(unsafe_code)]\n#[expect(dead_code, reason = \"a\")]\n#[cfg(x)]\nfn f() {}";
    assert_tells(unexplained_exceptions, "src/os/a.rs", "\n\n#[cfg_attr(x, allow(dead_code))]", good);
    assert_tells(unexplained_exceptions, "src/os/a.rs", "\n\n#![allow(unsafe_code, dead_code)]", good);
    assert_fires(unexplained_exceptions, &[("src/a.rs", good)], &["src/a.rs:1"]);
}

#[test]
fn a_sleeping_test_is_found() {
    assert_tells(sleeping_tests, "tests/a.rs", "\n\nstd::thread::sleep(x);", "// sleep\n\"sleep\"; sleep_less();");
    let test = "fn f() { thread::sleep(x) }\n#[cfg(test)]\nmod tests { use std::thread::sleep; }";
    assert_fires(sleeping_tests, &[("src/a.rs", test)], &["src/a.rs:3"]);
}
