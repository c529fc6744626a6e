//! Pool of connections to the file, used on blocking threads.
//!
//! Promises: a connection that failed is not used again; no more threads wait for the disk than the pool has permits.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::Connection;
use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::session::store::{
    Unavailable,
    sqlite::{file, sql::failed},
};

/// Connections that are opened when they are first needed, and again after one has failed.
pub(super) struct SqlitePool {
    path: Arc<PathBuf>,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl SqlitePool {
    /// Creates a pool of at most `size` connections, some of them open already.
    pub(super) fn new(path: Arc<PathBuf>, size: usize, idle: Vec<Connection>) -> Arc<Self> {
        Arc::new(Self { path, idle: Mutex::new(idle), permits: Arc::new(Semaphore::new(size)) })
    }

    /// Runs `work` on a blocking thread. If the caller stops waiting, the connection stays busy until the work is done.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Unavailable> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|error| failed(&error))?;
        let pool = Arc::clone(self);
        let work = move || {
            let _permit = permit;
            let idle = pool.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut connection = match idle {
                Some(connection) => connection,
                None => file::connect(&pool.path)?,
            };
            // A connection that failed is dropped: the next one is opened afresh.
            let done = work(&mut connection)?;
            pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            Ok(done)
        };
        let done: rusqlite::Result<T> = spawn_blocking(work).await.map_err(|error| failed(&error))?;
        done.map_err(|error| failed(&error))
    }
}
