//! Leases and spent words in the file. Several processes may share one, so the clock is the file's own: `unixepoch()`.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::params;

use super::{Sqlite, seconds};
use crate::{
    clock::Timestamp,
    session::{
        lease::Leases,
        store::{Row, Unavailable},
        token::Key,
    },
};

#[async_trait]
impl Leases for Sqlite {
    async fn claim(&self, key: &Key, generation: u64, span: Duration) -> Result<bool, Unavailable> {
        let (key, generation, span) = (key.0, number(generation), number(span.as_secs()));
        self.write(move |file| {
            file.prepare_cached(
                "UPDATE sessions SET lease = unixepoch() + ?3 \
                 WHERE key = ?1 AND generation = ?2 AND lease <= unixepoch()",
            )?
            .execute(params![key, generation, span])
        })
        .await
        .map(|rows| rows > 0)
    }

    async fn release(&self, key: &Key, generation: u64) -> Result<(), Unavailable> {
        let (key, generation) = (key.0, number(generation));
        self.write(move |file| {
            file.prepare_cached("UPDATE sessions SET lease = 0 WHERE key = ?1 AND generation = ?2")?
                .execute(params![key, generation])
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
