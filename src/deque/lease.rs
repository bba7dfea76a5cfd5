//! Elements handed out on trust: who gives them, who has them, and when they come back. How they are kept is in `held`.
//!
//! L4. An element is in the queue or among the leases, and what moves it from one to the other is one commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::Deque;
use super::held::{Held, Ticket, each, encode};
use crate::calls::{Calls, How, transact_on};
use crate::codec::{Codec, Postcard};
use crate::engine::{Bound, End, Kind, Label, Namespace};
use crate::error::{Error, Result};
use crate::ledger::later;
use crate::value;

/// What the name of the index ends with: no name of a user's has a zero in it.
const SUFFIX: &str = "\0leases";
/// How long it is waited for the lock to give back what could not be given back before.
const AT_ONCE: Duration = Duration::from_millis(1);
/// How often a handle looks for leases that are over while there are other elements.
const LOOK: Duration = Duration::from_millis(100);
/// The longest sleep while somebody else holds a lease: so soon its death is noticed.
const NAP: Duration = Duration::from_millis(250);

/// What a handle knows of leases.
#[derive(Debug)]
pub(super) struct Leases {
    /// The id of the index; 0 while it is not known.
    id: AtomicU32,
    /// When it was looked at last, nanoseconds since 1970.
    looked: AtomicU64,
}

impl Leases {
    pub(super) fn new() -> Leases {
        Leases { id: AtomicU32::new(0), looked: AtomicU64::new(0) }
    }
}

/// An element whose lease is over, as it was when it was looked at.
struct Overdue<T> {
    ticket: Ticket,
    sequence: u64,
    value: T,
}

/// What was found among the leases.
struct Look<T> {
    /// The first that is over.
    overdue: Option<Overdue<T>>,
    /// Why one that is over cannot be given.
    refused: Option<Error>,
    /// Until when the others are held.
    earliest: u64,
}

impl<T> Look<T> {
    fn new() -> Look<T> {
        Look { overdue: None, refused: None, earliest: u64::MAX }
    }
}

/// An element of a queue that this process has for a time. Made by [`Deque::lease_front`].
///
/// Dropped without [`ack`](Lease::ack), it goes back to the front of the queue. A child of `fork` that drops the copy it has of
/// its parent's lease gives nothing back.
///
/// ```
/// use std::time::Duration;
/// # let dir = tempfile::tempdir()?;
/// let jobs = larder::Deque::<String>::open(&dir)?;
/// jobs.push_back("resize")?;
/// let job = jobs.lease_front(Duration::from_secs(30))?.unwrap();
/// assert_eq!((job.value().as_str(), jobs.len()), ("resize", 0));
/// drop(job); // not done
/// assert_eq!(jobs.len(), 1);
/// jobs.lease_front(Duration::from_secs(30))?.unwrap().ack()?; // done
/// assert_eq!(jobs.len() + jobs.leased()?, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Lease<T, C: Codec = Postcard> {
    deque: Deque<T, C>,
    space: Namespace,
    ticket: Ticket,
    value: T,
    is_over: bool,
}

impl<T: std::fmt::Debug, C: Codec> std::fmt::Debug for Lease<T, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("value", &self.value).finish_non_exhaustive()
    }
}

impl<T, C: Codec> Deque<T, C> {
    fn lease_label(&self) -> String {
        format!("{}{SUFFIX}", self.name)
    }

    /// The index of leases, if there is one.
    fn find_leases(&self) -> Result<Option<Namespace>> {
        let known = self.leases.id.load(Ordering::Relaxed);
        if known != 0 {
            return Ok(Some(Namespace { kind: Kind::Index, id: known }));
        }
        let found = self.store.find_namespace(Label { kind: Kind::Index, name: &self.lease_label() })?;
        self.leases.id.store(found.map_or(0, |space| space.id), Ordering::Relaxed);
        Ok(found)
    }

    fn make_leases(&self) -> Result<Namespace> {
        match self.find_leases()? {
            Some(space) => Ok(space),
            None => self.store.namespace(Label { kind: Kind::Index, name: &self.lease_label() }, true),
        }
    }

    /// How many elements are leased.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// assert_eq!(larder::Deque::<u8>::open(&dir)?.leased()?, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn leased(&self) -> Result<usize> {
        let Some(space) = self.find_leases()? else { return Ok(0) };
        Ok(usize::try_from(self.store.items_of(space)?).unwrap_or(usize::MAX))
    }

    /// True if it is time to look for leases that are over.
    fn must_look(&self) -> Result<bool> {
        let since = self.store.now().saturating_sub(self.leases.looked.load(Ordering::Relaxed));
        Ok(since >= LOOK.as_nanos() as u64 || self.store.span(self.queue)?.len == 0)
    }
}

/// When a lease ends that begins now.
fn until(store: &dyn Calls, duration: Duration) -> u64 {
    store.now().saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

impl<T: DeserializeOwned, C: Codec> Deque<T, C> {
    /// Takes the first element for a time; `None` if there is none. Until the lease is [acknowledged](Lease::ack), the element is
    /// kept beside the queue. It comes back, and goes to whoever leases next,
    /// - at once when the lease is dropped, or, inside a transaction and where it cannot be given back, as soon as it can,
    /// - when its process has died, by whatever death: who waits for a lease looks for that four times a second,
    /// - when the time is over, if its holder is alive: give more than the work takes, or [`extend`](Lease::extend).
    ///
    /// So an element is worked on at least once, and twice if a holder died or was too slow: what is done with it should bear that.
    /// Nobody else has it while the lease holds, and who holds one that has passed on learns it from
    /// [`ack`](Lease::ack). The clock that counts is the machine's: a step of it moves what is due.
    ///
    /// Two commits of some microseconds for each element, of which the first waits for no disk. Elements that came back go before all others.
    ///
    /// # Errors
    /// As [`pop_front`](Deque::pop_front). An element that is leased is stored anew beside the queue: where the store has no room for
    /// that it is [`Error::Full`](crate::Error::Full), and where it takes more than an eighth of the size limit
    /// [`Error::TransactionTooLarge`](crate::Error::TransactionTooLarge), though it can be popped. An element that came back and
    /// cannot be decoded, as one of another type, stays for those who can, and its error is given only while there is nothing
    /// else to give. [`Error::InTransaction`](crate::Error::InTransaction) inside of one, as others could not see who holds the
    /// element.
    ///
    /// ```
    /// use std::time::Duration;
    /// # let dir = tempfile::tempdir()?;
    /// let jobs = larder::Deque::<u32>::open(&dir)?;
    /// jobs.extend(0..3)?;
    /// while let Some(job) = jobs.lease_front(Duration::from_secs(30))? {
    ///     assert!(*job.value() < 3);
    ///     job.ack()?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lease_front(&self, duration: Duration) -> Result<Option<Lease<T, C>>> {
        Ok(self.try_lease(duration, None)?.0)
    }

    /// As [`lease_front`](Deque::lease_front), waiting for at most `timeout` if there is none, as
    /// [`pop_front_wait`](Deque::pop_front_wait) does.
    ///
    /// ```
    /// use std::time::Duration;
    /// # let dir = tempfile::tempdir()?;
    /// let jobs = larder::Deque::<u32>::open(&dir)?;
    /// let none = jobs.lease_front_wait(Duration::from_secs(30), Duration::from_millis(1))?;
    /// assert!(none.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lease_front_wait(&self, duration: Duration, timeout: Duration) -> Result<Option<Lease<T, C>>> {
        let start = Instant::now();
        let end = start.checked_add(timeout);
        loop {
            let lock = end.and_then(|end| self.lock_timeout(end));
            let (lease, earliest) = match self.try_lease(duration, lock) {
                Err(Error::Timeout) if lock.is_some() => return Ok(None),
                tried => tried?,
            };
            let left = timeout.saturating_sub(start.elapsed());
            if lease.is_some() || left.is_zero() {
                return Ok(lease);
            }
            // While nobody holds anything, nothing but a push can bring an element.
            let due = Duration::from_nanos(earliest.saturating_sub(self.store.now()));
            let nap = if earliest == u64::MAX { super::ends::NAP } else { due.min(NAP) };
            self.sleep(left.min(nap.max(Duration::from_millis(1))))?;
        }
    }

    /// A lease, and until when others hold theirs. `timeout` is for the lock; without one it is the handle's.
    fn try_lease(&self, duration: Duration, timeout: Option<Duration>) -> Result<(Option<Lease<T, C>>, u64)> {
        later::catch_up(&self.store);
        let mut must_look = self.must_look()?;
        loop {
            let Look { overdue, refused, earliest } = match self.find_leases()? {
                Some(space) if must_look => self.look(space)?,
                None => Look::new(),
                // What nobody has looked at may end at once.
                Some(_) => Look { earliest: 0, ..Look::new() },
            };
            if overdue.is_none() && self.store.span(self.queue)?.len == 0 {
                return refused.map_or(Ok((None, earliest)), Err);
            }
            if self.store.is_inside() {
                return Err(Error::InTransaction);
            }
            let space = self.make_leases()?;
            let Some(overdue) = overdue else {
                return match (self.take_first(space, duration, timeout)?, refused) {
                    (None, Some(error)) => Err(error),
                    (lease, _) => Ok((lease, earliest)),
                };
            };
            if let Some(lease) = self.take_over(space, overdue, duration, timeout)? {
                return Ok((Some(lease), earliest));
            }
            // Somebody was faster, and there may be another one.
            must_look = true;
        }
    }

    /// Looks for an element whose lease is over. One that cannot be decoded stays for those who can, and hides none behind it.
    fn look(&self, space: Namespace) -> Result<Look<T>> {
        let now = self.store.now();
        self.leases.looked.store(now, Ordering::Relaxed);
        let mut look = Look::new();
        each(&*self.store, space, |ticket, held| {
            let Held { until, kind, sequence, bytes } = held;
            if until > now && self.store.is_owner_alive(ticket.owner, sequence) {
                look.earliest = look.earliest.min(until);
                return true;
            }
            match value::decode(&self.codec, kind, &bytes) {
                Ok(value) => look.overdue = Some(Overdue { ticket, sequence, value }),
                Err(error) => look.refused = look.refused.take().or(Some(error)),
            }
            look.overdue.is_none()
        })?;
        Ok(look)
    }

    /// Leases an element anew whose lease is over, if that is so still.
    fn take_over(
        &self,
        space: Namespace,
        overdue: Overdue<T>,
        duration: Duration,
        timeout: Option<Duration>,
    ) -> Result<Option<Lease<T, C>>> {
        let Overdue { ticket: over, sequence, value } = overdue;
        let taken = self.transact_as(How { timeout, holds: true, ..How::default() }, |deque| {
            let store = &*deque.store;
            // Who prolongs a lease has the element from then on as if it were not over (L1).
            let found = Held::find(store, space, over)?.filter(|held| held.sequence == sequence);
            let Some(held) = found else { return Ok(None) };
            let ticket = Ticket::new(store);
            over.erase(store, space)?;
            let held = encode(until(store, duration), held.kind, &held.bytes);
            ticket.put(store, space, &held)?;
            Ok(Some(ticket))
        })?;
        Ok(taken.map(|ticket| self.lease(space, ticket, value)))
    }

    /// Leases the first element of the queue.
    fn take_first(
        &self,
        space: Namespace,
        duration: Duration,
        timeout: Option<Duration>,
    ) -> Result<Option<Lease<T, C>>> {
        let taken = self.transact_as(How { timeout, holds: true, ..How::default() }, |deque| {
            let store = &*deque.store;
            let mut taken = None;
            store.pop(deque.queue, End::Front, &mut |kind, bytes| {
                let value = value::decode(&deque.codec, kind, bytes)?;
                // The time begins once the lock is had and the element is decoded.
                taken = Some((encode(until(store, duration), kind, bytes), value));
                Ok(())
            })?;
            let Some((held, value)) = taken else { return Ok(None) };
            let ticket = Ticket::new(store);
            ticket.put(store, space, &held)?;
            Ok(Some((ticket, value)))
        })?;
        Ok(taken.map(|(ticket, value)| self.lease(space, ticket, value)))
    }

    fn lease(&self, space: Namespace, ticket: Ticket, value: T) -> Lease<T, C> {
        Lease { deque: self.clone(), space, ticket, value, is_over: false }
    }
}

impl<T, C: Codec> Lease<T, C> {
    /// The element.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let jobs = larder::Deque::<u32>::open(&dir)?;
    /// jobs.push_back(&7)?;
    /// let job = jobs.lease_front(std::time::Duration::from_secs(30))?.unwrap();
    /// assert_eq!(*job.value(), 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn value(&self) -> &T {
        &self.value
    }

    /// Says that the element is done with: it is gone for good.
    ///
    /// # Errors
    /// [`Error::LeaseLost`] if the lease had run out and somebody else has taken the element: it was worked on twice, or will
    /// be. Others as a put: then the lease holds on until its time is over.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let jobs = larder::Deque::<u32>::open(&dir)?;
    /// jobs.push_back(&7)?;
    /// let slow = jobs.lease_front(std::time::Duration::ZERO)?.unwrap();
    /// let other = jobs.lease_front(std::time::Duration::from_secs(30))?.unwrap();
    /// assert!(matches!(slow.ack(), Err(larder::Error::LeaseLost)));
    /// other.ack()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ack(mut self) -> Result<()> {
        self.is_over = true;
        self.ack_in(&self.deque)
    }

    /// As [`ack`](Lease::ack), as part of a transaction: `deque` is the same queue, as the transaction gives it. Whether it is
    /// done with is decided when the transaction commits; if that is taken back, the lease holds on. Outside of a transaction it is
    /// one of its own.
    ///
    /// ```
    /// use std::time::Duration;
    /// # let dir = tempfile::tempdir()?;
    /// let cache = larder::Cache::open(&dir)?;
    /// let jobs = cache.deque::<u32>("jobs")?;
    /// jobs.push_back(&7)?;
    /// let job = jobs.lease_front(Duration::from_secs(30))?.unwrap();
    /// let square = job.value() * job.value();
    /// cache.transact(|tx| {
    ///     tx.set(*job.value(), &square)?;
    ///     job.ack_in(&tx.deque("jobs")?)
    /// })?;
    /// assert_eq!((cache.get::<u32>(7)?, jobs.leased()?), (Some(49), 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ack_in(&self, deque: &Deque<T, C>) -> Result<()> {
        if self.ticket.erase(&*deque.store, self.space)? { Ok(()) } else { Err(Error::LeaseLost) }
    }

    /// Begins the time of the lease anew.
    ///
    /// # Errors
    /// As [`ack`](Lease::ack).
    ///
    /// ```
    /// use std::time::Duration;
    /// # let dir = tempfile::tempdir()?;
    /// # let jobs = larder::Deque::<u32>::open(&dir)?;
    /// jobs.push_back(&7)?;
    /// let job = jobs.lease_front(Duration::ZERO)?.unwrap();
    /// job.extend(Duration::from_secs(30))?;
    /// assert!(jobs.lease_front(Duration::from_secs(30))?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn extend(&self, duration: Duration) -> Result<()> {
        self.deque.transact(|deque| {
            let held = self.find(deque)?.ok_or(Error::LeaseLost)?;
            let held = encode(until(&*deque.store, duration), held.kind, &held.bytes);
            self.ticket.put(&*deque.store, self.space, &held)
        })
    }

    /// The lease as the index has it, unless it is lost.
    fn find(&self, deque: &Deque<T, C>) -> Result<Option<Held>> {
        Held::find(&*deque.store, self.space, self.ticket)
    }
}

impl<T, C: Codec> Drop for Lease<T, C> {
    fn drop(&mut self) {
        // A child of `fork` has what its parent holds, and not the right to give it back.
        if self.is_over || self.ticket.owner != self.deque.store.owner() {
            return;
        }
        // One that a transaction has acknowledged is there no more.
        if matches!(self.find(&self.deque), Ok(None) | Err(Error::Forked)) {
            return;
        }
        let (queue, space, ticket) = (self.deque.queue, self.space, self.ticket);
        if later::attempted(|| give_back(&*self.deque.store, queue, space, ticket, None)).is_err() {
            let again = move |store: Arc<dyn Calls>| give_back(&*store, queue, space, ticket, Some(AT_ONCE));
            later::leave(&self.deque.store, Box::new(again));
        }
    }
}

/// Puts what a lease holds back to the front of the queue, unless it is over.
fn give_back(
    store: &dyn Calls,
    queue: Namespace,
    space: Namespace,
    ticket: Ticket,
    timeout: Option<Duration>,
) -> Result<()> {
    let how = How { timeout, holds: true, ..How::default() };
    transact_on(store, how, |inside| {
        if let Some(held) = Held::find(&*inside, space, ticket)? {
            ticket.erase(&*inside, space)?;
            inside.push(queue, End::Front, held.kind, &held.bytes, Bound::NONE)?;
        }
        Ok(())
    })
}
