//! A machine with processes that have one store open, and what that store must hold. It knows nothing of single tests.

use std::path::Path;
use std::time::Duration;

use super::super::recovery::Opening;
use super::super::store::Store;
use super::acts::{Act, Contents};
use super::audit::{audit, live};
use crate::error::Result;
use crate::options::{Durability, Eviction};
use crate::os::OpenMode;
use crate::os::sim::{Machine, SimOs};
use crate::os::{Os, OsFile};
use crate::storage::namespace::{Label, Namespace};

/// Large enough for a few segments of the smallest size.
pub const SIZE_LIMIT: u64 = 4 << 20;
/// The smallest that a store can have.
pub const SMALL_LIMIT: u64 = 2 << 20;
/// The most bytes a file of these tests has.
const FILE_CAPACITY: usize = 16 << 20;
const DIRECTORY: &str = "/cache";

/// A machine and what its store must hold.
pub struct World {
    pub machine: Machine,
    pub contents: Contents,
}

/// A process with the store open. Dropping it closes the store, if the process lives.
pub struct Handle {
    pub store: Store<SimOs>,
    pub os: SimOs,
}

pub fn opening(size_limit: Option<u64>) -> Opening {
    Opening {
        kind: crate::storage::manifest::KIND_CACHE,
        size_limit,
        // What goes for want of space, no model can know: it is asked for where it is wanted.
        eviction: Some(Eviction::None.to_bits()),
        statistics: None,
        lock_timeout: Duration::from_secs(10),
        durability: Durability::Buffered,
        read_only: false,
        background: false,
        listener: None,
    }
}

/// Opens the store in a process of its own.
pub fn open(machine: &Machine) -> Handle {
    let os = machine.process();
    let store = open_in(&os).unwrap();
    Handle { store, os }
}

/// Opens the store in a process of its own, whose changes return once they are durable.
pub fn open_durably(machine: &Machine) -> Handle {
    let os = machine.process();
    let new = os.open(&path("larder"), OpenMode::Read).is_err();
    // Processes that are threads of a test share a clock that every sleeper moves: no time-out is long enough for them.
    let lock_timeout = Duration::from_secs(1 << 30);
    let opening = Opening { durability: Durability::Sync, lock_timeout, ..opening(new.then_some(SIZE_LIMIT)) };
    let store = Store::open(os.clone(), Path::new(DIRECTORY), &opening).unwrap();
    Handle { store, os }
}

/// Opens a store of another size in a process of its own.
pub fn open_sized(machine: &Machine, size_limit: u64) -> Handle {
    let os = machine.process();
    let store = try_open_sized(&os, size_limit).unwrap();
    Handle { store, os }
}

/// Opens the store in a process that only reads, and never has the lock.
pub fn open_to_read(machine: &Machine) -> Handle {
    let os = machine.process();
    let opening = Opening { read_only: true, eviction: None, ..opening(None) };
    let store = Store::open(os.clone(), Path::new(DIRECTORY), &opening).unwrap();
    Handle { store, os }
}

/// Opens the store in a process.
pub fn open_in(os: &SimOs) -> Result<Store<SimOs>> {
    try_open_sized(os, SIZE_LIMIT)
}

/// Opens a store of another size in a process.
pub fn try_open_sized(os: &SimOs, size_limit: u64) -> Result<Store<SimOs>> {
    let size_limit = os.open(&path("larder"), OpenMode::Read).is_err().then_some(size_limit);
    Store::open(os.clone(), Path::new(DIRECTORY), &opening(size_limit))
}

pub fn path(name: &str) -> std::path::PathBuf {
    Path::new(DIRECTORY).join(name)
}

impl World {
    pub fn new(seed: u64) -> World {
        World { machine: Machine::with_file_capacity(seed, FILE_CAPACITY), contents: Contents::new() }
    }

    /// A machine on which some operations were carried out, and a process that did so.
    pub fn with(seed: u64, acts: &[Act]) -> (World, Handle) {
        let mut world = World::new(seed);
        let handle = open(&world.machine);
        acts.iter().for_each(|act| world.apply(&handle, act));
        (world, handle)
    }

    /// Carries an operation out, and checks the answer.
    pub fn apply(&mut self, handle: &Handle, act: &Act) {
        let expected = act.model(&mut self.contents, handle.store.now());
        let answer = act.apply(&handle.store).unwrap_or_else(|error| panic!("{act:?}: {error:?}"));
        assert_eq!(answer, expected, "{act:?}");
    }

    /// Checks that a process sees what must be there, and that all counts agree.
    pub fn check(&self, handle: &Handle) {
        assert_eq!(live(&handle.store), living(&self.contents, handle.store.now()));
        assert_eq!(handle.store.len(), self.contents.len() as u64);
        audit(&handle.store);
    }

    /// Removes the state file, as if nothing in it could be trusted, and opens anew. Nobody may have the store open.
    pub fn rebuild(&self) -> Handle {
        self.machine.process().remove(&path("state")).unwrap();
        open(&self.machine)
    }
}

/// The items that have not expired.
pub fn living(contents: &Contents, time: u64) -> Contents {
    let is_live = |at: Option<u64>| at.is_none_or(|at| time < at);
    contents.iter().filter(|(_, item)| is_live(item.expires)).map(|(&key, &item)| (key, item)).collect()
}

/// Makes everything durable that the machine's files hold.
pub fn sync_all(machine: &Machine) {
    let os = machine.process();
    for file in machine.paths() {
        os.open(&file, OpenMode::Write).and_then(|file| file.sync()).unwrap();
    }
    for directory in ["/", DIRECTORY, "/cache/procs"] {
        os.sync_dir(Path::new(directory)).unwrap();
    }
}

impl<O: Os> Store<O> {
    /// The namespace of a name, made if there is none.
    pub(in crate::engine) fn namespace(&self, label: Label<'_>) -> Result<Namespace> {
        self.namespace_as(label, false)
    }
}
