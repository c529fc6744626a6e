//! A stand-in for an authentik proxy outpost: it answers edges about its own sessions, and remembers what it was asked.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use sha2::Sha256;
use tokio::{net::TcpListener, sync::watch};

use super::{app::spawn, ports};

/// Beginning of the paths at which edges ask.
pub(crate) const PREFIX: &str = "/outpost.goauthentik.io/auth";

/// Name of its cookie.
pub(crate) const COOKIE: &str = "authentik_proxy_1a2b3c4d";

/// A running outpost. It lives as long as the test's runtime.
#[derive(Clone)]
pub(crate) struct OldOutpost {
    /// Port.
    pub(crate) port: u16,
    state: Arc<Mutex<State>>,
    mode: watch::Sender<OldMode>,
}

#[derive(Default)]
struct State {
    /// Answers by the whole `Cookie` header.
    sessions: HashMap<String, Vec<(String, String)>>,
    asked: Vec<OldQuestion>,
}

/// Way in which it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OldMode {
    /// As an outpost does.
    Working,
    /// Not before it is set to something else.
    Held,
    /// With this status, whatever it is asked.
    Failing(u16),
}

/// A question that it was asked.
#[derive(Clone, Debug)]
pub(crate) struct OldQuestion {
    /// Path and query.
    pub(crate) target: String,
    headers: HeaderMap,
}

impl OldQuestion {
    /// Returns the value of a header; empty if it is missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl OldOutpost {
    /// Starts an outpost that knows nobody.
    pub(crate) async fn start() -> Self {
        let outpost = Self { port: ports::free(), state: Arc::default(), mode: watch::Sender::new(OldMode::Working) };
        let listener = TcpListener::bind(ports::loopback(outpost.port)).await.unwrap();
        let shared = outpost.clone();
        spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let outpost = shared.clone();
                spawn(async move {
                    let answer = service_fn(move |request| {
                        let outpost = outpost.clone();
                        async move { Ok::<_, Infallible>(outpost.answer(request).await) }
                    });
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        outpost
    }

    /// Returns the address at which an edge of this kind asks.
    pub(crate) fn url(&self, edge: &str) -> String {
        format!("http://127.0.0.1:{}{PREFIX}/{edge}", self.port)
    }

    /// Has this `Cookie` header be a session of a person in the group `staff`, told with these headers on top.
    pub(crate) fn sign_in(&self, cookies: &str, user: &str, more: &[(&str, &str)]) {
        let subject = format!("subject of {user}");
        let email = format!("{user}@example.test");
        let own = [
            ("x-authentik-username", user),
            ("x-authentik-uid", &subject),
            ("x-authentik-email", &email),
            ("x-authentik-name", "Old Session"),
            ("x-authentik-groups", "staff|old"),
        ];
        let told = own.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.state.lock().unwrap().sessions.insert(cookies.to_owned(), told);
    }

    /// Changes how it answers.
    pub(crate) fn set(&self, mode: OldMode) {
        self.mode.send_replace(mode);
    }

    /// Returns what it was asked so far.
    pub(crate) fn asked(&self) -> Vec<OldQuestion> {
        self.state.lock().unwrap().asked.clone()
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let target = request.uri().path_and_query().unwrap().to_string();
        let cookies = request.headers().get("cookie").map_or("", |value| value.to_str().unwrap()).to_owned();
        let headers = request.headers().clone();
        self.state.lock().unwrap().asked.push(OldQuestion { target, headers });
        let mode = *self.mode.subscribe().wait_for(|mode| *mode != OldMode::Held).await.unwrap();
        if let OldMode::Failing(status) = mode {
            return Response::builder().status(status).body(Full::from("a page of a proxy")).unwrap();
        }
        match self.state.lock().unwrap().sessions.get(&cookies) {
            Some(told) => {
                let mut response = Response::new(Full::default());
                for (name, value) in told {
                    let name: http::HeaderName = name.parse().unwrap();
                    response.headers_mut().insert(name, value.parse().unwrap());
                }
                response.headers_mut().insert("set-cookie", format!("{COOKIE}=renewed").parse().unwrap());
                response
            }
            None => Response::builder()
                .status(StatusCode::FOUND)
                .header("location", "https://auth.example.test/authorize")
                .header("set-cookie", format!("{COOKIE}=anonymous"))
                .body(Full::from("<a href>Found</a>"))
                .unwrap(),
        }
    }
}

/// Signs a token with a client's secret, as authentik's proxy providers do.
pub(crate) fn signed(claims: &Value, secret: &str) -> String {
    let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
    let input = format!("{}.{}", part(r#"{"alg":"HS256","typ":"JWT"}"#), part(&claims.to_string()));
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(&input);
    format!("{input}.{}", BASE64URL_NOPAD.encode(&mac.finalize().into_bytes()))
}
