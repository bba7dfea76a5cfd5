//! python-diskcache's `Cache` on SQLite: its statements and transactions, and its files for values of 32 KiB and more.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::{Null, ValueRef};
use rusqlite::{OptionalExtension, params};

use super::{Mode, Peer, Queue, Sorted};
use crate::draw::{Key, mix};
use crate::measure::Outcome;
use crate::sqlite::{DELETE, Database, Extra, GET, Policy, TAG_INDEX, now};
use crate::sqlite_index::SqliteIndex;
use crate::sqlite_queue::SqliteQueue;

/// `disk_min_file_size`.
const FILE_MIN: usize = 32 << 10;
const OF_TAG: &str =
    "SELECT rowid, rowid, filename FROM Cache WHERE tag = ?2 AND rowid > ?1 AND ?3 IS NULL ORDER BY rowid LIMIT 100";
const DUE: &str = "SELECT rowid, expire_time, filename FROM Cache \
                   WHERE ?1 < expire_time AND expire_time < ?3 AND ?2 IS NULL ORDER BY expire_time LIMIT 100";
const ALL: &str =
    "SELECT rowid, rowid, filename FROM Cache WHERE rowid > ?1 AND ?2 IS NULL AND ?3 IS NULL ORDER BY rowid LIMIT 100";
const COUNTER: &str = "SELECT rowid, expire_time, filename, value FROM Cache WHERE key = ? AND raw = ?";
const COUNT: &str = "UPDATE Cache SET store_time = ?, value = ? WHERE rowid = ?";
/// There the time is a part of the text, so that each is prepared anew; here it is not held against SQLite.
const USED: &str = "UPDATE Cache SET access_time = ? WHERE rowid = ?";

pub struct Sqlite {
    database: Database,
    directory: PathBuf,
    is_lru: bool,
    files: u64,
}

impl Sqlite {
    pub fn open(directory: &Path, mode: Mode) -> Outcome<Sqlite> {
        fs::create_dir_all(directory)?;
        let policy = if mode.lru { Policy::Used } else { Policy::Stored };
        let limit = mode.limit.map_or(i64::MAX, |limit| limit as i64);
        let database = Database::open_as(directory, policy, limit)?;
        if mode.tags {
            database.connection.execute_batch(TAG_INDEX)?;
        }
        if mode.sync {
            database.connection.execute_batch("PRAGMA synchronous = 2")?;
        }
        // Names of files do not repeat between handles.
        let files = mix(u64::from(std::process::id())) ^ mix(now().to_bits());
        Ok(Sqlite { database, directory: directory.to_owned(), is_lru: mode.lru, files })
    }

    /// Writes a value to a file of its own, before the transaction. Its name.
    fn write(&mut self, value: &[u8]) -> Outcome<String> {
        self.files = self.files.wrapping_add(1);
        let digits = format!("{:016x}{:016x}", mix(self.files), mix(!self.files));
        let name = format!("{}/{}/{}.val", &digits[..2], &digits[2..4], &digits[4..]);
        let path = self.directory.join(&name);
        fs::create_dir_all(path.parent().ok_or("a file is in a directory")?)?;
        fs::File::create_new(path)?.write_all(value)?;
        Ok(name)
    }

    /// Removes files that no row names any more, and directories that are empty then.
    fn remove(&self, names: &[String]) -> Outcome<()> {
        for name in names {
            let path = self.directory.join(name);
            fs::remove_file(&path)?;
            let _ = path.ancestors().skip(1).take(2).try_for_each(fs::remove_dir);
        }
        Ok(())
    }

    fn put(&mut self, key: &[u8], value: &[u8], extra: Extra<'_>) -> Outcome<()> {
        let name = if value.len() < FILE_MIN { None } else { Some(self.write(value)?) };
        let gone = self.database.transact(|| match &name {
            Some(name) => {
                let extra = Extra { file: Some((value.len() as i64, name)), ..extra };
                self.database.put_over(&key, &Null, extra)
            }
            None => self.database.put_over(&key, &value, extra),
        })?;
        self.remove(&gone)
    }

    /// A `get` that says that the item was used is a transaction.
    fn get_used(&self, key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        Ok(self.database.transact(|| {
            let Some((rowid, _, value)) = self.database.value(&key)? else { return Ok(None) };
            self.database.connection.prepare_cached(USED)?.execute(params![now(), rowid])?;
            Ok(value)
        })?)
    }

    fn delete_all(&self, select: &str, tag: Option<&str>, until: Option<f64>) -> Outcome<u64> {
        let (count, files) = self.database.delete_all(select, tag, until)?;
        self.remove(&files)?;
        Ok(count)
    }
}

/// The key of a call, as Python pickles one, without the pickling.
fn call_key((number, text): (u64, &str)) -> Vec<u8> {
    let mut key = b"compare::function\0".to_vec();
    key.extend_from_slice(&number.to_le_bytes());
    key.extend_from_slice(text.as_bytes());
    key
}

impl Peer for Sqlite {
    fn get(&mut self, key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        if self.is_lru {
            return self.get_used(key);
        }
        match self.database.value(&key)? {
            None => Ok(None),
            Some((_, None, value)) => Ok(value),
            Some((_, Some(name), _)) => Ok(Some(fs::read(self.directory.join(name))?)),
        }
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Outcome<()> {
        self.put(key, value, Extra::default())
    }

    fn delete(&mut self, key: &[u8]) -> Outcome<bool> {
        let name = self.database.transact(|| {
            let connection = &self.database.connection;
            let mut get = connection.prepare_cached(GET)?;
            let found: Option<(i64, Option<String>)> =
                get.query_row(params![key, true, now()], |row| Ok((row.get(0)?, row.get(4)?))).optional()?;
            let Some((rowid, name)) = found else { return Ok(None) };
            connection.prepare_cached(DELETE)?.execute([rowid])?;
            Ok(Some(name))
        })?;
        let Some(name) = name else { return Ok(false) };
        self.remove(name.as_slice())?;
        Ok(true)
    }

    fn set_many(&mut self, pairs: &[(Key, Vec<u8>)]) -> Outcome<()> {
        let is_file = |(_, value): &(Key, Vec<u8>)| value.len() >= FILE_MIN;
        if pairs.iter().any(is_file) {
            return pairs.iter().try_for_each(|(key, value)| self.set(key, value));
        }
        let put = |(key, value): &(Key, Vec<u8>)| self.database.put(&key.as_slice(), value, Extra::default());
        Ok(self.database.transact(|| pairs.iter().try_for_each(put))?)
    }

    fn clear(&mut self) -> Outcome<()> {
        self.delete_all(ALL, None, None).map(drop)
    }

    fn incr(&mut self, key: &[u8]) -> Outcome<i64> {
        let now = now();
        Ok(self.database.transact(|| {
            let connection = &self.database.connection;
            let mut counter = connection.prepare_cached(COUNTER)?;
            let found: Option<(i64, i64)> = counter
                .query_row(params![key, true], |row| match row.get_ref(3)? {
                    ValueRef::Integer(count) => Ok((row.get(0)?, count)),
                    _ => Err(rusqlite::Error::InvalidQuery),
                })
                .optional()?;
            match found {
                Some((rowid, count)) => {
                    connection.prepare_cached(COUNT)?.execute(params![now, count + 1, rowid])?;
                    Ok(count + 1)
                }
                None => {
                    self.database.insert(&key, &1, Extra::default(), now)?;
                    self.database.cull(now)?;
                    Ok(1)
                }
            }
        })?)
    }

    fn set_tagged(&mut self, key: &[u8], value: &[u8], tag: &str) -> Outcome<()> {
        self.put(key, value, Extra { tag: Some(tag), ..Extra::default() })
    }

    fn evict(&mut self, tag: &str) -> Outcome<u64> {
        self.delete_all(OF_TAG, Some(tag), None)
    }

    fn set_expiring(&mut self, key: &[u8], value: &[u8], after: Duration) -> Outcome<()> {
        self.put(key, value, Extra { expires: Some(now() + after.as_secs_f64()), ..Extra::default() })
    }

    fn expire(&mut self) -> Outcome<u64> {
        self.delete_all(DUE, None, Some(now()))
    }

    fn memoized(&mut self, arguments: (u64, &str)) -> Outcome<Option<Vec<u8>>> {
        self.get(&call_key(arguments))
    }

    fn memoize(&mut self, arguments: (u64, &str), result: &[u8]) -> Outcome<()> {
        self.set(&call_key(arguments), result)
    }
}

pub fn queue(directory: &Path) -> Outcome<SqliteQueue> {
    fs::create_dir_all(directory)?;
    Ok(SqliteQueue::open(directory)?)
}

impl Queue for SqliteQueue {
    fn push_back(&mut self, value: &str) -> Outcome<()> {
        Ok(self.append(value)?)
    }

    fn pop_front(&mut self) -> Outcome<Option<String>> {
        Ok(self.popleft()?)
    }
}

pub fn sorted(directory: &Path) -> Outcome<SqliteIndex> {
    fs::create_dir_all(directory)?;
    Ok(SqliteIndex::open(directory)?)
}

impl Sorted for SqliteIndex {
    fn insert(&mut self, key: u64, value: &str) -> Outcome<()> {
        Ok(SqliteIndex::insert(self, key as i64, value)?)
    }

    fn fill(&mut self, keys: &mut dyn Iterator<Item = u64>, value: &str) -> Outcome<()> {
        Ok(SqliteIndex::fill(self, keys.map(|key| key as i64), value)?)
    }

    fn walk(&mut self, most: u64) -> Outcome<(u64, u64)> {
        Ok(SqliteIndex::walk(self, most)?)
    }

    fn pop_first(&mut self) -> Outcome<Option<(u64, String)>> {
        Ok(SqliteIndex::pop_first(self)?.map(|(key, value)| (key as u64, value)))
    }
}
