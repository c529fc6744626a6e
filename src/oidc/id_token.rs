//! The ID token and the checks it has to pass (`OpenID` Connect Core, sections 3.1.3.7 and 12.2).
//!
//! Promises: a `VerifiedIdToken` exists only where every check passed; signatures are verified by `openidconnect`, never
//! with a symmetric key; any bytes are refused without a panic, and no text of a refusal holds a token. Pure; it must not
//! know how the token or the keys came.

use std::time::{Duration, SystemTime};

use openidconnect::{
    AccessToken, AccessTokenHash, AuthorizationCode, AuthorizationCodeHash, ClaimsVerificationError, ClientId,
    EmptyAdditionalClaims, IdToken, IdTokenClaims, IdTokenVerifier, IssuerUrl, JsonWebTokenType, Nonce,
    NonceVerifier as _, SignatureVerificationError,
    core::{
        CoreGenderClaim, CoreJsonWebKey, CoreJsonWebKeySet, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm,
    },
};
use serde_json::Value;

use super::{
    discovery::printable,
    jwt::{self, Doubt, Object, Unverified},
};
use crate::clock::Timestamp;

/// Room for somebody in a thousand groups; it comes from the provider over TLS, not from a visitor.
const LONGEST: usize = 64 * 1024;
/// How far the provider's clock may be from ours.
pub(super) const LEEWAY: Duration = Duration::from_mins(1);
/// What is wrong with a token that was issued later than now.
const EARLY: &str = "was issued in the future";

type Token =
    IdToken<EmptyAdditionalClaims, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;
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

    /// `sid`: the provider's own name for its session.
    pub(super) fn session(&self) -> Option<&str> {
        jwt::name(&self.claims, "sid")
    }
}

/// What an ID token has to fit.
pub(super) struct Expected<'a> {
    /// The issuer as its metadata spell it.
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) occasion: Occasion<'a>,
    /// What the metadata offer of what the gate accepts.
    pub(super) algorithms: Vec<CoreJwsSigningAlgorithm>,
    pub(super) now: Timestamp,
    /// What came with it, for `at_hash`.
    pub(super) access: &'a AccessToken,
}

/// When an ID token was issued, which decides what it has to repeat.
#[derive(Clone, Copy)]
pub(super) enum Occasion<'a> {
    /// For a code.
    SignIn {
        nonce: &'a str,
        /// For `c_hash`.
        code: &'a AuthorizationCode,
    },
    /// For a refresh token (section 12.2).
    Renewal {
        /// Whose session is renewed.
        subject: &'a str,
        /// What the ID token before it repeated. A renewed one need not, but if it does it has to be the same.
        nonce: Option<&'a str>,
    },
}

/// Checks an ID token in compact form.
pub(super) fn verify(raw: &str, expected: &Expected<'_>, keys: &CoreJsonWebKeySet) -> Result<VerifiedIdToken, Doubt> {
    let Unverified { claims, .. } =
        Unverified::parse(raw, LONGEST).map_err(|problem| doubt(format!("the ID token {problem}")))?;
    let subject = check_types(&claims).map_err(doubt)?.to_owned();
    let token: Token = raw.parse().map_err(|_| {
        doubt("the ID token does not parse: an unknown algorithm, or a claim of another type than OpenID Connect gives it")
    })?;
    // Before the times: a token of another time is not believed, but one about somebody else ends the session.
    check_subject(&subject, expected.occasion).map_err(doubt)?;
    let verifier = verifier(expected, &claims, keys).map_err(doubt)?;
    let typed = token
        .claims(&verifier, |nonce: Option<&Nonce>| check_nonce(nonce, expected.occasion))
        .map_err(|e| explain(e, &claims, expected.now))?;
    check_party(&claims, expected.client_id).map_err(doubt)?;
    check_not_before(&claims, expected.now)?;
    check_hashes(&token, typed, &verifier, expected).map_err(doubt)?;
    Ok(VerifiedIdToken { claims, subject })
}

/// The nonce of an ID token that was verified when it came.
pub(super) fn nonce(raw: &str) -> Option<String> {
    let token = Unverified::parse(raw, LONGEST).ok()?;
    token.claims.get("nonce")?.as_str().map(ToOwned::to_owned)
}

fn doubt(text: impl Into<String>) -> Doubt {
    Doubt::Token(text.into())
}

/// What serde would forgive or read as absent. Returns the subject.
fn check_types(claims: &Object) -> Result<&str, &'static str> {
    for time in ["exp", "iat"] {
        if !claims.get(time).is_some_and(Value::is_number) {
            return Err("the ID token's exp or iat is missing or not a number");
        }
    }
    if jwt::audience(claims).is_none() {
        return Err("the ID token's aud is missing or not made of strings");
    }
    if claims.contains_key("sid") && jwt::name(claims, "sid").is_none() {
        return Err("the ID token's sid is not a string, is empty or is longer than 255 bytes");
    }
    jwt::name(claims, "sub").ok_or("the ID token's sub is missing, empty or longer than 255 bytes")
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
            in_time.then_some(()).ok_or_else(|| EARLY.to_owned())
        }))
}

fn check_nonce(nonce: Option<&Nonce>, occasion: Occasion<'_>) -> Result<(), String> {
    match (occasion, nonce) {
        // Not every provider repeats it, and where it never did there is nothing to compare with.
        (Occasion::Renewal { .. }, None) | (Occasion::Renewal { nonce: None, .. }, Some(_)) => Ok(()),
        (Occasion::SignIn { nonce: expected, .. } | Occasion::Renewal { nonce: Some(expected), .. }, found) => {
            (&Nonce::new(expected.to_owned())).verify(found)
        }
    }
}

fn check_subject(subject: &str, occasion: Occasion<'_>) -> Result<(), &'static str> {
    match occasion {
        Occasion::Renewal { subject: owner, .. } if owner != subject => {
            Err("the ID token is about another subject than the session")
        }
        Occasion::Renewal { .. } | Occasion::SignIn { .. } => Ok(()),
    }
}

/// `azp`, which `openidconnect` leaves to its users.
fn check_party(claims: &Object, client_id: &str) -> Result<(), &'static str> {
    match claims.get("azp") {
        None => Ok(()),
        Some(Value::String(party)) if party == client_id => Ok(()),
        Some(_) => Err("the ID token was made for another client (azp)"),
    }
}

fn check_not_before(claims: &Object, now: Timestamp) -> Result<(), Doubt> {
    match claims.get("nbf").map(Value::as_u64) {
        None => Ok(()),
        Some(Some(begins)) if begins <= now.plus(LEEWAY).unix() => Ok(()),
        Some(Some(_)) => Err(untimely("is not valid yet (nbf)", claims, now)),
        Some(None) => Err(doubt("the ID token's nbf is not a moment")),
    }
}

/// It has just come from the token endpoint: how old it looks is how far the clocks are apart.
fn untimely(what: &str, claims: &Object, now: Timestamp) -> Doubt {
    let issued = claims.get("iat").and_then(Value::as_u64).map_or(now, Timestamp::from_unix);
    let (apart, place) = if issued > now { (issued.since(now), "behind") } else { (now.since(issued), "ahead of") };
    if apart <= LEEWAY {
        return doubt(format!("the ID token {what}"));
    }
    let seconds = apart.as_secs();
    Doubt::Clock(format!(
        "the ID token {what}; this machine's clock is about {seconds} s {place} the provider's; mend: set both clocks"
    ))
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
    if at_hash.is_some_and(|hash| of_access.ok().as_ref() != Some(hash)) {
        return Err("the ID token belongs to another access token (at_hash)");
    }
    // At a renewal there is no code that it could belong to.
    if let Occasion::SignIn { code, .. } = expected.occasion {
        let of_code = AuthorizationCodeHash::from_code(code, algorithm, key);
        if c_hash.is_some_and(|hash| of_code.ok().as_ref() != Some(hash)) {
            return Err("the ID token belongs to another authorization code (c_hash)");
        }
    }
    Ok(())
}

fn explain(error: ClaimsVerificationError, claims: &Object, now: Timestamp) -> Doubt {
    use SignatureVerificationError as Signature;
    let text = format!("the ID token is refused: {}", printable(&error.to_string()));
    match error {
        ClaimsVerificationError::SignatureVerification(Signature::NoMatchingKey | Signature::CryptoError(_)) => {
            Doubt::Key(format!("{text}: none of the provider's published keys fits it"))
        }
        ClaimsVerificationError::SignatureVerification(reason) => Doubt::Token(format!("{text}: {reason}")),
        // Both ends of its life; the signature was checked before.
        ClaimsVerificationError::Expired(text) if text == EARLY => untimely(EARLY, claims, now),
        ClaimsVerificationError::Expired(_) => untimely("has expired", claims, now),
        _ => Doubt::Token(text),
    }
}
