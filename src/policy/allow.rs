//! Sets of people, and who is in them.

use crate::identity::{Identity, strings};

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
    /// Whether this identity is in the set.
    pub(super) fn admits(&self, identity: &Identity) -> bool {
        match self {
            Self::Anyone => true,
            Self::Some { groups, users, claims } => {
                groups.iter().any(|group| identity.is_in(group))
                    || users.iter().any(|user| is_user(identity, user))
                    || claims.iter().any(|(path, accepted)| claims_one_of(identity, path, accepted))
            }
        }
    }
}

fn is_user(identity: &Identity, user: &str) -> bool {
    !user.is_empty() && (identity.subject.0 == user || same_mailbox(&identity.email, user))
}

/// Two addresses with exactly one `@` each: what stands around a second one is read differently by those who look for the
/// first and those who look for the last.
fn same_mailbox(one: &str, other: &str) -> bool {
    let is_address = |text: &str| text.bytes().filter(|byte| *byte == b'@').count() == 1;
    is_address(one) && is_address(other) && one.eq_ignore_ascii_case(other)
}

fn claims_one_of(identity: &Identity, path: &str, accepted: &[String]) -> bool {
    identity
        .claim(path)
        .is_some_and(|claim| strings(claim).into_iter().any(|own| accepted.iter().any(|one| one == own)))
}
