//! Connections: how many there are at each listener, and how TLS handshakes end.

use prometheus::{IntCounter, IntGaugeVec, Opts, Registry};

use super::{Gauge, Handshake, Listener, counters, increment, register};

/// Connections and their TLS handshakes.
#[derive(Clone)]
pub struct Connections {
    open: IntGaugeVec,
    handshakes: Handshakes,
}

/// TLS handshakes, by how they ended.
#[derive(Clone)]
pub struct Handshakes {
    handles: Vec<IntCounter>,
}

impl Connections {
    pub(super) fn new(registry: &Registry) -> Self {
        let open = IntGaugeVec::new(Opts::new("doorward_connections", "Open connections"), &["listener"]);
        let open = register(registry, open);
        for listener in Listener::ALL {
            open.with_label_values(&[listener.label()]);
        }
        let ended = counters(registry, "doorward_tls_handshakes_total", "TLS handshakes that have ended", &["result"]);
        let handles = Handshake::ALL.iter().map(|result| ended.with_label_values(&[result.label()])).collect();
        Self { open, handshakes: Handshakes { handles } }
    }

    /// The open connections of a listener.
    #[must_use]
    pub fn open(&self, listener: Listener) -> Gauge {
        self.open.with_label_values(&[listener.label()])
    }

    /// The TLS handshakes.
    #[must_use]
    pub fn handshakes(&self) -> Handshakes {
        self.handshakes.clone()
    }
}

impl Handshakes {
    /// Counts one that has ended.
    pub fn count(&self, result: Handshake) {
        increment(&self.handles, result as usize, 1);
    }
}
