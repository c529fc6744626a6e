//! Server: binds both listeners, runs them, and drains them at the end.
//!
//! Metrics and health outlast the listener for edges.

use std::{
    convert::Infallible,
    future::ready,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use arc_swap::Guard;
use http::request::Parts;
use hyper::body::Incoming;
use tokio::time::sleep;

use super::{
    Error, Settings,
    connection::{Bodies, ConnContext, Drain, ListenerTimeouts, PeerPolicy, RequestHandler},
    limits::{self, ConnectionLimits, ConnectionSlots},
    listener::Listener,
    management::{self, Management},
    proxy, service,
    tls::Certificates,
};
use crate::{
    flow::Gate,
    metrics::{self, Metrics},
    shutdown,
};

/// Interval between checks for a change of the trusted proxies.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Listeners that are bound and not yet accepting.
pub struct Server {
    edges: Listener,
    proxy: Option<Listener>,
    management: Management,
    certificates: Option<Arc<Certificates>>,
    shutdown_grace: Duration,
    capacity: Capacity,
}

/// Resources that the system grants the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Limit of open files; `None` is no limit.
    pub files: Option<u64>,
    /// Most connections at `server.listen` at once.
    pub connections: usize,
}

impl Server {
    /// Binds both listeners and reads the certificates. Raises the process's limit of open files as far as the system allows.
    pub async fn bind(settings: Settings) -> Result<Self, Error> {
        let certificates = match settings.tls {
            Some(tls) => Some(Arc::new(Certificates::load(tls).await?)),
            None => None,
        };
        let files = limits::raise_limit();
        let capacity = Capacity { files, connections: limits::max_connections(files) };
        Ok(Self {
            edges: Listener::bind("server.listen", settings.listen, ConnectionLimits::of(capacity.connections))?,
            proxy: match settings.proxy_listen {
                Some(address) => Some(Listener::bind(
                    "server.proxy_listen",
                    address,
                    ConnectionLimits::of_browsers(capacity.connections),
                )?),
                None => None,
            },
            management: Management::bind(settings.management)?,
            certificates,
            shutdown_grace: settings.shutdown_grace,
            capacity,
        })
    }

    /// Resources that the system grants the process.
    #[must_use]
    pub fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// Addresses that were bound: the gate's and the management's.
    #[must_use]
    pub fn addresses(&self) -> (SocketAddr, SocketAddr) {
        (self.edges.address(), self.management.address())
    }

    /// Accepts until `stop` is raised, then drains for at most `shutdown_grace` and returns. Metrics and health are
    /// answered until then, on a thread of their own.
    pub async fn run(self, gate: Arc<Gate>, metrics: Arc<Metrics>, tasks: shutdown::Tasks, stop: shutdown::Signal) {
        if let Some(certificates) = self.certificates.clone() {
            let (stop, end) = (stop.clone(), metrics.connections.certificate());
            tasks.supervise("certificates", async move {
                tokio::select! { never = certificates.follow(&end) => match never {}, () = stop.raised() => {} }
            });
        }
        let (slots, known) = (self.edges.slots(), Arc::clone(&gate));
        let until = stop.clone();
        tasks.supervise("trusted proxies", async move {
            tokio::select! { never = follow_trusted_proxies(&known, &slots) => match never {}, () = until.raised() => {} }
        });
        let (drain, drained) = (Arc::new(Drain::default()), shutdown::Signal::default());
        let _at_last = drained.raise_on_drop();
        let context = management_context(Arc::clone(&gate), Arc::clone(&metrics), Arc::clone(&drain), tasks.clone());
        self.management.serve(context, &tasks, drained);

        let proxied = {
            let served = self.proxy.map(|listener| {
                let context = proxy_context(&gate, &metrics, self.certificates.clone(), &tasks);
                (listener, context)
            });
            let (stop, grace) = (stop.clone(), self.shutdown_grace);
            async move {
                match served {
                    Some((listener, context)) => listener.serve(context, &stop, grace).await,
                    None => 0,
                }
            }
        };
        let policy = PeerPolicy {
            is_trusted: {
                let gate = Arc::clone(&gate);
                Box::new(move |peer| gate.now().trusts(peer))
            },
            note_unread: {
                let gate = Arc::clone(&gate);
                Box::new(move |peer, reason| gate.now().note_unread(peer, reason))
            },
            timeouts: ListenerTimeouts::EDGES,
            bodies: Bodies::Whole,
            open: metrics.connections.open(metrics::ListenerLabel::Edges),
            handshakes: metrics.connections.handshakes(),
        };
        let context = ConnContext::new(service::handler(gate), policy, drain, self.certificates, tasks);
        let (aborted, of_proxy) =
            futures_util::future::join(self.edges.serve(context, &stop, self.shutdown_grace), proxied).await;
        let aborted = aborted + of_proxy;
        if aborted > 0 {
            tracing::warn!(connections = aborted, "connections not finished within server.shutdown_grace were aborted");
        }
    }
}

/// Reclassifies open connections when the configuration changes the trusted proxies.
async fn follow_trusted_proxies(gate: &Gate, slots: &ConnectionSlots) -> Infallible {
    let mut known = Guard::into_inner(gate.now());
    loop {
        sleep(POLL_INTERVAL).await;
        let now = Guard::into_inner(gate.now());
        if !Arc::ptr_eq(&known, &now) {
            slots.reclassify(|peer| now.trusts(peer));
            known = now;
        }
    }
}

/// Creates the context of connections at `server.proxy_listen`.
fn proxy_context(
    gate: &Arc<Gate>,
    metrics: &Metrics,
    certificates: Option<Arc<Certificates>>,
    tasks: &shutdown::Tasks,
) -> ConnContext<impl RequestHandler> {
    let (known, noting) = (Arc::clone(gate), Arc::clone(gate));
    let policy = PeerPolicy {
        is_trusted: Box::new(move |peer| known.now().trusts(peer)),
        note_unread: Box::new(move |peer, reason| noting.now().note_unread(peer, reason)),
        timeouts: ListenerTimeouts::PROXY,
        bodies: Bodies::Streamed,
        open: metrics.connections.open(metrics::ListenerLabel::Proxy),
        handshakes: metrics.connections.handshakes(),
    };
    ConnContext::new(proxy::handler(Arc::clone(gate)), policy, Arc::default(), certificates, tasks.clone())
}

/// Creates the context of connections at `server.management`; `drain` is that of the listener for edges.
fn management_context(
    gate: Arc<Gate>,
    metrics: Arc<Metrics>,
    drain: Arc<Drain>,
    tasks: shutdown::Tasks,
) -> ConnContext<impl RequestHandler> {
    let policy = PeerPolicy {
        // All peers are alike here.
        is_trusted: Box::new(|_| false),
        // What the management listener refuses is no refusal of the gate's.
        note_unread: Box::new(|_, _| {}),
        timeouts: ListenerTimeouts::MANAGEMENT,
        bodies: Bodies::Whole,
        open: metrics.connections.open(metrics::ListenerLabel::Management),
        handshakes: metrics.connections.handshakes(),
    };
    let handler = move |_: IpAddr, request: Parts, _: Incoming| {
        ready(management::answer(&request, drain.phase(), || gate.now().health(), &metrics))
    };
    ConnContext::new(handler, policy, Arc::default(), None, tasks)
}
