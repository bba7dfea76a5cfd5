//! The sources as text: comments, strings, characters and lifetimes are told apart, and what is compiled for tests only
//! is told from the rest. It knows no rule of the house, and of the language neither macros nor types.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

/// After these words an item goes on to its braces or semicolon, over any comma.
pub const ITEM_WORDS: [&str; 12] =
    ["mod", "fn", "use", "impl", "struct", "enum", "const", "static", "trait", "type", "unsafe", "async"];

/// One file. All texts have the same length, so that an offset in one is an offset in each.
pub struct Source {
    pub path: String,
    pub text: String,
    /// Without comments and literals.
    pub code: String,
    /// Comments alone.
    pub comments: String,
    /// `code` without what is compiled for tests only.
    pub live: String,
    pub tests: Vec<Range<usize>>,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        let (code, comments) = split(text);
        let tests = test_items(&code);
        let mut live = code.clone();
        for range in &tests {
            live.replace_range(range.clone(), &blank(&code[range.clone()]));
        }
        Source { path: path.to_string(), text: text.to_string(), code, comments, live, tests }
    }

    pub fn line(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }

    pub fn offence(&self, at: usize, what: &str) -> String {
        format!("{}:{}: {what}", self.path, self.line(at))
    }

    pub fn module(&self) -> String {
        let path = self.path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
        if path == "lib" { "crate".to_string() } else { format!("crate::{}", path.replace('/', "::")) }
    }

    /// What is shipped: of larder, and of the package of its macros.
    pub fn in_src(&self) -> bool {
        self.in_larder() || self.path.starts_with("macros/src/")
    }

    pub fn in_larder(&self) -> bool {
        self.path.starts_with("src/")
    }
}

pub fn tree(files: &[(&str, &str)]) -> Vec<Source> {
    let mut sources: Vec<Source> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
    // A module that is declared for tests only is a file that is compiled for tests only, and so are those under it.
    let mut only_tests = Vec::new();
    for source in sources.iter().filter(|source| source.in_src()) {
        let declared = words(&source.code).filter(|(at, word)| *word == "mod" && is_in(&source.tests, *at));
        let ends = declared.map(|(at, word)| (at + word.len(), item_end(&source.code, at, false)));
        let names = ends.filter_map(|(start, end)| source.code[start..end].strip_suffix(';'));
        only_tests.extend(names.map(|name| format!("{}::{}", source.module(), name.trim())));
    }
    for source in &mut sources {
        let module = source.module() + "::";
        if only_tests.iter().any(|name| module.starts_with(&format!("{name}::"))) {
            source.live = blank(&source.code);
            source.tests = std::iter::once(0..source.code.len()).collect();
        }
    }
    sources
}

/// The project, read once.
pub fn house() -> &'static [Source] {
    static HOUSE: OnceLock<Vec<Source>> = OnceLock::new();
    HOUSE.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files = Vec::new();
        let mut folders = ["src", "tests", "macros/src", "macros/tests"].map(str::to_string).to_vec();
        // A packaged larder has no other package in it.
        folders.retain(|folder| root.join(folder).exists());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(root.join(&folder)).unwrap() {
                let entry = entry.unwrap();
                let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
                if entry.file_type().unwrap().is_dir() {
                    folders.push(path);
                } else if path.ends_with(".rs") {
                    files.push((path, fs::read_to_string(entry.path()).unwrap()));
                }
            }
        }
        files.sort();
        assert!(files.iter().any(|(path, _)| path == "src/lib.rs"), "no sources under {}", root.display());
        tree(&files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect::<Vec<_>>())
    })
}

/// The same lines, with nothing on them.
fn blank(text: &str) -> String {
    text.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect()
}

pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

pub fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let offset = move |word: &str| word.as_ptr() as usize - text.as_ptr() as usize;
    text.split(|c| !is_word(c)).filter(|word| !word.is_empty()).map(move |word| (offset(word), word))
}

pub fn is_in(ranges: &[Range<usize>], at: usize) -> bool {
    ranges.iter().any(|range| range.contains(&at))
}

/// The text as code without comments and literals, and as comments alone.
fn split(text: &str) -> (String, String) {
    let (mut code, mut comments) = (String::new(), String::new());
    let mut rest = text;
    while !rest.is_empty() {
        let (is_comment, len) = next_piece(rest);
        let (piece, after) = rest.split_at(len.max(1).min(rest.len()));
        let is_code = piece == "'" || (!is_comment && !piece.contains(['"', '\'']));
        code.push_str(&if is_code { piece.to_string() } else { blank(piece) });
        comments.push_str(&if is_comment { piece.to_string() } else { blank(piece) });
        rest = after;
    }
    (code, comments)
}

/// Whether a comment comes next, and the length of that, of a literal, of a word or of one sign. Literals keep their
/// quotes, which is how they are told from words; a quote alone begins a lifetime.
fn next_piece(rest: &str) -> (bool, usize) {
    let first = rest.chars().next().unwrap_or(' ');
    if rest.starts_with("//") {
        return (true, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (true, block_comment_len(rest));
    }
    let word_len = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
    if word_len > 0 {
        let hashes = rest[word_len..].bytes().take_while(|byte| *byte == b'#').count();
        let body = word_len + hashes + 1;
        let is_raw = ["r", "br", "cr"].contains(&&rest[..word_len]) && rest[body - 1..].starts_with('"');
        let close = format!("\"{}", "#".repeat(hashes));
        let raw_len = || rest[body..].find(&close).map_or(rest.len(), |at| body + at + close.len());
        return (false, if is_raw { raw_len() } else { word_len });
    }
    let is_char = first == '\'' && (rest[1..].starts_with('\\') || rest[1..].chars().nth(1) == Some('\''));
    if first == '"' || is_char {
        let mut escaped = false;
        let close = rest[1..].char_indices().find(|(_, c)| {
            let closes = *c == first && !escaped;
            escaped = *c == '\\' && !escaped;
            closes
        });
        // `'''` is no literal of the language, so the first quote found closes.
        return (false, close.map_or(rest.len(), |(at, _)| at + 2));
    }
    (false, first.len_utf8())
}

fn block_comment_len(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let (change, step) = match rest.as_bytes().get(at..at + 2) {
            Some(b"/*") => (1, 2),
            Some(b"*/") => (-1, 2),
            _ => (0, 1),
        };
        depth += change;
        at += step;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The offset after the bracket that closes the one at `open`.
pub fn after_closing(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

/// The end of the item at `start`: after its braces or its semicolon, or before what closes around it.
pub fn item_end(code: &str, start: usize, ends_at_comma: bool) -> usize {
    let mut at = start;
    while let Some(byte) = code.as_bytes().get(at) {
        match byte {
            b'{' => return after_closing(code, at),
            b'(' | b'[' => at = after_closing(code, at),
            b';' => return at + 1,
            b',' if ends_at_comma => return at + 1,
            b')' | b']' | b'}' => return at,
            _ => at += 1,
        }
    }
    at
}

/// Attributes, outer and inner, from the hash to after the bracket.
pub fn attributes(code: &str) -> impl Iterator<Item = Range<usize>> {
    let opens = code.match_indices('#').filter_map(|(at, _)| {
        let open = at + 1 + usize::from(code[at + 1..].starts_with('!'));
        code[open..].starts_with('[').then_some((at, open))
    });
    opens.map(|(at, open)| at..after_closing(code, open))
}

/// What is compiled for tests only: the items after `#[cfg(test)]`, or the whole file after `#![cfg(test)]`. The bodies of
/// the fuzz targets are tests too, which another build runs.
fn test_items(code: &str) -> Vec<Range<usize>> {
    let mut items: Vec<Range<usize>> = Vec::new();
    for attribute in attributes(code) {
        let inside = code[attribute.clone()].trim_start_matches(['#', '!', '[']);
        let is_test =
            ["cfg(test)", "cfg(all(test", "cfg(any(test, fuzzing))"].iter().any(|cfg| inside.starts_with(cfg));
        if !is_test || is_in(&items, attribute.start) {
            continue;
        }
        if code[attribute.start..].starts_with("#!") {
            return std::iter::once(0..code.len()).collect();
        }
        let mut start = attribute.end;
        while code[start..].trim_start().starts_with("#[") {
            start += code[start..].find('[').unwrap_or_default();
            start = after_closing(code, start);
        }
        let mut first =
            words(&code[start..]).map(|(_, word)| word).filter(|word| !["pub", "crate", "super"].contains(word));
        let is_item = first.next().is_some_and(|word| ITEM_WORDS.contains(&word));
        items.push(attribute.start..item_end(code, start, !is_item));
    }
    items
}

#[test]
fn the_lexer_tells_code_from_text() {
    let text = r##"let a = "x\"y"; /* b /* c */ d */ e('"', b'\'', '\\'); f::<'g>(r#"h"i"#, r"\"); // j"##;
    let (code, comments) = split(text);
    assert_eq!(words(&code).map(|(_, word)| word).collect::<Vec<_>>(), ["let", "a", "e", "b", "f", "g", "r", "r"][..6]);
    assert_eq!(words(&comments).map(|(_, word)| word).collect::<Vec<_>>(), ["b", "c", "d", "j"]);
    assert_eq!((code.len(), comments.len()), (text.len(), text.len()));
}
