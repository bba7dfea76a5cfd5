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
use super::living::Living;
use super::lock::Locked;
use super::read::Try;
use super::store::Store;

/// Attempts to read several shards as of one moment before their locks decide.
const RETRIES: usize = 16;

/// The open shards of a fan-out cache.
pub struct Shards<O: Os> {
    pub(super) root: PathBuf,
    pub fanout: Fanout,
    pub(super) members: Vec<Living<O>>,
}

impl<O: Os> Shards<O> {
    /// The directory of all.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The shards, in the order of their numbers.
    pub fn members(&self) -> &[Living<O>] {
        &self.members
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
        for tries in 0.. {
            if tries == RETRIES {
                if self.first().read_only {
                    return Err(Error::Timeout);
                }
                locked = Some(self.lock_all(&all, self.deadline(None))?);
            }
            let is_last = locked.is_some();
            let done = self.try_read_many(&stores, is_last, |&(i, store), moment| {
                let view = store.enter()?;
                store.try_read_many(&view, &keys[i], Some(moment), into, &mut |into, number, record| {
                    take(into, (i, number), &Found::Log(record))
                })
            })?;
            if done {
                return Ok(());
            }
            if tries > 2 * RETRIES {
                break;
            }
            restart(into);
        }
        Err(self.first().unsettled())
    }

    /// One attempt: true if all were read as of one moment.
    fn try_read_many<'s>(
        &self,
        stores: &[(usize, &'s Arc<Store<O>>)],
        is_locked: bool,
        mut read: impl FnMut(&(usize, &'s Arc<Store<O>>), u64) -> Result<Try<()>>,
    ) -> Result<bool> {
        let now = || stores.iter().map(|(_, store)| store.visible()).collect::<Vec<u64>>();
        let moments = now();
        // Nothing was committed between the first look at the last shard and the second at the first: all were so at once.
        if now() != moments {
            return Ok(false);
        }
        for (shard, moment) in stores.iter().zip(moments) {
            loop {
                match read(shard, moment)? {
                    Try::Done(()) => break,
                    Try::Again => return Ok(false),
                    Try::Map(missing) if is_locked => shard.1.map_missing_under_lock(missing)?,
                    Try::Map(missing) => {
                        shard.1.map_missing(missing)?;
                        // What it had taken is taken again.
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
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
