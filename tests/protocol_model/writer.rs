//! The writer's steps, each of which reads or stores at most one shared word or one record. Numbers in comments are those
//! of the engine's steps.

use crate::memory::{Change, KEYS, Memory, Place, RedoList, SEGMENT_UNITS, SEGMENTS, SLEEPERS, Segment, Unit, Word};
use crate::world::{Bug, Pc, World};

/// What a lock word is that was handed to one sleeper: seeded bug.
const TOKEN: u8 = 1 << 6;

/// What a writer decides before its first store. It depends only on words that nobody but the owner changes, and the
/// owner not before `Apply`, so that each step may work it out anew instead of carrying it along.
struct Plan {
    sequence: u8,
    changes: [Change; KEYS],
    /// The records, and where each stands behind the batch's place; in the order in which they are written: the one that
    /// opens a batch comes last.
    units: Vec<(u8, Unit)>,
    list: RedoList,
}

impl Plan {
    /// `None` if there is nothing to change: the removal of a key that is absent.
    fn new(memory: &Memory, wanted: [Change; KEYS], operation: u8, place: Place, bug: Bug) -> Option<Plan> {
        let sequence = memory.visible + 1;
        let present = |key: usize| memory.value_at(memory.cells[key]) != 0;
        let mut changes = wanted;
        for (key, change) in changes.iter_mut().enumerate() {
            if *change == Change::Remove && !present(key) {
                *change = Change::Keep;
            }
        }
        // A batch of one key is a batch all the same; one operation on one key is alone.
        let alone = is_alone(wanted);
        let first = if alone { 0 } else { 1 };
        let (mut units, mut cells) = (Vec::new(), Vec::new());
        let mut live = memory.live;
        for (key, change) in changes.into_iter().enumerate() {
            let removes = change == Change::Remove;
            match change {
                Change::Keep => continue,
                Change::Set if !present(key) => live += 1,
                Change::Set => {}
                Change::Remove => live -= 1,
            }
            // A removal alone empties its cell, so nobody is led to the record; in a batch it is, and names what it removes.
            let previous = if present(key) && !(removes && alone) { memory.cells[key] } else { 0 };
            let at = first + units.len() as u8;
            let empties = removes && (alone || bug == Bug::BatchEmptiesCellsAtOnce);
            cells.push((key as u8, if empties { 0 } else { place.plus(at).location() }));
            units.push((at, Unit::Record { alone, sequence, operation, key: key as u8, removes, previous }));
        }
        if units.is_empty() {
            return None;
        }
        let mut list = RedoList::EMPTY;
        list.push(Word::Tail, place.plus(first + units.len() as u8).bits());
        list.push(Word::Live, if bug == Bug::LiveAsDelta { live.wrapping_sub(memory.live) } else { live });
        cells.into_iter().for_each(|(key, new)| list.push(Word::Cell(key), new));
        if !alone {
            units.push((0, Unit::Head { sequence, operation, members: units.len() as u8 }));
        }
        Some(Plan { sequence, changes, units, list })
    }
}

fn is_alone(wanted: [Change; KEYS]) -> bool {
    wanted.contains(&Change::Keep)
}

fn place_of((segment, offset): (u8, u8)) -> Place {
    Place { segment, offset }
}

/// Calls `visit` with the state after the next step of process `who`, or with several where it has a choice.
pub(crate) fn step(world: &World, bug: Bug, who: usize, wanted: [Change; KEYS], visit: &mut dyn FnMut(World)) {
    let mut next = world.clone();
    let operation = world.number(who);
    next.processes[who].pc = match world.processes[who].pc {
        Pc::Idle | Pc::Contend | Pc::SetSleepers { .. } | Pc::Sleep { .. } | Pc::Probe { .. } | Pc::Claim { .. } => {
            waiting_step(&mut next, bug, who)
        }
        Pc::Sweep
        | Pc::LookPending { .. }
        | Pc::Recover { .. }
        | Pc::RecoverVisible { .. }
        | Pc::RecoverClear { .. } => entering_step(&mut next, bug, who),
        Pc::Prepare => return prepare(&next, bug, who, wanted, visit),
        Pc::MakeSegment | Pc::Write { .. } | Pc::Fill { .. } | Pc::Commit { .. } => {
            proposing_step(&mut next, bug, who, wanted)
        }
        Pc::Apply { .. } | Pc::Publish { .. } | Pc::Clear { .. } | Pc::EmptyRemoved | Pc::CommitEmptied => {
            publishing_step(&mut next, bug, who, operation)
        }
        Pc::AbortWipe { place } => {
            wipe(&mut next.memory, place_of(place), is_alone(wanted), bug);
            Pc::AbortUnlock
        }
        Pc::Unlock | Pc::AbortUnlock => {
            if world.processes[who].pc == Pc::AbortUnlock {
                next.observer.fail(operation);
            }
            unlock(&mut next, bug);
            next.finish_operation(who);
            return visit(next);
        }
        pc => unreachable!("a writer does not stand at {pc:?}"),
    };
    visit(next);
}

/// Opening, step 6: remove what a dead owner made ahead, then free its lock word.
pub(crate) fn open_step(world: &World, bug: Bug, who: usize) -> World {
    let mut next = world.clone();
    let frees_first = bug == Bug::OpenerFreesBeforeItSweeps;
    next.processes[who].pc = match world.processes[who].pc {
        Pc::OpenSweep => {
            sweep(&mut next.memory, bug);
            if frees_first { Pc::Idle } else { Pc::OpenFree }
        }
        _ => {
            next.memory.lock = 0;
            if frees_first { Pc::OpenSweep } else { Pc::Idle }
        }
    };
    next
}

/// 2: the lock word. Sleeps end by themselves, so a step out of one is always possible.
fn waiting_step(world: &mut World, bug: Bug, who: usize) -> Pc {
    let me = world.processes[who].id;
    let word = world.memory.lock;
    match world.processes[who].pc {
        Pc::Idle if word == 0 => {
            world.memory.lock = me;
            Pc::LookPending { taken_over: false }
        }
        Pc::Idle => Pc::Contend,
        Pc::Contend if word & !SLEEPERS == 0 => Pc::Claim { seen: word, from_dead: false },
        Pc::Contend if word & TOKEN != 0 => if_mine(word, me),
        Pc::Contend if word & SLEEPERS == 0 => Pc::SetSleepers { seen: word },
        Pc::Contend => Pc::Sleep { seen: word },
        Pc::SetSleepers { seen } if word == seen => {
            world.memory.lock = seen | SLEEPERS;
            Pc::Sleep { seen: seen | SLEEPERS }
        }
        Pc::SetSleepers { .. } => Pc::Contend,
        Pc::Sleep { seen } if word == seen => Pc::Probe { seen },
        Pc::Sleep { .. } => Pc::Contend,
        Pc::Probe { seen } if world.is_present(seen & !SLEEPERS) && bug != Bug::TakeoverAfterTimeout => Pc::Contend,
        Pc::Probe { seen } if bug == Bug::RecoveryBeforeTheLock && world.memory.pending > world.memory.visible => {
            Pc::Recover { position: 0, claim: seen }
        }
        Pc::Probe { seen } => Pc::Claim { seen, from_dead: true },
        Pc::Claim { seen, from_dead } => {
            let stored_blindly = from_dead && bug == Bug::TakeoverByPlainStore;
            if word != seen && !stored_blindly {
                return Pc::Contend;
            }
            world.memory.lock = me | SLEEPERS;
            match from_dead {
                true if bug == Bug::RecoveryBeforeTheLock => Pc::Prepare,
                true if bug != Bug::TakeoverDoesNotSweep => Pc::Sweep,
                taken_over => Pc::LookPending { taken_over },
            }
        }
        pc => unreachable!("not waiting: {pc:?}"),
    }
}

/// Seeded bug: a word that was handed to a sleeper is taken by that one alone.
fn if_mine(word: u8, me: u8) -> Pc {
    if word & !(TOKEN | SLEEPERS) == me { Pc::Claim { seen: word, from_dead: false } } else { Pc::Contend }
}

/// 8: one swap. A sleeper that is woken looks at the word like anybody else.
fn unlock(world: &mut World, bug: Bug) {
    let sleeper = world.processes.iter().find(|p| p.alive && matches!(p.pc, Pc::Sleep { .. })).map(|p| p.id);
    world.memory.lock = match sleeper {
        Some(id) if bug == Bug::HandOffToken && world.memory.lock & SLEEPERS != 0 => id | TOKEN | SLEEPERS,
        _ => 0,
    };
}

/// What a dead owner made ahead has the name that the next commit would give; not so while a commit is pending.
fn sweep(memory: &mut Memory, bug: Bug) {
    let is_pending = memory.pending > memory.visible;
    if let Some(segment) = memory.log.get_mut(usize::from(memory.tail.segment) + 1)
        && (!is_pending || bug == Bug::SweepIgnoresPending)
    {
        *segment = Segment::NONE;
    }
}

/// 2: finish a commit that reached `pending`, with steps 6 to 8.
fn entering_step(world: &mut World, bug: Bug, who: usize) -> Pc {
    let memory = &mut world.memory;
    match world.processes[who].pc {
        Pc::Sweep => {
            sweep(memory, bug);
            Pc::LookPending { taken_over: true }
        }
        Pc::LookPending { taken_over } => {
            if taken_over && memory.pending == 0 && bug == Bug::WholeBatchCountsAsCommit {
                adopt_whole_batch(memory);
            }
            match memory.pending {
                0 => Pc::Prepare,
                _ if bug == Bug::RecoveryOnlyOnTakeover && !taken_over => Pc::Prepare,
                pending if pending > memory.visible => Pc::Recover { position: 0, claim: 0 },
                _ => Pc::RecoverClear { claim: 0 },
            }
        }
        Pc::Recover { position, claim } => {
            redo_word(memory, position, bug);
            match position + 1 < memory.redo.count {
                true => Pc::Recover { position: position + 1, claim },
                false => Pc::RecoverVisible { claim },
            }
        }
        Pc::RecoverVisible { claim } => {
            memory.visible = memory.pending.max(memory.visible);
            Pc::RecoverClear { claim }
        }
        Pc::RecoverClear { claim } => {
            memory.pending = 0;
            if claim == 0 { Pc::Prepare } else { Pc::Claim { seen: claim, from_dead: true } }
        }
        pc => unreachable!("not entering: {pc:?}"),
    }
}

/// 3: the one choice of a writer is whether its batch goes to the tail or to a new segment. Sizes decide that in the
/// engine; here both are tried.
fn prepare(world: &World, bug: Bug, who: usize, wanted: [Change; KEYS], visit: &mut dyn FnMut(World)) {
    let memory = &world.memory;
    let go = |pc| {
        let mut next = world.clone();
        next.processes[who].pc = pc;
        next
    };
    let Some(plan) = Plan::new(memory, wanted, world.number(who), memory.tail, bug) else {
        return visit(go(Pc::Unlock));
    };
    let fits = usize::from(memory.tail.offset) + plan.units.len() <= SEGMENT_UNITS;
    if fits {
        visit(go(Pc::Write { place: (memory.tail.segment, memory.tail.offset), index: 0 }));
    }
    let may_roll = memory.next_segment() < SEGMENTS && memory.tail.offset > 0;
    assert!(fits || may_roll, "the model's log has room for every bounded run");
    if may_roll {
        visit(go(Pc::MakeSegment));
    }
}

/// 3 to 5: the file, the batch, the redo list, the commit point.
fn proposing_step(world: &mut World, bug: Bug, who: usize, wanted: [Change; KEYS]) -> Pc {
    let operation = world.number(who);
    let memory = &mut world.memory;
    let pc = world.processes[who].pc;
    let (Pc::Write { place, .. } | Pc::Fill { place, .. } | Pc::Commit { place }) = pc else {
        let segment = memory.next_segment();
        memory.log[segment] = Segment::made_at(memory.tail.offset);
        return Pc::Write { place: (segment as u8, 0), index: 0 };
    };
    let plan = Plan::new(memory, wanted, operation, place_of(place), bug);
    let plan = plan.expect("a writer with nothing to change does not come here");
    let early = bug == Bug::PendingBeforeListIsComplete;
    match pc {
        Pc::Write { index, .. } => {
            let (behind, unit) = plan.units[usize::from(index)];
            memory.put(place_of(place).plus(behind), unit);
            match usize::from(index) + 1 < plan.units.len() {
                true => Pc::Write { place, index: index + 1 },
                false if early => Pc::Commit { place },
                false => Pc::Fill { place, position: 0 },
            }
        }
        // Nobody looks at the list before `pending` is set, so it is one step if it comes before that.
        Pc::Fill { .. } if !early => {
            memory.redo = plan.list;
            Pc::Commit { place }
        }
        Pc::Fill { position, .. } => {
            memory.redo.count = plan.list.count;
            memory.redo.words[usize::from(position)] = plan.list.words[usize::from(position)];
            match position + 1 < plan.list.count {
                true => Pc::Fill { place, position: position + 1 },
                false => Pc::Apply { position: 0 },
            }
        }
        _ => {
            memory.pending = plan.sequence;
            world.observer.commit(plan.sequence, operation, plan.changes);
            match bug {
                Bug::PendingBeforeListIsComplete => Pc::Fill { place, position: 0 },
                Bug::VisibleBeforeCells => Pc::Publish { sequence: plan.sequence },
                _ => Pc::Apply { position: 0 },
            }
        }
    }
}

/// 6 to 8: the words, `visible`, the end of the commit; then the commit that empties the cells of what was removed.
fn publishing_step(world: &mut World, bug: Bug, who: usize, operation: u8) -> Pc {
    let memory = &mut world.memory;
    match world.processes[who].pc {
        Pc::Apply { position } => {
            redo_word(memory, position, bug);
            let sequence = memory.pending;
            match position + 1 < memory.redo.count {
                true => Pc::Apply { position: position + 1 },
                false if bug == Bug::VisibleBeforeCells => Pc::Clear { sequence },
                false if bug == Bug::PendingClearedBeforeVisible => Pc::Clear { sequence },
                false => Pc::Publish { sequence },
            }
        }
        Pc::Publish { sequence } => {
            memory.visible = sequence;
            match bug {
                Bug::VisibleBeforeCells => Pc::Apply { position: 0 },
                Bug::PendingClearedBeforeVisible => Pc::EmptyRemoved,
                _ => Pc::Clear { sequence },
            }
        }
        Pc::Clear { sequence } => {
            memory.pending = 0;
            if bug == Bug::PendingClearedBeforeVisible { Pc::Publish { sequence } } else { Pc::EmptyRemoved }
        }
        Pc::EmptyRemoved => {
            let mut list = RedoList::EMPTY;
            for (key, &cell) in memory.cells.iter().enumerate() {
                let removed_now =
                    |unit| matches!(unit, Unit::Record { removes: true, operation: whose, .. } if whose == operation);
                if cell != 0 && removed_now(memory.unit(cell)) {
                    list.push(Word::Cell(key as u8), 0);
                }
            }
            if list.count == 0 {
                return Pc::Unlock;
            }
            memory.redo = list;
            Pc::CommitEmptied
        }
        Pc::CommitEmptied => {
            memory.pending = memory.visible + 1;
            world.observer.commit(memory.pending, 0, [Change::Keep; KEYS]);
            if bug == Bug::VisibleBeforeCells {
                Pc::Publish { sequence: memory.pending }
            } else {
                Pc::Apply { position: 0 }
            }
        }
        pc => unreachable!("not publishing: {pc:?}"),
    }
}

/// Where an operation goes on that fails, or `None` where it cannot: outside the lock there is nothing to guard but the
/// patience of a waiter.
pub(crate) fn after_failure(world: &World, bug: Bug, pc: Pc) -> Option<Pc> {
    match pc {
        Pc::Sleep { .. } => Some(Pc::Idle),
        Pc::Recover { claim: 0, .. } | Pc::RecoverVisible { claim: 0 } | Pc::RecoverClear { claim: 0 } => {
            Some(Pc::AbortUnlock)
        }
        Pc::LookPending { .. } | Pc::Prepare | Pc::MakeSegment => Some(Pc::AbortUnlock),
        Pc::Apply { .. } | Pc::Publish { .. } | Pc::Clear { .. } | Pc::EmptyRemoved | Pc::CommitEmptied => {
            Some(Pc::Unlock)
        }
        Pc::Write { place, index: 0 } if usize::from(place.0) < world.memory.next_segment() => Some(Pc::AbortUnlock),
        Pc::Write { place, .. } | Pc::Fill { place, .. } | Pc::Commit { place } => {
            let committed = bug == Bug::PendingBeforeListIsComplete && world.memory.pending != 0;
            Some(if committed { Pc::Unlock } else { Pc::AbortWipe { place } })
        }
        _ => None,
    }
}

/// A failed commit removes the segment that it made, or else empties the first record that it wrote: of a batch, the one
/// behind the place of its head.
fn wipe(memory: &mut Memory, place: Place, alone: bool, bug: Bug) {
    if bug == Bug::AbortLeavesBatchWhole {
        return;
    }
    if usize::from(place.segment) == memory.next_segment() {
        memory.log[usize::from(place.segment)] = Segment::NONE;
        return;
    }
    memory.put(place.plus(u8::from(!alone)), Unit::Empty);
}

/// The memory that a death in the middle of writing a record leaves, if that is where `who` stands.
pub(crate) fn torn(world: &World, bug: Bug, who: usize, wanted: [Change; KEYS]) -> Option<World> {
    let Pc::Write { place, index } = world.processes[who].pc else { return None };
    let place = place_of(place);
    let plan = Plan::new(&world.memory, wanted, world.number(who), place, bug)?;
    let mut next = world.clone();
    next.memory.put(place.plus(plan.units[usize::from(index)].0), Unit::Torn);
    Some(next)
}

fn redo_word(memory: &mut Memory, position: u8, bug: Bug) {
    match memory.redo.words[usize::from(position)] {
        (Word::Live, delta) if bug == Bug::LiveAsDelta => memory.live = memory.live.wrapping_add(delta),
        _ => memory.redo_word(position),
    }
}

/// Seeded bug: a whole batch of one record at the tail is taken for a commit, and a redo list is made from it.
fn adopt_whole_batch(memory: &mut Memory) {
    let place = memory.tail;
    if usize::from(place.offset) < SEGMENT_UNITS
        && let Unit::Record { alone: true, sequence, operation, key, removes, .. } = memory.unit(place.location())
        && sequence > memory.visible
    {
        let mut changes = [Change::Keep; KEYS];
        changes[usize::from(key)] = if removes { Change::Remove } else { Change::Set };
        if let Some(plan) = Plan::new(memory, changes, operation, place, Bug::WholeBatchCountsAsCommit) {
            memory.redo = plan.list;
            memory.pending = sequence;
        }
    }
}
