//! Requests that another site may have made in a person's name: cross-site request forgery, cross-site WebSocket hijacking.
//!
//! Promises: doubt counts against the request. A sibling below the same domain is another site here, because `SameSite=Lax`
//! stops nothing between siblings.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::request::AuthRequest;
use crate::host::Authority;

static SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
static SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Returns `true` if a request changes something or opens a socket, and did not come from the requested origin.
///
/// A program sends neither `Sec-Fetch-Site` nor `Origin`; every browser sends one of them with such requests. Scheme and port
/// are parts of an origin (RFC 6454, section 4). `scheme` is the configured one.
#[must_use]
pub fn is_cross_site(request: &AuthRequest<'_>, scheme: &str) -> bool {
    (changes_something(request.method) || opens_socket(request.headers))
        && !comes_from(scheme, &request.authority, request.headers)
}

/// Returns `true` but for the methods that browsers send across sites by themselves and that change nothing (RFC 9110, section
/// 9.2.1). `TRACE` is not among them: no browser sends it. A method that the edge does not tell may be any.
fn changes_something(method: Option<&str>) -> bool {
    !matches!(method, Some("GET" | "HEAD" | "OPTIONS"))
}

/// Returns `true` for an upgrade. Edges that do not pass on `Upgrade` pass on what browsers send beside it, and over HTTP/2 in
/// place of it (RFC 8441).
fn opens_socket(headers: &HeaderMap) -> bool {
    let is_socket = |name| headers.get_all(name).iter().any(|value| value == "websocket");
    headers.contains_key(header::UPGRADE)
        || headers.contains_key(header::SEC_WEBSOCKET_VERSION)
        || headers.contains_key(header::SEC_WEBSOCKET_KEY)
        || is_socket(&SEC_FETCH_MODE)
        || is_socket(&SEC_FETCH_DEST)
}

/// Returns `true` if neither header speaks against the requested origin. Each may occur once.
fn comes_from(scheme: &str, authority: &Authority<'_>, headers: &HeaderMap) -> bool {
    let holds = |name: &HeaderName, is_own: &dyn Fn(&HeaderValue) -> bool| {
        let mut lines = headers.get_all(name).iter();
        lines.next().is_none_or(is_own) && lines.next().is_none()
    };
    holds(&SEC_FETCH_SITE, &|site| site == "same-origin" || site == "none")
        && holds(&header::ORIGIN, &|origin| origin.to_str().is_ok_and(|text| is_origin(text, scheme, authority)))
}

/// Compares a serialized origin (RFC 6454, section 6.2) with the requested one. `null` is nobody's.
fn is_origin(text: &str, scheme: &str, authority: &Authority<'_>) -> bool {
    let Some((own, host)) = text.split_once("://") else { return false };
    own.eq_ignore_ascii_case(scheme)
        && Authority::parse(host).is_ok_and(|named| named.without_default_port(scheme) == *authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns `true` if a request to this host with these lines is taken for another site's.
    fn is_foreign(method: Option<&str>, host: &str, scheme: &str, lines: &[(&str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let authority = Authority::parse(host).unwrap().without_default_port(scheme);
        (changes_something(method) || opens_socket(&headers)) && !comes_from(scheme, &authority, &headers)
    }

    const ELSEWHERE: (&str, &str) = ("sec-fetch-site", "cross-site");

    #[test]
    fn what_changes_nothing_is_nobody_s_forgery_and_an_unknown_method_may_change_something() {
        let of = |method| is_foreign(method, "app.example.com", "https", &[ELSEWHERE]);
        for method in ["GET", "HEAD", "OPTIONS"] {
            assert!(!of(Some(method)), "{method}");
        }
        for method in ["POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND", "QUERY", "X-1"] {
            assert!(of(Some(method)), "{method}");
        }
        assert!(of(None));
    }

    #[test]
    fn a_socket_is_known_by_whatever_its_edge_passes_on() {
        for socket in [
            ("upgrade", "websocket"),
            ("upgrade", "WebSocket"),
            ("upgrade", "h2c, websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "x"),
            ("sec-fetch-mode", "websocket"),
            ("sec-fetch-dest", "websocket"),
        ] {
            assert!(is_foreign(Some("GET"), "app.example.com", "https", &[socket, ELSEWHERE]), "{socket:?}");
            let own = ("origin", "https://app.example.com");
            assert!(!is_foreign(Some("GET"), "app.example.com", "https", &[socket, own]), "{socket:?}");
        }
    }

    #[test]
    fn only_the_person_and_the_own_origin_are_no_other_site() {
        for (lines, expected) in [
            (&[][..], false),
            (&[("sec-fetch-site", "same-origin")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "same-site")], true),
            (&[("sec-fetch-site", "cross-site")], true),
            (&[("sec-fetch-site", "Same-Origin")], true),
            (&[("sec-fetch-site", "same-origin, cross-site")], true),
            (&[("sec-fetch-site", "")], true),
            (&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], true),
            (&[("sec-fetch-site", "same-origin"), ("origin", "https://app.example.com")], false),
            (&[("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")], true),
            (&[("sec-fetch-site", "none"), ("origin", "https://evil.example")], true),
            (&[("sec-fetch-site", "cross-site"), ("origin", "https://app.example.com")], true),
            (&[("origin", "https://app.example.com"), ("origin", "https://app.example.com")], true),
            (&[("referer", "https://evil.example/")], false),
        ] {
            assert_eq!(is_foreign(Some("POST"), "app.example.com", "https", lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for (host, scheme, origin, is_own) in [
            ("app.example.com", "https", "https://app.example.com", true),
            ("APP.example.com:443", "https", "https://app.example.com", true),
            ("app.example.com", "https", "https://app.example.com:443", true),
            ("app.example.com", "https", "HTTPS://App.Example.Com", true),
            ("app.example.com:8443", "https", "https://app.example.com:8443", true),
            ("app.example.com", "http", "http://app.example.com:80", true),
            ("[::1]:9000", "http", "http://[::1]:9000", true),
            ("[2001:DB8::1]", "https", "https://[2001:db8::1]", true),
            ("app.example.com", "https", "http://app.example.com", false),
            ("app.example.com", "https", "wss://app.example.com", false),
            ("app.example.com", "https", "https://app.example.com:8443", false),
            ("app.example.com:8443", "https", "https://app.example.com", false),
            ("app.example.com", "https", "https://app.example.com:80", false),
            ("app.example.com", "https", "https://sub.app.example.com", false),
            ("app.example.com", "https", "https://example.com", false),
            ("app.example.com", "https", "https://app.example.com.evil.example", false),
            ("app.example.com", "https", "https://app.example.com@evil.example", false),
            ("app.example.com", "https", "https://app.example.com/", false),
            ("app.example.com", "https", "https://app.example.com https://evil.example", false),
            ("app.example.com", "https", "app.example.com", false),
            ("app.example.com", "https", "//app.example.com", false),
            ("app.example.com", "https", "null", false),
            ("app.example.com", "https", "", false),
            ("[::1]:9000", "http", "http://[::1]:9001", false),
        ] {
            assert_eq!(!is_foreign(Some("POST"), host, scheme, &[("origin", origin)]), is_own, "{host} {origin}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_taken_for_the_own_origin_is_so_to_browsers(
            text in "(https?|HTTPS|wss|null)(://|:/|:)(app|APP|x@app|app[.]example)[.]example[.]com[.]?(:443|:80|:0443|:8443|:|/|%2e|[ -~]{0,3})?"
        ) {
            use url::Url;
            let own = Url::parse("https://app.example.com").unwrap().origin();
            if is_origin(&text, "https", &Authority::parse("app.example.com").unwrap()) {
                let named = Url::parse(&text.replacen(".com.", ".com", 1)).unwrap();
                proptest::prop_assert_eq!(named.origin(), own, "{}", text);
                proptest::prop_assert_eq!((named.path(), named.username()), ("/", ""), "{}", text);
            }
        }
    }
}
