//! Opening is recovery: making a directory a store, or finding one and deciding what of it can be trusted.
//!
//! 1. Make the directory if need be; refuse file systems that processes cannot share.
//! 2. Take the open lock: openers come one by one. It is held to the end.
//! 3. Sweep presences: whoever is dead is counted into the totals and forgotten. Is anybody alive?
//! 4. Read the manifest, or write one.
//! 5. Trust the state file if somebody alive uses it, or if it was written under this boot and mount: then every word is as
//!    the last store left it, and a commit that was cut short is finished by the first who takes the lock. Else
//!    rebuild everything from the log.
//! 6. Without anybody alive: free a dead owner's lock word, and sweep what died unfinished.
//! 7. Announce this handle under an id that was never used.
//! 8. Apply settings that the caller asked for.
//!
//! Read-only handles trust the state file or fail; they write nothing and announce nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use crossbeam_utils::CachePadded;

use crate::error::{ConfigProblem, Error, NOT_WRITTEN, Result};
use crate::options::Durability;
use crate::os::once::WriteOnce;
use crate::os::{Access, OpenMode, Os, OsFile, OsMap};
use crate::storage::fanout;
use crate::storage::manifest::Manifest;
use crate::storage::paths::{Name, Paths};
use crate::storage::state::{self, LOCK, PENDING, VISIBLE};
use crate::storage::tag_table::CHUNKS_MAX;
use crate::storage::tree;

use super::durable::{LOG, MAIN_LOG};
use super::duty::Duty;
use super::listed::presence_bytes;
use super::notices::{Listener, Notices};
use super::settings::{self, Shared};
use super::statistics;
use super::store::Store;
use super::view::View;

/// Owner ids are 30 bits wide. A sole opener begins anew long before they run out.
const OWNERS: u64 = 1 << 30;

/// What an opener asks for; `None` leaves what the directory has, or the default.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The kind of store, one of those in `manifest`.
    pub kind: u32,
    pub size_limit: Option<u64>,
    pub eviction: Option<u32>,
    pub statistics: Option<bool>,
    pub lock_timeout: Duration,
    pub durability: Durability,
    pub read_only: bool,
    /// A thread may do in the background what writers would else do.
    pub background: bool,
    /// Is told of the items that this handle evicts.
    pub listener: Option<Listener>,
}

/// What a store is set to if nobody says otherwise.
pub(super) const DEFAULTS: Shared = Shared { size_limit: 1 << 30, eviction: 0, statistics: false };

/// What sweeping the presences found.
struct Others {
    alive: bool,
    dead: bool,
    sums: statistics::Sums,
}

impl<O: Os> Store<O> {
    /// Opens a store, making one if the directory holds none.
    pub fn open(os: O, directory: &Path, opening: &Opening) -> Result<Store<O>> {
        Self::open_same(os, directory, opening, None)
    }

    /// Opens the store with the id `expected` if one is given, and no other: nothing is made then but what a handle needs.
    pub(super) fn open_same(os: O, directory: &Path, opening: &Opening, expected: Option<u64>) -> Result<Store<O>> {
        let paths = Paths::new(directory);
        if let Some(expected) = expected
            && settings::read_manifest(&os, &paths)?.is_none_or(|manifest| manifest.store != expected)
        {
            return Err(Error::Replaced(directory.to_owned()));
        }
        if opening.read_only {
            return Self::open_to_read(os, paths, opening);
        }
        let asked = opening.size_limit.unwrap_or(DEFAULTS.size_limit);
        if asked < settings::SIZE_LIMIT_MIN {
            return Err(Error::Config(ConfigProblem::SizeLimitTooSmall));
        }
        prepare_directory(&os, &paths)?;
        let lock_path = paths.of(Name::OpenLock);
        let _one_by_one = os
            .lock(&lock_path, opening.lock_timeout)
            .map_err(|e| Error::io("lock", &lock_path, e))?
            .ok_or(Error::Timeout)?;
        let others = sweep_presences(&os, &paths)?;
        let manifest = match settings::read_manifest(&os, &paths)? {
            Some(manifest) if manifest.kind == opening.kind => manifest,
            Some(_) => return Err(Error::Config(ConfigProblem::OtherKind)),
            None if expected.is_some() => return Err(Error::Replaced(directory.to_owned())),
            None => create_manifest(&os, &paths, opening)?,
        };
        settings::check_size_limit(asked.min(manifest.size_limit), manifest.rows)?;
        let trusted = match open_state(&os, &paths, &manifest, Access::Write)? {
            Some((map, matches))
                if others.alive
                    || ((matches || seeded!("state_trusted_after_power_loss")) && !Self::wants_rebuild(&map)) =>
            {
                Some(map)
            }
            _ if others.alive => {
                let path = paths.of(Name::State);
                return Err(Error::corrupt(&path, 0, crate::error::Corruption::Identity));
            }
            _ => None,
        };
        let found = trusted.map(|map| Self::over(os.clone(), paths.clone(), &manifest, map, opening));
        let mut store = match found.filter(|store| others.alive || store.is_usable()) {
            Some(store) => store,
            None => Self::rebuilt(os, paths, &manifest, opening)?,
        };
        // From here on the names in the directory are this handle's to give and to take, as long as it is this store's.
        let state = store.paths.of(Name::State);
        store.os.anchor(&state).map_err(|e| Error::io("examine", &state, e))?;
        if !others.alive {
            store.take_over_alone()?;
            store.hold_limit_against(&manifest);
        }
        store.fold(&others.sums);
        store.announce()?;
        store.vouch_for_what_a_rebuild_found();
        if others.dead || !others.alive {
            store.recount_set_aside()?;
            store.sweep_leftovers();
        }
        // What is left of a joint commit is dealt with once all shards are open. Until then nobody has the lock; who wants the trees
        // makes them.
        let is_joint = store.state.load(PENDING) & state::IS_JOINT != 0;
        if !others.alive && store.state.load(state::ORDER_STALE) != 0 && !is_joint {
            store.make_orders(&store.lock()?)?;
        }
        store.apply(opening)?;
        Ok(store)
    }

    /// Step 5, where nothing but the log is trusted.
    fn rebuilt(os: O, paths: Paths, manifest: &Manifest, opening: &Opening) -> Result<Store<O>> {
        let of_this_boot = || Ok(open_state(&os, &paths, manifest, Access::Write)?.filter(|(_, matches)| *matches));
        let over = |map| Self::over(os.clone(), paths.clone(), manifest, map, opening);
        if let Some((map, _)) = of_this_boot()? {
            over(map).leave_no_part()?;
        }
        let doubts = Self::doubts_of_this_boot(&os, &paths, manifest)?;
        let rebuilt = super::rebuild::rebuild(&os, &paths, manifest, &doubts);
        if let Err(Error::Io(failure)) = &rebuilt
            && failure.action == NOT_WRITTEN
            && let Some((map, _)) = of_this_boot()?
        {
            // A later sync of the log would say that all is well, and what was in its pages may be lost.
            map.store(state::SUSPECT, 1);
            over(map).announce_failure(LOG | MAIN_LOG, true);
        }
        let (map, mut strays) = rebuilt?;
        let store = Self::over(os, paths, manifest, map, opening);
        store.remember_strays(&mut strays);
        Ok(store)
    }

    /// A rebuild knows that there was a sync, and not which files it vouched for. So before anything goes, all that was found
    /// is made durable. If that fails, all of it counts as vouched for (`retire`), and the next to open tries again.
    fn vouch_for_what_a_rebuild_found(&self) {
        let is_new = self.state.load(state::SYNCED) == 0 && self.state.load(VISIBLE) != 0;
        if is_new && self.os.open(&self.paths.of(Name::Synced), OpenMode::Read).is_ok() {
            let _ = self.make_all_durable();
        }
    }

    /// True if the words of a state file say that some of it is wrong, or that files are there which nothing names.
    fn wants_rebuild(state: &O::Map) -> bool {
        state.load(state::SUSPECT) != 0 || state.load(state::STRAYS) != 0
    }

    /// What could not be made durable in this boot, before the state file that knows of it is given up. Its pages are
    /// still in memory, and nothing but these words says that the disk does not have them.
    fn doubts_of_this_boot(os: &O, paths: &Paths, manifest: &Manifest) -> Result<Vec<(usize, u64)>> {
        match open_state(os, paths, manifest, Access::Write)? {
            Some((map, true)) => {
                let doubts = Self::doubts(&map);
                if !doubts.is_empty() {
                    map.store(state::SUSPECT, 1);
                }
                Ok(doubts)
            }
            _ => Ok(Vec::new()),
        }
    }

    fn over(os: O, paths: Paths, manifest: &Manifest, state: O::Map, opening: &Opening) -> Store<O> {
        let rows = manifest.rows as usize;
        Store {
            os,
            paths,
            store_id: manifest.store,
            seed: manifest.seed,
            kind: manifest.kind,
            rows,
            read_only: opening.read_only,
            lock_timeout: opening.lock_timeout,
            durability: opening.durability,
            owner: 0,
            presence: None,
            state,
            view: ArcSwap::new(Arc::new(View::empty(rows))),
            remap: Mutex::new(()),
            seen: CachePadded::new(AtomicU64::new(0)),
            next_step: (AtomicU64::new(0), AtomicU64::new(0)),
            unjoined: AtomicU64::new(0),
            coming: Mutex::default(),
            was_new: AtomicBool::new(false),
            kept_free: AtomicU64::new(0),
            kept_at: AtomicU64::new(0),
            wanted_block: AtomicUsize::new(0),
            retires: AtomicBool::new(true),
            strays: Mutex::default(),
            duty: Duty::new(opening.background && !opening.read_only),
            ahead: Mutex::new(None),
            parting: Mutex::new(Vec::new()),
            forgotten: AtomicU64::new(0),
            notices: Notices::new(opening.listener.clone()),
            calendar: Mutex::default(),
            next_draft: AtomicU64::new(0),
            siblings: WriteOnce::new(),
            heir: WriteOnce::new(),
        }
    }

    fn open_to_read(os: O, paths: Paths, opening: &Opening) -> Result<Store<O>> {
        let nothing = || Error::Config(ConfigProblem::NothingToRead);
        let manifest = settings::read_manifest(&os, &paths)?.ok_or_else(nothing)?;
        match open_state(&os, &paths, &manifest, Access::Read)? {
            _ if manifest.kind != opening.kind => Err(Error::Config(ConfigProblem::OtherKind)),
            Some((map, true)) => Ok(Self::over(os, paths, &manifest, map, opening)),
            _ => Err(nothing()),
        }
    }

    /// True if what the state file leads to is there: the tables of the index, the chunks of the tag table, and the list of a
    /// commit that is to be finished.
    fn is_usable(&self) -> bool {
        if !self.has_its_list() {
            return false;
        }
        let Ok(geometry) = self.geometry() else { return false };
        let tables = [Some(geometry.current), geometry.next.map(|(next, _)| next)];
        let chunks = usize::try_from(self.state.load(state::TAG_CHUNKS)).unwrap_or(usize::MAX);
        let orders = usize::try_from(self.state.load(state::ORDER_CHUNKS)).unwrap_or(usize::MAX);
        tables.into_iter().flatten().all(|table| self.map_index(table).is_ok())
            && chunks <= CHUNKS_MAX
            && chunks.checked_sub(1).is_none_or(|last| self.map_tags(last).is_ok())
            && orders <= tree::CHUNKS_MAX
            && orders.checked_sub(1).is_none_or(|last| self.map_order(last).is_ok())
    }

    /// Step 6: nobody lives, so whoever the lock word names is dead. The word is freed last: until then the next opener
    /// finds it and does this again.
    fn take_over_alone(&self) -> Result<()> {
        let word = self.state.load32(LOCK);
        if word != 0 {
            self.sweep_unpublished()?;
            self.begin_epoch();
            let _ = self.state.compare_exchange32(LOCK, word, 0);
        }
        self.free_dead_leader();
        self.state.store(state::YIELD_UNTIL, 0);
        if self.state.load(state::NEXT_OWNER) > OWNERS / 2 {
            self.state.store(state::NEXT_OWNER, 1);
        }
        Ok(())
    }

    /// The limit is what sizes of files come from, so damage in its word would have others made than anybody asked for. The manifest
    /// is written before the word is changed, and verified.
    fn hold_limit_against(&self, manifest: &Manifest) {
        if self.state.load(PENDING) == 0 && self.state.load(state::SIZE_LIMIT) != manifest.size_limit {
            self.state.store(state::SIZE_LIMIT, manifest.size_limit);
        }
    }

    /// Step 7.
    fn announce(&mut self) -> Result<()> {
        loop {
            let owner = self.state.fetch_add(state::NEXT_OWNER, 1);
            if owner == 0 {
                continue;
            }
            // Out of ids, or damage; the next sole opener begins anew.
            if owner >= OWNERS {
                let path = self.paths.of(Name::State);
                return Err(Error::corrupt(&path, state::NEXT_OWNER as u64, crate::error::Corruption::Bounds));
            }
            let path = self.paths.presence(owner);
            let bytes = presence_bytes(self.rows);
            match self.os.announce(&path, bytes as usize) {
                Ok(presence) => {
                    self.owner = owner as u32;
                    self.presence = Some(Arc::new(presence));
                    // What it takes on disk is set aside as long as it has its name.
                    self.set_aside(bytes);
                    self.list_what_is_mapped();
                    return Ok(());
                }
                // A file of an id that was given out by a state file that is no more.
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Error::io("create", &path, e)),
            }
        }
    }

    /// Unlinks what the dead left unfinished: drafts of values, spilled lists that are done, retired files.
    fn sweep_leftovers(&self) {
        let names = self.os.list(self.paths.root()).unwrap_or_default();
        for name in names.iter().filter_map(|name| Name::parse(name)) {
            let useless = match name {
                Name::ValueDraft(owner, _) => !self.os.is_alive(&self.paths.presence(owner)),
                Name::StateDraft | Name::VoidDraft => true,
                Name::Spill(sequence) => sequence <= self.state.load(VISIBLE) && self.state.load(PENDING) == 0,
                _ => false,
            };
            if useless {
                let _ = self.os.remove(&self.paths.of(name));
            }
        }
        // What stays is swept by the next opener, or retired by the next writer.
        self.epilogue();
        let _ = self.unlink_cleared_values();
    }

    /// Step 8.
    fn apply(&self, opening: &Opening) -> Result<()> {
        let now = self.shared_settings();
        let wanted = Shared {
            size_limit: opening.size_limit.unwrap_or(now.size_limit),
            eviction: opening.eviction.unwrap_or(now.eviction),
            statistics: opening.statistics.unwrap_or(now.statistics),
        };
        if wanted != now {
            self.change_settings(|shared| *shared = wanted)?;
        }
        Ok(())
    }
}

/// Step 1.
fn prepare_directory<O: Os>(os: &O, paths: &Paths) -> Result<()> {
    prepare_root(os, paths.root())?;
    let presences = paths.of(Name::Presences);
    os.create_dir(&presences).map_err(|e| Error::io("create", &presences, e))
}

/// Step 1, for the directory itself.
pub(super) fn prepare_root<O: Os>(os: &O, root: &Path) -> Result<()> {
    os.create_dir(root).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotADirectory => Error::NotAStore(root.to_owned()),
        _ => Error::io("create", root, e),
    })?;
    let magic = os.unsupported_file_system(root).map_err(|e| Error::io("examine", root, e))?;
    match magic {
        Some(magic) => Err(Error::FileSystem { path: root.to_owned(), magic }),
        None => Ok(()),
    }
}

/// Step 3.
fn sweep_presences<O: Os>(os: &O, paths: &Paths) -> Result<Others> {
    let directory = paths.of(Name::Presences);
    let names = os.list(&directory).map_err(|e| Error::io("list", &directory, e))?;
    let mut others = Others { alive: false, dead: false, sums: Default::default() };
    for owner in names.iter().filter_map(|name| Paths::parse_presence(name)) {
        let path = paths.presence(owner);
        if os.is_alive(&path) {
            others.alive = true;
            continue;
        }
        others.dead = true;
        statistics::read_page(os, paths, owner, &mut others.sums);
        let _ = os.remove(&path);
    }
    Ok(others)
}

fn create_manifest<O: Os>(os: &O, paths: &Paths, opening: &Opening) -> Result<Manifest> {
    let size_limit = opening.size_limit.unwrap_or(DEFAULTS.size_limit);
    let manifest = Manifest {
        store: os.random(),
        seed: os.random(),
        kind: opening.kind,
        rows: settings::rows_for(size_limit),
        size_limit,
        eviction: opening.eviction.unwrap_or(DEFAULTS.eviction),
        statistics: opening.statistics.unwrap_or(DEFAULTS.statistics),
    };
    settings::check_size_limit(size_limit, manifest.rows)?;
    let names = os.list(paths.root()).map_err(|e| Error::io("list", paths.root(), e))?;
    if names.iter().any(|name| name == fanout::NAME) {
        return Err(Error::Config(ConfigProblem::OtherKind));
    }
    // Segments without a manifest are what is left of a store whose manifest is gone. They are not overwritten.
    if names.iter().any(|name| matches!(Name::parse(name), Some(Name::Segment(_)))) {
        return Err(Error::corrupt(&paths.of(Name::Manifest), 0, crate::error::Corruption::Missing));
    }
    settings::write_manifest(os, paths, &manifest, || ())?;
    Ok(manifest)
}

/// The state file, and whether its words were written under the present boot and mount. `None` if there is none, or it is
/// not this store's.
fn open_state<O: Os>(os: &O, paths: &Paths, manifest: &Manifest, access: Access) -> Result<Option<(O::Map, bool)>> {
    let path = paths.of(Name::State);
    let mode = if access == Access::Write { OpenMode::Write } else { OpenMode::Read };
    let file = match os.open(&path, mode) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io("open", &path, e)),
    };
    let bytes = state::file_bytes(manifest.rows as usize);
    let mut head = [0; state::HEAD];
    match file.read_at(&mut head, 0) {
        Ok(()) => {}
        // Only a file that is too short is damage: a failure to read may pass.
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(Error::io("read", &path, e)),
    }
    let Some(written_under) = state::decode_head(&head, manifest.store, manifest.rows) else { return Ok(None) };
    let identity = file.identity().map_err(|e| Error::io("examine", &path, e))?;
    match file.map(bytes, access) {
        Ok(map) => Ok(Some((map, written_under == identity))),
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(Error::io("map", &path, e)),
    }
}

impl<O: Os> Drop for Store<O> {
    fn drop(&mut self) {
        // A forked child must leave its parent's files and locks alone; the kernel already keeps the lock from it.
        if self.os.is_forked() {
            // Its page is not mapped in the child; something else may be by now.
            std::mem::forget(self.presence.take());
            return;
        }
        self.give_up_ahead();
        // What nobody has come by to tell. It is too late for a panic to end anything.
        let _ = catch_unwind(AssertUnwindSafe(|| self.notices.tell()));
        let Some(presence) = self.presence.take() else { return };
        let mut sums = Default::default();
        statistics::read_page(&self.os, &self.paths, self.owner.into(), &mut sums);
        self.fold(&sums);
        // Without the name nobody adds the counters a second time.
        if self.os.remove(&self.paths.presence(self.owner.into())).is_ok() {
            self.state.fetch_add(state::RESERVED, presence_bytes(self.rows).wrapping_neg());
        }
        drop(presence);
    }
}
