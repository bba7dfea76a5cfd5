//! An index of integers as a queue: elements go in behind the last key, or before the first, and out again at either end.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Index;
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::queue::QueueSide;

impl<V: DeserializeOwned, C: Codec> Index<i64, V, C> {
    /// Stores a value behind the last key, under that number plus one, or before the first, under that number minus one; under 0
    /// if there is none. The key. Of several that push at once each gets one of its own. One commit.
    ///
    /// A [`Deque`](crate::Deque) costs less, and this keeps what is under a key in place while others come and go.
    ///
    /// # Errors
    /// As [`insert`](Index::insert), and [`Error::Overflow`] if there is no such number.
    ///
    /// ```
    /// use larder::QueueSide::{Back, Front};
    /// # let dir = tempfile::tempdir()?;
    /// let queue = larder::Index::<i64, String>::open(&dir)?;
    /// assert_eq!((queue.push("a", Back)?, queue.push("b", Back)?, queue.push("c", Front)?), (0, 1, -1));
    /// assert_eq!(queue.pull(Front)?, Some((-1, "c".to_string())));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn push<Q: Serialize + ?Sized>(&self, value: &Q, side: QueueSide) -> Result<i64>
    where
        V: std::borrow::Borrow<Q>,
    {
        self.transact(|index| {
            let mut keys = index.keys();
            let key = match side {
                QueueSide::Back => keys.next_back().transpose()?.map(|last| last.checked_add(1)),
                QueueSide::Front => keys.next().transpose()?.map(|first| first.checked_sub(1)),
            };
            let key = key.unwrap_or(Some(0)).ok_or(Error::Overflow)?;
            index.insert(key, value)?;
            Ok(key)
        })
    }

    /// Removes the pair at an end and gives it: [`pop_first`](Index::pop_first) or [`pop_last`](Index::pop_last).
    ///
    /// ```
    /// use larder::QueueSide::{Back, Front};
    /// # let dir = tempfile::tempdir()?;
    /// let queue = larder::Index::<i64, u8>::open(&dir)?;
    /// queue.extend([(10, 1), (20, 2), (30, 3)])?;
    /// assert_eq!((queue.pull(Back)?, queue.pull(Front)?), (Some((30, 3)), Some((10, 1))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pull(&self, side: QueueSide) -> Result<Option<(i64, V)>> {
        match side {
            QueueSide::Front => self.pop_first(),
            QueueSide::Back => self.pop_last(),
        }
    }
}
