//! Service tokens in PostgreSQL.

use async_trait::async_trait;
use tokio_postgres::{Row as Columns, types::Type};

use crate::{
    crypto::KeyId,
    session::{
        cookie::SessionId,
        store::{
            Touch, Unavailable,
            postgres::{
                PostgresStore,
                pool::{Parameter, Retry},
                sql::{column, read_key, read_secret, seconds, timestamp},
            },
            service_tokens::{ReencryptedToken, ServiceTokenRow, ServiceTokenRows, ServiceTokenSelection},
        },
    },
};

/// The `SELECT` of the columns that [`read_token`] reads.
const SELECT_TOKENS: &str = "SELECT key, name, created, last_used, sealed FROM doorward_tokens";

/// `DELETE` of the tokens that a condition selects, with a notification of each to every replica. Replicas of older versions
/// take it for a session that they do not know.
macro_rules! delete {
    ($condition:literal) => {
        concat!(
            "WITH gone AS (DELETE FROM doorward_tokens WHERE ",
            $condition,
            " RETURNING key) SELECT pg_notify('doorward_sessions', 'ended ' || encode(key, 'hex')) FROM gone"
        )
    };
}

#[async_trait]
impl ServiceTokenRows for PostgresStore {
    async fn load_token(&self, key: &SessionId) -> Result<Option<ServiceTokenRow>, Unavailable> {
        let statement = format!("{SELECT_TOKENS} WHERE key = $1");
        let rows = self.query(&statement, &[(&key.0.as_slice(), Type::BYTEA)], Retry::Once).await?;
        rows.first().map(read_token).transpose()
    }

    async fn insert_token(&self, row: &ServiceTokenRow) -> Result<bool, Unavailable> {
        let statement = "INSERT INTO doorward_tokens (key, name, created, sealed) VALUES ($1, $2, $3, $4) \
                         ON CONFLICT (name) DO NOTHING RETURNING 1";
        let parameters: &[Parameter<'_>] = &[
            (&row.key.0.as_slice(), Type::BYTEA),
            (&row.name, Type::TEXT),
            (&seconds(row.created), Type::INT8),
            (&row.sealed, Type::BYTEA),
        ];
        self.query(statement, parameters, Retry::Never).await.map(|rows| !rows.is_empty())
    }

    async fn delete_tokens(&self, selection: &ServiceTokenSelection) -> Result<u64, Unavailable> {
        let rows = match selection {
            ServiceTokenSelection::Name(name) => {
                self.query(delete!("name = $1"), &[(name, Type::TEXT)], Retry::Never).await
            }
            ServiceTokenSelection::Everything => self.query(delete!("true"), &[], Retry::Never).await,
        }?;
        Ok(rows.len() as u64)
    }

    async fn existing_tokens(&self, keys: &[SessionId]) -> Result<Vec<SessionId>, Unavailable> {
        let keys: Vec<_> = keys.iter().map(|key| key.0.as_slice()).collect();
        let statement = "SELECT key FROM doorward_tokens WHERE key = ANY($1)";
        let rows = self.query(statement, &[(&keys, Type::BYTEA_ARRAY)], Retry::Once).await?;
        rows.iter().map(read_key).collect()
    }

    async fn touch_tokens(&self, touches: &[Touch]) -> Result<(), Unavailable> {
        let keys: Vec<_> = touches.iter().map(|touch| touch.key.0.as_slice()).collect();
        let times: Vec<_> = touches.iter().map(|touch| seconds(touch.last_seen)).collect();
        // A locked row is being touched or deleted just now: neither is worth a wait or a deadlock.
        let statement = "WITH later AS (\
                             SELECT key, t.seen FROM unnest($1, $2) AS t (key, seen) \
                             JOIN doorward_tokens AS s USING (key) WHERE coalesce(s.last_used, 0) < t.seen \
                             FOR UPDATE OF s SKIP LOCKED\
                         ) UPDATE doorward_tokens AS s SET last_used = later.seen FROM later WHERE s.key = later.key";
        let parameters: &[Parameter<'_>] = &[(&keys, Type::BYTEA_ARRAY), (&times, Type::INT8_ARRAY)];
        self.query(statement, parameters, Retry::Once).await.map(drop)
    }

    async fn page_tokens(&self, from: &SessionId, limit: u32) -> Result<Vec<ServiceTokenRow>, Unavailable> {
        let statement = format!("{SELECT_TOKENS} WHERE key >= $1 ORDER BY key LIMIT $2");
        let limit = i64::from(limit);
        let parameters: &[Parameter<'_>] = &[(&from.0.as_slice(), Type::BYTEA), (&limit, Type::INT8)];
        self.query(&statement, parameters, Retry::Once).await?.iter().map(read_token).collect()
    }

    async fn count_tokens_by_other_secrets(&self, newest: KeyId) -> Result<Vec<(KeyId, u64)>, Unavailable> {
        let statement = "SELECT substring(sealed FROM 1 FOR 4) AS secret, count(*) FROM doorward_tokens \
                         WHERE substring(sealed FROM 1 FOR 4) <> $1 AND length(sealed) >= 4 GROUP BY secret";
        let rows = self.query(statement, &[(&newest.as_slice(), Type::BYTEA)], Retry::Once).await?;
        rows.iter().map(|row| Ok((read_secret(row)?, column::<i64>(row, 1)?.unsigned_abs()))).collect()
    }

    async fn reencrypt_tokens(&self, tokens: &[ReencryptedToken]) -> Result<(), Unavailable> {
        let keys: Vec<_> = tokens.iter().map(|token| token.key.0.as_slice()).collect();
        let before: Vec<_> = tokens.iter().map(|token| token.from.as_slice()).collect();
        let sealed: Vec<_> = tokens.iter().map(|token| token.sealed.as_slice()).collect();
        let statement = "UPDATE doorward_tokens AS s SET sealed = n.sealed \
                         FROM unnest($1, $2, $3) AS n (key, before, sealed) \
                         WHERE s.key = n.key AND s.sealed = n.before";
        let parameters: &[Parameter<'_>] =
            &[(&keys, Type::BYTEA_ARRAY), (&before, Type::BYTEA_ARRAY), (&sealed, Type::BYTEA_ARRAY)];
        self.query(statement, parameters, Retry::Once).await.map(drop)
    }
}

fn read_token(row: &Columns) -> Result<ServiceTokenRow, Unavailable> {
    Ok(ServiceTokenRow {
        key: read_key(row)?,
        name: column(row, 1)?,
        created: timestamp(column(row, 2)?),
        last_used: column::<Option<i64>>(row, 3)?.map(timestamp),
        sealed: column(row, 4)?,
    })
}
