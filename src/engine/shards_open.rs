//! Opening a fan-out cache: all its shards, one after the other, and what is about all of them.
//!
//! 1. Make the directory if need be; openers come one by one.
//! 2. Read what the fan-out cache is, or write it, its file of decisions first.
//! 3. Open the shards in order. Settings of one that is there are changed last: that takes its lock, and what a dead owner left of a
//!    joint commit concerns all.
//! 4. Tell each of the others. Resolve what is left of a joint commit. Apply settings that the caller asked for.
//!
//! Read-only openers find what is there, and change nothing.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, Weak};

use crate::error::{ConfigProblem, Error, Result};
use crate::os::{OpenMode, Os, OsFile, OsMap};
use crate::storage::decision;
use crate::storage::fanout::{self, Fanout, OVERHEAD, SHARDS_MAX};
use crate::storage::manifest::KIND_SHARD;
use crate::storage::paths::{Name, Paths};
use crate::storage::state::{IS_JOINT, JOINT, JOINT_CHOSEN, JOINT_DONE, JOINT_NEXT, PENDING};

use super::decided::read_manifest;
use super::living::Living;
use super::recovery::{self, Opening};
use super::settings::{self, SIZE_LIMIT_MIN};
use super::shards::Shards;
use super::siblings::Siblings;
use super::store::Store;

/// Shards of a fan-out cache that is made without saying how many.
const SHARDS_DEFAULT: u32 = 8;
/// Writes what a new fan-out cache is, durably, and the file of its decisions before it.
fn create_manifest<O: Os>(os: &O, root: &Path, shards: Option<u32>) -> Result<Fanout> {
    let shards = shards.unwrap_or(SHARDS_DEFAULT);
    if shards == 0 || shards > SHARDS_MAX {
        return Err(Error::Config(ConfigProblem::Shards));
    }
    let fanout = Fanout { shards, id: os.random(), seed: os.random() };
    let (draft, path, decisions) = (fanout::draft(root), fanout::manifest(root), fanout::decisions(root));
    let write = || {
        // What is there was left by one that died before it had made anything that counts.
        let _ = os.remove(&decisions);
        create_decisions(os, root)?;
        let _ = os.remove(&draft);
        let file = os.open(&draft, OpenMode::Create)?;
        file.write_at(&fanout.encode(), 0)?;
        file.sync()?;
        os.rename(&draft, &path)?;
        os.sync_dir(root)
    };
    write().map_err(|e| Error::io("write", &path, e))?;
    Ok(fanout)
}

/// Makes the file of decisions, in which there is none.
fn create_decisions<O: Os>(os: &O, root: &Path) -> std::io::Result<()> {
    let file = os.open(&fanout::decisions(root), OpenMode::Create)?;
    file.write_at(&[0; decision::BYTES], 0)?;
    file.sync()
}

/// What each shard may take of a limit for all of them together: equal parts, and the first what is left over.
pub fn split_limit(limit: u64, shards: u32) -> Result<impl Fn(usize) -> u64> {
    let for_shards = limit.saturating_sub(OVERHEAD);
    let shards = u64::from(shards.max(1));
    let (each, more) = (for_shards / shards, for_shards % shards);
    if each < SIZE_LIMIT_MIN {
        return Err(Error::Config(ConfigProblem::SizeLimitTooSmall));
    }
    Ok(move |number| if number == 0 { each + more } else { each })
}

impl<O: Os> Shards<O> {
    /// Opens the fan-out cache in a directory, making it if there is none. `os` is called for each shard.
    pub fn open(
        os: impl Fn() -> Result<O>,
        root: &Path,
        shards: Option<u32>,
        opening: &Opening,
    ) -> Result<Arc<Shards<O>>> {
        let own = os()?;
        let _one_by_one = if opening.read_only {
            None
        } else {
            recovery::prepare_root(&own, root)?;
            let lock = fanout::open_lock(root);
            let locked = own.lock(&lock, opening.lock_timeout).map_err(|e| Error::io("lock", &lock, e))?;
            Some(locked.ok_or(Error::Timeout)?)
        };
        let is_store = own.open(&Paths::new(root).of(Name::Manifest), OpenMode::Read).is_ok();
        let size_limit = opening.size_limit.unwrap_or(recovery::DEFAULTS.size_limit);
        let fanout = match read_manifest(&own, root)? {
            Some(fanout) => fanout,
            None if is_store => return Err(Error::Config(ConfigProblem::OtherKind)),
            None if opening.read_only => return Err(Error::Config(ConfigProblem::NothingToRead)),
            None => {
                // What cannot be is refused before anything is made.
                split_limit(size_limit, shards.unwrap_or(SHARDS_DEFAULT)).map(drop)?;
                create_manifest(&own, root, shards)?
            }
        };
        let decisions = fanout::decisions(root);
        if !opening.read_only && own.open(&decisions, OpenMode::Read).is_err_and(|e| e.kind() == ErrorKind::NotFound) {
            // Somebody removed it. What the logs are known to have had on the disk counts without it.
            create_decisions(&own, root).map_err(|e| Error::io("create", &decisions, e))?;
        }
        if shards.is_some_and(|asked| asked != fanout.shards) {
            return Err(Error::Config(ConfigProblem::Shards));
        }
        let limit_of = split_limit(size_limit, fanout.shards)?;
        let mut members = Vec::with_capacity(fanout.shards as usize);
        for number in 0..fanout.shards {
            let path = fanout::shard(root, number);
            let new_limit = limit_of(number as usize);
            // Settings of one that is there are changed when all are open: that takes its lock, and what a dead owner left
            // of a joint commit concerns all.
            let opened = Store::open_shard(os()?, &path, opening, new_limit)?;
            members.push(Living::new(opened));
        }
        if !opening.read_only {
            // Their directories were made since the manifest was.
            own.sync_dir(root).map_err(|e| Error::io("make durable", root, e))?;
        }
        let shards = Arc::new(Shards { root: root.to_owned(), fanout, members });
        for member in &shards.members {
            let siblings: Weak<dyn Siblings> = Arc::downgrade(&shards) as Weak<dyn Siblings>;
            member.store().siblings.set(siblings);
        }
        if !opening.read_only {
            // The first may have been made anew: no number is given twice that any of them knows.
            let known =
                |member: &Living<O>| [JOINT, JOINT_CHOSEN, JOINT_DONE].map(|word| member.store().state.load(word));
            let numbers = shards.members.iter().flat_map(known);
            shards.first().state.fetch_max(JOINT_NEXT, numbers.fold(shards.decided()?, u64::max));
            if shards.members.iter().any(|member| member.store().state.load(PENDING) & IS_JOINT != 0) {
                shards.resolve(opening.lock_timeout)?;
            }
            shards.apply(opening)?;
        }
        Ok(shards)
    }

    /// Makes the settings of all shards what the opener asked for.
    fn apply(&self, opening: &Opening) -> Result<()> {
        let limit = opening.size_limit.map(|limit| split_limit(limit, self.fanout.shards)).transpose()?;
        for (i, member) in self.members.iter().enumerate() {
            let store = member.store();
            let now = store.shared_settings();
            let mut wanted = now;
            if let Some(limit_of) = &limit {
                wanted.size_limit = limit_of(i);
            }
            wanted.eviction = opening.eviction.unwrap_or(now.eviction);
            wanted.statistics = opening.statistics.unwrap_or(now.statistics);
            if wanted != now {
                store.change_settings(|shared| *shared = wanted)?;
            }
        }
        Ok(())
    }
}

impl<O: Os> Store<O> {
    /// Opens a shard, making it with a limit if there is none. Of one that is there nothing is changed.
    fn open_shard(os: O, path: &Path, opening: &Opening, new_limit: u64) -> Result<Store<O>> {
        let is_new = settings::read_manifest(&os, &Paths::new(path))?.is_none();
        let kept = Opening { kind: KIND_SHARD, size_limit: None, eviction: None, statistics: None, ..opening.clone() };
        let made = Opening { kind: KIND_SHARD, size_limit: Some(new_limit), ..opening.clone() };
        Store::open(os, path, if is_new { &made } else { &kept })
    }
}
