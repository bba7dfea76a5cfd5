//! What the processes of one machine share, and what the kernel keeps for each: open files, locks, numbers. Knows
//! nothing of the calls and steps that change it.

use super::dice::{Dice, Fate};
use super::disk::{Node, Space};
use super::failures::Failures;
use super::names::Names;
use super::poison::sound;
use super::process::Process;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// The uptime of a machine that has just started.
const BOOTED: Duration = Duration::from_secs(10);
/// The wall clock of a new machine: some day of 2026.
const FIRST_DAY: u64 = 1_780_000_000_000_000_000;

pub(super) struct State {
    capacity: usize,
    pub(super) space: Arc<Mutex<Space>>,
    pub(super) names: Names,
    /// Which process locks which file, by inode.
    pub(super) held: BTreeMap<u64, u64>,
    /// How often which process holds which file, by process and inode.
    open: BTreeMap<(u64, u64), (Arc<Node>, u64)>,
    processes: Vec<Weak<Process>>,
    last_number: u64,
    pub(super) wall: u64,
    pub(super) uptime: Duration,
    pub(super) dice: Dice,
    pub(super) boot: u128,
    pub(super) mount: u64,
    pub(super) magic: Option<u64>,
    pub(super) failures: Failures,
    /// What [`SimOs::copy_after`](super::SimOs::copy_after) kept.
    pub(super) moment: Option<super::machine::Machine>,
}

impl State {
    /// A machine that has just started for the first time; its files can have `capacity` bytes at most.
    pub(super) fn new(seed: u64, capacity: usize) -> State {
        let mut dice = Dice::new(seed);
        let boot = boot_id(&mut dice);
        State {
            capacity,
            space: Arc::default(),
            names: Names::default(),
            held: BTreeMap::new(),
            open: BTreeMap::new(),
            processes: Vec::new(),
            last_number: 0,
            wall: FIRST_DAY,
            uptime: BOOTED,
            dice,
            boot,
            mount: 1,
            magic: None,
            failures: Failures::default(),
            moment: None,
        }
    }

    pub(super) fn after_power_cut(&self, seed: u64) -> State {
        let space = Arc::new(Mutex::new(Space::default()));
        let names = self.names.after_power_cut(&mut Fate::new(seed), &space);
        let mut dice = self.dice.clone();
        let boot = boot_id(&mut dice);
        State { uptime: BOOTED, boot, dice, mount: self.mount + 1, ..self.without_processes(names, space) }
    }

    /// The disk and the clocks as they are now, with no process.
    pub(super) fn copy(&self) -> State {
        let space = Arc::new(Mutex::new(Space::default()));
        let names = self.names.copy(&space);
        self.without_processes(names, space)
    }

    fn without_processes(&self, names: Names, space: Arc<Mutex<Space>>) -> State {
        // What comes back may be more than the limit allows.
        sound(space.lock()).limit = sound(self.space.lock()).limit;
        State {
            capacity: self.capacity,
            space,
            names,
            held: BTreeMap::new(),
            open: BTreeMap::new(),
            processes: Vec::new(),
            last_number: self.last_number,
            wall: self.wall,
            uptime: self.uptime,
            boot: self.boot,
            dice: self.dice.clone(),
            mount: self.mount,
            magic: self.magic,
            failures: self.failures.clone(),
            moment: None,
        }
    }

    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Makes a file without a name, if the disk has room for one.
    pub(super) fn new_node(&mut self) -> io::Result<Arc<Node>> {
        if sound(self.space.lock()).is_full() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(Node::new(self.next_number(), self.capacity, self.space.clone()))
    }

    /// Notes that a process holds a file once more.
    pub(super) fn hold(&mut self, process: u64, node: &Arc<Node>) {
        node.add_holders(1);
        self.open.entry((process, node.inode)).or_insert_with(|| (node.clone(), 0)).1 += 1;
    }

    pub(super) fn release(&mut self, process: u64, inode: u64) {
        let Some((node, count)) = self.open.get_mut(&(process, inode)) else { return };
        node.remove_holders(1);
        *count -= 1;
        if *count == 0 {
            self.open.remove(&(process, inode));
        }
    }

    /// What the kernel does for a process that has ended.
    pub(super) fn release_all(&mut self, process: u64) {
        self.held.retain(|_, holder| *holder != process);
        self.processes.retain(|other| other.upgrade().is_some_and(|other| other.number != process));
        let (first, last) = ((process, 0), (process, u64::MAX));
        while let Some((key, (node, count))) = self.open.range(first..=last).next() {
            let key = *key;
            node.remove_holders(*count);
            self.open.remove(&key);
        }
    }

    /// Gives a new process its number and, if it is a child of `fork`, what its parent has open.
    pub(super) fn start(&mut self, parent: Option<Arc<Process>>) -> Arc<Process> {
        let inherits_from = parent.as_ref().map(|parent| parent.number);
        let process = Arc::new(Process::new(self.next_number(), parent));
        if let Some(parent) = inherits_from {
            self.inherit(parent, process.number);
        }
        self.processes.push(Arc::downgrade(&process));
        process
    }

    pub(super) fn living(&self) -> Vec<Arc<Process>> {
        self.processes.iter().filter_map(Weak::upgrade).collect()
    }

    /// Gives a child of `fork` what its parent has open. Locks stay with the parent.
    fn inherit(&mut self, parent: u64, child: u64) {
        let inherited: Vec<_> =
            self.open.range((parent, 0)..=(parent, u64::MAX)).map(|(_, held)| held.clone()).collect();
        for (node, count) in inherited {
            node.add_holders(count);
            self.open.insert((child, node.inode), (node, count));
        }
    }
}

fn boot_id(dice: &mut Dice) -> u128 {
    u128::from(dice.next()) << 64 | u128::from(dice.next())
}
