//! From verified claims to an identity: which claim is whose name, and where the groups are.
//!
//! Promises: what the ID token says wins over the userinfo answer; an e-mail address and its verification come from one
//! source; nobody is without a user name; the claims of one person stay below 64 KiB. Pure; it must not know how the claims were verified.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{Error, Settings, UnverifiedEmail, id_token::VerifiedIdToken};
use crate::identity::{Identity, Subject, claim_at, strings};

/// More than any header or rule could use, and as much as one session should weigh.
const MOST_CLAIMS: usize = 64 * 1024;

const EMAIL: &str = "email";
const EMAIL_VERIFIED: &str = "email_verified";

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
        || ["preferred_username", EMAIL, "name"].iter().any(|name| text(claims, name).is_none())
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

/// Puts the identity together. `before` is who the session was about until now, at a renewal.
pub(super) fn identity(
    settings: &Settings,
    verified: &VerifiedIdToken,
    userinfo: UserInfo,
    before: Option<&Identity>,
) -> Result<Identity, Error> {
    let groups = groups(settings, verified.claims()).or(groups(settings, &userinfo));
    let groups = groups.map(|claim| distinct(strings(claim))).unwrap_or_default();
    let address = Address::of(&[verified.claims(), &userinfo], before.map(|before| &before.claims));
    let claims = overlaid(userinfo, verified.claims());
    assemble(settings, Subject(verified.subject().to_owned()), groups, address, claims)
}

/// Renews an identity from a userinfo answer alone: what that is silent about stays as it was.
pub(super) fn renewed(settings: &Settings, before: &Identity, userinfo: &UserInfo) -> Result<Identity, Error> {
    let groups = groups(settings, userinfo).map(|claim| distinct(strings(claim)));
    let groups = groups.unwrap_or_else(|| before.groups.clone());
    let address = Address::of(&[userinfo, &before.claims], None);
    assemble(settings, before.subject.clone(), groups, address, overlaid(before.claims.clone(), userinfo))
}

/// Whether a claim has the type that the gate reads.
type Test<'t> = &'t dyn Fn(&Value) -> bool;

/// Claims that are there and not of the type that the gate reads, so that they count as absent.
pub(super) fn odd_claims<'s>(settings: &'s Settings, claims: &UserInfo) -> Vec<&'s str> {
    let is_text = |value: &Value| value.is_string();
    let is_verdict = |value: &Value| {
        value.is_boolean() || verdict(value) || value.as_str().is_some_and(|text| text.eq_ignore_ascii_case("false"))
    };
    let are_texts = |value: &Value| match value {
        Value::Array(many) => many.iter().all(Value::is_string),
        one => one.is_string(),
    };
    let known: [(&str, Test<'_>); 5] = [
        ("preferred_username", &is_text),
        ("email", &is_text),
        ("name", &is_text),
        ("email_verified", &is_verdict),
        (&settings.groups_claim, &are_texts),
    ];
    let is_odd =
        |name: &str, test: Test<'_>| claim_at(claims, name).is_some_and(|value| !value.is_null() && !test(value));
    known.into_iter().filter(|(name, test)| is_odd(name, *test)).map(|(name, _)| name).collect()
}

/// An e-mail address, and what its own source says about it.
#[derive(Debug, PartialEq)]
struct Address {
    /// Empty where there is none.
    email: String,
    /// `email_verified` about this very address. Absent where nobody has ever said anything of the kind.
    verdict: Option<Value>,
}

impl Address {
    /// The address of the first source that has one. What another source says about verification is about that source's own
    /// address: somebody who may change the one address must not inherit the verdict on the other. `earlier` is what was
    /// known before and names no address any more.
    fn of(sources: &[&UserInfo], earlier: Option<&UserInfo>) -> Self {
        let said = |claims: &UserInfo| claims.get(EMAIL_VERIFIED).filter(|value| !value.is_null()).map(as_meant);
        let Some(place) = sources.iter().position(|claims| text(claims, EMAIL).is_some()) else {
            return Self { email: String::new(), verdict: sources.iter().copied().chain(earlier).find_map(said) };
        };
        let (above, from) = sources.split_at(place);
        let Some((own, below)) = from.split_first() else { return Self { email: String::new(), verdict: None } };
        let email = text(own, EMAIL).unwrap_or_default().to_owned();
        // Who is nearer to now and says no, without saying of which address, means the one that there is.
        let denied = above.iter().filter_map(|claims| said(claims)).find(|value| !verdict(value));
        let others = || above.iter().chain(below).copied().chain(earlier);
        let same = |claims: &UserInfo| text(claims, EMAIL).is_some_and(|other| other.eq_ignore_ascii_case(&email));
        let verdict = denied
            .or_else(|| said(own))
            .or_else(|| others().filter(|claims| same(claims)).find_map(said))
            // The provider does say it of addresses, and has not said it of this one.
            .or_else(|| others().find_map(said).map(|_| Value::Bool(false)));
        Self { email, verdict }
    }

    fn is_verified(&self) -> bool {
        !self.email.is_empty() && self.verdict.as_ref().is_none_or(verdict)
    }
}

/// What can be neither read as yes nor as no is no, for rules and headers too.
fn as_meant(value: &Value) -> Value {
    match value {
        Value::Bool(_) | Value::String(_) => value.clone(),
        _ => Value::Bool(false),
    }
}

/// Whether a value of `email_verified` means yes.
pub(super) fn verdict(value: &Value) -> bool {
    match value {
        Value::Bool(yes) => *yes,
        Value::String(text) => text.eq_ignore_ascii_case("true"),
        _ => false,
    }
}

fn assemble(
    settings: &Settings,
    subject: Subject,
    groups: Vec<String>,
    address: Address,
    mut claims: UserInfo,
) -> Result<Identity, Error> {
    let (email, email_verified) = match (address.is_verified(), settings.unverified_email) {
        (true, _) | (false, UnverifiedEmail::Trust) => (address.email, true),
        (false, UnverifiedEmail::Pass) => (address.email, false),
        (false, UnverifiedEmail::Drop) => (String::new(), false),
    };
    put(&mut claims, EMAIL, (!email.is_empty()).then(|| Value::from(email.as_str())));
    put(&mut claims, EMAIL_VERIFIED, address.verdict);
    if weight(&claims) >= MOST_CLAIMS {
        return Err(Error::Unbelievable("the claims exceed 64 KiB; mend: have the provider send fewer".into()));
    }
    let said = |name: &str| text(&claims, name).unwrap_or_default().to_owned();
    let vouched_for = if email_verified { email.as_str() } else { "" };
    let preferred = said("preferred_username");
    let user = [preferred.as_str(), vouched_for, &subject.0].into_iter().find(|name| !name.is_empty());
    Ok(Identity {
        provider: settings.name.clone(),
        user: user.unwrap_or_default().to_owned(),
        subject,
        name: said("name"),
        email,
        email_verified,
        groups,
        claims,
    })
}

fn put(claims: &mut UserInfo, name: &str, value: Option<Value>) {
    match value {
        Some(value) => drop(claims.insert(name.to_owned(), value)),
        None => drop(claims.remove(name)),
    }
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
