//! From a request to the part of the gate that answers it.
//!
//! Paths are compared byte for byte as they arrived, authorization first: a path that was tidied up before could reach
//! another route than the one that the edge asked for. It must not know what the answers are.

use std::{net::IpAddr, sync::Arc};

use arc_swap::Guard;
use http::{Method, Uri, request::Parts};

use super::connection::FragmentDropped;
use crate::{
    edge::{Edge, Response, Subrequest},
    flow::{Gate, SubrequestAnswer, backchannel_logout},
};

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route<'r> {
    /// An edge asks. The text is what follows `/auth/envoy` on the request line; empty in the other dialects.
    Authorize(Edge, &'r str),
    /// One of the gate's own pages: the path below the prefix, beginning with a slash.
    OwnPage(&'r str),
    /// Nowhere.
    Nothing,
}

/// Where a request goes, by its method and the target as it stood on the request line.
pub(super) fn route<'r>(prefix: &str, method: &Method, uri: &'r Uri) -> Route<'r> {
    // A 2xx answer to CONNECT would open a tunnel.
    if method == Method::CONNECT {
        return Route::Nothing;
    }
    let Some(page) = uri.path().strip_prefix(prefix).filter(|page| page.starts_with('/')) else {
        return Route::Nothing;
    };
    match page {
        "/auth/traefik" => Route::Authorize(Edge::Traefik, ""),
        "/auth/caddy" => Route::Authorize(Edge::Caddy, ""),
        "/auth/nginx" => Route::Authorize(Edge::Nginx, ""),
        _ => envoy_target(prefix, uri).map_or(Route::OwnPage(page), |target| Route::Authorize(Edge::Envoy, target)),
    }
}

/// Where a request goes, as far as all of its target is known.
fn routed<'r>(prefix: &str, request: &'r Parts) -> Route<'r> {
    // What the app would be asked for is not what we can see.
    if request.extensions.get::<FragmentDropped>().is_some() {
        return Route::Nothing;
    }
    route(prefix, &request.method, &request.uri)
}

/// The original target, path and query, that Envoy puts behind its `path_prefix`.
fn envoy_target<'r>(prefix: &str, uri: &'r Uri) -> Option<&'r str> {
    let target = uri.path_and_query()?.as_str();
    target.strip_prefix(prefix)?.strip_prefix("/auth/envoy").filter(|target| target.starts_with('/'))
}

/// What a request is to the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// An edge's question.
    Question,
    /// Anything else: a page of the gate's own, or nothing.
    Page,
}

/// The way into the gate.
pub(super) struct Router {
    gate: Arc<Gate>,
}

impl Router {
    /// A way into `gate`.
    pub(super) fn new(gate: Arc<Gate>) -> Self {
        Self { gate }
    }

    /// What a client is told whom there is no room or no time for.
    pub(super) fn overloaded(&self) -> Response {
        self.gate.now().overloaded()
    }

    /// Whether a peer may ask for others.
    pub(super) fn trusts(&self, peer: IpAddr) -> bool {
        self.gate.now().trusts(peer)
    }

    /// What a request is to the bounds.
    pub(super) fn work(&self, request: &Parts) -> Work {
        match routed(self.gate.now().prefix(), request) {
            Route::Authorize(..) => Work::Question,
            Route::OwnPage(_) | Route::Nothing => Work::Page,
        }
    }

    /// Refuses a request whose body says something by its header alone, where that is reason enough.
    pub(super) fn refuse_form(&self, peer: IpAddr, request: &Parts) -> Option<Response> {
        self.gate.now().precheck_backchannel_logout(peer, request)
    }

    /// Whether the body of a request says anything.
    pub(super) fn reads_body(&self, request: &Parts) -> bool {
        request.method == Method::POST
            && route(self.gate.now().prefix(), &request.method, &request.uri)
                == Route::OwnPage(backchannel_logout::PATH)
    }

    /// Answers an edge's question that memory alone can answer. Nothing waits for such an answer and nothing makes room
    /// for it: those who are known pass even where there is no room for anybody else.
    pub(super) fn ask_memory(&self, peer: IpAddr, request: &Parts) -> Option<Response> {
        let now = self.gate.now();
        match routed(now.prefix(), request) {
            Route::Authorize(edge, target) => {
                match now.admit_at_once(Subrequest { edge, peer, parts: request, target }) {
                    SubrequestAnswer::Ready(response) => Some(response),
                    // Not kept: it borrows from the request, which moves into its lane.
                    SubrequestAnswer::Pending(_) => None,
                }
            }
            Route::OwnPage(_) | Route::Nothing => None,
        }
    }

    /// Answers one request. A form that came with it is among its extensions.
    pub(super) async fn ask(&self, peer: IpAddr, request: Parts) -> Response {
        let (request, now) = (&request, Guard::into_inner(self.gate.now()));
        match routed(now.prefix(), request) {
            Route::Authorize(edge, target) => now.authorize(Subrequest { edge, peer, parts: request, target }).await,
            Route::OwnPage(page) => now.answer_endpoint(peer, request, page).await,
            Route::Nothing => now.not_found(request),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(target: &str) -> String {
        let uri: Uri = target.parse().unwrap();
        match route("/_doorward", &Method::GET, &uri) {
            Route::Authorize(edge, target) => format!("{} {target}", edge.label()),
            Route::OwnPage(page) => format!("page {page}"),
            Route::Nothing => "nothing".to_owned(),
        }
    }

    #[test]
    fn a_request_goes_where_its_bytes_say() {
        for (target, expected) in [
            ("/_doorward/auth/traefik", "traefik "),
            ("/_doorward/auth/traefik?rd=/_doorward/ping", "traefik "),
            ("/_doorward/auth/caddy", "caddy "),
            ("/_doorward/auth/nginx", "nginx "),
            ("/_doorward/auth/nginx/", "page /auth/nginx/"),
            ("/_doorward/auth/Traefik", "page /auth/Traefik"),
            ("/_doorward/auth/%74raefik", "page /auth/%74raefik"),
            ("/_doorward/auth/x/../traefik", "page /auth/x/../traefik"),
            ("/_doorward/start?rd=/", "page /start"),
            ("/_doorward/", "page /"),
            ("/_doorward", "nothing"),
            ("/_doorwardx/ping", "nothing"),
            ("/x/../_doorward/ping", "nothing"),
            ("//_doorward/ping", "nothing"),
            ("/", "nothing"),
            ("*", "nothing"),
            ("app.example.com:443", "nothing"),
            ("http://app.example.com/_doorward/auth/caddy", "caddy "),
        ] {
            assert_eq!(on(target), expected, "{target}");
        }
    }

    #[test]
    fn what_follows_envoy_is_the_original_target_untouched() {
        for target in ["/", "/a?b=c?d", "//x", "/../../../ping", "/../ping", "/%2e%2e/%2F;a=b//c", "/?", "/a%zz"] {
            assert_eq!(on(&format!("/_doorward/auth/envoy{target}")), format!("envoy {target}"));
            assert_eq!(on(&format!("http://x.example/_doorward/auth/envoy{target}")), format!("envoy {target}"));
        }
    }

    #[test]
    fn envoy_without_an_original_path_is_not_authorised() {
        for target in ["", "?a=/b", "x", "*"] {
            assert!(on(&format!("/_doorward/auth/envoy{target}")).starts_with("page "), "{target}");
        }
    }

    #[test]
    fn a_tunnel_is_opened_to_nowhere() {
        let uri = Uri::from_static("/_doorward/auth/traefik");
        assert_eq!(route("/_doorward", &Method::CONNECT, &uri), Route::Nothing);
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
            let got = match route("/_doorward", &Method::GET, &uri) {
                Route::Authorize(Edge::Envoy, target) => Some(target),
                _ => None,
            };
            proptest::prop_assert_eq!(got, expected);
        }
    }
}
