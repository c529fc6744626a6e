//! Claims mapping: from verified claims to an identity, with user name, e-mail address and groups.
//!
//! Promises: the ID token wins over the userinfo response; an e-mail address and its verification come from one source;
//! nobody is without a user name; the claims of one person stay below 64 KiB. Pure.

use std::collections::HashSet;

use serde_json::Value;

use super::{
    error::Error,
    id_token::VerifiedIdToken,
    jwt::JsonObject,
    settings::{Settings, UnverifiedEmail},
};
use crate::identity::{Identity, Subject, claim_at, strings};

/// More than any header or rule could use, and as much as one session should weigh.
const MAX_CLAIMS_SIZE: usize = 64 * 1024;

const EMAIL: &str = "email";
const EMAIL_VERIFIED: &str = "email_verified";

/// Claims about the token rather than about the person.
const PROTOCOL_CLAIMS: &[&str] = &[
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

/// Returns `true` if the ID token lacks a claim that the userinfo endpoint may have.
pub(super) fn needs_userinfo(settings: &Settings, verified: &VerifiedIdToken) -> bool {
    let claims = verified.claims();
    groups(settings, claims).is_none()
        || ["preferred_username", EMAIL, "name"].iter().any(|name| text(claims, name).is_none())
}

/// Returns the identity of an ID token and a userinfo response. `previous` is the session's identity, at a renewal.
pub(super) fn identity(
    settings: &Settings,
    verified: &VerifiedIdToken,
    userinfo: JsonObject,
    previous: Option<&Identity>,
) -> Result<Identity, Error> {
    let groups = groups(settings, verified.claims()).or(groups(settings, &userinfo));
    let groups = groups.map(|claim| deduplicated(strings(claim))).unwrap_or_default();
    let email = EmailClaim::of(&[verified.claims(), &userinfo], previous.map(|previous| &previous.claims));
    let claims = merged(userinfo, verified.claims());
    build(settings, Subject(verified.subject().to_owned()), groups, email, claims)
}

/// Returns the identity of a session renewed from a userinfo response alone: claims that it lacks stay as they were.
pub(super) fn refreshed_identity(
    settings: &Settings,
    previous: &Identity,
    userinfo: &JsonObject,
) -> Result<Identity, Error> {
    let groups = groups(settings, userinfo).map(|claim| deduplicated(strings(claim)));
    let groups = groups.unwrap_or_else(|| previous.groups.clone());
    let email = EmailClaim::of(&[userinfo, &previous.claims], None);
    build(settings, previous.subject.clone(), groups, email, merged(previous.claims.clone(), userinfo))
}

/// A check of a claim's type.
type TypeCheck<'t> = &'t dyn Fn(&Value) -> bool;

/// Returns the names of claims that are not of the type that the gate reads, and so count as absent.
pub(super) fn mistyped_claims<'s>(settings: &'s Settings, claims: &JsonObject) -> Vec<&'s str> {
    let is_text = |value: &Value| value.is_string();
    let is_bool = |value: &Value| {
        value.is_boolean()
            || means_verified(value)
            || value.as_str().is_some_and(|text| text.eq_ignore_ascii_case("false"))
    };
    let are_texts = |value: &Value| match value {
        Value::Array(many) => many.iter().all(Value::is_string),
        one => one.is_string(),
    };
    let known: [(&str, TypeCheck<'_>); 5] = [
        ("preferred_username", &is_text),
        (EMAIL, &is_text),
        ("name", &is_text),
        (EMAIL_VERIFIED, &is_bool),
        (&settings.groups_claim, &are_texts),
    ];
    let is_mistyped = |name: &str, check: TypeCheck<'_>| {
        claim_at(claims, name).is_some_and(|value| !value.is_null() && !check(value))
    };
    known.into_iter().filter(|(name, check)| is_mistyped(name, *check)).map(|(name, _)| name).collect()
}

/// An e-mail address with the `email_verified` of its own source.
#[derive(Debug, PartialEq)]
struct EmailClaim {
    /// Empty where there is none.
    email: String,
    /// `email_verified` about this very address. Absent where the provider has never sent that claim.
    verified: Option<Value>,
}

impl EmailClaim {
    /// Takes the address of the first source that has one. `email_verified` of another source is about that source's own
    /// address: somebody who may change the one address must not inherit the verification of the other. `earlier` holds
    /// the claims of the session so far, which name no address any more.
    fn of(sources: &[&JsonObject], earlier: Option<&JsonObject>) -> Self {
        let stated = |claims: &JsonObject| claims.get(EMAIL_VERIFIED).filter(|value| !value.is_null()).map(normalised);
        let Some(place) = sources.iter().position(|claims| text(claims, EMAIL).is_some()) else {
            return Self { email: String::new(), verified: sources.iter().copied().chain(earlier).find_map(stated) };
        };
        let (above, from) = sources.split_at(place);
        let Some((own, below)) = from.split_first() else { return Self { email: String::new(), verified: None } };
        let email = text(own, EMAIL).unwrap_or_default().to_owned();
        // A newer source that says no, without saying of which address, means the one that there is.
        let denied = above.iter().filter_map(|claims| stated(claims)).find(|value| !means_verified(value));
        let others = || above.iter().chain(below).copied().chain(earlier);
        let is_same = |claims: &JsonObject| text(claims, EMAIL).is_some_and(|other| other.eq_ignore_ascii_case(&email));
        let verified = denied
            .or_else(|| stated(own))
            .or_else(|| others().filter(|claims| is_same(claims)).find_map(stated))
            // The provider does send `email_verified`, and has not sent it for this address.
            .or_else(|| others().find_map(stated).map(|_| Value::Bool(false)));
        Self { email, verified }
    }

    fn is_verified(&self) -> bool {
        !self.email.is_empty() && self.verified.as_ref().is_none_or(means_verified)
    }
}

/// Returns the value of `email_verified` that rules and headers see: one that means neither yes nor no is no.
fn normalised(value: &Value) -> Value {
    match value {
        Value::Bool(_) | Value::String(_) => value.clone(),
        _ => Value::Bool(false),
    }
}

/// Returns `true` if a value of `email_verified` means yes.
pub(super) fn means_verified(value: &Value) -> bool {
    match value {
        Value::Bool(yes) => *yes,
        Value::String(text) => text.eq_ignore_ascii_case("true"),
        _ => false,
    }
}

fn build(
    settings: &Settings,
    subject: Subject,
    groups: Vec<String>,
    email: EmailClaim,
    mut claims: JsonObject,
) -> Result<Identity, Error> {
    let (address, email_verified) = match (email.is_verified(), settings.unverified_email) {
        (true, _) | (false, UnverifiedEmail::Trust) => (email.email, true),
        (false, UnverifiedEmail::Pass) => (email.email, false),
        (false, UnverifiedEmail::Drop) => (String::new(), false),
    };
    set(&mut claims, EMAIL, (!address.is_empty()).then(|| Value::from(address.as_str())));
    set(&mut claims, EMAIL_VERIFIED, email.verified);
    if json_size(&claims) >= MAX_CLAIMS_SIZE {
        return Err(Error::InvalidMessage("the claims exceed 64 KiB; mend: have the provider send fewer".into()));
    }
    let claim = |name: &str| text(&claims, name).unwrap_or_default().to_owned();
    let verified_address = if email_verified { address.as_str() } else { "" };
    let preferred = claim("preferred_username");
    let user = [preferred.as_str(), verified_address, &subject.0].into_iter().find(|name| !name.is_empty());
    Ok(Identity {
        provider: settings.name.clone(),
        user: user.unwrap_or_default().to_owned(),
        subject,
        name: claim("name"),
        email: address,
        email_verified,
        groups,
        claims,
    })
}

fn set(claims: &mut JsonObject, name: &str, value: Option<Value>) {
    match value {
        Some(value) => drop(claims.insert(name.to_owned(), value)),
        None => drop(claims.remove(name)),
    }
}

/// Returns `below` with every non-empty claim of `above` put over it, without those of the protocol.
fn merged(below: JsonObject, above: &JsonObject) -> JsonObject {
    let mut claims = below;
    claims.extend(above.iter().filter(|(_, value)| !is_void(value)).map(|(name, value)| (name.clone(), value.clone())));
    claims.retain(|name, _| !PROTOCOL_CLAIMS.contains(&name.as_str()));
    claims
}

fn groups<'a>(settings: &Settings, claims: &'a JsonObject) -> Option<&'a Value> {
    claim_at(claims, &settings.groups_claim).filter(|claim| !claim.is_null())
}

/// Returns the text of a claim; an empty one counts as none.
fn text<'a>(claims: &'a JsonObject, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn is_void(value: &Value) -> bool {
    value.is_null() || value.as_str() == Some("")
}

/// Returns the groups without repeats, in the order of their first appearance.
fn deduplicated(groups: Vec<&str>) -> Vec<String> {
    let mut seen = HashSet::new();
    groups.into_iter().filter(|group| seen.insert(*group)).map(ToOwned::to_owned).collect()
}

fn json_size(claims: &JsonObject) -> usize {
    serde_json::to_vec(claims).map_or(usize::MAX, |json| json.len())
}
