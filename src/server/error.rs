//! Errors of opening a listener.
//!
//! Each names the configuration key at fault.

use std::{io, net::SocketAddr};

/// Reason for which a listener could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address could not be bound.
    #[error("cannot listen on {address} ({key})")]
    Bind {
        /// Configuration key.
        key: &'static str,
        /// Address.
        address: SocketAddr,
        /// Error of the system.
        source: io::Error,
    },
    /// A certificate, key or authority could not be used.
    #[error("{key}: {problem}")]
    Tls {
        /// Configuration key.
        key: &'static str,
        /// Problem and remedy.
        problem: String,
    },
}
