//! ID tokens that an old outpost passes on (`X-authentik-jwt`): signed with the client's secret (HS256).
//!
//! Promises: only what the gate itself fetched from an outpost comes here, never what a client sent; no text of a refusal holds a
//! token.

use secrecy::SecretString;

use super::{
    access_token::{check_times, names_one_of, seconds},
    claims::PROTOCOL_CLAIMS,
    credential::CredentialError,
    json::JsonObject,
    jwt::{self, UnverifiedJwt},
    settings::Settings,
};
use crate::{clock::Timestamp, crypto};

/// Longest token, in bytes.
const MAX_LENGTH: usize = 64 * 1024;

/// Claims that decide whether a token counts.
const STRICT: &[&str] = &["iss", "aud", "azp", "exp", "nbf", "sub", "sid"];

/// Claim with everything that authentik knows of a person, passwords included: it is not kept.
const ATTRIBUTES: &str = "ak_proxy";

/// Claims of a token that has passed every check. Only [`verify`] makes one.
#[derive(Debug)]
pub struct VerifiedOutpostToken {
    /// `sub`.
    pub subject: String,
    /// `sid`: the provider's identifier of its session.
    pub sid: Option<String>,
    /// The claims about the person.
    pub claims: JsonObject,
}

/// Returns `true` for the configured issuer. A URL has the slash of an empty path, which an issuer may be spelled without.
fn is_issuer(named: &str, settings: &Settings) -> bool {
    let issuer = settings.issuer.as_str();
    named == issuer || (settings.issuer.path() == "/" && issuer.strip_suffix('/') == Some(named))
}

/// Verifies a token of the client that `settings` describe, by that client's secret.
///
/// # Errors
///
/// Fails with the end of a sentence that begins with the token.
pub fn verify(
    raw: &str,
    settings: &Settings,
    secret: &SecretString,
    now: Timestamp,
) -> Result<VerifiedOutpostToken, CredentialError> {
    let token = UnverifiedJwt::parse(raw, MAX_LENGTH, STRICT).map_err(CredentialError::Refused)?;
    if token.header.get("alg").and_then(serde_json::Value::as_str) != Some("HS256") {
        return Err(CredentialError::refused("is not signed with the client's secret (alg is not HS256)"));
    }
    if !crypto::is_hmac_of(secret, token.signing_input.as_bytes(), &token.signature) {
        return Err(CredentialError::refused("is not signed with this client_secret"));
    }
    let claims = token.claims.members;
    if !claims.get("iss").and_then(serde_json::Value::as_str).is_some_and(|issuer| is_issuer(issuer, settings)) {
        return Err(CredentialError::refused("is of another issuer (iss)"));
    }
    let client = std::slice::from_ref(&settings.client_id);
    let is_for_another = |azp: &serde_json::Value| azp.as_str() != Some(settings.client_id.as_str());
    if !names_one_of(&claims, client) || claims.get("azp").is_some_and(is_for_another) {
        return Err(CredentialError::refused("is for another client (aud, azp)"));
    }
    let expires =
        seconds(&claims, "exp").ok_or_else(|| CredentialError::refused("has no exp, or one that is no time"))?;
    check_times(&claims, Some(expires), now)?;
    let subject = jwt::identifier(&claims, "sub").ok_or_else(|| CredentialError::refused("has no sub"))?.to_owned();
    let sid = jwt::identifier(&claims, "sid").map(ToOwned::to_owned);
    let mut claims = claims;
    claims.retain(|name, _| !PROTOCOL_CLAIMS.contains(&name.as_str()) && name != ATTRIBUTES);
    Ok(VerifiedOutpostToken { subject, sid, claims })
}
