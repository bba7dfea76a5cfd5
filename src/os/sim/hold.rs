//! Files that a process holds, open, mapped or locked. Knows nothing of what it does with them.

use super::actor::SimOs;
use super::disk::Node;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file that a process holds, which keeps its space taken.
pub(super) struct Hold {
    pub(super) os: SimOs,
    pub(super) node: Arc<Node>,
    pub(super) path: PathBuf,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let actor = self.os.actor();
        if !actor.is_dead() {
            self.os.machine.state().release(actor.number, self.node.inode);
        }
    }
}

impl Hold {
    /// Gives up the lock on the file, unless it is that of the process from which the value was inherited.
    pub(super) fn unlock(&self) {
        let actor = self.os.actor();
        let held = &mut self.os.machine.state().held;
        if held.get(&self.node.inode) == Some(&actor.number) {
            held.remove(&self.node.inode);
        }
    }
}

impl SimOs {
    pub(super) fn hold(&self, node: &Arc<Node>, path: &Path) -> Hold {
        let os = self.fresh();
        os.machine.state().hold(os.process.number, node);
        Hold { os, node: node.clone(), path: path.to_path_buf() }
    }
}
