//! `session.cookie_domain`: domains whose hosts share cookies, and what hosts and providers have to be for that.
//!
//! Promises: no cookie is set for a domain that browsers refuse, and no two cookies of the gate have the same name.

use super::super::{
    diagnostic::ValueError,
    reader::{Cursor, Reader},
};
use crate::{
    host::Authority,
    policy::{App, HostPattern},
};

/// Length limit of a session cookie's name and value, in bytes: many apps and edges bound the `Cookie` header.
const MAX_COOKIE: usize = 120;

/// Length of a session cookie's value.
const COOKIE_VALUE: usize = 64;

/// The longest prefix of a shared cookie's name.
const PREFIX: &str = "__Secure-";

/// Name that no provider may have: with it the session cookie would be the login cookie.
const LOGIN: &str = "login";

/// `session.cookie_domain`, as far as it is valid.
pub(super) enum CookieDomains {
    /// Absent, or invalid.
    None,
    /// One domain for every host.
    Every(String),
    /// Domains for the hosts that are in one.
    Some(Vec<String>),
}

/// Reads the domains.
pub(super) fn read(reader: &mut Reader<'_>, session: &Cursor<'_>) -> Vec<String> {
    let Some(cursor) = session.at("cookie_domain") else { return Vec::new() };
    if cursor.text().is_some() {
        return reader.parsed(Some(&cursor), domain).into_iter().collect();
    }
    let items = cursor.items();
    if items.is_empty() && cursor.is_valid() {
        reader.error(&cursor, "has no effect: it names no domain", "name one, or leave the key out");
    }
    let mut domains = Vec::new();
    for item in items {
        match reader.parsed(Some(&item), domain) {
            Some(name) if domains.contains(&name) => {
                reader.error(&item, format!("has no effect: `{name}` is in the list already"), "remove it");
            }
            Some(name) => domains.push(name),
            None => {}
        }
    }
    domains
}

impl CookieDomains {
    /// Returns the domains without reporting anything, for checks of other sections.
    pub(super) fn of(root: &Cursor<'_>) -> Self {
        let Some(cursor) = root.at("session").and_then(|session| session.at("cookie_domain")) else {
            return Self::None;
        };
        let valid = |cursor: &Cursor<'_>| cursor.text().and_then(|text| domain(text).ok());
        if cursor.text().is_some() {
            return valid(&cursor).map_or(Self::None, Self::Every);
        }
        let domains: Vec<_> = cursor.items().iter().filter_map(valid).collect();
        if domains.is_empty() { Self::None } else { Self::Some(domains) }
    }

    /// Reports a host outside a single domain: browsers drop such a cookie, so signing in there would loop.
    pub(super) fn refuse_outside(&self, reader: &mut Reader<'_>, cursor: &Cursor<'_>, host: &HostPattern) {
        let Self::Every(domain) = self else { return };
        if !is_in(name_of(host), domain) {
            reader.error(
                cursor,
                format!("sessions cannot work here: `session.cookie_domain` is {domain}"),
                format!("write cookie_domain = [\"{domain}\"], a list, if hosts outside have a cookie of their own, or add their domain to it"),
            );
        }
    }
}

/// Warns of domains in a list to which no host belongs, most likely misspelt: the hosts that were meant then have a session
/// each.
pub(super) fn warn_of_unused(reader: &mut Reader<'_>, root: &Cursor<'_>, apps: &[App]) {
    let CookieDomains::Some(domains) = CookieDomains::of(root) else { return };
    let default = root.at("access").and_then(|access| access.at("default"));
    if default.is_some_and(|default| default.text() == Some("authenticated")) {
        return;
    }
    let hosts = || apps.iter().flat_map(|app| &app.hosts);
    let is_used = |name: &str| {
        hosts().any(|host| match host {
            HostPattern::Below(parent) if is_in(name, parent) => true,
            HostPattern::Exact(_) | HostPattern::Below(_) => longest(name_of(host), &domains) == Some(name),
        })
    };
    let list = root.at("session").and_then(|session| session.at("cookie_domain"));
    for item in list.map(|list| list.items()).unwrap_or_default() {
        if let Some(name) = item.text().and_then(|text| domain(text).ok())
            && !is_used(&name)
        {
            reader.warn(&item, "no app has a host that belongs to this domain", "correct it, or remove it");
        }
    }
}

/// Reports providers whose name would make a cookie's name that browsers refuse, or that is another cookie's.
pub(super) fn refuse_provider_names(reader: &mut Reader<'_>, root: &Cursor<'_>, providers: &[Cursor<'_>]) {
    let shares = !matches!(CookieDomains::of(root), CookieDomains::None);
    let cookie_name = root.at("session").and_then(|session| session.at("cookie_name"));
    let cookie_name = cookie_name.and_then(|name| name.text()).unwrap_or_default();
    for (place, provider) in providers.iter().enumerate() {
        let Some(cursor) = provider.at("name") else { continue };
        let problem = match cursor.text() {
            Some(LOGIN) => Some(ValueError::new(
                format!("`{cookie_name}_login` is the login cookie, and cannot be the session cookie of a provider"),
                "give the provider another name",
            )),
            // Under a domain the first provider has the plain name.
            Some(name) if shares && place > 0 => cookie_name_error(cookie_name, name),
            _ => None,
        };
        if let Some(ValueError { problem, hint }) = problem {
            reader.error(&cursor, problem, hint);
        }
    }
}

/// Returns the reason why a provider's name cannot be part of its cookie's name.
fn cookie_name_error(cookie_name: &str, provider: &str) -> Option<ValueError> {
    let name = format!("{cookie_name}_{provider}");
    if !provider.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        let problem =
            format!("with `session.cookie_domain` the session cookie would be `{name}`, which is no cookie's name");
        return Some(ValueError::new(
            problem,
            "use letters, digits, `-`, `_` and `.` in the names of all providers but the first",
        ));
    }
    if provider.strip_prefix(LOGIN).is_some_and(|rest| rest.starts_with('_')) {
        let problem = format!(
            "with `session.cookie_domain` the session cookie would be `{name}`, which cookies of sign-ins begin with"
        );
        return Some(ValueError::new(problem, "give the provider a name that does not begin with `login_`"));
    }
    let excess = (PREFIX.len() + name.len() + COOKIE_VALUE).saturating_sub(MAX_COOKIE);
    (excess > 0).then(|| {
        let problem =
            format!("with `session.cookie_domain` the session cookie would be longer than {MAX_COOKIE} bytes");
        ValueError::new(problem, format!("shorten this name or `session.cookie_name` by {excess}"))
    })
}

/// Returns the longest of these domains that a host is in.
fn longest<'d>(host: &str, domains: &'d [String]) -> Option<&'d str> {
    let surrounding = domains.iter().filter(|domain| is_in(host, domain));
    surrounding.max_by_key(|domain| domain.len()).map(String::as_str)
}

fn is_in(host: &str, domain: &str) -> bool {
    host == domain || host.strip_suffix(domain).is_some_and(|front| front.ends_with('.'))
}

fn name_of(host: &HostPattern) -> &str {
    match host {
        HostPattern::Exact(name) | HostPattern::Below(name) => name,
    }
}

fn domain(text: &str) -> Result<String, ValueError> {
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
