//! A store that outlives `fork`. It knows no operation of a store.
//!
//! A child of `fork` has its parent's maps, and nothing else of what makes a handle: not its presence, so the lock word may
//! not hold its id; not its threads, so a mutex that one of them held is held for ever. Hence, in the child:
//!
//! 1. the inherited store is never used again, but for its directory and identity, which never change, and to keep alive
//!    what was read from it. Its own calls fail with [`Error::Forked`], and its destructors touch no lock and no file;
//! 2. the first call opens the directory anew, under an id of the child's, with the handle's own options, as long as the
//!    same store is there; several threads that come first each open it, one of them wins, the others close theirs;
//! 3. the new store hangs on the inherited one, so that all clones of the handle find it; a child's child hangs one on that.
//!
//! No step waits for anything in the memory of the process: the one lock taken is the opener's file lock.

use std::ops::Deref;
use std::sync::{Arc, Weak};

use crate::error::{Error, Result};
use crate::os::Os;

use super::recovery::Opening;
use super::siblings::Siblings;
use super::store::Store;

/// A store, or in a child of `fork` the one that was opened in its place.
pub struct Living<O: Os> {
    store: Arc<Store<O>>,
    /// Dropped by the last clone: while the thread is in a round it holds the store too, and must not be the one that closes it.
    _end: Arc<End<O>>,
    /// What a shard needs of the others, for as long as somebody has it. They themselves do without.
    _siblings: Option<Arc<dyn Siblings>>,
}

/// A [`Living`] that does not keep its store open.
pub struct Resting<O: Os> {
    store: Weak<Store<O>>,
    end: Weak<End<O>>,
    siblings: Option<Weak<dyn Siblings>>,
}

impl<O: Os> Resting<O> {
    /// The store, if somebody has it open.
    pub fn upgrade(&self) -> Option<Living<O>> {
        let siblings = self.siblings.as_ref().map(|siblings| siblings.upgrade().ok_or(()));
        Some(Living { _end: self.end.upgrade()?, store: self.store.upgrade()?, _siblings: siblings.transpose().ok()? })
    }
}

/// Ends the thread of a store, or of the one that was opened in its place.
struct End<O: Os>(Arc<Store<O>>);

impl<O: Os> Drop for End<O> {
    fn drop(&mut self) {
        let mut store = &self.0;
        while store.os.is_forked() {
            let Some(heir) = store.heir.get() else { return };
            store = heir;
        }
        store.end_upkeep();
    }
}

impl<O: Os> Clone for Living<O> {
    fn clone(&self) -> Self {
        Living { store: Arc::clone(&self.store), _end: Arc::clone(&self._end), _siblings: self._siblings.clone() }
    }
}

impl<O: Os> Living<O> {
    /// A store that was opened in this process.
    pub fn new(store: Store<O>) -> Living<O> {
        Living::over(store.share())
    }

    /// The same of a store that others hold too.
    #[cfg(test)]
    pub fn of(store: Arc<Store<O>>) -> Living<O> {
        Living::over(store)
    }

    fn over(store: Arc<Store<O>>) -> Living<O> {
        Living { _end: Arc::new(End(Arc::clone(&store))), store, _siblings: None }
    }

    /// The same shard, which keeps all of them open.
    pub fn among(&self, siblings: Arc<dyn Siblings>) -> Living<O> {
        Living { _siblings: Some(siblings), ..self.clone() }
    }

    /// The same without keeping it open.
    pub fn downgrade(&self) -> Resting<O> {
        Resting {
            store: Arc::downgrade(&self.store),
            end: Arc::downgrade(&self._end),
            siblings: self._siblings.as_ref().map(Arc::downgrade),
        }
    }

    /// The store of this process. What fails in a child is opening it; the inherited one then says so to each call.
    #[inline(always)]
    pub fn store(&self) -> &Arc<Store<O>> {
        if self.store.os.is_forked() { self.heir() } else { &self.store }
    }

    #[cold]
    fn heir(&self) -> &Arc<Store<O>> {
        let mut store = &self.store;
        while store.os.is_forked() {
            store = match store.heir.get() {
                Some(heir) => heir,
                None => match store.open_anew() {
                    Ok(opened) => store.heir.set(opened.share()),
                    Err(_) => return store,
                },
            };
        }
        store
    }
}

impl<O: Os> Deref for Living<O> {
    type Target = Store<O>;

    #[inline(always)]
    fn deref(&self) -> &Store<O> {
        self.store()
    }
}

impl<O: Os> Store<O> {
    /// Step 2.
    fn open_anew(&self) -> Result<Store<O>> {
        let root = self.paths.root();
        let opening = Opening {
            kind: self.kind,
            size_limit: None,
            eviction: None,
            statistics: None,
            lock_timeout: self.lock_timeout,
            read_only: self.read_only,
            durability: self.durability,
            background: self.duty.allowed,
            listener: self.notices.listener().cloned(),
        };
        let os = self.os.after_fork().map_err(|e| Error::io("open", root, e))?;
        let opened = Store::open_same(os, root, &opening, Some(self.store_id))?;
        if let Some(siblings) = self.siblings.get() {
            opened.siblings.set(Weak::clone(siblings));
        }
        Ok(opened)
    }
}
