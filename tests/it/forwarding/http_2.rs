//! HTTP/2 requests that become HTTP/1 ones (downgrades): what no library would send, frame by frame.

use tokio::net::TcpStream;

use crate::{
    resource_limits::frames::{DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, RST_STREAM},
    world::{
        ForwardingGate,
        raw_app::{RawApp, SeenRequest},
    },
};

/// Fields of a request to the public app.
const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/a"), (":authority", "open.example.test")];

/// End of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// 200.
    Ok,
    /// Another status.
    Refused,
    /// The stream is reset, or the connection ends.
    Reset,
}

/// Encodes fields, none of them in a table (RFC 7541, section 6.2.2).
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [&[0], &text(name)[..], &text(value)].concat()).collect()
}

/// Sends a request on a connection of its own, with its body where there is one.
async fn exchange(port: u16, fields: &[(&str, &str)], body: Option<&str>) -> Outcome {
    let mut frames = Frames::open(TcpStream::connect(("127.0.0.1", port)).await.unwrap(), 65_535).await;
    let end = if body.is_some() { 0 } else { END_STREAM };
    frames.send(HEADERS, END_HEADERS | end, 1, &block(fields)).await;
    if let Some(body) = body {
        frames.send(DATA, END_STREAM, 1, body.as_bytes()).await;
    }
    while let Some(frame) = frames.next().await {
        match frame.kind {
            // RFC 7541, appendix A: index 8 is `:status: 200`.
            HEADERS if frame.payload.first() == Some(&0x88) => return Outcome::Ok,
            HEADERS => return Outcome::Refused,
            RST_STREAM | GOAWAY => return Outcome::Reset,
            _ => {}
        }
    }
    Outcome::Reset
}

/// Returns the fields with others in place of those of the same name, or behind them.
fn with<'f>(changes: &[(&'f str, &'f str)]) -> Vec<(&'f str, &'f str)> {
    let mut fields = GET.to_vec();
    for change in changes {
        match fields.iter_mut().find(|(name, _)| *name == change.0 && name.starts_with(':')) {
            Some(field) => *field = *change,
            None => fields.push(*change),
        }
    }
    fields
}

#[tokio::test]
async fn no_http_2_request_becomes_two_of_http_1() {
    let app = RawApp::start().await;
    let gate = ForwardingGate::start(app.port, "192.0.2.0/24", "").await;
    let post = (":method", "POST");
    let mut wrong = Vec::new();
    for (what, changes, body, outcome, seen) in [
        ("a request", vec![], None, Outcome::Ok, Some("GET /a")),
        ("a body", vec![post], Some("hello"), Outcome::Ok, Some("POST /a chunked hello")),
        ("a length", vec![post, ("content-length", "5")], Some("hello"), Outcome::Ok, Some("POST /a length 5 hello")),
        ("a body with a GET", vec![], Some("hello"), Outcome::Ok, Some("GET /a chunked hello")),
        ("the host twice, alike", vec![("host", "open.example.test")], None, Outcome::Ok, Some("GET /a")),
        ("a length that is too long", vec![post, ("content-length", "9")], Some("hello"), Outcome::Reset, None),
        ("a length that is too short", vec![post, ("content-length", "3")], Some("hello"), Outcome::Reset, None),
        ("a length that is none", vec![post, ("content-length", "+5")], Some("hello"), Outcome::Reset, None),
        (
            "two lengths",
            vec![post, ("content-length", "5"), ("content-length", "6")],
            Some("hello"),
            Outcome::Reset,
            None,
        ),
        ("a coding", vec![post, ("transfer-encoding", "chunked")], Some("0\r\n\r\nGET /b"), Outcome::Reset, None),
        ("a connection", vec![("connection", "remote-user")], None, Outcome::Reset, None),
        ("an upgrade", vec![("upgrade", "h2c")], None, Outcome::Reset, None),
        ("a line end in a value", vec![("x-own", "a\r\nremote-user: admin")], None, Outcome::Reset, None),
        ("a line feed in a value", vec![("x-own", "a\nb")], None, Outcome::Reset, None),
        ("NUL in a value", vec![("x-own", "a\0b")], None, Outcome::Reset, None),
        ("a line end in a name", vec![("x-own: a\r\nx-other", "b")], None, Outcome::Reset, None),
        ("a colon in a name", vec![("x-own: a", "b")], None, Outcome::Reset, None),
        ("a capital in a name", vec![("Remote-User", "admin")], None, Outcome::Reset, None),
        ("a line end in the path", vec![(":path", "/a HTTP/1.1\r\nX-Own: b")], None, Outcome::Reset, None),
        ("a space in the path", vec![(":path", "/a b")], None, Outcome::Reset, None),
        ("a path without a slash", vec![(":path", "a")], None, Outcome::Reset, None),
        ("an empty path", vec![(":path", "")], None, Outcome::Reset, None),
        ("a line end in the method", vec![(":method", "GET /b HTTP/1.1\r\nX: ")], None, Outcome::Reset, None),
        ("a space in the method", vec![(":method", "GET /b")], None, Outcome::Reset, None),
        ("a line end in the authority", vec![(":authority", "a\r\nx: y")], None, Outcome::Reset, None),
        ("userinfo", vec![(":authority", "user@open.example.test")], None, Outcome::Refused, None),
        ("another host", vec![("host", "closed.example.test")], None, Outcome::Refused, None),
        ("another app", vec![(":authority", "closed.example.test")], None, Outcome::Refused, None),
        ("a denied path", vec![(":path", "/never/a")], None, Outcome::Refused, None),
        ("CONNECT", vec![(":method", "CONNECT")], None, Outcome::Reset, None),
        ("another scheme's path", vec![(":scheme", "https")], None, Outcome::Ok, Some("GET /a")),
    ] {
        let found = exchange(gate.port, &with(&changes), body).await;
        // A request of which the body is malformed may have begun at the app, and never ends there.
        let whole: Vec<_> = app.seen().into_iter().filter(|request| request.body.is_some()).collect();
        let whole: Vec<_> = whole.iter().map(SeenRequest::summary).collect();
        if (found, &whole) != (outcome, &seen.iter().map(ToString::to_string).collect()) {
            wrong.push(format!("{what}: {found:?} {whole:?}"));
        }
        app.forget();
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn cookies_in_many_fields_reach_the_app_in_one_line_without_the_gates() {
    let app = RawApp::start().await;
    let gate = ForwardingGate::start(app.port, "192.0.2.0/24", "").await;
    let cookies = [("cookie", "a=1"), ("cookie", "doorward=x"), ("cookie", "doorward_login=y"), ("cookie", "b=2")];
    assert_eq!(exchange(gate.port, &with(&cookies), None).await, Outcome::Ok);
    let seen = app.seen();
    assert_eq!(seen[0].values("cookie"), ["a=1; b=2"]);
    assert_eq!((seen[0].values("host"), seen[0].values("via")), (vec!["open.example.test"], vec!["2.0 doorward"]));
}
