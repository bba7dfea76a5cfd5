//! A small limit under heavy writing by several processes: the limit holds whenever anybody looks, also while writers are
//! killed and a reader stands still, what that reader keeps is reported apart, and what is read is what was written.

use std::collections::BTreeMap;
use std::path::Path;

use larder::{Cache, Eviction};

use crate::crew::{self, Crew, Role, scale, seed};
use crate::values::{Dice, mixed};

const WRITERS: u64 = 4;
const MIB: u64 = 1 << 20;
/// The size limit of an everyday run; that of a campaign of 2 GiB or more is four times that.
const LIMIT: u64 = 16 * MIB;
/// Bytes written by all in an everyday run.
const BYTES: u64 = 128 * MIB;
/// So many bytes a writer writes between two lines to its parent.
const STEP: u64 = MIB;
/// Samples from outside for each step of a writer.
const SAMPLES: u64 = 5;
const KEYS: f64 = 20_000.0;

fn limit() -> u64 {
    if BYTES * scale() >= 2048 * MIB { 4 * LIMIT } else { LIMIT }
}

/// A key by a law of Zipf, near enough: the logarithm of its rank is even.
fn key(dice: &mut Dice) -> u64 {
    let even = dice.throw() as f64 / u64::MAX as f64;
    KEYS.powf(even) as u64
}

/// How long the value of a key is: the same for all its versions. From nothing to a MiB, most of some hundred bytes.
fn len(key: u64) -> usize {
    let dice = mixed(key);
    let most = match dice % 100 {
        0 => 1 << 20,
        1..4 => 100_000,
        4..20 => 10_000,
        20..25 => 1,
        _ => 800,
    };
    ((dice >> 8) % most) as usize
}

fn value(key: u64, salt: u64) -> Vec<u8> {
    let word = mixed(key ^ salt << 40).to_le_bytes();
    let mut bytes = salt.to_le_bytes().to_vec();
    bytes.resize(8 + len(key), word[0]);
    bytes
}

fn is_value(key: u64, bytes: &[u8]) -> bool {
    bytes.first_chunk().is_some_and(|salt| value(key, u64::from_le_bytes(*salt)) == bytes)
}

/// Reads and, where nothing is found, writes; now and then it replaces and removes.
pub fn play_writer(role: &Role) {
    let cache = Cache::open(&role.directory).unwrap();
    let mut dice = Dice::new(role.numbers[0]);
    crew::say("open");
    let mut written = 0;
    loop {
        let key = key(&mut dice);
        match cache.get_bytes(key).unwrap() {
            Some(found) => assert!(is_value(key, &found), "key {key}"),
            None => {
                let value = value(key, dice.throw() >> 40);
                written += value.len() as u64;
                cache.set_bytes(key, &value).unwrap();
            }
        }
        match dice.below(20) {
            0 => drop(cache.delete(key).unwrap()),
            1 => {
                let value = value(key, dice.throw() >> 40);
                written += value.len() as u64;
                cache.set_bytes(key, &value).unwrap();
            }
            _ => {}
        }
        if written >= STEP {
            written -= STEP;
            crew::say("step");
            if crew::next_order().is_none() {
                return;
            }
        }
    }
}

/// Maps everything there is, and says so; the parent stops it then.
pub fn play_reader(role: &Role) {
    let cache = Cache::open(&role.directory).unwrap();
    let read = cache.keys::<u64>().filter(|key| cache.get_bytes(*key.as_ref().unwrap()).unwrap().is_some()).count();
    crew::say(format!("read {read}"));
    while crew::next_order().is_some() {
        for key in cache.keys::<u64>() {
            let key = key.unwrap();
            assert!(cache.get_bytes(key).unwrap().is_none_or(|found| is_value(key, &found)), "key {key}");
        }
        crew::say("read again");
    }
}

/// Bytes that the files of a directory take, as the file system says.
fn blocks(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let files = std::fs::read_dir(directory).unwrap().filter_map(|file| file.ok()?.metadata().ok());
    files.filter(|file| file.is_file()).map(|file| file.blocks() * 512).sum()
}

fn sample(cache: &Cache) -> u64 {
    let (volume, blocks) = (cache.volume(), blocks(cache.directory()));
    assert!(volume <= limit(), "a volume of {volume}");
    assert!(blocks <= limit(), "{blocks} bytes on disk");
    blocks
}

/// Bytes of files of a directory that a process has mapped and that have no name, as the system says.
fn nameless(process: u32, directory: &Path) -> u64 {
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let mut files = BTreeMap::new();
    for line in maps.lines().filter(|line| line.ends_with(" (deleted)")) {
        let Some(at) = line.find(directory.to_str().unwrap()) else { continue };
        let (from, to) = line.split_whitespace().next().unwrap().split_once('-').unwrap();
        let address = |text| u64::from_str_radix(text, 16).unwrap();
        files.insert(&line[at..], address(to) - address(from));
    }
    files.values().sum()
}

/// Nobody else lives: what is pinned is what the stopped reader has mapped, once what waits to be unlinked has been.
fn account_for(cache: &Cache, reader: u32) -> u64 {
    for _ in 0..1_000 {
        cache.expire().unwrap();
        let (kept, pinned) = (nameless(reader, cache.directory()), cache.stats().unwrap().pinned);
        if pinned == kept {
            assert!(pinned > 0, "the reader has nothing mapped that went");
            return pinned;
        }
    }
    let pinned = cache.stats().unwrap().pinned;
    panic!("{pinned} bytes pinned, and the reader keeps {}", nameless(reader, cache.directory()));
}

#[test]
fn the_limit_holds_in_every_sample_whoever_is_killed_or_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::builder(&directory).size_limit(limit()).eviction(Eviction::S3Fifo).open().unwrap();
    let mut crew = Crew::new();
    let mut next_seed = seed() * 1_000;
    let mut start = |crew: &mut Crew| {
        next_seed += 1;
        let writer = crew.start("quota_writer", directory.path(), &[next_seed]);
        crew.expect_of(writer, "open");
        writer
    };
    let mut writers: Vec<usize> = (0..WRITERS).map(|_| start(&mut crew)).collect();
    let mut reader = None;
    let (mut samples, mut most, mut kills, mut most_pinned) = (0, 0, 0, 0);
    let steps = BYTES * scale() / STEP;
    for step in 0..steps {
        let who = (step % WRITERS) as usize;
        assert_eq!(crew.hear_of(writers[who]).as_deref(), Some("step"));
        for _ in 0..SAMPLES {
            most = most.max(sample(&cache));
            most_pinned = most_pinned.max(if reader.is_some() { cache.stats().unwrap().pinned } else { 0 });
            samples += 1;
        }
        if step % 13 == 12 {
            // It waits for an order: so the next one is killed, in the middle of whatever it does.
            let victim = (who + 1) % WRITERS as usize;
            crew.kill(writers[victim]);
            writers[victim] = start(&mut crew);
            kills += 1;
        }
        if step == steps / 4 {
            let stopped = crew.start("quota_reader", directory.path(), &[]);
            assert!(crew.hear_of(stopped).is_some_and(|line| line != "read 0"));
            crew.stop(stopped);
            reader = Some(stopped);
        }
        crew.tell(writers[who], "go on");
    }
    let reader = reader.expect("it was started");
    for writer in writers.drain(..) {
        crew.kill_if_running(writer);
    }
    let pinned = account_for(&cache, crew.id(reader));
    writers.extend((0..WRITERS).map(|_| start(&mut crew)));
    crew.go_on(reader);
    crew.tell(reader, "again");
    crew.expect_of(reader, "read again");
    crew.finish(reader);
    for writer in writers {
        crew.kill_if_running(writer);
    }
    let stats = cache.stats().unwrap();
    assert_eq!(stats.pinned, 0, "nobody else has anything mapped");
    println!(
        "{} MiB by {WRITERS} processes into {} MiB, {kills} kills: {samples} samples, {:.1} MiB at most; {:.1} MiB pinned by a \
         stopped reader, {:.1} MiB at most; {} culled, {} items, write amplification {:.2}",
        BYTES * scale() / MIB,
        limit() / MIB,
        most as f64 / MIB as f64,
        pinned as f64 / MIB as f64,
        most_pinned as f64 / MIB as f64,
        stats.culled,
        cache.len(),
        stats.write_amplification()
    );
    assert!(stats.culled > 0, "nothing had to go");
    assert!(most_pinned > 0, "nothing was pinned in any sample");
    assert!(most > limit() / 2, "the store was never full");
    let report = cache.check().unwrap();
    assert!(report.is_clean(), "{report:?}");
    for key in cache.keys::<u64>() {
        let key = key.unwrap();
        assert!(cache.get_bytes(key).unwrap().is_none_or(|found| is_value(key, &found)), "key {key}");
    }
}
