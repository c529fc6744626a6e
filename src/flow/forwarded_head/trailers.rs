//! Trailers: fields behind a chunked body, or behind the frames of one (RFC 9110, section 6.5).
//!
//! Promises: no field that would count in a head passes behind a body, because some servers merge both.

use http::{HeaderMap, HeaderName};

use super::reserved::Sayer;
use crate::policy::headers::is_spelling_of;

/// Fields that no trailer may have beside those of the gate and of connections: they say who sends, what is asked for, or how a
/// body is read (RFC 9110, section 6.5.1).
const OF_HEADS: &[&str] = &[
    "age",
    "authorization",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-range",
    "content-type",
    "date",
    "expires",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "location",
    "max-forwards",
    "origin",
    "pragma",
    "range",
    "referer",
    "retry-after",
    "set-cookie",
    "trailer",
    "vary",
    "www-authenticate",
];

/// Filter of the trailers of one message.
#[derive(Clone, Debug, Default)]
pub struct TrailerFilter {
    /// The headers that the app gets of the gate.
    identity: Vec<HeaderName>,
}

impl TrailerFilter {
    /// Filter of a request's trailers, for an app that gets these headers.
    pub(in crate::flow) fn of_request(identity: &HeaderMap) -> Self {
        Self { identity: identity.keys().cloned().collect() }
    }

    /// Filter of a response's trailers.
    #[must_use]
    pub fn of_response() -> Self {
        Self::default()
    }

    /// Removes what may not pass.
    pub fn apply(&self, trailers: &mut HeaderMap) {
        let passes = |name: &HeaderName| {
            let own = self.identity.iter().map(HeaderName::as_str);
            Sayer::of(name.as_str()) == Sayer::Client
                && !own.chain(OF_HEADS.iter().copied()).any(|other| is_spelling_of(name.as_str(), other))
        };
        if !trailers.keys().all(passes) {
            let kept = trailers.iter().filter(|(name, _)| passes(name));
            *trailers = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
        }
    }
}
