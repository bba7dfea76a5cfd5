//! A database as python-diskcache 5.6.3 makes one: its tables, indexes, triggers and pragmas, and the statements by which it puts
//! and takes. Statements are prepared once, as Python's module keeps them.
//!
//! What is left out is what costs Python time and SQLite none: values are not pickled.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension, Result, ToSql, params};

/// The pragmas of diskcache's defaults. The first one counts only before there is a table.
const PRAGMAS: &str = "
    PRAGMA auto_vacuum = 1;
    PRAGMA cache_size = 8192;
    PRAGMA journal_mode = wal;
    PRAGMA mmap_size = 67108864;
    PRAGMA synchronous = 1;
";

/// Its tables, without the index of a policy.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS Settings (key TEXT NOT NULL UNIQUE, value);
    INSERT OR IGNORE INTO Settings VALUES ('count', 0), ('size', 0), ('hits', 0), ('misses', 0);
    CREATE TABLE IF NOT EXISTS Cache (
        rowid INTEGER PRIMARY KEY, key BLOB, raw INTEGER, store_time REAL, expire_time REAL, access_time REAL,
        access_count INTEGER DEFAULT 0, tag BLOB, size INTEGER DEFAULT 0, mode INTEGER DEFAULT 0, filename TEXT, value BLOB);
    CREATE UNIQUE INDEX IF NOT EXISTS Cache_key_raw ON Cache(key, raw);
    CREATE INDEX IF NOT EXISTS Cache_expire_time ON Cache (expire_time);
    CREATE TRIGGER IF NOT EXISTS Settings_count_insert AFTER INSERT ON Cache FOR EACH ROW BEGIN
        UPDATE Settings SET value = value + 1 WHERE key = 'count'; END;
    CREATE TRIGGER IF NOT EXISTS Settings_count_delete AFTER DELETE ON Cache FOR EACH ROW BEGIN
        UPDATE Settings SET value = value - 1 WHERE key = 'count'; END;
    CREATE TRIGGER IF NOT EXISTS Settings_size_insert AFTER INSERT ON Cache FOR EACH ROW BEGIN
        UPDATE Settings SET value = value + NEW.size WHERE key = 'size'; END;
    CREATE TRIGGER IF NOT EXISTS Settings_size_update AFTER UPDATE ON Cache FOR EACH ROW BEGIN
        UPDATE Settings SET value = value + NEW.size - OLD.size WHERE key = 'size'; END;
    CREATE TRIGGER IF NOT EXISTS Settings_size_delete AFTER DELETE ON Cache FOR EACH ROW BEGIN
        UPDATE Settings SET value = value - OLD.size WHERE key = 'size'; END;
";

/// What `evict(tag)` is to be given, says diskcache, and what it does not make by itself.
pub const TAG_INDEX: &str = "CREATE INDEX IF NOT EXISTS Cache_tag_rowid ON Cache(tag, rowid)";

const THERE: &str = "SELECT rowid, filename FROM Cache WHERE key = ? AND raw = ?";
const UPDATE: &str = "UPDATE Cache SET store_time = ?, expire_time = ?, access_time = ?, access_count = ?, tag = ?, size = ?, \
                      mode = ?, filename = ?, value = ? WHERE rowid = ?";
const INSERT: &str = "INSERT INTO Cache(key, raw, store_time, expire_time, access_time, access_count, tag, size, mode, \
                      filename, value) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
const EXPIRED: &str = "SELECT filename FROM Cache WHERE expire_time IS NOT NULL AND expire_time < ? \
                       ORDER BY expire_time LIMIT ?";
const DELETE_EXPIRED: &str = "DELETE FROM Cache WHERE rowid IN (SELECT rowid FROM Cache WHERE expire_time IS NOT NULL \
                              AND expire_time < ? ORDER BY expire_time LIMIT ?)";
pub const GET: &str = "SELECT rowid, expire_time, tag, mode, filename, value FROM Cache \
                       WHERE key = ? AND raw = ? AND (expire_time IS NULL OR expire_time > ?)";
pub const DELETE: &str = "DELETE FROM Cache WHERE rowid = ?";
const SETTING: &str = "SELECT value FROM Settings WHERE key = ?";

/// Rows that one call removes at most: `cull_limit`.
const CULL_LIMIT: usize = 10;

/// Which rows go when the limit is reached.
#[derive(Clone, Copy, Default, PartialEq)]
pub enum Policy {
    /// That of `Deque` and `Index`.
    #[default]
    None,
    Stored,
    Used,
}

impl Policy {
    /// Its index, and its statements: which rows go, and to delete them.
    fn statements(self) -> Option<[&'static str; 3]> {
        match self {
            Policy::None => None,
            Policy::Stored => Some([
                "CREATE INDEX IF NOT EXISTS Cache_store_time ON Cache (store_time)",
                "SELECT filename FROM Cache ORDER BY store_time LIMIT ?",
                "DELETE FROM Cache WHERE rowid IN (SELECT rowid FROM Cache ORDER BY store_time LIMIT ?)",
            ]),
            Policy::Used => Some([
                "CREATE INDEX IF NOT EXISTS Cache_access_time ON Cache (access_time)",
                "SELECT filename FROM Cache ORDER BY access_time LIMIT ?",
                "DELETE FROM Cache WHERE rowid IN (SELECT rowid FROM Cache ORDER BY access_time LIMIT ?)",
            ]),
        }
    }
}

/// What a row says of its value beside the value.
#[derive(Clone, Default)]
pub struct Extra<'a> {
    pub expires: Option<f64>,
    pub tag: Option<&'a str>,
    /// Of a value in a file of its own: how long it is, and where.
    pub file: Option<(i64, &'a str)>,
}

impl Extra<'_> {
    /// Size, mode and name, as they stand in a row.
    fn columns(&self) -> (i64, i64, Option<&str>) {
        self.file.map_or((0, 1, None), |(size, name)| (size, 2, Some(name)))
    }
}

/// A row, the name of its file if it has one, and else its value.
pub type Found = (i64, Option<String>, Option<Vec<u8>>);

pub struct Database {
    pub connection: Connection,
    policy: Policy,
    size_limit: i64,
    page_size: i64,
}

/// Seconds since 1970, as they stand in the table.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

impl Database {
    pub fn open(directory: &Path) -> Result<Database> {
        Database::open_as(directory, Policy::None, i64::MAX)
    }

    pub fn open_as(directory: &Path, policy: Policy, size_limit: i64) -> Result<Database> {
        let connection = Connection::open(directory.join("cache.db"))?;
        connection.set_prepared_statement_cache_capacity(128);
        connection.busy_timeout(Duration::from_secs(60))?;
        connection.execute_batch(PRAGMAS)?;
        connection.execute_batch(TABLES)?;
        if let Some([index, ..]) = policy.statements() {
            connection.execute_batch(index)?;
        }
        let page_size = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        Ok(Database { connection, policy, size_limit, page_size })
    }

    fn run(&self, sql: &str) -> Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(drop)
    }

    /// What `body` does, by one commit.
    pub fn transact<R>(&self, body: impl FnOnce() -> Result<R>) -> Result<R> {
        self.run("BEGIN IMMEDIATE")?;
        match body() {
            Ok(answer) => self.run("COMMIT").map(|()| answer),
            Err(error) => self.run("ROLLBACK").and(Err(error)),
        }
    }

    pub fn insert(&self, key: &dyn ToSql, value: &dyn ToSql, extra: Extra<'_>, now: f64) -> Result<()> {
        let (size, mode, name) = extra.columns();
        let mut insert = self.connection.prepare_cached(INSERT)?;
        insert.execute(params![key, true, now, extra.expires, now, 0, extra.tag, size, mode, name, value]).map(drop)
    }

    /// What `set` does inside its transaction. Gives the files that no row names any more.
    pub fn put_over(&self, key: &dyn ToSql, value: &dyn ToSql, extra: Extra<'_>) -> Result<Vec<String>> {
        let now = now();
        let mut there = self.connection.prepare_cached(THERE)?;
        let there: Option<(i64, Option<String>)> =
            there.query_row(params![key, true], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let mut gone = Vec::new();
        match there {
            Some((rowid, old)) => {
                gone.extend(old);
                let (size, mode, name) = extra.columns();
                let mut update = self.connection.prepare_cached(UPDATE)?;
                update.execute(params![now, extra.expires, now, 0, extra.tag, size, mode, name, value, rowid])?;
            }
            None => self.insert(key, value, extra, now)?,
        }
        gone.extend(self.cull(now)?);
        Ok(gone)
    }

    /// [`put_over`](Self::put_over) where no value has a file.
    pub fn put(&self, key: &dyn ToSql, value: &dyn ToSql, extra: Extra<'_>) -> Result<()> {
        self.put_over(key, value, extra).map(drop)
    }

    /// The rows that go with each `set`: what has expired, and what is over the limit; a few at a time.
    pub fn cull(&self, now: f64) -> Result<Vec<String>> {
        let mut limit = CULL_LIMIT;
        let names = |sql: &str, arguments: &[&dyn ToSql]| -> Result<Vec<Option<String>>> {
            self.connection.prepare_cached(sql)?.query_map(arguments, |row| row.get(0))?.collect()
        };
        let mut gone = names(EXPIRED, &[&now, &limit])?;
        if !gone.is_empty() {
            self.connection.prepare_cached(DELETE_EXPIRED)?.execute(params![now, limit])?;
            limit -= gone.len();
        }
        let Some([_, select, delete]) = self.policy.statements().filter(|_| limit > 0) else {
            return Ok(gone.into_iter().flatten().collect());
        };
        if self.volume()? >= self.size_limit {
            gone.extend(names(select, &[&limit])?);
            self.connection.prepare_cached(delete)?.execute([limit])?;
        }
        Ok(gone.into_iter().flatten().collect())
    }

    fn volume(&self) -> Result<i64> {
        let pages: i64 = self.connection.prepare_cached("PRAGMA page_count")?.query_row([], |row| row.get(0))?;
        let files: i64 = self.connection.prepare_cached(SETTING)?.query_row(["size"], |row| row.get(0))?;
        Ok(pages * self.page_size + files)
    }

    /// What `expire`, `evict` and `clear` do: they delete a hundred rows with each commit. `select` gives row, where to go on,
    /// and file of what comes behind `from`. How many there were, and their files.
    pub fn delete_all(&self, select: &str, tag: Option<&str>, until: Option<f64>) -> Result<(u64, Vec<String>)> {
        let (mut from, mut count, mut files) = (0.0, 0, Vec::new());
        loop {
            let rows = self.transact(|| {
                let mut rows = self.connection.prepare_cached(select)?;
                let rows: Vec<(i64, f64, Option<String>)> = rows
                    .query_map(params![from, tag, until], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                    .collect::<Result<_>>()?;
                if !rows.is_empty() {
                    let ids: Vec<String> = rows.iter().map(|row| row.0.to_string()).collect();
                    // A text of its own each time, as there: no statement of it is kept.
                    let delete = format!("DELETE FROM Cache WHERE rowid IN ({})", ids.join(","));
                    self.connection.execute(&delete, [])?;
                }
                Ok(rows)
            })?;
            let Some(last) = rows.last() else { return Ok((count, files)) };
            from = last.1;
            count += rows.len() as u64;
            files.extend(rows.into_iter().filter_map(|row| row.2));
        }
    }

    /// The value in its row, or the name of its file.
    pub fn value(&self, key: &dyn ToSql) -> Result<Option<Found>> {
        let mut get = self.connection.prepare_cached(GET)?;
        get.query_row(params![key, true, now()], |row| Ok((row.get(0)?, row.get(4)?, row.get(5)?))).optional()
    }
}
