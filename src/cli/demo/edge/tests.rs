//! The edge between real sockets: what reaches the app, and what becomes of each answer of the gate.

use std::sync::{Arc, Mutex};

use http_body_util::Full;
use tokio::net::TcpListener;

use super::*;
use crate::{
    cli::demo::site::Whole,
    shutdown::{Signal, Tasks},
};

/// A neighbour that answers as it is told and remembers what it was asked.
struct Neighbour {
    answer: fn() -> http::response::Builder,
    asked: Mutex<Vec<(Parts, Bytes)>>,
}

impl Site for Neighbour {
    async fn answer(&self, request: Request<Incoming>, _peer: IpAddr) -> Response {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        self.asked.lock().unwrap().push((parts, body));
        let answer: Whole = (self.answer)().body(Full::from("what the neighbour said")).unwrap();
        site::whole(answer)
    }
}

/// An edge between a gate and an app, all on free ports.
struct Street {
    edge: SocketAddr,
    gate: Arc<Neighbour>,
    app: Arc<Neighbour>,
    client: Client<HttpConnector, Full<Bytes>>,
    stop: Signal,
}

impl Drop for Street {
    fn drop(&mut self) {
        self.stop.raise();
    }
}

async fn settle<S: Site>(site: Arc<S>, tasks: &Tasks, stop: &Signal) -> SocketAddr {
    let listener = site::listen(0).await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn(site::serve(listener, site, tasks.clone(), stop.clone()));
    address
}

impl Street {
    async fn new(gate: fn() -> http::response::Builder) -> Self {
        Self::between(gate, |gate| gate).await
    }

    /// `moved` says where the edge looks for the gate.
    async fn between(gate: fn() -> http::response::Builder, moved: impl Fn(SocketAddr) -> SocketAddr) -> Self {
        let stop = Signal::default();
        let tasks = Tasks::new(stop.clone());
        let neighbour = |answer| Arc::new(Neighbour { answer, asked: Mutex::default() });
        let (gate, app) = (neighbour(gate), neighbour(http::Response::builder));
        let asked_at = settle(Arc::clone(&gate), &tasks, &stop).await;
        let apps = settle(Arc::clone(&app), &tasks, &stop).await;
        let edge = Edge::new(Origins { port: 8080 }, moved(asked_at), apps);
        let edge = settle(Arc::new(edge), &tasks, &stop).await;
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

    fn at_the_app(&self) -> Vec<(Parts, Bytes)> {
        std::mem::take(&mut self.app.asked.lock().unwrap())
    }

    fn at_the_gate(&self) -> Vec<(Parts, Bytes)> {
        std::mem::take(&mut self.gate.asked.lock().unwrap())
    }
}

fn let_in() -> http::response::Builder {
    http::Response::builder()
        .header("remote-user", "alice")
        .header("remote-groups", "admins,staff")
        .header("x-other", "1")
}

#[tokio::test]
async fn what_the_client_says_of_itself_never_reaches_the_app() {
    let street = Street::new(let_in).await;
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
    street.get("/", &forged).await;
    let [(app, _)] = &street.at_the_app()[..] else { panic!("one request reaches the app") };
    assert_eq!(app.headers["remote-user"], "alice");
    assert_eq!(app.headers["remote-groups"], "admins,staff");
    assert!(!app.headers.contains_key("x-other"), "only identity headers are taken from the gate's answer");
    for (name, value) in &app.headers {
        assert!(!value.to_str().unwrap().contains("root"), "{name}: {value:?}");
    }
    let [(gate, _)] = &street.at_the_gate()[..] else { panic!("one question reaches the gate") };
    assert_eq!(gate.uri.path(), "/_doorward/auth/traefik");
    for (name, value) in &gate.headers {
        assert!(!value.to_str().unwrap().contains("root"), "{name}: {value:?}");
    }
}

#[tokio::test]
async fn the_app_gets_method_target_and_body_as_they_came() {
    let street = Street::new(let_in).await;
    let (answer, body) = street.send(Method::PUT, "//a/..%2Fb?x=%20&y", &[("cookie", "a=1")], "a body").await;
    assert_eq!((answer.status, body.as_str()), (StatusCode::OK, "what the neighbour said"));
    let [(app, body)] = &street.at_the_app()[..] else { panic!("one request reaches the app") };
    assert_eq!(
        (&app.method, app.uri.to_string().as_str(), &body[..]),
        (&Method::PUT, "//a/..%2Fb?x=%20&y", &b"a body"[..])
    );
    let [(gate, body)] = &street.at_the_gate()[..] else { panic!("one question reaches the gate") };
    assert_eq!((&gate.method, body.len()), (&Method::GET, 0));
    assert_eq!(gate.headers["x-forwarded-method"], "PUT");
    assert_eq!(gate.headers["x-forwarded-uri"], "//a/..%2Fb?x=%20&y");
    assert_eq!(gate.headers["x-forwarded-host"], "notes.localhost:8080");
    assert_eq!(gate.headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(gate.headers["cookie"], "a=1");
}

#[tokio::test]
async fn whatever_is_not_200_is_the_clients_answer_and_never_reaches_the_app() {
    let answers: [(u16, fn() -> http::response::Builder); 5] = [
        (302, || {
            http::Response::builder().status(302).header("location", "http://127.0.0.1:9/").header("set-cookie", "a=1")
        }),
        (401, || http::Response::builder().status(401).header("www-authenticate", "Bearer")),
        (403, || http::Response::builder().status(403).header("doorward-reason", "group_missing")),
        (503, || http::Response::builder().status(503).header("retry-after", "5")),
        // Only 200 is a yes, as the gate's contract has it.
        (202, || http::Response::builder().status(202).header("remote-user", "alice")),
    ];
    for (status, answer) in answers {
        let street = Street::new(answer).await;
        let (answered, body) = street.get("/", &[]).await;
        assert_eq!((answered.status.as_u16(), body.as_str()), (status, "what the neighbour said"));
        for (name, value) in answer().body(()).unwrap().headers() {
            assert_eq!(answered.headers.get(name), Some(value), "{status}");
        }
        assert!(street.at_the_app().is_empty(), "{status}");
    }
}

#[tokio::test]
async fn nobody_gets_in_while_the_gate_is_away() {
    // A port that was just given back: nothing listens there.
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let street = Street::between(let_in, |_| nobody).await;
    let (answered, _) = street.get("/", &[("remote-user", "root")]).await;
    assert_eq!(answered.status, StatusCode::BAD_GATEWAY);
    assert!(street.at_the_app().is_empty());
}

#[tokio::test]
async fn an_unknown_host_finds_nothing_and_the_landing_page_is_open() {
    let street = Street::new(let_in).await;
    for host in ["evil.example", "notes.localhost.evil.example", "other.localhost", "notes.localhost:port", ""] {
        assert_eq!(street.get("/", &[("host", host)]).await.0.status, StatusCode::MISDIRECTED_REQUEST, "{host}");
    }
    let (landing, page) = street.get("/", &[("host", "localhost:8080")]).await;
    assert_eq!(landing.status, StatusCode::OK);
    assert!(page.contains("http://admin.localhost:8080/"));
    assert_eq!(street.get("/x", &[("host", "localhost:8080")]).await.0.status, StatusCode::NOT_FOUND);
    assert!(street.at_the_gate().is_empty() && street.at_the_app().is_empty());
}

#[tokio::test]
async fn a_host_in_any_spelling_is_guarded() {
    let street = Street::new(|| http::Response::builder().status(401)).await;
    for host in ["NOTES.localhost", "notes.localhost.", "admin.localhost:1"] {
        assert_eq!(street.get("/", &[("host", host)]).await.0.status, StatusCode::UNAUTHORIZED, "{host}");
    }
    assert!(street.at_the_app().is_empty());
}
