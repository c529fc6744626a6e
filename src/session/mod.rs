//! Sessions: made at sign-in, found by their cookie on every request, ended once and for all.
//!
//! Promises: a cookie that we did not make costs no store look-up; a store that does not answer never looks like a
//! session that is over; nothing is written on a request's path. It must not know providers, edges or pages.

mod cache;
mod memory;
mod record;
mod sqlite;
mod store;
mod token;

use std::{path::PathBuf, sync::Arc, time::Duration};

pub use self::{
    record::{Live, NewSession, Record},
    store::Unavailable,
};
use crate::{clock::Clock, crypto::Keyring, metrics, shutdown};

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
}

impl Backend {
    /// The kind, as metrics and logs name it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite(_) => "sqlite",
        }
    }
}

/// What a cookie turned out to be.
#[derive(Clone, Debug)]
pub enum Found {
    /// A session that lives.
    Live(Arc<Live>),
    /// A session of ours that is over.
    Ended,
    /// Nothing that we made.
    NotOurs,
}

/// All sessions of this gate.
pub struct Sessions {}

impl Sessions {
    /// Opens the store. Fails only where waiting cannot help (a file that is no database, a directory that is not there).
    pub async fn open(
        settings: Settings,
        keyring: Arc<Keyring>,
        clock: Clock,
        sessions: metrics::Sessions,
        store: metrics::Store,
    ) -> Result<Self, Unavailable> {
        let _ = (settings, keyring, clock, sessions, store);
        Ok(Self {})
    }

    /// Looks up the session that a cookie's value stands for. Waits for the store at most [`store::DEADLINE`].
    pub async fn find(&self, cookie: &[u8]) -> Result<Found, Unavailable> {
        let _ = cookie;
        Ok(Found::NotOurs)
    }

    /// Makes a session and returns the value of its cookie: always a new one, written before it is returned.
    pub async fn create(&self, new: NewSession) -> Result<String, Unavailable> {
        let _ = new;
        Ok(String::new())
    }

    /// Ends the session that a cookie's value stands for; `None` where it is none of ours or was over already.
    pub async fn revoke(&self, cookie: &[u8], why: metrics::Logout) -> Result<Option<Arc<Live>>, Unavailable> {
        let _ = (cookie, why);
        Ok(None)
    }

    /// Whether the store answered when it was last asked.
    #[must_use]
    pub fn is_up(&self) -> bool {
        true
    }

    /// Until asked to stop: writes when sessions were last used, removes expired ones in small batches, sees whether
    /// the store is there. Writes what is pending once more before it returns.
    pub async fn maintain(&self, stop: shutdown::Signal) {
        stop.raised().await;
    }
}
