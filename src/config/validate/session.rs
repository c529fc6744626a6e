//! `[session]`: secrets, the cookie and lifetimes; and the store of the sessions.

use secrecy::SecretString;

use super::{
    super::{
        diagnostic::ValueError,
        reader::{self, Cursor, Reader},
    },
    cookie_domains, entropy, store,
};
use crate::{crypto, flow::OwnCookies, session};

/// Length limit of the cookie's name: with value and longest prefix the cookie stays within 120 bytes.
const MAX_NAME_LENGTH: usize = 32;

/// Values of the section, and the store of the sessions.
pub(super) struct SessionSection {
    pub(super) secrets: Vec<SecretString>,
    pub(super) cookie_name: String,
    pub(super) cookie_domains: Vec<String>,
    pub(super) own_cookies: OwnCookies,
    pub(super) legacy_cookies: Vec<String>,
    pub(super) settings: session::Settings,
}

pub(super) fn read(reader: &mut Reader<'_>, section: &Cursor<'_>, root: &Cursor<'_>) -> Option<SessionSection> {
    let secrets = secrets(reader, section);
    let cookie_name = reader.parsed(section.at("cookie_name").as_ref(), cookie_name);
    let cookie_domains = cookie_domains::read(reader, section);
    let own_cookies = match section.at("hide_cookies").and_then(|cursor| cursor.flag()) {
        Some(true) => OwnCookies::Hidden,
        Some(false) | None => OwnCookies::Shown,
    };
    let legacy_cookies = reader.list(section.at("legacy_cookies").as_ref(), legacy_cookie);
    let lifetime = reader.duration(section.at("lifetime").as_ref());
    // Longer than the lifetime is no error: both are upper bounds, and the lifetime may be raised later.
    let idle_timeout = reader.duration(section.at("idle_timeout").as_ref());
    let renew_before = reader.duration(section.at("renew_before").as_ref());
    let outage_grace = reader.duration(section.at("outage_grace").as_ref());
    let backend = store::read(reader, root);
    Some(SessionSection {
        secrets,
        cookie_name: cookie_name?,
        cookie_domains,
        own_cookies,
        legacy_cookies,
        settings: session::Settings {
            lifetime: lifetime?,
            idle_timeout: idle_timeout?,
            renew_before: renew_before?,
            outage_grace: outage_grace?,
            reauthorize: reader.duration(section.at("reauthorize").as_ref()),
            // Set later, from the apps and [adopt].
            adopted_lifetime: None,
            passes_tokens: false,
            backend: backend?,
        },
    })
}

fn secrets(reader: &mut Reader<'_>, section: &Cursor<'_>) -> Vec<SecretString> {
    let Some(list) = section.at("secrets") else { return Vec::new() };
    let items = list.items();
    if items.is_empty() && list.is_valid() {
        reader.error(&list, "there has to be at least one", "`doorward secret` prints one");
    }
    let mut plain: Vec<String> = Vec::new();
    for item in items {
        let Some(secret) = reader.plain_secret(Some(&item)) else { continue };
        if secret.len() < crypto::MIN_SECRET_LENGTH {
            let problem = format!("is shorter than {} characters", crypto::MIN_SECRET_LENGTH);
            reader.error(&item, problem, "`doorward secret` prints a good one");
        } else if plain.contains(&secret) {
            reader.error(&item, "has no effect: it is the same as one before it", "remove it");
        } else if entropy::is_easy_to_guess(&secret) {
            let problem = "is easy to guess: it has few different characters, or repeats itself";
            reader.warn(&item, problem, "put one from `doorward secret` in front of it, as docs/rotation.md says");
        }
        plain.push(secret);
    }
    plain.into_iter().map(SecretString::from).collect()
}

fn cookie_name(text: &str) -> Result<String, ValueError> {
    if text.starts_with("__Host-") || text.starts_with("__Secure-") {
        return Err(ValueError::new(
            format!("`{text}` has a prefix"),
            "leave the prefix out: the gate puts the right one in front",
        ));
    }
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if text.is_empty() || text.len() > MAX_NAME_LENGTH || !plain {
        let hint = format!("use 1 to {MAX_NAME_LENGTH} letters, digits, `-` and `_`");
        return Err(ValueError::new(format!("`{text}` is no name for the cookie"), hint));
    }
    Ok(text.to_owned())
}

fn legacy_cookie(text: &str) -> Result<String, ValueError> {
    let name = reader::text(text)?;
    // RFC 6265, section 4.1.1: a cookie's name is a token; `*` happens to be one of its characters.
    if name.bytes().all(|byte| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte)) {
        return Ok(name);
    }
    Err(ValueError::new(format!("`{text}` is no cookie's name"), "write a name such as \"authentik_proxy_*\""))
}
