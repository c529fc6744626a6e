//! Sessions in PostgreSQL, where any number of replicas shares them.
//!
//! Promises: each call is one short statement that commits by itself and leaves nothing behind in its connection, so
//! that it works through a pooler in whatever mode; the process starts and lives while the server is away; a deletion
//! tells every replica. It must not know what is sealed in a row.

mod address;
mod connect;
mod connection;
mod fault;
#[cfg(any(test, fuzzing))]
pub(in crate::session) mod fuzz;
mod leases;
mod listener;
mod pool;
mod rotation;
mod schema;
mod tls;

use std::{
    convert::Infallible,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use tokio_postgres::{
    Row as Columns,
    types::{FromSql, Type},
};

pub use self::address::Address;
use self::{
    connect::Connector,
    fault::Fault,
    listener::Listener,
    pool::{Again, Parameter, Pool},
};
use crate::{
    clock::Timestamp,
    metrics,
    session::{
        cookie::SessionId,
        store::{Cutoffs, Invalidations, Row, Selection, Store, Touch, Unavailable, Version},
    },
};

/// A server and how it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The server.
    pub address: Address,
    /// A way to the same server that notifications come through, where a pooler stands before `address`.
    pub listen: Option<Address>,
    /// A file with the password, read for every connection; overrides those in the addresses.
    pub password: Option<PathBuf>,
    /// The most connections, the one that listens among them. At least one.
    pub pool_size: usize,
}

/// Rows in a database.
pub(in crate::session) struct Postgres {
    pool: Pool,
    listener: Option<Listener>,
    /// Whether the schema has been seen to be usable.
    prepared: AtomicBool,
}

impl Postgres {
    /// Connects to nobody yet.
    pub(in crate::session) fn new(settings: &Settings, metrics: metrics::Store) -> Result<Self, Unavailable> {
        let connector = |address: &Address| Connector::new(address, settings.password.clone());
        // One of the connections listens, unless there is only one.
        let rest = settings.pool_size.saturating_sub(1);
        let listen = settings.listen.as_ref().unwrap_or(&settings.address);
        let listener =
            if rest == 0 { None } else { Some(Listener::new(connector(listen)?, settings.listen.is_some())) };
        let pool = Pool::new(connector(&settings.address)?, rest.max(1), metrics);
        Ok(Self { pool, listener, prepared: AtomicBool::new(false) })
    }

    async fn query(
        &self,
        statement: &str,
        parameters: &[Parameter<'_>],
        again: Again,
    ) -> Result<Vec<Columns>, Unavailable> {
        if !self.prepared.load(Ordering::Relaxed) {
            return Err(Unavailable::Failed("it has not been opened yet".to_owned()));
        }
        let outcome = self.pool.query(statement, parameters, again).await;
        self.judged(outcome)
    }

    /// Takes the steps to our schema where they have not been taken.
    async fn prepare(&self) -> Result<(), Fault> {
        let loan = self.pool.lend().await?;
        match schema::prepare(&loan).await {
            Ok(()) => loan.give_back(),
            Err(fault) => {
                loan.give_up(&fault);
                return Err(fault);
            }
        }
        self.prepared.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn judged<T>(&self, outcome: Result<T, Fault>) -> Result<T, Unavailable> {
        // Somebody has put another database there, such as an empty one after a disaster.
        if outcome.as_ref().is_err_and(Fault::is_schema) {
            self.prepared.store(false, Ordering::Relaxed);
        }
        outcome.map_err(Unavailable::from)
    }
}

/// Deletes what a condition finds and tells every replica.
macro_rules! delete {
    ($condition:literal) => {
        concat!(
            "WITH gone AS (DELETE FROM doorward_sessions WHERE key IN (SELECT key FROM doorward_sessions WHERE ",
            $condition,
            " ORDER BY key LIMIT $1 FOR UPDATE) RETURNING key) ",
            "SELECT key, pg_notify('doorward_sessions', 'ended ' || encode(key, 'hex')) FROM gone"
        )
    };
}

const COLUMNS: &str =
    "SELECT key, provider, subject, sid, generation, created, last_seen, sealed FROM doorward_sessions";

#[async_trait]
impl Store for Postgres {
    async fn load(&self, key: &SessionId) -> Result<Option<Row>, Unavailable> {
        let statement = format!("{COLUMNS} WHERE key = $1");
        let rows = self.query(&statement, &[(&key.0.as_slice(), Type::BYTEA)], Again::Yes).await?;
        rows.first().map(read).transpose()
    }

    async fn insert(&self, row: Row) -> Result<(), Unavailable> {
        let generation = i64::try_from(row.generation).unwrap_or(i64::MAX);
        let parameters: &[Parameter<'_>] = &[
            (&row.key.0.as_slice(), Type::BYTEA),
            (&row.provider, Type::TEXT),
            (&row.subject, Type::TEXT),
            (&row.sid, Type::TEXT),
            (&generation, Type::INT8),
            (&seconds(row.created), Type::INT8),
            (&seconds(row.last_seen), Type::INT8),
            (&row.sealed, Type::BYTEA),
        ];
        let statement = "INSERT INTO doorward_sessions \
                         (key, provider, subject, sid, generation, created, last_seen, sealed) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        self.query(statement, parameters, Again::No).await.map(drop)
    }

    async fn delete(&self, selection: &Selection, limit: u32) -> Result<Vec<SessionId>, Unavailable> {
        let limit = i64::from(limit);
        let limit: Parameter<'_> = (&limit, Type::INT8);
        let rows = match selection {
            Selection::Keys(keys) => {
                let keys: Vec<_> = keys.iter().map(|key| key.0.as_slice()).collect();
                self.query(delete!("key = ANY($2)"), &[limit, (&keys, Type::BYTEA_ARRAY)], Again::No).await
            }
            Selection::Subject { provider, subject } => {
                let parameters = &[limit, (provider, Type::TEXT), (subject, Type::TEXT)];
                self.query(delete!("provider = $2 AND subject = $3"), parameters, Again::No).await
            }
            Selection::Sid { provider, sid } => {
                let parameters = &[limit, (sid, Type::TEXT), (provider, Type::TEXT)];
                self.query(delete!("sid = $2 AND provider = $3"), parameters, Again::No).await
            }
            Selection::Everything => self.query(delete!("true"), &[limit], Again::No).await,
        }?;
        rows.iter().map(key).collect()
    }

    async fn touch(&self, touches: &[Touch]) -> Result<(), Unavailable> {
        let keys: Vec<_> = touches.iter().map(|touch| touch.key.0.as_slice()).collect();
        let times: Vec<_> = touches.iter().map(|touch| seconds(touch.last_seen)).collect();
        // A row that somebody else holds is being touched or deleted just now: neither is worth a wait or a deadlock.
        let statement = "WITH later AS (\
                             SELECT key, t.seen FROM unnest($1, $2) AS t (key, seen) \
                             JOIN doorward_sessions AS s USING (key) WHERE s.last_seen < t.seen \
                             FOR UPDATE OF s SKIP LOCKED\
                         ) UPDATE doorward_sessions AS s SET last_seen = later.seen FROM later WHERE s.key = later.key";
        let parameters: &[Parameter<'_>] = &[(&keys, Type::BYTEA_ARRAY), (&times, Type::INT8_ARRAY)];
        self.query(statement, parameters, Again::Yes).await.map(drop)
    }

    async fn purge(&self, cutoffs: Cutoffs, limit: u32) -> Result<u32, Unavailable> {
        let statement = "WITH gone AS (\
                             DELETE FROM doorward_sessions WHERE key IN (\
                                 SELECT key FROM doorward_sessions WHERE created <= $1 OR last_seen <= $2 \
                                 LIMIT $3 FOR UPDATE SKIP LOCKED\
                             ) RETURNING 1\
                         ) SELECT count(*) FROM gone";
        let (created, last_seen, limit) = (seconds(cutoffs.created), seconds(cutoffs.last_seen), i64::from(limit));
        let parameters: &[Parameter<'_>] = &[(&created, Type::INT8), (&last_seen, Type::INT8), (&limit, Type::INT8)];
        let rows = self.query(statement, parameters, Again::No).await?;
        number(&rows).map(|many| u32::try_from(many).unwrap_or(u32::MAX))
    }

    async fn versions(&self, keys: &[SessionId]) -> Result<Vec<Version>, Unavailable> {
        let keys: Vec<_> = keys.iter().map(|key| key.0.as_slice()).collect();
        let statement = "SELECT key, generation FROM doorward_sessions WHERE key = ANY($1)";
        let rows = self.query(statement, &[(&keys, Type::BYTEA_ARRAY)], Again::Yes).await?;
        let version = |row: &Columns| Ok(Version { key: key(row)?, generation: field::<i64>(row, 1)?.unsigned_abs() });
        rows.iter().map(version).collect()
    }

    async fn has_sid(&self, provider: &str, sid: &str) -> Result<bool, Unavailable> {
        let statement = "SELECT 1 FROM doorward_sessions WHERE sid = $1 AND provider = $2 LIMIT 1";
        let rows = self.query(statement, &[(&sid, Type::TEXT), (&provider, Type::TEXT)], Again::Yes).await?;
        Ok(!rows.is_empty())
    }

    async fn page(&self, from: &SessionId, to: &SessionId, limit: u32) -> Result<Vec<Row>, Unavailable> {
        let statement = format!("{COLUMNS} WHERE key BETWEEN $1 AND $2 ORDER BY key LIMIT $3");
        let limit = i64::from(limit);
        let parameters: &[Parameter<'_>] =
            &[(&from.0.as_slice(), Type::BYTEA), (&to.0.as_slice(), Type::BYTEA), (&limit, Type::INT8)];
        self.query(&statement, parameters, Again::Yes).await?.iter().map(read).collect()
    }

    async fn leave_uncounted(&self, many: u64) -> Result<(), Unavailable> {
        let many = i64::try_from(many).unwrap_or(i64::MAX);
        let statement = "INSERT INTO doorward_uncounted (many) VALUES ($1)";
        self.query(statement, &[(&many, Type::INT8)], Again::No).await.map(drop)
    }

    async fn take_uncounted(&self) -> Result<u64, Unavailable> {
        let statement = "WITH taken AS (DELETE FROM doorward_uncounted RETURNING many) \
                         SELECT coalesce(sum(many), 0)::bigint FROM taken";
        number(&self.query(statement, &[], Again::No).await?)
    }

    async fn ping(&self) -> Result<(), Unavailable> {
        if !self.prepared.load(Ordering::Relaxed) {
            return self.prepare().await.map_err(Unavailable::from);
        }
        self.pool.trim();
        let statement = "SELECT current_setting('transaction_read_only') = 'on' FROM doorward_schema";
        let rows = self.query(statement, &[], Again::Yes).await?;
        match rows.first().map(|row| field(row, 0)).transpose()? {
            Some(false) => Ok(()),
            Some(true) => {
                // It was the primary once. New connections find the one that is now.
                self.pool.clear();
                Err(Unavailable::Failed("the server takes no writes".to_owned()))
            }
            None => {
                self.prepared.store(false, Ordering::Relaxed);
                Err(Unavailable::Failed("the schema has gone".to_owned()))
            }
        }
    }

    async fn listen(&self, ears: &dyn Invalidations) -> Infallible {
        if let Some(listener) = &self.listener {
            listener.run(&self.pool, ears).await
        } else {
            tracing::info!(
                "store.pool_size leaves no connection to listen with; each session is read again every few seconds"
            );
            std::future::pending().await
        }
    }

    fn is_shared(&self) -> bool {
        true
    }
}

fn read(row: &Columns) -> Result<Row, Unavailable> {
    Ok(Row {
        key: key(row)?,
        provider: field(row, 1)?,
        subject: field(row, 2)?,
        sid: field(row, 3)?,
        generation: field::<i64>(row, 4)?.unsigned_abs(),
        created: moment(field(row, 5)?),
        last_seen: moment(field(row, 6)?),
        sealed: field(row, 7)?,
    })
}

fn key(row: &Columns) -> Result<SessionId, Unavailable> {
    let bytes: &[u8] = field(row, 0)?;
    bytes.try_into().map(SessionId).map_err(|_| Unavailable::Failed("a key is not as long as a key".to_owned()))
}

fn number(rows: &[Columns]) -> Result<u64, Unavailable> {
    rows.first().map_or(Ok(0), |row| field::<i64>(row, 0).map(i64::unsigned_abs))
}

fn field<'r, T: FromSql<'r>>(row: &'r Columns, place: usize) -> Result<T, Unavailable> {
    row.try_get(place).map_err(|error| Fault::Database(error).into())
}

fn seconds(at: Timestamp) -> i64 {
    i64::try_from(at.unix()).unwrap_or(i64::MAX)
}

fn moment(seconds: i64) -> Timestamp {
    Timestamp::from_unix(u64::try_from(seconds).unwrap_or(0))
}
