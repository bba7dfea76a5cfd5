//! Looking at elements and changing them between the ends.
//!
//! A position keeps its element (Q2 of the engine's queues), so what changes the order writes elements anew at other
//! positions: by one commit, which is staged in memory and may be as large as a transaction.

use std::borrow::Borrow;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Deque;
use crate::calls::{Calls, Place};
use crate::codec::Codec;
use crate::engine::{Bound, End, Namespace};
use crate::error::{Corruption, Error, Result};
use crate::value;

/// The kind and the bytes of an element; `None` if it was lost with the file of its value.
fn raw(store: &dyn Calls, queue: Namespace, number: u64) -> Result<Option<(u8, Vec<u8>)>> {
    let mut bytes = Vec::new();
    let facts = store.element(queue, Place::Number(number), &mut bytes)?;
    Ok(facts.map(|facts| (facts.kind, bytes)))
}

/// What is said of an element that was lost and would have to be moved.
fn lost(store: &dyn Calls) -> Error {
    Error::corrupt(store.directory(), 0, Corruption::Missing)
}

impl<T, C: Codec> Deque<T, C> {
    /// Replaces the element at a place. False if there is none.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let deque = larder::Deque::<String>::open(&dir)?;
    /// deque.push_back("old")?;
    /// assert!(deque.set(0, "new")?);
    /// assert!(!deque.set(1, "nowhere")?);
    /// assert_eq!(deque.get(0)?.as_deref(), Some("new"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set<Q: Serialize + ?Sized>(&self, index: usize, value: &Q) -> Result<bool>
    where
        T: Borrow<Q>,
    {
        let place = Place::Number(index as u64);
        value::encode_with(&self.codec, value, |kind, bytes| self.store.replace(self.queue, place, kind, bytes))?
    }

    /// Moves the first `n` elements to the back, in their order; `n` may be larger than the length. By one commit that writes
    /// the fewer of those `n` and the others anew.
    ///
    /// # Errors
    /// [`Error::TransactionTooLarge`](crate::Error::TransactionTooLarge) if these are more than an eighth of the size limit.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let deque = larder::Deque::<u8>::open(&dir)?;
    /// deque.extend([1, 2, 3, 4])?;
    /// deque.rotate_left(1)?;
    /// assert_eq!(deque.iter().collect::<larder::Result<Vec<u8>>>()?, [2, 3, 4, 1]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "rotate")]
    pub fn rotate_left(&self, n: usize) -> Result<()> {
        self.transact(|deque| {
            let len = deque.store.span(deque.queue)?.len;
            let n = if len == 0 { 0 } else { n as u64 % len };
            if n <= len / 2 { deque.rotate(End::Front, n) } else { deque.rotate(End::Back, len - n) }
        })
    }

    /// Moves the last `n` elements to the front; otherwise as [`rotate_left`](Deque::rotate_left).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let deque = larder::Deque::<u8>::open(&dir)?;
    /// deque.extend([1, 2, 3, 4])?;
    /// deque.rotate_right(5)?;
    /// assert_eq!(deque.front()?, Some(4));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rotate_right(&self, n: usize) -> Result<()> {
        self.transact(|deque| {
            let len = deque.store.span(deque.queue)?.len;
            let n = if len == 0 { 0 } else { n as u64 % len };
            if n <= len / 2 { deque.rotate(End::Back, n) } else { deque.rotate(End::Front, len - n) }
        })
    }

    /// Moves so many elements from one end to the other.
    fn rotate(&self, from: End, n: u64) -> Result<()> {
        let to = if from == End::Front { End::Back } else { End::Front };
        for _ in 0..n {
            let (mut moved, mut of_kind) = (Vec::new(), 0);
            let popped = self.store.pop(self.queue, from, &mut |kind, bytes| {
                of_kind = kind;
                moved.clear();
                moved.extend_from_slice(bytes);
                Ok(())
            })?;
            if popped {
                self.store.push(self.queue, to, of_kind, &moved, Bound::NONE)?;
            }
        }
        Ok(())
    }

    /// Turns the order around, by one commit that writes all elements anew.
    ///
    /// # Errors
    /// [`Error::TransactionTooLarge`](crate::Error::TransactionTooLarge) if these are more than an eighth of the size limit.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let deque = larder::Deque::<u8>::open(&dir)?;
    /// deque.extend([1, 2, 3])?;
    /// deque.reverse()?;
    /// assert_eq!(deque.front()?, Some(3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reverse(&self) -> Result<()> {
        self.transact(|deque| {
            let len = deque.store.span(deque.queue)?.len;
            for number in 0..len / 2 {
                let store = &*deque.store;
                let other = len - 1 - number;
                let first = raw(store, deque.queue, number)?.ok_or_else(|| lost(store))?;
                let last = raw(store, deque.queue, other)?.ok_or_else(|| lost(store))?;
                store.replace(deque.queue, Place::Number(number), last.0, &last.1)?;
                store.replace(deque.queue, Place::Number(other), first.0, &first.1)?;
            }
            Ok(())
        })
    }

    /// Removes the element at a place, by moving those between it and the nearer end by one.
    fn close(&self, number: u64) -> Result<()> {
        let len = self.store.span(self.queue)?.len;
        let from_front = number < len / 2;
        let moves: Vec<(u64, u64)> = if from_front {
            (0..number).rev().map(|from| (from, from + 1)).collect()
        } else {
            (number + 1..len).map(|from| (from, from - 1)).collect()
        };
        for (from, to) in moves {
            let moved = raw(&*self.store, self.queue, from)?;
            let (kind, bytes) = moved.ok_or_else(|| lost(&*self.store))?;
            self.store.replace(self.queue, Place::Number(to), kind, &bytes)?;
        }
        self.store.pop(self.queue, if from_front { End::Front } else { End::Back }, &mut |_, _| Ok(())).map(drop)
    }
}

impl<T: DeserializeOwned, C: Codec> Deque<T, C> {
    /// The element at a place, counted from the front; `None` beyond the back. Costs the same wherever that is.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let deque = larder::Deque::<u32>::open(&dir)?;
    /// deque.extend(0..1000)?;
    /// assert_eq!((deque.get(500)?, deque.get(1000)?), (Some(500), None));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get(&self, index: usize) -> Result<Option<T>> {
        self.read(Place::Number(index as u64))
    }

    /// Removes the element at a place and gives it; `None` beyond the back. Writes those between it and the nearer end anew, by
    /// one commit.
    ///
    /// # Errors
    /// [`Error::TransactionTooLarge`](crate::Error::TransactionTooLarge) if these are more than an eighth of the size limit.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let deque = larder::Deque::<u8>::open(&dir)?;
    /// deque.extend([1, 2, 3])?;
    /// assert_eq!((deque.remove(1)?, deque.remove(2)?), (Some(2), None));
    /// assert_eq!(deque.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove(&self, index: usize) -> Result<Option<T>> {
        self.transact(|deque| {
            let removed = deque.get(index)?;
            if removed.is_some() {
                deque.close(index as u64)?;
            }
            Ok(removed)
        })
    }

    /// Keeps the elements that `keep` says yes to, in their order. By one commit that writes those behind the first that goes anew,
    /// and under the lock: `keep` must not use the queue by another handle.
    ///
    /// # Errors
    /// [`Error::TransactionTooLarge`](crate::Error::TransactionTooLarge) if these are more than an eighth of the size limit.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let deque = larder::Deque::<u32>::open(&dir)?;
    /// deque.extend(0..10)?;
    /// deque.retain(|n| n % 2 == 0)?;
    /// assert_eq!((deque.len(), deque.back()?), (5, Some(8)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn retain(&self, mut keep: impl FnMut(&T) -> bool) -> Result<()> {
        self.transact(|deque| {
            let len = deque.store.span(deque.queue)?.len;
            let mut kept = 0;
            for number in 0..len {
                let Some((kind, bytes)) = raw(&*deque.store, deque.queue, number)? else { continue };
                if !keep(&value::decode(&deque.codec, kind, &bytes)?) {
                    continue;
                }
                if kept != number {
                    deque.store.replace(deque.queue, Place::Number(kept), kind, &bytes)?;
                }
                kept += 1;
            }
            for _ in kept..len {
                deque.store.pop(deque.queue, End::Back, &mut |_, _| Ok(()))?;
            }
            Ok(())
        })
    }
}

impl<T: DeserializeOwned + PartialEq, C: Codec> Deque<T, C> {
    /// Removes the first element that equals a value. False if there is none. Reads those before it, and is otherwise as
    /// [`remove`](Deque::remove).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let deque = larder::Deque::<u8>::open(&dir)?;
    /// deque.extend([1, 2, 1])?;
    /// assert!(deque.remove_value(&1)?);
    /// assert_eq!(deque.front()?, Some(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove_value(&self, value: &T) -> Result<bool> {
        self.transact(|deque| {
            for number in 0..deque.store.span(deque.queue)?.len {
                if deque.read(Place::Number(number))?.as_ref() == Some(value) {
                    deque.close(number)?;
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// How many elements equal a value. Reads all, as [`iter`](Deque::iter) does.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let deque = larder::Deque::<u8>::open(&dir)?;
    /// deque.extend([1, 2, 1])?;
    /// assert_eq!(deque.count(&1)?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn count(&self, value: &T) -> Result<u64> {
        let mut equal = 0;
        for element in self.iter() {
            equal += u64::from(element? == *value);
        }
        Ok(equal)
    }
}
