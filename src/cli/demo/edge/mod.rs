//! The edge in front of the sample apps: what Traefik with its ForwardAuth middleware would be.
//!
//! It asks the gate about every request and does what the gate says: exactly 200 passes, any other answer is the
//! client's, and no answer is a refusal. It must not know sessions, users or rules.

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

use self::headers::Seen;
use super::{
    names::{App, Origins},
    page::{self, STYLE},
    site::{self, Body, Response, Site},
};
use crate::host::Authority;

/// Where the gate answers Traefik.
const QUESTION: &str = "/_doorward/auth/traefik";

/// How long the gate and the apps may take: Traefik's own limit.
const DEADLINE: Duration = Duration::from_secs(30);

/// Shorter than the time after which the sample apps close a connection that nobody uses.
const POOL_IDLE: Duration = Duration::from_secs(20);

/// The edge.
pub(super) struct Edge {
    origins: Origins,
    gate: SocketAddr,
    apps: SocketAddr,
    client: Client<HttpConnector, Body>,
}

/// Why there is no answer to pass on.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// The request cannot be put to anybody.
    #[error(transparent)]
    Request(#[from] http::Error),
    /// Nobody answers, or not in HTTP.
    #[error(transparent)]
    Away(#[from] hyper_util::client::legacy::Error),
    /// The answer took too long.
    #[error("no answer within {}", humantime::format_duration(DEADLINE))]
    Late,
}

impl Edge {
    /// An edge that asks the gate at one address and forwards to the sample apps at another.
    pub(super) fn new(origins: Origins, gate: SocketAddr, apps: SocketAddr) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .build(HttpConnector::new());
        Self { origins, gate, apps, client }
    }

    /// Asks the gate, and forwards what it lets in.
    async fn guard(&self, parts: Parts, body: Incoming, seen: &Seen) -> Response {
        let verdict = match self.ask(seen.question(&parts.headers)).await {
            Ok(verdict) => verdict,
            Err(error) => {
                tracing::warn!(%error, "the edge cannot reach the gate; refusing");
                return site::whole(site::line(StatusCode::BAD_GATEWAY, "the gate does not answer, so nobody gets in"));
            }
        };
        if verdict.status() != StatusCode::OK {
            return relayed(verdict);
        }
        let headers = seen.admitted(&parts.headers, verdict.headers());
        match self.forward(parts, headers, body).await {
            Ok(answer) => relayed(answer),
            Err(error) => {
                tracing::warn!(%error, "the edge cannot reach the sample app");
                site::whole(site::line(StatusCode::BAD_GATEWAY, "the sample app does not answer"))
            }
        }
    }

    async fn ask(&self, headers: HeaderMap) -> Result<http::Response<Incoming>, Error> {
        let uri = address(self.gate, QUESTION)?;
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

    async fn send(&self, request: Request<Body>) -> Result<http::Response<Incoming>, Error> {
        let answer = tokio::time::timeout(DEADLINE, self.client.request(request));
        Ok(answer.await.map_err(|_| Error::Late)??)
    }

    fn landing(&self, request: &Parts) -> Response {
        let landing = match (&request.method, request.uri.path()) {
            (&Method::GET | &Method::HEAD, "/") => page::page(StatusCode::OK, &Landing::new(self.origins)),
            _ => site::line(StatusCode::NOT_FOUND, "there is nothing here; the demo begins at /"),
        };
        site::whole(landing)
    }
}

impl Site for Edge {
    async fn answer(&self, request: Request<Incoming>, peer: IpAddr) -> Response {
        let (parts, body) = request.into_parts();
        let seen = match Seen::read(&parts, peer, self.origins.port) {
            Ok(seen) => seen,
            Err(problem) => return site::whole(site::line(StatusCode::BAD_REQUEST, problem)),
        };
        let host = seen.host().and_then(|host| Authority::parse(host).ok());
        match host.as_ref().map(Authority::host) {
            Some("localhost" | "127.0.0.1" | "[::1]") => self.landing(&parts),
            Some(host) if App::on(host).is_some() => self.guard(parts, body, &seen).await,
            // A name that some other site made to point here (DNS rebinding) finds nothing.
            _ => site::whole(site::line(StatusCode::MISDIRECTED_REQUEST, "no sample app has this name")),
        }
    }
}

fn address(to: SocketAddr, target: &str) -> Result<Uri, http::Error> {
    Uri::builder().scheme("http").authority(to.to_string()).path_and_query(target).build()
}

/// Somebody else's answer as the client gets it.
fn relayed(answer: http::Response<Incoming>) -> Response {
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
    fn new(origins: Origins) -> Self {
        Self { style: STYLE, notes: origins.app(App::Notes), admin: origins.app(App::Admin), port: origins.port }
    }
}
