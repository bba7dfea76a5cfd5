//! Making what was stored durable. It does not know what was stored since.

use crate::error::{Error, Result};
use crate::os::{OpenMode, Os, OsFile};
use crate::storage::paths::Name;

use super::store::Store;

impl<O: Os> Store<O> {
    /// Writes every segment and large value to disk, and then their names. What is derived is not written: it is rebuilt
    /// if it is lost. A file that goes while this runs was retired, and nothing it held counts any more.
    pub fn sync(&self) -> Result<()> {
        self.enter()?;
        let root = self.paths.root();
        let names = self.os.list(root).map_err(|e| Error::io("list", root, e))?;
        for name in names.iter().filter_map(|name| Name::parse(name)) {
            if !matches!(name, Name::Segment(_) | Name::Value(_)) {
                continue;
            }
            let path = self.paths.of(name);
            match self.os.open(&path, OpenMode::Read) {
                Ok(file) => file.sync().map_err(|e| Error::io("sync", &path, e))?,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(Error::io("open", &path, e)),
            }
        }
        self.os.sync_dir(root).map_err(|e| Error::io("sync", root, e))
    }
}
