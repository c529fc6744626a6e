//! Failures of upstreams.

use std::time::Duration;

use crate::client_tls;

/// Errors of a request to an upstream.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection, or one that broke before the head of a response.
    #[error("{0}")]
    Unavailable(String),
    /// No head of a response within the deadline.
    #[error("no answer within {}", humantime::format_duration(*.0))]
    Timeout(Duration),
    /// The client's request broke off, or is one that cannot be passed on.
    #[error("{0}")]
    Request(String),
}

/// Side of an exchange that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailedSide {
    /// The client.
    Client,
    /// The upstream.
    Upstream,
}

impl Error {
    /// The error of a connection that broke.
    pub(super) fn broken(error: &hyper::Error) -> Self {
        Self::Unavailable(client_tls::error_chain(error))
    }

    /// Returns the side that failed.
    #[must_use]
    pub fn side(&self) -> FailedSide {
        match self {
            Self::Unavailable(_) | Self::Timeout(_) => FailedSide::Upstream,
            Self::Request(_) => FailedSide::Client,
        }
    }
}
