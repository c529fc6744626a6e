//! A bound address and the connections that come in at it.
//!
//! It keeps a bound on open connections and outlives every error of accepting. It must not know what is spoken on a
//! connection.

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

use http::request::Parts;
use hyper::body::Incoming;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep, timeout},
};
use tokio_util::task::TaskTracker;

use super::{
    Error,
    connection::Host,
    places::{Places, Shares},
};
use crate::{edge::Response, shutdown::Signal};

/// Connections that the kernel may hold for us; it has its own maximum (`net.core.somaxconn`).
const BACKLOG: u32 = 4_096;

/// How long accepting rests after an error that will not go away by itself, such as no free file descriptor.
const REST: Duration = Duration::from_millis(200);

/// The longest time in which a draining server still accepts: what a cluster needs to stop sending.
const MAX_DRAIN_DELAY: Duration = Duration::from_secs(5);

/// The shortest: after it a server that nobody is connected to does not wait any longer.
const MIN_DRAIN_DELAY: Duration = Duration::from_secs(1);

/// A socket that listens, and places for so many connections.
pub(super) struct Listener {
    key: &'static str,
    socket: TcpListener,
    address: SocketAddr,
    places: Arc<Places>,
    open: TaskTracker,
    is_full: AtomicBool,
    is_failing: AtomicBool,
}

impl Listener {
    /// Binds an address. `key` is the configuration key that named it, for the errors.
    pub(super) fn bind(key: &'static str, address: SocketAddr, shares: Shares) -> Result<Self, Error> {
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
            places: Places::new(shares),
            open: TaskTracker::new(),
            is_full: AtomicBool::new(false),
            is_failing: AtomicBool::new(false),
        })
    }

    /// The address that was bound, with the port that the system chose for port 0.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its places, for whoever judges anew who has them.
    pub(super) fn places(&self) -> Arc<Places> {
        Arc::clone(&self.places)
    }

    /// Accepts until `stop` is raised, then drains for at most `grace`: first it still accepts and asks every client to
    /// go elsewhere, then it lets the connections finish what they have in hand, then it drops them. Returns how many
    /// it dropped.
    pub(super) async fn serve<A, F>(self, host: Host<A>, stop: &Signal, grace: Duration) -> usize
    where
        A: Fn(IpAddr, Parts, Incoming) -> F + Send + Sync + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        let host = Arc::new(host);
        host.drain().open();
        tokio::select! { never = self.accept(&host) => match never {}, () = stop.raised() => {} }
        let begun = Instant::now();
        host.drain().begin();
        tokio::select! { never = self.accept(&host) => match never {}, () = self.lull(grace) => {} }
        let Self { socket, open, .. } = self;
        drop(socket);
        host.drain().finish();
        if timeout(grace.saturating_sub(begun.elapsed()), open.wait()).await.is_ok() {
            return 0;
        }
        let left = open.len();
        host.drain().cut();
        open.wait().await;
        left
    }

    /// Returns once accepting may end: after a quarter of the grace, or when everybody has left before.
    async fn lull(&self, grace: Duration) {
        let longest = MAX_DRAIN_DELAY.min(grace / 4);
        let shortest = MIN_DRAIN_DELAY.min(longest);
        sleep(shortest).await;
        self.open.close();
        let _everybody_left = timeout(longest.saturating_sub(shortest), self.open.wait()).await;
    }

    /// Accepts connections and has each served in a task of its own. Dropping the future loses no connection.
    async fn accept<A, F>(&self, host: &Arc<Host<A>>) -> Infallible
    where
        A: Fn(IpAddr, Parts, Incoming) -> F + Send + Sync + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        loop {
            let permit = self.room().await;
            let (stream, peer) = self.next().await;
            let place = self.places.take(permit, peer, |peer| host.trusts(peer), host.open());
            let (serving, token) = (Arc::clone(host), self.open.token());
            host.tasks().spawn(async move {
                serving.serve(stream, &place).await;
                drop((place, token));
            });
        }
    }

    async fn room(&self) -> OwnedSemaphorePermit {
        if let Some(permit) = self.places.room().await {
            self.is_full.store(false, Ordering::Relaxed);
            return permit;
        }
        if !self.is_full.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                listener = self.key,
                "no room for further connections; they wait until others end. Let the edges keep fewer connections"
            );
        }
        self.places.wait_for_room().await
    }

    async fn next(&self) -> (TcpStream, IpAddr) {
        loop {
            match self.socket.accept().await {
                Ok((stream, peer)) => {
                    if self.is_failing.swap(false, Ordering::Relaxed) {
                        tracing::info!(listener = self.key, "connections are accepted again");
                    }
                    return (stream, peer.ip().to_canonical());
                }
                // The client went before it was accepted.
                Err(error) if is_of_one_connection(error.kind()) => {}
                Err(error) => {
                    if !self.is_failing.swap(true, Ordering::Relaxed) {
                        tracing::error!(
                            listener = self.key,
                            %error,
                            "no connection can be accepted; trying on. If files are too many, raise the limit (nofile)"
                        );
                    }
                    sleep(REST).await;
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
    async fn a_connection_has_from_its_listener_that_nothing_is_held_back() {
        let listener = Listener::bind("server.listen", (Ipv4Addr::LOCALHOST, 0).into(), Shares::of(1)).unwrap();
        let _client = TcpStream::connect(listener.address()).await.unwrap();
        assert!(listener.next().await.0.nodelay().unwrap());
    }
}
