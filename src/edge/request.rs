//! Auth subrequest as it arrives, and the original request that it describes.
//!
//! Promises: everything is borrowed; a malformed subrequest is a [`super::BadRequest`], never a guess.

use std::net::IpAddr;

use http::{HeaderMap, request::Parts};

use super::{
    address::ForwardedClient,
    intent::{self, Intent},
};
use crate::host::Authority;

/// Edge that sends auth subrequests, by the dialect that it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Edge {
    /// `Traefik` `ForwardAuth`.
    Traefik,
    /// Caddy `forward_auth`.
    Caddy,
    /// nginx `auth_request`.
    Nginx,
    /// Envoy `ext_authz` over HTTP.
    Envoy,
    /// Any edge that asks at the path of oauth2-proxy (`server.compat`).
    OAuth2Proxy,
    /// The gate itself, in reverse-proxy mode: a request that it will pass on.
    Proxy,
}

impl Edge {
    /// Every edge that asks from outside, in the order of declaration.
    pub const ALL: &'static [Self] = &[Self::Traefik, Self::Caddy, Self::Nginx, Self::Envoy, Self::OAuth2Proxy];

    /// The labels of [`Edge::ALL`] and of [`Edge::Proxy`], in the order of declaration.
    pub const LABELS: [&'static str; 6] = [
        Self::Traefik.label(),
        Self::Caddy.label(),
        Self::Nginx.label(),
        Self::Envoy.label(),
        Self::OAuth2Proxy.label(),
        Self::Proxy.label(),
    ];

    /// The value in metrics and log lines.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Traefik => "traefik",
            Self::Caddy => "caddy",
            Self::Nginx => "nginx",
            Self::Envoy => "envoy",
            Self::OAuth2Proxy => "oauth2-proxy",
            Self::Proxy => "proxy",
        }
    }
}

/// Paths below which the gate is asked: its own, or those of a gate whose place it takes (`server.compat`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Namespace {
    /// `server.prefix`.
    #[default]
    Own,
    /// Those of an authentik proxy outpost.
    Authentik,
    /// Those of oauth2-proxy.
    OAuth2Proxy,
}

/// Auth subrequest as it arrived: unread, and from a peer that may not be trusted.
#[derive(Clone, Copy, Debug)]
pub struct Subrequest<'r> {
    /// The dialect, by the path of the subrequest.
    pub edge: Edge,
    /// The paths among which that path is.
    pub namespace: Namespace,
    /// The other end of the connection.
    pub peer: IpAddr,
    /// The head of the request.
    pub parts: &'r Parts,
    /// Original target behind `/auth/envoy` on the raw request line; empty in the other dialects.
    pub target: &'r str,
}

/// Original request, as the trusted source of its dialect describes it. Borrowed: reading one allocates nothing.
#[derive(Clone, Debug)]
pub struct AuthRequest<'r> {
    /// The dialect of the subrequest.
    pub edge: Edge,
    /// The original method; `None` where the edge does not say.
    pub method: Option<&'r str>,
    /// The requested host, folded, and its port.
    pub authority: Authority<'r>,
    /// Second witness: the host that the edge routed by, folded, in dialects that send it beside their source.
    pub routed: Option<Authority<'r>>,
    /// Path and query exactly as the edge passed them on. Begins with a slash.
    pub target: &'r str,
    /// The client by the last trusted hop.
    pub client: ForwardedClient<'r>,
    /// All headers, for the cookies and the intent.
    pub headers: &'r HeaderMap,
}

impl<'r> AuthRequest<'r> {
    /// Returns the target up to the query, still percent-encoded.
    #[must_use]
    pub fn path(&self) -> &'r str {
        self.split_target().0
    }

    /// Returns the part behind the first question mark.
    #[must_use]
    pub fn query(&self) -> Option<&'r str> {
        self.split_target().1
    }

    /// Returns the client's intent. Not needed for allowed requests.
    #[must_use]
    pub fn intent(&self) -> Intent {
        intent::intent(self.method, self.headers)
    }

    fn split_target(&self) -> (&'r str, Option<&'r str>) {
        let mark = memchr::memchr(b'?', self.target.as_bytes()).and_then(|at| self.target.split_at_checked(at));
        mark.map_or((self.target, None), |(path, query)| (path, query.get(1..)))
    }
}
