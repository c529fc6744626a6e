//! The listeners: accepting, TLS, HTTP/1.1 and HTTP/2, limits, deadlines, draining.
//!
//! Every connection is bounded in number and time, every request in number and time, and every error is a refusal. It
//! must not know what an answer means: [`crate::flow::Gate`] gives it.

mod connection;
mod drain;
mod files;
mod form;
mod lanes;
mod listener;
mod management;
mod opening;
mod places;
mod refusal;
mod router;
mod speech;
mod taken;
#[cfg(test)]
mod tests;
mod tls;
mod vigil;
mod watched;

use std::{
    convert::Infallible,
    future::{Ready, ready},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use arc_swap::Guard;
use futures_util::future::Either;
use http::request::Parts;
use hyper::body::Incoming;
use tokio::time::sleep;
use tower::service_fn;

use self::{
    connection::{Host, Peers},
    drain::Drain,
    lanes::Lanes,
    listener::Listener,
    management::Management,
    places::{Places, Shares},
    router::Router,
    tls::Certificates,
    vigil::Timeouts,
};
use crate::{
    edge::Response,
    flow::Gate,
    metrics::{self, Metrics},
    shutdown,
};

/// How often it is looked whether other peers are trusted than before.
const LOOK_EVERY: Duration = Duration::from_secs(1);

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
    capacity: Capacity,
}

/// What the system lets the process have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Open files; `None` is no limit.
    pub files: Option<u64>,
    /// Connections at `server.listen` at once.
    pub connections: usize,
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
    /// Binds both listeners and reads the certificates. The process may have as many files open from now on as the system allows.
    pub async fn bind(settings: Settings) -> Result<Self, Error> {
        let certificates = match settings.tls {
            Some(tls) => Some(Arc::new(Certificates::load(tls).await?)),
            None => None,
        };
        let files = files::raise_limit();
        let capacity = Capacity { files, connections: files::connections(files) };
        Ok(Self {
            front: Listener::bind("server.listen", settings.listen, Shares::of(capacity.connections))?,
            management: Management::bind(settings.management)?,
            certificates,
            shutdown_grace: settings.shutdown_grace,
            capacity,
        })
    }

    /// What the system lets the process have.
    #[must_use]
    pub fn capacity(&self) -> Capacity {
        self.capacity
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
        let (places, known) = (self.front.places(), Arc::clone(&gate));
        let until = stop.clone();
        tasks.supervise("places", async move {
            tokio::select! { never = follow(&known, &places) => match never {}, () = until.raised() => {} }
        });
        let (drain, drained) = (Arc::new(Drain::default()), shutdown::Signal::default());
        let _at_last = drained.raise_on_drop();
        let host = watch(Arc::clone(&gate), Arc::clone(&metrics), Arc::clone(&drain), tasks.clone());
        self.management.serve(host, &tasks, drained);

        let peers = Peers {
            trusts: {
                let gate = Arc::clone(&gate);
                Box::new(move |peer| gate.now().trusts(peer))
            },
            timeouts: Timeouts::EDGES,
            open: metrics.connections.open(metrics::ListenerLabel::Edges),
            handshakes: metrics.connections.handshakes(),
        };
        let host = Host::new(ask(gate), peers, drain, self.certificates, tasks);
        let dropped = self.front.serve(host, &stop, self.shutdown_grace).await;
        if dropped > 0 {
            tracing::warn!(connections = dropped, "not finished within server.shutdown_grace, and dropped");
        }
    }
}

/// An answer that was there at once, or one to wait for.
type Answer = Either<Ready<Response>, Pin<Box<dyn Future<Output = Response> + Send>>>;

/// What answers edges and strangers.
fn ask(gate: Arc<Gate>) -> impl Fn(IpAddr, Parts, Incoming) -> Answer {
    let router = Arc::new(Router::new(gate));
    let inner = Arc::clone(&router);
    let service = service_fn(move |(peer, request): (IpAddr, Parts)| {
        let router = Arc::clone(&inner);
        async move { Ok::<_, Infallible>(router.ask(peer, request).await) }
    });
    let lanes = Arc::new(Lanes::new(Arc::clone(&router), &service));
    move |peer: IpAddr, request: Parts, body: Incoming| {
        if let Some(response) = router.ask_memory(peer, &request) {
            return Either::Left(ready(response));
        }
        let lanes = Arc::clone(&lanes);
        // Dropped before the answer begins, so nothing can wait for a body that says nothing.
        let body = router.reads_body(&request).then(|| Box::new(body));
        // On the heap, because this future is large, and the others are moved about in the room that it needs.
        Either::Right(Box::pin(async move { lanes.answer(peer, request, body).await }))
    }
}

/// Has those who are connected judged anew when the configuration changes whom the gate trusts.
async fn follow(gate: &Gate, places: &Places) -> Infallible {
    let mut known = Guard::into_inner(gate.now());
    loop {
        sleep(LOOK_EVERY).await;
        let now = Guard::into_inner(gate.now());
        if !Arc::ptr_eq(&known, &now) {
            places.judge_anew(|peer| now.trusts(peer));
            known = now;
        }
    }
}

/// What answers on the management listener; `drain` is the gate's.
fn watch(
    gate: Arc<Gate>,
    metrics: Arc<Metrics>,
    drain: Arc<Drain>,
    tasks: shutdown::Tasks,
) -> Host<impl Fn(IpAddr, Parts, Incoming) -> Ready<Response>> {
    let peers = Peers {
        // Nobody is told from anybody else.
        trusts: Box::new(|_| false),
        timeouts: Timeouts::MANAGEMENT,
        open: metrics.connections.open(metrics::ListenerLabel::Management),
        handshakes: metrics.connections.handshakes(),
    };
    let answer = move |_peer, request: Parts, _body| {
        ready(management::answer(&request, drain.phase(), || gate.now().health(), &metrics))
    };
    Host::new(answer, peers, Arc::default(), None, tasks)
}
