//! Sets of people, and who is in them.

use std::fmt::{self, Write as _};

use serde_json::Value;

use crate::identity::{PackedIdentity, claim_at};

/// Before a domain: everybody with a verified address there.
const EVERYBODY_AT: &str = "*@";
/// The claim that is believed only where the provider vouches for it.
const EMAIL: &str = "email";

/// A reason for not being in a set of people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// In none of the groups.
    Group,
    /// None of the users, and without the claims; the set has no groups.
    Other,
    /// The e-mail address is in the set, and the provider does not vouch for it.
    VerifiedEmail,
}

/// A set of people. Any one match lets in; `Anyone` is whoever is signed in.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Allow {
    /// Whoever is signed in.
    #[default]
    Anyone,
    /// Whoever matches one of these.
    Some {
        /// Members of one of these groups.
        groups: Vec<String>,
        /// People by verified e-mail address (exactly one `@`, folded) or subject; `*@example.com` is every verified address
        /// there.
        users: Vec<String>,
        /// Claim path → accepted values, such as `department = ["ops"]`; booleans and numbers by their text.
        claims: Vec<(String, Vec<String>)>,
    },
}

impl Allow {
    /// Whether this person is in the set.
    pub(super) fn admits(&self, who: &PackedIdentity) -> bool {
        match self {
            Self::Anyone => true,
            Self::Some { groups, users, claims } => {
                groups.iter().any(|group| who.is_in_group(group)) || includes(users, who) || claims_one_of(claims, who)
            }
        }
    }

    /// What somebody lacks who is not in the set.
    #[must_use]
    pub fn lack(&self, who: &PackedIdentity) -> Lack {
        match self {
            Self::Some { users, claims, .. } if !who.has_verified_email() && is_named(users, claims, who) => {
                Lack::VerifiedEmail
            }
            Self::Some { groups, .. } if !groups.is_empty() => Lack::Group,
            Self::Some { .. } | Self::Anyone => Lack::Other,
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

fn includes(users: &[String], who: &PackedIdentity) -> bool {
    if users.is_empty() {
        return false;
    }
    let subject = who.subject();
    let email = if who.has_verified_email() { who.email() } else { "" };
    users.iter().any(|user| match user.strip_prefix(EVERYBODY_AT) {
        Some(domain) => is_at(email, domain),
        None => !user.is_empty() && (subject == user || same_mailbox(email, user)),
    })
}

/// Whether the address of somebody would let them in if it were verified.
fn is_named(users: &[String], claims: &[(String, Vec<String>)], who: &PackedIdentity) -> bool {
    let email = who.email();
    let by_address = |user: &String| match user.strip_prefix(EVERYBODY_AT) {
        Some(domain) => is_at(email, domain),
        None => same_mailbox(email, user),
    };
    let by_claim = |(path, accepted): &(String, Vec<String>)| path == EMAIL && accepted.iter().any(|one| one == email);
    !email.is_empty() && (users.iter().any(by_address) || claims.iter().any(by_claim))
}

/// Two addresses with exactly one `@` each: what stands around a second one is read differently by those who look for the
/// first and those who look for the last.
fn same_mailbox(one: &str, other: &str) -> bool {
    let is_address = |text: &str| text.bytes().filter(|byte| *byte == b'@').count() == 1;
    is_address(one) && is_address(other) && one.eq_ignore_ascii_case(other)
}

/// Whether an address with exactly one `@` and something before it is of this very domain.
fn is_at(email: &str, domain: &str) -> bool {
    let halves = email.split_once('@').filter(|(local, _)| !local.is_empty() && !domain.is_empty());
    halves.is_some_and(|(_, own)| own.eq_ignore_ascii_case(domain) && !own.contains('@'))
}

fn claims_one_of(wanted: &[(String, Vec<String>)], who: &PackedIdentity) -> bool {
    if wanted.is_empty() {
        return false;
    }
    let claims = who.claims();
    wanted.iter().filter(|(path, _)| path != EMAIL || who.has_verified_email()).any(|(path, accepted)| {
        let says = |own: &Value| accepted.iter().any(|one| reads(own, one));
        match claim_at(&claims, path) {
            Some(Value::Array(many)) => many.iter().any(says),
            Some(one) => says(one),
            None => false,
        }
    })
}

/// Whether a claim is this text, or is a boolean or a number that is written so.
fn reads(claim: &Value, text: &str) -> bool {
    match claim {
        Value::String(own) => own == text,
        Value::Bool(_) | Value::Number(_) => {
            let mut rest = Rest(Some(text));
            write!(rest, "{claim}").is_ok() && rest.0 == Some("")
        }
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

/// What is left of a text after everything that was written was found at its beginning.
struct Rest<'t>(Option<&'t str>);

impl fmt::Write for Rest<'_> {
    fn write_str(&mut self, written: &str) -> fmt::Result {
        self.0 = self.0.and_then(|rest| rest.strip_prefix(written));
        self.0.map(drop).ok_or(fmt::Error)
    }
}
