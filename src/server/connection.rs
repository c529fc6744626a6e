//! One connection from its first byte to its last: TLS, HTTP/1.1 or HTTP/2, deadlines, a polite end.
//!
//! A request's body is handed on with it and never waited for here. It must not know what is answered, only that something
//! is.

use std::{
    convert::Infallible,
    net::IpAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{
    FutureExt as _,
    future::{Either, select},
};
use http::{HeaderValue, Request, header::CONNECTION, request::Parts};
use hyper::{
    body::{Body, Incoming},
    rt::{Read, Write, bounds::Http2ServerConnExec},
    server::conn::{http1, http2},
    service::{HttpService, service_fn},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_rustls::server::TlsStream;

use super::{
    drain::{Drain, Phase},
    opening::{Opening, Version},
    places::{Call, Place},
    speech::{Speech, Streams},
    taken::Taken,
    tls::Certificates,
    vigil::{End, Talk, Terms, Timeouts, Vigil},
    watched::{Pulse, Watched},
};
use crate::{
    edge::{self, Reason, Response},
    metrics::{Gauge, HandshakeMetrics, HandshakeResult},
    shutdown::Tasks,
};

/// Answers that strangers have yet to take over HTTP/2, a page each: beyond them an answer has no body.
const UNTAKEN: usize = 512;

/// The mark on a request whose target went on after a `#`. What followed it is gone, so the path that an app would see
/// is not known.
#[derive(Clone, Copy, Debug)]
pub(super) struct FragmentDropped;

/// Who is at the other end of a listener's connections, and how long they may stay.
pub(super) struct Peers {
    /// Whether a peer is trusted, as things are now.
    pub(super) trusts: Box<dyn Fn(IpAddr) -> bool + Send + Sync>,
    /// How long a connection may be in each of its states.
    pub(super) timeouts: Timeouts,
    /// How many connections are open.
    pub(super) open: Gauge,
    /// Where TLS handshakes are counted.
    pub(super) handshakes: HandshakeMetrics,
}

/// What all connections of one listener have in common. `answer` turns a peer, a request and its unread body into an
/// answer.
pub(super) struct Host<A> {
    answer: A,
    peers: Peers,
    trusted: Speech,
    strangers: Speech,
    /// Room for answers that strangers have yet to take over HTTP/2.
    untaken: Arc<Semaphore>,
    drain: Arc<Drain>,
    certificates: Option<Arc<Certificates>>,
    tasks: Tasks,
}

impl<A, F> Host<A>
where
    A: Fn(IpAddr, Parts, Incoming) -> F + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    /// A host that answers in clear, or over TLS where there are certificates.
    pub(super) fn new(
        answer: A,
        peers: Peers,
        drain: Arc<Drain>,
        certificates: Option<Arc<Certificates>>,
        tasks: Tasks,
    ) -> Self {
        let streams = |within| Streams { tasks: tasks.clone(), drain: Arc::clone(&drain), within };
        let trusted = Speech::of_edges(streams(peers.timeouts.trusted.stream));
        let strangers = Speech::of_strangers(streams(peers.timeouts.strangers.stream));
        let untaken = Arc::new(Semaphore::new(UNTAKEN));
        Self { answer, peers, trusted, strangers, untaken, drain, certificates, tasks }
    }

    /// Whether a peer is trusted, as things are now.
    pub(super) fn trusts(&self, peer: IpAddr) -> bool {
        (self.peers.trusts)(peer)
    }

    /// Where its open connections are counted.
    pub(super) fn open(&self) -> Gauge {
        self.peers.open.clone()
    }

    /// How far this server is.
    pub(super) fn drain(&self) -> &Drain {
        &self.drain
    }

    /// Where its connections run.
    pub(super) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Serves a connection until it ends. Errors on it concern nobody but its client.
    pub(super) async fn serve(&self, mut stream: TcpStream, place: &Place) {
        match &self.certificates {
            None => self.speak(&mut stream, place).await,
            Some(certificates) => {
                // Both on the heap, so that a connection in clear does not take the room that one over TLS needs, nor
                // that one the room for its handshake.
                let Some(mut stream) = Box::pin(self.shake_hands(certificates, stream, place)).await else {
                    self.peers.handshakes.count(HandshakeResult::Failed);
                    return tracing::debug!(peer = %place.seat().peer(), "a TLS handshake failed");
                };
                self.peers.handshakes.count(HandshakeResult::Ok);
                self.speak(&mut *stream, place).await;
            }
        }
    }

    async fn shake_hands(
        &self,
        certificates: &Certificates,
        stream: TcpStream,
        place: &Place,
    ) -> Option<Box<TlsStream<TcpStream>>> {
        let _under_way = place.handshake_begins();
        let patience = self.peers.timeouts.of(place.seat()).handshake;
        let handshake = pin!(timeout(patience, certificates.acceptor().accept(stream)));
        match select(handshake, pin!(self.until_cut(place))).await {
            Either::Left((Ok(Ok(stream)), _)) => Some(Box::new(stream)),
            Either::Left(_) | Either::Right(_) => None,
        }
    }

    /// Returns once nothing of a connection may remain.
    async fn until_cut(&self, place: &Place) {
        select(pin!(self.drain.until_cut()), pin!(place.seat().until_cut())).await;
    }

    /// Speaks HTTP over a stream until it ends.
    async fn speak<S>(&self, stream: &mut S, place: &Place)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let pulse = Pulse::default();
        let mut watched = Watched::new(stream, &pulse);
        let end = self.converse(&mut watched, &pulse, place).await;
        if end == End::Own && !watched.has_ended() {
            // On the heap: nearly every connection is idle far longer than it ends.
            let farewell = async {
                let patience = self.peers.timeouts.of(place.seat()).farewell;
                select(pin!(timeout(patience, part(watched))), pin!(self.until_cut(place))).await;
            };
            Box::pin(farewell).await;
        }
    }

    /// Speaks whichever version the client begins with, and rests between requests that are far apart.
    async fn converse<'a, S>(&self, stream: &mut Watched<'a, S>, pulse: &'a Pulse, place: &Place) -> End
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let terms = Terms { seat: place.seat(), timeouts: &self.peers.timeouts };
        let (alarm, news) = (pin!(sleep(terms.patience().first_request)), pin!(self.drain.news()));
        let mut vigil = Vigil::new(pulse, terms, &self.drain, alarm, news);
        let mut before = None;
        loop {
            let mut opening = Opening::of(stream, pulse, before);
            let end = vigil.over(&mut opening).await;
            before = opening.version();
            match before {
                None => return end,
                // On the heap, because the task is moved about before it runs, and most of its life nothing is said.
                Some(Version::Http1) => {
                    vigil.wake();
                    let service = service_fn(|request| self.answer_in_turn(pulse, place, request));
                    let mut talk =
                        Box::new(self.speech(place).http1.serve_connection(TokioIo::new(&mut *stream), service));
                    let end = vigil.over(&mut *talk).await;
                    if end != End::Rest {
                        return end;
                    }
                    // A copy, because even where nothing is left it is hyper's whole buffer that is handed out.
                    let unread = talk.into_parts().read_buf;
                    stream.read_lines(Bytes::copy_from_slice(&unread));
                }
                Some(Version::Http2) => {
                    let service = service_fn(|request| self.answer_beside(pulse, place, request));
                    let mut talk = Box::new(self.speech(place).http2.serve_connection(TokioIo::new(stream), service));
                    return vigil.over(&mut *talk).await;
                }
            }
        }
    }

    fn speech(&self, place: &Place) -> &Speech {
        if place.seat().is_stranger() { &self.strangers } else { &self.trusted }
    }

    /// Answers the only request in hand.
    fn answer_in_turn<'a>(
        &'a self,
        pulse: &'a Pulse,
        place: &'a Place,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response, Infallible>> + Send + use<'a, A, F> {
        let (mut parts, body) = request.into_parts();
        if pulse.request_begins() {
            parts.extensions.insert(FragmentDropped);
        }
        // What is in hand is known by the pulse.
        drop(place.request_begins());
        // What is left of a body would be read as the next request.
        let body_follows = !body.is_end_stream();
        let answer = (self.answer)(place.seat().peer(), parts, body);
        async move {
            let mut response = answer.await;
            pulse.request_ends();
            let is_last = body_follows || self.drain.phase() >= Phase::Draining || ends(place, &response);
            if is_last {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        }
    }

    /// Answers one request of many.
    fn answer_beside(
        &self,
        pulse: &Pulse,
        place: &Place,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<http::Response<Taken>, Infallible>> + Send + use<A, F> {
        pulse.request_begins();
        let (serving, untaken) = (place.request_begins(), Arc::clone(&self.untaken));
        let (parts, body) = request.into_parts();
        (self.answer)(place.seat().peer(), parts, body).map(move |response| {
            let Some(serving) = serving else {
                return Ok(response.map(Taken::new));
            };
            if is_for_a_stranger(&response) {
                serving.seat().call(Call::WIND_UP);
            }
            Ok(response.map(|body| Taken::within(untaken, body)))
        })
    }
}

/// Whether an answer is the last on its connection: a stranger who is refused has nothing further to ask.
fn ends(place: &Place, response: &Response) -> bool {
    place.seat().is_stranger() && (response.status().is_client_error() || response.status().is_server_error())
}

/// Whether an answer says that its client is no edge.
fn is_for_a_stranger(response: &Response) -> bool {
    response.headers().get(&edge::DOORWARD_REASON).is_some_and(|reason| reason == Reason::UntrustedPeer.code())
}

impl<I, S, B> Talk for http1::Connection<I, S>
where
    I: Read + Write + Unpin,
    S: HttpService<Incoming, ResBody = B, Error = Infallible>,
    B: Body<Error = Infallible> + 'static,
{
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(self).poll_unpin(context).map(drop)
    }

    fn wind_up(&mut self) {
        Pin::new(self).graceful_shutdown();
    }
}

impl<I, S, B> Talk for http2::Connection<I, S, Streams>
where
    I: Read + Write + Unpin,
    S: HttpService<Incoming, ResBody = B, Error = Infallible>,
    B: Body<Error = Infallible> + 'static,
    Streams: Http2ServerConnExec<S::Future, B>,
{
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(self).poll_unpin(context).map(drop)
    }

    fn wind_up(&mut self) {
        Pin::new(self).graceful_shutdown();
    }
}

/// Ends our side, then reads until the client ends its own: a socket that is closed with bytes unread sends a reset, and
/// the reset can overtake the answer.
async fn part(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let _gone_already = stream.shutdown().await;
    let mut unread = [0; 4_096];
    while stream.read(&mut unread).await.is_ok_and(|read| read > 0) {}
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::{
        super::places::{Places, Shares},
        *,
    };
    use crate::metrics::{self, Metrics};

    #[tokio::test]
    async fn what_a_resting_connection_takes_is_little() {
        let answer = |_, _, _| std::future::ready(Response::new(Full::default()));
        let metrics = Metrics::new(&metrics::Settings { backend: "memory", version: "0", commit: "none" });
        let (open, handshakes) =
            (metrics.connections.open(metrics::ListenerLabel::Edges), metrics.connections.handshakes());
        let (trusts, timeouts) = (Box::new(|_| true), Timeouts::EDGES);
        let peers = Peers { trusts, timeouts, open: open.clone(), handshakes };
        let host = Host::new(answer, peers, Arc::default(), None, Tasks::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let places = Places::new(Shares::of(1));
        let permit = places.room().await.unwrap();
        let place = places.take(permit, IpAddr::from([127, 0, 0, 1]), |_| true, open);
        let served = host.serve(stream, &place);
        assert!(size_of_val(&served) < 1_024, "{} bytes", size_of_val(&served));
    }
}
