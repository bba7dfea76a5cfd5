//! A process is killed while it writes a value piece by piece.

use std::io::Write;

use larder::{Cache, SetOptions};

use crate::crew::{self, Crew, Role};

const LEN: usize = 3 << 20;

/// Writes most of a value, and waits to be killed.
pub fn play(role: &Role) {
    let cache = Cache::open(&role.directory).unwrap();
    let mut writer = cache.writer("k", SetOptions::new()).unwrap();
    writer.write_all(&vec![2; LEN]).unwrap();
    crew::say("written");
    let _ = crew::next_order();
    unreachable!("it is killed");
}

#[test]
fn a_killed_writer_of_a_stream_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let files = || {
        let mut names: Vec<_> =
            std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let cache = Cache::open(directory.path()).unwrap();
    cache.set_reader("k", &vec![1; LEN][..], SetOptions::new()).unwrap();
    let (before, volume) = (files(), cache.volume());
    let mut crew = Crew::new();
    let writer = crew.start("stream_writer", directory.path(), &[]);
    crew.expect_of(writer, "written");
    assert_eq!(files().len(), before.len() + 1);
    crew.kill(writer);
    drop(cache);
    let cache = Cache::open(directory.path()).unwrap();
    assert_eq!((files(), cache.volume()), (before, volume));
    assert_eq!(cache.get_bytes("k").unwrap().unwrap(), vec![1; LEN]);
    assert!(cache.check().unwrap().is_clean());
}
