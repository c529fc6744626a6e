//! Opening the configured session store.

use crate::{
    metrics,
    session::{
        Backend,
        store::{
            DEADLINE, ObservedStore, Store, Unavailable, memory::MemoryStore, postgres::PostgresStore,
            sqlite::SqliteStore,
        },
    },
};

/// Opens the store. A PostgreSQL server need not be reachable yet.
pub(in crate::session) async fn open(
    backend: &Backend,
    metrics: metrics::StoreMetrics,
) -> Result<ObservedStore, Unavailable> {
    let opened: Box<dyn Store> = match backend {
        Backend::Memory => Box::new(MemoryStore::default()),
        Backend::Sqlite(path) => Box::new(SqliteStore::open(path).await?),
        Backend::Postgres(settings) => Box::new(PostgresStore::new(settings, metrics.clone())?),
    };
    Ok(ObservedStore::new(opened, backend.kind(), metrics, DEADLINE))
}
