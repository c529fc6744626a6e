//! How long sessions last and where they are kept, as it is configured.

use std::{path::PathBuf, time::Duration};

use crate::session::store::postgres;

/// How long sessions last and where they are kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Absolute: from sign-in.
    pub lifetime: Duration,
    /// Since the last request.
    pub idle_timeout: Duration,
    /// How long before its access token ends a session in use is renewed.
    pub renew_before: Duration,
    /// How long a known session is honoured while provider or store is away.
    pub outage_grace: Duration,
    /// Whether an app is passed what the provider issued: otherwise none of it stays in memory.
    pub passes_tokens: bool,
    /// Where they are kept.
    pub backend: Backend,
}

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
