//! Sets of people, and who is in them.

use crate::identity::{Packed, claim_at, strings};

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
        /// People by e-mail address (exactly one `@`, folded) or subject.
        users: Vec<String>,
        /// Claim path → accepted values, such as `department = ["ops"]`.
        claims: Vec<(String, Vec<String>)>,
    },
}

impl Allow {
    /// Whether this person is in the set.
    pub(super) fn admits(&self, who: &Packed) -> bool {
        match self {
            Self::Anyone => true,
            Self::Some { groups, users, claims } => {
                groups.iter().any(|group| who.is_in(group)) || includes(users, who) || claims_one_of(claims, who)
            }
        }
    }
}

fn includes(users: &[String], who: &Packed) -> bool {
    if users.is_empty() {
        return false;
    }
    let (subject, email) = (who.subject(), who.email());
    users.iter().any(|user| !user.is_empty() && (subject == user || same_mailbox(email, user)))
}

/// Two addresses with exactly one `@` each: what stands around a second one is read differently by those who look for the
/// first and those who look for the last.
fn same_mailbox(one: &str, other: &str) -> bool {
    let is_address = |text: &str| text.bytes().filter(|byte| *byte == b'@').count() == 1;
    is_address(one) && is_address(other) && one.eq_ignore_ascii_case(other)
}

fn claims_one_of(wanted: &[(String, Vec<String>)], who: &Packed) -> bool {
    if wanted.is_empty() {
        return false;
    }
    let claims = who.claims();
    wanted.iter().any(|(path, accepted)| {
        let own = claim_at(&claims, path).map(strings).unwrap_or_default();
        own.into_iter().any(|own| accepted.iter().any(|one| one == own))
    })
}
