//! The shards of a fan-out cache: stores in one directory, each of which has the keys whose hash falls to it, and reading
//! several of them as of one moment. Opening them is in `shards_open`, changing several together in `shards_change`, and how a
//! commit of several becomes one in `joint`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::os::Os;
use crate::storage::fanout::Fanout;

use super::found::Found;
use super::handle::Handle;
use super::living::Living;
use super::lock::Locked;
use super::read::{Missing, Try};
use super::siblings::Siblings;
use super::store::Store;

/// Attempts to read several shards as of one moment before their locks decide.
const RETRIES: usize = 16;

/// The open shards of a fan-out cache.
pub struct Shards<O: Os> {
    pub(super) root: PathBuf,
    pub fanout: Fanout,
    /// In the order of their numbers.
    pub(super) members: Vec<Living<O>>,
}

/// What an attempt to read several shards came to.
enum Attempt<'s, O: Os> {
    Done,
    /// Something moved meanwhile.
    Again,
    /// A file has to be mapped first.
    Map(&'s Arc<Store<O>>, Missing),
}

impl<O: Os> Shards<O> {
    /// The directory of all.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Handles of the shards, each of which keeps all of them open: whoever takes a lock may have to finish what concerns all.
    pub fn handles(self: &Arc<Self>) -> Vec<Handle<O>> {
        let all = || Arc::clone(self) as Arc<dyn Siblings>;
        self.members.iter().map(|member| Handle::Store(member.among(all()))).collect()
    }

    /// The shard that has the words that all share.
    pub(super) fn first(&self) -> &Arc<Store<O>> {
        // There is one at least: the manifest says so.
        self.members[0].store()
    }

    /// Calls `take` with the shard and the number of each key, and its live record, all as of one moment. `restart` is called
    /// when what was taken does not count.
    pub fn read_many<R>(
        &self,
        keys: &[Vec<(&[u8], u64)>],
        into: &mut R,
        restart: impl Fn(&mut R),
        mut take: impl FnMut(&mut R, (usize, usize), &Found<'_, O>) -> Result<()>,
    ) -> Result<()> {
        let stores: Vec<(usize, &Arc<Store<O>>)> =
            self.members.iter().map(Living::store).enumerate().filter(|&(i, _)| !keys[i].is_empty()).collect();
        let all = self.stores();
        let mut locked: Option<Vec<Locked<'_, O>>> = None;
        let (mut tries, mut files) = (0, 0);
        loop {
            let attempt = self.try_read_many(&stores, |&(i, store), moment| {
                let view = store.enter()?;
                store.try_read_many(&view, &keys[i], Some(moment), into, &mut |into, number, record| {
                    take(into, (i, number), &Found::Log(record))
                })
            })?;
            match attempt {
                Attempt::Done => return Ok(()),
                Attempt::Again if locked.is_some() => return Err(self.first().unsettled()),
                Attempt::Again => tries += 1,
                // Under the locks nothing moves, so a file that is missing then is damage.
                Attempt::Map(store, missing) if locked.is_some() => store.map_missing_under_lock(missing)?,
                Attempt::Map(store, missing) => {
                    store.map_missing(missing)?;
                    files += 1;
                }
            }
            restart(into);
            let enough = tries > RETRIES || files > stores.len() * (self.first().rows + RETRIES);
            if enough && locked.is_none() {
                if self.first().read_only {
                    return Err(Error::Timeout);
                }
                if all.iter().any(|store| store.is_inside_transaction()) {
                    return Err(Error::InTransaction);
                }
                locked = Some(self.lock_all(&all, self.deadline(None))?);
            }
        }
    }

    /// One attempt to read all as of one moment.
    fn try_read_many<'s>(
        &self,
        stores: &[(usize, &'s Arc<Store<O>>)],
        mut read: impl FnMut(&(usize, &'s Arc<Store<O>>), u64) -> Result<Try<()>>,
    ) -> Result<Attempt<'s, O>> {
        let now = || stores.iter().map(|(_, store)| store.visible()).collect::<Vec<u64>>();
        let moments = now();
        // Nothing was committed between the first look at the last shard and the second at the first: all were so at once.
        if now() != moments {
            return Ok(Attempt::Again);
        }
        for (shard, moment) in stores.iter().zip(moments) {
            match read(shard, moment)? {
                Try::Done(()) => {}
                Try::Again => return Ok(Attempt::Again),
                Try::Map(missing) => return Ok(Attempt::Map(shard.1, missing)),
            }
        }
        Ok(Attempt::Done)
    }

    /// The shards' stores, as this process has them.
    pub(super) fn stores(&self) -> Vec<Arc<Store<O>>> {
        self.members.iter().map(|member| Arc::clone(member.store())).collect()
    }

    /// What is left of a time for all locks together.
    pub(super) fn deadline(&self, timeout: Option<Duration>) -> impl Fn() -> Duration + use<'_, O> {
        let store = self.first();
        let (begin, timeout) = (store.os.uptime(), timeout.unwrap_or(store.lock_timeout));
        move || timeout.saturating_sub(store.os.uptime().saturating_sub(begin))
    }
}
