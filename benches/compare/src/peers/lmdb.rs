//! LMDB, through heed: without waiting for the disk (`NO_SYNC | WRITE_MAP | MAP_ASYNC`), and as it is by default.

use std::fs;
use std::path::Path;

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions};

use super::{Mode, Peer, Sorted, counted, without_limit};
use crate::draw::Key;
use crate::measure::Outcome;

/// Of the mapping; the file grows into it.
const MAP_SIZE: usize = 64 << 30;

pub struct Lmdb {
    env: Env,
    database: Database<'static, Bytes, Bytes>,
}

impl Lmdb {
    #[expect(unsafe_code, reason = "heed leaves it to the caller that nobody damages the file under the mapping")]
    pub fn open(directory: &Path, mode: Mode, is_durable: bool) -> Outcome<Lmdb> {
        without_limit(mode)?;
        fs::create_dir_all(directory)?;
        let mut options = EnvOpenOptions::new();
        options.map_size(MAP_SIZE).max_readers(64);
        if !(is_durable || mode.sync) {
            // SAFETY: the directory is the benchmark's own: a torn file after a power cut is thrown away.
            unsafe { options.flags(EnvFlags::NO_SYNC | EnvFlags::WRITE_MAP | EnvFlags::MAP_ASYNC) };
        }
        // SAFETY: the directory is the benchmark's own, and only LMDB writes its file.
        let env = unsafe { options.open(directory)? };
        let opened = env.open_databases_and_commit(env.read_txn()?, |opener, txn| {
            opener.open_database(txn, None).map(CommitOrAbort::<_, ()>::Commit)
        })?;
        let database = opened.unwrap_commit().ok_or("the database without a name is there")?;
        Ok(Lmdb { env, database })
    }
}

impl Peer for Lmdb {
    fn get(&mut self, key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        let txn = self.env.read_txn()?;
        Ok(self.database.get(&txn, key)?.map(<[u8]>::to_vec))
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Outcome<()> {
        let mut txn = self.env.write_txn()?;
        self.database.put(&mut txn, key, value)?;
        Ok(txn.commit()?)
    }

    fn delete(&mut self, key: &[u8]) -> Outcome<bool> {
        let mut txn = self.env.write_txn()?;
        let was_there = self.database.delete(&mut txn, key)?;
        txn.commit()?;
        Ok(was_there)
    }

    fn set_many(&mut self, pairs: &[(Key, Vec<u8>)]) -> Outcome<()> {
        let mut txn = self.env.write_txn()?;
        for (key, value) in pairs {
            self.database.put(&mut txn, key, value)?;
        }
        Ok(txn.commit()?)
    }

    fn clear(&mut self) -> Outcome<()> {
        let mut txn = self.env.write_txn()?;
        self.database.clear(&mut txn)?;
        Ok(txn.commit()?)
    }

    fn incr(&mut self, key: &[u8]) -> Outcome<i64> {
        let mut txn = self.env.write_txn()?;
        let count = counted(self.database.get(&txn, key)?)?;
        self.database.put(&mut txn, key, &count.to_le_bytes())?;
        txn.commit()?;
        Ok(count)
    }
}

impl Sorted for Lmdb {
    fn insert(&mut self, key: u64, value: &str) -> Outcome<()> {
        self.set(&key.to_be_bytes(), value.as_bytes())
    }

    fn fill(&mut self, keys: &mut dyn Iterator<Item = u64>, value: &str) -> Outcome<()> {
        let mut txn = self.env.write_txn()?;
        for key in keys {
            self.database.put(&mut txn, &key.to_be_bytes(), value.as_bytes())?;
        }
        Ok(txn.commit()?)
    }

    fn walk(&mut self, most: u64) -> Outcome<(u64, u64)> {
        let txn = self.env.read_txn()?;
        let (mut count, mut bytes) = (0, 0);
        for pair in self.database.iter(&txn)?.take(most as usize) {
            bytes += String::from_utf8(pair?.1.to_vec())?.len() as u64;
            count += 1;
        }
        Ok((count, bytes))
    }

    fn pop_first(&mut self) -> Outcome<Option<(u64, String)>> {
        let mut txn = self.env.write_txn()?;
        let Some((key, value)) = self.database.first(&txn)? else { return Ok(None) };
        let (key, value) = (u64::from_be_bytes(key.try_into()?), String::from_utf8(value.to_vec())?);
        self.database.delete(&mut txn, &key.to_be_bytes())?;
        txn.commit()?;
        Ok(Some((key, value)))
    }
}
