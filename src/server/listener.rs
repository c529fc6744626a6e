//! Listener: a bound address, and the connections that it accepts.
//!
//! Keeps a limit on open connections (nginx `worker_connections`), and goes on after every error of accepting.

use std::{
    convert::Infallible,
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep, timeout},
};
use tokio_util::task::TaskTracker;

use super::{
    Error,
    connection::{ConnContext, RequestHandler, drain_delay},
    limits::{ConnectionLimits, ConnectionSlots},
};
use crate::shutdown::Signal;

/// Connections that the kernel may hold for us; it has its own maximum (`net.core.somaxconn`).
const BACKLOG: u32 = 4_096;

/// Pause of accepting after an error that will not go away by itself, such as no free file descriptor.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(200);

/// Socket that listens, with the slots of its connections.
pub(super) struct Listener {
    key: &'static str,
    socket: TcpListener,
    address: SocketAddr,
    slots: Arc<ConnectionSlots>,
    open: TaskTracker,
    is_full: AtomicBool,
    is_failing: AtomicBool,
}

impl Listener {
    /// Binds an address. `key` is the configuration key that named it, for the errors.
    pub(super) fn bind(key: &'static str, address: SocketAddr, limits: ConnectionLimits) -> Result<Self, Error> {
        let bound = || -> io::Result<_> {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            // A restart must not wait for the connections of the process before.
            socket.set_reuseaddr(true)?;
            // Answers are one write each: nothing is gained by holding one back. Connections inherit it, so that none
            // has to ask.
            socket.set_nodelay(true)?;
            socket.bind(address)?;
            let socket = socket.listen(BACKLOG)?;
            let address = socket.local_addr()?;
            Ok((socket, address))
        };
        let (socket, address) = bound().map_err(|source| Error::Bind { key, address, source })?;
        Ok(Self {
            key,
            socket,
            address,
            slots: ConnectionSlots::new(limits),
            open: TaskTracker::new(),
            is_full: AtomicBool::new(false),
            is_failing: AtomicBool::new(false),
        })
    }

    /// Address that was bound, with the port that the system chose for port 0.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Slots of its connections.
    pub(super) fn slots(&self) -> Arc<ConnectionSlots> {
        Arc::clone(&self.slots)
    }

    /// Accepts until `stop` is raised, then shuts down gracefully within `grace`: first it still accepts while every HTTP/1
    /// response closes its connection, then connections finish the requests in flight, then they are aborted. Returns the number
    /// of aborted connections.
    pub(super) async fn serve<H: RequestHandler>(
        self,
        context: ConnContext<H>,
        stop: &Signal,
        grace: Duration,
    ) -> usize {
        let context = Arc::new(context);
        context.drain().start_accepting();
        tokio::select! { never = self.accept(&context) => match never {}, () = stop.raised() => {} }
        let begun = Instant::now();
        context.drain().start_draining();
        tokio::select! { never = self.accept(&context) => match never {}, () = drain_delay(&self.open, grace) => {} }
        let Self { socket, open, .. } = self;
        drop(socket);
        context.drain().shut_down_connections();
        if timeout(grace.saturating_sub(begun.elapsed()), open.wait()).await.is_ok() {
            return 0;
        }
        let left = open.len();
        context.drain().abort_connections();
        open.wait().await;
        left
    }

    /// Accepts connections and serves each in a task of its own. Dropping the future loses no connection.
    async fn accept<H: RequestHandler>(&self, context: &Arc<ConnContext<H>>) -> Infallible {
        loop {
            let permit = self.acquire_slot().await;
            let (stream, peer) = self.next().await;
            let slot = self.slots.assign(permit, peer, |peer| context.is_trusted(peer), context.open());
            let (serving, token) = (Arc::clone(context), self.open.token());
            context.tasks().spawn(async move {
                serving.serve(stream, &slot).await;
                drop((slot, token));
            });
        }
    }

    async fn acquire_slot(&self) -> OwnedSemaphorePermit {
        if let Some(permit) = self.slots.acquire_or_evict().await {
            self.is_full.store(false, Ordering::Relaxed);
            return permit;
        }
        if !self.is_full.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                listener = self.key,
                "connection limit reached; new connections wait until others end. Let the edges keep fewer connections"
            );
        }
        self.slots.acquire().await
    }

    async fn next(&self) -> (TcpStream, IpAddr) {
        loop {
            match self.socket.accept().await {
                Ok((stream, peer)) => {
                    if self.is_failing.swap(false, Ordering::Relaxed) {
                        tracing::info!(listener = self.key, "accepting connections again");
                    }
                    return (stream, peer.ip().to_canonical());
                }
                // The client was gone before it was accepted.
                Err(error) if is_of_one_connection(error.kind()) => {}
                Err(error) => {
                    if !self.is_failing.swap(true, Ordering::Relaxed) {
                        tracing::error!(
                            listener = self.key,
                            %error,
                            "accept failed; retrying. If too many files are open, raise the limit (nofile)"
                        );
                    }
                    sleep(ACCEPT_RETRY_DELAY).await;
                }
            }
        }
    }
}

fn is_of_one_connection(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test]
    async fn connections_inherit_nodelay_from_their_listener() {
        let listener =
            Listener::bind("server.listen", (Ipv4Addr::LOCALHOST, 0).into(), ConnectionLimits::of(1)).unwrap();
        let _client = TcpStream::connect(listener.address()).await.unwrap();
        assert!(listener.next().await.0.nodelay().unwrap());
    }
}
