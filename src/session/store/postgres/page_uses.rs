//! Last pages in PostgreSQL.

use async_trait::async_trait;
use tokio_postgres::types::Type;

use crate::{
    clock::Timestamp,
    session::store::{
        Unavailable,
        page_uses::{PageUse, PageUseKey, PageUseStore},
        postgres::{
            PostgresStore,
            pool::{Parameter, Retry},
            sql::{column, seconds, timestamp},
        },
    },
};

#[async_trait]
impl PageUseStore for PostgresStore {
    async fn record_page_uses(&self, uses: &[PageUse]) -> Result<(), Unavailable> {
        // In the order of their keys, so that replicas that write at once do not wait for each other in a circle.
        let mut uses = uses.to_vec();
        uses.sort_unstable_by_key(|page| page.key);
        let keys: Vec<_> = uses.iter().map(|page| page.key.as_slice()).collect();
        let [pages, ends] = [|page: &PageUse| page.at, |page: &PageUse| page.until]
            .map(|time| uses.iter().map(|page| seconds(time(page))).collect::<Vec<_>>());
        // A statement may change a row once, so it does not delete those that it records.
        let statement = "WITH old AS (DELETE FROM doorward_page_uses WHERE word IN (\
                             SELECT word FROM doorward_page_uses \
                             WHERE until < extract(epoch FROM now())::bigint AND word <> ALL($1) \
                             LIMIT 1000 FOR UPDATE SKIP LOCKED)) \
                         INSERT INTO doorward_page_uses AS own (word, at, until) \
                         SELECT * FROM unnest($1, $2, $3) ON CONFLICT (word) DO UPDATE \
                         SET at = greatest(own.at, excluded.at), until = greatest(own.until, excluded.until)";
        let parameters: &[Parameter<'_>] =
            &[(&keys, Type::BYTEA_ARRAY), (&pages, Type::INT8_ARRAY), (&ends, Type::INT8_ARRAY)];
        self.query(statement, parameters, Retry::Once).await.map(drop)
    }

    async fn last_page_use(&self, key: &PageUseKey) -> Result<Option<Timestamp>, Unavailable> {
        let statement = "SELECT at FROM doorward_page_uses WHERE word = $1";
        let rows = self.query(statement, &[(&key.as_slice(), Type::BYTEA)], Retry::Once).await?;
        rows.first().map(|row| column(row, 0).map(timestamp)).transpose()
    }
}
