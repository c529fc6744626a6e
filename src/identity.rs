//! Identities: the claims of a signed-in person that rules judge and headers carry, and the tokens issued with them.
//!
//! Promises: plain values, which know nothing of how they are verified, stored or sent.

#[cfg(test)]
pub(crate) mod arbitrary;
mod attributes;
mod headers;
mod packed;
mod principal;

use std::fmt;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::{
    attributes::{KeptAttributes, additional_header, attribute},
    headers::{HeaderCache, PlanId, RenderedHeaders},
    packed::PackedIdentity,
    principal::{OwnedPrincipal, Principal, PrincipalSource},
};
use crate::clock::Timestamp;

/// Stands for the provider of service tokens. No provider can be configured with blanks around its name.
const SERVICE_TOKENS: &str = " service tokens";

/// Beginning of the user name and subject of a service token.
const SERVICE_TOKEN: &str = "token:";

/// Returns `true` for the user name or subject of a service token, such as `token:backup`.
#[must_use]
pub fn names_service_token(name: &str) -> bool {
    name.get(..SERVICE_TOKEN.len()).is_some_and(|start| start.eq_ignore_ascii_case(SERVICE_TOKEN))
}

/// Subject identifier: the provider's own name for a person, never reassigned (`sub`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Subject(pub String);

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A signed-in person: the claims that rules judge and headers carry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// Configured name of the provider that asserts all the rest.
    pub provider: String,
    /// `sub`.
    pub subject: Subject,
    /// `preferred_username`, falling back to the e-mail address where that is verified, then the subject. Never empty.
    pub user: String,
    /// `email`, empty when the provider gives none.
    pub email: String,
    /// `email_verified`, or `true` if the configuration trusts the provider's addresses. An unverified address allows
    /// nobody.
    #[serde(default)]
    pub email_verified: bool,
    /// `name`, empty when the provider gives none.
    pub name: String,
    /// Groups from the provider's `groups_claim`, in the provider's order, without repeats.
    pub groups: Vec<String>,
    /// All claims of the ID token and the userinfo response but those that only serve the protocol.
    pub claims: Map<String, Value>,
    /// How complete and how old the groups and claims are.
    #[serde(default)]
    pub standing: ClaimsStanding,
}

/// How complete and how old an identity's groups and claims are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimsStanding {
    /// `true` where the person may be in further groups, which the provider did not tell.
    pub groups_incomplete: bool,
    /// `true` where some of the claims came from the userinfo endpoint.
    pub from_userinfo: bool,
    /// `true` where the groups came from there.
    pub groups_from_userinfo: bool,
    /// The last time that the provider told all of it.
    pub told: Timestamp,
}

/// Path of a claim, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimPath {
    /// Names with dots between them; a name may have dots of its own.
    Dotted(String),
    /// Names one below the other.
    Steps(Vec<String>),
}

impl ClaimPath {
    /// Returns the claim at this path.
    #[must_use]
    pub fn find<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        match self {
            Self::Dotted(path) => claim_at(claims, path),
            Self::Steps(steps) => {
                let (first, rest) = steps.split_first()?;
                rest.iter().try_fold(claims.get(first)?, |value, step| value.as_object()?.get(step))
            }
        }
    }

    /// Returns `true` if this is the top-level claim of this name.
    #[must_use]
    pub fn is_claim(&self, name: &str) -> bool {
        match self {
            Self::Dotted(path) => path == name,
            Self::Steps(steps) => matches!(steps.as_slice(), [only] if only == name),
        }
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dotted(path) => f.write_str(path),
            Self::Steps(steps) => write!(f, "{steps:?}"),
        }
    }
}

impl Identity {
    /// The identity of a service token: `token:NAME`, without an e-mail address and without claims.
    #[must_use]
    pub fn of_service_token(name: &str, groups: &[String], created: Timestamp) -> Self {
        let user = format!("{SERVICE_TOKEN}{name}");
        Self {
            provider: SERVICE_TOKENS.to_owned(),
            subject: Subject(user.clone()),
            user,
            email: String::new(),
            email_verified: false,
            name: name.to_owned(),
            groups: groups.to_vec(),
            claims: Map::new(),
            standing: ClaimsStanding { told: created, ..ClaimsStanding::default() },
        }
    }

    /// Returns `true` if somebody with this identity may be called so: only service tokens are called like service tokens, whatever a
    /// provider says. The letter case counts for nothing, because it does not for many apps.
    #[must_use]
    pub fn may_be_called(&self, name: &str) -> bool {
        self.provider == SERVICE_TOKENS || !names_service_token(name)
    }

    /// Returns the claim at a dotted path: `department`, `ak_proxy.user_attributes.team`.
    #[must_use]
    pub fn claim(&self, path: &str) -> Option<&Value> {
        claim_at(&self.claims, path)
    }
}

/// Client registration at a provider: a digest of the provider's configured name, its issuer and the client id. Tokens
/// are sent to the registration that they were issued to, and to no other. Only the operator chooses these values, so
/// that 64 bits are enough to tell a few apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Registration(pub [u8; 8]);

/// Scope of a session: outside it, its cookie is worth nothing. Not an OAuth scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionScope {
    /// Host at which it was created, normalized; or the domain that shares its cookie, with a dot in front.
    pub audience: String,
    /// Registration to which its tokens were issued.
    pub registration: Registration,
}

/// Tokens issued along with an identity. None of them leaves the gate unless the configuration asks for it.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    /// The access token.
    pub access: Option<SecretString>,
    /// Expiry of the access token, where the provider gave one (`expires_in`).
    pub access_ends: Option<Timestamp>,
    /// The refresh token, where one was granted.
    pub refresh: Option<SecretString>,
    /// The ID token as received, for the provider's sign-out (`id_token_hint`).
    pub id: Option<SecretString>,
}

/// Returns the value at a dotted path below `claims`. The longest name wins: providers such as Auth0 name claims by URL, and
/// Keycloak has the names of clients, which may be hosts, in its paths (`resource_access.app.example.com.roles`).
#[must_use]
pub fn claim_at<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(whole) = claims.get(path) {
        return Some(whole);
    }
    let below = |(dot, _)| {
        let (name, rest) = path.split_at_checked(dot)?;
        claim_at(claims.get(name)?.as_object()?, rest.strip_prefix('.')?)
    };
    path.rmatch_indices('.').find_map(below)
}

/// Returns the strings in a claim that is a string or a list; other values in it are left out.
#[must_use]
pub fn strings(claim: &Value) -> Vec<&str> {
    match claim {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_is_found_by_its_dotted_path_or_its_whole_name() {
        let claims = json!({
            "a": { "b": { "c": "deep" } }, "https://x.example/groups": ["g"], "a.b": "flat",
            "resource_access": { "app.example": { "roles": ["other"] }, "app.example.com": { "roles": ["r"] } },
        });
        let claims = claims.as_object().unwrap();
        for (path, expected) in [
            ("a.b.c", Some(json!("deep"))),
            ("a.b", Some(json!("flat"))),
            ("https://x.example/groups", Some(json!(["g"]))),
            ("a.missing", None),
            ("resource_access.app.example.com.roles", Some(json!(["r"]))),
            ("resource_access.app.example.roles", Some(json!(["other"]))),
            ("resource_access.app.example.com", Some(json!({ "roles": ["r"] }))),
            ("resource_access.app.roles", None),
            (".", None),
            ("a.", None),
            ("", None),
        ] {
            assert_eq!(claim_at(claims, path), expected.as_ref(), "{path}");
        }
    }

    #[test]
    fn a_path_of_steps_takes_each_name_as_it_is() {
        let claims = json!({ "a.b": { "c": 1 }, "a": { "b": { "c": 2 } } });
        let find = |steps: &[&str]| {
            let path = ClaimPath::Steps(steps.iter().map(|step| (*step).to_owned()).collect());
            path.find(claims.as_object().unwrap()).cloned()
        };
        assert_eq!((find(&["a.b", "c"]), find(&["a", "b", "c"])), (Some(json!(1)), Some(json!(2))));
        assert_eq!(
            (find(&["a", "b.c"]), find(&["a.b.c"]), find(&["a.b", "c", "d"]), find(&[])),
            (None, None, None, None)
        );
    }

    #[test]
    fn only_strings_count_as_strings() {
        assert_eq!(strings(&json!(["a", 1, null, "b"])), ["a", "b"]);
        assert_eq!(strings(&json!("one")), ["one"]);
        assert!(strings(&json!({"a": 1})).is_empty());
    }
}
