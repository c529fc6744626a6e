//! Heads that pass between clients and apps in reverse-proxy mode.
//!
//! Promises: nothing that belongs to one connection passes to the other (RFC 9110, section 7.6.1), and no client tells an app who
//! it is or where it comes from, in any spelling.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{cookie::GateCookies, policy::headers::DOORWARD_EMERGENCY, upstream};

/// Longest `Cookie` header that is passed on: as long as a request's header may be.
const MAX_COOKIES: usize = 64 << 10;

/// Headers of one connection, beside those that `Connection` names. Lengths and framing are said anew.
const OF_CONNECTION: &[&str] = &[
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers of a request that the gate says itself, with `_` folded to `-`.
const SAID_ANEW: &[&str] = &["content-length", "cookie", "expect", "forwarded", "host", "x-real-ip"];

/// Beginning of the names of further ones.
const FORWARDED: &str = "x-forwarded-";

/// What the gate says of a request in its own words.
pub(super) struct ForwardedHead<'a> {
    pub(super) scheme: &'static str,
    pub(super) authority: &'a str,
    pub(super) peer: IpAddr,
    /// Whether the peer is a trusted proxy, whose `X-Forwarded-For` goes on.
    pub(super) is_trusted: bool,
    pub(super) jar: &'a GateCookies,
}

impl ForwardedHead<'_> {
    /// Returns the headers for the app: the client's, with the identity headers of its admission.
    pub(super) fn request(&self, sent: &HeaderMap, identity: HeaderMap) -> Result<HeaderMap, upstream::Error> {
        let unusable = |what: &str| upstream::Error::Request(format!("has {what} that cannot be passed on"));
        let mut client = sent.clone();
        remove_connection_headers(&mut client);
        let mut headers = HeaderMap::with_capacity(client.len() + identity.len() + 4);
        let is_emergency = identity.get(&DOORWARD_EMERGENCY).is_some_and(|value| !value.is_empty());
        for (name, value) in &client {
            let is_password = is_emergency && name == header::AUTHORIZATION;
            if !is_said_anew(name) && !is_password && !is_spelling_of_any(name, &identity) {
                headers.append(name.clone(), value.clone());
            }
        }
        let cookies = self.jar.forwarded(sent, MAX_COOKIES).ok_or_else(|| unusable("cookies"))?;
        if !cookies.is_empty() {
            headers.insert(header::COOKIE, cookies);
        }
        for (name, value) in identity.iter().filter(|(name, _)| **name != header::COOKIE) {
            headers.insert(name.clone(), value.clone());
        }
        let value = |text: &str| HeaderValue::from_str(text).map_err(|_| unusable("a host"));
        headers.insert(header::HOST, value(self.authority)?);
        headers.insert(HeaderName::from_static("x-forwarded-host"), value(self.authority)?);
        headers.insert(HeaderName::from_static("x-forwarded-proto"), HeaderValue::from_static(self.scheme));
        headers.insert(HeaderName::from_static("x-forwarded-for"), value(&self.hops(sent))?);
        Ok(headers)
    }

    /// Returns `X-Forwarded-For`: the peer, behind what it says where it is trusted.
    fn hops(&self, sent: &HeaderMap) -> String {
        let told = sent.get_all("x-forwarded-for").iter().filter(|_| self.is_trusted);
        let mut hops: Vec<_> = told.filter_map(|line| line.to_str().ok()).map(str::to_owned).collect();
        hops.push(self.peer.to_canonical().to_string());
        hops.join(", ")
    }
}

/// Removes the headers of one connection: those that are always, and those that `Connection` names.
pub(super) fn remove_connection_headers(headers: &mut HeaderMap) {
    let lines = headers.get_all(header::CONNECTION).iter().filter_map(|line| line.to_str().ok());
    let named: Vec<_> =
        lines.flat_map(|line| line.split(',')).filter_map(|name| name.trim().parse::<HeaderName>().ok()).collect();
    for name in named {
        headers.remove(name);
    }
    for name in OF_CONNECTION {
        headers.remove(*name);
    }
}

fn is_said_anew(name: &HeaderName) -> bool {
    let folded = name.as_str().replace('_', "-");
    SAID_ANEW.contains(&folded.as_str()) || folded.starts_with(FORWARDED)
}

/// Returns `true` for a name that an app could take for one of the identity headers: apps fold punctuation (CGI, WSGI).
fn is_spelling_of_any(name: &HeaderName, identity: &HeaderMap) -> bool {
    let folded = |byte: u8| if byte.is_ascii_alphanumeric() { byte } else { b'-' };
    let is_same = |other: &HeaderName| name.as_str().bytes().map(folded).eq(other.as_str().bytes().map(folded));
    identity.keys().any(is_same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_connection_is_removed_with_what_it_names() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("connection", "close, x-hop"), ("x-hop", "1"), ("te", "trailers"), ("x-end", "2")] {
            headers.append(name, HeaderValue::from_static(value));
        }
        remove_connection_headers(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-end"]);
    }

    #[test]
    fn a_client_says_nothing_of_itself_in_any_spelling() {
        let mut identity = HeaderMap::new();
        identity.insert("remote-user", HeaderValue::from_static("ann"));
        for name in ["remote-user", "remote_user", "remote.user"] {
            assert!(is_spelling_of_any(&HeaderName::from_static(name), &identity), "{name}");
        }
        assert!(!is_spelling_of_any(&HeaderName::from_static("remote-users"), &identity));
        for name in ["x-forwarded-for", "x_forwarded_proto", "x_real_ip", "forwarded", "host", "content_length"] {
            assert!(is_said_anew(&HeaderName::from_static(name)), "{name}");
        }
    }
}
