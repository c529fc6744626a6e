//! Cookies on the wire: finding ours in the request's `Cookie` lines, and making the `Set-Cookie` lines.
//!
//! It knows names and attributes, never what a value means.

use std::time::Duration;

use bytes::Bytes;
use cookie::{Cookie, SameSite};
use http::{HeaderMap, HeaderValue, header};

/// The names and attributes of the gate's two cookies, settled at start.
#[derive(Clone, Debug)]
pub struct Jar {
    session: String,
    login: String,
    domain: Option<Domain>,
    transport: Transport,
}

/// The domain that shares cookies.
#[derive(Clone, Debug)]
struct Domain {
    name: String,
    /// Behind a dot, as no host is written.
    below: String,
}

/// Whether browsers reach the protected hosts over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `https`: cookies are `Secure` and carry a name prefix that browsers enforce.
    Https,
    /// `http`, for a laboratory: neither prefix nor `Secure`, which browsers would refuse.
    Http,
}

impl Jar {
    /// Cookies called after `name`. With a `domain` they are shared by every host below it, without one they belong to
    /// the host that set them.
    #[must_use]
    pub fn new(name: &str, domain: Option<&str>, transport: Transport) -> Self {
        // RFC 6265bis, section 4.1.3: `__Host-` forbids a domain, so a shared cookie can only have `__Secure-`.
        let prefix = match (transport, domain) {
            (Transport::Http, _) => "",
            (Transport::Https, None) => "__Host-",
            (Transport::Https, Some(_)) => "__Secure-",
        };
        Self {
            session: format!("{prefix}{name}"),
            login: format!("{prefix}{name}_login"),
            domain: domain.map(|name| Domain { name: name.to_owned(), below: format!(".{name}") }),
            transport,
        }
    }

    /// Where cookies of this folded host count: in the domain that shares them, behind a dot, or at the host alone.
    #[must_use]
    pub fn audience<'a>(&'a self, host: &'a str) -> &'a str {
        let shared = self.domain.as_ref().filter(|domain| host == domain.name || host.ends_with(&domain.below));
        shared.map_or(host, |domain| &domain.below)
    }

    /// The full name of the session cookie.
    #[must_use]
    pub fn session_name(&self) -> &str {
        &self.session
    }

    /// The full name of the login cookie.
    #[must_use]
    pub fn login_name(&self) -> &str {
        &self.login
    }

    /// All that a request carries in its `Cookie` lines but the gate's own cookies, in one line. The others are there byte for
    /// byte, in their order, and lines are joined by `; `. `None` where they take more than `most` bytes.
    #[must_use]
    pub fn others(&self, headers: &HeaderMap, most: usize) -> Option<HeaderValue> {
        let lines = headers.get_all(header::COOKIE);
        let is_own = |pair: &[u8]| {
            let name = memchr::memchr(b'=', pair).and_then(|end| pair.get(..end));
            // What is no pair may be a name that a server reads with nothing behind it.
            let name = name.unwrap_or(pair).trim_ascii();
            name == self.session.as_bytes() || name == self.login.as_bytes()
        };
        let mut others = Vec::with_capacity(lines.iter().map(|line| line.len() + 2).sum());
        for line in lines {
            let (begun, mut kept) = (others.len(), 0_usize);
            for pair in pairs(line.as_bytes()).filter(|pair| !is_own(pair)) {
                let (joint, pair): (&[u8], _) = match (kept, begun) {
                    // What stood before the first of a line parted it from another one, or from nothing.
                    (0, 0) => (b"", pair.trim_ascii_start()),
                    (0, _) => (b"; ", pair.trim_ascii_start()),
                    _ => (b";", pair),
                };
                others.extend_from_slice(joint);
                others.extend_from_slice(pair);
                kept += 1;
            }
        }
        if others.len() > most { None } else { HeaderValue::from_maybe_shared(Bytes::from(others)).ok() }
    }

    /// A `Set-Cookie` line for the session.
    #[must_use]
    pub fn set_session(&self, value: &str, lifetime: Duration) -> HeaderValue {
        self.line(&self.session, value, lifetime)
    }

    /// A `Set-Cookie` line for the sign-ins under way.
    #[must_use]
    pub fn set_login(&self, value: &str, lifetime: Duration) -> HeaderValue {
        self.line(&self.login, value, lifetime)
    }

    /// A `Set-Cookie` line that removes the session cookie.
    #[must_use]
    pub fn clear_session(&self) -> HeaderValue {
        self.line(&self.session, "", Duration::ZERO)
    }

    /// A `Set-Cookie` line that removes the login cookie.
    #[must_use]
    pub fn clear_login(&self) -> HeaderValue {
        self.line(&self.login, "", Duration::ZERO)
    }

    /// `Set-Cookie` lines that remove a foreign cookie of this host, and of the shared domain where there is one.
    #[must_use]
    pub fn clear_foreign(&self, name: &str) -> Vec<HeaderValue> {
        let own_host = Cookie::build((name.to_owned(), ""))
            .path("/")
            // Browsers take no line for `__Host-…` or `__Secure-…` without it, not even one that removes.
            .secure(self.transport == Transport::Https)
            .max_age(cookie::time::Duration::ZERO);
        let shared = self.domain.as_ref().map(|domain| own_host.clone().domain(domain.name.clone()));
        std::iter::once(own_host).chain(shared).filter_map(|line| header_value(&line.build())).collect()
    }

    /// A cookie is removed only by a line with the attributes that it was set with, so there is one way to make both.
    fn line(&self, name: &str, value: &str, lifetime: Duration) -> HeaderValue {
        let mut line = Cookie::build((name, value))
            .path("/")
            .http_only(true)
            .same_site(SameSite::Lax)
            .secure(self.transport == Transport::Https)
            .max_age(lifetime.try_into().unwrap_or(cookie::time::Duration::MAX));
        if let Some(domain) = &self.domain {
            line = line.domain(&domain.name);
        }
        header_value(&line.build()).unwrap_or_else(|| HeaderValue::from_static(""))
    }
}

fn header_value(line: &Cookie<'_>) -> Option<HeaderValue> {
    HeaderValue::from_str(&line.to_string()).ok()
}

/// Every value that the request carries under exactly this name, in the order of arrival, over all `Cookie` lines.
///
/// A browser may send a name several times (another path, another domain), so callers try each one. Splits on `;` only:
/// some edges fold lines with a comma, and such a value is then simply none of ours.
pub fn values<'r>(headers: &'r HeaderMap, name: &'r str) -> impl Iterator<Item = &'r [u8]> {
    headers.get_all(header::COOKIE).into_iter().flat_map(move |line| {
        pairs(line.as_bytes()).filter_map(move |pair| {
            let rest = pair.trim_ascii_start().strip_prefix(name.as_bytes())?;
            Some(rest.strip_prefix(b"=")?.trim_ascii_end())
        })
    })
}

/// What stands between semicolons. An app's cookies are long, and this looks at many of their bytes at once.
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

/// The names of all cookies in the request, for `/reset`.
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
        let (own, shared) = (Jar::new("doorward", None, Transport::Https), jar(Some("example.com")));
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

    fn jar(domain: Option<&str>) -> Jar {
        Jar::new("doorward", domain, Transport::Https)
    }

    #[test]
    fn what_is_not_ours_goes_on_as_it_came() {
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
            let others = jar(None).others(&request(&lines), 1_000).unwrap();
            assert_eq!(others.as_bytes(), expected.as_bytes(), "{lines:?}");
        }
    }

    #[test]
    fn what_is_too_long_is_not_cut() {
        let headers = request(&["a=12345678", "__Host-doorward=0123456789", "b=2"]);
        assert_eq!(jar(None).others(&headers, 15).unwrap(), "a=12345678; b=2");
        assert_eq!(jar(None).others(&headers, 14), None);
    }

    proptest::proptest! {
        #[test]
        fn ours_are_never_among_the_others_and_these_are_all_there(
            lines in proptest::collection::vec("(__Host-doorward(_login)?=s;?|[ab]=|[ab=; \t]){0,12}", 0..4),
        ) {
            let lines: Vec<_> = lines.iter().map(String::as_str).collect();
            let (headers, jar) = (request(&lines), jar(None));
            let others = HeaderMap::from_iter([(header::COOKIE, jar.others(&headers, usize::MAX).unwrap())]);
            for own in [jar.session_name(), jar.login_name()] {
                proptest::prop_assert_eq!(values(&others, own).count(), 0);
            }
            for name in ["a", "b"] {
                let (before, after): (Vec<_>, Vec<_>) = (values(&headers, name).collect(), values(&others, name).collect());
                proptest::prop_assert_eq!(before, after);
            }
        }
    }

    #[test]
    fn the_prefix_says_whose_cookie_it_is() {
        for (domain, transport, name) in [
            (None, Transport::Https, "__Host-doorward"),
            (Some("example.com"), Transport::Https, "__Secure-doorward"),
            (None, Transport::Http, "doorward"),
            (Some("example.com"), Transport::Http, "doorward"),
        ] {
            assert_eq!(Jar::new("doorward", domain, transport).session_name(), name);
        }
    }

    #[test]
    fn a_cookie_is_removed_with_the_attributes_it_was_set_with() {
        let jar = Jar::new("doorward", Some("example.com"), Transport::Https);
        let set = jar.set_session("v", Duration::from_mins(1));
        let cleared = jar.clear_session();
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
    fn a_foreign_cookie_is_removed_from_the_host_and_from_the_shared_domain() {
        for (domain, transport, expected) in [
            (None, Transport::Http, vec!["old=; Path=/; Max-Age=0"]),
            (None, Transport::Https, vec!["old=; Secure; Path=/; Max-Age=0"]),
            (
                Some("example.com"),
                Transport::Https,
                vec!["old=; Secure; Path=/; Max-Age=0", "old=; Secure; Path=/; Domain=example.com; Max-Age=0"],
            ),
        ] {
            assert_eq!(Jar::new("doorward", domain, transport).clear_foreign("old"), expected);
        }
    }
}
