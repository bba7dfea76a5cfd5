//! What must hold in every state. Each invariant is judged as if every process died in that very state, so that no
//! death has to be spent for it. It knows what a state looks like, not how states follow each other.

use crate::memory::{KEYS, Memory, Unit};
use crate::world::{Bug, World};

/// The invariants described at the head of `protocol_model.rs`, with the engine's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Invariant {
    I1OneOwner,
    I2CommittedIsInEffect,
    I3ReadsAreOfOneMoment,
    I4WhatCellsLeadToStays,
    I6LiveCounts,
    I7RebuildAgrees,
    EveryoneFinishes,
}

/// The first invariant that `world` breaks. `EveryoneFinishes` is not a matter of one state: `explore` judges it.
pub(crate) fn broken(world: &World, bug: Bug) -> Option<Invariant> {
    if world.observer.broken.is_some() {
        return world.observer.broken;
    }
    let recovered = world.memory.recovered();
    let checks = [
        (Invariant::I1OneOwner, one_owner(world)),
        (Invariant::I2CommittedIsInEffect, committed_is_in_effect(world, &recovered)),
        (Invariant::I4WhatCellsLeadToStays, what_cells_lead_to_stays(&world.memory, &recovered)),
        (Invariant::I6LiveCounts, live_counts(&world.memory)),
        (Invariant::I7RebuildAgrees, rebuild_agrees(world, bug)),
    ];
    checks.into_iter().find(|(_, holds)| !holds).map(|(invariant, _)| invariant)
}

fn one_owner(world: &World) -> bool {
    let mut owners = world.processes.iter().filter(|process| process.alive && process.pc.owns_lock());
    let named = owners.next().is_none_or(|owner| world.memory.is_owned_by(owner.id));
    named && owners.next().is_none()
}

fn committed_is_in_effect(world: &World, recovered: &Memory) -> bool {
    recovered.visible == world.observer.committed && recovered.indexed_values() == world.observer.committed_values()
}

/// What a cell leads to now, and after recovery, is a record of its key; so is what that one replaced, and older.
fn what_cells_lead_to_stays(memory: &Memory, recovered: &Memory) -> bool {
    let is_of = |location: u8, wanted: usize| match memory.unit(location) {
        Unit::Record { key, .. } => usize::from(key) == wanted,
        _ => false,
    };
    let leads = |location: u8, key: usize| {
        let previous = if location == 0 { 0 } else { memory.previous_at(location) };
        let of_key = location == 0 || is_of(location, key);
        let before =
            previous == 0 || (is_of(previous, key) && memory.sequence_at(previous) < memory.sequence_at(location));
        of_key && before && (location == 0 || memory.sequence_at(location) <= recovered.visible)
    };
    (0..KEYS).all(|key| leads(memory.cells[key], key) && leads(recovered.cells[key], key))
}

fn live_counts(memory: &Memory) -> bool {
    let at_rest = memory.lock == 0 && memory.pending == 0;
    let present = memory.indexed_values().into_iter().filter(|&value| value != 0).count();
    !at_rest || usize::from(memory.live) == present
}

/// The log tells of the committed batches in their order, and of at most one more, which is whole, and whose writer was
/// not told that it failed.
fn rebuild_agrees(world: &World, bug: Bug) -> bool {
    let mut committed = world.observer.operations();
    let (mut agrees, mut beyond) = (true, 0);
    world.memory.rebuilt(bug, |found| {
        agrees &= found.of_one;
        match committed.next() {
            Some(operation) => agrees &= found.operation == operation,
            None => {
                agrees &= !world.observer.has_failed(found.operation);
                beyond += 1;
            }
        }
    });
    agrees && beyond <= 1 && committed.next().is_none()
}
