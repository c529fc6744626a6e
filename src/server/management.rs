//! Management listener: metrics, liveness and readiness.
//!
//! A store or a provider that is unavailable is shown and changes nothing: taking every replica out of service would end the
//! sessions that go on without them. Only a store that never answered keeps a process from being ready: it knows no session.
//!
//! It runs on a thread of its own, independent of the gate's: no scrape slows a check, and a gate whose workers are all busy, or
//! stuck, still answers here.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
    request::Parts,
};
use serde_json::{Map, Value, json};

use super::{
    Error,
    body::ServerResponse,
    connection::{ConnContext, Phase, RequestHandler},
    limits::ConnectionLimits,
    listener::Listener,
};
use crate::{
    flow::GateHealth,
    metrics::Metrics,
    shutdown::{RuntimeThread, Signal, Tasks},
};

const KEY: &str = "server.management";

/// Most connections. On a full listener the least recently active is evicted, so that health is always answered.
const MAX_CONNECTIONS: usize = 64;

const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";

/// Management listener with its thread.
pub(super) struct Management {
    listener: Listener,
    thread: RuntimeThread,
}

impl Management {
    /// Binds the address.
    pub(super) fn bind(address: SocketAddr) -> Result<Self, Error> {
        let thread = RuntimeThread::new("management").map_err(|source| Error::Bind { key: KEY, address, source })?;
        let listener = thread.enter(|| Listener::bind(KEY, address, ConnectionLimits::uniform(MAX_CONNECTIONS)))?;
        Ok(Self { listener, thread })
    }

    /// Address that was bound.
    pub(super) fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Starts the thread, which answers until `until` is raised.
    pub(super) fn serve<H: RequestHandler>(self, context: ConnContext<H>, tasks: &Tasks, until: Signal) {
        let Self { listener, thread } = self;
        tasks.with_signal(until.clone()).supervise_on(thread, async move {
            // The gate has drained: there is nothing left to observe, and no connection to wait for.
            let _aborted = listener.serve(context, &until, Duration::ZERO).await;
        });
    }
}

/// Answers a request on the management listener. `phase` is that of the listener for edges.
pub(super) fn answer(
    request: &Parts,
    phase: Phase,
    health: impl FnOnce() -> GateHealth,
    metrics: &Metrics,
) -> ServerResponse {
    match request.uri.path() {
        "/metrics" => page(StatusCode::OK, PROMETHEUS, metrics.print()),
        "/-/health/live" => page(StatusCode::OK, JSON, json!({ "status": "live" }).to_string()),
        "/-/health/ready" => readiness(phase, &health()),
        _ => page(StatusCode::NOT_FOUND, JSON, json!({ "error": "not_found" }).to_string()),
    }
}

/// Answers readiness: ready while connections are accepted and kept alive, once the store has answered, in whatever state the
/// rest is.
fn readiness(phase: Phase, health: &GateHealth) -> ServerResponse {
    let (status, state, listener) = match phase {
        Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting", "down"),
        Phase::Accepting if !health.opened => (StatusCode::SERVICE_UNAVAILABLE, "starting", "up"),
        Phase::Accepting => (StatusCode::OK, "ready", "up"),
        Phase::Draining | Phase::ShuttingDown | Phase::Aborting => {
            (StatusCode::SERVICE_UNAVAILABLE, "draining", "draining")
        }
    };
    let mut components = Map::from_iter([
        ("listener".to_owned(), Value::from(listener)),
        ("store".to_owned(), Value::from(up_or_down(health.store))),
    ]);
    for (provider, up) in &health.providers {
        components.insert(format!("provider:{provider}"), Value::from(up_or_down(*up)));
    }
    page(status, JSON, json!({ "status": state, "components": components }).to_string())
}

fn up_or_down(up: bool) -> &'static str {
    if up { "up" } else { "down" }
}

fn page(status: StatusCode, content_type: &'static str, text: String) -> ServerResponse {
    let mut response = ServerResponse::new(Bytes::from(text).into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::metrics;

    async fn seen(path: &str, phase: Phase, store: bool, provider: bool) -> (u16, String, String) {
        let metrics = Metrics::new(&metrics::Settings { backend: "sqlite", version: "0", commit: "none" });
        let health = || GateHealth { store, opened: true, providers: vec![("authentik".to_owned(), provider)] };
        let (request, ()) = http::Request::get(path).body(()).unwrap().into_parts();
        let response = answer(&request, phase, health, &metrics);
        let status = response.status().as_u16();
        let content_type = response.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, content_type, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn each_path_has_its_page_and_others_have_none() {
        for (path, status, content_type, part) in [
            ("/metrics", 200, PROMETHEUS, "# TYPE doorward_build_info gauge"),
            ("/-/health/live", 200, JSON, "live"),
            ("/-/health/ready", 200, JSON, "ready"),
            ("/", 404, JSON, "not_found"),
            ("/metrics/", 404, JSON, "not_found"),
            ("/-/health/../metrics", 404, JSON, "not_found"),
        ] {
            let (got, kind, body) = seen(path, Phase::Accepting, true, true).await;
            assert_eq!((got, kind.as_str()), (status, content_type), "{path}");
            assert!(body.contains(part), "{path}: {body}");
        }
    }

    #[tokio::test]
    async fn a_draining_process_is_alive() {
        assert_eq!(seen("/-/health/live", Phase::Draining, false, false).await.0, 200);
    }

    #[test]
    fn a_process_whose_store_never_answered_is_not_ready() {
        for (opened, expected) in [(false, 503), (true, 200)] {
            let health = GateHealth { store: false, opened, providers: Vec::new() };
            assert_eq!(readiness(Phase::Accepting, &health).status().as_u16(), expected);
        }
    }

    #[tokio::test]
    async fn readiness_follows_the_listener_and_only_shows_the_rest() {
        for (phase, store, provider, status, listener, word) in [
            (Phase::Starting, true, true, 503, "down", "starting"),
            (Phase::Accepting, true, true, 200, "up", "ready"),
            (Phase::Accepting, false, false, 200, "up", "ready"),
            (Phase::Draining, true, true, 503, "draining", "draining"),
        ] {
            let (store_word, provider_word) = (up_or_down(store), up_or_down(provider));
            let (got, _, body) = seen("/-/health/ready", phase, store, provider).await;
            assert_eq!(got, status, "{phase:?}");
            let body: Value = serde_json::from_str(&body).unwrap();
            let components = json!({ "listener": listener, "store": store_word, "provider:authentik": provider_word });
            assert_eq!(body, json!({ "status": word, "components": components }));
        }
    }
}
