//! Reading the two files that are about all shards of a fan-out cache: what it is, and which joint commits were decided.

use std::path::Path;

use crate::error::{Error, Result};
use crate::os::{OpenMode, Os, OsFile};
use crate::storage::decision;
use crate::storage::fanout::{self, Fanout};
use crate::storage::manifest::{FORMAT_VERSION, KIND_SHARD, Unusable};

/// Reads what a fan-out cache is; `None` if there is none in the directory.
pub fn read_manifest<O: Os>(os: &O, root: &Path) -> Result<Option<Fanout>> {
    let path = fanout::manifest(root);
    let file = match os.open(&path, OpenMode::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io("open", &path, e)),
    };
    let len = file.len().map_err(|e| Error::io("measure", &path, e))?;
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX).min(fanout::BYTES + 1)];
    file.read_at(&mut bytes, 0).map_err(|e| Error::io("read", &path, e))?;
    match Fanout::decode(&bytes) {
        Ok(fanout) => Ok(Some(fanout)),
        Err(Unusable::Damaged(what)) => Err(Error::corrupt(&path, 0, what)),
        Err(Unusable::Version(found)) => Err(Error::FormatVersion { found, supported: FORMAT_VERSION }),
    }
}

/// The number up to which joint commits were decided, and where in the file the next one goes. A file that is not there says that
/// none was.
pub fn read_decision<O: Os>(os: &O, path: &Path, id: u64) -> Result<(u64, u64)> {
    let file = match os.open(path, OpenMode::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok((0, 0)),
        Err(e) => return Err(Error::io("open", path, e)),
    };
    let mut bytes = [0; decision::BYTES];
    match file.read_at(&mut bytes, 0) {
        Ok(()) => Ok(decision::newest(&bytes, id)),
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok((0, 0)),
        Err(e) => Err(Error::io("read", path, e)),
    }
}

/// Writes a decision that was read once more, and makes it durable.
pub fn write_again<O: Os>(os: &O, path: &Path, id: u64, (number, next): (u64, u64)) -> Result<()> {
    let file = os.open(path, OpenMode::Write).map_err(|e| Error::io("open", path, e))?;
    let again = file.write_at(&decision::encode(id, number), decision::other(next));
    again.and_then(|()| file.sync()).map_err(|e| Error::not_written(path, e))
}

/// The number up to which joint commits were decided, for the rebuild of a shard; `None` for a store that is none.
pub fn decided_for<O: Os>(os: &O, shard: &Path, kind: u32) -> Result<Option<u64>> {
    let Some(root) = shard.parent().filter(|_| kind == KIND_SHARD) else { return Ok(None) };
    let fanout = read_manifest(os, root)?;
    // Without it nobody knows which file of decisions is the right one, and nothing opens the shards.
    let Some(fanout) = fanout else { return Ok(Some(0)) };
    let path = fanout::decisions(root);
    let (number, next) = read_decision(os, &path, fanout.id)?;
    if number != 0 {
        // Who decided may have died before that was durable. What is counted for it here will be durable on its own, and
        // another shard must find the same after a power cut.
        write_again(os, &path, fanout.id, (number, next))?;
    }
    Ok(Some(number))
}
