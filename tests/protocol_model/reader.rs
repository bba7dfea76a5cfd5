//! The reader's steps, none of which stores to shared memory. Letters in comments are those of the protocol at the
//! head of `protocol_model.rs`. What an operation returns is judged here, because only here is it known.

use crate::invariants::Invariant;
use crate::memory::{KEYS, Memory, Values};
use crate::world::{Bug, Pc, World};

/// The get of one key.
pub(crate) fn get_step(world: &World, bug: Bug, who: usize, key: usize) -> World {
    let mut next = world.clone();
    let memory = &world.memory;
    let cell_now = memory.cells[key];
    next.processes[who].pc = match world.processes[who].pc {
        // (a) An empty cell is a miss, at once.
        Pc::Idle => return look(next, who, key, world.began(), cell_now),
        Pc::GetAgain { began } => return look(next, who, key, began, cell_now),
        // (b)
        Pc::GetAccept { began, cell } => match memory.sequence_at(cell) <= memory.visible {
            true => Pc::GetCheck { began, cell, version: cell },
            false if bug == Bug::ReaderIgnoresVisible => Pc::GetCheck { began, cell, version: cell },
            false => Pc::GetBefore { began, cell },
        },
        // (c) The record that a pending one replaced.
        Pc::GetBefore { began, cell } if memory.visible >= memory.sequence_at(cell) => Pc::GetAgain { began },
        Pc::GetBefore { began, cell } => match memory.previous_at(cell) {
            0 => return return_value(next, who, key, began, 0),
            version => Pc::GetCheck { began, cell, version },
        },
        // (d)
        Pc::GetCheck { began, cell, .. } if cell != cell_now => Pc::GetAgain { began },
        Pc::GetCheck { began, version, .. } => return return_value(next, who, key, began, version),
        pc => unreachable!("a get does not stand at {pc:?}"),
    };
    next
}

fn look(mut next: World, who: usize, key: usize, began: u8, cell: u8) -> World {
    if cell == 0 {
        return return_value(next, who, key, began, 0);
    }
    next.processes[who].pc = Pc::GetAccept { began, cell };
    next
}

/// Judges I3 for one key.
fn return_value(mut world: World, who: usize, key: usize, began: u8, version: u8) -> World {
    let value = world.memory.value_at(version);
    judge(&mut world, began, |values| values[key] == value);
    world.finish_operation(who);
    world
}

/// The get of both keys as of one moment.
pub(crate) fn get_both_step(world: &World, bug: Bug, who: usize) -> World {
    let mut next = world.clone();
    let memory = &world.memory;
    next.processes[who].pc = match world.processes[who].pc {
        // (a)
        Pc::Idle => Pc::SnapFirst { began: world.began(), moment: memory.visible },
        Pc::SnapAgain { began } => Pc::SnapFirst { began, moment: memory.visible },
        // (b)
        Pc::SnapFirst { began, moment } => match value_of(memory, 0, moment) {
            Some(first) => Pc::SnapSecond { began, moment, first },
            None => Pc::SnapAgain { began },
        },
        Pc::SnapSecond { began, moment, first } => match value_of(memory, 1, moment) {
            Some(second) if (first != 0 && second != 0) || bug == Bug::SnapshotTrustsMissing => {
                return return_both(next, who, began, [first, second]);
            }
            Some(second) => Pc::SnapCheck { began, moment, values: [first, second] },
            None => Pc::SnapAgain { began },
        },
        // (c)
        Pc::SnapCheck { began, moment, .. } if moment != memory.visible => Pc::SnapAgain { began },
        Pc::SnapCheck { began, values, .. } => return return_both(next, who, began, values),
        pc => unreachable!("a get of both does not stand at {pc:?}"),
    };
    next
}

/// The value of `key` that `moment` shows, 0 for none, `None` if it is no longer within reach.
fn value_of(memory: &Memory, key: usize, moment: u8) -> Option<u8> {
    let cell = memory.cells[key];
    if cell == 0 || memory.sequence_at(cell) <= moment {
        return Some(memory.value_at(cell));
    }
    let before = memory.previous_at(cell);
    (before == 0 || memory.sequence_at(before) <= moment).then(|| memory.value_at(before))
}

/// Judges I3 for both keys.
fn return_both(mut world: World, who: usize, began: u8, values: [u8; KEYS]) -> World {
    judge(&mut world, began, |then| *then == values);
    world.finish_operation(who);
    world
}

/// What was read must have been so at some moment of the read, and no read that begins later may see an earlier one.
fn judge(world: &mut World, began: u8, agrees: impl Fn(&Values) -> bool) {
    let moments = usize::from(began)..=usize::from(world.observer.committed);
    match moments.clone().find(|&moment| agrees(&world.observer.history[moment])) {
        Some(moment) => world.observer.floor = world.observer.floor.max(moment as u8),
        None => world.observer.broken = Some(Invariant::I3ReadsAreOfOneMoment),
    }
}
