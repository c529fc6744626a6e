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

use http::{Method, Uri, request::Parts};
use hyper::body::Incoming;
use tokio::{sync::Semaphore, time::timeout};

use super::{connection::FragmentDropped, form};
use crate::{
    edge::{Edge, Response},
    flow::{Form, Gate},
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

/// The original target, path and query, that Envoy puts behind its `path_prefix`.
fn envoy_target<'r>(prefix: &str, uri: &'r Uri) -> Option<&'r str> {
    let target = uri.path_and_query()?.as_str();
    target.strip_prefix(prefix)?.strip_prefix("/auth/envoy").filter(|target| target.starts_with('/'))
}

/// The bounds within which requests are answered.
pub(super) struct Limits {
    room: Semaphore,
    deadline: Duration,
    is_exceeded: AtomicBool,
}

/// Requests that are in hand at once: far more than can make progress, far fewer than fill the memory.
const MAX_REQUESTS: usize = 8_192;

/// Every wait inside has a shorter deadline of its own; this one is for a defect. Shorter than any edge's but Envoy's.
const DEADLINE: Duration = Duration::from_secs(9);

impl Default for Limits {
    fn default() -> Self {
        Self::new(MAX_REQUESTS, DEADLINE)
    }
}

impl Limits {
    /// At most so many requests at once, each for at most so long.
    pub(super) fn new(most: usize, deadline: Duration) -> Self {
        Self { room: Semaphore::new(most), deadline, is_exceeded: AtomicBool::new(false) }
    }

    /// Does the work within the limits; `None` where there was no room, or it took too long.
    pub(super) async fn within<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let done = match self.room.try_acquire() {
            Ok(_permit) => timeout(self.deadline, work).await.ok(),
            Err(_full) => None,
        };
        self.note(done.is_some());
        done
    }

    fn note(&self, kept: bool) {
        let was_exceeded = self.is_exceeded.load(Ordering::Relaxed);
        if kept == was_exceeded && self.is_exceeded.swap(!kept, Ordering::Relaxed) == kept {
            if kept {
                tracing::info!("requests are answered in time again");
            } else {
                tracing::warn!("too many requests at once, or answers take too long: some are refused with 503");
            }
        }
    }
}

/// The way into the gate.
pub(super) struct Router {
    gate: Arc<Gate>,
    limits: Limits,
}

impl Router {
    /// A way into `gate` with the usual limits.
    pub(super) fn new(gate: Arc<Gate>) -> Self {
        Self { gate, limits: Limits::default() }
    }

    /// Answers one request. Not a tower stack: it would take the request along into its error, and a refusal has to be
    /// written for whoever asked.
    pub(super) async fn answer(&self, peer: IpAddr, mut request: Parts, body: Option<Box<Incoming>>) -> Response {
        match self.limits.within(self.ask(peer, &mut request, body)).await {
            Some(response) => response,
            None => self.gate.overloaded(&request),
        }
    }

    /// Whether the body of a request says anything.
    pub(super) fn reads_body(&self, request: &Parts) -> bool {
        request.method == Method::POST
            && match route(self.gate.prefix(), &request.method, &request.uri) {
                Route::OwnPage(page) => Gate::takes_form(page),
                Route::Authorize(..) | Route::Nothing => false,
            }
    }

    async fn ask(&self, peer: IpAddr, request: &mut Parts, body: Option<Box<Incoming>>) -> Response {
        if let Some(body) = body {
            // On the heap, so that the future of an authorization stays small.
            request.extensions.insert(Form(Box::pin(form::read(*body)).await));
        }
        let request = &*request;
        // What the app would be asked for is not what we can see.
        if request.extensions.get::<FragmentDropped>().is_some() {
            return self.gate.nothing_here(request);
        }
        match route(self.gate.prefix(), &request.method, &request.uri) {
            Route::Authorize(edge, envoy_target) => self.gate.authorize(edge, peer, request, envoy_target).await,
            Route::OwnPage(page) => self.gate.own_page(request, page).await,
            Route::Nothing => self.gate.nothing_here(request),
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

    #[tokio::test]
    async fn work_beyond_the_limits_is_refused_and_work_after_it_is_done() {
        let limits = Limits::new(1, Duration::from_millis(20));
        let nested = limits.within(async { limits.within(async { 1 }).await }).await;
        assert_eq!(nested, Some(None), "there is room for one");
        assert_eq!(limits.within(std::future::pending::<u8>()).await, None, "nothing may take for ever");
        assert_eq!(limits.within(async { 2 }).await, Some(2));
    }
}
