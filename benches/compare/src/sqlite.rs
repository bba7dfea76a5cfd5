//! A queue of strings in SQLite, as python-diskcache 5.6.3 keeps a `Deque`: its tables, indexes, triggers and pragmas, and the
//! statements and transactions of `append` and `popleft`. Statements are prepared once, as Python's module keeps them.
//!
//! What is left out is what costs Python time and SQLite none: values are neither pickled nor put into files of their own.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension, Result, params};

/// The pragmas of diskcache's defaults. The first one counts only before there is a table.
const PRAGMAS: &str = "
    PRAGMA auto_vacuum = 1;
    PRAGMA cache_size = 8192;
    PRAGMA journal_mode = wal;
    PRAGMA mmap_size = 67108864;
    PRAGMA synchronous = 1;
";

/// Its tables; the policy of a `Deque` is `none`, which has no index of its own.
const TABLES: &str = "
    CREATE TABLE Settings (key TEXT NOT NULL UNIQUE, value);
    INSERT INTO Settings VALUES ('count', 0), ('size', 0), ('hits', 0), ('misses', 0);
    CREATE TABLE Cache (
        rowid INTEGER PRIMARY KEY, key BLOB, raw INTEGER, store_time REAL, expire_time REAL, access_time REAL,
        access_count INTEGER DEFAULT 0, tag BLOB, size INTEGER DEFAULT 0, mode INTEGER DEFAULT 0, filename TEXT, value BLOB);
    CREATE UNIQUE INDEX Cache_key_raw ON Cache(key, raw);
    CREATE INDEX Cache_expire_time ON Cache (expire_time);
    CREATE TRIGGER Settings_count_insert AFTER INSERT ON Cache FOR EACH ROW BEGIN
        UPDATE Settings SET value = value + 1 WHERE key = 'count'; END;
    CREATE TRIGGER Settings_count_delete AFTER DELETE ON Cache FOR EACH ROW BEGIN
        UPDATE Settings SET value = value - 1 WHERE key = 'count'; END;
    CREATE TRIGGER Settings_size_insert AFTER INSERT ON Cache FOR EACH ROW BEGIN
        UPDATE Settings SET value = value + NEW.size WHERE key = 'size'; END;
    CREATE TRIGGER Settings_size_update AFTER UPDATE ON Cache FOR EACH ROW BEGIN
        UPDATE Settings SET value = value + NEW.size - OLD.size WHERE key = 'size'; END;
    CREATE TRIGGER Settings_size_delete AFTER DELETE ON Cache FOR EACH ROW BEGIN
        UPDATE Settings SET value = value - OLD.size WHERE key = 'size'; END;
";

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

pub struct SqliteQueue(Connection);

impl SqliteQueue {
    pub fn open(directory: &Path) -> Result<SqliteQueue> {
        let connection = Connection::open(directory.join("cache.db"))?;
        connection.set_prepared_statement_cache_capacity(128);
        connection.busy_timeout(Duration::from_secs(60))?;
        connection.execute_batch(PRAGMAS)?;
        connection.execute_batch(TABLES)?;
        Ok(SqliteQueue(connection))
    }

    fn run(&self, sql: &str) -> Result<()> {
        self.0.prepare_cached(sql)?.execute([]).map(drop)
    }

    /// What `append` does inside its transaction.
    fn insert(&self, value: &str) -> Result<()> {
        let last: Option<i64> =
            self.0.prepare_cached(LAST)?.query_row(params![LOWEST, HIGHEST, true], |row| row.get(0)).optional()?;
        let key = last.map_or(MIDDLE, |last| last + 1);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        let (none, mode) = (None::<f64>, 1);
        self.0.prepare_cached(INSERT)?.execute(params![key, true, now, none, now, 0, none, 0, mode, none, value])?;
        let expired: Option<Option<String>> =
            self.0.prepare_cached(EXPIRED)?.query_row(params![now, 10], |row| row.get(0)).optional()?;
        assert!(expired.is_none());
        // Compared with `maxlen`, which is none.
        let _: i64 = self.0.prepare_cached(COUNT)?.query_row(["count"], |row| row.get(0))?;
        Ok(())
    }

    pub fn append(&self, value: &str) -> Result<()> {
        self.run("BEGIN IMMEDIATE")?;
        self.insert(value)?;
        self.run("COMMIT")
    }

    /// Many by one commit, to have them there.
    pub fn fill(&self, value: &str, count: u64) -> Result<()> {
        self.run("BEGIN IMMEDIATE")?;
        (0..count).try_for_each(|_| self.insert(value))?;
        self.run("COMMIT")
    }

    pub fn popleft(&self) -> Result<Option<String>> {
        self.run("BEGIN IMMEDIATE")?;
        let first: Option<(i64, String)> = self
            .0
            .prepare_cached(FIRST)?
            .query_row(params![LOWEST, HIGHEST], |row| Ok((row.get(0)?, row.get(6)?)))
            .optional()?;
        if let Some((rowid, _)) = &first {
            self.0.prepare_cached(DELETE)?.execute([rowid])?;
        }
        self.run("COMMIT")?;
        Ok(first.map(|(_, value)| value))
    }
}
