//! The ID token and the checks it has to pass (`OpenID` Connect Core, section 3.1.3.7).
//!
//! Promises: a `VerifiedIdToken` exists only where every check passed; signatures are verified by `openidconnect`, never
//! with a symmetric key; any bytes are refused without a panic, and no text of a refusal holds a token. Pure; it must not
//! know how the token or the keys came.

use std::time::{Duration, SystemTime};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use openidconnect::{
    AccessToken, AccessTokenHash, AuthorizationCode, AuthorizationCodeHash, ClaimsVerificationError, ClientId,
    EmptyAdditionalClaims, IdToken, IdTokenClaims, IdTokenVerifier, IssuerUrl, JsonWebTokenType, Nonce,
    SignatureVerificationError,
    core::{
        CoreGenderClaim, CoreJsonWebKey, CoreJsonWebKeySet, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm,
    },
};
use serde_json::{Map, Value};

use super::{Error, discovery::printable};
use crate::clock::Timestamp;

/// Room for somebody in a thousand groups; it comes from the provider over TLS, not from a visitor.
const LONGEST: usize = 64 * 1024;
/// How far the provider's clock may be from ours.
const LEEWAY: Duration = Duration::from_mins(1);
/// Of a subject (`OpenID` Connect Core, section 2) and, because stores index both alike, of a session.
const LONGEST_NAME: usize = 255;

type Token =
    IdToken<EmptyAdditionalClaims, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;
/// A JSON object.
type Object = Map<String, Value>;
type TypedClaims = IdTokenClaims<EmptyAdditionalClaims, CoreGenderClaim>;

/// The claims of an ID token that has passed every check. Only `verify` makes one.
#[derive(Debug)]
pub(super) struct VerifiedIdToken {
    claims: Object,
    subject: String,
}

impl VerifiedIdToken {
    /// Every claim, those of the protocol included.
    pub(super) fn claims(&self) -> &Object {
        &self.claims
    }

    /// `sub`.
    pub(super) fn subject(&self) -> &str {
        &self.subject
    }
}

/// What an ID token has to fit.
pub(super) struct Expected<'a> {
    /// The issuer as its metadata spell it.
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    /// What the metadata offer of what the gate accepts.
    pub(super) algorithms: Vec<CoreJwsSigningAlgorithm>,
    pub(super) now: Timestamp,
    /// What came with it, for `at_hash` and `c_hash`.
    pub(super) access: &'a AccessToken,
    pub(super) code: &'a AuthorizationCode,
}

/// Why an ID token is not believed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// None of the keys fits: the provider may have changed them since they were fetched.
    Key(String),
    /// Newer keys would not help.
    Token(String),
}

impl From<Doubt> for Error {
    fn from(doubt: Doubt) -> Self {
        match doubt {
            Doubt::Key(text) | Doubt::Token(text) => Self::Unbelievable(text),
        }
    }
}

/// Checks an ID token in compact form.
pub(super) fn verify(raw: &str, expected: &Expected<'_>, keys: &CoreJsonWebKeySet) -> Result<VerifiedIdToken, Doubt> {
    let (header, claims) = decode(raw).map_err(doubt)?;
    check_header(&header).map_err(doubt)?;
    let subject = check_types(&claims).map_err(doubt)?.to_owned();
    let token: Token = raw.parse().map_err(|_| {
        doubt("the ID token does not parse: an unknown algorithm, or a claim of another type than OpenID Connect gives it")
    })?;
    let verifier = verifier(expected, &claims, keys).map_err(doubt)?;
    let typed = token.claims(&verifier, &Nonce::new(expected.nonce.to_owned())).map_err(explain)?;
    check_party(&claims, expected.client_id).map_err(doubt)?;
    check_not_before(&claims, expected.now).map_err(doubt)?;
    check_hashes(&token, typed, &verifier, expected).map_err(doubt)?;
    Ok(VerifiedIdToken { claims, subject })
}

fn doubt(text: impl Into<String>) -> Doubt {
    Doubt::Token(text.into())
}

/// The header and the claims, believed by nobody yet.
fn decode(raw: &str) -> Result<(Object, Object), &'static str> {
    if raw.len() > LONGEST {
        return Err("the ID token is longer than 64 KiB");
    }
    let mut parts = raw.split('.');
    let (Some(header), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err("the ID token is not a signed JWT in compact form");
    };
    let object = |part: &str| {
        let json = BASE64_URL_SAFE_NO_PAD.decode(part).ok()?;
        serde_json::from_slice(&json).ok()
    };
    let header = object(header).ok_or("the ID token's header is not JSON")?;
    let claims = object(claims).ok_or("the ID token's claims are not a JSON object")?;
    Ok((header, claims))
}

fn check_header(header: &Object) -> Result<(), &'static str> {
    if ["crit", "zip", "b64"].iter().any(|name| header.contains_key(*name)) {
        return Err("the ID token's header asks for an extension that the gate does not have");
    }
    match header.get("alg").and_then(Value::as_str) {
        None => Err("the ID token's header names no algorithm"),
        Some(none) if none.eq_ignore_ascii_case("none") => Err("the ID token is not signed"),
        Some(_) => Ok(()),
    }
}

/// What serde would forgive or read as absent. Returns the subject.
fn check_types(claims: &Object) -> Result<&str, &'static str> {
    for time in ["exp", "iat"] {
        if !claims.get(time).is_some_and(Value::is_number) {
            return Err("the ID token's exp or iat is missing or not a number");
        }
    }
    let audience = match claims.get("aud") {
        Some(Value::String(_)) => true,
        Some(Value::Array(many)) => !many.is_empty() && many.iter().all(Value::is_string),
        _ => false,
    };
    if !audience {
        return Err("the ID token's aud is missing or not made of strings");
    }
    let is_name = |name: &str| !name.is_empty() && name.len() <= LONGEST_NAME;
    if claims.get("sid").is_some_and(|sid| !sid.as_str().is_some_and(is_name)) {
        return Err("the ID token's sid is not a string, is empty or is longer than 255 bytes");
    }
    match claims.get("sub").and_then(Value::as_str) {
        Some(subject) if is_name(subject) => Ok(subject),
        _ => Err("the ID token's sub is missing, empty or longer than 255 bytes"),
    }
}

fn verifier<'a>(
    expected: &Expected<'a>,
    claims: &Object,
    keys: &CoreJsonWebKeySet,
) -> Result<IdTokenVerifier<'a, CoreJsonWebKey>, &'static str> {
    let issuer = IssuerUrl::new(expected.issuer.to_owned()).map_err(|_| "the issuer is not a URL")?;
    let jwt = JsonWebTokenType::new("JWT".to_owned()).normalize().map_err(|_| "JWT is not a type")?;
    let client_id = ClientId::new(expected.client_id.to_owned());
    // Further audiences are fine where the token says in so many words that it was made for us.
    let made_for_us = claims.get("azp").and_then(Value::as_str) == Some(expected.client_id);
    let now = expected.now.minus(LEEWAY).to_system();
    let latest = expected.now.plus(LEEWAY).to_system();
    Ok(IdTokenVerifier::new_public_client(client_id, issuer, keys.clone())
        .set_allowed_algs(expected.algorithms.clone())
        .set_allowed_jose_types([jwt])
        .set_other_audience_verifier_fn(move |_| made_for_us)
        .set_time_fn(move || now.into())
        .set_issue_time_verifier_fn(move |issued| {
            let in_time = SystemTime::from(issued) <= latest;
            in_time.then_some(()).ok_or_else(|| "it was issued in the future; mend: set both clocks".to_owned())
        }))
}

/// `azp`, which `openidconnect` leaves to its users.
fn check_party(claims: &Object, client_id: &str) -> Result<(), &'static str> {
    match claims.get("azp") {
        None => Ok(()),
        Some(Value::String(party)) if party == client_id => Ok(()),
        Some(_) => Err("the ID token was made for another client (azp)"),
    }
}

fn check_not_before(claims: &Object, now: Timestamp) -> Result<(), &'static str> {
    match claims.get("nbf").map(Value::as_u64) {
        None => Ok(()),
        Some(Some(begins)) if begins <= now.plus(LEEWAY).unix() => Ok(()),
        Some(_) => Err("the ID token is not valid yet (nbf); mend: set both clocks"),
    }
}

/// The access token and the code have to be those that the ID token was issued with, where it says which.
fn check_hashes(
    token: &Token,
    claims: &TypedClaims,
    verifier: &IdTokenVerifier<'_, CoreJsonWebKey>,
    expected: &Expected<'_>,
) -> Result<(), &'static str> {
    let (at_hash, c_hash) = (claims.access_token_hash(), claims.code_hash());
    if at_hash.is_none() && c_hash.is_none() {
        return Ok(());
    }
    let algorithm = token.signing_alg().map_err(|_| "the ID token is not signed")?;
    let key = token.signing_key(verifier).map_err(|_| "the ID token's key is gone")?;
    let of_access = AccessTokenHash::from_token(expected.access, algorithm, key);
    let of_code = AuthorizationCodeHash::from_code(expected.code, algorithm, key);
    if at_hash.is_some_and(|hash| of_access.ok().as_ref() != Some(hash)) {
        return Err("the ID token belongs to another access token (at_hash)");
    }
    if c_hash.is_some_and(|hash| of_code.ok().as_ref() != Some(hash)) {
        return Err("the ID token belongs to another authorization code (c_hash)");
    }
    Ok(())
}

fn explain(error: ClaimsVerificationError) -> Doubt {
    use SignatureVerificationError as Signature;
    let text = format!("the ID token is refused: {}", printable(&error.to_string()));
    match error {
        ClaimsVerificationError::SignatureVerification(Signature::NoMatchingKey | Signature::CryptoError(_)) => {
            Doubt::Key(format!("{text}: none of the provider's published keys fits it"))
        }
        ClaimsVerificationError::SignatureVerification(reason) => Doubt::Token(format!("{text}: {reason}")),
        _ => Doubt::Token(text),
    }
}
