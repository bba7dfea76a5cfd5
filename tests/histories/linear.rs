//! Is there a legal order? A search for a total order of the operations of a history that keeps the order of time and
//! in which every operation has the outcome that it had. It knows the specification and no cache.
//!
//! The search is that of Wing and Gong ("Testing and verifying concurrent objects", JPDC 1993), with the memory of
//! configurations of Lowe ("Testing for linearizability", CCPE 2017). An operation can be the next one if none that is
//! still to be placed had returned before it began. Three things keep it short:
//!
//! 1. Threads call one after the other, so what has been placed is a position in each thread; position and state together
//!    are the configuration, and one that led nowhere is not entered again (128 bits of hash stand for it).
//! 2. An operation that fits and could not change anything anywhere is placed as soon as it can be. If any order exists
//!    from here, so does one that begins with it. So only changes are points of choice. (A write that happens to store
//!    what is there already is none of these: it may be needed later.)
//! 3. Of the changes, those that returned first are tried first.
//!
//! The whole history is one object: a batch is one operation on several keys. What finds an order then shows strict
//! serializability of batches and transactions, and with it linearizability of each key; [`on_key`] cuts out one key's
//! part, which is shorter to search and to read.
//!
//! An operation that was under way when its process died may be placed at any time after its beginning, or never.

use std::collections::HashSet;

use crate::op::{Cell, Key, Op, Outcome, State};
use crate::values::mixed;

/// Stands for a return that never came.
pub const NEVER: u64 = u64::MAX;

/// One operation, by the clock that all processes share, in nanoseconds.
#[derive(Clone, Debug)]
pub struct Event {
    pub thread: usize,
    pub start: u64,
    /// [`NEVER`] if its process died first.
    pub end: u64,
    pub op: Op,
    /// `None` if nobody has heard of it.
    pub outcome: Option<Outcome>,
}

/// How far the search came where it came farthest.
#[derive(Debug)]
pub struct Stuck {
    /// Operations in the order in which they were placed, as indices.
    pub placed: Vec<usize>,
    pub state: State,
    /// The next operation of each thread that has one: none of them can follow.
    pub next: Vec<usize>,
}

#[derive(Debug)]
pub enum Verdict {
    Legal,
    Illegal(Stuck),
    /// More configurations than the search may enter.
    Undecided,
}

/// Configurations that a search may enter. A legal history of a thousand operations takes some thousand.
pub const CONFIGURATIONS_MAX: usize = 3_000_000;

#[derive(Clone)]
struct Configuration {
    /// For each thread, how many of its operations are placed.
    placed: Vec<u16>,
    state: State,
}

/// A configuration with the changes that can come next.
struct Branch {
    at: Configuration,
    /// Threads whose next operation is still to be tried, the last one first.
    choices: Vec<usize>,
    /// Operations placed until here.
    depth: usize,
}

struct Search<'e> {
    events: &'e [Event],
    /// Indices of the operations of each thread, in order.
    threads: Vec<Vec<usize>>,
    trail: Vec<usize>,
    /// Whether to keep how far it came: only where that is asked for, since it costs a copy of the trail each time.
    tells: bool,
    deepest: Stuck,
}

/// Looks for an order that begins with `initial`.
pub fn search(initial: &State, events: &[Event]) -> Verdict {
    match Search::new(events, false).run(initial) {
        Verdict::Illegal(_) => Search::new(events, true).run(initial),
        verdict => verdict,
    }
}

/// Whether there is none for certain.
pub fn is_illegal(initial: &State, events: &[Event]) -> bool {
    matches!(Search::new(events, false).run(initial), Verdict::Illegal(_))
}

impl<'e> Search<'e> {
    fn new(events: &'e [Event], tells: bool) -> Search<'e> {
        let count = events.iter().map(|event| event.thread + 1).max().unwrap_or(0);
        let mut threads = vec![Vec::new(); count];
        for (index, event) in events.iter().enumerate() {
            threads[event.thread].push(index);
        }
        for thread in &mut threads {
            thread.sort_by_key(|&index| events[index].start);
            let in_turn = thread.windows(2).all(|pair| events[pair[0]].end <= events[pair[1]].start);
            assert!(in_turn, "a thread began an operation before the one before had returned");
        }
        threads.retain(|thread| !thread.is_empty());
        let deepest = Stuck { placed: Vec::new(), state: State::default(), next: Vec::new() };
        Search { events, threads, trail: Vec::new(), tells, deepest }
    }

    fn run(mut self, initial: &State) -> Verdict {
        let start = Configuration { placed: vec![0; self.threads.len()], state: *initial };
        let mut entered: HashSet<u128> = HashSet::new();
        let mut branches: Vec<Branch> = Vec::new();
        let mut next = Some(start);
        loop {
            if let Some(mut at) = next.take() {
                self.place_silent(&mut at);
                if self.is_complete(&at) {
                    return Verdict::Legal;
                }
                if entered.insert(fingerprint(&at)) {
                    if entered.len() > CONFIGURATIONS_MAX {
                        return Verdict::Undecided;
                    }
                    self.remember(&at);
                    let choices = self.choices(&at);
                    branches.push(Branch { at, choices, depth: self.trail.len() });
                }
            }
            let Some(branch) = branches.last_mut() else {
                return Verdict::Illegal(self.deepest);
            };
            self.trail.truncate(branch.depth);
            match branch.choices.pop() {
                None => drop(branches.pop()),
                Some(thread) => {
                    let mut at = branch.at.clone();
                    if self.place(&mut at, thread) {
                        next = Some(at);
                    }
                }
            }
        }
    }

    fn next_of(&self, at: &Configuration, thread: usize) -> Option<usize> {
        self.threads[thread].get(usize::from(at.placed[thread])).copied()
    }

    fn nexts(&self, at: &Configuration) -> impl Iterator<Item = (usize, usize)> {
        (0..self.threads.len()).filter_map(|thread| self.next_of(at, thread).map(|index| (thread, index)))
    }

    fn is_complete(&self, at: &Configuration) -> bool {
        self.nexts(at).all(|(_, index)| self.events[index].end == NEVER)
    }

    /// What begins later than this has to wait.
    fn horizon(&self, at: &Configuration) -> u64 {
        self.nexts(at).map(|(_, index)| self.events[index].end).min().unwrap_or(NEVER)
    }

    fn place(&mut self, at: &mut Configuration, thread: usize) -> bool {
        let Some(index) = self.next_of(at, thread) else { return false };
        let event = &self.events[index];
        let fits = event.op.apply(event.outcome.as_ref(), &mut at.state);
        if fits {
            at.placed[thread] += 1;
            self.trail.push(index);
        }
        fits
    }

    /// Places all that fit and change nothing. Those that never returned may as well never have been.
    fn place_silent(&mut self, at: &mut Configuration) {
        loop {
            let horizon = self.horizon(at);
            let mut is_done = true;
            for thread in 0..self.threads.len() {
                while let Some(index) = self.next_of(at, thread) {
                    let event = &self.events[index];
                    let mut state = at.state;
                    if event.start > horizon
                        || event.end == NEVER
                        || !event.op.is_silent(event.outcome.as_ref())
                        || !event.op.apply(event.outcome.as_ref(), &mut state)
                        || state != at.state
                    {
                        break;
                    }
                    at.placed[thread] += 1;
                    self.trail.push(index);
                    is_done = false;
                }
            }
            if is_done {
                return;
            }
        }
    }

    fn choices(&self, at: &Configuration) -> Vec<usize> {
        let horizon = self.horizon(at);
        let mut choices: Vec<(u64, usize)> = self
            .nexts(at)
            .filter(|(_, index)| self.events[*index].start <= horizon)
            .map(|(thread, index)| (self.events[index].end, thread))
            .collect();
        choices.sort_unstable_by(|a, b| b.cmp(a));
        choices.into_iter().map(|(_, thread)| thread).collect()
    }

    fn remember(&mut self, at: &Configuration) {
        if self.tells && (self.deepest.next.is_empty() || self.trail.len() > self.deepest.placed.len()) {
            let next = self.nexts(at).map(|(_, index)| index).collect();
            self.deepest = Stuck { placed: self.trail.clone(), state: at.state, next };
        }
    }
}

fn fingerprint(at: &Configuration) -> u128 {
    let words = at.placed.iter().map(|placed| u64::from(*placed));
    let cells = at.state.0.iter().flat_map(|cell| match *cell {
        Cell::Absent => [0, 0],
        Cell::Live(value, tag) => [value, 256 + u64::from(tag)],
        Cell::Dead(tag) => [0, 512 + u64::from(tag)],
    });
    let (mut low, mut high) = (1_u64, 2_u64);
    for word in words.chain(cells) {
        low = mixed(low ^ word);
        high = mixed(high.wrapping_add(word).rotate_left(23));
    }
    u128::from(high) << 64 | u128::from(low)
}

/// The part of a history that is about one key, and of the state it begins with.
pub fn on_key(key: Key, initial: &State, events: &[Event]) -> (State, Vec<Event>) {
    let mut state = State::default();
    state.0[usize::from(key)] = initial.0[usize::from(key)];
    let parts = events.iter().filter_map(|event| {
        let (op, outcome) = event.op.on(key, event.outcome.as_ref())?;
        Some(Event { op, outcome, ..*event })
    });
    (state, parts.collect())
}
