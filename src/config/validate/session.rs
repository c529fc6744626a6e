//! `[session]`: secrets, the cookie and lifetimes; and the store of the sessions.

use secrecy::SecretString;

use super::{
    super::{
        diagnostic::ValueError,
        reader::{self, Cursor, Reader},
    },
    entropy, store,
};
use crate::{crypto, flow::OwnCookies, host::Authority, session};

/// Length limit of the cookie's name: with value and longest prefix the cookie stays within 120 bytes.
const MAX_NAME_LENGTH: usize = 32;

/// Values of the section, and the store of the sessions.
pub(super) struct SessionSection {
    pub(super) secrets: Vec<SecretString>,
    pub(super) cookie_name: String,
    pub(super) cookie_domain: Option<String>,
    pub(super) own_cookies: OwnCookies,
    pub(super) legacy_cookies: Vec<String>,
    pub(super) settings: session::Settings,
}

pub(super) fn read(reader: &mut Reader<'_>, section: &Cursor<'_>, root: &Cursor<'_>) -> Option<SessionSection> {
    let secrets = secrets(reader, section);
    let cookie_name = reader.parsed(section.at("cookie_name").as_ref(), cookie_name);
    let cookie_domain = reader.parsed(section.at("cookie_domain").as_ref(), cookie_domain);
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
        cookie_domain,
        own_cookies,
        legacy_cookies,
        settings: session::Settings {
            lifetime: lifetime?,
            idle_timeout: idle_timeout?,
            renew_before: renew_before?,
            outage_grace: outage_grace?,
            reauthorize: reader.duration(section.at("reauthorize").as_ref()),
            // Set later, from the apps.
            passes_tokens: false,
            backend: backend?,
        },
    })
}

/// Returns `session.cookie_domain` where it is valid, for checking that the apps' hosts are in it.
pub(super) fn domain_of(root: &Cursor<'_>) -> Option<String> {
    root.at("session")?.at("cookie_domain")?.text().and_then(|text| cookie_domain(text).ok())
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

fn cookie_domain(text: &str) -> Result<String, ValueError> {
    if let Some(rest) = text.strip_prefix('.') {
        return Err(ValueError::new("begins with a dot", format!("write \"{rest}\": hosts below it are meant anyway")));
    }
    let hint = "write a domain that is yours, such as \"example.com\"";
    let authority = Authority::parse(text).map_err(|error| ValueError::new(format!("`{text}`: {error}"), hint))?;
    if authority.port().is_some() {
        return Err(ValueError::new(format!("`{text}` has a port"), "cookies know no ports; leave it out"));
    }
    let host = authority.host();
    if host.starts_with('[') || host.parse::<std::net::IpAddr>().is_ok() {
        return Err(ValueError::new(
            format!("`{text}` is an address"),
            "browsers share cookies below names only; leave the key out",
        ));
    }
    if !host.contains('.') {
        return Err(ValueError::new(
            format!("`{text}` is a whole top-level domain, for which browsers refuse cookies"),
            hint,
        ));
    }
    if is_public_suffix(host) {
        let problem =
            format!("`{text}` is on the Public Suffix List: browsers refuse cookies for all that is below it");
        return Err(ValueError::new(
            problem,
            format!("write the name below it that is yours, such as \"home.{host}\""),
        ));
    }
    Ok(host.to_owned())
}

/// Returns `true` if anybody can register names below a domain, as below `co.uk` and `duckdns.org`. A top-level domain that
/// is not on the list, such as `test`, makes no suffix of the names below it.
fn is_public_suffix(domain: &str) -> bool {
    psl::suffix(domain.as_bytes()).is_some_and(|suffix| suffix.is_known() && suffix == domain)
}

fn legacy_cookie(text: &str) -> Result<String, ValueError> {
    let name = reader::text(text)?;
    // RFC 6265, section 4.1.1: a cookie's name is a token; `*` happens to be one of its characters.
    if name.bytes().all(|byte| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte)) {
        return Ok(name);
    }
    Err(ValueError::new(format!("`{text}` is no cookie's name"), "write a name such as \"authentik_proxy_*\""))
}
