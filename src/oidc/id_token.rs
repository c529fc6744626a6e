//! ID token validation (`OpenID` Connect Core, sections 3.1.3.7 and 12.2).
//!
//! Promises: a `VerifiedIdToken` exists only where every check passed; signatures are verified by `openidconnect`, never
//! with a symmetric key; any bytes are refused without a panic, and no text of a refusal holds a token. Pure.

use openidconnect::{
    AccessToken, AccessTokenHash, AuthorizationCode, AuthorizationCodeHash,
    core::{CoreJsonWebKeySet, CoreJwsSigningAlgorithm},
};
use serde_json::Value;

use super::{
    jwt::{self, JsonObject, JwtError, LEEWAY, UnverifiedJwt},
    signature::{self, VerifiedSignature},
};
use crate::{clock::Timestamp, crypto};

/// Longest ID token: room for a person in a thousand groups. It comes from the provider over TLS, not from a visitor.
const MAX_LENGTH: usize = 64 * 1024;

/// The claims of an ID token that has passed every check. Only [`verify`] makes one.
#[derive(Debug)]
pub(super) struct VerifiedIdToken {
    claims: JsonObject,
    subject: String,
}

impl VerifiedIdToken {
    /// All claims, those of the protocol included.
    pub(super) fn claims(&self) -> &JsonObject {
        &self.claims
    }

    /// `sub`.
    pub(super) fn subject(&self) -> &str {
        &self.subject
    }

    /// `exp`.
    pub(super) fn expires(&self) -> Option<Timestamp> {
        jwt::numeric_date(&self.claims, "exp")
    }

    /// `sid`: the provider's identifier of its session.
    pub(super) fn sid(&self) -> Option<&str> {
        jwt::identifier(&self.claims, "sid")
    }
}

/// Values that the claims of an ID token have to match.
pub(super) struct ExpectedIdToken<'a> {
    /// The issuer as its metadata spell it.
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) grant: GrantType<'a>,
    /// Signing algorithms that the metadata offer and the gate accepts.
    pub(super) algorithms: Vec<CoreJwsSigningAlgorithm>,
    pub(super) now: Timestamp,
    /// The access token of the same response, for `at_hash`.
    pub(super) access_token: &'a AccessToken,
}

/// The grant that an ID token was issued for, which decides the claims that it has to repeat.
#[derive(Clone, Copy)]
pub(super) enum GrantType<'a> {
    /// `authorization_code`: a sign-in.
    AuthorizationCode {
        nonce: &'a str,
        /// For `c_hash`.
        code: &'a AuthorizationCode,
    },
    /// `refresh_token`: a renewal (section 12.2).
    RefreshToken {
        /// Subject of the session that is renewed.
        subject: &'a str,
        /// Nonce of the previous ID token. A renewed one need not repeat it, but if it does it has to be the same.
        nonce: Option<&'a str>,
    },
}

/// Verifies an ID token in compact form. Claims about the person may be of any type: `claims` decides what they say.
pub(super) fn verify(
    raw: &str,
    expected: &ExpectedIdToken<'_>,
    keys: &CoreJsonWebKeySet,
) -> Result<VerifiedIdToken, JwtError> {
    let token = UnverifiedJwt::parse(raw, MAX_LENGTH).map_err(|problem| invalid(format!("the ID token {problem}")))?;
    let (claims, now) = (&token.claims, expected.now);
    let subject = check_types(claims).map_err(invalid)?.to_owned();
    check_header(&token.header).map_err(invalid)?;
    // Before the times: a token of another time changes nothing, but one about somebody else ends the session.
    check_subject(&subject, expected.grant).map_err(invalid)?;
    check_issuer(claims, expected.issuer).map_err(invalid)?;
    check_audience(claims, expected.client_id).map_err(invalid)?;
    let signature = signature::verify("ID token", &token, &expected.algorithms, keys)?;
    check_lifetime(claims, now)?;
    check_nonce(claims, expected.grant).map_err(invalid)?;
    check_authorized_party(claims, expected.client_id).map_err(invalid)?;
    check_not_before(claims, now)?;
    check_hashes(claims, &signature, expected).map_err(invalid)?;
    Ok(VerifiedIdToken { claims: token.claims, subject })
}

/// Returns the nonce of an ID token that was verified when it came.
pub(super) fn nonce(raw: &str) -> Option<String> {
    let token = UnverifiedJwt::parse(raw, MAX_LENGTH).ok()?;
    token.claims.get("nonce")?.as_str().map(ToOwned::to_owned)
}

fn invalid(text: impl Into<String>) -> JwtError {
    JwtError::Invalid(text.into())
}

/// Checks the types of the claims that the other checks read. Returns the subject.
fn check_types(claims: &JsonObject) -> Result<&str, &'static str> {
    for time in ["exp", "iat"] {
        if !claims.get(time).is_some_and(Value::is_number) {
            return Err("the ID token's exp or iat is missing or not a number");
        }
    }
    if jwt::audience(claims).is_none() {
        return Err("the ID token's aud is missing or not made of strings");
    }
    if claims.contains_key("sid") && jwt::identifier(claims, "sid").is_none() {
        return Err("the ID token's sid is not a string, is empty or is longer than 255 bytes");
    }
    jwt::identifier(claims, "sub").ok_or("the ID token's sub is missing, empty or longer than 255 bytes")
}

/// Checks `typ` and `cty` (RFC 7515, sections 4.1.9 and 4.1.10): other kinds of tokens are signed with the same keys.
fn check_header(header: &JsonObject) -> Result<(), &'static str> {
    let kind = match header.get("typ") {
        None | Some(Value::Null) => "jwt".to_owned(),
        Some(kind) => kind.as_str().unwrap_or_default().to_ascii_lowercase(),
    };
    if kind.strip_prefix("application/").unwrap_or(&kind) != "jwt" {
        return Err("the ID token has the type of another kind of token (typ)");
    }
    match header.get("cty") {
        None | Some(Value::Null) => Ok(()),
        Some(_) => Err("the ID token is nested in another one (cty)"),
    }
}

fn check_issuer(claims: &JsonObject, issuer: &str) -> Result<(), &'static str> {
    let is_ours = claims.get("iss").and_then(Value::as_str) == Some(issuer);
    is_ours.then_some(()).ok_or("the ID token is of another issuer (iss)")
}

/// Checks `aud`. Further audiences are fine where `azp` is this client.
fn check_audience(claims: &JsonObject, client_id: &str) -> Result<(), &'static str> {
    let is_authorized_party = claims.get("azp").and_then(Value::as_str) == Some(client_id);
    let audience = jwt::audience(claims).unwrap_or_default();
    let is_ours = |one: &&str| *one == client_id;
    let fits = audience.iter().any(is_ours) && (is_authorized_party || audience.iter().all(is_ours));
    fits.then_some(()).ok_or("the ID token is for another audience, or for others as well (aud)")
}

/// Checks `exp` and `iat`.
fn check_lifetime(claims: &JsonObject, now: Timestamp) -> Result<(), JwtError> {
    let numeric_date = |claim: &str| {
        let is_before_the_epoch = claims.get(claim).and_then(Value::as_f64).is_some_and(|seconds| seconds < 0.0);
        if is_before_the_epoch { Some(Timestamp::default()) } else { jwt::numeric_date(claims, claim) }
    };
    let (Some(expires), Some(issued)) = (numeric_date("exp"), numeric_date("iat")) else {
        return Err(invalid("the ID token's exp or iat is not a moment"));
    };
    if now.minus(LEEWAY) >= expires {
        return Err(untimely("has expired", claims, now));
    }
    if issued > now.plus(LEEWAY) {
        return Err(untimely("was issued in the future", claims, now));
    }
    Ok(())
}

fn check_nonce(claims: &JsonObject, grant: GrantType<'_>) -> Result<(), &'static str> {
    let expected = match (grant, claims.get("nonce")) {
        // Not every provider repeats it, and where it never did there is nothing to compare with.
        (GrantType::RefreshToken { .. }, None | Some(Value::Null))
        | (GrantType::RefreshToken { nonce: None, .. }, _) => {
            return Ok(());
        }
        (GrantType::AuthorizationCode { nonce, .. } | GrantType::RefreshToken { nonce: Some(nonce), .. }, _) => nonce,
    };
    let found = claims.get("nonce").and_then(Value::as_str).ok_or("the ID token has no nonce")?;
    // Digests, so that the time it takes tells nothing.
    let is_same = crypto::digest(found.as_bytes()) == crypto::digest(expected.as_bytes());
    is_same.then_some(()).ok_or("the ID token's nonce is that of another sign-in")
}

fn check_subject(subject: &str, grant: GrantType<'_>) -> Result<(), &'static str> {
    match grant {
        GrantType::RefreshToken { subject: owner, .. } if owner != subject => {
            Err("the ID token is about another subject than the session")
        }
        GrantType::RefreshToken { .. } | GrantType::AuthorizationCode { .. } => Ok(()),
    }
}

/// Checks `azp`, which `openidconnect` leaves to its users.
fn check_authorized_party(claims: &JsonObject, client_id: &str) -> Result<(), &'static str> {
    match claims.get("azp") {
        None => Ok(()),
        Some(Value::String(party)) if party == client_id => Ok(()),
        Some(_) => Err("the ID token was made for another client (azp)"),
    }
}

fn check_not_before(claims: &JsonObject, now: Timestamp) -> Result<(), JwtError> {
    match claims.get("nbf").map(Value::as_u64) {
        None => Ok(()),
        Some(Some(begins)) if begins <= now.plus(LEEWAY).unix() => Ok(()),
        Some(Some(_)) => Err(untimely("is not valid yet (nbf)", claims, now)),
        Some(None) => Err(invalid("the ID token's nbf is not a moment")),
    }
}

/// Returns the error for a token of another time. It has just come from the token endpoint, so that its apparent age is the
/// clock skew.
fn untimely(problem: &str, claims: &JsonObject, now: Timestamp) -> JwtError {
    let issued = claims.get("iat").and_then(Value::as_u64).map_or(now, Timestamp::from_unix);
    let (skew, place) = if issued > now { (issued.since(now), "behind") } else { (now.since(issued), "ahead of") };
    if skew <= LEEWAY {
        return invalid(format!("the ID token {problem}"));
    }
    let seconds = skew.as_secs();
    JwtError::ClockSkew(format!(
        "the ID token {problem}; this machine's clock is about {seconds} s {place} the provider's; mend: set both clocks"
    ))
}

/// Checks `at_hash` and `c_hash`, where the ID token has them, against the access token and the code of the same grant.
fn check_hashes(
    claims: &JsonObject,
    signature: &VerifiedSignature<'_>,
    expected: &ExpectedIdToken<'_>,
) -> Result<(), &'static str> {
    let VerifiedSignature { key, algorithm } = signature;
    if let Some(hash) = stated(claims, "at_hash") {
        let of_access = AccessTokenHash::from_token(expected.access_token, algorithm, *key);
        if of_access.ok().as_ref().map(|own| own.as_str()) != hash.as_str() {
            return Err("the ID token belongs to another access token (at_hash)");
        }
    }
    // At a renewal there is no code that it could belong to.
    if let (GrantType::AuthorizationCode { code, .. }, Some(hash)) = (expected.grant, stated(claims, "c_hash")) {
        let of_code = AuthorizationCodeHash::from_code(code, algorithm, *key);
        if of_code.ok().as_ref().map(|own| own.as_str()) != hash.as_str() {
            return Err("the ID token belongs to another authorization code (c_hash)");
        }
    }
    Ok(())
}

fn stated<'c>(claims: &'c JsonObject, claim: &str) -> Option<&'c Value> {
    claims.get(claim).filter(|value| !value.is_null())
}
