//! Who somebody is, as the provider vouched for it: the words that rules and headers are written in.
//!
//! Plain values. It must not know how they were verified, stored or sent.

#[cfg(test)]
pub(crate) mod arbitrary;
mod headers;
mod packed;
mod principal;

use std::fmt;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::{
    headers::{HeaderCache, PlanId, RenderedHeaders},
    packed::Packed,
    principal::{Principal, PrincipalSource},
};
use crate::clock::Timestamp;

/// The provider's own, never reassigned name for a person (`sub`).
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
    /// The configured name of the provider that vouches for all the rest.
    pub provider: String,
    /// `sub`.
    pub subject: Subject,
    /// `preferred_username`, falling back to the e-mail address where that is verified, then the subject. Never empty.
    pub user: String,
    /// `email`, empty when the provider gives none.
    pub email: String,
    /// Whether the provider vouches for `email` (`email_verified`), or the configuration says that it may be believed.
    /// Nobody is let in by an address that is not.
    #[serde(default)]
    pub email_verified: bool,
    /// `name`, empty when the provider gives none.
    pub name: String,
    /// The groups found under the provider's `groups_claim`, in the provider's order, without repeats.
    pub groups: Vec<String>,
    /// Every claim of the ID token and the userinfo answer but those that only serve the protocol.
    pub claims: Map<String, Value>,
}

impl Identity {
    /// The claim at a dotted path: `department`, `ak_proxy.user_attributes.team`.
    #[must_use]
    pub fn claim(&self, path: &str) -> Option<&Value> {
        claim_at(&self.claims, path)
    }
}

/// The gate's registration at a provider: a digest of the provider's configured name, its issuer and the client id. Tokens are
/// worth something under the registration that they were issued to, and are shown to no other. The operator alone chooses what
/// it is made of, so that 64 bits are enough to tell a few apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Registration(pub [u8; 8]);

/// Where a session counts. Everywhere else its cookie is nobody's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// The host at which it was made, folded; or the domain that shares its cookie, behind a dot.
    pub audience: String,
    /// The registration under which its tokens were issued.
    pub registration: Registration,
}

/// What the provider issued along with an identity. None of it leaves the gate unless the configuration asks for it.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    /// The access token.
    pub access: Option<SecretString>,
    /// When the access token ends, where the provider said so.
    pub access_ends: Option<Timestamp>,
    /// The refresh token, where one was granted.
    pub refresh: Option<SecretString>,
    /// The ID token as it came, for the provider's sign-out (`id_token_hint`).
    pub id: Option<SecretString>,
}

/// The value at a dotted path below `claims`. A claim whose own name holds the dots wins over nesting, because providers
/// such as Auth0 name claims by URL.
#[must_use]
pub fn claim_at<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(whole) = claims.get(path) {
        return Some(whole);
    }
    let mut steps = path.split('.');
    let first = claims.get(steps.next()?)?;
    steps.try_fold(first, |value, step| value.as_object()?.get(step))
}

/// The strings in a claim that is a string or a list of strings; anything else in it is left out.
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
        let claims = json!({"a": {"b": {"c": "deep"}}, "https://x.example/groups": ["g"], "a.b": "flat"});
        let claims = claims.as_object().unwrap();
        for (path, expected) in [
            ("a.b.c", Some(json!("deep"))),
            ("a.b", Some(json!("flat"))),
            ("https://x.example/groups", Some(json!(["g"]))),
            ("a.missing", None),
            ("", None),
        ] {
            assert_eq!(claim_at(claims, path), expected.as_ref(), "{path}");
        }
    }

    #[test]
    fn only_strings_count_as_strings() {
        assert_eq!(strings(&json!(["a", 1, null, "b"])), ["a", "b"]);
        assert_eq!(strings(&json!("one")), ["one"]);
        assert!(strings(&json!({"a": 1})).is_empty());
    }
}
