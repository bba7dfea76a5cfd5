//! The names of the simulated disk and which of them a power cut may undo. Knows nothing of what is in the files.

use super::dice::Fate;
use super::disk::{Node, Space};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

type Files = BTreeMap<PathBuf, Arc<Node>>;

/// One change of names since the directories concerned were last synced.
struct Change {
    take: Option<PathBuf>,
    put: Option<(PathBuf, Arc<Node>)>,
}

impl Change {
    /// The one or two directories whose names change: a rename between two is undone in both or in none.
    fn directories(&self) -> impl Iterator<Item = &Path> {
        let put = self.put.as_ref().map(|(path, _)| path);
        self.take.iter().chain(put).map(|path| parent(path))
    }

    fn apply(&self, files: &mut Files) {
        if let Some(path) = &self.take {
            files.remove(path);
        }
        if let Some((path, node)) = &self.put {
            files.insert(path.clone(), node.clone());
        }
    }
}

/// All directories and files. A directory is durable as soon as it is made.
#[derive(Default)]
pub(super) struct Names {
    directories: BTreeSet<PathBuf>,
    files: Files,
    durable: Files,
    journal: Vec<Change>,
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

impl Names {
    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        if path.ancestors().any(|path| self.files.contains_key(path)) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.directories.extend(path.ancestors().map(Path::to_path_buf));
        Ok(())
    }

    pub(super) fn is_dir(&self, path: &Path) -> bool {
        self.directories.contains(path)
    }

    /// The file of that name.
    pub(super) fn get(&self, path: &Path) -> io::Result<&Arc<Node>> {
        match self.files.get(path) {
            Some(node) => Ok(node),
            None if self.is_dir(path) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Whether a file of that name could be made.
    pub(super) fn check_free(&self, path: &Path) -> io::Result<()> {
        match self.get(path) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) if !self.is_dir(parent(path)) => Err(io::ErrorKind::NotFound.into()),
            Err(_) => Ok(()),
        }
    }

    pub(super) fn put(&mut self, path: &Path, node: Arc<Node>) {
        node.set_linked(true);
        self.record(Change { take: None, put: Some((path.to_path_buf(), node)) });
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let node = self.get(path)?.clone();
        self.record(Change { take: Some(path.to_path_buf()), put: None });
        node.set_linked(false);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.get(from)?.clone();
        let replaced = match self.get(to) {
            Ok(node) => Some(node.clone()),
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => return Err(error),
            Err(_) if !self.is_dir(parent(to)) => return Err(io::ErrorKind::NotFound.into()),
            Err(_) => None,
        };
        if from == to {
            return Ok(());
        }
        self.record(Change { take: Some(from.to_path_buf()), put: Some((to.to_path_buf(), node)) });
        if let Some(replaced) = replaced {
            replaced.set_linked(false);
        }
        Ok(())
    }

    fn record(&mut self, change: Change) {
        change.apply(&mut self.files);
        self.journal.push(change);
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.check_dir(path)?;
        let all = self.files.keys().chain(&self.directories);
        let inside = all.filter(|name| name.parent() == Some(path));
        Ok(inside.filter_map(|name| name.file_name()?.to_str().map(str::to_owned)).collect())
    }

    pub(super) fn check_dir(&self, path: &Path) -> io::Result<()> {
        match self.is_dir(path) {
            true => Ok(()),
            false if self.files.contains_key(path) => Err(io::ErrorKind::NotADirectory.into()),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Makes the changes in a directory durable, and those before them that cannot be told apart from them.
    pub(super) fn sync(&mut self, path: &Path) -> io::Result<()> {
        self.check_dir(path)?;
        let mut due = BTreeSet::from([path.to_path_buf()]);
        let mut synced = vec![false; self.journal.len()];
        for (change, synced) in self.journal.iter().zip(&mut synced).rev() {
            if change.directories().any(|directory| due.contains(directory)) {
                due.extend(change.directories().map(Path::to_path_buf));
                *synced = true;
            }
        }
        let mut synced = synced.into_iter();
        let durable = &mut self.durable;
        self.journal.retain(|change| {
            let done = synced.next() == Some(true);
            if done {
                change.apply(durable);
            }
            !done
        });
        Ok(())
    }

    /// The path of every file.
    pub(super) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.files.keys()
    }

    /// The names as they are found after a power cut, over files as they are found: of the changes in a directory that
    /// were not synced, a prefix.
    pub(super) fn after_power_cut(&self, fate: &mut Fate, space: &Arc<Mutex<Space>>) -> Names {
        let mut left: BTreeMap<&Path, u64> = BTreeMap::new();
        for directory in self.journal.iter().flat_map(Change::directories) {
            *left.entry(directory).or_default() += 1;
        }
        left.values_mut().for_each(|count| *count = fate.prefix(*count));
        let mut survivors = self.durable.clone();
        for change in &self.journal {
            let through = change.directories().all(|directory| left.get(directory).is_some_and(|left| *left > 0));
            for directory in change.directories() {
                if let Some(left) = left.get_mut(directory) {
                    *left = if through { left.saturating_sub(1) } else { 0 };
                }
            }
            if through {
                change.apply(&mut survivors);
            }
        }
        let mut files = Files::new();
        for (path, node) in survivors {
            let node = node.after_power_cut(fate, space.clone());
            node.set_linked(true);
            files.insert(path, node);
        }
        Names { directories: self.directories.clone(), durable: files.clone(), files, journal: Vec::new() }
    }

    /// The same names over copies of the same files, those that have no name any more but may get one back included.
    pub(super) fn copy(&self, space: &Arc<Mutex<Space>>) -> Names {
        let mut copies: BTreeMap<*const Node, Arc<Node>> = BTreeMap::new();
        let mut copy = |node: &Arc<Node>| {
            let new = copies.entry(Arc::as_ptr(node)).or_insert_with(|| node.copy(space.clone()));
            new.clone()
        };
        let files: Files = self.files.iter().map(|(path, node)| (path.clone(), copy(node))).collect();
        let durable: Files = self.durable.iter().map(|(path, node)| (path.clone(), copy(node))).collect();
        let mut journal = Vec::new();
        for change in &self.journal {
            let put = change.put.as_ref().map(|(path, node)| (path.clone(), copy(node)));
            journal.push(Change { take: change.take.clone(), put });
        }
        files.values().for_each(|node| node.set_linked(true));
        Names { directories: self.directories.clone(), files, durable, journal }
    }

    /// The kernel writes some pages of each file back.
    pub(super) fn write_back(&self, mut is_written: impl FnMut() -> bool) {
        self.files.values().for_each(|node| node.write_back(&mut is_written));
    }
}
