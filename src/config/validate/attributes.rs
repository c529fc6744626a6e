//! Attributes of authentik's people (`ak_proxy.user_attributes`) that apps need: for headers, credentials and rules.

use crate::{
    identity::KeptAttributes,
    policy::{
        Allow, App,
        headers::{HeaderSource, TemplatePiece},
    },
};

/// Returns what apps need.
pub(super) fn needed<'a>(apps: impl IntoIterator<Item = &'a App>) -> KeptAttributes {
    let mut kept = KeptAttributes::default();
    for app in apps {
        for (_, source) in app.headers.fields() {
            add_source(&mut kept, source);
        }
        let of_rules = app.rules.iter().filter_map(|rule| rule.access.allow());
        for allow in of_rules.chain([&app.allow]) {
            add_allow(&mut kept, allow);
        }
    }
    kept
}

fn add_source(kept: &mut KeptAttributes, source: &HeaderSource) {
    match source {
        HeaderSource::Template(pieces) => {
            for piece in pieces {
                if let TemplatePiece::Claim(path) = piece {
                    kept.add_claim(path);
                }
            }
        }
        HeaderSource::ClaimList(path, _) => kept.add_claim(path),
        HeaderSource::Additional(name) => {
            kept.headers.insert(name.clone());
        }
        HeaderSource::Basic(credential) => {
            kept.paths.extend(credential.user_attribute.iter().chain([&credential.password_attribute]).cloned());
        }
        HeaderSource::User
        | HeaderSource::Email
        | HeaderSource::Name
        | HeaderSource::Subject
        | HeaderSource::Groups(_)
        | HeaderSource::AccessToken
        | HeaderSource::IdToken
        | HeaderSource::Nothing => {}
    }
}

fn add_allow(kept: &mut KeptAttributes, allow: &Allow) {
    for people in allow.any.iter().chain([&allow.require, &allow.except]) {
        for (path, _) in &people.claims {
            kept.add_claim(path);
        }
    }
}
