//! The app behind the gate: it echoes requests as JSON and counts them.
//!
//! At `/single-page` it serves a page that the test sets, at `/forbidden` a 401 of its own.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Bytes, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;

use super::ports;

/// An app that echoes. It lives as long as the test's runtime.
pub(crate) struct App {
    /// Port.
    pub(crate) port: u16,
    seen: Arc<AtomicUsize>,
    page: Arc<Page>,
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
        let seen = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&seen);
        let page = Arc::<Page>::default();
        let shown = Arc::clone(&page);
        spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let (seen, page) = (Arc::clone(&counter), Arc::clone(&shown));
                spawn(async move {
                    let answer = service_fn(move |request| {
                        seen.fetch_add(1, Ordering::Relaxed);
                        let page = Arc::clone(&page);
                        async move { Ok::<_, Infallible>(answer(&page, &request)) }
                    });
                    let _ =
                        auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        Self { port, seen, page }
    }

    /// Sets the page at `/single-page`.
    pub(crate) fn set_page(&self, html: &str) {
        html.clone_into(&mut self.page.html.lock().unwrap());
    }

    /// Returns the number of requests for the page.
    pub(crate) fn opened(&self) -> usize {
        self.page.opened.load(Ordering::Relaxed)
    }

    /// Returns the number of requests that reached the app.
    pub(crate) fn requests(&self) -> usize {
        self.seen.load(Ordering::Relaxed)
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

fn answer(page: &Page, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    match request.uri().path() {
        "/single-page" => {
            page.opened.fetch_add(1, Ordering::Relaxed);
            let html = page.html.lock().unwrap().clone();
            Response::builder().header("content-type", "text/html").body(Full::from(html)).unwrap()
        }
        "/forbidden" => Response::builder().status(401).body(Full::default()).unwrap(),
        _ => echo(request),
    }
}

fn echo(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let headers: Vec<_> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())))
        .collect();
    let target = request.uri().path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    let body = json!({ "method": request.method().as_str(), "target": target, "headers": headers });
    // A cookie of the app, in a form that an edge must not normalise.
    Response::builder()
        .header("content-type", "application/json")
        .header("set-cookie", "app=1; Path=/; Priority=High")
        .body(Full::from(body.to_string()))
        .unwrap()
}

#[expect(clippy::disallowed_methods, reason = "the app of a test ends with the test's runtime")]
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(task));
}
