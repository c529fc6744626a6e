//! Headers by who may say them to an app: the client, the trusted proxies in front of the gate, the gate alone, or nobody.
//!
//! Promises: a name counts in every spelling that an app could take for it, and a proxy in front is believed in the usual one only.

use crate::policy::headers::{begins_like, is_identity_name, is_spelling_of};

/// Sayer of a header to an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sayer {
    /// The client: the header is the app's and none of the gate's business.
    Client,
    /// A trusted proxy in front of the gate.
    Proxy,
    /// The gate, which says it in its own words or not at all.
    Gate,
    /// Nobody: it belongs to one connection (RFC 9110, section 7.6.1).
    Connection,
}

/// Headers of one connection, beside those that `Connection` names.
const OF_CONNECTION: &[&str] = &[
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Headers that the gate says. Names of the original target are never said: the app has it in its request line, and one that
/// prefers such a header would answer another request than the one that was judged.
const OF_GATE: &[&str] = &[
    "content-length",
    "cookie",
    "expect",
    // RFC 7239: a second account of what `X-Forwarded-*` say, in which no app could tell the gate's part from a client's.
    "forwarded",
    "host",
    // CGI makes it `HTTP_PROXY`, by which programs choose a proxy (CVE-2016-5385).
    "proxy",
    "via",
    "x-forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-method",
    "x-forwarded-path",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-protocol",
    "x-forwarded-scheme",
    "x-forwarded-ssl",
    "x-forwarded-uri",
    "x-original-host",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
];

/// Headers that proxies say of a client.
const OF_PROXIES: &[&str] =
    &["cf-connecting-ip", "fastly-client-ip", "true-client-ip", "x-client-ip", "x-cluster-client-ip"];

/// Beginning of further ones, such as `X-Forwarded-Prefix`.
const OF_PROXIES_PREFIX: &str = "x-forwarded-";

/// Headers of a client that no honest sender calls a connection's: they are for all recipients.
const END_TO_END: &[&str] =
    &["authorization", "cache-control", "content-encoding", "content-range", "content-type", "trailer"];

impl Sayer {
    /// Returns the sayer of a header, in whatever spelling.
    pub(super) fn of(name: &str) -> Self {
        let is_any = |names: &[&str]| names.iter().any(|own| is_spelling_of(name, own));
        if is_any(OF_CONNECTION) {
            Self::Connection
        } else if is_any(OF_GATE) || is_identity_name(name) {
            Self::Gate
        } else if is_any(OF_PROXIES) || begins_like(name, OF_PROXIES_PREFIX) {
            Self::Proxy
        } else {
            Self::Client
        }
    }
}

/// Returns `true` for a header in the spelling that everybody uses.
pub(super) fn is_usual_spelling(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Returns `true` if a client may call a header one of its connection's, so that no app gets it.
pub(super) fn may_be_of_connection(name: &str) -> bool {
    match Sayer::of(name) {
        Sayer::Connection => true,
        Sayer::Client => !END_TO_END.iter().any(|own| is_spelling_of(name, own)),
        Sayer::Proxy | Sayer::Gate => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_header_has_one_sayer_in_every_spelling() {
        use Sayer::{Client, Connection, Gate, Proxy};
        for (name, expected) in [
            ("accept", Client),
            ("authorization", Client),
            ("content-type", Client),
            ("if-none-match", Client),
            ("range", Client),
            ("trailer", Client),
            ("x-http-method-override", Client),
            ("x-webauth-user", Client),
            ("destination", Client),
            ("proxy-status", Client),
            ("host", Gate),
            ("cookie", Gate),
            ("content-length", Gate),
            ("content_length", Gate),
            ("expect", Gate),
            ("forwarded", Gate),
            ("via", Gate),
            ("proxy", Gate),
            ("x-real-ip", Gate),
            ("x_real_ip", Gate),
            ("x-original-url", Gate),
            ("x_original-uri", Gate),
            ("x-rewrite-url", Gate),
            ("x-forwarded-for", Gate),
            ("x_forwarded_for", Gate),
            ("x.forwarded.proto", Gate),
            ("x-forwarded-uri", Gate),
            ("x-forwarded-user", Gate),
            ("remote_user", Gate),
            ("x_authentik_username", Gate),
            ("x-authentik-meta-anything", Gate),
            ("x-auth-request-email", Gate),
            ("doorward-token", Gate),
            ("doorward_reason", Gate),
            ("x-forwarded-prefix", Proxy),
            ("x_forwarded_prefix", Proxy),
            ("x-forwarded-server", Proxy),
            ("x-forwarded-tls-client-cert", Proxy),
            ("true-client-ip", Proxy),
            ("connection", Connection),
            ("transfer-encoding", Connection),
            ("transfer_encoding", Connection),
            ("te", Connection),
            ("upgrade", Connection),
            ("http2-settings", Connection),
            ("proxy-authorization", Connection),
        ] {
            assert_eq!(Sayer::of(name), expected, "{name}");
        }
    }

    #[test]
    fn only_what_may_be_a_connections_can_be_called_so() {
        for (name, may) in [
            ("x-hop", true),
            ("keep-alive", true),
            ("te", true),
            ("upgrade", true),
            ("close", true),
            ("http2-settings", true),
            ("host", false),
            ("cookie", false),
            ("authorization", false),
            ("content-length", false),
            ("content-type", false),
            ("remote-user", false),
            ("remote_user", false),
            ("x-forwarded-for", false),
            ("x-forwarded-prefix", false),
            ("x-real-ip", false),
            ("via", false),
        ] {
            assert_eq!(may_be_of_connection(name), may, "{name}");
        }
    }
}
