//! The process that a value acts for: each call and each step of it is counted here, and fails or dies here. Knows
//! nothing of what a call or a step does.

use super::failures::{CallKind, Fault};
use super::machine::Machine;
use super::process::{Process, unwind, unwind_if_running};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A simulated process: the [`Os`](super::super::Os) that it sees. Clones are the same process.
///
/// Once it is dead, whatever it still does is without effect: calls fail, loads give 0, exchanges claim success (so
/// that loops end), stores and drops do nothing. Within [`SimOs::run`] it does not come to that, because the thread
/// unwinds.
#[derive(Clone)]
pub struct SimOs {
    pub(super) machine: Machine,
    pub(super) process: Arc<Process>,
    inherited: bool,
}

impl Machine {
    /// Starts a process.
    pub fn process(&self) -> SimOs {
        SimOs::start(self, None)
    }
}

impl SimOs {
    fn start(machine: &Machine, parent: Option<Arc<Process>>) -> SimOs {
        let inherited = parent.is_some();
        let process = machine.state().start(parent);
        SimOs { machine: machine.clone(), process, inherited }
    }

    /// The machine it runs on.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Mutating steps so far; those of a write over several pages of 4096 bytes count a page each.
    pub fn steps(&self) -> u64 {
        self.process.steps()
    }

    /// Lets the process take so many steps more; the one after kills it instead of being carried out,
    /// and unwinds the thread, with no message, up to [`SimOs::run`].
    pub fn kill_after(&self, steps: u64) {
        self.process.stop_after(steps);
    }

    /// Copies the machine between two steps of this process, after so many more: for looking at a moment within an
    /// operation. [`Machine::take_moment`] gives the copy.
    pub fn copy_after(&self, steps: u64) {
        self.process.copy_after(steps);
    }

    /// Kills the process: its locks and signs of life are gone, its other threads end at their next operation.
    pub fn kill(&self) {
        self.machine.end(&self.process);
    }

    /// True once the process was killed.
    pub fn is_dead(&self) -> bool {
        self.process.is_dead()
    }

    /// Runs a piece of the process; `None` if it was killed before or in it. Other panics go on.
    ///
    /// In `run` of a child, what was made in its parent before [`SimOs::fork`] acts for the child: the steps are the
    /// child's, `is_forked` is true, and dropping a lock or a presence leaves the parent's alone.
    pub fn run<R>(&self, piece: impl FnOnce() -> R) -> Option<R> {
        self.process.run(piece)
    }

    /// A child of this process, as it comes out of `fork`: `is_forked` is true of the value.
    pub fn fork(&self) -> SimOs {
        SimOs::start(&self.machine, Some(self.actor()))
    }

    /// A value of the same process that was made in it and not inherited.
    pub fn fresh(&self) -> SimOs {
        SimOs { machine: self.machine.clone(), process: self.actor(), inherited: false }
    }

    pub(super) fn is_inherited(&self) -> bool {
        self.inherited || !Arc::ptr_eq(&self.actor(), &self.process)
    }

    /// The process for which this value acts: the one it was made in, or a child of that which runs in this thread.
    pub(super) fn actor(&self) -> Arc<Process> {
        self.process.acting()
    }

    /// True if the acting process lives; unwinds if it does not and can be unwound.
    pub(super) fn is_alive_here(&self) -> bool {
        // What nearly every load comes to.
        if !self.process.is_dead() && self.process.acts_itself() {
            return true;
        }
        let actor = self.actor();
        if actor.is_dead() {
            unwind_if_running(&actor);
            return false;
        }
        true
    }

    /// Carries out a mutating step of the acting process, or kills it; `None` if it is dead.
    pub(super) fn step<R>(&self, effect: impl FnOnce() -> R) -> Option<R> {
        // What nearly every step comes to.
        if self.process.acts_itself() {
            return self.step_of(&self.process, effect);
        }
        self.step_of(&self.actor(), effect)
    }

    fn step_of<R>(&self, actor: &Arc<Process>, effect: impl FnOnce() -> R) -> Option<R> {
        self.machine.crowd.note();
        if actor.is_to_be_copied() {
            let copy = self.machine.copy();
            self.machine.state().moment = Some(copy);
        }
        let done = actor.carry_out(effect);
        if done.is_none() {
            if actor.is_dead() {
                unwind_if_running(actor);
            } else {
                self.machine.end(actor);
                unwind(actor);
            }
        }
        done
    }

    /// Begins a call that may fail.
    pub(super) fn call(&self, kind: CallKind, path: &Path) -> io::Result<()> {
        match self.call_in_part(kind, path)? {
            Some(fault) => Err(fault.error(kind, path)),
            None => Ok(()),
        }
    }

    /// Begins a call that may do a part of what it is asked for before it fails: then it is to do so.
    pub(super) fn call_in_part(&self, kind: CallKind, path: &Path) -> io::Result<Option<Fault>> {
        match self.is_alive_here() {
            true => Ok(self.machine.state().failures.next(kind, path)),
            false => Err(dead()),
        }
    }

    pub(super) fn step_or_fail<R>(&self, effect: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        self.step(effect).unwrap_or_else(|| Err(dead()))
    }
}

fn dead() -> io::Error {
    io::Error::other("the simulated process is dead")
}
