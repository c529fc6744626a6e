//! [`PostgresStore`]: rows in a database.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use tokio_postgres::{Row as Columns, types::Type};

use crate::{
    metrics,
    session::{
        cookie::SessionId,
        store::{
            Cutoffs, Invalidations, Row, RowVersion, Selection, Store, Touch, Unavailable,
            postgres::{
                connect::Connector,
                error::PostgresError,
                listen::NotificationListener,
                pool::{Parameter, PostgresPool, Retry},
                schema,
                settings::Settings,
                sql::{SELECT_ROWS, column, integer, read_key, read_number, read_row, seconds},
                url::PostgresUrl,
            },
        },
    },
};

/// Rows in a database.
pub(in crate::session) struct PostgresStore {
    pool: PostgresPool,
    listener: Option<NotificationListener>,
    /// The schema has been checked, and migrated where it had to be.
    prepared: AtomicBool,
}

impl PostgresStore {
    /// Creates the store; connects later.
    pub(in crate::session) fn new(settings: &Settings, metrics: metrics::StoreMetrics) -> Result<Self, Unavailable> {
        let connector = |url: &PostgresUrl| Connector::new(url, settings.password_file.clone());
        // One of the connections listens, unless there is only one.
        let rest = settings.pool_size.saturating_sub(1);
        let listen_url = settings.listen_url.as_ref().unwrap_or(&settings.url);
        let listener = if rest == 0 {
            None
        } else {
            Some(NotificationListener::new(connector(listen_url)?, settings.listen_url.is_some()))
        };
        let pool = PostgresPool::new(connector(&settings.url)?, rest.max(1), metrics);
        Ok(Self { pool, listener, prepared: AtomicBool::new(false) })
    }

    pub(super) async fn query(
        &self,
        statement: &str,
        parameters: &[Parameter<'_>],
        retry: Retry,
    ) -> Result<Vec<Columns>, Unavailable> {
        if !self.prepared.load(Ordering::Relaxed) {
            return Err(Unavailable::Failed("it has not been opened yet".to_owned()));
        }
        let outcome = self.pool.query(statement, parameters, retry).await;
        // The database was replaced by another one, such as an empty one after a disaster.
        if outcome.as_ref().is_err_and(PostgresError::is_schema_missing) {
            self.prepared.store(false, Ordering::Relaxed);
        }
        outcome.map_err(Unavailable::from)
    }

    /// Checks the schema, and migrates it where it is older than this version's.
    async fn prepare(&self) -> Result<(), PostgresError> {
        let connection = self.pool.acquire().await?;
        match schema::prepare(&connection).await {
            Ok(()) => connection.return_to_pool(),
            Err(error) => {
                connection.discard(&error);
                return Err(error);
            }
        }
        self.prepared.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// `DELETE` of at most `$1` rows that a condition selects, with a notification of each to every replica.
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

#[async_trait]
impl Store for PostgresStore {
    async fn load(&self, key: &SessionId) -> Result<Option<Row>, Unavailable> {
        let statement = format!("{SELECT_ROWS} WHERE key = $1");
        let rows = self.query(&statement, &[(&key.0.as_slice(), Type::BYTEA)], Retry::Once).await?;
        rows.first().map(read_row).transpose()
    }

    async fn insert(&self, row: Row) -> Result<(), Unavailable> {
        let generation = integer(row.generation);
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
        self.query(statement, parameters, Retry::Never).await.map(drop)
    }

    async fn delete(&self, selection: &Selection, limit: u32) -> Result<Vec<SessionId>, Unavailable> {
        let limit = i64::from(limit);
        let limit: Parameter<'_> = (&limit, Type::INT8);
        let rows = match selection {
            Selection::Keys(keys) => {
                let keys: Vec<_> = keys.iter().map(|key| key.0.as_slice()).collect();
                self.query(delete!("key = ANY($2)"), &[limit, (&keys, Type::BYTEA_ARRAY)], Retry::Never).await
            }
            Selection::Subject { provider, subject } => {
                let parameters = &[limit, (provider, Type::TEXT), (subject, Type::TEXT)];
                self.query(delete!("provider = $2 AND subject = $3"), parameters, Retry::Never).await
            }
            Selection::Sid { provider, sid } => {
                let parameters = &[limit, (sid, Type::TEXT), (provider, Type::TEXT)];
                self.query(delete!("sid = $2 AND provider = $3"), parameters, Retry::Never).await
            }
            Selection::Everything => self.query(delete!("true"), &[limit], Retry::Never).await,
        }?;
        rows.iter().map(read_key).collect()
    }

    async fn touch(&self, touches: &[Touch]) -> Result<(), Unavailable> {
        let keys: Vec<_> = touches.iter().map(|touch| touch.key.0.as_slice()).collect();
        let times: Vec<_> = touches.iter().map(|touch| seconds(touch.last_seen)).collect();
        // A locked row is being touched or deleted just now: neither is worth a wait or a deadlock.
        let statement = "WITH later AS (\
                             SELECT key, t.seen FROM unnest($1, $2) AS t (key, seen) \
                             JOIN doorward_sessions AS s USING (key) WHERE s.last_seen < t.seen \
                             FOR UPDATE OF s SKIP LOCKED\
                         ) UPDATE doorward_sessions AS s SET last_seen = later.seen FROM later WHERE s.key = later.key";
        let parameters: &[Parameter<'_>] = &[(&keys, Type::BYTEA_ARRAY), (&times, Type::INT8_ARRAY)];
        self.query(statement, parameters, Retry::Once).await.map(drop)
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
        let rows = self.query(statement, parameters, Retry::Never).await?;
        read_number(&rows).map(|many| u32::try_from(many).unwrap_or(u32::MAX))
    }

    async fn versions(&self, keys: &[SessionId]) -> Result<Vec<RowVersion>, Unavailable> {
        let keys: Vec<_> = keys.iter().map(|key| key.0.as_slice()).collect();
        let statement = "SELECT key, generation FROM doorward_sessions WHERE key = ANY($1)";
        let rows = self.query(statement, &[(&keys, Type::BYTEA_ARRAY)], Retry::Once).await?;
        let version =
            |row: &Columns| Ok(RowVersion { key: read_key(row)?, generation: column::<i64>(row, 1)?.unsigned_abs() });
        rows.iter().map(version).collect()
    }

    async fn has_sid(&self, provider: &str, sid: &str) -> Result<bool, Unavailable> {
        let statement = "SELECT 1 FROM doorward_sessions WHERE sid = $1 AND provider = $2 LIMIT 1";
        let rows = self.query(statement, &[(&sid, Type::TEXT), (&provider, Type::TEXT)], Retry::Once).await?;
        Ok(!rows.is_empty())
    }

    async fn page(&self, from: &SessionId, to: &SessionId, limit: u32) -> Result<Vec<Row>, Unavailable> {
        let statement = format!("{SELECT_ROWS} WHERE key BETWEEN $1 AND $2 ORDER BY key LIMIT $3");
        let limit = i64::from(limit);
        let parameters: &[Parameter<'_>] =
            &[(&from.0.as_slice(), Type::BYTEA), (&to.0.as_slice(), Type::BYTEA), (&limit, Type::INT8)];
        self.query(&statement, parameters, Retry::Once).await?.iter().map(read_row).collect()
    }

    async fn add_uncounted(&self, many: u64) -> Result<(), Unavailable> {
        let many = integer(many);
        let statement = "INSERT INTO doorward_uncounted (many) VALUES ($1)";
        self.query(statement, &[(&many, Type::INT8)], Retry::Never).await.map(drop)
    }

    async fn take_uncounted(&self) -> Result<u64, Unavailable> {
        let statement = "WITH taken AS (DELETE FROM doorward_uncounted RETURNING many) \
                         SELECT coalesce(sum(many), 0)::bigint FROM taken";
        read_number(&self.query(statement, &[], Retry::Never).await?)
    }

    async fn ping(&self) -> Result<(), Unavailable> {
        if !self.prepared.load(Ordering::Relaxed) {
            return self.prepare().await.map_err(Unavailable::from);
        }
        self.pool.close_idle();
        let statement = "SELECT current_setting('transaction_read_only') = 'on' FROM doorward_schema";
        let rows = self.query(statement, &[], Retry::Once).await?;
        match rows.first().map(|row| column(row, 0)).transpose()? {
            Some(false) => Ok(()),
            Some(true) => {
                // It was the primary once. New connections find the current one.
                self.pool.close_all_idle();
                Err(Unavailable::Failed("the server takes no writes".to_owned()))
            }
            None => {
                self.prepared.store(false, Ordering::Relaxed);
                Err(Unavailable::Failed("the schema has gone".to_owned()))
            }
        }
    }

    async fn listen(&self, invalidations: &dyn Invalidations) -> Infallible {
        if let Some(listener) = &self.listener {
            listener.run(&self.pool, invalidations).await
        } else {
            tracing::info!(
                "store.pool_size leaves no connection to listen with; each session is revalidated every few seconds"
            );
            std::future::pending().await
        }
    }

    fn is_shared(&self) -> bool {
        true
    }
}
