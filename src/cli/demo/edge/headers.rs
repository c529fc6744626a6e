//! Which headers pass from a client to an app, which do not, and which the edge writes itself.
//!
//! The whole defence of an app that believes identity headers is here: of everything that some framework could take for
//! one, only what the gate answered arrives. Pure and synchronous.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};

/// How the names of identity headers begin, folded.
const IDENTITY: [&str; 3] = ["remote-", "x-authentik-", "x-auth-request-"];

/// How the names of headers begin, folded, by which a client could speak for the edge.
const FORWARDED: [&str; 5] = ["x-forwarded-", "x-original-", "x-real-ip", "x-rewrite-url", "forwarded"];

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

/// Whether some framework would take a header of this name for the word of the gate. CGI and its descendants turn
/// everything that is neither letter nor digit into an underscore, so `X_Authentik.Username` is `X-authentik-username`.
pub(in crate::cli::demo) fn speaks_of_identity(name: &HeaderName) -> bool {
    let folded = folded(name);
    IDENTITY.iter().any(|beginning| folded.starts_with(beginning))
}

fn speaks_for_the_edge(name: &HeaderName) -> bool {
    let folded = folded(name);
    FORWARDED.iter().any(|beginning| folded.starts_with(beginning))
}

fn folded(name: &HeaderName) -> String {
    name.as_str().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

/// What the edge saw of a request with its own eyes.
pub(super) struct Seen {
    host: HeaderValue,
    target: HeaderValue,
    method: HeaderValue,
    client: HeaderValue,
    port: HeaderValue,
}

impl Seen {
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

    /// `Host` as it was sent, port included.
    pub(super) fn host(&self) -> Option<&str> {
        self.host.to_str().ok()
    }

    /// The headers of the question to the gate: the client's, with what the edge saw in place of what it was told.
    pub(super) fn question(&self, client: &HeaderMap) -> HeaderMap {
        let mut headers = self.passed_on(client);
        for gone in [header::HOST, header::CONTENT_LENGTH] {
            headers.remove(gone);
        }
        headers.insert("x-forwarded-method", self.method.clone());
        headers.insert("x-forwarded-uri", self.target.clone());
        headers
    }

    /// The headers of the request to the app: the client's, without any that speaks of an identity, and the gate's own.
    pub(super) fn admitted(&self, client: &HeaderMap, verdict: &HeaderMap) -> HeaderMap {
        let mut headers = self.passed_on(client);
        for (name, value) in verdict.iter().filter(|(name, _)| speaks_of_identity(name)) {
            headers.append(name, value.clone());
        }
        headers
    }

    fn passed_on(&self, client: &HeaderMap) -> HeaderMap {
        let mut headers = client.clone();
        strip_hop_by_hop(&mut headers);
        strip(&mut headers, |name| speaks_of_identity(name) || speaks_for_the_edge(name));
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

/// Removes what belongs to one connection only, including what its `Connection` line nominates.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let nominated: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    // Nobody nominates the way a request is addressed and framed away: that would let one party read another message.
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

    fn seen(parts: &Parts) -> Seen {
        Seen::read(parts, IpAddr::from([127, 0, 0, 1]), 8080).unwrap()
    }

    #[test]
    fn every_spelling_of_an_identity_header_is_known() {
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
            assert_eq!(speaks_of_identity(&name.parse().unwrap()), speaks, "{name}");
        }
    }

    #[test]
    fn only_what_the_gate_answered_arrives() {
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
        let admitted = seen(&request).admitted(&request.headers, &verdict);
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
    fn the_gate_is_told_what_the_edge_saw_and_not_what_the_client_said() {
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
        let question = seen(&request).question(&request.headers);
        let mut told: Vec<_> = question.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        told.sort_unstable();
        assert_eq!(
            told,
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
    fn a_request_that_could_be_read_in_two_ways_is_refused() {
        let here = IpAddr::from([127, 0, 0, 1]);
        let absolute = parts("http://admin.localhost/", &[]);
        assert!(Seen::read(&absolute, here, 8080).is_err());
        let two_hosts = parts("/", &[("host", "admin.localhost")]);
        assert!(Seen::read(&two_hosts, here, 8080).is_err());
        let (no_host, ()) = Request::get("/").body(()).unwrap().into_parts();
        assert!(Seen::read(&no_host, here, 8080).is_err());
        let asterisk = parts("*", &[]);
        assert!(Seen::read(&asterisk, here, 8080).is_err());
    }
}
