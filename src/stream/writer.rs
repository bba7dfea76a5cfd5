//! Writing a value piece by piece.

use std::io::{self, Write};
use std::sync::Arc;

use crate::calls::{Calls, Grows, Streamed, expiry};
use crate::error::{Error, IoFailure, Result};
use crate::options::SetOptions;
use crate::value::Kind;
use crate::value::streamed::{BLOCK, Checksums};

/// A value that is being written. Made by [`Cache::writer`](crate::Cache::writer).
///
/// ```
/// use std::io::Write;
/// # let dir = tempfile::tempdir()?;
/// # let cache = larder::Cache::open(&dir)?;
/// let mut writer: larder::ValueWriter = cache.writer("k", larder::SetOptions::new())?;
/// writer.write_all(b"some bytes")?;
/// writer.commit()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is stored before `commit`"]
pub struct ValueWriter {
    store: Arc<dyn Calls>,
    key: Box<[u8]>,
    options: SetOptions<'static>,
    /// What is in no file yet: all of a short value, and of others less than a block.
    rest: Vec<u8>,
    file: Option<(Box<dyn Grows>, Checksums)>,
    len: u64,
    /// A write has failed, and nobody knows what of it is in the file.
    is_broken: bool,
}

impl std::fmt::Debug for ValueWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ValueWriter").field("len", &self.len).finish_non_exhaustive()
    }
}

impl ValueWriter {
    pub(super) fn new(store: Arc<dyn Calls>, key: &[u8], options: SetOptions<'_>) -> Result<ValueWriter> {
        let options = options.into_owned();
        // What cannot be is refused before anything is written.
        crate::calls::checked_tag(&options)?;
        Ok(ValueWriter { store, key: key.into(), options, rest: Vec::new(), file: None, len: 0, is_broken: false })
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.check()?;
        self.is_broken = true;
        self.add(bytes)?;
        self.is_broken = false;
        Ok(())
    }

    fn check(&self) -> Result<()> {
        if !self.is_broken {
            return Ok(());
        }
        let source = io::Error::other("an earlier write of it has failed");
        Err(Error::Io(Box::new(IoFailure { action: "write", path: "the value".into(), source })))
    }

    fn add(&mut self, bytes: &[u8]) -> Result<()> {
        self.rest.extend_from_slice(bytes);
        self.len += bytes.len() as u64;
        if self.file.is_none() {
            if !self.store.gets_file(self.rest.len()) {
                return Ok(());
            }
            self.file = Some((self.store.begin()?, Checksums::default()));
        }
        self.write_blocks()
    }

    /// Writes the whole blocks that there are.
    fn write_blocks(&mut self) -> Result<()> {
        let Some((file, checksums)) = &mut self.file else { return Ok(()) };
        let (blocks, _) = self.rest.as_chunks::<BLOCK>();
        for block in blocks {
            file.append(block)?;
            checksums.push(block);
        }
        let written = blocks.len() * BLOCK;
        self.rest.drain(..written);
        Ok(())
    }

    /// Stores the value. How long it is, in bytes.
    ///
    /// # Errors
    /// As [`Cache::set_bytes`](crate::Cache::set_bytes); [`Error::Io`] if a write has failed before. Nothing is stored then.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// assert_eq!(cache.writer("empty", larder::SetOptions::new())?.commit()?, 0);
    /// assert_eq!(cache.get_bytes("empty")?, Some(Vec::new()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn commit(mut self) -> Result<u64> {
        self.check()?;
        let Some((mut file, mut checksums)) = self.file.take() else {
            self.store.put(&self.key, Kind::Bytes as u8, &self.rest, &self.options)?;
            return Ok(self.len);
        };
        if !self.rest.is_empty() {
            file.append(&self.rest)?;
            checksums.push(&self.rest);
        }
        file.append(&checksums.encoded())?;
        let expires = expiry(&*self.store, self.options.expire);
        let tag = self.store.tag_of(&self.options)?;
        let streamed = Streamed { kind: Kind::Streamed as u8, value: file.value(), expires, tag: &tag };
        self.store.put_streamed(&self.key, streamed)?;
        Ok(self.len)
    }
}

impl Write for ValueWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes)?;
        Ok(bytes.len())
    }

    /// Does nothing: what is written is there for nobody before [`commit`](ValueWriter::commit).
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
