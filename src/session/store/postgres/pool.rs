//! Connections that wait to be used again: how `deadpool` is used, and what is never given back to it.
//!
//! Promises: never more than its size; one that failed, or whose caller went away, is not used again; few stay open
//! without work, because a pooler before the server may have none to spare for other replicas. It must not know what is
//! asked.

use std::{ops::Deref, time::Duration};

use deadpool_postgres::{
    Client, Hook, HookError, Manager, ManagerConfig, Object, PoolConfig, QueueMode, RecyclingMethod, Runtime, Timeouts,
};
use tokio_postgres::{
    Config, Row,
    types::{ToSql, Type},
};

use crate::{
    metrics,
    session::store::{
        DEADLINE,
        postgres::{connect::Connector, fault::Fault},
    },
};

/// A statement's parameter and its type: named here, so that the server is not asked about it first and no prepared
/// statement stays behind with it.
pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// How long a connection stays open without work. The ping every few seconds is work for the one last used.
const SPARE: Duration = Duration::from_secs(10);

/// The pool.
pub(super) struct Pool {
    connections: deadpool_postgres::Pool,
    metrics: metrics::Store,
}

/// Whether a statement may be sent again when a connection broke under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// Doing it twice is doing it once.
    Yes,
    /// The first time may have taken effect.
    No,
}

/// A connection on loan. It is closed unless it is given back, which is `deadpool`'s rule turned round: a connection
/// whose statement nobody waits for any more must not be handed to the next.
pub(super) struct Loan<'p> {
    /// Absent once it has been given back.
    client: Option<Client>,
    pool: &'p Pool,
}

impl Pool {
    /// An empty pool.
    pub(super) fn new(connector: Connector, size: usize, metrics: metrics::Store) -> Self {
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        // The connector knows its hosts, and a configuration of its own for each.
        let manager = Manager::from_connect(Config::new(), connector, recycling);
        let connections = deadpool_postgres::Pool::builder(manager)
            .config(PoolConfig {
                max_size: size,
                timeouts: Timeouts { wait: Some(DEADLINE), create: Some(DEADLINE), recycle: Some(DEADLINE) },
                // The one last used goes first, so that the others grow old.
                queue_mode: QueueMode::Lifo,
            })
            // Dropped here, because the manager would warn of each that a restart of the server has closed.
            .pre_recycle(Hook::sync_fn(|client, _| {
                if client.is_closed() { Err(HookError::message("the server closed it")) } else { Ok(()) }
            }))
            .runtime(Runtime::Tokio1)
            .build()
            .expect("what its timeouts need has been named");
        Self { connections, metrics }
    }

    /// Runs one statement. How long it waits is the caller's business.
    pub(super) async fn query(
        &self,
        statement: &str,
        parameters: &[Parameter<'_>],
        again: Again,
    ) -> Result<Vec<Row>, Fault> {
        let loan = self.lend().await?;
        match loan.query_typed(statement, parameters).await.map_err(Fault::from) {
            Err(fault) => {
                let broke = loan.is_reused() && fault.is_break();
                loan.give_up(&fault);
                // Idle connections have been dropped: the second one is new.
                if broke && again == Again::Yes { self.fresh(statement, parameters).await } else { Err(fault) }
            }
            Ok(rows) => {
                loan.give_back();
                Ok(rows)
            }
        }
    }

    /// A connection for more than one statement.
    pub(super) async fn lend(&self) -> Result<Loan<'_>, Fault> {
        let client = Some(self.connections.get().await?);
        self.tell();
        Ok(Loan { client, pool: self })
    }

    /// Closes connections that nobody has used for a while.
    pub(super) fn trim(&self) {
        self.keep(|idle| idle < SPARE);
    }

    /// Closes every connection that waits.
    pub(super) fn clear(&self) {
        self.keep(|_| false);
    }

    fn keep(&self, is_kept: impl Fn(Duration) -> bool) {
        drop(self.connections.retain(|_, metrics| is_kept(metrics.last_used())));
        self.tell();
    }

    async fn fresh(&self, statement: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Fault> {
        let loan = self.lend().await?;
        let rows = loan.query_typed(statement, parameters).await?;
        loan.give_back();
        Ok(rows)
    }

    fn tell(&self) {
        let status = self.connections.status();
        self.metrics.connections(status.available, status.size - status.available);
    }
}

impl Loan<'_> {
    /// To be used again: the last statement has been answered.
    pub(super) fn give_back(mut self) {
        drop(self.client.take());
    }

    /// Not to be used again, nor are others that the fault concerns.
    pub(super) fn give_up(self, fault: &Fault) {
        if fault.is_the_server() {
            self.pool.clear();
        }
    }

    /// Whether it was used before, and may have broken since.
    fn is_reused(&self) -> bool {
        self.client.as_ref().is_some_and(|client| Object::metrics(client).recycle_count > 0)
    }
}

impl Deref for Loan<'_> {
    type Target = tokio_postgres::Client;

    fn deref(&self) -> &Self::Target {
        self.client.as_ref().expect("whoever gives it back gives up the loan")
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        // Dropped outside the pool, a client takes its connection's task and socket with it, whatever it waits for.
        drop(self.client.take().map(Object::take));
        self.pool.tell();
    }
}
