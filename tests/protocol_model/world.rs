//! One state of the model: memory, processes and what only an observer knows, with the steps that lead out of it.
//! What a writer or a reader does in its step is the matter of `writer` and `reader`.

use std::hash::{Hash, Hasher};

use crate::invariants::Invariant;
use crate::memory::{Change, KEYS, Memory, Values};
use crate::{reader, writer};

pub(crate) const PROCESSES: usize = 3;

/// More sequence numbers than a bounded run can use.
pub(crate) const SEQUENCES: usize = 14;
/// Operations of a script, at most.
const OPERATIONS: usize = 4;

/// The deviation from the protocol that a run is seeded with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Bug {
    #[default]
    None,
    RecoveryOnlyOnTakeover,
    WholeBatchCountsAsCommit,
    VisibleBeforeCells,
    PendingBeforeListIsComplete,
    TakeoverByPlainStore,
    OwnerIdsReused,
    TakeoverDoesNotSweep,
    ReaderIgnoresVisible,
    LiveAsDelta,
    SnapshotTrustsMissing,
    HeadVouchesForNoMember,
    AbortLeavesBatchWhole,
    HandOffToken,
    BatchEmptiesCellsAtOnce,
    PendingClearedBeforeVisible,
    SweepIgnoresPending,
    RecoveryBeforeTheLock,
    TakeoverAfterTimeout,
    OpenerFreesBeforeItSweeps,
}

/// One operation of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    /// A put or a removal, or a batch: one change for each key.
    Write([Change; KEYS]),
    /// A lock-free get of one key.
    Get(usize),
    /// A lock-free get of both keys as of one moment.
    GetBoth,
}

/// What a run explores.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) scripts: [&'static [Op]; PROCESSES],
    /// How many writers may die, waiting for the lock or inside it. The death of a reader, or between operations, is the
    /// same as never being scheduled again, and that is explored anyway.
    pub(crate) deaths: u8,
    /// How many operations may fail: panic or meet an error under the lock, whose guard then unlocks, or run out of time
    /// waiting for it.
    pub(crate) failures: u8,
    /// Whether a new process may come for each one that died, and go on with the rest of its script.
    pub(crate) newcomers: bool,
    pub(crate) bug: Bug,
}

/// Where a process stands: the variant names the step that it makes next, the fields are its locals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Pc {
    /// About to begin its next operation, or at the end of its script.
    Idle,

    // An opener that nobody else alive hinders.
    OpenSweep,
    OpenFree,

    // A writer waiting for the lock.
    Contend,
    SetSleepers {
        seen: u8,
    },
    Sleep {
        seen: u8,
    },
    Probe {
        seen: u8,
    },
    Claim {
        seen: u8,
        from_dead: bool,
    },

    // A writer that owns the lock; with `claim` not 0, one that is seeded to recover before it does.
    Sweep,
    LookPending {
        taken_over: bool,
    },
    Recover {
        position: u8,
        claim: u8,
    },
    RecoverVisible {
        claim: u8,
    },
    RecoverClear {
        claim: u8,
    },
    Prepare,
    MakeSegment,
    Write {
        place: (u8, u8),
        index: u8,
    },
    Fill {
        place: (u8, u8),
        position: u8,
    },
    Commit {
        place: (u8, u8),
    },
    Apply {
        position: u8,
    },
    Publish {
        sequence: u8,
    },
    Clear {
        sequence: u8,
    },
    EmptyRemoved,
    CommitEmptied,
    Unlock,
    AbortWipe {
        place: (u8, u8),
    },
    AbortUnlock,

    // A reader. `began` is the first moment that it may still show.
    GetAccept {
        began: u8,
        cell: u8,
    },
    GetBefore {
        began: u8,
        cell: u8,
    },
    GetCheck {
        began: u8,
        cell: u8,
        version: u8,
    },
    GetAgain {
        began: u8,
    },
    SnapFirst {
        began: u8,
        moment: u8,
    },
    SnapSecond {
        began: u8,
        moment: u8,
        first: u8,
    },
    SnapCheck {
        began: u8,
        moment: u8,
        values: Values,
    },
    SnapAgain {
        began: u8,
    },
}

impl Pc {
    pub(crate) fn owns_lock(self) -> bool {
        use Pc::*;
        match self {
            Recover { claim, .. } | RecoverVisible { claim } | RecoverClear { claim } => claim == 0,
            Sweep | LookPending { .. } | Prepare | MakeSegment | Write { .. } | Fill { .. } | Commit { .. } => true,
            Apply { .. } | Publish { .. } | Clear { .. } | EmptyRemoved | CommitEmptied | Unlock => true,
            AbortWipe { .. } | AbortUnlock => true,
            Idle | OpenSweep | OpenFree => false,
            Contend | SetSleepers { .. } | Sleep { .. } | Probe { .. } | Claim { .. } => false,
            GetAccept { .. } | GetBefore { .. } | GetCheck { .. } | GetAgain { .. } => false,
            SnapFirst { .. } | SnapSecond { .. } | SnapCheck { .. } | SnapAgain { .. } => false,
        }
    }

    fn opens(self) -> bool {
        matches!(self, Pc::OpenSweep | Pc::OpenFree)
    }

    /// Whether a death here can make a difference to others: see [`Setup::deaths`].
    fn matters(self) -> bool {
        use Pc::*;
        let reads = matches!(self, GetAccept { .. } | GetBefore { .. } | GetCheck { .. } | GetAgain { .. });
        let reads_both = matches!(self, SnapFirst { .. } | SnapSecond { .. } | SnapCheck { .. } | SnapAgain { .. });
        !(reads || reads_both || self == Idle)
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    /// What it writes into the lock word. Its presence is there exactly while it is alive.
    pub(crate) id: u8,
    pub(crate) alive: bool,
    /// How many operations of its script are over.
    pub(crate) done: u8,
    pub(crate) pc: Pc,
}

/// What no process can see, kept to judge what they do.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Observer {
    /// The newest sequence number that reached `pending`.
    pub(crate) committed: u8,
    /// The values of both keys as of every sequence number up to `committed`.
    pub(crate) history: [Values; SEQUENCES],
    /// The operation that committed each sequence number, 0 for a commit without a batch.
    operations: [u8; SEQUENCES],
    /// The newest moment that a finished read has shown.
    pub(crate) floor: u8,
    /// A bit for each operation that was told that it failed.
    failed: u16,
    /// An invariant that an operation broke by what it returned.
    pub(crate) broken: Option<Invariant>,
}

impl Observer {
    /// Notes that a commit reached `pending`; `operation` is 0 if it has no batch.
    pub(crate) fn commit(&mut self, sequence: u8, operation: u8, changes: [Change; KEYS]) {
        let mut values = self.history[usize::from(self.committed)];
        for (value, change) in values.iter_mut().zip(changes) {
            match change {
                Change::Keep => {}
                Change::Set => *value = operation,
                Change::Remove => *value = 0,
            }
        }
        self.committed = sequence;
        self.history[usize::from(sequence)] = values;
        self.operations[usize::from(sequence)] = operation;
    }

    pub(crate) fn committed_values(&self) -> Values {
        self.history[usize::from(self.committed)]
    }

    /// The operations whose batches were committed, in order.
    pub(crate) fn operations(&self) -> impl Iterator<Item = u8> {
        self.operations[..=usize::from(self.committed)].iter().copied().filter(|&operation| operation != 0)
    }

    pub(crate) fn fail(&mut self, operation: u8) {
        self.failed |= 1 << operation;
    }

    pub(crate) fn has_failed(&self, operation: u8) -> bool {
        self.failed & (1 << operation) != 0
    }
}

impl Hash for Observer {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let end = usize::from(self.committed);
        state.write_u64(u64::from(self.failed) << 16 | u64::from(self.floor) << 8 | u64::from(self.committed));
        state.write(self.history[..=end].as_flattened());
        state.write(&self.operations[..=end]);
        self.broken.is_some().hash(state);
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) memory: Memory,
    pub(crate) processes: [Process; PROCESSES],
    pub(crate) observer: Observer,
    next_id: u8,
    deaths_left: u8,
    failures_left: u8,
}

/// What happens between two states, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Step,
    Failure,
    Death,
    Birth,
}

impl World {
    pub(crate) fn new(setup: &Setup) -> World {
        let process = |id| Process { id, alive: true, done: 0, pc: Pc::Idle };
        World {
            memory: Memory::new(),
            processes: [process(1), process(2), process(3)],
            observer: Observer {
                committed: 0,
                history: [[0; KEYS]; SEQUENCES],
                operations: [0; SEQUENCES],
                floor: 0,
                failed: 0,
                broken: None,
            },
            next_id: 4,
            deaths_left: setup.deaths,
            failures_left: setup.failures,
        }
    }

    /// The operation that process `who` is in or comes to next.
    pub(crate) fn operation(&self, setup: &Setup, who: usize) -> Option<Op> {
        setup.scripts[who].get(usize::from(self.processes[who].done)).copied()
    }

    /// The number of that operation, of all the only one, and the value that it sets.
    pub(crate) fn number(&self, who: usize) -> u8 {
        who as u8 * OPERATIONS as u8 + self.processes[who].done + 1
    }

    /// The first moment that a read which begins now may show.
    pub(crate) fn began(&self) -> u8 {
        self.memory.visible.max(self.observer.floor)
    }

    /// The presence test: does anybody alive hold this id?
    pub(crate) fn is_present(&self, id: u8) -> bool {
        self.processes.iter().any(|process| process.alive && process.id == id)
    }

    /// Whether everybody alive is at the end of its script.
    pub(crate) fn is_finished(&self, setup: &Setup) -> bool {
        (0..PROCESSES).all(|who| !self.processes[who].alive || self.operation(setup, who).is_none())
    }

    pub(crate) fn finish_operation(&mut self, who: usize) {
        self.processes[who].done += 1;
        self.processes[who].pc = Pc::Idle;
    }

    /// Calls `visit` with every state that one event leads to.
    pub(crate) fn successors(&self, setup: &Setup, visit: &mut dyn FnMut(usize, Event, World)) {
        for who in 0..PROCESSES {
            let process = &self.processes[who];
            let Some(operation) = self.operation(setup, who) else { continue };
            if !process.alive {
                self.bear(setup, who, visit);
                continue;
            }
            if process.pc.opens() {
                visit(who, Event::Step, writer::open_step(self, setup.bug, who));
            } else {
                match operation {
                    Op::Write(changes) => {
                        writer::step(self, setup.bug, who, changes, &mut |next| visit(who, Event::Step, next))
                    }
                    Op::Get(key) => visit(who, Event::Step, reader::get_step(self, setup.bug, who, key)),
                    Op::GetBoth => visit(who, Event::Step, reader::get_both_step(self, setup.bug, who)),
                }
            }
            if self.deaths_left > 0 && process.pc.matters() {
                visit(who, Event::Death, self.after_death(who));
                if let Op::Write(changes) = operation
                    && let Some(torn) = writer::torn(self, setup.bug, who, changes)
                {
                    visit(who, Event::Death, torn.after_death(who));
                }
            }
            if self.failures_left > 0
                && let Some(pc) = writer::after_failure(self, setup.bug, process.pc)
            {
                let mut next = self.clone();
                next.failures_left -= 1;
                next.processes[who].pc = pc;
                if pc == Pc::Idle {
                    next.finish_operation(who);
                }
                visit(who, Event::Failure, next);
            }
        }
    }

    /// Presence and locals vanish; memory stays as it is, the lock word included.
    fn after_death(&self, who: usize) -> World {
        let mut next = self.clone();
        next.deaths_left -= 1;
        next.processes[who].alive = false;
        if !next.processes[who].pc.opens() {
            next.processes[who].done += 1;
        }
        next.processes[who].pc = Pc::Idle;
        next
    }

    /// Somebody opens the store: one at a time, and if nobody else is alive, the lock word of the dead is freed first.
    fn bear(&self, setup: &Setup, who: usize, visit: &mut dyn FnMut(usize, Event, World)) {
        if !setup.newcomers || self.processes.iter().any(|process| process.alive && process.pc.opens()) {
            return;
        }
        // Whoever has come to the end of its script has closed the store.
        let uses = |other: usize| self.processes[other].alive && self.operation(setup, other).is_some();
        let is_alone = !(0..PROCESSES).any(uses);
        let mut next = self.clone();
        next.processes[who].alive = true;
        if setup.bug != Bug::OwnerIdsReused {
            next.processes[who].id = self.next_id;
            next.next_id += 1;
        }
        if is_alone && self.memory.lock != 0 {
            let frees_first = setup.bug == Bug::OpenerFreesBeforeItSweeps;
            next.processes[who].pc = if frees_first { Pc::OpenFree } else { Pc::OpenSweep };
        }
        visit(who, Event::Birth, next);
    }
}
