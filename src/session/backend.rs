//! Where sessions are kept, and how that is opened.
//!
//! It must not know what is done with them.

use std::path::PathBuf;

use super::{
    memory::Memory,
    postgres::{self, Postgres},
    sqlite::Sqlite,
    store::{DEADLINE, Store, Unavailable, Watched},
};
use crate::metrics;

/// Where sessions are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// In this process alone: gone when it ends.
    Memory,
    /// In a file of this machine.
    Sqlite(PathBuf),
    /// In a database that replicas share.
    Postgres(Box<postgres::Settings>),
}

impl Backend {
    /// The kind, as metrics and logs name it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgres",
        }
    }
}

/// Opens the store, as far as it is there.
pub(super) async fn open(backend: &Backend, metrics: metrics::Store) -> Result<Watched, Unavailable> {
    let opened: Box<dyn Store> = match backend {
        Backend::Memory => Box::new(Memory::default()),
        Backend::Sqlite(path) => Box::new(Sqlite::open(path).await?),
        Backend::Postgres(settings) => Box::new(Postgres::new(settings, metrics.clone())?),
    };
    Ok(Watched::new(opened, backend.kind(), metrics, DEADLINE))
}
