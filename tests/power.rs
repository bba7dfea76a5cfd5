//! Real power cuts: a writer on an ext4 file system, on a loop device, over a disk with a write cache that a cut empties.
//! What was stored before a `sync` that returned is there, and nothing but a prefix of what came after.
//!
//! The kernel, the file system with its journal, and the writer are real; the disk is `disk`, which keeps an arbitrary
//! part of what it was not told to flush. A cut falls on any of its writes and flushes, also while a store is opened or
//! rebuilt. The writer goes on after each cut with what is left. Between its own syncs it has single files written back,
//! as the kernel does when it likes, so that any file may be older than any other.
//!
//! Runs if `LARDER_TEST_POWER_CUTS` says how often, as root, on Linux. It knows the public API only.

#[path = "processes/crew.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod crew;
#[path = "power/disk.rs"]
mod disk;
#[path = "power/machine.rs"]
mod machine;
#[path = "processes/own_keys.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod own_keys;
#[path = "processes/values.rs"]
mod values;

use std::path::Path;
use std::time::Instant;

use crew::{Crew, Role};
use larder::{Cache, Error};
use machine::Machine;
use own_keys::{ALONE, Own};
use values::Dice;

const CUTS: &str = "LARDER_TEST_POWER_CUTS";
/// Where a copy of what the cut left is kept, if anywhere.
const KEEP: &str = "LARDER_TEST_POWER_KEEP";
/// Small, so that segments have 64 KiB, fill up and go.
const SIZE_LIMIT: u64 = 4 << 20;
/// Values from here on are files of their own: an eighth of a segment.
const OWN_FILE: usize = 8 << 10;
const STEPS_PER_SYNC: u64 = 25;
/// Requests to the disk before a cut.
const REQUESTS_MAX: u64 = 120;
/// After so many cuts the machine gets a new disk.
const CUTS_PER_DISK: u64 = 50;

/// Does nothing in a run of the tests; in a process that the test has started, it plays its role.
#[test]
fn child() {
    let Some(role) = Role::given() else { return };
    match role.name.as_str() {
        "writer" => write(&role),
        "verifier" => verify(&role),
        other => panic!("no role is called {other}"),
    }
}

fn open(directory: &Path) -> larder::Result<Cache> {
    Cache::builder(directory).size_limit(SIZE_LIMIT).eviction(larder::Eviction::None).open()
}

/// The state after so many steps.
fn expected(seed: u64, steps: u64) -> Own {
    let mut own = Own::nothing(seed, ALONE);
    for n in 0..steps {
        own.apply(n);
    }
    own
}

/// Writes until the disk is gone.
fn write(role: &Role) {
    let &[seed, first] = &role.numbers[..] else { panic!("two numbers: {:?}", role.numbers) };
    let mut dice = Dice::new(seed ^ first << 20);
    let mut work = || -> larder::Result<()> {
        let cache = open(&role.directory)?;
        let mut own = expected(seed, first);
        for n in first.. {
            own.carry_out(&cache, n)?;
            own.apply(n);
            crew::say(format!("done {}", n + 1));
            if dice.below(STEPS_PER_SYNC) == 0 {
                cache.sync()?;
                crew::say(format!("synced {}", n + 1));
            }
            if dice.below(6) == 0 {
                write_back_something(&role.directory, &mut dice);
            }
        }
        Ok(())
    };
    let error = work().expect_err("it ends when the disk is gone");
    assert!(matches!(error, Error::Io(_)), "{error:?}");
    crew::say("lost");
}

/// Has one file of the store written to the disk. Once the disk is gone this fails, and the next sync says so.
fn write_back_something(directory: &Path, dice: &mut Dice) {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    if let Some(path) = files.get(dice.below(files.len().max(1) as u64) as usize) {
        let _ = std::fs::File::open(path).and_then(|file| file.sync_data());
    }
}

/// Says how many steps are there.
fn verify(role: &Role) {
    let &[seed, synced, done] = &role.numbers[..] else { panic!("three numbers: {:?}", role.numbers) };
    if let Ok(kept) = std::env::var(KEEP) {
        let copied =
            std::process::Command::new("cp").args(["-a", "--sparse=always"]).arg(&role.directory).arg(kept).status();
        assert!(copied.unwrap().success());
    }
    let cache = open(&role.directory).unwrap();
    let report = cache.check().unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
    let found = Own::found(&cache, seed, ALONE);
    // A value with a file of its own that was not synced may be lost alone, and then its key is absent.
    let may_miss = |own: &Own, key| own.stored(key).is_some_and(|(n, value)| n >= synced && value.len() >= OWN_FILE);
    let is_explained =
        |own: &Own| Some(own.missing_in(&found)?).filter(|keys| keys.iter().all(|&key| may_miss(own, key)));
    // The step under way may have been committed, and not answered any more.
    let fits = |steps| is_explained(&expected(seed, steps)).map(|missing| (missing.len(), steps, missing));
    let Some((_, steps, missing)) = (synced..=done + 1).filter_map(fits).min() else {
        let nearest = (synced..=done + 1).map(|steps| (steps, expected(seed, steps).differences(&found)));
        let nearest = nearest.min_by_key(|(_, differences)| differences.len());
        panic!("of {done} steps, {synced} of them synced, this is no prefix; nearest to it: {nearest:?}");
    };
    missing.iter().for_each(|&key| expected(seed, steps).restore(&cache, key));
    if !missing.is_empty() {
        // The next writer counts on what was restored. What a rebuild found needs no sync to be counted on.
        cache.sync().unwrap();
    }
    crew::say(steps);
    crew::say(missing.len());
}

#[derive(Default)]
struct Tally {
    kept: u64,
    lost: u64,
    /// Values with a file of their own that were lost while later changes were kept.
    lost_alone: u64,
    before_anything: u64,
}

/// Runs a writer up to a cut, and finds what is left. Gives the number of steps that are there.
fn cut_once(crew: &mut Crew, machine: &mut Machine, seed: u64, first: u64, dice: &mut Dice, tally: &mut Tally) -> u64 {
    let most = 1 + dice.below(REQUESTS_MAX);
    machine.disk.cut_after(1 + dice.below(most), dice.throw());
    let writer = crew.start("writer", &machine.store(), &[seed, first]);
    let (mut done, mut synced) = (first, first);
    loop {
        let line = crew.hear_of(writer).unwrap_or_else(|| panic!("the writer failed at step {done}, seed {seed}"));
        match line.split_once(' ') {
            Some(("done", n)) => done = n.parse().unwrap(),
            Some(("synced", n)) => synced = n.parse().unwrap(),
            _ => break,
        }
    }
    crew.wait(writer);
    machine.come_back();
    let verifier = crew.start("verifier", &machine.store(), &[seed, synced, done]);
    let (status, words) = crew.wait(verifier);
    assert!(status.success(), "seed {seed}: steps {first} to {done}, synced {synced}: {status}");
    let steps: u64 = words[0].parse().unwrap();
    tally.lost_alone += words[1].parse::<u64>().unwrap();
    tally.kept += steps - synced;
    tally.lost += done.saturating_sub(steps);
    tally.before_anything += u64::from(done == first);
    machine.settle();
    steps
}

#[test]
fn what_was_synced_survives_real_power_cuts() {
    let Ok(wanted) = std::env::var(CUTS) else {
        eprintln!("skipped: {CUTS} does not say how often to cut the power");
        return;
    };
    let wanted: u64 = wanted.parse().expect("a whole number");
    let begin = Instant::now();
    let mut crew = Crew::new();
    let mut tally = Tally::default();
    let (mut cuts, mut steps_done, mut disks) = (0, 0, 0);
    while cuts < wanted {
        let seed = crew::seed() + disks;
        let Some(mut machine) = Machine::new() else { return };
        let mut dice = Dice::new(seed);
        let mut first = 0;
        for _ in 0..CUTS_PER_DISK.min(wanted - cuts) {
            first = cut_once(&mut crew, &mut machine, seed, first, &mut dice, &mut tally);
            cuts += 1;
        }
        steps_done += first;
        disks += 1;
        println!("{cuts} cuts up to seed {seed} in {:.0?}", begin.elapsed());
    }
    let Tally { kept, lost, lost_alone, before_anything } = tally;
    println!("{cuts} power cuts on {disks} disks in {:.0?}: {steps_done} steps are there;", begin.elapsed());
    println!("of those not synced {kept} were kept and {lost} lost,");
    println!("{lost_alone} large values were lost alone; {before_anything} cuts came before a first step");
}
