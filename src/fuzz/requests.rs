//! Fuzz target for whole requests of edges, from their bytes to the verdict.
//!
//! It asserts for any bytes: only 200 (202 at oauth2-proxy's path) allows a request; without a session only paths that gate.toml opens to everybody are
//! allowed; closed paths are never allowed; no redirect leaves the site or the provider; a refusal is never stored.

use std::{
    cell::RefCell,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header, request::Parts};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use tokio::io::AsyncWriteExt as _;
use url::Url;

use super::{
    fixture::{POLICY, hop, is_open},
    gate::FuzzGate,
};
use crate::edge::{self, Edge};

/// Placeholder for a valid session cookie.
const SESSION: &str = "@SESSION@";
/// Size limit of an input: more than the server accepts of a head.
const MAX_INPUT: usize = 96 * 1024;

thread_local! {
    /// The gate, and the cookie of its session.
    static GATE: RefCell<Option<(FuzzGate, String)>> = const { RefCell::new(None) };
}

/// Requests as on the wire, one or several on one connection.
pub fn requests(input: &[u8]) {
    if input.len() > MAX_INPUT {
        return;
    }
    GATE.with_borrow_mut(|held| {
        let (gate, cookie) = held.get_or_insert_with(|| {
            let gate = FuzzGate::start();
            let cookie = gate.sign_in();
            (gate, cookie)
        });
        let bytes = with_cookie(input, cookie);
        for parts in gate.runtime.block_on(parsed(&bytes)) {
            let is_signed_in = parts.headers.get_all(header::COOKIE).iter().any(|line| holds(line.as_bytes(), cookie));
            ask(gate, &parts, is_signed_in);
        }
        // The input may have signed out.
        if bytes.len() != input.len() && !gate.knows(cookie) {
            *cookie = gate.sign_in();
        }
    });
}

fn holds(line: &[u8], cookie: &str) -> bool {
    line.windows(cookie.len()).any(|window| window == cookie.as_bytes())
}

fn with_cookie(input: &[u8], cookie: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(input.len());
    let mut rest = input;
    while let Some((first, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(SESSION.as_bytes()) {
            bytes.extend_from_slice(cookie.as_bytes());
            rest = after;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    bytes
}

/// Returns the heads of the requests, as the server's parser reads them.
async fn parsed(bytes: &[u8]) -> Vec<Parts> {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let (mut client, server) = tokio::io::duplex(2 * MAX_INPUT);
    let own = Arc::clone(&heads);
    let service = service_fn(move |request: Request<Incoming>| {
        let (parts, _body) = request.into_parts();
        own.lock().expect("the lock is not poisoned").push(parts);
        async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::new()))) }
    });
    client.write_all(bytes).await.expect("the input fits the buffer");
    client.shutdown().await.expect("the pipe can be closed");
    // Anything but a request ends the connection.
    let _ =
        http1::Builder::new().half_close(true).max_headers(100).serve_connection(TokioIo::new(server), service).await;
    std::mem::take(&mut *heads.lock().expect("the lock is not poisoned"))
}

fn ask(gate: &FuzzGate, parts: &Parts, is_signed_in: bool) {
    // The server refuses a request line with a fragment, which the parser drops.
    let (dialect, envoy_target) = match parts.uri.path() {
        "/_doorward/auth/traefik" => (Edge::Traefik, ""),
        "/_doorward/auth/caddy" => (Edge::Caddy, ""),
        "/_doorward/auth/nginx" => (Edge::Nginx, ""),
        "/oauth2/auth" => (Edge::OAuth2Proxy, ""),
        _ => {
            let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
            let target = target.strip_prefix("/_doorward/auth/envoy").filter(|target| target.starts_with('/'));
            let Some(target) = target else { return };
            (Edge::Envoy, target)
        }
    };
    let response = gate.ask(dialect, parts, envoy_target);
    let (status, headers) = (response.status(), response.headers());
    let admission = if dialect == Edge::OAuth2Proxy { StatusCode::ACCEPTED } else { StatusCode::OK };
    if status == admission {
        assert!(!headers.contains_key(header::SET_COOKIE), "a response that allows a request sets a cookie");
        let expected =
            expected(dialect, parts, envoy_target).expect("an allowed request names its original request once");
        assert!(!expected.is_closed(), "{expected:?} is allowed");
        assert!(is_signed_in || expected.is_open(), "{expected:?} is allowed without a session");
        return;
    }
    assert!(!status.is_informational() && !status.is_success(), "{status} allows the request at some edges");
    assert!(headers.contains_key(&edge::DOORWARD_REASON), "{status} without a reason");
    assert_eq!(headers.get(header::CACHE_CONTROL).map(HeaderValue::as_bytes), Some(b"no-store".as_slice()));
    if let Some(location) = headers.get(header::LOCATION) {
        let url = location.to_str().ok().and_then(|text| Url::parse(text).ok()).expect("the location is absolute");
        let host = url.host_str().unwrap_or_default();
        assert!(url.scheme() == "https" && (host == "id.test" || POLICY.names(host)), "{url} is outside");
    }
}

/// The original request, parsed independently of the gate.
#[derive(Debug)]
struct ExpectedRequest {
    host: String,
    path: String,
    method: Option<String>,
    client: String,
}

impl ExpectedRequest {
    /// Returns `true` if the request is for the app with rules.
    fn has_rules(&self) -> bool {
        self.host == "app.test" || self.host.ends_with(".wild.test")
    }

    fn is_open(&self) -> bool {
        let home: IpNet = "192.168.0.0/16".parse().expect("a network");
        let is_at_home = self.client.split(',').filter_map(hop).any(|hop| home.contains(&hop));
        self.has_rules() && is_open(&self.path, self.method.as_deref(), is_at_home)
    }

    /// Returns `true` if gate.toml denies the path to everybody.
    fn is_closed(&self) -> bool {
        // Closing rules are compared case-insensitively.
        let path = percent_decode_str(&self.path).decode_utf8_lossy().to_ascii_lowercase();
        let path = path.trim_end_matches(['/', '.', ' ']);
        self.has_rules() && (path == "/public/closed" || path == "/admin" || path.starts_with("/admin/"))
    }
}

fn expected(edge: Edge, parts: &Parts, envoy_target: &str) -> Option<ExpectedRequest> {
    let only = |name: &str| only(&parts.headers, name);
    let (method, host, target) = match edge {
        Edge::Traefik | Edge::Caddy => {
            (only("x-forwarded-method"), only("x-forwarded-host")?, only("x-forwarded-uri")?)
        }
        Edge::Nginx => {
            let url = only("x-original-url")?;
            let (_, rest) = url.split_once("://")?;
            let slash = rest.find('/')?;
            (only("x-original-method"), rest.get(..slash)?.to_owned(), rest.get(slash..)?.to_owned())
        }
        // The fixture has no names of the gate's own, so that this is nginx as that gate documents it.
        Edge::OAuth2Proxy => {
            let host = only("host").or_else(|| parts.uri.authority().map(ToString::to_string))?;
            (None, host, only("x-forwarded-uri")?)
        }
        Edge::Proxy => {
            let host = only("host").or_else(|| parts.uri.authority().map(ToString::to_string))?;
            (Some(parts.method.to_string()), host, parts.uri.path_and_query()?.to_string())
        }
        Edge::Envoy => {
            let host = only("host").or_else(|| parts.uri.authority().map(ToString::to_string))?;
            (Some(parts.method.to_string()), host, envoy_target.to_owned())
        }
    };
    let host = host.to_ascii_lowercase();
    let host = host.split(':').next()?.trim_end_matches('.').to_owned();
    let path = target.split('?').next()?.to_owned();
    Some(ExpectedRequest { host, path, method, client: only("x-forwarded-for").unwrap_or_default() })
}

fn only(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| String::from_utf8_lossy(value.as_bytes()).into_owned())
}
