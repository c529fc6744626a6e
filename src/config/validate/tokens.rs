//! `[tokens]`: the header of service tokens.

use http::HeaderName;

use super::super::{
    diagnostic::ValueError,
    reader::{Cursor, Reader},
};
use crate::policy::{App, headers::steers};

/// The longest name, in bytes.
const MAX_LENGTH: usize = 64;

/// Headers of requests that mean something to the gate, to edges or to every app. A token in one of them would be read by somebody
/// else, and emptied where it is needed.
const TAKEN: [&str; 14] = [
    "accept",
    "authorization",
    "doorward-reason",
    "doorward-request-id",
    "expect",
    "forwarded",
    "origin",
    "purpose",
    "range",
    "referer",
    "user-agent",
    "via",
    "x-real-ip",
    "x-requested-with",
];

/// Beginnings of such headers.
const TAKEN_FAMILIES: [&str; 7] =
    ["accept-", "access-control-", "content-", "if-", "sec-", "x-forwarded-", "x-original-"];

/// Reads the section, and returns the header; `None` where there is none.
pub(super) fn read(reader: &mut Reader<'_>, root: &Cursor<'_>, apps: &[App]) -> Option<HeaderName> {
    let cursor = root.at("tokens")?.at("header")?;
    let name = reader.parsed(Some(&cursor), header)?;
    if let Some(app) = apps.iter().find(|app| app.headers.clashes_with(&name)) {
        let problem = format!("`{name}` is an identity header of the app `{}`", app.name);
        reader.error(&cursor, problem, "choose another name, such as \"Doorward-Token\"");
        return None;
    }
    if let Some(store) = root.at("store").and_then(|store| store.at("url")).filter(|url| url.text() == Some("memory:"))
    {
        let hint = "set it to \"sqlite:…\" or \"postgres://…\", or remove [tokens]";
        reader.warn(&store, "no service token can be made in a store that only this process knows", hint);
    }
    Some(name)
}

fn header(text: &str) -> Result<HeaderName, ValueError> {
    let hint = "write a name of its own, such as \"Doorward-Token\"";
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let name = HeaderName::try_from(text).ok().filter(|_| is_plain && text.len() <= MAX_LENGTH).ok_or_else(|| {
        let hint = format!("use 1 to {MAX_LENGTH} letters, digits and `-`");
        ValueError::new(format!("`{text}` is no name of a header for tokens"), hint)
    })?;
    let is_taken =
        TAKEN.contains(&name.as_str()) || TAKEN_FAMILIES.iter().any(|family| name.as_str().starts_with(family));
    if is_taken || steers(&name) {
        return Err(ValueError::new(format!("`{text}` has another meaning to edges, apps or the gate"), hint));
    }
    Ok(name)
}
