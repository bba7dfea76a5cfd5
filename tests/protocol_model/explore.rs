//! Breadth-first search through all states of a setup, to the end. It knows states and events only by their type:
//! what they mean is the matter of `world`, what must hold is the matter of `invariants`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use crate::invariants::{self, Invariant};
use crate::world::{Bug, Event, Setup, World};

/// A way from the first state into a broken one; of all those, one of the shortest.
pub(crate) struct Violation {
    pub(crate) invariant: Invariant,
    pub(crate) trace: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{:?} is broken after:", self.invariant)?;
        self.trace.iter().try_for_each(|line| writeln!(out, "  {line}"))
    }
}

pub(crate) struct Report {
    pub(crate) states: usize,
    pub(crate) events: usize,
    /// The longest of the shortest ways into a state, in events.
    pub(crate) depth: usize,
    pub(crate) violation: Option<Violation>,
}

/// Searches until a state breaks an invariant or no new state is left, then asks from which states the end can no
/// longer be reached.
pub(crate) fn explore(setup: &Setup) -> Report {
    let mut search = Search { bug: setup.bug, ..Search::default() };
    search.add(World::new(setup), None);
    let mut current = 0;
    while current < search.states.len() {
        let world = search.states[current].clone();
        world.successors(setup, &mut |who, event, next| {
            let reached = search.add(next, Some((current, who, event)));
            if event == Event::Step {
                search.steps.push((current as u32, reached as u32));
            }
            search.events += 1;
        });
        if search.broken.is_some() {
            break;
        }
        current += 1;
    }
    let broken = search.broken.or_else(|| Some((search.stuck(setup)?, Invariant::EveryoneFinishes)));
    let violation = broken.map(|(state, invariant)| Violation { invariant, trace: search.trace(state) });
    let depth = search.depths.iter().max().copied().unwrap_or(0);
    Report { states: search.states.len(), events: search.events, depth: depth.into(), violation }
}

#[derive(Default)]
struct Search {
    states: Vec<World>,
    /// From the fingerprint of a state to its number. States are compared as well, so a collision cannot hide one.
    numbers: HashMap<u64, u32, BuildHasherDefault<Fingerprint>>,
    /// For each state but the first: the state and the event that it was first reached by.
    origins: Vec<Option<(usize, usize, Event)>>,
    /// All ordinary steps, as pairs of state numbers.
    steps: Vec<(u32, u32)>,
    depths: Vec<u16>,
    events: usize,
    bug: Bug,
    broken: Option<(usize, Invariant)>,
}

impl Search {
    fn add(&mut self, world: World, origin: Option<(usize, usize, Event)>) -> usize {
        let mut hasher = Fingerprint::default();
        world.hash(&mut hasher);
        let number = self.states.len();
        match self.numbers.entry(hasher.finish()) {
            Entry::Occupied(known) => {
                let known = *known.get() as usize;
                assert!(self.states[known] == world, "two states share a fingerprint: choose another multiplier");
                return known;
            }
            Entry::Vacant(free) => free.insert(number as u32),
        };
        if self.broken.is_none() {
            self.broken = invariants::broken(&world, self.bug).map(|invariant| (number, invariant));
        }
        self.depths.push(origin.map_or(0, |(before, ..)| self.depths[before] + 1));
        self.states.push(world);
        self.origins.push(origin);
        number
    }

    /// A state from which ordinary steps alone (no death, no panic) cannot bring everybody alive to the end.
    fn stuck(&self, setup: &Setup) -> Option<usize> {
        let mut finishes: Vec<bool> = self.states.iter().map(|world| world.is_finished(setup)).collect();
        loop {
            let mut changed = false;
            // Most steps lead to a later state, so walking backwards settles nearly all in the first round.
            for &(from, to) in self.steps.iter().rev() {
                if finishes[to as usize] && !finishes[from as usize] {
                    finishes[from as usize] = true;
                    changed = true;
                }
            }
            if !changed {
                return finishes.iter().position(|finishes| !finishes);
            }
        }
    }

    fn trace(&self, mut state: usize) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some((before, who, event)) = self.origins[state] {
            let pc = self.states[before].processes[who].pc;
            lines.push(format!("process {}: {event:?} at {pc:?}", who + 1));
            state = before;
        }
        lines.reverse();
        lines
    }
}

/// A multiplicative hash, several times faster than the default one where nothing is optimised.
#[derive(Default)]
struct Fingerprint(u64);

impl Fingerprint {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for Fingerprint {
    fn finish(&self) -> u64 {
        let folded = (self.0 ^ (self.0 >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        folded ^ (folded >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.mix(u64::from(byte));
    }

    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }

    fn write_usize(&mut self, word: usize) {
        self.mix(word as u64);
    }

    fn write_isize(&mut self, word: isize) {
        self.mix(word as u64);
    }
}
