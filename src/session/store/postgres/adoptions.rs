//! Adoptions in PostgreSQL.

use async_trait::async_trait;
use tokio_postgres::types::Type;

use crate::{
    clock::Timestamp,
    session::store::{
        Row, Unavailable,
        adoptions::{AdoptionMark, Adoptions},
        postgres::{
            PostgresStore,
            pool::{Parameter, Retry},
            sql::{integer, seconds},
        },
    },
};

#[async_trait]
impl Adoptions for PostgresStore {
    async fn adopt(&self, row: Row, mark: &AdoptionMark, until: Timestamp) -> Result<bool, Unavailable> {
        let (mark, until, generation) = (mark.as_slice(), seconds(until), integer(row.generation));
        let parameters: &[Parameter<'_>] = &[
            (&row.key.0.as_slice(), Type::BYTEA),
            (&row.provider, Type::TEXT),
            (&row.subject, Type::TEXT),
            (&row.sid, Type::TEXT),
            (&generation, Type::INT8),
            (&seconds(row.created), Type::INT8),
            (&seconds(row.last_seen), Type::INT8),
            (&row.sealed, Type::BYTEA),
            (&mark, Type::BYTEA),
            (&until, Type::INT8),
        ];
        let statement = "WITH old AS (DELETE FROM doorward_spent WHERE until < extract(epoch FROM now())::bigint), \
                         mark AS (INSERT INTO doorward_spent (word, until) VALUES ($9, $10) \
                                       ON CONFLICT DO NOTHING RETURNING 1) \
                         INSERT INTO doorward_sessions \
                         (key, provider, subject, sid, generation, created, last_seen, sealed) \
                         SELECT $1, $2, $3, $4, $5, $6, $7, $8 FROM mark RETURNING 1";
        self.query(statement, parameters, Retry::Never).await.map(|rows| !rows.is_empty())
    }

    async fn is_marked(&self, marks: &[AdoptionMark; 2]) -> Result<bool, Unavailable> {
        let marks: Vec<_> = marks.iter().map(<[u8; 32]>::as_slice).collect();
        let statement = "SELECT 1 FROM doorward_spent WHERE word = ANY($1) LIMIT 1";
        self.query(statement, &[(&marks, Type::BYTEA_ARRAY)], Retry::Once).await.map(|rows| !rows.is_empty())
    }
}
