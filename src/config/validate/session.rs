//! `[session]`: secrets, the cookie and lifetimes.

use secrecy::SecretString;

use super::{
    super::{
        complaint::Fault,
        reader::{self, Reader, Spot},
    },
    store,
};
use crate::{crypto, flow::OwnCookies, host::Authority, session};

/// With the token and the longest prefix the cookie stays within 120 bytes.
const LONGEST_NAME: usize = 32;

/// What the section says, and where sessions are kept.
pub(super) struct Session {
    pub(super) secrets: Vec<SecretString>,
    pub(super) cookie_name: String,
    pub(super) cookie_domain: Option<String>,
    pub(super) own_cookies: OwnCookies,
    pub(super) legacy_cookies: Vec<String>,
    pub(super) settings: session::Settings,
}

pub(super) fn read(reader: &mut Reader<'_>, section: &Spot<'_>, root: &Spot<'_>) -> Option<Session> {
    let secrets = secrets(reader, section);
    let cookie_name = reader.parsed(section.at("cookie_name").as_ref(), cookie_name);
    let cookie_domain = reader.parsed(section.at("cookie_domain").as_ref(), cookie_domain);
    let own_cookies = match section.at("hide_cookies").and_then(|spot| spot.flag()) {
        Some(true) => OwnCookies::Hidden,
        Some(false) | None => OwnCookies::Shown,
    };
    let legacy_cookies = reader.list(section.at("legacy_cookies").as_ref(), legacy_cookie);
    let lifetime = reader.duration(section.at("lifetime").as_ref());
    // One that is longer than the lifetime waits for the day when somebody raises that: both are plain upper bounds.
    let idle_timeout = reader.duration(section.at("idle_timeout").as_ref());
    let renew_before = reader.duration(section.at("renew_before").as_ref());
    let outage_grace = reader.duration(section.at("outage_grace").as_ref());
    let backend = store::read(reader, root);
    Some(Session {
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
            // The apps say so, and are read after this.
            passes_tokens: false,
            backend: backend?,
        },
    })
}

/// `session.cookie_domain` where it makes sense, for those whose hosts have to be in it.
pub(super) fn domain_of(root: &Spot<'_>) -> Option<String> {
    root.at("session")?.at("cookie_domain")?.text().and_then(|text| cookie_domain(text).ok())
}

fn secrets(reader: &mut Reader<'_>, section: &Spot<'_>) -> Vec<SecretString> {
    let Some(list) = section.at("secrets") else { return Vec::new() };
    let items = list.items();
    if items.is_empty() && list.is_sound() {
        reader.complain(&list, "there has to be at least one", "`doorward secret` prints one");
    }
    let mut plain: Vec<String> = Vec::new();
    for item in items {
        let Some(secret) = reader.plain_secret(Some(&item)) else { continue };
        if secret.len() < crypto::MIN_SECRET_LENGTH {
            let problem = format!("is shorter than {} characters", crypto::MIN_SECRET_LENGTH);
            reader.complain(&item, problem, "`doorward secret` prints a good one");
        } else if plain.contains(&secret) {
            reader.complain(&item, "has no effect: it is the same as one before it", "remove it");
        }
        plain.push(secret);
    }
    plain.into_iter().map(SecretString::from).collect()
}

fn cookie_name(text: &str) -> Result<String, Fault> {
    if text.starts_with("__Host-") || text.starts_with("__Secure-") {
        return Err(Fault::new(
            format!("`{text}` has a prefix"),
            "leave the prefix out: the gate puts the right one in front",
        ));
    }
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if text.is_empty() || text.len() > LONGEST_NAME || !plain {
        let hint = format!("use 1 to {LONGEST_NAME} letters, digits, `-` and `_`");
        return Err(Fault::new(format!("`{text}` is no name for the cookie"), hint));
    }
    Ok(text.to_owned())
}

fn cookie_domain(text: &str) -> Result<String, Fault> {
    if let Some(rest) = text.strip_prefix('.') {
        return Err(Fault::new("begins with a dot", format!("write \"{rest}\": hosts below it are meant anyway")));
    }
    let hint = "write a domain that is yours, such as \"example.com\"";
    let authority = Authority::parse(text).map_err(|error| Fault::new(format!("`{text}`: {error}"), hint))?;
    if authority.port().is_some() {
        return Err(Fault::new(format!("`{text}` has a port"), "cookies know no ports; leave it out"));
    }
    let host = authority.host();
    if host.starts_with('[') || host.parse::<std::net::IpAddr>().is_ok() {
        return Err(Fault::new(
            format!("`{text}` is an address"),
            "browsers share cookies below names only; leave the key out",
        ));
    }
    if !host.contains('.') {
        return Err(Fault::new(
            format!("`{text}` is a whole top-level domain, for which browsers refuse cookies"),
            hint,
        ));
    }
    Ok(host.to_owned())
}

fn legacy_cookie(text: &str) -> Result<String, Fault> {
    let name = reader::text(text)?;
    // RFC 6265, section 4.1.1: a cookie's name is a token; `*` happens to be one of its characters.
    if name.bytes().all(|byte| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte)) {
        return Ok(name);
    }
    Err(Fault::new(format!("`{text}` is no cookie's name"), "write a name such as \"authentik_proxy_*\""))
}
