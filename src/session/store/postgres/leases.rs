//! Leases and the replay check in PostgreSQL, by the server's clock: replicas need not agree on the time.

use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::types::Type;

use crate::{
    clock::Timestamp,
    session::store::{
        Row, Unavailable,
        lease::{Lease, Leases},
        postgres::{
            PostgresStore,
            pool::{Parameter, Retry},
            sql::{integer, seconds},
        },
    },
};

#[async_trait]
impl Leases for PostgresStore {
    async fn acquire_lease(&self, lease: &Lease, span: Duration) -> Result<bool, Unavailable> {
        let span = integer(span.as_secs());
        // An older version without holders moves the lease and leaves `held` as it was: the lease is then that
        // version's.
        let statement = "UPDATE doorward_sessions SET holder = $4, held = extract(epoch FROM now())::bigint + $3, \
                         lease = extract(epoch FROM now())::bigint + $3 \
                         WHERE key = $1 AND generation = $2 \
                         AND (lease <= extract(epoch FROM now())::bigint OR (holder = $4 AND held = lease)) \
                         RETURNING 1";
        let parameters: &[Parameter<'_>] = &[
            (&lease.key.0.as_slice(), Type::BYTEA),
            (&integer(lease.generation), Type::INT8),
            (&span, Type::INT8),
            (&lease.holder.0.as_slice(), Type::BYTEA),
        ];
        self.query(statement, parameters, Retry::Once).await.map(|rows| !rows.is_empty())
    }

    async fn release_lease(&self, lease: &Lease) -> Result<(), Unavailable> {
        let statement = "UPDATE doorward_sessions SET lease = 0 \
                         WHERE key = $1 AND generation = $2 AND holder = $3 AND held = lease";
        let parameters: &[Parameter<'_>] = &[
            (&lease.key.0.as_slice(), Type::BYTEA),
            (&integer(lease.generation), Type::INT8),
            (&lease.holder.0.as_slice(), Type::BYTEA),
        ];
        self.query(statement, parameters, Retry::Once).await.map(drop)
    }

    async fn replace(&self, row: &Row) -> Result<bool, Unavailable> {
        let (key, generation) = (row.key.0.as_slice(), integer(row.generation));
        let statement = "WITH newer AS (\
                             UPDATE doorward_sessions SET sid = $2, generation = $3, sealed = $4, lease = 0 \
                             WHERE key = $1 AND generation = $3 - 1 RETURNING key\
                         ) SELECT pg_notify('doorward_sessions', 'changed ' || encode(key, 'hex')) FROM newer";
        let parameters: &[Parameter<'_>] =
            &[(&key, Type::BYTEA), (&row.sid, Type::TEXT), (&generation, Type::INT8), (&row.sealed, Type::BYTEA)];
        self.query(statement, parameters, Retry::Never).await.map(|rows| !rows.is_empty())
    }

    async fn record_jti(&self, digest: &[u8; 32], until: Timestamp) -> Result<bool, Unavailable> {
        let (digest, until) = (digest.as_slice(), seconds(until));
        let statement = "WITH old AS (DELETE FROM doorward_spent WHERE until < extract(epoch FROM now())::bigint) \
                         INSERT INTO doorward_spent (word, until) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING 1";
        let parameters: &[Parameter<'_>] = &[(&digest, Type::BYTEA), (&until, Type::INT8)];
        self.query(statement, parameters, Retry::Never).await.map(|rows| !rows.is_empty())
    }

    async fn forget_jti(&self, digest: &[u8; 32]) -> Result<(), Unavailable> {
        let digest = digest.as_slice();
        let statement = "DELETE FROM doorward_spent WHERE word = $1";
        self.query(statement, &[(&digest, Type::BYTEA)], Retry::Once).await.map(drop)
    }
}
