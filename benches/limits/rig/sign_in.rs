//! Sign-ins: a request to an app without a session, the redirect to the provider, and the callback with a code.
//!
//! No request is sent to the provider: its codes are nonces, which are in the gate's redirect.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use url::Url;

const APP: &str = "https://grafana.example.com";
/// Target of the original request.
const TARGET: &str = "/d/abc?orgId=1";

/// A sign-in before its callback.
pub(crate) struct Attempt {
    /// Path and query of the callback.
    callback: String,
    /// The login cookie, name and value.
    cookie: String,
}

/// A persistent connection of an edge to the gate.
pub(crate) struct Edge {
    stream: TcpStream,
}

impl Edge {
    /// Opens the connection.
    pub(crate) fn to(gate: SocketAddr) -> Self {
        let stream = TcpStream::connect(gate).expect("the gate listens");
        stream.set_nodelay(true).expect("a socket has the option");
        Self { stream }
    }

    /// Sends a request to the app without a session.
    pub(crate) fn begin(&mut self) -> Attempt {
        self.ask(TARGET, "");
        let answer = self.receive();
        let provider = Url::parse(line(&answer, "location: ")).expect("an address");
        let parameter = |name| provider.query_pairs().find_map(|(key, value)| (key == name).then_some(value));
        let (state, nonce) = (parameter("state").expect("a state"), parameter("nonce").expect("a nonce"));
        let cookie = line(&answer, "set-cookie: ").split(';').next().unwrap_or_default().to_owned();
        Attempt { callback: format!("/_doorward/callback?code={nonce}&state={state}"), cookie }
    }

    /// Sends the callback of a sign-in.
    pub(crate) fn bring(&mut self, attempt: &Attempt) {
        self.ask(&attempt.callback, &attempt.cookie);
    }

    /// Reads the response to the callback, which has to set a session cookie and redirect to the target.
    pub(crate) fn see_signed_in(&mut self) {
        let answer = self.receive();
        let is_right = line(&answer, "location: ") == format!("{APP}{TARGET}")
            && answer.contains("set-cookie: __Host-doorward=")
            && line(&answer, "doorward-reason: ") == "signed_in";
        assert!(is_right, "nobody was signed in: {answer}");
    }

    /// Sends a request with an expired session, which has to be refused.
    pub(crate) fn bring_expired(&mut self, session: &str) {
        self.ask(TARGET, &format!("__Host-doorward={session}"));
        self.receive();
    }

    fn ask(&mut self, uri: &str, cookie: &str) {
        let host = APP.strip_prefix("https://").unwrap_or(APP);
        write!(
            self.stream,
            "GET /_doorward/auth/traefik HTTP/1.1\r\nHost: gate\r\nAccept: text/html\r\nSec-Fetch-Mode: navigate\r\n\
             Cookie: {cookie}\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Host: {host}\r\nX-Forwarded-Uri: {uri}\r\n\r\n"
        )
        .expect("the gate reads");
    }

    /// Reads a redirect, which has no body.
    fn receive(&mut self) -> String {
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut room = [0; 8_192];
            let read = self.stream.read(&mut room).expect("the gate answers");
            assert!(read > 0, "the gate has closed a connection: {}", String::from_utf8_lossy(&answer));
            answer.extend(room.iter().take(read));
        }
        let answer = String::from_utf8(answer).expect("headers are text");
        assert!(answer.starts_with("HTTP/1.1 302"), "{answer}");
        answer
    }
}

/// Returns the value of a header.
fn line<'a>(answer: &'a str, name: &str) -> &'a str {
    answer.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}is not in {answer}"))
}
