//! Logout tokens (`OpenID` Connect Back-Channel Logout 1.0, sections 2.4 and 2.6) and front-channel logout requests
//! (Front-Channel Logout 1.0, section 3).
//!
//! Promises: a `VerifiedLogoutToken` exists only where every check passed; signatures are verified by `openidconnect`, with
//! the keys and algorithms of ID tokens; nothing is fetched for a token that does not even claim to be for this client.
//! Replay is left to the caller, who has to record `jti`.

use std::time::Duration;

use openidconnect::core::CoreJsonWebKeySet;
use serde_json::Value;
use url::Url;

use super::{
    error::Error,
    json::JsonObject,
    jwks::{Jwks, TokenSender},
    jwt::{self, LEEWAY, UnverifiedJwt},
    metadata::ProviderMetadata,
    settings::Settings,
    signature,
};
use crate::{clock::Timestamp, identity::Subject};

/// Longest token: anybody may send one.
const MAX_LENGTH: usize = 16 * 1024;
/// Claims that decide whether a token counts.
pub(super) const STRICT: &[&str] = &["iss", "aud", "exp", "iat", "jti", "sub", "sid", "nonce", "events"];
/// The member of `events` that makes a token a logout token.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// Lifetime of a token without `exp`. Older providers leave it out.
const DEFAULT_LIFETIME: Duration = Duration::from_mins(5);
/// Lifetime of any token, whatever its `exp`: its `jti` has to be remembered for as long.
const MAX_LIFETIME: Duration = Duration::from_hours(24);

/// A logout token that has passed every check. Replayed ones pass too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedLogoutToken {
    /// `jti`: the token counts once.
    pub jti: String,
    /// End of the time in which the same token would pass again, and `jti` has to be remembered against replay.
    pub expires: Timestamp,
    /// The sessions that end.
    pub subject: LogoutSubject,
}

/// The sessions that a logout ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogoutSubject {
    /// The one session with this `sid`, whatever `sub` the token has.
    Sid(String),
    /// All of a person's sessions (`sub`).
    Subject(Subject),
}

/// A logout token that has passed every check but the signature's.
pub(super) struct UnverifiedLogoutToken<'t> {
    jwt: UnverifiedJwt<'t>,
    claims: VerifiedLogoutToken,
}

impl<'t> UnverifiedLogoutToken<'t> {
    /// Parses a token and checks its header and claims.
    pub(super) fn parse(raw: &'t str, settings: &Settings, now: Timestamp) -> Result<Self, Error> {
        let jwt = UnverifiedJwt::parse(raw, MAX_LENGTH, STRICT)
            .map_err(|problem| invalid(&format!("logout token {problem}")))?;
        if Url::parse(issuer(&jwt)).as_ref() != Ok(&settings.issuer) {
            return Err(invalid("logout token is of another issuer"));
        }
        let claims = check_claims(&jwt, &settings.client_id, now).map_err(invalid)?;
        Ok(Self { jwt, claims })
    }

    /// Verifies the issuer's spelling and the signature. `Unavailable` where the keys cannot be had; all other errors are
    /// `InvalidMessage`.
    pub(super) async fn verify(self, metadata: &ProviderMetadata, jwks: &Jwks) -> Result<VerifiedLogoutToken, Error> {
        if issuer(&self.jwt) != metadata.issuer {
            return Err(invalid("logout token is of another issuer"));
        }
        let algorithms = metadata.algorithms();
        let check =
            |keys: &CoreJsonWebKeySet| signature::verify("logout token", &self.jwt, &algorithms, keys).map(drop);
        jwks.verify(&metadata.jwks_uri, TokenSender::Stranger, check).await?;
        Ok(self.claims)
    }
}

/// Returns the session that a front-channel logout request is about: only where it names the issuer of `metadata`, as they
/// spell it, and one session. Anybody can make a browser send such a request, but not know the `sid`.
pub(super) fn frontchannel_subject(
    metadata: &ProviderMetadata,
    iss: Option<&str>,
    sid: Option<&str>,
) -> Option<LogoutSubject> {
    let is_issuer = iss == Some(metadata.issuer.as_str());
    let is_plain = |sid: &&str| jwt::is_identifier(sid) && !sid.contains(char::is_control);
    sid.filter(is_plain).filter(|_| is_issuer).map(|sid| LogoutSubject::Sid(sid.to_owned()))
}

/// Checks all but the issuer and the signature. The error is a sentence without its article.
pub(super) fn check_claims(
    token: &UnverifiedJwt<'_>,
    client_id: &str,
    now: Timestamp,
) -> Result<VerifiedLogoutToken, &'static str> {
    let (header, claims) = (&token.header, &token.claims.members);
    check_type(header)?;
    if !jwt::audience(claims).is_some_and(|audience| audience.iter().all(|one| *one == client_id)) {
        return Err("logout token is for another client (aud)");
    }
    if claims.contains_key("nonce") {
        return Err("logout token has a nonce, which only an ID token may have");
    }
    if !claims.get("events").and_then(|events| events.get(EVENT)).is_some_and(Value::is_object) {
        return Err("logout token is not about a logout (events)");
    }
    let expires = check_times(claims, now)?;
    let jti = jwt::identifier(claims, "jti").ok_or("logout token has no jti, or one longer than 255 bytes")?.to_owned();
    Ok(VerifiedLogoutToken { jti, expires, subject: subject(claims)? })
}

/// Checks `typ`. The standard recommends `logout+jwt`; libraries that leave it to their users put `JWT` there. `events`
/// keeps other tokens out: no other kind of token has it.
fn check_type(header: &JsonObject) -> Result<(), &'static str> {
    let Some(kind) = header.get("typ") else { return Ok(()) };
    let kind = kind.as_str().unwrap_or_default().to_ascii_lowercase();
    match kind.strip_prefix("application/").unwrap_or(&kind) {
        "logout+jwt" | "jwt" => Ok(()),
        _ => Err("logout token has the type of another kind of token (typ)"),
    }
}

/// Checks `iat` and `exp`, and returns the end of the token's acceptance, leeway included.
fn check_times(claims: &JsonObject, now: Timestamp) -> Result<Timestamp, &'static str> {
    let issued = jwt::numeric_date(claims, "iat").ok_or("logout token's iat is missing or not a time")?;
    if issued > now.plus(LEEWAY) {
        return Err("logout token was issued in the future; mend: set both clocks");
    }
    let expires = if claims.contains_key("exp") {
        jwt::numeric_date(claims, "exp").ok_or("logout token's exp is not a time")?.min(issued.plus(MAX_LIFETIME))
    } else {
        issued.plus(DEFAULT_LIFETIME)
    };
    let accepted_until = expires.plus(LEEWAY);
    if accepted_until <= now { Err("logout token has expired") } else { Ok(accepted_until) }
}

fn subject(claims: &JsonObject) -> Result<LogoutSubject, &'static str> {
    if ["sid", "sub"].iter().any(|claim| claims.contains_key(*claim) && jwt::identifier(claims, claim).is_none()) {
        return Err("logout token's sid or sub is not a string of 1 to 255 bytes");
    }
    match (jwt::identifier(claims, "sid"), jwt::identifier(claims, "sub")) {
        (Some(sid), _) => Ok(LogoutSubject::Sid(sid.to_owned())),
        (None, Some(subject)) => Ok(LogoutSubject::Subject(Subject(subject.to_owned()))),
        (None, None) => Err("logout token has neither sub nor sid"),
    }
}

fn issuer<'t>(token: &'t UnverifiedJwt<'_>) -> &'t str {
    token.claims.members.get("iss").and_then(Value::as_str).unwrap_or_default()
}

fn invalid(problem: &str) -> Error {
    Error::InvalidMessage(format!("the {problem}"))
}
