//! Connections that wait to be used again.
//!
//! Promises: never more than its size; one that failed, or whose caller went away, is not used again; few stay open
//! without work, because a pooler before the server may have none to spare for other replicas. It must not know what is
//! asked.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_postgres::Row;

use super::{
    connect::Connector,
    connection::{Connection, Parameter},
    fault::Fault,
};
use crate::metrics;

/// How long a connection beyond the one last used stays open without work.
const SPARE: Duration = Duration::from_secs(10);

/// The pool.
pub(super) struct Pool {
    connector: Connector,
    permits: Semaphore,
    size: usize,
    /// The one last used comes last and goes first, so that the others grow old.
    idle: Mutex<Vec<Idle>>,
    metrics: metrics::Store,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// Whether a statement may be sent again when a connection broke under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// Doing it twice is doing it once.
    Yes,
    /// The first time may have taken effect.
    No,
}

/// A connection on loan. It is closed unless it is given back.
pub(super) struct Loan<'p> {
    pub(super) connection: Connection,
    pool: &'p Pool,
    /// Whether it was used before, and may have broken since.
    reused: bool,
    _place: Place<'p>,
}

/// One of the pool's places, taken.
struct Place<'p> {
    permit: Option<SemaphorePermit<'p>>,
    pool: &'p Pool,
}

impl Pool {
    /// An empty pool.
    pub(super) fn new(connector: Connector, size: usize, metrics: metrics::Store) -> Self {
        Self { connector, permits: Semaphore::new(size), size, idle: Mutex::default(), metrics }
    }

    /// Runs one statement. How long it waits is the caller's business.
    pub(super) async fn query(
        &self,
        statement: &str,
        parameters: &[Parameter<'_>],
        again: Again,
    ) -> Result<Vec<Row>, Fault> {
        let mut loan = self.lend().await?;
        match loan.connection.query(statement, parameters).await {
            Err(fault) => {
                let broke = loan.reused && fault.is_break();
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
        let permit = self.permits.acquire().await.map_err(|_| Fault::Closed)?;
        let place = Place { permit: Some(permit), pool: self };
        self.tell();
        loop {
            let Some(Idle { mut connection, .. }) = self.idle().pop() else { break };
            if connection.is_open().await {
                return Ok(Loan { connection, pool: self, reused: true, _place: place });
            }
        }
        let connection = self.connector.connect().await?;
        Ok(Loan { connection, pool: self, reused: false, _place: place })
    }

    /// Closes connections that nobody has used for a while, all but the one last used.
    pub(super) async fn trim(&self) {
        let spare = {
            let mut idle = self.idle();
            let last = idle.len().saturating_sub(1);
            let old = idle.iter().take(last).take_while(|idle| idle.since.elapsed() > SPARE).count();
            idle.drain(..old).collect::<Vec<_>>()
        };
        self.tell();
        for Idle { connection, .. } in spare {
            connection.close().await;
        }
    }

    /// Drops every connection that waits.
    pub(super) fn clear(&self) {
        self.idle().clear();
        self.tell();
    }

    async fn fresh(&self, statement: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Fault> {
        let mut loan = self.lend().await?;
        let rows = loan.connection.query(statement, parameters).await?;
        loan.give_back();
        Ok(rows)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        let used = self.size.saturating_sub(self.permits.available_permits());
        self.metrics.connections(self.idle().len(), used);
    }
}

impl Loan<'_> {
    /// To be used again: the last statement has been answered.
    pub(super) fn give_back(self) {
        self.pool.idle().push(Idle { connection: self.connection, since: Instant::now() });
    }

    /// Not to be used again, nor are others that the fault concerns.
    pub(super) fn give_up(self, fault: &Fault) {
        if fault.is_the_server() {
            self.pool.clear();
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.permit = None;
        self.pool.tell();
    }
}
