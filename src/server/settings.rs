//! Settings of the listeners, as configured and checked.
//!
//! Values only; [`super::Server`] binds them.

use std::{net::SocketAddr, time::Duration};

use super::tls::TlsSettings;

/// Settings of both listeners.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address at which edges ask.
    pub listen: SocketAddr,
    /// Address of metrics and health.
    pub management: SocketAddr,
    /// TLS for `listen`; absent: clear text.
    pub tls: Option<TlsSettings>,
    /// Longest time for a graceful shutdown.
    pub shutdown_grace: Duration,
}
