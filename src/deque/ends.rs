//! Pushing and popping, and waiting for an element.

use std::borrow::Borrow;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Deque;
use crate::calls::{How, Place, put_together, transact_on, with_buffer};
use crate::codec::Codec;
use crate::engine::End;
use crate::error::{Error, Result};
use crate::value;

/// Elements that one commit of a long call pushes or drops.
const TOGETHER: usize = 1000;
/// For so long anybody waits for the lock.
const MOMENT: Duration = Duration::from_millis(100);
/// The longest sleep of who waits: a process that died between its push and the call that wakes has been there.
pub(super) const NAP: Duration = Duration::from_secs(1);

impl<T, C: Codec> Deque<T, C> {
    /// Adds an element at the back. If there are more than [`maxlen`](Deque::maxlen) then, the front goes by the same commit.
    /// Where a change of `maxlen` was cut short, a push drops a thousand elements, and the next ones the rest.
    ///
    /// # Errors
    /// [`Error::Full`](crate::Error::Full), [`Error::ValueTooLarge`](crate::Error::ValueTooLarge),
    /// [`Error::Timeout`](crate::Error::Timeout), [`Error::Codec`](crate::Error::Codec): the queue is as it was.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let deque = larder::Deque::<String>::open(&dir)?;
    /// deque.push_back("job")?;
    /// assert_eq!(deque.pop_back()?.as_deref(), Some("job"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "append")]
    pub fn push_back<Q: Serialize + ?Sized>(&self, value: &Q) -> Result<()>
    where
        T: Borrow<Q>,
    {
        self.push(End::Back, value)
    }

    /// Adds an element at the front. Otherwise as [`push_back`](Deque::push_back).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let deque = larder::Deque::<String>::open(&dir)?;
    /// deque.push_back("second")?;
    /// deque.push_front("first")?;
    /// assert_eq!(deque.front()?.as_deref(), Some("first"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "appendleft")]
    pub fn push_front<Q: Serialize + ?Sized>(&self, value: &Q) -> Result<()>
    where
        T: Borrow<Q>,
    {
        self.push(End::Front, value)
    }

    pub(super) fn push<Q: Serialize + ?Sized>(&self, end: End, value: &Q) -> Result<()> {
        let mut pushed = Ok(());
        value::encode_with(&self.codec, value, |kind, bytes| pushed = self.push_encoded(end, kind, bytes))?;
        if pushed.is_ok() {
            // Without a copy of what is as long as an error.
            return Ok(());
        }
        pushed
    }

    fn push_encoded(&self, end: End, kind: u8, bytes: &[u8]) -> Result<()> {
        let mut bound = self.bound_to_try()?;
        // Somebody may change the bound until the lock is taken: an old one would drop what the new one keeps.
        while !self.store.push(self.queue, end, kind, bytes, bound)? {
            bound = self.bound()?;
        }
        Ok(())
    }

    /// Adds many elements at the back, a thousand by each commit, or fewer where a transaction may not have so many. On an error those
    /// of the commits before it stay.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let deque = larder::Deque::<u32>::open(&dir)?;
    /// deque.extend(0..5000)?;
    /// assert_eq!((deque.len(), deque.back()?), (5000, Some(4999)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn extend(&self, values: impl IntoIterator<Item = T>) -> Result<()>
    where
        T: Serialize,
    {
        self.extend_at(End::Back, values)
    }

    /// Adds many elements at the front, one after the other, so that the last of them is the front; otherwise as
    /// [`extend`](Deque::extend).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let deque = larder::Deque::<u32>::open(&dir)?;
    /// deque.extend_front([1, 2, 3])?;
    /// assert_eq!(deque.front()?, Some(3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "extendleft")]
    pub fn extend_front(&self, values: impl IntoIterator<Item = T>) -> Result<()>
    where
        T: Serialize,
    {
        self.extend_at(End::Front, values)
    }

    fn extend_at(&self, end: End, values: impl IntoIterator<Item = T>) -> Result<()>
    where
        T: Serialize,
    {
        let mut values = values.into_iter();
        loop {
            // The iterator is a caller's code: it runs before the lock is taken.
            let some: Vec<T> = values.by_ref().take(TOGETHER).collect();
            if some.is_empty() {
                return Ok(());
            }
            put_together(&some, &mut |some| {
                self.transact(|deque| some.iter().try_for_each(|value| deque.push(end, value)))
            })?;
        }
    }

    /// Removes all elements, in time that does not depend on their number. How many there were. Those that are
    /// [leased](Deque::lease_front) are not among them: their holders have them on, and one that is not acknowledged comes back.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let deque = larder::Deque::<u32>::open(&dir)?;
    /// deque.extend(0..100)?;
    /// let job = deque.lease_front(std::time::Duration::from_secs(30))?;
    /// assert_eq!((deque.clear()?, deque.len(), deque.leased()?), (99, 0, 1));
    /// drop(job); // not done
    /// assert_eq!(deque.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clear(&self) -> Result<u64> {
        self.store.empty(self.label())
    }

    /// Keeps the first `len` elements, and drops the rest from the back, a thousand by each commit.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let deque = larder::Deque::<u32>::open(&dir)?;
    /// deque.extend(0..10)?;
    /// deque.truncate(3)?;
    /// assert_eq!(deque.back()?, Some(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn truncate(&self, len: usize) -> Result<()> {
        self.cut(End::Back, |_| Ok(len as u64))
    }

    /// Drops what is over `len` at an end. It is asked again in each commit.
    pub(super) fn cut(&self, end: End, len: impl Fn(&Self) -> Result<u64>) -> Result<()> {
        let mut more = self.store.span(self.queue)?.len > len(self)?;
        while more {
            more = self.transact(|deque| {
                let over = deque.store.span(deque.queue)?.len.saturating_sub(len(deque)?);
                for _ in 0..over.min(TOGETHER as u64) {
                    deque.store.pop(deque.queue, end, &mut |_, _| Ok(()))?;
                }
                Ok(over > TOGETHER as u64)
            })?;
        }
        Ok(())
    }
}

impl<T: DeserializeOwned, C: Codec> Deque<T, C> {
    /// Takes the first element out; `None` if there is none. Of several that ask at once, in all processes, each gets another
    /// one.
    ///
    /// The value is decoded while the lock is held, so that one that cannot be decoded stays where it is, and in the way of those
    /// behind it: [`set(0, ..)`](Deque::set) puts another one in its place.
    ///
    /// # Errors
    /// [`Error::Type`](crate::Error::Type), [`Error::Codec`](crate::Error::Codec),
    /// [`Error::Corrupt`](crate::Error::Corrupt), [`Error::Timeout`](crate::Error::Timeout): the queue is as it was.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let deque = larder::Deque::<u8>::open(&dir)?;
    /// deque.push_back(&1)?;
    /// assert_eq!((deque.pop_front()?, deque.pop_front()?), (Some(1), None));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "popleft")]
    pub fn pop_front(&self) -> Result<Option<T>> {
        self.pop(End::Front, None)
    }

    /// Takes the last element out; otherwise as [`pop_front`](Deque::pop_front).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let deque = larder::Deque::<u8>::open(&dir)?;
    /// deque.extend([1, 2])?;
    /// assert_eq!(deque.pop_back()?, Some(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "pop")]
    pub fn pop_back(&self) -> Result<Option<T>> {
        self.pop(End::Back, None)
    }

    /// `timeout` is for the lock; without one it is the handle's.
    fn pop(&self, end: End, timeout: Option<Duration>) -> Result<Option<T>> {
        let mut popped = None;
        self.store.pop_within(self.queue, end, timeout, &mut |kind, bytes| {
            popped = Some(value::decode(&self.codec, kind, bytes)?);
            Ok(())
        })?;
        Ok(popped)
    }

    /// The first element; it stays.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let deque = larder::Deque::<u8>::open(&dir)?;
    /// deque.push_back(&1)?;
    /// assert_eq!((deque.front()?, deque.len()), (Some(1), 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "peekleft")]
    pub fn front(&self) -> Result<Option<T>> {
        self.read(Place::At(End::Front))
    }

    /// The last element; it stays.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let deque = larder::Deque::<u8>::open(&dir)?;
    /// deque.extend([1, 2])?;
    /// assert_eq!(deque.back()?, Some(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "peek")]
    pub fn back(&self) -> Result<Option<T>> {
        self.read(Place::At(End::Back))
    }

    pub(super) fn read(&self, place: Place) -> Result<Option<T>> {
        with_buffer(|bytes| {
            let found = self.store.element(self.queue, place, bytes)?;
            found.map(|facts| value::decode(&self.codec, facts.kind, bytes)).transpose()
        })
    }

    /// Takes the first element out, and waits for one for at most `timeout` if there is none; then `None`.
    ///
    /// Who waits sleeps, and is woken by the process that pushes: it takes no time of a processor. If that process dies
    /// between its push and waking, the element is found within a second. Of several that wait each element goes to one, in no order.
    /// If others hold the lock all the time, as in a long transaction, it is `None` too, a tenth of a second late at most.
    ///
    /// # Errors
    /// As [`pop_front`](Deque::pop_front), if the time-out of the lock is the shorter one; [`Error::InTransaction`](crate::Error::InTransaction) inside of one, if there is no
    /// element, for nobody could push.
    ///
    /// ```
    /// use std::time::Duration;
    /// # let dir = tempfile::tempdir()?;
    /// let deque = larder::Deque::<u8>::open(&dir)?;
    /// let producer = deque.clone();
    /// let thread = std::thread::spawn(move || producer.push_back(&7));
    /// assert_eq!(deque.pop_front_wait(Duration::from_secs(60))?, Some(7));
    /// # thread.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pop_front_wait(&self, timeout: Duration) -> Result<Option<T>> {
        self.wait_for(timeout, |lock| self.pop(End::Front, lock))
    }

    /// Takes the last element out, and waits for one; otherwise as [`pop_front_wait`](Deque::pop_front_wait).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let deque = larder::Deque::<u8>::open(&dir)?;
    /// assert_eq!(deque.pop_back_wait(std::time::Duration::ZERO)?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pop_back_wait(&self, timeout: Duration) -> Result<Option<T>> {
        self.wait_for(timeout, |lock| self.pop(End::Back, lock))
    }

    /// Tries until there is something, sleeping in between until something is pushed, or for a nap.
    /// `attempt` is given the time-out for the lock, if it is not the handle's.
    fn wait_for<R>(
        &self,
        timeout: Duration,
        mut attempt: impl FnMut(Option<Duration>) -> Result<Option<R>>,
    ) -> Result<Option<R>> {
        // A moment too far away to have a name is never.
        let end = Instant::now().checked_add(timeout);
        loop {
            let lock = end.and_then(|end| self.lock_timeout(end));
            match attempt(lock) {
                Ok(None) => {}
                Err(Error::Timeout) if lock.is_some() => return Ok(None),
                found => return found,
            }
            let left = end.map_or(NAP, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(None);
            }
            self.sleep(left.min(NAP))?;
        }
    }

    /// How long who waits up to then waits for the lock, if that is shorter than the handle would: as what is there should be found
    /// however short the time is, not less than a moment.
    pub(super) fn lock_timeout(&self, end: Instant) -> Option<Duration> {
        let left = end.saturating_duration_since(Instant::now()).max(MOMENT);
        (left < self.store.lock_timeout()).then_some(left)
    }

    /// Sleeps until there may be an element, or for a nap.
    pub(super) fn sleep(&self, nap: Duration) -> Result<()> {
        self.store.sleep_unless(&mut || Ok(self.store.span(self.queue)?.len != 0), nap)
    }
}

impl<T, C: Codec> Deque<T, C> {
    /// As [`transact`](Deque::transact), run in another way.
    pub(super) fn transact_as<R>(&self, how: How, body: impl FnOnce(&Deque<T, C>) -> Result<R>) -> Result<R> {
        transact_on(&*self.store, how, |inside| body(&Deque { store: inside, ..self.clone() }))
    }
}
