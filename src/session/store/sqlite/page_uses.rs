//! Last pages in the file.

use async_trait::async_trait;
use rusqlite::{OptionalExtension as _, params};

use crate::{
    clock::Timestamp,
    session::store::{
        Unavailable,
        page_uses::{PageUse, PageUseKey, PageUseStore},
        sqlite::{
            SqliteStore,
            sql::{begin_immediate, seconds, timestamp},
        },
    },
};

#[async_trait]
impl PageUseStore for SqliteStore {
    async fn record_page_uses(&self, uses: &[PageUse]) -> Result<(), Unavailable> {
        let uses = uses.to_vec();
        self.write(move |file| {
            let transaction = begin_immediate(file)?;
            transaction.execute("DELETE FROM page_uses WHERE until < unixepoch()", [])?;
            let mut statement = transaction.prepare_cached(
                "INSERT INTO page_uses (word, at, until) VALUES (?1, ?2, ?3) \
                 ON CONFLICT DO UPDATE SET at = max(at, excluded.at), until = max(until, excluded.until)",
            )?;
            for PageUse { key, at, until } in uses {
                statement.execute(params![key, seconds(at), seconds(until)])?;
            }
            drop(statement);
            transaction.commit()
        })
        .await
    }

    async fn last_page_use(&self, key: &PageUseKey) -> Result<Option<Timestamp>, Unavailable> {
        let key = *key;
        self.read(move |file| {
            let mut statement = file.prepare_cached("SELECT at FROM page_uses WHERE word = ?1")?;
            statement.query_row([key], |row| row.get(0).map(timestamp)).optional()
        })
        .await
    }
}
