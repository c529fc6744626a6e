//! Header lines of auth subrequests, each of which may occur once: hosts, methods, targets.
//!
//! Promises: nothing is guessed. A line that is missing where it is required, repeated or malformed is a [`BadRequest`].

use std::ops::BitOr;

use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};

use crate::host::{Authority, InvalidHost};

/// Missing, repeated or malformed header of an auth subrequest. Never guessed around.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{header} {problem}")]
pub struct BadRequest {
    /// The header (or part of the request) at fault.
    pub header: &'static str,
    /// The problem, as the end of a sentence.
    pub problem: &'static str,
}

/// Header line that may occur once, and its name as people spell it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'r> {
    name: &'static str,
    occurrences: Occurrences<'r>,
}

#[derive(Clone, Copy, Debug)]
enum Occurrences<'r> {
    None,
    One(&'r HeaderValue),
    Several,
}

impl<'r> Field<'r> {
    /// A line of this name that has not occurred yet.
    pub(super) const fn named(name: &'static str) -> Self {
        Self { name, occurrences: Occurrences::None }
    }

    /// The line of one name, where no others are wanted.
    pub(super) fn of(headers: &'r HeaderMap, header: &HeaderName, name: &'static str) -> Self {
        let mut field = Self::named(name);
        headers.get_all(header).iter().for_each(|value| field.add(value));
        field
    }

    /// Adds an occurrence.
    pub(super) fn add(&mut self, value: &'r HeaderValue) {
        self.occurrences = match self.occurrences {
            Occurrences::None => Occurrences::One(value),
            Occurrences::One(_) | Occurrences::Several => Occurrences::Several,
        };
    }

    /// Returns the line, if it is there.
    pub(super) fn text(&self) -> Result<Option<&'r str>, BadRequest> {
        match self.occurrences {
            Occurrences::None => Ok(None),
            // ASCII first: checking for that alone is a good deal cheaper.
            Occurrences::One(value) => match value.to_str().or_else(|_| std::str::from_utf8(value.as_bytes())) {
                Ok(text) => Ok(Some(text)),
                Err(_) => Err(self.fault("is not UTF-8")),
            },
            Occurrences::Several => Err(self.fault("is repeated")),
        }
    }

    /// Returns the line, or an error where it is missing.
    pub(super) fn required(&self) -> Result<&'r str, BadRequest> {
        self.text()?.ok_or_else(|| self.fault("is missing"))
    }

    /// An error about this line.
    pub(super) const fn fault(&self, problem: &'static str) -> BadRequest {
        BadRequest { header: self.name, problem }
    }

    /// Parses a host with an optional port.
    pub(super) fn authority(&self, text: &'r str) -> Result<Authority<'r>, BadRequest> {
        Authority::parse(text).map_err(|malformed| {
            self.fault(match malformed {
                InvalidHost::Empty => "names no host",
                InvalidHost::Name => "holds something that no host name has",
                InvalidHost::Port => "has a port that is not a number from 1 to 65535",
            })
        })
    }

    /// Checks a method, by [`is_method`].
    pub(super) fn method(&self, text: &'r str) -> Result<&'r str, BadRequest> {
        if is_method(text) { Ok(text) } else { Err(self.fault("is not a method in capitals")) }
    }

    /// Checks a path and query, by [`target`].
    pub(super) fn target(&self, text: &'r str) -> Result<&'r str, BadRequest> {
        target(text).map_err(|problem| self.fault(problem))
    }
}

/// Returns the host that this very request was sent to: `Host`, or the authority of the request line (HTTP/2, or a target in
/// absolute form). Where both are present they have to agree.
pub fn request_host(request: &Parts) -> Result<Authority<'_>, BadRequest> {
    let host = Field::of(&request.headers, &header::HOST, "Host");
    let line = host.text()?.map(|text| host.authority(text)).transpose()?;
    let target = request.uri.authority().map(|text| host.authority(text.as_str())).transpose()?;
    match (line, target) {
        (Some(line), Some(target)) if line != target => Err(host.fault("contradicts the request line")),
        (Some(named), _) | (None, Some(named)) => Ok(named),
        (None, None) => Err(host.fault("is missing")),
    }
}

/// Returns `true` for a method in capitals.
///
/// Methods are case-sensitive and every one in use is in capitals (RFC 9110, section 9.1; `WebDAV` and others add some with a
/// hyphen or a digit). Some servers fold a lower-case spelling, and then the rules and the app would read the request
/// differently. An unknown word in capitals is read the same way everywhere, and no rule names it.
pub(super) fn is_method(text: &str) -> bool {
    // Nearly every method is among these, and need not be checked byte by byte.
    matches!(text, "GET" | "POST" | "HEAD" | "OPTIONS" | "PUT" | "PATCH" | "DELETE")
        || text.starts_with(|first: char| first.is_ascii_uppercase())
            && text.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_'))
}

/// Checks that a target begins with a slash and fits on a request line. `policy` judges whether servers agree on its meaning.
pub(super) fn target(text: &str) -> Result<&str, &'static str> {
    if !text.starts_with('/') {
        return Err("does not begin with a slash");
    }
    // Reads all bytes before judging any, so that the loop is vectorised.
    if text.bytes().map(|byte| byte <= b' ' || byte == 0x7f).fold(false, BitOr::bitor) {
        return Err("holds a space or a control character");
    }
    Ok(text)
}
