//! An app that records every byte that it gets, and answers with whatever bytes a test likes.
//!
//! It reads requests as strictly as a server can: what it could take for two requests, or for one of another length, fails the test.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{app::spawn, ports};

/// An app on raw connections. It lives as long as the test's runtime.
pub(crate) struct RawApp {
    /// Port.
    pub(crate) port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// The bytes of each connection so far.
    connections: Mutex<Vec<Vec<u8>>>,
    response: Mutex<RawAnswer>,
}

/// What the app does with a request.
#[derive(Clone)]
struct RawAnswer {
    bytes: Vec<u8>,
    moment: Moment,
    then: Then,
}

/// Moment of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Once the whole request is there.
    AfterRequest,
    /// Once its head is there.
    AfterHead,
}

/// Fate of a connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// It waits for another request.
    Wait,
    /// It closes it.
    Close,
}

/// A request as the app read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeenRequest {
    /// Method and target.
    pub(crate) line: String,
    headers: Vec<(String, String)>,
    /// The body, where all of it came.
    pub(crate) body: Option<String>,
    /// Names of the fields behind the body.
    pub(crate) trailers: Vec<String>,
}

impl RawApp {
    /// Starts the app, which says `ok` to everything.
    pub(crate) async fn start() -> Self {
        let port = ports::free();
        let listener = TcpListener::bind(ports::loopback(port)).await.unwrap();
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let place = {
                    let mut connections = shared.connections.lock().unwrap();
                    connections.push(Vec::new());
                    connections.len() - 1
                };
                spawn(serve(stream, place, Arc::clone(&shared)));
            }
        });
        Self { port, state }
    }

    /// Sets the answer to every request from now on.
    pub(crate) fn answers(&self, bytes: &[u8], moment: Moment, then: Then) {
        *self.state.response.lock().unwrap() = RawAnswer { bytes: bytes.to_vec(), moment, then };
    }

    /// Forgets the connections so far.
    pub(crate) fn forget(&self) {
        self.state.connections.lock().unwrap().iter_mut().for_each(Vec::clear);
    }

    /// Returns the number of connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.lock().unwrap().len()
    }

    /// Returns all requests, connection by connection.
    #[track_caller]
    pub(crate) fn seen(&self) -> Vec<SeenRequest> {
        let connections = self.state.connections.lock().unwrap();
        connections.iter().flat_map(|bytes| requests(bytes)).collect()
    }
}

impl Default for RawAnswer {
    fn default() -> Self {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec();
        Self { bytes, moment: Moment::AfterRequest, then: Then::Wait }
    }
}

impl SeenRequest {
    /// Returns the values of a header.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// Returns the names of all headers.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.headers.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// Returns the request in one line: method, target, how its body is framed, and the body.
    pub(crate) fn summary(&self) -> String {
        let length = self.values("content-length").into_iter().map(|length| format!(" length {length}"));
        let coding = self.values("transfer-encoding").into_iter().map(|coding| format!(" {coding}"));
        let framing: String = length.chain(coding).collect();
        let body = self.body.as_deref().unwrap_or("(cut)");
        format!("{}{framing} {body}", self.line).trim_end().to_owned()
    }
}

async fn serve(mut stream: TcpStream, place: usize, state: Arc<State>) {
    let (mut buffer, mut answered) = (vec![0; 64 << 10], 0);
    loop {
        let Ok(read @ 1..) = stream.read(&mut buffer).await else { return };
        let (bytes, is_headed, complete) = {
            let mut connections = state.connections.lock().unwrap();
            let bytes = &mut connections[place];
            if bytes.is_empty() {
                answered = 0;
            }
            bytes.extend_from_slice(&buffer[..read]);
            let seen = requests(bytes);
            let complete = seen.iter().filter(|request| request.body.is_some()).count();
            (seen.len(), seen.len() > answered, complete)
        };
        let RawAnswer { bytes: answer, moment, then } = state.response.lock().unwrap().clone();
        let due = match moment {
            Moment::AfterRequest => complete > answered,
            Moment::AfterHead => is_headed,
        };
        if due {
            answered = bytes;
            if stream.write_all(&answer).await.is_err() || then == Then::Close {
                return;
            }
        }
    }
}

/// Reads the requests of a connection; the last may be cut.
#[track_caller]
fn requests(bytes: &[u8]) -> Vec<SeenRequest> {
    let (mut left, mut seen) = (bytes, Vec::new());
    while let Some((head, rest)) = split(left, b"\r\n\r\n") {
        let (mut request, rest) = read(head, rest);
        left = rest.unwrap_or_default();
        let is_cut = rest.is_none();
        if is_cut {
            request.body = None;
        }
        seen.push(request);
    }
    assert!(!left.starts_with(b"\r\n"), "an empty line between requests: {:?}", String::from_utf8_lossy(bytes));
    seen
}

/// Reads one request; without its end where the body is cut.
#[track_caller]
fn read<'b>(head: &[u8], rest: &'b [u8]) -> (SeenRequest, Option<&'b [u8]>) {
    let text = String::from_utf8(head.to_vec()).expect("a head is UTF-8");
    let mut lines = text.split("\r\n");
    let line = lines.next().unwrap();
    let (line, version) = line.rsplit_once(' ').unwrap();
    assert_eq!((version, line.split(' ').count()), ("HTTP/1.1", 2), "{text:?}");
    let headers: Vec<_> = lines.map(|line| header(line).unwrap_or_else(|| panic!("no header: {line:?}"))).collect();
    let mut request = SeenRequest { line: line.to_owned(), headers, body: None, trailers: Vec::new() };
    let (lengths, codings) = (request.values("content-length"), request.values("transfer-encoding"));
    let body = match (&lengths[..], &codings[..]) {
        ([], []) => Some((Vec::new(), rest)),
        ([length], []) => rest.split_at_checked(length.parse().unwrap()).map(|(body, rest)| (body.to_vec(), rest)),
        ([], ["chunked"]) => chunks(rest, &mut request.trailers),
        _ => panic!("a length in doubt: {text:?}"),
    };
    let end = body.as_ref().map(|(_, rest)| *rest);
    request.body = body.map(|(body, _)| String::from_utf8_lossy(&body).into_owned());
    (request, end)
}

fn chunks<'b>(mut left: &'b [u8], trailers: &mut Vec<String>) -> Option<(Vec<u8>, &'b [u8])> {
    let mut body = Vec::new();
    loop {
        let (size, rest) = split(left, b"\r\n")?;
        let size = std::str::from_utf8(size).unwrap();
        assert!(size.bytes().all(|byte| byte.is_ascii_hexdigit()), "a chunk of size {size:?}");
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            left = rest;
            break;
        }
        let (data, rest) = rest.split_at_checked(size)?;
        body.extend_from_slice(data);
        let (end, rest) = rest.split_at_checked(2)?;
        assert_eq!(end, b"\r\n", "a chunk that does not end");
        left = rest;
    }
    loop {
        let (line, rest) = split(left, b"\r\n")?;
        left = rest;
        if line.is_empty() {
            return Some((body, left));
        }
        trailers.push(header(std::str::from_utf8(line).unwrap()).expect("a trailer").0);
    }
}

/// Reads a header line as no server could read it otherwise.
fn header(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(": ").or_else(|| Some((line.strip_suffix(':')?, "")))?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
    let is_value = value.trim() == value && value.chars().all(|one| !one.is_control());
    (is_name && is_value).then(|| (name.to_owned(), value.to_owned()))
}

fn split<'b>(bytes: &'b [u8], at: &[u8]) -> Option<(&'b [u8], &'b [u8])> {
    let found = bytes.windows(at.len()).position(|window| window == at)?;
    Some((&bytes[..found], &bytes[found + at.len()..]))
}
