//! Key rotation in PostgreSQL.

use async_trait::async_trait;
use tokio_postgres::{Row as Columns, types::Type};

use crate::{
    clock::Timestamp,
    crypto::KeyId,
    session::{
        cookie::SessionId,
        store::{
            Row, Unavailable,
            postgres::{
                PostgresStore,
                pool::{Parameter, Retry},
                sql::{SELECT_ROWS, column, integer, read_row, read_secret, seconds, timestamp},
            },
            rotation::{KeyRotation, MAX_COUNTED_ROWS, MAX_SECRETS, ReencryptedRow, RetiredCookieKey},
        },
    },
};

#[async_trait]
impl KeyRotation for PostgresStore {
    async fn count_rows_by_other_secrets(&self, newest: KeyId) -> Result<Vec<(KeyId, u64)>, Unavailable> {
        // Skips from each secret to the next one in the index, however many rows are between them. The order by key
        // keeps the planner from reading the table where most of its rows are of one secret.
        let statement = "WITH RECURSIVE secrets (secret) AS (\
                             SELECT (SELECT substring(sealed FROM 1 FOR 4) FROM doorward_sessions \
                                     ORDER BY substring(sealed FROM 1 FOR 4), key LIMIT 1) \
                             UNION ALL \
                             SELECT (SELECT substring(sealed FROM 1 FOR 4) FROM doorward_sessions \
                                     WHERE substring(sealed FROM 1 FOR 4) > secret \
                                     ORDER BY substring(sealed FROM 1 FOR 4), key LIMIT 1) \
                             FROM secrets WHERE secret IS NOT NULL\
                         ) \
                         SELECT secret, (SELECT count(*) FROM (\
                             SELECT 1 FROM doorward_sessions WHERE substring(sealed FROM 1 FOR 4) = secret \
                             ORDER BY key LIMIT $2) AS found) \
                         FROM secrets WHERE secret <> $1 AND length(secret) = 4 LIMIT $3";
        let (newest, rows, secrets) = (newest.as_slice(), i64::from(MAX_COUNTED_ROWS), i64::from(MAX_SECRETS));
        let parameters: &[Parameter<'_>] = &[(&newest, Type::BYTEA), (&rows, Type::INT8), (&secrets, Type::INT8)];
        let rows = self.query(statement, parameters, Retry::Once).await?;
        rows.iter().map(|row| Ok((read_secret(row)?, column::<i64>(row, 1)?.unsigned_abs()))).collect()
    }

    async fn rows_sealed_by(&self, secret: KeyId, from: &SessionId, limit: u32) -> Result<Vec<Row>, Unavailable> {
        let statement =
            format!("{SELECT_ROWS} WHERE substring(sealed FROM 1 FOR 4) = $1 AND key >= $2 ORDER BY key LIMIT $3");
        let limit = i64::from(limit);
        let parameters: &[Parameter<'_>] =
            &[(&secret.as_slice(), Type::BYTEA), (&from.0.as_slice(), Type::BYTEA), (&limit, Type::INT8)];
        self.query(&statement, parameters, Retry::Once).await?.iter().map(read_row).collect()
    }

    async fn reencrypt(&self, rows: &[ReencryptedRow]) -> Result<u64, Unavailable> {
        let keys: Vec<_> = rows.iter().map(|row| row.key.0.as_slice()).collect();
        let generations: Vec<_> = rows.iter().map(|row| integer(row.generation)).collect();
        let secrets: Vec<_> = rows.iter().map(|row| row.from.as_slice()).collect();
        let sealed: Vec<_> = rows.iter().map(|row| row.sealed.as_slice()).collect();
        // A locked row is being renewed, ended or reencrypted just now: its turn comes again.
        let statement = "WITH anew AS (\
                             SELECT key, n.sealed FROM unnest($1, $2, $3, $4) AS n (key, generation, secret, sealed) \
                             JOIN doorward_sessions AS s USING (key) \
                             WHERE s.generation = n.generation AND substring(s.sealed FROM 1 FOR 4) = n.secret \
                             FOR UPDATE OF s SKIP LOCKED\
                         ) UPDATE doorward_sessions AS s SET sealed = anew.sealed FROM anew WHERE s.key = anew.key \
                         RETURNING 1";
        let parameters: &[Parameter<'_>] = &[
            (&keys, Type::BYTEA_ARRAY),
            (&generations, Type::INT8_ARRAY),
            (&secrets, Type::BYTEA_ARRAY),
            (&sealed, Type::BYTEA_ARRAY),
        ];
        self.query(statement, parameters, Retry::Once).await.map(|rows| rows.len() as u64)
    }

    async fn load_retired_keys(&self) -> Result<Vec<RetiredCookieKey>, Unavailable> {
        let rows = self.query("SELECT secret, retired, sealed FROM doorward_bequests", &[], Retry::Once).await?;
        let retired_key = |row: &Columns| {
            Ok(RetiredCookieKey {
                secret: read_secret(row)?,
                retired: timestamp(column(row, 1)?),
                sealed: column(row, 2)?,
            })
        };
        rows.iter().map(retired_key).collect()
    }

    async fn save_retired_key(&self, retired_key: &RetiredCookieKey) -> Result<(), Unavailable> {
        let statement = "INSERT INTO doorward_bequests (secret, retired, sealed) VALUES ($1, $2, $3) \
                         ON CONFLICT (secret) DO UPDATE SET retired = excluded.retired, sealed = excluded.sealed";
        let parameters: &[Parameter<'_>] = &[
            (&retired_key.secret.as_slice(), Type::BYTEA),
            (&seconds(retired_key.retired), Type::INT8),
            (&retired_key.sealed, Type::BYTEA),
        ];
        self.query(statement, parameters, Retry::Once).await.map(drop)
    }

    async fn delete_retired_keys(&self, before: Timestamp) -> Result<(), Unavailable> {
        let statement = "DELETE FROM doorward_bequests WHERE retired < $1 \
                         AND retired < coalesce((SELECT min(created) FROM doorward_sessions), retired + 1) \
                         AND retired < coalesce((SELECT min(created) FROM doorward_tokens), retired + 1)";
        self.query(statement, &[(&seconds(before), Type::INT8)], Retry::Once).await.map(drop)
    }
}
