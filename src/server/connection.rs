//! One connection from its first byte to its last: TLS, HTTP/1.1 or HTTP/2, deadlines, a polite end.
//!
//! A request's body is handed on with it and never waited for here. It must not know what is answered, only that something
//! is.

use std::{convert::Infallible, future::poll_fn, net::IpAddr, pin::pin, sync::Arc};

use futures_util::future::{Either, select};
use http::{HeaderValue, Request, Version, header::CONNECTION, request::Parts};
use hyper::{
    body::{Body, Incoming},
    rt::{Executor, Read, Write},
    service::service_fn,
};
use hyper_util::{rt::TokioIo, server::conn::auto};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    drain::{Drain, Phase},
    tls::Certificates,
    vigil::{Breach, Patience, Pulse, Vigil, Watched},
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
    protocol: auto::Builder<Streams>,
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
        let protocol = protocol(Streams { tasks: tasks.clone(), cut: drain.cutting().clone() });
        Self { answer, protocol, patience, drain, certificates, tasks }
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
    pub(super) async fn serve(&self, stream: TcpStream, peer: IpAddr) {
        match &self.certificates {
            None => self.speak(stream, peer).await,
            // On the heap, so that a connection in clear does not take the room that one over TLS needs.
            Some(certificates) => Box::pin(self.speak_over_tls(certificates, stream, peer)).await,
        }
    }

    async fn speak_over_tls(&self, certificates: &Certificates, stream: TcpStream, peer: IpAddr) {
        let handshake = pin!(timeout(self.patience.handshake, certificates.acceptor().accept(stream)));
        match select(handshake, pin!(self.drain.cutting().cancelled())).await {
            Either::Left((Ok(Ok(stream)), _)) => self.speak(stream, peer).await,
            Either::Left(_) | Either::Right(_) => tracing::debug!(%peer, "a TLS handshake failed"),
        }
    }

    /// Speaks HTTP over a stream until it ends, in whichever version the client begins with.
    async fn speak<S>(&self, stream: S, peer: IpAddr)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let pulse = Arc::new(Pulse::new(Arc::clone(&self.drain)));
        let (io, mut left) = Watched::new(stream, Arc::clone(&pulse));
        if let End::Own = self.converse(TokioIo::new(io), &pulse, peer).await
            && let Ok(stream) = left.try_recv()
        {
            let farewell = pin!(timeout(self.patience.farewell, part(stream)));
            select(farewell, pin!(self.drain.cutting().cancelled())).await;
        }
    }

    async fn converse<I>(&self, io: I, pulse: &Arc<Pulse>, peer: IpAddr) -> End
    where
        I: Read + Write + Send + Unpin + 'static,
    {
        let service = service_fn(|request| self.attend(pulse, peer, request));
        let mut connection = pin!(self.protocol.serve_connection(io, service));
        let mut vigil = Vigil::new(Arc::clone(pulse), self.patience);
        let finishing = self.drain.finishing();
        let (mut told, mut asked) = (false, false);
        loop {
            tokio::select! {
                // The connection first: on its busy path the others only have to be pending.
                biased;
                _ = connection.as_mut() => return End::Own,
                () = finishing.cancelled(), if !told => {
                    told = true;
                    if vigil.is_unused() {
                        // Accepted a moment ago: its request is on the way, and is answered.
                        vigil.hurry();
                    } else {
                        asked = true;
                        connection.as_mut().graceful_shutdown();
                    }
                }
                () = self.drain.cutting().cancelled(), if told => return End::Cut,
                breach = poll_fn(|context| vigil.poll_breach(context)) => {
                    if asked || breach == Breach::Slow {
                        return End::Cut;
                    }
                    asked = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }

    fn attend(
        &self,
        pulse: &Arc<Pulse>,
        peer: IpAddr,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response, Infallible>> + Send + use<A, F> {
        let (mut parts, body) = request.into_parts();
        if pulse.request_begins() {
            parts.extensions.insert(FragmentDropped);
        }
        let is_http1 = parts.version <= Version::HTTP_11;
        // What is left of a body would be read as the next request.
        let body_follows = !body.is_end_stream();
        let answer = (self.answer)(peer, parts, body);
        // This connection's own count: one of all connections would be fought over by every core.
        let pulse = Arc::clone(pulse);
        async move {
            let mut response = answer.await;
            if is_http1 && (body_follows || pulse.drain().phase() == Phase::Draining) {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        }
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// By itself: everything that was to be said has been.
    Own,
    /// Before that.
    Cut,
}

/// Ends our side, then reads until the client ends its own: a socket that is closed with bytes unread sends a reset, and
/// the reset can overtake the answer.
async fn part(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let _gone_already = stream.shutdown().await;
    // On the heap: nearly every connection is idle far longer than it ends.
    let mut unread = vec![0; 4_096];
    while stream.read(&mut unread).await.is_ok_and(|read| read > 0) {}
}

fn protocol(streams: Streams) -> auto::Builder<Streams> {
    let mut protocol = auto::Builder::new(streams);
    // One buffer a write: answers are a head and at most a small page. The deadline for headers is the vigil's.
    protocol.http1().max_buf_size(MAX_HEADER).writev(false).header_read_timeout(None);
    protocol
        .http2()
        .max_header_list_size(u32::try_from(MAX_HEADER).expect("the limit is a small literal"))
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(BODY_WINDOW)
        .keep_alive_interval(None);
    protocol
}

/// Where HTTP/2 answers run: beside their connection, and never after the server.
#[derive(Clone)]
struct Streams {
    tasks: Tasks,
    cut: CancellationToken,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let cut = self.cut.clone();
        self.tasks.run(async move {
            select(pin!(stream), pin!(cut.cancelled())).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    #[tokio::test]
    async fn an_idle_connection_in_clear_takes_little_more_than_what_hyper_needs_for_it() {
        let answer = |_, _, _| std::future::ready(Response::new(Full::default()));
        let host = Host::new(answer, Patience::DEFAULT, Arc::default(), None, Tasks::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let served = host.serve(stream, IpAddr::from([127, 0, 0, 1]));
        assert!(size_of_val(&served) < 3_072, "{} bytes", size_of_val(&served));
    }
}
