//! A file system on a loop device over a disk that can lose its power. It knows nothing of caches.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::disk::Disk;

/// A disk with an ext4 file system, mounted. All of it goes when it is dropped.
pub struct Machine {
    pub disk: Disk,
    scratch: tempfile::TempDir,
    /// The loop device, while there is one.
    device: Option<String>,
}

/// What a program says; `None` if it fails.
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    if !output.status.success() {
        eprintln!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
        return None;
    }
    Some(String::from_utf8_lossy(&output.stdout).trim().to_string())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary directories have plain names")
}

impl Machine {
    /// A machine with an empty disk; `None`, and a line that says so, if this user may not have one.
    pub fn new() -> Option<Machine> {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join("disk"), b"").unwrap();
        std::fs::create_dir(scratch.path().join("root")).unwrap();
        let Some(disk) = Disk::mount(&scratch.path().join("disk")) else {
            eprintln!("skipped: a disk that loses its power needs Linux, FUSE and root");
            return None;
        };
        let mut machine = Machine { disk, scratch, device: None };
        if !machine.attach() || run("mkfs.ext4", &["-q", "-F", "-m", "0", machine.device.as_ref()?]).is_none() {
            eprintln!("skipped: there is no loop device or no mkfs.ext4");
            return None;
        }
        assert!(machine.mount(), "a new file system can be mounted");
        machine.settle();
        Some(machine)
    }

    fn attach(&mut self) -> bool {
        self.device = run("losetup", &["--find", "--show", text(&self.scratch.path().join("disk"))]);
        self.device.is_some()
    }

    fn detach(&mut self) {
        if let Some(device) = self.device.take() {
            run("losetup", &["--detach", &device]);
        }
    }

    fn root(&self) -> PathBuf {
        self.scratch.path().join("root")
    }

    fn mount(&self) -> bool {
        let device = self.device.as_deref().unwrap_or_default();
        run("mount", &["-t", "ext4", device, text(&self.root())]).is_some()
    }

    /// Where the store is.
    pub fn store(&self) -> PathBuf {
        self.root().join("store")
    }

    /// After a cut: the disk comes back with what it kept, and the file system replays its journal.
    pub fn come_back(&mut self) {
        assert!(run("umount", &[text(&self.root())]).is_some(), "nobody uses the file system any more");
        self.detach();
        assert!(self.disk.come_back(), "the power was not cut");
        assert!(self.attach() && self.mount(), "the file system is there again");
    }

    /// Writes everything to the disk.
    pub fn settle(&self) {
        assert!(run("sync", &["-f", text(&self.root())]).is_some(), "the file system can be synced");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        run("umount", &["-l", text(&self.root())]);
        self.detach();
        run("umount", &["-l", text(&self.scratch.path().join("disk"))]);
    }
}
