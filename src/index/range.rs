//! Going through a part of an index in the order of its keys.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use super::Index;
use super::bounds::{KeyPrefix, KeyRange, window};
use crate::codec::{Codec, Postcard};
use crate::engine::{End, Stretch, Window};
use crate::error::Result;
use crate::key::OwnedKey;
use crate::value;

/// Items that are read together at first; twice as many each time, as far as a leaf goes.
const FIRST: usize = 4;

/// What one end has read and not given yet.
#[derive(Debug, Default)]
struct Ready {
    stretch: Stretch,
    /// The numbers of the items that are left.
    left: std::ops::Range<usize>,
}

impl Ready {
    /// The next item from an end: its key, the kind of its value and that.
    #[inline]
    fn next(&mut self, end: End) -> Option<(&[u8], u8, &[u8])> {
        let next = if end == End::Front { self.left.next() } else { self.left.next_back() };
        let item = self.stretch.items.get(next?)?;
        Some((self.stretch.key(item), item.kind, self.stretch.value(item)))
    }
}

/// A window of an index that shrinks from both ends.
struct Walk<K, V, C: Codec> {
    index: Index<K, V, C>,
    /// What nobody has read yet; an error if it cannot be told.
    window: Result<Window>,
    front: Ready,
    back: Ready,
    most: usize,
    values: bool,
}

impl<K, V, C: Codec> Walk<K, V, C> {
    fn new(index: &Index<K, V, C>, window: Result<Window>, values: bool) -> Walk<K, V, C> {
        Walk { index: index.clone(), window, front: Ready::default(), back: Ready::default(), most: FIRST, values }
    }

    /// The next item from an end, decoded.
    #[inline]
    fn step<R>(
        &mut self,
        end: End,
        decode: impl Fn(&Index<K, V, C>, &[u8], u8, &[u8]) -> Result<R>,
    ) -> Option<Result<R>> {
        loop {
            let own = if end == End::Front { &mut self.front } else { &mut self.back };
            if let Some((key, kind, value)) = own.next(end) {
                return Some(decode(&self.index, key, kind, value));
            }
            if let Err(error) = self.read_on(end)? {
                return Some(Err(error));
            }
        }
    }

    /// Reads what comes next from an end, which has nothing left. `None` if it is over.
    #[inline(never)]
    fn read_on(&mut self, end: End) -> Option<Result<()>> {
        let window = match &mut self.window {
            // What the other end has read ahead is what is left at last.
            Ok(window) if window.is_empty() => {
                std::mem::swap(&mut self.front, &mut self.back);
                let own = if end == End::Front { &self.front } else { &self.back };
                return (!own.left.is_empty()).then_some(Ok(()));
            }
            Ok(window) => window,
            Err(_) => {
                let over = Window { low: Vec::new(), high: Some(Vec::new()) };
                return std::mem::replace(&mut self.window, Ok(over)).err().map(Err);
            }
        };
        let ready = if end == End::Front { &mut self.front } else { &mut self.back };
        let wanted = (self.most, self.values);
        self.most = self.most.saturating_mul(2);
        match self.index.store.stretch(self.index.space, window, end, wanted, &mut ready.stretch) {
            Ok(()) => {
                ready.left = 0..ready.stretch.items.len();
                window.without(end, ready.stretch.fence.take());
            }
            Err(error) => self.window = Err(error),
        }
        Some(Ok(()))
    }
}

macro_rules! walk {
    ($(#[$doc:meta])* $name:ident, $item:ty, $decode:expr) => {
        $(#[$doc])*
        pub struct $name<K, V, C: Codec = Postcard> {
            walk: Walk<K, V, C>,
        }

        impl<K: OwnedKey, V: DeserializeOwned, C: Codec> Iterator for $name<K, V, C> {
            type Item = Result<$item>;
            fn next(&mut self) -> Option<Self::Item> {
                self.walk.step(End::Front, $decode)
            }
        }

        impl<K: OwnedKey, V: DeserializeOwned, C: Codec> DoubleEndedIterator for $name<K, V, C> {
            fn next_back(&mut self) -> Option<Self::Item> {
                self.walk.step(End::Back, $decode)
            }
        }

        impl<K, V, C: Codec> std::fmt::Debug for $name<K, V, C> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}

walk! {
    /// The pairs of a part of an index, in the order of their keys. Made by [`Index::range`], [`Index::prefix`] and
    /// [`Index::iter`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let index = larder::Index::<u32, u32>::open(&dir)?;
    /// let mut pairs: larder::IndexRange<u32, u32> = index.range(3..);
    /// assert!(pairs.next().is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    IndexRange, (K, V), |index: &Index<K, V, C>, key: &[u8], kind, bytes: &[u8]| {
        Ok((K::decode(key)?, value::decode(&index.codec, kind, bytes)?))
    }
}

walk! {
    /// The keys of an index, in their order. Made by [`Index::keys`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let index = larder::Index::<u32, u32>::open(&dir)?;
    /// let mut keys: larder::IndexKeys<u32, u32> = index.keys();
    /// assert!(keys.next().is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    IndexKeys, K, |_: &Index<K, V, C>, key: &[u8], _, _: &[u8]| K::decode(key)
}

walk! {
    /// The values of an index, in the order of their keys. Made by [`Index::values`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let index = larder::Index::<u32, u32>::open(&dir)?;
    /// let mut values: larder::IndexValues<u32, u32> = index.values();
    /// assert!(values.next().is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    IndexValues, V, |index: &Index<K, V, C>, _: &[u8], kind, bytes: &[u8]| value::decode(&index.codec, kind, bytes)
}

/// An item of an index and its place in the order of insertion.
type Inserted = (u64, Vec<u8>);

/// The pairs of an index in the order in which their keys were first inserted. Made by [`Index::iter_inserted`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let index = larder::Index::<u32, u32>::open(&dir)?;
/// let mut pairs: larder::IndexInserted<u32, u32> = index.iter_inserted()?;
/// assert!(pairs.next().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct IndexInserted<K, V, C: Codec = Postcard> {
    index: Index<K, V, C>,
    left: std::vec::IntoIter<Inserted>,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V, C: Codec> std::fmt::Debug for IndexInserted<K, V, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IndexInserted").field("left", &self.left.len()).finish()
    }
}

impl<K, V, C: Codec> IndexInserted<K, V, C> {
    pub(super) fn new(index: &Index<K, V, C>, mut found: Vec<Inserted>) -> Self {
        found.sort_unstable();
        IndexInserted { index: index.clone(), left: found.into_iter(), types: PhantomData }
    }
}

impl<K: OwnedKey, V: DeserializeOwned, C: Codec> IndexInserted<K, V, C> {
    /// The pair of a key that was there; `None` if it is gone by now.
    fn pair(&self, key: &[u8]) -> Option<Result<(K, V)>> {
        let mut bytes = Vec::new();
        let whole = [&self.index.space.prefix()[..], key].concat();
        let found = self.index.store.peek(&whole, &mut bytes).transpose()?;
        Some(found.and_then(|facts| Ok((K::decode(key)?, value::decode(&self.index.codec, facts.kind, &bytes)?))))
    }
}

impl<K: OwnedKey, V: DeserializeOwned, C: Codec> Iterator for IndexInserted<K, V, C> {
    type Item = Result<(K, V)>;
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (_, key) = self.left.next()?;
            if let Some(pair) = self.pair(&key) {
                return Some(pair);
            }
        }
    }
}

impl<K: OwnedKey, V: DeserializeOwned, C: Codec> DoubleEndedIterator for IndexInserted<K, V, C> {
    fn next_back(&mut self) -> Option<Self::Item> {
        loop {
            let (_, key) = self.left.next_back()?;
            if let Some(pair) = self.pair(&key) {
                return Some(pair);
            }
        }
    }
}

impl<K, V, C: Codec> Index<K, V, C> {
    /// The pairs whose keys are in a range, in their order; from both ends. Takes no lock. What is read together is as it was
    /// at one moment (a leaf, some dozens of pairs); of the keys that are there all the time each is given once, whatever
    /// is put and removed meanwhile.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let index = larder::Index::<u32, String>::open(&dir)?;
    /// for key in [30, 10, 20] {
    ///     index.insert(key, "value")?;
    /// }
    /// let keys: Vec<u32> = index.range(15..).rev().map(|pair| Ok(pair?.0)).collect::<larder::Result<_>>()?;
    /// assert_eq!(keys, [30, 20]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn range(&self, keys: impl KeyRange<K>) -> IndexRange<K, V, C> {
        IndexRange { walk: Walk::new(self, keys.encoded().map(window), true) }
    }

    /// The pairs whose keys begin with something, in their order: see [`KeyPrefix`]. Otherwise as [`range`](Index::range).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let index = larder::Index::<String, u32>::open(&dir)?;
    /// for key in ["user:1", "user:2", "users", "uses"] {
    ///     index.insert(key, &0)?;
    /// }
    /// assert_eq!((index.prefix("user:").count(), index.prefix("user").count()), (2, 3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn prefix(&self, prefix: impl KeyPrefix<K>) -> IndexRange<K, V, C> {
        let window = prefix.encoded().map(|(low, high)| Window { low, high: Some(high) });
        IndexRange { walk: Walk::new(self, window, true) }
    }

    /// All pairs in the order of their keys; as [`range`](Index::range).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let index = larder::Index::<u32, u32>::open(&dir)?;
    /// index.extend([(2, 20), (1, 10)])?;
    /// assert_eq!(index.iter().collect::<larder::Result<Vec<_>>>()?, [(1, 10), (2, 20)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> IndexRange<K, V, C> {
        IndexRange { walk: Walk::new(self, Ok(Window::default()), true) }
    }

    /// All keys in their order. Reads no values.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let index = larder::Index::<u32, u32>::open(&dir)?;
    /// index.extend([(2, 20), (1, 10)])?;
    /// assert_eq!(index.keys().collect::<larder::Result<Vec<u32>>>()?, [1, 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "iterkeys")]
    pub fn keys(&self) -> IndexKeys<K, V, C> {
        IndexKeys { walk: Walk::new(self, Ok(Window::default()), false) }
    }

    /// All values in the order of their keys.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let index = larder::Index::<u32, u32>::open(&dir)?;
    /// index.extend([(2, 20), (1, 10)])?;
    /// assert_eq!(index.values().collect::<larder::Result<Vec<u32>>>()?, [10, 20]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "itervalues")]
    pub fn values(&self) -> IndexValues<K, V, C> {
        IndexValues { walk: Walk::new(self, Ok(Window::default()), true) }
    }
}

/// As [`Index::iter`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let index = larder::Index::<u32, u32>::open(&dir)?;
/// index.extend([(2, 20), (1, 10)])?;
/// for pair in &index {
///     let (key, value) = pair?;
///     assert_eq!(value, 10 * key);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl<K: OwnedKey, V: DeserializeOwned, C: Codec> IntoIterator for &Index<K, V, C> {
    type Item = Result<(K, V)>;
    type IntoIter = IndexRange<K, V, C>;

    fn into_iter(self) -> IndexRange<K, V, C> {
        self.iter()
    }
}
