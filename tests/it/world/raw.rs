//! Raw requests straight to the gate, in the dialect of each edge, including those that no HTTP library would send.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{app, ports};

/// Dialects of subrequests.
pub(crate) const DIALECTS: [&str; 4] = ["traefik", "caddy", "nginx", "envoy"];

/// An original request, to be sent as a subrequest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OriginalRequest<'a> {
    pub(crate) method: &'a str,
    pub(crate) host: &'a str,
    pub(crate) target: &'a str,
    /// Further header lines, each with its line end.
    pub(crate) lines: &'a str,
}

/// A response, header by header.
#[derive(Clone, Debug)]
pub(crate) struct RawResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl OriginalRequest<'_> {
    /// Returns the subrequest in the dialect of an edge.
    pub(crate) fn in_dialect(&self, dialect: &str) -> String {
        let Self { method, host, target, lines } = self;
        match dialect {
            "envoy" => format!("{method} /_doorward/auth/envoy{target} HTTP/1.1\r\nHost: {host}\r\n{lines}"),
            "nginx" => format!(
                "GET /_doorward/auth/nginx HTTP/1.1\r\nHost: {host}\r\nX-Original-URL: https://{host}{target}\r\n\
                 X-Original-Method: {method}\r\n{lines}"
            ),
            "caddy" => format!(
                "GET /_doorward/auth/caddy HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Method: {method}\r\n\
                 X-Forwarded-Host: {host}\r\nX-Forwarded-Uri: {target}\r\n{lines}"
            ),
            _ => format!(
                "GET /_doorward/auth/{dialect} HTTP/1.1\r\nHost: gate\r\nX-Forwarded-Method: {method}\r\n\
                 X-Forwarded-Host: {host}\r\nX-Forwarded-Uri: {target}\r\n{lines}"
            ),
        }
    }
}

impl RawResponse {
    /// Returns the only value of a header; empty if it is missing.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut lines = self.headers.get_all(name).iter();
        let line = lines.next().map_or("", |value| value.to_str().unwrap());
        assert!(lines.next().is_none(), "{name} is there twice: {self:?}");
        line
    }

    pub(crate) fn reason(&self) -> &str {
        self.header("doorward-reason")
    }

    pub(crate) fn cookies(&self) -> Vec<&str> {
        self.headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap()).collect()
    }
}

/// Sends `head`, which lacks only its empty line, on a connection of its own.
pub(crate) async fn request(port: u16, head: &str) -> RawResponse {
    send(port, format!("{head}Connection: close\r\n\r\n").as_bytes()).await
}

/// Sends these bytes on a connection of its own and reads until the gate closes it.
pub(crate) async fn send(port: u16, bytes: &[u8]) -> RawResponse {
    let mut stream = TcpStream::connect(ports::loopback(port)).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok()).unwrap();
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
        .collect();
    RawResponse { status, headers, body: body.to_owned() }
}

/// A persistent connection, as edges have. The test fails if it is closed.
pub(crate) struct PersistentConnection(http1::SendRequest<Empty<Bytes>>);

impl PersistentConnection {
    pub(crate) async fn open(port: u16) -> Self {
        let stream = TcpStream::connect(ports::loopback(port)).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        app::spawn(async { drop(connection.await) });
        Self(sender)
    }

    /// Sends a subrequest of Traefik for a script with these cookies.
    pub(crate) async fn ask(&mut self, host: &str, target: &str, cookies: &str) -> RawResponse {
        let request = Request::get("/_doorward/auth/traefik")
            .header("host", "gate")
            .header("x-forwarded-method", "GET")
            .header("x-forwarded-host", host)
            .header("x-forwarded-uri", target)
            .header("accept", "*/*")
            .header("cookie", cookies)
            .body(Empty::new())
            .unwrap();
        self.0.ready().await.expect("the connection is kept");
        let (head, body) = self.0.send_request(request).await.expect("the connection is kept").into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        RawResponse { status: head.status, headers: head.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }
}

/// Sends a request over HTTP/2 in clear text (h2c).
pub(crate) async fn over_http_2(port: u16, request: Request<Empty<Bytes>>) -> RawResponse {
    let stream = TcpStream::connect(ports::loopback(port)).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    app::spawn(async { drop(connection.await) });
    let (head, _) = sender.send_request(request).await.unwrap().into_parts();
    RawResponse { status: head.status, headers: head.headers, body: String::new() }
}
