//! Connection pool: `deadpool`, with a stricter rule for what is returned to it.
//!
//! Promises: never more connections than its size; one that failed, or whose caller went away, is not used again; few
//! stay open without work, because a pooler before the server may have none to spare for other replicas.

use std::{ops::Deref, time::Duration};

use deadpool::{
    Runtime,
    managed::{Object, Pool, PoolConfig, QueueMode, Timeouts},
};
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};

use crate::{
    metrics,
    session::store::{
        DEADLINE,
        postgres::{connect::Connector, error::PostgresError},
    },
};

/// A statement's parameter and its type: named here, so that the server is not asked about it first and no prepared
/// statement stays behind in the connection.
pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// Time after which an idle connection is closed. The ping every few seconds is work for the one last used.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// A pool of connections.
pub(super) struct PostgresPool {
    connections: Pool<Connector>,
    metrics: metrics::StoreMetrics,
}

/// Retry of a statement whose connection broke, so that it may or may not have taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// Sent once more over a new connection: the statement is idempotent.
    Once,
    /// Not sent again.
    Never,
}

/// A connection in use. It is closed when dropped unless [returned](PooledConnection::return_to_pool), the reverse of
/// `deadpool`'s rule: a connection whose statement nobody waits for any more must not be handed to the next caller.
pub(super) struct PooledConnection<'p> {
    /// Absent once returned.
    client: Option<Object<Connector>>,
    pool: &'p PostgresPool,
}

impl PostgresPool {
    /// Creates an empty pool.
    pub(super) fn new(connector: Connector, size: usize, metrics: metrics::StoreMetrics) -> Self {
        let connections = Pool::builder(connector)
            .config(PoolConfig {
                max_size: size,
                timeouts: Timeouts { wait: Some(DEADLINE), create: Some(DEADLINE), recycle: Some(DEADLINE) },
                // The one last used goes first, so that the others become idle.
                queue_mode: QueueMode::Lifo,
            })
            .runtime(Runtime::Tokio1)
            .build()
            .expect("what its timeouts need has been named");
        Self { connections, metrics }
    }

    /// Runs one statement. The caller bounds how long it waits.
    pub(super) async fn query(
        &self,
        statement: &str,
        parameters: &[Parameter<'_>],
        retry: Retry,
    ) -> Result<Vec<Row>, PostgresError> {
        let connection = self.acquire().await?;
        match connection.query_typed(statement, parameters).await.map_err(PostgresError::from) {
            Err(error) => {
                let broke = connection.is_reused() && error.is_connection_lost();
                connection.discard(&error);
                // Idle connections have been closed: the second one is new.
                if broke && retry == Retry::Once { self.query_again(statement, parameters).await } else { Err(error) }
            }
            Ok(rows) => {
                connection.return_to_pool();
                Ok(rows)
            }
        }
    }

    /// Takes a connection out of the pool, for more than one statement.
    pub(super) async fn acquire(&self) -> Result<PooledConnection<'_>, PostgresError> {
        let client = Some(self.connections.get().await?);
        self.update_metrics();
        Ok(PooledConnection { client, pool: self })
    }

    /// Closes connections that have been idle for [`IDLE_TIMEOUT`].
    pub(super) fn close_idle(&self) {
        self.retain_idle(|idle| idle < IDLE_TIMEOUT);
    }

    /// Closes every idle connection.
    pub(super) fn close_all_idle(&self) {
        self.retain_idle(|_| false);
    }

    fn retain_idle(&self, is_kept: impl Fn(Duration) -> bool) {
        drop(self.connections.retain(|_, metrics| is_kept(metrics.last_used())));
        self.update_metrics();
    }

    async fn query_again(&self, statement: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, PostgresError> {
        let connection = self.acquire().await?;
        let rows = connection.query_typed(statement, parameters).await?;
        connection.return_to_pool();
        Ok(rows)
    }

    fn update_metrics(&self) {
        let status = self.connections.status();
        self.metrics.set_connections(status.available, status.size - status.available);
    }
}

impl PooledConnection<'_> {
    /// Returns the connection to the pool: its last statement has been answered.
    pub(super) fn return_to_pool(mut self) {
        drop(self.client.take());
    }

    /// Closes the connection, and all idle ones if the error affects them too.
    pub(super) fn discard(self, error: &PostgresError) {
        if error.affects_all_connections() {
            self.pool.close_all_idle();
        }
    }

    /// Returns `true` if the connection was used before, and may have broken since.
    fn is_reused(&self) -> bool {
        self.client.as_ref().is_some_and(|client| Object::metrics(client).recycle_count > 0)
    }
}

impl Deref for PooledConnection<'_> {
    type Target = tokio_postgres::Client;

    fn deref(&self) -> &Self::Target {
        self.client.as_ref().expect("returning the client consumes the connection")
    }
}

impl Drop for PooledConnection<'_> {
    fn drop(&mut self) {
        // Dropped outside the pool, a client takes its connection's task and socket with it, even in the midst of a
        // statement.
        drop(self.client.take().map(Object::take));
        self.pool.update_metrics();
    }
}
