//! What a store takes: memory, disk, and time to open.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

use rustix::fs::{Advice, fadvise};

use crate::draw::key;
use crate::measure::Outcome;
use crate::peers::{Mode, why_not};
use crate::stage::{Figure, Stage};

/// A line of `/proc/self/status`, in bytes.
fn status(name: &str) -> Outcome<f64> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or("the system says")?;
    let kib: f64 = line.trim_matches(|c: char| !c.is_ascii_digit()).parse()?;
    Ok(kib * 1024.0)
}

pub fn memory(_: &mut Stage, _: u64) -> Outcome<Figure> {
    Ok(Figure::of(status("VmHWM:")?))
}

pub fn anonymous(_: &mut Stage, _: u64) -> Outcome<Figure> {
    Ok(Figure::of(status("RssAnon:")?))
}

/// All files below a directory.
fn files(directory: &Path, act: &mut dyn FnMut(&Path) -> Outcome<()>) -> Outcome<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files(&entry.path(), act)?;
        } else {
            act(&entry.path())?;
        }
    }
    Ok(())
}

/// Measured before anything was changed, so in the first round alone.
pub fn disk(stage: &mut Stage, round: u64) -> Outcome<Figure> {
    if stage.name == "floor" {
        return why_not(NO_FILES);
    }
    if round > 0 {
        return Ok(Figure::of(f64::NAN));
    }
    let mut bytes = 0;
    files(&stage.directory, &mut |path| {
        bytes += fs::metadata(path)?.blocks() * 512;
        Ok(())
    })?;
    Ok(Figure::of(bytes as f64 / stage.items as f64))
}

const NO_FILES: &str = "nothing is on a disk";

pub fn warm(stage: &mut Stage, round: u64) -> Outcome<Figure> {
    if stage.name == "floor" {
        return why_not(NO_FILES);
    }
    let n = crate::draw::mix(round) % stage.items;
    let start = Instant::now();
    stage.open(Mode::default())?;
    let found = stage.peer(Mode::default())?.get(&key(n))?;
    let nanos = start.elapsed().as_nanos() as f64;
    if stage.value.is_of(n, &found.ok_or("an item is missing")?) {
        Ok(Figure::of(nanos))
    } else {
        Err("an item is not what was stored".into())
    }
}

/// The kernel is told to forget the files first. It keeps what somebody has mapped, so nobody may have the store open.
pub fn cold(stage: &mut Stage, round: u64) -> Outcome<Figure> {
    if stage.name == "floor" {
        return why_not(NO_FILES);
    }
    files(&stage.directory, &mut |path| {
        let file = fs::File::open(path)?;
        file.sync_all()?;
        Ok(fadvise(&file, 0, None, Advice::DontNeed)?)
    })?;
    warm(stage, round)
}
