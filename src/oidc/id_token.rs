//! The ID token and the checks it has to pass (`OpenID` Connect Core, sections 3.1.3.7 and 12.2).
//!
//! Promises: a `VerifiedIdToken` exists only where every check passed; signatures are verified by `openidconnect`, never
//! with a symmetric key; any bytes are refused without a panic, and no text of a refusal holds a token. Pure; it must not
//! know how the token or the keys came.

use std::time::Duration;

use openidconnect::{
    AccessToken, AccessTokenHash, AuthorizationCode, AuthorizationCodeHash,
    core::{CoreJsonWebKeySet, CoreJwsSigningAlgorithm},
};
use serde_json::Value;

use super::{
    jwt::{self, Doubt, Object, Unverified},
    signature::{self, Signed},
};
use crate::{clock::Timestamp, crypto};

/// Room for somebody in a thousand groups; it comes from the provider over TLS, not from a visitor.
const LONGEST: usize = 64 * 1024;
/// How far the provider's clock may be from ours.
pub(super) const LEEWAY: Duration = Duration::from_mins(1);

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

    /// `exp`.
    pub(super) fn ends(&self) -> Option<Timestamp> {
        jwt::moment(&self.claims, "exp")
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

/// Checks an ID token in compact form. Claims about the person may be of any type: who reads them decides what they say.
pub(super) fn verify(raw: &str, expected: &Expected<'_>, keys: &CoreJsonWebKeySet) -> Result<VerifiedIdToken, Doubt> {
    let token = Unverified::parse(raw, LONGEST).map_err(|problem| doubt(format!("the ID token {problem}")))?;
    let (claims, now) = (&token.claims, expected.now);
    let subject = check_types(claims).map_err(doubt)?.to_owned();
    check_header(&token.header).map_err(doubt)?;
    // Before the times: a token of another time is not believed, but one about somebody else ends the session.
    check_subject(&subject, expected.occasion).map_err(doubt)?;
    check_issuer(claims, expected.issuer).map_err(doubt)?;
    check_audience(claims, expected.client_id).map_err(doubt)?;
    let signed = signature::check("ID token", &token, &expected.algorithms, keys)?;
    check_times(claims, now)?;
    check_nonce(claims, expected.occasion).map_err(doubt)?;
    check_party(claims, expected.client_id).map_err(doubt)?;
    check_not_before(claims, now)?;
    check_hashes(claims, &signed, expected).map_err(doubt)?;
    Ok(VerifiedIdToken { claims: token.claims, subject })
}

/// The nonce of an ID token that was verified when it came.
pub(super) fn nonce(raw: &str) -> Option<String> {
    let token = Unverified::parse(raw, LONGEST).ok()?;
    token.claims.get("nonce")?.as_str().map(ToOwned::to_owned)
}

fn doubt(text: impl Into<String>) -> Doubt {
    Doubt::Token(text.into())
}

/// The types of the claims that decide. Returns the subject.
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

/// `typ` and `cty` (RFC 7515, sections 4.1.9 and 4.1.10): other kinds of tokens are signed with the same keys.
fn check_header(header: &Object) -> Result<(), &'static str> {
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

fn check_issuer(claims: &Object, issuer: &str) -> Result<(), &'static str> {
    let is_ours = claims.get("iss").and_then(Value::as_str) == Some(issuer);
    is_ours.then_some(()).ok_or("the ID token is of another issuer (iss)")
}

/// Further audiences are fine where the token says in so many words that it was made for us (`azp`).
fn check_audience(claims: &Object, client_id: &str) -> Result<(), &'static str> {
    let made_for_us = claims.get("azp").and_then(Value::as_str) == Some(client_id);
    let audience = jwt::audience(claims).unwrap_or_default();
    let is_ours = |one: &&str| *one == client_id;
    let fits = audience.iter().any(is_ours) && (made_for_us || audience.iter().all(is_ours));
    fits.then_some(()).ok_or("the ID token is for another audience, or for others as well (aud)")
}

/// Both ends of its life.
fn check_times(claims: &Object, now: Timestamp) -> Result<(), Doubt> {
    let moment = |claim: &str| {
        let is_before_the_epoch = claims.get(claim).and_then(Value::as_f64).is_some_and(|seconds| seconds < 0.0);
        if is_before_the_epoch { Some(Timestamp::default()) } else { jwt::moment(claims, claim) }
    };
    let (Some(ends), Some(issued)) = (moment("exp"), moment("iat")) else {
        return Err(doubt("the ID token's exp or iat is not a moment"));
    };
    if now.minus(LEEWAY) >= ends {
        return Err(untimely("has expired", claims, now));
    }
    if issued > now.plus(LEEWAY) {
        return Err(untimely("was issued in the future", claims, now));
    }
    Ok(())
}

fn check_nonce(claims: &Object, occasion: Occasion<'_>) -> Result<(), &'static str> {
    let expected = match (occasion, claims.get("nonce")) {
        // Not every provider repeats it, and where it never did there is nothing to compare with.
        (Occasion::Renewal { .. }, None | Some(Value::Null)) | (Occasion::Renewal { nonce: None, .. }, _) => {
            return Ok(());
        }
        (Occasion::SignIn { nonce, .. } | Occasion::Renewal { nonce: Some(nonce), .. }, _) => nonce,
    };
    let found = claims.get("nonce").and_then(Value::as_str).ok_or("the ID token has no nonce")?;
    // Digests, so that the time it takes tells nothing.
    let is_same = crypto::digest(found.as_bytes()) == crypto::digest(expected.as_bytes());
    is_same.then_some(()).ok_or("the ID token's nonce is that of another sign-in")
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
fn check_hashes(claims: &Object, signed: &Signed<'_>, expected: &Expected<'_>) -> Result<(), &'static str> {
    let Signed { key, algorithm } = signed;
    if let Some(hash) = said(claims, "at_hash") {
        let of_access = AccessTokenHash::from_token(expected.access, algorithm, *key);
        if of_access.ok().as_ref().map(|own| own.as_str()) != hash.as_str() {
            return Err("the ID token belongs to another access token (at_hash)");
        }
    }
    // At a renewal there is no code that it could belong to.
    if let (Occasion::SignIn { code, .. }, Some(hash)) = (expected.occasion, said(claims, "c_hash")) {
        let of_code = AuthorizationCodeHash::from_code(code, algorithm, *key);
        if of_code.ok().as_ref().map(|own| own.as_str()) != hash.as_str() {
            return Err("the ID token belongs to another authorization code (c_hash)");
        }
    }
    Ok(())
}

fn said<'c>(claims: &'c Object, claim: &str) -> Option<&'c Value> {
    claims.get(claim).filter(|value| !value.is_null())
}
