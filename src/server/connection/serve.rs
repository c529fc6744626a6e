//! Life of one connection: TLS handshake, HTTP/1.1 or HTTP/2 within deadlines, graceful shutdown, lingering close.
//!
//! A request's body is handed on unread and never waited for here.

use std::{convert::Infallible, net::IpAddr, pin::pin, sync::Arc};

use bytes::Bytes;
use futures_util::{
    FutureExt as _,
    future::{Either, select},
};
use http::{HeaderValue, Request, header::CONNECTION, request::Parts};
use hyper::{
    body::{Body as _, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_rustls::server::TlsStream;

use super::{
    deadlines::{Deadlines, DriveEnd},
    detect::{Detect, HttpVersion},
    drain::{Drain, Phase},
    flow_controlled::FlowControlledBody,
    http_builders::{HeaderLines, HttpBuilders, StreamExecutor},
    lingering_close::lingering_close,
    sensor_io::{ConnState, FragmentDropped, SensorIo},
    timeouts::{ListenerTimeouts, PeerTimeouts},
};
use crate::{
    edge::{self, Reason},
    metrics::{Gauge, HandshakeMetrics, HandshakeResult},
    server::{
        body::{ServerBody, ServerResponse},
        limits::{ConnSignals, ConnectionSlot},
        tls::Certificates,
    },
    shutdown::Tasks,
};

/// Most bodies that untrusted peers have yet to take over HTTP/2, a page each: beyond them a response has no body.
const MAX_PENDING_BODIES: usize = 512;

/// Answers requests of a listener.
pub(in crate::server) trait RequestHandler: Send + Sync + 'static {
    /// Future of a response.
    type Future: Future<Output = ServerResponse> + Send + 'static;

    /// Answers a request, of which the body is unread.
    fn handle(&self, peer: IpAddr, request: Parts, body: Incoming) -> Self::Future;
}

impl<H, F> RequestHandler for H
where
    H: Fn(IpAddr, Parts, Incoming) -> F + Send + Sync + 'static,
    F: Future<Output = ServerResponse> + Send + 'static,
{
    type Future = F;

    fn handle(&self, peer: IpAddr, request: Parts, body: Incoming) -> F {
        self(peer, request, body)
    }
}

/// Bodies of a listener's requests and responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Bodies {
    /// Whole ones of the gate's own.
    Whole,
    /// Those of apps, which stream.
    Streamed,
}

/// Policy of a listener for its peers, and their metrics.
pub(in crate::server) struct PeerPolicy {
    /// Returns `true` if a peer is trusted now.
    pub(in crate::server) is_trusted: Box<dyn Fn(IpAddr) -> bool + Send + Sync>,
    /// Notes what hyper refused before it was a request.
    pub(in crate::server) note_unread: Box<dyn Fn(IpAddr, Reason) + Send + Sync>,
    /// Timeouts of connections.
    pub(in crate::server) timeouts: ListenerTimeouts,
    /// What its bodies are.
    pub(in crate::server) bodies: Bodies,
    /// Number of open connections.
    pub(in crate::server) open: Gauge,
    /// Counters of TLS handshakes.
    pub(in crate::server) handshakes: HandshakeMetrics,
}

/// Context that all connections of one listener share.
pub(in crate::server) struct ConnContext<H> {
    handler: H,
    policy: PeerPolicy,
    trusted: HttpBuilders,
    untrusted: HttpBuilders,
    /// Permits for bodies that untrusted peers have yet to take over HTTP/2.
    pending_bodies: Arc<Semaphore>,
    drain: Arc<Drain>,
    certificates: Option<Arc<Certificates>>,
    tasks: Tasks,
}

impl<H: RequestHandler> ConnContext<H> {
    /// Creates the context of connections in clear text, or over TLS where there are certificates.
    pub(in crate::server) fn new(
        handler: H,
        policy: PeerPolicy,
        drain: Arc<Drain>,
        certificates: Option<Arc<Certificates>>,
        tasks: Tasks,
    ) -> Self {
        let streams = |timeout| StreamExecutor { tasks: tasks.clone(), drain: Arc::clone(&drain), timeout };
        let trusted = HttpBuilders::for_trusted(streams(policy.timeouts.trusted.stream));
        let untrusted = HttpBuilders::for_untrusted(streams(policy.timeouts.untrusted.stream));
        let pending_bodies = Arc::new(Semaphore::new(MAX_PENDING_BODIES));
        Self { handler, policy, trusted, untrusted, pending_bodies, drain, certificates, tasks }
    }

    /// Returns `true` if a peer is trusted now.
    pub(in crate::server) fn is_trusted(&self, peer: IpAddr) -> bool {
        (self.policy.is_trusted)(peer)
    }

    /// Gauge of open connections.
    pub(in crate::server) fn open(&self) -> Gauge {
        self.policy.open.clone()
    }

    /// Phase of the server.
    pub(in crate::server) fn drain(&self) -> &Drain {
        &self.drain
    }

    /// Tasks that connections run in.
    pub(in crate::server) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Serves a connection until it ends. Errors on it end it and concern nothing else.
    pub(in crate::server) async fn serve(&self, mut stream: TcpStream, slot: &ConnectionSlot) {
        match &self.certificates {
            None => self.serve_http(&mut stream, slot).await,
            Some(certificates) => {
                // Both on the heap, so that a connection in clear does not take the room that one over TLS needs, nor
                // that one the room for its handshake.
                let Some(mut stream) = Box::pin(self.tls_handshake(certificates, stream, slot)).await else {
                    self.policy.handshakes.count(HandshakeResult::Failed);
                    return tracing::debug!(peer = %slot.peer().address(), "TLS handshake failed");
                };
                self.policy.handshakes.count(HandshakeResult::Ok);
                self.serve_http(&mut *stream, slot).await;
            }
        }
    }

    async fn tls_handshake(
        &self,
        certificates: &Certificates,
        stream: TcpStream,
        slot: &ConnectionSlot,
    ) -> Option<Box<TlsStream<TcpStream>>> {
        let _under_way = slot.handshake_started();
        let longest = self.policy.timeouts.of(slot.peer()).tls_handshake;
        let handshake = pin!(timeout(longest, certificates.acceptor().accept(stream)));
        match select(handshake, pin!(self.aborted(slot))).await {
            Either::Left((Ok(Ok(stream)), _)) => Some(Box::new(stream)),
            Either::Left(_) | Either::Right(_) => None,
        }
    }

    /// Returns once a connection has to be aborted, by the drain or by a signal.
    async fn aborted(&self, slot: &ConnectionSlot) {
        select(pin!(self.drain.aborted()), pin!(slot.peer().aborted())).await;
    }

    /// Serves HTTP over a stream until it ends, and closes it.
    async fn serve_http<S>(&self, stream: &mut S, slot: &ConnectionSlot)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let state = ConnState::default();
        let mut io = SensorIo::new(stream, &state);
        let end = self.drive_http(&mut io, &state, slot).await;
        if let Some(reason) = io.refused() {
            (self.policy.note_unread)(slot.peer().address(), reason);
        }
        if end == DriveEnd::Complete && !io.is_read_closed() {
            // On the heap: nearly every connection is idle far longer than it closes.
            let closing = async {
                let longest = self.policy.timeouts.of(slot.peer()).closing;
                select(pin!(timeout(longest, lingering_close(io))), pin!(self.aborted(slot))).await;
            };
            Box::pin(closing).await;
        }
    }

    /// Serves the HTTP version that the client begins with. A keep-alive HTTP/1 connection is parked between requests that are far
    /// apart: hyper's connection and its buffers are released until the next byte. A request with too many header lines for hyper
    /// is read once more, with room for more.
    async fn drive_http<'a, S>(&self, io: &mut SensorIo<'a, S>, state: &'a ConnState, slot: &ConnectionSlot) -> DriveEnd
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let timeouts = PeerTimeouts { peer: slot.peer(), by_trust: &self.policy.timeouts };
        let (timer, drain_changed) = (pin!(sleep(timeouts.current().first_request)), pin!(self.drain.changed()));
        let mut deadlines = Deadlines::new(state, timeouts, &self.drain, timer, drain_changed);
        // After an app's response hyper's own 431 is not told apart, so there is no second try.
        let few = if self.policy.bodies == Bodies::Streamed { HeaderLines::Many } else { HeaderLines::Few };
        let (mut version, mut lines) = (None, few);
        loop {
            let mut detect = Detect::new(io, state, version);
            let end = deadlines.drive(&mut detect).await;
            version = detect.version();
            match version {
                None => return end,
                // On the heap, because the task is moved about before it runs, and most of its life the connection is parked.
                Some(HttpVersion::Http1) => {
                    deadlines.allow_parking();
                    let service = service_fn(|request| self.respond_http1(state, slot, request));
                    let mut connection =
                        Box::new(self.builders(slot).http1(lines).serve_connection(TokioIo::new(&mut *io), service));
                    let end = deadlines.drive(&mut *connection).await;
                    // A copy, because even where nothing is left it is hyper's whole buffer that is handed out.
                    let unread = Bytes::copy_from_slice(&connection.into_parts().read_buf);
                    match end {
                        DriveEnd::Park => {}
                        DriveEnd::Complete if io.take_header_overflow() => lines = HeaderLines::Many,
                        DriveEnd::Complete | DriveEnd::Abort => return end,
                    }
                    io.resume_http1(unread);
                }
                Some(HttpVersion::Http2) => {
                    let service = service_fn(|request| self.respond_http2(state, slot, request));
                    let mut connection =
                        Box::new(self.builders(slot).http2.serve_connection(TokioIo::new(io), service));
                    return deadlines.drive(&mut *connection).await;
                }
            }
        }
    }

    fn builders(&self, slot: &ConnectionSlot) -> &HttpBuilders {
        if slot.peer().is_untrusted() { &self.untrusted } else { &self.trusted }
    }

    /// Answers an HTTP/1 request, the only one in flight on its connection. Ends keep-alive where the response is the last.
    fn respond_http1<'a>(
        &'a self,
        state: &'a ConnState,
        slot: &'a ConnectionSlot,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<ServerResponse, Infallible>> + Send + use<'a, H> {
        let (mut parts, body) = request.into_parts();
        if state.request_started() {
            parts.extensions.insert(FragmentDropped);
        }
        // `ConnState` has what is in flight.
        drop(slot.request_started());
        let streams = self.policy.bodies == Bodies::Streamed;
        if streams {
            parts.extensions.insert(Arc::new(state.stream_started()));
        }
        // What is left of a body would be read as the next request.
        let body_follows = !body.is_end_stream();
        let answer = self.handler.handle(slot.peer().address(), parts, body);
        async move {
            let mut response = answer.await;
            state.response_ready();
            // Of a body that an app has taken, hyper knows what is left.
            let is_relayed = response.body().is_streamed();
            if is_relayed {
                state.relays();
            }
            let is_last = (body_follows && !is_relayed)
                || self.drain.phase() >= Phase::Draining
                || (!streams && refuses_untrusted_peer(slot, &response));
            if is_last {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        }
    }

    /// Answers an HTTP/2 request, one of many in flight on its connection.
    fn respond_http2(
        &self,
        state: &ConnState,
        slot: &ConnectionSlot,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<http::Response<FlowControlledBody<ServerBody>>, Infallible>> + Send + use<H> {
        state.request_started();
        let (guard, pending_bodies) = (slot.request_started(), Arc::clone(&self.pending_bodies));
        let (mut parts, body) = request.into_parts();
        let streams = self.policy.bodies == Bodies::Streamed;
        if streams {
            parts.extensions.insert(Arc::new(state.stream_started()));
        }
        self.handler.handle(slot.peer().address(), parts, body).map(move |response| {
            if streams {
                return Ok(response.map(FlowControlledBody::new));
            }
            let Some(guard) = guard else {
                return Ok(response.map(FlowControlledBody::new));
            };
            if has_reason_untrusted_peer(&response) {
                guard.peer().signal(ConnSignals::GRACEFUL_SHUTDOWN);
            }
            Ok(response.map(|body| FlowControlledBody::limited(pending_bodies, body)))
        })
    }
}

/// Returns `true` if a response refuses an untrusted peer: such a peer has nothing further to ask.
fn refuses_untrusted_peer(slot: &ConnectionSlot, response: &ServerResponse) -> bool {
    slot.peer().is_untrusted() && (response.status().is_client_error() || response.status().is_server_error())
}

/// Returns `true` if a response was refused because its peer is no edge.
fn has_reason_untrusted_peer(response: &ServerResponse) -> bool {
    response.headers().get(&edge::DOORWARD_REASON).is_some_and(|reason| reason == Reason::UntrustedPeer.code())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        metrics::{self, Metrics},
        server::limits::{ConnectionLimits, ConnectionSlots},
    };

    #[tokio::test]
    async fn a_parked_connection_takes_little_memory() {
        let handler = |_: IpAddr, _: Parts, _: Incoming| std::future::ready(ServerResponse::new(ServerBody::default()));
        let metrics = Metrics::new(&metrics::Settings { backend: "memory", version: "0", commit: "none" });
        let (open, handshakes) =
            (metrics.connections.open(metrics::ListenerLabel::Edges), metrics.connections.handshakes());
        let (is_trusted, timeouts) = (Box::new(|_| true), ListenerTimeouts::EDGES);
        let note_unread = Box::new(|_, _| {});
        let policy =
            PeerPolicy { is_trusted, note_unread, timeouts, bodies: Bodies::Whole, open: open.clone(), handshakes };
        let context = ConnContext::new(handler, policy, Arc::default(), None, Tasks::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let slots = ConnectionSlots::new(ConnectionLimits::of(1));
        let permit = slots.acquire_or_evict().await.unwrap();
        let slot = slots.assign(permit, IpAddr::from([127, 0, 0, 1]), |_| true, open);
        let served = context.serve(stream, &slot);
        assert!(size_of_val(&served) < 1_024, "{} bytes", size_of_val(&served));
    }
}
