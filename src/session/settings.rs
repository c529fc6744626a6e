//! Session settings as configured: lifetimes and the store.
//!
//! Promises: they are complete and checked; `config` makes them.

use std::{path::PathBuf, time::Duration};

use crate::session::store::postgres;

/// Lifetimes of sessions, and the store that keeps them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Absolute lifetime, from sign-in.
    pub lifetime: Duration,
    /// Absolute lifetime of an adopted session; `None` where none is adopted.
    pub adopted_lifetime: Option<Duration>,
    /// Idle timeout, from the last request.
    pub idle_timeout: Duration,
    /// Time before the end of its access token at which a session in use is renewed.
    pub renew_before: Duration,
    /// Time for which a known session is served while provider or store is unavailable.
    pub outage_grace: Duration,
    /// Time after which a page takes the browser past the provider again, the shortest of all apps; `None`: never.
    pub reauthorize: Option<Duration>,
    /// `true` if an app is passed tokens of the provider: otherwise none stay in memory.
    pub passes_tokens: bool,
    /// The store.
    pub backend: Backend,
}

/// The kind of store, and its location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Memory of this process: gone when it ends.
    Memory,
    /// An SQLite file on this machine.
    Sqlite(PathBuf),
    /// A PostgreSQL database that replicas share.
    Postgres(Box<postgres::Settings>),
}

impl Settings {
    /// Absolute lifetime of an adopted session: never longer than that of others.
    pub(in crate::session) fn adopted_lifetime(&self) -> Duration {
        self.adopted_lifetime.map_or(self.lifetime, |adopted| adopted.min(self.lifetime))
    }
}

impl Backend {
    /// The kind of store, as metrics and logs name it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgres",
        }
    }
}
