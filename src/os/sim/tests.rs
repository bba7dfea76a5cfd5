//! What the tests of the floors above rely on, proved of the simulation itself.

use super::{CallKind, Fault, Machine, SimFile, SimLock, SimMap, SimOs, SimPresence};
use crate::os::{Access, OpenMode, Os, OsFile, OsMap, Pinned};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const PAGE: u64 = 4096;
const SHORT: Duration = Duration::from_millis(4);

fn path(name: &str) -> std::path::PathBuf {
    Path::new("/db").join(name)
}

fn machine(seed: u64) -> (Machine, SimOs) {
    let machine = Machine::with_file_capacity(seed, 1 << 20);
    let os = machine.process();
    os.create_dir(Path::new("/db")).unwrap();
    (machine, os)
}

/// A file of some allocated, zeroed pages.
fn file_of(os: &SimOs, name: &str, pages: u64) -> SimFile {
    let file = os.open(&path(name), OpenMode::Create).unwrap();
    file.allocate(0, pages * PAGE).unwrap();
    file
}

fn map_of(os: &SimOs, name: &str) -> SimMap {
    let file = os.open(&path(name), OpenMode::Write).unwrap();
    file.map(file.len().unwrap() as usize, Access::Write).unwrap()
}

fn kind<T>(result: io::Result<T>) -> io::ErrorKind {
    result.err().expect("the call should fail").kind()
}

/// An operation with a step of nearly every kind.
fn operation(os: &SimOs) -> io::Result<()> {
    let _lock: Option<SimLock> = os.lock(&path("lock"), SHORT)?;
    let presence: SimPresence = os.announce(&path("7"), 4096)?;
    SimOs::presence_page(&presence).store(0, 1);
    let file = os.open(&path("log"), OpenMode::Create)?;
    file.extend(100)?;
    file.allocate(0, 2 * PAGE)?;
    file.write_at(&[5; 6000], 3000)?;
    file.sync()?;
    let map = file.map(2 * PAGE as usize, Access::Write)?;
    map.write(100, b"bytes");
    map.fetch_add(0, os.random() % 100);
    map.fetch_max(0, 7);
    let _ = map.compare_exchange(8, 0, 9);
    let _ = map.compare_exchange32(16, 0, 9);
    map.swap32(20, 4);
    os.wake(&map, 16, 1);
    os.rename(&path("log"), &path("log2"))?;
    os.sync_dir(Path::new("/db"))?;
    os.remove(&path("7"))
}

fn everything(machine: &Machine) -> Vec<(std::path::PathBuf, Option<Vec<u8>>)> {
    machine.paths().into_iter().map(|path| (path.clone(), machine.file_bytes(&path))).collect()
}

fn state_after_death_at(step: u64, seed: u64) -> Vec<(std::path::PathBuf, Option<Vec<u8>>)> {
    let (machine, _first) = machine(seed);
    let os = machine.process();
    os.kill_after(step);
    assert!(os.run(|| operation(&os)).is_none(), "step {step} did not kill");
    assert!(os.is_dead());
    assert_eq!(os.steps(), step);
    everything(&machine)
}

#[test]
fn steps_can_be_enumerated_and_are_the_same_for_the_same_seed() {
    let (whole, _first) = machine(3);
    let os = whole.process();
    os.run(|| operation(&os)).unwrap().unwrap();
    let steps = os.steps();
    // `write_at` over three pages is three of them.
    assert_eq!(steps, 20);
    let mut states = BTreeSet::new();
    for step in 0..steps {
        let state = state_after_death_at(step, 3);
        assert_eq!(state, state_after_death_at(step, 3));
        states.insert(state);
    }
    // Not every step shows in the bytes (locks, syncs and wakes do not), but most do.
    assert!(states.len() >= 13, "{}", states.len());
    os.kill_after(0);
    assert!(os.run(|| os.remove(&path("log2"))).is_none());
    assert!(whole.file_bytes(&path("log2")).is_some());
}

#[test]
fn another_seed_gives_other_random_numbers_and_the_same_seed_the_same() {
    let draw = |seed| Machine::new(seed).process().random();
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

struct OnDrop<'a>(&'a SimMap, &'a SimFile, &'a SimOs);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(0, 99);
        self.0.write(8, &[1; 5000]);
        assert_eq!(self.0.load(0), 0);
        assert_eq!(self.0.compare_exchange32(0, 77, 78), Ok(77));
        assert!(self.1.write_at(&[1], 0).is_err());
        assert!(self.1.sync().is_err());
        assert!(self.2.remove(&path("f")).is_err());
        assert!(self.2.lock(&path("lock"), SHORT).is_err());
    }
}

#[test]
fn a_killed_process_frees_locks_and_presences_and_its_destructors_change_nothing() {
    let (machine, other) = machine(1);
    let os = machine.process();
    let file = file_of(&os, "f", 2);
    let map = map_of(&os, "f");
    map.store(0, 41);
    let lock = os.lock(&path("lock"), SHORT).unwrap().unwrap();
    let presence = os.announce(&path("1"), 4096).unwrap();
    let before = machine.process().uptime();
    assert!(other.lock(&path("lock"), SHORT).unwrap().is_none());
    assert_eq!(other.uptime(), before + SHORT);
    assert!(other.is_alive(&path("1")));
    os.kill_after(0);
    let outcome = os.run(|| {
        let _on_drop = OnDrop(&map, &file, &os);
        map.store(0, 42);
    });
    assert!(outcome.is_none() && os.is_dead());
    assert!(!other.is_alive(&path("1")));
    let taken = other.lock(&path("lock"), SHORT).unwrap();
    assert!(taken.is_some());
    // Outside `run`, a dead process goes on without effect; dropping its lock does not free the new owner's.
    drop(OnDrop(&map, &file, &os));
    drop((lock, presence));
    assert!(machine.process().lock(&path("lock"), SHORT).unwrap().is_none());
    assert_eq!(map_of(&other, "f").load(0), 41);
    assert_eq!(machine.file_bytes(&path("f")).unwrap()[8..], [0; 8184]);
    assert!(os.run(|| ()).is_none());
}

#[test]
fn a_dead_process_unwinds_inside_run_even_if_it_swallows_the_first_death() {
    let (_machine, os) = machine(1);
    let map = {
        file_of(&os, "f", 1);
        map_of(&os, "f")
    };
    os.kill_after(1);
    let survived = os.run(|| {
        map.store(0, 1);
        let _ = catch_unwind(AssertUnwindSafe(|| map.store(0, 2)));
        map.load(0);
        unreachable!("a load of a dead process returned");
    });
    assert!(survived.is_none());
    let (_machine, os) = machine(1);
    let panicked = catch_unwind(AssertUnwindSafe(|| os.run(|| std::panic::resume_unwind(Box::new("other")))));
    assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"other"));
}

#[test]
fn dropped_locks_and_presences_are_free() {
    let (machine, os) = machine(1);
    let other = machine.process();
    drop(os.lock(&path("lock"), SHORT).unwrap());
    assert!(other.lock(&path("lock"), SHORT).unwrap().is_some());
    let presence = os.announce(&path("1"), 4096).unwrap();
    assert_eq!(kind(other.announce(&path("1"), 4096)), io::ErrorKind::AlreadyExists);
    SimOs::presence_page(&presence).store(4088, 6);
    assert_eq!(map_of(&other, "1").load(4088), 6);
    drop(presence);
    assert!(!other.is_alive(&path("1")));
    assert_eq!(machine.file_bytes(&path("1")).unwrap().len(), 4096);
    let presence = os.announce(&path("2"), 4096).unwrap();
    other.remove(&path("2")).unwrap();
    assert!(!other.is_alive(&path("2")));
    drop(presence);
}

#[test]
fn synced_pages_survive_a_power_cut_and_unsynced_ones_vary_with_the_seed() {
    let outcome = |seed| {
        let (machine, os) = machine(1);
        let file = file_of(&os, "f", 4);
        file.write_at(&[1; 3 * PAGE as usize], 0).unwrap();
        file.sync().unwrap();
        os.sync_dir(Path::new("/db")).unwrap();
        let map = map_of(&os, "f");
        map.write(PAGE as usize, &[2; PAGE as usize]);
        file.write_at(&[2; PAGE as usize], 2 * PAGE).unwrap();
        machine.power_cut(seed);
        assert!(os.is_dead());
        assert!(file.read_at(&mut [0], 0).is_err());
        let bytes = machine.file_bytes(&path("f")).unwrap();
        assert_eq!(bytes.len(), 4 * PAGE as usize);
        let (pages, rest) = bytes.as_chunks::<4096>();
        assert!(rest.is_empty());
        assert_eq!((pages[0], pages[3]), ([1; 4096], [0; 4096]));
        for sector in bytes[4096..3 * 4096].chunks(512) {
            assert!(sector == [1; 512] || sector == [2; 512]);
        }
        let kind_of = |page: &[u8]| (page.contains(&1), page.contains(&2));
        (kind_of(&pages[1]), kind_of(&pages[2]))
    };
    let outcomes: BTreeSet<_> = (0..100).map(outcome).collect();
    for seed in 0..10 {
        assert_eq!(outcome(seed), outcome(seed));
    }
    let (old, new, torn) = ((true, false), (false, true), (true, true));
    for pair in [(old, old), (old, new), (new, old), (new, new), (torn, old), (old, torn), (torn, new)] {
        assert!(outcomes.contains(&pair), "{pair:?} never happened");
    }
}

#[test]
fn space_that_is_released_reads_as_zeros_and_takes_no_store() {
    let (machine, os) = machine(1);
    let file = file_of(&os, "f", 4);
    let map = file.map(4 * PAGE as usize, Access::Write).unwrap();
    (0..4).for_each(|page| map.store(page * PAGE as usize, 7));
    // Whole pages alone.
    file.release(PAGE - 1, 2 * PAGE + 2).unwrap();
    file.release(4 * PAGE, PAGE).unwrap();
    assert_eq!(
        (file.len().unwrap(), file.allocated().unwrap(), machine.linked_bytes()),
        (4 * PAGE, 2 * PAGE, 2 * PAGE)
    );
    let words = || [0, 1, 2, 3].map(|page| map.load(page * PAGE as usize));
    assert_eq!(words(), [7, 0, 0, 7]);
    file.allocate(0, 2 * PAGE).unwrap();
    map.store(PAGE as usize, 8);
    assert_eq!((words(), file.allocated().unwrap()), ([7, 8, 0, 7], 3 * PAGE));
}

#[test]
fn after_a_power_cut_space_and_length_that_were_not_synced_may_be_gone() {
    let (machine, os) = machine(1);
    let file = file_of(&os, "f", 1);
    file.sync().unwrap();
    os.sync_dir(Path::new("/db")).unwrap();
    file.allocate(PAGE, 3 * PAGE).unwrap();
    file.write_at(&[7; 100], 4 * PAGE).unwrap();
    let mut seen = BTreeSet::new();
    for seed in 0..60 {
        let copy = machine.power_cut_copy(seed);
        let file = copy.process().open(&path("f"), OpenMode::Read).unwrap();
        let (len, allocated) = (file.len().unwrap(), file.allocated().unwrap());
        assert!((PAGE..=4 * PAGE + 100).contains(&len), "{len}");
        assert_eq!(allocated, copy.linked_bytes());
        assert_eq!(allocated, len.next_multiple_of(PAGE));
        seen.insert(len);
    }
    assert_eq!(seen, BTreeSet::from([PAGE, 2 * PAGE, 3 * PAGE, 4 * PAGE, 4 * PAGE + 100]));
    assert!(!os.is_dead());
    assert_eq!(file.len().unwrap(), 4 * PAGE + 100);
}

#[test]
fn after_a_failed_sync_only_writing_again_makes_a_page_durable() {
    let lost = |write_again: bool| {
        let (machine, os) = machine(1);
        let file = file_of(&os, "f", 1);
        file.sync().unwrap();
        os.sync_dir(Path::new("/db")).unwrap();
        file.write_at(&[3; 10], 0).unwrap();
        machine.fail(CallKind::Sync, 1, io::ErrorKind::Other);
        assert_eq!(kind(file.sync()), io::ErrorKind::Other);
        if write_again {
            file.write_at(&[3; 10], 0).unwrap();
        }
        file.sync().unwrap();
        (0..40).any(|seed| machine.power_cut_copy(seed).file_bytes(&path("f")).unwrap()[0] == 0)
    };
    assert!(lost(false));
    assert!(!lost(true));
}

#[test]
fn of_the_names_that_were_not_synced_a_prefix_survives_in_each_directory() {
    let (machine, os) = machine(1);
    os.create_dir(Path::new("/db/sub")).unwrap();
    file_of(&os, "0", 1);
    os.sync_dir(Path::new("/db")).unwrap();
    file_of(&os, "1", 1);
    os.rename(&path("0"), &path("2")).unwrap();
    file_of(&os, "sub/3", 1);
    os.remove(&path("1")).unwrap();
    let mut seen = BTreeSet::new();
    for seed in 0..80 {
        let os = machine.power_cut_copy(seed).process();
        let mut names = os.list(Path::new("/db")).unwrap();
        names.sort();
        seen.insert((names.join(" "), os.list(Path::new("/db/sub")).unwrap().len()));
    }
    let expected = ["0 sub", "0 1 sub", "1 2 sub", "2 sub"];
    let both = expected.iter().flat_map(|names| [(names.to_string(), 0), (names.to_string(), 1)]);
    assert_eq!(seen, both.collect());
    os.sync_dir(Path::new("/db")).unwrap();
    machine.power_cut(5);
    assert_eq!(machine.process().list(Path::new("/db")).unwrap(), ["2", "sub"]);
}

#[test]
fn a_rename_between_directories_is_done_in_both_or_in_none() {
    let (machine, os) = machine(1);
    os.create_dir(Path::new("/db/sub")).unwrap();
    file_of(&os, "0", 1);
    os.sync_dir(Path::new("/db")).unwrap();
    os.rename(&path("0"), &path("sub/0")).unwrap();
    for seed in 0..40 {
        assert_eq!(machine.power_cut_copy(seed).paths().len(), 1);
    }
    os.sync_dir(Path::new("/db/sub")).unwrap();
    for seed in 0..40 {
        assert_eq!(machine.power_cut_copy(seed).paths(), [path("sub/0")]);
    }
}

#[test]
fn a_full_disk_refuses_pages_and_names_but_not_what_has_space() {
    let (machine, os) = machine(1);
    let file = file_of(&os, "f", 2);
    machine.limit_disk(Some(3 * PAGE));
    file.write_at(&[1; 2 * PAGE as usize], 0).unwrap();
    assert_eq!(kind(file.write_at(&[2; 2 * PAGE as usize], 2 * PAGE)), io::ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 3 * PAGE);
    assert_eq!(kind(file.allocate(0, 4 * PAGE)), io::ErrorKind::StorageFull);
    assert_eq!(kind(os.open(&path("g"), OpenMode::Create)), io::ErrorKind::StorageFull);
    assert_eq!(kind(os.announce(&path("1"), 4096)), io::ErrorKind::StorageFull);
    assert_eq!(kind(os.lock(&path("lock"), SHORT)), io::ErrorKind::StorageFull);
    assert_eq!((machine.used_bytes(), machine.linked_bytes()), (3 * PAGE, 3 * PAGE));
    // The space of a removed file comes back when the last living process lets go of it.
    let other = machine.process();
    let (map, _held) = (map_of(&os, "f"), map_of(&other, "f"));
    os.remove(&path("f")).unwrap();
    drop(file);
    assert_eq!(map.load(0), 0x0101_0101_0101_0101);
    drop(map);
    assert_eq!((machine.used_bytes(), machine.linked_bytes()), (3 * PAGE, 0));
    other.kill();
    assert_eq!((machine.used_bytes(), machine.peak_linked_bytes()), (0, 3 * PAGE));
    file_of(&os, "f", 3);
    machine.limit_disk(None);
    file_of(&os, "g", 3);
}

#[test]
fn the_chosen_call_fails_once_and_has_no_effect() {
    let (machine, os) = machine(1);
    let file = file_of(&os, "f", 1);
    let steps = os.steps();
    machine.fail(CallKind::WriteAt, 2, io::ErrorKind::Interrupted);
    machine.fail_at(CallKind::Any, "other", 1, io::ErrorKind::PermissionDenied);
    file.write_at(&[1], 0).unwrap();
    assert_eq!(kind(file.write_at(&[2], 0)), io::ErrorKind::Interrupted);
    assert_eq!(os.steps(), steps + 1);
    let mut byte = [0];
    file.read_at(&mut byte, 0).unwrap();
    assert_eq!(byte, [1]);
    file.write_at(&[3], 0).unwrap();
    assert_eq!(kind(os.open(&path("other"), OpenMode::Write)), io::ErrorKind::PermissionDenied);
    assert_eq!(kind(os.open(&path("other"), OpenMode::Write)), io::ErrorKind::NotFound);
    machine.fail(CallKind::Any, 1, io::ErrorKind::Other);
    machine.clear_failures();
    let calls = machine.calls();
    assert_eq!(file.len().unwrap(), PAGE);
    assert_eq!(machine.calls(), calls + 1);
}

#[test]
fn a_call_that_stops_half_way_has_done_the_first_half() {
    let (machine, os) = machine(1);
    let file = file_of(&os, "f", 1);
    machine.fail(CallKind::WriteAt, 1, Fault::Short(Errno::NOSPC));
    assert_eq!(kind(file.write_at(&[7; 10], 0)), io::ErrorKind::StorageFull);
    let mut bytes = [0; 10];
    file.read_at(&mut bytes, 0).unwrap();
    assert_eq!(bytes, [7, 7, 7, 7, 7, 0, 0, 0, 0, 0]);
    machine.fail(CallKind::Allocate, 1, Fault::Short(Errno::IO));
    assert_eq!(file.allocate(PAGE, 4 * PAGE).unwrap_err().raw_os_error(), Some(Errno::IO.raw_os_error()));
    assert_eq!((file.len().unwrap(), file.allocated().unwrap()), (3 * PAGE, 3 * PAGE));
}

#[test]
fn calls_that_fail_from_one_on_fail_until_that_is_forgotten() {
    let (machine, os) = machine(1);
    let file = file_of(&os, "f", 1);
    machine.fail_from(CallKind::Any, 2, Errno::MFILE);
    file.len().unwrap();
    for _ in 0..3 {
        assert_eq!(file.len().unwrap_err().raw_os_error(), Some(Errno::MFILE.raw_os_error()));
    }
    machine.clear_failures();
    file.len().unwrap();
}

#[test]
fn every_call_of_an_operation_can_be_made_to_fail() {
    let calls = {
        let (machine, os) = machine(1);
        let before = machine.calls();
        operation(&os).unwrap();
        machine.calls() - before
    };
    assert_eq!(calls, 11);
    for nth in 1..=calls {
        let (machine, os) = machine(1);
        machine.fail(CallKind::Any, nth, io::ErrorKind::Other);
        assert_eq!(kind(operation(&os)), io::ErrorKind::Other);
    }
}

#[test]
#[should_panic(expected = "store into a hole at 4096 of /db/f: SIGBUS on a full disk")]
fn a_store_into_a_hole_panics() {
    let (_machine, os) = machine(1);
    let file = file_of(&os, "f", 1);
    file.extend(2 * PAGE).unwrap();
    let map = map_of(&os, "f");
    assert_eq!(map.load(4096), 0);
    map.store(4096, 1);
}

#[test]
#[should_panic(expected = "store into a hole at 4096 of")]
fn a_copy_that_runs_into_a_hole_panics() {
    let (_machine, os) = machine(1);
    file_of(&os, "f", 1).extend(2 * PAGE).unwrap();
    map_of(&os, "f").write(4000, &[1; 200]);
}

#[test]
fn two_processes_see_each_others_stores() {
    let (machine, a) = machine(1);
    let b = machine.process();
    let file = file_of(&a, "f", 2);
    let (map_a, map_b) = (map_of(&a, "f"), map_of(&b, "f"));
    map_a.store(8, 5);
    assert_eq!(map_b.load(8), 5);
    assert_eq!(map_b.compare_exchange(8, 5, 6), Ok(5));
    assert_eq!(map_a.compare_exchange(8, 5, 7), Err(6));
    assert_eq!((map_a.fetch_add(8, u64::MAX), map_b.fetch_max(8, 3), map_b.fetch_max(8, 30)), (6, 5, 5));
    assert_eq!((map_a.swap32(16, 1), map_b.compare_exchange32(16, 1, 2), map_a.load32(16)), (0, Ok(1), 2));
    assert_eq!(map_a.compare_exchange32(20, 1, 2), Err(0));
    map_b.write(4090, b"over the edge");
    assert!(map_a.equals(4090, b"over the edge") && !map_a.equals(4090, b"over the hedge"));
    let mut bytes = vec![1];
    assert!(map_a.append_to(4090, 4, &mut bytes) && !map_a.append_to(8190, 3, &mut bytes));
    assert_eq!(bytes, b"\x01over");
    assert!(!map_a.read(usize::MAX, &mut [0; 2]));
    map_a.prefetch(usize::MAX);
    assert_eq!((map_a.len(), map_a.load(4080)), (8192, 0));
    file.write_at(b"by call", 64).unwrap();
    let pinned = Pinned::new(Arc::new(map_b), 64, 7).unwrap();
    drop((map_a, file, a));
    b.remove(&path("f")).unwrap();
    assert_eq!(&*pinned, b"by call");
    machine.power_cut(1);
    assert_eq!(&*pinned, b"by call");
}

#[test]
fn threads_share_a_machine() {
    let (machine, os) = machine(1);
    file_of(&os, "f", 1);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let map = map_of(&machine.process(), "f");
            scope.spawn(move || (0..1000).for_each(|_| assert!(map.fetch_add(0, 1) < 3000)));
        }
    });
    assert_eq!(map_of(&os, "f").load(0), 3000);
    let killed = machine.process();
    let map = map_of(&killed, "f");
    std::thread::scope(|scope| {
        let endless = scope.spawn(|| {
            killed.run(|| {
                while map.fetch_add(8, 1) != u64::MAX {
                    killed.spin();
                }
            })
        });
        while map.load(8) == 0 {
            os.spin();
        }
        killed.kill();
        assert!(endless.join().unwrap().is_none());
    });
}

#[test]
fn a_fork_knows_itself_and_leaves_the_locks_to_its_parent() {
    let (machine, parent) = machine(1);
    file_of(&parent, "f", 1);
    let map = map_of(&parent, "f");
    let lock = parent.lock(&path("lock"), SHORT).unwrap().unwrap();
    let presence = parent.announce(&path("1"), 4096).unwrap();
    let child = parent.fork();
    assert!(child.is_forked() && !child.fresh().is_forked() && !parent.is_forked());
    let steps = parent.steps();
    child.run(|| {
        assert!(parent.is_forked());
        map.store(0, 3);
        drop((lock, presence));
    });
    assert_eq!((parent.steps(), child.steps()), (steps, 1));
    assert!(!parent.is_forked());
    assert!(child.is_alive(&path("1")));
    assert!(child.lock(&path("lock"), SHORT).unwrap().is_none());
    parent.remove(&path("f")).unwrap();
    let used = machine.used_bytes();
    parent.kill();
    assert!(child.fresh().lock(&path("lock"), SHORT).unwrap().is_some());
    assert_eq!(machine.used_bytes(), used);
    assert_eq!(child.run(|| map.load(0)), Some(3));
    child.kill();
    assert_eq!(machine.used_bytes(), used - PAGE);
}

#[test]
fn the_clocks_are_the_tests() {
    let (machine, os) = machine(1);
    file_of(&os, "f", 1);
    let map = map_of(&os, "f");
    machine.set_clock(1000);
    let up = os.uptime();
    os.machine().advance(SHORT);
    assert_eq!((os.now(), os.uptime()), (4_001_000, up + SHORT));
    os.wait(&map, 0, 1, SHORT);
    assert_eq!(os.uptime(), up + SHORT);
    os.wait(&map, 0, 0, SHORT);
    assert_eq!(os.uptime(), up + 2 * SHORT);
}

#[test]
fn identities_change_with_the_boot_and_the_mount() {
    let (machine, os) = machine(1);
    let file = file_of(&os, "f", 1);
    let first = file.identity().unwrap();
    assert_ne!(file_of(&os, "g", 1).identity().unwrap().inode, first.inode);
    machine.remount();
    let second = file.identity().unwrap();
    assert_eq!((second.boot, second.inode), (first.boot, first.inode));
    assert_ne!(second.mount, first.mount);
    file.sync().unwrap();
    os.sync_dir(Path::new("/db")).unwrap();
    machine.power_cut(1);
    let third = machine.process().open(&path("f"), OpenMode::Read).unwrap().identity().unwrap();
    assert_ne!(third.boot, first.boot);
    assert_eq!(third.inode, first.inode);
    assert_eq!(machine.process().unsupported_file_system(Path::new("/db")).unwrap(), None);
    machine.set_unsupported_file_system(Some(0x6969));
    assert_eq!(machine.process().unsupported_file_system(Path::new("/db")).unwrap(), Some(0x6969));
}

#[test]
fn calls_refuse_what_the_kernel_refuses() {
    let (_machine, os) = machine(1);
    let file = file_of(&os, "f", 1);
    assert_eq!(kind(os.open(&path("g"), OpenMode::Write)), io::ErrorKind::NotFound);
    assert_eq!(kind(os.open(&path("f"), OpenMode::Create)), io::ErrorKind::AlreadyExists);
    assert_eq!(kind(os.open(Path::new("/db"), OpenMode::Read)), io::ErrorKind::IsADirectory);
    assert_eq!(kind(os.open(Path::new("/no/f"), OpenMode::Create)), io::ErrorKind::NotFound);
    assert_eq!(kind(os.remove(&path("g"))), io::ErrorKind::NotFound);
    assert_eq!(kind(os.list(&path("g"))), io::ErrorKind::NotFound);
    assert_eq!(kind(file.read_at(&mut [0; 2], PAGE - 1)), io::ErrorKind::UnexpectedEof);
    assert_eq!(kind(file.map(PAGE as usize + 1, Access::Read)), io::ErrorKind::UnexpectedEof);
    assert_eq!(kind(file.write_at(&[1], u64::MAX)), io::ErrorKind::FileTooLarge);
    let reader = os.open(&path("f"), OpenMode::Read).unwrap();
    assert_eq!(kind(reader.write_at(&[1], 0)), io::ErrorKind::PermissionDenied);
    assert_eq!(kind(reader.map(8, Access::Write)), io::ErrorKind::PermissionDenied);
    assert!(!reader.map(8, Access::Read).unwrap().is_writable());
    file_of(&os, "g", 2);
    os.rename(&path("g"), &path("f")).unwrap();
    assert_eq!(os.open(&path("f"), OpenMode::Read).unwrap().len().unwrap(), 2 * PAGE);
    assert_eq!(file.len().unwrap(), PAGE);
    os.create_dir(Path::new("/db")).unwrap();
}

#[test]
fn a_test_can_damage_files() {
    let (machine, os) = machine(1);
    let file = file_of(&os, "f", 2);
    file.write_at(&[1; 10], 4090).unwrap();
    assert!(machine.corrupt(&path("f"), 4095, &[0xff, 2]));
    assert!(machine.overwrite(&path("f"), 0, b"new"));
    assert!(!machine.corrupt(&path("f"), 8191, &[1, 1]) && !machine.truncate(&path("g"), 1));
    let bytes = machine.file_bytes(&path("f")).unwrap();
    assert_eq!((&bytes[..3], &bytes[4090..4100]), (&b"new"[..], &[1, 1, 1, 1, 1, 0xfe, 3, 1, 1, 1][..]));
    assert!(machine.truncate(&path("f"), 4092));
    assert_eq!((file.len().unwrap(), machine.used_bytes()), (4092, PAGE));
    file.extend(2 * PAGE).unwrap();
    assert_eq!(machine.file_bytes(&path("f")).unwrap()[4092..], [0; 4100]);
}
