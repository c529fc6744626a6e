//! The gate's own cookies: their names at each host, and the lines that set and remove them.
//!
//! Promises: a cookie is removed with the attributes that it was set with; none of them is forwarded to an app; under one
//! domain no two providers have a session cookie of the same name.

use std::time::Duration;

use bytes::Bytes;
use cookie::{Cookie, SameSite};
use http::{HeaderMap, HeaderValue, header};

use super::{domain::SharedDomain, request};

/// The gate's cookies at all hosts: session and login, and those of a sign-in that are for the callback's path alone.
#[derive(Clone, Debug)]
pub struct GateCookies {
    /// At hosts in none of the domains.
    host_only: CookieNames,
    /// At hosts in one of the domains.
    shared: CookieNames,
    path_bound: String,
    /// The domains whose hosts share cookies, longest first: a host belongs to the first that it is in.
    domains: Vec<SharedDomain>,
    scheme: SiteScheme,
}

/// Names of the cookies that are sent with every request.
#[derive(Clone, Debug)]
struct CookieNames {
    /// The session at the first provider. It is the only one at a host without a domain: there is one app, with one provider.
    session: String,
    /// The sessions at the other providers, in their order.
    others: Vec<String>,
    login: String,
}

/// The gate's cookies at one host, for an app of one provider.
#[derive(Clone, Copy, Debug)]
pub struct HostCookies<'a> {
    all: &'a GateCookies,
    host: &'a str,
    session: &'a str,
    login: &'a str,
    audience: &'a str,
    /// The domains that the host may be in; the first is the one that it belongs to. Empty for a host in none.
    domains: &'a [SharedDomain],
}

/// URL scheme under which browsers reach the protected hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SiteScheme {
    /// `https`: cookies are `Secure` and carry a name prefix that browsers enforce.
    Https,
    /// `http`, for a laboratory: neither prefix nor `Secure`, which browsers would refuse.
    Http,
}

impl CookieNames {
    fn new(prefix: &str, name: &str, other_providers: &[&str]) -> Self {
        Self {
            session: format!("{prefix}{name}"),
            others: other_providers.iter().map(|provider| format!("{prefix}{name}_{provider}")).collect(),
            login: format!("{prefix}{name}_login"),
        }
    }

    /// Returns the name of the session cookie of a provider, by its place in the configuration.
    #[inline]
    fn session_at(&self, provider: usize) -> &str {
        let other = provider.checked_sub(1).and_then(|place| self.others.get(place));
        other.unwrap_or(&self.session)
    }

    fn sessions(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.session).chain(&self.others).map(String::as_str)
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        self.sessions().chain([self.login.as_str()])
    }
}

impl GateCookies {
    /// Names the cookies after `name`. The hosts of each of the `domains` share them, with one session for each of the
    /// `providers`; at every other host they are host-only.
    #[must_use]
    pub fn new(name: &str, domains: &[String], providers: &[&str], scheme: SiteScheme) -> Self {
        // RFC 6265bis, section 4.1.3: `__Host-` forbids a domain, and demands the path `/`.
        let (host_only, secure) = match scheme {
            SiteScheme::Http => ("", ""),
            SiteScheme::Https => ("__Host-", "__Secure-"),
        };
        let mut domains: Vec<_> = domains.iter().map(|name| SharedDomain::new(name)).collect();
        domains.sort_by_key(|domain| std::cmp::Reverse(domain.name().len()));
        Self {
            host_only: CookieNames::new(host_only, name, &[]),
            shared: CookieNames::new(secure, name, providers.get(1..).unwrap_or_default()),
            path_bound: format!("{secure}{name}_login"),
            domains,
            scheme,
        }
    }

    /// Returns the cookies at a folded host, for an app of the provider at this place in the configuration. Reads fields
    /// alone: neither hashes nor allocates.
    #[inline]
    #[must_use]
    pub fn at<'a>(&'a self, host: &'a str, provider: usize) -> HostCookies<'a> {
        let place = self.domains.iter().position(|domain| domain.contains(host));
        let domains = place.and_then(|place| self.domains.get(place..)).unwrap_or_default();
        let (names, audience) = match domains.first() {
            Some(domain) => (&self.shared, domain.audience()),
            None => (&self.host_only, host),
        };
        HostCookies { all: self, host, session: names.session_at(provider), login: &names.login, audience, domains }
    }

    /// Returns the beginning of the names of cookies that are bound to a path.
    #[must_use]
    pub fn path_bound_name(&self) -> &str {
        &self.path_bound
    }

    /// Returns the name of the cookie that counts rounds in which no other cookie reaches the check.
    #[must_use]
    pub fn rounds_name(&self) -> String {
        format!("{}_rounds", self.path_bound)
    }

    /// Returns a `Set-Cookie` line for a cookie of this host that is sent below `path` alone. A lifetime of zero removes it.
    #[must_use]
    pub fn set_at(&self, path: &str, name: &str, value: &str, lifetime: Duration) -> HeaderValue {
        self.line(name, value, lifetime, Scope::Path(path))
    }

    /// Returns the request's cookies without the gate's own, for the app: in one `Cookie` line, byte for byte, in their
    /// order, with lines joined by `; `. `None` where they take more than `max_length` bytes.
    #[must_use]
    pub fn forwarded(&self, headers: &HeaderMap, max_length: usize) -> Option<HeaderValue> {
        let lines = headers.get_all(header::COOKIE);
        let is_own = |pair: &[u8]| {
            let name = memchr::memchr(b'=', pair).and_then(|end| pair.get(..end));
            // A server may read a pair without `=` as a name with an empty value.
            self.is_own_name(name.unwrap_or(pair))
        };
        let mut forwarded = Vec::with_capacity(lines.iter().map(|line| line.len() + 2).sum());
        for line in lines {
            let (start, mut kept) = (forwarded.len(), 0_usize);
            for pair in request::parts(line.as_bytes()).filter(|pair| !is_own(pair)) {
                let (separator, pair): (&[u8], _) = match (kept, start) {
                    // The space before the first pair of a line separated it from one that is not forwarded, or from
                    // nothing.
                    (0, 0) => (b"", pair.trim_ascii_start()),
                    (0, _) => (b"; ", pair.trim_ascii_start()),
                    _ => (b";", pair),
                };
                forwarded.extend_from_slice(separator);
                forwarded.extend_from_slice(pair);
                kept += 1;
            }
        }
        if forwarded.len() > max_length { None } else { HeaderValue::from_maybe_shared(Bytes::from(forwarded)).ok() }
    }

    /// Returns `true` for a `Set-Cookie` line of a cookie of the gate's own.
    #[must_use]
    pub fn sets_own(&self, line: &HeaderValue) -> bool {
        let pair = line.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        // Browsers send a cookie with an empty name as its value alone, RFC 6265bis, section 5.8.3.
        let pair = pair.strip_prefix(b"=").unwrap_or(pair);
        memchr::memchr(b'=', pair).and_then(|end| pair.get(..end)).is_some_and(|name| self.is_own_name(name))
    }

    /// Returns `true` for a name that the gate may give a cookie, wherever an app is. Spaces around it do not count.
    fn is_own_name(&self, name: &[u8]) -> bool {
        let name = name.trim_ascii();
        let shared = (!self.domains.is_empty()).then_some(&self.shared);
        let mut sent_everywhere = self.host_only.all().chain(shared.into_iter().flat_map(CookieNames::all));
        sent_everywhere.any(|own| own.as_bytes() == name)
            || name.strip_prefix(self.path_bound.as_bytes()).is_some_and(|rest| rest.starts_with(b"_"))
    }

    /// Makes a `Set-Cookie` line. A cookie is removed only with the attributes that it was set with, so one function
    /// makes both.
    fn line(&self, name: &str, value: &str, lifetime: Duration, scope: Scope<'_>) -> HeaderValue {
        let (path, domain) = match scope {
            Scope::Host => ("/", None),
            Scope::Domain(domain) => ("/", Some(domain)),
            Scope::Path(path) => (path, None),
        };
        let mut line = Cookie::build((name, value))
            .path(path)
            .http_only(true)
            .same_site(SameSite::Lax)
            .secure(self.scheme == SiteScheme::Https)
            .max_age(lifetime.try_into().unwrap_or(cookie::time::Duration::MAX));
        if let Some(domain) = domain {
            line = line.domain(domain);
        }
        header_value(&line.build()).unwrap_or_else(|| HeaderValue::from_static(""))
    }
}

impl<'a> HostCookies<'a> {
    /// Returns the full name of the session cookie.
    #[inline]
    #[must_use]
    pub fn session_name(&self) -> &'a str {
        self.session
    }

    /// Returns the full name of the login cookie.
    #[must_use]
    pub fn login_name(&self) -> &'a str {
        self.login
    }

    /// Returns the audience of the cookies: the domain that shares them with a dot in front, or the host.
    #[inline]
    #[must_use]
    pub fn audience(&self) -> &'a str {
        self.audience
    }

    /// Returns the audiences of cookies of the same names that browsers send here too, though the host does not belong to
    /// them: the domains around the one that it belongs to.
    pub fn outer_audiences(&self) -> impl Iterator<Item = &'a str> {
        self.surrounding_domains().skip(1).map(SharedDomain::audience)
    }

    /// Returns the name and the audience of every session cookie that browsers send to this host, whatever its provider.
    pub fn all_sessions(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let shared = &self.all.shared;
        let at = move |domain: &'a SharedDomain| shared.sessions().map(|name| (name, domain.audience()));
        let alone = self.domains.is_empty().then_some((self.session, self.audience));
        alone.into_iter().chain(self.surrounding_domains().flat_map(at))
    }

    /// Returns a `Set-Cookie` line for the session.
    #[must_use]
    pub fn set_session(&self, value: &str, lifetime: Duration) -> HeaderValue {
        self.all.line(self.session, value, lifetime, self.scope())
    }

    /// Returns a `Set-Cookie` line for the sign-ins under way.
    #[must_use]
    pub fn set_login(&self, value: &str, lifetime: Duration) -> HeaderValue {
        self.all.line(self.login, value, lifetime, self.scope())
    }

    /// Returns a `Set-Cookie` line that removes the session cookie.
    #[must_use]
    pub fn clear_session(&self) -> HeaderValue {
        self.set_session("", Duration::ZERO)
    }

    /// Returns a `Set-Cookie` line that removes the login cookie.
    #[must_use]
    pub fn clear_login(&self) -> HeaderValue {
        self.set_login("", Duration::ZERO)
    }

    /// Returns `Set-Cookie` lines that remove the session and login cookies of this host, and every other one of the gate
    /// that the request came with.
    #[must_use]
    pub fn clear_all(&self, sent: &HeaderMap) -> Vec<HeaderValue> {
        let clear = |name: &str, scope| self.all.line(name, "", Duration::ZERO, scope);
        let own = [self.session, self.login];
        let is_due = |name: &&str| own.contains(name) || request::names(sent).any(|sent| sent == *name);
        let shared = self.surrounding_domains().flat_map(|domain| {
            let due = own.into_iter().chain(self.all.shared.all().filter(|name| !own.contains(name))).filter(is_due);
            due.map(move |name| clear(name, Scope::Domain(domain.name())))
        });
        // Those of a time before the host's domain was configured. Over http they have the same names.
        let alone = self
            .all
            .host_only
            .all()
            .filter(|name| if self.domains.is_empty() { true } else { !own.contains(name) && is_due(name) });
        shared.chain(alone.map(|name| clear(name, Scope::Host))).collect()
    }

    /// Returns `Set-Cookie` lines that remove a foreign cookie of this host, and of the domains that it is in.
    #[must_use]
    pub fn clear_foreign(&self, name: &str) -> Vec<HeaderValue> {
        let own_host = Cookie::build((name.to_owned(), ""))
            .path("/")
            // Browsers ignore a line for `__Host-…` or `__Secure-…` without it, even one that removes.
            .secure(self.all.scheme == SiteScheme::Https)
            .max_age(cookie::time::Duration::ZERO);
        let shared = self.surrounding_domains().map(|domain| own_host.clone().domain(domain.name().to_owned()));
        std::iter::once(own_host.clone()).chain(shared).filter_map(|line| header_value(&line.build())).collect()
    }

    fn scope(&self) -> Scope<'a> {
        self.domains.first().map_or(Scope::Host, |domain| Scope::Domain(domain.name()))
    }

    /// Returns the domains that the host is in, the one that it belongs to first.
    fn surrounding_domains(&self) -> impl Iterator<Item = &'a SharedDomain> + use<'a> {
        let host = self.host;
        self.domains.iter().filter(move |domain| domain.contains(host))
    }
}

/// Requests that a cookie is sent with.
#[derive(Clone, Copy, Debug)]
enum Scope<'a> {
    /// All to this host.
    Host,
    /// All to the hosts of a domain.
    Domain(&'a str),
    /// Those to this host below a path.
    Path(&'a str),
}

fn header_value(line: &Cookie<'_>) -> Option<HeaderValue> {
    HeaderValue::from_str(&line.to_string()).ok()
}

#[cfg(test)]
mod tests;
