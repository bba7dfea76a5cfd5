//! Long values, written and read piece by piece, with memory for one piece. What the pieces become is the business of
//! `value::streamed`, and where they go that of the engine.

mod reader;
mod writer;

pub use reader::ValueReader;
pub use writer::ValueWriter;

use std::io::Read;

use crate::cache::Cache;
use crate::calls::Source;
use crate::codec::Codec;
use crate::error::{Error, IoFailure, Result};
use crate::key::{self, Key};
use crate::options::SetOptions;
use crate::value::{self, Kind};

impl<C: Codec> Cache<C> {
    /// Stores what a reader gives until its end, as a value of bytes. How many there were. The value is never in memory whole:
    /// a [large value](crate#large-values) goes to its file in pieces of 64 KiB. Whoever reads the key meanwhile finds what was there
    /// before; afterwards, all of the new value.
    ///
    /// # Errors
    /// As [`set_bytes`](Cache::set_bytes), and [`Error::Io`] with what the reader failed with: the key is as it was.
    ///
    /// Inside a transaction the value is kept in memory until the end, as all that is staged is.
    ///
    /// ```
    /// use larder::SetOptions;
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let file = std::io::repeat(7).take(1_000_000); // or a `File`, or a `TcpStream`
    /// # use std::io::Read;
    /// assert_eq!(cache.set_reader("archive", file, SetOptions::new())?, 1_000_000);
    /// assert_eq!(cache.get_bytes("archive")?.unwrap(), vec![7; 1_000_000]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_reader(&self, key: impl Key, mut from: impl Read, options: SetOptions<'_>) -> Result<u64> {
        let mut writer = self.writer(key, options)?;
        let mut buffer = vec![0; value::streamed::BLOCK];
        loop {
            let read = match from.read(&mut buffer) {
                Ok(0) => return writer.commit(),
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    let path = "the value's source".into();
                    return Err(Error::Io(Box::new(IoFailure { action: "read", path, source })));
                }
            };
            writer.append(buffer.get(..read).unwrap_or_default())?;
        }
    }

    /// Begins a value of bytes that is written piece by piece, and stored by [`commit`](ValueWriter::commit). Dropped before, it
    /// leaves nothing, and so does a process that dies. Its space is taken, within the limit, as it grows.
    ///
    /// ```
    /// use larder::SetOptions;
    /// use std::io::Write;
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let mut log = cache.writer("log", SetOptions::new())?;
    /// for line in 0..100_000 {
    ///     writeln!(log, "line {line}")?;
    /// }
    /// assert!(!cache.contains("log")?);
    /// assert_eq!(log.commit()?, 1_088_890);
    /// assert!(cache.contains("log")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn writer(&self, key: impl Key, options: SetOptions<'_>) -> Result<ValueWriter> {
        let key = key::encode(&key)?;
        ValueWriter::new(self.part(key.as_bytes()), key.as_bytes(), options)
    }

    /// A value of bytes, to be read piece by piece and from any place; `None` if the key is absent. It stays what it is while it
    /// is read, whatever becomes of the key.
    ///
    /// Each piece of a value that was written as a stream is verified when it is read. A [large value](crate#large-values) that was
    /// stored by [`set_bytes`](Cache::set_bytes) is verified by a pass over all of it first.
    ///
    /// # Errors
    /// [`Error::Type`] for values that are neither bytes nor strings, [`Error::Corrupt`]; of a piece that is damaged, the read of
    /// it is an error of kind `InvalidData`.
    ///
    /// ```
    /// use std::io::{Read, Seek, SeekFrom};
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// cache.set_bytes("text", b"a long one")?;
    /// let mut reader = cache.reader("text")?.unwrap();
    /// cache.delete("text")?;
    /// reader.seek(SeekFrom::End(-3))?;
    /// let mut end = String::new();
    /// reader.read_to_string(&mut end)?;
    /// assert_eq!((end.as_str(), reader.len()), ("one", 10));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reader(&self, key: impl Key) -> Result<Option<ValueReader>> {
        let verifies = |kind| kind != Kind::Streamed as u8;
        let key = key::encode(&key)?;
        let Some((source, kind)) = self.whole().of(key.as_bytes()).source(key.as_bytes(), verifies)? else {
            return Ok(None);
        };
        match (Kind::from_byte(kind)?, source) {
            (Kind::Streamed, Source::File(file)) => ValueReader::of_stream(file).map(Some),
            (Kind::Streamed, Source::Bytes(bytes)) => {
                let len = value::streamed::value(&bytes)?.len();
                Ok(Some(ValueReader::of_bytes(bytes, len)))
            }
            (Kind::Bytes | Kind::Text, Source::File(file)) => Ok(Some(ValueReader::of_file(file))),
            (Kind::Bytes | Kind::Text, Source::Bytes(bytes)) => {
                let len = bytes.len();
                Ok(Some(ValueReader::of_bytes(bytes, len)))
            }
            _ => Err(Error::mismatch("bytes", value::kind_name(kind))),
        }
    }
}
