//! Leases and the replay check in the file, by the clock of SQLite (`unixepoch()`): several processes may share a file.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::params;

use crate::{
    clock::Timestamp,
    session::store::{
        Row, Unavailable,
        lease::{Lease, Leases},
        sqlite::{
            SqliteStore,
            sql::{integer, seconds},
        },
    },
};

#[async_trait]
impl Leases for SqliteStore {
    async fn acquire_lease(&self, lease: &Lease, span: Duration) -> Result<bool, Unavailable> {
        let (lease, span) = (*lease, integer(span.as_secs()));
        self.write(move |file| {
            // An older version without holders moves the lease and leaves `held` as it was: the lease is then that
            // version's.
            file.prepare_cached(
                "UPDATE sessions SET lease = unixepoch() + ?3, held = unixepoch() + ?3, holder = ?4 \
                 WHERE key = ?1 AND generation = ?2 \
                 AND (lease <= unixepoch() OR (holder = ?4 AND held = lease))",
            )?
            .execute(params![lease.key.0, integer(lease.generation), span, lease.holder.0])
        })
        .await
        .map(|rows| rows > 0)
    }

    async fn release_lease(&self, lease: &Lease) -> Result<(), Unavailable> {
        let lease = *lease;
        self.write(move |file| {
            file.prepare_cached(
                "UPDATE sessions SET lease = 0 WHERE key = ?1 AND generation = ?2 AND holder = ?3 AND held = lease",
            )?
            .execute(params![lease.key.0, integer(lease.generation), lease.holder.0])
        })
        .await
        .map(drop)
    }

    async fn replace(&self, row: &Row) -> Result<bool, Unavailable> {
        let row = row.clone();
        self.write(move |file| {
            file.prepare_cached(
                "UPDATE sessions SET sid = ?2, generation = ?3, sealed = ?4, lease = 0 \
                 WHERE key = ?1 AND generation = ?3 - 1",
            )?
            .execute(params![row.key.0, row.sid, integer(row.generation), row.sealed])
        })
        .await
        .map(|rows| rows > 0)
    }

    async fn record_jti(&self, digest: &[u8; 32], until: Timestamp) -> Result<bool, Unavailable> {
        let (digest, until) = (*digest, seconds(until));
        self.write(move |file| {
            file.execute("DELETE FROM spent WHERE until < unixepoch()", [])?;
            file.prepare_cached("INSERT INTO spent (word, until) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
                .execute(params![digest, until])
        })
        .await
        .map(|rows| rows > 0)
    }

    async fn forget_jti(&self, digest: &[u8; 32]) -> Result<(), Unavailable> {
        let digest = *digest;
        self.write(move |file| file.execute("DELETE FROM spent WHERE word = ?1", [digest])).await.map(drop)
    }
}
