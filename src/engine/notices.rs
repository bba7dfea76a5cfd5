//! Telling a program which items its handle has evicted. It knows no policy, and nothing of how items go.
//!
//! 1. Under the lock, whoever evicts gathers keys, if somebody listens, and hands them over when its commit is published.
//! 2. Outside the lock, whoever comes by calls the listener, one call at a time and in order. A listener may use the store,
//!    and evict by that: what comes of it is told when it has returned.
//!
//! A notice is in the memory of the process that evicted: its death takes those that were not told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// An item that went: its encoded key, and the bytes of its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub key: Vec<u8>,
    pub value_bytes: u64,
}

/// Whom to tell.
#[derive(Clone)]
pub struct Listener(pub Arc<dyn Fn(Notice) + Send + Sync>);

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listener")
    }
}

/// What a handle has to tell.
#[derive(Debug)]
pub(super) struct Notices {
    listener: Option<Listener>,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    notices: VecDeque<Notice>,
    /// Some thread is telling.
    is_told: bool,
}

/// Ends a thread's turn to tell if the listener panics: what is left waits for who comes by next.
struct Turn<'n>(&'n Notices);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().is_told = false;
        }
    }
}

impl Notices {
    pub fn new(listener: Option<Listener>) -> Notices {
        Notices { listener, waiting: Mutex::default() }
    }

    pub fn listener(&self) -> Option<&Listener> {
        self.listener.as_ref()
    }

    pub fn are_wanted(&self) -> bool {
        self.listener.is_some()
    }

    /// True if some wait.
    pub fn are_there(&self) -> bool {
        self.are_wanted() && !self.lock().notices.is_empty()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Step 1. The caller has whatever follows an unlock tell them.
    pub fn add(&self, notices: Vec<Notice>) {
        self.lock().notices.extend(notices);
    }

    /// The next that waits. If none does, the turn ends in the same breath: who adds one after that tells it.
    fn next(&self) -> Option<Notice> {
        let mut waiting = self.lock();
        let next = waiting.notices.pop_front();
        waiting.is_told = next.is_some();
        next
    }

    /// Step 2. The caller has no lock.
    pub fn tell(&self) {
        let Some(Listener(listen)) = &self.listener else { return };
        let mut waiting = self.lock();
        if waiting.is_told || waiting.notices.is_empty() {
            return;
        }
        waiting.is_told = true;
        drop(waiting);
        let _turn = Turn(self);
        while let Some(notice) = self.next() {
            listen(notice);
        }
    }
}
