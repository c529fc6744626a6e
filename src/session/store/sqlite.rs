//! Sessions in a file of this machine.
//!
//! Promises: what was written is there after the process is killed and after the power fails; the runtime is never
//! blocked; no more than a handful of threads wait for the disk. It must not know what is sealed in a row.

mod file;
mod leases;
mod pulse;
mod rotation;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use tokio::{sync::Semaphore, task::spawn_blocking};

use self::pulse::Pulse;
use crate::{
    clock::Timestamp,
    session::{
        cookie::SessionId,
        store::{Cutoffs, Row, Selection, Store, Touch, Unavailable, Version},
    },
};

/// How many read at once. Reads are answered from memory or not at all; more would only queue at the disk.
const READERS: usize = 4;

/// Rows in a file.
pub(in crate::session) struct Sqlite {
    path: Arc<PathBuf>,
    /// One, because `SQLite` has one writer at a time and waiting here is fairer than waiting for its lock.
    writer: Arc<Pool>,
    readers: Arc<Pool>,
    pulse: Pulse,
}

/// Connections that are opened when they are first needed, and again after one has failed.
struct Pool {
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Sqlite {
    /// Opens the file, makes it where it is missing, and brings its schema up to date.
    pub(in crate::session) async fn open(path: &Path) -> Result<Self, Unavailable> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let prepared = path.clone();
        let first = spawn_blocking(move || file::prepare(&prepared)).await.map_err(|error| lost(&error))??;
        Ok(Self {
            path: Arc::new(path),
            writer: Arc::new(Pool::new(1, vec![first])),
            readers: Arc::new(Pool::new(READERS, Vec::new())),
            pulse: Pulse::default(),
        })
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Unavailable> {
        Pool::run(&self.readers, &self.path, work).await
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Unavailable> {
        let outcome = Pool::run(&self.writer, &self.path, work).await;
        if outcome.is_err() {
            self.pulse.fail();
        }
        outcome
    }
}

impl Pool {
    fn new(size: usize, idle: Vec<Connection>) -> Self {
        Self { idle: Mutex::new(idle), permits: Arc::new(Semaphore::new(size)) }
    }

    /// Runs `work` on a thread that may block. A caller who stops waiting leaves the connection busy until it is done.
    async fn run<T: Send + 'static>(
        pool: &Arc<Self>,
        path: &Arc<PathBuf>,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Unavailable> {
        let permit = Arc::clone(&pool.permits).acquire_owned().await.map_err(|error| lost(&error))?;
        let (pool, path) = (Arc::clone(pool), Arc::clone(path));
        let work = move || {
            let _permit = permit;
            let idle = pool.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut connection = match idle {
                Some(connection) => connection,
                None => file::connect(&path)?,
            };
            // A connection that failed is dropped: the next one is opened afresh.
            let done = work(&mut connection)?;
            pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            Ok(done)
        };
        let done: rusqlite::Result<T> = spawn_blocking(work).await.map_err(|error| lost(&error))?;
        done.map_err(|error| Unavailable::Failed(error.to_string()))
    }
}

/// What [`read`] reads.
macro_rules! columns {
    () => {
        "SELECT key, provider, subject, sid, generation, created, last_seen, sealed FROM sessions"
    };
}

use columns;

/// Removes some of the rows that a condition finds.
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
impl Store for Sqlite {
    async fn load(&self, key: &SessionId) -> Result<Option<Row>, Unavailable> {
        let key = *key;
        self.read(move |file| {
            file.prepare_cached(concat!(columns!(), " WHERE key = ?1"))?.query_row([key.0], read).optional()
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
                i64::try_from(row.generation).unwrap_or(i64::MAX),
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
                    let transaction = begin(file)?;
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
            let transaction = begin(file)?;
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

    async fn versions(&self, keys: &[SessionId]) -> Result<Vec<Version>, Unavailable> {
        let keys = keys.to_vec();
        self.read(move |file| {
            let mut statement = file.prepare_cached("SELECT generation FROM sessions WHERE key = ?1")?;
            let mut version = |key: SessionId| {
                let generation = statement.query_row([key.0], |row| row.get::<_, i64>(0)).optional()?;
                Ok(generation.map(|generation| Version { key, generation: generation.unsigned_abs() }))
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
            file.prepare_cached(concat!(columns!(), " WHERE key BETWEEN ?1 AND ?2 ORDER BY key LIMIT ?3"))?
                .query_map(params![from.0, to.0, limit], read)?
                .collect()
        })
        .await
    }

    async fn leave_uncounted(&self, many: u64) -> Result<(), Unavailable> {
        let many = i64::try_from(many).unwrap_or(i64::MAX);
        self.write(move |file| file.execute("INSERT INTO uncounted (many) VALUES (?1)", [many])).await.map(drop)
    }

    async fn take_uncounted(&self) -> Result<u64, Unavailable> {
        let some = "SELECT EXISTS (SELECT 1 FROM uncounted)";
        if !self.read(|file| file.prepare_cached(some)?.query_row([], |row| row.get::<_, bool>(0))).await? {
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
        let (path, due) = (Arc::clone(&self.path), self.pulse.due());
        self.write(move |file| {
            // A connection outlives its file: rows would be written to where no restart finds them.
            if !path.exists() {
                return Err(rusqlite::Error::InvalidPath(path.to_path_buf()));
            }
            due.take(file)
        })
        .await?;
        self.pulse.beat(due);
        Ok(())
    }
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        key: row.get(0).map(SessionId)?,
        provider: row.get(1)?,
        subject: row.get(2)?,
        sid: row.get(3)?,
        generation: row.get::<_, i64>(4)?.unsigned_abs(),
        created: moment(row.get(5)?),
        last_seen: moment(row.get(6)?),
        sealed: row.get(7)?,
    })
}

/// A transaction that has the writer's lock from the start, so that it cannot fail half-way for want of it.
fn begin(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

fn lost(error: &dyn std::error::Error) -> Unavailable {
    Unavailable::Failed(error.to_string())
}

fn seconds(at: Timestamp) -> i64 {
    i64::try_from(at.unix()).unwrap_or(i64::MAX)
}

fn moment(seconds: i64) -> Timestamp {
    Timestamp::from_unix(u64::try_from(seconds).unwrap_or(0))
}
