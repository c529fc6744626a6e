//! [`SqliteStore`]: rows in a file.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::task::spawn_blocking;

use crate::session::{
    cookie::SessionId,
    store::{
        Cutoffs, Row, RowVersion, Selection, Store, Touch, Unavailable,
        sqlite::{
            file,
            pool::SqlitePool,
            sql::{begin_immediate, failed, integer, read_row, seconds, select_rows},
            write_probe::WriteProbe,
        },
    },
};

/// Concurrent readers. Reads are answered from memory or not at all; more would only queue at the disk.
const READERS: usize = 4;

/// Rows in a file.
pub(in crate::session) struct SqliteStore {
    path: Arc<PathBuf>,
    /// One connection, because SQLite has one writer at a time and waiting here is fairer than waiting for its lock.
    writer: Arc<SqlitePool>,
    readers: Arc<SqlitePool>,
    probe: WriteProbe,
}

impl SqliteStore {
    /// Opens the file, creates it where it is missing, and brings its schema up to date.
    pub(in crate::session) async fn open(path: &Path) -> Result<Self, Unavailable> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let prepared = path.clone();
        let first = spawn_blocking(move || file::prepare(&prepared)).await.map_err(|error| failed(&error))??;
        let path = Arc::new(path);
        Ok(Self {
            writer: SqlitePool::new(Arc::clone(&path), 1, vec![first]),
            readers: SqlitePool::new(Arc::clone(&path), READERS, Vec::new()),
            path,
            probe: WriteProbe::default(),
        })
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Unavailable> {
        self.readers.run(work).await
    }

    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Unavailable> {
        let outcome = self.writer.run(work).await;
        if outcome.is_err() {
            self.probe.write_failed();
        }
        outcome
    }
}

/// `DELETE` of at most `?1` rows that a condition selects, returning their keys.
macro_rules! delete {
    ($condition:literal) => {
        concat!(
            "DELETE FROM sessions WHERE key IN (SELECT key FROM sessions WHERE ",
            $condition,
            " LIMIT ?1) RETURNING key"
        )
    };
}

#[async_trait]
impl Store for SqliteStore {
    async fn load(&self, key: &SessionId) -> Result<Option<Row>, Unavailable> {
        let key = *key;
        self.read(move |file| {
            file.prepare_cached(concat!(select_rows!(), " WHERE key = ?1"))?.query_row([key.0], read_row).optional()
        })
        .await
    }

    async fn insert(&self, row: Row) -> Result<(), Unavailable> {
        self.write(move |file| {
            file.prepare_cached(
                "INSERT INTO sessions (key, provider, subject, sid, generation, created, last_seen, sealed) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                row.key.0,
                row.provider,
                row.subject,
                row.sid,
                integer(row.generation),
                seconds(row.created),
                seconds(row.last_seen),
                row.sealed,
            ])
            .map(drop)
        })
        .await
    }

    async fn delete(&self, selection: &Selection, limit: u32) -> Result<Vec<SessionId>, Unavailable> {
        let selection = selection.clone();
        self.write(move |file| {
            let key = |row: &rusqlite::Row<'_>| row.get(0).map(SessionId);
            match selection {
                Selection::Keys(keys) => {
                    let transaction = begin_immediate(file)?;
                    let mut statement = transaction.prepare_cached("DELETE FROM sessions WHERE key = ?1")?;
                    let mut gone = Vec::new();
                    for key in keys.into_iter().take(limit as usize) {
                        if statement.execute([key.0])? > 0 {
                            gone.push(key);
                        }
                    }
                    drop(statement);
                    transaction.commit().map(|()| gone)
                }
                Selection::Subject { provider, subject } => {
                    let mut statement = file.prepare_cached(delete!("provider = ?2 AND subject = ?3"))?;
                    statement.query_map(params![limit, provider, subject], key)?.collect()
                }
                Selection::Sid { provider, sid } => {
                    let mut statement = file.prepare_cached(delete!("sid = ?2 AND provider = ?3"))?;
                    statement.query_map(params![limit, sid, provider], key)?.collect()
                }
                Selection::Everything => file.prepare_cached(delete!("true"))?.query_map([limit], key)?.collect(),
            }
        })
        .await
    }

    async fn touch(&self, touches: &[Touch]) -> Result<(), Unavailable> {
        let touches = touches.to_vec();
        self.write(move |file| {
            let transaction = begin_immediate(file)?;
            let mut statement =
                transaction.prepare_cached("UPDATE sessions SET last_seen = max(last_seen, ?2) WHERE key = ?1")?;
            for touch in touches {
                statement.execute(params![touch.key.0, seconds(touch.last_seen)])?;
            }
            drop(statement);
            transaction.commit()
        })
        .await
    }

    async fn purge(&self, cutoffs: Cutoffs, limit: u32) -> Result<u32, Unavailable> {
        self.write(move |file| {
            file.prepare_cached(
                "DELETE FROM sessions WHERE key IN \
                 (SELECT key FROM sessions WHERE created <= ?1 OR last_seen <= ?2 LIMIT ?3)",
            )?
            .execute(params![seconds(cutoffs.created), seconds(cutoffs.last_seen), limit])
        })
        .await
        .map(|rows| u32::try_from(rows).unwrap_or(limit))
    }

    async fn versions(&self, keys: &[SessionId]) -> Result<Vec<RowVersion>, Unavailable> {
        let keys = keys.to_vec();
        self.read(move |file| {
            let mut statement = file.prepare_cached("SELECT generation FROM sessions WHERE key = ?1")?;
            let mut version = |key: SessionId| {
                let generation = statement.query_row([key.0], |row| row.get::<_, i64>(0)).optional()?;
                Ok(generation.map(|generation| RowVersion { key, generation: generation.unsigned_abs() }))
            };
            keys.into_iter().filter_map(|key| version(key).transpose()).collect()
        })
        .await
    }

    async fn has_sid(&self, provider: &str, sid: &str) -> Result<bool, Unavailable> {
        let (provider, sid) = (provider.to_owned(), sid.to_owned());
        self.read(move |file| {
            file.prepare_cached("SELECT 1 FROM sessions WHERE sid = ?1 AND provider = ?2 LIMIT 1")?
                .exists([sid, provider])
        })
        .await
    }

    async fn page(&self, from: &SessionId, to: &SessionId, limit: u32) -> Result<Vec<Row>, Unavailable> {
        let (from, to) = (*from, *to);
        self.read(move |file| {
            file.prepare_cached(concat!(select_rows!(), " WHERE key BETWEEN ?1 AND ?2 ORDER BY key LIMIT ?3"))?
                .query_map(params![from.0, to.0, limit], read_row)?
                .collect()
        })
        .await
    }

    async fn add_uncounted(&self, many: u64) -> Result<(), Unavailable> {
        let many = integer(many);
        self.write(move |file| file.execute("INSERT INTO uncounted (many) VALUES (?1)", [many])).await.map(drop)
    }

    async fn take_uncounted(&self) -> Result<u64, Unavailable> {
        let any = "SELECT EXISTS (SELECT 1 FROM uncounted)";
        if !self.read(|file| file.prepare_cached(any)?.query_row([], |row| row.get::<_, bool>(0))).await? {
            return Ok(0);
        }
        let taken = self.write(|file| {
            let mut statement = file.prepare_cached("DELETE FROM uncounted RETURNING many")?;
            statement.query_map([], |row| row.get::<_, i64>(0))?.collect::<rusqlite::Result<Vec<_>>>()
        });
        Ok(taken.await?.into_iter().map(i64::unsigned_abs).sum())
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn ping(&self) -> Result<(), Unavailable> {
        let (path, probe) = (Arc::clone(&self.path), self.probe.next());
        self.write(move |file| {
            // A connection outlives its file: rows would be written where no restart finds them.
            if !path.exists() {
                return Err(rusqlite::Error::InvalidPath(path.to_path_buf()));
            }
            probe.run(file)
        })
        .await?;
        self.probe.succeeded(probe);
        Ok(())
    }
}
