//! A scripted writer is killed at, or gets an error from, each single call of the system that concerns files. What it was
//! told of is there, what was under way is there whole or not at all, and an error has changed nothing.
//!
//! `strace` counts the calls and strikes; without it the test says that it was skipped. A point is a call by name and
//! number, and what becomes of it; the script follows from a seed. A death leaves nobody, or a parent that has the
//! store open, in turn. It knows the public API only.

#[path = "processes/crew.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod crew;
#[path = "processes/own_keys.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod own_keys;
#[path = "processes/values.rs"]
mod values;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crew::{Crew, Role};
use larder::{Cache, Error};
use own_keys::{ALONE, Own};
use values::Dice;

/// Points of an everyday run.
const POINTS: u64 = 60;
const STEPS: u64 = 160;
const STEPS_PER_SYNC: u64 = 23;
const STEPS_PER_OPENING: u64 = 55;
/// Small, so that segments have 64 KiB, fill up and go.
const SIZE_LIMIT: u64 = 4 << 20;

/// Those that take names, space or locks, or look at them.
const CALLS: &str =
    "openat,pwrite64,pread64,ftruncate,fallocate,mmap,unlink,rename,mkdir,fsync,fdatasync,flock,statx,getdents64";
/// One point that is to be looked at alone, and the file for what `strace` sees of it.
const POINT: &str = "LARDER_TEST_POINT";
const LOG: &str = "LARDER_TEST_POINT_LOG";
const ERRORS: [&str; 5] = ["ENOSPC", "EIO", "EINTR", "EDQUOT", "EMFILE"];

/// What becomes of which call.
#[derive(Clone, Debug)]
struct Point {
    call: String,
    number: u64,
    /// `None` for a death.
    error: Option<&'static str>,
}

impl Point {
    /// From words as in `statx 84 EIO` or `unlink 3 death`.
    fn parse(text: &str) -> Point {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [call, number, effect] = words[..] else { panic!("a call, a number and an effect: {text:?}") };
        let error = ERRORS.into_iter().find(|error| *error == effect);
        Point { call: call.to_string(), number: number.parse().expect("a number"), error }
    }
}

/// Does nothing in a run of the tests; in a process that the test has started, it plays the script.
#[test]
fn child() {
    let Some(role) = Role::given() else { return };
    play(&role);
}

fn open(directory: &Path) -> Cache {
    let open = || Cache::builder(directory).size_limit(SIZE_LIMIT).eviction(larder::Eviction::None).open();
    open().or_else(|error| is_expected(&error).then(open).unwrap_or(Err(error))).unwrap()
}

fn is_expected(error: &Error) -> bool {
    matches!(error, Error::Full | Error::Io(_))
}

fn play(role: &Role) {
    let seed = role.numbers[0];
    crew::say(0);
    let mut cache = open(&role.directory);
    let mut own = Own::nothing(seed, ALONE);
    for n in 0..STEPS {
        if let Err(error) = own.carry_out(&cache, n) {
            assert!(is_expected(&error), "step {n}: {error:?}");
            assert_eq!(Own::found(&cache, seed, ALONE), own, "step {n} failed and changed something: {error:?}");
            own.carry_out(&cache, n).unwrap_or_else(|error| panic!("step {n} fails a second time: {error:?}"));
        }
        own.apply(n);
        crew::say(n + 1);
        if n % STEPS_PER_SYNC == 0 {
            cache.sync().unwrap_or_else(|error| assert!(is_expected(&error), "{error:?}"));
        }
        if n % STEPS_PER_OPENING == STEPS_PER_OPENING - 1 {
            drop(cache);
            cache = open(&role.directory);
        }
    }
}

fn traced(arguments: &[&str]) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq"]).args(arguments).arg(crew::own_path());
    command
}

/// How often each call is made in a run of the script, by the thread that plays it.
fn count_calls(crew: &mut Crew, seed: u64) -> BTreeMap<String, u64> {
    let scratch = tempfile::tempdir().unwrap();
    let log = scratch.path().join("calls");
    let command = traced(&["-e", &format!("trace={CALLS}"), "-o", log.to_str().unwrap()]);
    let member = crew.start_by(command, "script", &scratch.path().join("store"), &[seed], Stdio::piped());
    assert_eq!(crew.finish(member).len() as u64, STEPS + 1);
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    for line in std::fs::read_to_string(&log).unwrap().lines() {
        let (thread, rest) = line.split_once(' ').unwrap();
        if let Some((call, _)) = rest.trim_start().split_once('(') {
            *counts.entry((call.to_string(), thread.to_string())).or_default() += 1;
        }
    }
    let mut most = BTreeMap::new();
    for ((call, _), count) in counts {
        let there: &mut u64 = most.entry(call).or_default();
        *there = count.max(*there);
    }
    most
}

fn points_of(counts: &BTreeMap<String, u64>) -> Vec<Point> {
    let mut points = Vec::new();
    for (call, &count) in counts {
        for number in 1..=count {
            let point = |error| Point { call: call.clone(), number, error };
            points.push(point(None));
            // The allocator maps memory too, and a program without memory is another matter.
            if call != "mmap" {
                points.extend(ERRORS.map(|error| point(Some(error))));
            }
        }
    }
    points
}

/// The state after so many steps.
fn expected(seed: u64, steps: u64) -> Own {
    let mut own = Own::nothing(seed, ALONE);
    for n in 0..steps {
        own.apply(n);
    }
    own
}

/// One run of the script. False if the point lies before its beginning, or was not reached.
fn strike(crew: &mut Crew, seed: u64, point: &Point) -> bool {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("store");
    let witness = point.number.is_multiple_of(2).then(|| open(&directory));
    let effect = point.error.map_or("signal=SIGKILL".to_string(), |error| format!("error={error}"));
    let inject = format!("inject={}:{effect}:when={}", point.call, point.number);
    let (shown, log) = match std::env::var(LOG) {
        Ok(log) => (CALLS, log),
        Err(_) => (&*point.call, "/dev/null".to_string()),
    };
    let command = traced(&["-e", &format!("trace={shown}"), "-e", &inject, "-o", &log]);
    let member = crew.start_by(command, "script", &directory, &[seed], Stdio::piped());
    let (status, words) = crew.wait(member);
    let done: u64 = words.last().map_or(0, |word| word.parse().unwrap());
    let was_killed = status.signal() == Some(9) || status.code() == Some(128 + 9);
    if words.is_empty() {
        // It did not come to the script: the loader or the test runner was struck.
        return false;
    }
    assert!(was_killed || status.success(), "seed {seed}, {point:?}: {status} after {done} steps");
    assert!(was_killed || done == STEPS, "seed {seed}, {point:?}: ended after {done} steps");
    let under_way = if was_killed && done < STEPS { 1 } else { 0 };
    let possible = [expected(seed, done), expected(seed, done + under_way)];
    let verify = |cache: &Cache, who: &str| {
        // What was committed and not yet made visible is finished by a write.
        cache.set("written after", &1).unwrap();
        let found = Own::found(cache, seed, ALONE);
        assert!(
            possible.contains(&found),
            "seed {seed}, {point:?}, {who}: after {done} steps\n{found:?}\n{possible:?}"
        );
        let report = cache.check().unwrap();
        assert!(report.is_clean(), "seed {seed}, {point:?}, {who}: {:?}", report.problems);
        found
    };
    let first = witness.as_ref().map(|cache| verify(cache, "who was there"));
    let second = verify(&open(&directory), "who came after");
    assert!(first.is_none_or(|first| first == second), "seed {seed}, {point:?}: two handles disagree");
    was_killed || point.error.is_some()
}

#[test]
fn a_death_or_an_error_at_any_system_call_loses_nothing() {
    let has_strace = Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !has_strace.is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no strace here, or it may not be run");
        return;
    }
    if let Ok(point) = std::env::var(POINT) {
        assert!(strike(&mut Crew::new(), crew::seed(), &Point::parse(&point)), "it is never reached");
        return;
    }
    let begin = Instant::now();
    let wanted = POINTS * crew::scale();
    let mut crew = Crew::new();
    let mut struck: BTreeMap<String, u64> = BTreeMap::new();
    let (mut total, mut seed) = (0, crew::seed());
    while total < wanted {
        let mut points = points_of(&count_calls(&mut crew, seed));
        // A short run has some from everywhere.
        let mut dice = Dice::new(seed);
        points.sort_by_cached_key(|_| dice.throw());
        for point in &points {
            if strike(&mut crew, seed, point) {
                total += 1;
                let kind = point.error.unwrap_or("death");
                *struck.entry(format!("{kind} at {}", point.call)).or_default() += 1;
            }
            if total == wanted {
                break;
            }
        }
        println!("{total} points up to seed {seed} in {:.0?}", begin.elapsed());
        seed += 1;
    }
    println!("{struck:?}");
}
