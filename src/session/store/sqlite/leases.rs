//! Leases and spent words in the file. Several processes may share one, so the clock is the file's own: `unixepoch()`.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::params;

use crate::{
    clock::Timestamp,
    session::store::{
        Row, Unavailable,
        lease::{Lease, Leases},
        sqlite::{Sqlite, seconds},
    },
};

#[async_trait]
impl Leases for Sqlite {
    async fn claim(&self, lease: &Lease, span: Duration) -> Result<bool, Unavailable> {
        let (lease, span) = (*lease, number(span.as_secs()));
        self.write(move |file| {
            // A version that knows no holders moves the lease and leaves `held` where it was: then it is nobody's but its own.
            file.prepare_cached(
                "UPDATE sessions SET lease = unixepoch() + ?3, held = unixepoch() + ?3, holder = ?4 \
                 WHERE key = ?1 AND generation = ?2 \
                 AND (lease <= unixepoch() OR (holder = ?4 AND held = lease))",
            )?
            .execute(params![lease.key.0, number(lease.generation), span, lease.holder.0])
        })
        .await
        .map(|rows| rows > 0)
    }

    async fn release(&self, lease: &Lease) -> Result<(), Unavailable> {
        let lease = *lease;
        self.write(move |file| {
            file.prepare_cached(
                "UPDATE sessions SET lease = 0 WHERE key = ?1 AND generation = ?2 AND holder = ?3 AND held = lease",
            )?
            .execute(params![lease.key.0, number(lease.generation), lease.holder.0])
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
            .execute(params![row.key.0, row.sid, number(row.generation), row.sealed])
        })
        .await
        .map(|rows| rows > 0)
    }

    async fn spend(&self, word: &[u8; 32], until: Timestamp) -> Result<bool, Unavailable> {
        let (word, until) = (*word, seconds(until));
        self.write(move |file| {
            file.execute("DELETE FROM spent WHERE until < unixepoch()", [])?;
            file.prepare_cached("INSERT INTO spent (word, until) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
                .execute(params![word, until])
        })
        .await
        .map(|rows| rows > 0)
    }

    async fn unspend(&self, word: &[u8; 32]) -> Result<(), Unavailable> {
        let word = *word;
        self.write(move |file| file.execute("DELETE FROM spent WHERE word = ?1", [word])).await.map(drop)
    }
}

pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
