//! Opening what sessions are kept in.
//!
//! It must not know what is done with them.

use crate::{
    metrics,
    session::{
        Backend,
        store::{DEADLINE, ObservedStore, Store, Unavailable, memory::Memory, postgres::Postgres, sqlite::Sqlite},
    },
};

/// Opens the store, as far as it is there.
pub(in crate::session) async fn open(backend: &Backend, metrics: metrics::Store) -> Result<ObservedStore, Unavailable> {
    let opened: Box<dyn Store> = match backend {
        Backend::Memory => Box::new(Memory::default()),
        Backend::Sqlite(path) => Box::new(Sqlite::open(path).await?),
        Backend::Postgres(settings) => Box::new(Postgres::new(settings, metrics.clone())?),
    };
    Ok(ObservedStore::new(opened, backend.kind(), metrics, DEADLINE))
}
