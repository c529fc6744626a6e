//! Key rotation in the file.

use async_trait::async_trait;
use rusqlite::params;

use crate::{
    clock::Timestamp,
    crypto::KeyId,
    session::{
        cookie::SessionId,
        store::{
            Row, Unavailable,
            rotation::{KeyRotation, MAX_COUNTED_ROWS, MAX_SECRETS, ReencryptedRow, RetiredCookieKey},
            sqlite::{
                SqliteStore,
                sql::{begin_immediate, integer, read_row, seconds, select_rows, timestamp},
            },
        },
    },
};

#[async_trait]
impl KeyRotation for SqliteStore {
    async fn count_rows_by_other_secrets(&self, newest: KeyId) -> Result<Vec<(KeyId, u64)>, Unavailable> {
        self.read(move |file| {
            // Skips from each secret to the next one in the index, however many rows are between them.
            file.prepare_cached(
                "WITH RECURSIVE secrets (secret) AS ( \
                     SELECT (SELECT substr(sealed, 1, 4) FROM sessions ORDER BY substr(sealed, 1, 4) LIMIT 1) \
                     UNION ALL \
                     SELECT (SELECT substr(sealed, 1, 4) FROM sessions WHERE substr(sealed, 1, 4) > secret \
                             ORDER BY substr(sealed, 1, 4) LIMIT 1) \
                     FROM secrets WHERE secret IS NOT NULL \
                 ) \
                 SELECT secret, (SELECT count(*) FROM \
                     (SELECT 1 FROM sessions WHERE substr(sealed, 1, 4) = secret LIMIT ?2)) \
                 FROM secrets WHERE secret <> ?1 AND length(secret) = 4 LIMIT ?3",
            )?
            .query_map(params![newest, MAX_COUNTED_ROWS, MAX_SECRETS], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()))
            })?
            .collect()
        })
        .await
    }

    async fn rows_sealed_by(&self, secret: KeyId, from: &SessionId, limit: u32) -> Result<Vec<Row>, Unavailable> {
        let from = from.0;
        self.read(move |file| {
            file.prepare_cached(concat!(
                select_rows!(),
                " WHERE substr(sealed, 1, 4) = ?1 AND key >= ?2 ORDER BY key LIMIT ?3"
            ))?
            .query_map(params![secret, from, limit], read_row)?
            .collect()
        })
        .await
    }

    async fn reencrypt(&self, rows: &[ReencryptedRow]) -> Result<u64, Unavailable> {
        let rows = rows.to_vec();
        self.write(move |file| {
            let transaction = begin_immediate(file)?;
            let mut statement = transaction.prepare_cached(
                "UPDATE sessions SET sealed = ?4 \
                 WHERE key = ?1 AND generation = ?2 AND substr(sealed, 1, 4) = ?3",
            )?;
            let mut many = 0;
            for ReencryptedRow { key, generation, from, sealed } in rows {
                many += statement.execute(params![key.0, integer(generation), from, sealed])?;
            }
            drop(statement);
            transaction.commit().map(|()| many as u64)
        })
        .await
    }

    async fn load_retired_keys(&self) -> Result<Vec<RetiredCookieKey>, Unavailable> {
        self.read(|file| {
            let retired_key = |row: &rusqlite::Row<'_>| {
                Ok(RetiredCookieKey { secret: row.get(0)?, retired: timestamp(row.get(1)?), sealed: row.get(2)? })
            };
            file.prepare_cached("SELECT secret, retired, sealed FROM bequests")?.query_map([], retired_key)?.collect()
        })
        .await
    }

    async fn save_retired_key(&self, retired_key: &RetiredCookieKey) -> Result<(), Unavailable> {
        let RetiredCookieKey { secret, retired, sealed } = retired_key.clone();
        self.write(move |file| {
            file.prepare_cached("INSERT OR REPLACE INTO bequests (secret, retired, sealed) VALUES (?1, ?2, ?3)")?
                .execute(params![secret, seconds(retired), sealed])
        })
        .await
        .map(drop)
    }

    async fn delete_retired_keys(&self, before: Timestamp) -> Result<(), Unavailable> {
        let before = seconds(before);
        self.write(move |file| {
            file.execute(
                "DELETE FROM bequests WHERE retired < ?1 \
                 AND retired < ifnull((SELECT min(created) FROM sessions), retired + 1) \
                 AND retired < ifnull((SELECT min(created) FROM tokens), retired + 1)",
                [before],
            )
        })
        .await
        .map(drop)
    }
}
