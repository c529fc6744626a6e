//! Whom apps let in and `providers[].issuer` together: warns of apps that practically anybody can enter, and of people whom
//! the provider's answers can never match.

use url::Url;

use super::{
    super::{
        known_providers::{KnownProvider, open_to},
        reader::{Cursor, Reader},
    },
    people,
};

/// Example of a restriction, for hints.
const RESTRICTION: &str = "say who may, such as allow = { users = [\"ann@example.com\", \"*@example.com\"] }";

/// Warns of every app whose users are not those that its author most likely has in mind.
pub(super) fn warn_of_surprises(reader: &mut Reader<'_>, root: &Cursor<'_>) {
    let providers = root.at("providers").map(|list| list.items()).unwrap_or_default();
    for app in root.at("apps").map(|list| list.items()).unwrap_or_default() {
        if app.at("delegate").is_some() {
            // Its outpost decides.
            continue;
        }
        let name = app.at("provider").and_then(|name| name.text());
        let is_named = |provider: &&Cursor<'_>| {
            name.is_none_or(|name| provider.at("name").and_then(|own| own.text()) == Some(name))
        };
        let Some(provider) = providers.iter().find(is_named) else { continue };
        let Some(issuer) = issuer(provider) else { continue };
        let rules = app.at("rules").map(|list| list.items()).unwrap_or_default();
        let places: Vec<_> = std::iter::once(&app).chain(&rules).collect();
        if let Some(who) = open_to(&issuer) {
            for place in lets_anyone_in(&app, &rules) {
                reader.warn(&place, format!("{who} is let in here"), RESTRICTION);
            }
        }
        let sets = places.iter().filter_map(|place| place.at("allow"));
        for allow in sets.flat_map(|allow| allow.at("require").into_iter().chain([allow])) {
            match KnownProvider::of(&issuer) {
                Some(KnownProvider::Authentik) => warn_of_unverified(reader, provider, &allow),
                Some(KnownProvider::Google) => warn_of_groups(reader, provider, &allow),
                Some(KnownProvider::Keycloak | KnownProvider::Entra) | None => {}
            }
        }
    }
    let default = root.at("access").and_then(|section| section.at("default"));
    if let Some(default) = default.filter(|default| default.text() == Some("authenticated"))
        && let Some(who) = providers.first().and_then(issuer).as_ref().and_then(open_to)
    {
        reader.warn(&default, format!("{who} is let in at every host that no app names"), "name each host in an app");
    }
}

fn issuer(provider: &Cursor<'_>) -> Option<Url> {
    Url::parse(provider.at("issuer")?.text()?).ok()
}

/// Returns the app where it has no `allow` that requests can reach, and its rules that ask for nothing but a session.
fn lets_anyone_in<'t>(app: &Cursor<'t>, rules: &[Cursor<'t>]) -> Vec<Cursor<'t>> {
    let keys = ["path", "preset", "methods", "networks"];
    let is_narrow = |rule: &Cursor<'_>| keys.iter().any(|key| rule.at(key).is_some());
    let is_for_anyone = |place: &Cursor<'_>| place.at("allow").is_none_or(|allow| !people::is_restricted(&allow));
    let is_open = is_for_anyone(app) && rules.iter().all(is_narrow);
    let open_rules = rules.iter().filter_map(|rule| match rule.at("access") {
        Some(access) => (access.text() == Some("authenticated")).then_some(access),
        None => rule.at("allow").filter(|allow| !people::is_restricted(allow)),
    });
    is_open.then(|| app.clone()).into_iter().chain(open_rules).collect()
}

/// Warns of e-mail addresses at authentik, which calls every address unverified unless a scope mapping says otherwise.
fn warn_of_unverified(reader: &mut Reader<'_>, provider: &Cursor<'_>, allow: &Cursor<'_>) {
    let Some(users) = allow.at("users") else { return };
    let is_trusted = provider.at("unverified_email").and_then(|word| word.text()) == Some("trust");
    if !is_trusted && users.items().iter().any(|user| user.text().is_some_and(|text| text.contains('@'))) {
        reader.warn(
            &users,
            "authentik calls every e-mail address unverified unless a scope mapping says otherwise, and an unverified \
             address matches nobody",
            "name subjects or groups, have authentik send `email_verified: true` with a scope mapping of your own, or set \
             `providers[].unverified_email = \"trust\"` if nobody can choose their own address there",
        );
    }
}

/// Warns of groups at Google, whose tokens have none.
fn warn_of_groups(reader: &mut Reader<'_>, provider: &Cursor<'_>, allow: &Cursor<'_>) {
    let is_default = provider.at("groups_claim").is_none_or(|claim| !claim.is_written());
    if let Some(groups) = allow.at("groups").filter(|_| is_default) {
        let hint = "name users, or a whole Workspace domain with { claims = { hd = [\"example.com\"] } }";
        reader.warn(&groups, "Google sends no groups, so nobody is in one of these", hint);
    }
}
