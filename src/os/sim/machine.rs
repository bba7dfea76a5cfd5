//! The machine as a test sees it: its clocks, its power, its disk and what on it shall fail or be damaged. Knows
//! nothing of what a process calls.

use super::crowd::Crowd;
use super::disk::Node;
use super::failures::{CallKind, Fault};
use super::poison::sound;
use super::process::Process;
use super::state::State;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// The most bytes a file can have unless [`Machine::with_file_capacity`] says otherwise: address space, not memory.
const FILE_CAPACITY: usize = 256 << 20;

/// One machine: its disk, its clocks and all its processes. Clones are the same machine.
#[derive(Clone)]
pub struct Machine {
    state: Arc<Mutex<State>>,
    pub(super) crowd: Arc<Crowd>,
    /// No other machine of this process has it, nor has a copy: a process takes what has another number for another store.
    pub(super) number: u64,
}

impl Machine {
    /// A machine with an empty disk without limit.
    pub fn new(seed: u64) -> Machine {
        Machine::with_file_capacity(seed, FILE_CAPACITY)
    }

    /// A machine whose files can have `bytes` at most; each takes that much address space.
    pub fn with_file_capacity(seed: u64, bytes: usize) -> Machine {
        Machine::that_is(State::new(seed, bytes))
    }

    fn that_is(state: State) -> Machine {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Machine { state: Arc::new(Mutex::new(state)), crowd: Arc::default(), number }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.crowd.note();
        sound(self.state.lock())
    }

    /// Lets time pass on both clocks.
    pub fn advance(&self, time: Duration) {
        let mut state = self.state();
        state.wall = state.wall.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        state.uptime = state.uptime.saturating_add(time);
    }

    /// Sets the wall clock, in nanoseconds since 1970; the uptime goes on as before.
    pub fn set_clock(&self, nanoseconds: u64) {
        self.state().wall = nanoseconds;
    }

    /// Cuts the power and starts the machine again. All processes are dead, and the boot has a new number.
    ///
    /// - Of each page written since its file was last synced there is the version of that sync or the newest, or some of
    ///   its 512-byte sectors of each. Space and length that a file gained since then may be gone.
    /// - Of the names made and removed in a directory since it was last synced, a prefix is done.
    pub fn power_cut(&self, seed: u64) {
        let processes = self.state().living();
        processes.iter().for_each(|process| self.end(process));
        let mut state = self.state();
        *state = state.after_power_cut(seed);
    }

    /// Another machine, which is as this one would be after [`Machine::power_cut`], while this one goes on: for trying
    /// many seeds on one moment.
    pub fn power_cut_copy(&self, seed: u64) -> Machine {
        Machine::that_is(self.state().after_power_cut(seed))
    }

    /// Another machine with the same disk and the same clocks, on which nothing runs, while this one goes on. Pages are
    /// shared until one of the two is written to.
    pub fn copy(&self) -> Machine {
        Machine::that_is(self.state().copy())
    }

    /// The copy that [`SimOs::copy_after`](super::SimOs::copy_after) made, if it came to it.
    pub fn take_moment(&self) -> Option<Machine> {
        self.state().moment.take()
    }

    /// Writes one in `odds` of the unsynced pages back, as a kernel may at any moment: after a power cut such a page is
    /// found in that version or in a later one.
    pub fn write_back(&self, seed: u64, odds: u64) {
        let mut dice = super::dice::Dice::new(seed);
        self.state().names.write_back(|| dice.below(odds) == 0);
    }

    /// Gives the file system another mount number, as if it had been unmounted cleanly and mounted again.
    pub fn remount(&self) {
        self.state().mount += 1;
    }

    /// Limits the disk to so many bytes, which may be fewer than it holds. Past it, whatever needs a page or a name
    /// more fails with `StorageFull`.
    pub fn limit_disk(&self, bytes: Option<u64>) {
        sound(self.state().space.lock()).limit = bytes;
    }

    /// Bytes of files that have a name or that a living process has open or mapped.
    pub fn used_bytes(&self) -> u64 {
        sound(self.state().space.lock()).used
    }

    /// Bytes of files that have a name.
    pub fn linked_bytes(&self) -> u64 {
        sound(self.state().space.lock()).linked
    }

    /// Forgets what [`Machine::peak_linked_bytes`] says.
    pub fn forget_peak(&self) {
        let state = self.state();
        let mut space = sound(state.space.lock());
        space.peak = space.linked;
    }

    /// The most that [`Machine::linked_bytes`] was at any instant since the machine started, or since that was forgotten.
    pub fn peak_linked_bytes(&self) -> u64 {
        sound(self.state().space.lock()).peak
    }

    /// Makes the `nth` call of a kind from now fail, counted from 1 over all processes. It has no effect and is no
    /// step.
    pub fn fail(&self, call: CallKind, nth: u64, fault: impl Into<Fault>) {
        self.fail_at(call, "", nth, fault);
    }

    /// Like [`Machine::fail`], counting the calls alone whose path contains `within`.
    pub fn fail_at(&self, call: CallKind, within: &str, nth: u64, fault: impl Into<Fault>) {
        self.state().failures.plan(call, within, nth, fault.into(), false);
    }

    /// Like [`Machine::fail`], and all calls of the kind after it fail too, until [`Machine::clear_failures`].
    pub fn fail_from(&self, call: CallKind, nth: u64, fault: impl Into<Fault>) {
        self.state().failures.plan(call, "", nth, fault.into(), true);
    }

    /// Forgets the failures that have not happened yet.
    pub fn clear_failures(&self) {
        self.state().failures.clear();
    }

    /// How many calls that can fail were made so far, by all processes.
    pub fn calls(&self) -> u64 {
        self.state().failures.calls
    }

    /// Makes all directories lie on an unsupported file system of that magic number, or on a supported one.
    pub fn set_unsupported_file_system(&self, magic: Option<u64>) {
        self.state().magic = magic;
    }

    /// The paths of all files, sorted.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.state().names.paths().cloned().collect()
    }

    /// What a file holds.
    pub fn file_bytes(&self, path: &Path) -> Option<Vec<u8>> {
        Some(self.node(path)?.bytes())
    }

    /// Flips the bits of a file that are set in `mask`, durably. False if there is no such range. Not to be done while
    /// bytes of it are pinned.
    pub fn corrupt(&self, path: &Path, offset: u64, mask: &[u8]) -> bool {
        let flip = |at: usize, byte: u8| byte ^ mask.get(at).copied().unwrap_or(0);
        self.node(path).is_some_and(|node| node.patch(offset, mask.len(), flip))
    }

    /// Overwrites bytes of a file, durably. False if there is no such range. Not to be done while bytes of it are
    /// pinned.
    pub fn overwrite(&self, path: &Path, offset: u64, bytes: &[u8]) -> bool {
        let replace = |at: usize, byte: u8| bytes.get(at).copied().unwrap_or(byte);
        self.node(path).is_some_and(|node| node.patch(offset, bytes.len(), replace))
    }

    /// Shortens a file, durably. False if there is none. Not to be done while bytes of it are pinned.
    pub fn truncate(&self, path: &Path, len: u64) -> bool {
        self.node(path).map(|node| node.truncate(len)).is_some()
    }

    /// Ends a process, and does what the kernel does then.
    pub(super) fn end(&self, process: &Process) {
        process.end(|| self.state().release_all(process.number));
    }

    fn node(&self, path: &Path) -> Option<Arc<Node>> {
        self.state().names.get(path).ok().cloned()
    }
}
