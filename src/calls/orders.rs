//! The calls of indexes that those of a cache do not have.

use super::queues::with_put;
use super::{append_value, with_buffer};
use crate::engine::{Change, End, Handle, Namespace, Op, Stretch, Window};
use crate::error::Result;
use crate::os::real::RealOs;

/// What is made of an item under the lock, before it goes: its key in the index, the kind of its value and that.
pub type TakeItem<'t> = &'t mut dyn FnMut(&[u8], u8, &[u8]) -> Result<()>;

/// The calls of indexes.
pub trait Orders {
    /// What one leaf has of a window, from one end: at most `most` items, with their values if those are wanted.
    fn stretch(
        &self,
        index: Namespace,
        window: &Window,
        end: End,
        wanted: (usize, bool),
        to: &mut Stretch,
    ) -> Result<()>;
    /// True if there was one. It stays if `take` fails.
    fn pop_in_order(&self, index: Namespace, end: End, take: TakeItem<'_>) -> Result<bool>;
    fn items_of(&self, namespace: Namespace) -> Result<u64>;
    /// Stores a value in a namespace. True if the key was absent.
    fn put_in(&self, namespace: Namespace, key: &[u8], kind: u8, bytes: &[u8]) -> Result<bool>;
}

impl Orders for Handle<RealOs> {
    fn stretch(
        &self,
        index: Namespace,
        window: &Window,
        end: End,
        wanted: (usize, bool),
        to: &mut Stretch,
    ) -> Result<()> {
        Handle::stretch(self, index, window, end, wanted, to)
    }

    fn pop_in_order(&self, index: Namespace, end: End, take: TakeItem<'_>) -> Result<bool> {
        let taken = with_buffer(|bytes| {
            Handle::pop_in_order(self, index, end, |key, record| {
                bytes.clear();
                append_value(self, record, bytes)?;
                take(key, record.header().kind, bytes)
            })
        })?;
        Ok(taken.is_some())
    }

    fn items_of(&self, namespace: Namespace) -> Result<u64> {
        Handle::items_of(self, namespace)
    }

    fn put_in(&self, namespace: Namespace, key: &[u8], kind: u8, bytes: &[u8]) -> Result<bool> {
        let hash = (**self).hash(key);
        with_put(self, namespace.id, kind, bytes, |put| {
            Ok(Handle::batch(self, &[Op { key, hash, change: Change::Put(put) }])? == 0)
        })
    }
}
