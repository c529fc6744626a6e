//! Responses that could be read in two ways: what the client gets, and that their connection serves nobody else.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::wire::{End, SeenResponse, exchange};
use crate::world::{
    ForwardingGate,
    raw_app::{Moment, RawApp, Then},
};

const GET: &str = "GET /a HTTP/1.1\r\nHost: open.example.test\r\nConnection: close\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Whether the connection to the app serves the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    SameConnection,
    AnotherConnection,
}

use Next::{AnotherConnection, SameConnection};
use Then::{Close, Wait};

/// What the app sends, what it does then, what the client gets (without a body: it is cut), and what becomes of the connection.
type Row = (&'static str, &'static str, Then, (u16, Option<&'static str>), Next);

const ROWS: &[Row] = &[
    ("a length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Wait, (200, Some("ok")), SameConnection),
    (
        "one length twice",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        Wait,
        (200, Some("ok")),
        SameConnection,
    ),
    (
        "one length twice in a line",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
        Wait,
        (200, Some("ok")),
        SameConnection,
    ),
    (
        "chunks",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\n\r\n",
        Wait,
        (200, Some("ok")),
        SameConnection,
    ),
    ("the end of the connection", "HTTP/1.1 200 OK\r\n\r\nok", Close, (200, Some("ok")), AnotherConnection),
    ("HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nok", Close, (200, Some("ok")), AnotherConnection),
    (
        "a connection that closes",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        Close,
        (200, Some("ok")),
        AnotherConnection,
    ),
    ("no content", "HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", Wait, (204, Some("")), SameConnection),
    (
        "a length and a coding",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        Wait,
        (502, Some("")),
        AnotherConnection,
    ),
    (
        "a coding and a length",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        Wait,
        (502, Some("")),
        AnotherConnection,
    ),
    (
        "two lengths",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
        Wait,
        (502, Some("")),
        AnotherConnection,
    ),
    (
        "two lengths in a line",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok!",
        Wait,
        (502, Some("")),
        AnotherConnection,
    ),
    (
        "a length with a sign",
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        Wait,
        (502, Some("")),
        AnotherConnection,
    ),
    (
        "a coding before chunked",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        Wait,
        (502, Some("")),
        AnotherConnection,
    ),
    (
        "a coding that is not chunked",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
        Close,
        (502, Some("")),
        AnotherConnection,
    ),
    (
        "a coding in HTTP/1.0",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        Close,
        (502, Some("")),
        AnotherConnection,
    ),
    (
        "a folded line",
        "HTTP/1.1 200 OK\r\nX-Own: a\r\n Content-Length: 2\r\n\r\nok",
        Close,
        (502, Some("")),
        AnotherConnection,
    ),
    (
        "a space before the colon",
        "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
        Close,
        (502, Some("")),
        AnotherConnection,
    ),
    (
        "a bare CR",
        "HTTP/1.1 200 OK\r\nX-Own: a\rb\r\nContent-Length: 2\r\n\r\nok",
        Close,
        (502, Some("")),
        AnotherConnection,
    ),
    ("NUL", "HTTP/1.1 200 OK\r\nX-Own: a\0b\r\nContent-Length: 2\r\n\r\nok", Close, (502, Some("")), AnotherConnection),
    ("garbage", "SSH-2.0-OpenSSH_9.6\r\n\r\n", Wait, (502, Some("")), AnotherConnection),
    (
        "a status that is none",
        "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
        Close,
        (502, Some("")),
        AnotherConnection,
    ),
    ("nothing", "", Close, (502, Some("")), AnotherConnection),
    ("half a head", "HTTP/1.1 200 OK\r\nContent-", Close, (502, Some("")), AnotherConnection),
    (
        "a switch that nobody asked for",
        "HTTP/1.1 101 No\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nraw",
        Wait,
        (502, Some("")),
        AnotherConnection,
    ),
    (
        "early hints",
        "HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        Wait,
        (200, Some("ok")),
        SameConnection,
    ),
    (
        "interim responses and no end",
        "HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 102 Wait\r\n\r\n",
        Close,
        (502, Some("")),
        AnotherConnection,
    ),
    ("a body cut short", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", Close, (200, None), AnotherConnection),
    (
        "chunks cut short",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        Close,
        (200, None),
        AnotherConnection,
    ),
    (
        "chunks that turn to garbage",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n",
        Wait,
        (200, None),
        AnotherConnection,
    ),
    (
        "a body longer than its length",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok!",
        Wait,
        (200, Some("ok")),
        AnotherConnection,
    ),
    (
        "a second response",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
        Wait,
        (200, Some("ok")),
        AnotherConnection,
    ),
    (
        "a body where there is none",
        "HTTP/1.1 204 No\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
        Wait,
        (204, Some("")),
        AnotherConnection,
    ),
    (
        "a second response behind chunks",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
        Wait,
        (200, Some("ok")),
        AnotherConnection,
    ),
];

/// Sends a request, and returns the only response.
async fn ask(gate: &ForwardingGate, request: &str) -> SeenResponse {
    let mut responses = exchange(gate.port, request.as_bytes(), End::Waits).await;
    assert_eq!(responses.len(), 1, "{responses:?}");
    responses.remove(0)
}

#[tokio::test]
async fn no_response_is_one_to_the_gate_and_another_to_the_client() {
    let app = RawApp::start().await;
    let gate = ForwardingGate::start(app.port, "192.0.2.0/24", "").await;
    let mut wrong = Vec::new();
    for (what, sent, then, (status, body), next) in ROWS {
        app.answers(sent.as_bytes(), Moment::AfterRequest, *then);
        let told = ask(&gate, GET).await;
        // The gate's own answer has a body that says so, and a reason.
        let is_own = !told.values("doorward-reason").is_empty();
        let told_body = if is_own { Some("") } else { told.body.as_deref() };
        app.answers(OK, Moment::AfterRequest, Wait);
        let before = app.connections();
        let after = ask(&gate, GET).await;
        let found = if app.connections() == before { SameConnection } else { AnotherConnection };
        if (told.status, told_body, is_own, found) != (*status, *body, *status == 502, *next) {
            wrong.push(format!("{what}: {told:?} {found:?}"));
        }
        assert_eq!((after.status, after.body.as_deref()), (200, Some("ok")), "{what}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn a_flood_of_interim_responses_ends_in_the_one_that_counts() {
    let app = RawApp::start().await;
    let gate = ForwardingGate::start(app.port, "192.0.2.0/24", "").await;
    let flood = b"HTTP/1.1 102 Processing\r\n\r\n".repeat(10_000);
    app.answers(&[&flood, OK].concat(), Moment::AfterRequest, Wait);
    let told = ask(&gate, GET).await;
    assert_eq!((told.status, told.body.as_deref()), (200, Some("ok")));
}

#[tokio::test]
async fn a_head_has_the_length_of_what_a_get_would_have() {
    let app = RawApp::start().await;
    let gate = ForwardingGate::start(app.port, "192.0.2.0/24", "").await;
    app.answers(b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n", Moment::AfterRequest, Wait);
    let told = ask(&gate, &GET.replace("GET", "HEAD")).await;
    assert_eq!((told.status, told.values("content-length")), (200, vec!["12345"]));
    app.answers(b"HTTP/1.1 304 Not\r\nContent-Length: 12345\r\nETag: \"a\"\r\n\r\n", Moment::AfterRequest, Wait);
    let told = ask(&gate, &GET.replace("Connection", "If-None-Match: \"a\"\r\nConnection")).await;
    assert_eq!((told.status, told.values("etag")), (304, vec!["\"a\""]));
    assert_eq!(app.seen().last().unwrap().values("if-none-match"), ["\"a\""]);
    assert_eq!(app.connections(), 1, "both leave the connection in use");
}

#[tokio::test]
async fn an_answer_before_the_body_is_read_ends_the_exchange() {
    let app = RawApp::start().await;
    let gate = ForwardingGate::start(app.port, "192.0.2.0/24", "").await;
    for then in [Wait, Close] {
        app.answers(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig", Moment::AfterHead, then);
        let mut stream = TcpStream::connect(("127.0.0.1", gate.port)).await.unwrap();
        let head = "POST /a HTTP/1.1\r\nHost: open.example.test\r\nContent-Length: 1000000\r\n\r\nthe beginning";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let mut buffer = [0; 1024];
        while !answer.ends_with(b"big") {
            let read = stream.read(&mut buffer).await.unwrap();
            assert!(read > 0, "{then:?}: {:?}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&buffer[..read]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 413 "), "{:?}", String::from_utf8_lossy(&answer));
        drop(stream);
        let before = app.connections();
        app.answers(OK, Moment::AfterRequest, Wait);
        assert_eq!(ask(&gate, GET).await.status, 200);
        assert_eq!(app.connections(), before + 1, "{then:?}: what is left of the body is nobody's request");
        assert!(app.seen().iter().all(|request| request.line != "POST /a" || request.body.is_none()));
        app.forget();
    }
}

#[tokio::test]
async fn no_app_answers_in_the_gates_name() {
    let app = RawApp::start().await;
    let gate = ForwardingGate::start(app.port, "192.0.2.0/24", "").await;
    let answer = "HTTP/1.1 401 No\r\nDoorward-Reason: no_session\r\nDoorward-Request-Id: x\r\nDoorward_Reason: x\r\n\
                  Set-Cookie: a=1; Path=/\r\nSet-Cookie: doorward=stolen; Path=/\r\nSet-Cookie: doorward_login=x\r\n\
                  Set-Cookie: b=2\r\nLocation: http://10.0.0.1:3000/x\r\nWWW-Authenticate: Basic\r\nServer: app\r\n\
                  Connection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nUpgrade: h2\r\n\
                  Cache-Control: no-cache\r\nContent-Length: 0\r\n\r\n";
    app.answers(answer.as_bytes(), Moment::AfterRequest, Wait);
    let told = ask(&gate, &GET.replace("/a", "/assets/a")).await;
    let mut names: Vec<_> = told.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.retain(|name| !["connection", "date"].contains(name));
    let expected =
        ["set-cookie", "set-cookie", "location", "www-authenticate", "server", "cache-control", "content-length"];
    assert_eq!(names, expected);
    assert_eq!(told.values("set-cookie"), ["a=1; Path=/", "b=2"]);
    assert_eq!(told.values("location"), ["http://10.0.0.1:3000/x"]);
    assert_eq!(told.values("cache-control"), ["no-cache"]);
}

#[tokio::test]
async fn a_rule_says_how_long_its_answers_are_kept() {
    let app = RawApp::start().await;
    let gate = ForwardingGate::start(app.port, "192.0.2.0/24", "").await;
    let ok = "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nExpires: 0\r\nContent-Length: 0\r\n\r\n";
    let with_cookie = ok.replace("Expires: 0", "Set-Cookie: a=1");
    let missing = ok.replace("200 OK", "404 No");
    for (method, path, answer, expected) in [
        ("GET", "/assets/a", ok, "public, max-age=60"),
        ("HEAD", "/assets/a?b", ok, "public, max-age=60"),
        ("POST", "/assets/a", ok, "no-store"),
        ("GET", "/assets/a", &with_cookie, "no-store"),
        ("GET", "/assets/a", &missing, "no-store"),
        ("GET", "/a", ok, "no-store"),
        // Read in two ways, so that the rule does not open it.
        ("GET", "/assets%2fa", ok, "no-store"),
    ] {
        app.answers(answer.as_bytes(), Moment::AfterRequest, Wait);
        let told = ask(&gate, &GET.replace("GET /a", &format!("{method} {path}"))).await;
        assert_eq!(told.values("cache-control"), [expected], "{method} {path} {answer}");
    }
}
