//! One state of the model: memory, processes and what only an observer knows, with the steps that lead out of it.
//! What a writer or a reader does in its step is the matter of `writer` and `reader`.

use std::hash::{Hash, Hasher};

use crate::invariants::Invariant;
use crate::memory::{self, Change, KEYS, Memory, Values};
use crate::{reader, writer};

pub(crate) const PROCESSES: usize = 3;

/// More sequence numbers than a bounded run can use, burnt ones included.
pub(crate) const SEQS: usize = 10;

/// The deviation from the protocol that a run is seeded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    None,
    RecoveryOnlyOnTakeover,
    WholeBatchCountsAsCommit,
    VisibleBeforeEntries,
    PendingBeforeListIsComplete,
    TakeoverByPlainStore,
    OwnerIdsReused,
    TakeoverDoesNotBurn,
    ReaderIgnoresVisible,
    LenAsDelta,
    SnapshotTrustsMissing,
    BurnIsOnlyAFlag,
    AbortLeavesBatchWhole,
    FailureBeforeBurn,
}

/// One operation of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    /// A set, a delete or a transaction: one change for each key.
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
    /// How many processes may die inside the lock. Death elsewhere changes no shared word: it is the same as never
    /// being scheduled again, and that is explored anyway.
    pub(crate) deaths: u8,
    /// How many operations may panic inside the lock, whose guard then unlocks.
    pub(crate) panics: u8,
    /// Whether a new process may come for each one that died, and go on with the rest of its script.
    pub(crate) newcomers: bool,
    pub(crate) bug: Bug,
}

/// Where a process stands: the variant names the step that it makes next, the fields are its locals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Pc {
    /// About to begin its next operation, or at the end of its script.
    Idle,

    // A writer waiting for the lock.
    Probe {
        seen: u8,
    },
    Claim {
        seen: u8,
        from_dead: bool,
    },

    // A writer that owns the lock.
    Enter {
        taken_over: bool,
    },
    Recover {
        position: u8,
    },
    RecoverVisible,
    RecoverClear,
    Burn,
    Prepare,
    FirstHalf {
        place: u8,
    },
    SecondHalf {
        place: u8,
    },
    Fill {
        place: u8,
        position: u8,
    },
    Commit {
        place: u8,
    },
    Apply {
        position: u8,
    },
    Publish,
    Clear,
    Unlock,
    AbortBurn {
        place: u8,
    },
    AbortWipe {
        place: u8,
    },
    AbortUnlock {
        place: u8,
    },

    // A reader. `began` is the observer's note of V at the begin of the operation.
    ReadVisible {
        began: u8,
        entry: u8,
    },
    ReadAgain {
        began: u8,
        entry: u8,
        version: u8,
    },
    ReadRestart {
        began: u8,
    },
    SnapFirst {
        snapshot: u8,
    },
    SnapSecond {
        snapshot: u8,
        first: u8,
    },
    SnapCheck {
        snapshot: u8,
        versions: [u8; KEYS],
    },
}

impl Pc {
    pub(crate) fn owns_lock(self) -> bool {
        use Pc::*;
        match self {
            Enter { .. } | Recover { .. } | RecoverVisible | RecoverClear | Burn | Prepare => true,
            FirstHalf { .. } | SecondHalf { .. } | Fill { .. } | Commit { .. } => true,
            Apply { .. } | Publish | Clear | Unlock => true,
            AbortBurn { .. } | AbortWipe { .. } | AbortUnlock { .. } => true,
            Idle | Probe { .. } | Claim { .. } => false,
            ReadVisible { .. } | ReadAgain { .. } | ReadRestart { .. } => false,
            SnapFirst { .. } | SnapSecond { .. } | SnapCheck { .. } => false,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    /// What it writes into the lock word. Its presence lock is held exactly while it is alive.
    pub(crate) id: u8,
    pub(crate) alive: bool,
    /// How many operations of its script are over.
    pub(crate) done: u8,
    pub(crate) pc: Pc,
    /// For a reader: the newest sequence number it has been given, per key.
    pub(crate) newest: [u8; KEYS],
}

/// What no process can see, kept to judge what they do.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Observer {
    /// The newest sequence number that reached `pending`.
    pub(crate) committed: u8,
    /// The values of both keys as of every sequence number up to `committed`.
    pub(crate) history: [Values; SEQS],
    /// An invariant that an operation broke by what it returned.
    pub(crate) broken: Option<Invariant>,
}

impl Observer {
    /// Notes that a batch reached `pending`; skipped sequence numbers read like the one before them.
    pub(crate) fn commit(&mut self, seq: u8, changes: [Change; KEYS]) {
        let before = usize::from(self.committed);
        let now = usize::from(seq);
        let mut values = self.history[before];
        for between in before + 1..now {
            self.history[between] = values;
        }
        memory::apply(changes, &mut values);
        self.history[now] = values;
        self.committed = seq;
    }

    pub(crate) fn committed_values(&self) -> Values {
        self.history[usize::from(self.committed)]
    }
}

impl Hash for Observer {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u8(self.committed);
        state.write(self.history[..=usize::from(self.committed)].as_flattened());
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
    panics_left: u8,
}

/// What happens between two states, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Step,
    Panic,
    Death,
    Birth,
}

impl World {
    pub(crate) fn new(setup: &Setup) -> World {
        let process = |id| Process { id, alive: true, done: 0, pc: Pc::Idle, newest: [0; KEYS] };
        World {
            memory: Memory::new(),
            processes: [process(1), process(2), process(3)],
            observer: Observer { committed: 0, history: [[0; KEYS]; SEQS], broken: None },
            next_id: 4,
            deaths_left: setup.deaths,
            panics_left: setup.panics,
        }
    }

    /// The operation that process `who` is in or comes to next.
    pub(crate) fn operation(&self, setup: &Setup, who: usize) -> Option<Op> {
        setup.scripts[who].get(usize::from(self.processes[who].done)).copied()
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
            match operation {
                Op::Write(changes) => {
                    writer::step(self, setup.bug, who, changes, &mut |next| visit(who, Event::Step, next))
                }
                Op::Get(key) => visit(who, Event::Step, reader::get_step(self, setup.bug, who, key)),
                Op::GetBoth => visit(who, Event::Step, reader::get_both_step(self, setup.bug, who)),
            }
            if self.deaths_left > 0 && process.pc.owns_lock() {
                visit(who, Event::Death, self.after_death(who));
            }
            if self.panics_left > 0
                && let Some(pc) = writer::after_panic(self, setup.bug, process.pc)
            {
                let mut next = self.clone();
                next.panics_left -= 1;
                next.processes[who].pc = pc;
                visit(who, Event::Panic, next);
            }
        }
    }

    /// Presence and locals vanish; memory stays as it is, the lock word included.
    fn after_death(&self, who: usize) -> World {
        let mut next = self.clone();
        next.deaths_left -= 1;
        next.processes[who].alive = false;
        next.processes[who].pc = Pc::Idle;
        next.processes[who].done += 1;
        next
    }

    fn bear(&self, setup: &Setup, who: usize, visit: &mut dyn FnMut(usize, Event, World)) {
        if !setup.newcomers {
            return;
        }
        let mut next = self.clone();
        next.processes[who].alive = true;
        if setup.bug != Bug::OwnerIdsReused {
            next.processes[who].id = self.next_id;
            next.next_id += 1;
        }
        visit(who, Event::Birth, next);
    }
}
