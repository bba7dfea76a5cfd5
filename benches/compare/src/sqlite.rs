//! A database as python-diskcache 5.6.3 makes one for a `Deque` and an `Index`: its tables, indexes, triggers and pragmas.
//! Statements are prepared once, as Python's module keeps them.
//!
//! What is left out is what costs Python time and SQLite none: values are neither pickled nor put into files of their own.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, Result};

/// The pragmas of diskcache's defaults. The first one counts only before there is a table.
const PRAGMAS: &str = "
    PRAGMA auto_vacuum = 1;
    PRAGMA cache_size = 8192;
    PRAGMA journal_mode = wal;
    PRAGMA mmap_size = 67108864;
    PRAGMA synchronous = 1;
";

/// Its tables; the policy of both is `none`, which has no index of its own.
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

pub struct Database(pub Connection);

/// Seconds since 1970, as they stand in the table.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

impl Database {
    pub fn open(directory: &Path) -> Result<Database> {
        let connection = Connection::open(directory.join("cache.db"))?;
        connection.set_prepared_statement_cache_capacity(128);
        connection.busy_timeout(Duration::from_secs(60))?;
        connection.execute_batch(PRAGMAS)?;
        connection.execute_batch(TABLES)?;
        Ok(Database(connection))
    }

    fn run(&self, sql: &str) -> Result<()> {
        self.0.prepare_cached(sql)?.execute([]).map(drop)
    }

    /// What `body` does, by one commit.
    pub fn transact<R>(&self, body: impl FnOnce() -> Result<R>) -> Result<R> {
        self.run("BEGIN IMMEDIATE")?;
        let answer = body()?;
        self.run("COMMIT")?;
        Ok(answer)
    }
}
