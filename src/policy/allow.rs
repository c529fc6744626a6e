//! Sets of people (`allow`), and their members.
//!
//! Promises: an e-mail address counts only where the provider has verified it.

use std::fmt::{self, Write as _};

use serde_json::Value;

use crate::identity::{PackedIdentity, claim_at};

/// Prefix of a domain that stands for every verified address there.
const EVERYBODY_AT: &str = "*@";
/// The claim that counts only where the provider has verified the address.
const EMAIL: &str = "email";

/// Cause of an identity not being in a set of people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingGrant {
    /// In none of the groups.
    Group,
    /// None of the users, and without the claims. The set has no groups.
    Other,
    /// In none of the groups that the provider told, which are not all.
    AllGroups,
    /// The e-mail address is in the set, but the provider has not verified it.
    VerifiedEmail,
}

/// Set of people. Any one match lets in.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Allow {
    /// All people who are signed in.
    #[default]
    Anyone,
    /// All people who match one of these.
    Some {
        /// Members of one of these groups.
        groups: Vec<String>,
        /// People by verified e-mail address (exactly one `@`, case-insensitive) or subject; `*@example.com` is every verified
        /// address there.
        users: Vec<String>,
        /// Claim path and accepted values, such as `department = ["ops"]`; booleans and numbers by their text.
        claims: Vec<(String, Vec<String>)>,
    },
}

impl Allow {
    /// Returns the groups that it names.
    #[must_use]
    pub fn groups(&self) -> &[String] {
        match self {
            Self::Anyone => &[],
            Self::Some { groups, .. } => groups,
        }
    }

    /// Returns `true` if an identity is in the set.
    pub(super) fn admits(&self, identity: &PackedIdentity) -> bool {
        match self {
            Self::Anyone => true,
            Self::Some { groups, users, claims } => {
                groups.iter().any(|group| identity.is_in_group(group))
                    || includes(users, identity)
                    || claims_one_of(claims, identity)
            }
        }
    }

    /// Returns what an identity lacks that is not in the set.
    #[must_use]
    pub fn missing(&self, identity: &PackedIdentity) -> MissingGrant {
        match self {
            Self::Some { users, claims, .. } if !identity.has_verified_email() && is_named(users, claims, identity) => {
                MissingGrant::VerifiedEmail
            }
            Self::Some { groups, .. } if !groups.is_empty() && identity.has_incomplete_groups() => {
                MissingGrant::AllGroups
            }
            Self::Some { groups, .. } if !groups.is_empty() => MissingGrant::Group,
            Self::Some { .. } | Self::Anyone => MissingGrant::Other,
        }
    }
}

/// Prints the set as it is configured, such as `groups = ["admins"] or users = ["ann@example.com"]`.
impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Some { groups, users, claims } = self else { return f.write_str("anybody who is signed in") };
        let mut between = "";
        for (name, members) in [("groups", groups), ("users", users)] {
            if !members.is_empty() {
                write!(f, "{between}{name} = {members:?}")?;
                between = " or ";
            }
        }
        for (path, accepted) in claims {
            write!(f, "{between}claims.{path} = {accepted:?}")?;
            between = " or ";
        }
        Ok(())
    }
}

fn includes(users: &[String], identity: &PackedIdentity) -> bool {
    if users.is_empty() {
        return false;
    }
    let subject = identity.subject();
    let email = if identity.has_verified_email() { identity.email() } else { "" };
    users.iter().any(|user| match user.strip_prefix(EVERYBODY_AT) {
        Some(domain) => is_at(email, domain),
        None => !user.is_empty() && (subject == user || same_mailbox(email, user)),
    })
}

/// Returns `true` if the e-mail address would let an identity in if it were verified.
fn is_named(users: &[String], claims: &[(String, Vec<String>)], identity: &PackedIdentity) -> bool {
    let email = identity.email();
    let by_address = |user: &String| match user.strip_prefix(EVERYBODY_AT) {
        Some(domain) => is_at(email, domain),
        None => same_mailbox(email, user),
    };
    let by_claim = |(path, accepted): &(String, Vec<String>)| path == EMAIL && accepted.iter().any(|one| one == email);
    !email.is_empty() && (users.iter().any(by_address) || claims.iter().any(by_claim))
}

/// Compares two addresses with exactly one `@` each. With two of them, some software splits at the first and some at the last.
fn same_mailbox(one: &str, other: &str) -> bool {
    let is_address = |text: &str| text.bytes().filter(|byte| *byte == b'@').count() == 1;
    is_address(one) && is_address(other) && one.eq_ignore_ascii_case(other)
}

/// Returns `true` for an address of this very domain: exactly one `@`, and something before it.
fn is_at(email: &str, domain: &str) -> bool {
    let halves = email.split_once('@').filter(|(local, _)| !local.is_empty() && !domain.is_empty());
    halves.is_some_and(|(_, own)| own.eq_ignore_ascii_case(domain) && !own.contains('@'))
}

fn claims_one_of(wanted: &[(String, Vec<String>)], identity: &PackedIdentity) -> bool {
    if wanted.is_empty() {
        return false;
    }
    let claims = identity.claims();
    wanted.iter().filter(|(path, _)| path != EMAIL || identity.has_verified_email()).any(|(path, accepted)| {
        let says = |own: &Value| accepted.iter().any(|one| equals_text(own, one));
        match claim_at(&claims, path) {
            Some(Value::Array(many)) => many.iter().any(says),
            Some(one) => says(one),
            None => false,
        }
    })
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
