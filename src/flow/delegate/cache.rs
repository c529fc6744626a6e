//! Admissions of an outpost that count for a few seconds (`delegate_cache`).
//!
//! Promises: only of somebody who is named in it, and only for the very cookies that it was given to, at one host.

use std::time::Duration;

use http::{HeaderMap, HeaderName, header};
use moka::sync::Cache;
use percent_encoding::percent_decode_str;

use crate::crypto;

/// Names of headers in which outposts name a person.
static NAMES: [HeaderName; 3] = [
    HeaderName::from_static("x-authentik-username"),
    HeaderName::from_static("x-auth-request-user"),
    HeaderName::from_static("remote-user"),
];

/// Parts of the targets that outposts answer themselves, in lower case.
const OWN_MARKS: [&[u8]; 3] = [b"outpost.goauthentik.io", b"x-authentik-", b"oauth2"];

/// Most admissions that are kept.
const CAPACITY: u64 = 20_000;

/// Admissions by a digest of all that they depend on. One app's, under one configuration.
pub(super) struct AdmissionCache {
    admissions: Cache<[u8; 32], HeaderMap>,
}

impl AdmissionCache {
    pub(super) fn new(time: Duration) -> Self {
        Self { admissions: Cache::builder().max_capacity(CAPACITY).time_to_live(time).build() }
    }

    /// Returns an admission that counts for this target; `None` for what the outpost has to answer itself.
    pub(super) fn get(&self, host: &str, target: &str, sent: &HeaderMap) -> Option<HeaderMap> {
        if is_for_outpost(target) {
            return None;
        }
        self.admissions.get(&key(host, sent)?)
    }

    /// Keeps an admission of somebody who is named. Whom it does not name it has let in by the path alone.
    pub(super) fn keep(&self, host: &str, target: &str, sent: &HeaderMap, headers: &HeaderMap) {
        let is_named = NAMES.iter().any(|name| headers.get(name).is_some_and(|value| !value.is_empty()));
        if let Some(key) = key(host, sent).filter(|_| is_named && !is_for_outpost(target)) {
            self.admissions.insert(key, headers.clone());
        }
    }
}

/// Returns `true` if the outpost may take a target for one of its own, such as `/outpost.goauthentik.io/sign_out` or any path with
/// `X-authentik-logout=true`, in whatever spelling. Too many are only asked about.
fn is_for_outpost(target: &str) -> bool {
    let mut decoded: Vec<u8> = percent_decode_str(target).collect();
    decoded.make_ascii_lowercase();
    OWN_MARKS.iter().any(|mark| decoded.windows(mark.len()).any(|part| part == *mark))
}

/// Returns the digest of host and cookies, each behind its length. `None` where there are no cookies, or another credential decides.
fn key(host: &str, sent: &HeaderMap) -> Option<[u8; 32]> {
    if sent.contains_key(header::AUTHORIZATION) || !sent.contains_key(header::COOKIE) {
        return None;
    }
    let cookies = sent.get_all(header::COOKIE).iter().map(http::HeaderValue::as_bytes);
    let parts = std::iter::once(host.as_bytes()).chain(cookies);
    let joined: Vec<u8> =
        parts.flat_map(|part| (part.len() as u64).to_be_bytes().into_iter().chain(part.iter().copied())).collect();
    Some(crypto::digest(&joined))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn an_admission_counts_for_its_host_and_cookies_and_for_nobody_unnamed() {
        let cache = AdmissionCache::new(Duration::from_mins(1));
        let ann = headers(&[("cookie", "authentik_proxy_1=a")]);
        let named = headers(&[("x-authentik-username", "ann")]);
        cache.keep("a.test", "/", &ann, &headers(&[("x-authentik-username", "")]));
        assert_eq!(
            cache.get("a.test", "/", &ann),
            None,
            "a path that is open to everybody says nothing about the next"
        );
        cache.keep("a.test", "/", &ann, &named);
        assert_eq!(cache.get("a.test", "/", &ann), Some(named.clone()));
        for (host, sent) in [
            ("b.test", ann),
            ("a.test", headers(&[("cookie", "authentik_proxy_1=b")])),
            ("a.test", headers(&[("cookie", "authentik_proxy_1=a"), ("authorization", "Bearer x")])),
            ("a.test", headers(&[])),
        ] {
            assert_eq!(cache.get(host, "/", &sent), None, "{host} {sent:?}");
        }
        cache.keep("a.test", "/", &headers(&[]), &named);
        assert_eq!(cache.get("a.test", "/", &headers(&[])), None);
    }
    #[test]
    fn what_the_outpost_answers_itself_is_asked_of_it() {
        let cache = AdmissionCache::new(Duration::from_mins(1));
        let (ann, named) = (headers(&[("cookie", "authentik_proxy_1=a")]), headers(&[("x-authentik-username", "ann")]));
        let own = [
            "/outpost.goauthentik.io/sign_out",
            "/outpost%2Egoauthentik.io/sign_out",
            "/x?X-authentik-logout=true",
            "/x?a=b&x%2Dauthentik-logout=true",
            "/x?X-authentik-auth-callback=true&code=1",
            "/oauth2/sign_out",
        ];
        for target in own {
            cache.keep("a.test", target, &ann, &named);
        }
        assert_eq!(cache.get("a.test", "/", &ann), None);
        cache.keep("a.test", "/", &ann, &named);
        assert_eq!(cache.get("a.test", "/x?logout=true", &ann), Some(named));
        for target in own {
            assert_eq!(cache.get("a.test", target, &ann), None, "{target}");
        }
    }
}
