//! Cookies on the wire (RFC 6265bis): reading `Cookie` lines and writing `Set-Cookie` lines.
//!
//! Promises: our own cookies are never passed on to an app; a cookie is removed with the attributes that it was set
//! with.

use std::time::Duration;

use bytes::Bytes;
use cookie::{Cookie, SameSite};
use http::{HeaderMap, HeaderValue, header};

/// Names and attributes of the gate's cookies: session and login, and those of a sign-in that are for the callback's path alone.
#[derive(Clone, Debug)]
pub struct GateCookies {
    session: String,
    login: String,
    path_bound: String,
    domain: Option<SharedDomain>,
    scheme: SiteScheme,
}

/// The domain whose hosts share cookies.
#[derive(Clone, Debug)]
struct SharedDomain {
    name: String,
    /// The name with a dot in front, which no host has.
    suffix: String,
}

/// URL scheme under which browsers reach the protected hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SiteScheme {
    /// `https`: cookies are `Secure` and carry a name prefix that browsers enforce.
    Https,
    /// `http`, for a laboratory: neither prefix nor `Secure`, which browsers would refuse.
    Http,
}

impl GateCookies {
    /// Names the cookies after `name`. With a `domain` every host below it shares them; without one they are host-only.
    #[must_use]
    pub fn new(name: &str, domain: Option<&str>, scheme: SiteScheme) -> Self {
        // RFC 6265bis, section 4.1.3: `__Host-` forbids a domain, so a shared cookie can only have `__Secure-`.
        let prefix = match (scheme, domain) {
            (SiteScheme::Http, _) => "",
            (SiteScheme::Https, None) => "__Host-",
            (SiteScheme::Https, Some(_)) => "__Secure-",
        };
        Self {
            session: format!("{prefix}{name}"),
            login: format!("{prefix}{name}_login"),
            // `__Host-` demands the path `/`.
            path_bound: match scheme {
                SiteScheme::Http => format!("{name}_login"),
                SiteScheme::Https => format!("__Secure-{name}_login"),
            },
            domain: domain.map(|name| SharedDomain { name: name.to_owned(), suffix: format!(".{name}") }),
            scheme,
        }
    }

    /// Returns the audience of cookies of this normalized host: the domain that shares them with a dot in front, or the
    /// host.
    #[must_use]
    pub fn audience<'a>(&'a self, host: &'a str) -> &'a str {
        let shared = self.domain.as_ref().filter(|domain| host == domain.name || host.ends_with(&domain.suffix));
        shared.map_or(host, |domain| &domain.suffix)
    }

    /// Returns the full name of the session cookie.
    #[must_use]
    pub fn session_name(&self) -> &str {
        &self.session
    }

    /// Returns the full name of the login cookie.
    #[must_use]
    pub fn login_name(&self) -> &str {
        &self.login
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

    /// Returns the request's cookies without the gate's own, for the app: in one `Cookie` line, byte for byte, in their
    /// order, with lines joined by `; `. `None` where they take more than `max_length` bytes.
    #[must_use]
    pub fn forwarded(&self, headers: &HeaderMap, max_length: usize) -> Option<HeaderValue> {
        let lines = headers.get_all(header::COOKIE);
        let is_own = |pair: &[u8]| {
            let name = memchr::memchr(b'=', pair).and_then(|end| pair.get(..end));
            // A server may read a pair without `=` as a name with an empty value.
            let name = name.unwrap_or(pair).trim_ascii();
            name == self.session.as_bytes() || name == self.login.as_bytes()
        };
        let mut forwarded = Vec::with_capacity(lines.iter().map(|line| line.len() + 2).sum());
        for line in lines {
            let (start, mut kept) = (forwarded.len(), 0_usize);
            for pair in pairs(line.as_bytes()).filter(|pair| !is_own(pair)) {
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

    /// Returns a `Set-Cookie` line for the session.
    #[must_use]
    pub fn set_session(&self, value: &str, lifetime: Duration) -> HeaderValue {
        self.line(&self.session, value, lifetime, Scope::Audience)
    }

    /// Returns a `Set-Cookie` line for the sign-ins under way.
    #[must_use]
    pub fn set_login(&self, value: &str, lifetime: Duration) -> HeaderValue {
        self.line(&self.login, value, lifetime, Scope::Audience)
    }

    /// Returns a `Set-Cookie` line for a cookie of this host that is sent below `path` alone. A lifetime of zero removes it.
    #[must_use]
    pub fn set_at(&self, path: &str, name: &str, value: &str, lifetime: Duration) -> HeaderValue {
        self.line(name, value, lifetime, Scope::Path(path))
    }

    /// Returns a `Set-Cookie` line that removes the session cookie.
    #[must_use]
    pub fn clear_session(&self) -> HeaderValue {
        self.line(&self.session, "", Duration::ZERO, Scope::Audience)
    }

    /// Returns a `Set-Cookie` line that removes the login cookie.
    #[must_use]
    pub fn clear_login(&self) -> HeaderValue {
        self.line(&self.login, "", Duration::ZERO, Scope::Audience)
    }

    /// Returns `Set-Cookie` lines that remove a foreign cookie of this host, and of the shared domain where there is
    /// one.
    #[must_use]
    pub fn clear_foreign(&self, name: &str) -> Vec<HeaderValue> {
        let own_host = Cookie::build((name.to_owned(), ""))
            .path("/")
            // Browsers ignore a line for `__Host-…` or `__Secure-…` without it, even one that removes.
            .secure(self.scheme == SiteScheme::Https)
            .max_age(cookie::time::Duration::ZERO);
        let shared = self.domain.as_ref().map(|domain| own_host.clone().domain(domain.name.clone()));
        std::iter::once(own_host).chain(shared).filter_map(|line| header_value(&line.build())).collect()
    }

    /// Makes a `Set-Cookie` line. A cookie is removed only with the attributes that it was set with, so one function
    /// makes both.
    fn line(&self, name: &str, value: &str, lifetime: Duration, scope: Scope<'_>) -> HeaderValue {
        let (path, domain) = match scope {
            Scope::Audience => ("/", self.domain.as_ref()),
            Scope::Path(path) => (path, None),
        };
        let mut line = Cookie::build((name, value))
            .path(path)
            .http_only(true)
            .same_site(SameSite::Lax)
            .secure(self.scheme == SiteScheme::Https)
            .max_age(lifetime.try_into().unwrap_or(cookie::time::Duration::MAX));
        if let Some(domain) = domain {
            line = line.domain(&domain.name);
        }
        header_value(&line.build()).unwrap_or_else(|| HeaderValue::from_static(""))
    }
}

/// Requests that a cookie is sent with.
#[derive(Clone, Copy, Debug)]
enum Scope<'a> {
    /// All to this host, or to the hosts of the shared domain.
    Audience,
    /// Those to this host below a path.
    Path(&'a str),
}

fn header_value(line: &Cookie<'_>) -> Option<HeaderValue> {
    HeaderValue::from_str(&line.to_string()).ok()
}

/// Returns the values of all cookies with exactly this name, in their order, over all `Cookie` lines.
///
/// A browser may send a name several times (another path, another domain), so callers try each one. Splits at `;` only:
/// some edges join lines with a comma, and such a value is not one of ours.
pub fn values<'r>(headers: &'r HeaderMap, name: &'r str) -> impl Iterator<Item = &'r [u8]> {
    headers.get_all(header::COOKIE).into_iter().flat_map(move |line| {
        pairs(line.as_bytes()).filter_map(move |pair| {
            let rest = pair.trim_ascii_start().strip_prefix(name.as_bytes())?;
            Some(rest.strip_prefix(b"=")?.trim_ascii_end())
        })
    })
}

/// Splits at semicolons. An app's cookies are long, and `memchr` looks at many bytes at once.
fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut left = Some(line);
    std::iter::from_fn(move || {
        let line = left?;
        let Some((pair, rest)) = memchr::memchr(b';', line).and_then(|end| line.split_at_checked(end)) else {
            return left.take();
        };
        left = rest.get(1..);
        Some(pair)
    })
}

/// Returns the names of all cookies in the request, for `/reset`.
pub fn names(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok()).flat_map(|line| {
        line.split(';')
            .filter_map(|pair| pair.split_once('=').map(|(name, _)| name.trim()))
            .filter(|name| !name.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (header::COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap())).collect()
    }

    #[test]
    fn every_value_of_the_name_is_found_and_no_other() {
        let headers =
            request(&["a=1; doorward=first;doorward2=x; xdoorward=y", "doorward=second ; Doorward=z", "doorward"]);
        let found: Vec<_> = values(&headers, "doorward").collect();
        assert_eq!(found, [b"first".as_slice(), b"second".as_slice()]);
    }

    proptest::proptest! {
        #[test]
        fn values_are_what_stands_behind_the_name_in_any_pair(lines in proptest::collection::vec("(a=|[ab=; \\t,]){0,12}", 0..3)) {
            let lines: Vec<_> = lines.iter().map(String::as_str).collect();
            let pairs = lines.iter().flat_map(|line| line.split(';')).map(|pair| pair.trim_ascii_start().split_once('='));
            let expected: Vec<_> =
                pairs.flatten().filter(|(name, _)| *name == "a").map(|(_, value)| value.trim_ascii_end().as_bytes()).collect();
            let headers = request(&lines);
            proptest::prop_assert_eq!(values(&headers, "a").collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_host_shares_cookies_with_its_domain_and_with_nothing_that_only_looks_like_it() {
        let (own, shared) = (GateCookies::new("doorward", None, SiteScheme::Https), cookies(Some("example.com")));
        for (host, audience) in [
            ("example.com", ".example.com"),
            ("app.example.com", ".example.com"),
            ("a.b.example.com", ".example.com"),
            ("notexample.com", "notexample.com"),
            ("example.com.evil.test", "example.com.evil.test"),
            ("com", "com"),
        ] {
            assert_eq!((own.audience(host), shared.audience(host)), (host, audience), "{host}");
        }
    }

    fn cookies(domain: Option<&str>) -> GateCookies {
        GateCookies::new("doorward", domain, SiteScheme::Https)
    }

    #[test]
    fn foreign_cookies_are_forwarded_byte_for_byte() {
        let (ours, login) = ("__Host-doorward=secret", "__Host-doorward_login=secret");
        for (lines, expected) in [
            (vec![], ""),
            (vec!["a=1"], "a=1"),
            (vec!["a=1; b=\"x y\";c=;; d ;  e==f"], "a=1; b=\"x y\";c=;; d ;  e==f"),
            (vec![ours], ""),
            (vec![&*format!("{ours}; {login}")], ""),
            (vec![&*format!("{ours}; a=1")], "a=1"),
            (vec![&*format!("a=1; {ours}")], "a=1"),
            (vec![&*format!("a=1;{ours};b=2")], "a=1;b=2"),
            (vec![&*format!("a=1; {ours}; b=2; {login} ; c=3")], "a=1; b=2; c=3"),
            (vec![&*format!("{ours}; {ours};a=1")], "a=1"),
            (vec!["a=1", ours, " b=2 ", login, "c=3"], "a=1; b=2 ; c=3"),
            (vec![ours, "c=3"], "c=3"),
            (
                vec!["__Host-doorward2=x; x__Host-doorward=y; __host-doorward=z; doorward=w"],
                "__Host-doorward2=x; x__Host-doorward=y; __host-doorward=z; doorward=w",
            ),
            (
                vec!["__Host-doorward_login2=x; __Host-doorward_logi=y; a=__Host-doorward=z"],
                "__Host-doorward_login2=x; __Host-doorward_logi=y; a=__Host-doorward=z",
            ),
            (vec!["__Host-doorward =secret; a=1;\t__Host-doorward\t=\tsecret"], "a=1"),
            (vec!["__Host-doorward; a=1"], "a=1"),
            (vec!["utf=caf\u{e9}; \u{e9}"], "utf=caf\u{e9}; \u{e9}"),
        ] {
            let forwarded = cookies(None).forwarded(&request(&lines), 1_000).unwrap();
            assert_eq!(forwarded.as_bytes(), expected.as_bytes(), "{lines:?}");
        }
    }

    #[test]
    fn cookies_that_are_too_long_are_not_cut() {
        let headers = request(&["a=12345678", "__Host-doorward=0123456789", "b=2"]);
        assert_eq!(cookies(None).forwarded(&headers, 15).unwrap(), "a=12345678; b=2");
        assert_eq!(cookies(None).forwarded(&headers, 14), None);
    }

    proptest::proptest! {
        #[test]
        fn our_cookies_are_never_forwarded_and_all_others_are(
            lines in proptest::collection::vec("(__Host-doorward(_login)?=s;?|[ab]=|[ab=; \t]){0,12}", 0..4),
        ) {
            let lines: Vec<_> = lines.iter().map(String::as_str).collect();
            let (headers, cookies) = (request(&lines), cookies(None));
            let forwarded = HeaderMap::from_iter([(header::COOKIE, cookies.forwarded(&headers, usize::MAX).unwrap())]);
            for own in [cookies.session_name(), cookies.login_name()] {
                proptest::prop_assert_eq!(values(&forwarded, own).count(), 0);
            }
            for name in ["a", "b"] {
                let (before, after): (Vec<_>, Vec<_>) = (values(&headers, name).collect(), values(&forwarded, name).collect());
                proptest::prop_assert_eq!(before, after);
            }
        }
    }

    #[test]
    fn the_prefix_says_whose_cookie_it_is() {
        for (domain, scheme, name) in [
            (None, SiteScheme::Https, "__Host-doorward"),
            (Some("example.com"), SiteScheme::Https, "__Secure-doorward"),
            (None, SiteScheme::Http, "doorward"),
            (Some("example.com"), SiteScheme::Http, "doorward"),
        ] {
            assert_eq!(GateCookies::new("doorward", domain, scheme).session_name(), name);
        }
    }

    #[test]
    fn a_cookie_is_removed_with_the_attributes_it_was_set_with() {
        let cookies = GateCookies::new("doorward", Some("example.com"), SiteScheme::Https);
        let set = cookies.set_session("v", Duration::from_mins(1));
        let cleared = cookies.clear_session();
        assert_eq!(
            set.to_str().unwrap(),
            "__Secure-doorward=v; HttpOnly; SameSite=Lax; Secure; Path=/; Domain=example.com; Max-Age=60"
        );
        assert_eq!(
            cleared.to_str().unwrap(),
            "__Secure-doorward=; HttpOnly; SameSite=Lax; Secure; Path=/; Domain=example.com; Max-Age=0"
        );
    }

    #[test]
    fn a_cookie_of_a_path_stays_at_its_host() {
        for (domain, scheme, expected) in [
            (
                None,
                SiteScheme::Https,
                "__Secure-doorward_login_x=v; HttpOnly; SameSite=Lax; Secure; Path=/p/x; Max-Age=60",
            ),
            (
                Some("example.com"),
                SiteScheme::Http,
                "doorward_login_x=v; HttpOnly; SameSite=Lax; Path=/p/x; Max-Age=60",
            ),
        ] {
            let cookies = GateCookies::new("doorward", domain, scheme);
            let name = format!("{}_x", cookies.path_bound_name());
            assert_eq!(cookies.set_at("/p/x", &name, "v", Duration::from_mins(1)), expected);
        }
    }

    #[test]
    fn a_foreign_cookie_is_removed_from_the_host_and_from_the_shared_domain() {
        for (domain, scheme, expected) in [
            (None, SiteScheme::Http, vec!["old=; Path=/; Max-Age=0"]),
            (None, SiteScheme::Https, vec!["old=; Secure; Path=/; Max-Age=0"]),
            (
                Some("example.com"),
                SiteScheme::Https,
                vec!["old=; Secure; Path=/; Max-Age=0", "old=; Secure; Path=/; Domain=example.com; Max-Age=0"],
            ),
        ] {
            assert_eq!(GateCookies::new("doorward", domain, scheme).clear_foreign("old"), expected);
        }
    }
}
