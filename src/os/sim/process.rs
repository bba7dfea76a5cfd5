//! Processes: which one runs in a thread, how many steps it took and how it ends. Knows nothing of what a step does,
//! nor of the machine.

use super::poison::sound;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

/// What unwinds a thread of a process that was killed.
struct Killed(Arc<Process>);

pub(super) struct Process {
    pub(super) number: u64,
    parent: Option<Arc<Process>>,
    /// Held shared by each step, and alone by what kills: nothing of a process changes after its locks are released.
    gate: RwLock<()>,
    dead: AtomicBool,
    steps: AtomicU64,
    last_step: AtomicU64,
    copied_before: AtomicU64,
}

thread_local! {
    /// The processes in whose `run` this thread is, the innermost last.
    static RUNNING: RefCell<Vec<Arc<Process>>> = const { RefCell::new(Vec::new()) };
    /// Where the innermost is, for the question that every load asks; null if there is none. It is compared and no more.
    static INNERMOST: Cell<*const Process> = const { Cell::new(std::ptr::null()) };
}

/// Notes which process is the innermost now.
fn note_innermost() {
    INNERMOST.set(RUNNING.with_borrow(|running| running.last().map_or(std::ptr::null(), Arc::as_ptr)));
}

impl Process {
    pub(super) fn new(number: u64, parent: Option<Arc<Process>>) -> Process {
        Process {
            number,
            parent,
            gate: RwLock::new(()),
            dead: AtomicBool::new(false),
            steps: AtomicU64::new(0),
            last_step: AtomicU64::new(u64::MAX),
            copied_before: AtomicU64::new(u64::MAX),
        }
    }

    pub(super) fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// Makes the step after so many more the one that is not carried out.
    pub(super) fn stop_after(&self, steps: u64) {
        self.last_step.store(self.steps().saturating_add(steps), Ordering::Relaxed);
    }

    /// Has the machine copied before the step that comes after so many more.
    pub(super) fn copy_after(&self, steps: u64) {
        self.copied_before.store(self.steps().saturating_add(steps), Ordering::Relaxed);
    }

    pub(super) fn is_to_be_copied(&self) -> bool {
        self.copied_before.load(Ordering::Relaxed) == self.steps()
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    fn descends_from(&self, other: &Process) -> bool {
        let mut parent = self.parent.as_deref();
        while let Some(process) = parent {
            if std::ptr::eq(process, other) {
                return true;
            }
            parent = process.parent.as_deref();
        }
        false
    }

    /// Carries out a step; `None` if the process is dead, or if this is the step that kills it.
    pub(super) fn carry_out<R>(&self, effect: impl FnOnce() -> R) -> Option<R> {
        let _gate = sound(self.gate.read());
        if self.is_dead() {
            return None;
        }
        let before = self.steps.fetch_add(1, Ordering::Relaxed);
        if before >= self.last_step.load(Ordering::Relaxed) {
            self.steps.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(effect())
    }

    /// Ends the process, and releases what it had before any other of its threads finds out.
    pub(super) fn end(&self, release: impl FnOnce()) {
        let _gate = sound(self.gate.write());
        self.dead.store(true, Ordering::Release);
        release();
    }

    /// True if no child of this process can be acting in this thread for it.
    pub(super) fn acts_itself(&self) -> bool {
        let innermost = INNERMOST.get();
        innermost.is_null() || std::ptr::eq(innermost, self)
    }

    /// The process that acts in this thread for what was made in `self`: that, or a child of it which runs here.
    pub(super) fn acting(self: &Arc<Self>) -> Arc<Process> {
        let running = RUNNING.try_with(|running| running.borrow().last().cloned()).ok().flatten();
        running.filter(|running| running.descends_from(self)).unwrap_or_else(|| self.clone())
    }

    /// Runs a piece of the process; `None` if it was killed before or in it. Other panics go on.
    pub(super) fn run<R>(self: &Arc<Self>, piece: impl FnOnce() -> R) -> Option<R> {
        if self.is_dead() {
            return None;
        }
        RUNNING.with_borrow_mut(|running| running.push(self.clone()));
        note_innermost();
        let outcome = catch_unwind(AssertUnwindSafe(piece));
        RUNNING.with_borrow_mut(|running| running.pop());
        note_innermost();
        // Values of a dead process are dropped after it left the thread, where their destructors are inert.
        match outcome {
            Ok(result) => (!self.is_dead()).then_some(result),
            Err(payload) => match payload.downcast::<Killed>() {
                Ok(killed) if Arc::ptr_eq(&killed.0, self) => None,
                Ok(killed) => resume_unwind(killed),
                Err(payload) => resume_unwind(payload),
            },
        }
    }
}

pub(super) fn unwind_if_running(process: &Arc<Process>) {
    let is_running =
        |running: &RefCell<Vec<Arc<Process>>>| running.borrow().iter().any(|one| Arc::ptr_eq(one, process));
    if RUNNING.try_with(is_running).unwrap_or(false) {
        unwind(process);
    }
}

/// Ends the thread's part in a dead process without a message. A thread that unwinds already goes on with that.
pub(super) fn unwind(process: &Arc<Process>) {
    if !std::thread::panicking() {
        resume_unwind(Box::new(Killed(process.clone())));
    }
}
