//! From a request to the part of the gate that answers it, and how many requests may wait at once.
//!
//! Paths are compared byte for byte as they arrived, authorization first: a path that was tidied up before could reach
//! another route than the one that the edge asked for. It must not know what the answers are.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::Guard;
use http::{Method, Uri, request::Parts};
use hyper::body::Incoming;
use tower::{BoxError, ServiceBuilder, limit::ConcurrencyLimit, load_shed::LoadShed, timeout::Timeout};

use super::{connection::FragmentDropped, form};
use crate::{
    edge::{Edge, Response},
    flow::{
        Gate,
        notice::{self, Form},
    },
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

/// The bounds within which requests are answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// How many may be in hand at once.
    pub(super) most: usize,
    /// How long one may take.
    pub(super) deadline: Duration,
}

impl Default for Bounds {
    /// Far more requests than can make progress, and far fewer than fill the memory. Every wait inside has a shorter
    /// deadline of its own; this one is for a defect, and shorter than what edges wait for a callback.
    fn default() -> Self {
        Self { most: 8_192, deadline: Duration::from_secs(25) }
    }
}

/// Keeps a service within bounds: what there is no room for is refused at once, what takes too long is given up.
pub(super) fn bounded<S>(bounds: Bounds, service: S) -> LoadShed<ConcurrencyLimit<Timeout<S>>> {
    ServiceBuilder::new().load_shed().concurrency_limit(bounds.most).timeout(bounds.deadline).service(service)
}

/// The way into the gate.
pub(super) struct Router {
    gate: Arc<Gate>,
    is_overloaded: AtomicBool,
}

impl Router {
    /// A way into `gate`.
    pub(super) fn new(gate: Arc<Gate>) -> Self {
        Self { gate, is_overloaded: AtomicBool::new(false) }
    }

    /// What the client is told: the gate's answer, or that the bounds refused to wait for one.
    pub(super) fn settle(&self, answered: Result<Response, BoxError>) -> Response {
        self.note(answered.is_err());
        answered.unwrap_or_else(|_refused| self.gate.now().overloaded())
    }

    /// Whether the body of a request says anything.
    pub(super) fn reads_body(&self, request: &Parts) -> bool {
        request.method == Method::POST
            && route(self.gate.now().prefix(), &request.method, &request.uri) == Route::OwnPage(notice::PAGE)
    }

    /// Answers an edge's question that memory alone can answer. Nothing waits for such an answer and nothing makes room
    /// for it: those who are known pass even where there is no room for anybody else.
    pub(super) fn ask_memory(&self, peer: IpAddr, request: &Parts) -> Option<Response> {
        let now = self.gate.now();
        match routed(now.prefix(), request) {
            Route::Authorize(edge, envoy_target) => now.admit_at_once(edge, peer, request, envoy_target),
            Route::OwnPage(_) | Route::Nothing => None,
        }
    }

    /// Answers one request, and reads its body first where it comes with one that says something.
    pub(super) async fn ask(&self, peer: IpAddr, mut request: Parts, body: Option<Box<Incoming>>) -> Response {
        if let Some(body) = body {
            // On the heap, so that the future of an authorization stays small.
            request.extensions.insert(Form(Box::pin(form::read(*body)).await));
        }
        let (request, now) = (&request, Guard::into_inner(self.gate.now()));
        match routed(now.prefix(), request) {
            Route::Authorize(edge, envoy_target) => now.authorize(edge, peer, request, envoy_target).await,
            Route::OwnPage(page) => now.own_page(peer, request, page).await,
            Route::Nothing => now.nothing_here(request),
        }
    }

    /// Logs when requests begin to be refused, and when that ends.
    fn note(&self, refused: bool) {
        let was_overloaded = self.is_overloaded.load(Ordering::Relaxed);
        if refused != was_overloaded && self.is_overloaded.swap(refused, Ordering::Relaxed) != refused {
            if refused {
                tracing::warn!("too many requests at once, or answers take too long: some are refused with 503");
            } else {
                tracing::info!("requests are answered in time again");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tower::{ServiceExt as _, service_fn};

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

    #[tokio::test]
    async fn work_beyond_the_bounds_is_refused_and_work_after_it_is_done() {
        let bounds = Bounds { most: 1, deadline: Duration::from_millis(20) };
        let stack = bounded(
            bounds,
            service_fn(async |work: Option<u8>| match work {
                Some(done) => Ok::<_, BoxError>(done),
                None => std::future::pending().await,
            }),
        );
        let (endless, second) = tokio::join!(stack.clone().oneshot(None), stack.clone().oneshot(Some(1)));
        assert!(endless.is_err(), "nothing may take for ever");
        assert!(second.is_err(), "there is room for one");
        assert_eq!(stack.oneshot(Some(2)).await.unwrap(), 2);
    }
}
