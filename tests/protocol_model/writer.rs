//! The writer's steps, each of which reads or stores at most one shared word (or one half of a batch). Numbers in
//! comments are those of the protocol at the head of `protocol_model.rs`.

use crate::memory::{Batch, Bytes, Change, KEYS, Memory, RedoList, SLOTS, Word};
use crate::world::{Bug, Pc, World};

/// What a writer decides before its first store. It depends only on words that nobody but the owner changes, and the
/// owner not before `Apply`, so that each step may work it out anew instead of carrying it along.
struct Plan {
    seq: u8,
    changes: [Change; KEYS],
    prev: [u8; KEYS],
    list: RedoList,
}

impl Plan {
    /// `None` if there is nothing to change: the delete of a key that is absent.
    fn new(memory: &Memory, wanted: [Change; KEYS], place: u8, bug: Bug) -> Option<Plan> {
        let present = |key: usize| memory.value_at(memory.entries[key], key) != 0;
        let mut plan = Plan {
            seq: memory.visible.max(memory.burnt) + 1,
            changes: [Change::Keep; KEYS],
            prev: [0; KEYS],
            list: RedoList::EMPTY,
        };
        let mut len = memory.len;
        for (key, change) in wanted.into_iter().enumerate() {
            match change {
                Change::Set(_) if !present(key) => len += 1,
                Change::Set(_) => {}
                Change::Delete if present(key) => len -= 1,
                Change::Delete | Change::Keep => {
                    // A tombstone that all readers accept has done its work: the next commit clears its entry.
                    if memory.entries[key] != 0 && !present(key) {
                        plan.list.push(Word::Entry(key as u8), 0);
                    }
                    continue;
                }
            }
            plan.changes[key] = change;
            plan.prev[key] = if present(key) { memory.entries[key] } else { 0 };
            plan.list.push(Word::Entry(key as u8), place + 1);
        }
        if plan.changes == [Change::Keep; KEYS] {
            return None;
        }
        plan.list.push(Word::Tail, place + 1);
        let len_word = if bug == Bug::LenAsDelta { len.wrapping_sub(memory.len) } else { len };
        plan.list.push(Word::Len, len_word);
        Some(plan)
    }

    fn batch(&self, memory: &Memory, bytes: Bytes) -> Batch {
        Batch { seq: self.seq, follows: memory.visible, changes: self.changes, prev: self.prev, bytes, disowned: false }
    }
}

/// Calls `visit` with the state after the next step of process `who`, or with several where it has a choice.
pub(crate) fn step(world: &World, bug: Bug, who: usize, wanted: [Change; KEYS], visit: &mut dyn FnMut(World)) {
    let mut next = world.clone();
    next.processes[who].pc = match world.processes[who].pc {
        Pc::Idle | Pc::Probe { .. } | Pc::Claim { .. } => waiting_step(&mut next, bug, who),
        Pc::Enter { .. } | Pc::Burn | Pc::Recover { .. } | Pc::RecoverVisible | Pc::RecoverClear => {
            entering_step(&mut next, bug, who)
        }
        Pc::Prepare => return prepare(&next, bug, who, wanted, visit),
        Pc::FirstHalf { .. } | Pc::SecondHalf { .. } | Pc::Fill { .. } | Pc::Commit { .. } => {
            proposing_step(&mut next, bug, who, wanted)
        }
        Pc::Apply { .. } | Pc::Publish | Pc::Clear => publishing_step(&mut next, bug, who),
        Pc::AbortBurn { .. } | Pc::AbortWipe { .. } => aborting_step(&mut next, bug, who),
        Pc::Unlock => {
            next.memory.lock = 0;
            next.finish_operation(who);
            return visit(next);
        }
        Pc::AbortUnlock { place } => {
            next.memory.lock = 0;
            next.memory.log[usize::from(place)].disowned = true;
            next.finish_operation(who);
            return visit(next);
        }
        pc => unreachable!("a writer does not stand at {pc:?}"),
    };
    visit(next);
}

/// 1: look at the word, ask whether the owner is dead, compare and swap.
fn waiting_step(world: &mut World, bug: Bug, who: usize) -> Pc {
    match world.processes[who].pc {
        Pc::Idle => match world.memory.lock {
            0 => Pc::Claim { seen: 0, from_dead: false },
            seen => Pc::Probe { seen },
        },
        Pc::Probe { seen } if world.is_present(seen) => Pc::Idle,
        Pc::Probe { seen } => Pc::Claim { seen, from_dead: true },
        Pc::Claim { seen, from_dead } => {
            let stored_blindly = from_dead && bug == Bug::TakeoverByPlainStore;
            if world.memory.lock != seen && !stored_blindly {
                return Pc::Idle;
            }
            world.memory.lock = world.processes[who].id;
            Pc::Enter { taken_over: from_dead }
        }
        pc => unreachable!("not waiting: {pc:?}"),
    }
}

/// 2: finish a commit that reached `pending`, or burn what a dead owner may have left in the log.
fn entering_step(world: &mut World, bug: Bug, who: usize) -> Pc {
    let memory = &mut world.memory;
    match world.processes[who].pc {
        Pc::Enter { taken_over } => {
            let may_recover = taken_over || bug != Bug::RecoveryOnlyOnTakeover;
            if taken_over && memory.pending == 0 && bug == Bug::WholeBatchCountsAsCommit {
                adopt_whole_batch(memory);
            }
            if memory.pending != 0 && may_recover {
                Pc::Recover { position: 0 }
            } else if taken_over && bug != Bug::TakeoverDoesNotBurn {
                Pc::Burn
            } else {
                Pc::Prepare
            }
        }
        Pc::Recover { position } => {
            redo_word(memory, position, bug);
            if position + 1 < memory.redo.count { Pc::Recover { position: position + 1 } } else { Pc::RecoverVisible }
        }
        Pc::RecoverVisible => {
            memory.visible = memory.pending;
            Pc::RecoverClear
        }
        Pc::RecoverClear => {
            memory.pending = 0;
            Pc::Prepare
        }
        Pc::Burn => {
            burn(memory, bug);
            Pc::Prepare
        }
        pc => unreachable!("not entering: {pc:?}"),
    }
}

/// Voids the sequence number that the batch left behind carries, which is one above all those burnt before it.
fn burn(memory: &mut Memory, bug: Bug) {
    let before = if bug == Bug::BurnIsOnlyAFlag { memory.visible } else { memory.visible.max(memory.burnt) };
    memory.burnt = before + 1;
}

/// 3: the only choice of a writer is the place. Bytes of a dead or failed writer at the tail are either overwritten,
/// or stay because this batch does not fit behind the tail and goes to a fresh segment.
fn prepare(world: &World, bug: Bug, who: usize, wanted: [Change; KEYS], visit: &mut dyn FnMut(World)) {
    let memory = &world.memory;
    let tail = usize::from(memory.tail);
    let go = |pc| {
        let mut next = world.clone();
        next.processes[who].pc = pc;
        next
    };
    if Plan::new(memory, wanted, 0, bug).is_none() {
        return visit(go(Pc::Unlock));
    }
    visit(go(Pc::FirstHalf { place: memory.tail }));
    if memory.log[tail].bytes != Bytes::Unwritten {
        let fresh = (tail..SLOTS).find(|&place| memory.log[place].bytes == Bytes::Unwritten);
        let fresh = fresh.expect("the model's log has room for every bounded run");
        visit(go(Pc::FirstHalf { place: fresh as u8 }));
    }
}

/// 4 to 6: the batch, the redo list, the commit point.
fn proposing_step(world: &mut World, bug: Bug, who: usize, wanted: [Change; KEYS]) -> Pc {
    let pc = world.processes[who].pc;
    let (Pc::FirstHalf { place } | Pc::SecondHalf { place } | Pc::Fill { place, .. } | Pc::Commit { place }) = pc
    else {
        unreachable!("not proposing: {pc:?}")
    };
    let memory = &mut world.memory;
    let plan = Plan::new(memory, wanted, place, bug).expect("a writer with nothing to change does not come here");
    let early = bug == Bug::PendingBeforeListIsComplete;
    match pc {
        Pc::FirstHalf { .. } => {
            memory.log[usize::from(place)] = plan.batch(memory, Bytes::Torn);
            Pc::SecondHalf { place }
        }
        Pc::SecondHalf { .. } => {
            memory.log[usize::from(place)] = plan.batch(memory, Bytes::Whole);
            if early { Pc::Commit { place } } else { Pc::Fill { place, position: 0 } }
        }
        Pc::Fill { position, .. } => {
            memory.redo.count = plan.list.count;
            memory.redo.words[usize::from(position)] = plan.list.words[usize::from(position)];
            match position + 1 < plan.list.count {
                true => Pc::Fill { place, position: position + 1 },
                false if early => Pc::Apply { position: 0 },
                false => Pc::Commit { place },
            }
        }
        _ => {
            memory.pending = plan.seq;
            world.observer.commit(plan.seq, plan.changes);
            match bug {
                Bug::PendingBeforeListIsComplete => Pc::Fill { place, position: 0 },
                Bug::VisibleBeforeEntries => Pc::Publish,
                _ => Pc::Apply { position: 0 },
            }
        }
    }
}

/// 7 to 9: the words, V, the end of the commit.
fn publishing_step(world: &mut World, bug: Bug, who: usize) -> Pc {
    let memory = &mut world.memory;
    match world.processes[who].pc {
        Pc::Apply { position } => {
            redo_word(memory, position, bug);
            match position + 1 < memory.redo.count {
                true => Pc::Apply { position: position + 1 },
                false if bug == Bug::VisibleBeforeEntries => Pc::Clear,
                false => Pc::Publish,
            }
        }
        Pc::Publish => {
            memory.visible = memory.pending;
            if bug == Bug::VisibleBeforeEntries { Pc::Apply { position: 0 } } else { Pc::Clear }
        }
        Pc::Clear => {
            memory.pending = 0;
            Pc::Unlock
        }
        pc => unreachable!("not publishing: {pc:?}"),
    }
}

/// The guard of an operation that failed after its first log byte.
fn aborting_step(world: &mut World, bug: Bug, who: usize) -> Pc {
    match world.processes[who].pc {
        Pc::AbortBurn { place } => {
            burn(&mut world.memory, bug);
            if bug == Bug::AbortLeavesBatchWhole { Pc::AbortUnlock { place } } else { Pc::AbortWipe { place } }
        }
        Pc::AbortWipe { place } => {
            world.memory.log[usize::from(place)].bytes = Bytes::Torn;
            Pc::AbortUnlock { place }
        }
        pc => unreachable!("not aborting: {pc:?}"),
    }
}

/// Where the guard of a panicking operation goes on, or `None` where no panic is allowed: outside the lock, where
/// there is nothing to guard, and between a takeover and its burn, where it would lose the knowledge of the takeover.
pub(crate) fn after_panic(world: &World, bug: Bug, pc: Pc) -> Option<Pc> {
    match pc {
        Pc::Enter { .. } | Pc::Burn => (bug == Bug::FailureBeforeBurn).then_some(Pc::Unlock),
        Pc::Recover { .. } | Pc::RecoverVisible | Pc::RecoverClear => Some(Pc::Unlock),
        Pc::Prepare | Pc::FirstHalf { .. } => Some(Pc::Unlock),
        Pc::Apply { .. } | Pc::Publish | Pc::Clear => Some(Pc::Unlock),
        Pc::SecondHalf { place } | Pc::Fill { place, .. } | Pc::Commit { place } => {
            let committed = bug == Bug::PendingBeforeListIsComplete && world.memory.pending != 0;
            Some(if committed { Pc::Unlock } else { Pc::AbortBurn { place } })
        }
        _ => None,
    }
}

fn redo_word(memory: &mut Memory, position: u8, bug: Bug) {
    match memory.redo.words[usize::from(position)] {
        (Word::Len, delta) if bug == Bug::LenAsDelta => memory.len = memory.len.wrapping_add(delta),
        _ => memory.redo_word(position),
    }
}

/// Seeded bug: a whole batch at the tail is taken for a commit, and a redo list is made from it.
fn adopt_whole_batch(memory: &mut Memory) {
    let batch = memory.log[usize::from(memory.tail)];
    if batch.bytes == Bytes::Whole
        && batch.seq > memory.visible
        && let Some(plan) = Plan::new(memory, batch.changes, memory.tail, Bug::WholeBatchCountsAsCommit)
    {
        memory.redo = plan.list;
        memory.pending = batch.seq;
    }
}
