//! What the front holds: a store, or a running transaction on one. The same calls go to either; those that a transaction
//! does not change go through to the store. It knows neither how a call is carried out.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::os::Os;
use crate::storage::namespace::{Label, Namespace};

use super::change::{Decision, Hold, Op, Put};
use super::check::{Progress, Report};
use super::found::Found;
use super::living::{Living, Resting};
use super::order_read::{Stretch, Window};
use super::queue::{Bound, End, Span};
use super::settings::Shared;
use super::statistics::Sums;
use super::store::Store;
use super::transaction::Transaction;

/// A [`Handle`] of a store that does not keep it open.
pub struct HandleLater<O: Os>(Resting<O>);

impl<O: Os> HandleLater<O> {
    /// The handle, if somebody has the store open.
    pub fn upgrade(&self) -> Option<Handle<O>> {
        self.0.upgrade().map(Handle::Store)
    }
}

/// A store, or a running transaction on one.
pub enum Handle<O: Os> {
    Store(Living<O>),
    Inside(Arc<Transaction<O>>),
}

impl<O: Os> Clone for Handle<O> {
    fn clone(&self) -> Self {
        match self {
            Handle::Store(store) => Handle::Store(store.clone()),
            Handle::Inside(transaction) => Handle::Inside(Arc::clone(transaction)),
        }
    }
}

impl<O: Os> Handle<O> {
    /// The store without keeping it open; `None` for a transaction, which ends before anything could be done later.
    pub fn downgrade(&self) -> Option<HandleLater<O>> {
        match self {
            Handle::Store(store) => Some(HandleLater(store.downgrade())),
            Handle::Inside(_) => None,
        }
    }
}

impl<O: Os> Deref for Handle<O> {
    type Target = Store<O>;

    #[inline(always)]
    fn deref(&self) -> &Store<O> {
        match self {
            Handle::Store(store) => store,
            Handle::Inside(transaction) => transaction.store(),
        }
    }
}

impl<O: Os> Handle<O> {
    /// A handle of a store that was opened.
    pub fn new(store: Store<O>) -> Handle<O> {
        Handle::Store(Living::new(store))
    }

    /// Runs a transaction, or, inside of one, a part that can be taken back alone. The first of `how` is for the lock; without one it
    /// is the store's. One that, by the second, holds says who has something: it needs not be durable, and calls no listener once it
    /// is done.
    pub fn transact<R, E: From<Error>>(
        &self,
        how: (Option<Duration>, bool),
        body: impl FnOnce(&Handle<O>) -> Result<R, E>,
    ) -> Result<R, E> {
        match self {
            Handle::Store(store) => {
                Transaction::run(store.store(), how, |inside| body(&Handle::Inside(Arc::clone(inside))))
            }
            Handle::Inside(transaction) => transaction.nested(|| body(self)),
        }
    }

    /// Calls `take` with the live record of a key and gives what it returns; `None` if there is none. `take` may be
    /// called more than once; the last call counts.
    #[inline(always)]
    pub fn read<R>(
        &self,
        key: &[u8],
        hash: u64,
        mut take: impl FnMut(&Found<'_, O>) -> Result<R>,
    ) -> Result<Option<R>> {
        match self {
            Handle::Store(store) => store.read(key, hash, |record| take(&Found::Log(record))),
            Handle::Inside(transaction) => transaction.read(key, hash, take),
        }
    }

    /// As [`Handle::read`], for who only looks: the item does not count as used.
    pub fn look<R>(
        &self,
        key: &[u8],
        hash: u64,
        mut take: impl FnMut(&Found<'_, O>) -> Result<R>,
    ) -> Result<Option<R>> {
        match self {
            Handle::Store(store) => store.look(key, hash, |record| take(&Found::Log(record))),
            Handle::Inside(transaction) => transaction.look(key, hash, take),
        }
    }

    /// Calls `take` with the number of each key and its live record, all as of one moment. `restart` is called when what
    /// was taken does not count.
    pub fn read_many<R>(
        &self,
        keys: &[(&[u8], u64)],
        into: &mut R,
        restart: impl Fn(&mut R),
        mut take: impl FnMut(&mut R, usize, &Found<'_, O>) -> Result<()>,
    ) -> Result<()> {
        match self {
            Handle::Store(store) => {
                store.read_many(keys, into, restart, |into, i, record| take(into, i, &Found::Log(record)))
            }
            Handle::Inside(transaction) => transaction.read_many(keys, into, take),
        }
    }

    /// Calls `visit` with every live record whose hash is in the bucket at `position`, and gives the position after it;
    /// `None` at the end. If something moved, `restart` is called and the bucket is begun again.
    pub fn scan<R>(
        &self,
        position: u64,
        into: &mut R,
        restart: impl Fn(&mut R),
        mut visit: impl FnMut(&mut R, &Found<'_, O>) -> Result<()>,
    ) -> Result<Option<u64>> {
        match self {
            Handle::Store(store) => {
                store.scan(position, into, restart, |into, record| visit(into, &Found::Log(record)))
            }
            Handle::Inside(transaction) => transaction.scan(position, into, restart, visit),
        }
    }

    /// Stores a value under a key whose hash is known.
    #[inline]
    pub fn put_hashed(&self, key: &[u8], hash: u64, put: Put<'_>) -> Result<()> {
        // Made where it is looked at: it is too long to be copied.
        let op = Op::put(key, hash, put);
        match self {
            Handle::Store(store) => store.batch(std::slice::from_ref(&op)).map(drop),
            Handle::Inside(transaction) => transaction.change(&op),
        }
    }

    /// Removes a key. False if it was not live.
    pub fn remove_hashed(&self, key: &[u8], hash: u64) -> Result<bool> {
        match self {
            Handle::Store(store) => store.remove_hashed(key, hash),
            Handle::Inside(transaction) => {
                let op = Op { key, hash, change: super::change::Change::Remove };
                transaction.batch(std::slice::from_ref(&op)).map(|removed| removed == 1)
            }
        }
    }

    /// Makes all changes together. Each key may be in it once. The number of keys that were live before.
    pub fn batch(&self, ops: &[Op<'_>]) -> Result<u64> {
        match self {
            Handle::Store(store) => store.batch(ops),
            Handle::Inside(transaction) => transaction.batch(ops),
        }
    }

    /// Looks at a key's live record while nobody can change it, and makes the change that `decide` asks for.
    pub fn update<R>(
        &self,
        key: &[u8],
        mut decide: impl FnMut(Option<&Found<'_, O>>, &mut Vec<u8>) -> Result<(Decision, R)>,
    ) -> Result<R> {
        match self {
            Handle::Store(store) => {
                store.update(key, |present, buffer| decide(present.map(Found::Present).as_ref(), buffer))
            }
            Handle::Inside(transaction) => transaction.update(key, decide),
        }
    }

    /// The same for what says who holds something: it needs not be durable, and calls no listener once it is done.
    pub fn update_held<R>(
        &self,
        key: &[u8],
        hold: Hold,
        mut decide: impl FnMut(Option<&Found<'_, O>>, &mut Vec<u8>) -> Result<(Decision, R)>,
    ) -> Result<R> {
        match self {
            Handle::Store(store) => {
                store.update_held(key, hold, |present, buffer| decide(present.map(Found::Present).as_ref(), buffer))
            }
            Handle::Inside(transaction) => transaction.update(key, decide),
        }
    }

    /// True if a value of that length gets a file of its own before the call that stores it. Those of a transaction get
    /// theirs at its end.
    #[inline]
    pub fn is_large(&self, len: usize) -> bool {
        match self {
            Handle::Store(store) => store.is_large(len),
            Handle::Inside(_) => false,
        }
    }

    /// The name of the tag that a record of that sequence has. `None` for no tag, and if there is no item of that age any more
    /// that has it.
    pub fn tag_name(&self, id: u32, sequence: u64) -> Result<Option<String>> {
        match self {
            Handle::Store(store) => store.tag_name(id, sequence),
            Handle::Inside(transaction) => transaction.tag_name(id),
        }
    }

    /// From which sequence on a record with that id has the tag of that name. `None` if none has.
    pub fn tag_since(&self, label: Label<'_>, id: u32) -> Result<Option<u64>> {
        match self {
            Handle::Store(store) => store.tag_since(label, id),
            // It has the lock; an id of its own may go with a part that is taken back.
            Handle::Inside(transaction) => Ok((transaction.tag_id(label)? == Some(id)).then_some(0)),
        }
    }

    /// The id of a tag by name; `None` if it was never used.
    pub fn tag_id(&self, label: Label<'_>) -> Result<Option<u32>> {
        match self {
            Handle::Store(store) => store.tag_id(label),
            Handle::Inside(transaction) => transaction.tag_id(label),
        }
    }

    /// Items that were stored and not removed, evicted or cleared since; those that expired may be among them.
    #[inline]
    pub fn len(&self) -> u64 {
        match self {
            Handle::Store(store) => store.len(),
            // What can fail is damage, and the transaction's having ended: then the store counts.
            Handle::Inside(transaction) => transaction.len().unwrap_or_else(|_| transaction.store().len()),
        }
    }

    /// The namespace of a name, made if there is none. One that `holds` may use the room of removals.
    pub fn namespace(&self, label: Label<'_>, holds: bool) -> Result<Namespace> {
        match self {
            Handle::Store(store) => store.namespace_as(label, holds),
            Handle::Inside(transaction) => transaction.namespace(label, holds),
        }
    }

    /// Changes the setting of a namespace. Not inside a transaction, which could not take it back.
    pub fn set_setting(&self, namespace: Namespace, label: Label<'_>, setting: u64) -> Result<()> {
        match self {
            Handle::Store(store) => store.set_setting(namespace, label, setting),
            Handle::Inside(_) => Err(Error::InTransaction),
        }
    }

    /// Removes what has expired, and evicts what is over the limit. Not inside a transaction.
    pub fn cull(&self) -> Result<u64> {
        match self {
            Handle::Store(store) => store.cull(),
            Handle::Inside(_) => Err(Error::InTransaction),
        }
    }

    /// Begins the statistics anew; what they were. Nothing of it is taken back with a transaction.
    pub fn reset_sums(&self) -> Result<Sums> {
        match self {
            Handle::Store(store) => store.reset_sums(),
            Handle::Inside(transaction) => transaction.reset_sums(),
        }
    }

    /// Removes items that have expired. The number removed.
    pub fn expire(&self) -> Result<u64> {
        match self {
            Handle::Store(store) => store.expire(),
            Handle::Inside(transaction) => transaction.expire(),
        }
    }

    /// Evicts every item of a tag. The number of items that counted as live.
    pub fn evict(&self, label: Label<'_>) -> Result<u64> {
        match self {
            Handle::Store(store) => store.evict(label),
            Handle::Inside(transaction) => transaction.evict(label),
        }
    }

    /// Removes every item. The number of items that counted as live.
    pub fn clear(&self) -> Result<u64> {
        match self {
            Handle::Store(store) => store.clear(),
            Handle::Inside(transaction) => transaction.clear(),
        }
    }

    /// The store, for a call that concerns the whole of it and has no place inside a transaction.
    fn outside(&self) -> Result<&Store<O>> {
        match self {
            Handle::Store(store) => Ok(store.store()),
            Handle::Inside(_) => Err(Error::InTransaction),
        }
    }

    /// As [`Store::sync`].
    pub fn sync(&self) -> Result<()> {
        self.outside()?.sync()
    }

    /// As [`Store::change_settings`].
    pub fn change_settings(&self, change: impl FnOnce(&mut Shared)) -> Result<Shared> {
        self.outside()?.change_settings(change)
    }

    /// As [`Store::check`].
    pub fn check(&self, progress: &mut dyn FnMut(Progress)) -> Result<Report> {
        self.outside()?.check(progress)
    }

    /// As [`Store::repair`].
    pub fn repair(&self, progress: &mut dyn FnMut(Progress)) -> Result<Report> {
        self.outside()?.repair(progress)
    }
}

/// Queues: see `queue`.
impl<O: Os> Handle<O> {
    /// The positions of a queue that have elements.
    pub fn span(&self, queue: Namespace) -> Result<Span> {
        match self {
            Handle::Store(store) => store.span(queue),
            Handle::Inside(transaction) => transaction.span(queue),
        }
    }

    /// As [`Store::read_queue`].
    pub fn read_queue<R>(
        &self,
        queue: Namespace,
        place: impl Fn(Span) -> Option<u64>,
        take: impl FnMut(&Found<'_, O>) -> Result<R>,
    ) -> Result<Option<R>> {
        match self {
            Handle::Store(store) => store.read_queue(queue, place, take),
            Handle::Inside(transaction) => transaction.read_queue(queue, place, take),
        }
    }

    /// As [`Store::push`].
    pub fn push(&self, queue: Namespace, end: End, put: Put<'_>, bound: Bound) -> Result<bool> {
        match self {
            Handle::Store(store) => store.push(queue, end, put, bound),
            Handle::Inside(transaction) => transaction.push_element(queue, end, put, bound.most).map(|()| true),
        }
    }

    /// As [`Store::pop`].
    pub fn pop<R>(
        &self,
        queue: Namespace,
        end: End,
        timeout: Option<Duration>,
        take: impl FnMut(&Found<'_, O>) -> Result<R>,
    ) -> Result<Option<R>> {
        match self {
            Handle::Store(store) => store.pop(queue, end, timeout, take),
            Handle::Inside(transaction) => transaction.pop_element(queue, end, take),
        }
    }

    /// As [`Store::replace`].
    pub fn replace(&self, queue: Namespace, place: impl Fn(Span) -> Option<u64>, put: Put<'_>) -> Result<bool> {
        match self {
            Handle::Store(store) => store.replace(queue, place, put),
            Handle::Inside(transaction) => transaction.replace_element(queue, place, put),
        }
    }

    /// As [`Store::sleep_unless`]. Nobody waits inside a transaction: nobody else could give anything.
    pub fn sleep_unless(&self, is_there: &mut dyn FnMut() -> Result<bool>, timeout: Duration) -> Result<()> {
        self.outside()?.sleep_unless(is_there, timeout)
    }
}

/// Indexes: see `order_read`.
impl<O: Os> Handle<O> {
    /// As [`Store::stretch`].
    pub fn stretch(
        &self,
        index: Namespace,
        window: &Window,
        end: End,
        wanted: (usize, bool),
        to: &mut Stretch,
    ) -> Result<()> {
        match self {
            Handle::Store(store) => store.stretch(index, window, end, wanted, to),
            Handle::Inside(transaction) => transaction.stretch(index, window, end, wanted, to),
        }
    }

    /// As [`Store::pop_in_order`].
    pub fn pop_in_order<R>(
        &self,
        index: Namespace,
        end: End,
        take: impl FnMut(&[u8], &Found<'_, O>) -> Result<R>,
    ) -> Result<Option<R>> {
        match self {
            Handle::Store(store) => store.pop_in_order(index, end, take),
            Handle::Inside(transaction) => transaction.pop_in_order(index, end, take),
        }
    }

    /// The items of a namespace.
    pub fn items_of(&self, namespace: Namespace) -> Result<u64> {
        match self {
            Handle::Store(store) => store.items_of(namespace),
            Handle::Inside(transaction) => transaction.items_of(namespace),
        }
    }
}
