//! `allow.users` and `providers[].issuer` together: addresses that a provider does not vouch for match nobody.

use super::super::reader::{Reader, Spot};

/// Part of the path of every issuer of authentik.
const AUTHENTIK: &str = "/application/o/";

/// Warns where an app lets addresses in whose provider looks like authentik, which calls every address unverified unless a
/// scope mapping says otherwise.
pub(super) fn warn_of_unverified(reader: &mut Reader<'_>, root: &Spot<'_>) {
    let providers = root.at("providers").map(|list| list.items()).unwrap_or_default();
    for app in root.at("apps").map(|list| list.items()).unwrap_or_default() {
        let named = app.at("provider").and_then(|name| name.text());
        let provider = providers
            .iter()
            .find(|provider| named.is_none_or(|named| provider.at("name").and_then(|name| name.text()) == Some(named)));
        if !provider.is_some_and(leaves_addresses_unverified) {
            continue;
        }
        let rules = app.at("rules").map(|list| list.items()).unwrap_or_default();
        for place in std::iter::once(&app).chain(&rules) {
            let Some(users) = place.at("allow").and_then(|allow| allow.at("users")) else { continue };
            if users.items().iter().any(|user| user.text().is_some_and(|text| text.contains('@'))) {
                reader.warn(
                    &users,
                    "authentik calls every e-mail address unverified unless a scope mapping says otherwise, and an \
                     unverified address matches nobody",
                    "name subjects or groups, have authentik send `email_verified: true` with a scope mapping of your own, or \
                     set `providers[].unverified_email = \"trust\"` if nobody can choose their own address there",
                );
            }
        }
    }
}

fn leaves_addresses_unverified(provider: &Spot<'_>) -> bool {
    let text = |key| provider.at(key).and_then(|spot| spot.text());
    text("issuer").is_some_and(|issuer| issuer.contains(AUTHENTIK)) && text("unverified_email") != Some("trust")
}
