//! Settings of one upstream.
//!
//! Promises: equal settings are equal in the content of their files too.

use std::time::Duration;

use url::Url;

use crate::client_tls::Pem;

/// One upstream as configured and checked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// Address, http or https: the origin, and the path that goes before each request's own.
    pub url: Url,
    /// Certificates to trust in addition to the system's.
    pub ca: Option<Pem>,
    /// Time for a connection, the TLS handshake included.
    pub connect_timeout: Duration,
    /// Time from the end of the request to the head of the response.
    pub first_byte_timeout: Duration,
    /// Time without a byte in either direction, while a body is on its way or after an upgrade.
    pub silence_timeout: Duration,
}

impl Settings {
    /// Settings of an address, with the default deadlines.
    #[must_use]
    pub fn new(url: Url) -> Self {
        Self {
            url,
            ca: None,
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_mins(1),
            silence_timeout: Duration::from_mins(10),
        }
    }

    /// The origin, as metrics name it.
    #[must_use]
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }
}
