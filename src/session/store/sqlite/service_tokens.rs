//! Service tokens in the file.

use async_trait::async_trait;
use rusqlite::{OptionalExtension, params};

use crate::{
    crypto::KeyId,
    session::{
        cookie::SessionId,
        store::{
            Touch, Unavailable,
            service_tokens::{ReencryptedToken, ServiceTokenRow, ServiceTokenRows, ServiceTokenSelection},
            sqlite::{
                SqliteStore,
                sql::{begin_immediate, seconds, timestamp},
            },
        },
    },
};

/// The `SELECT` of the columns that [`read_token`] reads.
macro_rules! select_tokens {
    () => {
        "SELECT key, name, created, last_used, sealed FROM tokens"
    };
}

#[async_trait]
impl ServiceTokenRows for SqliteStore {
    async fn load_token(&self, key: &SessionId) -> Result<Option<ServiceTokenRow>, Unavailable> {
        let key = *key;
        self.read(move |file| {
            file.prepare_cached(concat!(select_tokens!(), " WHERE key = ?1"))?.query_row([key.0], read_token).optional()
        })
        .await
    }

    async fn insert_token(&self, row: &ServiceTokenRow) -> Result<bool, Unavailable> {
        let row = row.clone();
        self.write(move |file| {
            file.prepare_cached(
                "INSERT INTO tokens (key, name, created, sealed) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (name) DO NOTHING",
            )?
            .execute(params![row.key.0, row.name, seconds(row.created), row.sealed])
        })
        .await
        .map(|rows| rows > 0)
    }

    async fn delete_tokens(&self, selection: &ServiceTokenSelection) -> Result<u64, Unavailable> {
        let selection = selection.clone();
        self.write(move |file| match selection {
            ServiceTokenSelection::Name(name) => file.execute("DELETE FROM tokens WHERE name = ?1", [name]),
            ServiceTokenSelection::Everything => file.execute("DELETE FROM tokens", []),
        })
        .await
        .map(|rows| rows as u64)
    }

    async fn existing_tokens(&self, keys: &[SessionId]) -> Result<Vec<SessionId>, Unavailable> {
        let keys = keys.to_vec();
        self.read(move |file| {
            let mut statement = file.prepare_cached("SELECT 1 FROM tokens WHERE key = ?1")?;
            let mut existing = Vec::new();
            for key in keys {
                if statement.exists([key.0])? {
                    existing.push(key);
                }
            }
            Ok(existing)
        })
        .await
    }

    async fn touch_tokens(&self, touches: &[Touch]) -> Result<(), Unavailable> {
        let touches = touches.to_vec();
        self.write(move |file| {
            let transaction = begin_immediate(file)?;
            let mut statement = transaction
                .prepare_cached("UPDATE tokens SET last_used = max(ifnull(last_used, 0), ?2) WHERE key = ?1")?;
            for touch in touches {
                statement.execute(params![touch.key.0, seconds(touch.last_seen)])?;
            }
            drop(statement);
            transaction.commit()
        })
        .await
    }

    async fn page_tokens(&self, from: &SessionId, limit: u32) -> Result<Vec<ServiceTokenRow>, Unavailable> {
        let from = from.0;
        self.read(move |file| {
            file.prepare_cached(concat!(select_tokens!(), " WHERE key >= ?1 ORDER BY key LIMIT ?2"))?
                .query_map(params![from, limit], read_token)?
                .collect()
        })
        .await
    }

    async fn count_tokens_by_other_secrets(&self, newest: KeyId) -> Result<Vec<(KeyId, u64)>, Unavailable> {
        self.read(move |file| {
            file.prepare_cached(
                "SELECT substr(sealed, 1, 4) AS secret, count(*) FROM tokens \
                 WHERE substr(sealed, 1, 4) <> ?1 AND length(sealed) >= 4 GROUP BY secret",
            )?
            .query_map(params![newest], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?
            .collect()
        })
        .await
    }

    async fn reencrypt_tokens(&self, tokens: &[ReencryptedToken]) -> Result<(), Unavailable> {
        let tokens = tokens.to_vec();
        self.write(move |file| {
            let transaction = begin_immediate(file)?;
            let mut statement =
                transaction.prepare_cached("UPDATE tokens SET sealed = ?3 WHERE key = ?1 AND sealed = ?2")?;
            for ReencryptedToken { key, from, sealed } in tokens {
                statement.execute(params![key.0, from, sealed])?;
            }
            drop(statement);
            transaction.commit()
        })
        .await
    }
}

fn read_token(row: &rusqlite::Row<'_>) -> rusqlite::Result<ServiceTokenRow> {
    Ok(ServiceTokenRow {
        key: row.get(0).map(SessionId)?,
        name: row.get(1)?,
        created: timestamp(row.get(2)?),
        last_used: row.get::<_, Option<i64>>(3)?.map(timestamp),
        sealed: row.get(4)?,
    })
}
