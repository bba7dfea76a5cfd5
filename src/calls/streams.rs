//! The calls of values that are written and read piece by piece.

use super::{Borrowed, Record, Value};
use crate::engine::{Growing, Handle, OpenValue, OwnedTag};
use crate::error::{Error, Result};
use crate::os::real::RealOs;

/// A value being written. Dropped, it goes, unless it was stored.
pub trait Grows: Send + Sync {
    fn append(&mut self, bytes: &[u8]) -> Result<()>;
    /// What to store.
    fn value(&mut self) -> Value<'static>;
}

/// A value's file that is open for reading.
pub trait Opened: Send + Sync {
    fn len(&self) -> u64;
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<()>;
    fn damaged(&self, offset: u64) -> Error;
}

/// Where a value is read from, and its kind.
pub enum Source {
    Bytes(Borrowed),
    /// A file whose bytes nobody has looked at yet, and what does so at once.
    File(Box<dyn Opened>),
}

/// What to store under a key.
pub struct Streamed<'t> {
    pub kind: u8,
    pub value: Value<'static>,
    pub expires: Option<u64>,
    pub tag: &'t OwnedTag,
}

/// The calls of streams.
pub trait Streams {
    /// True if a value of that length gets a file of its own.
    fn gets_file(&self, len: usize) -> bool;
    /// Not inside a transaction, where nothing gets a file before the end.
    fn begin(&self) -> Result<Box<dyn Grows>>;
    fn put_streamed(&self, key: &[u8], streamed: Streamed<'_>) -> Result<()>;
    /// The value of a key, to be read, and its kind. If `verifies` says so of its kind, a file is verified whole.
    fn source(&self, key: &[u8], verifies: fn(u8) -> bool) -> Result<Option<(Source, u8)>>;
}

impl Grows for Growing<RealOs> {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        Growing::append(self, bytes)
    }

    fn value(&mut self) -> Value<'static> {
        Growing::value(self)
    }
}

impl Opened for OpenValue<RealOs> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<()> {
        OpenValue::read_at(self, bytes, offset)
    }

    fn damaged(&self, offset: u64) -> Error {
        OpenValue::damaged(self, offset)
    }
}

impl Streams for Handle<RealOs> {
    fn gets_file(&self, len: usize) -> bool {
        self.is_large(len)
    }

    fn begin(&self) -> Result<Box<dyn Grows>> {
        match self {
            Handle::Store(store) => Ok(Box::new(Growing::begin(store)?)),
            Handle::Inside(_) => Err(Error::InTransaction),
        }
    }

    fn put_streamed(&self, key: &[u8], streamed: Streamed<'_>) -> Result<()> {
        let Streamed { kind, value, expires, tag } = streamed;
        let put = crate::engine::Put { kind, value, expires, tag: tag.as_tag() };
        self.put_hashed(key, (**self).hash(key), put)?;
        (**self).count(crate::engine::Counter::Stores, 1);
        Ok(())
    }

    fn source(&self, key: &[u8], verifies: fn(u8) -> bool) -> Result<Option<(Source, u8)>> {
        let open = |record: &Record<'_>| {
            let kind = record.header().kind;
            let Some(large) = record.large().filter(|_| record.header().is_large()) else {
                let (bytes, kind) = super::direct::borrow(self, record)?;
                return Ok((Source::Bytes(bytes), kind));
            };
            let opened = self.open_value(large)?;
            if verifies(kind) && !self.is_large_whole(large)? {
                return Err(opened.damaged(0));
            }
            Ok((Source::File(Box::new(opened) as Box<dyn Opened>), kind))
        };
        let found = Handle::read(self, key, (**self).hash(key), open)?;
        (**self).count(super::direct::hit_or_miss(found.is_some()), 1);
        Ok(found)
    }
}
