//! The listeners: accepting, TLS, HTTP/1.1 and HTTP/2, limits, deadlines, draining.
//!
//! It must not know what an answer means: [`crate::flow::Gate`] gives it.

mod management;
mod router;
mod tls;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use crate::{flow::Gate, metrics::Metrics, shutdown};

/// The listeners as configured and checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where edges ask.
    pub listen: SocketAddr,
    /// Where metrics and health are.
    pub management: SocketAddr,
    /// TLS for `listen`; absent: clear text.
    pub tls: Option<TlsSettings>,
    /// How long connections may take to finish after the wish to stop.
    pub shutdown_grace: Duration,
}

/// TLS as configured. All files are read again when they change.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// The certificate chain, PEM.
    pub cert: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Where set, only clients with a certificate of these authorities are heard.
    pub client_ca: Option<PathBuf>,
}

/// Listeners that are bound and not yet accepting.
pub struct Server {}

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address could not be bound.
    #[error("cannot listen on {address} ({key}): {source}")]
    Bind {
        /// The configuration key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A certificate, key or authority could not be used.
    #[error("{key}: {problem}")]
    Tls {
        /// The configuration key.
        key: &'static str,
        /// What is wrong, and how to mend it.
        problem: String,
    },
}

impl Server {
    /// Binds both listeners and reads the certificates.
    pub async fn bind(settings: Settings) -> Result<Self, Error> {
        let _ = settings;
        Ok(Self {})
    }

    /// The addresses that were bound: the gate's and the management's.
    #[must_use]
    pub fn addresses(&self) -> (SocketAddr, SocketAddr) {
        unreachable!()
    }

    /// Accepts until `stop` is raised, then drains for at most `shutdown_grace` and returns.
    pub async fn run(self, gate: Arc<Gate>, metrics: Arc<Metrics>, tasks: shutdown::Tasks, stop: shutdown::Signal) {
        let _ = (gate, metrics, tasks);
        stop.raised().await;
    }
}
