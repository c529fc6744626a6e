//! HTTP service of `server.proxy_listen`: reverse-proxy mode.
//!
//! Promises: a body is read from its client only once its request was let in; bodies stream, and nothing of them is kept.

use std::{net::IpAddr, pin::Pin, sync::Arc, time::Duration};

use arc_swap::Guard;
use http::{
    HeaderValue, Request, Version,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
    request::Parts,
};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body as _, Incoming};
use tokio::time::timeout;

use super::{
    body::{ServerBody, ServerResponse, from_gate},
    connection::{HeaderLimit, StreamGuard},
    proxied_body::ProxiedBody,
    router::{Route, route},
};
use crate::{
    flow::{ForwardDecision, ForwardedRequest, Gate, Snapshot, TrailerFilter},
    upstream,
};

/// Longest time for a decision. Every wait inside has a shorter deadline of its own.
const DECISION_TIMEOUT: Duration = Duration::from_secs(25);

/// Returns the handler of all requests at `server.proxy_listen`.
pub(super) fn handler(
    gate: Arc<Gate>,
) -> impl Fn(IpAddr, Parts, Incoming) -> Pin<Box<dyn Future<Output = ServerResponse> + Send>> {
    move |peer, request, body| {
        let now = Guard::into_inner(gate.now());
        Box::pin(async move { answer(&now, peer, request, body).await })
    }
}

async fn answer(now: &Snapshot, peer: IpAddr, mut request: Parts, body: Incoming) -> ServerResponse {
    let guard = request.extensions.remove::<Arc<StreamGuard>>();
    if HeaderLimit::TRUSTED.is_exceeded_by(&request) {
        return from_gate(now.headers_too_large());
    }
    match route(now.prefix(), now.compat(), &request.method, &request.uri) {
        Route::Endpoint(namespace, path) => {
            return from_gate(now.answer_endpoint(peer, &request, namespace, path).await);
        }
        Route::ProtectedResource if now.publishes_metadata(&request) => {
            return from_gate(now.answer_protected_resource(peer, &request));
        }
        Route::Authorize(..) | Route::NoSuchEdge => return from_gate(now.not_found(&request)),
        Route::ProtectedResource | Route::NotFound => {}
    }
    let decision = match now.forward_at_once(peer, &request) {
        Some(decision) => Ok(decision),
        None => timeout(DECISION_TIMEOUT, now.forward(peer, &request)).await,
    };
    match decision {
        Ok(ForwardDecision::Forward(forwarded)) => forward(now, *forwarded, &request, body, guard).await,
        Ok(ForwardDecision::Answer(response)) => from_gate(response),
        Err(_) => from_gate(now.overloaded("decisions at server.proxy_listen")),
    }
}

async fn forward(
    now: &Snapshot,
    mut forwarded: ForwardedRequest,
    request: &Parts,
    body: Incoming,
    guard: Option<Arc<StreamGuard>>,
) -> ServerResponse {
    let mut headers = std::mem::take(&mut forwarded.headers);
    let body = if body.is_end_stream() {
        // Some servers ask for a length (411), so a client that says so is repeated.
        if request.headers.contains_key(CONTENT_LENGTH) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        upstream::empty()
    } else {
        if body.size_hint().exact().is_none() {
            // Said, because hyper takes a GET whose length is not known for one without a body.
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        let trailers = std::mem::take(&mut forwarded.trailers);
        UnsyncBoxBody::new(ProxiedBody::new(body, trailers, guard.clone()))
    };
    let mut outgoing = Request::new(body);
    *outgoing.method_mut() = request.method.clone();
    *outgoing.version_mut() = Version::HTTP_11;
    if let Some(Ok(target)) = request.uri.path_and_query().map(|target| target.as_str().parse()) {
        *outgoing.uri_mut() = target;
    }
    *outgoing.headers_mut() = headers;
    let response = match forwarded.upstream.send(outgoing).await {
        Ok(response) => response,
        Err(error) => return from_gate(now.upstream_failed(&forwarded, &error)),
    };
    let (mut head, body) = response.into_parts();
    if let Err(error) = forwarded.relay(&mut head) {
        return from_gate(now.upstream_failed(&forwarded, &error));
    }
    head.version = Version::HTTP_11;
    let body = ProxiedBody::new(body, TrailerFilter::of_response(), guard);
    http::Response::from_parts(head, ServerBody::Streamed(UnsyncBoxBody::new(body)))
}
