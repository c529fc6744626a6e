//! Adoptions in the file.

use async_trait::async_trait;
use rusqlite::params;

use crate::{
    clock::Timestamp,
    session::store::{
        Row, Unavailable,
        adoptions::{AdoptionMark, Adoptions},
        sqlite::{
            SqliteStore,
            sql::{begin_immediate, integer, seconds},
        },
    },
};

#[async_trait]
impl Adoptions for SqliteStore {
    async fn adopt(&self, row: Row, mark: &AdoptionMark, until: Timestamp) -> Result<bool, Unavailable> {
        let (mark, until) = (*mark, seconds(until));
        self.write(move |file| {
            let transaction = begin_immediate(file)?;
            transaction.execute("DELETE FROM spent WHERE until < unixepoch()", [])?;
            let statement = "INSERT INTO spent (word, until) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
            if transaction.prepare_cached(statement)?.execute(params![mark, until])? == 0 {
                return Ok(false);
            }
            transaction
                .prepare_cached(
                    "INSERT INTO sessions (key, provider, subject, sid, generation, created, last_seen, sealed) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )?
                .execute(params![
                    row.key.0,
                    row.provider,
                    row.subject,
                    row.sid,
                    integer(row.generation),
                    seconds(row.created),
                    seconds(row.last_seen),
                    row.sealed,
                ])?;
            transaction.commit().map(|()| true)
        })
        .await
    }

    async fn is_marked(&self, marks: &[AdoptionMark; 2]) -> Result<bool, Unavailable> {
        let [one, other] = *marks;
        self.read(move |file| {
            file.prepare_cached("SELECT 1 FROM spent WHERE word IN (?1, ?2)")?.exists(params![one, other])
        })
        .await
    }
}
