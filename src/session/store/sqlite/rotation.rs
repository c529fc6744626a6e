//! Rotating a secret in the file.

use async_trait::async_trait;
use rusqlite::params;

use crate::{
    clock::Timestamp,
    crypto::KeyId,
    session::{
        cookie::SessionId,
        store::{
            Row, Unavailable,
            rotation::{Bequest, MOST_COUNTED, MOST_SECRETS, Reseal, Rotation},
            sqlite::{Sqlite, begin, columns, leases::number, moment, read, seconds},
        },
    },
};

#[async_trait]
impl Rotation for Sqlite {
    async fn count_others(&self, newest: KeyId) -> Result<Vec<(KeyId, u64)>, Unavailable> {
        self.read(move |file| {
            // From each secret to the next one in the index, whatever the number of rows between them.
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
            .query_map(params![newest, MOST_COUNTED, MOST_SECRETS], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()))
            })?
            .collect()
        })
        .await
    }

    async fn sealed_by(&self, secret: KeyId, from: &SessionId, limit: u32) -> Result<Vec<Row>, Unavailable> {
        let from = from.0;
        self.read(move |file| {
            file.prepare_cached(concat!(
                columns!(),
                " WHERE substr(sealed, 1, 4) = ?1 AND key >= ?2 ORDER BY key LIMIT ?3"
            ))?
            .query_map(params![secret, from, limit], read)?
            .collect()
        })
        .await
    }

    async fn reseal(&self, reseals: &[Reseal]) -> Result<u64, Unavailable> {
        let reseals = reseals.to_vec();
        self.write(move |file| {
            let transaction = begin(file)?;
            let mut statement = transaction.prepare_cached(
                "UPDATE sessions SET sealed = ?4 \
                 WHERE key = ?1 AND generation = ?2 AND substr(sealed, 1, 4) = ?3",
            )?;
            let mut many = 0;
            for Reseal { key, generation, from, sealed } in reseals {
                many += statement.execute(params![key.0, number(generation), from, sealed])?;
            }
            drop(statement);
            transaction.commit().map(|()| many as u64)
        })
        .await
    }

    async fn bequests(&self) -> Result<Vec<Bequest>, Unavailable> {
        self.read(|file| {
            let bequest = |row: &rusqlite::Row<'_>| {
                Ok(Bequest { secret: row.get(0)?, retired: moment(row.get(1)?), sealed: row.get(2)? })
            };
            file.prepare_cached("SELECT secret, retired, sealed FROM bequests")?.query_map([], bequest)?.collect()
        })
        .await
    }

    async fn bequeath(&self, bequest: &Bequest) -> Result<(), Unavailable> {
        let Bequest { secret, retired, sealed } = bequest.clone();
        self.write(move |file| {
            file.prepare_cached("INSERT OR REPLACE INTO bequests (secret, retired, sealed) VALUES (?1, ?2, ?3)")?
                .execute(params![secret, seconds(retired), sealed])
        })
        .await
        .map(drop)
    }

    async fn forget_bequests(&self, before: Timestamp) -> Result<(), Unavailable> {
        let before = seconds(before);
        self.write(move |file| {
            file.execute(
                "DELETE FROM bequests \
                 WHERE retired < ?1 AND retired < ifnull((SELECT min(created) FROM sessions), retired + 1)",
                [before],
            )
        })
        .await
        .map(drop)
    }
}
