//! A queue of strings in SQLite: the statements and transactions of `append` and `popleft` of python-diskcache's `Deque`.

use std::path::Path;

use rusqlite::{OptionalExtension, Result, params};

use crate::sqlite::{DELETE, Database, Extra, now};

const LAST: &str = "SELECT key FROM Cache WHERE ? < key AND key < ? AND raw = ? ORDER BY key DESC LIMIT 1";
const COUNT: &str = "SELECT value FROM Settings WHERE key = ?";
const FIRST: &str = "SELECT rowid, key, expire_time, tag, mode, filename, value FROM Cache \
                     WHERE ? < key AND key < ? AND raw = 1 ORDER BY key ASC LIMIT 1";

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
        let last: Option<i64> = self
            .0
            .connection
            .prepare_cached(LAST)?
            .query_row(params![LOWEST, HIGHEST, true], |row| row.get(0))
            .optional()?;
        let key = last.map_or(MIDDLE, |last| last + 1);
        let now = now();
        self.0.insert(&key, &value, Extra::default(), now)?;
        self.0.cull(now)?;
        // Compared with `maxlen`, which is none.
        let _: i64 = self.0.connection.prepare_cached(COUNT)?.query_row(["count"], |row| row.get(0))?;
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
                .connection
                .prepare_cached(FIRST)?
                .query_row(params![LOWEST, HIGHEST], |row| Ok((row.get(0)?, row.get(6)?)))
                .optional()?;
            if let Some((rowid, _)) = &first {
                self.0.connection.prepare_cached(DELETE)?.execute([rowid])?;
            }
            Ok(first.map(|(_, value)| value))
        })
    }
}
