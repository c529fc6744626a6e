//! The listeners: accepting, TLS, HTTP/1.1 and HTTP/2, limits, deadlines, draining.
//!
//! Every connection is bounded in number and time, every request in number and time, and every error is a refusal. It
//! must not know what an answer means: [`crate::flow::Gate`] gives it.

mod connection;
mod drain;
mod form;
mod listener;
mod management;
mod opening;
mod router;
#[cfg(test)]
mod tests;
mod tls;
mod vigil;
mod watched;

use std::{
    convert::Infallible,
    future::ready,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use futures_util::future::Either;
use http::request::Parts;
use hyper::body::Incoming;
use tower::{ServiceExt as _, service_fn};

use self::{
    connection::Host,
    drain::Drain,
    listener::Listener,
    management::Management,
    router::{Bounds, Router, bounded},
    tls::Certificates,
    vigil::Patience,
};
use crate::{edge::Response, flow::Gate, metrics::Metrics, shutdown};

/// Connections from edges. One that has just been answered costs about 20 kB. One that rests keeps its task, less than a
/// kilobyte; the rest serves others, and goes back to the system when the allocator sees fit.
const MAX_CONNECTIONS: usize = 16_384;

/// The listeners as configured and checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where edges ask.
    pub listen: SocketAddr,
    /// Where metrics and health are.
    pub management: SocketAddr,
    /// TLS for `listen`; absent: clear text.
    pub tls: Option<TlsSettings>,
    /// How long connections may take to finish after the wish to stop.
    pub shutdown_grace: Duration,
}

/// TLS as configured. All files are read again when they change.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// The certificate chain, PEM.
    pub cert: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Where set, only clients with a certificate of these authorities are heard.
    pub client_ca: Option<PathBuf>,
}

/// Listeners that are bound and not yet accepting.
pub struct Server {
    front: Listener,
    management: Management,
    certificates: Option<Arc<Certificates>>,
    shutdown_grace: Duration,
}

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address could not be bound.
    #[error("cannot listen on {address} ({key})")]
    Bind {
        /// The configuration key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A certificate, key or authority could not be used.
    #[error("{key}: {problem}")]
    Tls {
        /// The configuration key.
        key: &'static str,
        /// What is wrong, and how to mend it.
        problem: String,
    },
}

impl Server {
    /// Binds both listeners and reads the certificates.
    pub async fn bind(settings: Settings) -> Result<Self, Error> {
        let certificates = match settings.tls {
            Some(tls) => Some(Arc::new(Certificates::load(tls).await?)),
            None => None,
        };
        Ok(Self {
            front: Listener::bind("server.listen", settings.listen, MAX_CONNECTIONS)?,
            management: Management::bind(settings.management)?,
            certificates,
            shutdown_grace: settings.shutdown_grace,
        })
    }

    /// The addresses that were bound: the gate's and the management's.
    #[must_use]
    pub fn addresses(&self) -> (SocketAddr, SocketAddr) {
        (self.front.address(), self.management.address())
    }

    /// Accepts until `stop` is raised, then drains for at most `shutdown_grace` and returns. Metrics and health are
    /// answered until then, on a thread of their own.
    pub async fn run(self, gate: Arc<Gate>, metrics: Arc<Metrics>, tasks: shutdown::Tasks, stop: shutdown::Signal) {
        if let Some(certificates) = self.certificates.clone() {
            let stop = stop.clone();
            tasks.supervise("certificates", async move {
                tokio::select! { never = certificates.follow() => match never {}, () = stop.raised() => {} }
            });
        }
        let (drain, drained) = (Arc::new(Drain::default()), shutdown::Signal::default());
        let _at_last = drained.raise_at_last();
        let host = watch(Arc::clone(&gate), metrics, Arc::clone(&drain), tasks.clone());
        self.management.serve(host, &tasks, drained);

        let router = Arc::new(Router::new(gate));
        let inner = Arc::clone(&router);
        let stack = bounded(
            Bounds::default(),
            service_fn(move |(peer, request, body): (IpAddr, Parts, Option<Box<Incoming>>)| {
                let router = Arc::clone(&inner);
                async move { Ok::<_, Infallible>(router.ask(peer, request, body).await) }
            }),
        );
        let answer = move |peer: IpAddr, request: Parts, body: Incoming| {
            if let Some(response) = router.ask_memory(peer, &request) {
                return Either::Left(ready(response));
            }
            let (router, stack) = (Arc::clone(&router), stack.clone());
            // Dropped before the answer begins, so nothing can wait for a body that says nothing.
            let body = router.reads_body(&request).then(|| Box::new(body));
            // On the heap, because this future is large, and the others are moved about in the room that it needs.
            Either::Right(Box::pin(async move { router.settle(stack.oneshot((peer, request, body)).await) }))
        };
        let host = Host::new(answer, Patience::DEFAULT, drain, self.certificates, tasks);
        let dropped = self.front.serve(host, &stop, self.shutdown_grace).await;
        if dropped > 0 {
            tracing::warn!(connections = dropped, "not finished within server.shutdown_grace, and dropped");
        }
    }
}

/// What answers on the management listener; `drain` is the gate's.
fn watch(
    gate: Arc<Gate>,
    metrics: Arc<Metrics>,
    drain: Arc<Drain>,
    tasks: shutdown::Tasks,
) -> Host<impl Fn(IpAddr, Parts, Incoming) -> std::future::Ready<Response>> {
    let answer = move |_peer, request: Parts, _body| {
        std::future::ready(management::answer(&request, drain.phase(), || gate.now().health(), &metrics))
    };
    Host::new(answer, Patience::DEFAULT, Arc::default(), None, tasks)
}
