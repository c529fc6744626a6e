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
    /// Address at which apps are served in reverse-proxy mode.
    pub proxy_listen: Option<SocketAddr>,
    /// TLS for `listen` and `proxy_listen`; absent: clear text.
    pub tls: Option<TlsSettings>,
    /// Longest time for a graceful shutdown.
    pub shutdown_grace: Duration,
}
