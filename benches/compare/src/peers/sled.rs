//! sled, which hands its log to the disk twice a second.

use std::path::Path;

use sled::{Batch, Db};

use super::{Mode, Peer, Sorted, counted, without_limit};
use crate::draw::Key;
use crate::measure::Outcome;

const CACHE_BYTES: u64 = 256 << 20;

pub struct Sled {
    tree: Db,
    is_durable: bool,
}

impl Sled {
    pub fn open(directory: &Path, mode: Mode) -> Outcome<Sled> {
        without_limit(mode)?;
        let tree = sled::Config::new().path(directory).cache_capacity(CACHE_BYTES).open()?;
        Ok(Sled { tree, is_durable: mode.sync })
    }

    fn wait(&self) -> Outcome<()> {
        if self.is_durable {
            self.tree.flush()?;
        }
        Ok(())
    }
}

impl Peer for Sled {
    fn get(&mut self, key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        Ok(self.tree.get(key)?.map(|value| value.to_vec()))
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Outcome<()> {
        self.tree.insert(key, value)?;
        self.wait()
    }

    fn delete(&mut self, key: &[u8]) -> Outcome<bool> {
        let was_there = self.tree.remove(key)?.is_some();
        self.wait()?;
        Ok(was_there)
    }

    fn set_many(&mut self, pairs: &[(Key, Vec<u8>)]) -> Outcome<()> {
        let mut batch = Batch::default();
        for (key, value) in pairs {
            batch.insert(key.as_slice(), value.as_slice());
        }
        self.tree.apply_batch(batch)?;
        self.wait()
    }

    fn clear(&mut self) -> Outcome<()> {
        Ok(self.tree.clear()?)
    }

    fn incr(&mut self, key: &[u8]) -> Outcome<i64> {
        let next = |found: Option<&[u8]>| counted(found).ok().map(|count| count.to_le_bytes().to_vec());
        let stored = self.tree.update_and_fetch(key, next)?.ok_or("the counter is a number")?;
        self.wait()?;
        Ok(i64::from_le_bytes(stored.as_ref().try_into()?))
    }
}

impl Sorted for Sled {
    fn insert(&mut self, key: u64, value: &str) -> Outcome<()> {
        self.set(&key.to_be_bytes(), value.as_bytes())
    }

    fn fill(&mut self, keys: &mut dyn Iterator<Item = u64>, value: &str) -> Outcome<()> {
        for key in keys {
            Sorted::insert(self, key, value)?;
        }
        Ok(())
    }

    fn walk(&mut self, most: u64) -> Outcome<(u64, u64)> {
        let (mut count, mut bytes) = (0, 0);
        for pair in self.tree.iter().take(most as usize) {
            bytes += String::from_utf8(pair?.1.to_vec())?.len() as u64;
            count += 1;
        }
        Ok((count, bytes))
    }

    fn pop_first(&mut self) -> Outcome<Option<(u64, String)>> {
        let Some((key, value)) = self.tree.pop_min()? else { return Ok(None) };
        Ok(Some((u64::from_be_bytes(key.as_ref().try_into()?), String::from_utf8(value.to_vec())?)))
    }
}
