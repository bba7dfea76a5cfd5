//! A map of integers to strings in SQLite: the statements and transactions of python-diskcache's `Index`. It is sorted by key as far as
//! diskcache's is: by statements over the index of keys, a hundred keys at a time.

use std::path::Path;

use rusqlite::{OptionalExtension, Result, params};

use crate::sqlite::{DELETE, Database, Extra, GET, now};

const FIRST_KEY: &str = "SELECT key, raw FROM Cache ORDER BY key ASC, raw ASC LIMIT 1";
const NEXT_KEYS: &str =
    "SELECT key, raw FROM Cache WHERE key = ? AND raw > ? OR key > ? ORDER BY key ASC, raw ASC LIMIT ?";
const FIRST: &str = "SELECT rowid, key, expire_time, tag, mode, filename, value FROM Cache ORDER BY key ASC LIMIT 1";

/// Keys that a walk asks for at a time.
const TOGETHER: i64 = 100;

pub struct SqliteIndex(Database);

impl SqliteIndex {
    pub fn open(directory: &Path) -> Result<SqliteIndex> {
        Database::open(directory).map(SqliteIndex)
    }

    pub fn insert(&self, key: i64, value: &str) -> Result<()> {
        self.0.transact(|| self.0.put(&key, &value, Extra::default()))
    }

    /// Many by one commit, to have them there.
    pub fn fill(&self, keys: impl Iterator<Item = i64>, value: &str) -> Result<()> {
        self.0.transact(|| keys.into_iter().try_for_each(|key| self.0.put(&key, &value, Extra::default())))
    }

    pub fn get(&self, key: i64) -> Result<Option<String>> {
        self.0.connection.prepare_cached(GET)?.query_row(params![key, true, now()], |row| row.get(5)).optional()
    }

    /// Keys and values from the first key on, as many as asked for: keys a hundred at a time, and each value by a statement of
    /// its own. How many there were, and the sum of the lengths.
    pub fn walk(&self, most: u64) -> Result<(u64, u64)> {
        let db = &self.0.connection;
        let mut keys: Vec<i64> =
            db.prepare_cached(FIRST_KEY)?.query_row([], |row| row.get(0)).optional()?.into_iter().collect();
        let (mut met, mut bytes) = (0, 0);
        while let Some(&last) = keys.last() {
            for key in keys.drain(..) {
                if let Some(value) = self.get(key)? {
                    met += 1;
                    bytes += value.len() as u64;
                }
            }
            if met >= most {
                break;
            }
            let mut next = db.prepare_cached(NEXT_KEYS)?;
            keys = next.query_map(params![last, true, last, TOGETHER], |row| row.get(0))?.collect::<Result<_>>()?;
        }
        Ok((met, bytes))
    }

    pub fn pop_first(&self) -> Result<Option<(i64, String)>> {
        self.0.transact(|| {
            let mut first = self.0.connection.prepare_cached(FIRST)?;
            let first: Option<(i64, i64, String)> =
                first.query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(6)?))).optional()?;
            if let Some((rowid, ..)) = &first {
                self.0.connection.prepare_cached(DELETE)?.execute([rowid])?;
            }
            Ok(first.map(|(_, key, value)| (key, value)))
        })
    }
}
