//! Claims mapping: from verified claims to an identity, with user name, e-mail address and groups.
//!
//! Promises: the ID token wins over the userinfo response; an e-mail address and its verification come from one source;
//! nobody is without a user name; the claims of one person stay below 64 KiB, without attributes that nothing needs; what the provider did not tell again stays in
//! force for `groups_grace` and no longer. Pure.

use serde_json::Value;

use super::{
    error::Error,
    groups,
    json::JsonObject,
    jwt::LEEWAY,
    settings::{GroupsUse, Settings, UnverifiedEmail},
    standard_claims::EMAIL_VERIFIED,
};
use crate::{
    clock::Timestamp,
    identity::{ClaimsStanding, Identity, Subject},
};

/// More than any header or rule could use, and as much as one session should weigh.
const MAX_CLAIMS_SIZE: usize = 64 * 1024;

const EMAIL: &str = "email";

/// Claims about the token rather than about the person. No rule and no header sees them.
pub const PROTOCOL_CLAIMS: &[&str] =
    &["at_hash", "aud", "azp", "c_hash", "exp", "iat", "iss", "jti", "nbf", "nonce", "s_hash", "session_state", "sid"];

/// Claims about how and when the person signed in. Only an ID token vouches for them, and a renewal that does not repeat them
/// does not change them.
const AUTHENTICATION_CLAIMS: [&str; 3] = ["acr", "amr", AUTH_TIME];

const AUTH_TIME: &str = "auth_time";

/// Claims by which apps call a person, and which no group depends on.
const NAMING_CLAIMS: [&str; 5] = ["sub", "preferred_username", "name", EMAIL, EMAIL_VERIFIED];

/// Outcome of asking the userinfo endpoint beside an ID token.
pub(super) enum UserinfoClaims {
    /// There is no such endpoint, or the ID token is complete.
    NotAsked,
    /// Its claims.
    Told(JsonObject),
    /// Nothing that can be used.
    Failed(Error),
}

/// A renewal or a sign-in.
#[derive(Clone, Copy)]
pub(super) struct Occasion<'a> {
    /// The session's identity, at a renewal.
    pub(super) previous: Option<&'a Identity>,
    pub(super) now: Timestamp,
}

/// What complements the claims of an ID token.
struct Complement {
    claims: JsonObject,
    groups: Option<Vec<String>>,
    standing: ClaimsStanding,
}

/// Returns `true` if the ID token lacks a claim that the userinfo endpoint may have. Some providers have an empty list of groups
/// in the ID token and the full one there.
pub(super) fn needs_userinfo(settings: &Settings, claims: &JsonObject) -> bool {
    groups::read(settings, claims).groups.is_none_or(|groups| groups.is_empty())
        || ["preferred_username", EMAIL, "name"].iter().any(|name| text(claims, name).is_none())
}

/// Returns the identity of the claims of a verified ID token about `subject` and of the userinfo endpoint. Fails where that
/// endpoint failed at a sign-in and rules need groups that only it has.
pub(super) fn identity(
    settings: &Settings,
    subject: &str,
    id_token: &JsonObject,
    userinfo: UserinfoClaims,
    occasion: Occasion<'_>,
) -> Result<Identity, Error> {
    let own = groups::read(settings, id_token).groups;
    let previous = occasion.previous;
    let told = ClaimsStanding { told: occasion.now, ..ClaimsStanding::default() };
    let complement = match (userinfo, previous) {
        (UserinfoClaims::NotAsked, _) => Complement::empty(told),
        (UserinfoClaims::Told(claims), _) => Complement::told(settings, claims, own.as_deref(), told),
        (UserinfoClaims::Failed(_), Some(previous)) => {
            Complement::in_place_of_userinfo(settings, own.as_deref(), previous, occasion.now)
        }
        (UserinfoClaims::Failed(error), None) if own.is_none() && settings.groups_use == GroupsUse::InRules => {
            return Err(error);
        }
        // Without groups in the ID token nobody knows which the person is in.
        (UserinfoClaims::Failed(_), None) => {
            Complement::empty(ClaimsStanding { groups_incomplete: own.is_none(), ..told })
        }
    };
    let email = EmailClaim::of(&[id_token, &complement.claims], previous.map(|previous| &previous.claims));
    let mut claims = merged(without_authentication(complement.claims), id_token);
    if let Some(previous) = previous {
        keep_authentication(&mut claims, &previous.claims, occasion.now);
    }
    let standing = ClaimsStanding {
        groups_incomplete: complement.standing.groups_incomplete
            || (complement.groups.is_none() && groups::are_held_back(settings, id_token)),
        ..complement.standing
    };
    let groups = match (own, complement.groups) {
        (Some(own), _) if !own.is_empty() => own,
        (_, Some(others)) => others,
        (own, None) => own.unwrap_or_default(),
    };
    build(settings, Subject(subject.to_owned()), Membership { groups, standing }, email, claims)
}

/// Returns the identity of a session renewed from a userinfo response alone: claims that it lacks stay as they were.
pub(super) fn refreshed_identity(
    settings: &Settings,
    previous: &Identity,
    userinfo: JsonObject,
    now: Timestamp,
) -> Result<Identity, Error> {
    let told = groups::read(settings, &userinfo).groups;
    let is_held_back = groups::are_held_back(settings, &userinfo);
    let standing = ClaimsStanding {
        groups_incomplete: is_held_back || (told.is_none() && previous.standing.groups_incomplete),
        from_userinfo: true,
        groups_from_userinfo: told.is_some() || previous.standing.groups_from_userinfo,
        told: now,
    };
    let groups = told.unwrap_or_else(|| previous.groups.clone());
    let email = EmailClaim::of(&[&userinfo, &previous.claims], None);
    let claims = merged(previous.claims.clone(), &without_authentication(userinfo));
    build(settings, previous.subject.clone(), Membership { groups, standing }, email, claims)
}

/// Returns what is left of a session's identity where the provider has not told groups and claims again for longer than
/// `groups_grace`: their names, and neither a group nor another claim that could let them in. `None` where it has told them since.
pub(super) fn outdated_identity(settings: &Settings, previous: &Identity, now: Timestamp) -> Option<Identity> {
    if now.since(previous.standing.told) <= settings.groups_grace {
        return None;
    }
    let mut left = previous.clone();
    left.groups.clear();
    left.claims.retain(|name, _| NAMING_CLAIMS.iter().chain(&AUTHENTICATION_CLAIMS).any(|kept| kept == name));
    left.standing.groups_incomplete = true;
    Some(left)
}

impl Complement {
    fn empty(standing: ClaimsStanding) -> Self {
        Self { claims: JsonObject::new(), groups: None, standing }
    }

    fn told(settings: &Settings, claims: JsonObject, own: Option<&[String]>, standing: ClaimsStanding) -> Self {
        let groups = groups::read(settings, &claims).groups;
        let standing = ClaimsStanding {
            groups_incomplete: groups::are_held_back(settings, &claims),
            from_userinfo: true,
            groups_from_userinfo: groups.is_some() && own.is_none_or(<[String]>::is_empty),
            ..standing
        };
        Self { claims, groups, standing }
    }

    /// What a session holds, in place of a userinfo response that cannot be used: for `groups_grace`, and where some of it came
    /// from there. `own` are the groups of the ID token: an empty list in it is one where userinfo never told another.
    fn in_place_of_userinfo(settings: &Settings, own: Option<&[String]>, previous: &Identity, now: Timestamp) -> Self {
        let before = previous.standing;
        let has_groups = own.is_some_and(|own| !own.is_empty() || !before.groups_from_userinfo);
        let is_within_grace = now.since(before.told) <= settings.groups_grace;
        let claims = if before.from_userinfo && is_within_grace { previous.claims.clone() } else { JsonObject::new() };
        let standing = ClaimsStanding {
            groups_incomplete: !has_groups && (!is_within_grace || before.groups_incomplete),
            told: if has_groups && !before.from_userinfo { now } else { before.told },
            ..before
        };
        let groups = (!has_groups && is_within_grace).then(|| previous.groups.clone());
        Self { claims, groups, standing }
    }
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

/// Groups, and how complete and how old they are.
struct Membership {
    groups: Vec<String>,
    standing: ClaimsStanding,
}

fn build(
    settings: &Settings,
    subject: Subject,
    membership: Membership,
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
    settings.kept_attributes.retain_in(&mut claims);
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
        groups: membership.groups,
        claims,
        standing: membership.standing,
    })
}

/// Keeps how and when the person signed in, where a renewed ID token does not say otherwise. A renewal is no proof of anybody's
/// presence: an `auth_time` that is the time of the renewal does not count (section 12.2).
fn keep_authentication(claims: &mut JsonObject, before: &JsonObject, now: Timestamp) {
    let moment = |claims: &JsonObject| claims.get(AUTH_TIME).and_then(Value::as_f64);
    #[expect(clippy::cast_precision_loss, reason = "seconds are far below the precision of a double")]
    let latest = now.minus(LEEWAY).unix() as f64;
    if moment(claims).is_some_and(|told| told > latest && moment(before).is_none_or(|known| told > known)) {
        claims.remove(AUTH_TIME);
    }
    for name in AUTHENTICATION_CLAIMS {
        if let Some(before) = before.get(name).filter(|_| !claims.contains_key(name)) {
            claims.insert(name.to_owned(), before.clone());
        }
    }
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

fn without_authentication(mut claims: JsonObject) -> JsonObject {
    claims.retain(|name, _| !AUTHENTICATION_CLAIMS.contains(&name.as_str()));
    claims
}

/// Returns the text of a claim; an empty one counts as none.
fn text<'a>(claims: &'a JsonObject, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn is_void(value: &Value) -> bool {
    value.is_null() || value.as_str() == Some("")
}

fn json_size(claims: &JsonObject) -> usize {
    serde_json::to_vec(claims).map_or(usize::MAX, |json| json.len())
}
