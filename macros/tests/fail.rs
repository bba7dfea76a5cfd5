//! What must not compile, and what is said about it and where: the texts stand beside the files. `LARDER_OVERWRITE=1`
//! writes them anew.
//!
//! The compiler is called by hand, with the larder that was built for these tests: to have it built once more, as a package
//! for such tests would, takes longer than all the rest.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The larder that was built last; others may be left from before.
fn larder(deps: &Path) -> PathBuf {
    let files = fs::read_dir(deps).unwrap().map(|entry| entry.unwrap().path());
    let libraries = files.filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("liblarder-") && name.ends_with(".rlib")
    });
    libraries.max_by_key(|path| fs::metadata(path).unwrap().modified().unwrap()).unwrap()
}

/// What the compiler says of a file that it must not accept.
fn refusal(file: &Path, deps: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = tempfile::tempdir().unwrap();
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut library = std::ffi::OsString::from("larder=");
    library.push(larder(deps));
    let output = Command::new(rustc)
        .current_dir(root)
        .args(["--edition=2024", "--crate-type=bin", "--emit=metadata", "--color=never", "-Awarnings"])
        .arg("--out-dir")
        .arg(out.path())
        .arg("--extern")
        .arg(library)
        .arg("-L")
        .arg(deps)
        .arg(file.strip_prefix(root).unwrap())
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap();
    assert!(!output.status.success(), "{} compiles", file.display());
    mistakes(&String::from_utf8(output.stderr).unwrap())
}

/// Where the errors are and what they say; of those that the compiler has a number for, that. The rest of its words, and
/// the order, may change with its version.
fn mistakes(text: &str) -> String {
    let mut lines = text.lines().filter(|line| !line.starts_with("error: aborting"));
    let mut mistakes = BTreeSet::new();
    while let Some(error) = lines.find(|line| line.starts_with("error")) {
        let place = lines.next().unwrap_or_default().trim_start().trim_start_matches("--> tests/fail/");
        let place: Vec<&str> = place.split(':').collect();
        let [file, line, column] = place[..] else { panic!("an error without a place: {text}") };
        let error = if error.starts_with("error[") { &error[..error.find(':').unwrap()] } else { error };
        let (line, column): (usize, usize) = (line.parse().unwrap(), column.parse().unwrap());
        mistakes.insert((line, column, format!("{file}:{line}:{column}: {error}\n")));
    }
    mistakes.into_iter().map(|(_, _, mistake)| mistake).collect()
}

#[test]
fn mistakes_are_named_where_they_are() {
    let program = env::current_exe().unwrap();
    let deps = program.parent().unwrap();
    let mut files: Vec<PathBuf> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fail"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    let mut wrong = Vec::new();
    for file in files {
        let (found, text) = (refusal(&file, deps), file.with_extension("stderr"));
        if env::var_os("LARDER_OVERWRITE").is_some() {
            fs::write(&text, found).unwrap();
        } else if fs::read_to_string(&text).ok().as_ref() != Some(&found) {
            wrong.push(format!("{} says now:\n{found}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
