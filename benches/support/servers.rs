//! Servers that answer on loopback: Doorward's own, whole, and a bare hyper server that says the same every time.

use std::{
    convert::Infallible,
    future::ready,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use doorward::{
    server::{Server, Settings},
    shutdown::{Signal, Tasks},
};
use futures_util::FutureExt as _;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::{gate::Bench, question::Question};

/// The header lines with which a gate lets its first person in.
pub(crate) async fn constant(bench: &Bench) -> HeaderMap {
    let first = bench.cookies.first().expect("somebody is signed in");
    bench.ask(&Question::dashboard(Some(first)).parts()).await.headers().clone()
}

/// Runs Doorward's listeners with `bench`'s gate until `stop` is raised. To be called on the runtime that shall serve.
pub(crate) async fn doorward(bench: &Bench, stop: Signal) -> SocketAddr {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let settings =
        Settings { listen: loopback, management: loopback, tls: None, shutdown_grace: Duration::from_millis(100) };
    let server = Server::bind(settings).await.expect("loopback has free ports");
    let (address, _) = server.addresses();
    let tasks = Tasks::new(stop.clone());
    let (sessions, until) = (Arc::clone(&bench.sessions), stop.clone());
    tasks.spawn(async move { sessions.maintain(until).await });
    let serving = server.run(Arc::clone(&bench.gate), Arc::clone(&bench.metrics), tasks.clone(), stop);
    tasks.spawn(serving);
    address
}

/// Runs a bare hyper server that answers everything with 200, these header lines and no body: the limit.
pub(crate) async fn bare(headers: HeaderMap) -> SocketAddr {
    let answer = move |_request| {
        let mut response = Response::new(Full::default());
        response.headers_mut().clone_from(&headers);
        ready(response)
    };
    small(answer).await.address
}

/// A small server.
#[derive(Clone, Debug)]
pub(crate) struct Small {
    /// Where it is.
    pub(crate) address: SocketAddr,
    /// Connections so far.
    pub(crate) accepted: Arc<AtomicU64>,
}

/// Runs a server with nothing that hyper does not need; one write an answer, as Doorward has it. To be called on the
/// runtime that shall serve.
pub(crate) async fn small<A, F>(answer: A) -> Small
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has free ports");
    let address = listener.local_addr().expect("a bound socket has an address");
    let small = Small { address, accepted: Arc::default() };
    let (tasks, accepted) = (Tasks::default(), Arc::clone(&small.accepted));
    let connections = tasks.clone();
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            accepted.fetch_add(1, Ordering::Relaxed);
            stream.set_nodelay(true).expect("a socket has the option");
            let answer = answer.clone();
            connections.spawn(async move {
                let answer = service_fn(move |request| answer(request).map(Ok::<_, Infallible>));
                let connection = http1::Builder::new().writev(false).serve_connection(TokioIo::new(stream), answer);
                // A client that goes away ends its connection, and nothing else.
                let _gone = connection.await;
            });
        }
    });
    small
}
