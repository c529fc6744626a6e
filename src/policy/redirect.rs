//! Redirect targets after sign-in and sign-out: the guard against open redirects.
//!
//! Promises: a URL is accepted only where our own reading of the text and a browser's (the WHATWG URL standard) agree on the
//! origin, and that origin is one of ours.

use std::borrow::Cow;

use http::HeaderValue;
use percent_encoding::{AsciiSet, percent_decode_str, utf8_percent_encode};
use url::Url;

use super::Policy;
use crate::host::{Authority, default_port};

/// The longest path and query that are returned to, in bytes: twice the request line that nginx takes by default.
const MAX_TARGET: usize = 16 << 10;
/// The longest URL that is accepted: scheme, the longest host, a port, and the longest path and query.
pub const MAX_LENGTH: usize = MAX_TARGET + 300;

/// Bytes that no URL and no `Location` can hold (RFC 3986, section 2): browsers send them percent-encoded in the first place.
/// All but ASCII is encoded whatever the set.
const UNSENDABLE: &AsciiSet = &AsciiSet::EMPTY.add(b' ');

/// URL that is safe to redirect a browser to. Only [`RedirectTarget::parse`] and its two companions make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectTarget(String);

/// Base against which targets are checked: the origin of the request that asks for a redirect.
#[derive(Clone, Copy, Debug)]
pub struct RedirectBase<'a> {
    /// `https` or `http`: from the configuration.
    pub scheme: &'a str,
    /// The requested host and port.
    pub authority: &'a Authority<'a>,
    /// `server.prefix`, and those of the gates whose place this one takes: targets below them become the root.
    pub prefixes: &'a [String],
}

impl RedirectTarget {
    /// Accepts a path on the requested host, or an absolute URL on a host that an app names; `None` for any other text.
    ///
    /// The target stays as it was, byte for byte, but for three things: one below a prefix of the gate's own becomes the root of its
    /// host, `http` becomes the site's `https`, and what no URL can hold is percent-encoded.
    #[must_use]
    pub fn parse(text: &str, base: RedirectBase<'_>, policy: &Policy) -> Option<Self> {
        Self::read(text, Backslashes::Refused, base, policy)
    }

    /// Accepts the target of the original request line, to return to after sign-in. The same test, but `//a/b` is a path on this
    /// host there, and a backslash stands for itself: browsers send it in a query as it is, and other clients in a path, where it
    /// is percent-encoded because a browser would take it for a slash.
    #[must_use]
    pub fn original(target: &str, base: RedirectBase<'_>, policy: &Policy) -> Option<Self> {
        let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
        let path = path.replace('\\', "%5C");
        let text = format!("{}://{}{path}{query}", base.scheme, base.authority);
        Self::read(&text, Backslashes::InQuery, base, policy)
    }

    /// Accepts a target that was one before, such as one in a sealed `state`: the apps may have changed since.
    #[must_use]
    pub fn again(target: &str, base: RedirectBase<'_>, policy: &Policy) -> Option<Self> {
        Self::read(target, Backslashes::InQuery, base, policy)
    }

    fn read(text: &str, backslashes: Backslashes, base: RedirectBase<'_>, policy: &Policy) -> Option<Self> {
        let text = sendable(text);
        // First the bytes that browsers drop, turn into slashes or read as something else.
        if text.len() > MAX_LENGTH || !text.bytes().all(|byte| byte.is_ascii_graphic()) || !backslashes.allow(&text) {
            return None;
        }
        let text = raised(&text, base.scheme);
        let (authority, absolute) = if text.starts_with('/') {
            if text.starts_with("//") {
                return None;
            }
            (base.authority.clone(), format!("{}://{}{text}", base.scheme, base.authority))
        } else {
            (foreign_authority(&text, base, policy)?, text.clone().into_owned())
        };
        let url = Url::parse(&absolute).ok()?;
        if !is_same_origin(&url, base.scheme, &authority) {
            return None;
        }
        if base.prefixes.iter().any(|prefix| is_below(&url, prefix)) {
            return Some(Self(format!("{}://{authority}/", base.scheme)));
        }
        Some(Self(absolute))
    }

    /// Returns the same page without its query.
    #[must_use]
    pub fn without_query(&self) -> Self {
        Self(self.0.split(['?', '#']).next().unwrap_or_default().to_owned())
    }

    /// The root of the requested host.
    #[must_use]
    pub fn root(base: RedirectBase<'_>) -> Self {
        Self(format!("{}://{}/", base.scheme, base.authority))
    }

    /// Returns the absolute URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the value of a `Location` header.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "an invariant of the type, not something callers can cause")]
    pub fn location(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("a target is printable ASCII")
    }
}

/// Places in which a backslash may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backslashes {
    /// None: the text is from a link, which anybody may have written.
    Refused,
    /// Behind the first question mark, where it is no slash to anybody.
    InQuery,
}

impl Backslashes {
    fn allow(self, text: &str) -> bool {
        let Some(first) = text.find('\\') else { return true };
        self == Self::InQuery && text.find('?').is_some_and(|query| query < first)
    }
}

/// Percent-encodes what no URL can hold. Host names with such bytes are no longer any.
fn sendable(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, UNSENDABLE).into()
}

/// Returns an absolute `http` URL as one of an `https` site: nine of ten nginx files for other gates write `$scheme` behind an
/// edge that speaks TLS.
fn raised<'t>(text: &'t str, scheme: &str) -> Cow<'t, str> {
    match text.strip_prefix("http://") {
        Some(rest) if scheme == "https" => {
            let (authority, target) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
            format!("https://{}{target}", authority.strip_suffix(":80").unwrap_or(authority)).into()
        }
        _ => text.into(),
    }
}

/// Returns the authority of an absolute URL that may be followed: our scheme, no userinfo, the requested host or one that an app
/// names, at the port where browsers reach us.
fn foreign_authority<'t>(text: &'t str, base: RedirectBase<'_>, policy: &Policy) -> Option<Authority<'t>> {
    let rest = text.strip_prefix(base.scheme)?.strip_prefix("://")?;
    // `Authority` refuses an `@`, so userinfo ends base.
    let authority = Authority::parse(rest.split(['/', '?', '#']).next()?).ok()?;
    let is_known = authority.host() == base.authority.host() || policy.names(authority.host());
    let is_our_port = match authority.port() {
        None => true,
        port @ Some(number) => default_port(base.scheme) == Some(number) || port == base.authority.port(),
    };
    (is_known && is_our_port).then_some(authority)
}

/// Returns `true` if a browser reads the same origin.
fn is_same_origin(url: &Url, scheme: &str, authority: &Authority<'_>) -> bool {
    url.scheme() == scheme
        && url.host_str() == Some(authority.host())
        && url.port_or_known_default() == authority.port().or_else(|| default_port(scheme))
        && url.username().is_empty()
        && url.password().is_none()
}

/// Returns `true` if any server on the way could take the URL for one below `prefix`, however it folds the path. `url` has no dot
/// segments any more, escaped ones included.
fn is_below(url: &Url, prefix: &str) -> bool {
    let path = percent_decode_str(url.path()).decode_utf8_lossy();
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    prefix
        .split('/')
        .filter(|segment| !segment.is_empty())
        .all(|own| segments.next().is_some_and(|segment| segment.eq_ignore_ascii_case(own)))
}
