//! `allow.acr` and `allow.max_age`; `lifetime` and `idle_timeout` of apps.

use std::time::Duration;

use super::super::{
    diagnostic::ValueError,
    known_providers,
    reader::{self, Cursor, Reader},
};
use crate::{
    oidc,
    policy::{App, SessionLimits},
};

/// Longest authentication context class: all of them travel in a URL.
const MAX_CLASS_LENGTH: usize = 200;
/// The most classes of one list.
const MAX_CLASSES: usize = 16;

/// Reads `acr` and `max_age` of an `allow`.
pub(super) fn read(reader: &mut Reader<'_>, allow: &Cursor<'_>) -> (Vec<String>, Option<Duration>) {
    let list = allow.at("acr");
    if let Some(list) = &list {
        let items = list.items();
        if items.is_empty() && list.is_valid() {
            reader.error(list, "nobody could match an empty list", "name a class, or remove it");
        }
        if items.len() > MAX_CLASSES {
            let problem = format!("names more than {MAX_CLASSES} classes, which do not fit into a URL");
            reader.error(list, problem, "name those that the provider has");
        }
        reader.refuse_duplicates(&items, None);
    }
    (reader.list(list.as_ref(), class), reader.duration(allow.at("max_age").as_ref()))
}

/// Parses an authentication context class: it stands in a list with spaces (`acr_values`) and between quotes (RFC 9470).
fn class(text: &str) -> Result<String, ValueError> {
    let text = reader::text(text)?;
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
    if is_plain && text.len() <= MAX_CLASS_LENGTH {
        return Ok(text);
    }
    let hint = format!("write up to {MAX_CLASS_LENGTH} visible characters without spaces, quotes and backslashes");
    Err(ValueError::new(format!("`{text}` is no class of authentication"), hint))
}

/// Reads the limits of an app; `root` has those of the session, which they may not exceed.
pub(super) fn limits(reader: &mut Reader<'_>, app: &Cursor<'_>, root: &Cursor<'_>) -> Option<SessionLimits> {
    let mut limit = |name: &str| {
        let own = app.at(name)?;
        let value = reader.duration(Some(&own))?;
        let session = root.at("session")?.at(name)?;
        let most = reader.duration(Some(&session))?;
        if value > most {
            let problem = format!(
                "is longer than session.{name}: {} against {}, after which the session ends anyway",
                humantime::format_duration(value),
                humantime::format_duration(most),
            );
            reader.error(&own, problem, format!("shorten it, or raise session.{name}"));
        }
        Some(value)
    };
    let (lifetime, idle_timeout) = (limit("lifetime"), limit("idle_timeout"));
    (lifetime.is_some() || idle_timeout.is_some()).then_some(SessionLimits { lifetime, idle_timeout })
}

/// Warns of what the product or service at an app's issuer is known not to do.
pub(super) fn warn_of_known_providers(
    reader: &mut Reader<'_>,
    root: &Cursor<'_>,
    providers: &[oidc::Settings],
    apps: &[App],
) {
    let items = root.at("apps").map(|list| list.items()).unwrap_or_default();
    for (section, app) in items.iter().zip(apps) {
        let Some(provider) = providers.get(app.provider) else { continue };
        let rules = section.at("rules").map(|list| list.items()).unwrap_or_default();
        let allows: Vec<_> = rules.iter().chain([section]).filter_map(|holder| holder.at("allow")).collect();
        let of_allows = |name: &str| allows.iter().filter_map(|allow| allow.at(name)).collect::<Vec<_>>();
        let of_app = ["lifetime", "idle_timeout"].into_iter().filter_map(|name| section.at(name));
        let times: Vec<_> = of_allows("max_age").into_iter().chain(of_app).collect();
        for (keys, known) in [
            (of_allows("acr"), known_providers::without_classes(&provider.issuer)),
            (times, known_providers::without_auth_time(&provider.issuer)),
        ] {
            let Some((problem, hint)) = known else { continue };
            for key in keys {
                reader.warn(&key, format!("may let nobody in: {problem}"), hint);
            }
        }
    }
}

/// Returns the classes that an app and its rules ask for.
pub(super) fn classes(app: &App) -> impl Iterator<Item = &String> {
    let rules = app.rules.iter().filter_map(|rule| rule.access.allow());
    rules.chain([&app.allow]).flat_map(|people| &people.acr)
}
