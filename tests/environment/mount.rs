//! Mounts for tests that need one, and the line that says why such a test was skipped. It knows nothing of caches.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A mount that goes when it is dropped.
pub struct Mount {
    pub path: PathBuf,
    /// What it is mounted on, unless that belongs to somebody else.
    _point: Option<tempfile::TempDir>,
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = run("umount", &["-l", text(&self.path)]);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary directories have plain names")
}

fn run(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn mount(arguments: &[&str], point: tempfile::TempDir) -> Option<Mount> {
    let path = point.path().to_owned();
    if run("mount", &[arguments, &[text(&path)]].concat()) {
        return Some(Mount { path, _point: Some(point) });
    }
    eprintln!("skipped: mounting needs root, and this user may not");
    None
}

/// A file system in memory of so many bytes.
pub fn small(bytes: u64) -> Option<Mount> {
    mount(&["-t", "tmpfs", "-o", &format!("size={bytes},mode=700"), "tmpfs"], tempfile::tempdir().unwrap())
}

impl Mount {
    /// Makes the file system read-only, or writable again, in place.
    pub fn set_read_only(&self, read_only: bool) {
        let options = if read_only { "remount,ro" } else { "remount,rw" };
        assert!(run("mount", &["-o", options, text(&self.path)]), "the mount can be changed");
    }

    /// The same files through another mount that allows reading alone.
    pub fn read_only_twin(&self) -> Mount {
        let point = tempfile::tempdir().unwrap();
        assert!(run("mount", &["--bind", "-o", "ro", text(&self.path), text(point.path())]), "a bind mount");
        assert!(run("mount", &["-o", "remount,bind,ro", text(point.path())]), "it can be made read-only");
        Mount { path: point.path().to_owned(), _point: Some(point) }
    }
}
