//! Where a browser may be sent after signing in or out.
//!
//! An address is taken only where our own reading of the text and a browser's (the WHATWG URL standard) agree on the
//! origin, and that origin is one of ours. It must not know why somebody is redirected.

use http::HeaderValue;
use percent_encoding::percent_decode_str;
use url::Url;

use super::Policy;
use crate::host::{Authority, default_port};

/// Longer addresses are nobody's bookmark, and the sealed sign-in that carries them has to fit an address itself.
const MAX_LENGTH: usize = 4096;

/// An address that is safe to send a browser to. Only [`RedirectTarget::parse`] and its two
/// companions make one.
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
    /// names. What is taken stays as it was, byte for byte; only a target below the gate's own prefix
    /// becomes the root of its host.
    #[must_use]
    pub fn parse(text: &str, here: Here<'_>, policy: &Policy) -> Option<Self> {
        // First of all the bytes that browsers drop, turn into slashes or read as something else.
        if text.len() > MAX_LENGTH || !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            return None;
        }
        let (authority, absolute) = if text.starts_with('/') {
            if text.starts_with("//") {
                return None;
            }
            (here.authority.clone(), format!("{}://{}{text}", here.scheme, here.authority))
        } else {
            (foreign_authority(text, here, policy)?, text.to_owned())
        };
        let url = Url::parse(&absolute).ok()?;
        if !is_same_origin(&url, here.scheme, &authority) {
            return None;
        }
        if is_below(&url, here.prefix) {
            return Some(Self(format!("{}://{authority}/", here.scheme)));
        }
        Some(Self(absolute))
    }

    /// The address that was asked, to come back to after signing in: the same test, for a target as it stood on the request
    /// line. There `//a/b` is a path on this host, which alone it would not be.
    #[must_use]
    pub fn asked(target: &str, here: Here<'_>, policy: &Policy) -> Option<Self> {
        Self::parse(&format!("{}://{}{target}", here.scheme, here.authority), here, policy)
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
    #[expect(clippy::missing_panics_doc, reason = "an invariant of the type, not something callers can cause")]
    pub fn location(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("a target is printable ASCII")
    }
}

/// The authority of an absolute address, where that may be followed from here: our scheme, no userinfo, the asked host or
/// one that an app names, at the port where browsers reach us.
fn foreign_authority<'t>(text: &'t str, here: Here<'_>, policy: &Policy) -> Option<Authority<'t>> {
    let rest = text.strip_prefix(here.scheme)?.strip_prefix("://")?;
    // `Authority` refuses an `@`, so userinfo ends here.
    let authority = Authority::parse(rest.split(['/', '?', '#']).next()?).ok()?;
    let is_known = authority.host() == here.authority.host() || policy.names(authority.host());
    let is_our_port = match authority.port() {
        None => true,
        port @ Some(number) => default_port(here.scheme) == Some(number) || port == here.authority.port(),
    };
    (is_known && is_our_port).then_some(authority)
}

/// Whether a browser would end where we think it would.
fn is_same_origin(url: &Url, scheme: &str, authority: &Authority<'_>) -> bool {
    url.scheme() == scheme
        && url.host_str() == Some(authority.host())
        && url.port_or_known_default() == authority.port().or_else(|| default_port(scheme))
        && url.username().is_empty()
        && url.password().is_none()
}

/// Whether any server on the way could take the address for one below `prefix`, however it folds the path. `url` has no
/// dot segments any more, escaped ones included.
fn is_below(url: &Url, prefix: &str) -> bool {
    let path = percent_decode_str(url.path()).decode_utf8_lossy();
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    prefix
        .split('/')
        .filter(|segment| !segment.is_empty())
        .all(|own| segments.next().is_some_and(|segment| segment.eq_ignore_ascii_case(own)))
}
