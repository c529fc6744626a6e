//! Where a browser may be sent after signing in or out.

use http::HeaderValue;

use super::Policy;
use crate::host::Authority;

/// An address that is safe to send a browser to. Only [`RedirectTarget::parse`] and [`RedirectTarget::root`] make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectTarget(String);

/// Where the one who asks to be redirected is.
#[derive(Clone, Copy, Debug)]
pub struct Here<'a> {
    /// `https` or `http`: from the configuration.
    pub scheme: &'a str,
    /// The host (and port) that was asked.
    pub authority: &'a Authority<'a>,
    /// `server.prefix`: targets below it become the root.
    pub prefix: &'a str,
}

impl RedirectTarget {
    /// Takes an address if it may be followed: a path on the asked host, or an absolute address on a host that an app
    /// names (contract C12). What is taken stays as it was, byte for byte.
    #[must_use]
    pub fn parse(text: &str, here: Here<'_>, policy: &Policy) -> Option<Self> {
        let _ = (text, here, policy);
        None
    }

    /// The root of the asked host.
    #[must_use]
    pub fn root(here: Here<'_>) -> Self {
        Self(format!("{}://{}/", here.scheme, here.authority))
    }

    /// The absolute address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same as the value of a `Location` header.
    #[must_use]
    pub fn location(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("a target is printable ASCII")
    }
}
