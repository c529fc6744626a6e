//! Headers between client, gate and app: those that pass, those that are removed, and those that the edge sets.
//!
//! This protects apps that trust identity headers: of all that some framework could accept as one, only those of the
//! gate's response reach the app. Pure and synchronous.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};

/// Prefixes of normalised names of identity headers.
const IDENTITY_PREFIXES: [&str; 3] = ["remote-", "x-authentik-", "x-auth-request-"];

/// Prefixes of normalised names of headers that only the edge may set.
const FORWARDING_PREFIXES: [&str; 5] = ["x-forwarded-", "x-original-", "x-real-ip", "x-rewrite-url", "forwarded"];

/// Headers that belong to one connection (RFC 9110, section 7.6.1), and those that only make sense with it.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::PROXY_AUTHORIZATION,
    header::PROXY_AUTHENTICATE,
    header::EXPECT,
];

/// Returns `true` if some framework would accept a header of this name as an identity header. CGI and its descendants turn
/// every character but letters and digits into an underscore, so `X_Authentik.Username` is `X-authentik-username`.
pub(in crate::cli::demo) fn is_identity_header(name: &HeaderName) -> bool {
    let name = normalised(name);
    IDENTITY_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn is_forwarding_header(name: &HeaderName) -> bool {
    let name = normalised(name);
    FORWARDING_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn normalised(name: &HeaderName) -> String {
    name.as_str().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

/// A request as the edge received it, independent of its forwarding headers.
pub(super) struct ObservedRequest {
    host: HeaderValue,
    target: HeaderValue,
    method: HeaderValue,
    client: HeaderValue,
    port: HeaderValue,
}

impl ObservedRequest {
    /// Reads the request, which must name one host and a path: anything else could be read in two ways.
    pub(super) fn read(request: &Parts, client: IpAddr, port: u16) -> Result<Self, &'static str> {
        let mut hosts = request.headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err("a request needs exactly one Host");
        };
        if request.uri.authority().is_some() {
            return Err("this is no forward proxy: the target must begin with a slash");
        }
        let target = request.uri.path_and_query().map(http::uri::PathAndQuery::as_str).unwrap_or_default();
        if !target.starts_with('/') {
            return Err("the target must begin with a slash");
        }
        Ok(Self {
            host: host.clone(),
            target: HeaderValue::from_bytes(target.as_bytes()).map_err(|_| "the target holds a control character")?,
            method: HeaderValue::from_str(request.method.as_str()).map_err(|_| "the method is not a word")?,
            client: HeaderValue::from_str(&client.to_canonical().to_string())
                .map_err(|_| "the client has no address")?,
            port: HeaderValue::from(port),
        })
    }

    /// Returns `Host` as it was sent, including the port.
    pub(super) fn host(&self) -> Option<&str> {
        self.host.to_str().ok()
    }

    /// Returns the headers of the subrequest: the client's, with forwarding headers that describe the received request.
    pub(super) fn subrequest_headers(&self, client: &HeaderMap) -> HeaderMap {
        let mut headers = self.forwarded(client);
        for gone in [header::HOST, header::CONTENT_LENGTH] {
            headers.remove(gone);
        }
        headers.insert("x-forwarded-method", self.method.clone());
        headers.insert("x-forwarded-uri", self.target.clone());
        headers
    }

    /// Returns the headers of the request to the app: the client's without identity headers, and those of the gate.
    pub(super) fn app_headers(&self, client: &HeaderMap, verdict: &HeaderMap) -> HeaderMap {
        let mut headers = self.forwarded(client);
        for (name, value) in verdict.iter().filter(|(name, _)| is_identity_header(name)) {
            headers.append(name, value.clone());
        }
        headers
    }

    fn forwarded(&self, client: &HeaderMap) -> HeaderMap {
        let mut headers = client.clone();
        strip_hop_by_hop(&mut headers);
        strip(&mut headers, |name| is_identity_header(name) || is_forwarding_header(name));
        for (name, value) in [
            ("x-forwarded-for", &self.client),
            ("x-forwarded-host", &self.host),
            ("x-forwarded-port", &self.port),
            ("x-real-ip", &self.client),
        ] {
            headers.insert(name, value.clone());
        }
        headers.insert("x-forwarded-proto", HeaderValue::from_static("http"));
        headers
    }
}

/// Removes hop-by-hop headers, including those that `Connection` nominates.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let nominated: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    // Headers that address and frame the request cannot be nominated: otherwise two parties would read different messages.
    let kept = [header::HOST, header::CONTENT_LENGTH, header::COOKIE];
    strip(headers, |name| {
        let own = HOP_BY_HOP.contains(name) || matches!(name.as_str(), "keep-alive" | "proxy-connection");
        own || (nominated.iter().any(|nominated| nominated == name.as_str()) && !kept.contains(name))
    });
}

fn strip(headers: &mut HeaderMap, gone: impl Fn(&HeaderName) -> bool) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| gone(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(target: &str, headers: &[(&str, &str)]) -> Parts {
        let request = headers
            .iter()
            .fold(Request::get(target).header("host", "notes.localhost:8080"), |request, (name, value)| {
                request.header(*name, *value)
            });
        request.body(()).unwrap().into_parts().0
    }

    fn seen(parts: &Parts) -> ObservedRequest {
        ObservedRequest::read(parts, IpAddr::from([127, 0, 0, 1]), 8080).unwrap()
    }

    #[test]
    fn every_spelling_of_an_identity_header_is_recognised() {
        for (name, speaks) in [
            ("remote-user", true),
            ("Remote_User", true),
            ("remote.groups", true),
            ("x-authentik-username", true),
            ("X_Authentik_Username", true),
            ("x-authentik.username", true),
            ("x~authentik~groups", true),
            ("x!authentik!jwt", true),
            ("x-auth-request-email", true),
            ("X_AUTH_REQUEST_EMAIL", true),
            ("x-remote-controlled", false),
            ("user-agent", false),
            ("authorization", false),
        ] {
            assert_eq!(is_identity_header(&name.parse().unwrap()), speaks, "{name}");
        }
    }

    #[test]
    fn only_identity_headers_of_the_gate_reach_the_app() {
        let request = parts(
            "/",
            &[
                ("remote-user", "root"),
                ("remote_user", "root"),
                ("x.authentik.username", "root"),
                ("x-auth-request-groups", "admins"),
                ("connection", "x-forwarded-host, accept-language, cookie, host"),
                ("accept-language", "en"),
                ("cookie", "doorward=1"),
                ("upgrade", "websocket"),
            ],
        );
        let mut verdict = HeaderMap::new();
        verdict.append("remote-user", HeaderValue::from_static("alice"));
        verdict.append("remote-name", HeaderValue::from_static(""));
        verdict.append("set-cookie", HeaderValue::from_static("doorward=2"));
        let admitted = seen(&request).app_headers(&request.headers, &verdict);
        let mut names: Vec<_> = admitted.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                ("cookie", "doorward=1"),
                ("host", "notes.localhost:8080"),
                ("remote-name", ""),
                ("remote-user", "alice"),
                ("x-forwarded-for", "127.0.0.1"),
                ("x-forwarded-host", "notes.localhost:8080"),
                ("x-forwarded-port", "8080"),
                ("x-forwarded-proto", "http"),
                ("x-real-ip", "127.0.0.1"),
            ]
        );
    }

    #[test]
    fn the_subrequest_describes_the_received_request_and_not_the_clients_headers() {
        let request = parts(
            "/a%2Fb?x=1&y",
            &[
                ("x-forwarded-host", "admin.localhost"),
                ("x-forwarded-uri", "/public"),
                ("x_forwarded_method", "OPTIONS"),
                ("x-original-url", "http://admin.localhost/"),
                ("forwarded", "host=admin.localhost"),
                ("content-length", "5"),
                ("sec-fetch-mode", "navigate"),
            ],
        );
        let headers = seen(&request).subrequest_headers(&request.headers);
        let mut sent: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        sent.sort_unstable();
        assert_eq!(
            sent,
            [
                ("sec-fetch-mode", "navigate"),
                ("x-forwarded-for", "127.0.0.1"),
                ("x-forwarded-host", "notes.localhost:8080"),
                ("x-forwarded-method", "GET"),
                ("x-forwarded-port", "8080"),
                ("x-forwarded-proto", "http"),
                ("x-forwarded-uri", "/a%2Fb?x=1&y"),
                ("x-real-ip", "127.0.0.1"),
            ]
        );
    }

    #[test]
    fn an_ambiguous_request_is_refused() {
        let here = IpAddr::from([127, 0, 0, 1]);
        let absolute = parts("http://admin.localhost/", &[]);
        assert!(ObservedRequest::read(&absolute, here, 8080).is_err());
        let two_hosts = parts("/", &[("host", "admin.localhost")]);
        assert!(ObservedRequest::read(&two_hosts, here, 8080).is_err());
        let (no_host, ()) = Request::get("/").body(()).unwrap().into_parts();
        assert!(ObservedRequest::read(&no_host, here, 8080).is_err());
        let asterisk = parts("*", &[]);
        assert!(ObservedRequest::read(&asterisk, here, 8080).is_err());
    }
}
