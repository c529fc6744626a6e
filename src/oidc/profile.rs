//! From verified claims to an identity: which claim is whose name, and where the groups are.
//!
//! Promises: what the ID token says wins over the userinfo answer; nobody is without a user name; the claims of one
//! person stay below 64 KiB. Pure; it must not know how the claims were verified.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{Error, Settings, id_token::VerifiedIdToken};
use crate::identity::{Identity, Subject, claim_at, strings};

/// More than any header or rule could use, and as much as one session should weigh.
const MOST_CLAIMS: usize = 64 * 1024;

/// Claims about the token rather than about the person.
const PROTOCOL: &[&str] = &[
    "acr",
    "amr",
    "at_hash",
    "aud",
    "auth_time",
    "azp",
    "c_hash",
    "exp",
    "iat",
    "iss",
    "jti",
    "nbf",
    "nonce",
    "s_hash",
    "session_state",
    "sid",
];

/// The claims of a userinfo answer about the same person.
pub(super) type UserInfo = Map<String, Value>;

/// Whether the ID token leaves something open that the userinfo endpoint may know.
pub(super) fn is_incomplete(settings: &Settings, verified: &VerifiedIdToken) -> bool {
    let claims = verified.claims();
    groups(settings, claims).is_none()
        || ["preferred_username", "email", "name"].iter().any(|name| text(claims, name).is_none())
}

/// Reads a userinfo answer (`OpenID` Connect Core, section 5.3.2): a plain JSON object about the same subject.
pub(super) fn parse_userinfo(body: &[u8], subject: &str) -> Result<UserInfo, Error> {
    let claims: UserInfo = serde_json::from_slice(body)
        .map_err(|_| Error::Unbelievable("the userinfo answer is not a JSON object; mend: have it unsigned".into()))?;
    if claims.get("sub").and_then(Value::as_str) == Some(subject) {
        Ok(claims)
    } else {
        Err(Error::Unbelievable("the userinfo answer is about another subject than the ID token".into()))
    }
}

/// Puts the identity together.
pub(super) fn identity(settings: &Settings, verified: &VerifiedIdToken, userinfo: UserInfo) -> Result<Identity, Error> {
    let groups = groups(settings, verified.claims()).or(groups(settings, &userinfo));
    let groups = groups.map(|claim| distinct(strings(claim))).unwrap_or_default();
    let claims = overlaid(userinfo, verified.claims());
    assemble(settings, Subject(verified.subject().to_owned()), groups, claims)
}

/// Renews an identity from a userinfo answer alone: what that is silent about stays as it was.
pub(super) fn renewed(settings: &Settings, before: &Identity, userinfo: &UserInfo) -> Result<Identity, Error> {
    let groups = groups(settings, userinfo).map(|claim| distinct(strings(claim)));
    let groups = groups.unwrap_or_else(|| before.groups.clone());
    assemble(settings, before.subject.clone(), groups, overlaid(before.claims.clone(), userinfo))
}

fn assemble(settings: &Settings, subject: Subject, groups: Vec<String>, claims: UserInfo) -> Result<Identity, Error> {
    if weight(&claims) >= MOST_CLAIMS {
        return Err(Error::Unbelievable("the claims exceed 64 KiB; mend: have the provider send fewer".into()));
    }
    let text = |name: &str| text(&claims, name).unwrap_or_default().to_owned();
    let (email, name) = (text("email"), text("name"));
    let user = [&text("preferred_username"), &email, &subject.0].into_iter().find(|name| !name.is_empty()).cloned();
    Ok(Identity {
        provider: settings.name.clone(),
        user: user.unwrap_or_else(|| subject.0.clone()),
        subject,
        email,
        name,
        groups,
        claims,
    })
}

/// `below` with every claim of `above` that says something put over it, without those of the protocol.
fn overlaid(below: UserInfo, above: &UserInfo) -> UserInfo {
    let mut claims = below;
    claims.extend(above.iter().filter(|(_, value)| !is_void(value)).map(|(name, value)| (name.clone(), value.clone())));
    claims.retain(|name, _| !PROTOCOL.contains(&name.as_str()));
    claims
}

fn groups<'a>(settings: &Settings, claims: &'a Map<String, Value>) -> Option<&'a Value> {
    claim_at(claims, &settings.groups_claim).filter(|claim| !claim.is_null())
}

/// The claim's text; an empty one counts as none.
fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn is_void(value: &Value) -> bool {
    value.is_null() || value.as_str() == Some("")
}

/// Without repeats, in the order of their first appearance.
fn distinct(groups: Vec<&str>) -> Vec<String> {
    let mut seen = HashSet::new();
    groups.into_iter().filter(|group| seen.insert(*group)).map(ToOwned::to_owned).collect()
}

fn weight(claims: &Map<String, Value>) -> usize {
    serde_json::to_vec(claims).map_or(usize::MAX, |json| json.len())
}
