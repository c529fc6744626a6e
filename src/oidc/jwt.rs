//! A signed token in compact form, taken apart (RFC 7515, section 3.1; RFC 7519).
//!
//! Promises: any bytes are refused without a panic, and no text of a refusal holds a token. Nothing in it may be believed:
//! it must not know whose signature would do.

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value};

use super::Error;
use crate::clock::Timestamp;

/// A JSON object.
pub(super) type Object = Map<String, Value>;

/// Of a subject (`OpenID` Connect Core, section 2) and, because stores index all alike, of a session and a token's id.
const LONGEST_NAME: usize = 255;

/// Why a token is not believed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// None of the keys fits: the provider may have changed them since they were fetched.
    Key(String),
    /// It is of another time than now, and says so under the provider's signature.
    Clock(String),
    /// Newer keys would not help.
    Token(String),
}

impl From<Doubt> for Error {
    fn from(doubt: Doubt) -> Self {
        match doubt {
            Doubt::Key(text) | Doubt::Token(text) => Self::Unbelievable(text),
            Doubt::Clock(text) => Self::Clocks(text),
        }
    }
}

/// What a token says, and the bytes that would prove it.
#[derive(Debug)]
pub(super) struct Unverified<'t> {
    pub(super) header: Object,
    pub(super) claims: Object,
    /// What is signed: the first two parts as they came.
    pub(super) message: &'t str,
    pub(super) signature: Vec<u8>,
}

impl<'t> Unverified<'t> {
    /// Takes a token of at most `longest` bytes apart. The error is the end of a sentence that begins with the token.
    pub(super) fn parse(raw: &'t str, longest: usize) -> Result<Self, &'static str> {
        if raw.len() > longest {
            return Err("is longer than the gate reads");
        }
        let mut parts = raw.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("is not a signed JWT in compact form");
        };
        let message = raw.get(..header.len() + 1 + claims.len()).unwrap_or_default();
        let header = object(header).ok_or("has a header that is not JSON")?;
        let claims = object(claims).ok_or("has claims that are not a JSON object")?;
        let signature =
            BASE64URL_NOPAD.decode(signature.as_bytes()).map_err(|_| "has a signature that is not base64url")?;
        check_header(&header)?;
        Ok(Self { header, claims, message, signature })
    }
}

fn object(part: &str) -> Option<Object> {
    let json = BASE64URL_NOPAD.decode(part.as_bytes()).ok()?;
    serde_json::from_slice(&json).ok()
}

fn check_header(header: &Object) -> Result<(), &'static str> {
    if ["crit", "zip", "b64"].iter().any(|name| header.contains_key(*name)) {
        return Err("asks for an extension that the gate does not have");
    }
    match header.get("alg").and_then(Value::as_str) {
        None => Err("names no algorithm"),
        Some(none) if none.eq_ignore_ascii_case("none") => Err("is not signed"),
        Some(_) => Ok(()),
    }
}

/// The claim as a name that a store can index.
pub(super) fn name<'c>(claims: &'c Object, claim: &str) -> Option<&'c str> {
    claims.get(claim)?.as_str().filter(|name| is_name(name))
}

/// Whether a store can keep and index it: neither empty nor longer than 255 bytes, and without NUL, which PostgreSQL has not.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= LONGEST_NAME && !name.contains('\0')
}

/// The strings of `aud`, which is one or a list of them; `None` for anything else, and for an empty list.
pub(super) fn audience(claims: &Object) -> Option<Vec<&str>> {
    match claims.get("aud")? {
        Value::String(one) => Some(vec![one]),
        Value::Array(many) if !many.is_empty() => many.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

/// A `NumericDate` (RFC 7519, section 2), which may have a fraction.
pub(super) fn moment(claims: &Object, claim: &str) -> Option<Timestamp> {
    let value = claims.get(claim)?;
    let seconds = value.as_u64().or_else(|| Some(Duration::try_from_secs_f64(value.as_f64()?).ok()?.as_secs()))?;
    Some(Timestamp::from_unix(seconds))
}
