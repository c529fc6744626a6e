//! The provider's word that somebody has signed out there (`OpenID` Connect Back-Channel Logout 1.0, sections 2.4 and 2.6;
//! Front-Channel Logout 1.0, section 3).
//!
//! Promises: a `LogoutNotice` exists only where every check passed; signatures are verified by `openidconnect`, with the
//! keys and algorithms of ID tokens; nothing is fetched for a token that does not even claim to be ours. It must not know
//! what becomes of the sessions, nor which notices came before: whoever acts on one has to spend its `jti`.

use std::time::Duration;

use serde_json::Value;
use url::Url;

use super::{
    Error, Provider,
    id_token::LEEWAY,
    jwt::{self, Doubt, Object, Unverified},
    signature,
};
use crate::{clock::Timestamp, identity::Subject};

/// Anybody may send one.
const LONGEST: usize = 16 * 1024;
/// The member of `events` that makes a token a logout token.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// How long a token without `exp` counts. Older providers leave it out.
const UNSAID_LIFE: Duration = Duration::from_mins(5);
/// How long any token counts, whatever its `exp`: so long its `jti` has to be remembered.
const LONGEST_LIFE: Duration = Duration::from_hours(24);

/// A verified word that somebody has signed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogoutNotice {
    /// The token's own name: it counts once.
    pub jti: String,
    /// Until when the same token would be believed again, and `jti` has to be remembered.
    pub until: Timestamp,
    /// Whose sessions end.
    pub whom: Whom,
}

/// Whose sessions end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// The one session that the provider calls so (`sid`), whoever else it names.
    Sid(String),
    /// All of a person's sessions.
    Subject(Subject),
}

impl Provider {
    /// Verifies a logout token. `Unavailable` where the keys cannot be had; everything else is `Unbelievable`.
    pub async fn logout_token(&self, raw: &str) -> Result<LogoutNotice, Error> {
        let token = Unverified::parse(raw, LONGEST).map_err(|problem| refused(&format!("logout token {problem}")))?;
        let issuer = token.claims.get("iss").and_then(Value::as_str).unwrap_or_default();
        if Url::parse(issuer).as_ref() != Ok(&self.settings.issuer) {
            return Err(refused("logout token is of another issuer"));
        }
        let notice = read(&token, &self.settings.client_id, self.clock.now()).map_err(refused)?;
        let metadata = self.metadata().await?;
        if issuer != metadata.issuer {
            return Err(refused("logout token is of another issuer"));
        }
        let (algorithms, held) = (metadata.algorithms(), self.keys(&metadata.jwks_uri).await?);
        let check = |keys| signature::check("logout token", &token, &algorithms, keys).map(drop);
        match check(&held.keys) {
            Err(doubt @ Doubt::Key(_)) => {
                let newer = self.newer_keys(&metadata.jwks_uri, Some(&held)).await?.ok_or(doubt)?;
                check(&newer.keys)?;
            }
            verdict => verdict?,
        }
        Ok(notice)
    }

    /// The provider's session that a front-channel logout request is about: only where it names this issuer, as its
    /// metadata spell it, and one session. Anybody can make a browser send such a request, but not know the `sid`.
    #[must_use]
    pub fn logout_request<'q>(&self, iss: Option<&str>, sid: Option<&'q str>) -> Option<Whom> {
        let metadata = self.discovery.known()?;
        let is_ours = iss == Some(metadata.issuer.as_str());
        let is_plain = |sid: &str| jwt::is_name(sid) && !sid.contains(char::is_control);
        sid.filter(|sid| is_ours && is_plain(sid)).map(|sid: &'q str| Whom::Sid(sid.to_owned()))
    }
}

fn refused(problem: &str) -> Error {
    Error::Unbelievable(format!("the {problem}"))
}

/// Every check but the signature's. The error is a sentence without its article.
pub(super) fn read(token: &Unverified<'_>, client_id: &str, now: Timestamp) -> Result<LogoutNotice, &'static str> {
    let Unverified { header, claims, .. } = token;
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
    let until = check_times(claims, now)?;
    let jti = jwt::name(claims, "jti").ok_or("logout token has no jti, or one longer than 255 bytes")?.to_owned();
    Ok(LogoutNotice { jti, until, whom: whom(claims)? })
}

/// The standard recommends `logout+jwt`; libraries that leave it to their users put `JWT` there. What keeps other tokens
/// out is `events`, which no other token has.
fn check_type(header: &Object) -> Result<(), &'static str> {
    let Some(kind) = header.get("typ") else { return Ok(()) };
    let kind = kind.as_str().unwrap_or_default().to_ascii_lowercase();
    match kind.strip_prefix("application/").unwrap_or(&kind) {
        "logout+jwt" | "jwt" => Ok(()),
        _ => Err("logout token has the type of another kind of token (typ)"),
    }
}

/// Returns until when the token counts.
fn check_times(claims: &Object, now: Timestamp) -> Result<Timestamp, &'static str> {
    let issued = jwt::moment(claims, "iat").ok_or("logout token's iat is missing or not a time")?;
    if issued > now.plus(LEEWAY) {
        return Err("logout token was issued in the future; mend: set both clocks");
    }
    let ends = if claims.contains_key("exp") {
        jwt::moment(claims, "exp").ok_or("logout token's exp is not a time")?.min(issued.plus(LONGEST_LIFE))
    } else {
        issued.plus(UNSAID_LIFE)
    };
    let until = ends.plus(LEEWAY);
    if until <= now { Err("logout token has expired") } else { Ok(until) }
}

fn whom(claims: &Object) -> Result<Whom, &'static str> {
    if ["sid", "sub"].iter().any(|claim| claims.contains_key(*claim) && jwt::name(claims, claim).is_none()) {
        return Err("logout token's sid or sub is not a name");
    }
    match (jwt::name(claims, "sid"), jwt::name(claims, "sub")) {
        (Some(sid), _) => Ok(Whom::Sid(sid.to_owned())),
        (None, Some(subject)) => Ok(Whom::Subject(Subject(subject.to_owned()))),
        (None, None) => Err("logout token says neither whose session nor which (sub, sid)"),
    }
}
