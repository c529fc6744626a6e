//! JWTs in compact form, parsed but not verified (RFC 7515, section 3.1; RFC 7519).
//!
//! Promises: any bytes are refused without a panic, and no text of a refusal holds a token.

use std::{borrow::Cow, time::Duration};

use data_encoding::BASE64URL_NOPAD;
use serde_json::Value;

use super::{
    error::Error,
    json::{JsonObject, ReadObject},
};
use crate::clock::Timestamp;

/// Leeway for clock skew between the provider and this machine (RFC 7519, section 4.1.4).
pub(super) const LEEWAY: Duration = Duration::from_mins(1);

/// Length in bytes of a subject (`OpenID` Connect Core, section 2) and, because stores index all alike, of `sid` and `jti`.
const MAX_IDENTIFIER_LENGTH: usize = 255;

/// Members of a header that decide how the token is read.
const STRICT_IN_HEADER: &[&str] = &["alg", "kid", "typ", "cty", "crit", "zip", "b64"];

/// Errors of a token that does not verify.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum JwtError {
    /// None of the keys verifies the signature: the provider may have rotated them since they were fetched.
    NoMatchingKey(String),
    /// A token of another time than now, under the provider's signature.
    ClockSkew(String),
    /// The ID token that the session holds, sent again at a renewal.
    Repeated,
    /// Newer keys would not help.
    Invalid(String),
}

impl From<JwtError> for Error {
    fn from(error: JwtError) -> Self {
        match error {
            JwtError::NoMatchingKey(text) | JwtError::Invalid(text) => Self::InvalidMessage(text),
            JwtError::ClockSkew(text) => Self::ClockSkew(text),
            JwtError::Repeated => Self::InvalidMessage("the ID token is one that came before".into()),
        }
    }
}

/// Header and claims of a token whose signature has not been verified.
#[derive(Debug)]
pub(super) struct UnverifiedJwt<'t> {
    pub(super) header: JsonObject,
    pub(super) claims: ReadObject,
    /// JWS signing input: the first two parts as they came.
    pub(super) signing_input: &'t str,
    pub(super) signature: Vec<u8>,
}

impl<'t> UnverifiedJwt<'t> {
    /// Parses a token of at most `max_length` bytes; decisions need the claims `strict`. The error is the end of a sentence that
    /// begins with the token.
    pub(super) fn parse(raw: &'t str, max_length: usize, strict: &[&'static str]) -> Result<Self, Cow<'static, str>> {
        if raw.len() > max_length {
            return Err("is longer than the gate reads; mend: have the provider send fewer claims".into());
        }
        // RFC 7516, section 9: five parts are a JWE.
        if raw.split('.').count() == 5 {
            return Err(
                "is encrypted (JWE), and the gate has no key for it; mend: turn off the encryption of ID tokens for \
                        this client at the provider (authentik: Encryption Key; id_token_encrypted_response_alg)"
                    .into(),
            );
        }
        let mut parts = raw.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("is not a signed JWT in compact form".into());
        };
        let signing_input = raw.get(..header.len() + 1 + claims.len()).unwrap_or_default();
        let header =
            object(header, STRICT_IN_HEADER).map_err(|problem| format!("has a header that {problem}"))?.members;
        let claims = object(claims, strict)?;
        let signature =
            BASE64URL_NOPAD.decode(signature.as_bytes()).map_err(|_| "has a signature that is not base64url")?;
        check_header(&header)?;
        Ok(Self { header, claims, signing_input, signature })
    }
}

fn object(part: &str, strict: &[&'static str]) -> Result<ReadObject, Cow<'static, str>> {
    let json = BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| "is not base64url")?;
    ReadObject::parse(&json, strict).map_err(|error| error.to_string().into())
}

fn check_header(header: &JsonObject) -> Result<(), &'static str> {
    let extensions = [
        ("crit", "asks for an extension that the gate does not have (crit)"),
        ("zip", "asks for an extension that the gate does not have (zip)"),
        ("b64", "asks for an extension that the gate does not have (b64)"),
    ];
    if let Some((_, problem)) = extensions.into_iter().find(|(name, _)| header.contains_key(*name)) {
        return Err(problem);
    }
    match header.get("alg").and_then(Value::as_str) {
        None => Err("names no algorithm (alg)"),
        Some(none) if none.eq_ignore_ascii_case("none") => Err("is not signed (alg)"),
        Some(_) => Ok(()),
    }
}

/// Returns a claim that is an identifier (`sub`, `sid`, `jti`), or `None` where it is not one.
pub(super) fn identifier<'c>(claims: &'c JsonObject, claim: &str) -> Option<&'c str> {
    claims.get(claim)?.as_str().filter(|value| is_identifier(value))
}

/// Returns `true` if a store can keep and index the value: 1 to 255 bytes without NUL, which PostgreSQL does not take.
pub(super) fn is_identifier(value: &str) -> bool {
    !value.is_empty() && value.len() <= MAX_IDENTIFIER_LENGTH && !value.contains('\0')
}

/// Returns the strings of `aud`, which is one or a list of them; `None` for anything else, and for an empty list.
pub(super) fn audience(claims: &JsonObject) -> Option<Vec<&str>> {
    match claims.get("aud")? {
        Value::String(one) => Some(vec![one]),
        Value::Array(many) if !many.is_empty() => many.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

/// Returns a `NumericDate` (RFC 7519, section 2), which may have a fraction.
pub(super) fn numeric_date(claims: &JsonObject, claim: &str) -> Option<Timestamp> {
    let value = claims.get(claim)?;
    let seconds = value.as_u64().or_else(|| Some(Duration::try_from_secs_f64(value.as_f64()?).ok()?.as_secs()))?;
    Some(Timestamp::from_unix(seconds))
}
