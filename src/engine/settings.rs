//! What a store is set to: kept in the manifest for ever, and in the state file for every process at once.

use crate::error::{ConfigProblem, Error, Result};
use crate::options::Eviction;
use crate::os::{OpenMode, Os, OsFile, OsMap};
use crate::storage::location::SEGMENT_BYTES_MAX;
use crate::storage::manifest::{self, Manifest, Unusable};
use crate::storage::paths::{Name, Paths};
use crate::storage::state;

use super::commit::Commit;
use super::durable::NAMES;
use super::limit::segment_bytes;
use super::store::Store;

/// The smallest size limit: below it the fixed parts leave no room for items.
pub const SIZE_LIMIT_MIN: u64 = 2 << 20;

/// Settings that all processes share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shared {
    pub size_limit: u64,
    pub eviction: u32,
    pub statistics: bool,
}

impl Shared {
    /// Takes over what was changed of other settings, and nothing else: somebody may have changed the rest meanwhile.
    pub fn take_changes(&mut self, before: &Shared, after: &Shared) {
        if after.size_limit != before.size_limit {
            self.size_limit = after.size_limit;
        }
        if after.eviction != before.eviction {
            self.eviction = after.eviction;
        }
        if after.statistics != before.statistics {
            self.statistics = after.statistics;
        }
    }
}

/// Rows of the segment table for a store created with a size limit: four times what it needs, so that the limit can be
/// raised later.
pub fn rows_for(size_limit: u64) -> u32 {
    let segments = size_limit / segment_bytes(size_limit);
    (segments * 4).next_power_of_two().clamp(256, 1 << 16) as u32
}

/// Refuses limits that a directory with that many rows cannot keep.
pub fn check_size_limit(size_limit: u64, rows: u32) -> Result<()> {
    if size_limit < SIZE_LIMIT_MIN {
        return Err(Error::Config(ConfigProblem::SizeLimitTooSmall));
    }
    let most = segment_bytes(size_limit).min(SEGMENT_BYTES_MAX).saturating_mul(u64::from(rows));
    if size_limit > most {
        return Err(Error::Config(ConfigProblem::SizeLimitTooLarge));
    }
    Ok(())
}

/// Reads the manifest; `None` if there is none.
pub fn read_manifest<O: Os>(os: &O, paths: &Paths) -> Result<Option<Manifest>> {
    let path = paths.of(Name::Manifest);
    let file = match os.open(&path, OpenMode::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io("open", &path, e)),
    };
    let len = file.len().map_err(|e| Error::io("measure", &path, e))?;
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX).min(manifest::BYTES + 1)];
    file.read_at(&mut bytes, 0).map_err(|e| Error::io("read", &path, e))?;
    match Manifest::decode(&bytes) {
        Ok(manifest) => Ok(Some(manifest)),
        Err(Unusable::Damaged(what)) => Err(Error::corrupt(&path, 0, what)),
        Err(Unusable::Version(found)) => Err(Error::FormatVersion { found, supported: manifest::FORMAT_VERSION }),
    }
}

/// Replaces the manifest, durably. `names_failed` hears it if the directory could not be made durable: nobody else will.
pub fn write_manifest<O: Os>(os: &O, paths: &Paths, manifest: &Manifest, names_failed: impl Fn()) -> Result<()> {
    let draft = paths.of(Name::ManifestDraft);
    let path = paths.of(Name::Manifest);
    let write = || {
        // A draft that is there was left by a writer that died; it holds nothing.
        let _ = os.remove(&draft);
        let file = os.open(&draft, OpenMode::Create)?;
        file.write_at(&manifest.encode(), 0)?;
        file.sync()?;
        os.rename(&draft, &path)?;
        os.sync_dir(paths.root()).inspect_err(|_| names_failed())
    };
    write().map_err(|e| Error::io("write", &path, e))
}

impl<O: Os> Store<O> {
    /// The settings in force.
    pub fn shared_settings(&self) -> Shared {
        Shared {
            size_limit: self.state.load(state::SIZE_LIMIT),
            eviction: self.state.load(state::EVICTION) as u32,
            statistics: self.state.load(state::STATISTICS) != 0,
        }
    }

    /// Changes settings for every process: the manifest first, then by one commit. What is over a lower limit goes at once.
    pub fn change_settings(&self, change: impl FnOnce(&mut Shared)) -> Result<Shared> {
        let locked = self.lock()?;
        let mut shared = self.shared_settings();
        change(&mut shared);
        check_size_limit(shared.size_limit, self.rows as u32)?;
        if shared == self.shared_settings() {
            return Ok(shared);
        }
        let manifest = Manifest {
            store: self.store_id,
            seed: self.seed,
            kind: self.kind,
            rows: self.rows as u32,
            size_limit: shared.size_limit,
            eviction: shared.eviction,
            statistics: shared.statistics,
        };
        write_manifest(&self.os, &self.paths, &manifest, || self.announce_failure(NAMES, true))?;
        let mut commit = Commit::new(&locked)?;
        commit.stage_state(state::SIZE_LIMIT, shared.size_limit);
        // The age begins anew with the policy.
        commit.stage_state(state::EVICTION, shared.eviction.into());
        if self.policy() != Eviction::None && !seeded!("another_policy_has_evicted_nothing") {
            commit.stage_state(state::EVICTED, 1);
        }
        commit.stage_state(state::STATISTICS, shared.statistics.into());
        commit.publish()?;
        drop(commit);
        let newest = locked.newest();
        drop(locked);
        self.shrink()?;
        self.after_change(newest)?;
        Ok(shared)
    }
}
