//! Histories, one after the other: workers are told what to play, the dead are replaced, and what the tapes say is judged.
//! It knows who plays and who judges.

use std::fmt;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use larder::{Cache, Error};

use crate::crew::Crew;
use crate::explain::judge;
use crate::graph::judge_lists;
use crate::linear::{Event, NEVER};
use crate::op::{Cell, KEYS_MAX, Key, Op, Outcome, State};
use crate::plan::{GROUP, Kind, Name, PROCESSES, Plan};
use crate::stored::{key_name, make_room, perform};
use crate::tape::{self, now};
use crate::whole::{first, judge_whole};
use crate::worker::{ALL_THREADS, open};

/// What was seen, for the ledger.
#[derive(Clone, Copy, Default)]
pub struct Tally {
    pub histories: u64,
    pub operations: u64,
    /// Operations under way when an operation of another process began.
    pub overlapping: u64,
    pub refused: u64,
    pub deaths: u64,
    /// Operations under way when their process died.
    pub pending: u64,
    pub transactions: u64,
    pub judging: Duration,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} histories, {} operations ({} % begun while another process was in one, {} refused for want of room), \
             {} transactions, {} processes killed with {} operations under way; judged in {:.1?}",
            self.histories,
            self.operations,
            self.overlapping * 100 / self.operations.max(1),
            self.refused,
            self.transactions,
            self.deaths,
            self.pending,
            self.judging
        )
    }
}

impl Tally {
    fn count(&mut self, events: &[Event]) {
        let mut starts: Vec<(u64, u64, usize)> =
            events.iter().map(|event| (event.start, event.end, event.thread / crate::plan::THREADS)).collect();
        starts.sort_unstable();
        let mut ends = [0; PROCESSES + 1];
        for (start, end, process) in starts {
            self.overlapping += u64::from((0..ends.len()).any(|other| other != process && ends[other] > start));
            if end != NEVER {
                ends[process] = ends[process].max(end);
            }
        }
        self.histories += 1;
        self.operations += events.len() as u64;
        let count = |is_meant: fn(&&Event) -> bool| events.iter().filter(is_meant).count() as u64;
        self.refused += count(|event| event.outcome == Some(Outcome::Refused));
        self.pending += count(|event| event.end == NEVER);
        self.transactions += count(|event| matches!(event.op, Op::Transaction(_)));
    }
}

/// The verdict, and how long it took.
type Judgement = (Result<(), String>, Duration);

/// The workers, and what they have shown so far.
pub struct Troop {
    crew: Crew,
    members: Vec<usize>,
    pub tally: Tally,
    /// The judge of the history before, who works while the next one is played.
    judge: Option<(Name, JoinHandle<Judgement>)>,
}

fn start(crew: &mut Crew, process: usize) -> usize {
    crew.start("worker", Path::new("none"), &[process as u64])
}

impl Troop {
    pub fn new() -> Troop {
        let mut crew = Crew::new();
        let members = (0..PROCESSES).map(|process| start(&mut crew, process)).collect();
        Troop { crew, members, tally: Tally::default(), judge: None }
    }

    /// Plays the first `count` histories of one directory.
    pub fn play_group(&mut self, kind: Kind, seed: u64, count: u64) {
        let scratch = scratch();
        let directory = scratch.path().join("store");
        let mut cache: Option<Cache> = None;
        let mut state = State::default();
        for number in 0..count {
            let plan = Plan::of(Name { kind, seed, number });
            if plan.reopens && number != 0 {
                drop(cache.take());
                self.close(&plan, &directory);
            }
            self.order_all(&format!("{} {}", scratch.path().display(), plan.name), "ready");
            let cache = cache.get_or_insert_with(|| open(&directory, &plan, PROCESSES));
            prepare(cache, &plan, &mut state);
            self.play(&plan);
            let mut events: Vec<Event> =
                (0..ALL_THREADS).flat_map(|thread| tape::read(scratch.path(), thread)).collect();
            let initial = state;
            let is_full = settle(cache);
            at_rest(cache, &plan);
            events.extend(look(cache, &plan, &mut state));
            if is_full {
                cache.clear().expect("a full store can be cleared");
                state = State::default();
            }
            self.tally.count(&events);
            self.judged();
            let name = plan.name;
            let judging = std::thread::spawn(move || {
                let begin = Instant::now();
                let special = match kind {
                    Kind::Cells => Ok(()),
                    Kind::Append => judge_lists(&events),
                    Kind::Bank | Kind::Ring => judge_whole(kind, plan.keys, &events),
                };
                (special.and_then(|()| judge(&initial, &events)), begin.elapsed())
            });
            self.judge = Some((name, judging));
        }
        self.judged();
    }

    fn order_all(&mut self, order: &str, answer: &str) {
        for &member in &self.members {
            self.crew.tell(member, order);
        }
        for &member in &self.members {
            self.crew.expect_of(member, answer);
        }
    }

    /// Everybody closes the store; the index may have to be made anew when it is opened again.
    fn close(&mut self, plan: &Plan, directory: &Path) {
        self.order_all("close", "closed");
        if plan.rebuilds {
            std::fs::remove_file(directory.join("state")).expect("there is a state");
        }
    }

    /// From `go` to the last one's `done`, or death.
    fn play(&mut self, plan: &Plan) {
        for &member in &self.members {
            self.crew.tell(member, "go");
        }
        for process in 0..PROCESSES {
            let member = self.members[process];
            let word = self.crew.hear_of(member);
            if word.as_deref() == Some("done") {
                continue;
            }
            assert!(word.is_none() && plan.dies(process), "{}: process {process} said {word:?}", plan.name);
            self.crew.reap(member);
            self.tally.deaths += 1;
            self.members[process] = start(&mut self.crew, process);
        }
    }

    /// Waits for the judge.
    fn judged(&mut self) {
        let Some((name, judging)) = self.judge.take() else { return };
        let (verdict, took) = judging.join().expect("the judge does not panic");
        self.tally.judging += took;
        if let Err(why) = verdict {
            panic!(
                "history {name}: {why}\nto play it again: LARDER_TEST_HISTORY=\"{name}\" cargo test --test histories again -- \
                 --nocapture (with LARDER_TEST_SCALE=1000 a thousand times, since the system's scheduling differs)"
            );
        }
    }
}

impl Drop for Troop {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for &member in &self.members {
            self.crew.finish(member);
        }
    }
}

/// In memory if there is such a place: a history is about processes, and a disk would only make it slower.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a directory can be made")
}

/// What the dead had committed is in effect after this, and what expired is gone for good. True if there is no room left.
fn settle(cache: &Cache) -> bool {
    make_room(cache);
    let counted = cache.incr("histories", 1);
    cache.expire().expect("what has expired can be removed");
    match counted {
        Ok(_) => false,
        Err(Error::Full) => true,
        Err(error) => panic!("nothing counted: {error}"),
    }
}

/// Counts agree with what is there, and nothing that has expired is left.
fn at_rest(cache: &Cache, plan: &Plan) {
    let report = cache.check().expect("a store can be checked");
    assert!(report.is_clean(), "after history {}: {:?}", plan.name, report.problems);
    assert_eq!(cache.len(), cache.len_live().expect("keys can be counted"), "after history {}", plan.name);
}

/// What a history begins with.
fn prepare(cache: &Cache, plan: &Plan, state: &mut State) {
    if plan.name.number == 0 {
        *state = State::default();
    }
    // An index that was made anew from the log counts again what expired and was removed without a record.
    cache.expire().expect("what has expired can be removed");
    if plan.name.kind == Kind::Cells {
        return;
    }
    match cache.delete_many((0..KEYS_MAX as Key).map(key_name)) {
        Ok(_) => (),
        // Removals have used up what puts leave for them.
        Err(Error::Full) => drop(cache.clear().expect("a full store can be cleared")),
        Err(error) => panic!("keys cannot be removed: {error}"),
    }
    *state = State::default();
    if plan.name.kind == Kind::Append {
        return;
    }
    let op = Op::SetMany(first(plan), 0);
    if perform(cache, &op) == Outcome::Refused {
        cache.clear().expect("a full store can be cleared");
        assert_eq!(perform(cache, &op), Outcome::Done, "an empty store has no room");
    }
    assert!(op.apply(None, state));
}

/// What is there when all is over, as operations of one more thread; the next history begins with it.
fn look(cache: &Cache, plan: &Plan, state: &mut State) -> Vec<Event> {
    let all: Vec<Key> = match plan.name.kind {
        Kind::Append => (0..plan.keys as Key).collect(),
        _ => (0..KEYS_MAX as Key).collect(),
    };
    let ops = all.into_iter().map(|key| if plan.name.kind == Kind::Append { Op::List(key) } else { Op::Look(key) });
    let looks = ops.map(|op| {
        let start = now();
        let outcome = perform(cache, &op);
        if let (Op::Look(key), Outcome::Tagged(found)) = (&op, &outcome) {
            state.0[usize::from(*key)] = found.map_or(Cell::Absent, |(value, tag)| Cell::Live(value, tag));
        }
        Event { thread: ALL_THREADS, start, end: now(), op, outcome: Some(outcome) }
    });
    looks.collect()
}

/// Histories of a kind, as many as asked for, from the seed of all tests.
pub fn run(kind: Kind, histories: u64) {
    let begin = Instant::now();
    let mut troop = Troop::new();
    let groups = histories.div_ceil(GROUP);
    for group in 0..groups {
        let seed = crate::crew::seed() * 1_000_000 + group;
        troop.play_group(kind, seed, GROUP.min(histories - group * GROUP));
    }
    println!("{kind:?} in {:.1?}: {}", begin.elapsed(), troop.tally);
}
