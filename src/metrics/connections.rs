//! Metrics of connections: open ones by listener, and TLS handshakes by result.

use prometheus::{IntCounter, IntGaugeVec, Opts, Registry};

use super::{
    labels::{HandshakeResult, ListenerLabel},
    registry::{Gauge, counters, increment, register},
};

/// Connections and their TLS handshakes.
#[derive(Clone)]
pub struct ConnectionMetrics {
    open: IntGaugeVec,
    handshakes: HandshakeMetrics,
}

/// TLS handshakes by result.
#[derive(Clone)]
pub struct HandshakeMetrics {
    handles: Vec<IntCounter>,
}

impl ConnectionMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let open = IntGaugeVec::new(Opts::new("doorward_connections", "Open connections"), &["listener"]);
        let open = register(registry, open);
        for listener in ListenerLabel::ALL {
            open.with_label_values(&[listener.label()]);
        }
        let ended = counters(registry, "doorward_tls_handshakes_total", "TLS handshakes that have ended", &["result"]);
        let handles = HandshakeResult::ALL.iter().map(|result| ended.with_label_values(&[result.label()])).collect();
        Self { open, handshakes: HandshakeMetrics { handles } }
    }

    /// Returns the gauge of a listener's open connections.
    #[must_use]
    pub fn open(&self, listener: ListenerLabel) -> Gauge {
        self.open.with_label_values(&[listener.label()])
    }

    /// Returns the counters of TLS handshakes.
    #[must_use]
    pub fn handshakes(&self) -> HandshakeMetrics {
        self.handshakes.clone()
    }
}

impl HandshakeMetrics {
    /// Counts a handshake that has ended.
    pub fn count(&self, result: HandshakeResult) {
        increment(&self.handles, result as usize, 1);
    }
}
