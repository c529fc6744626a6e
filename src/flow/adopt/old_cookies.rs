//! Cookies of an old outpost in a request.
//!
//! Promises: none of the gate's own cookies is among them; what is too long or too many is none.

use http::{HeaderMap, HeaderValue, header};

use crate::{cookie, identity::Registration, session::OldCookies};

/// Beginning of their names; a digest of the client id follows.
const PREFIX: &[u8] = b"authentik_proxy_";

/// The most of them in one request: one for each path, domain and provider.
const MAX_COOKIES: usize = 8;

/// The most bytes of all of them, names included.
const MAX_LENGTH: usize = 8 << 10;

/// Cookies of an old outpost, as a browser sent them.
pub(super) struct SentCookies<'r>(Vec<(&'r [u8], &'r [u8])>);

impl<'r> SentCookies<'r> {
    /// Reads them from a request; `None` where it has none that can be passed on.
    pub(super) fn of(headers: &'r HeaderMap) -> Option<Self> {
        if !headers.contains_key(header::COOKIE) {
            return None;
        }
        let own: Vec<_> = cookie::pairs(headers)
            .filter(|(name, value)| name.len() > PREFIX.len() && name.starts_with(PREFIX) && !value.is_empty())
            .take(MAX_COOKIES + 1)
            .collect();
        let length: usize = own.iter().map(|(name, value)| name.len() + value.len()).sum();
        ((1..=MAX_COOKIES).contains(&own.len()) && length <= MAX_LENGTH).then_some(Self(own))
    }

    /// Returns what sessions know them by, at a host and for a registration.
    pub(super) fn at(&self, host: &str, registration: Registration) -> OldCookies {
        OldCookies::new(host, registration, &self.0)
    }

    /// Returns the header that passes them on, in their order; `None` where a byte of them may not be in one.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        let pairs: Vec<_> = self.0.iter().map(|(name, value)| [*name, b"=", *value].concat()).collect();
        HeaderValue::from_bytes(&pairs.join(b"; ".as_slice())).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (header::COOKIE, HeaderValue::from_str(line).unwrap())).collect()
    }

    fn digest(line: &str, host: &str, registration: u8) -> [u8; 32] {
        SentCookies::of(&request(&[line])).unwrap().at(host, Registration([registration; 8])).digest()
    }

    #[test]
    fn only_cookies_of_the_outpost_are_passed_on_in_their_order() {
        let headers = request(&["a=1; authentik_proxy_b=x=y; __Host-doorward=secret", "authentik_proxy_a=2"]);
        assert_eq!(SentCookies::of(&headers).unwrap().header().unwrap(), "authentik_proxy_b=x=y; authentik_proxy_a=2");
        let many = "authentik_proxy_a=1;".repeat(MAX_COOKIES + 1);
        let long = format!("authentik_proxy_a={}", "x".repeat(MAX_LENGTH));
        for none in ["", "a=1", "authentik_proxy_=1", "authentik_proxy_a=", "xauthentik_proxy_a=1", &many, &long] {
            assert!(SentCookies::of(&request(&[none])).is_none(), "{none}");
        }
    }

    #[test]
    fn the_same_cookies_in_another_order_are_the_same_and_nothing_else_is() {
        let one = digest("authentik_proxy_a=1; authentik_proxy_b=2", "app.test", 1);
        assert_eq!(one, digest("authentik_proxy_b=2; x=y; authentik_proxy_a=1", "app.test", 1));
        let others = [
            digest("authentik_proxy_a=1; authentik_proxy_b=2", "app.test", 2),
            digest("authentik_proxy_a=1; authentik_proxy_b=2", "app.tes", 1),
            digest("authentik_proxy_a=1authentik_proxy_b; authentik_proxy_b=2", "app.test", 1),
            digest("authentik_proxy_a=1", "app.test", 1),
            digest("authentik_proxy_a=2; authentik_proxy_b=1", "app.test", 1),
            digest("authentik_proxy_ab=1; authentik_proxy_=2; authentik_proxy_b=2", "app.test", 1),
        ];
        for (place, other) in others.iter().enumerate() {
            assert_ne!(&one, other, "{place}");
        }
    }
}
