//! Listeners over real sockets, with responses that stand for the gate's.

mod draining;
mod forms;
mod frames;
mod limits;
mod parking;
mod protocol;
mod untrusted;

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
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{HandshakeKind, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    sync::Notify,
};
use tower::{ServiceExt as _, service_fn};

use super::{
    Error, Server, Settings, TlsSettings,
    body::ServerResponse,
    connection::{Bodies, ConnContext, Drain, FragmentDropped, ListenerTimeouts, PeerPolicy, Phase, Timeouts},
    forms::{FormReader, FormTimeouts},
    limits::{ConnectionLimits, RequestBounds, bounded},
    listener::Listener,
    router::{Route, route},
    tls::Certificates,
};
use crate::{
    metrics::{self, Metrics},
    shutdown::{Signal, Tasks},
};

// These tests wait in real time: sockets, and what the kernel has of a connection, do not follow a paused clock.
pub(super) const LONG: Duration = Duration::from_hours(1);
const SHORT: Duration = Duration::from_millis(50);

/// Timeouts that do not expire.
pub(super) const ENDLESS: Timeouts = Timeouts {
    tls_handshake: LONG,
    first_request: LONG,
    slow_client: LONG,
    park: LONG,
    idle: LONG,
    closing: LONG,
    stream: LONG,
};

/// Running listener with its controls.
struct RunningListener {
    address: SocketAddr,
    metrics: Metrics,
    drain: Arc<Drain>,
    tasks: Tasks,
    stop: Signal,
    ended: Signal,
}

/// Setup of a listener; by default no timeout expires.
struct ListenerPlan {
    timeouts: Timeouts,
    /// Timeouts for peers that are not at 127.0.0.1.
    untrusted: Timeouts,
    grace: Duration,
    limits: ConnectionLimits,
    certificates: Option<Arc<Certificates>>,
}

impl Default for ListenerPlan {
    fn default() -> Self {
        Self {
            timeouts: ENDLESS,
            untrusted: ENDLESS,
            grace: LONG,
            limits: ConnectionLimits::of(1_000),
            certificates: None,
        }
    }
}

impl RunningListener {
    fn with<A, F>(plan: ListenerPlan, answer: A) -> Self
    where
        A: Fn(IpAddr, Parts) -> F + Send + Sync + 'static,
        F: Future<Output = ServerResponse> + Send + 'static,
    {
        Self::reading(plan, move |peer, request, _body| answer(peer, request))
    }

    fn reading<A, F>(plan: ListenerPlan, answer: A) -> Self
    where
        A: Fn(IpAddr, Parts, Incoming) -> F + Send + Sync + 'static,
        F: Future<Output = ServerResponse> + Send + 'static,
    {
        let (stop, ended, drain) = (Signal::default(), Signal::default(), Arc::new(Drain::default()));
        let tasks = Tasks::new(stop.clone());
        let listener = Listener::bind("server.listen", (Ipv4Addr::LOCALHOST, 0).into(), plan.limits).unwrap();
        let address = listener.address();
        let metrics = Metrics::new(&metrics::Settings { backend: "memory", version: "0", commit: "none" });
        let policy = PeerPolicy {
            is_trusted: Box::new(|peer| peer == IpAddr::from(Ipv4Addr::LOCALHOST)),
            note_unread: Box::new(|_, _| {}),
            bodies: Bodies::Whole,
            timeouts: ListenerTimeouts { trusted: plan.timeouts, untrusted: plan.untrusted },
            open: metrics.connections.open(metrics::ListenerLabel::Edges),
            handshakes: metrics.connections.handshakes(),
        };
        let context = ConnContext::new(answer, policy, Arc::clone(&drain), plan.certificates, tasks.clone());
        let (stopping, ending) = (stop.clone(), ended.clone());
        tasks.spawn(async move {
            listener.serve(context, &stopping, plan.grace).await;
            ending.raise();
        });
        Self { address, metrics, drain, tasks, stop, ended }
    }

    fn echoing() -> Self {
        Self::with(ListenerPlan::default(), echo)
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes on a connection of their own and reads until the server closes it.
    async fn send(&self, bytes: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_bytes()).await.unwrap();
        read_to_end(&mut stream).await
    }

    /// Connects an HTTP/2 client; the signal is raised when its connection has ended.
    async fn h2(&self, io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> (Client, Signal) {
        let (client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await.unwrap();
        let closed = Signal::default();
        let closing = closed.clone();
        self.tasks.spawn(async move {
            let _ended = connection.await;
            closing.raise();
        });
        (client, closed)
    }
}

type Client = http2::SendRequest<Empty<Bytes>>;

fn respond(text: impl Into<Bytes>) -> ServerResponse {
    ServerResponse::new(text.into().into())
}

/// Responds with the request as it arrived.
#[expect(clippy::needless_pass_by_value, reason = "handlers own their request")]
fn echo(peer: IpAddr, request: Parts) -> Ready<ServerResponse> {
    let mark = if request.extensions.get::<FragmentDropped>().is_some() { " fragment" } else { "" };
    ready(respond(format!("[{:?} {} {} {peer}{mark}]", request.version, request.method, request.uri)))
}

async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    // A connection that is aborted may end in a reset; what came before counts.
    let _aborted = stream.read_to_end(&mut bytes).await;
    String::from_utf8(bytes).unwrap()
}

/// Reads one response whose body ends with `end`.
async fn read_response(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
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

fn closes(response: &str) -> bool {
    response.to_ascii_lowercase().contains("\r\nconnection: close\r\n")
}

/// Writes self-signed files for `localhost`, and returns a client that trusts them and offers these protocols.
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
