//! A map of integers to strings in SQLite: the statements and transactions of python-diskcache's `Index`. It is sorted by key as far as
//! diskcache's is: by statements over the index of keys, a hundred keys at a time.

use std::path::Path;

use rusqlite::{OptionalExtension, Result, params};

use crate::sqlite::{Database, now};

const THERE: &str = "SELECT rowid, filename FROM Cache WHERE key = ? AND raw = ?";
const UPDATE: &str = "UPDATE Cache SET store_time = ?, expire_time = ?, access_time = ?, access_count = ?, tag = ?, size = ?, \
                      mode = ?, filename = ?, value = ? WHERE rowid = ?";
const INSERT: &str = "INSERT INTO Cache(key, raw, store_time, expire_time, access_time, access_count, tag, size, mode, \
                      filename, value) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
const EXPIRED: &str = "SELECT filename FROM Cache WHERE expire_time IS NOT NULL AND expire_time < ? \
                       ORDER BY expire_time LIMIT ?";
const GET: &str = "SELECT rowid, expire_time, tag, mode, filename, value FROM Cache \
                   WHERE key = ? AND raw = ? AND (expire_time IS NULL OR expire_time > ?)";
const FIRST_KEY: &str = "SELECT key, raw FROM Cache ORDER BY key ASC, raw ASC LIMIT 1";
const NEXT_KEYS: &str =
    "SELECT key, raw FROM Cache WHERE key = ? AND raw > ? OR key > ? ORDER BY key ASC, raw ASC LIMIT ?";
const FIRST: &str = "SELECT rowid, key, expire_time, tag, mode, filename, value FROM Cache ORDER BY key ASC LIMIT 1";
const DELETE: &str = "DELETE FROM Cache WHERE rowid = ?";

/// Keys that a walk asks for at a time.
const TOGETHER: i64 = 100;

pub struct SqliteIndex(Database);

impl SqliteIndex {
    pub fn open(directory: &Path) -> Result<SqliteIndex> {
        Database::open(directory).map(SqliteIndex)
    }

    fn put(&self, key: i64, value: &str) -> Result<()> {
        let db = &self.0.0;
        let there: Option<i64> =
            db.prepare_cached(THERE)?.query_row(params![key, true], |row| row.get(0)).optional()?;
        let (now, none, mode) = (now(), None::<f64>, 1);
        match there {
            Some(rowid) => {
                db.prepare_cached(UPDATE)?.execute(params![now, none, now, 0, none, 0, mode, none, value, rowid])?
            }
            None => {
                db.prepare_cached(INSERT)?.execute(params![key, true, now, none, now, 0, none, 0, mode, none, value])?
            }
        };
        let expired: Option<Option<String>> =
            db.prepare_cached(EXPIRED)?.query_row(params![now, 10], |row| row.get(0)).optional()?;
        assert!(expired.is_none());
        Ok(())
    }

    pub fn insert(&self, key: i64, value: &str) -> Result<()> {
        self.0.transact(|| self.put(key, value))
    }

    /// Many by one commit, to have them there.
    pub fn fill(&self, keys: impl Iterator<Item = i64>, value: &str) -> Result<()> {
        self.0.transact(|| keys.into_iter().try_for_each(|key| self.put(key, value)))
    }

    pub fn get(&self, key: i64) -> Result<Option<String>> {
        self.0.0.prepare_cached(GET)?.query_row(params![key, true, now()], |row| row.get(5)).optional()
    }

    /// Keys and values from the first key on, as many as asked for: keys a hundred at a time, and each value by a statement of
    /// its own. How many there were.
    pub fn walk(&self, most: u64) -> Result<u64> {
        let db = &self.0.0;
        let mut keys: Vec<i64> =
            db.prepare_cached(FIRST_KEY)?.query_row([], |row| row.get(0)).optional()?.into_iter().collect();
        let mut met = 0;
        while let Some(&last) = keys.last() {
            for key in keys.drain(..) {
                met += u64::from(self.get(key)?.is_some());
            }
            if met >= most {
                break;
            }
            let mut next = db.prepare_cached(NEXT_KEYS)?;
            keys = next.query_map(params![last, true, last, TOGETHER], |row| row.get(0))?.collect::<Result<_>>()?;
        }
        Ok(met)
    }

    pub fn pop_first(&self) -> Result<Option<(i64, String)>> {
        self.0.transact(|| {
            let mut first = self.0.0.prepare_cached(FIRST)?;
            let first: Option<(i64, i64, String)> =
                first.query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(6)?))).optional()?;
            if let Some((rowid, ..)) = &first {
                self.0.0.prepare_cached(DELETE)?.execute([rowid])?;
            }
            Ok(first.map(|(_, key, value)| (key, value)))
        })
    }
}
