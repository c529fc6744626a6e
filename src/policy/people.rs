//! People by group, name and claim.
//!
//! Promises: where somebody would be let in, an e-mail address counts only if the provider has verified it; where somebody would be
//! kept out, it counts in any case, and so does a group that the provider may have left out.

use std::fmt::{self, Write as _};

use serde_json::{Map, Value};

use crate::identity::{PackedIdentity, claim_at, names_service_token};

/// Prefix of a domain that stands for every verified address there.
const EVERYBODY_AT: &str = "*@";
/// The claim that counts only where the provider has verified the address.
const EMAIL: &str = "email";

/// Cause of an identity not being in a set of people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingGrant {
    /// In none of the groups.
    Group,
    /// None of the users, and without the claims, or excepted. No group would let in.
    Other,
    /// Groups decide, and the provider has not told all of them.
    AllGroups,
    /// The e-mail address is in the set, but the provider has not verified it.
    VerifiedEmail,
}

/// People by group, name and claim.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct People {
    /// People of one of these groups.
    pub groups: Vec<String>,
    /// People by e-mail address (exactly one `@`, case-insensitive) or subject; `*@example.com` is every address there.
    pub users: Vec<String>,
    /// Claim path and values, such as `department = ["ops"]`; booleans and numbers by their text.
    pub claims: Vec<(String, Vec<String>)>,
}

/// Extent to which an identity is excepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excepted {
    /// Not at all.
    No,
    /// Only by a group that the provider may not have told.
    Perhaps,
    /// By something that is known.
    Yes,
}

impl People {
    /// Returns `true` if nobody is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.users.is_empty() && self.claims.is_empty()
    }

    /// Returns `true` if an identity is one of them.
    pub(super) fn include(&self, identity: &PackedIdentity) -> bool {
        self.has_group_of(identity) || includes(&self.users, identity) || claims_one_of(&self.claims, identity)
    }

    /// Returns `true` if each kind that is named matches an identity, and of the claims every one.
    pub(super) fn are_all_met_by(&self, identity: &PackedIdentity) -> bool {
        (self.groups.is_empty() || self.has_group_of(identity))
            && (self.users.is_empty() || includes(&self.users, identity))
            && self.claims.iter().all(|claim| claims_one_of(std::slice::from_ref(claim), identity))
    }

    /// Returns how far an identity is one of those to be kept out.
    pub(super) fn except(&self, identity: &PackedIdentity) -> Excepted {
        if self.has_group_of(identity) || self.name_in_any_case(identity) {
            Excepted::Yes
        } else if !self.groups.is_empty() && identity.has_incomplete_groups() {
            Excepted::Perhaps
        } else {
            Excepted::No
        }
    }

    /// Returns what an identity lacks that is none of them.
    pub(super) fn missing(&self, identity: &PackedIdentity) -> MissingGrant {
        if self.are_named_by_unverified_email_of(identity) {
            MissingGrant::VerifiedEmail
        } else if self.groups.is_empty() {
            MissingGrant::Other
        } else {
            missing_group(identity)
        }
    }

    /// Returns what an identity lacks to which not each kind applies.
    pub(super) fn missing_of_all(&self, identity: &PackedIdentity) -> MissingGrant {
        if !self.groups.is_empty() && !self.has_group_of(identity) {
            missing_group(identity)
        } else if self.are_named_by_unverified_email_of(identity) {
            MissingGrant::VerifiedEmail
        } else {
            MissingGrant::Other
        }
    }

    fn has_group_of(&self, identity: &PackedIdentity) -> bool {
        self.groups.iter().any(|group| identity.is_in_group(group))
    }

    /// Returns `true` if the e-mail address would match if it were verified.
    fn are_named_by_unverified_email_of(&self, identity: &PackedIdentity) -> bool {
        if identity.has_verified_email() {
            return false;
        }
        let email = identity.email();
        let by_address = |user: &String| match user.strip_prefix(EVERYBODY_AT) {
            Some(domain) => is_at(email, domain),
            None => same_mailbox(email, user),
        };
        let by_claim =
            |(path, accepted): &(String, Vec<String>)| path == EMAIL && accepted.iter().any(|one| one == email);
        !email.is_empty() && (self.users.iter().any(by_address) || self.claims.iter().any(by_claim))
    }

    /// Returns `true` if somebody is named by subject, by a claim, or by an address, whoever vouches for it.
    fn name_in_any_case(&self, identity: &PackedIdentity) -> bool {
        let (subject, email) = (identity.subject(), identity.email());
        let by_name = |user: &String| match user.strip_prefix(EVERYBODY_AT) {
            Some(domain) => email.split('@').skip(1).any(|own| own.eq_ignore_ascii_case(domain)),
            None => subject == user || email.eq_ignore_ascii_case(user),
        };
        if self.users.iter().any(by_name) {
            return true;
        }
        if self.claims.is_empty() {
            return false;
        }
        let claims = identity.claims();
        let by_address = |path: &str, values: &[String]| {
            path == EMAIL && values.iter().any(|value| email.eq_ignore_ascii_case(value))
        };
        self.claims.iter().any(|(path, values)| has_claim(&claims, path, values) || by_address(path, values))
    }
}

/// Prints the set as it is configured: as the inside of a table, or (`{:#}`) as alternatives.
impl fmt::Display for People {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if f.alternate() { " or " } else { ", " };
        let mut between = "";
        for (name, members) in [("groups", &self.groups), ("users", &self.users)] {
            if !members.is_empty() {
                write!(f, "{between}{name} = {members:?}")?;
                between = separator;
            }
        }
        for (path, values) in &self.claims {
            write!(f, "{between}claims.{path} = {values:?}")?;
            between = separator;
        }
        Ok(())
    }
}

fn missing_group(identity: &PackedIdentity) -> MissingGrant {
    if identity.has_incomplete_groups() { MissingGrant::AllGroups } else { MissingGrant::Group }
}

fn includes(users: &[String], identity: &PackedIdentity) -> bool {
    if users.is_empty() {
        return false;
    }
    let subject = identity.subject();
    let email = if identity.has_verified_email() { identity.email() } else { "" };
    users.iter().any(|user| match user.strip_prefix(EVERYBODY_AT) {
        Some(domain) => is_at(email, domain),
        // Whatever a provider says of a person, only a service token is one.
        None if names_service_token(user) => subject == user && identity.is_of_service_token(),
        None => !user.is_empty() && (subject == user || same_mailbox(email, user)),
    })
}

/// Compares two addresses with exactly one `@` each. With two of them, some software splits at the first and some at the last.
pub(super) fn same_mailbox(one: &str, other: &str) -> bool {
    let is_address = |text: &str| text.bytes().filter(|byte| *byte == b'@').count() == 1;
    is_address(one) && is_address(other) && one.eq_ignore_ascii_case(other)
}

/// Returns `true` for an address of this very domain: exactly one `@`, and something before it.
pub(super) fn is_at(email: &str, domain: &str) -> bool {
    let halves = email.split_once('@').filter(|(local, _)| !local.is_empty() && !domain.is_empty());
    halves.is_some_and(|(_, own)| own.eq_ignore_ascii_case(domain) && !own.contains('@'))
}

fn claims_one_of(wanted: &[(String, Vec<String>)], identity: &PackedIdentity) -> bool {
    if wanted.is_empty() {
        return false;
    }
    let claims = identity.claims();
    let mut counting = wanted.iter().filter(|(path, _)| path != EMAIL || identity.has_verified_email());
    counting.any(|(path, accepted)| has_claim(&claims, path, accepted))
}

fn has_claim(claims: &Map<String, Value>, path: &str, values: &[String]) -> bool {
    let says = |own: &Value| values.iter().any(|one| equals_text(own, one));
    match claim_at(claims, path) {
        Some(Value::Array(many)) => many.iter().any(says),
        Some(one) => says(one),
        None => false,
    }
}

/// Returns `true` if a claim is this text, or a boolean or number that is written so.
fn equals_text(claim: &Value, text: &str) -> bool {
    match claim {
        Value::String(own) => own == text,
        Value::Bool(_) | Value::Number(_) => {
            let mut unmatched = PrefixMatcher(Some(text));
            write!(unmatched, "{claim}").is_ok() && unmatched.0 == Some("")
        }
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

/// Writer that strips what is written from the front of a text: compares without allocating.
struct PrefixMatcher<'t>(Option<&'t str>);

impl fmt::Write for PrefixMatcher<'_> {
    fn write_str(&mut self, written: &str) -> fmt::Result {
        self.0 = self.0.and_then(|rest| rest.strip_prefix(written));
        self.0.map(drop).ok_or(fmt::Error)
    }
}
