//! The reader's steps, none of which stores to shared memory. Letters in comments are those of the protocol at the
//! head of `protocol_model.rs`. What an operation returns is judged here, because only here is it known.

use crate::invariants::Invariant;
use crate::memory::{KEYS, Memory};
use crate::world::{Bug, Pc, World};

/// The get of one key.
pub(crate) fn get_step(world: &World, bug: Bug, who: usize, key: usize) -> World {
    let mut next = world.clone();
    let memory = &world.memory;
    let entry_now = memory.entries[key];
    next.processes[who].pc = match world.processes[who].pc {
        Pc::Idle => Pc::ReadVisible { began: memory.visible, entry: entry_now },
        Pc::ReadRestart { began } => Pc::ReadVisible { began, entry: entry_now },
        Pc::ReadVisible { began, entry } => {
            let limit = if bug == Bug::ReaderIgnoresVisible { u8::MAX } else { memory.visible };
            let version = if entry == 0 || memory.batch_at(entry).seq <= limit {
                entry
            } else {
                memory.batch_at(entry).prev[key]
            };
            Pc::ReadAgain { began, entry, version }
        }
        Pc::ReadAgain { began, entry, .. } if entry != entry_now => Pc::ReadRestart { began },
        Pc::ReadAgain { began, version, .. } => {
            return_value(&mut next, who, key, began, version);
            return next;
        }
        pc => unreachable!("a get does not stand at {pc:?}"),
    };
    next
}

/// Judges I3 and I4.
fn return_value(world: &mut World, who: usize, key: usize, began: u8, version: u8) {
    let value = world.memory.value_at(version, key);
    let seq = if version == 0 { 0 } else { world.memory.batch_at(version).seq };
    let newest = &mut world.processes[who].newest[key];
    let went_back = seq != 0 && seq < *newest;
    *newest = seq.max(*newest);
    let moments = &world.observer.history[usize::from(began)..=usize::from(world.memory.visible)];
    if went_back {
        world.observer.broken = Some(Invariant::ReadsNeverGoBack);
    } else if !moments.iter().any(|values| values[key] == value) {
        world.observer.broken = Some(Invariant::ReadsAreOfTheirTime);
    }
    world.finish_operation(who);
}

/// The get of both keys at one snapshot.
pub(crate) fn get_both_step(world: &World, bug: Bug, who: usize) -> World {
    let mut next = world.clone();
    let memory = &world.memory;
    next.processes[who].pc = match world.processes[who].pc {
        Pc::Idle => Pc::SnapFirst { snapshot: memory.visible },
        Pc::SnapFirst { snapshot } => match version_at(memory, 0, snapshot) {
            Some(first) => Pc::SnapSecond { snapshot, first },
            None => Pc::Idle,
        },
        Pc::SnapSecond { snapshot, first } => match version_at(memory, 1, snapshot) {
            Some(second) if (first != 0 && second != 0) || bug == Bug::SnapshotTrustsMissing => {
                return_both(&mut next, who, snapshot, [first, second]);
                return next;
            }
            Some(second) => Pc::SnapCheck { snapshot, versions: [first, second] },
            None => Pc::Idle,
        },
        Pc::SnapCheck { snapshot, .. } if snapshot != memory.visible => Pc::Idle,
        Pc::SnapCheck { snapshot, versions } => {
            return_both(&mut next, who, snapshot, versions);
            return next;
        }
        pc => unreachable!("a get of both does not stand at {pc:?}"),
    };
    next
}

/// The location of the version of `key` that `snapshot` shows, 0 for none, `None` if it is no longer within reach.
fn version_at(memory: &Memory, key: usize, snapshot: u8) -> Option<u8> {
    let entry = memory.entries[key];
    if entry == 0 || memory.batch_at(entry).seq <= snapshot {
        return Some(entry);
    }
    let before = memory.batch_at(entry).prev[key];
    if before == 0 || memory.batch_at(before).seq <= snapshot { Some(before) } else { None }
}

/// Judges I5.
fn return_both(world: &mut World, who: usize, snapshot: u8, versions: [u8; KEYS]) {
    let values = [world.memory.value_at(versions[0], 0), world.memory.value_at(versions[1], 1)];
    if world.observer.history[usize::from(snapshot)] != values {
        world.observer.broken = Some(Invariant::SnapshotsAreWhole);
    }
    world.finish_operation(who);
}
