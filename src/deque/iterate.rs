//! Going through a queue from both ends.

use serde::de::DeserializeOwned;

use super::Deque;
use crate::calls::Place;
use crate::codec::{Codec, Postcard};
use crate::error::Result;

/// The elements of a queue in their order. Made by [`Deque::iter`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let deque = larder::Deque::<u8>::open(&dir)?;
/// let mut elements: larder::DequeIter<u8> = deque.iter();
/// assert!(elements.next().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct DequeIter<T, C: Codec = Postcard> {
    deque: Deque<T, C>,
    /// The positions that are left: from which on, and how many; an error if it could not be told.
    left: Result<(u64, u64)>,
}

impl<T, C: Codec> std::fmt::Debug for DequeIter<T, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DequeIter").finish_non_exhaustive()
    }
}

impl<T, C: Codec> Deque<T, C> {
    /// Goes through the elements from the front, from the back, or from both. Takes no lock and keeps nothing from changing:
    /// of the elements that were there when it was made, it gives each that is there still when it is its turn, once, as
    /// it is then. One that was pushed since is not given, unless it stands where another one was that was popped at the same end
    /// meanwhile. Calls that change the order move elements under it.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let deque = larder::Deque::<u8>::open(&dir)?;
    /// deque.extend([1, 2, 3])?;
    /// assert_eq!(deque.iter().rev().collect::<larder::Result<Vec<u8>>>()?, [3, 2, 1]);
    /// let elements = deque.iter();
    /// deque.pop_back()?;
    /// deque.extend([4, 5])?; // 4 stands where 3 was
    /// assert_eq!(elements.collect::<larder::Result<Vec<u8>>>()?, [1, 2, 4]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> DequeIter<T, C> {
        let left = self.store.span(self.queue).map(|span| (span.first, span.len));
        DequeIter { deque: self.clone(), left }
    }
}

/// As [`Deque::iter`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let deque = larder::Deque::<u8>::open(&dir)?;
/// deque.extend([1, 2, 3])?;
/// let mut sum = 0;
/// for element in &deque {
///     sum += element?;
/// }
/// assert_eq!(sum, 6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl<T: DeserializeOwned, C: Codec> IntoIterator for &Deque<T, C> {
    type Item = Result<T>;
    type IntoIter = DequeIter<T, C>;

    fn into_iter(self) -> DequeIter<T, C> {
        self.iter()
    }
}

impl<T: DeserializeOwned, C: Codec> DequeIter<T, C> {
    fn step(&mut self, from_front: bool) -> Option<Result<T>> {
        loop {
            let (first, len) = match &mut self.left {
                Ok(left) => left,
                Err(_) => return std::mem::replace(&mut self.left, Ok((0, 0))).err().map(Err),
            };
            if *len == 0 {
                return None;
            }
            *len -= 1;
            let position = if from_front { *first } else { first.wrapping_add(*len) };
            if from_front {
                *first = first.wrapping_add(1);
            }
            match self.deque.read(Place::Position(position)) {
                Ok(Some(element)) => return Some(Ok(element)),
                // It was popped meanwhile.
                Ok(None) => self.skip_popped(),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Leaves out what was popped at the ends, so that a long queue that was emptied meanwhile is not asked for each element.
    fn skip_popped(&mut self) {
        let Ok((first, len)) = &mut self.left else { return };
        match self.deque.store.span(self.deque.queue) {
            Ok(span) => {
                let (from, to) = (signed(*first, span.first), signed(first.wrapping_add(*len), span.first));
                let begin = from.max(0);
                let end = to.min(i64::try_from(span.len).unwrap_or(i64::MAX)).max(begin);
                (*first, *len) = (span.first.wrapping_add_signed(begin), end.abs_diff(begin));
            }
            Err(error) => self.left = Err(error),
        }
    }
}

/// How far a position is behind another.
fn signed(position: u64, from: u64) -> i64 {
    position.wrapping_sub(from) as i64
}

impl<T: DeserializeOwned, C: Codec> Iterator for DequeIter<T, C> {
    type Item = Result<T>;
    fn next(&mut self) -> Option<Result<T>> {
        self.step(true)
    }
}

impl<T: DeserializeOwned, C: Codec> DoubleEndedIterator for DequeIter<T, C> {
    fn next_back(&mut self) -> Option<Result<T>> {
        self.step(false)
    }
}
