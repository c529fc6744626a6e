//! Requests that two servers could read in two ways (request smuggling): what the client is told, and what the app saw.

use super::wire::{End, exchange};
use crate::world::{
    ForwardingGate,
    raw_app::{RawApp, SeenRequest},
};

/// A request on a connection of its own, another behind it, and what comes of both.
struct Row {
    what: &'static str,
    /// The bytes; `{H}` stands for the `Host` line of the public app.
    sent: &'static str,
    /// The statuses that the client gets. Behind a request that is in doubt nothing more is read.
    statuses: &'static [u16],
    /// What the app saw: method, target, framing and body.
    app: &'static [&'static str],
}

/// The request behind each row's: an app that saw less or more of the row's would see another one here.
const LAST: &str = "GET /last HTTP/1.1\r\nHost: open.example.test\r\nConnection: close\r\n\r\n";

const fn row(what: &'static str, sent: &'static str, statuses: &'static [u16], app: &'static [&'static str]) -> Row {
    Row { what, sent, statuses, app }
}

/// Rows of requests that are refused before anything reaches the app, and of which the connection is closed.
const REFUSED: &[(&str, &str)] = &[
    ("an unknown coding", "POST /a HTTP/1.1\r\n{H}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("a coding behind chunked", "POST /a HTTP/1.1\r\n{H}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    (
        "identity behind chunked",
        "POST /a HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked behind identity",
        "POST /a HTTP/1.1\r\n{H}Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked twice",
        "POST /a HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("chunked twice in a line", "POST /a HTTP/1.1\r\n{H}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    ("a coding before chunked", "POST /a HTTP/1.1\r\n{H}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    ("a vertical tab before chunked", "POST /a HTTP/1.1\r\n{H}Transfer-Encoding: \u{b}chunked\r\n\r\n0\r\n\r\n"),
    ("a vertical tab behind chunked", "POST /a HTTP/1.1\r\n{H}Transfer-Encoding: chunked\u{b}\r\n\r\n0\r\n\r\n"),
    ("a quoted coding", "POST /a HTTP/1.1\r\n{H}Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
    ("an empty coding", "POST /a HTTP/1.1\r\n{H}Transfer-Encoding:\r\n\r\n0\r\n\r\n"),
    ("a coding in HTTP/1.0", "POST /a HTTP/1.0\r\n{H}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("a space before the colon", "POST /a HTTP/1.1\r\n{H}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    ("a tab before the colon", "POST /a HTTP/1.1\r\n{H}Content-Length\t: 5\r\n\r\nhello"),
    ("a space before the name", "POST /a HTTP/1.1\r\n{H} Content-Length: 5\r\n\r\nhello"),
    ("a folded line", "POST /a HTTP/1.1\r\n{H}X-Own: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("a folded coding", "POST /a HTTP/1.1\r\n{H}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    ("two lengths", "POST /a HTTP/1.1\r\n{H}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
    ("two lengths in a line", "POST /a HTTP/1.1\r\n{H}Content-Length: 5, 6\r\n\r\nhello!"),
    ("one length twice in a line", "POST /a HTTP/1.1\r\n{H}Content-Length: 5,5\r\n\r\nhello"),
    ("a length with a sign", "POST /a HTTP/1.1\r\n{H}Content-Length: +5\r\n\r\nhello"),
    ("a negative length", "POST /a HTTP/1.1\r\n{H}Content-Length: -5\r\n\r\nhello"),
    ("a length in hexadecimal digits", "POST /a HTTP/1.1\r\n{H}Content-Length: 0x5\r\n\r\nhello"),
    ("a length with a space inside", "POST /a HTTP/1.1\r\n{H}Content-Length: 5 5\r\n\r\nhello"),
    ("a length with a vertical tab", "POST /a HTTP/1.1\r\n{H}Content-Length: 5\u{b}\r\n\r\nhello"),
    ("an empty length", "POST /a HTTP/1.1\r\n{H}Content-Length:\r\n\r\nhello"),
    ("a length beyond all bounds", "POST /a HTTP/1.1\r\n{H}Content-Length: 99999999999999999999\r\n\r\nhello"),
    ("a bare CR in a value", "GET /a HTTP/1.1\r\n{H}X-Own: a\rTransfer-Encoding: chunked\r\n\r\n"),
    ("a bare CR in a name", "GET /a HTTP/1.1\r\n{H}X\r-Own: a\r\n\r\n"),
    ("NUL in a value", "GET /a HTTP/1.1\r\n{H}X-Own: a\0b\r\n\r\n"),
    ("NUL in a name", "GET /a HTTP/1.1\r\n{H}X-\0Own: a\r\n\r\n"),
    ("NUL in the target", "GET /a\0b HTTP/1.1\r\n{H}\r\n"),
    ("a space in the target", "GET /a b HTTP/1.1\r\n{H}\r\n"),
    ("a tab in the target", "GET /a\tb HTTP/1.1\r\n{H}\r\n"),
    ("a name with a letter outside ASCII", "GET /a HTTP/1.1\r\n{H}X-\u{e9}: a\r\n\r\n"),
    ("a line without a colon", "GET /a HTTP/1.1\r\n{H}X-Own\r\n\r\n"),
    ("a line with an empty name", "GET /a HTTP/1.1\r\n{H}: a\r\n\r\n"),
    ("a version that is none", "GET /a HTTP/1.1x\r\n{H}\r\n"),
    ("HTTP/0.9", "GET /a\r\n\r\n"),
];

/// Rows of requests that are whole, and that the gate does not let through. What follows is a request of its own.
const NOT_LET_IN: &[(&str, &str, u16)] = &[
    ("another host in absolute form", "GET http://closed.example.test/a HTTP/1.1\r\n{H}\r\n", 400),
    ("another port in absolute form", "GET http://open.example.test:81/a HTTP/1.1\r\n{H}\r\n", 400),
    ("userinfo in absolute form", "GET http://user@open.example.test/a HTTP/1.1\r\n{H}\r\n", 400),
    ("two hosts", "GET /a HTTP/1.1\r\n{H}Host: closed.example.test\r\n\r\n", 400),
    ("one host twice", "GET /a HTTP/1.1\r\n{H}{H}\r\n", 400),
    ("no host", "GET /a HTTP/1.1\r\nX-Own: 1\r\n\r\n", 400),
    ("an empty host", "GET /a HTTP/1.1\r\nHost:\r\n\r\n", 400),
    ("a host with userinfo", "GET /a HTTP/1.1\r\nHost: user@open.example.test\r\n\r\n", 400),
    ("a host with a path", "GET /a HTTP/1.1\r\nHost: open.example.test/closed\r\n\r\n", 400),
    ("two hosts in a line", "GET /a HTTP/1.1\r\nHost: open.example.test, closed.example.test\r\n\r\n", 400),
    ("a host with a port that is none", "GET /a HTTP/1.1\r\nHost: open.example.test:80@closed\r\n\r\n", 400),
    ("a host that no app names", "GET /a HTTP/1.1\r\nHost: unknown.example.test\r\n\r\n", 403),
    ("a method in lower case", "get /a HTTP/1.1\r\n{H}\r\n", 400),
    ("a target without a slash", "OPTIONS * HTTP/1.1\r\n{H}\r\n", 400),
    ("a path that is denied", "GET /never/a HTTP/1.1\r\n{H}\r\n", 403),
    ("a path that could be one that is denied", "GET /x/..%2fnever/a HTTP/1.1\r\n{H}\r\n", 403),
    ("an identity header called a connection's", "GET /a HTTP/1.1\r\n{H}Connection: Remote-User\r\n\r\n", 400),
    ("an address called a connection's", "GET /a HTTP/1.1\r\n{H}Connection: keep-alive, x-forwarded-for\r\n\r\n", 400),
    ("the app of others", "GET /a HTTP/1.1\r\nHost: closed.example.test\r\n\r\n", 401),
];

/// Rows of requests that pass, in one reading.
const PASSED: &[Row] = &[
    row("no body", "GET /a?b=/c HTTP/1.1\r\n{H}\r\n", &[200, 200], &["GET /a?b=/c", "GET /last"]),
    row(
        "a length",
        "POST /a HTTP/1.1\r\n{H}Content-Length: 5\r\n\r\nhello",
        &[200, 200],
        &["POST /a length 5 hello", "GET /last"],
    ),
    row(
        "a length of nothing",
        "POST /a HTTP/1.1\r\n{H}Content-Length: 0\r\n\r\n",
        &[200, 200],
        &["POST /a length 0", "GET /last"],
    ),
    row("a POST without a body", "POST /a HTTP/1.1\r\n{H}\r\n", &[200, 200], &["POST /a", "GET /last"]),
    row(
        "one length twice",
        "POST /a HTTP/1.1\r\n{H}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        &[200, 200],
        &["POST /a length 5 hello", "GET /last"],
    ),
    row(
        "space around a length",
        "POST /a HTTP/1.1\r\n{H}Content-Length: \t 5 \t\r\n\r\nhello",
        &[200, 200],
        &["POST /a length 5 hello", "GET /last"],
    ),
    row(
        "zeros before a length",
        "POST /a HTTP/1.1\r\n{H}Content-Length: 005\r\n\r\nhello",
        &[200, 200],
        &["POST /a length 5 hello", "GET /last"],
    ),
    row(
        "chunks",
        "POST /a HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        &[200, 200],
        &["POST /a chunked hello world", "GET /last"],
    ),
    row(
        "a coding in other letters, with space around it",
        "POST /a HTTP/1.1\r\n{H}tRANSFER-eNCODING: \t Chunked \t\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        &[200, 200],
        &["POST /a chunked hello", "GET /last"],
    ),
    row(
        "chunk extensions",
        "POST /a HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n5;a=b;c=\"d\"\r\nhello\r\n0;e\r\n\r\n",
        &[200, 200],
        &["POST /a chunked hello", "GET /last"],
    ),
    row(
        "a request inside a body",
        "POST /a HTTP/1.1\r\n{H}Content-Length: 40\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: closed\r\n\r\n",
        &[200, 200],
        &["POST /a length 40 GET /smuggled HTTP/1.1\r\nHost: closed", "GET /last"],
    ),
    // RFC 9112, section 6.3: the coding counts, and the connection is closed behind the answer.
    row(
        "a length before a coding (CL.TE)",
        "POST /a HTTP/1.1\r\n{H}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        &[200],
        &["POST /a chunked"],
    ),
    row(
        "a coding before a length (TE.CL)",
        "POST /a HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        &[200],
        &["POST /a chunked hello"],
    ),
    row(
        "a coding spelled with an underscore",
        "POST /a HTTP/1.1\r\n{H}Content-Length: 5\r\nTransfer_Encoding: chunked\r\n\r\nhello",
        &[200, 200],
        &["POST /a length 5 hello", "GET /last"],
    ),
    row(
        "a GET with a length",
        "GET /a HTTP/1.1\r\n{H}Content-Length: 5\r\n\r\nhello",
        &[200, 200],
        &["GET /a length 5 hello", "GET /last"],
    ),
    row(
        "a GET with chunks",
        "GET /a HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        &[200, 200],
        &["GET /a chunked hello", "GET /last"],
    ),
    row(
        "bare line feeds",
        "GET /a HTTP/1.1\nHost: open.example.test\nX-Own: 1\n\n",
        &[200, 200],
        &["GET /a", "GET /last"],
    ),
    row(
        "bare line feeds around a length",
        "POST /a HTTP/1.1\nHost: open.example.test\nContent-Length: 5\n\nhello",
        &[200, 200],
        &["POST /a length 5 hello", "GET /last"],
    ),
    row("empty lines before a request", "\r\n\r\nGET /a HTTP/1.1\r\n{H}\r\n", &[200, 200], &["GET /a", "GET /last"]),
    row(
        "the same host in absolute form",
        "GET http://open.example.test/a?b HTTP/1.1\r\n{H}\r\n",
        &[200, 200],
        &["GET /a?b", "GET /last"],
    ),
    row("a fragment", "GET /a#/never/b HTTP/1.1\r\n{H}\r\n", &[200, 200], &["GET /a", "GET /last"]),
    row("HTTP/1.0", "GET /a HTTP/1.0\r\n{H}\r\n", &[200], &["GET /a"]),
    row(
        "HTTP/1.0 with a body",
        "POST /a HTTP/1.0\r\n{H}Content-Length: 5\r\n\r\nhello",
        &[200],
        &["POST /a length 5 hello"],
    ),
    row(
        "an upgrade to HTTP/2",
        "GET /a HTTP/1.1\r\n{H}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
        &[200, 200],
        &["GET /a", "GET /last"],
    ),
    row(
        "a body that is expected",
        "POST /a HTTP/1.1\r\n{H}Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
        &[200, 200],
        &["POST /a length 5 hello", "GET /last"],
    ),
    row(
        "a request of others behind one that is open",
        "GET /a HTTP/1.1\r\n{H}\r\nGET /b HTTP/1.1\r\nHost: closed.example.test\r\n\r\nGET /never/c HTTP/1.1\r\n{H}\r\n",
        &[200, 401, 403, 200],
        &["GET /a", "GET /last"],
    ),
];

/// Rows of bodies that turn out to be malformed, or that end too early. The app sees no end of them.
const BROKEN_OFF: &[(&str, &str)] = &[
    ("a chunk size beyond all bounds", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size with a sign", "+5\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size that is none", "0x5\r\nhello\r\n0\r\n\r\n"),
    ("a chunk that is longer than it says", "4\r\nhello\r\n0\r\n\r\n"),
    ("a chunk that ends with a bare LF", "5\r\nhello\n0\r\n\r\n"),
    ("a chunk size that ends with a bare LF", "5\nhello\r\n0\r\n\r\n"),
    ("a chunk size that ends with a bare CR", "5\rhello\r\n0\r\n\r\n"),
    ("a line feed in a chunk extension", "5;a=\nb\r\nhello\r\n0\r\n\r\n"),
    ("chunks without an end", "5\r\nhello\r\n"),
];

fn filled_in(sent: &str) -> String {
    sent.replace("{H}", "Host: open.example.test\r\n")
}

#[tokio::test]
async fn no_request_is_one_to_the_gate_and_another_to_the_app() {
    let app = RawApp::start().await;
    let gate = ForwardingGate::start(app.port, "192.0.2.0/24", "").await;
    let passed = PASSED.iter().map(|row| (row.what, row.sent, row.statuses.to_vec(), row.app.to_vec()));
    let refused = REFUSED.iter().map(|(what, sent)| (*what, *sent, vec![400], vec![]));
    let judged = NOT_LET_IN.iter().map(|(what, sent, status)| (*what, *sent, vec![*status, 200], vec!["GET /last"]));
    let mut wrong = Vec::new();
    for (what, sent, statuses, mut expected) in passed.chain(refused).chain(judged) {
        let responses = exchange(gate.port, (filled_in(sent) + LAST).as_bytes(), End::Waits).await;
        let told: Vec<_> = responses.iter().map(|response| response.status).filter(|status| *status != 100).collect();
        let mut seen: Vec<_> = app.seen().iter().map(SeenRequest::summary).collect();
        // The order of the connections that they came on is not that of the requests.
        seen.sort();
        expected.sort_unstable();
        if told != statuses || seen != expected {
            wrong.push(format!("{what}: {told:?} {seen:?}"));
        }
        app.forget();
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn a_body_that_breaks_off_has_no_end_at_the_app_and_its_connection_serves_nobody_else() {
    let app = RawApp::start().await;
    let gate = ForwardingGate::start(app.port, "192.0.2.0/24", "").await;
    let chunked = BROKEN_OFF.iter().map(|(what, body)| (*what, "Transfer-Encoding: chunked", *body));
    for (what, framing, body) in chunked.chain([("a body shorter than its length", "Content-Length: 6", "hello")]) {
        let connections = app.connections();
        let request = filled_in(&format!("POST /a HTTP/1.1\r\n{{H}}{framing}\r\n\r\n{body}"));
        let responses = exchange(gate.port, request.as_bytes(), End::Closes).await;
        assert!(responses.iter().all(|response| response.status == 400), "{what}: {responses:?}");
        let after = exchange(gate.port, LAST.as_bytes(), End::Waits).await;
        assert_eq!(after[0].status, 200, "{what}");
        let seen = app.seen();
        let of_row: Vec<_> = seen.iter().filter(|request| request.line == "POST /a").collect();
        assert!(of_row.len() <= 1 && of_row.iter().all(|request| request.body.is_none()), "{what}: {seen:?}");
        assert_eq!(seen.len(), of_row.len() + 1, "{what}: {seen:?}");
        assert!(app.connections() - connections <= 2, "{what}");
        app.forget();
    }
}
