//! Head of an app's response, as its client gets it.
//!
//! Promises: what a connection needs is said anew from a body whose length is beyond doubt; no app answers in the gate's name.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, response::Parts};

use super::{
    connection::{ConnectionHeaders, is_chunked_alone},
    reserved::Sayer,
};
use crate::{cookie::GateCookies, policy::headers::begins_like, upstream};

/// Beginning of the names of the gate's own headers: an app's answer is not to be taken for the gate's.
const OWN_PREFIX: &str = "doorward-";

/// What the head of a response depends on, beside the app.
#[derive(Clone, Copy, Debug)]
pub(in crate::flow) struct RelayedHead<'a> {
    /// The method of the request.
    pub(in crate::flow) method: &'a Method,
    /// The protocol that the app was asked to switch to.
    pub(in crate::flow) upgrade: Option<&'a HeaderValue>,
    /// `cache_control` of the rule that decided about the request.
    pub(in crate::flow) cache_control: Option<&'a HeaderValue>,
    pub(in crate::flow) jar: &'a GateCookies,
}

impl RelayedHead<'_> {
    /// Turns the head of an app's response into that for its client. The error is a response that could be read in two ways.
    pub(in crate::flow) fn relay(&self, response: &mut Parts) -> Result<(), upstream::Error> {
        self.check_switch(response)?;
        let length = length(response)?;
        let named = ConnectionHeaders::of_response(&response.headers);
        let is_of_connection = |name: &HeaderName| Sayer::of(name.as_str()) == Sayer::Connection || named.name(name);
        let mut headers = HeaderMap::with_capacity(response.headers.len() + 2);
        let is_gates = |name: &HeaderName, value: &HeaderValue| {
            name == header::CONTENT_LENGTH
                || begins_like(name.as_str(), OWN_PREFIX)
                || (name == header::SET_COOKIE && self.jar.sets_own(value))
        };
        let passed = response.headers.iter().filter(|(name, value)| !is_gates(name, value));
        for (name, value) in passed.filter(|(name, _)| !is_of_connection(name)) {
            headers.append(name.clone(), value.clone());
        }
        headers.extend(length.map(|length| (header::CONTENT_LENGTH, length.into())));
        if let (StatusCode::SWITCHING_PROTOCOLS, Some(protocol)) = (response.status, self.upgrade) {
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, protocol.clone());
        }
        self.set_cache_control(response.status, &mut headers);
        response.headers = headers;
        Ok(())
    }

    /// Checks that an app switches protocols only where it was asked to, and to the one that was asked for.
    fn check_switch(&self, response: &Parts) -> Result<(), upstream::Error> {
        if response.status != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(());
        }
        let mut told = response.headers.get_all(header::UPGRADE).iter();
        let (told, more) = (told.next(), told.next());
        let is_same = |one: &HeaderValue, other: &HeaderValue| one.as_bytes().eq_ignore_ascii_case(other.as_bytes());
        match (self.upgrade, told, more) {
            (Some(asked), Some(told), None) if is_same(asked, told) => Ok(()),
            _ => Err(unusable("switches to a protocol that was not asked for")),
        }
    }

    /// Sets the `cache_control` of a rule. An answer that sets a cookie is somebody's own.
    fn set_cache_control(&self, status: StatusCode, headers: &mut HeaderMap) {
        let is_read = matches!(*self.method, Method::GET | Method::HEAD);
        if let Some(value) = self.cache_control
            && is_read
            && status == StatusCode::OK
            && !headers.contains_key(header::SET_COOKIE)
        {
            headers.insert(header::CACHE_CONTROL, value.clone());
            headers.remove(header::EXPIRES);
            headers.remove(header::PRAGMA);
        }
    }
}

/// Returns the length of the content, where the app says it and it is not said by the body itself. A response with a transfer
/// coding and a length could end in two places (RFC 9112, section 6.3), and one with a coding other than `chunked` cannot be
/// passed on, because the coding belongs to the connection.
fn length(response: &Parts) -> Result<Option<u64>, upstream::Error> {
    let headers = &response.headers;
    let is_chunked = is_chunked_alone(headers);
    if is_chunked == Some(false) {
        return Err(unusable("has a transfer coding other than chunked"));
    }
    let lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let mut lengths = lengths.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(digits);
    let Some(first) = lengths.next() else { return Ok(None) };
    match first {
        Some(length) if is_chunked.is_none() && lengths.all(|other| other == Some(length)) => {
            let has_none = response.status.is_informational() || response.status == StatusCode::NO_CONTENT;
            Ok((!has_none).then_some(length))
        }
        _ => Err(unusable("has a length that can be read in two ways")),
    }
}

fn unusable(what: &str) -> upstream::Error {
    upstream::Error::Unavailable(format!("the app's response {what}"))
}

fn digits(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}
