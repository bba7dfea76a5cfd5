//! Where and with what it was measured, in the words of the system.

use std::fs;
use std::process::Command;

/// The first line that a program prints; nothing where there is no such program.
fn said(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().next().unwrap_or("unknown").to_owned()
}

/// What stands behind a name in a file of lines.
fn field(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map_or("unknown", |line| line.trim_matches(|c: char| c == ':' || c.is_whitespace())).to_owned()
}

/// Names and versions of the stores that were compared, from the lock file.
fn versions() -> String {
    let lock = include_str!("../Cargo.lock");
    let version = |name: &str| {
        let entry = lock.split("[[package]]").find(|entry| entry.contains(&format!("name = \"{name}\"\n")));
        let version = entry.and_then(|entry| entry.lines().find_map(|line| line.strip_prefix("version = ")));
        format!("{name} {}", version.unwrap_or("unknown").trim_matches('"'))
    };
    ["larder", "rusqlite", "libsqlite3-sys", "heed", "lmdb-master-sys", "redb", "fjall", "sled"].map(version).join(", ")
}

pub fn describe() -> String {
    let date = said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]);
    // What is measured is larder, whatever changed around it since.
    let commit = said("git", &["log", "-1", "--format=%h", "--abbrev=12", "--", "../../src"]);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split(' ').take(3).collect();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let lines = [
        format!("date: {date}; larder as of commit {commit}; {}", said("rustc", &["--version"])),
        format!(
            "machine: {cores} of {}, {} of memory, Linux {}; load when it began {}",
            field("/proc/cpuinfo", "model name"),
            field("/proc/meminfo", "MemTotal"),
            said("uname", &["-r"]),
            load.join(" ")
        ),
        format!("stores: {}; SQLite {}", versions(), rusqlite::version()),
    ];
    lines.iter().map(|line| format!("- {line}\n")).collect()
}
