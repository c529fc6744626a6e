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
    rt::{Executor, Read, Write, bounds::Http2ServerConnExec},
    server::conn::{http1, http2},
    service::{HttpService, service_fn},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::server::TlsStream;

use super::{
    drain::{Drain, Phase},
    opening::{Opening, Version},
    tls::Certificates,
    vigil::{End, Patience, Talk, Vigil},
    watched::{Pulse, Watched},
};
use crate::{edge::Response, shutdown::Tasks};

/// Room for 64 KiB of header lines, the request line, and HTTP/2's 32 bytes for each line. In HTTP/1 a longer header is
/// read too when it happens to fit what the buffer has grown to, up to twice this size. hyper's limit of 100 lines
/// stays: a higher one costs two allocations with every request, and edges send about twenty.
const MAX_HEADER: usize = 72 * 1024;

/// HTTP/2 requests on one connection: an edge keeps one connection for all of its clients.
const MAX_STREAMS: u32 = 2_048;

/// What a body that nobody reads may fill before the client has to wait.
const BODY_WINDOW: u32 = 64 * 1024;

/// The mark on a request whose target went on after a `#`. What followed it is gone, so the path that an app would see
/// is not known.
#[derive(Clone, Copy, Debug)]
pub(super) struct FragmentDropped;

/// What all connections of one listener have in common. `answer` turns a peer, a request and its unread body into an
/// answer.
pub(super) struct Host<A> {
    answer: A,
    http1: http1::Builder,
    http2: http2::Builder<Streams>,
    patience: Patience,
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
        patience: Patience,
        drain: Arc<Drain>,
        certificates: Option<Arc<Certificates>>,
        tasks: Tasks,
    ) -> Self {
        let http2 = http2(Streams { tasks: tasks.clone(), drain: Arc::clone(&drain) });
        Self { answer, http1: http1(), http2, patience, drain, certificates, tasks }
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
    pub(super) async fn serve(&self, mut stream: TcpStream, peer: IpAddr) {
        match &self.certificates {
            None => self.speak(&mut stream, peer).await,
            Some(certificates) => {
                // Both on the heap, so that a connection in clear does not take the room that one over TLS needs, nor
                // that one the room for its handshake.
                let Some(mut stream) = Box::pin(self.shake_hands(certificates, stream)).await else {
                    return tracing::debug!(%peer, "a TLS handshake failed");
                };
                self.speak(&mut *stream, peer).await;
            }
        }
    }

    async fn shake_hands(&self, certificates: &Certificates, stream: TcpStream) -> Option<Box<TlsStream<TcpStream>>> {
        let handshake = pin!(timeout(self.patience.handshake, certificates.acceptor().accept(stream)));
        match select(handshake, pin!(self.drain.until_cut())).await {
            Either::Left((Ok(Ok(stream)), _)) => Some(Box::new(stream)),
            Either::Left(_) | Either::Right(_) => None,
        }
    }

    /// Speaks HTTP over a stream until it ends.
    async fn speak<S>(&self, stream: &mut S, peer: IpAddr)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let pulse = Pulse::default();
        let mut watched = Watched::new(stream, &pulse);
        let end = self.converse(&mut watched, &pulse, peer).await;
        if end == End::Own && !watched.has_ended() {
            // On the heap: nearly every connection is idle far longer than it ends.
            let farewell = Box::pin(timeout(self.patience.farewell, part(watched)));
            select(farewell, pin!(self.drain.until_cut())).await;
        }
    }

    /// Speaks whichever version the client begins with, and rests between requests that are far apart.
    async fn converse<'a, S>(&self, stream: &mut Watched<'a, S>, pulse: &'a Pulse, peer: IpAddr) -> End
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let (alarm, news) = (pin!(sleep(self.patience.first_request)), pin!(self.drain.news()));
        let mut vigil = Vigil::new(pulse, &self.patience, &self.drain, alarm, news);
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
                    let service = service_fn(|request| self.answer_in_turn(pulse, peer, request));
                    let mut talk = Box::new(self.http1.serve_connection(TokioIo::new(&mut *stream), service));
                    let end = vigil.over(&mut *talk).await;
                    if end != End::Rest {
                        return end;
                    }
                    // A copy, because even where nothing is left it is hyper's whole buffer that is handed out.
                    let unread = talk.into_parts().read_buf;
                    stream.read_lines(Bytes::copy_from_slice(&unread));
                }
                Some(Version::Http2) => {
                    let service = service_fn(|request| self.answer_beside(pulse, peer, request));
                    let mut talk = Box::new(self.http2.serve_connection(TokioIo::new(stream), service));
                    return vigil.over(&mut *talk).await;
                }
            }
        }
    }

    /// Answers the only request in hand.
    fn answer_in_turn<'a>(
        &'a self,
        pulse: &'a Pulse,
        peer: IpAddr,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response, Infallible>> + Send + use<'a, A, F> {
        let (mut parts, body) = request.into_parts();
        if pulse.request_begins() {
            parts.extensions.insert(FragmentDropped);
        }
        // What is left of a body would be read as the next request.
        let body_follows = !body.is_end_stream();
        let answer = (self.answer)(peer, parts, body);
        async move {
            let mut response = answer.await;
            pulse.request_ends();
            if body_follows || self.drain.phase() >= Phase::Draining {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        }
    }

    /// Answers one request of many.
    fn answer_beside(
        &self,
        pulse: &Pulse,
        peer: IpAddr,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response, Infallible>> + Send + use<A, F> {
        pulse.request_begins();
        let (parts, body) = request.into_parts();
        (self.answer)(peer, parts, body).map(Ok)
    }
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

fn http1() -> http1::Builder {
    let mut http1 = http1::Builder::new();
    // One buffer a write: answers are a head and at most a small page. The deadline for headers is the vigil's.
    http1.max_buf_size(MAX_HEADER).writev(false).header_read_timeout(None);
    http1
}

fn http2(streams: Streams) -> http2::Builder<Streams> {
    let mut http2 = http2::Builder::new(streams);
    http2
        .max_header_list_size(u32::try_from(MAX_HEADER).expect("the limit is a small literal"))
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(BODY_WINDOW)
        .keep_alive_interval(None);
    http2
}

/// Where HTTP/2 answers run: beside their connection, and never after the server.
#[derive(Clone)]
struct Streams {
    tasks: Tasks,
    drain: Arc<Drain>,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let drain = Arc::clone(&self.drain);
        self.tasks.run(async move {
            select(pin!(stream), pin!(drain.until_cut())).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    #[tokio::test]
    async fn what_a_resting_connection_takes_is_little() {
        let answer = |_, _, _| std::future::ready(Response::new(Full::default()));
        let host = Host::new(answer, Patience::DEFAULT, Arc::default(), None, Tasks::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let served = host.serve(stream, IpAddr::from([127, 0, 0, 1]));
        assert!(size_of_val(&served) < 1_024, "{} bytes", size_of_val(&served));
    }
}
