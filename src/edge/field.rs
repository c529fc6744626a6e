//! Single header lines, read once and exactly, and the words in them.
//!
//! Nothing is guessed: a line that is missing where it is needed, repeated, or not what it should be is a
//! [`BadRequest`]. It must not know which edge sends which line.

use std::ops::BitOr;

use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};

use super::BadRequest;
use crate::host::{Authority, InvalidHost};

/// A header line that occurs at most once: what has been seen of it, and how people spell its name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'r> {
    spelling: &'static str,
    seen: Seen<'r>,
}

#[derive(Clone, Copy, Debug)]
enum Seen<'r> {
    Never,
    Once(&'r HeaderValue),
    Again,
}

impl<'r> Field<'r> {
    /// A line of this name, none of which has been seen.
    pub(super) const fn spelt(spelling: &'static str) -> Self {
        Self { spelling, seen: Seen::Never }
    }

    /// What is there of one name, where no others are wanted.
    pub(super) fn of(headers: &'r HeaderMap, name: &HeaderName, spelling: &'static str) -> Self {
        let mut field = Self::spelt(spelling);
        headers.get_all(name).iter().for_each(|value| field.see(value));
        field
    }

    /// Takes note of a line of this name.
    pub(super) fn see(&mut self, value: &'r HeaderValue) {
        self.seen = match self.seen {
            Seen::Never => Seen::Once(value),
            Seen::Once(_) | Seen::Again => Seen::Again,
        };
    }

    /// The line, if it is there.
    pub(super) fn text(&self) -> Result<Option<&'r str>, BadRequest> {
        match self.seen {
            Seen::Never => Ok(None),
            // ASCII first: to look for nothing else is a good deal cheaper.
            Seen::Once(value) => match value.to_str().or_else(|_| std::str::from_utf8(value.as_bytes())) {
                Ok(text) => Ok(Some(text)),
                Err(_) => Err(self.fault("is not UTF-8")),
            },
            Seen::Again => Err(self.fault("is repeated")),
        }
    }

    /// The line that has to be there.
    pub(super) fn required(&self) -> Result<&'r str, BadRequest> {
        self.text()?.ok_or_else(|| self.fault("is missing"))
    }

    /// This line is not what it should be.
    pub(super) const fn fault(&self, problem: &'static str) -> BadRequest {
        BadRequest { header: self.spelling, problem }
    }

    /// A host, with or without a port.
    pub(super) fn authority(&self, text: &'r str) -> Result<Authority<'r>, BadRequest> {
        Authority::parse(text).map_err(|malformed| {
            self.fault(match malformed {
                InvalidHost::Empty => "names no host",
                InvalidHost::Name => "holds something that no host name has",
                InvalidHost::Port => "has a port that is not a number from 1 to 65535",
            })
        })
    }

    /// A method: [`is_method`] says which.
    pub(super) fn method(&self, text: &'r str) -> Result<&'r str, BadRequest> {
        if is_method(text) { Ok(text) } else { Err(self.fault("is not a method in capitals")) }
    }

    /// A path and query as they stood on a request line.
    pub(super) fn target(&self, text: &'r str) -> Result<&'r str, BadRequest> {
        target(text).map_err(|problem| self.fault(problem))
    }
}

/// The host that this very request was sent to: the `Host` line, or the authority of the request line where HTTP/2 (or an
/// absolute target) has it there. Where both are present they have to agree.
pub fn asked_host(request: &Parts) -> Result<Authority<'_>, BadRequest> {
    let host = Field::of(&request.headers, &header::HOST, "Host");
    let line = host.text()?.map(|text| host.authority(text)).transpose()?;
    let target = request.uri.authority().map(|text| host.authority(text.as_str())).transpose()?;
    match (line, target) {
        (Some(line), Some(target)) if line != target => Err(host.fault("contradicts the request line")),
        (Some(named), _) | (None, Some(named)) => Ok(named),
        (None, None) => Err(host.fault("is missing")),
    }
}

/// Methods are case-sensitive and every one in use is in capitals (RFC 9110, section 9.1; `WebDAV` and others add some with
/// a hyphen or a digit). A lower-case letter is a spelling that some server folds, and then the rules and the app would
/// read the request differently. An unknown word in capitals is read the same way everywhere, and no rule names it.
pub(super) fn is_method(text: &str) -> bool {
    // Nearly every one is among these, and then it is not looked at byte by byte.
    matches!(text, "GET" | "POST" | "HEAD" | "OPTIONS" | "PUT" | "PATCH" | "DELETE")
        || text.starts_with(|first: char| first.is_ascii_uppercase())
            && text.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_'))
}

/// Checks that a target begins with a slash and fits on a request line. Whether servers agree on what it means is
/// for the policy to say.
pub(super) fn target(text: &str) -> Result<&str, &'static str> {
    if !text.starts_with('/') {
        return Err("does not begin with a slash");
    }
    // All bytes are looked at before any is judged, so that many can be looked at together.
    if text.bytes().map(|byte| byte <= b' ' || byte == 0x7f).fold(false, BitOr::bitor) {
        return Err("holds a space or a control character");
    }
    Ok(text)
}
