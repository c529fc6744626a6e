//! Timeouts of connections, for trusted and untrusted peers.
//!
//! Every state of a connection has one, so that no client holds a connection for ever by being slow or silent.

use std::time::Duration;

use crate::server::limits::PeerState;

/// Timeouts of a connection, by its state.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Timeouts {
    /// TLS handshake.
    pub(in crate::server) tls_handshake: Duration,
    /// From being accepted to the first request.
    pub(in crate::server) first_request: Duration,
    /// From a request's first byte to the end of its header (nginx `client_header_timeout`, against slowloris), and for a blocked
    /// client to take more of a response (nginx `send_timeout`).
    pub(in crate::server) slow_client: Duration,
    /// Between requests, before an HTTP/1 connection is parked: its buffers are released. Up to twice as long, because a
    /// connection is checked once in this time, and a new one not before the timeout of its first request.
    pub(in crate::server) park: Duration,
    /// Between requests of a keep-alive connection (nginx `keepalive_timeout`); over HTTP/2 up to twice as long, for the same reason.
    pub(in crate::server) idle: Duration,
    /// From the start of a connection's shutdown to its end (nginx `lingering_time`).
    pub(in crate::server) closing: Duration,
    /// From an HTTP/2 request to the client's having taken all of the response.
    pub(in crate::server) stream: Duration,
}

/// Timeouts of a listener's connections, by trust.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct ListenerTimeouts {
    /// Timeouts for trusted peers.
    pub(in crate::server) trusted: Timeouts,
    /// Timeouts for untrusted peers.
    pub(in crate::server) untrusted: Timeouts,
}

impl ListenerTimeouts {
    /// Timeouts of `server.listen`.
    pub(in crate::server) const EDGES: Self = Self { trusted: Timeouts::EDGES, untrusted: Timeouts::UNTRUSTED };

    /// Timeouts of `server.management`.
    pub(in crate::server) const MANAGEMENT: Self =
        Self { trusted: Timeouts::MANAGEMENT, untrusted: Timeouts::MANAGEMENT };

    /// Timeouts of `server.proxy_listen`.
    pub(in crate::server) const PROXY: Self = Self { trusted: Timeouts::PROXY, untrusted: Timeouts::PROXY };

    /// Returns the timeouts for a peer as it is classified now.
    pub(super) fn of(&self, peer: &PeerState) -> &Timeouts {
        if peer.is_untrusted() { &self.untrusted } else { &self.trusted }
    }
}

impl Timeouts {
    /// Edges keep idle connections for up to an hour (Envoy) and take our closing first for a failure: `idle` is longer.
    const EDGES: Self = Self {
        tls_handshake: Duration::from_secs(10),
        first_request: Duration::from_secs(30),
        slow_client: Duration::from_secs(10),
        // To park a connection and to resume it costs a tenth of a check. Edges that are in use ask more often; those that are
        // not keep most of what they have opened in a rush for minutes.
        park: Duration::from_secs(10),
        idle: Duration::from_secs(3_700),
        closing: Duration::from_secs(1),
        // Every request is answered within 25 s; ten more to take the response, as over HTTP/1.
        stream: Duration::from_secs(35),
    };

    /// An untrusted peer asks for a page or two and has nothing to keep a connection for: after a request it is idle for six
    /// seconds at most, or ten where it was the first.
    const UNTRUSTED: Self = Self {
        tls_handshake: Duration::from_secs(5),
        first_request: Duration::from_secs(5),
        slow_client: Duration::from_secs(5),
        park: Duration::from_secs(1),
        idle: Duration::from_secs(4),
        ..Self::EDGES
    };

    /// Browsers keep a connection for a minute or two, and pause while a page is looked at. Bodies take any time; an HTTP/2 stream a
    /// day at most.
    const PROXY: Self = Self {
        slow_client: Duration::from_secs(30),
        idle: Duration::from_secs(75),
        stream: Duration::from_hours(24),
        ..Self::EDGES
    };

    /// Monitoring comes again within half a minute, or connects anew.
    const MANAGEMENT: Self = Self {
        first_request: Duration::from_secs(10),
        slow_client: Duration::from_secs(5),
        park: Duration::from_secs(5),
        idle: Duration::from_secs(15),
        ..Self::EDGES
    };
}

/// Timeouts of one connection, which follow its peer's classification.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerTimeouts<'a> {
    /// Peer of the connection.
    pub(super) peer: &'a PeerState,
    /// Timeouts of its listener.
    pub(super) by_trust: &'a ListenerTimeouts,
}

impl<'a> PeerTimeouts<'a> {
    /// Returns the timeouts in force now.
    pub(super) fn current(self) -> &'a Timeouts {
        self.by_trust.of(self.peer)
    }
}
