//! The app behind the gate: it echoes requests as JSON and counts them.
//!
//! At `/single-page` it serves a page that the test sets, at `/forbidden` a 401 of its own. `/upload`, `/events` and `/socket` are
//! in `streams`.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::{Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use serde::Deserialize;
use serde_json::json;
use tokio::{net::TcpListener, sync::mpsc};

use super::{
    ports,
    streams::{self, AppBody, Streams},
};

/// An app that echoes. It lives as long as the test's runtime.
pub(crate) struct App {
    /// Port.
    pub(crate) port: u16,
    state: Arc<State>,
}

/// State that the test reads and sets.
#[derive(Default)]
struct State {
    seen: AtomicUsize,
    last: Mutex<Option<Echo>>,
    page: Page,
    streams: Streams,
}

/// A page, and the number of its requests.
#[derive(Default)]
struct Page {
    html: Mutex<String>,
    opened: AtomicUsize,
}

/// A request as it reached the app.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Echo {
    /// Method.
    pub(crate) method: String,
    /// Path and query, as they arrived.
    pub(crate) target: String,
    headers: Vec<(String, String)>,
}

impl App {
    /// Starts the app.
    pub(crate) async fn start() -> Self {
        let port = ports::free();
        let listener = TcpListener::bind(ports::loopback(port)).await.unwrap();
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let state = Arc::clone(&shared);
                spawn(async move {
                    let answer = service_fn(move |request| {
                        let state = Arc::clone(&state);
                        async move { Ok::<_, Infallible>(answer(state, request).await) }
                    });
                    let server = auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection_with_upgrades(TokioIo::new(stream), answer).await;
                });
            }
        });
        Self { port, state }
    }

    /// Sets the page at `/single-page`.
    pub(crate) fn set_page(&self, html: &str) {
        html.clone_into(&mut self.state.page.html.lock().unwrap());
    }

    /// Returns the number of requests for the page.
    pub(crate) fn opened(&self) -> usize {
        self.state.page.opened.load(Ordering::Relaxed)
    }

    /// Returns the number of requests that reached the app.
    pub(crate) fn requests(&self) -> usize {
        self.state.seen.load(Ordering::Relaxed)
    }

    /// Returns the last request.
    pub(crate) fn last(&self) -> Echo {
        self.state.last.lock().unwrap().clone().expect("a request reached the app")
    }

    /// Returns the number of bytes of all uploads so far.
    pub(crate) fn received(&self) -> u64 {
        self.state.streams.received()
    }

    /// Has the second event sent to whoever waits for it.
    pub(crate) fn send_second_event(&self) {
        self.state.streams.send_second_event();
    }
}

impl Echo {
    /// Returns the values of all headers whose names an app could read as `name`: in any case and with any punctuation.
    pub(crate) fn values_as(&self, name: &str) -> Vec<&str> {
        let fold =
            |name: &str| name.chars().map(|c| if c.is_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
        let wanted: String = fold(name);
        self.headers
            .iter()
            .filter(|(name, _)| -> bool { fold(name) == wanted })
            .map(|(_, value)| value.as_str())
            .collect()
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Response<AppBody> {
    state.seen.fetch_add(1, Ordering::Relaxed);
    let seen = echo_of(&request);
    *state.last.lock().unwrap() = Some(seen.clone());
    match request.uri().path() {
        "/single-page" => {
            state.page.opened.fetch_add(1, Ordering::Relaxed);
            let html = state.page.html.lock().unwrap().clone();
            Response::builder().header("content-type", "text/html").body(AppBody::from(html)).unwrap()
        }
        "/forbidden" => Response::builder().status(401).body(AppBody::from("")).unwrap(),
        "/upload" => state.streams.upload(request).await,
        "/events" => {
            let (sender, chunks) = mpsc::channel(1);
            spawn(async move { state.streams.events(sender).await });
            let events = Response::builder().header("content-type", "text/event-stream");
            events.body(AppBody::Chunks(chunks)).unwrap()
        }
        "/socket" => streams::socket(request),
        _ => echo(&seen),
    }
}

fn echo_of(request: &Request<Incoming>) -> Echo {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Echo {
        method: request.method().to_string(),
        target: request.uri().path_and_query().map_or("", http::uri::PathAndQuery::as_str).to_owned(),
        headers: request.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
    }
}

fn echo(seen: &Echo) -> Response<AppBody> {
    let body = json!({ "method": seen.method, "target": seen.target, "headers": seen.headers });
    // A cookie of the app, in a form that an edge must not normalise.
    Response::builder()
        .header("content-type", "application/json")
        .header("set-cookie", "app=1; Path=/; Priority=High")
        .body(AppBody::from(body.to_string()))
        .unwrap()
}

#[expect(clippy::disallowed_methods, reason = "the app of a test ends with the test's runtime")]
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(task));
}
