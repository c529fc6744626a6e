//! Tests of the edge over real sockets: headers that reach the app, and the handling of each response of the gate.

use std::sync::{Arc, Mutex};

use http_body_util::Full;
use tokio::net::TcpListener;

use super::*;
use crate::{
    cli::demo::web::FullResponse,
    shutdown::{Signal, Tasks},
};

/// A server with a fixed response that records its requests.
struct RecordingServer {
    answer: fn() -> http::response::Builder,
    asked: Mutex<Vec<(Parts, Bytes)>>,
}

impl Handler for RecordingServer {
    async fn answer(&self, request: Request<Incoming>, _peer: IpAddr) -> StreamedResponse {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        self.asked.lock().unwrap().push((parts, body));
        let answer: FullResponse = (self.answer)().body(Full::from("what the server said")).unwrap();
        web::boxed(answer)
    }
}

/// An edge with a recording gate and app, all on free ports.
struct EdgeFixture {
    edge: SocketAddr,
    gate: Arc<RecordingServer>,
    app: Arc<RecordingServer>,
    client: Client<HttpConnector, Full<Bytes>>,
    stop: Signal,
}

impl Drop for EdgeFixture {
    fn drop(&mut self) {
        self.stop.raise();
    }
}

async fn spawn<S: Handler>(site: Arc<S>, tasks: &Tasks, stop: &Signal) -> SocketAddr {
    let listener = web::listen(0).await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn(web::serve(listener, site, tasks.clone(), stop.clone()));
    address
}

impl EdgeFixture {
    async fn new(gate: fn() -> http::response::Builder) -> Self {
        Self::with_gate_at(gate, |gate| gate).await
    }

    /// A fixture whose edge connects to `moved(gate)` instead of the gate.
    async fn with_gate_at(gate: fn() -> http::response::Builder, moved: impl Fn(SocketAddr) -> SocketAddr) -> Self {
        let stop = Signal::default();
        let tasks = Tasks::new(stop.clone());
        let server = |answer| Arc::new(RecordingServer { answer, asked: Mutex::default() });
        let (gate, app) = (server(gate), server(http::Response::builder));
        let asked_at = spawn(Arc::clone(&gate), &tasks, &stop).await;
        let apps = spawn(Arc::clone(&app), &tasks, &stop).await;
        let edge = DemoEdge::new(DemoOrigins { port: 8080 }, moved(asked_at), apps);
        let edge = spawn(Arc::new(edge), &tasks, &stop).await;
        Self { edge, gate, app, client: Client::builder(TokioExecutor::new()).build_http(), stop }
    }

    async fn get(&self, target: &str, headers: &[(&str, &str)]) -> (http::response::Parts, String) {
        self.send(Method::GET, target, headers, "").await
    }

    async fn send(
        &self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: &'static str,
    ) -> (http::response::Parts, String) {
        let named = headers.iter().any(|(name, _)| *name == "host");
        let host = if named { None } else { Some(("host", "notes.localhost:8080")) };
        let uri = format!("http://{}{target}", self.edge);
        let request = host
            .iter()
            .chain(headers)
            .fold(Request::builder().method(method).uri(uri), |request, (name, value)| request.header(*name, *value));
        let answer = self.client.request(request.body(Full::from(body)).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        (parts, String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap())
    }

    fn app_requests(&self) -> Vec<(Parts, Bytes)> {
        std::mem::take(&mut self.app.asked.lock().unwrap())
    }

    fn subrequests(&self) -> Vec<(Parts, Bytes)> {
        std::mem::take(&mut self.gate.asked.lock().unwrap())
    }
}

fn allowed() -> http::response::Builder {
    http::Response::builder()
        .header("remote-user", "alice")
        .header("remote-groups", "admins,staff")
        .header("x-other", "1")
}

#[tokio::test]
async fn identity_headers_of_the_client_never_reach_the_app() {
    let fixture = EdgeFixture::new(allowed).await;
    let forged = [
        ("Remote-User", "root"),
        ("Remote_User", "root"),
        ("REMOTE.USER", "root"),
        ("X-authentik-username", "root"),
        ("X_authentik_username", "root"),
        ("x~authentik~groups", "root"),
        ("X-Auth-Request-User", "root"),
        ("X-Forwarded-Host", "root"),
        ("X_Forwarded_For", "root"),
        ("Forwarded", "for=root"),
    ];
    fixture.get("/", &forged).await;
    let [(app, _)] = &fixture.app_requests()[..] else { panic!("one request reaches the app") };
    assert_eq!(app.headers["remote-user"], "alice");
    assert_eq!(app.headers["remote-groups"], "admins,staff");
    assert!(!app.headers.contains_key("x-other"), "only identity headers are taken from the gate's answer");
    for (name, value) in &app.headers {
        assert!(!value.to_str().unwrap().contains("root"), "{name}: {value:?}");
    }
    let [(gate, _)] = &fixture.subrequests()[..] else { panic!("one question reaches the gate") };
    assert_eq!(gate.uri.path(), "/_doorward/auth/traefik");
    for (name, value) in &gate.headers {
        assert!(!value.to_str().unwrap().contains("root"), "{name}: {value:?}");
    }
}

#[tokio::test]
async fn the_app_gets_method_target_and_body_as_they_came() {
    let fixture = EdgeFixture::new(allowed).await;
    let (answer, body) = fixture.send(Method::PUT, "//a/..%2Fb?x=%20&y", &[("cookie", "a=1")], "a body").await;
    assert_eq!((answer.status, body.as_str()), (StatusCode::OK, "what the server said"));
    let [(app, body)] = &fixture.app_requests()[..] else { panic!("one request reaches the app") };
    assert_eq!(
        (&app.method, app.uri.to_string().as_str(), &body[..]),
        (&Method::PUT, "//a/..%2Fb?x=%20&y", &b"a body"[..])
    );
    let [(gate, body)] = &fixture.subrequests()[..] else { panic!("one question reaches the gate") };
    assert_eq!((&gate.method, body.len()), (&Method::GET, 0));
    assert_eq!(gate.headers["x-forwarded-method"], "PUT");
    assert_eq!(gate.headers["x-forwarded-uri"], "//a/..%2Fb?x=%20&y");
    assert_eq!(gate.headers["x-forwarded-host"], "notes.localhost:8080");
    assert_eq!(gate.headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(gate.headers["cookie"], "a=1");
}

#[tokio::test]
async fn a_response_other_than_200_goes_to_the_client_and_the_request_not_to_the_app() {
    let answers: [(u16, fn() -> http::response::Builder); 5] = [
        (302, || {
            http::Response::builder().status(302).header("location", "http://127.0.0.1:9/").header("set-cookie", "a=1")
        }),
        (401, || http::Response::builder().status(401).header("www-authenticate", "Bearer")),
        (403, || http::Response::builder().status(403).header("doorward-reason", "group_missing")),
        (503, || http::Response::builder().status(503).header("retry-after", "5")),
        // Only 200 allows a request, as the gate's contract has it.
        (202, || http::Response::builder().status(202).header("remote-user", "alice")),
    ];
    for (status, answer) in answers {
        let fixture = EdgeFixture::new(answer).await;
        let (answered, body) = fixture.get("/", &[]).await;
        assert_eq!((answered.status.as_u16(), body.as_str()), (status, "what the server said"));
        for (name, value) in answer().body(()).unwrap().headers() {
            assert_eq!(answered.headers.get(name), Some(value), "{status}");
        }
        assert!(fixture.app_requests().is_empty(), "{status}");
    }
}

#[tokio::test]
async fn requests_are_refused_while_the_gate_is_unavailable() {
    // A port that was just released: nothing listens there.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let fixture = EdgeFixture::with_gate_at(allowed, |_| closed).await;
    let (answered, _) = fixture.get("/", &[("remote-user", "root")]).await;
    assert_eq!(answered.status, StatusCode::BAD_GATEWAY);
    assert!(fixture.app_requests().is_empty());
}

#[tokio::test]
async fn an_unknown_host_is_misdirected_and_the_landing_page_is_open() {
    let fixture = EdgeFixture::new(allowed).await;
    for host in ["evil.example", "notes.localhost.evil.example", "other.localhost", "notes.localhost:port", ""] {
        assert_eq!(fixture.get("/", &[("host", host)]).await.0.status, StatusCode::MISDIRECTED_REQUEST, "{host}");
    }
    let (landing, page) = fixture.get("/", &[("host", "localhost:8080")]).await;
    assert_eq!(landing.status, StatusCode::OK);
    assert!(page.contains("http://admin.localhost:8080/"));
    assert_eq!(fixture.get("/x", &[("host", "localhost:8080")]).await.0.status, StatusCode::NOT_FOUND);
    assert!(fixture.subrequests().is_empty() && fixture.app_requests().is_empty());
}

#[tokio::test]
async fn a_host_in_any_spelling_is_guarded() {
    let fixture = EdgeFixture::new(|| http::Response::builder().status(401)).await;
    for host in ["NOTES.localhost", "notes.localhost.", "admin.localhost:1"] {
        assert_eq!(fixture.get("/", &[("host", host)]).await.0.status, StatusCode::UNAUTHORIZED, "{host}");
    }
    assert!(fixture.app_requests().is_empty());
}
