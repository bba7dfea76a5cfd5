//! The open store: its maps, its identity among the other handles, and what every operation does first. No algorithms:
//! those are in the files named after what they do.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use crossbeam_utils::CachePadded;

use crate::error::{Corruption, Error, Result};
use crate::options::Durability;
use crate::os::once::WriteOnce;
use crate::os::{Os, OsMap};
use crate::storage::index::Geometry;
use crate::storage::manifest::KIND_SHARD;
use crate::storage::paths::{Name, Paths};
use crate::storage::state;

use super::coming::Coming;
use super::due::Calendar;
use super::duty::Duty;
use super::notices::Notices;
use super::siblings::Siblings;
use super::view::{Ahead, Index, Segment, View};

/// An open store. Shared by all threads of a process through an `Arc`.
pub struct Store<O: Os> {
    pub(super) os: O,
    pub(super) paths: Paths,
    pub store_id: u64,
    pub(super) seed: u64,
    /// What kind of store it is, as the manifest says.
    pub(super) kind: u32,
    pub(super) rows: usize,
    pub(super) read_only: bool,
    pub(super) lock_timeout: Duration,
    pub(super) durability: Durability,
    /// This handle's id: what the lock word holds while it owns the lock. 0 for a read-only handle.
    pub(super) owner: u32,
    /// `None` for a read-only handle, and while the handle is being dropped.
    pub(super) presence: Option<Arc<O::Presence>>,
    pub(super) state: O::Map,
    pub(super) view: ArcSwap<View<O>>,
    pub(super) remap: Mutex<()>,
    /// A visible sequence seen before: records up to it need no look at the contended word.
    pub(super) seen: CachePadded<AtomicU64>,
    /// The next number of appended bytes at which everything gets a step older, and how many bytes a step had when that was found
    /// out. Under the lock.
    pub(super) next_step: (AtomicU64, AtomicU64),
    /// The moment at which nothing could be gained by joining free blocks; see `order_join`. Under the lock.
    pub(super) unjoined: AtomicU64,
    /// What comes next at the end of an index that this handle took from last.
    pub(super) coming: Mutex<Coming>,
    /// True if the last key that was put into an index was new to it.
    pub(super) was_new: AtomicBool,
    /// Bytes of the space of nodes that were free when giving it back was tried in vain.
    pub(super) kept_free: AtomicU64,
    /// The newest commit when it was tried for want of any other room.
    pub(super) kept_at: AtomicU64,
    /// One more than the class of a block that there was no space for, until somebody sees to it; see `order_blocks`.
    pub(super) wanted_block: AtomicUsize,
    /// True once this handle has something to do after it has unlocked: to unlink what a commit of it has retired, or to call
    /// its thread.
    pub(super) retires: AtomicBool,
    /// Large values that this handle has to unlink, by their ids, and their bytes: those that the ring of retirees does not name.
    pub(super) strays: Mutex<BTreeMap<u64, u64>>,
    /// What the store and its background thread tell each other.
    pub(super) duty: Duty<Store<O>>,
    /// A segment that the thread has made before it is needed. Held for as long as it takes to put one in its place.
    pub(super) ahead: Mutex<Option<Ahead<O>>>,
    /// Maps of index tables that have been replaced, for the thread to drop, and how often it has looked whether they are read.
    pub(super) parting: Mutex<Vec<(Arc<Index<O>>, u32)>>,
    /// Files that were forgotten, as commits had made them which never happened.
    pub(super) forgotten: AtomicU64,
    /// What is to be told of evicted items.
    pub(super) notices: Notices,
    /// Where items come due, as far as `expire` has found out.
    pub(super) calendar: Mutex<Calendar>,
    /// Number of the next draft.
    pub(super) next_draft: AtomicU64,
    /// The fan-out cache that it is a shard of.
    pub(super) siblings: WriteOnce<Weak<dyn Siblings>>,
    /// In a child of `fork`: the store that was opened there in the place of this one.
    pub(super) heir: WriteOnce<Arc<Store<O>>>,
}

impl<O: Os> Store<O> {
    /// The hash of an encoded key, under this store's seed.
    #[inline(always)]
    pub fn hash(&self, key: &[u8]) -> u64 {
        xxhash_rust::xxh3::xxh3_64_with_seed(key, self.seed)
    }

    /// What every operation does first: refuses a handle inherited through `fork`, and unmaps what others retired.
    #[inline(always)]
    pub(super) fn enter(&self) -> Result<arc_swap::Guard<Arc<View<O>>>> {
        if self.os.is_forked() {
            return Err(Error::Forked);
        }
        let view = self.view.load();
        if view.retired == self.state.load(state::RETIRED) {
            return Ok(view);
        }
        drop(view);
        self.drop_retired_maps();
        Ok(self.view.load())
    }

    pub(super) fn geometry(&self) -> Result<Geometry> {
        Geometry::from_bits(self.state.load(state::GEOMETRY))
            .ok_or_else(|| Error::corrupt(&self.paths.of(Name::State), state::GEOMETRY as u64, Corruption::Bounds))
    }

    /// The id in a slot's row; 0 for a free or impossible slot.
    #[inline(always)]
    pub(super) fn segment_in(&self, slot: usize) -> u64 {
        if slot < self.rows { self.state.load(state::row_word(slot, state::row::ID)) } else { 0 }
    }

    /// How far a segment may be read: what is allocated of it.
    #[inline(always)]
    pub(super) fn readable(&self, slot: usize, segment: &Segment<O>) -> usize {
        let allocated = self.state.load(state::row_word(slot, state::row::ALLOCATED));
        segment.map.len().min(usize::try_from(allocated).unwrap_or(0))
    }

    /// The newest sequence that readers accept, read from the shared words.
    #[inline]
    pub(super) fn visible(&self) -> u64 {
        let visible = if self.is_shard() { self.visible_of_shard() } else { self.state.load(state::VISIBLE) };
        self.seen.fetch_max(visible, Ordering::Relaxed);
        visible
    }

    pub(super) fn is_shard(&self) -> bool {
        self.kind == KIND_SHARD
    }

    /// The fan-out cache that this is a shard of, as long as somebody has it open.
    pub(super) fn siblings(&self) -> Option<Arc<dyn Siblings>> {
        self.siblings.get().and_then(Weak::upgrade)
    }

    /// The newest commit of a shard that readers accept: `VISIBLE`, or the part of a joint commit that is pending here and done
    /// for all.
    #[cold]
    pub(super) fn visible_of_shard(&self) -> u64 {
        loop {
            let visible = self.state.load(state::VISIBLE);
            let pending = self.state.load(state::PENDING);
            if pending & state::IS_JOINT != 0 {
                let number = self.state.load(state::JOINT);
                let done = self.siblings().map_or(0, |siblings| siblings.done());
                if self.state.load(state::PENDING) == pending && self.state.load(state::JOINT) == number {
                    return if number <= done { visible.max(pending & !state::IS_JOINT) } else { visible };
                }
            } else if self.state.load(state::VISIBLE) == visible {
                return visible;
            }
        }
    }

    /// The time at which expiry is decided: the clock's, or the latest at which anything was found expired, so that an
    /// item that has expired once stays so when the clock steps back.
    #[inline]
    pub(super) fn time(&self) -> u64 {
        if seeded!("clock_set_back_revives") { self.os.now() } else { self.os.now().max(self.state.load(state::CLOCK)) }
    }

    /// True if `expires` has passed. Remembers the time if so.
    #[inline]
    pub(super) fn has_expired(&self, expires: u64) -> bool {
        if expires == u64::MAX {
            return false;
        }
        let now = self.time();
        if now < expires {
            return false;
        }
        if !self.read_only && self.state.load(state::CLOCK) < expires {
            self.state.fetch_max(state::CLOCK, expires);
        }
        true
    }

    /// Items that were stored and not removed, evicted or cleared since; those that expired may be among them.
    #[inline]
    pub fn len(&self) -> u64 {
        self.state.load(state::LIVE)
    }

    /// The same with those of namespaces.
    pub(super) fn all_items(&self) -> u64 {
        self.len().saturating_add(self.state.load(state::INNER))
    }

    /// Bytes that the store's files take on disk.
    #[inline]
    pub fn volume(&self) -> u64 {
        self.state.load(state::VOLUME)
    }

    /// True if an id is this store's, or that of a shard of the same fan-out cache.
    pub fn is_beside(&self, id: u64) -> bool {
        self.store_id == id || self.siblings().is_some_and(|all| all.ids().contains(&id))
    }

    /// The id of this handle; 0 of a read-only one.
    pub fn owner(&self) -> u32 {
        self.owner
    }

    /// True if the handle that made a commit is there still: ids are given anew after the state file was made anew.
    pub fn is_owner_alive(&self, owner: u32, sequence: u64) -> bool {
        sequence > self.state.load(state::BORN)
            && (owner == self.owner || self.os.is_alive(&self.paths.presence(owner.into())))
    }

    /// The machine's clock, which may go back.
    pub fn clock(&self) -> u64 {
        self.os.now()
    }

    /// False if whoever opened it wants no thread beside those of the program.
    pub fn may_start_threads(&self) -> bool {
        self.duty.allowed
    }

    /// How long it is waited for the lock.
    pub fn lock_timeout(&self) -> std::time::Duration {
        self.lock_timeout
    }

    /// The clock, as expiry sees it.
    pub fn now(&self) -> u64 {
        self.time()
    }

    /// The directory.
    pub fn directory(&self) -> &std::path::Path {
        self.paths.root()
    }
}
