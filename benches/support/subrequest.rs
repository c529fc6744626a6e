//! Traefik 3.7's real subrequest for a page, with a kilobyte of the app's own cookies around ours.

use std::fmt::Write as _;

use http::{Request, request::Parts};

use super::token_issuer::API_HOST;

const PATH: &str = "/_doorward/auth/traefik";

/// Host of the app at which people are signed in.
pub(crate) const HOST: &str = "grafana.example.com";

/// A subrequest: the original request and its session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subrequest<'a> {
    /// Host of the app.
    pub(crate) host: &'a str,
    /// Path and query at the app.
    pub(crate) uri: &'a str,
    /// `Sec-Fetch-Mode`: `navigate` or `cors`.
    pub(crate) mode: &'a str,
    /// Value of the session cookie.
    pub(crate) cookie: Option<&'a str>,
    /// Bearer token of an API client.
    pub(crate) token: Option<&'a str>,
}

impl<'a> Subrequest<'a> {
    /// A navigation to a dashboard.
    pub(crate) fn dashboard(cookie: Option<&'a str>) -> Self {
        Self { host: HOST, uri: "/d/abc?orgId=1", mode: "navigate", cookie, token: None }
    }

    /// The same request of an API client: with a token in place of the cookie.
    pub(crate) fn api(token: &'a str) -> Self {
        Self { host: API_HOST, token: Some(token), ..Self::dashboard(None) }
    }

    /// Returns it as parsed by hyper.
    pub(crate) fn parts(self) -> Parts {
        let mut request = Request::get(PATH);
        for (name, value) in self.lines() {
            request = request.header(name, value);
        }
        if let Some(token) = self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        request.body(()).expect("a well-formed request").into_parts().0
    }

    /// Returns it as on the wire.
    pub(crate) fn bytes(self) -> Vec<u8> {
        let mut text = format!("GET {PATH} HTTP/1.1\r\n");
        for (name, value) in self.lines() {
            write!(text, "{name}: {value}\r\n").expect("memory takes text");
        }
        text.push_str("\r\n");
        text.into_bytes()
    }

    /// Returns the original request from the browser to the edge, as on the wire.
    pub(crate) fn original_bytes(self) -> Vec<u8> {
        let mut text = format!("GET {} HTTP/1.1\r\nHost: {}\r\n", self.uri, self.host);
        let own = |name: &str| name != "Host" && !name.starts_with("X-");
        for (name, value) in self.lines().into_iter().filter(|(name, _)| own(name)) {
            write!(text, "{name}: {value}\r\n").expect("memory takes text");
        }
        text.push_str("\r\n");
        text.into_bytes()
    }

    fn lines(self) -> [(&'static str, String); 19] {
        let own = self.cookie.map(|value| format!("__Host-doorward={value}; ")).unwrap_or_default();
        let cookies = format!("grafana_session={}; {own}theme=dark; _ga={}", "a".repeat(500), "b".repeat(440));
        [
            ("Host", "127.0.0.1:9000"),
            ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
            ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            ("Accept-Encoding", "gzip, deflate, br"),
            ("Accept-Language", "en-US,en;q=0.5"),
            ("Cookie", &cookies),
            ("Sec-Fetch-Dest", "document"),
            ("Sec-Fetch-Mode", self.mode),
            ("Sec-Fetch-Site", "none"),
            ("Sec-Fetch-User", "?1"),
            ("Upgrade-Insecure-Requests", "1"),
            ("X-Forwarded-For", "192.0.2.7"),
            ("X-Forwarded-Host", self.host),
            ("X-Forwarded-Method", "GET"),
            ("X-Forwarded-Port", "443"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Server", "traefik-7d9f"),
            ("X-Forwarded-Uri", self.uri),
            ("X-Real-Ip", "192.0.2.7"),
        ]
        .map(|(name, value)| (name, value.to_owned()))
    }
}
