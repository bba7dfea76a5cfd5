//! What must hold in every state. Each invariant is judged as if every process died in that very state, so that no
//! death has to be spent for it. It knows what a state looks like, not how states follow each other.

use crate::memory::KEYS;
use crate::world::World;

/// The invariants I1 to I9, described at the head of `protocol_model.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Invariant {
    OneOwner,
    CommittedIsRecovered,
    ReadsAreOfTheirTime,
    ReadsNeverGoBack,
    SnapshotsAreWhole,
    LenCounts,
    RebuildAgrees,
    FailedStaysFailed,
    EveryoneFinishes,
}

/// The first invariant that `world` breaks. `EveryoneFinishes` is not a matter of one state: `explore` judges it.
pub(crate) fn broken(world: &World) -> Option<Invariant> {
    let checks = [
        (Invariant::OneOwner, one_owner(world)),
        (Invariant::CommittedIsRecovered, committed_is_recovered(world)),
        (Invariant::LenCounts, len_counts(world)),
        (Invariant::RebuildAgrees, rebuild_agrees(world)),
        (Invariant::FailedStaysFailed, failed_stays_failed(world)),
    ];
    let of_state = checks.into_iter().find(|(_, holds)| !holds).map(|(invariant, _)| invariant);
    world.observer.broken.or(of_state)
}

fn one_owner(world: &World) -> bool {
    let mut owners = world.processes.iter().filter(|process| process.alive && process.pc.owns_lock());
    let named = owners.next().is_none_or(|owner| owner.id == world.memory.lock);
    named && owners.next().is_none()
}

fn committed_is_recovered(world: &World) -> bool {
    let recovered = world.memory.recovered();
    let accepted = |entry: &u8| *entry == 0 || recovered.batch_at(*entry).seq <= recovered.visible;
    recovered.visible == world.observer.committed
        && recovered.indexed_values() == world.observer.committed_values()
        && recovered.entries.iter().all(accepted)
}

fn len_counts(world: &World) -> bool {
    let memory = &world.memory;
    let at_rest = memory.lock == 0 && memory.pending == 0;
    let present = (0..KEYS).filter(|&key| memory.indexed_values()[key] != 0).count();
    !at_rest || usize::from(memory.len) == present
}

fn rebuild_agrees(world: &World) -> bool {
    world.memory.rebuilt(world.observer.committed) == world.observer.committed_values()
}

fn failed_stays_failed(world: &World) -> bool {
    world.memory.rebuilt_beyond(world.observer.committed).all(|batch| !batch.disowned)
}
