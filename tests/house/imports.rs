//! Who imports whom: the floors, and the rules that imports run downward and in no circle. It follows `use` lines, paths
//! in code and re-exports; what a macro names is not seen.

use crate::assert_fires;
use crate::source::{ITEM_WORDS, Source, after_closing, is_in, is_word, item_end, words};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

/// The ground: used by every floor, uses std and the ground alone.
const GROUND: [&str; 2] = ["error", "options"];
/// The floors under the front, lowest first. Everything else in `src/` is the front.
const FLOORS: [&str; 3] = ["os", "storage", "engine"];
/// How many re-exports a path is followed through; more would be a loop.
const USE_STEPS_MAX: usize = 8;

/// A path as written: in a `use`, with the name it gets there, or in code.
struct Mention {
    at: usize,
    path: String,
    name: Option<String>,
    is_public: bool,
}

/// A module that names another.
struct Import<'a> {
    from: &'a Source,
    mention: &'a Mention,
    to: String,
}

fn mentions(source: &Source) -> Vec<Mention> {
    let code = &source.live;
    let mut found = Vec::new();
    let mut uses: Vec<Range<usize>> = Vec::new();
    for (at, word) in words(code) {
        let before = code[..at].trim_end();
        if word == "use" && !before.ends_with(['<', ',', '+']) {
            let end = at + code[at..].find(';').unwrap_or(code.len() - at);
            let is_public = before.ends_with("pub") || before.ends_with(')');
            let mut leaves = Vec::new();
            expand_use(&code[at + word.len()..end], "", &mut leaves);
            found.extend(leaves.into_iter().map(|(path, name)| Mention { at, path, name: Some(name), is_public }));
            uses.push(at..end);
        } else if !before.ends_with("::") && !before.ends_with("(in") && !is_in(&uses, at) {
            let path = code[at..].split(|c| !is_word(c) && c != ':').next().unwrap_or_default().trim_end_matches(':');
            if path.contains("::") {
                found.push(Mention { at, path: path.to_string(), name: None, is_public: false });
            }
        }
    }
    // Inside a `mod name { .. }` the first `super` is the file's own module.
    let inline = words(code).filter(|(_, word)| *word == "mod").map(|(at, _)| at..item_end(code, at, false));
    let inline: Vec<Range<usize>> = inline.filter(|range| code[range.clone()].ends_with('}')).collect();
    for mention in &mut found {
        for _ in inline.iter().filter(|range| range.contains(&mention.at)) {
            mention.path = mention.path.strip_prefix("super::").unwrap_or(&mention.path).to_string();
        }
    }
    found
}

/// `a::{b as c, d::{self, *}}` as its leaves, each with the name it gets.
fn expand_use(tree: &str, prefix: &str, leaves: &mut Vec<(String, String)>) {
    let tree = tree.trim();
    if let Some(open) = tree.find('{') {
        let prefix = format!("{prefix}{}", tree[..open].trim());
        let inside = &tree[open + 1..after_closing(tree, open) - 1];
        let mut start = 0;
        while start < inside.len() {
            let comma = inside[start..].find([',', '{']).map_or(inside.len(), |at| start + at);
            let end = if inside[comma..].starts_with('{') { after_closing(inside, comma) } else { comma };
            expand_use(&inside[start..end], &prefix, leaves);
            start = end + 1;
        }
    } else if !tree.is_empty() {
        let (path, name) = tree.split_once(" as ").unwrap_or((tree, ""));
        let path = format!("{prefix}{}", path.trim());
        let last = path.rsplit("::").find(|segment| *segment != "self").unwrap_or_default();
        let name = if name.is_empty() { last } else { name.trim() }.to_string();
        let path = path.trim_end_matches("::self").trim_end_matches("::*").to_string();
        leaves.push((path, name));
    }
}

/// The modules of `src/` and the names their `use` lines bring in, which is how re-exports are followed.
struct Modules<'a> {
    files: BTreeMap<String, &'a Source>,
    /// By module, the names it uses and the paths they stand for; a glob has the name `*`.
    names: BTreeMap<String, Vec<(String, String)>>,
    mentions: Vec<(&'a Source, Mention)>,
}

impl<'a> Modules<'a> {
    fn new(sources: &'a [Source]) -> Modules<'a> {
        let files =
            sources.iter().filter(|source| source.in_larder()).map(|source| (source.module(), source)).collect();
        let mut modules = Modules { files, names: BTreeMap::new(), mentions: Vec::new() };
        for (module, source) in &modules.files {
            for mention in mentions(source) {
                if let Some(name) = &mention.name {
                    modules.names.entry(module.clone()).or_default().push((name.clone(), mention.path.clone()));
                }
                modules.mentions.push((source, mention));
            }
        }
        modules
    }

    /// The module that holds what `path` names when written in `module`; `None` if that is another crate's.
    fn resolve(&self, module: &str, path: &str, steps_left: usize) -> Option<String> {
        let segments: Vec<&str> = path.split("::").collect();
        let mut here: Option<String> = None;
        for (n, segment) in segments.iter().enumerate() {
            let base = here.as_deref().unwrap_or(module).to_string();
            let child = format!("{base}::{segment}");
            here = match *segment {
                "crate" | "larder" if n == 0 => Some("crate".to_string()),
                "self" => Some(base),
                "super" => Some(base.rsplit_once("::").map_or("crate", |(parent, _)| parent).to_string()),
                _ if self.files.contains_key(&child) => Some(child),
                _ => {
                    let Some(target) = self.used(&base, segment, steps_left) else { return here };
                    let rest = segments[n + 1..].join("::");
                    return self.resolve(&target, &rest, steps_left.saturating_sub(1)).or(Some(target));
                }
            };
        }
        here
    }

    /// The module that holds `name`, which `module` has from one of its `use` lines.
    fn used(&self, module: &str, name: &str, steps_left: usize) -> Option<String> {
        let steps_left = steps_left.checked_sub(1)?;
        let defines = |target: &String| {
            let words: Vec<&str> = words(&self.files[target].live).map(|(_, word)| word).collect();
            words.windows(2).any(|pair| ITEM_WORDS.contains(&pair[0]) && pair[1] == name)
        };
        self.names.get(module)?.iter().find_map(|(used, path)| match used.as_str() {
            "*" => self.resolve(module, path, steps_left).filter(defines),
            _ if used == name => self.resolve(module, path, steps_left),
            _ => None,
        })
    }

    fn imports(&self) -> Vec<Import<'_>> {
        let resolved = self.mentions.iter().filter_map(|(from, mention)| {
            let to = self.resolve(&from.module(), &mention.path, USE_STEPS_MAX)?;
            (to != from.module()).then_some(Import { from, mention, to })
        });
        resolved.collect()
    }
}

/// How high a module stands: the ground is 0, the front above all floors.
fn height(module: &str) -> usize {
    let first = module.split("::").nth(1).unwrap_or_default();
    if GROUND.contains(&first) {
        0
    } else {
        1 + FLOORS.iter().position(|floor| *floor == first).unwrap_or(FLOORS.len())
    }
}

pub fn upward_imports(sources: &[Source]) -> Vec<String> {
    let modules = Modules::new(sources);
    let mut offences = BTreeSet::new();
    for Import { from, mention, to } in modules.imports() {
        if height(&to) > height(&from.module()) {
            offences.insert(from.offence(mention.at, &format!("`{}` is upstairs, in {to}", mention.path)));
        }
    }
    for (from, mention) in modules.mentions.iter().filter(|(from, _)| height(&from.module()) == 0) {
        let root = mention.path.split("::").next().unwrap_or_default();
        let is_ours =
            ["std", "core", "alloc", "crate", "self", "super"].contains(&root) || root.starts_with(char::is_uppercase);
        if mention.name.is_some() && !is_ours {
            offences
                .insert(from.offence(mention.at, &format!("`{}` in the ground, which uses std alone", mention.path)));
        }
    }
    offences.into_iter().collect()
}

/// Cycles within a floor; upward imports are what would close any other. A `mod.rs` that re-exports what lies under it
/// does not use it.
pub fn import_cycles(sources: &[Source]) -> Vec<String> {
    let modules = Modules::new(sources);
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for Import { from, mention, to } in modules.imports() {
        let from = from.module();
        let is_floor = (1..=FLOORS.len()).contains(&height(&from));
        let is_reexport = mention.is_public && to.starts_with(&format!("{from}::"));
        if is_floor && height(&from) == height(&to) && !is_reexport {
            graph.entry(from).or_default().insert(to);
        }
    }
    let mut cycles: BTreeMap<BTreeSet<&str>, String> = BTreeMap::new();
    for start in graph.keys() {
        let mut queue = VecDeque::from([vec![start.as_str()]]);
        let mut seen = BTreeSet::new();
        while let Some(path) = queue.pop_front() {
            for next in graph.get(path[path.len() - 1]).into_iter().flatten() {
                if next == start {
                    let modules_round = path.iter().copied().chain([next.as_str()]);
                    let files: Vec<&str> = modules_round.map(|module| modules.files[module].path.as_str()).collect();
                    cycles.entry(path.iter().copied().collect()).or_insert(files.join(" -> "));
                    queue.clear();
                    break;
                }
                if seen.insert(next) {
                    queue.push_back(path.iter().copied().chain([next.as_str()]).collect());
                }
            }
        }
    }
    cycles.into_values().collect()
}

#[test]
fn an_upward_import_is_found() {
    let floors = [
        ("src/lib.rs", "pub use error::*;\npub use cache::Cache;\nuse engine::Store;"),
        ("src/cache.rs", "use crate::{engine, os::lock};"),
        ("src/key/mod.rs", ""),
        ("src/engine/mod.rs", "use super::storage;"),
        ("src/storage/mod.rs", "use crate::{error::Error, os};"),
        ("src/os/mod.rs", "use crate::Error;"),
    ];
    let bad = [
        ("src/engine/a.rs", "\n\nfn f() { ..larder::key::h() }"),
        ("src/error.rs", "pub enum Error {}\n\nuse crate::os::h;"),
        ("src/options.rs", "\n\nuse serde::Serialize;"),
        ("src/os/b.rs", "\n\nmod e { pub use super::super::super::storage::f; }"),
        ("src/storage/c.rs", "\n\nuse crate::{engine::b::{self, C}, os};"),
        ("src/storage/d.rs", "\n\nfn f(x: crate::Cache) {}"),
        ("src/storage/e.rs", "use super::super::key;\n\nfn f() { key::g() }"),
    ];
    let mut expected: Vec<String> = bad.iter().map(|(path, _)| format!("{path}:3")).collect();
    expected.extend(["src/storage/c.rs:3".to_string(), "src/storage/e.rs:1".to_string()]);
    expected.sort();
    assert_fires(
        upward_imports,
        &[&floors[..], &bad].concat(),
        &expected.iter().map(String::as_str).collect::<Vec<_>>(),
    );

    let good = [
        ("src/options.rs", "use crate::error::Error;"),
        ("src/error.rs", "use std::io;\nuse self::Error::*;\npub enum Error {}\nfn f() { io::x() }"),
        (
            "src/storage/a.rs",
            "use crate::os; // crate::engine\nuse crate::Error;\nuse cache::x;\nfn f() { \"crate::key\" }",
        ),
        ("src/storage/b.rs", "#[cfg(test)]\nmod tests { use crate::Cache; }"),
    ];
    assert_fires(upward_imports, &[&floors[..], &good].concat(), &[]);
}

#[test]
fn an_import_cycle_is_found() {
    let floor = ("src/storage/mod.rs", "mod a;\nmod b;\npub use a::A;\npub(crate) use b::B;");
    let cycle = [floor, ("src/storage/a.rs", "use super::B;"), ("src/storage/b.rs", "fn f() -> crate::storage::A {}")];
    let cycle_found = "src/storage/a.rs -> src/storage/b.rs -> src/storage/a.rs";
    assert_fires(import_cycles, &cycle, &[cycle_found]);
    let parent = [("src/os/mod.rs", "use real::Real;\nstruct Os;"), ("src/os/real.rs", "use super::Os;")];
    assert_fires(import_cycles, &parent, &["src/os/mod.rs -> src/os/real.rs -> src/os/mod.rs"]);
    let line = [floor, ("src/storage/a.rs", "use super::B;"), ("src/storage/b.rs", "#[cfg(test)]\nuse super::A;")];
    assert_fires(import_cycles, &line, &[]);
}
