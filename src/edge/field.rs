//! Single header lines, read once and exactly, and the words in them.
//!
//! Nothing is guessed: a line that is missing where it is needed, repeated, or not what it should be is a
//! [`BadRequest`]. It must not know which edge sends which line.

use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};

use super::BadRequest;
use crate::host::{Authority, Malformed};

/// A header line that occurs at most once, and how people spell it.
#[derive(Debug)]
pub(super) struct Field {
    name: HeaderName,
    spelling: &'static str,
}

pub(super) static FORWARDED_METHOD: Field = Field::new("x-forwarded-method", "X-Forwarded-Method");
pub(super) static FORWARDED_HOST: Field = Field::new("x-forwarded-host", "X-Forwarded-Host");
pub(super) static FORWARDED_URI: Field = Field::new("x-forwarded-uri", "X-Forwarded-Uri");
pub(super) static FORWARDED_FOR: Field = Field::new("x-forwarded-for", "X-Forwarded-For");
pub(super) static ORIGINAL_URL: Field = Field::new("x-original-url", "X-Original-URL");
pub(super) static ORIGINAL_METHOD: Field = Field::new("x-original-method", "X-Original-Method");
static HOST: Field = Field { name: header::HOST, spelling: "Host" };

/// What is there of a field: nothing, its one line, or a fault.
pub(super) type Line<'r> = Result<Option<&'r str>, BadRequest>;

/// The lines of several fields, read in one pass: an edge sends about twenty lines, and to look each field up costs more
/// than to walk over all of them.
pub(super) fn lines<'r, const N: usize>(headers: &'r HeaderMap, fields: [&Field; N]) -> [Line<'r>; N] {
    let mut found = [Seen::Never; N];
    let wanted = fields.iter().fold(0, |lengths, field| lengths | length_bit(&field.name));
    for (name, value) in headers {
        // The length of its name tells most lines from all that are wanted.
        if length_bit(name) & wanted == 0 {
            continue;
        }
        let place = fields.iter().zip(&mut found).find(|(field, _)| field.name == *name);
        if let Some((_, seen)) = place {
            *seen = match seen {
                Seen::Never => Seen::Once(value),
                Seen::Once(_) | Seen::Again => Seen::Again,
            };
        }
    }
    let mut fields = fields.into_iter();
    found.map(|seen| match (seen, fields.next()) {
        (Seen::Once(value), Some(field)) => field.text(value).map(Some),
        (Seen::Again, Some(field)) => Err(field.fault("is repeated")),
        (Seen::Never, _) | (_, None) => Ok(None),
    })
}

/// A bit for each length of a name; lengths 64 apart share one.
fn length_bit(name: &HeaderName) -> u64 {
    1 << (name.as_str().len() % 64)
}

#[derive(Clone, Copy)]
enum Seen<'r> {
    Never,
    Once(&'r HeaderValue),
    Again,
}

impl Field {
    const fn new(name: &'static str, spelling: &'static str) -> Self {
        Self { name: HeaderName::from_static(name), spelling }
    }

    /// The line that has to be there.
    pub(super) fn required<'r>(&self, line: Line<'r>) -> Result<&'r str, BadRequest> {
        line?.ok_or_else(|| self.fault("is missing"))
    }

    fn text<'r>(&self, value: &'r HeaderValue) -> Result<&'r str, BadRequest> {
        // ASCII first: to look for nothing else is a good deal cheaper.
        value.to_str().or_else(|_| std::str::from_utf8(value.as_bytes())).map_err(|_| self.fault("is not UTF-8"))
    }

    /// This line is not what it should be.
    pub(super) const fn fault(&self, problem: &'static str) -> BadRequest {
        BadRequest { header: self.spelling, problem }
    }

    /// A host, with or without a port.
    pub(super) fn authority<'r>(&self, text: &'r str) -> Result<Authority<'r>, BadRequest> {
        Authority::parse(text).map_err(|malformed| {
            self.fault(match malformed {
                Malformed::Empty => "names no host",
                Malformed::Name => "holds something that no host name has",
                Malformed::Port => "has a port that is not a number from 1 to 65535",
            })
        })
    }

    /// A method: [`is_method`] says which.
    pub(super) fn method<'r>(&self, text: &'r str) -> Result<&'r str, BadRequest> {
        if is_method(text) { Ok(text) } else { Err(self.fault("is not a method in capitals")) }
    }

    /// A path and query as they stood on a request line.
    pub(super) fn target<'r>(&self, text: &'r str) -> Result<&'r str, BadRequest> {
        target(text).map_err(|problem| self.fault(problem))
    }
}

/// The host that this very request was sent to: the `Host` line, or the authority of the request line where HTTP/2 (or an
/// absolute target) has it there. Where both are present they have to agree.
pub fn asked_host(request: &Parts) -> Result<Authority<'_>, BadRequest> {
    let [line] = lines(&request.headers, [&HOST]);
    let line = line?.map(|text| HOST.authority(text)).transpose()?;
    let target = request.uri.authority().map(|text| HOST.authority(text.as_str())).transpose()?;
    match (line, target) {
        (Some(line), Some(target)) if line != target => Err(HOST.fault("contradicts the request line")),
        (Some(host), _) | (None, Some(host)) => Ok(host),
        (None, None) => Err(HOST.fault("is missing")),
    }
}

/// Methods are case-sensitive and every one in use is in capitals (RFC 9110, section 9.1; `WebDAV` and others add some with
/// a hyphen or a digit). A lower-case letter is a spelling that some server folds, and then the rules and the app would
/// read the request differently. An unknown word in capitals is read the same way everywhere, and no rule names it.
pub(super) fn is_method(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_uppercase())
        && text.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_'))
}

/// Checks that a target begins with a slash and fits on a request line. Whether servers agree on what it means is
/// for the policy to say.
pub(super) fn target(text: &str) -> Result<&str, &'static str> {
    if !text.starts_with('/') {
        return Err("does not begin with a slash");
    }
    if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err("holds a space or a control character");
    }
    Ok(text)
}
