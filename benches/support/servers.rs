//! Servers on loopback: Doorward's complete one, and a bare hyper server with a constant response.

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

use super::{gate::Bench, subrequest::Subrequest};

/// Returns the headers of a gate's response that allows its first person.
pub(crate) async fn constant(bench: &Bench) -> HeaderMap {
    let first = bench.cookies.first().expect("somebody is signed in");
    bench.ask(&Subrequest::dashboard(Some(first)).parts()).await.headers().clone()
}

/// Runs Doorward's listeners with `bench`'s gate until `stop` is raised, on the current runtime.
pub(crate) async fn doorward(bench: &Bench, stop: Signal) -> SocketAddr {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let settings = Settings {
        listen: loopback,
        management: loopback,
        proxy_listen: None,
        tls: None,
        shutdown_grace: Duration::from_millis(100),
    };
    let server = Server::bind(settings).await.expect("loopback has free ports");
    let (address, _) = server.addresses();
    let tasks = Tasks::new(stop.clone());
    let (sessions, until) = (Arc::clone(&bench.sessions), stop.clone());
    tasks.spawn(async move { sessions.maintain(until).await });
    let serving = server.run(Arc::clone(&bench.gate), Arc::clone(&bench.metrics), tasks.clone(), stop);
    tasks.spawn(serving);
    address
}

/// Runs a bare hyper server that responds with 200, these headers and no body: the limit.
pub(crate) async fn bare(headers: HeaderMap) -> SocketAddr {
    let answer = move |_request| {
        let mut response = Response::new(Full::default());
        response.headers_mut().clone_from(&headers);
        ready(response)
    };
    minimal(answer).await.address
}

/// A minimal server.
#[derive(Clone, Debug)]
pub(crate) struct MinimalServer {
    /// Address of the server.
    pub(crate) address: SocketAddr,
    /// Number of accepted connections.
    pub(crate) accepted: Arc<AtomicU64>,
}

/// Runs a server with only what hyper needs, on the current runtime. One write per response, as in Doorward.
pub(crate) async fn minimal<A, F>(answer: A) -> MinimalServer
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has free ports");
    let address = listener.local_addr().expect("a bound socket has an address");
    let server = MinimalServer { address, accepted: Arc::default() };
    let (tasks, accepted) = (Tasks::default(), Arc::clone(&server.accepted));
    let connections = tasks.clone();
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            accepted.fetch_add(1, Ordering::Relaxed);
            stream.set_nodelay(true).expect("a socket has the option");
            let answer = answer.clone();
            connections.spawn(async move {
                let answer = service_fn(move |request| answer(request).map(Ok::<_, Infallible>));
                let connection = http1::Builder::new().writev(false).serve_connection(TokioIo::new(stream), answer);
                // A client that disconnects ends only its connection.
                let _gone = connection.await;
            });
        }
    });
    server
}
