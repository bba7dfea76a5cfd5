//! A queue of strings in SQLite: the statements and transactions of `append` and `popleft` of python-diskcache's `Deque`.

use std::path::Path;

use rusqlite::{OptionalExtension, Result, params};

use crate::sqlite::{Database, now};

const LAST: &str = "SELECT key FROM Cache WHERE ? < key AND key < ? AND raw = ? ORDER BY key DESC LIMIT 1";
const INSERT: &str = "INSERT INTO Cache(key, raw, store_time, expire_time, access_time, access_count, tag, size, mode, \
                      filename, value) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
const EXPIRED: &str = "SELECT filename FROM Cache WHERE expire_time IS NOT NULL AND expire_time < ? \
                       ORDER BY expire_time LIMIT ?";
const COUNT: &str = "SELECT value FROM Settings WHERE key = ?";
const FIRST: &str = "SELECT rowid, key, expire_time, tag, mode, filename, value FROM Cache \
                     WHERE ? < key AND key < ? AND raw = 1 ORDER BY key ASC LIMIT 1";
const DELETE: &str = "DELETE FROM Cache WHERE rowid = ?";

const LOWEST: i64 = 0;
const HIGHEST: i64 = 999_999_999_999_999;
const MIDDLE: i64 = 500_000_000_000_000;

pub struct SqliteQueue(Database);

impl SqliteQueue {
    pub fn open(directory: &Path) -> Result<SqliteQueue> {
        Database::open(directory).map(SqliteQueue)
    }

    /// What `append` does inside its transaction.
    fn insert(&self, value: &str) -> Result<()> {
        let last: Option<i64> =
            self.0.0.prepare_cached(LAST)?.query_row(params![LOWEST, HIGHEST, true], |row| row.get(0)).optional()?;
        let key = last.map_or(MIDDLE, |last| last + 1);
        let now = now();
        let (none, mode) = (None::<f64>, 1);
        self.0.0.prepare_cached(INSERT)?.execute(params![key, true, now, none, now, 0, none, 0, mode, none, value])?;
        let expired: Option<Option<String>> =
            self.0.0.prepare_cached(EXPIRED)?.query_row(params![now, 10], |row| row.get(0)).optional()?;
        assert!(expired.is_none());
        // Compared with `maxlen`, which is none.
        let _: i64 = self.0.0.prepare_cached(COUNT)?.query_row(["count"], |row| row.get(0))?;
        Ok(())
    }

    pub fn append(&self, value: &str) -> Result<()> {
        self.0.transact(|| self.insert(value))
    }

    /// Many by one commit, to have them there.
    pub fn fill(&self, value: &str, count: u64) -> Result<()> {
        self.0.transact(|| (0..count).try_for_each(|_| self.insert(value)))
    }

    pub fn popleft(&self) -> Result<Option<String>> {
        self.0.transact(|| {
            let first: Option<(i64, String)> = self
                .0
                .0
                .prepare_cached(FIRST)?
                .query_row(params![LOWEST, HIGHEST], |row| Ok((row.get(0)?, row.get(6)?)))
                .optional()?;
            if let Some((rowid, _)) = &first {
                self.0.0.prepare_cached(DELETE)?.execute([rowid])?;
            }
            Ok(first.map(|(_, value)| value))
        })
    }
}
