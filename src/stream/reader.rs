//! Reading a value piece by piece.

use std::io::{self, Read, Seek, SeekFrom};

use crate::calls::{Borrowed, Opened};
use crate::error::Result;
use crate::value::streamed::{BLOCK, Checksums, value_len};

/// A value that is being read. Made by [`Cache::reader`](crate::Cache::reader).
///
/// ```
/// use std::io::Read;
/// # let dir = tempfile::tempdir()?;
/// # let cache = larder::Cache::open(&dir)?;
/// cache.set_bytes("k", b"some bytes")?;
/// let mut reader: larder::ValueReader = cache.reader("k")?.unwrap();
/// let mut first = [0; 4];
/// reader.read_exact(&mut first)?;
/// assert_eq!(&first, b"some");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ValueReader {
    source: Source,
    len: u64,
    at: u64,
}

enum Source {
    Bytes(Borrowed),
    /// With the checksums of its blocks, if it was not verified as a whole; and a block, by its number.
    File {
        file: Box<dyn Opened>,
        checksums: Option<Checksums>,
        block: Vec<u8>,
        number: Option<u64>,
    },
}

impl std::fmt::Debug for ValueReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ValueReader").field("len", &self.len).field("at", &self.at).finish_non_exhaustive()
    }
}

impl ValueReader {
    pub(super) fn of_bytes(bytes: Borrowed, len: usize) -> ValueReader {
        ValueReader { source: Source::Bytes(bytes), len: len as u64, at: 0 }
    }

    /// Of a file that was verified.
    pub(super) fn of_file(file: Box<dyn Opened>) -> ValueReader {
        let len = file.len();
        ValueReader::over(file, len, None)
    }

    /// Of a file whose checksums are verified here, and its blocks when they are read.
    pub(super) fn of_stream(file: Box<dyn Opened>) -> Result<ValueReader> {
        let len = value_len(file.len()).ok_or_else(|| file.damaged(0))?;
        let behind = usize::try_from(file.len() - len).map_err(|_| file.damaged(len))?;
        let mut encoded = Vec::new();
        // The file is that long, so this is no more than what is on disk.
        encoded.try_reserve_exact(behind).map_err(|_| file.damaged(len))?;
        encoded.resize(behind, 0);
        file.read_at(&mut encoded, len)?;
        let checksums = Checksums::decode(encoded).ok_or_else(|| file.damaged(len))?;
        Ok(ValueReader::over(file, len, Some(checksums)))
    }

    fn over(file: Box<dyn Opened>, len: u64, checksums: Option<Checksums>) -> ValueReader {
        ValueReader { source: Source::File { file, checksums, block: Vec::new(), number: None }, len, at: 0 }
    }

    /// Length of the value, in bytes.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set_bytes("k", b"some bytes")?;
    /// assert_eq!(cache.reader("k")?.unwrap().len(), 10);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True if the value has no bytes.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set_bytes("k", b"")?;
    /// assert!(cache.reader("k")?.unwrap().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads whole blocks to where they are wanted. How many bytes; 0 where it cannot be done without another copy.
    fn read_blocks(&self, to: &mut [u8]) -> Result<usize> {
        let Source::File { file, checksums, .. } = &self.source else { return Ok(0) };
        let left = usize::try_from(self.len - self.at).unwrap_or(usize::MAX);
        let len = left.min(to.len() / BLOCK * BLOCK);
        if !self.at.is_multiple_of(BLOCK as u64) || len == 0 {
            return Ok(0);
        }
        let to = &mut to[..len];
        file.read_at(to, self.at)?;
        let first = (self.at / BLOCK as u64) as usize;
        for (i, block) in to.chunks(BLOCK).enumerate() {
            if checksums.as_ref().is_some_and(|checksums| !checksums.fits(first + i, block)) {
                return Err(file.damaged(self.at + (i * BLOCK) as u64));
            }
        }
        Ok(len)
    }

    /// What there is from here on to the end of a block, or of the value.
    fn piece(&mut self) -> Result<&[u8]> {
        let (at, len) = (self.at, self.len);
        match &mut self.source {
            Source::Bytes(bytes) => Ok(bytes.get(at as usize..len as usize).unwrap_or_default()),
            Source::File { file, checksums, block, number } => {
                let (wanted, within) = (at / BLOCK as u64, (at % BLOCK as u64) as usize);
                if *number != Some(wanted) {
                    let start = wanted * BLOCK as u64;
                    *number = None;
                    block.resize((len - start).min(BLOCK as u64) as usize, 0);
                    file.read_at(block, start)?;
                    if checksums.as_ref().is_some_and(|checksums| !checksums.fits(wanted as usize, block)) {
                        return Err(file.damaged(start));
                    }
                    *number = Some(wanted);
                }
                Ok(block.get(within..).unwrap_or_default())
            }
        }
    }
}

impl Read for ValueReader {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.len || to.is_empty() {
            return Ok(0);
        }
        let read = self.read_blocks(to)?;
        if read > 0 {
            self.at += read as u64;
            return Ok(read);
        }
        let piece = self.piece()?;
        let len = piece.len().min(to.len());
        to[..len].copy_from_slice(&piece[..len]);
        self.at += len as u64;
        Ok(len)
    }
}

impl Seek for ValueReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
