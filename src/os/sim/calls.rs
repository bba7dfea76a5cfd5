//! The calls of a simulated process, but for those on open files and maps. Knows in which order a call fails, dies and
//! acts; what it does to bytes and names is the business of `disk` and `names`.

use super::actor::SimOs;
use super::failures::CallKind;
use super::file::SimFile;
use super::hold::Hold;
use super::map::SimMap;
use super::poison::sound;
use crate::os::{OpenMode, Os, OsMap};
use std::io;
use std::path::Path;
use std::time::Duration;

/// A lock of a simulated process.
pub struct SimLock {
    hold: Hold,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.hold.unlock();
    }
}

/// A sign of life of a simulated process.
pub struct SimPresence {
    page: SimMap,
}

impl Drop for SimPresence {
    fn drop(&mut self) {
        self.page.hold.unlock();
    }
}

impl SimOs {
    fn create(&self, path: &Path) -> io::Result<Hold> {
        let node = {
            let mut state = self.machine.state();
            state.names.check_free(path)?;
            let node = state.new_node()?;
            state.names.put(path, node.clone());
            node
        };
        Ok(self.hold(&node, path))
    }
}

impl Os for SimOs {
    type File = SimFile;
    type Map = SimMap;
    type Lock = SimLock;
    type Presence = SimPresence;

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.call(CallKind::CreateDir, path)?;
        self.step_or_fail(|| {
            let mut state = self.machine.state();
            let is_full = sound(state.space.lock()).is_full();
            match state.names.is_dir(path) {
                true => Ok(()),
                false if is_full => Err(io::ErrorKind::StorageFull.into()),
                false => state.names.create_dir(path),
            }
        })
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<SimFile> {
        let hold = if mode == OpenMode::Create {
            self.call(CallKind::Create, path)?;
            self.step_or_fail(|| self.create(path))?
        } else {
            self.call(CallKind::Open, path)?;
            let node = self.machine.state().names.get(path)?.clone();
            self.hold(&node, path)
        };
        Ok(SimFile { hold, is_writable: mode != OpenMode::Read })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(CallKind::Remove, path)?;
        self.step_or_fail(|| self.machine.state().names.remove(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(CallKind::Rename, from)?;
        self.step_or_fail(|| self.machine.state().names.rename(from, to))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.call(CallKind::List, path)?;
        self.machine.state().names.list(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.call(CallKind::SyncDir, path)?;
        self.step_or_fail(|| self.machine.state().names.sync(path))
    }

    fn unsupported_file_system(&self, path: &Path) -> io::Result<Option<u64>> {
        self.call(CallKind::FileSystem, path)?;
        let state = self.machine.state();
        match state.names.is_dir(path) {
            true => Ok(state.magic),
            false => state.names.get(path).map(|_| state.magic),
        }
    }

    fn lock(&self, path: &Path, timeout: Duration) -> io::Result<Option<SimLock>> {
        self.call(CallKind::Lock, path)?;
        let lock = self.step_or_fail(|| {
            let existing = self.machine.state().names.get(path).cloned();
            let hold = match existing {
                Ok(node) => self.hold(&node, path),
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.create(path)?,
                Err(error) => return Err(error),
            };
            Ok(self.take(&hold).then_some(hold))
        })?;
        if lock.is_none() {
            self.machine.advance(timeout);
        }
        Ok(lock.map(|hold| SimLock { hold }))
    }

    fn announce(&self, path: &Path, bytes: usize) -> io::Result<SimPresence> {
        self.call(CallKind::Announce, path)?;
        self.step_or_fail(|| {
            let hold = self.create(path)?;
            hold.node.allocate(0, bytes as u64)?;
            self.take(&hold);
            Ok(SimPresence { page: SimMap { hold, len: bytes, is_writable: true } })
        })
    }

    fn presence_page(presence: &SimPresence) -> &SimMap {
        &presence.page
    }

    fn is_alive(&self, path: &Path) -> bool {
        let state = self.machine.state();
        let is_held = state.names.get(path).is_ok_and(|node| state.held.contains_key(&node.inode));
        drop(state);
        self.is_alive_here() && is_held
    }

    fn is_forked(&self) -> bool {
        self.is_inherited()
    }

    fn after_fork(&self) -> io::Result<SimOs> {
        Ok(self.fresh())
    }

    fn place(&self) -> (u64, u64, u64) {
        (self.process.number, self.machine.number, 0)
    }

    /// Directories of the simulation are never replaced.
    fn anchor(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn wait(&self, map: &SimMap, offset: usize, expected: u32, timeout: Duration) {
        // Nobody else runs while one thread plays all processes, so the sleeper is never woken before its time.
        if map.load32(offset) == expected && self.is_alive_here() {
            self.machine.advance(timeout);
        }
        self.machine.crowd.yield_now();
    }

    fn wake(&self, _map: &SimMap, _offset: usize, _count: u32) {
        self.step(|| ());
    }

    fn spawn(&self, _body: impl FnOnce() + Send + 'static) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn spin(&self) {
        self.is_alive_here();
        self.machine.crowd.yield_now();
    }

    fn now(&self) -> u64 {
        self.machine.state().wall
    }

    fn uptime(&self) -> Duration {
        self.machine.state().uptime
    }

    fn random(&self) -> u64 {
        match self.is_alive_here() {
            true => self.machine.state().dice.next(),
            false => 0,
        }
    }
}

impl SimOs {
    /// Locks a file for the acting process, if nobody has it.
    fn take(&self, hold: &Hold) -> bool {
        let actor = self.actor().number;
        let held = &mut self.machine.state().held;
        let is_free = !held.contains_key(&hold.node.inode);
        if is_free {
            held.insert(hold.node.inode, actor);
        }
        is_free
    }
}
