//! The edge in front of the sample apps, in place of Traefik with its ForwardAuth middleware.
//!
//! It sends a subrequest to the gate for every request and follows the response: exactly 200 passes, any other status goes
//! to the client, and no response is a refusal.

pub(super) mod headers;

#[cfg(test)]
mod tests;

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use askama::Template;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header, request::Parts};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use self::headers::ObservedRequest;
use super::{
    names::{DemoOrigins, SampleApp},
    page::{self, STYLE},
    web::{self, BoxedBody, Handler, StreamedResponse},
};
use crate::host::Authority;

/// Path of subrequests in Traefik's dialect.
const AUTH_PATH: &str = "/_doorward/auth/traefik";

/// Timeout of a response of the gate and the apps, as in Traefik.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// Idle timeout of pooled connections: shorter than the one after which the sample apps close a connection.
const POOL_IDLE: Duration = Duration::from_secs(20);

/// Reverse proxy with forward authentication.
pub(super) struct DemoEdge {
    origins: DemoOrigins,
    gate: SocketAddr,
    apps: SocketAddr,
    client: Client<HttpConnector, BoxedBody>,
}

/// Failure to get a response of the gate or an app.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// The request cannot be built.
    #[error(transparent)]
    Request(#[from] http::Error),
    /// No connection, or no HTTP response.
    #[error(transparent)]
    Unavailable(#[from] hyper_util::client::legacy::Error),
    /// The response took too long.
    #[error("no answer within {}", humantime::format_duration(RESPONSE_TIMEOUT))]
    Timeout,
}

impl DemoEdge {
    /// An edge that sends subrequests to `gate` and forwards allowed requests to `apps`.
    pub(super) fn new(origins: DemoOrigins, gate: SocketAddr, apps: SocketAddr) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .build(HttpConnector::new());
        Self { origins, gate, apps, client }
    }

    /// Sends a subrequest to the gate, and forwards the request if it is allowed.
    async fn guard(&self, parts: Parts, body: Incoming, seen: &ObservedRequest) -> StreamedResponse {
        let verdict = match self.ask(seen.subrequest_headers(&parts.headers)).await {
            Ok(verdict) => verdict,
            Err(error) => {
                tracing::warn!(%error, "the edge cannot reach the gate; refusing");
                return web::boxed(web::text(StatusCode::BAD_GATEWAY, "the gate does not answer, so nobody gets in"));
            }
        };
        if verdict.status() != StatusCode::OK {
            return relay(verdict);
        }
        let headers = seen.app_headers(&parts.headers, verdict.headers());
        match self.forward(parts, headers, body).await {
            Ok(answer) => relay(answer),
            Err(error) => {
                tracing::warn!(%error, "the edge cannot reach the sample app");
                web::boxed(web::text(StatusCode::BAD_GATEWAY, "the sample app does not answer"))
            }
        }
    }

    async fn ask(&self, headers: HeaderMap) -> Result<http::Response<Incoming>, Error> {
        let uri = address(self.gate, AUTH_PATH)?;
        let mut question = Request::get(uri).body(Empty::<Bytes>::new().map_err(|never| match never {}).boxed())?;
        *question.headers_mut() = headers;
        self.send(question).await
    }

    async fn forward(
        &self,
        parts: Parts,
        headers: HeaderMap,
        body: Incoming,
    ) -> Result<http::Response<Incoming>, Error> {
        let target = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let uri = address(self.apps, target)?;
        let mut request = Request::builder().method(parts.method).uri(uri).body(body.boxed())?;
        *request.headers_mut() = headers;
        self.send(request).await
    }

    async fn send(&self, request: Request<BoxedBody>) -> Result<http::Response<Incoming>, Error> {
        let answer = tokio::time::timeout(RESPONSE_TIMEOUT, self.client.request(request));
        Ok(answer.await.map_err(|_| Error::Timeout)??)
    }

    fn landing(&self, request: &Parts) -> StreamedResponse {
        let landing = match (&request.method, request.uri.path()) {
            (&Method::GET | &Method::HEAD, "/") => page::page(StatusCode::OK, &Landing::new(self.origins)),
            _ => web::text(StatusCode::NOT_FOUND, "there is nothing here; the demo begins at /"),
        };
        web::boxed(landing)
    }
}

impl Handler for DemoEdge {
    async fn answer(&self, request: Request<Incoming>, peer: IpAddr) -> StreamedResponse {
        let (parts, body) = request.into_parts();
        let seen = match ObservedRequest::read(&parts, peer, self.origins.port) {
            Ok(seen) => seen,
            Err(problem) => return web::boxed(web::text(StatusCode::BAD_REQUEST, problem)),
        };
        let host = seen.host().and_then(|host| Authority::parse(host).ok());
        match host.as_ref().map(Authority::host) {
            Some("localhost" | "127.0.0.1" | "[::1]") => self.landing(&parts),
            Some(host) if SampleApp::on(host).is_some() => self.guard(parts, body, &seen).await,
            // Another site's name that was made to resolve to this machine (DNS rebinding).
            _ => web::boxed(web::text(StatusCode::MISDIRECTED_REQUEST, "no sample app has this name")),
        }
    }
}

fn address(to: SocketAddr, target: &str) -> Result<Uri, http::Error> {
    Uri::builder().scheme("http").authority(to.to_string()).path_and_query(target).build()
}

/// Prepares an upstream response for the client.
fn relay(answer: http::Response<Incoming>) -> StreamedResponse {
    let mut answer = answer.map(BodyExt::boxed);
    headers::strip_hop_by_hop(answer.headers_mut());
    answer.headers_mut().insert(header::VIA, HeaderValue::from_static("1.1 doorward-demo"));
    answer
}

#[derive(Template)]
#[template(path = "landing.html")]
struct Landing {
    style: &'static str,
    notes: String,
    admin: String,
    port: u16,
}

impl Landing {
    fn new(origins: DemoOrigins) -> Self {
        Self {
            style: STYLE,
            notes: origins.app(SampleApp::Notes),
            admin: origins.app(SampleApp::Admin),
            port: origins.port,
        }
    }
}
