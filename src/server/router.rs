//! Routing: from a request to the part of the gate that answers it.
//!
//! Paths are compared byte for byte as they arrived, authorization first: a path that was normalised before could reach
//! another route than the one that the edge asked for.

use std::{net::IpAddr, sync::Arc};

use arc_swap::Guard;
use http::{Method, Uri, request::Parts};

use super::{connection::FragmentDropped, limits::RequestClass};
use crate::{
    edge::{self, Edge, Namespace, Response, Subrequest},
    flow::{
        AUTHENTIK_PREFIX, CompatSettings, Gate, OAUTH2_PROXY_PREFIX, SubrequestAnswer, backchannel_logout,
        protected_resource,
    },
};

/// Path below the prefix at which edges ask, each at its own name.
const AUTH: &str = "/auth/";
/// The same without any name.
const AUTH_ALONE: &str = "/auth";

/// Destination of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route<'r> {
    /// Authorization request of an edge. The text is what follows `/auth/envoy` on the request line; empty in the other
    /// dialects.
    Authorize(Edge, Namespace, &'r str),
    /// Endpoint of the gate's own: the path below the prefix, beginning with a slash.
    Endpoint(Namespace, &'r str),
    /// Protected-resource metadata of the host.
    ProtectedResource,
    /// Path below `/auth/` at which no edge asks.
    NoSuchEdge,
    /// Path with nothing at it.
    NotFound,
}

/// Returns the route of a request by its method and the target as it stood on the request line.
pub(super) fn route<'r>(prefix: &str, compat: CompatSettings, method: &Method, uri: &'r Uri) -> Route<'r> {
    // A 2xx answer to CONNECT would open a tunnel.
    if method == Method::CONNECT {
        return Route::NotFound;
    }
    let path = uri.path();
    if let Some(endpoint) = below(prefix, path) {
        return route_below(prefix, Namespace::Own, endpoint, uri);
    }
    if compat.authentik
        && let Some(endpoint) = below(AUTHENTIK_PREFIX, path)
    {
        return route_below(AUTHENTIK_PREFIX, Namespace::Authentik, endpoint, uri);
    }
    if compat.oauth2_proxy && below(OAUTH2_PROXY_PREFIX, path) == Some(AUTH_ALONE) {
        return Route::Authorize(Edge::OAuth2Proxy, Namespace::OAuth2Proxy, "");
    }
    if let Some((namespace, endpoint)) = compat.endpoint(path, uri.query().unwrap_or_default()) {
        return Route::Endpoint(namespace, endpoint);
    }
    if protected_resource::resource_path(path).is_some() { Route::ProtectedResource } else { Route::NotFound }
}

fn below<'r>(prefix: &str, path: &'r str) -> Option<&'r str> {
    path.strip_prefix(prefix).filter(|endpoint| endpoint.starts_with('/'))
}

/// Returns the route of what stands below a prefix.
fn route_below<'r>(prefix: &str, namespace: Namespace, endpoint: &'r str, uri: &'r Uri) -> Route<'r> {
    let Some(name) = endpoint.strip_prefix(AUTH) else {
        return if endpoint == AUTH_ALONE { Route::NoSuchEdge } else { Route::Endpoint(namespace, endpoint) };
    };
    match Edge::ALL.iter().find(|edge| edge.label() == name) {
        // It has a path of its own.
        Some(Edge::OAuth2Proxy) => Route::NoSuchEdge,
        // Envoy appends the original target to its path.
        Some(Edge::Envoy) | None => envoy_target(prefix, uri)
            .map_or(Route::NoSuchEdge, |target| Route::Authorize(Edge::Envoy, namespace, target)),
        Some(edge) => Route::Authorize(*edge, namespace, ""),
    }
}

/// Returns the original target, path and query, that Envoy appends to its `path_prefix`.
fn envoy_target<'r>(prefix: &str, uri: &'r Uri) -> Option<&'r str> {
    let target = uri.path_and_query()?.as_str().strip_prefix(prefix)?.strip_prefix(AUTH)?;
    target.strip_prefix(Edge::Envoy.label()).filter(|target| target.starts_with('/'))
}

/// Returns the route of a request whose target is known completely.
fn checked_route<'r>(prefix: &str, compat: CompatSettings, request: &'r Parts) -> Route<'r> {
    // The app would see a path that the gate cannot see.
    if request.extensions.get::<FragmentDropped>().is_some() {
        return Route::NotFound;
    }
    match route(prefix, compat, &request.method, &request.uri) {
        // An edge whose address lacks the path, or has that of another gate.
        Route::NotFound if edge::is_question(&request.headers) => Route::NoSuchEdge,
        route => route,
    }
}

/// Hands requests to the gate.
pub(super) struct Router {
    gate: Arc<Gate>,
}

impl Router {
    /// Creates the router of a gate.
    pub(super) fn new(gate: Arc<Gate>) -> Self {
        Self { gate }
    }

    /// Returns the 503 of a request that was shed or timed out; `what` names its class in the log.
    pub(super) fn overloaded(&self, what: &'static str) -> Response {
        self.gate.now().overloaded(what)
    }

    /// Returns the 431 of a request with too large a header.
    pub(super) fn headers_too_large(&self) -> Response {
        self.gate.now().headers_too_large()
    }

    /// Returns `true` if a peer is among `server.trusted_proxies`.
    pub(super) fn trusts(&self, peer: IpAddr) -> bool {
        self.gate.now().trusts(peer)
    }

    /// Returns the class of a trusted peer's request, for the request limits.
    pub(super) fn class(&self, request: &Parts) -> RequestClass {
        let now = self.gate.now();
        match checked_route(now.prefix(), now.compat(), request) {
            Route::Authorize(..) => RequestClass::Authorization,
            Route::Endpoint(..) | Route::ProtectedResource | Route::NoSuchEdge | Route::NotFound => RequestClass::Page,
        }
    }

    /// Returns the refusal of a form whose head is reason enough, before its body is read.
    pub(super) fn refuse_form(&self, peer: IpAddr, request: &Parts) -> Option<Response> {
        self.gate.now().precheck_backchannel_logout(peer, request)
    }

    /// Returns `true` if the body of a request is a form that has to be read.
    pub(super) fn reads_body(&self, request: &Parts) -> bool {
        if request.method != Method::POST {
            return false;
        }
        let now = self.gate.now();
        let route = route(now.prefix(), now.compat(), &request.method, &request.uri);
        matches!(route, Route::Endpoint(_, backchannel_logout::PATH))
    }

    /// Answers an authorization request that memory alone can answer. Needs no slot and waits for nothing: known sessions pass
    /// while everything else is shed.
    pub(super) fn answer_from_memory(&self, peer: IpAddr, request: &Parts) -> Option<Response> {
        let now = self.gate.now();
        match checked_route(now.prefix(), now.compat(), request) {
            Route::Authorize(edge, namespace, target) => {
                match now.admit_at_once(Subrequest { edge, namespace, peer, parts: request, target }) {
                    SubrequestAnswer::Ready(response) => Some(response),
                    // Not kept: it borrows from the request, which moves into the service behind the limits.
                    SubrequestAnswer::Pending(_) => None,
                }
            }
            Route::Endpoint(..) | Route::ProtectedResource | Route::NoSuchEdge | Route::NotFound => None,
        }
    }

    /// Answers a request. A form that came with it is among its extensions.
    pub(super) async fn answer(&self, peer: IpAddr, request: Parts) -> Response {
        let (request, now) = (&request, Guard::into_inner(self.gate.now()));
        match checked_route(now.prefix(), now.compat(), request) {
            Route::Authorize(edge, namespace, target) => {
                now.authorize(Subrequest { edge, namespace, peer, parts: request, target }).await
            }
            Route::Endpoint(namespace, endpoint) => now.answer_endpoint(peer, request, namespace, endpoint).await,
            Route::ProtectedResource => now.answer_protected_resource(peer, request),
            Route::NoSuchEdge => now.no_such_edge(peer, request),
            Route::NotFound => now.not_found(request),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routed(target: &str) -> String {
        routed_with(CompatSettings::default(), target)
    }

    fn routed_with(compat: CompatSettings, target: &str) -> String {
        let uri: Uri = target.parse().unwrap();
        match route("/_doorward", compat, &Method::GET, &uri) {
            Route::Authorize(edge, Namespace::Own, target) => format!("{} {target}", edge.label()),
            Route::Authorize(edge, Namespace::Authentik, target) => format!("as an outpost {} {target}", edge.label()),
            Route::Authorize(edge, Namespace::OAuth2Proxy, _) => format!("as {}", edge.label()),
            Route::Endpoint(Namespace::Own, page) => format!("page {page}"),
            Route::Endpoint(Namespace::Authentik, page) => format!("page of an outpost {page}"),
            Route::Endpoint(Namespace::OAuth2Proxy, page) => format!("page of oauth2-proxy {page}"),
            Route::ProtectedResource => "metadata".to_owned(),
            Route::NoSuchEdge => "no edge".to_owned(),
            Route::NotFound => "nothing".to_owned(),
        }
    }

    #[test]
    fn a_request_is_routed_by_its_exact_bytes() {
        for (target, expected) in [
            ("/_doorward/auth/traefik", "traefik "),
            ("/_doorward/auth/traefik?rd=/_doorward/ping", "traefik "),
            ("/_doorward/auth/caddy", "caddy "),
            ("/_doorward/auth/nginx", "nginx "),
            ("/_doorward/auth/nginx/", "no edge"),
            ("/_doorward/auth/", "no edge"),
            ("/_doorward/auth", "no edge"),
            ("/_doorward/auth?x", "no edge"),
            ("/_doorward/authx", "page /authx"),
            ("/_doorward/auth/Traefik", "no edge"),
            ("/_doorward/auth/treafik", "no edge"),
            ("/_doorward/auth/%74raefik", "no edge"),
            ("/_doorward/auth/x/../traefik", "no edge"),
            ("/_doorward/start?rd=/", "page /start"),
            ("/_doorward/", "page /"),
            ("/_doorward", "nothing"),
            ("/_doorwardx/ping", "nothing"),
            ("/x/../_doorward/ping", "nothing"),
            ("//_doorward/ping", "nothing"),
            ("/.well-known/oauth-protected-resource", "metadata"),
            ("/.well-known/oauth-protected-resource/mcp?x", "metadata"),
            ("/.well-known/oauth-protected-resource/../x", "nothing"),
            ("/.well-known/oauth-authorization-server", "nothing"),
            ("/", "nothing"),
            ("*", "nothing"),
            ("app.example.com:443", "nothing"),
            ("http://app.example.com/_doorward/auth/caddy", "caddy "),
        ] {
            assert_eq!(routed(target), expected, "{target}");
        }
    }

    #[test]
    fn the_paths_of_an_outpost_are_routed_where_it_is_imitated() {
        let on = CompatSettings { authentik: true, ..CompatSettings::default() };
        for (target, expected) in [
            ("/outpost.goauthentik.io/auth/traefik", "as an outpost traefik "),
            ("/outpost.goauthentik.io/auth/nginx", "as an outpost nginx "),
            ("/outpost.goauthentik.io/auth/envoy/a?b", "as an outpost envoy /a?b"),
            ("/outpost.goauthentik.io/auth/x", "no edge"),
            ("/outpost.goauthentik.io/start?rd=/", "page of an outpost /start"),
            ("/?X-authentik-auth-callback=true&code=x", "page of an outpost /callback"),
            ("/_doorward/auth/traefik?X-authentik-logout=true", "traefik "),
            ("/outpost.goauthentik.io/auth/traefik?X-authentik-logout=true", "as an outpost traefik "),
        ] {
            assert_eq!(routed_with(on, target), expected, "{target}");
        }
        assert_eq!(routed("/outpost.goauthentik.io/auth/traefik"), "nothing");
        assert_eq!(routed("/?X-authentik-auth-callback=true&code=x"), "nothing");
    }

    #[test]
    fn the_paths_of_oauth2_proxy_are_routed_where_it_is_imitated() {
        let on = CompatSettings { oauth2_proxy: true, ..CompatSettings::default() };
        for (target, expected) in [
            ("/oauth2/auth", "as oauth2-proxy"),
            ("/oauth2/auth?allowed_groups=a", "as oauth2-proxy"),
            ("/oauth2/auth/", "page of oauth2-proxy /auth/"),
            ("/oauth2/auth/nginx", "page of oauth2-proxy /auth/nginx"),
            ("/oauth2/%61uth", "nothing"),
            ("/oauth2/start?rd=/", "page of oauth2-proxy /start"),
            ("/oauth2", "nothing"),
            ("/_doorward/auth/oauth2-proxy", "no edge"),
            ("/?X-authentik-logout=true", "nothing"),
        ] {
            assert_eq!(routed_with(on, target), expected, "{target}");
        }
        assert_eq!(routed("/oauth2/auth"), "nothing");
        assert_eq!(routed("/_doorward/auth/oauth2-proxy"), "no edge");
    }

    #[test]
    fn what_follows_envoy_is_the_original_target_untouched() {
        for target in ["/", "/a?b=c?d", "//x", "/../../../ping", "/../ping", "/%2e%2e/%2F;a=b//c", "/?", "/a%zz"] {
            assert_eq!(routed(&format!("/_doorward/auth/envoy{target}")), format!("envoy {target}"));
            assert_eq!(routed(&format!("http://x.example/_doorward/auth/envoy{target}")), format!("envoy {target}"));
        }
    }

    #[test]
    fn envoy_without_an_original_path_is_not_authorised() {
        for target in ["", "?a=/b", "x", "*"] {
            assert_eq!(routed(&format!("/_doorward/auth/envoy{target}")), "no edge", "{target}");
        }
    }

    #[test]
    fn a_question_that_is_sent_to_no_edges_path_is_known_by_its_headers() {
        for (target, header, expected) in [
            ("/", "x-forwarded-uri", Route::NoSuchEdge),
            ("/outpost.goauthentik.io/auth/traefik", "x-forwarded-uri", Route::NoSuchEdge),
            ("/auth/nginx", "x-original-url", Route::NoSuchEdge),
            ("/", "x-forwarded-host", Route::NotFound),
            ("/_doorward/ping", "x-forwarded-uri", Route::Endpoint(Namespace::Own, "/ping")),
            ("/_doorward/auth/caddy", "x-forwarded-uri", Route::Authorize(Edge::Caddy, Namespace::Own, "")),
        ] {
            let (request, ()) = http::Request::get(target).header(header, "/").body(()).unwrap().into_parts();
            assert_eq!(checked_route("/_doorward", CompatSettings::default(), &request), expected, "{target} {header}");
        }
    }

    #[test]
    fn connect_is_not_routed() {
        let uri = Uri::from_static("/_doorward/auth/traefik");
        assert_eq!(route("/_doorward", CompatSettings::default(), &Method::CONNECT, &uri), Route::NotFound);
    }

    proptest::proptest! {
        #[test]
        fn only_the_exact_prefix_leads_to_envoy_and_nothing_behind_it_is_lost(before in "[/a-z.%]{0,8}", after in "[!-~]{0,24}") {
            let line = format!("{before}/_doorward/auth/envoy{after}");
            let Ok(uri) = line.parse::<Uri>() else { return Ok(()) };
            let expected = match after.split_once('#').map_or(after.as_str(), |(kept, _)| kept) {
                target if before.is_empty() && target.starts_with('/') => Some(target),
                _ => None,
            };
            let got = match route("/_doorward", CompatSettings::default(), &Method::GET, &uri) {
                Route::Authorize(Edge::Envoy, _, target) => Some(target),
                _ => None,
            };
            proptest::prop_assert_eq!(got, expected);
        }
    }
}
