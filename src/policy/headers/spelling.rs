//! Spellings of header names: what apps take for one another, and the names that say who somebody is.
//!
//! Promises: a name is compared as the most careless app reads it, and every header of every preset is an identity header, whatever
//! an app is configured to get.

/// Names that say who somebody is: those of the presets that have no prefix of their own, and those of oauth2-proxy as a reverse
/// proxy.
const IDENTITY: &[&str] = &[
    "remote-email",
    "remote-groups",
    "remote-name",
    "remote-user",
    "x-forwarded-access-token",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-user",
];

/// Beginnings of further ones.
const IDENTITY_PREFIXES: &[&str] = &["doorward-", "x-auth-request-", "x-authentik-"];

/// Returns `true` if an app could take one header name for the other.
///
/// CGI, WSGI, PHP and their like turn what is neither letter nor digit into `_`, and letters into capitals: `X_Authentik.Username` is
/// `HTTP_X_AUTHENTIK_USERNAME` to them.
#[must_use]
pub fn is_spelling_of(name: &str, other: &str) -> bool {
    name.len() == other.len() && name.bytes().map(folded).eq(other.bytes().map(folded))
}

/// Returns `true` if an app could take a name for one that begins so.
#[must_use]
pub fn begins_like(name: &str, prefix: &str) -> bool {
    name.len() > prefix.len()
        && name.bytes().map(folded).zip(prefix.bytes().map(folded)).all(|(one, other)| one == other)
}

/// Returns `true` if an app could take a name for that of an identity header of some preset, or for one of the gate's own.
#[must_use]
pub fn is_identity_name(name: &str) -> bool {
    IDENTITY.iter().any(|own| is_spelling_of(name, own))
        || IDENTITY_PREFIXES.iter().any(|prefix| begins_like(name, prefix))
}

fn folded(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::headers::{HeaderBudget, HeaderSpec, PlanContext, Preset, plan};

    #[test]
    fn every_header_of_every_preset_is_an_identity_header_in_every_spelling() {
        for preset in Preset::ALL {
            let context = PlanContext {
                app: "app",
                provider: "provider",
                version: "1",
                passed: &[],
                budget: HeaderBudget::default(),
                named_groups: &[],
            };
            let plan = plan(&[HeaderSpec::Preset(*preset)], &context).unwrap();
            let names = plan.fields().iter().map(|(name, _)| name).chain(plan.constants().iter().map(|(name, _)| name));
            for name in names.map(http::HeaderName::as_str) {
                for spelling in [name.to_owned(), name.replace('-', "_"), name.replace('-', "."), name.to_uppercase()] {
                    assert!(is_identity_name(&spelling), "{spelling}");
                }
                let mixed = name.replacen('-', "_", 1);
                assert!(is_identity_name(&mixed), "{mixed}");
            }
        }
    }

    #[test]
    fn a_name_that_no_app_takes_for_another_is_none() {
        for name in
            ["remote", "remote-users", "remote-addr", "remoteuser", "x-authentik", "x-auth-requests", "authorization"]
        {
            assert!(!is_identity_name(name), "{name}");
        }
        assert!(!is_spelling_of("x-team", "x--team"));
        assert!(!begins_like("x-forwarded-", "x-forwarded-"));
    }
}
