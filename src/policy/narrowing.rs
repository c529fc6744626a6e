//! Narrowing: groups, addresses and domains that an edge's question to `/oauth2/auth` names, as oauth2-proxy reads them from its
//! query.
//!
//! Promises: it only ever takes away. Every occurrence has to hold, so that whatever a client manages to add keeps people out.

use std::{borrow::Cow, fmt};

use super::people::{MissingGrant, is_at, same_mailbox};
use crate::identity::PackedIdentity;

/// Query of a question. Read where an identity is judged: nothing is allocated for questions without one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Narrowing<'r>(&'r str);

/// Kind of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Narrowed {
    /// `allowed_groups`.
    Groups,
    /// `allowed_emails`.
    Emails,
    /// `allowed_email_domains`.
    EmailDomains,
}

/// One occurrence: of its members, one has to match.
struct Condition<'r> {
    kind: Narrowed,
    members: Cow<'r, str>,
}

impl<'r> Narrowing<'r> {
    /// Returns what a query asks for beyond the configuration.
    #[must_use]
    pub fn of(query: &'r str) -> Self {
        if Self(query).conditions().next().is_some() { Self(query) } else { Self::default() }
    }

    /// Returns `true` if it asks for nothing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Returns `true` if an identity meets every condition.
    pub(super) fn is_met_by(self, identity: &PackedIdentity) -> bool {
        self.conditions().all(|condition| condition.is_met_by(identity))
    }

    /// Returns what an identity lacks that does not meet it.
    #[must_use]
    pub fn missing(self, identity: &PackedIdentity) -> MissingGrant {
        let unmet = self.conditions().find(|condition| !condition.is_met_by(identity)).map(|condition| condition.kind);
        match unmet {
            Some(Narrowed::Groups) if identity.has_incomplete_groups() => MissingGrant::AllGroups,
            Some(Narrowed::Groups) => MissingGrant::Group,
            Some(_) if !identity.email().is_empty() && !identity.has_verified_email() => MissingGrant::VerifiedEmail,
            _ => MissingGrant::Other,
        }
    }

    fn conditions(self) -> impl Iterator<Item = Condition<'r>> {
        url::form_urlencoded::parse(self.0.as_bytes())
            .filter_map(|(name, members)| Some(Condition { kind: Narrowed::named(&name)?, members }))
    }
}

impl Narrowed {
    fn named(name: &str) -> Option<Self> {
        match name {
            "allowed_groups" => Some(Self::Groups),
            "allowed_emails" => Some(Self::Emails),
            "allowed_email_domains" => Some(Self::EmailDomains),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Groups => "allowed_groups",
            Self::Emails => "allowed_emails",
            Self::EmailDomains => "allowed_email_domains",
        }
    }
}

impl Condition<'_> {
    fn is_met_by(&self, identity: &PackedIdentity) -> bool {
        let email = if identity.has_verified_email() { identity.email() } else { "" };
        let mut members = self.members.split(',').filter(|member| !member.is_empty());
        members.any(|member| match self.kind {
            Narrowed::Groups => identity.is_in_group(member),
            Narrowed::Emails => same_mailbox(email, member),
            Narrowed::EmailDomains => match member.strip_prefix('*').unwrap_or(member).strip_prefix('.') {
                Some(domain) => is_below(email, domain),
                None => is_at(email, member),
            },
        })
    }
}

/// Returns `true` for an address at a subdomain of `domain`.
fn is_below(email: &str, domain: &str) -> bool {
    let Some((_, own)) = email.rsplit_once('@') else { return false };
    let front = own.len().checked_sub(domain.len()).and_then(|at| own.split_at_checked(at));
    let is_suffix = |(front, back): (&str, &str)| {
        front.len() > 1 && front.ends_with('.') && !domain.is_empty() && back.eq_ignore_ascii_case(domain)
    };
    is_at(email, own) && front.is_some_and(is_suffix)
}

/// Prints the conditions, such as `allowed_groups = "a,b"`.
impl fmt::Display for Narrowing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for Condition { kind, members } in self.conditions() {
            write!(f, "{between}{} = {members:?}", kind.name())?;
            between = ", ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::identity::{ClaimsStanding, Identity, Subject};

    fn ann(email: &str, email_verified: bool) -> PackedIdentity {
        PackedIdentity::new(&Identity {
            provider: "main".to_owned(),
            subject: Subject("s-1".to_owned()),
            user: "ann".to_owned(),
            email: email.to_owned(),
            email_verified,
            name: String::new(),
            groups: vec!["staff".to_owned(), "a b".to_owned()],
            claims: Map::new(),
            standing: ClaimsStanding::default(),
        })
    }

    #[test]
    fn every_occurrence_has_to_hold() {
        let ann = ann("ann@sub.Example.com", true);
        for (query, expected) in [
            ("", true),
            ("x=y", true),
            ("allowed_groups=staff", true),
            ("allowed_groups=admins,staff", true),
            ("allowed_groups=admins", false),
            ("allowed_groups=a+b", true),
            ("allowed_groups=a%20b", true),
            ("allowed%5Fgroups=admins", false),
            ("allowed_groups=staff&allowed_groups=admins", false),
            ("allowed_groups=admins&allowed_groups=staff", false),
            ("allowed_groups=", false),
            ("allowed_groups", false),
            ("allowed_groups=,", false),
            ("allowed_groups=sta", false),
            ("allowed_groups=staff&allowed_emails=ann@sub.example.com", true),
            ("allowed_groups=staff&allowed_emails=bob@example.com", false),
            ("allowed_emails=s-1", false),
            ("allowed_emails=ann@sub.example.com@x", false),
            ("allowed_email_domains=sub.example.com", true),
            ("allowed_email_domains=example.com", false),
            ("allowed_email_domains=.example.com", true),
            ("allowed_email_domains=*.example.com", true),
            ("allowed_email_domains=.sub.example.com", false),
            ("allowed_email_domains=.ample.com", false),
            ("allowed_email_domains=.", false),
            ("allowed_email_domains=*", false),
            ("allowed_email_domains=other.com,.example.com", true),
        ] {
            assert_eq!(Narrowing::of(query).is_met_by(&ann), expected, "{query}");
        }
    }

    #[test]
    fn an_address_counts_only_where_it_is_verified_and_one() {
        for (email, verified) in
            [("ann@example.com", false), ("ann@evil.com@example.com", true), ("", true), ("@example.com", true)]
        {
            for query in
                ["allowed_emails=ann@example.com", "allowed_email_domains=example.com", "allowed_email_domains=.com"]
            {
                assert!(!Narrowing::of(query).is_met_by(&ann(email, verified)), "{email} {query}");
            }
        }
        let unverified = Narrowing::of("allowed_emails=ann@example.com").missing(&ann("ann@example.com", false));
        assert_eq!(unverified, MissingGrant::VerifiedEmail);
        assert_eq!(Narrowing::of("allowed_groups=x").missing(&ann("", true)), MissingGrant::Group);
    }

    #[test]
    fn a_query_without_a_condition_is_none() {
        assert!(Narrowing::of("a=b&allowed=c").is_empty());
        let both = Narrowing::of("x=1&allowed_groups=a,b&allowed_emails=c@d");
        assert_eq!(both.to_string(), r#"allowed_groups = "a,b", allowed_emails = "c@d""#);
    }
}
