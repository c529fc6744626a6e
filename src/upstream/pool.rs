//! Pool of one upstream's connections.
//!
//! Promises: there are never more connections than requests at the same time have needed, nor more than [`MAX_CONNECTIONS`];
//! one that has been upgraded, or whose bodies have not both ended, is never used again; one that is too old or has been idle for
//! too long is closed.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt as _;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, interval, timeout},
};

use super::{
    connector::{Negotiated, Offer, UpstreamConnector, UpstreamStream},
    error::Error,
    settings::Settings,
    upload::{SentBody, Upload},
};
use crate::metrics::{BoundUpstreamMetrics, UpstreamState};

/// Longest time for which a connection is used: then a name is resolved again, and load that was moved is followed.
pub(super) const MAX_AGE: Duration = Duration::from_mins(1);
/// Longest time for which a connection is kept idle: less than nginx (75 s) and most load balancers (60 s) do. A server that keeps
/// it for less says so in `Keep-Alive`, or closes it, which is noticed.
const MAX_IDLE: Duration = Duration::from_secs(50);
/// Most connections to one upstream.
const MAX_CONNECTIONS: usize = 4096;
/// Interval between looks at idle connections.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// HTTP/2 pings, so that a connection whose peer has vanished is given up within 8 s.
const PING_INTERVAL: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(3);

/// Connections to one upstream.
pub(super) struct Pool {
    connector: UpstreamConnector,
    timeout: Duration,
    metrics: BoundUpstreamMetrics,
    slots: Arc<Semaphore>,
    /// Idle connections, the one used last at the end.
    idle: Mutex<Vec<Http1Connection>>,
    /// The connection that all requests share, where the upstream speaks HTTP/2.
    shared: Mutex<Option<Http2Connection>>,
    /// `true` while the upstream is not known to speak only HTTP/1.1: then one request finds out, and the others wait for it.
    may_share: AtomicBool,
    connecting: tokio::sync::Mutex<()>,
    is_swept: AtomicBool,
}

/// Connection for one request.
pub(super) enum Connection {
    /// One at a time.
    Http1(Http1Connection),
    /// Shared.
    Http2(Http2Connection),
}

/// HTTP/1.1 connection.
pub(super) struct Http1Connection {
    pub(super) sender: http1::SendRequest<SentBody>,
    is_reused: bool,
    born: Instant,
    max_idle: Duration,
    idle_until: Instant,
    counted: Counted,
    _slot: OwnedSemaphorePermit,
}

/// HTTP/2 connection.
#[derive(Clone)]
pub(super) struct Http2Connection {
    pub(super) sender: http2::SendRequest<SentBody>,
    is_reused: bool,
    born: Instant,
}

/// Connection in use by a request and its response.
pub(super) struct ConnectionLease {
    pool: Arc<Pool>,
    connection: Connection,
    upload: Option<Arc<Upload>>,
}

/// Connection in the metric.
struct Counted {
    metrics: BoundUpstreamMetrics,
    state: UpstreamState,
}

/// Choice among connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// One that is open, else a new one.
    Any,
    /// A new one.
    New,
    /// A new HTTP/1.1 connection, which will be upgraded.
    Upgradable,
}

impl Pool {
    pub(super) fn new(settings: &Settings, connector: UpstreamConnector, metrics: BoundUpstreamMetrics) -> Self {
        Self {
            connector,
            timeout: settings.connect_timeout,
            metrics,
            slots: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            idle: Mutex::default(),
            shared: Mutex::default(),
            may_share: AtomicBool::new(settings.url.scheme() == "https"),
            connecting: tokio::sync::Mutex::default(),
            is_swept: AtomicBool::new(false),
        }
    }

    /// Returns a connection for a request.
    pub(super) async fn checkout(self: &Arc<Self>, choice: Choice) -> Result<Connection, Error> {
        if choice == Choice::Any {
            if let Some(connection) = self.pooled().await {
                return Ok(connection);
            }
            if self.may_share.load(Ordering::Relaxed) {
                let _one_finds_out = self.connecting.lock().await;
                if let Some(shared) = self.shared() {
                    return Ok(Connection::Http2(shared));
                }
                return self.connect(Offer::All).await;
            }
        }
        let offer = if choice == Choice::Upgradable { Offer::Http1 } else { Offer::All };
        self.connect(offer).await
    }

    /// Returns an open connection.
    async fn pooled(&self) -> Option<Connection> {
        if let Some(shared) = self.shared() {
            return Some(Connection::Http2(shared));
        }
        loop {
            let mut connection = self.idle().pop()?;
            // It is ready, or on the way to being so: the response that it brought last has been read to its end.
            if Instant::now() < connection.idle_until && connection.sender.ready().await.is_ok() {
                connection.counted.set(UpstreamState::Used);
                connection.is_reused = true;
                return Some(Connection::Http1(connection));
            }
        }
    }

    fn shared(&self) -> Option<Http2Connection> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = shared.as_ref()?;
        if connection.sender.is_closed() || connection.born.elapsed() >= MAX_AGE {
            // Requests under way keep it.
            *shared = None;
        }
        shared.as_ref().map(|shared| Http2Connection { is_reused: true, ..shared.clone() })
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Http1Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(self: &Arc<Self>, offer: Offer) -> Result<Connection, Error> {
        let slot = timeout(self.timeout, Arc::clone(&self.slots).acquire_owned()).await;
        let Ok(Ok(slot)) = slot else {
            return Err(Error::Unavailable(format!("{MAX_CONNECTIONS} connections to it are in use")));
        };
        let (stream, negotiated) = self.connector.connect(offer).await?;
        self.metrics.count_connect();
        self.sweep_from_now_on();
        match negotiated {
            Negotiated::Http1 => self.begin_http1(stream, slot).await.map(Connection::Http1),
            Negotiated::Http2 => self.begin_http2(stream, slot).await.map(Connection::Http2),
        }
    }

    async fn begin_http1(&self, stream: UpstreamStream, slot: OwnedSemaphorePermit) -> Result<Http1Connection, Error> {
        self.may_share.store(false, Ordering::Relaxed);
        let (sender, connection) =
            http1::Builder::new().handshake(stream).await.map_err(|error| Error::broken(&error))?;
        spawn(connection.with_upgrades().map(drop));
        let now = Instant::now();
        let counted = Counted::new(self.metrics.clone());
        Ok(Http1Connection {
            sender,
            is_reused: false,
            born: now,
            max_idle: MAX_IDLE,
            idle_until: now,
            counted,
            _slot: slot,
        })
    }

    async fn begin_http2(&self, stream: UpstreamStream, slot: OwnedSemaphorePermit) -> Result<Http2Connection, Error> {
        self.may_share.store(true, Ordering::Relaxed);
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).keep_alive_interval(PING_INTERVAL).keep_alive_timeout(PING_TIMEOUT);
        let (sender, connection) = builder.handshake(stream).await.map_err(|error| Error::broken(&error))?;
        let counted = Counted::new(self.metrics.clone());
        spawn(async move {
            let _ended = connection.await;
            drop((counted, slot));
        });
        let connection = Http2Connection { sender, is_reused: false, born: Instant::now() };
        *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection.clone());
        Ok(connection)
    }

    /// Keeps a connection for the next request.
    fn keep(&self, mut connection: Http1Connection) {
        let now = Instant::now();
        if connection.sender.is_closed() || now.duration_since(connection.born) >= MAX_AGE {
            return;
        }
        connection.idle_until = now + connection.max_idle;
        connection.counted.set(UpstreamState::Idle);
        self.idle().push(connection);
    }

    /// Closes idle connections in time, for as long as there is the pool.
    fn sweep_from_now_on(self: &Arc<Self>) {
        if self.is_swept.swap(true, Ordering::Relaxed) {
            return;
        }
        let pool = Arc::downgrade(self);
        spawn(async move {
            let mut ticks = interval(SWEEP_INTERVAL);
            loop {
                ticks.tick().await;
                let Some(pool) = pool.upgrade() else { return };
                let now = Instant::now();
                pool.idle().retain(|connection| !connection.sender.is_closed() && now < connection.idle_until);
                let _too_old = pool.shared();
            }
        });
    }
}

/// Runs a connection, or the sweep of a pool: each ends with what it is for.
#[expect(clippy::disallowed_methods, reason = "connections are made where requests need them, and end with the pool")]
fn spawn(work: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(work);
}

impl Connection {
    /// Returns `true` if it has served a request before: it may have been closed just as it was taken.
    pub(super) fn is_reused(&self) -> bool {
        match self {
            Self::Http1(connection) => connection.is_reused,
            Self::Http2(connection) => connection.is_reused,
        }
    }
}

impl ConnectionLease {
    /// Connection in use, with the request's body on it.
    pub(super) fn new(pool: &Arc<Pool>, connection: Connection, upload: Option<Arc<Upload>>) -> Self {
        Self { pool: Arc::clone(pool), connection, upload }
    }

    /// Limits the time for which the connection is kept idle, as the upstream says (`Keep-Alive: timeout`).
    pub(super) fn limit_idle(&mut self, told: Duration) {
        if let Connection::Http1(connection) = &mut self.connection {
            // It is closed there a little earlier than here would be too late.
            connection.max_idle = MAX_IDLE.min(told.saturating_sub(Duration::from_secs(1)));
        }
    }

    /// Gives the connection back once the response has been read to its end. One on which the request's body has not ended is
    /// closed.
    pub(super) fn release(self) {
        let Self { pool, connection, upload } = self;
        if let Connection::Http1(connection) = connection
            && upload.is_none_or(|upload| upload.is_sent())
        {
            pool.keep(connection);
        }
    }
}

impl Counted {
    fn new(metrics: BoundUpstreamMetrics) -> Self {
        metrics.connections(UpstreamState::Used).inc();
        Self { metrics, state: UpstreamState::Used }
    }

    fn set(&mut self, state: UpstreamState) {
        self.metrics.connections(self.state).dec();
        self.metrics.connections(state).inc();
        self.state = state;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.metrics.connections(self.state).dec();
    }
}
