//! Raw exchanges with the gate, read as strictly as the app reads.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Bound of a failing test: how long a connection may stay open that has nothing more to say.
const LONGEST: Duration = Duration::from_secs(40);

/// A response as a client reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SeenResponse {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    /// The body; `None` where the connection ended before it did.
    pub(super) body: Option<String>,
    /// Names of the fields behind the body.
    pub(super) trailers: Vec<String>,
}

impl SeenResponse {
    /// Returns the values of a header.
    pub(super) fn values(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }
}

/// End of what a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It waits for the gate to close the connection.
    Waits,
    /// It closes its side.
    Closes,
}

/// Sends bytes on a connection of its own, and returns the responses. `methods` are those of the requests, as a client knows them.
pub(super) async fn exchange(port: u16, bytes: &[u8], end: End) -> Vec<SeenResponse> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    // The gate may have refused, and closed, before all is sent.
    let _ = stream.write_all(bytes).await;
    if end == End::Closes {
        let _ = stream.shutdown().await;
    }
    let mut answer = Vec::new();
    let read = timeout(LONGEST, stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the connection stays open after {:?}", String::from_utf8_lossy(&answer));
    responses(&answer, bytes.starts_with(b"HEAD "))
}

/// Reads the responses of a connection. Where the first was to a HEAD, it has no body.
#[track_caller]
fn responses(bytes: &[u8], is_head: bool) -> Vec<SeenResponse> {
    let mut left = String::from_utf8_lossy(bytes).into_owned();
    let mut seen: Vec<SeenResponse> = Vec::new();
    while !left.is_empty() {
        let (head, rest) = left.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response: {left:?}"));
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap();
        assert!(status_line.starts_with("HTTP/1.1 ") || status_line.starts_with("HTTP/1.0 "), "{left:?}");
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
        let headers: Vec<_> = lines
            .map(|line| line.split_once(':').unwrap_or_else(|| panic!("no header: {line:?}")))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let mut response = SeenResponse { status, headers, body: None, trailers: Vec::new() };
        let owned = |values: Vec<&str>| values.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let (lengths, codings) =
            (owned(response.values("content-length")), owned(response.values("transfer-encoding")));
        let (lengths, codings): (Vec<_>, Vec<_>) =
            (lengths.iter().map(String::as_str).collect(), codings.iter().map(String::as_str).collect());
        let has_none = status < 200 || status == 204 || status == 304 || (is_head && seen.is_empty());
        let body = match (&lengths[..], &codings[..]) {
            _ if has_none => Some((String::new(), rest.to_owned())),
            ([length], []) => {
                rest.split_at_checked(length.parse().unwrap()).map(|(body, rest)| (body.to_owned(), rest.to_owned()))
            }
            ([], ["chunked"]) => chunks(rest, &mut response.trailers),
            ([], []) => Some((rest.to_owned(), String::new())),
            _ => panic!("a length in doubt: {left:?}"),
        };
        left = body.as_ref().map(|(_, rest)| rest.clone()).unwrap_or_default();
        response.body = body.map(|(body, _)| body);
        seen.push(response);
    }
    seen
}

fn chunks(text: &str, trailers: &mut Vec<String>) -> Option<(String, String)> {
    let (mut left, mut body) = (text, String::new());
    loop {
        let (size, rest) = left.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            left = rest;
            break;
        }
        let (data, rest) = rest.split_at_checked(size)?;
        body.push_str(data);
        left = rest.strip_prefix("\r\n")?;
    }
    loop {
        let (line, rest) = left.split_once("\r\n")?;
        left = rest;
        match line.split_once(':') {
            Some((name, _)) => trailers.push(name.to_owned()),
            None => return Some((body, left.to_owned())),
        }
    }
}
