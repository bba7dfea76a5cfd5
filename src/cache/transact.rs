//! Transactions: several calls that happen together or not at all.

use std::ops::Deref;
use std::time::Duration;

use super::Cache;
use crate::calls::{self, How};
use crate::codec::{Codec, Postcard};
use crate::error::{Error, Result};

/// A running transaction: all the calls of [`Cache`], on what the transaction sees. Made by [`Cache::transact`].
///
/// It sees its own changes; nobody else sees any of them before it has been committed, and then all at once. Once it has
/// ended, clones and iterators that were made of it give [`Error::InTransaction`].
///
/// Not inside: [`sync`](Cache::sync), [`check`](Cache::check), [`repair`](Cache::repair), [`cull`](Cache::cull) and
/// [`update_settings`](Cache::update_settings) are [`Error::InTransaction`], and so is what would have to tell others or wait for
/// them: [`get_or_insert_with`](Cache::get_or_insert_with) of a missing key, leases, a waiting pop of an empty queue, recipes. Statistics count calls when they are made,
/// also those of a transaction that is taken back.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let cache = larder::Cache::open(&dir)?;
/// fn deposit(tx: &larder::Transaction, account: &str, amount: i64) -> larder::Result<i64> {
///     tx.incr(("account", account), amount)
/// }
/// cache.transact(|tx| {
///     deposit(tx, "ada", -5)?;
///     deposit(tx, "grace", 5)
/// })?;
/// assert_eq!(cache.get::<i64>(("account", "grace"))?, Some(5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Transaction<C: Codec = Postcard> {
    cache: Cache<C>,
}

impl<C: Codec> Deref for Transaction<C> {
    type Target = Cache<C>;
    fn deref(&self) -> &Cache<C> {
        &self.cache
    }
}

impl<C: Codec> Cache<C> {
    /// Runs `body` as a transaction: everything it does through `tx` happens together or not at all, for every thread and
    /// process and after a crash. If `body` returns an error or panics, nothing has happened. Reads inside see the
    /// transaction's own changes, and a state that nobody else changes.
    ///
    /// Inside a transaction, `tx.transact(..)` is a part of it that can fail alone: on an error or panic, what that part did is
    /// taken back, and the rest goes on.
    ///
    /// One writer at a time: the lock is held while `body` runs and while the commit is made (some microseconds, and the
    /// time to write the values), so other writers wait, in all processes; readers do not. Keep `body` short, and do not
    /// wait in it for another thread that writes. A write through any other handle of this cache by the thread that is
    /// inside is [`Error::InTransaction`], and so is [`sync`](Cache::sync). If the process dies inside, the next writer takes over within milliseconds.
    ///
    /// What is staged is kept in memory: keys, values and 64 bytes for each change, up to an eighth of the size limit.
    ///
    /// # Errors
    /// What `body` returns: a failure of the caller's own goes through [`Error::aborted`], or use
    /// [`try_transact`](Cache::try_transact). [`Error::TransactionTooLarge`] from the call that stages too much;
    /// [`Error::Timeout`] if the lock was not to be had within the handle's time-out; [`Error::Full`]: nothing has
    /// happened then. Under [`Durability::Sync`](crate::Durability::Sync) also [`Error::NotDurable`]: everything has
    /// happened, and may be lost with the power.
    ///
    /// ```
    /// use larder::Error;
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set_many([("a", 10), ("b", 0)])?;
    /// let moved = cache.transact(|tx| {
    ///     let left = tx.decr("a", 3)?;
    ///     tx.incr("b", 3)?;
    ///     if left < 0 { Err(Error::aborted("not enough")) } else { Ok(3) }
    /// })?;
    /// assert_eq!((moved, cache.get_many::<i64>(["a", "b"])?), (3, vec![Some(7), Some(3)]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn transact<R>(&self, body: impl FnOnce(&Transaction<C>) -> Result<R>) -> Result<R> {
        self.run(How::default(), body)
    }

    /// As [`transact`](Cache::transact), for a `body` with an error type of its own.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// #[derive(Debug)]
    /// enum Refused {
    ///     SoldOut,
    ///     Cache(larder::Error),
    /// }
    /// impl From<larder::Error> for Refused {
    ///     fn from(error: larder::Error) -> Refused {
    ///         Refused::Cache(error)
    ///     }
    /// }
    /// let sold = cache.try_transact(|tx| {
    ///     tx.incr("asked", 1)?;
    ///     if tx.get::<u32>("stock")?.unwrap_or(0) == 0 { Err(Refused::SoldOut) } else { Ok(()) }
    /// });
    /// assert!(matches!(sold, Err(Refused::SoldOut)));
    /// assert!(!cache.contains("asked")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_transact<R, E: From<Error>>(&self, body: impl FnOnce(&Transaction<C>) -> Result<R, E>) -> Result<R, E> {
        self.run(How::default(), body)
    }

    /// As [`transact`](Cache::transact), waiting for the lock for at most `timeout`: then [`Error::Timeout`], and `body`
    /// has not run. Waiting is rounded up to some milliseconds. Inside a transaction, the lock is held already.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let soon = std::time::Duration::from_millis(20);
    /// cache.transact_timeout(soon, |tx| tx.set("k", "v"))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn transact_timeout<R>(&self, timeout: Duration, body: impl FnOnce(&Transaction<C>) -> Result<R>) -> Result<R> {
        self.run(How { timeout: Some(timeout), ..How::default() }, body)
    }

    /// A transaction that may be there in part after a power cut, if it is in several shards.
    pub(crate) fn transact_lightly<R>(&self, body: impl FnOnce(&Transaction<C>) -> Result<R>) -> Result<R> {
        self.run(How { may_tear: true, ..How::default() }, body)
    }

    fn run<R, E: From<Error>>(&self, how: How, body: impl FnOnce(&Transaction<C>) -> Result<R, E>) -> Result<R, E> {
        calls::transact(&*self.store, how, |inside| {
            body(&Transaction { cache: Cache { store: inside, codec: self.codec.clone() } })
        })
    }
}
