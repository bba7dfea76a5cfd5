//! redb without waiting for the disk; every thousandth commit waits, for else its file keeps all pages that it ever replaced.

use std::fs;
use std::path::Path;

use redb::{Database, Durability, ReadableDatabase, ReadableTable, Table, TableDefinition};

use super::{Mode, Peer, Sorted, counted, without_limit};
use crate::draw::Key;
use crate::measure::Outcome;

const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("cache");
const CACHE_BYTES: usize = 256 << 20;
const BETWEEN_WAITS: u64 = 1000;

pub struct Redb {
    database: Database,
    is_durable: bool,
    commits: u64,
}

impl Redb {
    pub fn open(directory: &Path, mode: Mode) -> Outcome<Redb> {
        without_limit(mode)?;
        fs::create_dir_all(directory)?;
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        let database = builder.create(directory.join("redb"))?;
        let mut redb = Redb { database, is_durable: mode.sync, commits: 0 };
        redb.change(|_| Ok(()))?;
        Ok(redb)
    }

    fn change<R>(&mut self, body: impl FnOnce(&mut Table<&[u8], &[u8]>) -> Outcome<R>) -> Outcome<R> {
        let mut txn = self.database.begin_write()?;
        self.commits += 1;
        let waits = self.is_durable || self.commits.is_multiple_of(BETWEEN_WAITS);
        txn.set_durability(if waits { Durability::Immediate } else { Durability::None })?;
        let answer = body(&mut txn.open_table(TABLE)?)?;
        txn.commit()?;
        Ok(answer)
    }
}

impl Peer for Redb {
    fn get(&mut self, key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        let table = self.database.begin_read()?.open_table(TABLE)?;
        Ok(table.get(key)?.map(|value| value.value().to_vec()))
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Outcome<()> {
        self.change(|table| Ok(table.insert(key, value).map(drop)?))
    }

    fn delete(&mut self, key: &[u8]) -> Outcome<bool> {
        self.change(|table| Ok(table.remove(key)?.is_some()))
    }

    fn set_many(&mut self, pairs: &[(Key, Vec<u8>)]) -> Outcome<()> {
        self.change(|table| {
            pairs.iter().try_for_each(|(key, value)| Ok(table.insert(key.as_slice(), value.as_slice()).map(drop)?))
        })
    }

    fn clear(&mut self) -> Outcome<()> {
        self.change(|table| Ok(table.retain(|_, _| false)?))
    }

    fn incr(&mut self, key: &[u8]) -> Outcome<i64> {
        self.change(|table| {
            let count = counted(table.get(key)?.map(|value| value.value().to_vec()).as_deref())?;
            table.insert(key, count.to_le_bytes().as_slice())?;
            Ok(count)
        })
    }
}

impl Sorted for Redb {
    fn insert(&mut self, key: u64, value: &str) -> Outcome<()> {
        self.set(&key.to_be_bytes(), value.as_bytes())
    }

    fn fill(&mut self, keys: &mut dyn Iterator<Item = u64>, value: &str) -> Outcome<()> {
        let mut put = |table: &mut Table<&[u8], &[u8]>| {
            for key in &mut *keys {
                table.insert(key.to_be_bytes().as_slice(), value.as_bytes())?;
            }
            Ok(())
        };
        self.change(&mut put)
    }

    fn walk(&mut self, most: u64) -> Outcome<(u64, u64)> {
        let table = self.database.begin_read()?.open_table(TABLE)?;
        let (mut count, mut bytes) = (0, 0);
        for pair in table.range::<&[u8]>(..)?.take(most as usize) {
            bytes += String::from_utf8(pair?.1.value().to_vec())?.len() as u64;
            count += 1;
        }
        Ok((count, bytes))
    }

    fn pop_first(&mut self) -> Outcome<Option<(u64, String)>> {
        self.change(|table| {
            let Some((key, value)) = table.pop_first()? else { return Ok(None) };
            Ok(Some((u64::from_be_bytes(key.value().try_into()?), String::from_utf8(value.value().to_vec())?)))
        })
    }
}
