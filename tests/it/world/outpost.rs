//! A stand-in for an authentik proxy outpost: sessions by its cookie, the answers of each dialect, and switchable faults.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{net::TcpListener, task::JoinSet};

use super::{app::spawn, ports};

/// Name of its cookie: `authentik_proxy_` and the beginning of SHA-256 of the client id.
pub(crate) const COOKIE: &str = "authentik_proxy_0a1b2c3d";

/// Somebody who is signed in at the outpost.
#[derive(Clone, Debug)]
pub(crate) struct OutpostUser {
    pub(crate) name: &'static str,
    pub(crate) groups: &'static str,
}

/// Fault of an outpost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutpostFault {
    /// It answers as it should.
    None,
    /// It does not answer.
    Silent,
    /// It answers with this status.
    Status(u16),
    /// It closes the connection.
    Closed,
    /// It answers after this many milliseconds.
    Slow(u64),
}

/// A running outpost. It lives as long as the test's runtime, or until it is stopped.
pub(crate) struct Outpost {
    pub(crate) port: u16,
    state: Arc<OutpostState>,
    stop: tokio::sync::watch::Sender<bool>,
}

struct OutpostState {
    sessions: Mutex<HashMap<String, OutpostUser>>,
    fault: Mutex<OutpostFault>,
    connections: AtomicUsize,
    questions: AtomicUsize,
    last: Mutex<Option<(String, HeaderMap)>>,
}

impl Outpost {
    /// Starts an outpost.
    pub(crate) async fn start() -> Self {
        let state = Arc::new(OutpostState {
            sessions: Mutex::default(),
            fault: Mutex::new(OutpostFault::None),
            connections: AtomicUsize::new(0),
            questions: AtomicUsize::new(0),
            last: Mutex::default(),
        });
        let port = ports::free();
        Self { port, stop: serve(port, Arc::clone(&state)).await, state }
    }

    /// Stops it: its connections are cut.
    pub(crate) async fn stop(&self) {
        let _ = self.stop.send(true);
        // It is gone once its port is free.
        self.stop.closed().await;
    }

    /// Starts it again at its port, with its sessions.
    pub(crate) async fn start_again(&mut self) {
        self.stop = serve(self.port, Arc::clone(&self.state)).await;
    }

    /// Returns the address at which it is asked in a dialect.
    pub(crate) fn url(&self, dialect: &str) -> String {
        format!("http://127.0.0.1:{}/outpost.goauthentik.io/auth/{dialect}", self.port)
    }

    /// Signs somebody in, and returns their `Cookie` line.
    pub(crate) fn sign_in(&self, user: OutpostUser) -> String {
        let mut sessions = self.state.sessions.lock().unwrap();
        let value = format!("session-{}", sessions.len());
        sessions.insert(value.clone(), user);
        format!("Cookie: {COOKIE}={value}\r\n")
    }

    pub(crate) fn set_fault(&self, fault: OutpostFault) {
        *self.state.fault.lock().unwrap() = fault;
    }

    /// Connections that were opened to it.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Questions that it was asked.
    pub(crate) fn questions(&self) -> usize {
        self.state.questions.load(Ordering::SeqCst)
    }

    /// The target and the headers of the last question.
    pub(crate) fn last(&self) -> (String, HeaderMap) {
        self.state.last.lock().unwrap().clone().expect("it was asked")
    }
}

async fn serve(port: u16, state: Arc<OutpostState>) -> tokio::sync::watch::Sender<bool> {
    let listener = TcpListener::bind(ports::loopback(port)).await.unwrap();
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    spawn(async move {
        let mut served = JoinSet::new();
        loop {
            let stream = tokio::select! {
                accepted = listener.accept() => accepted.unwrap().0,
                _ = stopped.changed() => break,
            };
            state.connections.fetch_add(1, Ordering::SeqCst);
            let state = Arc::clone(&state);
            served.spawn(async move {
                let answer = service_fn(move |request| answer(Arc::clone(&state), request));
                let _ended = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
            });
        }
        served.shutdown().await;
        drop(listener);
        drop(stopped);
    });
    stop
}

/// Answers a request; an error closes the connection.
async fn answer(state: Arc<OutpostState>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let path = request.uri().path().to_owned();
    if path == "/outpost.goauthentik.io/ping" {
        return Ok(status(StatusCode::NO_CONTENT));
    }
    state.questions.fetch_add(1, Ordering::SeqCst);
    *state.last.lock().unwrap() = Some((request.uri().to_string(), request.headers().clone()));
    let fault = *state.fault.lock().unwrap();
    match fault {
        OutpostFault::None => {}
        OutpostFault::Silent => std::future::pending::<()>().await,
        OutpostFault::Status(code) => return Ok(status(StatusCode::from_u16(code).unwrap())),
        OutpostFault::Closed => return Err(std::io::Error::other("closed")),
        OutpostFault::Slow(milliseconds) => tokio::time::sleep(Duration::from_millis(milliseconds)).await,
    }
    let headers = request.headers();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let dialect = path.trim_start_matches("/outpost.goauthentik.io/auth/").split('/').next().unwrap_or_default();
    let asked = match dialect {
        "traefik" | "caddy" => format!("https://{}{}", text("x-forwarded-host"), text("x-forwarded-uri")),
        "nginx" => text("x-original-url"),
        _ => format!("https://{}{}", text("host"), path.trim_start_matches("/outpost.goauthentik.io/auth/envoy")),
    };
    if !asked.starts_with("https://") || asked.contains("unknown.") {
        let mut response = Response::new(Full::from(json!({ "error": "no app for hostname" }).to_string()));
        *response.status_mut() = StatusCode::BAD_REQUEST;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        return Ok(response);
    }
    let cookies = text("cookie");
    let value = cookies.split("; ").find_map(|pair| pair.strip_prefix(COOKIE)?.strip_prefix('='));
    let user = value.and_then(|value| state.sessions.lock().unwrap().get(value).cloned());
    Ok(match user {
        Some(user) => admitted(&user),
        None => sign_in(dialect, &asked),
    })
}

fn status(code: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = code;
    response
}

fn admitted(user: &OutpostUser) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    let headers = response.headers_mut();
    let email = format!("{}@example.test", user.name);
    for (name, value) in [
        ("x-authentik-username", user.name),
        ("x-authentik-email", email.as_str()),
        ("x-authentik-name", user.name),
        ("x-authentik-uid", &format!("uid-{}", user.name)),
        ("x-authentik-groups", user.groups),
        ("x-authentik-entitlements", ""),
        ("x-authentik-jwt", ""),
        ("x-authentik-meta-jwks", "https://id.example.test/jwks"),
        ("x-authentik-meta-outpost", "old outpost"),
        ("x-authentik-meta-provider", "old provider"),
        ("x-authentik-meta-app", "old-app"),
        ("x-authentik-meta-version", "goauthentik.io/outpost/2026.5"),
        ("set-cookie", "refreshed=1; Path=/"),
        ("x-secret", "for the edge alone"),
    ] {
        headers.insert(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    response
}

fn sign_in(dialect: &str, asked: &str) -> Response<Full<Bytes>> {
    if dialect == "nginx" {
        return status(StatusCode::UNAUTHORIZED);
    }
    let mut response = status(StatusCode::FOUND);
    let to = format!("https://id.example.test/authorize?state=x&asked={asked}");
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_str(&to).unwrap());
    let cookie = format!("{COOKIE}=attempt; Path=/; HttpOnly; Secure");
    response.headers_mut().insert(header::SET_COOKIE, HeaderValue::from_str(&cookie).unwrap());
    response
}
