//! Access tokens that are JWTs (RFC 9068; RFC 8725), and the checks that they share with introspected ones.
//!
//! Promises: a token counts only with the signature of its issuer's published key, for an audience of ours, now, and where
//! nothing about it says that it is another kind of token or bound to a key; any bytes are refused without a panic. Pure.

use data_encoding::BASE64URL_NOPAD;
use openidconnect::core::{CoreJsonWebKeySet, CoreJwsSigningAlgorithm};
use serde_json::Value;

use super::{
    credential::CredentialError,
    json::{JsonObject, ReadObject},
    jwt::{self, JwtError, LEEWAY, UnverifiedJwt},
    signature,
};
use crate::clock::Timestamp;

/// Longest token: anybody may send one.
pub const MAX_ACCESS_TOKEN_LENGTH: usize = 16 * 1024;

/// Claims that decide whether a token counts.
pub(super) const STRICT: &[&str] = &[
    "iss",
    "aud",
    "exp",
    "nbf",
    "sub",
    "cnf",
    "typ",
    "token_use",
    "token_type",
    "events",
    "nonce",
    "at_hash",
    "c_hash",
    "client_id",
    "active",
];

/// Latest moment that an `exp` may name, the end of the year 9999: what is later is no number of seconds.
const MAX_SECONDS: u64 = 253_402_300_799;

/// An access token in the form of a JWT, of which nothing has been verified.
pub struct UnverifiedAccessToken<'t> {
    jwt: UnverifiedJwt<'t>,
}

/// A token by its form.
pub enum TokenForm<'t> {
    /// A JWT in compact form.
    Jwt(UnverifiedAccessToken<'t>),
    /// Text that only its issuer can read.
    Opaque,
}

/// Values that a JWT has to match.
pub(super) struct ExpectedAccessToken<'a> {
    /// The issuer as its metadata spell it.
    pub(super) issuer: &'a str,
    /// The audiences, of which it has to name one.
    pub(super) audience: &'a [String],
    /// Signing algorithms that the metadata offer and the gate accepts.
    pub(super) algorithms: Vec<CoreJwsSigningAlgorithm>,
    pub(super) now: Timestamp,
}

/// The claims of a token that were checked, and those that need no check.
#[derive(Debug)]
pub(super) struct AccessTokenClaims {
    pub(super) claims: ReadObject,
    pub(super) subject: String,
    /// `exp`; absent only where it was introspected.
    pub(super) expires: Option<Timestamp>,
}

impl<'t> TokenForm<'t> {
    /// Reads a token. One that calls itself a JOSE object and is no JWT that can be verified is refused, and not taken for an
    /// opaque one.
    pub fn read(raw: &'t str) -> Result<Self, CredentialError> {
        if raw.len() > MAX_ACCESS_TOKEN_LENGTH {
            return Err(CredentialError::refused("is longer than 16 KiB"));
        }
        if !has_jose_header(raw) {
            return Ok(Self::Opaque);
        }
        let jwt = UnverifiedJwt::parse(raw, MAX_ACCESS_TOKEN_LENGTH, STRICT).map_err(CredentialError::Refused)?;
        check_header(&jwt.header).map_err(CredentialError::refused)?;
        Ok(Self::Jwt(UnverifiedAccessToken { jwt }))
    }
}

impl UnverifiedAccessToken<'_> {
    /// Returns the issuer that it names, which says where its keys are and nothing else.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.jwt.claims.members.get("iss")?.as_str()
    }

    /// Checks the claims, before anything is fetched for the token.
    pub(super) fn check_claims(&self, expected: &ExpectedAccessToken<'_>) -> Result<(), CredentialError> {
        let claims = &self.jwt.claims.members;
        if self.issuer() != Some(expected.issuer) {
            return Err(CredentialError::refused("is of another issuer (iss)"));
        }
        if !names_one_of(claims, expected.audience) {
            return Err(CredentialError::refused("is for another audience (aud)"));
        }
        check_kind(&self.jwt.header, claims).map_err(CredentialError::refused)?;
        let expires =
            seconds(claims, "exp").ok_or_else(|| CredentialError::refused("has no exp, or one that is no time"))?;
        check_times(claims, Some(expires), expected.now)?;
        subject(claims).map(drop)
    }

    /// Verifies the signature.
    pub(super) fn verify_signature(
        &self,
        expected: &ExpectedAccessToken<'_>,
        keys: &CoreJsonWebKeySet,
    ) -> Result<(), JwtError> {
        signature::verify("access token", &self.jwt, &expected.algorithms, keys).map(drop)
    }

    /// Returns the claims, to be called once both have passed.
    pub(super) fn into_claims(self) -> Result<AccessTokenClaims, CredentialError> {
        let claims = self.jwt.claims;
        let (subject, expires) = (subject(&claims.members)?.to_owned(), seconds(&claims.members, "exp"));
        Ok(AccessTokenClaims { claims, subject, expires })
    }
}

/// Returns `true` if the first part of a text in parts is a JSON object, as every JOSE header in compact form is.
fn has_jose_header(raw: &str) -> bool {
    let header = raw.split_once('.').and_then(|(header, _)| BASE64URL_NOPAD.decode(header.as_bytes()).ok());
    header.is_some_and(|header| ReadObject::parse(&header, &[]).is_ok())
}

/// Checks `typ` and `cty` (RFC 9068, section 4; RFC 8725, section 3.11): other kinds of tokens are signed with the same keys.
fn check_header(header: &JsonObject) -> Result<(), &'static str> {
    let kind = match header.get("typ") {
        None => "jwt".to_owned(),
        Some(kind) => kind.as_str().unwrap_or_default().to_ascii_lowercase(),
    };
    if !matches!(kind.strip_prefix("application/").unwrap_or(&kind), "at+jwt" | "jwt") {
        return Err("has the type of another kind of token (typ)");
    }
    if header.contains_key("cty") {
        return Err("is nested in another token (cty)");
    }
    Ok(())
}

/// Checks that the claims of a JWT are those of an access token. With `typ` `JWT` it could be an ID token: only that has a
/// hash of another token, and a nonce without a scope.
fn check_kind(header: &JsonObject, claims: &JsonObject) -> Result<(), &'static str> {
    check_purpose(claims)?;
    let is_declared = header.get("typ").and_then(Value::as_str).is_some_and(|kind| {
        let kind = kind.to_ascii_lowercase();
        kind.strip_prefix("application/").unwrap_or(&kind) == "at+jwt"
    });
    let has = |claim: &str| claims.contains_key(claim);
    let is_id_token = has("at_hash") || has("c_hash") || (has("nonce") && !has("scope") && !has("scp"));
    if is_id_token && !is_declared { Err("is an ID token") } else { Ok(()) }
}

/// Checks what a token's claims say about its purpose: `typ` (Keycloak), `token_use` (Cognito, Hydra), `token_type`
/// (RFC 7662), `events` (RFC 8417), and `cnf`, which binds it to a key (RFC 7800).
pub(super) fn check_purpose(claims: &JsonObject) -> Result<(), &'static str> {
    let is_other = |claim: &str, purposes: &[&str]| {
        claims.get(claim).filter(|value| !value.is_null()).is_some_and(|value| {
            !value.as_str().is_some_and(|text| purposes.iter().any(|own| text.eq_ignore_ascii_case(own)))
        })
    };
    if claims.contains_key("cnf") {
        return Err("is bound to a key, whose proof the gate does not verify (cnf)");
    }
    if claims.contains_key("events") {
        return Err("tells of an event and is no access token (events)");
    }
    let bearer = ["bearer", "jwt", "at+jwt", "access_token", "access"];
    if ["typ", "token_use", "token_type"].iter().any(|claim| is_other(claim, &bearer)) {
        return Err("is another kind of token (typ, token_use, token_type)");
    }
    Ok(())
}

/// Checks the times, with a minute of leeway.
pub(super) fn check_times(
    claims: &JsonObject,
    expires: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), CredentialError> {
    if expires.is_some_and(|expires| expires.plus(LEEWAY) <= now) {
        return Err(CredentialError::Expired);
    }
    if !claims.contains_key("nbf") {
        return Ok(());
    }
    match seconds(claims, "nbf") {
        Some(begins) if begins <= now.plus(LEEWAY) => Ok(()),
        Some(_) => Err(CredentialError::refused("is not valid yet (nbf)")),
        None => Err(CredentialError::refused("has an nbf that is no time")),
    }
}

/// Returns `true` if `aud` names one of these.
pub(super) fn names_one_of(claims: &JsonObject, accepted: &[String]) -> bool {
    let audience = jwt::audience(claims).unwrap_or_default();
    audience.iter().any(|named| accepted.iter().any(|own| own == named))
}

/// Returns a time in whole seconds since 1970. Libraries write nothing else, and what else is there is a mistake or a trick.
pub(super) fn seconds(claims: &JsonObject, claim: &str) -> Option<Timestamp> {
    claims.get(claim)?.as_u64().filter(|seconds| *seconds <= MAX_SECONDS).map(Timestamp::from_unix)
}

fn subject(claims: &JsonObject) -> Result<&str, CredentialError> {
    jwt::identifier(claims, "sub").ok_or_else(|| CredentialError::refused("has no sub, or none of 1 to 255 bytes"))
}
