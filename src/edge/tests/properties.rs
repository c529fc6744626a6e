//! Whatever an edge or somebody in its place sends, it is read safely or refused.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;

use super::{loopback, request};
use crate::edge::{Edge, asked_host, field::is_method, read};

fn header() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let name = prop::sample::select(vec![
        "host",
        "x-forwarded-method",
        "x-forwarded-host",
        "x-forwarded-uri",
        "x-forwarded-for",
        "x-original-url",
        "x-original-method",
        "accept",
        "sec-fetch-mode",
    ]);
    let value = prop_oneof![
        "(https?://)?[a-zA-Z0-9.:@\\[\\]-]{0,12}[/?#\\\\%a-z.]{0,12}".prop_map(String::into_bytes),
        "[A-Za-z]{1,6}".prop_map(String::into_bytes),
        "([0-9a-f.:]{0,9}[, ]?){0,4}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..24),
    ];
    (name, value)
}

proptest! {
    #[test]
    fn what_is_read_fits_on_a_request_line(
        lines in prop::collection::vec(header(), 0..12),
        method in "[A-Za-z]{1,7}",
        target in "\\PC{0,20}",
    ) {
        let mut parts = request("GET", &[]);
        parts.method = Method::from_bytes(method.as_bytes()).unwrap();
        parts.headers = lines
            .iter()
            .filter_map(|(name, value)| Some((HeaderName::from_static(name), HeaderValue::from_bytes(value).ok()?)))
            .collect::<HeaderMap>();
        let proxies = loopback();
        let peer = proxies.admit("127.0.0.1".parse().unwrap()).unwrap();
        let _ = asked_host(&parts);
        for edge in Edge::ALL {
            if let Ok(asked) = read(*edge, peer, &parts, &target) {
                prop_assert!(asked.target.starts_with('/') && asked.path().starts_with('/'));
                prop_assert!(!asked.target.bytes().any(|byte| byte <= b' ' || byte == 0x7f));
                prop_assert!(asked.method.is_none_or(is_method));
                prop_assert!(!asked.authority.host().bytes().any(|byte| byte.is_ascii_uppercase()));
            }
        }
    }
}
