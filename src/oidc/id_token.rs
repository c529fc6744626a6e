//! ID token validation (`OpenID` Connect Core, sections 3.1.3.7 and 12.2).
//!
//! Promises: a `VerifiedIdToken` exists only where every check passed; signatures are verified by `openidconnect`; any bytes are refused without a panic, and no text of a refusal holds a token. Pure.

use openidconnect::{
    AccessToken, AccessTokenHash, AuthorizationCode, AuthorizationCodeHash,
    core::{CoreJsonWebKeySet, CoreJwsSigningAlgorithm},
};
use serde_json::Value;

use super::{
    error::printable,
    json::{JsonObject, ReadObject},
    jwt::{self, JwtError, LEEWAY, UnverifiedJwt},
    signature::{self, VerifiedSignature},
};
use crate::{clock::Timestamp, crypto};

/// Longest ID token: room for a person in a thousand groups. It comes from the provider over TLS, not from a visitor.
const MAX_LENGTH: usize = 64 * 1024;

/// Claims that decide whether a token counts. All others are read as they can be.
const STRICT: &[&str] = &["iss", "aud", "azp", "exp", "iat", "nbf", "nonce", "sub", "sid", "at_hash", "c_hash"];

/// The claims of an ID token that has passed every check. Only [`verify`] makes one.
#[derive(Debug)]
pub(super) struct VerifiedIdToken {
    /// All claims, those of the protocol included.
    pub(super) claims: ReadObject,
    /// `sub`.
    pub(super) subject: String,
}

impl VerifiedIdToken {
    /// `exp`.
    pub(super) fn expires(&self) -> Option<Timestamp> {
        jwt::numeric_date(&self.claims.members, "exp")
    }

    /// `sid`: the provider's identifier of its session.
    pub(super) fn sid(&self) -> Option<&str> {
        jwt::identifier(&self.claims.members, "sid")
    }
}

/// The ID token that a session holds, verified when it came.
#[derive(Debug)]
pub(super) struct HeldIdToken {
    digest: [u8; 32],
    nonce: Option<String>,
    /// `iat` and `exp`.
    times: [Option<Timestamp>; 2],
}

impl HeldIdToken {
    /// Parses a token that was verified when it came.
    pub(super) fn parse(raw: &str) -> Option<Self> {
        let claims = UnverifiedJwt::parse(raw, MAX_LENGTH, STRICT).ok()?.claims.members;
        let nonce = claims.get("nonce").and_then(Value::as_str).map(ToOwned::to_owned);
        Some(Self { digest: crypto::digest(raw.as_bytes()), nonce, times: times(&claims) })
    }

    fn is_same_text(&self, raw: &str) -> bool {
        self.digest == crypto::digest(raw.as_bytes())
    }

    fn has_times_of(&self, claims: &JsonObject) -> bool {
        self.times == times(claims) && !self.times.contains(&None)
    }
}

fn times(claims: &JsonObject) -> [Option<Timestamp>; 2] {
    ["iat", "exp"].map(|claim| jwt::numeric_date(claims, claim))
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
        /// The ID token of that session. A renewed one need not repeat its nonce, but if it does it has to be the same.
        held: Option<&'a HeldIdToken>,
    },
    /// `client_credentials` with a person's app password: nothing went before it that the token could repeat.
    AppPassword,
}

impl<'a> GrantType<'a> {
    fn held(self) -> Option<&'a HeldIdToken> {
        match self {
            Self::AuthorizationCode { .. } | Self::AppPassword => None,
            Self::RefreshToken { held, .. } => held,
        }
    }
}

/// Verifies an ID token in compact form. Claims about the person may be of any type: `claims` decides what they say.
pub(super) fn verify(
    raw: &str,
    expected: &ExpectedIdToken<'_>,
    keys: &CoreJsonWebKeySet,
) -> Result<VerifiedIdToken, JwtError> {
    if expected.grant.held().is_some_and(|held| held.is_same_text(raw)) {
        return Err(JwtError::Repeated);
    }
    let token = UnverifiedJwt::parse(raw, MAX_LENGTH, STRICT);
    let token = token.map_err(|problem| invalid(format!("the ID token {problem}")))?;
    let claims = &token.claims.members;
    let subject = check_types(claims).map_err(invalid)?.to_owned();
    check_header(&token.header).map_err(invalid)?;
    // Before the times: a token of another time changes nothing, but one about somebody else ends the session.
    check_subject(&subject, expected.grant).map_err(invalid)?;
    check_issuer(claims, expected.issuer).map_err(invalid)?;
    check_audience(claims, expected.client_id).map_err(invalid)?;
    let signature = signature::verify("ID token", &token, &expected.algorithms, keys)?;
    match check_moment(claims, &signature, expected) {
        // The same token, signed anew: it is as old as it was.
        Err(_) if expected.grant.held().is_some_and(|held| held.has_times_of(claims)) => {
            check_nonce(claims, expected.grant).map_err(invalid)?;
            check_authorized_party(claims, expected.client_id).map_err(invalid)?;
            Err(JwtError::Repeated)
        }
        outcome => outcome.map(|()| VerifiedIdToken { claims: token.claims, subject }),
    }
}

/// Checks that the token was issued for this grant, now.
fn check_moment(
    claims: &JsonObject,
    signature: &VerifiedSignature<'_>,
    expected: &ExpectedIdToken<'_>,
) -> Result<(), JwtError> {
    check_lifetime(claims, expected.now)?;
    check_nonce(claims, expected.grant).map_err(invalid)?;
    check_authorized_party(claims, expected.client_id).map_err(invalid)?;
    check_not_before(claims, expected.now)?;
    check_hashes(claims, signature, expected).map_err(invalid)
}

fn invalid(text: impl Into<String>) -> JwtError {
    JwtError::Invalid(text.into())
}

/// Checks the types of the claims that the other checks read. Returns the subject.
fn check_types(claims: &JsonObject) -> Result<&str, String> {
    let odd = |claim: &str, expected: &str| {
        Err(format!("the ID token's {claim} is missing or not {expected}; mend: have the provider send it so"))
    };
    if let Some(time) = ["exp", "iat"].into_iter().find(|time| !claims.get(*time).is_some_and(Value::is_number)) {
        return odd(time, "a number of seconds since 1970");
    }
    if jwt::audience(claims).is_none() {
        return odd("aud", "text or a list of texts");
    }
    if has_sid(claims) && jwt::identifier(claims, "sid").is_none() {
        return odd("sid", "a text of 1 to 255 bytes");
    }
    jwt::identifier(claims, "sub").map_or_else(|| odd("sub", "a text of 1 to 255 bytes"), Ok)
}

/// Returns `true` if there is a `sid`: an empty one is none.
fn has_sid(claims: &JsonObject) -> bool {
    stated(claims, "sid").is_some_and(|sid| sid.as_str() != Some(""))
}

/// Checks `typ` and `cty` (RFC 7515, sections 4.1.9 and 4.1.10): other kinds of tokens are signed with the same keys.
fn check_header(header: &JsonObject) -> Result<(), &'static str> {
    let kind = match header.get("typ") {
        None | Some(Value::Null) => "jwt".to_owned(),
        Some(kind) => kind.as_str().unwrap_or_default().to_ascii_lowercase(),
    };
    if kind.strip_prefix("application/").unwrap_or(&kind) != "jwt" {
        return Err("the ID token has the type of another kind of token (typ); mend: have the provider send typ JWT");
    }
    match header.get("cty") {
        None | Some(Value::Null) => Ok(()),
        Some(_) => {
            Err("the ID token is nested in another one (cty); mend: have the provider sign it and not encrypt it")
        }
    }
}

fn check_issuer(claims: &JsonObject, issuer: &str) -> Result<(), String> {
    match claims.get("iss").and_then(Value::as_str) {
        Some(own) if own == issuer => Ok(()),
        other => Err(format!(
            "the ID token is of another issuer (iss) than `{issuer}`: `{}`; mend: have the provider's metadata and tokens \
             name the same issuer, and write that one in providers[].issuer",
            printable(other.unwrap_or_default())
        )),
    }
}

/// Checks `aud`. Further audiences are fine where `azp` is this client.
fn check_audience(claims: &JsonObject, client_id: &str) -> Result<(), &'static str> {
    let is_authorized_party = claims.get("azp").and_then(Value::as_str) == Some(client_id);
    let audience = jwt::audience(claims).unwrap_or_default();
    let is_ours = |one: &&str| *one == client_id;
    let fits = audience.iter().any(is_ours) && (is_authorized_party || audience.iter().all(is_ours));
    fits.then_some(()).ok_or(
        "the ID token is for another audience, or for others as well (aud); mend: check client_id, or have the provider name \
         this client alone, or in azp",
    )
}

/// Checks `exp` and `iat`.
fn check_lifetime(claims: &JsonObject, now: Timestamp) -> Result<(), JwtError> {
    let numeric_date = |claim: &str| {
        let is_before_the_epoch = claims.get(claim).and_then(Value::as_f64).is_some_and(|seconds| seconds < 0.0);
        if is_before_the_epoch { Some(Timestamp::default()) } else { jwt::numeric_date(claims, claim) }
    };
    let (Some(expires), Some(issued)) = (numeric_date("exp"), numeric_date("iat")) else {
        return Err(invalid(
            "the ID token's exp or iat is not a moment; mend: have the provider send seconds since 1970",
        ));
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
        (GrantType::AppPassword, _) | (GrantType::RefreshToken { .. }, None | Some(Value::Null)) => return Ok(()),
        (GrantType::RefreshToken { held, .. }, _) => match held.and_then(|held| held.nonce.as_deref()) {
            Some(nonce) => nonce,
            None => return Ok(()),
        },
        (GrantType::AuthorizationCode { nonce, .. }, _) => nonce,
    };
    let found = claims
        .get("nonce")
        .and_then(Value::as_str)
        .ok_or("the ID token has no nonce; mend: have the provider repeat the nonce of the request")?;
    // Digests, so that the time it takes tells nothing.
    let is_same = crypto::digest(found.as_bytes()) == crypto::digest(expected.as_bytes());
    is_same.then_some(()).ok_or("the ID token's nonce is that of another sign-in; mend: sign in again")
}

fn check_subject(subject: &str, grant: GrantType<'_>) -> Result<(), &'static str> {
    match grant {
        GrantType::RefreshToken { subject: owner, .. } if owner != subject => {
            Err("the ID token is about another subject than the session (sub); mend: sign in again")
        }
        GrantType::RefreshToken { .. } | GrantType::AuthorizationCode { .. } | GrantType::AppPassword => Ok(()),
    }
}

/// Checks `azp`, which `openidconnect` leaves to its users.
fn check_authorized_party(claims: &JsonObject, client_id: &str) -> Result<(), &'static str> {
    match claims.get("azp") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(party)) if party == client_id => Ok(()),
        Some(_) => Err("the ID token was made for another client (azp); mend: check client_id"),
    }
}

fn check_not_before(claims: &JsonObject, now: Timestamp) -> Result<(), JwtError> {
    if stated(claims, "nbf").is_none() {
        return Ok(());
    }
    match jwt::numeric_date(claims, "nbf") {
        Some(begins) if begins <= now.plus(LEEWAY) => Ok(()),
        Some(_) => Err(untimely("is not valid yet (nbf)", claims, now)),
        None => Err(invalid(
            "the ID token's nbf is not a moment; mend: have the provider send seconds since 1970, or leave it out",
        )),
    }
}

/// Returns the error for a token of another time. It has just come from the token endpoint, so that its apparent age is the
/// clock skew.
fn untimely(problem: &str, claims: &JsonObject, now: Timestamp) -> JwtError {
    let issued = jwt::numeric_date(claims, "iat").unwrap_or(now);
    let (skew, place) = if issued > now { (issued.since(now), "behind") } else { (now.since(issued), "ahead of") };
    if skew <= LEEWAY {
        return invalid(format!("the ID token {problem}; mend: have the provider give it a later exp"));
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
            return Err(
                "the ID token belongs to another access token (at_hash); mend: have the provider issue both together",
            );
        }
    }
    // At a renewal there is no code that it could belong to.
    if let (GrantType::AuthorizationCode { code, .. }, Some(hash)) = (expected.grant, stated(claims, "c_hash")) {
        let of_code = AuthorizationCodeHash::from_code(code, algorithm, *key);
        if of_code.ok().as_ref().map(|own| own.as_str()) != hash.as_str() {
            return Err("the ID token belongs to another authorization code (c_hash); mend: sign in again");
        }
    }
    Ok(())
}

fn stated<'c>(claims: &'c JsonObject, claim: &str) -> Option<&'c Value> {
    claims.get(claim).filter(|value| !value.is_null())
}
