//! `allow.users` and `providers[].issuer` together: warns of e-mail addresses that can match nobody, because the provider
//! calls all of them unverified.

use super::super::reader::{Cursor, Reader};

/// Part of the path of every authentik issuer.
const AUTHENTIK_PATH: &str = "/application/o/";

/// Warns of an app that allows e-mail addresses and whose provider looks like authentik, which calls every address
/// unverified unless a scope mapping says otherwise.
pub(super) fn warn_of_unverified(reader: &mut Reader<'_>, root: &Cursor<'_>) {
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

fn leaves_addresses_unverified(provider: &Cursor<'_>) -> bool {
    let text = |key| provider.at(key).and_then(|cursor| cursor.text());
    text("issuer").is_some_and(|issuer| issuer.contains(AUTHENTIK_PATH)) && text("unverified_email") != Some("trust")
}
