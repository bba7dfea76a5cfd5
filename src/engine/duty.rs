//! What an open store and its background thread tell each other. It does not know what the thread does (`upkeep`), nor when
//! there is something to do (`pressure`).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use crate::os::companion::Companion;

/// What belongs to the thread of an open store of type `S`.
pub struct Duty<S> {
    /// A thread may be started.
    pub allowed: bool,
    /// There is something to do: whoever has unlocked calls the thread.
    pub wanted: AtomicBool,
    /// What waits to be unlinked is needed at once: whoever has unlocked does it, and does not leave it to the thread.
    pub pressing: AtomicBool,
    /// Bytes that waited when that was tried in vain: it is not tried again for the same, as each try may wait for the disk.
    pub pressed: AtomicU64,
    /// Bytes that the thread keeps free, or coming free, beside what writers keep free by themselves. 0 until it runs.
    pub margin: AtomicU64,
    /// Bytes of a segment that is made ahead.
    pub ahead: AtomicU64,
    /// Writers come so fast that what is done under the lock is theirs.
    pub fast: AtomicBool,
    /// How many commits there were, and when, as the thread saw last.
    pub commits_seen: AtomicU64,
    pub seen_at: AtomicU64,
    /// How often a writer found no room at all.
    pub stalls: AtomicU64,
    /// When the thread wakes by itself, in nanoseconds since 1970.
    pub wakes_at: AtomicU64,
    /// Until when what has expired is left alone, in nanoseconds of uptime.
    pub paused_until: AtomicU64,
    pub companion: Arc<Companion>,
    /// The store, set once it is shared.
    store: OnceLock<Weak<S>>,
}

impl<S> Duty<S> {
    pub fn new(allowed: bool) -> Duty<S> {
        Duty {
            allowed,
            wanted: AtomicBool::new(false),
            pressing: AtomicBool::new(false),
            pressed: AtomicU64::new(0),
            margin: AtomicU64::new(0),
            ahead: AtomicU64::new(0),
            fast: AtomicBool::new(false),
            commits_seen: AtomicU64::new(0),
            seen_at: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
            wakes_at: AtomicU64::new(u64::MAX),
            paused_until: AtomicU64::new(0),
            companion: Companion::new(),
            store: OnceLock::new(),
        }
    }

    /// Says which store this belongs to. Until then no thread is started.
    pub fn belong_to(&self, store: &Arc<S>) {
        self.store.get_or_init(|| Arc::downgrade(store));
    }

    /// The store, without keeping it open.
    pub fn store(&self) -> Option<Weak<S>> {
        self.store.get().cloned()
    }

    /// True if a thread looks after what writers leave.
    #[inline]
    pub fn is_done_by_thread(&self) -> bool {
        self.companion.runs()
    }

    /// Takes note that there is something to do.
    #[inline]
    pub fn want(&self) {
        if self.allowed && !self.wanted.load(Ordering::Relaxed) {
            self.wanted.store(true, Ordering::Relaxed);
        }
    }
}
