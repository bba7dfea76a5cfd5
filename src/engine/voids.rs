//! What a power cut has taken stays taken. Compaction copies what stays of the commit stream to the main stream, which may be
//! durable sooner: so a power cut may take a commit and keep copies of it. The next rebuild leaves them out, as they are
//! younger than the end of the commit stream (K6). After it the commit stream goes on with larger numbers, and nothing in the
//! log would tell the rebuild after that one: so the first says in the file `void` which numbers never count, before its state
//! file gets its name.
//!
//! - **K9** No copy counts of a commit that an earlier rebuild did not find.

use crate::error::{Error, Result};
use crate::os::{OpenMode, Os, OsFile};
use crate::storage::paths::{Name, Paths};
use crate::storage::segment::MAIN;
use crate::storage::void::{BYTES_MAX, Void, Voids};

/// Which commits count, for copies in the main stream.
pub struct Cut {
    /// The newest commit that the commit stream has: nothing younger counts.
    pub newest: u64,
    pub voids: Voids,
}

impl Cut {
    /// True if a copy of a record of that commit counts.
    pub fn has(&self, sequence: u64) -> bool {
        sequence <= self.newest && (!self.voids.have(sequence) || seeded!("what_the_power_took_comes_back"))
    }
}

/// What the file says; nothing if it is not there, or damaged.
pub fn read_voids<O: Os>(os: &O, paths: &Paths, store: u64) -> Result<Voids> {
    let path = paths.of(Name::Void);
    let read = || {
        let file = os.open(&path, OpenMode::Read)?;
        let len = file.len()?.min(BYTES_MAX as u64 + 1);
        let mut bytes = vec![0; len as usize];
        file.read_at(&mut bytes, 0)?;
        Ok::<_, std::io::Error>(bytes)
    };
    match read() {
        Ok(bytes) => Ok(Voids::decode(&bytes, store).unwrap_or_default()),
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::UnexpectedEof) => {
            Ok(Voids::default())
        }
        Err(e) => Err(Error::io("read", &path, e)),
    }
}

/// Says, durably, that the commits behind the end of the commit stream never count of which the main stream has copies,
/// `survivors` being the youngest. `main` are the ids of the segments of that stream: what stood in others is forgotten.
pub fn write_voids<O: Os>(
    os: &O,
    paths: &Paths,
    store: u64,
    cut: &Cut,
    (survivors, main): (u64, &[u64]),
) -> Result<()> {
    let oldest = main.first().map_or(u64::MAX, |id| id & !MAIN);
    let next = main.last().map_or(1, |id| (id & !MAIN) + 1);
    let mut voids: Vec<Void> = cut.voids.0.iter().copied().filter(|void| oldest < void.main).collect();
    let is_known = |void: &Void| void.after <= cut.newest && survivors <= void.upto;
    if survivors > cut.newest && !voids.iter().any(is_known) {
        voids.retain(|void| void.after < cut.newest || survivors < void.upto);
        voids.push(Void { after: cut.newest, upto: survivors, main: next });
    }
    if voids == cut.voids.0 {
        return Ok(());
    }
    let (draft, path) = (paths.of(Name::VoidDraft), paths.of(Name::Void));
    let write = || {
        let _ = os.remove(&draft);
        let file = os.open(&draft, OpenMode::Create)?;
        file.write_at(&Voids(voids).encode(store), 0)?;
        file.sync()?;
        os.rename(&draft, &path)?;
        os.sync_dir(paths.root())
    };
    write().map_err(|e| Error::io("write", &path, e))
}
