//! Elements handed out on trust: taken out of the queue, kept beside it until they are done, and back in it if they are not.
//!
//! A second queue, of the same name and a word, holds the elements that are leased, each behind a header:
//!
//! ```text
//!      0  8  token: id of the handle that holds it in the high half, a number of that handle's in the low one
//!      8  8  until when, nanoseconds since 1970
//!     16  1  kind of the element's value
//!     17     its bytes
//! ```
//! A position keeps its element, so token and position name a lease. One that is over leaves an empty element of another kind,
//! which goes once it is at an end. Whoever leases looks for what is overdue, or held by a handle that is gone, and takes that
//! over: by one commit, which writes another token, so that an element has one holder at any time.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::Deque;
use crate::calls::{Calls, Place};
use crate::codec::{Codec, Postcard};
use crate::engine::{Bound, End, Kind, Label, Namespace};
use crate::error::{Error, Result};
use crate::value;

/// What the name of the second queue ends with: no name of a user's has a zero in it.
const SUFFIX: &str = "\0leases";
/// The kinds of elements of the second queue. They are no kinds of values.
const HELD: u8 = 254;
const DONE: u8 = 255;
const HEADER: usize = 17;
/// How often a handle looks for leases that are over while there are other elements.
const LOOK: Duration = Duration::from_millis(100);
/// The longest sleep while somebody else holds a lease: so soon its death is noticed.
const NAP: Duration = Duration::from_millis(250);

/// What a handle knows of leases.
#[derive(Debug)]
pub(super) struct Leases {
    /// The id of the second queue; 0 while it is not known.
    id: AtomicU32,
    /// When it was looked at last, nanoseconds since 1970.
    looked: AtomicU64,
}

/// The number of the next lease of this process.
static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Leases {
    pub(super) fn new() -> Leases {
        Leases { id: AtomicU32::new(0), looked: AtomicU64::new(0) }
    }
}

/// A lease as the second queue has it.
struct Held {
    token: u64,
    until: u64,
    kind: u8,
}

impl Held {
    fn decode(kind: u8, bytes: &[u8]) -> Option<Held> {
        let (header, _) = bytes.split_first_chunk::<HEADER>().filter(|_| kind == HELD)?;
        let word = |at| u64::from_le_bytes(std::array::from_fn(|i| header[at + i]));
        Some(Held { token: word(0), until: word(8), kind: header[16] })
    }

    fn encode(&self, bytes: &[u8]) -> Vec<u8> {
        let mut all = Vec::with_capacity(HEADER + bytes.len());
        all.extend_from_slice(&self.token.to_le_bytes());
        all.extend_from_slice(&self.until.to_le_bytes());
        all.push(self.kind);
        all.extend_from_slice(bytes);
        all
    }

    /// The handle that holds it.
    fn owner(&self) -> u32 {
        (self.token >> 32) as u32
    }
}

/// An element whose lease is over, as it was when it was looked at.
struct Overdue<T> {
    position: u64,
    held: Held,
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
    queue: Namespace,
    position: u64,
    token: u64,
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

    /// The second queue, if there is one.
    fn find_leases(&self) -> Result<Option<Namespace>> {
        let known = self.leases.id.load(Ordering::Relaxed);
        if known != 0 {
            return Ok(Some(Namespace { kind: Kind::Deque, id: known }));
        }
        let found = self.store.find_namespace(Label { kind: Kind::Deque, name: &self.lease_label() })?;
        self.leases.id.store(found.map_or(0, |queue| queue.id), Ordering::Relaxed);
        Ok(found)
    }

    fn make_leases(&self) -> Result<Namespace> {
        match self.find_leases()? {
            Some(queue) => Ok(queue),
            None => self.store.namespace(Label { kind: Kind::Deque, name: &self.lease_label() }),
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
        let Some(queue) = self.find_leases()? else { return Ok(0) };
        let mut held = 0;
        each(&*self.store, queue, |_, _, _| {
            held += 1;
            true
        })?;
        Ok(held)
    }

    /// True if it is time to look for leases that are over.
    fn must_look(&self) -> Result<bool> {
        let since = self.store.now().saturating_sub(self.leases.looked.load(Ordering::Relaxed));
        Ok(since >= LOOK.as_nanos() as u64 || self.store.span(self.queue)?.len == 0)
    }
}

/// Calls `visit` with the position and the sequence, the header and the bytes of each element that is leased, until it says no.
fn each(store: &dyn Calls, queue: Namespace, mut visit: impl FnMut((u64, u64), Held, &[u8]) -> bool) -> Result<()> {
    let span = store.span(queue)?;
    let mut bytes = Vec::new();
    for position in (0..span.len).map(|number| span.first.wrapping_add(number)) {
        let Some(facts) = store.element(queue, Place::Position(position), &mut bytes)? else { continue };
        if let Some(held) = Held::decode(facts.kind, &bytes)
            && !visit((position, facts.sequence), held, &bytes[HEADER..])
        {
            break;
        }
    }
    Ok(())
}

/// The lease at a position, if it is that one still, and the element's bytes.
fn held_at(store: &dyn Calls, queue: Namespace, position: u64, token: u64) -> Result<Option<(Held, Vec<u8>)>> {
    let mut bytes = Vec::new();
    let Some(facts) = store.element(queue, Place::Position(position), &mut bytes)? else { return Ok(None) };
    let Some(held) = Held::decode(facts.kind, &bytes).filter(|held| held.token == token) else { return Ok(None) };
    bytes.drain(..HEADER);
    Ok(Some((held, bytes)))
}

/// When a lease ends that begins now.
fn until(store: &dyn Calls, duration: Duration) -> u64 {
    store.now().saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

/// Ends a lease, and removes what has ended at both ends.
fn end(store: &dyn Calls, queue: Namespace, position: u64) -> Result<()> {
    store.replace(queue, Place::Position(position), DONE, &[])?;
    let mut bytes = Vec::new();
    for end in [End::Front, End::Back] {
        while store.element(queue, Place::At(end), &mut bytes)?.is_some_and(|facts| facts.kind == DONE) {
            store.pop(queue, end, &mut |_, _| Ok(()))?;
        }
    }
    Ok(())
}

impl<T: DeserializeOwned, C: Codec> Deque<T, C> {
    /// Takes the first element for a time; `None` if there is none. Until the lease is [acknowledged](Lease::ack), the element is
    /// kept beside the queue. It comes back, and goes to whoever leases next,
    /// - at once when the lease is dropped,
    /// - when its process has died, by whatever death: who waits for a lease looks for that four times a second,
    /// - when the time is over, if its holder is alive: give more than the work takes, or [`extend`](Lease::extend).
    ///
    /// So an element is worked on at least once, and twice if a holder died or was too slow: what is done with it should bear that.
    /// Nobody else has it while the lease holds, and who holds one that has passed on learns it from
    /// [`ack`](Lease::ack). The clock that counts is the machine's: a step of it moves what is due.
    ///
    /// Two commits of some microseconds for each element. Elements that came back go before all others.
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
        Ok(self.try_lease(duration)?.0)
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
        let start = std::time::Instant::now();
        loop {
            let (lease, earliest) = self.try_lease(duration)?;
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

    /// A lease, and until when others hold theirs.
    fn try_lease(&self, duration: Duration) -> Result<(Option<Lease<T, C>>, u64)> {
        let mut must_look = self.must_look()?;
        loop {
            let Look { overdue, refused, earliest } = match self.find_leases()? {
                Some(queue) if must_look => self.look(queue)?,
                _ => Look::new(),
            };
            if overdue.is_none() && self.store.span(self.queue)?.len == 0 {
                return refused.map_or(Ok((None, earliest)), Err);
            }
            if self.store.is_inside() {
                return Err(Error::InTransaction);
            }
            let queue = self.make_leases()?;
            let Some(overdue) = overdue else {
                return match (self.take_first(queue, duration)?, refused) {
                    (None, Some(error)) => Err(error),
                    (lease, _) => Ok((lease, earliest)),
                };
            };
            if let Some(lease) = self.take_over(queue, overdue, duration)? {
                return Ok((Some(lease), earliest));
            }
            // Somebody was faster, and there may be another one.
            must_look = true;
        }
    }

    /// Looks for an element whose lease is over. One that cannot be decoded stays for those who can, and hides none behind it.
    fn look(&self, queue: Namespace) -> Result<Look<T>> {
        let now = self.store.now();
        self.leases.looked.store(now, Ordering::Relaxed);
        let mut look = Look::new();
        each(&*self.store, queue, |(position, sequence), held, bytes| {
            if held.until > now && self.store.is_owner_alive(held.owner(), sequence) {
                look.earliest = look.earliest.min(held.until);
                return true;
            }
            match value::decode(&self.codec, held.kind, bytes) {
                Ok(value) => look.overdue = Some(Overdue { position, held, value }),
                Err(error) => look.refused = look.refused.take().or(Some(error)),
            }
            look.overdue.is_none()
        })?;
        Ok(look)
    }

    /// Leases an element anew whose lease is over, if that is so still.
    fn take_over(&self, queue: Namespace, overdue: Overdue<T>, duration: Duration) -> Result<Option<Lease<T, C>>> {
        let Overdue { position, held: over, value } = overdue;
        let token = self.new_token();
        let is_taken = self.transact(|deque| {
            // Who extends a lease leaves the token as it is, and has the element from then on as if it were not over.
            let found = held_at(&*deque.store, queue, position, over.token)?;
            let Some((held, bytes)) = found.filter(|(held, _)| held.until == over.until) else { return Ok(false) };
            let held = Held { token, until: until(&*deque.store, duration), ..held };
            deque.store.replace(queue, Place::Position(position), HELD, &held.encode(&bytes))
        })?;
        Ok(is_taken.then(|| self.lease(queue, position, token, value)))
    }

    /// Leases the first element of the queue.
    fn take_first(&self, queue: Namespace, duration: Duration) -> Result<Option<Lease<T, C>>> {
        let token = self.new_token();
        let taken = self.transact(|deque| {
            let mut taken = None;
            deque.store.pop(deque.queue, End::Front, &mut |kind, bytes| {
                let value = value::decode(&deque.codec, kind, bytes)?;
                // The time begins once the lock is had and the element is decoded.
                let held = Held { token, until: until(&*deque.store, duration), kind };
                taken = Some((held.encode(bytes), value));
                Ok(())
            })?;
            let Some((bytes, value)) = taken else { return Ok(None) };
            deque.store.push(queue, End::Back, HELD, &bytes, Bound::NONE)?;
            let span = deque.store.span(queue)?;
            Ok(Some((span.first.wrapping_add(span.len - 1), value)))
        })?;
        Ok(taken.map(|(position, value)| self.lease(queue, position, token, value)))
    }

    /// A token that nobody has had in this store.
    fn new_token(&self) -> u64 {
        u64::from(self.store.owner()) << 32 | u64::from(NUMBER.fetch_add(1, Ordering::Relaxed))
    }

    fn lease(&self, queue: Namespace, position: u64, token: u64, value: T) -> Lease<T, C> {
        Lease { deque: self.clone(), queue, position, token, value, is_over: false }
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
        // It looks before it removes, and nobody may remove anything in between.
        if !deque.store.is_inside() {
            return deque.transact(|inside| self.ack_in(inside));
        }
        match held_at(&*deque.store, self.queue, self.position, self.token)? {
            Some(_) => end(&*deque.store, self.queue, self.position),
            None => Err(Error::LeaseLost),
        }
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
            let held = held_at(&*deque.store, self.queue, self.position, self.token)?;
            let (held, bytes) = held.ok_or(Error::LeaseLost)?;
            let held = Held { until: until(&*deque.store, duration), ..held };
            deque.store.replace(self.queue, Place::Position(self.position), HELD, &held.encode(&bytes)).map(drop)
        })
    }
}

impl<T, C: Codec> Drop for Lease<T, C> {
    fn drop(&mut self) {
        // A child of `fork` has what its parent holds, and not the right to give it back.
        if self.is_over || (self.token >> 32) as u32 != self.deque.store.owner() {
            return;
        }
        // One that a transaction has acknowledged is there no more.
        if !matches!(held_at(&*self.deque.store, self.queue, self.position, self.token), Ok(Some(_))) {
            return;
        }
        // If it fails, the element comes back when the lease has run out.
        let _ = self.deque.transact(|deque| {
            if let Some((held, bytes)) = held_at(&*deque.store, self.queue, self.position, self.token)? {
                end(&*deque.store, self.queue, self.position)?;
                deque.store.push(deque.queue, End::Front, held.kind, &bytes, Bound::NONE)?;
            }
            Ok(())
        });
    }
}
