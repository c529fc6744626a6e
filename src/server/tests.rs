//! What the listeners promise, over real sockets and with answers that stand for the gate's.

use std::{
    convert::Infallible,
    future::{Future, Ready, pending, ready},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, StatusCode, Version, request::Parts};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    sync::Notify,
};
use tower::{ServiceExt as _, service_fn};

use super::{
    Error, Listener, Server, Settings, TlsSettings,
    connection::{FragmentDropped, Host},
    drain::{Drain, Phase},
    form,
    router::{Bounds, Route, bounded, route},
    tls::Certificates,
    vigil::Patience,
};
use crate::{
    edge::Response,
    shutdown::{Signal, Tasks},
};

const LONG: Duration = Duration::from_hours(1);
const SHORT: Duration = Duration::from_millis(50);

/// Nothing runs out.
const ENDLESS: Patience = Patience { handshake: LONG, first_request: LONG, header: LONG, idle: LONG, farewell: LONG };

/// A listener that runs, and the ends that a test holds of it.
struct Running {
    address: SocketAddr,
    drain: Arc<Drain>,
    tasks: Tasks,
    stop: Signal,
    ended: Signal,
}

/// How a test's listener differs from one with nothing that runs out.
struct Plan {
    patience: Patience,
    grace: Duration,
    most: usize,
    certificates: Option<Arc<Certificates>>,
}

impl Default for Plan {
    fn default() -> Self {
        Self { patience: ENDLESS, grace: LONG, most: 1_000, certificates: None }
    }
}

impl Running {
    fn with<A, F>(plan: Plan, answer: A) -> Self
    where
        A: Fn(IpAddr, Parts) -> F + Send + Sync + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        Self::reading(plan, move |peer, request, _body| answer(peer, request))
    }

    fn reading<A, F>(plan: Plan, answer: A) -> Self
    where
        A: Fn(IpAddr, Parts, Incoming) -> F + Send + Sync + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        let (stop, ended, drain) = (Signal::default(), Signal::default(), Arc::new(Drain::default()));
        let tasks = Tasks::new(stop.clone());
        let listener = Listener::bind("server.listen", (Ipv4Addr::LOCALHOST, 0).into(), plan.most).unwrap();
        let address = listener.address();
        let host = Host::new(answer, plan.patience, Arc::clone(&drain), plan.certificates, tasks.clone());
        let (stopping, ending) = (stop.clone(), ended.clone());
        tasks.run(async move {
            listener.serve(host, &stopping, plan.grace).await;
            ending.raise();
        });
        Self { address, drain, tasks, stop, ended }
    }

    fn echoing() -> Self {
        Self::with(Plan::default(), echo)
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes on a connection of their own and reads until the server closes it.
    async fn tell(&self, bytes: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_bytes()).await.unwrap();
        rest(&mut stream).await
    }

    /// A client that speaks HTTP/2; the signal is raised when its connection has ended.
    async fn h2(&self, io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> (Client, Signal) {
        let (client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await.unwrap();
        let closed = Signal::default();
        let closing = closed.clone();
        self.tasks.run(async move {
            let _ended = connection.await;
            closing.raise();
        });
        (client, closed)
    }
}

type Client = http2::SendRequest<Empty<Bytes>>;

fn say(text: impl Into<Bytes>) -> Response {
    Response::new(Full::new(text.into()))
}

/// Says how a request arrived.
#[expect(clippy::needless_pass_by_value, reason = "answers own their request")]
fn echo(peer: IpAddr, request: Parts) -> Ready<Response> {
    let mark = if request.extensions.get::<FragmentDropped>().is_some() { " fragment" } else { "" };
    ready(say(format!("[{:?} {} {} {peer}{mark}]", request.version, request.method, request.uri)))
}

async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    // A connection that is cut may end in a reset; what came before counts.
    let _cut = stream.read_to_end(&mut bytes).await;
    String::from_utf8(bytes).unwrap()
}

/// Reads one answer whose body ends with `end`.
async fn answer(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let mut bytes = [0; 4_096];
        let read = stream.read(&mut bytes).await.unwrap();
        assert_ne!(read, 0, "closed after {text:?}");
        text.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
    }
    text
}

async fn ask(client: &mut Client, uri: &str) -> (StatusCode, Version, String) {
    let request = Request::get(uri).body(Empty::new()).unwrap();
    let response = client.send_request(request).await.unwrap();
    let (status, version) = (response.status(), response.version());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, version, String::from_utf8(body.to_vec()).unwrap())
}

fn closes(answer: &str) -> bool {
    answer.to_ascii_lowercase().contains("\r\nconnection: close\r\n")
}

#[tokio::test]
async fn an_http_1_1_connection_is_kept() {
    let mut stream = Running::echoing().connect().await;
    for target in ["/one", "/two?x=1", "/three"] {
        stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
        let said = answer(&mut stream, "]").await;
        assert!(said.ends_with(&format!("[HTTP/1.1 GET {target} 127.0.0.1]")), "{said}");
        assert!(!closes(&said), "{said}");
    }
}

#[tokio::test]
async fn an_http_1_0_connection_is_answered_and_closed() {
    let said = Running::echoing().tell("GET /old HTTP/1.0\r\n\r\n").await;
    assert!(said.starts_with("HTTP/1.0 200 OK\r\n") && said.ends_with("[HTTP/1.0 GET /old 127.0.0.1]"), "{said}");
}

#[tokio::test]
async fn a_wish_to_close_is_honoured() {
    let said =
        Running::echoing().tell("GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Forwarded-Host\r\n\r\n").await;
    assert!(closes(&said), "{said}");
}

#[tokio::test]
async fn http_2_is_spoken_in_clear_with_prior_knowledge() {
    let running = Running::echoing();
    let (mut client, _) = running.h2(running.connect().await).await;
    let (one, two) = (client.clone().send_request(Request::get("http://a/1").body(Empty::new()).unwrap()), async {
        ask(&mut client, "http://a/2").await
    });
    let (one, (_, version, two)) = tokio::join!(one, two);
    assert_eq!(one.unwrap().status(), StatusCode::OK);
    assert_eq!((version, two.as_str()), (Version::HTTP_2, "[HTTP/2.0 GET http://a/2 127.0.0.1]"));
}

#[tokio::test]
async fn any_method_is_answered_and_head_without_a_body() {
    let running = Running::echoing();
    for method in ["POST", "OPTIONS", "PROPFIND", "FOOBAR", "TRACE"] {
        let said = running.tell(&format!("{method} /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await;
        assert!(said.starts_with("HTTP/1.1 200") && said.contains(&format!(" {method} /x ")), "{said}");
    }
    let said = running.tell("HEAD /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(said.starts_with("HTTP/1.1 200") && said.ends_with("\r\n\r\n"), "{said}");
    let said = running.tell("OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(said.contains(" OPTIONS * "), "{said}");
}

#[tokio::test]
async fn a_body_is_never_waited_for() {
    let running = Running::echoing();
    for head in [
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\n",
        "HEAD /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\nExpect: 100-continue\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\nonly this",
    ] {
        let mut stream = running.connect().await;
        stream.write_all(head.as_bytes()).await.unwrap();
        let said = rest(&mut stream).await;
        assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{head}: {said}");
        assert!(closes(&said), "the next request could not be told from the body: {said}");
    }
}

#[tokio::test]
async fn a_form_is_read_whole_or_not_at_all() {
    let running = Running::reading(Plan::default(), |_, _, body| async {
        say(format!("[{} bytes]", form::read_within(LONG, body).await.len()))
    });
    let head = "POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
    for (length, read) in [(0, 0), (27, 27), (32 * 1024, 32 * 1024), (32 * 1024 + 1, 0)] {
        let body = "x".repeat(length);
        for request in [
            format!("{head}Content-Length: {length}\r\n\r\n{body}"),
            format!("{head}Content-Length: {length}\r\nExpect: 100-continue\r\n\r\n{body}"),
            format!(
                "{head}Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n{}",
                if length > 0 { "0\r\n\r\n" } else { "" }
            ),
        ] {
            let said = running.tell(&request).await;
            assert!(said.contains(&format!("[{read} bytes]")), "{length}: {said}");
        }
    }
}

#[tokio::test]
async fn a_form_that_does_not_come_is_not_waited_for() {
    let running = Running::reading(Plan::default(), |_, _, body| async {
        say(format!("[{} bytes]", form::read_within(SHORT, body).await.len()))
    });
    let mut stream = running.connect().await;
    stream.write_all(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\nonly this").await.unwrap();
    let said = rest(&mut stream).await;
    assert!(said.contains("[0 bytes]") && closes(&said), "{said}");
}

#[tokio::test]
async fn an_answer_is_not_lost_to_a_client_that_is_still_sending() {
    let mut stream = Running::echoing().connect().await;
    let body = vec![b'x'; 4 << 20];
    stream.write_all(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\n\r\n").await.unwrap();
    stream.write_all(&body).await.unwrap();
    let said = rest(&mut stream).await;
    assert!(said.starts_with("HTTP/1.1 200 OK\r\n") && said.ends_with(']'), "{said}");
}

#[tokio::test]
async fn a_header_of_64_kib_is_read_and_a_much_longer_one_refused() {
    let running = Running::echoing();
    let request = |size: usize| {
        let cookie = format!("Cookie: {}\r\n", "c".repeat(1_014)).repeat(size / 1_024);
        format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{cookie}\r\n")
    };
    assert!(running.tell(&request(64 << 10)).await.starts_with("HTTP/1.1 200"));
    let said = running.tell(&request(256 << 10)).await;
    assert!(said.starts_with("HTTP/1.1 431 "), "{said:?}");
}

#[tokio::test]
async fn over_http_2_a_header_of_64_kib_is_read_and_a_much_longer_one_refused() {
    let running = Running::echoing();
    for (size, status) in [(63, StatusCode::OK), (256, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)] {
        let (mut client, _) = running.h2(running.connect().await).await;
        let mut request = Request::get("http://a/");
        for _ in 0..size {
            request = request.header("cookie", "c".repeat(1_000));
        }
        let response = client.send_request(request.body(Empty::new()).unwrap()).await;
        match response {
            Ok(response) => assert_eq!(response.status(), status, "{size} KiB"),
            Err(error) => assert_ne!(status, StatusCode::OK, "{size} KiB: {error}"),
        }
    }
}

#[tokio::test]
async fn nonsense_is_refused() {
    let running = Running::echoing();
    for (request, status) in [
        ("hello\r\n\r\n", "400"),
        ("GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400"),
    ] {
        let said = running.tell(request).await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status}")), "{request:?}: {said:?}");
    }
}

#[tokio::test]
async fn envoys_targets_arrive_as_they_are() {
    let running = Running::with(Plan::default(), |_, request: Parts| {
        ready(match route("/_doorward", &request.method, &request.uri) {
            Route::Authorize(edge, target) => say(format!("[{} {target}]", edge.label())),
            Route::OwnPage(_) | Route::Nothing => say("[not asked]"),
        })
    });
    for (line, expected) in [
        ("/_doorward/auth/envoy/../../../ping", "envoy /../../../ping"),
        ("/_doorward/auth/envoy//x/%2e%2e/;/%2F?a=b?c", "envoy //x/%2e%2e/;/%2F?a=b?c"),
        ("/_doorward/auth/envoy/a\\b", "envoy /a\\b"),
        ("http://app.example.com/_doorward/auth/envoy/x?y", "envoy /x?y"),
        ("/x/../_doorward/auth/envoy/x", "not asked"),
    ] {
        let said = running.tell(&format!("GET {line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await;
        assert!(said.ends_with(&format!("[{expected}]")), "{line}: {said}");
    }
}

#[tokio::test]
async fn what_follows_a_hash_is_not_dropped_in_silence() {
    let running = Running::echoing();
    let request = |target| format!("\r\nGET {target} HTTP/1.1\r\nHost: a\r\nCookie: a#b\r\n\r\n");
    let mut stream = running.connect().await;
    for (target, marked) in [("/a", false), ("/a#/../admin", true), ("/b", false), ("/b?x#", true), ("/%23", false)] {
        stream.write_all(request(target).as_bytes()).await.unwrap();
        let said = answer(&mut stream, "]").await;
        assert_eq!(said.contains(" fragment]"), marked, "{target}: {said}");
    }
    // Cut anywhere, also between the bytes that end the line.
    let text = request("/a#b");
    for at in 1..text.len() {
        let (head, tail) = text.split_at(at);
        stream.write_all(head.as_bytes()).await.unwrap();
        tokio::task::yield_now().await;
        stream.write_all(tail.as_bytes()).await.unwrap();
        assert!(answer(&mut stream, "]").await.contains(" fragment]"), "cut at {at}");
        stream.write_all(request("/a").as_bytes()).await.unwrap();
        assert!(!answer(&mut stream, "]").await.contains(" fragment]"), "cut at {at}");
    }
}

#[tokio::test]
async fn a_client_that_never_asks_or_dribbles_is_cut_and_an_idle_one_is_kept() {
    let patience = Patience { first_request: SHORT, header: SHORT, ..ENDLESS };
    let running = Running::with(Plan { patience, ..Plan::default() }, echo);
    let mut kept = running.connect().await;
    kept.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    answer(&mut kept, "]").await;

    let mut silent = running.connect().await;
    assert_eq!(rest(&mut silent).await, "", "waits for the cut");
    let mut slow = running.connect().await;
    slow.write_all(b"GET /2 HTTP/1.1\r\nHo").await.unwrap();
    assert_eq!(rest(&mut slow).await, "", "waits for the cut");
    let mut later_slow = running.connect().await;
    later_slow.write_all(b"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    answer(&mut later_slow, "]").await;
    later_slow.write_all(b"GET /4 HT").await.unwrap();
    assert_eq!(rest(&mut later_slow).await, "", "waits for the cut");

    kept.write_all(b"GET /5 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(answer(&mut kept, "]").await.contains("GET /5"));
}

#[tokio::test]
async fn a_header_that_comes_in_two_parts_is_no_reason_to_cut() {
    let patience = Patience { first_request: SHORT, header: LONG, ..ENDLESS };
    let running = Running::with(Plan { patience, ..Plan::default() }, echo);
    let mut slow = running.connect().await;
    slow.write_all(b"GET /1 HTTP/1.1\r\nHo").await.unwrap();
    assert_eq!(rest(&mut running.connect().await).await, "", "waits for longer than the first request may");
    slow.write_all(b"st: a\r\n\r\n").await.unwrap();
    assert!(answer(&mut slow, "]").await.contains("GET /1"));
}

#[tokio::test]
async fn a_client_that_takes_no_answers_is_cut() {
    let patience = Patience { header: SHORT, ..ENDLESS };
    let large = Bytes::from(vec![b'x'; 32 << 20]);
    let running = Running::with(Plan { patience, ..Plan::default() }, move |_, _| ready(say(large.clone())));
    let mut stream = running.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    // Everybody has left only once the one who does not read was cut.
    running.stop.raise();
    running.ended.raised().await;
    assert!(rest(&mut stream).await.len() < 32 << 20);
}

#[tokio::test]
async fn connections_that_stay_idle_too_long_are_closed() {
    let patience = Patience { first_request: SHORT, idle: SHORT, ..ENDLESS };
    let running = Running::with(Plan { patience, ..Plan::default() }, echo);
    let mut stream = running.connect().await;
    stream.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(rest(&mut stream).await.ends_with(']'));
    let (mut client, closed) = running.h2(running.connect().await).await;
    ask(&mut client, "http://a/").await;
    closed.raised().await;
}

#[tokio::test]
async fn while_draining_answers_ask_to_close_and_what_is_in_hand_is_finished() {
    let (arrived, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (here, on) = (Arc::clone(&arrived), Arc::clone(&go));
    let running = Running::with(Plan::default(), move |_, _| {
        let (here, on) = (Arc::clone(&here), Arc::clone(&on));
        async move {
            here.notify_one();
            on.notified().await;
            say("[done]")
        }
    });
    let mut stream = running.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    arrived.notified().await;
    running.drain.finish();
    go.notify_one();
    let said = rest(&mut stream).await;
    assert!(closes(&said) && said.ends_with("[done]"), "{said}");
}

#[tokio::test]
async fn a_draining_server_still_accepts_and_asks_to_close() {
    let running = Running::echoing();
    let mut before = running.connect().await;
    before.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(!closes(&answer(&mut before, "]").await));
    running.stop.raise();
    while running.drain.phase() != Phase::Draining {
        tokio::task::yield_now().await;
    }
    let said = running.tell("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(closes(&said) && said.ends_with(']'), "{said}");
    before.write_all(b"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let said = rest(&mut before).await;
    assert!(closes(&said) && said.contains("GET /3"), "{said}");
}

#[tokio::test]
async fn draining_ends_idle_connections_of_both_versions_and_then_the_server() {
    let running = Running::with(Plan { grace: Duration::from_secs(1), ..Plan::default() }, echo);
    let mut kept = running.connect().await;
    kept.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    answer(&mut kept, "]").await;
    let (mut client, closed) = running.h2(running.connect().await).await;
    ask(&mut client, "http://a/").await;
    running.stop.raise();
    assert_eq!(rest(&mut kept).await, "");
    drop(kept);
    closed.raised().await;
    assert!(client.send_request(Request::get("http://a/").body(Empty::new()).unwrap()).await.is_err());
    running.ended.raised().await;
    assert!(TcpStream::connect(running.address).await.is_err(), "the listener is closed");
}

#[tokio::test]
async fn a_client_that_was_let_in_last_is_still_answered() {
    let running = Running::echoing();
    let mut stream = running.connect().await;
    // Wait until it is being served: a byte of its request is enough.
    while running.drain.phase() != Phase::Accepting {
        tokio::task::yield_now().await;
    }
    running.drain.finish();
    stream.write_all(b"GET /last HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let said = rest(&mut stream).await;
    assert!(closes(&said) && said.contains("GET /last"), "{said}");
}

#[tokio::test]
async fn after_the_grace_whoever_is_left_is_dropped() {
    let running = Running::with(Plan { grace: SHORT, ..Plan::default() }, |_, _| pending::<Response>());
    let mut stream = running.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let (mut client, _) = running.h2(running.connect().await).await;
    let asked = client.send_request(Request::get("http://a/").body(Empty::new()).unwrap());
    let (said, asked, ()) = tokio::join!(rest(&mut stream), asked, async {
        running.stop.raise();
        running.ended.raised().await;
    });
    assert_eq!(said, "");
    assert!(asked.is_err());
    running.tasks.joined().await;
}

#[tokio::test]
async fn requests_beyond_the_limit_are_shed_with_503() {
    let (arrived, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (here, on) = (Arc::clone(&arrived), Arc::clone(&go));
    let slow = service_fn(move |()| {
        let (here, on) = (Arc::clone(&here), Arc::clone(&on));
        async move {
            here.notify_one();
            on.notified().await;
            Ok::<_, Infallible>(say("[done]"))
        }
    });
    let stack = bounded(Bounds { most: 1, deadline: LONG }, slow);
    let running = Running::with(Plan::default(), move |_, _| {
        let answered = stack.clone().oneshot(());
        async move {
            answered.await.unwrap_or_else(|_| {
                let mut refusal = say("[shed]");
                *refusal.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                refusal
            })
        }
    });
    let mut first = running.connect().await;
    first.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    arrived.notified().await;
    let said = running.tell("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(said.starts_with("HTTP/1.1 503 ") && said.ends_with("[shed]"), "{said}");
    go.notify_one();
    assert!(answer(&mut first, "]").await.ends_with("[done]"));
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_their_turn() {
    let running = Running::with(Plan { most: 1, ..Plan::default() }, echo);
    let mut first = running.connect().await;
    first.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    answer(&mut first, "]").await;
    let mut second = running.connect().await;
    second.write_all(b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    first.write_all(b"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    answer(&mut first, "]").await;
    let early = second.try_read(&mut [0; 1]);
    assert!(early.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "served beside the first");
    drop(first);
    assert!(answer(&mut second, "]").await.contains("GET /2"));
}

#[tokio::test]
async fn a_panic_ends_its_own_connection_without_an_answer_and_no_other() {
    let running = Running::with(Plan::default(), |peer, request: Parts| async move {
        assert_ne!(request.uri.path(), "/panic");
        echo(peer, request).await
    });
    let mut other = running.connect().await;
    other.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    answer(&mut other, "]").await;
    assert_eq!(running.tell("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n").await, "");
    let (mut client, _) = running.h2(running.connect().await).await;
    assert!(client.send_request(Request::get("http://a/panic").body(Empty::new()).unwrap()).await.is_err());
    assert_eq!(ask(&mut client, "http://a/2").await.0, StatusCode::OK, "nor another request beside it");
    other.write_all(b"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    answer(&mut other, "]").await;
}

/// Self-signed files for `localhost`, and a client that trusts them and offers these protocols.
fn tls_files(directory: &Path, alpn: &[&str]) -> (TlsSettings, tokio_rustls::TlsConnector) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    (TlsSettings { cert, key, client_ca: None }, tokio_rustls::TlsConnector::from(Arc::new(config)))
}

#[tokio::test]
async fn over_tls_the_client_chooses_the_version() {
    let directory = tempfile::tempdir().unwrap();
    for (offered, chosen) in
        [(vec!["h2", "http/1.1"], Some(b"h2".as_slice())), (vec!["http/1.1"], Some(b"http/1.1")), (vec![], None)]
    {
        let (settings, connector) = tls_files(directory.path(), &offered);
        let certificates = Some(Arc::new(Certificates::load(settings).await.unwrap()));
        let running = Running::with(Plan { certificates, ..Plan::default() }, echo);
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = connector.connect(name, running.connect().await).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen);
        if chosen == Some(b"h2") {
            let (mut client, _) = running.h2(stream).await;
            assert_eq!(ask(&mut client, "https://localhost/").await.1, Version::HTTP_2);
        } else {
            stream.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            assert!(answer(&mut stream, "]").await.contains("[HTTP/1.1 GET /1 127.0.0.1]"));
        }
    }
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_cut() {
    let directory = tempfile::tempdir().unwrap();
    let (settings, _) = tls_files(directory.path(), &[]);
    let certificates = Some(Arc::new(Certificates::load(settings).await.unwrap()));
    let patience = Patience { handshake: SHORT, ..ENDLESS };
    let running = Running::with(Plan { patience, certificates, ..Plan::default() }, echo);
    assert_eq!(running.tell("\x16\x03\x01").await, "");
}

#[tokio::test]
async fn an_address_in_use_is_named_with_its_key() {
    let settings = |listen, management| Settings { listen, management, tls: None, shutdown_grace: LONG };
    let any = (Ipv4Addr::LOCALHOST, 0).into();
    let server = Server::bind(settings(any, any)).await.unwrap();
    let (taken, _) = server.addresses();
    for (settings, key) in [(settings(taken, any), "server.listen"), (settings(any, taken), "server.management")] {
        let Err(error) = Server::bind(settings).await else { panic!("bound twice") };
        assert!(matches!(error, Error::Bind { key: at, .. } if at == key), "{error}");
    }
}

#[tokio::test]
async fn a_tunnel_is_not_opened() {
    let running = Running::with(Plan::default(), |_, request: Parts| {
        assert_eq!(request.method, Method::CONNECT);
        let mut refusal = say("");
        if route("", &request.method, &request.uri) == Route::Nothing {
            *refusal.status_mut() = StatusCode::NOT_FOUND;
        }
        ready(refusal)
    });
    let said = running.tell("CONNECT app:443 HTTP/1.1\r\nHost: app:443\r\nConnection: close\r\n\r\n").await;
    assert!(said.starts_with("HTTP/1.1 404 "), "{said}");
}
